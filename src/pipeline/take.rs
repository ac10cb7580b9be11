//! From a batch to the store: drop what was seen, judge, decide what to say, commit once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use anyhow::Context as _;
use chrono::{DateTime, Utc};

use super::turn::{Turn, finish};
use super::{Pipeline, off_the_reactor};
use crate::audit::Auditor;
use crate::harvest::{Counts, Part};
use crate::ledger::{self, Block, Deltas};
use crate::metrics;
use crate::model::{
    AccountId, Batch, Changes, Cursor, EventRecord, Fact, KeyArn, Level, Reading, Snapshot, SourceKind,
    Verdict,
};
use crate::rules::Match;
use crate::store::{Seen, StoreError, Writing, mark_of};

/// What a batch asks for beyond being stored.
#[derive(Debug, Default)]
pub struct Taken {
    /// Keys that an event has changed.
    pub changed_keys: BTreeSet<KeyArn>,
    /// Accounts whose trails an event has changed.
    pub changed_trails: BTreeSet<AccountId>,
    /// What was read of the inputs that had not been processed before.
    pub counts: Counts,
    /// What was detected.
    pub detected: Vec<DetectedEvent>,
}

/// An event that violates a rule.
#[derive(Debug, Clone)]
pub struct DetectedEvent {
    /// What the rule says of it.
    pub verdict: Verdict,
    /// How much it matters.
    pub level: Level,
    /// The event.
    pub event: EventRecord,
}

/// Inputs that hold nothing but events: log files, and what a queue brought.
#[derive(Debug)]
pub struct Parcel {
    /// Where they came from.
    pub source: SourceKind,
    /// The inputs; those that were processed before change nothing.
    pub parts: Vec<Part>,
    /// What was attempted to get at them.
    pub readings: Vec<Reading>,
    /// When they were read.
    pub read_at: DateTime<Utc>,
}

/// What is written beside what follows from it.
struct Work<'a> {
    read_at: DateTime<Utc>,
    snapshots: &'a [Snapshot],
    parts: Vec<Part>,
    readings: &'a [Reading],
    cursor: Option<&'a Cursor>,
    /// What follows from the snapshots.
    changes: Changes,
}

/// What was written.
struct Written {
    changes: Changes,
    events: Vec<EventRecord>,
    detected: Vec<DetectedEvent>,
    uses: Deltas,
    counts: Counts,
    /// What was put together in the ledger.
    folded: u64,
    /// What the turn has to be told of the events that are stored now.
    seen: Option<Seen>,
}

impl Taken {
    /// The worst level of what was detected.
    pub fn worst(&self) -> Option<Level> {
        self.detected.iter().map(|detected| detected.level).max()
    }
}

impl Pipeline {
    /// Judges a batch and commits it with everything that follows from it.
    ///
    /// # Errors
    ///
    /// The store failed; nothing of the batch was taken then, and it may be given again.
    pub async fn take(&self, batch: &mut Batch) -> anyhow::Result<Taken> {
        let part = self.harvest_events(&batch.events);
        let mut turn = self.turn().await?;
        let started = Instant::now();
        let mut writing = self.begin_beside(&mut turn).await?;
        if !writing.mark(&mark_of(batch), batch.source, batch.read_at).await? {
            // An earlier try was stored, and whoever gave the batch was told that it had failed.
            return Ok(self.taken(&part.events, batch.read_at));
        }
        let is_posture = batch.complete || !batch.snapshots.is_empty();
        let mut changes = Changes::default();
        if is_posture {
            self.catch_up(&mut turn, writing.order()).await?;
            writing.changes_estate().await?;
            self.auditor().carry_last_usage(batch);
            turn.is_ahead = true;
            changes = off_the_reactor(|| self.auditor_mut().take_snapshots(batch));
        }
        let work = Work {
            read_at: batch.read_at,
            snapshots: &batch.snapshots,
            parts: vec![part],
            readings: &batch.readings,
            cursor: batch.cursor.as_ref(),
            changes,
        };
        match self.write(&mut turn, writing, work).await {
            Ok(written) => {
                drop(turn);
                self.note_completed(batch);
                Ok(self.after_commit(batch.source, batch.read_at, written, started))
            }
            Err(error) => {
                let error = error.context(format!("batch {} was not stored", batch.id));
                Err(if is_posture { self.after_failure(turn, error).await } else { error })
            }
        }
    }

