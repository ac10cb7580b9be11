//! The rounds that the daemon makes: full sweeps, look-ups, and the slow sampling of last use.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::{StreamExt, stream};
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::collect::{Collector, LookupRequest, Target, TrailSample};
use crate::config::Config;
use crate::metrics::{self, Metrics};
use crate::model::{AccountId, Batch, Cursor, KeyArn, ReadingResult, Snapshot, SourceKind};
use crate::pipeline::{Pipeline, Taken};
use crate::scan::{SWEEPS_AT_ONCE, scope_of};

/// How long a batch that could not be stored waits before it is given again.
const STORE_RETRY: Duration = Duration::from_secs(5);

/// Under which name the store keeps which accounts are one's own.
pub const SCOPE: &str = "scope";

/// Batches of look-ups that may wait for the store.
const BATCHES_WAITING: usize = 16;
/// From one sampling of last use to the next.
const LAST_USAGE_INTERVAL_SECS: u64 = 24 * 3600;
/// Keys whose last use is stored in one go.
const KEYS_A_SAMPLE: usize = 100;
/// Ids of events that a look-up remembers, so as to drop what it sees again before it is parsed. The store
/// knows all of them; this only saves work.
const IDS_REMEMBERED: usize = 50_000;

/// What there is to read, as the rounds tell each other.
#[derive(Debug, Clone, Default)]
pub struct Ground {
    /// Regions of accounts whose keys are known, by a sweep or from the store. Events are looked up there
    /// only: without the keys it could not be told what they mean.
    pub known: BTreeSet<Target>,
    /// Whether everything has been swept since the start.
    pub swept: bool,
}

/// What every round needs.
#[derive(Debug, Clone)]
pub struct Rounds {
    /// Reads AWS.
    pub collector: Arc<Collector>,
    /// Takes what was read.
    pub pipeline: Arc<Pipeline>,
    /// Told how the rounds go.
    pub metrics: Arc<Metrics>,
    /// When what is read.
    pub config: Arc<Config>,
    /// Ends the rounds.
    pub shutdown: CancellationToken,
}

impl Rounds {
    /// Full sweeps, from now on every `inventory.interval_secs`; tells the other rounds what there is to read.
    pub async fn inventory(self, ground: watch::Sender<Ground>, ready: Arc<AtomicBool>) {
        let mut ticks = interval(self.config.inventory.interval_secs);
        while self.tick(&mut ticks).await {
            let round = async {
                match self.sweep_everything(&ground).await {
                    Ok(()) => ready.store(true, Ordering::Relaxed),
                    Err(error) => {
                        self.metrics.set(&metrics::SOURCE_UP, &[SourceKind::Accounts.as_str()], 0.0);
                        tracing::error!(error = format!("{error:#}"), "the accounts could not be listed");
                    }
                }
            };
            if self.shutdown.run_until_cancelled(round).await.is_none() {
                return;
            }
        }
    }

    async fn sweep_everything(&self, ground: &watch::Sender<Ground>) -> anyhow::Result<()> {
        let found = self.collector.discover().await?;
        let scope = scope_of(&found, &self.config, self.pipeline.auditor().scope());
        let kept_scope = Cursor { key: SCOPE.to_owned(), value: serde_json::to_string(&scope)? };
        self.pipeline.set_scope(scope);
        let readable: BTreeSet<AccountId> = found.targets.iter().map(|target| target.account.clone()).collect();
        for mut batch in found.batches {
            if batch.source == SourceKind::Accounts {
                batch.cursor = Some(kept_scope.clone());
                let again = self.pipeline.auditor().accounts_readable_again(&readable, batch.read_at);
                batch.snapshots.extend(again);
            }
            self.show_source(batch.source, is_ok(&batch));
            self.take(batch).await;
        }
        let known: BTreeSet<Target> = {
            let auditor = self.pipeline.auditor();
            let is_known = |target: &&Target| auditor.estate().region(&target.account, &target.region).is_some();
            found.targets.iter().filter(is_known).cloned().collect()
        };
        ground.send_modify(|ground| ground.known = known);
        self.count_requests();
        let regions = found.targets.len();
        let sweeps: Vec<_> = found.targets.into_iter().map(|target| self.sweep(target)).collect();
        let mut sweeps = stream::iter(sweeps).buffer_unordered(SWEEPS_AT_ONCE);
        let mut all_ok = true;
        while let Some((target, batch)) = sweeps.next().await {
            all_ok &= is_ok(&batch);
            self.take(batch).await;
            ground.send_if_modified(|ground| ground.known.insert(target));
        }
        ground.send_modify(|ground| ground.swept = true);
        self.show_source(SourceKind::Inventory, all_ok);
        self.count_requests();
        tracing::info!(regions, complete = all_ok, "the sweep is done");
        Ok(())
    }

