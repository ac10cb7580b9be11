//! Readings: what was attempted, and what came of it. Coverage is the sum of readings.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{AccountId, Region};

/// What came of an attempt to read something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReadingResult {
    /// It was read in full.
    Ok,
    /// AWS refused: a missing permission, a key policy, a service control policy, an opt-in.
    Denied,
    /// AWS kept throttling for longer than the attempts last.
    Throttled,
    /// No usable answer: network, 5xx, time-out, or an answer that could not be understood.
    Unreachable,
}

impl ReadingResult {
    /// Every result.
    pub const ALL: [Self; 4] = [Self::Ok, Self::Denied, Self::Throttled, Self::Unreachable];

    /// The result's name, as in metrics and documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Denied => "denied",
            Self::Throttled => "throttled",
            Self::Unreachable => "unreachable",
        }
    }
}

impl fmt::Display for ReadingResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One attempt to read one thing.
///
/// Per-key calls are summed up to one reading per (account, Region, API): the worst result, with the keys
/// that it concerns counted in `failed` and the first error in `detail`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// The account that was read.
    pub account: AccountId,
    /// The Region; none for what is global, such as assuming a role or listing accounts.
    pub region: Option<Region>,
    /// The call as IAM names it: `kms:ListKeys`, `sts:AssumeRole`.
    pub api: String,
    /// What came of it.
    pub result: ReadingResult,
    /// When the attempt ended.
    pub at: DateTime<Utc>,
    /// How many calls were made for this reading, at least 1.
    pub attempts: u64,
    /// How many of them did not succeed.
    pub failed: u64,
    /// The error as AWS gave it, shortened; none when all is well.
    pub detail: Option<String>,
}