    /// Judges inputs that hold events, and commits them with everything that follows from them. Those that were
    /// processed before, by whichever instance, change nothing.
    ///
    /// # Errors
    ///
    /// The store failed; nothing of the parcel was taken then, and it may be given again.
    pub async fn take_parcel(&self, parcel: Parcel) -> anyhow::Result<Taken> {
        let mut turn = self.turn().await?;
        let started = Instant::now();
        let mut writing = self.begin_beside(&mut turn).await?;
        let mut parts = Vec::with_capacity(parcel.parts.len());
        for part in parcel.parts {
            let mut is_new = true;
            for mark in &part.marks {
                is_new &= writing.mark(mark, parcel.source, parcel.read_at).await?;
            }
            if is_new {
                parts.push(part);
            }
        }
        let work = Work {
            read_at: parcel.read_at,
            snapshots: &[],
            parts,
            readings: &parcel.readings,
            cursor: None,
            changes: Changes::default(),
        };
        let written = self.write(&mut turn, writing, work).await.context("events were not stored")?;
        drop(turn);
        Ok(self.after_commit(parcel.source, parcel.read_at, written, started))
    }

    /// Writes everything and ends the transaction.
    async fn write(&self, turn: &mut Turn, mut writing: Writing, work: Work<'_>) -> anyhow::Result<Written> {
        let written = self.write_work(turn, &mut writing, work).await;
        let (written, result) = match written {
            Ok(written) => (Some(written), Ok(())),
            Err(error) => (None, Err(error)),
        };
        let number = finish(writing, result).await?;
        let mut written = written.context("nothing was written")?;
        turn.stored(number);
        if let Some(seen) = written.seen.take() {
            seen.committed(&mut turn.seen);
        }
        self.auditor_mut().keep(&written.changes.findings);
        Ok(written)
    }

    async fn write_work(
        &self,
        turn: &mut Turn,
        writing: &mut Writing,
        work: Work<'_>,
    ) -> Result<Written, StoreError> {
        let mut parts = work.parts;
        let seen = drop_seen(turn, writing, &mut parts, work.read_at).await?;
        let (mut uses, mut counts, mut events) = (Vec::new(), Counts::default(), Vec::new());
        for part in parts {
            uses.push(part.tally.finish());
            counts.add(part.counts);
            events.extend(part.events);
        }
        let uses = Deltas::merged(uses);
        let mut changes = work.changes;
        let detected = self.judge(writing, &events, work.read_at, &mut changes, &mut counts).await?;
        changes.outbox = self.what_to_say(writing, &changes).await?;
        changes.outbox.extend(self.what_is_lost(writing, work.readings).await?);
        writing.snapshots(work.snapshots).await?;
        writing.changes(&changes, work.read_at).await?;
        let folded = writing.usage(&uses).await?;
        writing.coverage(work.readings, work.cursor).await?;
        Ok(Written { changes, events, detected, uses, counts, folded, seen: Some(seen) })
    }

    /// What the rules find in events, taken further from what the store holds.
    async fn judge(
        &self,
        writing: &mut Writing,
        events: &[EventRecord],
        now: DateTime<Utc>,
        changes: &mut Changes,
        counts: &mut Counts,
    ) -> Result<Vec<DetectedEvent>, StoreError> {
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let detected = off_the_reactor(|| self.auditor().detect(events, now));
        for (rule, count) in &detected.undecided {
            *counts.undecided.entry(rule.clone()).or_default() += count;
        }
        let previous = writing.findings_by_id(&detected.finding_ids()).await?;
        changes.add(self.auditor().detections(&detected, &previous, now));
        let mut found = self.detected_events(detected.found.iter().map(|(verdict, event)| (verdict, *event)));
        self.correlate(writing, detected.matches, now, changes, &mut found).await?;
        Ok(found)
    }

    /// What events mean together, round by round: what a correlation finds may count for another one.
    async fn correlate(
        &self,
        writing: &mut Writing,
        mut matches: Vec<Match>,
        now: DateTime<Utc>,
        changes: &mut Changes,
        found: &mut Vec<DetectedEvent>,
    ) -> Result<(), StoreError> {
        while !matches.is_empty() {
            let states = writing.correlations(&Auditor::correlated(&matches)).await?;
            let round = self.auditor().correlate(std::mem::take(&mut matches), states, now);
            let forgotten = writing.remember(&round.states).await?;
            self.metrics.add(&metrics::CORRELATION_DROPPED, &[], round.dropped + forgotten);
            let mut previous = writing.findings_by_id(&round.finding_ids()).await?;
            for change in &changes.findings {
                // The store does not have yet what earlier rounds have made of a finding.
                previous.retain(|finding| finding.id != change.finding.id);
                previous.push(change.finding.clone());
            }
            changes.add(self.auditor().tell(&round, &previous, now));
            found.extend(self.detected_events(round.told()));
            matches = round.further;
        }
        Ok(())
    }

