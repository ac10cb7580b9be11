//! The one way from a batch to the store: drop what was seen, judge, decide what to say, commit once.

mod count;
mod harvest;
mod say;
mod take;
#[cfg(test)]
mod tests;
mod turn;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Mutex;

use crate::audit::{Auditor, Kept, Standards};
use crate::clock;
use crate::facts::{AccountScope, Place};
use crate::harvest::Memo;
use crate::metrics::Metrics;
use crate::model::{AccountId, Batch, Changes, Finding, Reading, ReadingResult, Region, SourceKind};
use crate::notify::Notifier;
use crate::store::{FindingFilter, Retention, Store, StoreError};
pub use take::{DetectedEvent, Parcel, Taken};
use turn::{Apply, Turn, finish};

/// Under which name the store keeps which accounts are one's own.
pub const SCOPE: &str = "scope";

/// The one way from a batch to the store. Batches are taken one after another; readers of the audit do not
/// wait for the store.
#[derive(Debug)]
pub struct Pipeline {
    auditor: RwLock<Auditor>,
    store: Store,
    metrics: Arc<Metrics>,
    notifier: Notifier,
    /// When each source last brought everything of a place, and of when the newest event is that a queue brought;
    /// none where it has not yet.
    completed: std::sync::Mutex<BTreeMap<ReadPlace, Option<DateTime<Utc>>>>,
    started: DateTime<Utc>,
    /// Held from judging to the commit, so that the audit never runs ahead by more than one batch.
    turn: Mutex<Turn>,
    /// What the readers of log files have found out about the estate.
    memos: std::sync::Mutex<Vec<Memo>>,
}

/// What is read as one: an account, a Region of it, by a source.
pub type ReadPlace = (AccountId, Region, SourceKind);

impl Pipeline {
    /// A pipeline into `store`.
    pub fn new(auditor: Auditor, store: Store, metrics: Arc<Metrics>, notifier: Notifier) -> Self {
        let pipeline = Self {
            auditor: RwLock::new(auditor),
            store,
            metrics,
            notifier,
            completed: std::sync::Mutex::default(),
            started: clock::now(),
            turn: Mutex::default(),
            memos: std::sync::Mutex::default(),
        };
        pipeline.show_counters();
        pipeline
    }

    /// The audit, to be looked at. Do not hold it over an await.
    pub fn auditor(&self) -> RwLockReadGuard<'_, Auditor> {
        self.auditor.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Only for who has the turn. A panic of an earlier holder left that turn ahead, so that what it half did
    /// is forgotten before anyone builds on it.
    fn auditor_mut(&self) -> RwLockWriteGuard<'_, Auditor> {
        self.auditor.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The latest reading of each API in each Region of each account.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub async fn readings(&self) -> Result<Vec<Reading>, StoreError> {
        Ok(self.store.readings().await?.into_iter().map(|stored| stored.reading).collect())
    }

