//! From an audit to a report.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::framework::{Control, Framework};
use super::model::{
    ControlReport, ControlStatus, CoverageGap, FindingRow, Report, RuleReport, Scope, SubjectRow,
};
use super::opinions::disagreements;
use super::proof::{Ledger, proof};
use super::residency;
use crate::audit::{Auditor, Judged};
use crate::findings::RESOLUTION;
use crate::model::{Finding, FindingKind, FindingState, Outcome, Reading, ReadingResult, SubjectKind};
use crate::notify::shown_evidence;
use crate::rules::Rule;

/// What a report is made of.
#[derive(Debug)]
pub struct Material<'a> {
    /// The estate and the verdicts on it.
    pub auditor: &'a Auditor,
    /// Findings of any state, as they stood at `as_of`.
    pub findings: &'a [Finding],
    /// The latest readings.
    pub readings: &'a [Reading],
    /// What the usage ledger has up to then.
    pub ledger: &'a Ledger,
    /// The time that the report speaks of.
    pub as_of: DateTime<Utc>,
    /// The time that it is made at.
    pub generated_at: DateTime<Utc>,
}

/// The report for one framework.
pub fn build(framework: &Framework, material: &Material<'_>) -> Report {
    let rules: Vec<(usize, &Rule)> = material
        .auditor
        .standards()
        .rules
        .rules()
        .iter()
        .enumerate()
        .filter(|(_, rule)| rule.controls.contains_key(&framework.head.id))
        .collect();
    let concerned: Vec<&Finding> = material
        .findings
        .iter()
        .filter(|finding| rules.iter().any(|(_, rule)| rule.name == finding.rule))
        .collect();
    let of_state = |state| rows(concerned.iter().filter(|finding| finding.state == state));
    let is_closed_detection = |finding: &&&Finding| {
        finding.state == FindingState::Resolved && finding.kind == FindingKind::Detection
    };
    let (disagreements, opinions_compared) = disagreements(material.auditor);
    Report {
        schema: "keyward.report/v1",
        generator: concat!("keyward ", env!("CARGO_PKG_VERSION")).to_owned(),
        framework: framework.head.clone(),
        as_of: material.as_of,
        generated_at: material.generated_at,
        scope: scope(material, rules.len()),
        coverage_gaps: coverage_gaps(material.readings),
        controls: framework
            .controls
            .iter()
            .map(|control| report_control(control, framework, &rules, material))
            .collect(),
        residency: residency::residency(material.auditor, material.as_of),
        proof: proof(material.auditor, material.ledger, material.as_of),
        open_findings: of_state(FindingState::Open),
        excepted_findings: of_state(FindingState::Excepted),
        closed_detections: rows(concerned.iter().filter(is_closed_detection)),
        disagreements,
        opinions_compared,
    }
}

/// Worst first.
fn rows<'a>(findings: impl Iterator<Item = &'a &'a Finding>) -> Vec<FindingRow> {
    let mut rows: Vec<FindingRow> = findings.map(|finding| row(finding)).collect();
    rows.sort_by(|a, b| (b.level, &a.rule, &a.subject, &a.id).cmp(&(a.level, &b.rule, &b.subject, &b.id)));
    rows
}

fn row(finding: &Finding) -> FindingRow {
    FindingRow {
        id: finding.id.clone(),
        rule: finding.rule.clone(),
        level: finding.level,
        message: finding.message.clone(),
        subject: finding.subject.id.clone(),
        account: finding.subject.account.clone(),
        region: finding.subject.region.clone(),
        first_seen: finding.first_seen,
        last_seen: finding.last_seen,
        resolved_at: finding.resolved_at,
        resolution: finding.evidence.get(RESOLUTION).and_then(|reason| reason.as_str()).map(str::to_owned),
        stale: finding.stale,
        remediation: finding.remediation.clone(),
        evidence: shown_evidence(&finding.evidence),
        exception: finding.exception.clone(),
    }
}

fn scope(material: &Material<'_>, rules: usize) -> Scope {
    let estate = material.auditor.estate();
    let mut scope = Scope { rules: rules as u64, ..Scope::default() };
    for region in estate.regions() {
        scope.accounts.entry(region.account.clone()).or_default().push(region.region.clone());
    }
    for key in estate.keys() {
        scope.keys += 1;
        let is_customer = key.metadata.known().is_some_and(|metadata| metadata.manager == "CUSTOMER");
        scope.customer_keys += u64::from(is_customer);
    }
    for (id, _) in material.auditor.customer_key_sets() {
        scope.key_sets += 1;
        scope.multi_region_sets += u64::from(id.as_str().contains(":key/mrk-"));
    }
    // A place is read as a whole; what was read of single keys since then is younger.
    let times = || estate.regions().map(|region| region.read_at);
    (scope.oldest_reading, scope.newest_reading) = (times().min(), times().max());
    scope
}