    async fn sweep(&self, target: Target) -> (Target, Batch) {
        let batch = self.collector.sweep(&target).await;
        (target, batch)
    }

    /// Look-ups in every Region of every account, each on its own clock.
    pub async fn lookups(self, mut ground: watch::Receiver<Ground>) {
        if !self.config.lookup.enabled {
            return;
        }
        let mut running: BTreeMap<Target, CancellationToken> = BTreeMap::new();
        loop {
            let wanted: BTreeSet<Target> = ground.borrow_and_update().known.clone();
            running.retain(|target, stop| {
                let stays = wanted.contains(target);
                if !stays {
                    stop.cancel();
                }
                stays
            });
            for target in wanted {
                running.entry(target.clone()).or_insert_with(|| {
                    let stop = self.shutdown.child_token();
                    let rounds = Self { shutdown: stop.clone(), ..self.clone() };
                    tokio::spawn(rounds.look_up(target, ground.clone()));
                    stop
                });
            }
            tokio::select! {
                changed = ground.changed() => if changed.is_err() { return },
                () = self.shutdown.cancelled() => return,
            }
        }
    }

    async fn look_up(self, target: Target, ground: watch::Receiver<Ground>) {
        let mut ticks = interval(self.config.lookup.interval_secs);
        let mut state = LookupState::default();
        while self.tick(&mut ticks).await {
            let round = self.look_up_once(&target, &ground, &mut state);
            match Box::pin(self.shutdown.clone().run_until_cancelled(round)).await {
                None => return,
                Some(Ok(())) => {}
                Some(Err(error)) => {
                    let error = format!("{error:#}");
                    tracing::error!(account = %target.account, region = %target.region, error, "a look-up failed");
                }
            }
        }
    }

    async fn look_up_once(
        &self,
        target: &Target,
        ground: &watch::Receiver<Ground>,
        state: &mut LookupState,
    ) -> anyhow::Result<()> {
        if !state.begun {
            let prefix = format!("lookup/{}/{}/", target.account, target.region);
            state.cursors = self.pipeline.store().cursors(&prefix).await?;
            state.begun = true;
        }
        let unsettled = std::mem::take(&mut state.unsettled);
        state.unsettled = self.read_again(unsettled, ground).await;
        let (out, batches) = mpsc::channel(BATCHES_WAITING);
        let seen = |id: &str| state.seen.contains(id);
        let request = LookupRequest { cursors: &state.cursors, seen: &seen, now: clock::now() };
        let look_up = async move { self.collector.lookup(target, &request, &out).await };
        let (report, round) = tokio::join!(look_up, self.take_lookups(batches, ground));
        state.cursors.extend(round.cursors);
        state.unsettled.extend(round.unsettled);
        round.ids.into_iter().for_each(|id| state.seen.insert(id));
        self.metrics.add(&metrics::EVENTS_DUPLICATE, &[], report.duplicates);
        self.metrics.add(&metrics::EVENTS_MALFORMED, &[], report.malformed);
        self.show_source(SourceKind::Lookup, !report.failed);
        self.count_requests();
        Ok(())
    }

    /// Takes the batches of one round as they come, and reads changed keys again between them.
    async fn take_lookups(
        &self,
        mut batches: mpsc::Receiver<Batch>,
        ground: &watch::Receiver<Ground>,
    ) -> LookupRound {
        let mut round = LookupRound::default();
        while let Some(batch) = batches.recv().await {
            round.ids.extend(batch.events.iter().map(|event| event.id().to_owned()));
            round.cursors.extend(batch.cursor.iter().map(|cursor| (cursor.key.clone(), cursor.value.clone())));
            let taken = self.take(batch).await;
            round.unsettled.extend(self.read_again(taken.changed_keys, ground).await);
            self.read_trails_again(&taken.changed_trails, ground).await;
        }
        round
    }

    /// Samples once a day when each key was last used, slowly: AWS allows five keys a second.
    pub async fn last_usage(self, ground: watch::Receiver<Ground>) {
        if !self.config.inventory.last_usage {
            return;
        }
        let mut ticks = interval(LAST_USAGE_INTERVAL_SECS);
        // The first sweep names the keys.
        let mut sweeps = ground.clone();
        let ready = sweeps.wait_for(|ground| ground.swept);
        if self.shutdown.run_until_cancelled(ready).await.is_none() {
            return;
        }
        while self.tick(&mut ticks).await {
            let targets = ground.borrow().known.clone();
            let samples: Vec<_> = targets.into_iter().map(|target| self.sample_last_usage(target)).collect();
            let round = stream::iter(samples).buffer_unordered(SWEEPS_AT_ONCE).collect::<()>();
            if self.shutdown.run_until_cancelled(round).await.is_none() {
                return;
            }
        }
    }