    /// Lets time pass: detections age out, exceptions end, reminders become due; what other instances stored is
    /// taken up.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub async fn tick(&self, now: DateTime<Utc>) -> anyhow::Result<()> {
        let days = i64::try_from(self.notifier.alerts.detection_max_age_days).unwrap_or(i64::MAX);
        let max_age = TimeDelta::try_days(days).unwrap_or(TimeDelta::MAX);
        let (mut turn, writing) = self.begin().await?;
        turn.is_ahead = true;
        let changes = self.auditor_mut().tick(now, max_age);
        self.apply(turn, writing, changes, Apply { now, reminders: true }).await
    }

    /// Removes what is older than its retention.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub async fn prune(&self, now: DateTime<Utc>, retention: Retention) -> anyhow::Result<()> {
        let (mut turn, mut writing) = self.begin().await?;
        writing.prune(now, retention).await?;
        let number = writing.order().turn;
        writing.commit().await?;
        turn.stored(number);
        self.auditor_mut().forget_resolved(now - retention.history);
        Ok(())
    }

    /// Judges everything anew by other standards.
    ///
    /// # Errors
    ///
    /// The store failed; the old standards are still in force then.
    pub async fn replace_standards(&self, standards: Standards, now: DateTime<Utc>) -> anyhow::Result<()> {
        let (mut turn, mut writing) = self.begin().await?;
        turn.is_ahead = true;
        let (old, changes) = off_the_reactor(|| self.auditor_mut().replace_standards(standards, now));
        let stored = self.write_changes(&mut writing, changes, Apply { now, reminders: false }).await;
        let stored = match stored {
            Ok(()) => writing.changes_estate().await,
            failed => failed,
        };
        match finish(writing, stored).await {
            Ok(number) => {
                turn.stored(number);
                self.show_counters();
                Ok(())
            }
            Err(error) => {
                self.auditor_mut().set_standards(old);
                Err(self.after_failure(turn, error).await)
            }
        }
    }

    /// Says which accounts are one's own; what is judged from now on is judged by it.
    pub fn set_scope(&self, scope: AccountScope) {
        self.auditor_mut().set_scope(scope);
    }

    /// Lets go of account-Regions that are audited no more, with all that was found there.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub async fn forget_places(&self, places: &BTreeSet<Place>, now: DateTime<Utc>) -> anyhow::Result<()> {
        if places.is_empty() {
            return Ok(());
        }
        let (mut turn, writing) = self.begin().await?;
        turn.is_ahead = true;
        let changes = off_the_reactor(|| self.auditor_mut().forget_places(places, now));
        self.apply(turn, writing, changes, Apply { now, reminders: false }).await?;
        let mut completed = self.completed.lock().unwrap_or_else(PoisonError::into_inner);
        completed.retain(|(account, region, _), _| !places.contains(&(account.clone(), region.clone())));
        Ok(())
    }

    /// Marks a detection as seen to; none if there is no open detection of that id.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub async fn acknowledge(&self, id: &str, now: DateTime<Utc>) -> anyhow::Result<Option<Finding>> {
        let (mut turn, writing) = self.begin().await?;
        let Some(change) = self.auditor_mut().acknowledge(id, now) else { return Ok(None) };
        turn.is_ahead = true;
        let finding = change.finding.clone();
        let changes = Changes { findings: vec![change], ..Changes::default() };
        self.apply(turn, writing, changes, Apply { now, reminders: false }).await?;
        Ok(Some(finding))
    }

    /// Every account-Region that is known, of the estate or by its age alone: another instance may have let go of one of
    /// these already.
    pub fn places(&self) -> BTreeSet<Place> {
        let mut places: BTreeSet<Place> =
            self.auditor().regions().map(|(account, region)| (account.clone(), region.clone())).collect();
        let completed = self.completed.lock().unwrap_or_else(PoisonError::into_inner);
        places.extend(completed.keys().map(|(account, region, _)| (account.clone(), region.clone())));
        places
    }

    /// Has a place's age counted from now on, whether or not it is ever read.
    pub fn expect(&self, place: ReadPlace) {
        let mut completed = self.completed.lock().unwrap_or_else(PoisonError::into_inner);
        completed.entry(place).or_default();
    }

    /// How old the last full reading of each place is, in seconds; since the start where there was none.
    pub fn reading_ages(&self, now: DateTime<Utc>) -> BTreeMap<ReadPlace, i64> {
        let known: Vec<Place> =
            self.auditor().regions().map(|(account, region)| (account.clone(), region.clone())).collect();
        let completed = self.completed.lock().unwrap_or_else(PoisonError::into_inner);
        let age = |at: Option<DateTime<Utc>>| (now - at.unwrap_or(self.started)).num_seconds().max(0);
        let mut ages: BTreeMap<ReadPlace, i64> =
            completed.iter().map(|(place, at)| (place.clone(), age(*at))).collect();
        for (account, region) in known {
            ages.entry((account, region, SourceKind::Inventory)).or_insert_with(|| age(None));
        }
        ages
    }

    /// A place counts as read when the keys were listed in full, or the round of look-ups was answered. Only
    /// the last batch of a round has its readings.
    fn note_completed(&self, batch: &Batch) {
        let (Some(account), Some(region)) = (&batch.account, &batch.region) else { return };
        let all_ok = batch.readings.iter().all(|reading| reading.result == ReadingResult::Ok);
        let is_answered = batch.source == SourceKind::Lookup && !batch.readings.is_empty() && all_ok;
        if batch.complete || is_answered {
            let place = (account.clone(), region.clone(), batch.source);
            let mut completed = self.completed.lock().unwrap_or_else(PoisonError::into_inner);
            completed.insert(place, Some(batch.read_at));
        }
    }

    /// What a queue has brought of a place is all that is known of how far it was heard: the newest event counts as
    /// its last reading, whatever order the messages come in. A clock that is ahead keeps no place fresh. Places that
    /// are not audited have no age, since the log files of an organization tell of any.
    fn note_heard(&self, newest: &BTreeMap<(String, String), DateTime<Utc>>, now: DateTime<Utc>) {
        let auditor = self.auditor();
        let mut completed = self.completed.lock().unwrap_or_else(PoisonError::into_inner);
        for ((account, region), at) in newest {
            let (Ok(account), Ok(region)) = (account.parse::<AccountId>(), region.parse::<Region>()) else {
                continue;
            };
            let is_audited = auditor.estate().region(&account, &region).is_some();
            let place = (account, region, SourceKind::Queue);
            if is_audited || completed.contains_key(&place) {
                let heard = completed.entry(place).or_default();
                *heard = (*heard).max(Some((*at).min(now)));
            }
        }
    }
}

/// Runs what keeps a processor busy without holding up other tasks, where the runtime has threads for that.
fn off_the_reactor<T>(work: impl FnOnce() -> T) -> T {
    match Handle::current().runtime_flavor() {
        RuntimeFlavor::MultiThread => tokio::task::block_in_place(work),
        _ => work(),
    }
}

/// What the store has kept of the audit.
///
/// # Errors
///
/// The store failed.
pub async fn kept(store: &Store) -> Result<Kept, StoreError> {
    let (keys, regions) = store.load_estate().await?;
    Ok(Kept { keys, regions, findings: store.findings(&FindingFilter::default()).await? })
}

/// Which accounts were one's own when the accounts were last listed.
///
/// # Errors
///
/// The store failed, or holds what cannot be understood.
pub async fn kept_scope(store: &Store) -> anyhow::Result<AccountScope> {
    let scope = store.cursor(SCOPE).await?;
    scope.map_or_else(|| Ok(AccountScope::default()), |kept| Ok(serde_json::from_str(&kept.value)?))
}
