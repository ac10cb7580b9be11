//! What a report holds; every rendering draws from this and nothing else.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::framework::FrameworkHead;
use super::proof::Proof;
use super::residency::Residency;
use crate::model::{AccountId, Level, ReadingResult, Region, SubjectKind};

/// A report for one framework at one point in time.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// `keyward.report/v1`.
    pub schema: &'static str,
    /// What made it: `keyward 0.1.0`.
    pub generator: String,
    /// Which framework, and which mapping to it.
    pub framework: FrameworkHead,
    /// The time that it speaks of.
    pub as_of: DateTime<Utc>,
    /// When it was made.
    pub generated_at: DateTime<Utc>,
    /// What was looked at.
    pub scope: Scope,
    /// What could not be read, worst first; empty means that everything in scope was.
    pub coverage_gaps: Vec<CoverageGap>,
    /// The framework's controls.
    pub controls: Vec<ControlReport>,
    /// Where every key set is.
    pub residency: Residency,
    /// Whether key sets were used, or tried, outside their boundary.
    pub proof: Proof,
    /// Findings that concern this framework and stand open.
    pub open_findings: Vec<FindingRow>,
    /// Violations that a recorded exception permits.
    pub excepted_findings: Vec<FindingRow>,
    /// Events that violated a rule and were acknowledged or aged out, as far back as findings are kept.
    pub closed_detections: Vec<FindingRow>,
    /// What AWS Config's own KMS rules say where they disagree with ours.
    pub disagreements: Vec<Opinion>,
    /// How many of AWS Config's evaluations were compared.
    pub opinions_compared: u64,
}

/// What was looked at.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Scope {
    /// The accounts, with their Regions.
    pub accounts: BTreeMap<AccountId, Vec<Region>>,
    /// Keys of both managers.
    pub keys: u64,
    /// Customer managed keys; only those are judged.
    pub customer_keys: u64,
    /// Key sets of customer keys.
    pub key_sets: u64,
    /// Those with multi-Region keys.
    pub multi_region_sets: u64,
    /// Rules that support this framework.
    pub rules: u64,
    /// The newest reading that the report rests on.
    pub newest_reading: Option<DateTime<Utc>>,
    /// The oldest reading that the report rests on.
    pub oldest_reading: Option<DateTime<Utc>>,
}

/// One thing that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct CoverageGap {
    /// The account.
    pub account: AccountId,
    /// The Region; none for the account as a whole.
    pub region: Option<Region>,
    /// The call.
    pub api: String,
    /// What came of it.
    pub result: ReadingResult,
    /// How many calls failed, of how many; of a past time only that some did is on record.
    pub failed: Option<u64>,
    /// How many calls were made.
    pub attempts: Option<u64>,
    /// When.
    pub at: DateTime<Utc>,
    /// The error as AWS gave it.
    pub detail: Option<String>,
}

/// How a control stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ControlStatus {
    /// At least one rule fails somewhere, or detected an event that is not dealt with, and no exception permits it.
    Violated,
    /// Nothing else fails as far as could be told, and something could not be told.
    Undetermined,
    /// What fails is permitted by recorded exceptions; all else that the rules look at passes.
    Excepted,
    /// Everything that the rules look at passes.
    Upheld,
    /// No rule found anything to judge: there is nothing of the kind, or only events are judged and none is open.
    NotApplicable,
}

impl ControlStatus {
    /// The status in words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Violated => "violated",
            Self::Undetermined => "undetermined",
            Self::Excepted => "upheld with exceptions",
            Self::Upheld => "upheld",
            Self::NotApplicable => "not applicable",
        }
    }
}

/// One control and the rules that support it.
#[derive(Debug, Clone, Serialize)]
pub struct ControlReport {
    /// The control's id in the framework: `Art. 44`, `A.8.24`.
    pub id: String,
    /// What it is about, in our own words.
    pub title: String,
    /// What Keyward checks for it.
    pub checks: String,
    /// How it stands.
    pub status: ControlStatus,
    /// The rules.
    pub rules: Vec<RuleReport>,
}

impl ControlReport {
    /// Failures of all its rules that no exception permits.
    pub fn failed(&self) -> u64 {
        self.rules.iter().map(|rule| rule.fail).sum()
    }

    /// Failures of all its rules that an exception permits.
    pub fn excepted(&self) -> u64 {
        self.rules.iter().map(|rule| rule.excepted).sum()
    }

    /// Answers that are missing.
    pub fn unknown(&self) -> u64 {
        self.rules.iter().map(|rule| rule.unknown).sum()
    }

    /// Passes of all its rules.
    pub fn passed(&self) -> u64 {
        self.rules.iter().map(|rule| rule.pass).sum()
    }
}

/// What one rule said.
#[derive(Debug, Clone, Serialize)]
pub struct RuleReport {
    /// The rule's name.
    pub name: String,
    /// Its title.
    pub title: String,
    /// Its level.
    pub level: Level,
    /// Whether it judges events: those have detections and no verdicts on states.
    pub on_events: bool,
    /// Subjects that pass.
    pub pass: u64,
    /// Subjects that fail without an exception; for rules on events, detections that are open.
    pub fail: u64,
    /// Subjects that fail, and a recorded exception permits it.
    pub excepted: u64,
    /// Subjects that could not be judged.
    pub unknown: u64,
    /// Subjects that the rule is not about.
    pub not_applicable: u64,
    /// Who fails, and why.
    pub failing: Vec<SubjectRow>,
    /// Who could not be judged, and why.
    pub undetermined: Vec<SubjectRow>,
}

/// One subject in a rule's result.
#[derive(Debug, Clone, Serialize)]
pub struct SubjectRow {
    /// What kind of thing.
    pub kind: SubjectKind,
    /// Its identity.
    pub id: String,
    /// The account.
    pub account: AccountId,
    /// The Region.
    pub region: Option<Region>,
    /// What is wrong, or why it could not be told.
    pub why: String,
    /// Since when it has been failing.
    pub since: Option<DateTime<Utc>>,
    /// The finding.
    pub finding: Option<String>,
    /// The exception that permits it.
    pub exception: Option<String>,
}

/// One finding in the list.
#[derive(Debug, Clone, Serialize)]
pub struct FindingRow {
    /// Its id.
    pub id: String,
    /// The rule's name.
    pub rule: String,
    /// Its level.
    pub level: Level,
    /// What is wrong.
    pub message: String,
    /// Whom it is about.
    pub subject: String,
    /// The account.
    pub account: AccountId,
    /// The Region.
    pub region: Option<Region>,
    /// When it first failed.
    pub first_seen: DateTime<Utc>,
    /// When it last failed.
    pub last_seen: DateTime<Utc>,
    /// When it was resolved.
    pub resolved_at: Option<DateTime<Utc>>,
    /// Why it was: `acknowledged`, `aged out`.
    pub resolution: Option<String>,
    /// Open, but the last reading could not tell.
    pub stale: bool,
    /// What to do.
    pub remediation: String,
    /// The facts that it rests on.
    pub evidence: serde_json::Value,
    /// The exception that permits it.
    pub exception: Option<String>,
}

/// Where AWS Config and Keyward disagree about a key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Opinion {
    /// The account.
    pub account: AccountId,
    /// The Region.
    pub region: Region,
    /// The key's id.
    pub key_id: String,
    /// AWS Config's rule.
    pub config_rule: String,
    /// What it says.
    pub config_says: String,
    /// Our rule.
    pub rule: String,
    /// What ours says.
    pub keyward_says: String,
}
