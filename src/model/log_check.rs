//! What is known of whether the log files of a trail are all there, and as CloudTrail delivered them.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{AccountId, Region};

/// What stands in the way of saying: all log files are there, unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogIssueKind {
    /// A digest lists a log file that is not there.
    LogMissing,
    /// A log file's content is not what its digest says.
    LogAltered,
    /// The next digest, or CloudTrail itself, tells of a digest that is not there.
    DigestMissing,
    /// A digest's content is not what the next digest says, or is no digest.
    DigestAltered,
    /// A digest's signature is not CloudTrail's over its content.
    DigestForged,
    /// CloudTrail has no key of the fingerprint that a digest names.
    DigestKeyUnknown,
    /// A digest is not where it says that it was delivered to.
    DigestMoved,
    /// The trail, or the validation, was stopped: a chain ends, or a new one begins after others.
    ChainStopped,
    /// Two digests in a row leave time between them.
    ChainGap,
    /// No digest is as young as one should be, and nothing says why.
    ChainEnded,
    /// The first digest of a chain, with none before it: what is older is vouched for by nobody.
    ChainStart,
    /// A digest that the chain passes over.
    DigestUnlinked,
    /// A log file that no digest lists, as those of another trail with the same bucket.
    LogUnlisted,
    /// It could not be read, so that nothing is known.
    Unread,
}

/// What an issue means for who asks whether the logs are complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogIssueNature {
    /// Something was removed, changed or forged.
    Defect,
    /// Nobody vouches for that time, and nothing says that anything was tampered with.
    Uncovered,
    /// It could not be found out.
    Unread,
    /// Worth knowing.
    Notice,
}

impl LogIssueKind {
    /// Its name, as in documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LogMissing => "log-missing",
            Self::LogAltered => "log-altered",
            Self::DigestMissing => "digest-missing",
            Self::DigestAltered => "digest-altered",
            Self::DigestForged => "digest-forged",
            Self::DigestKeyUnknown => "digest-key-unknown",
            Self::DigestMoved => "digest-moved",
            Self::ChainStopped => "chain-stopped",
            Self::ChainGap => "chain-gap",
            Self::ChainEnded => "chain-ended",
            Self::ChainStart => "chain-start",
            Self::DigestUnlinked => "digest-unlinked",
            Self::LogUnlisted => "log-unlisted",
            Self::Unread => "unread",
        }
    }

    /// What it means for who asks.
    pub fn nature(self) -> LogIssueNature {
        match self {
            Self::LogMissing
            | Self::LogAltered
            | Self::DigestMissing
            | Self::DigestAltered
            | Self::DigestForged
            | Self::DigestKeyUnknown
            | Self::DigestMoved => LogIssueNature::Defect,
            Self::ChainStopped | Self::ChainGap | Self::ChainEnded => LogIssueNature::Uncovered,
            Self::Unread => LogIssueNature::Unread,
            Self::ChainStart | Self::DigestUnlinked | Self::LogUnlisted => LogIssueNature::Notice,
        }
    }

    /// What it means, in one sentence.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::LogMissing => "a log file that a signed digest lists is gone",
            Self::LogAltered => "a log file is not what a signed digest says",
            Self::DigestMissing => "a digest file that was delivered is gone",
            Self::DigestAltered => "a digest file is not as it was delivered",
            Self::DigestForged => "the signature of a digest file is not CloudTrail's",
            Self::DigestKeyUnknown => "CloudTrail has no such key as a digest file names",
            Self::DigestMoved => "a digest file is not where it was delivered to",
            Self::ChainStopped => "the trail, or its validation, was stopped: nothing vouches for that time",
            Self::ChainGap => "two digest files in a row leave time between them",
            Self::ChainEnded => "the newest digest file is too old: stopped, removed or late",
            Self::ChainStart => "the first digest file: what is older is vouched for by nobody",
            Self::DigestUnlinked => "a digest file that no other names as its previous one",
            Self::LogUnlisted => "a log file that no digest file lists",
            Self::Unread => "it could not be read, so that nothing is known of it",
        }
    }
}

/// One thing that stands in the way.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LogIssue {
    /// The end of the digest that it is about, or that lists the log file.
    pub at: DateTime<Utc>,
    /// What it is.
    pub kind: LogIssueKind,
    /// The object: `s3://bucket/key`, or the path of a copy.
    pub object: String,
    /// Whose logs.
    pub account: AccountId,
    /// Where they were logged.
    pub region: Region,
    /// For a span of time, its end.
    pub until: Option<DateTime<Utc>>,
    /// More about it.
    pub detail: String,
}

/// What was found out about a trail's logs so far, over all its accounts and Regions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogCheck {
    /// When it was looked at last.
    pub at: DateTime<Utc>,
    /// Digest files that were verified since the first look.
    pub digests: u64,
    /// Log files that were verified since the first look.
    pub logs: u64,
    /// From when on digest files were verified.
    pub from: Option<DateTime<Utc>>,
    /// Until when.
    pub to: Option<DateTime<Utc>>,
    /// What stands in the way, by time; it stays until it verifies.
    pub issues: Vec<LogIssue>,
    /// How many more there were than are kept.
    pub left_out: u64,
}
