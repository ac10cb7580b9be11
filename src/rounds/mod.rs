//! The rounds that the daemon makes: full sweeps, look-ups, and the slow sampling of last use.

mod intake;
mod logs;
mod lookups;
mod remembered;
mod scope;
mod sweeps;
mod usage;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context as _;
use futures::{StreamExt, stream};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock;
use crate::collect::{Collector, Target, TrailSample};
use crate::config::Config;
use crate::metrics::{self, Metrics};
use crate::model::{AccountId, Batch, KeyArn, ReadingResult, Snapshot, SourceKind};
use crate::pipeline::{Pipeline, Taken};
use crate::scan::SWEEPS_AT_ONCE;

pub use intake::QueueIntake;
pub(crate) use scope::{left_out, scope_of};

/// How long a batch that could not be stored waits before it is given again.
const STORE_RETRY: Duration = Duration::from_secs(5);

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
    /// What shutdown waits for: the look-ups, and batches that are being committed.
    pub tasks: TaskTracker,
    /// Which account-Regions answered their last round of look-ups.
    pub answering: Arc<Mutex<BTreeMap<Target, bool>>>,
    /// Ends the rounds.
    pub shutdown: CancellationToken,
}

impl Rounds {
    /// Reads keys again that were changed, with their whole sets; gives back those that are still changing.
    async fn read_again(
        &self,
        keys: BTreeSet<KeyArn>,
        targets: &watch::Receiver<Vec<Target>>,
    ) -> BTreeSet<KeyArn> {
        if keys.is_empty() {
            return keys;
        }
        let targets = targets.borrow().clone();
        let mut batch = self.collector.reread(&keys, &targets).await;
        // What a sweep could not read of other keys is not made good by reading these.
        batch.readings.retain(|reading| reading.result != ReadingResult::Ok);
        let unsettled = keys_in_transition(&batch).collect();
        self.take(batch).await;
        unsettled
    }

    /// Reads the trails of accounts again in all their Regions: a trail of many Regions shows in each.
    async fn read_trails_again(
        &self,
        accounts: &BTreeSet<AccountId>,
        targets: &watch::Receiver<Vec<Target>>,
    ) {
        let targets: Vec<Target> =
            targets.borrow().iter().filter(|target| accounts.contains(&target.account)).cloned().collect();
        let samples = targets.into_iter().map(|target| self.sample_trails(target)).collect::<Vec<_>>();
        let mut samples = stream::iter(samples).buffer_unordered(SWEEPS_AT_ONCE);
        while let Some((Target { account, region, .. }, sample)) = samples.next().await {
            let TrailSample { trails, readings } = sample;
            let batch =
                self.pipeline.auditor().with_trails(&account, &region, trails, readings, clock::now());
            if let Some(batch) = batch {
                self.take(batch).await;
            }
        }
    }

    async fn sample_trails(&self, target: Target) -> (Target, TrailSample) {
        let sample = self.collector.trails(&target).await;
        (target, sample)
    }

    /// Gives a batch to the pipeline until it is stored: an outage of the store loses nothing.
    async fn take(&self, mut batch: Batch) -> Taken {
        loop {
            let (given_back, taken) = match self.take_once(batch).await {
                Ok(answer) => answer,
                // Only a panic gets here, and it took the batch with it.
                Err(error) => {
                    tracing::error!(error = format!("{error:#}"), "a batch is lost");
                    return Taken::default();
                }
            };
            batch = given_back;
            match taken {
                Ok(taken) => return taken,
                Err(error) => {
                    tracing::error!(error = format!("{error:#}"), "will try again");
                    tokio::time::sleep(STORE_RETRY).await;
                }
            }
        }
    }

    /// One try, as a task of its own: a round that is cancelled meanwhile does not cut a transaction short, and
    /// shutdown waits for its end.
    async fn take_once(&self, mut batch: Batch) -> anyhow::Result<(Batch, anyhow::Result<Taken>)> {
        let pipeline = Arc::clone(&self.pipeline);
        let task = self.tasks.spawn(async move {
            let taken = pipeline.take(&mut batch).await;
            (batch, taken)
        });
        task.await.context("judging it panicked")
    }

    /// Waits for the next tick; false once it is time to end.
    async fn tick(&self, ticks: &mut tokio::time::Interval) -> bool {
        tokio::select! {
            biased;
            () = self.shutdown.cancelled() => false,
            _ = ticks.tick() => true,
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

/// Ticks at once and then every so many seconds; a round that takes longer delays the next one.
fn interval(seconds: u64) -> tokio::time::Interval {
    let mut ticks = tokio::time::interval(Duration::from_secs(seconds.max(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

fn brought_anything(batch: &Batch) -> bool {
    batch.readings.is_empty() || batch.readings.iter().any(|reading| reading.result == ReadingResult::Ok)
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
