//! Turns: one change of the audit after the other, each upon what is stored.

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use tokio::sync::MutexGuard;

use super::{Pipeline, kept, off_the_reactor};
use crate::clock;
use crate::ledger::SeenCache;
use crate::model::{Changes, FindingKind};
use crate::store::{FindingFilter, Order, Reach, StoreError, Writing};

/// Who holds it is the only one of this process to change the audit.
#[derive(Debug, Default)]
pub(super) struct Turn {
    /// The audit may be ahead of the store: a commit failed, or was given up midway. The next turn begins with
    /// what is stored.
    pub(super) is_ahead: bool,
    /// Up to which transaction the audit knows all that any instance has stored; none before the first.
    last: Option<i64>,
    /// Up to which one it knows all but what events have made of detections.
    estate: Option<i64>,
    /// Which events are known to be stored.
    pub(super) seen: SeenCache,
}

impl Turn {
    /// The transaction of that number was stored, and the audit has it. That it has all before it as well is for
    /// whoever began the transaction to see to.
    pub(super) fn stored(&mut self, number: i64) {
        self.is_ahead = false;
        for known in [&mut self.last, &mut self.estate] {
            if *known == Some(number - 1) {
                *known = Some(number);
            }
        }
    }

    /// A transaction of that number has begun. The first time that a process has the turn, what it read at its start
    /// is all there is, but where other instances may have started with it.
    fn begun(&mut self, reach: Reach, number: i64) {
        if self.last.is_none() && reach != Reach::Server {
            self.knows_all_before(number);
        }
    }

    fn knows_all_before(&mut self, number: i64) {
        (self.last, self.estate) = (Some(number - 1), Some(number - 1));
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
        let writing = self.begin_beside(&mut turn).await?;
        self.catch_up(&mut turn, writing.order()).await?;
        self.catch_up_detections(&mut turn, writing.order()).await?;
        Ok((turn, writing))
    }

    /// Waits for every other instance to have stored what it is about to, and does not look at it.
    pub(super) async fn begin_beside(&self, turn: &mut Turn) -> anyhow::Result<Writing> {
        let writing = self.store.begin().await?;
        turn.begun(self.store.reach(), writing.order().turn);
        Ok(writing)
    }

    /// Takes up what other instances have stored of the estate since the last turn, if they have. While the
    /// transaction is open nobody stores more.
    ///
    /// It is judged anew as a whole, which takes its time where there are many keys, and all others wait meanwhile:
    /// that some instance took events, as happens all the time, must not lead to it.
    pub(super) async fn catch_up(&self, turn: &mut Turn, order: Order) -> anyhow::Result<()> {
        // In memory nobody else is there, and the one connection is the one that is writing.
        let is_alone = self.store.reach() == Reach::Process;
        if !is_alone && turn.estate.is_none_or(|known| known < order.estate) {
            self.go_back(turn).await?;
            turn.knows_all_before(order.turn);
        }
        turn.estate = Some(order.turn - 1);
        Ok(())
    }

    /// Takes up what other instances have made of detections since the last turn, if they have done anything.
    async fn catch_up_detections(&self, turn: &mut Turn, order: Order) -> anyhow::Result<()> {
        let before = order.turn - 1;
        if self.store.reach() != Reach::Process && turn.last.is_none_or(|known| known < before) {
            let filter = FindingFilter { kind: Some(FindingKind::Detection), ..FindingFilter::default() };
            let detections =
                self.store.findings(&filter).await.context("detections could not be read again")?;
            self.auditor_mut().take_up_detections(detections);
            turn.last = Some(before);
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
        let changes_estate = !changes.findings.is_empty() || !changes.gone.is_empty();
        let written = self.write_changes(&mut writing, changes, apply).await;
        let written = match written {
            Ok(()) if changes_estate => writing.changes_estate().await,
            written => written,
        };
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
    let number = writing.order().turn;
    writing.commit().await?;
    Ok(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_started_beside_others_knows_nothing_before_it_has_looked() {
        let mut turn = Turn::default();
        turn.begun(Reach::Server, 5);
        turn.stored(5);
        assert_eq!((turn.last, turn.estate), (None, None), "others may have stored something before");
        turn.knows_all_before(7);
        turn.stored(7);
        turn.stored(9);
        assert_eq!((turn.last, turn.estate), (Some(7), Some(7)), "there was an eighth");

        let mut turn = Turn::default();
        turn.begun(Reach::Machine, 5);
        turn.stored(5);
        assert_eq!((turn.last, turn.estate), (Some(5), Some(5)));
    }
}
