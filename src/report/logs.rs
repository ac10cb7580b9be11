//! What a verification of CloudTrail's log files found, for people and as a document.

use std::io;

use chrono::{DateTime, Utc};
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use crate::collect::Chain;
use crate::integrity;
use crate::model::{LogIssue, LogIssueNature, Reading, ReadingResult};

/// What was verified, and what was not.
#[derive(Debug, Serialize)]
pub struct LogVerification {
    schema: &'static str,
    generated_at: DateTime<Utc>,
    source: String,
    trail: Option<String>,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    result: LogResult,
    digests: u64,
    logs: u64,
    chains: Vec<VerifiedChain>,
    /// What could not even be listed.
    unread: Vec<String>,
    readings: Vec<Reading>,
}

/// How a verification ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogResult {
    /// All that there is verified, without a hole.
    Verified,
    /// Something was removed, changed or forged, or nothing vouches for some of the time.
    Defects,
    /// Not everything could be read.
    Incomplete,
}

/// One account, Region and trail.
#[derive(Debug, Serialize)]
struct VerifiedChain {
    account: String,
    region: String,
    trail: String,
    home_region: String,
    digests: u64,
    logs: u64,
    from: Option<DateTime<Utc>>,
    to: Option<DateTime<Utc>>,
    issues: Vec<Issue>,
    issues_left_out: u64,
}

/// An issue with what it means.
#[derive(Debug, Serialize)]
struct Issue {
    #[serde(flatten)]
    found: LogIssue,
    nature: &'static str,
    meaning: &'static str,
}

/// What was asked for.
#[derive(Debug)]
pub struct LogScope {
    /// When the verification was made.
    pub generated_at: DateTime<Utc>,
    /// Where the files are.
    pub source: String,
    /// The trail, if one was named.
    pub trail: Option<String>,
    /// From when on.
    pub from: DateTime<Utc>,
    /// Until when.
    pub to: DateTime<Utc>,
}

impl LogVerification {
    /// What was found in some chains, and what could not be listed.
    pub fn new(
        scope: LogScope,
        chains: Vec<(Chain, integrity::Report)>,
        unread: Vec<String>,
        readings: Vec<Reading>,
    ) -> Self {
        let has = |nature| chains.iter().any(|(_, report)| report.has(nature));
        let is_nothing = chains.iter().all(|(_, report)| report.digests == 0);
        let is_unread = !unread.is_empty() || has(LogIssueNature::Unread);
        let result = if has(LogIssueNature::Defect) || has(LogIssueNature::Uncovered) {
            LogResult::Defects
        } else if is_unread || chains.iter().any(|(_, report)| report.left_out > 0) {
            LogResult::Incomplete
        } else if is_nothing {
            // Where nothing is, nothing is verified: absence is never compliance.
            LogResult::Defects
        } else {
            LogResult::Verified
        };
        let LogScope { generated_at, source, trail, from, to } = scope;
        Self {
            schema: "keyward.verify-logs/v1",
            generated_at,
            source,
            trail,
            from,
            to,
            result,
            digests: chains.iter().map(|(_, report)| report.digests).sum(),
            logs: chains.iter().map(|(_, report)| report.logs).sum(),
            chains: chains.into_iter().map(|(chain, report)| VerifiedChain::new(chain, report)).collect(),
            unread,
            readings: readings.into_iter().filter(|reading| reading.result != ReadingResult::Ok).collect(),
        }
    }

    /// How it ended.
    pub fn result(&self) -> LogResult {
        self.result
    }

    /// One JSON document, `keyward.verify-logs/v1`.
    ///
    /// # Errors
    ///
    /// The writer failed.
    pub fn write_json(&self, out: &mut dyn io::Write) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut *out, self)?;
        writeln!(out)
    }

    /// Tables for people. `width` is the terminal's; none: as wide as it gets.
    ///
    /// # Errors
    ///
    /// The writer failed.
    pub fn write_table(&self, out: &mut dyn io::Write, width: Option<u16>) -> io::Result<()> {
        let (from, to) = (show(self.from), show(self.to));
        writeln!(out, "Log files of {}, from {from} to {to}\n", self.trail.as_ref().unwrap_or(&self.source))?;
        if self.chains.is_empty() {
            writeln!(out, "There are no digest files: nothing is verified.")?;
        } else {
            writeln!(out, "{}", self.chains_table(width))?;
        }
        if self.chains.iter().any(|chain| !chain.issues.is_empty()) {
            writeln!(out, "\n{}", self.issues_table(width))?;
        }
        for what in &self.unread {
            writeln!(out, "\nCould not be read: {what}")?;
        }
        let verdict = match self.result {
            LogResult::Verified => "All of them are there and unchanged",
            LogResult::Defects => "NOT all of them are there, unchanged and vouched for",
            LogResult::Incomplete => "Not everything could be read; what was read is there and unchanged",
        };
        writeln!(out, "\n{verdict}: {} digest files and {} log files verified.", self.digests, self.logs)
    }

    fn chains_table(&self, width: Option<u16>) -> Table {
        let mut table = table(width, &["ACCOUNT", "REGION", "TRAIL", "DIGESTS", "LOGS", "FROM", "TO"]);
        let time = |time: Option<DateTime<Utc>>| time.map_or("-".to_owned(), show);
        for chain in &self.chains {
            table.add_row([
                chain.account.clone(),
                chain.region.clone(),
                chain.trail.clone(),
                chain.digests.to_string(),
                chain.logs.to_string(),
                time(chain.from),
                time(chain.to),
            ]);
        }
        table
    }

    fn issues_table(&self, width: Option<u16>) -> Table {
        let mut table = table(width, &["WHAT", "WHEN", "OBJECT", "MEANING"]);
        for Issue { found: issue, meaning, .. } in self.chains.iter().flat_map(|chain| &chain.issues) {
            let when = match issue.until {
                Some(until) => format!("{} to {}", show(issue.at), show(until)),
                None => show(issue.at),
            };
            let detail = if issue.detail.is_empty() { String::new() } else { format!("; {}", issue.detail) };
            table.add_row([
                issue.kind.as_str().to_owned(),
                when,
                issue.object.clone(),
                format!("{meaning}{detail}"),
            ]);
        }
        table
    }
}

impl VerifiedChain {
    fn new(chain: Chain, report: integrity::Report) -> Self {
        let issue = |issue: LogIssue| Issue {
            nature: match issue.kind.nature() {
                LogIssueNature::Defect => "defect",
                LogIssueNature::Uncovered => "uncovered",
                LogIssueNature::Unread => "unread",
                LogIssueNature::Notice => "notice",
            },
            meaning: issue.kind.meaning(),
            found: issue,
        };
        Self {
            account: chain.account.to_string(),
            region: chain.region.to_string(),
            trail: chain.trail,
            home_region: chain.home.to_string(),
            digests: report.digests,
            logs: report.logs,
            from: report.from,
            to: report.to,
            issues: report.issues.into_iter().map(issue).collect(),
            issues_left_out: report.left_out,
        }
    }
}

fn table(width: Option<u16>, header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    match width {
        Some(width) => table.set_width(width),
        None => table.set_content_arrangement(ContentArrangement::Disabled),
    };
    table.set_header(header);
    table
}

fn show(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}
