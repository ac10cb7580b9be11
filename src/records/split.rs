//! The members of one object and the items of one array, with nothing read of what is nested in them.

use super::expected::{Expected, LONGEST};
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
}

/// Why there is no further member or item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// It ends with the closing bracket at a place.
    End(usize),
    /// The text, or what was looked at of it, ends before.
    Short,
    /// Next is an array `Records` at a place, so that this is no record but holds some.
    Container(usize),
    /// The grammar is broken at a place, where something else is expected.
    Bad(usize, &'static str),
}

/// A step in an object or array.
type Step<T> = Result<T, Stop>;

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

/// Goes over the members of one object, or over the items of one array.
///
/// What is found is only passed by when it is whole: until then the same may be asked again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Walk {
    /// Where the next step begins.
    at: usize,
    /// Where the first one began, before which no comma is expected.
    begin: usize,
    /// How many brackets are open between the members.
    level: i64,
}

/// A key with its quotes, and the value behind it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    pub(super) span: Span,
    /// Where its value begins, and with which byte.
    pub(super) value: (u8, usize),
}

impl Walk {
    /// Begins behind an opening bracket.
    #[inline]
    pub(super) fn new(index: &Index, begin: usize) -> Self {
        Self { at: begin, begin, level: index.level(begin) }
    }

    /// Goes on behind a value.
    #[inline]
    pub(super) fn pass(&mut self, end: usize) {
        self.at = end;
    }

    #[inline]
    fn is_first(&self) -> bool {
        self.at == self.begin
    }

    /// Passes by the comma before the next member or item: where that begins.
    #[inline]
    fn separated(&self, text: &[u8], close: u8) -> Step<(u8, usize)> {
        // Log files have no white space, so that this is what mostly comes.
        if let Some([b',', byte]) = text.get(self.at..).and_then(|rest| rest.first_chunk())
            && *byte > b' '
            && !self.is_first()
        {
            return Ok((*byte, self.at + 1));
        }
        let (byte, at) = significant(text, self.at).ok_or(Stop::Short)?;
        if byte == close {
            return Err(Stop::End(at));
        }
        if self.is_first() {
            return Ok((byte, at));
        }
        if byte != b',' {
            return Err(Stop::Bad(at, "`,` or the end"));
        }
        significant(text, at + 1).ok_or(Stop::Short)
    }

    /// The next value if its key is the one that is expected, and nothing is out of the ordinary.
    #[inline]
    pub(super) fn expected(&self, text: &[u8], index: &Index, expected: &Expected) -> Option<Span> {
        let is_first = self.is_first();
        let separator = self.at - usize::from(is_first);
        let part = text.get(separator..)?.first_chunk::<{ LONGEST + 2 }>()?;
        let [comma, name @ .., _] = part;
        if !(expected.is_beginning(name) && (*comma == b',' || is_first)) {
            return None;
        }
        let start = separator + 1 + expected.length;
        let end = match part.get(1 + expected.length)? {
            b'"' => index.string(start)?,
            b'{' | b'[' => index.close(start + 1, self.level)? + 1,
            _ => start + word_length(text, start)?,
        };
        Some(Span { start, end })
    }

    /// Where the object ends, if that is next.
    #[inline]
    pub(super) fn end(&self, text: &[u8]) -> Option<usize> {
        (text.get(self.at) == Some(&b'}')).then_some(self.at)
    }

    /// The next key.
    #[inline]
    pub(super) fn key(&self, text: &[u8], index: &Index) -> Step<Key> {
        let (byte, start) = self.separated(text, b'}')?;
        if byte != b'"' {
            return Err(Stop::Bad(start, "a key"));
        }
        let end = index.string(start).ok_or(Stop::Short)?;
        let span = Span { start, end };
        if let Some([b':', first]) = text.get(end..).and_then(|rest| rest.first_chunk())
            && *first > b' '
        {
            return Ok(Key { span, value: (*first, end + 1) });
        }
        let (byte, colon) = significant(text, end).ok_or(Stop::Short)?;
        if byte != b':' {
            return Err(Stop::Bad(colon, "`:`"));
        }
        let value = significant(text, colon + 1).ok_or(Stop::Short)?;
        Ok(Key { span, value })
    }

    /// The value that begins at a place with a byte.
    #[inline]
    pub(super) fn value(&self, text: &[u8], index: &Index, (first, start): (u8, usize)) -> Step<Span> {
        let end = match first {
            b'"' => index.string(start),
            b'{' | b'[' => index.close(start + 1, self.level).map(|close| close + 1),
            b't' => return word(text, start, b"true"),
            b'f' => return word(text, start, b"false"),
            b'n' => return word(text, start, b"null"),
            b'-' | b'0'..=b'9' => number_end(text, start),
            _ => return Err(Stop::Bad(start, "a value")),
        };
        Ok(Span { start, end: end.ok_or(Stop::Short)? })
    }

    /// The next item of an array.
    #[inline]
    pub(super) fn item(&self, text: &[u8], index: &Index) -> Step<Span> {
        let item = self.separated(text, b']')?;
        self.value(text, index, item)
    }

    /// Where the object closes that is gone over, from a place between its members on.
    #[inline]
    pub(super) fn close(&self, index: &Index, at: usize) -> Option<usize> {
        index.close(at, self.level - 1)
    }
}

/// How long the word at a place is.
#[inline]
fn word_length(text: &[u8], start: usize) -> Option<usize> {
    match text.get(start..)?.first_chunk()? {
        b"true," | b"null," => Some(4),
        b"false" => Some(5),
        _ => None,
    }
}

/// The word at a place.
#[inline]
fn word(text: &[u8], start: usize, word: &[u8]) -> Step<Span> {
    let rest = text.get(start..).unwrap_or_default();
    if rest.starts_with(word) {
        Ok(Span { start, end: start + word.len() })
    } else if word.starts_with(rest) {
        Err(Stop::Short)
    } else {
        Err(Stop::Bad(start, "a value"))
    }
}

/// The end of a number; none if the text ends with it, since it may go on.
#[inline]
fn number_end(text: &[u8], at: usize) -> Option<usize> {
    let rest = text.get(at..)?;
    let is_part = |byte: &u8| matches!(byte, b'-' | b'+' | b'.' | b'0'..=b'9' | b'e' | b'E');
    Some(at + rest.iter().position(|byte| !is_part(byte))?)
}
