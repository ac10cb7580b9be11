//! Where the keys are kept, and what falls due.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::key::{Key, Shared};
use super::stores::Store;
use super::trace::{ServiceEvent, Trace};
use crate::model::{AccountId, Region};
use crate::sandbox::ids::Ids;

/// Every account's keys.
#[derive(Debug)]
pub struct State {
    pub(super) accounts: BTreeMap<AccountId, Account>,
    pub(super) agenda: Agenda,
    pub(super) trace: Trace,
    /// What happened by itself since it was last asked for.
    pub(super) events: Vec<ServiceEvent>,
    pub(super) ids: Ids,
    /// How long a replica is `Creating`, and both keys of `UpdatePrimaryRegion` are `Updating`.
    pub(super) settling: TimeDelta,
}

impl Default for State {
    fn default() -> Self {
        Self {
            accounts: BTreeMap::new(),
            agenda: Agenda::default(),
            trace: Trace::default(),
            events: Vec::new(),
            ids: Ids::new("kms"),
            settling: TimeDelta::zero(),
        }
    }
}

/// One account.
#[derive(Debug, Default)]
pub(super) struct Account {
    /// By key id, whether of one Region or several.
    pub(super) shared: BTreeMap<String, Shared>,
    pub(super) places: BTreeMap<Region, Place>,
}

/// One account in one Region.
#[derive(Debug, Default)]
pub(super) struct Place {
    pub(super) keys: BTreeMap<String, Key>,
    pub(super) aliases: BTreeMap<String, Alias>,
    pub(super) stores: BTreeMap<String, Store>,
}

/// What an alias points to.
#[derive(Debug, Clone)]
pub(super) struct Alias {
    /// The key id; an alias of AWS may have no key yet.
    pub(super) target: Option<String>,
    pub(super) created: DateTime<Utc>,
    pub(super) updated: DateTime<Utc>,
}

/// Where one key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Spot {
    pub(super) account: AccountId,
    pub(super) region: Region,
    pub(super) id: String,
}

impl State {
    /// How long a new replica stays `Creating`, and both keys of `UpdatePrimaryRegion` stay `Updating`, by the
    /// sandbox's clock. Zero by default: the answer names the passing state and the next call no longer sees it.
    pub fn set_settling(&mut self, delay: TimeDelta) {
        self.settling = delay;
    }

    /// Goes on with ids that no other world has.
    pub fn reseed_at_random(&mut self) {
        self.ids.reseed_at_random();
    }

    pub(super) fn place(&self, account: &AccountId, region: &Region) -> Option<&Place> {
        self.accounts.get(account)?.places.get(region)
    }

    pub(super) fn place_mut(&mut self, account: &AccountId, region: &Region) -> &mut Place {
        self.accounts.entry(account.clone()).or_default().places.entry(region.clone()).or_default()
    }

    pub(super) fn key(&self, spot: &Spot) -> Option<&Key> {
        self.place(&spot.account, &spot.region)?.keys.get(&spot.id)
    }

    pub(super) fn key_mut(&mut self, spot: &Spot) -> Option<&mut Key> {
        self.accounts.get_mut(&spot.account)?.places.get_mut(&spot.region)?.keys.get_mut(&spot.id)
    }

    pub(super) fn shared(&self, spot: &Spot) -> Option<&Shared> {
        self.accounts.get(&spot.account)?.shared.get(&spot.id)
    }

    pub(super) fn shared_mut(&mut self, spot: &Spot) -> Option<&mut Shared> {
        self.accounts.get_mut(&spot.account)?.shared.get_mut(&spot.id)
    }

    /// Puts a key in its place, beside what it shares with its relatives, and names its aliases.
    pub(super) fn insert(&mut self, key: Key, shared: Shared) {
        let account = self.accounts.entry(key.arn.account.clone()).or_default();
        account.shared.insert(key.arn.id.clone(), shared);
        let place = account.places.entry(key.arn.region.clone()).or_default();
        for alias in &key.aliases {
            let (created, target) = (key.created, Some(key.arn.id.clone()));
            place.aliases.insert(alias.clone(), Alias { target, created, updated: created });
        }
        place.keys.insert(key.arn.id.clone(), key);
    }
}

/// What is to happen, and when.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    due: BTreeMap<(DateTime<Utc>, u64), (Spot, Due)>,
    added: u64,
}

/// What can fall due. Each is checked against the key again when its time comes, so that nothing has to be
/// taken off the agenda.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Due {
    /// The waiting period before deletion is over.
    Deletion,
    /// The material is to rotate.
    Rotation,
    /// This imported material expires.
    Expiry(String),
    /// The key is created or updated.
    Settled,
}

impl Agenda {
    pub(super) fn add(&mut self, at: DateTime<Utc>, spot: Spot, due: Due) {
        self.added += 1;
        self.due.insert((at, self.added), (spot, due));
    }

    /// Takes the first entry that is due by now.
    pub(super) fn take(&mut self, now: DateTime<Utc>) -> Option<(DateTime<Utc>, Spot, Due)> {
        let entry = self.due.first_entry()?;
        let at = entry.key().0;
        if at > now {
            return None;
        }
        let (spot, due) = entry.remove();
        Some((at, spot, due))
    }
}
