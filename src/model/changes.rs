//! What follows from one batch, ready to be committed with it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Finding, Level, Subject, SubjectKind, Verdict};

/// Everything that follows from one batch.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// All verdicts of each subject that was judged; they replace what was stored for it.
    pub verdicts: Vec<SubjectVerdicts>,
    /// Subjects that are no more, after a complete reading.
    pub gone: Vec<(SubjectKind, String)>,
    /// What became of findings.
    pub findings: Vec<FindingChange>,
    /// What has to be said, and where.
    pub outbox: Vec<OutboxRow>,
    /// How many calls each rule on events found to be violations, by the rule and its level; only counted,
    /// not stored.
    pub detected: BTreeMap<(String, Level), u64>,
}

impl Changes {
    /// Adds what follows from something else.
    pub fn add(&mut self, other: Self) {
        self.verdicts.extend(other.verdicts);
        self.gone.extend(other.gone);
        self.findings.extend(other.findings);
        self.outbox.extend(other.outbox);
        for (rule, calls) in other.detected {
            *self.detected.entry(rule).or_default() += calls;
        }
    }
}

/// All verdicts on one subject.
#[derive(Debug, Clone)]
pub struct SubjectVerdicts {
    /// The subject.
    pub subject: Subject,
    /// One verdict a rule of the subject's kind, by rule name.
    pub verdicts: Vec<Verdict>,
}

/// What became of one finding.
#[derive(Debug, Clone, PartialEq)]
pub struct FindingChange {
    /// The finding as it is now.
    pub finding: Finding,
    /// How it got there.
    pub transition: Transition,
}

/// A step in the life of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transition {
    /// It is new, or came back after it was resolved.
    Opened,
    /// It still fails; its message or evidence may be new.
    Refreshed,
    /// It still fails, and its rule's level has risen.
    Escalated,
    /// It is still open and could not be judged.
    Staled,
    /// It was mended, or its subject is gone, or it aged out.
    Resolved,
    /// An exception permits it now.
    Excepted,
    /// Its exception has ended.
    ExceptionEnded,
}

impl Transition {
    /// The step's name, as in documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Refreshed => "refreshed",
            Self::Escalated => "escalated",
            Self::Staled => "staled",
            Self::Resolved => "resolved",
            Self::Excepted => "excepted",
            Self::ExceptionEnded => "exception_ended",
        }
    }
}

/// One message to one topic, as it will be published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutboxRow {
    /// A hash of topic, finding, reason and the finding's life; the deduplication id on a FIFO topic.
    pub id: String,
    /// The topic's ARN.
    pub topic: String,
    /// The topic to use when that one fails for good.
    pub fallback: Option<String>,
    /// The finding; none for what concerns the audit itself.
    pub finding: Option<String>,
    /// `opened`, `escalated`, `reminder`, `resolved`, `exception_expiring`, `coverage_lost`.
    pub reason: String,
    /// The subject line for people.
    pub subject: String,
    /// The JSON document `keyward.alert/v1`.
    pub document: String,
    /// The text for people.
    pub text: String,
    /// Message attributes by name: `level`, `rule`, `account`, `region`, `status`.
    pub attributes: BTreeMap<String, String>,
}

impl OutboxRow {
    /// What the message is about: the finding, or the part of the audit that it concerns
    /// (`coverage_lost/111122223333/eu-central-1`). Messages about the same go out in order.
    pub fn about(&self) -> String {
        let attribute = |name: &str| self.attributes.get(name).map_or("", String::as_str);
        self.finding
            .clone()
            .unwrap_or_else(|| format!("{}/{}/{}", self.reason, attribute("account"), attribute("region")))
    }
}
