//! One pass over one window of time, which may take several rounds.

use chrono::{DateTime, Duration, SecondsFormat, Utc};

use super::lanes::Lane;
use crate::config;

/// CloudTrail keeps this many days.
const KEPT_DAYS: i64 = 90;

/// Uses of keys are many: going back for hours in each pass would take all the requests that there are.
const USAGE_OVERLAP: Duration = Duration::minutes(15);

/// A pass over uses of keys goes at most this far, so that its cursor moves on even under a flood.
const USAGE_WINDOW: Duration = Duration::hours(1);

/// A window of time, and how far its pages have been read. Start and end stay as they are until the pass is
/// over, since a page token is good for exactly the query that gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pass {
    pub(super) start: DateTime<Utc>,
    pub(super) end: DateTime<Utc>,
    /// The next page; none for the first.
    pub(super) token: Option<String>,
    /// How many batches the pass has given.
    pub(super) parts: u32,
    /// How often in a row a page failed.
    pub(super) failures: u32,
}

impl Pass {
    /// The pass that follows a cursor (an RFC 3339 time up to which everything was looked up).
    pub(super) fn after(
        cursor: Option<&str>,
        lane: Lane,
        config: &config::Lookup,
        now: DateTime<Utc>,
    ) -> Self {
        let now = whole_seconds(now);
        let back = |seconds: u64| now - duration(seconds);
        let mut overlap = duration(config.overlap_secs);
        if lane == Lane::Usage {
            overlap = overlap.min(USAGE_OVERLAP);
        }
        let looked_up_to = cursor.and_then(|text| DateTime::parse_from_rfc3339(text).ok());
        let start = looked_up_to.map_or_else(
            || back(config.first_secs),
            |time| whole_seconds(time.with_timezone(&Utc)).min(now) - overlap,
        );
        let start = start.max(now - Duration::days(KEPT_DAYS) + Duration::minutes(1));
        let end = match lane {
            Lane::Usage => now.min(start + overlap + USAGE_WINDOW),
            Lane::Mutation(_) => now,
        };
        Self { start: start.min(end), end, token: None, parts: 0, failures: 0 }
    }

    /// The cursor once the pass is over.
    pub(super) fn cursor(&self) -> String {
        self.end.to_rfc3339_opts(SecondsFormat::Secs, true)
    }

    /// The window, for batch ids.
    pub(super) fn window(&self) -> String {
        let text = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Secs, true);
        format!("{}..{}", text(self.start), text(self.end))
    }
}

/// Whether a cursor should be written though nothing new was found: it lags so far that the next windows
/// would get noticeably longer. Until then, writing it is not worth a transaction.
pub(super) fn is_due(stored: Option<&str>, pass: &Pass, config: &config::Lookup) -> bool {
    let stored = stored.and_then(|text| DateTime::parse_from_rfc3339(text).ok());
    stored.is_none_or(|stored| pass.end - stored.with_timezone(&Utc) >= duration(config.overlap_secs / 4))
}

fn duration(seconds: u64) -> Duration {
    let days = i64::try_from(seconds).unwrap_or(i64::MAX).min(KEPT_DAYS * 86_400);
    Duration::seconds(days)
}

/// CloudTrail's times have whole seconds.
fn whole_seconds(time: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp(time.timestamp(), 0).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn config(overlap_secs: u64, first_secs: u64) -> config::Lookup {
        config::Lookup { overlap_secs, first_secs, ..config::Lookup::default() }
    }

    const NOW: &str = "2026-11-23T12:00:00.5Z";
    const MUTATION: Lane = Lane::Mutation("ReplicateKey");

    #[test]
    fn the_first_window_goes_back_as_configured_and_never_beyond_what_is_kept() {
        let pass = Pass::after(None, MUTATION, &config(7200, 3600), at(NOW));
        assert_eq!(pass.window(), "2026-11-23T11:00:00Z..2026-11-23T12:00:00Z");
        let pass = Pass::after(None, MUTATION, &config(7200, u64::MAX), at(NOW));
        assert!(pass.start > at(NOW) - Duration::days(90));
    }

    #[test]
    fn later_windows_overlap() {
        let pass = Pass::after(Some("2026-11-23T11:59:00Z"), MUTATION, &config(7200, 3600), at(NOW));
        assert_eq!(pass.start, at("2026-11-23T09:59:00Z"));
        assert_eq!(pass.cursor(), "2026-11-23T12:00:00Z");
    }

    #[test]
    fn usage_goes_forward_an_hour_at_a_time_with_a_short_overlap() {
        let pass = Pass::after(Some("2026-11-23T06:00:00Z"), Lane::Usage, &config(7200, 3600), at(NOW));
        assert_eq!(pass.window(), "2026-11-23T05:45:00Z..2026-11-23T07:00:00Z");
        let pass = Pass::after(Some("2026-11-23T11:59:00Z"), Lane::Usage, &config(60, 3600), at(NOW));
        assert_eq!(pass.window(), "2026-11-23T11:58:00Z..2026-11-23T12:00:00Z");
    }

    #[test]
    fn a_cursor_is_written_only_once_it_lags() {
        let stored = Some("2026-11-23T11:59:00Z");
        let config = config(7200, 3600);
        assert!(!is_due(stored, &Pass::after(stored, MUTATION, &config, at(NOW)), &config));
        assert!(is_due(None, &Pass::after(None, MUTATION, &config, at(NOW)), &config));
        let older = Some("2026-11-23T11:30:00Z");
        assert!(is_due(older, &Pass::after(older, MUTATION, &config, at(NOW)), &config));
    }

    proptest! {
        #[test]
        fn no_time_is_left_out_between_two_passes(
            overlap in 0_u64..20_000,
            first in 0_u64..200_000,
            rounds in prop::collection::vec(0_i64..10_000, 1..20),
            usage: bool,
        ) {
            let (lane, config) = (if usage { Lane::Usage } else { MUTATION }, config(overlap, first));
            let mut now = at("2026-11-23T12:00:00Z");
            let mut cursor: Option<String> = None;
            let mut covered: Option<DateTime<Utc>> = None;
            for step in rounds {
                now += Duration::seconds(step);
                let pass = Pass::after(cursor.as_deref(), lane, &config, now);
                prop_assert!(pass.start <= pass.end && pass.end <= now);
                if let Some(covered) = covered {
                    prop_assert!(pass.start <= covered, "a gap");
                    prop_assert!(pass.end >= covered, "the cursor went back");
                }
                covered = Some(pass.end);
                cursor = Some(pass.cursor());
            }
        }
    }
}