fn coverage_gaps(readings: &[Reading]) -> Vec<CoverageGap> {
    let mut gaps: Vec<CoverageGap> = readings
        .iter()
        .filter(|reading| reading.result != ReadingResult::Ok)
        .map(|reading| CoverageGap {
            account: reading.account.clone(),
            region: reading.region.clone(),
            api: reading.api.clone(),
            result: reading.result,
            failed: (reading.attempts > 0).then_some(reading.failed),
            attempts: (reading.attempts > 0).then_some(reading.attempts),
            at: reading.at,
            detail: reading.detail.clone(),
        })
        .collect();
    gaps.sort();
    gaps
}

fn report_control(
    control: &Control,
    framework: &Framework,
    rules: &[(usize, &Rule)],
    material: &Material<'_>,
) -> ControlReport {
    let supports = |rule: &Rule| {
        rule.controls.get(&framework.head.id).is_some_and(|controls| controls.contains(&control.id))
    };
    let rules: Vec<RuleReport> = rules
        .iter()
        .filter(|(_, rule)| supports(rule))
        .map(|(at, rule)| report_rule(*at, rule, material))
        .collect();
    ControlReport {
        id: control.id.clone(),
        title: control.title.clone(),
        checks: control.checks.clone(),
        status: control_status(&rules),
        rules,
    }
}

/// One violation violates the control; otherwise one answer that is missing keeps it from being upheld. What an
/// exception permits does not violate it, and is never passed over in silence either.
fn control_status(rules: &[RuleReport]) -> ControlStatus {
    let sum = |count: fn(&RuleReport) -> u64| rules.iter().map(count).sum::<u64>();
    if sum(|rule| rule.fail) > 0 {
        ControlStatus::Violated
    } else if sum(|rule| rule.unknown) > 0 {
        ControlStatus::Undetermined
    } else if sum(|rule| rule.excepted) > 0 {
        ControlStatus::Excepted
    } else if sum(|rule| rule.pass) > 0 {
        ControlStatus::Upheld
    } else {
        ControlStatus::NotApplicable
    }
}

fn report_rule(at: usize, rule: &Rule, material: &Material<'_>) -> RuleReport {
    let mut report = RuleReport {
        name: rule.name.clone(),
        title: rule.title.clone(),
        level: rule.level,
        on_events: rule.kind == SubjectKind::Event,
        pass: 0,
        fail: 0,
        excepted: 0,
        unknown: 0,
        not_applicable: 0,
        failing: Vec::new(),
        undetermined: Vec::new(),
    };
    let findings: BTreeMap<&str, &Finding> = material
        .findings
        .iter()
        .filter(|finding| finding.rule == rule.name && finding.state != FindingState::Resolved)
        .map(|finding| (finding.subject.id.as_str(), finding))
        .collect();
    if report.on_events {
        for finding in material.findings.iter().filter(|finding| {
            finding.rule == rule.name
                && finding.kind == FindingKind::Detection
                && finding.state != FindingState::Resolved
        }) {
            count_failure(&mut report, finding);
            report.failing.push(failing_row(finding));
        }
        return report;
    }
    for judged in material.auditor.judged() {
        count_verdict(&mut report, at, judged, &findings);
    }
    report
}

fn count_verdict(report: &mut RuleReport, at: usize, judged: &Judged, findings: &BTreeMap<&str, &Finding>) {
    let Some(judgement) = judged.judgements.iter().find(|judgement| judgement.rule == at) else { return };
    match judgement.outcome {
        Outcome::Pass => report.pass += 1,
        Outcome::NotApplicable => report.not_applicable += 1,
        Outcome::Fail => {
            if let Some(finding) = findings.get(judged.subject.id.as_str()) {
                count_failure(report, finding);
                report.failing.push(failing_row(finding));
            } else {
                report.fail += 1;
                let title = report.title.clone();
                report.failing.push(subject_row(judged, title));
            }
        }
        Outcome::Unknown => {
            report.unknown += 1;
            report.undetermined.push(subject_row(judged, judgement.reasons.join("; ")));
        }
    }
}

fn count_failure(report: &mut RuleReport, finding: &Finding) {
    if finding.state == FindingState::Excepted {
        report.excepted += 1;
    } else {
        report.fail += 1;
    }
}

fn failing_row(finding: &Finding) -> SubjectRow {
    SubjectRow {
        kind: finding.subject.kind,
        id: finding.subject.id.clone(),
        account: finding.subject.account.clone(),
        region: finding.subject.region.clone(),
        why: finding.message.clone(),
        since: Some(finding.first_seen),
        finding: Some(finding.id.clone()),
        exception: finding.exception.clone(),
    }
}

fn subject_row(judged: &Judged, why: String) -> SubjectRow {
    SubjectRow {
        kind: judged.subject.kind,
        id: judged.subject.id.clone(),
        account: judged.subject.account.clone(),
        region: judged.subject.region.clone(),
        why,
        since: None,
        finding: None,
        exception: None,
    }
}
