//! Findings and their history.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use sqlx::any::AnyRow;
use sqlx::{Any, AnyConnection, Transaction};

use super::sql::{
    About, ROWS, Statement, column, count, from_json, from_name, json, micros, name_of, placeholders,
    rows_of, rows_of_placeholders, statement, time, uncount,
};
use super::{Result, Store};
use crate::model::{
    AccountId, Finding, FindingChange, FindingKind, FindingState, Level, SubjectKind, Transition,
};

const WHAT: &str = "findings";
const COLUMNS: &str = "id, rule, kind, state, level, title, message, subject, controls, first_seen, \
    last_seen, resolved_at, stale, opened_count, event_count, evidence, remediation, exception";

/// Which findings are wanted. Nothing given: all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FindingFilter {
    /// Only these states; empty: any.
    pub states: BTreeSet<FindingState>,
    /// Only these kinds of finding.
    pub kind: Option<FindingKind>,
    /// Only of this rule.
    pub rule: Option<String>,
    /// Only of this level or above.
    pub min_level: Option<Level>,
    /// Only of this account.
    pub account: Option<AccountId>,
    /// Only about this subject.
    pub subject: Option<(SubjectKind, String)>,
    /// Leave out so many first.
    pub offset: u32,
    /// At most so many; none: all.
    pub limit: Option<u32>,
}

impl FindingFilter {
    /// Those that stand: open ones and excepted ones.
    #[must_use]
    pub fn standing() -> Self {
        Self { states: [FindingState::Open, FindingState::Excepted].into(), ..Self::default() }
    }
}

/// One step in the life of a finding.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct HistoryEntry {
    /// When.
    pub at: DateTime<Utc>,
    /// What happened.
    pub transition: Transition,
    /// Where the finding stood then.
    pub state: FindingState,
    /// Its level then.
    pub level: Level,
    /// What it said then.
    pub message: String,
    /// The exception that permitted it then.
    pub exception: Option<String>,
}

impl Store {
    /// The findings that a filter lets through: worst level first, then newest, then by id.
    pub async fn findings(&self, filter: &FindingFilter) -> Result<Vec<Finding>> {
        let mut conditions = vec!["1 = 1".to_owned()];
        let mut values: Vec<String> = Vec::new();
        let mut equal = |columns: &str, wanted: Vec<String>| {
            let list = placeholders(values.len() + 3, wanted.len());
            conditions.push(format!("{columns} IN ({list})"));
            values.extend(wanted);
        };
        if !filter.states.is_empty() {
            equal("state", filter.states.iter().map(ToString::to_string).collect());
        }
        if let Some(kind) = filter.kind {
            equal("kind", vec![name_of(&kind, WHAT)?]);
        }
        if let Some(rule) = &filter.rule {
            equal("rule", vec![rule.clone()]);
        }
        if let Some(account) = &filter.account {
            equal("account", vec![account.to_string()]);
        }
        if let Some((kind, id)) = &filter.subject {
            equal("subject_kind", vec![kind.to_string()]);
            equal("subject_id", vec![id.clone()]);
        }
        if let Some(level) = filter.min_level {
            conditions.push(format!("severity >= {}", severity(level)));
        }
        let mut query = statement(format!(
            "SELECT {COLUMNS} FROM finding WHERE {} ORDER BY severity DESC, last_seen DESC, id
             LIMIT $1 OFFSET $2",
            conditions.join(" AND ")
        ))
        .bind(filter.limit.map_or(i64::MAX, i64::from))
        .bind(i64::from(filter.offset));
        for value in values {
            query = query.bind(value);
        }
        let rows = query.fetch_all(&self.pool).await.about(WHAT)?;
        rows.iter().map(finding).collect()
    }

    /// One finding.
    pub async fn finding(&self, id: &str) -> Result<Option<Finding>> {
        Ok(self.findings_by_id(&[id.to_owned()]).await?.pop())
    }

    /// The findings of these ids that there are, resolved ones included, ordered by id: what a detection
    /// needs to be taken further.
    pub async fn findings_by_id(&self, ids: &[String]) -> Result<Vec<Finding>> {
        let mut connection = self.pool.acquire().await.about(WHAT)?;
        by_id(&mut connection, ids).await
    }

    /// The posture findings about these subjects, resolved ones included, ordered by id: what new verdicts
    /// on them are settled against.
    pub async fn findings_of_subjects(&self, kind: SubjectKind, subjects: &[String]) -> Result<Vec<Finding>> {
        let condition = format!("AND kind = 'posture' AND subject_kind = '{kind}'");
        let mut connection = self.pool.acquire().await.about(WHAT)?;
        findings_where(&mut connection, "subject_id", subjects, &condition).await
    }

