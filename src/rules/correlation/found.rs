//! From a matching event to what a correlation remembers of it.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use super::window::Condition;
use super::{Base, Correlation, Match};
use crate::model::{CorrelationKey, EventRecord, Fact, Lift, Remembered};
use crate::rules::document::{Document, Path};
use crate::rules::message::shown_at;

/// Longer values are remembered by their beginning and a hash.
const MAX_VALUE: usize = 256;

/// More values than this in one event are not told apart any more.
const MAX_VALUES: usize = 64;

impl Correlation {
    /// What is remembered of an event that the rule at a place matched, in an account and a Region; none if it has nothing to count.
    pub(in crate::rules) fn found<D: Document + ?Sized>(
        &self,
        rule: &str,
        place: u16,
        recorded_in: (&str, Option<&str>),
        event: &EventRecord,
        document: &D,
    ) -> Option<Match> {
        let base = self.bases.get(usize::from(place))?;
        let values = match self.condition {
            Condition::Values(_) => Some(values(base, document)).filter(|values| !values.is_empty())?,
            _ => Vec::new(),
        };
        let group: Vec<String> = base.group_by.iter().map(|path| bounded(shown_at(path, document))).collect();
        let key = CorrelationKey { rule: rule.to_owned(), group: self.group_hash(&group) };
        let event = Remembered {
            at: event.time().timestamp_micros(),
            event: event.id().to_owned(),
            call: call(event),
            rules: vec![place],
            values,
            account: recorded_in.0.to_owned(),
            region: recorded_in.1.map(str::to_owned),
            arrived: 0,
            told: false,
            ended: false,
            lifts: Vec::new(),
        };
        Some(Match { key, group, event })
    }

    fn group_hash(&self, group: &[String]) -> String {
        hash(std::iter::once(self.digest.as_str()).chain(group.iter().map(String::as_str)))
    }
}

impl Match {
    /// Adds what another rule found in the same event, if it counts together.
    pub(in crate::rules) fn merge(&mut self, other: Self) -> Option<Self> {
        if self.key != other.key || self.event.event != other.event.event {
            return Some(other);
        }
        self.event.rules.extend(other.event.rules);
        self.event.rules.sort_unstable();
        self.event.rules.dedup();
        self.event.values.extend(other.event.values);
        self.event.values.sort_unstable();
        self.event.values.dedup();
        self.event.lifts.extend(other.event.lifts);
        self.event.lifts.sort_unstable();
        self.event.lifts.dedup();
        None
    }

    /// What it becomes for a correlation that names the one it was found for.
    pub(in crate::rules) fn into_lift(self) -> Lift {
        Lift {
            rule: self.key.rule,
            group: self.key.group,
            group_values: self.group,
            rules: self.event.rules,
            values: self.event.values,
            lifts: self.event.lifts,
        }
    }

    /// The matches of an event whose own correlation is met.
    pub(super) fn lifted(event: &Remembered) -> impl Iterator<Item = Self> + '_ {
        event.lifts.iter().map(|lift| Self {
            key: CorrelationKey { rule: lift.rule.clone(), group: lift.group.clone() },
            group: lift.group_values.clone(),
            event: Remembered {
                rules: lift.rules.clone(),
                values: lift.values.clone(),
                told: false,
                ended: false,
                lifts: lift.lifts.clone(),
                ..event.clone()
            },
        })
    }
}

/// What the records of one call have in common: `sharedEventID` across accounts, `requestID` across Regions,
/// and the event that an addendum corrects.
fn call(event: &EventRecord) -> String {
    let paths: [(&str, &[&str]); 5] = [
        ("shared", &["sharedEventID"]),
        ("request", &["addendum", "originalRequestID"]),
        ("request", &["requestID"]),
        ("event", &["addendum", "originalEventID"]),
        ("event", &["eventID"]),
    ];
    let found = paths.into_iter().find_map(|(kind, path)| {
        let value = event.text(path).filter(|value| !value.is_empty())?;
        Some(hash([kind, value]))
    });
    let mut call = found.unwrap_or_default();
    call.truncate(16);
    call
}

/// The values of the counted field, of all fields together where they are several.
fn values<D: Document + ?Sized>(base: &Base, document: &D) -> Vec<String> {
    let mut found = match base.fields.as_slice() {
        [field] => known(field, document),
        several => {
            let parts: Option<Vec<String>> = several
                .iter()
                .map(|field| Some(known(field, document).join(", ")).filter(|text| !text.is_empty()))
                .collect();
            parts.map(|parts| bounded(parts.join(" | "))).into_iter().collect()
        }
    };
    found.sort_unstable();
    found.dedup();
    found.truncate(MAX_VALUES);
    found
}

/// The values at a path, without what is missing, null or unknown.
fn known<D: Document + ?Sized>(path: &Path, document: &D) -> Vec<String> {
    let mut found = Vec::new();
    collect(path.gather(document), &mut found);
    found
}

fn collect(fact: Option<Fact>, found: &mut Vec<String>) {
    match fact {
        None | Some(Fact::Null | Fact::Unknown(_)) => {}
        Some(Fact::List(items)) => items.into_iter().for_each(|item| collect(Some(item), found)),
        Some(Fact::Text(text)) => found.push(bounded(text)),
        Some(Fact::Bool(value)) => found.push(value.to_string()),
        Some(Fact::Int(value)) => found.push(value.to_string()),
        Some(Fact::Float(value)) => found.push(value.to_string()),
        Some(Fact::Map(map)) => found.extend(serde_json::to_string(&map).ok().map(bounded)),
    }
}

fn bounded(text: String) -> String {
    if text.len() <= MAX_VALUE {
        return text;
    }
    let beginning: String = text.chars().take(64).collect();
    format!("{beginning}… ({})", hash([text.as_str()]))
}

/// 128 bits of SHA-256 over texts, in hex; their lengths keep them apart.
pub(super) fn hash<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().iter().take(16).fold(String::with_capacity(32), |mut hex, byte| {
        // Writing to a string cannot fail.
        let _infallible = write!(hex, "{byte:02x}");
        hex
    })
}
