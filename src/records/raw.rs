//! One JSON value as it stands in a record, read no further than asked.

use std::borrow::Cow;
use std::fmt;

use super::scan::Index;
use super::split::{Span, Walk, significant};

/// The slice of one JSON value.
///
/// Its brackets and strings are known to close; what is within may be no JSON, and then reads as nothing. What
/// has to be JSON goes through [`parse`](super::parse).
#[derive(Clone, Copy)]
pub struct Raw<'a> {
    text: &'a [u8],
    /// What was found in the text.
    index: &'a Index,
    /// Where the value is in the text, without white space around it.
    span: Span,
}

impl fmt::Debug for Raw<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Raw").field(&self.json()).finish()
    }
}

impl<'a> Raw<'a> {
    /// A value in a text that was looked at.
    #[inline]
    pub(super) fn new(text: &'a [u8], index: &'a Index, span: Span) -> Self {
        Self { text, index, span }
    }

    /// The value as it stands.
    pub fn json(self) -> &'a str {
        // Whole records were checked to be UTF-8, and values begin and end at ASCII.
        std::str::from_utf8(self.bytes()).unwrap_or_default()
    }

    /// The value as it stands, for what only compares it: nothing is checked anew.
    #[inline]
    pub fn bytes(self) -> &'a [u8] {
        self.span.of(self.text)
    }

    /// Whether it is `null`.
    pub fn is_null(self) -> bool {
        self.bytes() == b"null"
    }

    /// `true` or `false`; none for all other values.
    pub fn bool(self) -> Option<bool> {
        match self.bytes() {
            b"true" => Some(true),
            b"false" => Some(false),
            _ => None,
        }
    }

    /// A text without its escapes, borrowed if there are none; none for all other values.
    pub fn text(self) -> Option<Cow<'a, str>> {
        let [b'"', inner @ .., b'"'] = self.bytes() else { return None };
        if self.has_rare() { unescaped(inner) } else { std::str::from_utf8(inner).ok().map(Cow::Borrowed) }
    }

    /// Whether it is an array.
    pub fn is_list(self) -> bool {
        self.bytes().first() == Some(&b'[')
    }

    /// Whether it is an object.
    pub fn is_object(self) -> bool {
        self.bytes().first() == Some(&b'{')
    }

    /// The value of a key of an object; none if it is absent, or this is no object. A key that comes twice
    /// gives the first one.
    pub fn get(self, key: &str) -> Option<Raw<'a>> {
        let has_rare = self.has_rare();
        let is_it = |name: &[u8]| if has_rare { is_key(name, key) } else { name == key.as_bytes() };
        self.entries().find(|(name, _)| is_it(name)).map(|(_, value)| value)
    }

    /// The value at a path through objects.
    pub fn at(self, path: &[&str]) -> Option<Raw<'a>> {
        path.iter().try_fold(self, |value, key| value.get(key))
    }

    /// The items of an array; nothing for all other values.
    pub fn items(self) -> RawItems<'a> {
        RawItems { raw: self, walk: self.is_list().then(|| self.walk()) }
    }

    /// The members of an object; nothing for all other values.
    pub fn members(self) -> impl Iterator<Item = (Cow<'a, str>, Raw<'a>)> + use<'a> {
        self.entries().filter_map(|(name, value)| Some((unescaped(name)?, value)))
    }

    /// The members with their keys as they stand.
    #[inline]
    fn entries(self) -> impl Iterator<Item = (&'a [u8], Raw<'a>)> + use<'a> {
        let mut walk = self.is_object().then(|| self.walk());
        std::iter::from_fn(move || {
            let entry = self.entry(walk.as_mut()?);
            if entry.is_none() {
                walk = None;
            }
            entry
        })
    }

    #[inline]
    fn entry(self, walk: &mut Walk) -> Option<(&'a [u8], Raw<'a>)> {
        let key = walk.key(self.text, self.index).ok()?;
        let span = walk.value(self.text, self.index, key.value).ok()?;
        walk.pass(span.end);
        let [b'"', name @ .., b'"'] = key.span.of(self.text) else { return None };
        Some((name, Raw { span, ..self }))
    }

    /// Goes over what is in its brackets.
    #[inline]
    fn walk(self) -> Walk {
        Walk::new(self.index, self.span.start + 1)
    }

    /// Whether there may be escapes in it.
    #[inline]
    fn has_rare(self) -> bool {
        self.index.has_rare(self.span.start, self.span.end)
    }
}

/// The items of an array.
#[derive(Debug, Clone)]
pub struct RawItems<'a> {
    raw: Raw<'a>,
    /// None at the end.
    walk: Option<Walk>,
}

impl<'a> Iterator for RawItems<'a> {
    type Item = Raw<'a>;

    fn next(&mut self) -> Option<Raw<'a>> {
        let Raw { text, index, .. } = self.raw;
        let walk = self.walk.as_mut()?;
        if let Ok(span) = walk.item(text, index) {
            walk.pass(span.end);
            return Some(Raw { span, ..self.raw });
        }
        self.walk = None;
        None
    }
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
                // Nothing escapes a line break.
                Some(b'\\') if rest.get(at + 1) != Some(&b'\n') => at += 2,
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
