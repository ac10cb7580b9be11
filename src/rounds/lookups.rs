//! CloudTrail look-ups in every Region of every account, each on its own clock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::remembered::RememberedIds;
use super::{Rounds, interval};
use crate::clock;
use crate::collect::{LookupRequest, Target};
use crate::metrics;
use crate::model::{Batch, KeyArn, SourceKind};

/// Batches of look-ups that may wait for the store.
const BATCHES_WAITING: usize = 16;

/// What a Region's look-ups remember from one round to the next.
#[derive(Debug, Default)]
struct LookupState {
    begun: bool,
    cursors: BTreeMap<String, String>,
    seen: RememberedIds,
    /// Keys that are on their way from one state to another; read again until they have arrived.
    unsettled: BTreeSet<KeyArn>,
}

/// What one round of look-ups brought.
#[derive(Debug, Default)]
struct LookupRound {
    ids: Vec<String>,
    cursors: Vec<(String, String)>,
    unsettled: BTreeSet<KeyArn>,
}

/// The look-ups of one Region, as a task.
struct Running {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Rounds {
    /// Look-ups in every Region of every account, each on its own clock.
    pub async fn lookups(self, mut targets: watch::Receiver<Vec<Target>>) {
        if !self.config.lookup.enabled {
            return;
        }
        let mut running: BTreeMap<Target, Running> = BTreeMap::new();
        loop {
            let wanted: BTreeSet<Target> = targets.borrow_and_update().iter().cloned().collect();
            running.retain(|target, lookups| self.goes_on(target, lookups, &wanted));
            for target in wanted {
                running.entry(target.clone()).or_insert_with(|| self.start(target, &targets));
            }
            tokio::select! {
                changed = targets.changed() => if changed.is_err() { return },
                () = self.shutdown.cancelled() => return,
            }
        }
    }

    fn start(&self, target: Target, targets: &watch::Receiver<Vec<Target>>) -> Running {
        self.pipeline.expect((target.account.clone(), target.region.clone(), SourceKind::Lookup));
        let stop = self.shutdown.child_token();
        let rounds = Self { shutdown: stop.clone(), ..self.clone() };
        Running { stop, task: self.tasks.spawn(rounds.look_up(target, targets.clone())) }
    }

    /// Whether a Region's look-ups go on. Those that a panic has ended are to be started again.
    fn goes_on(&self, target: &Target, lookups: &Running, wanted: &BTreeSet<Target>) -> bool {
        let is_wanted = wanted.contains(target);
        if !is_wanted {
            lookups.stop.cancel();
            self.show_answer(target, None);
        } else if lookups.task.is_finished() {
            tracing::error!(account = %target.account, region = %target.region, "look-ups ended; they begin again");
            self.collector.restart_lookup(target);
        }
        is_wanted && !lookups.task.is_finished()
    }

    async fn look_up(self, target: Target, targets: watch::Receiver<Vec<Target>>) {
        let mut ticks = interval(self.config.lookup.interval_secs);
        let mut state = LookupState::default();
        while self.tick(&mut ticks).await {
            let round = Box::pin(self.look_up_once(&target, &targets, &mut state));
            match self.shutdown.clone().run_until_cancelled(round).await {
                None => {
                    // What was handed over last may not have been taken; should the Region be wanted again,
                    // its look-ups begin at the stored cursors.
                    self.collector.restart_lookup(&target);
                    return;
                }
                Some(Ok(())) => {}
                Some(Err(error)) => {
                    self.show_answer(&target, Some(false));
                    let error = format!("{error:#}");
                    tracing::error!(account = %target.account, region = %target.region, error, "a look-up failed");
                }
            }
        }
    }

    async fn look_up_once(
        &self,
        target: &Target,
        targets: &watch::Receiver<Vec<Target>>,
        state: &mut LookupState,
    ) -> anyhow::Result<()> {
        if !state.begun {
            let prefix = format!("lookup/{}/{}/", target.account, target.region);
            state.cursors = self.pipeline.store().cursors(&prefix).await?;
            state.begun = true;
        }
        let unsettled = std::mem::take(&mut state.unsettled);
        state.unsettled = self.read_again(unsettled, targets).await;
        let (out, batches) = mpsc::channel(BATCHES_WAITING);
        let seen = |id: &str| state.seen.contains(id);
        let request = LookupRequest { cursors: &state.cursors, seen: &seen, now: clock::now() };
        let look_up = async move { self.collector.lookup(target, &request, &out).await };
        let (report, round) = tokio::join!(look_up, self.take_lookups(batches, targets));
        state.cursors.extend(round.cursors);
        state.unsettled.extend(round.unsettled);
        round.ids.into_iter().for_each(|id| state.seen.insert(id));
        self.metrics.add(&metrics::EVENTS_DUPLICATE, &[], report.duplicates);
        self.metrics.add(&metrics::EVENTS_MALFORMED, &[], report.malformed);
        self.show_answer(target, Some(!report.failed));
        self.count_requests();
        Ok(())
    }

    /// Takes the batches of one round as they come, and reads changed keys again between them. A cursor moves
    /// once its batch is stored.
    async fn take_lookups(
        &self,
        mut batches: mpsc::Receiver<Batch>,
        targets: &watch::Receiver<Vec<Target>>,
    ) -> LookupRound {
        let mut round = LookupRound::default();
        while let Some(batch) = batches.recv().await {
            let ids: Vec<String> = batch.events.iter().map(|event| event.id().to_owned()).collect();
            let cursor = batch.cursor.clone();
            // A key that was made since the last sweep is read first: an event about a key that is not known
            // cannot be judged, and does not come again.
            let unknown = self.pipeline.auditor().unknown_keys(&batch.events, batch.read_at);
            round.unsettled.extend(self.read_again(unknown, targets).await);
            let taken = self.take(batch).await;
            round.ids.extend(ids);
            round.cursors.extend(cursor.map(|cursor| (cursor.key, cursor.value)));
            round.unsettled.extend(self.read_again(taken.changed_keys, targets).await);
            self.read_trails_again(&taken.changed_trails, targets).await;
        }
        round
    }

    /// The source is up if every account-Region answered its last round; none: it is not looked up any more.
    fn show_answer(&self, target: &Target, answered: Option<bool>) {
        let mut answering = self.answering.lock().unwrap_or_else(PoisonError::into_inner);
        match answered {
            Some(answered) => answering.insert(target.clone(), answered),
            None => answering.remove(target),
        };
        self.show_source(SourceKind::Lookup, answering.values().all(|answered| *answered));
    }
}
