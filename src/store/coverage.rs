//! What was read, and how far each source has come.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::any::AnyRow;
use sqlx::{Any, AnyConnection, Transaction};

use super::sql::{
    About, column, count, from_name, micros, rows_of, rows_of_placeholders, statement, time, uncount,
};
use super::{Result, Store, StoreError};
use crate::model::{Cursor, Reading, SubjectKind};

const READINGS: &str = "readings";
const CURSORS: &str = "cursors";

/// The latest reading of one (account, Region, API).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredReading {
    /// The reading.
    pub reading: Reading,
    /// Since when the result has been the same.
    pub since: DateTime<Utc>,
}

impl Store {
    /// The latest reading of each (account, Region, API), ordered by these.
    pub async fn readings(&self) -> Result<Vec<StoredReading>> {
        let mut connection = self.pool.acquire().await.about(READINGS)?;
        readings(&mut connection).await
    }

    /// How far a source had come with its last committed batch.
    pub async fn cursor(&self, key: &str) -> Result<Option<Cursor>> {
        let row = sqlx::query("SELECT value FROM source_position WHERE key = $1")
            .bind(key.to_owned())
            .fetch_optional(&self.pool)
            .await
            .about(CURSORS)?;
        row.map(|row| Ok(Cursor { key: key.to_owned(), value: column(&row, 0, CURSORS)? })).transpose()
    }

    /// The cursors whose keys begin with `prefix`, which may not hold the wildcards `%` and `_`.
    pub async fn cursors(&self, prefix: &str) -> Result<BTreeMap<String, String>> {
        let rows = sqlx::query("SELECT key, value FROM source_position WHERE key LIKE $1")
            .bind(format!("{prefix}%"))
            .fetch_all(&self.pool)
            .await
            .about(CURSORS)?;
        rows.iter().map(|row| Ok((column(row, 0, CURSORS)?, column(row, 1, CURSORS)?))).collect()
    }
}

/// The latest reading of each (account, Region, API), ordered by these.
pub(super) async fn readings(connection: &mut AnyConnection) -> Result<Vec<StoredReading>> {
    let rows = sqlx::query(
        "SELECT account, region, api, result, at, since, attempts, failed, detail FROM reading
         ORDER BY account, region, api",
    )
    .fetch_all(connection)
    .await
    .about(READINGS)?;
    rows.iter().map(stored_reading).collect()
}

fn stored_reading(row: &AnyRow) -> Result<StoredReading> {
    let region: String = column(row, 1, READINGS)?;
    let wrong =
        |error: crate::model::IdError| StoreError::Corrupt { what: READINGS, problem: error.to_string() };
    let reading = Reading {
        account: column::<String, _>(row, 0, READINGS)?.parse().map_err(wrong)?,
        region: if region.is_empty() { None } else { Some(region.parse().map_err(wrong)?) },
        api: column(row, 2, READINGS)?,
        result: from_name(column(row, 3, READINGS)?, READINGS)?,
        at: time(column(row, 4, READINGS)?),
        attempts: uncount(column(row, 6, READINGS)?),
        failed: uncount(column(row, 7, READINGS)?),
        detail: column(row, 8, READINGS)?,
    };
    Ok(StoredReading { reading, since: time(column(row, 5, READINGS)?) })
}

/// Keeps the latest reading of each kind; an older one that comes late changes nothing.
pub(super) async fn write_readings(
    transaction: &mut Transaction<'_, Any>,
    readings: &[Reading],
) -> Result<()> {
    let mut latest: BTreeMap<(&str, &str, &str), &Reading> = BTreeMap::new();
    for reading in readings {
        let region = reading.region.as_ref().map_or("", |region| region.as_str());
        let key = (reading.account.as_str(), region, reading.api.as_str());
        if latest.get(&key).is_none_or(|other| other.at <= reading.at) {
            latest.insert(key, reading);
        }
    }
    let latest: Vec<_> = latest.into_iter().collect();
    for chunk in latest.chunks(rows_of(9)) {
        let mut query = statement(format!(
            "INSERT INTO reading (account, region, api, result, at, since, attempts, failed, detail) VALUES {}
             ON CONFLICT (account, region, api) DO UPDATE SET result = excluded.result, at = excluded.at,
             since = CASE WHEN reading.result = excluded.result THEN reading.since ELSE excluded.since END,
             attempts = excluded.attempts, failed = excluded.failed, detail = excluded.detail
             WHERE excluded.at >= reading.at",
            rows_of_placeholders(chunk.len(), 9)
        ));
        for ((account, region, api), reading) in chunk {
            query = query
                .bind((*account).to_owned())
                .bind((*region).to_owned())
                .bind((*api).to_owned())
                .bind(reading.result.as_str())
                .bind(micros(reading.at))
                .bind(micros(reading.at))
                .bind(count(reading.attempts))
                .bind(count(reading.failed))
                .bind(reading.detail.clone());
        }
        query.execute(&mut **transaction).await.about(READINGS)?;
    }
    Ok(())
}

/// Forgets the readings of account-Regions that are no more, and what is read of an account as a whole with the
/// last of its Regions.
pub(super) async fn forget(
    transaction: &mut Transaction<'_, Any>,
    gone: &[(SubjectKind, String)],
) -> Result<()> {
    for (_, place) in gone.iter().filter(|(kind, _)| *kind == SubjectKind::AccountRegion) {
        let Some((account, region)) = place.split_once('/') else { continue };
        sqlx::query("DELETE FROM reading WHERE account = $1 AND region = $2")
            .bind(account.to_owned())
            .bind(region.to_owned())
            .execute(&mut **transaction)
            .await
            .about(READINGS)?;
        sqlx::query(
            "DELETE FROM reading WHERE account = $1 AND region = '' AND NOT EXISTS (SELECT 1 FROM snapshot
             WHERE kind = 'account_region' AND valid_to IS NULL AND id LIKE $2)",
        )
        .bind(account.to_owned())
        .bind(format!("{account}/%"))
        .execute(&mut **transaction)
        .await
        .about(READINGS)?;
    }
    Ok(())
}

pub(super) async fn write_cursor(
    transaction: &mut Transaction<'_, Any>,
    cursor: Option<&Cursor>,
) -> Result<()> {
    let Some(cursor) = cursor else { return Ok(()) };
    sqlx::query(
        "INSERT INTO source_position (key, value) VALUES ($1, $2)
         ON CONFLICT (key) DO UPDATE SET value = excluded.value",
    )
    .bind(cursor.key.clone())
    .bind(cursor.value.clone())
    .execute(&mut **transaction)
    .await
    .about(CURSORS)?;
    Ok(())
}