    async fn sample_last_usage(&self, target: Target) {
        let keys = self.pipeline.auditor().customer_keys_in(&target.account, &target.region);
        for some in keys.chunks(KEYS_A_SAMPLE) {
            let sample = self.collector.last_usage(&target, some).await;
            let mut batch = self.pipeline.auditor().with_last_usage(&target.account, &target.region, &sample.usage, clock::now());
            batch.readings = sample.readings;
            self.take(batch).await;
        }
    }

    /// Reads keys again that were changed, with their whole sets; gives back those that are still changing.
    async fn read_again(
        &self,
        keys: BTreeSet<KeyArn>,
        ground: &watch::Receiver<Ground>,
    ) -> BTreeSet<KeyArn> {
        if keys.is_empty() {
            return keys;
        }
        let targets: Vec<Target> = ground.borrow().known.iter().cloned().collect();
        let mut batch = self.collector.reread(&keys, &targets).await;
        // What a sweep could not read of other keys is not made good by reading these.
        batch.readings.retain(|reading| reading.result != ReadingResult::Ok);
        let unsettled = keys_in_transition(&batch).collect();
        self.take(batch).await;
        unsettled
    }

    /// Reads the trails of accounts again in all their Regions: a trail of many Regions shows in each.
    async fn read_trails_again(&self, accounts: &BTreeSet<AccountId>, ground: &watch::Receiver<Ground>) {
        let targets: Vec<Target> =
            ground.borrow().known.iter().filter(|target| accounts.contains(&target.account)).cloned().collect();
        let samples = targets.into_iter().map(|target| async move {
            let sample = self.collector.trails(&target).await;
            (target, sample)
        });
        let samples: Vec<_> = samples.collect();
        let mut samples = stream::iter(samples).buffer_unordered(SWEEPS_AT_ONCE);
        while let Some((Target { account, region, .. }, sample)) = samples.next().await {
            let TrailSample { trails, readings } = sample;
            let batch = self.pipeline.auditor().with_trails(&account, &region, trails, readings, clock::now());
            if let Some(batch) = batch {
                self.take(batch).await;
            }
        }
    }

    /// Gives a batch to the pipeline until it is stored: an outage of the store loses nothing.
    async fn take(&self, mut batch: Batch) -> Taken {
        loop {
            match self.pipeline.take(&mut batch).await {
                Ok(taken) => return taken,
                Err(error) => {
                    tracing::error!(error = format!("{error:#}"), "will try again");
                    tokio::time::sleep(STORE_RETRY).await;
                }
            }
        }
    }

    /// Waits for the next tick; false once it is time to end.
    async fn tick(&self, ticks: &mut tokio::time::Interval) -> bool {
        tokio::select! {
            _ = ticks.tick() => true,
            () = self.shutdown.cancelled() => false,
        }
    }

    fn show_source(&self, source: SourceKind, up: bool) {
        self.metrics.set(&metrics::SOURCE_UP, &[source.as_str()], if up { 1.0 } else { 0.0 });
    }

    fn count_requests(&self) {
        for (service, operation, result, total) in self.collector.requests().snapshot() {
            self.metrics.raise_to(&metrics::AWS_REQUESTS, &[&service, &operation, result.as_str()], total);
        }
    }
}

fn interval(seconds: u64) -> tokio::time::Interval {
    let mut ticks = tokio::time::interval(Duration::from_secs(seconds));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

fn is_ok(batch: &Batch) -> bool {
    batch.readings.iter().all(|reading| reading.result == ReadingResult::Ok)
}

fn keys_in_transition(batch: &Batch) -> impl Iterator<Item = KeyArn> + '_ {
    batch.snapshots.iter().filter_map(|snapshot| match snapshot {
        Snapshot::Key(key) => {
            let state = &key.metadata.known()?.state;
            (state == "Creating" || state == "Updating").then(|| key.arn.clone())
        }
        Snapshot::AccountRegion(_) => None,
    })
}

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

/// The newest ids, as many as [`IDS_REMEMBERED`].
#[derive(Debug, Default)]
struct RememberedIds {
    ids: BTreeSet<String>,
    order: VecDeque<String>,
}

impl RememberedIds {
    fn contains(&self, id: &str) -> bool {
        self.ids.contains(id)
    }

    fn insert(&mut self, id: String) {
        if !self.ids.insert(id.clone()) {
            return;
        }
        self.order.push_back(id);
        if self.order.len() > IDS_REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
    }
}
