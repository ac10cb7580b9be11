//! The one way from a batch to the store: drop what was seen, judge, decide what to say, commit once.

mod count;
mod say;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Instant;

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{Mutex, MutexGuard};

use crate::audit::{Auditor, Kept, Standards};
use crate::clock;
use crate::facts::{AccountScope, Place};
use crate::metrics::Metrics;
use crate::model::{
    AccountId, Batch, Changes, EventRecord, Fact, Finding, KeyArn, Reading, ReadingResult, Region, SourceKind,
};
use crate::notify::Notifier;
use crate::store::{Commit, FindingFilter, Retention, Store, StoreError};

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
    /// When each source last brought everything of a place; none where it has not yet.
    completed: std::sync::Mutex<BTreeMap<ReadPlace, Option<DateTime<Utc>>>>,
    started: DateTime<Utc>,
    /// Held from judging to the commit, so that the audit never runs ahead by more than one batch.
    turn: Mutex<Turn>,
}

/// Who holds it is the only one to change the audit.
#[derive(Debug, Default)]
struct Turn {
    /// The audit may be ahead of the store: a commit failed, or was given up midway. The next turn begins with
    /// what is stored.
    is_ahead: bool,
}

/// What is read as one: an account, a Region of it, by a source.
pub type ReadPlace = (AccountId, Region, SourceKind);

