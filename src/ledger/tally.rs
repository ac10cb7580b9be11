//! The uses of keys in a batch, added up.

use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::sync::Arc;

use chrono::DateTime;
use foldhash::quality::RandomState;
use hashbrown::HashTable;

use super::classify::{Uses, uses};
use super::form::{Form, is_told_by_form};
use crate::model::{Unattributed, Usage, UsageCount};
use crate::records::Envelope;

/// How many different lines a batch may have unless asked otherwise, before principals are put together.
pub const LINES_A_BATCH: usize = 100_000;
/// How many forms of records are remembered for each line.
const FORMS: usize = 4;

/// The uses of keys in a batch.
///
/// A record is classified only if nothing like it came before: what the classification depends on is hashed as it
/// stands in the record. Two records that differ there are taken for one with a probability of one in 2⁶⁴, and the
/// hash's seed is random, so that nobody can make up such a pair.
#[derive(Debug)]
pub struct Tally {
    bound: usize,
    classified: Classified,
    form: Form,
    /// Hashes of records' parts, and the entry of each.
    forms: HashTable<(u64, u32)>,
    by_uses: HashTable<u32>,
    entries: Vec<Entry>,
    /// How many calls were put together because there are too many lines.
    folded: u64,
}

/// How many classified forms are remembered; when there are more, all are forgotten.
const CLASSIFIED: usize = 50_000;

/// What forms of records were found to be, to be taken along from one batch to the next.
#[derive(Debug, Default)]
pub struct Classified {
    seed: RandomState,
    known: HashTable<(u64, Arc<Uses>)>,
}

impl Classified {
    fn uses(&mut self, envelope: &Envelope<'_>, form: u64) -> Arc<Uses> {
        if let Some((_, known)) = self.known.find(form, |(other, _)| *other == form) {
            return Arc::clone(known);
        }
        let found = Arc::new(uses(envelope));
        if self.known.len() >= CLASSIFIED {
            self.known.clear();
        }
        self.known.insert_unique(form, (form, Arc::clone(&found)), |(form, _)| *form);
        found
    }
}

/// Where a record was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tallied(u32);

/// What is counted together.
#[derive(Debug)]
struct Entry {
    uses: Arc<Uses>,
    is_folded: bool,
    count: u64,
    /// In seconds since 1970.
    first: i64,
    last: i64,
}

/// What a batch adds to the ledger, in order.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Deltas {
    /// The lines, each once.
    pub usage: Vec<(Usage, UsageCount)>,
    /// What could not be attributed to a key.
    pub unattributed: Vec<(Unattributed, UsageCount)>,
    /// How many calls were put together because a batch had too many lines.
    pub folded: u64,
}

impl Default for Tally {
    fn default() -> Self {
        Self::new(LINES_A_BATCH)
    }
}

impl Tally {
    /// A tally of at most so many lines; beyond them the principals are put together. Those are as many at most as the
    /// batch has keys, hours, operations and outcomes.
    pub fn new(bound: usize) -> Self {
        Self::with(bound, Classified::default())
    }

    /// The same, with what earlier batches have found out; [`Self::give_back`] hands it on.
    pub fn with(bound: usize, classified: Classified) -> Self {
        Self {
            bound,
            classified,
            form: Form::new(),
            forms: HashTable::new(),
            by_uses: HashTable::new(),
            entries: Vec::new(),
            folded: 0,
        }
    }

    /// What was found out about forms of records; nothing may be added afterwards.
    pub fn give_back(&mut self) -> Classified {
        std::mem::take(&mut self.classified)
    }

    /// Counts a record of which [`is_use`](crate::model::kms::is_use) holds: whoever reads many knows that of each name.
    #[inline]
    pub fn add(&mut self, envelope: &Envelope<'_>) -> Option<Tallied> {
        let hash = self.form.hash(envelope, &self.classified.seed);
        let known = self.forms.find(hash, |(other, _)| *other == hash).map(|(_, entry)| *entry);
        let number = known.unwrap_or_else(|| self.new_form(envelope, hash));
        let entry = self.entries.get_mut(number as usize)?;
        entry.count += 1;
        entry.first = entry.first.min(envelope.seconds());
        entry.last = entry.last.max(envelope.seconds());
        self.folded += u64::from(entry.is_folded);
        Some(Tallied(number))
    }

