//! AWS's published request quotas, each for one account, Region and operation.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::call::Call;
use crate::model::{AccountId, Region};

/// Requests a second. KMS by its developer guide (request quotas); CloudTrail by its user guide: 2 for
/// `LookupEvents`, 10 for what only reads. What is not here is not limited.
const PER_SECOND: &[(&str, &str, u32)] = &[
    ("cloudtrail", "DescribeTrails", 10),
    ("cloudtrail", "GetEventSelectors", 10),
    ("cloudtrail", "GetTrailStatus", 10),
    ("cloudtrail", "LookupEvents", 2),
    ("kms", "DescribeCustomKeyStores", 5),
    ("kms", "DescribeKey", 2000),
    ("kms", "GetKeyLastUsage", 5),
    ("kms", "GetKeyPolicy", 1000),
    ("kms", "GetKeyRotationStatus", 1000),
    ("kms", "GetPublicKey", 2000),
    ("kms", "ListAliases", 500),
    ("kms", "ListGrants", 100),
    ("kms", "ListKeyPolicies", 100),
    ("kms", "ListKeyRotations", 100),
    ("kms", "ListKeys", 500),
    ("kms", "ListResourceTags", 2000),
    ("kms", "ListRetirableGrants", 100),
    ("kms", "RotateKeyOnDemand", 5),
];

/// The published quota of an operation, in requests a second.
pub fn published(service: &str, operation: &str) -> Option<u32> {
    let row = PER_SECOND.iter().find(|(of, name, _)| *of == service && *name == operation);
    row.map(|(_, _, quota)| *quota)
}

/// What is left of one quota. A full bucket holds one second's requests.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: DateTime<Utc>,
}

/// Throttles what exceeds the quotas.
#[derive(Debug, Clone)]
pub struct Quotas {
    /// Whether calls are throttled at all.
    pub enabled: bool,
    buckets: BTreeMap<(AccountId, Region, &'static str), Bucket>,
}

impl Default for Quotas {
    fn default() -> Self {
        Self { enabled: true, buckets: BTreeMap::new() }
    }
}

impl Quotas {
    /// Whether a call stays within its quota at a time; if so it is counted.
    pub fn admits(&mut self, call: &Call, now: DateTime<Utc>) -> bool {
        if !self.enabled {
            return true;
        }
        let limit = PER_SECOND.iter().find(|(of, name, _)| *of == call.service && *name == call.operation);
        let Some((_, operation, quota)) = limit else { return true };
        let capacity = f64::from(*quota);
        let bucket = self
            .buckets
            .entry((call.account.clone(), call.region.clone(), operation))
            .or_insert(Bucket { tokens: capacity, at: now });
        // A clock that was moved back gives nothing.
        let elapsed = (now - bucket.at).max(TimeDelta::zero()).min(TimeDelta::seconds(1));
        let seconds = elapsed.as_seconds_f64();
        *bucket = Bucket { tokens: (bucket.tokens + seconds * capacity).min(capacity), at: now };
        let admitted = bucket.tokens >= 1.0;
        if admitted {
            bucket.tokens -= 1.0;
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::testing::{call, other_account};

    fn noon() -> DateTime<Utc> {
        "2026-11-23T12:00:00Z".parse().unwrap()
    }

    fn admitted(quotas: &mut Quotas, call: &Call, calls: usize, now: DateTime<Utc>) -> usize {
        (0..calls).filter(|_| quotas.admits(call, now)).count()
    }

    #[test]
    fn a_quota_lets_a_second_s_worth_through_and_fills_again() {
        let mut quotas = Quotas::default();
        let look_up = call("eu-west-1", "cloudtrail", "LookupEvents");
        assert_eq!(admitted(&mut quotas, &look_up, 5, noon()), 2);
        assert_eq!(admitted(&mut quotas, &look_up, 5, noon() + TimeDelta::milliseconds(500)), 1);
        assert_eq!(admitted(&mut quotas, &look_up, 5, noon() + TimeDelta::days(1)), 2);
        assert_eq!(admitted(&mut quotas, &look_up, 5, noon()), 0, "a clock moved back gives nothing");
    }

    #[test]
    fn accounts_regions_and_operations_have_quotas_of_their_own() {
        let mut quotas = Quotas::default();
        let last_usage = call("eu-west-1", "kms", "GetKeyLastUsage");
        assert_eq!(admitted(&mut quotas, &last_usage, 9, noon()), 5);
        for other in [
            call("eu-central-1", "kms", "GetKeyLastUsage"),
            call("eu-west-1", "kms", "DescribeCustomKeyStores"),
            Call { account: other_account(), ..call("eu-west-1", "kms", "GetKeyLastUsage") },
        ] {
            assert_eq!(admitted(&mut quotas, &other, 9, noon()), 5);
        }
        assert_eq!(admitted(&mut quotas, &call("eu-west-1", "kms", "CreateKey"), 9, noon()), 9);
    }

    #[test]
    fn quotas_can_be_switched_off() {
        let mut quotas = Quotas { enabled: false, ..Quotas::default() };
        assert_eq!(admitted(&mut quotas, &call("eu-west-1", "kms", "GetKeyLastUsage"), 99, noon()), 99);
        assert_eq!(published("kms", "ListGrants"), Some(100));
        assert_eq!(published("kms", "CreateKey"), None);
    }
}
