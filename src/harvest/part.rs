//! What one input brought: what is to be judged and counted of it, and by what its events are known again.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use crate::ledger::{Block, Tallied, Tally};
use crate::model::EventRecord;
use crate::records::Malformed;

/// How many malformed records of one input are named; all are counted.
pub const MALFORMED_NAMED: usize = 1_000;

/// What one input brought: a log file, or a page of looked-up events.
#[derive(Debug, Default)]
pub struct Part {
    /// The names under which it is marked as processed, its own first: the last part of an input bears the input's
    /// own name, too. None where a batch as a whole is marked.
    pub marks: Vec<String>,
    /// The events that have to be judged, or that ask for something to be read again.
    pub events: Vec<EventRecord>,
    /// How often keys were used.
    pub tally: Tally,
    /// What was read, before anything is taken out.
    pub counts: Counts,
    sightings: BTreeMap<Block, Vec<Sighting>>,
}

/// One event, as far as it has to be known again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sighting {
    pub(super) print: u64,
    /// Its place in the tally.
    pub(super) usage: Option<Tallied>,
    /// Its place among the events.
    pub(super) event: Option<u32>,
}

/// What was read of an input.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records that could be read, duplicates included.
    pub events: u64,
    /// Those of them that are of AWS KMS.
    pub kms_events: u64,
    /// Records, or ends of files, that could not be read.
    pub malformed: u64,
    /// The first of these, with their places.
    pub problems: Vec<Malformed>,
    /// Events that had been seen before; known once [`Part::drop_seen`] has run.
    pub duplicates: u64,
    /// Bytes after decompression.
    pub inflated: u64,
    /// Of how many events each rule could not tell whether they violate it, beside those to be judged.
    pub undecided: BTreeMap<String, u64>,
    /// The oldest and the newest event.
    pub span: Option<(DateTime<Utc>, DateTime<Utc>)>,
    /// The newest event of each account (as recorded, or empty) and Region.
    pub places: BTreeMap<(String, String), DateTime<Utc>>,
}

impl Counts {
    /// Everything that there was, whether or not it could be read.
    pub fn records(&self) -> u64 {
        self.events + self.malformed
    }

    /// Adds those of another input.
    pub fn add(&mut self, other: Self) {
        self.events += other.events;
        self.kms_events += other.kms_events;
        self.malformed += other.malformed;
        self.duplicates += other.duplicates;
        self.inflated += other.inflated;
        let room = MALFORMED_NAMED.saturating_sub(self.problems.len());
        self.problems.extend(other.problems.into_iter().take(room));
        for (rule, count) in other.undecided {
            *self.undecided.entry(rule).or_default() += count;
        }
        for (place, newest) in other.places {
            let known = self.places.entry(place).or_insert(newest);
            *known = newest.max(*known);
        }
        self.span = match (self.span, other.span) {
            (Some(one), Some(other)) => Some((one.0.min(other.0), one.1.max(other.1))),
            (one, other) => one.or(other),
        };
    }
}

impl Part {
    /// A part of which nothing is there yet, counted by a tally.
    pub(super) fn with(tally: Tally) -> Self {
        Self { tally, ..Self::default() }
    }

    /// The blocks that its events are known again by.
    pub fn blocks(&self) -> impl Iterator<Item = &Block> {
        self.sightings.keys()
    }

    /// Takes up the events of a block, which it sorts: the commit needs that and need not wait for it.
    pub(super) fn put(&mut self, block: Block, mut sightings: Vec<Sighting>) {
        sightings.sort_unstable_by_key(|sighting| sighting.print);
        self.sightings.insert(block, sightings);
    }

    /// The prints of its events, each once and in order, by block.
    pub fn prints(&self) -> impl Iterator<Item = (&Block, Vec<u64>)> {
        self.sightings.iter().map(|(block, sightings)| (block, prints_of(sightings)))
    }

    /// Takes the events out that came before, in this input or in another one. `is_new` tells of the prints of a
    /// block, given in order and each once, which were not seen before.
    pub fn drop_seen(&mut self, mut is_new: impl FnMut(&Block, &[u64]) -> Vec<bool>) {
        let mut seen_events = BTreeSet::new();
        for (block, sightings) in std::mem::take(&mut self.sightings) {
            let prints = prints_of(&sightings);
            let new = is_new(&block, &prints);
            let mut marked = prints.into_iter().zip(new).peekable();
            for sighting in sightings {
                // The first of those with one print takes its mark; the others find the next one's.
                let mark = marked.next_if(|(print, _)| *print == sighting.print);
                if mark.is_some_and(|(_, is_new)| is_new) {
                    continue;
                }
                self.counts.duplicates += 1;
                if let Some(usage) = sighting.usage {
                    self.tally.remove(usage);
                }
                seen_events.extend(sighting.event);
            }
        }
        if !seen_events.is_empty() {
            let mut at = 0_u32..;
            self.events.retain(|_| at.next().is_none_or(|at| !seen_events.contains(&at)));
        }
    }
}

fn prints_of(sightings: &[Sighting]) -> Vec<u64> {
    let mut prints: Vec<u64> = sightings.iter().map(|sighting| sighting.print).collect();
    prints.dedup();
    prints
}
