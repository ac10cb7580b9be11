//! The inventory: every key of a Region of an account, and what surrounds the keys.
//!
//! Costs three calls a Region (`ListKeys`, `ListAliases`, `DescribeCustomKeyStores`) and at most six a
//! customer key, paging aside; one for an AWS managed key. What cannot be read becomes an unknown leaf and a
//! reading, and the rest goes on.

mod convert;
mod key;
mod listing;
#[cfg(test)]
mod tests;
mod usage;

use chrono::SecondsFormat;
use futures::{StreamExt, stream};
use tokio::sync::Semaphore;

pub(crate) use self::convert::time;
use self::key::KeyReader;
use self::listing::KeyList;
pub(crate) use self::usage::last_usage;
use super::clients::RegionClients;
use super::config_service;
use super::outcome::{Failure, observed};
use super::progress::Progress;
use super::readings::{Readings, gaps};
use super::targets::Target;
use super::trails;
use crate::clock;
use crate::model::{
    AccountRegionSnapshot, Batch, ConfigOpinion, ConfigPosture, KeyArn, KeySnapshot, Observed, Snapshot,
    SourceKind,
};

/// Keys of one Region that are read at the same time.
const KEYS_AT_ONCE: usize = 32;

/// Sweeps Regions.
#[derive(Debug)]
pub(crate) struct Inventory<'a> {
    pub(crate) target: &'a Target,
    pub(crate) clients: &'a RegionClients,
    /// Whether AWS Config is read.
    pub(crate) with_config: bool,
    /// Bounds the keys that are read at the same time over all sweeps.
    pub(crate) in_flight: &'a Semaphore,
    pub(crate) progress: &'a dyn Progress,
}

impl Inventory<'_> {
    /// One full sweep. The batch is complete if the list of keys was; each listed key is in it, with unknown
    /// leaves where it could not be read, unless AWS says that it is gone.
    pub(crate) async fn sweep(&self) -> Batch {
        let started = clock::now();
        let readings = Readings::default();
        let (list, aliases, stores, (config, opinions)) = tokio::join!(
            listing::keys(self.clients, &readings),
            listing::aliases(self.clients, &readings, None),
            listing::custom_key_stores(self.clients, &readings),
            self.config(&readings),
        );
        let KeyList { mut keys, failure } = list;
        // Pages of a list that changes meanwhile may name a key twice.
        keys.sort();
        keys.dedup();
        let complete = failure.is_none();
        let count = u64::try_from(keys.len()).unwrap_or(u64::MAX);
        let keys = self.read_keys(keys, &observed(aliases), &readings).await;
        // Last, since a sweep takes its time: an event may have had the trails read again meanwhile, and what
        // is older must not replace that.
        let trails = trails::trails(self.clients, &readings).await;
        let read_at = clock::now();
        let readings = readings.finish(read_at);
        let region = AccountRegionSnapshot {
            account: self.target.account.clone(),
            region: self.target.region.clone(),
            partition: self.target.partition.clone(),
            read_at,
            keys: failure.map_or(Observed::Known(count), |failure| Observed::Unknown(failure.gap())),
            custom_key_stores: observed(stores),
            trails: observed(trails),
            config,
            opinions,
            log_checks: std::collections::BTreeMap::new(),
            gaps: gaps(&readings),
        };
        let mut snapshots: Vec<Snapshot> = keys.into_iter().map(|key| Snapshot::Key(Box::new(key))).collect();
        snapshots.push(Snapshot::AccountRegion(Box::new(region)));
        let started = started.to_rfc3339_opts(SecondsFormat::Micros, true);
        Batch {
            source: SourceKind::Inventory,
            id: format!("inventory/{}/{}/{started}", self.target.account, self.target.region),
            account: Some(self.target.account.clone()),
            region: Some(self.target.region.clone()),
            read_at,
            snapshots,
            events: Vec::new(),
            readings,
            cursor: None,
            complete,
        }
    }

    async fn config(&self, readings: &Readings) -> (Observed<ConfigPosture>, Observed<Vec<ConfigOpinion>>) {
        if !self.with_config {
            return (Observed::NotApplicable, Observed::NotApplicable);
        }
        let (posture, opinions) = tokio::join!(
            config_service::posture(self.clients, readings),
            config_service::opinions(self.clients, readings)
        );
        (observed(posture), observed(opinions))
    }

    async fn read_keys(
        &self,
        keys: Vec<KeyArn>,
        aliases: &Observed<listing::Aliases>,
        readings: &Readings,
    ) -> Vec<KeySnapshot> {
        let Target { account, region, .. } = self.target;
        self.progress.sweep_started(account, region, u64::try_from(keys.len()).unwrap_or(u64::MAX));
        let reader = KeyReader { clients: self.clients, readings };
        let read = stream::iter(keys).map(|arn| {
            let reader = &reader;
            async move {
                let _place = self.in_flight.acquire().await;
                let snapshot = Box::pin(reader.read(arn, aliases)).await;
                self.progress.key_read(account, region);
                snapshot
            }
        });
        let mut snapshots: Vec<KeySnapshot> =
            read.buffer_unordered(KEYS_AT_ONCE).filter_map(|key| async move { key }).collect().await;
        snapshots.sort_by(|one, other| one.arn.cmp(&other.arn));
        self.progress.sweep_finished(account, region);
        snapshots
    }
}

/// Reads one key outside of a sweep, with its own aliases; none if the key is gone.
pub(crate) async fn read_key(
    clients: &RegionClients,
    readings: &Readings,
    arn: KeyArn,
) -> Option<KeySnapshot> {
    let aliases = observed(listing::aliases(clients, readings, Some(&arn)).await);
    Box::pin(KeyReader { clients, readings }.read(arn, &aliases)).await
}

/// A place of which nothing could be read, for one reason.
pub(crate) fn unreadable(target: &Target, failure: &Failure) -> AccountRegionSnapshot {
    let read_at = clock::now();
    let gap = failure.gap();
    AccountRegionSnapshot {
        account: target.account.clone(),
        region: target.region.clone(),
        partition: target.partition.clone(),
        read_at,
        keys: Observed::Unknown(gap.clone()),
        custom_key_stores: Observed::Unknown(gap.clone()),
        trails: Observed::Unknown(gap.clone()),
        config: Observed::Unknown(gap.clone()),
        opinions: Observed::Unknown(gap.clone()),
        log_checks: std::collections::BTreeMap::new(),
        gaps: vec![gap],
    }
}
