//! What the rules say of each subject now: one row a subject, so that thousands of keys cost little.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::{Any, Transaction};

use super::sql::{
    About, ROWS, column, from_json, from_name, json, micros, placeholders, rows_of, rows_of_placeholders,
    statement, time, uncount,
};
use super::{Result, Store};
use crate::model::{AccountId, Outcome, Subject, SubjectKind, SubjectVerdicts, Verdict};

const WHAT: &str = "verdicts";

/// One rule's answer as it is stored: `"pass"`, or `{"unknown": ["kms:GetKeyPolicy denied"]}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
enum StoredOutcome {
    Plain(Outcome),
    Unknown { unknown: Vec<String> },
}

impl StoredOutcome {
    fn of(verdict: &Verdict) -> Self {
        match verdict.outcome {
            Outcome::Unknown => Self::Unknown { unknown: verdict.reasons.clone() },
            outcome => Self::Plain(outcome),
        }
    }

    fn into_parts(self) -> (Outcome, Vec<String>) {
        match self {
            Self::Plain(outcome) => (outcome, Vec::new()),
            Self::Unknown { unknown } => (Outcome::Unknown, unknown),
        }
    }
}

/// All stored verdicts on one subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// The subject.
    pub subject: Subject,
    /// When it was judged.
    pub at: DateTime<Utc>,
    /// What each rule says, by the rules' names.
    pub outcomes: Vec<RuleOutcome>,
}

/// What one rule says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleOutcome {
    /// The rule's name.
    pub rule: String,
    /// What it says.
    pub outcome: Outcome,
    /// Why it could not be told; empty unless the outcome is unknown.
    pub reasons: Vec<String>,
}

/// How many subjects a rule says the same of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct VerdictCount {
    /// The rule's name.
    pub rule: String,
    /// What it says.
    pub outcome: Outcome,
    /// Of how many subjects.
    pub subjects: u64,
}

/// Which subjects' verdicts are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerdictFilter {
    /// Only subjects of this kind.
    pub kind: Option<SubjectKind>,
    /// Only those of this account.
    pub account: Option<AccountId>,
    /// Go on after this subject: the last one of the page before.
    pub after: Option<(SubjectKind, String)>,
    /// At most so many subjects; none: all.
    pub limit: Option<u32>,
}

impl Store {
    /// Stored verdicts, by subject, ordered by kind and id.
    pub async fn verdict_rows(&self, filter: &VerdictFilter) -> Result<Vec<Judged>> {
        let after = filter.after.as_ref();
        let query = sqlx::query(
            "SELECT subject, judged_at, outcomes FROM verdict
             WHERE ($1 = '' OR kind = $1) AND ($2 = '' OR account = $2)
             AND (kind > $3 OR (kind = $3 AND id > $4)) ORDER BY kind, id LIMIT $5",
        )
        .bind(filter.kind.map_or("", SubjectKind::as_str))
        .bind(filter.account.as_ref().map_or(String::new(), ToString::to_string))
        .bind(after.map_or("", |(kind, _)| kind.as_str()))
        .bind(after.map_or(String::new(), |(_, id)| id.clone()))
        .bind(filter.limit.map_or(i64::MAX, i64::from));
        let rows = query.fetch_all(&self.pool).await.about(WHAT)?;
        rows.iter()
            .map(|row| {
                Ok(Judged {
                    subject: from_json(column(row, 0, WHAT)?, WHAT)?,
                    at: time(column(row, 1, WHAT)?),
                    outcomes: outcomes(column(row, 2, WHAT)?)?,
                })
            })
            .collect()
    }

