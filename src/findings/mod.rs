//! Verdicts and what was open before become what changes.
//!
//! Posture findings ([`settle()`], [`vanish`]) follow a state and resolve when it is mended; detections
//! ([`detect()`]) follow events and end by [`acknowledge`] or [`age_out`]. [`Exceptions`] permit violations
//! for a time; [`reconsider`] applies them where nothing new was read.

mod calls;
mod detect;
mod exceptions;
mod settle;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::model::{Finding, FindingChange, FindingState, Level, SubjectKind, Transition};

pub use detect::{Detection, EVENT_IDS, RECORDS, acknowledge, age_out, detect, id_of};
pub use exceptions::{Exception, ExceptionError, Exceptions, Scope};
pub use settle::{reconsider, release, settle, vanish};

/// The member of a resolved finding's evidence that tells why it was resolved.
pub const RESOLUTION: &str = "resolution";

/// What a finding takes from its rule.
#[derive(Debug, Clone, Copy)]
pub struct RuleInfo<'a> {
    /// The rule's level.
    pub level: Level,
    /// The rule's title.
    pub title: &'a str,
    /// What to do, with the command.
    pub remediation: &'a str,
    /// The framework controls that it concerns, by framework.
    pub controls: &'a BTreeMap<String, Vec<String>>,
}

/// The rules in force, by name.
pub trait RuleBook {
    /// What findings of this rule carry; none if no such rule is loaded.
    fn rule_info(&self, name: &str) -> Option<RuleInfo<'_>>;

    /// Whether there is such a rule, and only a mistake in its file keeps it from being loaded.
    fn is_left_out(&self, name: &str) -> bool;
}

/// The id of a posture finding: stable over restarts, rule texts and readings.
pub fn posture_id(rule: &str, kind: SubjectKind, subject: &str) -> String {
    hash_of(["posture", rule, kind.as_str(), subject])
}

/// The id of a detection: one for each group of like events of a rule.
pub fn detection_id(rule: &str, group: &[String]) -> String {
    hash_of(["detection", rule].into_iter().chain(group.iter().map(String::as_str)))
}

/// 128 bits of SHA-256 over the parts, in hex. The length before each part keeps `["ab", "c"]` and
/// `["a", "bc"]` apart.
pub(crate) fn hash_of<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().iter().take(16).fold(String::with_capacity(32), |mut hex, byte| {
        for digit in [byte >> 4, byte & 0x0f] {
            hex.extend(char::from_digit(u32::from(digit), 16));
        }
        hex
    })
}

/// The finding, resolved, with the reason kept in its evidence.
fn resolved(finding: &Finding, because: &str, now: DateTime<Utc>) -> FindingChange {
    let mut finding = finding.clone();
    finding.state = FindingState::Resolved;
    finding.resolved_at = Some(now);
    finding.stale = false;
    finding.exception = None;
    if let Value::Object(evidence) = &mut finding.evidence {
        evidence.insert(RESOLUTION.to_owned(), Value::from(because));
    }
    FindingChange { finding, transition: Transition::Resolved }
}

/// Evidence as JSON. A fact that is no number in JSON (NaN) shows as null; nothing else can go wrong.
fn evidence_of(facts: &crate::model::FactMap) -> Value {
    serde_json::to_value(facts).unwrap_or_else(|_| Value::Object(serde_json::Map::new()))
}

#[cfg(test)]
pub(crate) mod fixtures {
    //! Verdicts, rules and subjects for the tests of this room and of those after it.

    use super::*;
    use crate::model::{Fact, KeyArn, Outcome, Subject, Verdict};

    /// The name of a rule whose file holds a mistake.
    pub(crate) const BROKEN: &str = "broken";

    /// A rule of its own, for tests.
    #[derive(Debug, Clone)]
    pub(crate) struct TestRule {
        pub(crate) level: Level,
        pub(crate) controls: BTreeMap<String, Vec<String>>,
    }

    impl RuleBook for BTreeMap<String, TestRule> {
        fn rule_info(&self, name: &str) -> Option<RuleInfo<'_>> {
            self.get(name).map(|rule| RuleInfo {
                level: rule.level,
                title: "A Title",
                remediation: "mend it",
                controls: &rule.controls,
            })
        }

        fn is_left_out(&self, name: &str) -> bool {
            name == BROKEN
        }
    }

    pub(crate) fn rules(rules: &[(&str, Level)]) -> BTreeMap<String, TestRule> {
        let controls = BTreeMap::from([("gdpr".to_owned(), vec!["Art. 44".to_owned()])]);
        let rule = |level| TestRule { level, controls: controls.clone() };
        rules.iter().map(|&(name, level)| (name.to_owned(), rule(level))).collect()
    }

    pub(crate) fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_750_000_000 + seconds, 0).unwrap()
    }

    pub(crate) fn key(number: u32) -> KeyArn {
        format!("arn:aws:kms:eu-central-1:111122223333:key/{number:08}-0000").parse().unwrap()
    }

    pub(crate) fn key_subject(number: u32) -> Subject {
        let arn = key(number);
        Subject {
            kind: SubjectKind::Key,
            id: arn.to_string(),
            account: arn.account.clone(),
            region: Some(arn.region.clone()),
            key_set: Some(arn.key_set()),
            key: Some(arn),
            boundary: Some("eea".to_owned()),
        }
    }

    pub(crate) fn verdict(rule: &str, outcome: Outcome) -> Verdict {
        let failed = outcome == Outcome::Fail;
        let reasons =
            if outcome == Outcome::Unknown { vec!["kms:GetKeyPolicy denied".into()] } else { vec![] };
        Verdict {
            rule: rule.to_owned(),
            subject: key_subject(1),
            outcome,
            reasons,
            message: if failed { "it is wrong".to_owned() } else { String::new() },
            evidence: if failed {
                [("key.state".to_owned(), Fact::from("Enabled"))].into()
            } else {
                [].into()
            },
            group: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_stable_over_versions() {
        let id =
            posture_id("rotation-disabled", SubjectKind::Key, "arn:aws:kms:eu-west-1:111122223333:key/a");
        assert_eq!(id, "03ae548c3e8419723d351330e1487a7e");
        assert_eq!(detection_id("key-disabled", &["a".into()]), "4457f441f08409774d9792ee881d32a0");
    }

    #[test]
    fn ids_tell_apart_what_merely_looks_alike() {
        let ids = [
            detection_id("r", &["ab".into(), "c".into()]),
            detection_id("r", &["a".into(), "bc".into()]),
            detection_id("r", &["abc".into()]),
            detection_id("ra", &["bc".into()]),
            posture_id("r", SubjectKind::Key, "abc"),
            posture_id("r", SubjectKind::KeySet, "abc"),
        ];
        assert_eq!(ids.iter().collect::<std::collections::BTreeSet<_>>().len(), ids.len(), "{ids:?}");
    }
}
