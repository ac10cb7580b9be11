//! Turns: one change of the audit after the other, each upon what is stored.

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use tokio::sync::MutexGuard;

use super::{Pipeline, kept, off_the_reactor};
use crate::clock;
use crate::ledger::SeenCache;
use crate::model::Changes;
use crate::store::{Reach, StoreError, Writing};

/// Who holds it is the only one of this process to change the audit.
#[derive(Debug, Default)]
pub(super) struct Turn {
    /// The audit may be ahead of the store: a commit failed, or was given up midway. The next turn begins with
    /// what is stored.
    pub(super) is_ahead: bool,
    /// The last transaction of any instance that the audit knows of; none before the first.
    last: Option<i64>,
    /// Which events are known to be stored.
    pub(super) seen: SeenCache,
}

impl Turn {
    /// The transaction of that number was stored, and the audit is as it is.
    pub(super) fn stored(&mut self, number: i64) {
        self.is_ahead = false;
        self.last = Some(number);
    }

    /// The transaction of that number was stored without a look at what other instances stored before it.
    pub(super) fn stored_beside(&mut self, number: i64) {
        self.is_ahead = false;
        if self.last.is_none_or(|last| last + 1 == number) {
            self.last = Some(number);
        }
    }
}

/// How changes are stored that no batch brought.
#[derive(Debug, Clone, Copy)]
pub(super) struct Apply {
    /// As of when.
    pub(super) now: DateTime<Utc>,
    /// Whether what still stands is to be said again where that is due.
    pub(super) reminders: bool,
}

impl Pipeline {
    /// Waits for the turn. If the audit may be ahead of the store, it first takes up what is stored.
    pub(super) async fn turn(&self) -> anyhow::Result<MutexGuard<'_, Turn>> {
        let mut turn = self.turn.lock().await;
        if turn.is_ahead {
            self.go_back(&mut turn).await?;
        }
        Ok(turn)
    }

    /// Waits for the turn, and for every other instance to have stored what it is about to; the audit then is
    /// what the store is.
    pub(super) async fn begin(&self) -> anyhow::Result<(MutexGuard<'_, Turn>, Writing)> {
        let mut turn = self.turn().await?;
        let writing = self.store.begin().await?;
        self.catch_up(&mut turn, writing.turn()).await?;
        Ok((turn, writing))
    }

    /// Takes up what other instances have stored since the last turn, if they have. While the transaction of that
    /// number is open nobody stores more.
    pub(super) async fn catch_up(&self, turn: &mut Turn, number: i64) -> anyhow::Result<()> {
        let is_next = match (self.store.reach(), turn.last) {
            // Nobody else is there, and its one connection is the one that is writing.
            (Reach::Process, _) => true,
            (_, Some(last)) => last + 1 == number,
            (reach, None) => reach == Reach::Machine,
        };
        if !is_next {
            self.go_back(turn).await?;
        }
        Ok(())
    }

    pub(super) async fn go_back(&self, turn: &mut Turn) -> anyhow::Result<()> {
        let kept = kept(&self.store).await.context("the stored state could not be read again")?;
        off_the_reactor(|| self.auditor_mut().go_back(kept, clock::now()));
        turn.is_ahead = false;
        Ok(())
    }

    /// Takes up the stored state again after a commit failed; where even that fails, the next turn does.
    pub(super) async fn after_failure(
        &self,
        mut turn: MutexGuard<'_, Turn>,
        error: anyhow::Error,
    ) -> anyhow::Error {
        if let Err(second) = self.go_back(&mut turn).await {
            tracing::warn!(error = format!("{second:#}"), "what is shown may be ahead of what is stored");
        }
        error
    }

    /// Stores what follows from time or from a word, not from a batch.
    pub(super) async fn apply(
        &self,
        mut turn: MutexGuard<'_, Turn>,
        mut writing: Writing,
        changes: Changes,
        apply: Apply,
    ) -> anyhow::Result<()> {
        let written = self.write_changes(&mut writing, changes, apply).await;
        match finish(writing, written).await.context("the changes were not stored") {
            Ok(number) => {
                turn.stored(number);
                Ok(())
            }
            Err(error) => Err(self.after_failure(turn, error).await),
        }
    }

    pub(super) async fn write_changes(
        &self,
        writing: &mut Writing,
        mut changes: Changes,
        apply: Apply,
    ) -> Result<(), StoreError> {
        changes.outbox = self.what_to_say(writing, &changes).await?;
        writing.changes(&changes, apply.now).await?;
        if apply.reminders {
            let reminders =
                Changes { outbox: self.what_still_stands(writing, apply.now).await?, ..Changes::default() };
            writing.changes(&reminders, apply.now).await?;
        }
        Ok(())
    }
}

/// Ends a transaction if all of it was written, and gives its number; what was written is dropped else.
pub(super) async fn finish(writing: Writing, written: Result<(), StoreError>) -> anyhow::Result<i64> {
    written?;
    let number = writing.turn();
    writing.commit().await?;
    Ok(number)
}
