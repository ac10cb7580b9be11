//! What has to be said, and what was.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{Any, AnyConnection, Transaction};

use super::sql::{
    About, ROWS, column, from_json, json, micros, placeholders, rows_of, rows_of_placeholders, statement,
    time, uncount,
};
use super::{Reach, Result, Store};
use crate::model::OutboxRow;

const WHAT: &str = "outbox messages";

/// A message that this instance may publish until its claim ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// The message.
    pub row: OutboxRow,
    /// How many attempts came before, without success.
    pub attempts: u64,
}

/// When something was last said to a topic, for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastSaid {
    /// The topic's ARN.
    pub topic: String,
    /// The finding's id, or what [`OutboxRow::about`] gives where there is none.
    pub about: String,
    /// The reason of the message.
    pub reason: String,
    /// When it was put into the outbox.
    pub at: DateTime<Utc>,
}

/// How the outbox stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutboxStats {
    /// Messages that wait to be published.
    pub pending: u64,
    /// How long the oldest of them has been waiting; none if none waits.
    pub oldest_age: Option<TimeDelta>,
    /// Messages that were published and are not pruned yet.
    pub sent: u64,
    /// Messages that could not be published and will not be tried again.
    pub dead: u64,
}

impl Store {
    /// Claims messages that are due, in the order in which they were written, until `lease` has passed: no
    /// other instance gets them before. Of the messages about one thing to one topic only the first is
    /// given out, so that they are published in order.
    pub async fn outbox_due(&self, now: DateTime<Utc>, lease: TimeDelta, limit: u32) -> Result<Vec<Claimed>> {
        // The conditions are repeated outside: PostgreSQL judges them again when it had to wait for a row.
        let rows = sqlx::query(
            "UPDATE outbox SET claimed_until = $2
             WHERE state = 'pending' AND next_at <= $1 AND claimed_until <= $1 AND id IN (
                 SELECT candidate.id FROM outbox AS candidate
                 WHERE candidate.state = 'pending' AND candidate.next_at <= $1 AND candidate.claimed_until <= $1
                 AND NOT EXISTS (
                     SELECT 1 FROM outbox AS earlier WHERE earlier.state = 'pending'
                     AND earlier.topic = candidate.topic AND earlier.about = candidate.about
                     AND earlier.seq < candidate.seq)
                 ORDER BY candidate.seq, candidate.id LIMIT $3)
             RETURNING seq, attempts, message",
        )
        .bind(micros(now))
        .bind(micros(now + lease))
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await
        .about(WHAT)?;
        let mut claimed = rows
            .iter()
            .map(|row| {
                let seq: i64 = column(row, 0, WHAT)?;
                let attempts = uncount(column(row, 1, WHAT)?);
                Ok((seq, Claimed { row: from_json(column(row, 2, WHAT)?, WHAT)?, attempts }))
            })
            .collect::<Result<Vec<(i64, Claimed)>>>()?;
        claimed.sort_by(|one, other| (one.0, &one.1.row.id).cmp(&(other.0, &other.1.row.id)));
        Ok(claimed.into_iter().map(|(_, claimed)| claimed).collect())
    }

    /// Ends the claims of a process that is no more, so that its messages need not wait for them to end. Only a
    /// daemon that starts may call it; where several instances share the store it does nothing.
    pub async fn outbox_release(&self) -> Result<()> {
        if self.reach != Reach::Server {
            sqlx::query("UPDATE outbox SET claimed_until = 0 WHERE state = 'pending'")
                .execute(&self.pool)
                .await
                .about(WHAT)?;
        }
        Ok(())
    }

    /// When the next waiting message is due, if one is waiting.
    pub async fn outbox_next(&self) -> Result<Option<DateTime<Utc>>> {
        let row = sqlx::query(
            "SELECT MIN(CASE WHEN claimed_until > next_at THEN claimed_until ELSE next_at END)
             FROM outbox WHERE state = 'pending'",
        )
        .fetch_one(&self.pool)
        .await
        .about(WHAT)?;
        Ok(column::<Option<i64>, _>(&row, 0, WHAT)?.map(time))
    }

    /// The message was published.
    pub async fn outbox_sent(&self, id: &str, now: DateTime<Utc>, message_id: &str) -> Result<()> {
        sqlx::query(
            "UPDATE outbox SET state = 'sent', done_at = $2, message_id = $3, error = NULL,
             attempts = attempts + 1 WHERE id = $1",
        )
        .bind(id.to_owned())
        .bind(micros(now))
        .bind(message_id.to_owned())
        .execute(&self.pool)
        .await
        .about(WHAT)?;
        Ok(())
    }

    /// The message was not published and shall be tried again at `next`.
    pub async fn outbox_retry(&self, id: &str, error: &str, next: DateTime<Utc>) -> Result<()> {
        sqlx::query(
            "UPDATE outbox SET attempts = attempts + 1, claimed_until = 0, next_at = $2, error = $3
             WHERE id = $1 AND state = 'pending'",
        )
        .bind(id.to_owned())
        .bind(micros(next))
        .bind(error.to_owned())
        .execute(&self.pool)
        .await
        .about(WHAT)?;
        Ok(())
    }

