//! The one way from a batch to the store: drop what was seen, judge, decide what to say, commit once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Instant;

use anyhow::Context as _;
use chrono::{DateTime, Duration, Utc};
use tokio::sync::Mutex;

use crate::audit::{Auditor, Kept, Standards};
use crate::clock;
use crate::facts::AccountScope;
use crate::metrics::{self, Metrics};
use crate::model::{
    AccountId, Batch, Changes, EventRecord, Fact, Finding, FindingKind, FindingState, KeyArn, OutboxRow, Reading, ReadingResult, Region, SourceKind,
    Transition,
};
use crate::notify::Notifier;
use crate::rounds::SCOPE;
use crate::store::{Commit, FindingFilter, Store, StoreError};

/// The one way from a batch to the store. Batches are taken one after another; readers of the audit do not
/// wait for the store.
#[derive(Debug)]
pub struct Pipeline {
    auditor: RwLock<Auditor>,
    store: Store,
    metrics: Arc<Metrics>,
    notifier: Notifier,
    /// When each source last brought everything of a place.
    completed: std::sync::Mutex<BTreeMap<Place, DateTime<Utc>>>,
    started: DateTime<Utc>,
    /// Held from judging a batch to its commit, so that the audit never runs ahead by more than one batch.
    turn: Mutex<()>,
}

