//! A record read no further than asked: its top-level fields are found in one pass, their values left as they stand.

use std::borrow::Cow;

use chrono::DateTime;

use super::field::{COUNT, Field};
use super::raw::{Raw, is_key, unescaped};
use super::scan::Index;
use super::split::{Span, Step, Walk};
use super::{Limits, Problem};

/// From how many fields without a place of their own on they are sorted to find one that comes twice.
const MANY: usize = 16;

/// A record whose fields are found and not read.
#[derive(Debug, Clone, Copy)]
pub struct Envelope<'a> {
    record: &'a [u8],
    fields: &'a [Span; COUNT],
    others: &'a [Other],
    seconds: i64,
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
        Raw::new(self.record).json()
    }

    /// The value of a field.
    #[inline]
    pub fn field(&self, field: Field) -> Option<Raw<'a>> {
        let span = self.fields.get(field as usize)?;
        (!span.is_empty()).then(|| Raw::new(span.of(self.record)))
    }

    /// The value of any top-level field by its name.
    pub fn other(&self, name: &str) -> Option<Raw<'a>> {
        if let Some(field) = Field::of(name.as_bytes()) {
            return self.field(field);
        }
        let other = self.others.iter().find(|other| is_key(other.key.of(self.record), name))?;
        Some(Raw::new(other.value.of(self.record)))
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
    known: [Span; COUNT],
    others: Vec<Other>,
    twice: Option<Field>,
    /// Whether there may be escapes in it.
    has_rare: bool,
}

impl Fields {
    pub(super) fn new() -> Self {
        Self { start: 0, known: [Span::default(); COUNT], others: Vec::new(), twice: None, has_rare: false }
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
        self.known = [Span::default(); COUNT];
        self.others.clear();
        self.twice = None;
        // Kept in registers, which a borrowed one is not.
        let mut own = *index;
        own.forget_rare();
        let taken = self.members(text, &mut own, limits, container);
        self.has_rare = own.has_rare();
        *index = own;
        taken
    }

    #[inline]
    fn members(&mut self, text: &[u8], index: &mut Index, limits: &Limits, container: bool) -> Taken {
        let mut walk = Walk::new(self.start + 1);
        loop {
            let (key, key_end, first) = match walk.key(text, index) {
                Step::Next(key) => key,
                Step::End(at) => return self.ended(text, index, at, walk.deepest, limits),
                Step::Short => return Taken::Short,
                Step::Bad(at, expected) => return broken(text, index, at, expected),
            };
            let name = text.get(key + 1..key_end - 1).unwrap_or_default();
            let field = Field::of(name);
            if field.is_none() && container && first == b'[' && name == b"Records" {
                return Taken::Container(walk.at);
            }
            let begin = walk.at;
            match walk.value(text, index, first) {
                Step::Next(end) => self.note(field, name, key, begin, end),
                Step::Bad(at, expected) => return broken(text, index, at, expected),
                Step::Short | Step::End(_) => return Taken::Short,
            }
        }
    }

    /// Keeps where a field is.
    #[inline]
    fn note(&mut self, field: Option<Field>, name: &[u8], key: usize, begin: usize, end: usize) {
        let value = Span { start: begin - self.start, end: end - self.start };
        if let Some(place) = field.and_then(|field| self.known.get_mut(field as usize)) {
            if !place.is_empty() {
                self.twice = field;
            }
            *place = value;
        } else {
            self.note_other(name, key, value);
        }
    }

    #[cold]
    fn note_other(&mut self, name: &[u8], key: usize, value: Span) {
        // A documented name may be written with escapes.
        let escaped = memchr::memchr(b'\\', name).and_then(|_| unescaped(name));
        if let Some(field) = escaped.and_then(|name| Field::of(name.as_bytes()))
            && let Some(place) = self.known.get_mut(field as usize)
        {
            if !place.is_empty() {
                self.twice = Some(field);
            }
            *place = value;
            return;
        }
        let start = key + 1 - self.start;
        self.others.push(Other { key: Span { start, end: start + name.len() }, value });
    }

    /// What is wrong with a record that is whole.
    fn ended(&self, text: &[u8], index: &Index, at: usize, deepest: usize, limits: &Limits) -> Taken {
        let record = text.get(self.start..=at).unwrap_or_default();
        let problem = if record.len() > limits.max_record {
            Some(Problem::TooLarge { limit: limits.max_record })
        } else if deepest >= limits.max_depth {
            Some(Problem::TooDeep { limit: limits.max_depth })
        } else if index.has_rare() && std::str::from_utf8(record).is_err() {
            Some(Problem::NotUtf8)
        } else if let Some(field) = self.twice {
            Some(Problem::duplicate(field.name()))
        } else {
            self.other_twice(record).map(|key| Problem::duplicate(&key))
        };
        Taken::Whole(at + 1, problem)
    }

    /// A field without a place of its own that comes twice.
    fn other_twice<'t>(&self, record: &'t [u8]) -> Option<Cow<'t, str>> {
        if self.others.len() < 2 {
            return None;
        }
        let key = |other: &Other| unescaped(other.key.of(record)).unwrap_or_default();
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
    pub(super) fn detail(&self, record: &[u8]) -> Option<Span> {
        if self.has(Field::EventId) {
            return None;
        }
        let detail = self.others.iter().find(|other| is_key(other.key.of(record), "detail"))?.value;
        (detail.of(record).first() == Some(&b'{')).then_some(detail)
    }

    /// Whether nothing says that this object is a record.
    pub(super) fn is_no_record(&self) -> bool {
        let telling = [Field::EventId, Field::EventName, Field::EventSource, Field::EventTime];
        !telling.into_iter().any(|field| self.has(field))
    }

    fn has(&self, field: Field) -> bool {
        self.known.get(field as usize).is_some_and(|span| !span.is_empty())
    }

    /// The envelope of a record that has what every record has.
    pub(super) fn envelope<'a>(&'a self, record: &'a [u8]) -> Result<Envelope<'a>, Problem> {
        let text = |field: Field| {
            let span = self.known.get(field as usize).copied().unwrap_or_default();
            match span.of(record) {
                [] => Err(Problem::Missing(field.name())),
                [b'"', inner @ .., b'"'] if !inner.is_empty() && (!self.has_rare || is_text(inner)) => {
                    Ok(inner)
                }
                _ => Err(Problem::WrongType(field.name())),
            }
        };
        text(Field::EventId)?;
        text(Field::EventName)?;
        text(Field::EventSource)?;
        let time = text(Field::EventTime)?;
        let seconds = seconds(time).ok_or(Problem::WrongType(Field::EventTime.name()))?;
        Ok(Envelope { record, fields: &self.known, others: &self.others, seconds })
    }
}

/// Whether what is between two quotes has no escape that is none.
#[inline]
fn is_text(inner: &[u8]) -> bool {
    memchr::memchr(b'\\', inner).is_none() || unescaped(inner).is_some()
}

/// Passes by the rest of an object whose grammar is broken at a place. Its brackets tell where it ends.
#[cold]
fn broken(text: &[u8], index: &mut Index, at: usize, expected: &str) -> Taken {
    match index.close(text, at) {
        Some(close) => Taken::Whole(close.at + 1, Some(Problem::not_json(expected))),
        None => Taken::Short,
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
    let two = |tens: u8, ones: u8| {
        let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
        (tens < 10 && ones < 10).then(|| i64::from(tens * 10 + ones))
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
