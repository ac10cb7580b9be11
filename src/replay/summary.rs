//! What a replay has come to.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::InputError;
use crate::harvest::{Counts, Part};
use crate::model::Level;
use crate::records::Malformed;

/// How many places of what could not be read are named; all are counted.
const NAMED: usize = 1_000;

/// What could not be read in an input, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// The input.
    pub input: String,
    /// Where, and what is wrong.
    pub malformed: Malformed,
}

/// What a replay has come to.
#[derive(Debug, Default)]
pub struct Summary {
    /// Inputs that were found.
    pub files: u64,
    /// Inputs that an earlier replay into the same store, or the daemon, has taken already.
    pub files_replayed_before: u64,
    /// Files that were found in folders and hold no JSON.
    pub files_skipped: Vec<String>,
    /// Inputs that could not be read at all.
    pub unreadable: Vec<InputError>,
    /// What was read of the others.
    pub counts: Counts,
    /// What could not be read, with its place; the first of them.
    pub broken: Vec<Broken>,
    /// Violations that were found.
    pub detections: u64,
    /// The worst of their levels.
    pub worst: Option<Level>,
    /// How long it took.
    pub seconds: f64,
    /// Whether it was ended before its time.
    pub interrupted: bool,
}

impl Summary {
    /// Notes what could not be read of an input.
    pub(super) fn note(&mut self, input: &str, part: &Part) {
        let room = NAMED.saturating_sub(self.broken.len());
        let problems = part.counts.problems.iter().take(room);
        self.broken.extend(
            problems.map(|malformed| Broken { input: input.to_owned(), malformed: malformed.clone() }),
        );
    }

    /// Adds what was committed.
    pub(super) fn add(&mut self, counts: Counts) {
        self.counts.add(counts);
    }

    /// Whether everything was read that there was to read.
    pub fn is_complete(&self) -> bool {
        self.unreadable.is_empty() && self.counts.malformed == 0 && !self.interrupted
    }

    /// The accounts that the events are of.
    pub fn accounts(&self) -> BTreeSet<&str> {
        self.counts
            .places
            .keys()
            .map(|(account, _)| account.as_str())
            .filter(|name| !name.is_empty())
            .collect()
    }

    /// The Regions that the events are of.
    pub fn regions(&self) -> BTreeSet<&str> {
        self.counts.places.keys().map(|(_, region)| region.as_str()).filter(|name| !name.is_empty()).collect()
    }

    /// Events a second.
    pub fn speed(&self) -> f64 {
        if self.seconds > 0.0 {
            crate::metrics::as_f64(usize::try_from(self.counts.events).unwrap_or(usize::MAX)) / self.seconds
        } else {
            0.0
        }
    }

    /// The document `keyward.replay/v1`.
    pub fn document(&self) -> Value {
        let time = |time: DateTime<Utc>| time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        let broken = |broken: &Broken| {
            let place = broken.malformed.place;
            json!({
                "file": broken.input, "offset": place.offset, "record": place.index,
                "problem": broken.malformed.problem.to_string(),
            })
        };
        json!({
            "schema": "keyward.replay/v1",
            "summary": {
                "files": self.files,
                "files_replayed_before": self.files_replayed_before,
                "files_skipped": self.files_skipped,
                "files_unreadable": self.unreadable.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "events": self.counts.events,
                "kms_events": self.counts.kms_events,
                "duplicates": self.counts.duplicates,
                "malformed": self.counts.malformed,
                "malformed_at": self.broken.iter().map(broken).collect::<Vec<_>>(),
                "detections": self.detections,
                "undecided": self.counts.undecided,
                "first_event": self.counts.span.map(|span| time(span.0)),
                "last_event": self.counts.span.map(|span| time(span.1)),
                "accounts": self.accounts(),
                "regions": self.regions(),
                "interrupted": self.interrupted,
                "seconds": (self.seconds * 1_000.0).round() / 1_000.0,
            }
        })
    }
}
