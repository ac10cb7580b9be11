//! The part of the text that is held: read on behind, let go of in front.

use std::io::Read;

use super::Problem;
use super::inflate::Inflated;

/// A window on the text of a file.
pub(super) struct Window<R> {
    input: Inflated<R>,
    bytes: Vec<u8>,
    /// Where the next thing to read is.
    pub(super) start: usize,
    end: usize,
    /// Where the window begins in the text.
    base: u64,
    ended: bool,
}

impl<R: Read> Window<R> {
    /// A window of some bytes at first.
    pub(super) fn new(input: R, max_inflated: u64, size: usize) -> Self {
        let input = Inflated::new(input, max_inflated);
        Self { input, bytes: vec![0; size], start: 0, end: 0, base: 0, ended: false }
    }

    /// All that is held, from the beginning of the window. What is before `start` was read.
    #[inline]
    pub(super) fn text(&self) -> &[u8] {
        self.bytes.get(..self.end).unwrap_or_default()
    }

    /// How much is held and not read.
    pub(super) fn unread(&self) -> usize {
        self.end - self.start
    }

    /// Where the next thing to read is in the whole text.
    pub(super) fn offset(&self) -> u64 {
        self.base + self.start as u64
    }

    /// How much text there was so far.
    pub(super) fn inflated(&self) -> u64 {
        self.input.produced()
    }

    /// Whether all is held that there is.
    pub(super) fn is_ended(&self) -> bool {
        self.ended
    }

    /// What ended the text too early, once.
    pub(super) fn take_problem(&mut self) -> Option<Problem> {
        self.input.take_problem()
    }

    /// Moves what is not read to the front and fills the window behind it, which grows if it is full; false at the
    /// end of the text. All places in the window change.
    pub(super) fn fill(&mut self) -> bool {
        self.bytes.copy_within(self.start..self.end, 0);
        self.base += self.start as u64;
        self.end -= self.start;
        self.start = 0;
        if self.end * 2 > self.bytes.len() {
            self.bytes.resize(self.bytes.len() * 2, 0);
        }
        let held = self.end;
        while !self.ended && self.end < self.bytes.len() {
            let count = self.input.fill(self.bytes.get_mut(self.end..).unwrap_or_default());
            self.ended = count == 0;
            self.end += count;
        }
        self.end > held
    }

    /// Lets go of all that is held, and fills the window anew.
    pub(super) fn refill(&mut self) -> bool {
        self.start = self.end;
        self.fill()
    }
}
