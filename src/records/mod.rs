//! Log files' bytes become records, fast and safe: decompressed within bounds, split without being parsed, and read
//! no further than asked.
//!
//! Splitting looks at strings and brackets only. It so takes some text for JSON that is none, such as
//! `{"a":nul}`; what is wanted of a record is read strictly later, by [`parse`]. Of every record exactly one thing is
//! said: it is handed on, or what is wrong with it.

mod container;
mod envelope;
mod expected;
mod field;
mod inflate;
mod lanes;
mod problem;
mod raw;
mod scan;
mod skip;
mod split;
mod strict;
#[cfg(test)]
mod tests;
mod window;

use std::io::Read;

pub use envelope::Envelope;
pub use field::Field;
pub use problem::Problem;
pub use raw::{Raw, RawItems};
pub use strict::parse;

/// How much text is held at first: more than most records, and no more than stays near the processor.
const WINDOW: usize = 256 * 1024;

/// What is taken at most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes that a file inflates to.
    pub max_inflated: u64,
    /// Bytes of a record. CloudTrail's own limit is 256 kB.
    pub max_record: usize,
    /// Levels of nesting in a record.
    pub max_depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_inflated: 16 << 30, max_record: 4 << 20, max_depth: 128 }
    }
}

/// Takes what is read.
pub trait Sink {
    /// A record: UTF-8, bounded in size and depth, with `eventID`, `eventName` and `eventSource`, which are texts
    /// and not empty, and a proper `eventTime`. Everything else is as it came.
    fn record(&mut self, envelope: &Envelope<'_>, place: Place);

    /// What could not be taken. A broken file may have two of these for each of its bytes.
    fn malformed(&mut self, malformed: Malformed);
}

/// Where something is in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The byte in the inflated text.
    pub offset: u64,
    /// How many were before it.
    pub index: u64,
}

/// Something that could not be taken, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// Where it is.
    pub place: Place,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What a file had.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Records that were handed on.
    pub records: u64,
    /// What could not be taken.
    pub malformed: u64,
    /// Bytes that the file inflated to, as far as it was read.
    pub inflated: u64,
}

/// Reads a whole log file: gzip, zstd or plain; `{"Records":[…]}`, an array, or objects one behind the other, each of
/// them a record or an event of EventBridge around one.
///
/// Memory is bounded by the limits, whatever the file's size: a window of 256 KiB, which grows to twice the largest
/// record that comes, and never beyond four times `max_record`. What was found in it takes five eighths of that on
/// top.
pub fn read(input: impl Read, limits: &Limits, sink: &mut impl Sink) -> Summary {
    container::Reader::new(input, limits, sink, WINDOW).run()
}

/// The same with a window of some bytes at first, which changes nothing but what is tried out: how reading goes on
/// where a window ends.
#[doc(hidden)]
pub fn read_with_window(input: impl Read, limits: &Limits, sink: &mut impl Sink, window: usize) -> Summary {
    container::Reader::new(input, limits, sink, window).run()
}
