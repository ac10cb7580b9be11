//! One JSON value as it stands in a record, read no further than asked.

use std::borrow::Cow;

use super::scan::Index;
use super::split::{Step, Walk, significant};

/// The slice of one JSON value.
///
/// Its brackets and strings are known to close; what is within may be no JSON, and then reads as nothing. What
/// has to be JSON goes through [`parse`](super::parse).
#[derive(Debug, Clone, Copy)]
pub struct Raw<'a> {
    json: &'a [u8],
}

impl<'a> Raw<'a> {
    /// A value without white space around it.
    pub(super) fn new(json: &'a [u8]) -> Self {
        Self { json }
    }

    /// The value as it stands.
    pub fn json(self) -> &'a str {
        // Whole records were checked to be UTF-8, and values begin and end at ASCII.
        std::str::from_utf8(self.json).unwrap_or_default()
    }

    /// The value as it stands, for what only compares it: nothing is checked anew.
    #[inline]
    pub fn bytes(self) -> &'a [u8] {
        self.json
    }

    /// Whether it is `null`.
    pub fn is_null(self) -> bool {
        self.json == b"null"
    }

    /// `true` or `false`; none for all other values.
    pub fn bool(self) -> Option<bool> {
        match self.json {
            b"true" => Some(true),
            b"false" => Some(false),
            _ => None,
        }
    }

    /// A text without its escapes, borrowed if there are none; none for all other values.
    pub fn text(self) -> Option<Cow<'a, str>> {
        let [b'"', inner @ .., b'"'] = self.json else { return None };
        unescaped(inner)
    }

    /// Whether it is an array.
    pub fn is_list(self) -> bool {
        self.json.first() == Some(&b'[')
    }

    /// Whether it is an object.
    pub fn is_object(self) -> bool {
        self.json.first() == Some(&b'{')
    }

    /// The value of a key of an object; none if it is absent, or this is no object. A key that comes twice
    /// gives the first one.
    pub fn get(self, key: &str) -> Option<Raw<'a>> {
        self.entries().find(|(name, _)| is_key(name, key)).map(|(_, value)| value)
    }

    /// The value at a path through objects.
    pub fn at(self, path: &[&str]) -> Option<Raw<'a>> {
        path.iter().try_fold(self, |value, key| value.get(key))
    }

    /// The items of an array; nothing for all other values.
    pub fn items(self) -> RawItems<'a> {
        let json: &[u8] = if self.is_list() { self.json } else { &[] };
        RawItems { json, index: Index::new(0), walk: Walk::new(1) }
    }

    /// The members of an object; nothing for all other values.
    pub fn members(self) -> impl Iterator<Item = (Cow<'a, str>, Raw<'a>)> + use<'a> {
        self.entries().filter_map(|(name, value)| Some((unescaped(name)?, value)))
    }

    /// The members with their keys as they stand.
    fn entries(self) -> impl Iterator<Item = (&'a [u8], Raw<'a>)> + use<'a> {
        let mut index = Index::new(0);
        let mut walk = Walk::new(1);
        let mut json = if self.is_object() { self.json } else { &[] };
        std::iter::from_fn(move || {
            let entry = entry(json, &mut walk, &mut index);
            if entry.is_none() {
                json = &[];
            }
            entry
        })
    }
}

/// The items of an array.
#[derive(Debug, Clone)]
pub struct RawItems<'a> {
    json: &'a [u8],
    index: Index,
    walk: Walk,
}

impl<'a> Iterator for RawItems<'a> {
    type Item = Raw<'a>;

    fn next(&mut self) -> Option<Raw<'a>> {
        match self.walk.item(self.json, &mut self.index) {
            Step::Next((start, end)) => self.json.get(start..end).map(Raw::new),
            _ => {
                self.json = &[];
                None
            }
        }
    }
}

fn entry<'a>(json: &'a [u8], walk: &mut Walk, index: &mut Index) -> Option<(&'a [u8], Raw<'a>)> {
    let Step::Next((start, end, first)) = walk.key(json, index) else { return None };
    let begin = walk.at;
    let Step::Next(finish) = walk.value(json, index, first) else { return None };
    Some((json.get(start + 1..end - 1)?, Raw::new(json.get(begin..finish)?)))
}

/// Whether a key as it stands is a name.
pub(super) fn is_key(key: &[u8], name: &str) -> bool {
    let has_escape = || memchr::memchr(b'\\', key).is_some();
    if key.len() <= name.len() {
        return key == name.as_bytes() && !has_escape();
    }
    // Each escape is longer than what it stands for.
    has_escape() && unescaped(key).is_some_and(|key| key == name)
}

/// The text between two quotes without its escapes; none if one of them is no escape, or the text is not UTF-8.
pub(super) fn unescaped(inner: &[u8]) -> Option<Cow<'_, str>> {
    let Some(first) = memchr::memchr(b'\\', inner) else {
        return std::str::from_utf8(inner).ok().map(Cow::Borrowed);
    };
    let mut text = String::with_capacity(inner.len());
    let (plain, mut rest) = inner.split_at_checked(first)?;
    text.push_str(std::str::from_utf8(plain).ok()?);
    while let [b'\\', kind, tail @ ..] = rest {
        rest = if *kind == b'u' { hex_escape(tail, &mut text)? } else { escape(*kind, tail, &mut text)? };
        let plain = memchr::memchr(b'\\', rest).unwrap_or(rest.len());
        let (plain, tail) = rest.split_at_checked(plain)?;
        text.push_str(std::str::from_utf8(plain).ok()?);
        rest = tail;
    }
    rest.is_empty().then_some(Cow::Owned(text))
}

fn escape<'a>(kind: u8, tail: &'a [u8], text: &mut String) -> Option<&'a [u8]> {
    text.push(match kind {
        b'"' | b'\\' | b'/' => char::from(kind),
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        _ => return None,
    });
    Some(tail)
}

/// `\uXXXX`, or two of them that make up one letter. Half of such a pair reads as U+FFFD.
fn hex_escape<'a>(tail: &'a [u8], text: &mut String) -> Option<&'a [u8]> {
    let (unit, tail) = hex_unit(tail)?;
    let pair = match tail {
        [b'\\', b'u', low @ ..] if (0xD800..0xDC00).contains(&unit) => hex_unit(low),
        _ => None,
    };
    if let Some((low, tail)) = pair.filter(|(low, _)| (0xDC00..0xE000).contains(low)) {
        let letter = 0x1_0000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
        text.push(char::from_u32(letter).unwrap_or(char::REPLACEMENT_CHARACTER));
        return Some(tail);
    }
    text.push(char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER));
    Some(tail)
}

fn hex_unit(tail: &[u8]) -> Option<(u32, &[u8])> {
    let (digits, tail) = tail.split_first_chunk::<4>()?;
    let unit = digits.iter().try_fold(0, |unit, digit| Some(unit << 4 | char::from(*digit).to_digit(16)?))?;
    Some((unit, tail))
}

/// Where a text has a line break within a string, which no JSON has; the text's own strings are closed.
pub(super) fn has_broken_string(json: &[u8]) -> bool {
    let mut rest = json;
    while let Some(quote) = memchr::memchr(b'"', rest) {
        let mut at = quote + 1;
        loop {
            match rest.get(at) {
                Some(b'"') => break,
                Some(b'\\') => at += 2,
                Some(b'\n') => return true,
                Some(_) => at += 1,
                None => return false,
            }
        }
        rest = rest.get(at + 1..).unwrap_or_default();
    }
    false
}

/// Whether a text is white space only.
pub(super) fn is_blank(text: &[u8]) -> bool {
    significant(text, 0).is_none()
}
