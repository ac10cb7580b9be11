//! What reads AWS: accounts, Regions, the inventory, CloudTrail look-ups, AWS Config.
//!
//! [`Collector`] is the façade. It never sees the store: cursors and the ids of events that are known come
//! in as parameters, and everything that was read goes out as [`Batch`]es. A call that is denied, throttled
//! or unreachable is a reading and leaves unknown leaves; it never ends the sweep. Every future may be
//! dropped at any point.

mod accounts;
mod api;
mod clients;
mod config_service;
mod count;
mod digests;
mod http;
mod inventory;
mod lookup;
mod outcome;
mod pace;
mod progress;
pub mod queue;
mod readings;
mod regions;
mod reread;
pub(crate) mod s3;
#[cfg(test)]
#[cfg(feature = "sandbox")]
mod sandbox_tests;
mod targets;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod trails;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use aws_config::SdkConfig;
use thiserror::Error;
use tokio::sync::{Semaphore, mpsc};

pub use self::accounts::{AuditedAccount, Caller};
use self::clients::Clients;
pub use self::clients::{SESSION_NAME, USER_AGENT_MARK, sdk_config, sdk_config_for, sdk_config_for_no_calls};
pub use self::digests::{Chain, LogReader, LogSource, Watch, due, public_keys_in};
use self::inventory::Inventory;
pub use self::lookup::{LookupReport, LookupRequest, MUTATIONS};
pub use self::progress::{Progress, Unwatched};
use self::readings::Readings;
pub use self::readings::RequestCounts;
pub use self::targets::{Discovery, Target};
use crate::clock;
use crate::config::Config;
use crate::model::{
    AccountId, Batch, KeyArn, LastUsage, Observed, Reading, Region, Snapshot, SourceKind, TrailSnapshot,
};

/// Keys that are read at the same time over all sweeps.
const KEYS_AT_ONCE: usize = 192;

/// Why nothing at all could be collected.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CollectError {
    /// `sts:GetCallerIdentity` failed, which needs no permission.
    #[error("AWS does not say who Keyward is ({0}); check its credentials, its Region and its way to STS")]
    NoCaller(String),
    /// The role could not be assumed in an account.
    #[error("no role could be assumed in the account {0} ({1}); check `accounts.role` and its trust policy")]
    NoRole(AccountId, String),
}

/// Reads AWS as the configuration says.
#[derive(Debug)]
pub struct Collector {
    config: Config,
    clients: Clients,
    regions: BTreeMap<String, Vec<Region>>,
    in_flight: Semaphore,
    passes: Mutex<BTreeMap<Target, SharedPasses>>,
    progress: Arc<dyn Progress>,
}

/// The look-ups under way in one Region of one account, one round at a time.
type SharedPasses = Arc<tokio::sync::Mutex<lookup::Passes>>;

/// What `GetKeyLastUsage` told.
#[derive(Debug)]
pub struct UsageSample {
    /// By key; keys that are gone or were not reached are missing.
    pub usage: BTreeMap<KeyArn, Observed<LastUsage>>,
    /// What was attempted.
    pub readings: Vec<Reading>,
}

/// The trails that show in a Region.
#[derive(Debug)]
pub struct TrailSample {
    /// The trails, sorted by ARN.
    pub trails: Observed<Vec<TrailSnapshot>>,
    /// What was attempted.
    pub readings: Vec<Reading>,
}

impl Collector {
    /// A collector with clients built from an SDK configuration ([`sdk_config`]). `regions` are the known
    /// Regions of each partition; they are probed where AWS gives no list.
    pub fn new(
        config: &Config,
        sdk_config: SdkConfig,
        regions: BTreeMap<String, Vec<Region>>,
        progress: Arc<dyn Progress>,
    ) -> Self {
        Self {
            clients: Clients::new(sdk_config, &config.accounts, config.inventory.quota_percent),
            config: config.clone(),
            regions,
            in_flight: Semaphore::new(KEYS_AT_ONCE),
            passes: Mutex::default(),
            progress,
        }
    }

    /// How many requests went out; for the metrics.
    pub fn requests(&self) -> &Arc<RequestCounts> {
        self.clients.counts()
    }

    /// Finds the accounts and their Regions. To be repeated on an interval: accounts join, and Regions are
    /// enabled. Has to be called before anything else is read.
    pub async fn discover(&self) -> Result<Discovery, CollectError> {
        let found = targets::discover(&self.clients, &self.config, &self.regions).await;
        found.map_err(|failure| CollectError::NoCaller(failure.detail))
    }