    /// How often each rule says what, ordered by rule and outcome.
    ///
    /// Most subjects share the answers of all their rules, so the database groups whole rows, and only a few
    /// groups are taken apart.
    pub async fn verdict_counts(&self) -> Result<Vec<VerdictCount>> {
        let rows = sqlx::query("SELECT outcomes, COUNT(*) FROM verdict GROUP BY outcomes")
            .fetch_all(&self.pool)
            .await
            .about(WHAT)?;
        let mut counts: BTreeMap<(String, Outcome), u64> = BTreeMap::new();
        for row in &rows {
            let subjects = uncount(column(row, 1, WHAT)?);
            for said in outcomes(column(row, 0, WHAT)?)? {
                *counts.entry((said.rule, said.outcome)).or_default() += subjects;
            }
        }
        Ok(counts
            .into_iter()
            .map(|((rule, outcome), subjects)| VerdictCount { rule, outcome, subjects })
            .collect())
    }

    /// The ids of all subjects of a kind that were judged.
    pub async fn judged_subjects(&self) -> Result<Vec<(SubjectKind, String)>> {
        let rows = sqlx::query("SELECT kind, id FROM verdict ORDER BY kind, id")
            .fetch_all(&self.pool)
            .await
            .about(WHAT)?;
        rows.iter().map(|row| Ok((from_name(column(row, 0, WHAT)?, WHAT)?, column(row, 1, WHAT)?))).collect()
    }
}

fn outcomes(text: &str) -> Result<Vec<RuleOutcome>> {
    let stored: BTreeMap<String, StoredOutcome> = from_json(text, WHAT)?;
    Ok(stored
        .into_iter()
        .map(|(rule, stored)| {
            let (outcome, reasons) = stored.into_parts();
            RuleOutcome { rule, outcome, reasons }
        })
        .collect())
}

/// Replaces what was stored for each of the subjects.
pub(super) async fn write(
    transaction: &mut Transaction<'_, Any>,
    judged: &[SubjectVerdicts],
    at: DateTime<Utc>,
) -> Result<()> {
    let by_subject: BTreeMap<(&str, &str), &SubjectVerdicts> = judged
        .iter()
        .map(|judged| ((judged.subject.kind.as_str(), judged.subject.id.as_str()), judged))
        .collect();
    let judged: Vec<_> = by_subject.into_iter().collect();
    for chunk in judged.chunks(rows_of(8)) {
        let mut query = statement(format!(
            "INSERT INTO verdict (kind, id, account, region, boundary, subject, judged_at, outcomes) VALUES {}
             ON CONFLICT (kind, id) DO UPDATE SET account = excluded.account, region = excluded.region,
             boundary = excluded.boundary, subject = excluded.subject, judged_at = excluded.judged_at,
             outcomes = excluded.outcomes",
            rows_of_placeholders(chunk.len(), 8)
        ));
        for ((kind, id), judged) in chunk {
            let said: BTreeMap<&str, StoredOutcome> = judged
                .verdicts
                .iter()
                .map(|verdict| (verdict.rule.as_str(), StoredOutcome::of(verdict)))
                .collect();
            let subject = &judged.subject;
            query = query
                .bind((*kind).to_owned())
                .bind((*id).to_owned())
                .bind(subject.account.to_string())
                .bind(subject.region.as_ref().map(ToString::to_string))
                .bind(subject.boundary.clone())
                .bind(json(subject, WHAT)?)
                .bind(micros(at))
                .bind(json(&said, WHAT)?);
        }
        query.execute(&mut **transaction).await.about(WHAT)?;
    }
    Ok(())
}

/// Removes the verdicts on subjects that are no more.
pub(super) async fn remove(
    transaction: &mut Transaction<'_, Any>,
    gone: &[(SubjectKind, String)],
) -> Result<()> {
    let mut by_kind: BTreeMap<&str, Vec<&String>> = BTreeMap::new();
    for (kind, id) in gone {
        by_kind.entry(kind.as_str()).or_default().push(id);
    }
    for (kind, mut ids) in by_kind {
        ids.sort();
        for chunk in ids.chunks(ROWS) {
            let mut query = statement(format!(
                "DELETE FROM verdict WHERE kind = $1 AND id IN ({})",
                placeholders(2, chunk.len())
            ))
            .bind(kind.to_owned());
            for &id in chunk {
                query = query.bind(id.clone());
            }
            query.execute(&mut **transaction).await.about(WHAT)?;
        }
    }
    Ok(())
}
