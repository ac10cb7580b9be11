//! What one rule says of one subject.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{AccountId, FactMap, KeyArn, KeySetId, Region};

/// What kind of thing a rule judges; Sigma's `logsource.category` for posture rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubjectKind {
    /// One key in one Region.
    Key,
    /// A primary and its replicas, or a single-Region key.
    KeySet,
    /// A CloudTrail trail.
    Trail,
    /// A Region of an account.
    AccountRegion,
    /// A CloudTrail record.
    Event,
}

impl SubjectKind {
    /// The kind's name, as in rules and documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::KeySet => "key_set",
            Self::Trail => "trail",
            Self::AccountRegion => "account_region",
            Self::Event => "event",
        }
    }
}

impl fmt::Display for SubjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Whom a verdict is about, with everything that findings, metrics and alerts are labelled by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Subject {
    /// What kind of thing it is.
    pub kind: SubjectKind,
    /// Its identity within the kind: a key ARN, a key set id, a trail ARN, `ACCOUNT/REGION`, an event id.
    pub id: String,
    /// The account that owns it.
    pub account: AccountId,
    /// The Region it lives in; for a key set, that of its primary, where known.
    pub region: Option<Region>,
    /// The key set concerned.
    pub key_set: Option<KeySetId>,
    /// The key concerned.
    pub key: Option<KeyArn>,
    /// The name of the key set's boundary, declared or inferred.
    pub boundary: Option<String>,
}

/// The four answers of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Nothing is wrong, and everything that had to be known for saying so is known.
    Pass,
    /// A violation.
    Fail,
    /// It could not be told.
    Unknown,
    /// The rule is not about this subject.
    NotApplicable,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 4] = [Self::Pass, Self::Fail, Self::Unknown, Self::NotApplicable];

    /// The outcome's name, as in metrics and documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Unknown => "unknown",
            Self::NotApplicable => "not_applicable",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What one rule says of one subject.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// The rule's name.
    pub rule: String,
    /// Whom it is about.
    pub subject: Subject,
    /// What it says.
    pub outcome: Outcome,
    /// Why it could not be told (`kms:GetKeyPolicy denied`), sorted; empty unless the outcome is unknown.
    pub reasons: Vec<String>,
    /// The rule's message, filled in; empty unless the outcome is a failure.
    pub message: String,
    /// The facts that the rule looked at, by path; empty unless the outcome is a failure.
    pub evidence: FactMap,
    /// For events: what makes two detections one finding (the values of the rule's `group_by` facts).
    pub group: Vec<String>,
}