    /// Finds out who Keyward is, for what is read with its own credentials only.
    pub async fn identify(&self) -> Result<Caller, CollectError> {
        let found = accounts::caller(&self.clients, &Readings::default()).await;
        let caller = found.map_err(|failure| CollectError::NoCaller(failure.detail))?;
        self.clients.set_own(&caller.account);
        Ok(caller)
    }

    /// Assumes the configured role in an account.
    pub async fn assume(&self, account: &AccountId, partition: &str) -> Result<(), CollectError> {
        let assumed = self.clients.assume(account, partition).await;
        assumed.map_err(|failure| CollectError::NoRole(account.clone(), failure.detail))
    }

    /// The Region of the environment.
    pub fn region(&self) -> Option<Region> {
        self.clients.base_region()
    }

    /// Reads everything of a Region of an account.
    pub async fn sweep(&self, target: &Target) -> Batch {
        let clients = match self.clients.region(&target.account, &target.region) {
            Ok(clients) => clients,
            Err(failure) => return unreadable_batch(target, &failure),
        };
        let inventory = Inventory {
            target,
            clients: &clients,
            with_config: self.config.inventory.config,
            in_flight: &self.in_flight,
            progress: self.progress.as_ref(),
        };
        Box::pin(inventory.sweep()).await
    }

    /// Reads some keys again, because an event says that they changed, with all other members of their sets
    /// in the Regions that are audited. The batch is not complete: a key that is not in it may be gone.
    pub async fn reread(&self, keys: &BTreeSet<KeyArn>, targets: &[Target]) -> Batch {
        reread::reread(&self.clients, keys, targets).await
    }

    /// Reads the trails of a Region again, because an event says that one changed.
    pub async fn trails(&self, target: &Target) -> TrailSample {
        let readings = Readings::default();
        let trails = match self.clients.region(&target.account, &target.region) {
            Ok(clients) => outcome::observed(trails::trails(&clients, &readings).await),
            Err(failure) => Observed::Unknown(failure.gap()),
        };
        TrailSample { trails, readings: readings.finish(clock::now()) }
    }

    /// One round of look-ups in a Region of an account. The batches go to `batches` as they come, the gravest
    /// events first; each batch that moves a cursor carries it. The round takes one request for each of
    /// [`MUTATIONS`] at least, two a second, and is over by the configured interval unless that takes longer.
    ///
    /// The batches have to be committed in this order. If one cannot be, drop the receiver and call
    /// [`Self::restart_lookup`]: the next round then begins at the stored cursors again.
    pub async fn lookup(
        &self,
        target: &Target,
        request: &LookupRequest<'_>,
        batches: &mpsc::Sender<Batch>,
    ) -> LookupReport {
        let clients = match self.clients.region(&target.account, &target.region) {
            Ok(clients) => clients,
            Err(failure) => {
                tracing::debug!(account = %target.account, region = %target.region, error = failure.detail, "no look-up");
                return LookupReport { failed: true, ..LookupReport::default() };
            }
        };
        let passes = {
            let mut passes = self.passes.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(passes.entry(target.clone()).or_default())
        };
        let mut passes = passes.lock().await;
        lookup::run(&clients, &self.config.lookup, request, &mut passes, batches).await
    }

    /// Forgets the passes that are under way in a Region, since a batch of theirs was not committed.
    pub fn restart_lookup(&self, target: &Target) {
        self.passes.lock().unwrap_or_else(PoisonError::into_inner).remove(target);
    }

    /// Asks when keys of a Region were last used, at 5 keys a second at most.
    pub async fn last_usage(&self, target: &Target, keys: &[KeyArn]) -> UsageSample {
        let readings = Readings::default();
        let usage = match self.clients.region(&target.account, &target.region) {
            Ok(clients) => inventory::last_usage(&clients, &readings, keys).await,
            Err(_) => BTreeMap::new(),
        };
        UsageSample { usage, readings: readings.finish(clock::now()) }
    }
}

fn unreadable_batch(target: &Target, failure: &outcome::Failure) -> Batch {
    let readings = Readings::default();
    readings.record(&target.account, None, api::ASSUME_ROLE, Some(failure));
    let snapshot = inventory::unreadable(target, failure);
    let read_at = snapshot.read_at;
    Batch {
        source: SourceKind::Inventory,
        id: format!("inventory/{}/{}/{}", target.account, target.region, read_at.to_rfc3339()),
        account: Some(target.account.clone()),
        region: Some(target.region.clone()),
        read_at,
        snapshots: vec![Snapshot::AccountRegion(Box::new(snapshot))],
        events: Vec::new(),
        readings: readings.finish(read_at),
        cursor: None,
        complete: false,
    }
}