    /// The steps in the life of a finding, oldest first.
    pub async fn history(&self, id: &str) -> Result<Vec<HistoryEntry>> {
        let rows = sqlx::query(
            "SELECT at, transition, state, level, message, exception FROM finding_history
             WHERE finding = $1 ORDER BY at, transition",
        )
        .bind(id.to_owned())
        .fetch_all(&self.pool)
        .await
        .about(WHAT)?;
        rows.iter().map(history_entry).collect()
    }

    /// The steps of all findings up to a time, oldest first, by the findings' ids: how they stood then.
    pub async fn histories_until(&self, until: DateTime<Utc>) -> Result<BTreeMap<String, Vec<HistoryEntry>>> {
        let rows = sqlx::query(
            "SELECT at, transition, state, level, message, exception, finding FROM finding_history
             WHERE at <= $1 ORDER BY at, transition",
        )
        .bind(micros(until))
        .fetch_all(&self.pool)
        .await
        .about(WHAT)?;
        let mut histories: BTreeMap<String, Vec<HistoryEntry>> = BTreeMap::new();
        for row in &rows {
            histories.entry(column(row, 6, WHAT)?).or_default().push(history_entry(row)?);
        }
        Ok(histories)
    }
}

/// The findings of these ids that there are, ordered by id.
pub(super) async fn by_id(connection: &mut AnyConnection, ids: &[String]) -> Result<Vec<Finding>> {
    findings_where(connection, "id", ids, "").await
}

async fn findings_where(
    connection: &mut AnyConnection,
    name: &str,
    values: &[String],
    condition: &str,
) -> Result<Vec<Finding>> {
    let values: BTreeSet<&String> = values.iter().collect();
    let values: Vec<&String> = values.into_iter().collect();
    let mut found = Vec::new();
    for chunk in values.chunks(ROWS) {
        // A join, since PostgreSQL compares a long list of parameters with every finding.
        let mut query = statement(format!(
            "SELECT {COLUMNS} FROM (VALUES {}) AS v JOIN finding ON {name} = v.column1 {condition}",
            rows_of_placeholders(chunk.len(), 1)
        ));
        for &value in chunk {
            query = query.bind(value.clone());
        }
        for row in &query.fetch_all(&mut *connection).await.about(WHAT)? {
            found.push(finding(row)?);
        }
    }
    found.sort_by(|one, other| one.id.cmp(&other.id));
    Ok(found)
}

fn history_entry(row: &AnyRow) -> Result<HistoryEntry> {
    Ok(HistoryEntry {
        at: time(column(row, 0, WHAT)?),
        transition: from_name(column(row, 1, WHAT)?, WHAT)?,
        state: from_name(column(row, 2, WHAT)?, WHAT)?,
        level: from_name(column(row, 3, WHAT)?, WHAT)?,
        message: column(row, 4, WHAT)?,
        exception: column(row, 5, WHAT)?,
    })
}

/// A level as a number, so that the database can order by it.
fn severity(level: Level) -> i32 {
    match level {
        Level::Informational => 0,
        Level::Low => 1,
        Level::Medium => 2,
        Level::High => 3,
        Level::Critical => 4,
    }
}

fn finding(row: &AnyRow) -> Result<Finding> {
    Ok(Finding {
        id: column(row, "id", WHAT)?,
        rule: column(row, "rule", WHAT)?,
        kind: from_name(column(row, "kind", WHAT)?, WHAT)?,
        state: from_name(column(row, "state", WHAT)?, WHAT)?,
        level: from_name(column(row, "level", WHAT)?, WHAT)?,
        title: column(row, "title", WHAT)?,
        message: column(row, "message", WHAT)?,
        subject: from_json(column(row, "subject", WHAT)?, WHAT)?,
        controls: from_json(column(row, "controls", WHAT)?, WHAT)?,
        first_seen: time(column(row, "first_seen", WHAT)?),
        last_seen: time(column(row, "last_seen", WHAT)?),
        resolved_at: column::<Option<i64>, _>(row, "resolved_at", WHAT)?.map(time),
        stale: column::<i64, _>(row, "stale", WHAT)? != 0,
        opened_count: uncount(column(row, "opened_count", WHAT)?),
        event_count: uncount(column(row, "event_count", WHAT)?),
        evidence: from_json(column(row, "evidence", WHAT)?, WHAT)?,
        remediation: column(row, "remediation", WHAT)?,
        exception: column(row, "exception", WHAT)?,
    })
}

