//! A record read no further than asked: its top-level fields are found in one pass, their values left as they stand.

use std::borrow::Cow;
use std::fmt;

use chrono::DateTime;

use super::expected::Order;
use super::field::{COUNT, Field};
use super::raw::{Raw, is_key, unescaped};
use super::scan::Index;
use super::split::{Span, Stop, Walk};
use super::{Limits, Problem};

/// From how many fields without a place of their own on they are sorted to find one that comes twice.
const MANY: usize = 16;

/// A record whose fields are found and not read.
#[derive(Clone, Copy)]
pub struct Envelope<'a> {
    record: Raw<'a>,
    text: &'a [u8],
    index: &'a Index,
    fields: &'a Fields,
    seconds: i64,
}

impl fmt::Debug for Envelope<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Envelope").field(&self.json()).finish()
    }
}

/// A field that AWS does not document: its key without quotes, and its value.
#[derive(Debug, Clone, Copy)]
struct Other {
    key: Span,
    value: Span,
}

impl<'a> Envelope<'a> {
    /// The whole record as it came.
    pub fn json(&self) -> &'a str {
        self.record.json()
    }

    /// The value of a field.
    #[inline]
    pub fn field(&self, field: Field) -> Option<Raw<'a>> {
        self.fields.place(field).map(|span| self.raw(span))
    }

    /// The value of any top-level field by its name.
    pub fn other(&self, name: &str) -> Option<Raw<'a>> {
        if let Some(field) = Field::of(name.as_bytes()) {
            return self.field(field);
        }
        let other = self.fields.others.iter().find(|other| is_key(other.key.of(self.text), name))?;
        Some(self.raw(other.value))
    }

    #[inline]
    fn raw(&self, span: Span) -> Raw<'a> {
        Raw::new(self.text, self.index, span)
    }

    /// The value at a path through objects, such as `["userIdentity", "sessionContext"]`.
    pub fn at(&self, path: &[&str]) -> Option<Raw<'a>> {
        let (first, rest) = path.split_first()?;
        self.other(first)?.at(rest)
    }

    /// A field that is a text, without its escapes and borrowed if there are none; `null` and all other values
    /// are none.
    pub fn text(&self, field: Field) -> Option<Cow<'a, str>> {
        self.field(field)?.text()
    }

    /// `eventTime` in seconds since 1970.
    pub fn seconds(&self) -> i64 {
        self.seconds
    }
}

/// How a record in a text was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Taken {
    /// It ends before a place, with what is wrong with it.
    Whole(usize, Option<Problem>),
    /// The text ends before it does.
    Short,
    /// It is no record: it has an array `Records`, which begins at a place.
    Container(usize),
}

/// Where the fields of the record at hand are; kept to be used for the next one.
#[derive(Debug)]
pub(super) struct Fields {
    /// Where the record begins in the text.
    start: usize,
    /// Which fields it has: a bit each. The places of the others are those of former records.
    present: u64,
    known: [Span; COUNT],
    others: Vec<Other>,
    twice: Option<Field>,
    /// Whether there may be escapes in it.
    has_rare: bool,
    order: Order,
    minute: Minute,
}

// Each field has a bit.
const _: () = assert!(COUNT <= 64, "more fields than bits");

impl Fields {
    pub(super) fn new() -> Self {
        Self {
            start: 0,
            present: 0,
            known: [Span::default(); COUNT],
            others: Vec::new(),
            twice: None,
            has_rare: false,
            order: Order::new(),
            minute: Minute::default(),
        }
    }

    /// Takes the object at a place. If asked to, it turns back at an array `Records`.
    pub(super) fn take(
        &mut self,
        text: &[u8],
        index: &mut Index,
        start: usize,
        limits: &Limits,
        container: bool,
    ) -> Taken {
        self.start = start;
        self.present = 0;
        self.others.clear();
        self.twice = None;
        self.order.begin();
        while index.is_at_end(start) && index.more(text, start) {}
        let mut walk = Walk::new(index, start + 1);
        loop {
            match self.member(text, index, &walk, container) {
                Ok(end) => walk.pass(end),
                Err(Stop::Short) if index.more(text, start) => {}
                Err(Stop::Short) => return Taken::Short,
                Err(Stop::End(at)) => return self.ended(text, index, at, limits),
                Err(Stop::Bad(at, expected)) => {
                    return self.broken(text, index, &walk, (at, expected), limits);
                }
                Err(Stop::Container(at)) => return Taken::Container(at),
            }
        }
    }

    /// Takes the next member: where it ends.
    #[inline]
    fn member(&mut self, text: &[u8], index: &Index, walk: &Walk, container: bool) -> Result<usize, Stop> {
        let (field, name) = self.order.guess();
        if let Some(value) = walk.expected(text, index, name) {
            self.order.came(field);
            self.note(field, value);
            return Ok(value.end);
        }
        if let Some(at) = walk.end(text) {
            return Err(Stop::End(at));
        }
        self.any_member(text, index, *walk, container)
    }

