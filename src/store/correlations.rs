//! What correlation rules remember of events, read and written with the batch that adds to it.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use sqlx::{Any, Transaction};

use super::Result;
use super::sql::{
    About, column, count, from_json, json, micros, placeholders, rows_of_placeholders, statement, uncount,
};
use crate::model::{CorrelationKey, CorrelationState};

const CORRELATIONS: &str = "correlations";

/// How many groups of one rule are remembered; those that were not touched for longest are forgotten first.
const MAX_GROUPS: u64 = 100_000;

/// How many groups go into one statement: a group may be large.
const GROUPS: usize = 50;

/// What is remembered of some groups; nothing of those that are new.
pub(super) async fn load(
    transaction: &mut Transaction<'_, Any>,
    keys: &BTreeSet<CorrelationKey>,
) -> Result<Vec<CorrelationState>> {
    let mut states = Vec::new();
    for (rule, groups) in by_rule(keys) {
        for chunk in groups.chunks(GROUPS) {
            let list = placeholders(2, chunk.len());
            let mut query = statement(format!(
                "SELECT grp, touched_at, expires_at, matches FROM correlation WHERE rule = $1 AND grp IN ({list})"
            ))
            .bind(rule.to_owned());
            for group in chunk {
                query = query.bind((*group).to_owned());
            }
            for row in &query.fetch_all(&mut **transaction).await.about(CORRELATIONS)? {
                states.push(CorrelationState {
                    key: CorrelationKey { rule: rule.to_owned(), group: column(row, 0, CORRELATIONS)? },
                    touched_at: column(row, 1, CORRELATIONS)?,
                    expires_at: column(row, 2, CORRELATIONS)?,
                    matches: from_json(column(row, 3, CORRELATIONS)?, CORRELATIONS)?,
                });
            }
        }
    }
    // Databases give rows in an order of their own.
    states.sort_by(|one, other| one.key.cmp(&other.key));
    Ok(states)
}

fn by_rule(keys: &BTreeSet<CorrelationKey>) -> BTreeMap<&str, Vec<&str>> {
    let mut rules: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for key in keys {
        rules.entry(&key.rule).or_default().push(&key.group);
    }
    rules
}

/// Remembers groups, each in place of what was remembered of it. Gives how many groups were forgotten since
/// their rule has more than [`MAX_GROUPS`].
pub(super) async fn save(transaction: &mut Transaction<'_, Any>, states: &[CorrelationState]) -> Result<u64> {
    save_at_most(transaction, states, MAX_GROUPS).await
}

pub(super) async fn save_at_most(
    transaction: &mut Transaction<'_, Any>,
    states: &[CorrelationState],
    most: u64,
) -> Result<u64> {
    for chunk in states.chunks(GROUPS) {
        let rows = rows_of_placeholders(chunk.len(), 5);
        let mut query = statement(format!(
            "INSERT INTO correlation (rule, grp, touched_at, expires_at, matches) VALUES {rows}
             ON CONFLICT (rule, grp) DO UPDATE SET touched_at = excluded.touched_at,
             expires_at = excluded.expires_at, matches = excluded.matches"
        ));
        for state in chunk {
            query = query
                .bind(state.key.rule.clone())
                .bind(state.key.group.clone())
                .bind(state.touched_at)
                .bind(state.expires_at)
                .bind(json(&state.matches, CORRELATIONS)?);
        }
        query.execute(&mut **transaction).await.about(CORRELATIONS)?;
    }
    let rules: BTreeSet<&str> = states.iter().map(|state| state.key.rule.as_str()).collect();
    let mut forgotten = 0;
    for rule in rules {
        forgotten += forget_oldest(transaction, rule, most).await?;
    }
    Ok(forgotten)
}

async fn forget_oldest(transaction: &mut Transaction<'_, Any>, rule: &str, most: u64) -> Result<u64> {
    let row = sqlx::query("SELECT COUNT(*) FROM correlation WHERE rule = $1")
        .bind(rule.to_owned())
        .fetch_one(&mut **transaction)
        .await
        .about(CORRELATIONS)?;
    let groups = uncount(column(&row, 0, CORRELATIONS)?);
    let Some(too_many) = groups.checked_sub(most).filter(|groups| *groups > 0) else { return Ok(0) };
    let done = sqlx::query(
        "DELETE FROM correlation WHERE rule = $1 AND grp IN
         (SELECT grp FROM correlation WHERE rule = $1 ORDER BY touched_at, grp LIMIT $2)",
    )
    .bind(rule.to_owned())
    .bind(count(too_many))
    .execute(&mut **transaction)
    .await
    .about(CORRELATIONS)?;
    Ok(done.rows_affected())
}

/// Forgets the groups of which nothing counts any more. Gives how many there were.
pub(super) async fn prune(transaction: &mut Transaction<'_, Any>, now: DateTime<Utc>) -> Result<u64> {
    let done = sqlx::query("DELETE FROM correlation WHERE expires_at < $1")
        .bind(micros(now))
        .execute(&mut **transaction)
        .await
        .about(CORRELATIONS)?;
    Ok(done.rows_affected())
}