    fn detected_events<'e>(
        &self,
        found: impl Iterator<Item = (&'e Verdict, &'e EventRecord)>,
    ) -> Vec<DetectedEvent> {
        let auditor = self.auditor();
        let level = |rule: &str| auditor.standards().rules.rule(rule).map(|rule| rule.level);
        let event = |(verdict, event): (&Verdict, &EventRecord)| {
            let level = level(&verdict.rule)?;
            Some(DetectedEvent { level, verdict: verdict.clone(), event: event.clone() })
        };
        found.filter_map(event).collect()
    }

    fn after_commit(
        &self,
        source: SourceKind,
        read_at: DateTime<Utc>,
        written: Written,
        started: Instant,
    ) -> Taken {
        self.count(source, &written.counts, &written.uses);
        if source == SourceKind::Queue {
            self.note_heard(&written.counts.places, read_at);
        }
        self.metrics.add(&metrics::LEDGER_FOLDED, &[], written.folded + written.uses.folded);
        self.count_detections(&written.changes);
        self.observe_batch(source, started.elapsed());
        let taken = self.taken(&written.events, read_at);
        Taken { counts: written.counts, detected: written.detected, ..taken }
    }

    /// What events ask to be read again.
    fn taken(&self, events: &[EventRecord], now: DateTime<Utc>) -> Taken {
        let auditor = self.auditor();
        let changed_trails =
            events.iter().flat_map(|event| auditor.accounts_of_changed_trail(event)).collect();
        Taken { changed_keys: changed_keys(&auditor, events, now), changed_trails, ..Taken::default() }
    }
}

/// Takes out of the parts what any instance has stored before, and stores what events are left.
async fn drop_seen(
    turn: &mut Turn,
    writing: &mut Writing,
    parts: &mut [Part],
    now: DateTime<Utc>,
) -> Result<Seen, StoreError> {
    let mut prints: BTreeMap<Block, Vec<u64>> = BTreeMap::new();
    for (block, more) in parts.iter().flat_map(Part::prints) {
        merge_into(prints.entry(block.clone()).or_default(), more);
    }
    let blocks: Vec<(Block, Vec<u64>)> = prints.into_iter().collect();
    let seen = writing.seen(&mut turn.seen, &blocks, now).await?;
    let mut new: BTreeMap<Block, New> = blocks
        .into_iter()
        .zip(&seen.duplicates)
        .map(|((block, prints), old)| (block, New::of(prints, old)))
        .collect();
    for part in parts {
        part.drop_seen(|block, prints| match new.get_mut(block) {
            Some(new) => new.take(prints),
            None => Vec::new(),
        });
    }
    Ok(seen)
}

/// The prints of a block that were not seen before, until a part takes them.
struct New {
    prints: Vec<u64>,
    is_there: Vec<bool>,
}

impl New {
    fn of(prints: Vec<u64>, old: &[usize]) -> Self {
        let mut is_there = vec![true; prints.len()];
        for place in old {
            if let Some(is_there) = is_there.get_mut(*place) {
                *is_there = false;
            }
        }
        Self { prints, is_there }
    }

    /// Which of some prints, given in order, were there; each is so once.
    fn take(&mut self, prints: &[u64]) -> Vec<bool> {
        let mut there = self.prints.iter().zip(&mut self.is_there).peekable();
        let mut take = |print: &u64| {
            while there.next_if(|(other, _)| *other < print).is_some() {}
            there.next_if(|(other, _)| *other == print).is_some_and(|(_, is_there)| std::mem::take(is_there))
        };
        prints.iter().map(&mut take).collect()
    }
}

/// Merges prints into others; both are in order, and each is once in the result.
fn merge_into(prints: &mut Vec<u64>, more: Vec<u64>) {
    if prints.is_empty() {
        *prints = more;
        return;
    }
    ledger::merge(prints, &more);
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
