//! What a walk along a chain has found.

use chrono::{DateTime, Utc};

use super::hash::Sha256;
use crate::model::{AccountId, LogIssue, LogIssueKind, LogIssueNature, Region};

/// The issues that are kept of one walk; more are counted.
const MAX_ISSUES: usize = 10_000;

/// What came of reading a log file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogOutcome {
    /// It was read, and this is the hash of its content.
    Read(Sha256),
    /// It is there, and is no gzip file that can be read to its end.
    Malformed(String),
    /// It is not there.
    Missing,
    /// It could not be read, and why.
    Unread(String),
}

/// What was verified, and what was not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Whose log files.
    pub account: AccountId,
    /// Where they were logged.
    pub region: Region,
    /// Digest files that verified.
    pub digests: u64,
    /// Log files that verified.
    pub logs: u64,
    /// The beginning of the oldest digest that verified.
    pub from: Option<DateTime<Utc>>,
    /// The end of the newest digest that verified.
    pub to: Option<DateTime<Utc>>,
    /// The end of the newest digest that was looked at, by its name.
    pub newest: Option<DateTime<Utc>>,
    /// Everything else, by time.
    pub issues: Vec<LogIssue>,
    /// How many more issues there were than are kept.
    pub left_out: u64,
}

impl Report {
    /// Nothing was found yet.
    pub fn new(account: AccountId, region: Region) -> Self {
        Self {
            account,
            region,
            digests: 0,
            logs: 0,
            from: None,
            to: None,
            newest: None,
            issues: Vec::new(),
            left_out: 0,
        }
    }

    /// Whether there is an issue of a nature.
    pub fn has(&self, nature: LogIssueNature) -> bool {
        self.issues.iter().any(|issue| issue.kind.nature() == nature)
    }

    /// Takes something that stands in the way.
    pub fn push(&mut self, kind: LogIssueKind, object: &str, at: DateTime<Utc>, detail: impl Into<String>) {
        self.push_span(kind, object, (at, None), detail);
    }

    /// The same for a span of time.
    pub(super) fn push_span(
        &mut self,
        kind: LogIssueKind,
        object: &str,
        (at, until): (DateTime<Utc>, Option<DateTime<Utc>>),
        detail: impl Into<String>,
    ) {
        if self.issues.len() >= MAX_ISSUES {
            self.left_out += 1;
            return;
        }
        let issue = LogIssue {
            at,
            kind,
            object: object.to_owned(),
            account: self.account.clone(),
            region: self.region.clone(),
            until,
            detail: detail.into(),
        };
        self.issues.push(issue);
    }

    /// Counts a digest that verified.
    pub(super) fn verified(&mut self, start: DateTime<Utc>, end: DateTime<Utc>) {
        self.digests += 1;
        self.from = Some(self.from.map_or(start, |from| from.min(start)));
        self.to = Some(self.to.map_or(end, |to| to.max(end)));
    }

    /// How many files could not be read.
    pub fn unread(&self) -> usize {
        self.issues.iter().filter(|issue| issue.kind.nature() == LogIssueNature::Unread).count()
    }

    /// Adds what was found of another chain of the same account and Region.
    pub fn absorb(&mut self, other: Self) {
        self.digests += other.digests;
        self.logs += other.logs;
        self.from = self.from.into_iter().chain(other.from).min();
        self.to = self.to.max(other.to);
        self.issues.extend(other.issues);
        self.left_out += other.left_out;
    }

    /// The report with its issues in order.
    #[must_use]
    pub fn sorted(mut self) -> Self {
        self.issues.sort();
        self.issues.dedup();
        self
    }
}

/// An object as issues name it; a copy has no bucket.
pub(super) fn uri(bucket: Option<&str>, key: &str) -> String {
    bucket.map_or_else(|| key.to_owned(), |bucket| format!("s3://{bucket}/{key}"))
}