    #[inline(never)]
    fn any_member(&mut self, text: &[u8], index: &Index, walk: Walk, container: bool) -> Result<usize, Stop> {
        let key = walk.key(text, index)?;
        let [b'"', name @ .., b'"'] = key.span.of(text) else { return Err(Stop::Short) };
        let field = Field::of(name);
        if container && field.is_none() && name == b"Records" && key.value.0 == b'[' {
            return Err(Stop::Container(key.value.1));
        }
        let value = walk.value(text, index, key.value)?;
        if let Some(field) = field {
            self.order.learn(field);
            self.note(field, value);
        } else {
            let key = Span { start: key.span.start + 1, end: key.span.end - 1 };
            self.note_other(key, name, value);
        }
        Ok(value.end)
    }

    /// Keeps where a field is.
    #[inline]
    fn note(&mut self, field: Field, value: Span) {
        let bit = 1 << field as u32;
        if self.present & bit != 0 {
            self.twice = Some(field);
        }
        self.present |= bit;
        if let Some(place) = self.known.get_mut(field as usize) {
            *place = value;
        }
    }

    #[cold]
    fn note_other(&mut self, key: Span, name: &[u8], value: Span) {
        // A documented name may be written with escapes.
        let escaped = memchr::memchr(b'\\', name).and_then(|_| unescaped(name));
        match escaped.and_then(|name| Field::of(name.as_bytes())) {
            Some(field) => self.note(field, value),
            None => self.others.push(Other { key, value }),
        }
    }

    /// What is wrong with a record that is whole.
    fn ended(&mut self, text: &[u8], index: &Index, at: usize, limits: &Limits) -> Taken {
        let end = at + 1;
        self.has_rare = index.has_rare(self.start, end);
        let problem = if end - self.start > limits.max_record {
            Some(Problem::TooLarge { limit: limits.max_record })
        } else if index.is_deeper(self.start, limits.max_depth) {
            Some(Problem::TooDeep { limit: limits.max_depth })
        } else if self.has_rare && !self.is_utf8(text, end) {
            Some(Problem::NotUtf8)
        } else if let Some(field) = self.twice {
            Some(Problem::duplicate(field.name()))
        } else {
            self.other_twice(text).map(|key| Problem::duplicate(&key))
        };
        Taken::Whole(end, problem)
    }

    /// Passes by the rest of an object whose grammar is broken at a place. Its brackets tell where it ends.
    #[cold]
    fn broken(
        &self,
        text: &[u8],
        index: &mut Index,
        walk: &Walk,
        (at, expected): (usize, &str),
        limits: &Limits,
    ) -> Taken {
        loop {
            if let Some(close) = walk.close(index, at) {
                let is_large = close + 1 - self.start > limits.max_record;
                let problem = if is_large {
                    Problem::TooLarge { limit: limits.max_record }
                } else {
                    Problem::not_json(expected)
                };
                return Taken::Whole(close + 1, Some(problem));
            }
            if !index.more(text, at) {
                return Taken::Short;
            }
        }
    }

    fn is_utf8(&self, text: &[u8], end: usize) -> bool {
        std::str::from_utf8(Span { start: self.start, end }.of(text)).is_ok()
    }

