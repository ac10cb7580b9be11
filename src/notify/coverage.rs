//! When a part of the audit can no longer be read. Pure.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::Reason;
use crate::model::{AccountId, Level, Reading, ReadingResult, Region};
use crate::store::{LastSaid, StoredReading};

/// How much blindness matters: an auditor who cannot look may miss anything.
pub(super) const LEVEL: Level = Level::High;
/// A connection that comes and goes is told of once in this time.
const QUIET: TimeDelta = TimeDelta::minutes(15);

/// What can no longer be read in one account-Region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Loss {
    pub(super) account: AccountId,
    pub(super) region: Option<Region>,
    /// The readings that failed, by API.
    pub(super) readings: Vec<Reading>,
}

impl Loss {
    /// Under what it is kept that this was said.
    pub(super) fn about(&self) -> String {
        subject(&self.account, self.region.as_ref())
    }
}

/// Under what it is kept that something was said about the coverage that a reading belongs to.
pub(super) fn about(reading: &Reading) -> String {
    subject(&reading.account, reading.region.as_ref())
}

fn subject(account: &AccountId, region: Option<&Region>) -> String {
    let region = region.map_or("", |region| region.as_str());
    format!("{}/{account}/{region}", Reason::CoverageLost)
}

/// What was read in full at the last attempt and now not at all, by account-Region.
///
/// What was never read is no loss; the rules on unreadable Regions and keys speak of it. Nor is throttling: it
/// passes, and the readings show it. A call that fails for some keys only is a matter of those keys.
pub(super) fn losses(before: &[StoredReading], readings: &[Reading]) -> Vec<Loss> {
    let key = |reading: &Reading| (reading.account.clone(), reading.region.clone(), reading.api.clone());
    let before: BTreeMap<_, _> =
        before.iter().map(|stored| (key(&stored.reading), &stored.reading)).collect();
    let mut losses: BTreeMap<(AccountId, Option<Region>), Vec<Reading>> = BTreeMap::new();
    for reading in readings {
        let is_lost = matches!(reading.result, ReadingResult::Denied | ReadingResult::Unreachable)
            && reading.failed >= reading.attempts;
        let was_read = before
            .get(&key(reading))
            .is_some_and(|old| old.result == ReadingResult::Ok && old.at <= reading.at);
        if is_lost && was_read {
            losses
                .entry((reading.account.clone(), reading.region.clone()))
                .or_default()
                .push(reading.clone());
        }
    }
    losses
        .into_iter()
        .map(|((account, region), mut readings)| {
            readings.sort_by(|one, other| one.api.cmp(&other.api));
            Loss { account, region, readings }
        })
        .collect()
}

/// Whether this was said a moment ago.
pub(super) fn said_lately(said: &[&LastSaid], now: DateTime<Utc>) -> bool {
    said.iter().any(|entry| now - entry.at < QUIET)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::fixtures::at;

    fn reading(api: &str, result: ReadingResult, failed: u64, seconds: i64) -> Reading {
        Reading {
            account: "111122223333".parse().unwrap(),
            region: Some("eu-central-1".parse().unwrap()),
            api: api.to_owned(),
            result,
            at: at(seconds),
            attempts: 2,
            failed,
            detail: None,
        }
    }

    fn stored(api: &str, result: ReadingResult, seconds: i64) -> StoredReading {
        StoredReading { reading: reading(api, result, 0, seconds), since: at(0) }
    }

    #[test]
    fn a_loss_is_what_was_read_and_is_not_any_more() {
        use ReadingResult::{Denied, Ok, Throttled, Unreachable};
        let before = [stored("a", Ok, 0), stored("b", Ok, 0), stored("c", Denied, 0), stored("d", Ok, 0)];
        let readings = [
            reading("b", Unreachable, 2, 60),
            reading("a", Denied, 2, 60),
            reading("c", Denied, 2, 60),
            reading("d", Throttled, 2, 60),
            reading("never-read", Denied, 2, 60),
        ];
        let found = losses(&before, &readings);
        assert_eq!(found.len(), 1, "one for the account-Region");
        assert_eq!(found[0].readings.iter().map(|reading| &*reading.api).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(found[0].about(), "coverage_lost/111122223333/eu-central-1");
        assert_eq!(losses(&before, &[reading("a", Denied, 1, 60)]), [], "one key of two denies it");
        assert_eq!(losses(&before, &[reading("a", Denied, 2, -60)]), [], "an old reading that comes late");
    }

    #[test]
    fn what_comes_and_goes_is_not_said_all_the_time() {
        let entry = LastSaid {
            topic: "t".to_owned(),
            about: "coverage_lost/111122223333/eu-central-1".to_owned(),
            reason: "coverage_lost".to_owned(),
            at: at(0),
        };
        assert!(said_lately(&[&entry], at(899)));
        assert!(!said_lately(&[&entry], at(900)));
        assert!(!said_lately(&[], at(0)));
    }
}