/// Writes findings as they are now, and the steps that brought them there.
pub(super) async fn write(
    transaction: &mut Transaction<'_, Any>,
    changes: &[FindingChange],
    at: DateTime<Utc>,
) -> Result<()> {
    // The last change of a finding is what it is now; a statement must not meet the same row twice.
    let by_id: BTreeMap<&str, &Finding> =
        changes.iter().map(|change| (change.finding.id.as_str(), &change.finding)).collect();
    let findings: Vec<&Finding> = by_id.into_values().collect();
    for chunk in findings.chunks(rows_of(24)) {
        write_findings(transaction, chunk).await?;
    }
    // A refreshment is no step: a violation that stands for a year would else fill the history.
    let steps: BTreeMap<(&str, String), &FindingChange> = changes
        .iter()
        .filter(|change| change.transition != Transition::Refreshed)
        .map(|change| Ok(((change.finding.id.as_str(), name_of(&change.transition, WHAT)?), change)))
        .collect::<Result<_>>()?;
    let steps: Vec<_> = steps.into_iter().collect();
    for chunk in steps.chunks(rows_of(7)) {
        let mut query = statement(format!(
            "INSERT INTO finding_history (finding, at, transition, state, level, message, exception)
             VALUES {} ON CONFLICT (finding, at, transition) DO NOTHING",
            rows_of_placeholders(chunk.len(), 7)
        ));
        for ((id, transition), change) in chunk {
            let finding = &change.finding;
            query = query
                .bind((*id).to_owned())
                .bind(micros(at))
                .bind(transition.clone())
                .bind(finding.state.as_str())
                .bind(finding.level.as_str())
                .bind(finding.message.clone())
                .bind(finding.exception.clone());
        }
        query.execute(&mut **transaction).await.about(WHAT)?;
    }
    Ok(())
}

async fn write_findings(transaction: &mut Transaction<'_, Any>, findings: &[&Finding]) -> Result<()> {
    let mut query = statement(format!(
        "INSERT INTO finding (id, rule, kind, state, level, severity, title, message, subject_kind,
         subject_id, account, region, boundary, subject, controls, first_seen, last_seen, resolved_at, stale,
         opened_count, event_count, evidence, remediation, exception) VALUES {}
         ON CONFLICT (id) DO UPDATE SET state = excluded.state, level = excluded.level,
         severity = excluded.severity, title = excluded.title, message = excluded.message,
         subject_kind = excluded.subject_kind, subject_id = excluded.subject_id, account = excluded.account,
         region = excluded.region, boundary = excluded.boundary, subject = excluded.subject,
         controls = excluded.controls, first_seen = excluded.first_seen, last_seen = excluded.last_seen,
         resolved_at = excluded.resolved_at, stale = excluded.stale, opened_count = excluded.opened_count,
         event_count = excluded.event_count, evidence = excluded.evidence,
         remediation = excluded.remediation, exception = excluded.exception",
        rows_of_placeholders(findings.len(), 24)
    ));
    for finding in findings {
        query = bind_finding(query, finding)?;
    }
    query.execute(&mut **transaction).await.about(WHAT)?;
    Ok(())
}

fn bind_finding(query: Statement, finding: &Finding) -> Result<Statement> {
    let subject = &finding.subject;
    Ok(query
        .bind(finding.id.clone())
        .bind(finding.rule.clone())
        .bind(name_of(&finding.kind, WHAT)?)
        .bind(finding.state.as_str())
        .bind(finding.level.as_str())
        .bind(severity(finding.level))
        .bind(finding.title.clone())
        .bind(finding.message.clone())
        .bind(subject.kind.as_str())
        .bind(subject.id.clone())
        .bind(subject.account.to_string())
        .bind(subject.region.as_ref().map(ToString::to_string))
        .bind(subject.boundary.clone())
        .bind(json(subject, WHAT)?)
        .bind(json(&finding.controls, WHAT)?)
        .bind(micros(finding.first_seen))
        .bind(micros(finding.last_seen))
        .bind(finding.resolved_at.map(micros))
        .bind(i32::from(finding.stale))
        .bind(count(finding.opened_count))
        .bind(count(finding.event_count))
        .bind(json(&finding.evidence, WHAT)?)
        .bind(finding.remediation.clone())
        .bind(finding.exception.clone()))
}
