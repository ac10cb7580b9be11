//! What one value of a document is compared with.

use std::io::Write as _;
use std::net::IpAddr;

use chrono::{DateTime, Datelike, Timelike, Utc};

use super::document::Scalar;
use super::pattern::TextTest;

/// A test of one scalar.
#[derive(Debug, Clone)]
pub(super) enum Matcher {
    /// A text, or a number or boolean as text.
    Text(TextTest),
    /// Equal to a number, or to a text that writes the same number the same way.
    Number(Number),
    /// Equal to a boolean, or to the text of it.
    Bool(bool),
    /// Less or greater than a number.
    Compare(Comparison, Number),
    /// An address in a network.
    Network(Network),
    /// A part of a time in UTC.
    TimePart(TimePart, Comparison, i64),
    /// Any of several.
    Any(Box<[Matcher]>),
}

/// A number of a rule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Number {
    Int(i64),
    Float(f64),
}

/// How numbers are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// What part of a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TimePart {
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Year,
}

impl Matcher {
    /// Whether a value passes.
    pub(super) fn matches(&self, scalar: Scalar<'_>) -> bool {
        match self {
            Self::Text(test) => as_text(scalar, |text| test.matches(text)),
            Self::Number(number) => number.equals(scalar),
            Self::Bool(expected) => match scalar {
                Scalar::Bool(value) => value == *expected,
                Scalar::Text(text) => text.eq_ignore_ascii_case(if *expected { "true" } else { "false" }),
                Scalar::Int(_) | Scalar::Float(_) => false,
            },
            Self::Compare(comparison, number) => number.compared(scalar, *comparison),
            Self::Network(network) => match scalar {
                Scalar::Text(text) => text.parse().is_ok_and(|address| network.contains(address)),
                _ => false,
            },
            Self::TimePart(part, comparison, number) => match scalar {
                Scalar::Text(text) => part.of(text).is_some_and(|value| comparison.holds(value.cmp(number))),
                _ => false,
            },
            Self::Any(matchers) => matchers.iter().any(|matcher| matcher.matches(scalar)),
        }
    }

    /// Whether any of its tests is one of text.
    pub(super) fn reads_text(&self) -> bool {
        match self {
            Self::Text(_) => true,
            Self::Any(matchers) => matchers.iter().any(Self::reads_text),
            _ => false,
        }
    }

    /// The values in lower case, where the test is for equality with ASCII texts and nothing else.
    pub(super) fn only_values(&self) -> Option<Vec<String>> {
        match self {
            Self::Text(test) => test.only_values(),
            _ => None,
        }
    }
}

/// Hands a value to `check` as text, without allocating.
pub(super) fn as_text(scalar: Scalar<'_>, check: impl FnOnce(&str) -> bool) -> bool {
    // Enough for every i64; a float that writes longer than this is compared as a number only.
    let mut buffer = [0_u8; 32];
    match scalar {
        Scalar::Text(text) => check(text),
        Scalar::Bool(value) => check(if value { "true" } else { "false" }),
        Scalar::Int(value) => written(&mut buffer, format_args!("{value}")).is_some_and(check),
        Scalar::Float(value) => written(&mut buffer, format_args!("{value}")).is_some_and(check),
    }
}

fn written<'b>(buffer: &'b mut [u8], text: std::fmt::Arguments<'_>) -> Option<&'b str> {
    let capacity = buffer.len();
    let mut rest = &mut *buffer;
    rest.write_fmt(text).ok()?;
    let len = capacity.checked_sub(rest.len())?;
    std::str::from_utf8(buffer.get(..len)?).ok()
}

impl Number {
    fn equals(self, scalar: Scalar<'_>) -> bool {
        match (self, scalar) {
            (Self::Int(number), Scalar::Text(text)) => {
                // `007` is an identifier and not the number 7.
                as_text(Scalar::Int(number), |written| written == text)
            }
            (_, Scalar::Bool(_)) => false,
            _ => self.compared(scalar, Comparison::Equal),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "comparing with a float is as exact as floats are")]
    fn compared(self, scalar: Scalar<'_>, comparison: Comparison) -> bool {
        let value = match scalar {
            Scalar::Int(value) => Self::Int(value),
            Scalar::Float(value) => Self::Float(value),
            Scalar::Text(text) => match (text.parse(), text.parse()) {
                (Ok(value), _) => Self::Int(value),
                (_, Ok(value)) => Self::Float(value),
                _ => return false,
            },
            Scalar::Bool(_) => return false,
        };
        let ordering = match (value, self) {
            (Self::Int(value), Self::Int(number)) => Some(value.cmp(&number)),
            (Self::Int(value), Self::Float(number)) => (value as f64).partial_cmp(&number),
            (Self::Float(value), Self::Int(number)) => value.partial_cmp(&(number as f64)),
            (Self::Float(value), Self::Float(number)) => value.partial_cmp(&number),
        };
        ordering.is_some_and(|ordering| comparison.holds(ordering))
    }
}

