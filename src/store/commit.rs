//! The one write path: a transaction that reads what it builds upon.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use sqlx::{Any, Row as _, Transaction};
use tokio::sync::Notify;

use super::outbox::LastSaid;
use super::sql::{About, ROWS, column, micros, placeholders, statement};
use super::{
    LINES_A_KEY, Result, Seen, Store, StoredReading, correlations, coverage, findings, outbox, seen,
    snapshots, usage, verdicts,
};
use crate::ledger::{Block, Deltas, SeenCache};
use crate::model::{
    Batch, Changes, CorrelationKey, CorrelationState, Cursor, Finding, Reading, Snapshot, SourceKind,
};

/// A transaction that is the only one to write until it ends, so that what it reads is what it builds upon.
///
/// Everything of it is written by [`Writing::commit`], or nothing: neither when it is dropped midway.
pub struct Writing {
    transaction: Transaction<'static, Any>,
    order: Order,
    /// Rung at the end if there are messages in it.
    bell: Arc<Notify>,
    has_messages: bool,
}

/// Where a transaction stands among all that wrote to the store, by whichever instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    /// Its number: one more than the last one's if nobody wrote in between. It counts once it is committed.
    pub turn: i64,
    /// The number of the last one before it that changed the estate; see [`Writing::changes_estate`].
    pub estate: i64,
}

impl std::fmt::Debug for Writing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writing").field("order", &self.order).finish_non_exhaustive()
    }
}

impl Store {
    /// Waits for whoever is writing, and begins to write. SQLite takes the write lock with the first statement,
    /// where waiting is possible, and not in the middle, where it is not.
    ///
    /// # Errors
    /// When the database cannot be reached, or the other writer takes too long.
    pub async fn begin(&self) -> Result<Writing> {
        const WHAT: &str = "a transaction";
        let mut transaction = self.pool.begin().await.about(WHAT)?;
        let row = sqlx::query("UPDATE writer SET turn = turn + 1 WHERE id = 1 RETURNING turn, estate")
            .fetch_one(&mut *transaction)
            .await
            .about(WHAT)?;
        let order = Order { turn: row.try_get(0).about(WHAT)?, estate: row.try_get(1).about(WHAT)? };
        Ok(Writing { transaction, order, bell: Arc::clone(&self.bell), has_messages: false })
    }
}

impl Writing {
    /// Where it stands among all others.
    pub fn order(&self) -> Order {
        self.order
    }

    /// Tells other instances that this transaction changes more than what events make of detections: what they
    /// know of keys, Regions and their findings is no longer all.
    ///
    /// # Errors
    /// When the database does not take it.
    pub async fn changes_estate(&mut self) -> Result<()> {
        sqlx::query("UPDATE writer SET estate = turn WHERE id = 1")
            .execute(&mut *self.transaction)
            .await
            .about("a transaction")?;
        Ok(())
    }

    /// Marks an input as processed; false if it was, and then nothing of it may be written again.
    ///
    /// # Errors
    /// When the database does not take it.
    pub async fn mark(&mut self, input: &str, source: SourceKind, read_at: DateTime<Utc>) -> Result<bool> {
        let marked = sqlx::query(
            "INSERT INTO batch (id, source, read_at) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING",
        )
        .bind(input.to_owned())
        .bind(source.as_str())
        .bind(micros(read_at))
        .execute(&mut *self.transaction)
        .await
        .about("a batch")?;
        Ok(marked.rows_affected() == 1)
    }

    /// The findings of these ids that there are, ordered by id.
    ///
    /// # Errors
    /// When the database does not give them.
    pub async fn findings_by_id(&mut self, ids: &[String]) -> Result<Vec<Finding>> {
        findings::by_id(&mut self.transaction, ids).await
    }

    /// When each thing was last said to each topic about each of these.
    ///
    /// # Errors
    /// When the database does not give it.
    pub async fn last_said(&mut self, abouts: &[String]) -> Result<Vec<LastSaid>> {
        outbox::last_said(&mut self.transaction, abouts).await
    }

    /// The latest reading of each (account, Region, API).
    ///
    /// # Errors
    /// When the database does not give them.
    pub async fn readings(&mut self) -> Result<Vec<StoredReading>> {
        coverage::readings(&mut self.transaction).await
    }

    /// Writes what was seen of keys and Regions.
    ///
    /// # Errors
    /// When the database does not take it.
    pub async fn snapshots(&mut self, seen: &[Snapshot]) -> Result<()> {
        snapshots::write(&mut self.transaction, seen).await
    }

