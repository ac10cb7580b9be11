//! What one pass over the estate found: as a table for people, and as JSON, CSV and OCSF for programs.

use std::io;

use chrono::{DateTime, Utc};
use comfy_table::Table;
use serde::Serialize;

use super::{ocsf, table};
use crate::audit::Auditor;
use crate::model::{Finding, Level, Outcome, Reading, ReadingResult};
use crate::notify;

/// What one pass over the estate found.
#[derive(Debug, Clone, Serialize)]
pub struct Scan<'a> {
    /// `keyward.scan/v1`.
    pub schema: &'static str,
    /// When the pass ended.
    pub at: DateTime<Utc>,
    /// Open findings, worst first, with the fields of an alert.
    pub findings: Vec<ScanFinding>,
    /// Every verdict.
    pub verdicts: Vec<VerdictRow<'a>>,
    /// What was attempted, and what came of it.
    pub readings: Vec<Reading>,
    /// Rules that were not applied because their files hold mistakes; left out where there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules_left_out: Vec<String>,
}

/// One finding: the fields of the alert document below its `schema`.
#[derive(Debug, Clone, Serialize)]
pub struct ScanFinding {
    /// The alert's fields.
    #[serde(flatten)]
    pub alert: serde_json::Value,
    /// The finding that they were taken from.
    #[serde(skip)]
    pub finding: Finding,
}

/// One verdict. It borrows from the audit: there are dozens of them for each key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerdictRow<'a> {
    /// The rule.
    pub rule: &'a str,
    /// The subject's identity.
    pub subject: &'a str,
    /// The answer.
    pub verdict: Outcome,
    /// Why it is unknown.
    pub reasons: &'a [String],
}

impl<'a> Scan<'a> {
    /// Takes the state of an audit after one pass.
    pub fn new(auditor: &'a Auditor, readings: Vec<Reading>, at: DateTime<Utc>) -> Self {
        let mut findings: Vec<&Finding> = auditor.open_findings().collect();
        findings.sort_by(|a, b| (b.level, &a.rule, &a.subject).cmp(&(a.level, &b.rule, &b.subject)));
        let findings = findings
            .into_iter()
            .map(|finding| ScanFinding {
                alert: notify::finding_fields(finding, "opened"),
                finding: finding.clone(),
            })
            .collect();
        let rules_left_out = auditor.standards().rules.left_out().iter().cloned().collect();
        let rules = auditor.standards().rules.rules();
        let verdicts = auditor
            .judged()
            .flat_map(|judged| {
                judged.judgements.iter().filter_map(|judgement| {
                    Some(VerdictRow {
                        rule: &rules.get(judgement.rule)?.name,
                        subject: &judged.subject.id,
                        verdict: judgement.outcome,
                        reasons: &judgement.reasons,
                    })
                })
            })
            .collect();
        Self { schema: "keyward.scan/v1", at, findings, verdicts, readings, rules_left_out }
    }

    /// Whether everything could be read, the rules included.
    pub fn is_complete(&self) -> bool {
        self.rules_left_out.is_empty()
            && self.readings.iter().all(|reading| reading.result == ReadingResult::Ok)
    }

    /// The worst level among the findings.
    pub fn worst(&self) -> Option<Level> {
        self.findings.iter().map(|found| found.finding.level).max()
    }