impl Comparison {
    fn holds(self, ordering: std::cmp::Ordering) -> bool {
        match self {
            Self::Equal => ordering.is_eq(),
            Self::Less => ordering.is_lt(),
            Self::LessOrEqual => ordering.is_le(),
            Self::Greater => ordering.is_gt(),
            Self::GreaterOrEqual => ordering.is_ge(),
        }
    }
}

impl TimePart {
    fn of(self, text: &str) -> Option<i64> {
        let time = DateTime::parse_from_rfc3339(text).ok()?.with_timezone(&Utc);
        Some(match self {
            Self::Minute => time.minute().into(),
            Self::Hour => time.hour().into(),
            Self::Day => time.day().into(),
            Self::Week => time.iso_week().week().into(),
            Self::Month => time.month().into(),
            Self::Year => time.year().into(),
        })
    }
}

/// A network in CIDR notation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Network {
    /// The address as 128 bits, IPv4 in the highest 32.
    bits: u128,
    prefix: u32,
    v4: bool,
}

impl Network {
    /// Reads `10.0.0.0/8` or `fd00::/8`; a bare address is a network of one.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix.parse().ok()?)),
            None => (text, None),
        };
        let (bits, v4) = bits(address.parse().ok()?);
        let longest = if v4 { 32 } else { 128 };
        let prefix = prefix.unwrap_or(longest);
        (prefix <= longest).then_some(Self { bits, prefix, v4 })
    }

    fn contains(self, address: IpAddr) -> bool {
        let (bits, v4) = bits(address);
        v4 == self.v4 && (bits ^ self.bits).leading_zeros() >= self.prefix
    }
}

fn bits(address: IpAddr) -> (u128, bool) {
    match address.to_canonical() {
        IpAddr::V4(address) => (u128::from(u32::from(address)) << 96, true),
        IpAddr::V6(address) => (u128::from(address), false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::pattern::Pattern;

    #[test]
    fn numbers_compare_with_numbers_and_with_their_texts() {
        let seven = Matcher::Number(Number::Int(7));
        assert!(seven.matches(Scalar::Int(7)));
        assert!(seven.matches(Scalar::Float(7.0)));
        assert!(seven.matches(Scalar::Text("7")));
        assert!(!seven.matches(Scalar::Text("007")), "an identifier is not a number");
        assert!(!seven.matches(Scalar::Bool(true)));

        let at_most = Matcher::Compare(Comparison::LessOrEqual, Number::Float(7.5));
        assert!(at_most.matches(Scalar::Int(7)));
        assert!(at_most.matches(Scalar::Text("7.5")));
        assert!(!at_most.matches(Scalar::Int(8)));
        assert!(!at_most.matches(Scalar::Text("seven")));
        assert!(!at_most.matches(Scalar::Float(f64::NAN)));
        let big = Matcher::Compare(Comparison::Greater, Number::Int(i64::MAX - 1));
        assert!(big.matches(Scalar::Int(i64::MAX)), "whole numbers compare exactly");
    }

    #[test]
    fn booleans_match_their_texts_and_texts_match_booleans() {
        assert!(Matcher::Bool(true).matches(Scalar::Bool(true)));
        assert!(Matcher::Bool(true).matches(Scalar::Text("True")));
        assert!(!Matcher::Bool(true).matches(Scalar::Text("yes")));
        assert!(!Matcher::Bool(false).matches(Scalar::Int(0)));
        let text = Matcher::Text(TextTest::new(&[Pattern::plain("true", false)], &[]).unwrap());
        assert!(text.matches(Scalar::Bool(true)));
        let number = Matcher::Text(TextTest::new(&[Pattern::plain("-12", false)], &[]).unwrap());
        assert!(number.matches(Scalar::Int(-12)));
    }

    #[test]
    fn addresses_are_in_networks() {
        let within = |network: &str, address: &str| {
            Matcher::Network(Network::parse(network).unwrap()).matches(Scalar::Text(address))
        };
        assert!(within("10.0.0.0/8", "10.255.1.2"));
        assert!(!within("10.0.0.0/8", "11.0.0.1"));
        assert!(within("0.0.0.0/0", "8.8.8.8"));
        assert!(!within("0.0.0.0/0", "::1"));
        assert!(within("fd00::/8", "fd12::1"));
        assert!(within("192.0.2.1", "192.0.2.1"));
        assert!(within("10.0.0.0/8", "::ffff:10.0.0.1"), "an IPv4 address in IPv6 clothes");
        assert!(!within("10.0.0.0/8", "kms.amazonaws.com"));
        for wrong in ["10.0.0.0/33", "10.0.0/8", "x/8", "::/129"] {
            assert_eq!(Network::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn parts_of_times_are_those_of_utc() {
        let at = |part, comparison, number| {
            Matcher::TimePart(part, comparison, number).matches(Scalar::Text("2026-11-23T23:30:00-02:00"))
        };
        assert!(at(TimePart::Hour, Comparison::Equal, 1));
        assert!(at(TimePart::Day, Comparison::Equal, 24));
        assert!(at(TimePart::Year, Comparison::GreaterOrEqual, 2026));
        assert!(!at(TimePart::Minute, Comparison::Less, 30));
        assert!(!Matcher::TimePart(TimePart::Hour, Comparison::Equal, 1).matches(Scalar::Text("noon")));
    }
}
