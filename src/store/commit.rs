//! The one write path.

use chrono::{DateTime, Utc};
use sqlx::{Any, Transaction};

use super::sql::{About, micros};
use super::{Result, Store, coverage, findings, outbox, snapshots, verdicts};
use crate::model::{Batch, Changes};

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commit {
    /// It is in the store now, with everything that follows from it.
    Fresh,
    /// It was there already; nothing was changed.
    Repeated,
}

impl Store {
    /// Writes a batch and what follows from it, all or nothing, even when the future is dropped midway.
    ///
    /// # Errors
    /// When the database does not take it; the batch may then be committed again.
    pub async fn commit(&self, batch: &Batch, changes: &Changes) -> Result<Commit> {
        let mut transaction = self.write_transaction().await?;
        if !mark(&mut transaction, batch).await? {
            return Ok(Commit::Repeated);
        }
        write(&mut transaction, batch, changes).await?;
        transaction.commit().await.about("a batch")?;
        Ok(Commit::Fresh)
    }
}

impl Store {
    /// Writes what follows from the passing of time or from a person's word, without a batch: detections that
    /// aged out or were acknowledged, exceptions that ended, reminders, places that are audited no more.
    ///
    /// # Errors
    /// When the database does not take it; nothing of it was written then.
    pub async fn apply(&self, changes: &Changes, now: DateTime<Utc>) -> Result<()> {
        let mut transaction = self.write_transaction().await?;
        write_changes(&mut transaction, changes, now).await?;
        transaction.commit().await.about("changes")
    }

    /// A transaction that is the only one to write until it ends. SQLite takes the write lock with the first
    /// statement, where waiting is possible, and not in the middle, where it is not.
    pub(super) async fn write_transaction(&self) -> Result<Transaction<'static, Any>> {
        let mut transaction = self.pool.begin().await.about("a transaction")?;
        sqlx::query("UPDATE writer SET turn = turn + 1 WHERE id = 1")
            .execute(&mut *transaction)
            .await
            .about("a transaction")?;
        Ok(transaction)
    }
}

/// Marks the batch as processed; false if it was.
async fn mark(transaction: &mut Transaction<'_, Any>, batch: &Batch) -> Result<bool> {
    // Whoever names batches by time alone must not lose the one of another Region.
    let account = batch.account.as_ref().map_or("", |account| account.as_str());
    let region = batch.region.as_ref().map_or("", |region| region.as_str());
    let id = format!("{}/{account}/{region}/{}", batch.source, batch.id);
    let marked = sqlx::query(
        "INSERT INTO batch (id, source, read_at) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING",
    )
    .bind(id)
    .bind(batch.source.as_str())
    .bind(micros(batch.read_at))
    .execute(&mut **transaction)
    .await
    .about("a batch")?;
    Ok(marked.rows_affected() == 1)
}

/// Everything but the mark.
pub(super) async fn write(
    transaction: &mut Transaction<'_, Any>,
    batch: &Batch,
    changes: &Changes,
) -> Result<()> {
    snapshots::write(transaction, &batch.snapshots).await?;
    coverage::write_events(transaction, &batch.events, batch.read_at).await?;
    write_changes(transaction, changes, batch.read_at).await?;
    coverage::write_readings(transaction, &batch.readings).await?;
    coverage::write_cursor(transaction, batch.cursor.as_ref()).await
}

async fn write_changes(
    transaction: &mut Transaction<'_, Any>,
    changes: &Changes,
    at: DateTime<Utc>,
) -> Result<()> {
    snapshots::close(transaction, &changes.gone, at).await?;
    coverage::forget(transaction, &changes.gone).await?;
    verdicts::write(transaction, &changes.verdicts, at).await?;
    verdicts::remove(transaction, &changes.gone).await?;
    findings::write(transaction, &changes.findings, at).await?;
    outbox::write(transaction, &changes.outbox, at).await
}
