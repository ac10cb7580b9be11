//! The event history of one account in one Region.

use std::collections::VecDeque;
use std::sync::Arc;

use chrono::{DateTime, Utc};

/// A record with what it can be looked up by.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// To the second, as records have it.
    pub(super) time: DateTime<Utc>,
    /// When it reaches the history.
    pub(super) visible: DateTime<Utc>,
    pub(super) id: Arc<str>,
    pub(super) name: Arc<str>,
    pub(super) source: Arc<str>,
    pub(super) read_only: bool,
    pub(super) username: Option<Arc<str>>,
    pub(super) access_key: Option<Arc<str>>,
    /// Names with their types.
    pub(super) resources: Arc<[(String, &'static str)]>,
    /// The record as JSON text.
    pub(super) record: Arc<str>,
}

/// Where an entry stands: by its time, then by its arrival.
pub(super) type Position = (DateTime<Utc>, u64);

/// The entries, oldest first.
#[derive(Debug, Default)]
pub(super) struct History {
    entries: VecDeque<(Position, Entry)>,
    arrived: u64,
}

impl History {
    /// Adds an entry; beyond `most` the oldest give way.
    pub(super) fn add(&mut self, entry: Entry, most: usize) {
        self.arrived += 1;
        let position = (entry.time, self.arrived);
        // Records come almost in their order, so the place is almost always at the end.
        let behind = self.entries.iter().rev().take_while(|(other, _)| *other > position).count();
        let at = self.entries.len().saturating_sub(behind);
        self.entries.insert(at, (position, entry));
        while self.entries.len() > most {
            self.entries.pop_front();
        }
    }

    /// The entries before a position, newest first.
    pub(super) fn before(&self, position: Position) -> impl Iterator<Item = &(Position, Entry)> {
        let end = self.entries.partition_point(|(other, _)| *other < position);
        self.entries.range(..end).rev()
    }
}
