//! The life of a failing (rule, subject).

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Level, Subject};

/// Whether a finding comes of a state or of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FindingKind {
    /// A state; resolves when the state is mended.
    Posture,
    /// An event; does not resolve by itself, is acknowledged or ages out.
    Detection,
}

/// Where a finding stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FindingState {
    /// The violation stands.
    Open,
    /// It was mended, its subject is gone, or (a detection) it was acknowledged or aged out.
    Resolved,
    /// It stands, and a recorded exception permits it.
    Excepted,
}

impl FindingState {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Open, Self::Resolved, Self::Excepted];

    /// The state's name, as in metrics and documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Resolved => "resolved",
            Self::Excepted => "excepted",
        }
    }
}

impl fmt::Display for FindingState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The life of a failing (rule, subject), or of a group of like events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// A hash of the rule's name and the subject (for a detection: and its group); stable over restarts.
    pub id: String,
    /// The rule's name.
    pub rule: String,
    /// State or event.
    pub kind: FindingKind,
    /// Where it stands.
    pub state: FindingState,
    /// The rule's level.
    pub level: Level,
    /// The rule's title.
    pub title: String,
    /// What is wrong, in one sentence.
    pub message: String,
    /// Whom it is about.
    pub subject: Subject,
    /// The framework controls that it concerns, by framework.
    pub controls: BTreeMap<String, Vec<String>>,
    /// When it first failed in this life.
    pub first_seen: DateTime<Utc>,
    /// When it last failed.
    pub last_seen: DateTime<Utc>,
    /// When it was resolved, if it was.
    pub resolved_at: Option<DateTime<Utc>>,
    /// Open, but the last reading could not tell.
    pub stale: bool,
    /// How many times it opened; a finding that comes back keeps its id.
    pub opened_count: u64,
    /// How many events a detection stands for; 1 for posture.
    pub event_count: u64,
    /// The facts that the verdict rests on; for detections with `event_ids`, the newest 20.
    pub evidence: serde_json::Value,
    /// What to do, with the command.
    pub remediation: String,
    /// The id of the exception that permits it, if it is excepted.
    pub exception: Option<String>,
}
