//! Snapshots of keys and Regions, with the time in which each one held.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::{Any, Transaction};

use super::sql::{
    About, ROWS, column, from_json, json, micros, placeholders, rows_of, rows_of_placeholders, statement,
    time,
};
use super::{Result, Store};
use crate::findings::hash_of;
use crate::model::{AccountRegionSnapshot, KeySnapshot, Observed, Snapshot, SubjectKind};

const WHAT: &str = "snapshots";
const KEY: &str = "key";
const ACCOUNT_REGION: &str = "account_region";

impl Store {
    /// The newest snapshot of every key, ordered by ARN.
    pub async fn load_keys(&self) -> Result<Vec<KeySnapshot>> {
        self.load(KEY, None).await
    }

    /// The newest snapshot of every account-Region, ordered.
    pub async fn load_regions(&self) -> Result<Vec<AccountRegionSnapshot>> {
        self.load(ACCOUNT_REGION, None).await
    }

    /// Everything that is known now: what a daemon goes on with after a restart.
    pub async fn load_estate(&self) -> Result<(Vec<KeySnapshot>, Vec<AccountRegionSnapshot>)> {
        Ok((self.load_keys().await?, self.load_regions().await?))
    }

    /// The keys as they were known to be at a past time; keys that were gone by then or first seen later
    /// are not among them.
    pub async fn key_snapshots_as_of(&self, at: DateTime<Utc>) -> Result<Vec<KeySnapshot>> {
        self.load(KEY, Some(at)).await
    }

    /// The account-Regions as they were known to be at a past time.
    pub async fn region_snapshots_as_of(&self, at: DateTime<Utc>) -> Result<Vec<AccountRegionSnapshot>> {
        self.load(ACCOUNT_REGION, Some(at)).await
    }

    async fn load<T: Stored>(&self, kind: &'static str, as_of: Option<DateTime<Utc>>) -> Result<Vec<T>> {
        let query = match as_of {
            None => sqlx::query(
                "SELECT document, seen_at FROM snapshot WHERE kind = $1 AND valid_to IS NULL ORDER BY id",
            )
            .bind(kind),
            Some(at) => sqlx::query(
                "SELECT document, seen_at FROM snapshot WHERE kind = $1 AND valid_from <= $2
                 AND (valid_to IS NULL OR valid_to > $2) ORDER BY id",
            )
            .bind(kind)
            .bind(micros(at)),
        };
        let mut rows = query.fetch(&self.pool);
        let mut snapshots = Vec::new();
        while let Some(row) = rows.try_next().await.about(WHAT)? {
            let mut snapshot: T = from_json(column(&row, 0, WHAT)?, WHAT)?;
            let seen = time(column(&row, 1, WHAT)?);
            snapshot.set_read_at(as_of.map_or(seen, |at| at.min(seen)));
            snapshots.push(snapshot);
        }
        Ok(snapshots)
    }
}

/// What is kept in a snapshot row. The time of reading has its own column, since a reading that finds nothing
/// new must not be a change.
trait Stored: Clone + Serialize + DeserializeOwned {
    fn set_read_at(&mut self, at: DateTime<Utc>);
    /// Without what changes all the time and is no change of posture: otherwise every sweep of a key in use
    /// would begin a new stretch.
    fn without_traffic(&self) -> Self;
}

impl Stored for KeySnapshot {
    fn set_read_at(&mut self, at: DateTime<Utc>) {
        self.read_at = at;
    }

    fn without_traffic(&self) -> Self {
        Self { last_usage: Observed::NotApplicable, ..self.clone() }
    }
}

impl Stored for AccountRegionSnapshot {
    fn set_read_at(&mut self, at: DateTime<Utc>) {
        self.read_at = at;
    }

    fn without_traffic(&self) -> Self {
        let mut snapshot = self.clone();
        if let Observed::Known(trails) = &mut snapshot.trails {
            for trail in trails {
                if let Observed::Known(status) = &mut trail.status {
                    status.latest_delivery = None;
                }
            }
        }
        snapshot
    }
}

