//! What there is to read: accounts, and their Regions.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, SecondsFormat, Utc};
use futures::{StreamExt, stream};

use super::accounts::{self, AuditedAccount, Caller};
use super::api::ASSUME_ROLE;
use super::clients::Clients;
use super::inventory;
use super::outcome::Failure;
use super::readings::Readings;
use super::regions::Regions;
use crate::clock;
use crate::config::Config;
use crate::model::{AccountId, AccountRegionSnapshot, Batch, Observed, Region, Snapshot, SourceKind};

/// Accounts whose role is assumed and whose Regions are listed at the same time.
const ACCOUNTS_AT_ONCE: usize = 8;

/// One Region of one account.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// The account.
    pub account: AccountId,
    /// The Region.
    pub region: Region,
    /// The partition, as in ARNs.
    pub partition: String,
}

/// What there is to read, and what could not be found out about it.
#[derive(Debug)]
pub struct Discovery {
    /// Who Keyward is.
    pub caller: Caller,
    /// The accounts that are to be audited, also those whose role could not be assumed; sorted.
    pub accounts: Vec<AuditedAccount>,
    /// Every account of the organization; unknown if it could not be listed, not applicable unless
    /// `accounts.organization` is set.
    pub organization: Observed<BTreeSet<AccountId>>,
    /// The organization's id, `o-…`, if it is known.
    pub organization_id: Option<String>,
    /// The organizational units above each account; only if a residency assignment asks for units. An
    /// account that is missing here could not be placed.
    pub ous: BTreeMap<AccountId, Vec<String>>,
    /// The Regions of the accounts that can be read, sorted.
    pub targets: Vec<Target>,
    /// One batch for the source `accounts` and one for the source `regions`.
    pub batches: Vec<Batch>,
}

/// Finds the accounts and their Regions.
pub(crate) async fn discover(
    clients: &Clients,
    config: &Config,
    table: &BTreeMap<String, Vec<Region>>,
) -> Result<Discovery, Failure> {
    let started = clock::now();
    let (account_readings, region_readings) = (Readings::default(), Readings::default());
    let caller = accounts::caller(clients, &account_readings).await?;
    clients.set_own(&caller.account);
    let with_ous = config.residency.iter().any(|assignment| !assignment.matches.ous.is_empty());
    let list = accounts::list(clients, &caller, &config.accounts, with_ous, &account_readings).await;
    let finder = Finder {
        clients,
        caller: &caller,
        regions: Regions {
            clients,
            caller: &caller,
            include: &config.regions.include,
            table: table.get(&caller.partition).map_or(&[], Vec::as_slice),
            readings: &region_readings,
        },
        readings: &account_readings,
    };
    let accounts: Vec<_> = list.audited.iter().map(|account| finder.of(&account.id)).collect();
    let found: Vec<Found> = stream::iter(accounts).buffer_unordered(ACCOUNTS_AT_ONCE).collect().await;
    let (mut targets, mut unreadable) = (Vec::new(), Vec::new());
    for found in found {
        match found {
            Found::Targets(more) => targets.extend(more),
            Found::Unreadable(snapshot) => unreadable.push(*snapshot),
        }
    }
    targets.sort();
    unreadable.sort_by(|one, other| one.account.cmp(&other.account));
    let batches = vec![
        batch(SourceKind::Accounts, started, unreadable, &account_readings),
        batch(SourceKind::Regions, started, Vec::new(), &region_readings),
    ];
    Ok(Discovery {
        caller,
        accounts: list.audited,
        organization: list.organization,
        organization_id: list.organization_id,
        ous: list.ous,
        targets,
        batches,
    })
}

/// What became of one account.
enum Found {
    Targets(Vec<Target>),
    Unreadable(Box<AccountRegionSnapshot>),
}

struct Finder<'a> {
    clients: &'a Clients,
    caller: &'a Caller,
    regions: Regions<'a>,
    readings: &'a Readings,
}

impl Finder<'_> {
    /// The Regions of an account, once its role is assumed; the caller's own account needs no role.
    async fn of(&self, account: &AccountId) -> Found {
        if *account != self.caller.account {
            let assumed = self.clients.assume(account, &self.caller.partition).await;
            self.readings.record(account, None, ASSUME_ROLE, assumed.as_ref().err());
            if let Err(failure) = assumed {
                let place = self.target(account, self.caller.global_region.clone());
                return Found::Unreadable(Box::new(inventory::unreadable(&place, &failure)));
            }
        }
        let regions = self.regions.of(account).await;
        Found::Targets(regions.into_iter().map(|region| self.target(account, region)).collect())
    }

    fn target(&self, account: &AccountId, region: Region) -> Target {
        Target { account: account.clone(), region, partition: self.caller.partition.clone() }
    }
}

fn batch(
    source: SourceKind,
    started: DateTime<Utc>,
    unreadable: Vec<AccountRegionSnapshot>,
    readings: &Readings,
) -> Batch {
    let read_at = clock::now();
    Batch {
        source,
        id: format!("{source}/{}", started.to_rfc3339_opts(SecondsFormat::Micros, true)),
        account: None,
        region: None,
        read_at,
        snapshots: unreadable.into_iter().map(|region| Snapshot::AccountRegion(Box::new(region))).collect(),
        events: Vec::new(),
        readings: readings.finish(read_at),
        cursor: None,
        complete: false,
    }
}