    /// Takes a record back that was counted and turned out to have been seen before. First and last stay: the time
    /// of the record is in the ledger already.
    pub fn remove(&mut self, tallied: Tallied) {
        if let Some(entry) = self.entries.get_mut(tallied.0 as usize) {
            entry.count = entry.count.saturating_sub(1);
            self.folded = self.folded.saturating_sub(u64::from(entry.is_folded));
        }
    }

    #[cold]
    fn new_form(&mut self, envelope: &Envelope<'_>, hash: u64) -> u32 {
        if !is_told_by_form(envelope) {
            return self.entry(Arc::new(uses(envelope)));
        }
        if self.forms.len() >= self.bound.saturating_mul(FORMS) {
            self.forms.clear();
        }
        let uses = self.classified.uses(envelope, hash);
        let entry = self.entry(uses);
        self.forms.insert_unique(hash, (hash, entry), |(hash, _)| *hash);
        entry
    }

    fn entry(&mut self, uses: Arc<Uses>) -> u32 {
        if let Some(known) = self.find(&uses) {
            return known;
        }
        let is_folded = self.entries.len() >= self.bound && !uses.keys.is_empty();
        let uses = if is_folded { Arc::new(folded(&uses)) } else { uses };
        if is_folded && let Some(known) = self.find(&uses) {
            return known;
        }
        let number = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        let (seed, entries) = (&self.classified.seed, &self.entries);
        let hash_of =
            |number: &u32| entries.get(*number as usize).map_or(0, |entry| seed.hash_one(&entry.uses));
        self.by_uses.insert_unique(seed.hash_one(&uses), number, hash_of);
        self.entries.push(Entry { uses, is_folded, count: 0, first: i64::MAX, last: i64::MIN });
        number
    }

    fn find(&self, uses: &Uses) -> Option<u32> {
        let is_same =
            |number: &u32| self.entries.get(*number as usize).is_some_and(|entry| *entry.uses == *uses);
        self.by_uses.find(self.classified.seed.hash_one(uses), is_same).copied()
    }

    /// What the batch adds to the ledger.
    pub fn finish(self) -> Deltas {
        let mut usage: BTreeMap<Usage, UsageCount> = BTreeMap::new();
        let mut unattributed: BTreeMap<Unattributed, UsageCount> = BTreeMap::new();
        for entry in self.entries.into_iter().filter(|entry| entry.count > 0) {
            let time = |seconds| DateTime::from_timestamp(seconds, 0).unwrap_or_default();
            let count = UsageCount { count: entry.count, first: time(entry.first), last: time(entry.last) };
            let uses = Arc::unwrap_or_clone(entry.uses);
            for key in uses.keys {
                usage.entry(key).and_modify(|total| total.add(count)).or_insert(count);
            }
            if let Some(of) = uses.unattributed {
                unattributed.entry(of).and_modify(|total| total.add(count)).or_insert(count);
            }
        }
        Deltas {
            usage: usage.into_iter().collect(),
            unattributed: unattributed.into_iter().collect(),
            folded: self.folded,
        }
    }
}

impl Deltas {
    /// Several batches as one.
    pub fn merged(batches: Vec<Self>) -> Self {
        let mut batches = batches.into_iter();
        let mut merged = batches.next().unwrap_or_default();
        for batch in batches {
            merged.usage.extend(batch.usage);
            merged.unattributed.extend(batch.unattributed);
            merged.folded += batch.folded;
        }
        merged.usage = added_up(merged.usage);
        merged.unattributed = added_up(merged.unattributed);
        merged
    }
}

/// Lines in order, those that are the same added up.
fn added_up<L: Ord>(mut lines: Vec<(L, UsageCount)>) -> Vec<(L, UsageCount)> {
    lines.sort_by(|(one, _), (other, _)| one.cmp(other));
    lines.dedup_by(|(line, more), (kept, count)| {
        let is_same = line == kept;
        if is_same {
            count.add(*more);
        }
        is_same
    });
    lines
}

fn folded(uses: &Uses) -> Uses {
    Uses { keys: uses.keys.iter().map(Usage::folded).collect(), unattributed: uses.unattributed.clone() }
}

/// How many requests were made, by operation and outcome: what `keyward_key_requests_total` counts. A ReEncrypt uses
/// two keys and counts for each.
pub fn requests(usage: &[(Usage, UsageCount)]) -> BTreeMap<(&str, &'static str), u64> {
    let mut requests = BTreeMap::new();
    for (usage, count) in usage {
        *requests.entry((usage.operation.as_str(), usage.outcome.as_str())).or_default() += count.count;
    }
    requests
}
