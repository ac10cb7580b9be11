//! Full sweeps of everything, on an interval.

use futures::{StreamExt, stream};
use tokio::sync::{mpsc, watch};

use super::{Rounds, brought_anything, interval, is_ok, left_out, scope_of};
use crate::clock;
use crate::collect::{Discovery, Target};
use crate::metrics;
use crate::model::{Batch, Cursor, Observed, SourceKind};
use crate::pipeline::SCOPE;
use crate::scan::SWEEPS_AT_ONCE;

/// Sweeps that may wait for the store. The other sweeps go on meanwhile: a request that nobody polls would time
/// out, and look as if AWS had not answered.
const SWEEPS_WAITING: usize = 4;

impl Rounds {
    /// Full sweeps, from now on every `inventory.interval_secs`; tells the other rounds what has been swept,
    /// and `swept` once there has been a full sweep.
    pub async fn inventory(self, targets: watch::Sender<Vec<Target>>, swept: watch::Sender<bool>) {
        let mut ticks = interval(self.config.inventory.interval_secs);
        while self.tick(&mut ticks).await {
            let round = async {
                match self.sweep_everything(&targets).await {
                    Ok(()) => {
                        swept.send_replace(true);
                    }
                    Err(error) => {
                        self.metrics.set(&metrics::SOURCE_UP, &[SourceKind::Accounts.as_str()], 0.0);
                        tracing::error!(error = format!("{error:#}"), "the sweep could not begin");
                    }
                }
            };
            if self.shutdown.run_until_cancelled(round).await.is_none() {
                return;
            }
        }
    }

    async fn sweep_everything(&self, targets: &watch::Sender<Vec<Target>>) -> anyhow::Result<()> {
        let found = self.collector.discover().await?;
        self.take_discovery(&found).await?;
        let wanted = wanted(&found, &targets.borrow());
        let known = self.already_swept(&wanted);
        self.expect_events(&known);
        targets.send_replace(known);
        self.count_requests();
        let regions = wanted.len();
        let (out, mut swept) = mpsc::channel(SWEEPS_WAITING);
        let sweeping = async move {
            let sweeps = wanted.into_iter().map(|target| self.sweep(target)).collect::<Vec<_>>();
            let mut sweeps = stream::iter(sweeps).buffer_unordered(SWEEPS_AT_ONCE);
            while let Some(batch) = sweeps.next().await {
                if out.send(batch).await.is_err() {
                    return;
                }
            }
        };
        let taking = async {
            let (mut all_ok, mut any_ok) = (true, false);
            while let Some((target, batch)) = swept.recv().await {
                all_ok &= is_ok(&batch);
                any_ok |= brought_anything(&batch);
                self.take(batch).await;
                self.expect_events(std::slice::from_ref(&target));
                targets.send_if_modified(|known| add(known, target));
            }
            (all_ok, any_ok)
        };
        let ((), (all_ok, any_ok)) = tokio::join!(sweeping, taking);
        // A key or a Region that refuses is a gap in the coverage; the source is down if all of it fails.
        self.show_source(SourceKind::Inventory, any_ok);
        self.count_requests();
        tracing::info!(regions, complete = all_ok, "the sweep is done");
        Ok(())
    }

    /// Takes in which accounts and Regions there are, and lets go of those that are audited no more.
    async fn take_discovery(&self, found: &Discovery) -> anyhow::Result<()> {
        let known = self.pipeline.places();
        let places = left_out(found, known.iter().map(|(account, region)| (account, region)));
        let scope = scope_of(found, &self.config, self.pipeline.auditor().scope());
        let kept_scope = Cursor { key: SCOPE.to_owned(), value: serde_json::to_string(&scope)? };
        self.pipeline.set_scope(scope);
        if !places.is_empty() {
            tracing::info!(places = places.len(), "some account-Regions are audited no more");
            self.pipeline.forget_places(&places, clock::now()).await?;
        }
        for batch in &found.batches {
            let cursor = (batch.source == SourceKind::Accounts).then(|| kept_scope.clone());
            self.show_source(batch.source, brought_anything(batch));
            self.take(Batch { cursor, ..batch.clone() }).await;
        }
        Ok(())
    }

    /// Those of the targets whose keys are known. Events are looked up only there: an event about a key that
    /// is not known yet could not be judged, and would not come again.
    fn already_swept(&self, wanted: &[Target]) -> Vec<Target> {
        let auditor = self.pipeline.auditor();
        let is_known = |target: &&Target| auditor.estate().region(&target.account, &target.region).is_some();
        wanted.iter().filter(is_known).cloned().collect()
    }

    /// Where queues are to bring events from: a place of which none ever comes is as silent as one that fell silent.
    fn expect_events(&self, targets: &[Target]) {
        if self.config.queue.is_empty() {
            return;
        }
        for target in targets {
            self.pipeline.expect((target.account.clone(), target.region.clone(), SourceKind::Queue));
        }
    }

    async fn sweep(&self, target: Target) -> (Target, Batch) {
        let batch = self.collector.sweep(&target).await;
        (target, batch)
    }
}

/// Adds a target in its place; false if it is there already.
fn add(known: &mut Vec<Target>, target: Target) -> bool {
    match known.binary_search(&target) {
        Ok(_) => false,
        Err(at) => {
            known.insert(at, target);
            true
        }
    }
}

/// What there is to read. Where the organization could not be listed this time, what it had before is still
/// read: one failed call must not end the look-ups in all of its accounts.
fn wanted(found: &Discovery, before: &[Target]) -> Vec<Target> {
    let mut wanted = found.targets.clone();
    if let Observed::Unknown(_) = found.organization {
        let is_missing = |target: &&Target| found.accounts.iter().all(|account| account.id != target.account);
        wanted.extend(before.iter().filter(is_missing).cloned());
        wanted.sort();
        wanted.dedup();
    }
    wanted
}

#[cfg(test)]
mod tests {
    use super::super::scope::tests::{discovery, target};
    use super::*;
    use crate::model::{Gap, ReadingResult};

    #[test]
    fn one_failed_listing_does_not_end_the_look_ups_in_all_accounts() {
        let own = target("111122223333", "eu-central-1");
        let member = target("222233334444", "eu-central-1");
        let stale = target("111122223333", "us-east-1");
        let before = [own.clone(), member.clone(), stale];
        let listed = discovery(&["111122223333"], &[&own]);
        assert_eq!(wanted(&listed, &before), std::slice::from_ref(&own));
        let gap = Gap { api: "organizations:ListAccounts".to_owned(), result: ReadingResult::Throttled };
        let unlisted = Discovery { organization: Observed::Unknown(gap), ..listed };
        assert_eq!(wanted(&unlisted, &before), [own, member], "its own Regions are as found");
    }
}
