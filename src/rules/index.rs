//! Which rules could match an event, by its source and name.

use std::collections::{BTreeMap, BTreeSet};

use super::eval::Expr;

/// A rule that names more pairs of source and name than this is indexed by its names alone.
const MAX_PAIRS: usize = 4096;

/// For each source and name the rules whose conditions can hold for such events.
///
/// A rule is left out of an event's way only where its condition proves that it needs another source or name;
/// a rule of which nothing can be proven meets every event. The keys are hashes, and a collision only makes an
/// event meet a rule in vain.
#[derive(Debug, Clone, Default)]
pub(super) struct EventIndex {
    by_both: BTreeMap<u64, Vec<usize>>,
    by_source: BTreeMap<u64, Vec<usize>>,
    by_name: BTreeMap<u64, Vec<usize>>,
    always: Vec<usize>,
}

impl EventIndex {
    /// Indexes conditions, each by the number that it comes with.
    pub(super) fn new<'e>(conditions: impl IntoIterator<Item = (usize, &'e Expr)>) -> Self {
        let mut index = Self::default();
        for (number, condition) in conditions {
            let sources = condition.necessary("eventSource");
            let names = condition.necessary("eventName");
            index.add(number, sources, names);
        }
        index
    }

    fn add(&mut self, number: usize, sources: Option<BTreeSet<String>>, names: Option<BTreeSet<String>>) {
        match (sources, names) {
            (Some(sources), Some(names)) if sources.len().saturating_mul(names.len()) <= MAX_PAIRS => {
                for source in &sources {
                    for name in &names {
                        self.by_both.entry(hash_both(source, name)).or_default().push(number);
                    }
                }
            }
            (_, Some(names)) => {
                for name in &names {
                    self.by_name.entry(hash(name)).or_default().push(number);
                }
            }
            (Some(sources), None) => {
                for source in &sources {
                    self.by_source.entry(hash(source)).or_default().push(number);
                }
            }
            (None, None) => self.always.push(number),
        }
    }

    /// The rules that could match an event, in no order, each once.
    pub(super) fn candidates(&self, source: &str, name: &str) -> impl Iterator<Item = usize> {
        [
            self.by_both.get(&hash_both(source, name)),
            self.by_source.get(&hash(source)),
            self.by_name.get(&hash(name)),
            Some(&self.always),
        ]
        .into_iter()
        .flatten()
        .flatten()
        .copied()
    }
}

/// FNV-1a over the ASCII lower case, as comparisons are without regard to case.
fn hash(text: &str) -> u64 {
    hash_on(0xcbf2_9ce4_8422_2325, text)
}

fn hash_both(source: &str, name: &str) -> u64 {
    hash_on(hash_on(hash(source), "\0"), name)
}

fn hash_on(start: u64, text: &str) -> u64 {
    text.bytes().fold(start, |hash, byte| {
        (hash ^ u64::from(byte.to_ascii_lowercase())).wrapping_mul(0x0100_0000_01b3)
    })
}
