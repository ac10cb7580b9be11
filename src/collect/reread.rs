//! Reads keys again that an event says have changed.

use std::collections::{BTreeMap, BTreeSet};

use chrono::SecondsFormat;
use futures::{StreamExt, stream};

use super::api::ASSUME_ROLE;
use super::clients::Clients;
use super::inventory;
use super::readings::Readings;
use super::targets::Target;
use crate::clock;
use crate::model::{AccountId, Batch, KeyArn, KeySnapshot, Region, Snapshot, SourceKind};

/// Keys that are read again at the same time.
const KEYS_AT_ONCE: usize = 16;

/// The keys and all members of their sets, as far as they are in audited Regions.
pub(crate) async fn reread(clients: &Clients, keys: &BTreeSet<KeyArn>, targets: &[Target]) -> Batch {
    let started = clock::now();
    let readings = Readings::default();
    let audited: BTreeSet<(&AccountId, &Region)> =
        targets.iter().map(|target| (&target.account, &target.region)).collect();
    let is_audited = |key: &KeyArn| audited.contains(&(&key.account, &key.region));
    let mut read: BTreeMap<KeyArn, Option<KeySnapshot>> = BTreeMap::new();
    let mut next: BTreeSet<KeyArn> = keys.iter().filter(|key| is_audited(key)).cloned().collect();
    // A member names the others, so that a second round ends this; a key set that changes meanwhile may
    // take a third.
    while !next.is_empty() {
        let round: Vec<(KeyArn, Option<KeySnapshot>)> = stream::iter(next)
            .map(|key| read_one(clients, &readings, key))
            .buffer_unordered(KEYS_AT_ONCE)
            .collect()
            .await;
        let members: Vec<KeyArn> =
            round.iter().filter_map(|(_, snapshot)| snapshot.as_ref()).flat_map(members).collect();
        read.extend(round);
        next = members.into_iter().filter(|key| is_audited(key) && !read.contains_key(key)).collect();
    }
    let accounts: BTreeSet<AccountId> = read.keys().map(|key| key.account.clone()).collect();
    let regions: BTreeSet<Region> = read.keys().map(|key| key.region.clone()).collect();
    let read_at = clock::now();
    Batch {
        source: SourceKind::Inventory,
        id: format!("inventory/changed/{}", started.to_rfc3339_opts(SecondsFormat::Micros, true)),
        account: the_only(accounts),
        region: the_only(regions),
        read_at,
        snapshots: read.into_values().flatten().map(|key| Snapshot::Key(Box::new(key))).collect(),
        events: Vec::new(),
        readings: readings.finish(read_at),
        cursor: None,
        complete: false,
    }
}

async fn read_one(clients: &Clients, readings: &Readings, key: KeyArn) -> (KeyArn, Option<KeySnapshot>) {
    let snapshot = match clients.region(&key.account, &key.region) {
        Ok(region) => inventory::read_key(&region, readings, key.clone()).await,
        Err(failure) => {
            readings.record(&key.account, None, ASSUME_ROLE, Some(&failure));
            None
        }
    };
    (key, snapshot)
}

/// The other members that a key names.
fn members(key: &KeySnapshot) -> Vec<KeyArn> {
    let related = key.metadata.known().and_then(|metadata| metadata.multi_region.as_ref());
    let regions = related.into_iter().flat_map(|related| related.primary.iter().chain(&related.replicas));
    regions.map(|region| key.arn.in_region(region.clone())).collect()
}

fn the_only<T>(set: BTreeSet<T>) -> Option<T> {
    let mut set = set.into_iter();
    let first = set.next();
    first.filter(|_| set.next().is_none())
}