    /// One JSON document, `keyward.scan/v1`.
    ///
    /// # Errors
    ///
    /// The writer failed.
    pub fn write_json(&self, out: &mut dyn io::Write) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut *out, self)?;
        writeln!(out)
    }

    /// One row a finding, with a header.
    ///
    /// # Errors
    ///
    /// The writer failed.
    pub fn write_csv(&self, out: &mut dyn io::Write) -> io::Result<()> {
        let mut csv = csv::Writer::from_writer(out);
        csv.write_record([
            "finding",
            "level",
            "rule",
            "title",
            "account",
            "region",
            "subject",
            "key_set",
            "boundary",
            "status",
            "first_seen",
            "last_seen",
            "message",
            "remediation",
            "controls",
        ])?;
        for ScanFinding { finding, .. } in &self.findings {
            let subject = &finding.subject;
            csv.write_record([
                finding.id.as_str(),
                finding.level.as_str(),
                &finding.rule,
                &finding.title,
                subject.account.as_str(),
                subject.region.as_ref().map_or("", |region| region.as_str()),
                &subject.id,
                subject.key_set.as_ref().map_or("", |set| set.as_str()),
                subject.boundary.as_deref().unwrap_or_default(),
                finding.state.as_str(),
                &finding.first_seen.to_rfc3339(),
                &finding.last_seen.to_rfc3339(),
                &finding.message,
                &finding.remediation,
                &controls(finding),
            ])?;
        }
        csv.flush()
    }

    /// One OCSF finding a line.
    ///
    /// # Errors
    ///
    /// The writer failed.
    pub fn write_ocsf(&self, out: &mut dyn io::Write) -> io::Result<()> {
        for ScanFinding { finding, .. } in &self.findings {
            serde_json::to_writer(&mut *out, &ocsf::finding(finding, self.at))?;
            writeln!(out)?;
        }
        Ok(())
    }

    /// A table for people, and what it rests on. `width` is the terminal's; none: as wide as it gets.
    ///
    /// # Errors
    ///
    /// The writer failed.
    pub fn write_table(&self, out: &mut dyn io::Write, width: Option<u16>) -> io::Result<()> {
        if self.findings.is_empty() {
            writeln!(out, "No open findings.")?;
        } else {
            writeln!(out, "{}", self.findings_table(width))?;
        }
        writeln!(out, "\n{}", self.tally())?;
        self.write_gaps(out)
    }

    fn findings_table(&self, width: Option<u16>) -> Table {
        let mut table = table::table(["LEVEL", "RULE", "ACCOUNT", "REGION", "WHAT"], width);
        for ScanFinding { finding, .. } in &self.findings {
            let region = finding.subject.region.as_ref().map_or("-", |region| region.as_str());
            table.add_row([
                table::level(finding.level),
                finding.rule.clone(),
                finding.subject.account.to_string(),
                region.to_owned(),
                finding.message.clone(),
            ]);
        }
        table
    }

    fn tally(&self) -> String {
        let of = |outcome| self.verdicts.iter().filter(|row| row.verdict == outcome).count();
        let subjects: std::collections::BTreeSet<&str> =
            self.verdicts.iter().map(|row| row.subject).collect();
        let mut text = format!("{} findings", self.findings.len());
        for level in Level::ALL.into_iter().rev() {
            let count = self.findings.iter().filter(|found| found.finding.level == level).count();
            if count > 0 {
                text.extend([format!(", {count} {level}")]);
            }
        }
        text.extend([format!(
            "; {} verdicts on {} subjects: {} pass, {} fail, {} unknown, {} not applicable.",
            self.verdicts.len(),
            subjects.len(),
            of(Outcome::Pass),
            of(Outcome::Fail),
            of(Outcome::Unknown),
            of(Outcome::NotApplicable),
        )]);
        text
    }

    fn write_gaps(&self, out: &mut dyn io::Write) -> io::Result<()> {
        if !self.rules_left_out.is_empty() {
            writeln!(
                out,
                "Not applied, because of mistakes in their files: {}.",
                self.rules_left_out.join(", ")
            )?;
        }
        let gaps: Vec<&Reading> =
            self.readings.iter().filter(|reading| reading.result != ReadingResult::Ok).collect();
        if gaps.is_empty() {
            return writeln!(out, "Everything in scope was read.");
        }
        writeln!(out, "\nNot everything could be read; what depends on it is unknown:")?;
        for gap in gaps {
            let place = gap.region.as_ref().map_or("all Regions", |region| region.as_str());
            let detail = gap.detail.as_deref().unwrap_or("no detail");
            writeln!(
                out,
                "  {} {place}  {} {} ({} of {} calls): {detail}",
                gap.account, gap.api, gap.result, gap.failed, gap.attempts
            )?;
        }
        Ok(())
    }
}

fn controls(finding: &Finding) -> String {
    let framework = |(name, ids): (&String, &Vec<String>)| format!("{name}: {}", ids.join(", "));
    finding.controls.iter().map(framework).collect::<Vec<_>>().join("; ")
}