/// What is read as one: an account, a Region of it, by a source.
type Place = (AccountId, Region, SourceKind);

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
        Self {
            auditor: RwLock::new(auditor),
            store,
            metrics,
            notifier,
            completed: std::sync::Mutex::default(),
            started: clock::now(),
            turn: Mutex::new(()),
        }
    }

    /// The audit, to be looked at. Do not hold it over an await.
    pub fn auditor(&self) -> RwLockReadGuard<'_, Auditor> {
        self.auditor.read().unwrap_or_else(PoisonError::into_inner)
    }

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
        let _turn = self.turn.lock().await;
        let started = Instant::now();
        self.drop_seen(batch).await?;
        self.auditor().carry_last_usage(batch);
        let (changes, taken) = tokio::task::block_in_place(|| {
            let mut auditor = self.auditor_mut();
            let changes = auditor.take(batch);
            let changed_keys = changed_keys(&auditor, batch);
            let of_event = |event| auditor.accounts_of_changed_trail(event);
            let changed_trails = batch.events.iter().flat_map(of_event).collect();
            (changes, Taken { changed_keys, changed_trails })
        });
        self.commit(batch, changes).await?;
        self.note_completed(batch);
        self.count(batch, started.elapsed().as_secs_f64());
        Ok(taken)
    }

    /// Lets time pass: detections age out, exceptions end, reminders become due.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub async fn tick(&self, now: DateTime<Utc>) -> anyhow::Result<()> {
        let _turn = self.turn.lock().await;
        let max_age = Duration::days(i64::try_from(self.notifier.alerts.detection_max_age_days).unwrap_or(i64::MAX / 100_000));
        let changes = self.auditor_mut().tick(now, max_age);
        self.apply(changes, now).await?;
        let reminders = Changes { outbox: self.what_still_stands(now).await?, ..Changes::default() };
        Ok(self.store.apply(&reminders, now).await?)
    }

    /// Judges everything anew by other standards.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub async fn replace_standards(&self, standards: Standards, now: DateTime<Utc>) -> anyhow::Result<()> {
        let _turn = self.turn.lock().await;
        let changes = tokio::task::block_in_place(|| self.auditor_mut().replace_standards(standards, now));
        self.apply(changes, now).await
    }

    /// Says which accounts are one's own.
    pub fn set_scope(&self, scope: AccountScope) {
        self.auditor_mut().set_scope(scope);
    }

    /// Marks a detection as seen to; none if there is no open detection of that id.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub async fn acknowledge(&self, id: &str, now: DateTime<Utc>) -> anyhow::Result<Option<Finding>> {
        let _turn = self.turn.lock().await;
        let Some(change) = self.auditor_mut().acknowledge(id, now) else { return Ok(None) };
        let finding = change.finding.clone();
        let changes = Changes { findings: vec![change], ..Changes::default() };
        self.apply(changes, now).await?;
        Ok(Some(finding))
    }

    /// How old the last full reading of each place is, in seconds; since the start where there was none.
    pub fn reading_ages(&self, now: DateTime<Utc>) -> BTreeMap<Place, i64> {
        let completed = self.completed.lock().unwrap_or_else(PoisonError::into_inner);
        let age = |at: Option<&DateTime<Utc>>| (now - *at.unwrap_or(&self.started)).num_seconds().max(0);
        let mut ages: BTreeMap<Place, i64> =
            completed.iter().map(|(place, at)| (place.clone(), age(Some(at)))).collect();
        for (account, region) in self.auditor().regions() {
            let place = (account.clone(), region.clone(), SourceKind::Inventory);
            ages.entry(place).or_insert_with(|| age(None));
        }
        ages
    }

    /// A place counts as read when the keys were listed in full, or the look-up was answered.
    fn note_completed(&self, batch: &Batch) {
        let (Some(account), Some(region)) = (&batch.account, &batch.region) else { return };
        let all_ok = batch.readings.iter().all(|reading| reading.result == ReadingResult::Ok);
        if batch.complete || (batch.source == SourceKind::Lookup && all_ok) {
            let place = (account.clone(), region.clone(), batch.source);
            let mut completed = self.completed.lock().unwrap_or_else(PoisonError::into_inner);
            completed.insert(place, batch.read_at);
        }
    }

    async fn drop_seen(&self, batch: &mut Batch) -> anyhow::Result<()> {
        if batch.events.is_empty() {
            return Ok(());
        }
        let ids: Vec<String> = batch.events.iter().map(|event| event.id().to_owned()).collect();
        let mut unseen = self.store.unseen(&ids).await?;
        let before = batch.events.len();
        // Taking an id out of the set drops a second record of it in the same batch, too.
        batch.events.retain(|event| unseen.remove(event.id()));
        let duplicates = before - batch.events.len();
        self.metrics.add(&metrics::EVENTS_DUPLICATE, &[], duplicates as u64);
        Ok(())
    }

    async fn commit(&self, batch: &Batch, mut changes: Changes) -> anyhow::Result<()> {
        let committed = async {
            changes.outbox = self.what_to_say(&changes).await?;
            changes.outbox.extend(self.what_is_lost(&batch.readings).await?);
            self.store.commit(batch, &changes).await
        };
        match committed.await {
            Ok(Commit::Fresh) => {
                self.count_detections(&changes);
                Ok(())
            }
            Ok(Commit::Repeated) => Ok(()),
            Err(error) => {
                self.go_back().await;
                Err(error).with_context(|| format!("batch {} was not stored", batch.id))
            }
        }
    }

    /// Stores what follows from time or from a word, not from a batch.
    async fn apply(&self, mut changes: Changes, now: DateTime<Utc>) -> anyhow::Result<()> {
        let applied = async {
            changes.outbox = self.what_to_say(&changes).await?;
            self.store.apply(&changes, now).await
        };
        if let Err(error) = applied.await {
            self.go_back().await;
            return Err(error).context("the changes were not stored");
        }
        Ok(())
    }

    async fn what_to_say(&self, changes: &Changes) -> Result<Vec<OutboxRow>, StoreError> {
        let ids: Vec<String> = changes.findings.iter().map(|change| change.finding.id.clone()).collect();
        let said = self.store.last_said(&ids).await?;
        let auditor = self.auditor();
        let exceptions = &auditor.standards().exceptions;
        Ok(self.notifier.about_changes(&changes.findings, exceptions, &said, clock::now()))
    }

    async fn what_is_lost(&self, readings: &[Reading]) -> Result<Vec<OutboxRow>, StoreError> {
        if readings.iter().all(|reading| reading.result == ReadingResult::Ok) {
            return Ok(Vec::new());
        }
        let before = self.store.readings().await?;
        let said = self.store.last_said(&Notifier::coverage_subjects(readings)).await?;
        Ok(self.notifier.about_coverage(&before, readings, &said, clock::now()))
    }

    async fn what_still_stands(&self, now: DateTime<Utc>) -> Result<Vec<OutboxRow>, StoreError> {
        let standing: Vec<Finding> =
            self.auditor().findings().filter(|finding| finding.state != FindingState::Resolved).cloned().collect();
        let ids: Vec<String> = standing.iter().map(|finding| finding.id.clone()).collect();
        let said = self.store.last_said(&ids).await?;
        let auditor = self.auditor();
        Ok(self.notifier.about_standing(&standing, &auditor.standards().exceptions, &said, now))
    }

    /// Takes up the stored state again after a commit failed, so that the audit does not run ahead of it.
    async fn go_back(&self) {
        match kept(&self.store).await {
            Ok(kept) => self.auditor_mut().go_back(kept, clock::now()),
            Err(error) => tracing::error!(%error, "the stored state could not be read again"),
        }
    }

    fn count(&self, batch: &Batch, seconds: f64) {
        let source = batch.source.as_str();
        self.metrics.observe(&metrics::BATCH_SECONDS, &[source], seconds);
        self.metrics.add(&metrics::EVENTS, &[source], batch.events.len() as u64);
        let now = clock::now();
        for event in &batch.events {
            let lag = (now - event.time()).num_milliseconds();
            self.metrics.observe(&metrics::EVENT_LAG, &[], std::time::Duration::from_millis(u64::try_from(lag).unwrap_or(0)).as_secs_f64());
        }
        self.count_key_requests(batch);
    }

    fn count_key_requests(&self, batch: &Batch) {
        let mut requests: BTreeMap<(String, &'static str), u64> = BTreeMap::new();
        for event in batch.events.iter().filter(|event| crate::facts::is_cryptographic(event)) {
            let outcome = match event.text(&["errorCode"]) {
                None => "success",
                Some(code) if code.starts_with("AccessDenied") => "denied",
                Some(_) => "error",
            };
            *requests.entry((event.name().to_owned(), outcome)).or_default() += 1;
        }
        for ((operation, outcome), count) in requests {
            self.metrics.add(&metrics::KEY_REQUESTS, &[&operation, outcome], count);
        }
    }

    fn count_detections(&self, changes: &Changes) {
        for change in &changes.findings {
            let is_detection = change.finding.kind == FindingKind::Detection;
            if is_detection && matches!(change.transition, Transition::Opened | Transition::Refreshed) {
                let labels = [change.finding.rule.as_str(), change.finding.level.as_str()];
                self.metrics.add(&metrics::DETECTIONS, &labels, 1);
            }
        }
    }
}

/// The keys that the events of a batch have changed.
fn changed_keys(auditor: &Auditor, batch: &Batch) -> BTreeSet<KeyArn> {
    let changed = |event: &&EventRecord| event.record().get("readOnly") != Some(&serde_json::Value::Bool(true));
    let key = |event: &EventRecord| {
        let facts = auditor.event_facts(event, batch.read_at);
        let is_change = facts.root.at("event.changed_key") == Some(&Fact::Bool(true));
        let arn = facts.root.at("event.key_arn").filter(|_| is_change);
        match arn {
            Some(Fact::Text(arn)) => arn.parse().ok(),
            _ => None,
        }
    };
    batch.events.iter().filter(changed).filter_map(key).collect()
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