    /// A field without a place of its own that comes twice.
    fn other_twice<'t>(&self, text: &'t [u8]) -> Option<Cow<'t, str>> {
        if self.others.len() < 2 {
            return None;
        }
        let key = |other: &Other| unescaped(other.key.of(text)).unwrap_or_default();
        let mut keys: Vec<Cow<'t, str>> = self.others.iter().map(key).collect();
        if keys.len() < MANY {
            let is_twice =
                |(at, key): (usize, &Cow<'t, str>)| keys.iter().skip(at + 1).any(|other| other == key);
            let at = keys.iter().enumerate().position(is_twice)?;
            return keys.into_iter().nth(at);
        }
        keys.sort_unstable();
        let at = keys.windows(2).position(|pair| matches!(pair, [one, two] if one == two))?;
        keys.into_iter().nth(at)
    }

    /// Where the record within an event of EventBridge is, if this is one.
    #[inline]
    pub(super) fn detail(&self, text: &[u8]) -> Option<Span> {
        if self.has(Field::EventId) {
            return None;
        }
        let detail = self.others.iter().find(|other| is_key(other.key.of(text), "detail"))?.value;
        (detail.of(text).first() == Some(&b'{')).then_some(detail)
    }

    /// Whether nothing says that this object is a record.
    pub(super) fn is_no_record(&self) -> bool {
        let telling = [Field::EventId, Field::EventName, Field::EventSource, Field::EventTime];
        !telling.into_iter().any(|field| self.has(field))
    }

    #[inline]
    fn has(&self, field: Field) -> bool {
        self.present & (1 << field as u32) != 0
    }

    /// Where a field is.
    #[inline]
    fn place(&self, field: Field) -> Option<Span> {
        if self.has(field) { self.known.get(field as usize).copied() } else { None }
    }

    /// The envelope of a record that has what every record has.
    #[inline]
    pub(super) fn envelope<'a>(
        &'a mut self,
        text: &'a [u8],
        index: &'a Index,
        span: Span,
    ) -> Result<Envelope<'a>, Problem> {
        self.needed(text, Field::EventId)?;
        self.needed(text, Field::EventName)?;
        self.needed(text, Field::EventSource)?;
        let time = self.needed(text, Field::EventTime)?;
        let seconds = self.minute.seconds(time).ok_or(Problem::WrongType(Field::EventTime.name()))?;
        Ok(Envelope { record: Raw::new(text, index, span), text, index, fields: self, seconds })
    }

    /// What is between the quotes of a text that every record has.
    #[inline]
    fn needed<'t>(&self, text: &'t [u8], field: Field) -> Result<&'t [u8], Problem> {
        match self.place(field).ok_or(Problem::Missing(field.name()))?.of(text) {
            [b'"', inner @ .., b'"'] if !inner.is_empty() && (!self.has_rare || is_text(inner)) => Ok(inner),
            _ => Err(Problem::WrongType(field.name())),
        }
    }
}

/// Whether what is between two quotes has no escape that is none.
#[inline]
fn is_text(inner: &[u8]) -> bool {
    memchr::memchr(b'\\', inner).is_none() || unescaped(inner).is_some()
}

/// The minute of the record before, which is mostly that of the next one too.
#[derive(Debug, Default)]
struct Minute {
    /// As CloudTrail writes it, up to the colon before the seconds.
    text: [u8; 17],
    /// When it began.
    seconds: i64,
}

impl Minute {
    /// The seconds since 1970 of a time as RFC 3339 has it.
    #[inline]
    fn seconds(&mut self, time: &[u8]) -> Option<i64> {
        if let Some((text, [s1, s2, b'Z'])) = time.split_first_chunk()
            && let Some(second) = two(*s1, *s2).filter(|second| *second < 60)
        {
            if *text != self.text {
                let begun = seconds(time)? - second;
                *self = Self { text: *text, seconds: begun };
            }
            return Some(self.seconds + second);
        }
        seconds(time)
    }
}

/// The seconds since 1970 of a time as RFC 3339 has it.
#[inline]
fn seconds(time: &[u8]) -> Option<i64> {
    plain_seconds(time)
        .or_else(|| DateTime::parse_from_rfc3339(&unescaped(time)?).ok().map(|time| time.timestamp()))
}

/// As CloudTrail writes it, `2026-11-25T03:45:00Z`, up to the 28th of a month, which every month has.
#[inline]
fn plain_seconds(time: &[u8]) -> Option<i64> {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T', h1, h2, b':', n1, n2, b':', s1, s2, b'Z'] = *time
    else {
        return None;
    };
    let year = two(y1, y2)? * 100 + two(y3, y4)?;
    let (month, day) = (two(m1, m2)?, two(d1, d2)?);
    let (hour, minute, second) = (two(h1, h2)?, two(n1, n2)?, two(s1, s2)?);
    let is_plain = (1..=12).contains(&month) && (1..=28).contains(&day);
    if !is_plain || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    Some(((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second)
}

/// A number of two digits.
#[inline]
fn two(tens: u8, ones: u8) -> Option<i64> {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    (tens < 10 && ones < 10).then(|| i64::from(tens * 10 + ones))
}

/// The days since 1970 of a date in the Gregorian calendar: years are taken to begin in March, so that the leap day
/// comes last.
#[inline]
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    // From 1 March of the year 0 to 1 January 1970 are 719,468 days.
    year * 365 + leap_days + (153 * month + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_that_are_none_are_none() {
        for time in [
            "",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01",
            "2026-01-01 00:00",
            "1764042300",
            "2026-01-01T00:00:00",
            "2o26-01-01T00:00:00Z",
        ] {
            assert_eq!(seconds(time.as_bytes()), None, "{time}");
        }
    }

    proptest! {
        #[test]
        fn times_are_those_of_chrono(at in -62_135_596_800_i64..253_402_300_799) {
            let time = DateTime::from_timestamp(at, 0).unwrap();
            for form in ["%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S.250Z", "%Y-%m-%dT%H:%M:%S+00:00"] {
                prop_assert_eq!(seconds(time.format(form).to_string().as_bytes()), Some(at));
            }
        }
    }
}
