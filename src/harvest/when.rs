//! When an event took place, read fast.

use chrono::DateTime;

use crate::records::{Envelope, Field};

const MICROS_A_SECOND: i64 = 1_000_000;
const SECONDS_AN_HOUR: i64 = 3_600;

/// A time, as the ledger needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct When {
    /// Hours since 1970 in UTC.
    pub(super) hour: i64,
    /// Microseconds since 1970 in UTC.
    pub(super) micros: i64,
}

/// Reads times; remembers the hour of the last one, since a file's events are mostly of one or two.
#[derive(Debug, Default)]
pub(super) struct Clock {
    /// `2026-11-23T13` and the hour that it is.
    last: Option<([u8; 13], i64)>,
}

impl Clock {
    /// The time of an event; none if it is no RFC 3339.
    pub(super) fn read(&mut self, envelope: &Envelope<'_>) -> Option<When> {
        let text = envelope.text(Field::EventTime)?;
        self.read_text(&text)
    }

    fn read_text(&mut self, text: &str) -> Option<When> {
        // `2026-11-23T13:05:00Z`, as CloudTrail writes times.
        let (Some((hour, rest)), Some((last, number))) = (text.as_bytes().split_first_chunk::<13>(), self.last)
        else {
            return self.parse(text);
        };
        match (*hour == last, rest) {
            (true, [b':', m1, m2, b':', s1, s2, b'Z']) => match (digits(*m1, *m2), digits(*s1, *s2)) {
                (Some(minutes @ 0..60), Some(seconds @ 0..60)) => {
                    let seconds = number * SECONDS_AN_HOUR + minutes * 60 + seconds;
                    Some(When { hour: number, micros: seconds * MICROS_A_SECOND })
                }
                _ => self.parse(text),
            },
            _ => self.parse(text),
        }
    }

    fn parse(&mut self, text: &str) -> Option<When> {
        let time = DateTime::parse_from_rfc3339(text).ok()?;
        let hour = time.timestamp().div_euclid(SECONDS_AN_HOUR);
        if text.ends_with('Z') {
            self.last = text.as_bytes().first_chunk::<13>().map(|prefix| (*prefix, hour));
        }
        Some(When { hour, micros: time.timestamp_micros() })
    }
}

fn digits(tens: u8, ones: u8) -> Option<i64> {
    let digit = |byte: u8| byte.is_ascii_digit().then(|| i64::from(byte - b'0'));
    Some(digit(tens)? * 10 + digit(ones)?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_of_any_form_are_read_and_others_are_not() {
        let mut clock = Clock::default();
        for text in ["2026-11-23T13:05:59Z", "2026-11-23T13:05:59.250Z", "2026-11-23T15:05:59+02:00"] {
            let read = clock.read_text(text).unwrap();
            let expected = DateTime::parse_from_rfc3339(text).unwrap();
            assert_eq!(read.micros, expected.timestamp_micros(), "{text}");
            assert_eq!(read.hour, expected.timestamp() / 3_600);
        }
        for text in ["", "2026-11-23", "2026-11-23T13:61:00Z", "2026-11-23T13:0x:00Z", "2026-11-23T13:05:00", "é"] {
            assert_eq!(clock.read_text(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_fast_way_reads_what_the_slow_way_reads(seconds in proptest::collection::vec(0_i64..8_000_000_000, 1..20)) {
            let mut clock = Clock::default();
            for second in seconds {
                let text = DateTime::from_timestamp(second, 0).unwrap().format("%Y-%m-%dT%H:%M:%SZ").to_string();
                for _ in 0..2 {
                    let read = clock.read_text(&text).unwrap();
                    prop_assert_eq!((read.micros, read.hour), (second * 1_000_000, second / 3_600));
                }
            }
        }
    }
}