    /// Writes what follows from a batch, from the passing of time or from a person's word.
    ///
    /// # Errors
    /// When the database does not take it.
    pub async fn changes(&mut self, changes: &Changes, at: DateTime<Utc>) -> Result<()> {
        self.has_messages |= !changes.outbox.is_empty();
        let transaction = &mut self.transaction;
        snapshots::close(transaction, &changes.gone, at).await?;
        coverage::forget(transaction, &changes.gone).await?;
        verdicts::write(transaction, &changes.verdicts, at).await?;
        verdicts::remove(transaction, &changes.gone).await?;
        findings::write(transaction, &changes.findings, at).await?;
        outbox::write(transaction, &changes.outbox, at).await
    }

    /// Tells which events of a batch were committed before, and writes that the others are. Each block comes once,
    /// its fingerprints strictly ascending. Once everything is committed, `cache` has to be told.
    ///
    /// # Errors
    /// When the database does not give or take it.
    pub async fn seen(
        &mut self,
        cache: &mut SeenCache,
        blocks: &[(Block, Vec<u64>)],
        at: DateTime<Utc>,
    ) -> Result<Seen> {
        seen::take(&mut self.transaction, cache, blocks, at).await
    }

    /// Adds to the ledger what was used; gives how many calls were put together because a key had too many lines.
    ///
    /// # Errors
    /// When the database does not take it.
    pub async fn usage(&mut self, uses: &Deltas) -> Result<u64> {
        usage::write_unattributed(&mut self.transaction, &uses.unattributed).await?;
        usage::write(&mut self.transaction, &uses.usage, LINES_A_KEY).await
    }

    /// What correlation rules remember of some groups of events.
    ///
    /// # Errors
    /// When the database does not give it.
    pub async fn correlations(&mut self, groups: &BTreeSet<CorrelationKey>) -> Result<Vec<CorrelationState>> {
        correlations::load(&mut self.transaction, groups).await
    }

    /// Has correlation rules remember what they are to; gives how many groups were forgotten for it.
    ///
    /// # Errors
    /// When the database does not take it.
    pub async fn remember(&mut self, states: &[CorrelationState]) -> Result<u64> {
        correlations::save(&mut self.transaction, states).await
    }

    /// Writes what was attempted, and where the source goes on.
    ///
    /// # Errors
    /// When the database does not take it.
    pub async fn coverage(&mut self, readings: &[Reading], cursor: Option<&Cursor>) -> Result<()> {
        coverage::write_readings(&mut self.transaction, readings).await?;
        coverage::write_cursor(&mut self.transaction, cursor).await
    }

    #[cfg(test)]
    pub(super) fn into_transaction(self) -> Transaction<'static, Any> {
        self.transaction
    }

    /// The transaction itself, for the store's other files.
    pub(super) fn transaction(&mut self) -> &mut Transaction<'static, Any> {
        &mut self.transaction
    }

    /// Ends the transaction; from now on everybody sees what it wrote.
    ///
    /// # Errors
    /// When the database does not take it; nothing of it was written then.
    pub async fn commit(self) -> Result<()> {
        self.transaction.commit().await.about("a batch")?;
        if self.has_messages {
            self.bell.notify_one();
        }
        Ok(())
    }
}

impl Store {
    /// Which of some inputs were processed, by the names under which they are marked.
    ///
    /// # Errors
    /// When the database does not tell.
    pub async fn processed(&self, marks: &[String]) -> Result<BTreeSet<String>> {
        const WHAT: &str = "batches";
        let mut processed = BTreeSet::new();
        for chunk in marks.chunks(ROWS) {
            let list = placeholders(1, chunk.len());
            let mut query = statement(format!("SELECT id FROM batch WHERE id IN ({list})"));
            for mark in chunk {
                query = query.bind(mark.clone());
            }
            for row in &query.fetch_all(&self.pool).await.about(WHAT)? {
                processed.insert(column(row, 0, WHAT)?);
            }
        }
        Ok(processed)
    }
}

/// The name under which a batch is marked as processed. Whoever names batches by time alone must not lose the
/// one of another Region.
pub fn mark_of(batch: &Batch) -> String {
    let account = batch.account.as_ref().map_or("", |account| account.as_str());
    let region = batch.region.as_ref().map_or("", |region| region.as_str());
    format!("{}/{account}/{region}/{}", batch.source, batch.id)
}
