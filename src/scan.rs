//! One pass over the estate, without a store.

use std::sync::Arc;

use aws_config::SdkConfig;
use futures::{StreamExt, stream};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::audit::{Auditor, Standards};
use crate::cli::setup::region_table;
use crate::collect::{Collector, Progress};
use crate::config::Config;
use crate::facts::AccountScope;
use crate::model::{AccountId, Reading, Region};
use crate::rounds::scope_of;

/// Regions of accounts that are swept at the same time.
pub(crate) const SWEEPS_AT_ONCE: usize = 8;

/// One pass: finds the accounts and Regions, reads every key, judges. Events are not looked up: a pass
/// tells of states.
///
/// # Errors
///
/// It could not be found out who the caller is; everything else that fails is a reading.
pub async fn once(
    config: &Config,
    standards: Standards,
    sdk: SdkConfig,
    progress: Arc<dyn Progress>,
) -> anyhow::Result<(Auditor, Vec<Reading>)> {
    let collector = Collector::new(config, sdk, region_table(&standards.atlas), progress);
    let found = collector.discover().await?;
    let mut auditor = Auditor::new(standards, scope_of(&found, config, &AccountScope::default()));
    let mut readings: Vec<Reading> = Vec::new();
    for batch in &found.batches {
        auditor.take(batch);
        readings.extend(batch.readings.iter().cloned());
    }
    let collector = &collector;
    let mut sweeps = stream::iter(found.targets)
        .map(|target| async move { collector.sweep(&target).await })
        .buffer_unordered(SWEEPS_AT_ONCE);
    while let Some(batch) = sweeps.next().await {
        auditor.take(&batch);
        readings.extend(batch.readings);
    }
    readings.sort_by(|a, b| (&a.account, &a.region, &a.api).cmp(&(&b.account, &b.region, &b.api)));
    Ok((auditor, readings))
}

/// Progress on standard error, where that is a terminal.
#[derive(Debug)]
pub struct ProgressBars {
    bar: ProgressBar,
}

impl ProgressBars {
    /// A bar that is drawn only if `visible`.
    pub fn new(visible: bool) -> Self {
        let target = if visible { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(0), target);
        let style = ProgressStyle::with_template(
            "{spinner} {pos}/{len} keys {wide_bar} {per_sec}, {eta} left  {msg}",
        );
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { bar }
    }
}

impl Progress for ProgressBars {
    fn sweep_started(&self, account: &AccountId, region: &Region, keys: u64) {
        self.bar.inc_length(keys);
        self.bar.set_message(format!("{account} {region}"));
    }

    fn key_read(&self, _: &AccountId, _: &Region) {
        self.bar.inc(1);
    }
}

impl Drop for ProgressBars {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
