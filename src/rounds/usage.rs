//! When keys were last used, sampled slowly.

use futures::{StreamExt, stream};
use tokio::sync::watch;

use super::{Rounds, interval};
use crate::clock;
use crate::collect::Target;
use crate::scan::SWEEPS_AT_ONCE;

/// From one sampling of last use to the next.
const LAST_USAGE_INTERVAL_SECS: u64 = 24 * 3600;
/// Keys whose last use is stored in one go.
const KEYS_A_SAMPLE: usize = 100;

impl Rounds {
    /// Samples once a day when each key was last used, slowly: AWS allows five keys a second. Begins after the
    /// first full sweep, which names the keys.
    pub async fn last_usage(self, targets: watch::Receiver<Vec<Target>>, mut swept: watch::Receiver<bool>) {
        if !self.config.inventory.last_usage {
            return;
        }
        match self.shutdown.run_until_cancelled(swept.wait_for(|swept| *swept)).await {
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return,
        }
        let mut ticks = interval(LAST_USAGE_INTERVAL_SECS);
        while self.tick(&mut ticks).await {
            let targets = targets.borrow().clone();
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
            let (account, region) = (&target.account, &target.region);
            let mut batch = {
                let auditor = self.pipeline.auditor();
                auditor.with_last_usage(account, region, &sample.usage, clock::now())
            };
            batch.readings = sample.readings;
            self.take(batch).await;
        }
    }
}
