//! What is not kept for ever.

use chrono::{DateTime, TimeDelta, Utc};

use super::sql::{About, micros};
use super::{Result, Store, correlations};

/// How long what is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Resolved findings and their history, past snapshots, published and dead messages, batch marks.
    pub history: TimeDelta,
    /// The ids of events that were seen, from when they were. Longer than a look-up's overlap and the longest
    /// time that Keyward may stand still: an event that comes again later counts again.
    pub events: TimeDelta,
}

/// How many rows were removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Resolved findings.
    pub findings: u64,
    /// Past snapshots.
    pub snapshots: u64,
    /// Ids of events.
    pub events: u64,
    /// Published and dead messages.
    pub messages: u64,
    /// Batch marks.
    pub batches: u64,
}

impl Store {
    /// Removes what is older than its retention. What is current, open, excepted or waiting always stays.
    pub async fn prune(&self, now: DateTime<Utc>, retention: Retention) -> Result<Pruned> {
        let old = micros(now - retention.history);
        let mut transaction = self.write_transaction().await?;
        let mut remove = async |sql: &'static str, before: i64| -> Result<u64> {
            let done = sqlx::query(sql).bind(before).execute(&mut *transaction).await.about("retention")?;
            Ok(done.rows_affected())
        };
        // What a removed finding leaves behind goes with it, even if it is younger.
        for dependent in [
            "DELETE FROM finding_history WHERE finding IN
             (SELECT id FROM finding WHERE state = 'resolved' AND resolved_at < $1)",
            "DELETE FROM notification WHERE about IN
             (SELECT id FROM finding WHERE state = 'resolved' AND resolved_at < $1)",
        ] {
            remove(dependent, old).await?;
        }
        let pruned = Pruned {
            findings: remove("DELETE FROM finding WHERE state = 'resolved' AND resolved_at < $1", old)
                .await?,
            snapshots: remove("DELETE FROM snapshot WHERE valid_to IS NOT NULL AND valid_to < $1", old)
                .await?,
            events: remove("DELETE FROM event_seen WHERE seen_at < $1", micros(now - retention.events))
                .await?,
            messages: remove("DELETE FROM outbox WHERE done_at IS NOT NULL AND done_at < $1", old).await?,
            batches: remove("DELETE FROM batch WHERE read_at < $1", old).await?,
        };
        correlations::prune(&mut transaction, now).await?;
        transaction.commit().await.about("retention")?;
        Ok(pruned)
    }
}