/// A snapshot ready to be written.
struct Row {
    read_at: i64,
    digest: String,
    exact: String,
    document: String,
}

fn prepare<T: Stored>(snapshot: &T, read_at: DateTime<Utc>) -> Result<Row> {
    let mut timeless = snapshot.clone();
    timeless.set_read_at(DateTime::UNIX_EPOCH);
    let document = json(&timeless, WHAT)?;
    Ok(Row {
        read_at: micros(read_at),
        digest: hash_of([json(&timeless.without_traffic(), WHAT)?.as_str()]),
        exact: hash_of([document.as_str()]),
        document,
    })
}

/// The current row of a subject.
struct Current {
    valid_from: i64,
    seen_at: i64,
    digest: String,
    exact: String,
}

/// Writes what was read. A snapshot that is older than the stored one is passed over: a sweep may end after
/// a key was read again because of an event.
pub(super) async fn write(transaction: &mut Transaction<'_, Any>, snapshots: &[Snapshot]) -> Result<()> {
    let mut keys = BTreeMap::new();
    let mut regions = BTreeMap::new();
    for snapshot in snapshots {
        let (rows, id, row) = match snapshot {
            Snapshot::Key(key) => (&mut keys, key.arn.to_string(), prepare(&**key, key.read_at)?),
            Snapshot::AccountRegion(region) => {
                let id = format!("{}/{}", region.account, region.region);
                (&mut regions, id, prepare(&**region, region.read_at)?)
            }
        };
        if rows.get(&id).is_none_or(|other: &Row| other.read_at <= row.read_at) {
            rows.insert(id, row);
        }
    }
    for (kind, rows) in [(KEY, keys), (ACCOUNT_REGION, regions)] {
        let rows: Vec<(String, Row)> = rows.into_iter().collect();
        for chunk in rows.chunks(rows_of(7)) {
            write_chunk(transaction, kind, chunk).await?;
        }
    }
    Ok(())
}

async fn write_chunk(
    transaction: &mut Transaction<'_, Any>,
    kind: &'static str,
    rows: &[(String, Row)],
) -> Result<()> {
    let current = current(transaction, kind, rows).await?;
    let mut seen_again = Vec::new();
    let mut moved = Vec::new();
    let mut ended = Vec::new();
    let mut begun = Vec::new();
    for (id, row) in rows {
        match current.get(id) {
            Some(stored) if stored.seen_at > row.read_at => {}
            Some(stored) if stored.exact == row.exact => seen_again.push((id, row)),
            Some(stored) if stored.digest == row.digest => moved.push((id, row)),
            Some(stored) => {
                if stored.valid_from < row.read_at {
                    ended.push((id, row));
                }
                begun.push((id, row));
            }
            None => begun.push((id, row)),
        }
    }
    stamp(transaction, kind, "seen_at", &seen_again).await?;
    replace_document(transaction, kind, &moved).await?;
    stamp(transaction, kind, "valid_to", &ended).await?;
    begin(transaction, kind, &begun).await
}

async fn current(
    transaction: &mut Transaction<'_, Any>,
    kind: &'static str,
    rows: &[(String, Row)],
) -> Result<BTreeMap<String, Current>> {
    // A join, since PostgreSQL compares a long list of parameters with every row of the kind.
    let mut query = statement(format!(
        "SELECT s.id, s.valid_from, s.seen_at, s.digest, s.exact FROM (VALUES {}) AS v
         JOIN snapshot AS s ON s.kind = '{kind}' AND s.id = v.column1 AND s.valid_to IS NULL",
        rows_of_placeholders(rows.len(), 1)
    ));
    for (id, _) in rows {
        query = query.bind(id.clone());
    }
    let rows = query.fetch_all(&mut **transaction).await.about(WHAT)?;
    rows.iter()
        .map(|row| {
            let current = Current {
                valid_from: column(row, 1, WHAT)?,
                seen_at: column(row, 2, WHAT)?,
                digest: column(row, 3, WHAT)?,
                exact: column(row, 4, WHAT)?,
            };
            Ok((column(row, 0, WHAT)?, current))
        })
        .collect()
}