    /// The message cannot be published; it is kept, with the reason, and no longer holds up those after it.
    pub async fn outbox_dead(&self, id: &str, now: DateTime<Utc>, error: &str) -> Result<()> {
        sqlx::query(
            "UPDATE outbox SET state = 'dead', done_at = $2, error = $3, attempts = attempts + 1
             WHERE id = $1 AND state = 'pending'",
        )
        .bind(id.to_owned())
        .bind(micros(now))
        .bind(error.to_owned())
        .execute(&self.pool)
        .await
        .about(WHAT)?;
        Ok(())
    }

    /// Waits until this process has committed messages, if it has not since the last time. Those of other instances ring
    /// no bell, and those that wait to be tried again neither.
    pub async fn outbox_filled(&self) {
        self.bell.notified().await;
    }

    /// How the outbox stands.
    pub async fn outbox_stats(&self, now: DateTime<Utc>) -> Result<OutboxStats> {
        let rows = sqlx::query("SELECT state, COUNT(*), MIN(created_at) FROM outbox GROUP BY state")
            .fetch_all(&self.pool)
            .await
            .about(WHAT)?;
        let mut stats = OutboxStats::default();
        for row in &rows {
            let number = uncount(column(row, 1, WHAT)?);
            match column::<&str, _>(row, 0, WHAT)? {
                "pending" => {
                    stats.pending = number;
                    stats.oldest_age = Some((now - time(column(row, 2, WHAT)?)).max(TimeDelta::zero()));
                }
                "sent" => stats.sent = number,
                _ => stats.dead = number,
            }
        }
        Ok(stats)
    }

    /// When each thing was last said to each topic about each of these (findings' ids, or what
    /// [`OutboxRow::about`] gives), ordered by topic, subject and time.
    pub async fn last_said(&self, abouts: &[String]) -> Result<Vec<LastSaid>> {
        let mut connection = self.pool.acquire().await.about(WHAT)?;
        last_said(&mut connection, abouts).await
    }
}

/// When each thing was last said to each topic about each of these, ordered by topic, subject and time.
pub(super) async fn last_said(connection: &mut AnyConnection, abouts: &[String]) -> Result<Vec<LastSaid>> {
    let mut said = Vec::new();
    for chunk in abouts.chunks(ROWS) {
        let list = placeholders(1, chunk.len());
        let mut query =
            statement(format!("SELECT topic, about, reason, at FROM notification WHERE about IN ({list})"));
        for about in chunk {
            query = query.bind(about.clone());
        }
        for row in &query.fetch_all(&mut *connection).await.about(WHAT)? {
            said.push(LastSaid {
                topic: column(row, 0, WHAT)?,
                about: column(row, 1, WHAT)?,
                reason: column(row, 2, WHAT)?,
                at: time(column(row, 3, WHAT)?),
            });
        }
    }
    said.sort_by(|one, other| (&one.topic, &one.about, one.at).cmp(&(&other.topic, &other.about, other.at)));
    Ok(said)
}

/// Writes messages, each id once in its life, and what is thereby said.
pub(super) async fn write(
    transaction: &mut Transaction<'_, Any>,
    rows: &[OutboxRow],
    at: DateTime<Utc>,
) -> Result<()> {
    let mut ids = BTreeSet::new();
    let fresh: Vec<&OutboxRow> = rows.iter().filter(|row| ids.insert(&row.id)).collect();
    for chunk in fresh.chunks(rows_of(6)) {
        // `WHERE` keeps SQLite from taking `ON CONFLICT` for a join's condition.
        let mut query = statement(format!(
            "INSERT INTO outbox (id, seq, topic, about, message, state, created_at, attempts, next_at,
             claimed_until)
             SELECT v.column1, last.seq + v.column2, v.column3, v.column4, v.column5, 'pending', v.column6, 0,
             v.column6, 0
             FROM (VALUES {}) AS v, (SELECT COALESCE(MAX(seq), 0) AS seq FROM outbox) AS last WHERE 1 = 1
             ON CONFLICT (id) DO NOTHING",
            rows_of_placeholders(chunk.len(), 6)
        ));
        for (&row, place) in chunk.iter().zip(1_i64..) {
            query = query
                .bind(row.id.clone())
                .bind(place)
                .bind(row.topic.clone())
                .bind(row.about())
                .bind(json(row, WHAT)?)
                .bind(micros(at));
        }
        query.execute(&mut **transaction).await.about(WHAT)?;
    }
    let said: BTreeSet<(&str, String, &str)> =
        rows.iter().map(|row| (row.topic.as_str(), row.about(), row.reason.as_str())).collect();
    write_said(transaction, said, at).await
}

async fn write_said(
    transaction: &mut Transaction<'_, Any>,
    said: BTreeSet<(&str, String, &str)>,
    at: DateTime<Utc>,
) -> Result<()> {
    let said: Vec<_> = said.into_iter().collect();
    for chunk in said.chunks(rows_of(4)) {
        let mut query = statement(format!(
            "INSERT INTO notification (topic, about, reason, at) VALUES {}
             ON CONFLICT (topic, about, reason) DO UPDATE SET at = excluded.at",
            rows_of_placeholders(chunk.len(), 4)
        ));
        for (topic, about, reason) in chunk {
            query = query.bind((*topic).to_owned()).bind(about.clone()).bind((*reason).to_owned());
            query = query.bind(micros(at));
        }
        query.execute(&mut **transaction).await.about(WHAT)?;
    }
    Ok(())
}