/// What a batch asks for beyond being stored.
#[derive(Debug, Default)]
pub struct Taken {
    /// Keys that an event has changed.
    pub changed_keys: BTreeSet<KeyArn>,
    /// Accounts whose trails an event has changed.
    pub changed_trails: BTreeSet<AccountId>,
}

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

    /// Judges a batch and commits it with everything that follows from it.
    ///
    /// # Errors
    ///
    /// The store failed; nothing of the batch was taken then, and it may be given again.
    pub async fn take(&self, batch: &mut Batch) -> anyhow::Result<Taken> {
        let mut turn = self.turn().await?;
        let started = Instant::now();
        let seen = self.drop_seen(batch).await?;
        self.auditor().carry_last_usage(batch);
        turn.is_ahead = true;
        let changes = off_the_reactor(|| self.auditor_mut().take(batch));
        let committed = self.commit(batch, changes).await;
        match committed.with_context(|| format!("batch {} was not stored", batch.id)) {
            Ok(Commit::Fresh) => {
                turn.is_ahead = false;
                self.note_completed(batch);
                self.count_batch(batch, seen.len(), started.elapsed().as_secs_f64());
                Ok(taken(&self.auditor(), &batch.events, batch.read_at))
            }
            Ok(Commit::Repeated) => {
                self.go_back(&mut turn).await?;
                // An earlier try was stored, and whoever gave the batch was told that it had failed.
                Ok(taken(&self.auditor(), &seen, batch.read_at))
            }
            Err(error) => Err(self.after_failure(turn, error).await),
        }
    }

    /// Lets time pass: detections age out, exceptions end, reminders become due.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub async fn tick(&self, now: DateTime<Utc>) -> anyhow::Result<()> {
        let mut turn = self.turn().await?;
        let days = i64::try_from(self.notifier.alerts.detection_max_age_days).unwrap_or(i64::MAX);
        let max_age = TimeDelta::try_days(days).unwrap_or(TimeDelta::MAX);
        turn.is_ahead = true;
        let changes = self.auditor_mut().tick(now, max_age);
        self.apply(turn, changes, now).await?;
        let reminders = Changes { outbox: self.what_still_stands(now).await?, ..Changes::default() };
        Ok(self.store.apply(&reminders, now).await?)
    }

    /// Removes what is older than its retention.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub async fn prune(&self, now: DateTime<Utc>, retention: Retention) -> anyhow::Result<()> {
        let _turn = self.turn().await?;
        self.store.prune(now, retention).await?;
        self.auditor_mut().forget_resolved(now - retention.history);
        Ok(())
    }

    /// Judges everything anew by other standards.
    ///
    /// # Errors
    ///
    /// The store failed; the old standards are still in force then.
    pub async fn replace_standards(&self, standards: Standards, now: DateTime<Utc>) -> anyhow::Result<()> {
        let mut turn = self.turn().await?;
        turn.is_ahead = true;
        let (old, changes) = off_the_reactor(|| self.auditor_mut().replace_standards(standards, now));
        let stored = self.store_changes(changes, now).await;
        match stored {
            Ok(()) => {
                turn.is_ahead = false;
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
        let mut turn = self.turn().await?;
        turn.is_ahead = true;
        let changes = off_the_reactor(|| self.auditor_mut().forget_places(places, now));
        self.apply(turn, changes, now).await?;
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
        let mut turn = self.turn().await?;
        let Some(change) = self.auditor_mut().acknowledge(id, now) else { return Ok(None) };
        turn.is_ahead = true;
        let finding = change.finding.clone();
        let changes = Changes { findings: vec![change], ..Changes::default() };
        self.apply(turn, changes, now).await?;
        Ok(Some(finding))
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

    /// Waits for the turn. If the audit may be ahead of the store, it first takes up what is stored.
    async fn turn(&self) -> anyhow::Result<MutexGuard<'_, Turn>> {
        let mut turn = self.turn.lock().await;
        if turn.is_ahead {
            self.go_back(&mut turn).await?;
        }
        Ok(turn)
    }

    async fn go_back(&self, turn: &mut Turn) -> anyhow::Result<()> {
        let kept = kept(&self.store).await.context("the stored state could not be read again")?;
        off_the_reactor(|| self.auditor_mut().go_back(kept, clock::now()));
        turn.is_ahead = false;
        Ok(())
    }

    /// Takes up the stored state again after a commit failed; where even that fails, the next turn does.
    async fn after_failure(&self, mut turn: MutexGuard<'_, Turn>, error: anyhow::Error) -> anyhow::Error {
        if let Err(second) = self.go_back(&mut turn).await {
            tracing::warn!(error = format!("{second:#}"), "what is shown may be ahead of what is stored");
        }
        error
    }

    /// Takes the events out that a committed batch has brought, and gives them back; so it does with second
    /// records of one event in the same batch.
    async fn drop_seen(&self, batch: &mut Batch) -> anyhow::Result<Vec<EventRecord>> {
        if batch.events.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<String> = batch.events.iter().map(|event| event.id().to_owned()).collect();
        let mut unseen = self.store.unseen(&ids).await?;
        let events = std::mem::take(&mut batch.events);
        let (fresh, seen) = events.into_iter().partition(|event| unseen.remove(event.id()));
        batch.events = fresh;
        Ok(seen)
    }

    async fn commit(&self, batch: &Batch, mut changes: Changes) -> Result<Commit, StoreError> {
        changes.outbox = self.what_to_say(&changes).await?;
        changes.outbox.extend(self.what_is_lost(&batch.readings).await?);
        let committed = self.store.commit(batch, &changes).await?;
        if committed == Commit::Fresh {
            self.count_detections(&changes);
        }
        Ok(committed)
    }

    /// Stores what follows from time or from a word, not from a batch.
    async fn apply(
        &self,
        mut turn: MutexGuard<'_, Turn>,
        changes: Changes,
        now: DateTime<Utc>,
    ) -> anyhow::Result<()> {
        match self.store_changes(changes, now).await {
            Ok(()) => {
                turn.is_ahead = false;
                Ok(())
            }
            Err(error) => Err(self.after_failure(turn, error).await),
        }
    }

    async fn store_changes(&self, mut changes: Changes, now: DateTime<Utc>) -> anyhow::Result<()> {
        let stored = async {
            changes.outbox = self.what_to_say(&changes).await?;
            self.store.apply(&changes, now).await
        };
        stored.await.context("the changes were not stored")
    }
}

/// Runs what keeps a processor busy without holding up other tasks, where the runtime has threads for that.
fn off_the_reactor<T>(work: impl FnOnce() -> T) -> T {
    match Handle::current().runtime_flavor() {
        RuntimeFlavor::MultiThread => tokio::task::block_in_place(work),
        _ => work(),
    }
}

/// What events ask to be read again.
fn taken(auditor: &Auditor, events: &[EventRecord], now: DateTime<Utc>) -> Taken {
    let changed_trails = events.iter().flat_map(|event| auditor.accounts_of_changed_trail(event)).collect();
    Taken { changed_keys: changed_keys(auditor, events, now), changed_trails }
}

/// The keys that events have changed.
fn changed_keys(auditor: &Auditor, events: &[EventRecord], now: DateTime<Utc>) -> BTreeSet<KeyArn> {
    let is_write =
        |event: &&EventRecord| event.record().get("readOnly") != Some(&serde_json::Value::Bool(true));
    let key = |event: &EventRecord| {
        let facts = auditor.event_facts(event, now);
        let is_change = facts.root.at("event.changed_key") == Some(&Fact::Bool(true));
        let arn = facts.root.at("event.key_arn").filter(|_| is_change);
        match arn {
            Some(Fact::Text(arn)) => arn.parse().ok(),
            _ => None,
        }
    };
    events.iter().filter(is_write).filter_map(key).collect()
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