/// Sets a time of the current snapshots to that of the new reading: `seen_at` of what is the same as before,
/// `valid_to` of what held until something else was read.
async fn stamp(
    transaction: &mut Transaction<'_, Any>,
    kind: &'static str,
    field: &'static str,
    rows: &[(&String, &Row)],
) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut query = statement(format!(
        "UPDATE snapshot SET {field} = v.column2 FROM (VALUES {}) AS v
         WHERE kind = '{kind}' AND valid_to IS NULL AND id = v.column1",
        rows_of_placeholders(rows.len(), 2)
    ));
    for &(id, row) in rows {
        query = query.bind(id.clone()).bind(row.read_at);
    }
    query.execute(&mut **transaction).await.about(WHAT)?;
    Ok(())
}

/// The same posture with news that are no change of it.
async fn replace_document(
    transaction: &mut Transaction<'_, Any>,
    kind: &'static str,
    rows: &[(&String, &Row)],
) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut query = statement(format!(
        "UPDATE snapshot SET seen_at = v.column2, exact = v.column3, document = v.column4
         FROM (VALUES {}) AS v WHERE kind = '{kind}' AND valid_to IS NULL AND id = v.column1",
        rows_of_placeholders(rows.len(), 4)
    ));
    for &(id, row) in rows {
        query = query.bind(id.clone()).bind(row.read_at).bind(row.exact.clone()).bind(row.document.clone());
    }
    query.execute(&mut **transaction).await.about(WHAT)?;
    Ok(())
}

/// What is new, or is not as it was.
async fn begin(
    transaction: &mut Transaction<'_, Any>,
    kind: &'static str,
    rows: &[(&String, &Row)],
) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut query = statement(format!(
        "INSERT INTO snapshot (kind, id, valid_from, seen_at, digest, exact, document) VALUES {}
         ON CONFLICT (kind, id, valid_from) DO UPDATE SET valid_to = NULL, seen_at = excluded.seen_at,
         digest = excluded.digest, exact = excluded.exact, document = excluded.document",
        rows_of_placeholders(rows.len(), 7)
    ));
    for &(id, row) in rows {
        query = query.bind(kind).bind(id.clone()).bind(row.read_at).bind(row.read_at);
        query = query.bind(row.digest.clone()).bind(row.exact.clone()).bind(row.document.clone());
    }
    query.execute(&mut **transaction).await.about(WHAT)?;
    Ok(())
}

/// Ends the stretches of subjects that are no more.
pub(super) async fn close(
    transaction: &mut Transaction<'_, Any>,
    gone: &[(SubjectKind, String)],
    at: DateTime<Utc>,
) -> Result<()> {
    for (subject_kind, kind) in [(SubjectKind::Key, KEY), (SubjectKind::AccountRegion, ACCOUNT_REGION)] {
        let mut ids: Vec<&String> =
            gone.iter().filter(|(kind, _)| *kind == subject_kind).map(|(_, id)| id).collect();
        ids.sort();
        for chunk in ids.chunks(ROWS) {
            let mut query = statement(format!(
                "UPDATE snapshot SET valid_to = $2
                 WHERE kind = $1 AND valid_to IS NULL AND seen_at <= $2 AND id IN ({})",
                placeholders(3, chunk.len())
            ))
            .bind(kind)
            .bind(micros(at));
            for &id in chunk {
                query = query.bind(id.clone());
            }
            query.execute(&mut **transaction).await.about(WHAT)?;
        }
    }
    Ok(())
}
