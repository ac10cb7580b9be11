//! The records of calls, and how many calls they tell of.

use std::collections::{BTreeMap, BTreeSet};

use chrono::SecondsFormat;
use serde::{Deserialize, Serialize};

use super::hash_of;
use crate::model::EventRecord;

/// One record of a call, as a detection remembers it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Record {
    /// The event's time; first, so that records sort by it.
    at: String,
    /// The event's id.
    pub(super) id: String,
    /// Hashes of everything by which another record can be known to tell of the same call.
    keys: BTreeSet<String>,
}

impl Record {
    pub(super) fn of(event: &EventRecord) -> Self {
        let key = |name: &str, path: &[&str]| {
            let value = event.text(path).filter(|value| !value.is_empty())?;
            Some(hash_of([name, value]).chars().take(16).collect::<String>())
        };
        let keys = [
            key("event", &["eventID"]),
            key("event", &["addendum", "originalEventID"]),
            key("request", &["requestID"]),
            key("request", &["addendum", "originalRequestID"]),
            key("shared", &["sharedEventID"]),
        ];
        Self {
            at: event.time().to_rfc3339_opts(SecondsFormat::Micros, true),
            id: event.id().to_owned(),
            keys: keys.into_iter().flatten().collect(),
        }
    }
}

/// How many calls some records tell of: records that share a key, directly or through others, are one.
#[derive(Debug, Default)]
pub(super) struct Calls {
    by_key: BTreeMap<String, usize>,
    /// For each record the one that it goes together with, and itself if it is the first of them.
    parents: Vec<usize>,
    count: u64,
}

impl Calls {
    pub(super) fn add(&mut self, record: &Record) {
        let own = self.parents.len();
        self.parents.push(own);
        self.count += 1;
        for key in &record.keys {
            match self.by_key.get(key) {
                Some(other) => self.join(own, *other),
                None => _ = self.by_key.insert(key.clone(), own),
            }
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    fn join(&mut self, one: usize, other: usize) {
        let (one, other) = (self.root(one), self.root(other));
        if one != other
            && let Some(parent) = self.parents.get_mut(one.max(other))
        {
            *parent = one.min(other);
            self.count -= 1;
        }
    }

    fn root(&mut self, mut of: usize) -> usize {
        while let Some(parent) = self.parents.get(of).copied().filter(|parent| *parent != of) {
            // Half the way is cut off, so that the next one is short.
            let above = self.parents.get(parent).copied().unwrap_or(parent);
            if let Some(slot) = self.parents.get_mut(of) {
                *slot = above;
            }
            of = above;
        }
        of
    }
}
