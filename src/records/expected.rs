//! Keys as they are written in almost all records, to be recognised in one comparison.
//!
//! CloudTrail writes the fields of all records in one order, so that the field that comes next is mostly the one
//! that came next the last time.

use wide::u8x16;

use super::field::{COUNT, Field};

/// How long the longest name is at most, with quotes and colon.
pub(super) const LONGEST: usize = 32;

/// A name with its quotes and colon, as far as it goes.
#[derive(Debug)]
pub(super) struct Expected {
    text: [u8x16; 2],
    /// All ones where the name is.
    mask: [u8x16; 2],
    pub(super) length: usize,
}

/// Each field's name.
static NAMES: [Expected; COUNT] = names();

#[expect(clippy::indexing_slicing, reason = "runs in the compiler, which then says what is wrong")]
const fn names() -> [Expected; COUNT] {
    let mut names = [const { Expected::of("") }; COUNT];
    let mut at = 0;
    while at < COUNT {
        names[at] = Expected::of(Field::ALL[at].name());
        at += 1;
    }
    names
}

impl Expected {
    #[expect(clippy::indexing_slicing, reason = "runs in the compiler, which then says what is wrong")]
    const fn of(name: &str) -> Self {
        let name = name.as_bytes();
        let (mut text, mut mask) = ([0; LONGEST], [0; LONGEST]);
        let length = name.len() + 3;
        text[0] = b'"';
        text[length - 2] = b'"';
        text[length - 1] = b':';
        let mut at = 0;
        while at < length {
            if at < name.len() {
                text[at + 1] = name[at];
            }
            mask[at] = u8::MAX;
            at += 1;
        }
        Self { text: halves(text), mask: halves(mask), length }
    }

    /// Whether a text begins with it.
    #[inline]
    pub(super) fn is_beginning(&self, text: &[u8; LONGEST]) -> bool {
        let [low, high] = halves(*text);
        let differ = ((low ^ self.text[0]) & self.mask[0]) | ((high ^ self.text[1]) & self.mask[1]);
        differ.simd_eq(u8x16::ZERO).to_bitmask() == 0xffff
    }
}

const fn halves(text: [u8; LONGEST]) -> [u8x16; 2] {
    match text.as_chunks() {
        ([low, high], []) => [u8x16::new(*low), u8x16::new(*high)],
        _ => [u8x16::ZERO; 2],
    }
}

/// Guesses which field comes next.
#[derive(Debug)]
pub(super) struct Order {
    /// What came behind each field the last time.
    next: [Field; COUNT],
    last: Field,
}

impl Order {
    /// In the order in which AWS documents them.
    pub(super) fn new() -> Self {
        let mut next = Field::ALL;
        next.rotate_left(1);
        Self { next, last: Field::EventContext }
    }

    /// Begins a record.
    #[inline]
    pub(super) fn begin(&mut self) {
        self.last = Field::EventContext;
    }

    /// The field that is guessed to come next, and its name.
    #[inline]
    #[expect(clippy::indexing_slicing, reason = "there is one of each for each field")]
    pub(super) fn guess(&self) -> (Field, &'static Expected) {
        let field = self.next[self.last as usize];
        (field, &NAMES[field as usize])
    }

    /// Goes on from a field that was guessed.
    #[inline]
    pub(super) fn came(&mut self, field: Field) {
        self.last = field;
    }

    /// Learns which field came.
    #[inline]
    pub(super) fn learn(&mut self, field: Field) {
        if let Some(next) = self.next.get_mut(self.last as usize) {
            *next = field;
        }
        self.last = field;
    }
}
