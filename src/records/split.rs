//! The members of one object and the items of one array, with nothing read of what is nested in them.

use super::scan::Index;

/// A part of a text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Span {
    #[inline]
    pub(super) fn of(self, text: &[u8]) -> &[u8] {
        text.get(self.start..self.end).unwrap_or_default()
    }

    pub(super) fn is_empty(self) -> bool {
        self.end == 0
    }
}

/// One step in an object or array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step<T> {
    /// The next one.
    Next(T),
    /// The place of the closing bracket.
    End(usize),
    /// The text ends before.
    Short,
    /// The grammar is broken at a place, where something else is expected.
    Bad(usize, &'static str),
}

/// The next byte that is no white space, and its place.
#[inline]
pub(super) fn significant(text: &[u8], mut at: usize) -> Option<(u8, usize)> {
    loop {
        match *text.get(at)? {
            b' ' | b'\n' | b'\r' | b'\t' => at += 1,
            byte => return Some((byte, at)),
        }
    }
}

/// Goes over the members of one object.
#[derive(Debug, Clone, Copy)]
pub(super) struct Walk {
    /// Where the next step begins.
    pub(super) at: usize,
    /// Whether nothing came yet, so that no comma is expected.
    first: bool,
    /// How deep what was passed by nests, at most.
    pub(super) deepest: usize,
}

impl Walk {
    /// Begins behind an opening bracket.
    #[inline]
    pub(super) fn new(at: usize) -> Self {
        Self { at, first: true, deepest: 0 }
    }

    /// Passes by the comma before the next member or item: where that begins.
    #[inline]
    fn separated(&mut self, text: &[u8], close: u8) -> Step<(u8, usize)> {
        // Log files have no white space, so that this is what mostly comes.
        if let Some([b',', byte]) = text.get(self.at..).and_then(|rest| rest.first_chunk())
            && *byte > b' '
            && !self.first
        {
            return Step::Next((*byte, self.at + 1));
        }
        let Some((byte, at)) = significant(text, self.at) else { return Step::Short };
        if byte == close {
            return Step::End(at);
        }
        if std::mem::take(&mut self.first) {
            return Step::Next((byte, at));
        }
        if byte != b',' {
            return Step::Bad(at, "`,` or the end");
        }
        significant(text, at + 1).map_or(Step::Short, Step::Next)
    }

    /// The next key with its quotes, and the first byte of its value, where the walk then stands.
    #[inline]
    pub(super) fn key(&mut self, text: &[u8], index: &mut Index) -> Step<(usize, usize, u8)> {
        let (byte, start) = match self.separated(text, b'}') {
            Step::Next(next) => next,
            Step::End(at) => return Step::End(at),
            Step::Short => return Step::Short,
            Step::Bad(at, expected) => return Step::Bad(at, expected),
        };
        if byte != b'"' {
            return Step::Bad(start, "a key");
        }
        let Some(end) = index.string(text, start) else { return Step::Short };
        if let Some([b':', first]) = text.get(end..).and_then(|rest| rest.first_chunk())
            && *first > b' '
        {
            self.at = end + 1;
            return Step::Next((start, end, *first));
        }
        match significant(text, end) {
            Some((b':', colon)) => match significant(text, colon + 1) {
                Some((first, at)) => {
                    self.at = at;
                    Step::Next((start, end, first))
                }
                None => Step::Short,
            },
            Some((_, at)) => Step::Bad(at, "`:`"),
            None => Step::Short,
        }
    }

    /// The end of the value at which the walk stands, given its first byte.
    #[inline]
    pub(super) fn value(&mut self, text: &[u8], index: &mut Index, first: u8) -> Step<usize> {
        let end = match first {
            b'"' => index.string(text, self.at),
            b'{' | b'[' => index.close(text, self.at + 1).map(|close| {
                self.deepest = self.deepest.max(close.deepest);
                close.at + 1
            }),
            b't' => return self.word(text, b"true"),
            b'f' => return self.word(text, b"false"),
            b'n' => return self.word(text, b"null"),
            b'-' | b'0'..=b'9' => number_end(text, self.at),
            _ => return Step::Bad(self.at, "a value"),
        };
        match end {
            Some(end) => {
                self.at = end;
                Step::Next(end)
            }
            None => Step::Short,
        }
    }

    /// The end of a word at which the walk stands.
    #[inline]
    fn word(&mut self, text: &[u8], word: &[u8]) -> Step<usize> {
        let rest = text.get(self.at..).unwrap_or_default();
        if rest.starts_with(word) {
            self.at += word.len();
            Step::Next(self.at)
        } else if word.starts_with(rest) {
            Step::Short
        } else {
            Step::Bad(self.at, "a value")
        }
    }

    /// The next item of an array.
    #[inline]
    pub(super) fn item(&mut self, text: &[u8], index: &mut Index) -> Step<(usize, usize)> {
        let (first, start) = match self.separated(text, b']') {
            Step::Next(next) => next,
            Step::End(at) => return Step::End(at),
            Step::Short => return Step::Short,
            Step::Bad(at, expected) => return Step::Bad(at, expected),
        };
        self.at = start;
        match self.value(text, index, first) {
            Step::Next(end) => Step::Next((start, end)),
            Step::End(at) => Step::End(at),
            Step::Short => Step::Short,
            Step::Bad(at, expected) => Step::Bad(at, expected),
        }
    }
}

/// The end of a number; none if the text ends with it, since it may go on.
#[inline]
fn number_end(text: &[u8], at: usize) -> Option<usize> {
    let rest = text.get(at..)?;
    let is_part = |byte: &u8| matches!(byte, b'-' | b'+' | b'.' | b'0'..=b'9' | b'e' | b'E');
    Some(at + rest.iter().position(|byte| !is_part(byte))?)
}
