//! Who cares for events of a source and name.

use std::hash::{BuildHasher, Hasher};
use std::rc::Rc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::memo::ASKED_BY;
use crate::facts;
use crate::model::kms::{self, KMS};
use crate::records::{Envelope, Field, Raw};
use crate::rules::{Candidates, RuleSet};

/// How many pairs of source and name are remembered; more are looked up each time they come.
const REMEMBERED: usize = 10_000;

/// Who cares for events of one source and name.
#[derive(Debug)]
pub(super) struct Interest {
    /// The events' source.
    pub(super) source: String,
    /// The events' name.
    pub(super) name: String,
    /// The rules of which a look tells the same of all events that differ in nothing that a [`super::memo`] asks by.
    pub(super) screened_once: Candidates,
    /// The other rules that could hold.
    pub(super) screened_each: Candidates,
    /// Whether it is an event of AWS KMS.
    pub(super) is_kms: bool,
    /// Whether it is a use of a key, and so for the ledger.
    pub(super) is_usage: bool,
    /// Whether it may change a key or a trail, which then has to be read again.
    pub(super) is_change: bool,
}

/// Who cares for events, found once for each source and name.
#[derive(Debug)]
pub(super) struct Interests<'a> {
    rules: &'a RuleSet,
    known: HashTable<Known>,
    hasher: RandomState,
}

/// A source and a name as they stand in records, and who cares.
#[derive(Debug)]
struct Known {
    source: Vec<u8>,
    name: Vec<u8>,
    interest: Rc<Interest>,
}

impl<'a> Interests<'a> {
    pub(super) fn new(rules: &'a RuleSet) -> Self {
        Self { rules, known: HashTable::new(), hasher: RandomState::default() }
    }

    /// Who cares for an event. It is looked up as it stands in the record, quotes and escapes included.
    pub(super) fn of(&mut self, envelope: &Envelope<'_>) -> Rc<Interest> {
        let bytes = |field| envelope.field(field).map_or(&[][..], Raw::bytes);
        let (source, name) = (bytes(Field::EventSource), bytes(Field::EventName));
        let hash = self.hash(source, name);
        let is_same = |known: &Known| known.name == name && known.source == source;
        if let Some(known) = self.known.find(hash, is_same) {
            return Rc::clone(&known.interest);
        }
        let text = |field| envelope.text(field).unwrap_or_default();
        let interest = Rc::new(self.find(&text(Field::EventSource), &text(Field::EventName)));
        if self.known.len() < REMEMBERED {
            let hasher = &self.hasher;
            let (source, name) = (source.to_vec(), name.to_vec());
            let known = Known { source, name, interest: Rc::clone(&interest) };
            self.known.insert_unique(hash, known, |known| hash_pair(hasher, &known.source, &known.name));
        }
        interest
    }

    fn find(&self, source: &str, name: &str) -> Interest {
        let is_kms = source == KMS;
        let rules = self.rules;
        let (once, each): (Vec<usize>, Vec<usize>) = rules
            .candidates(source, name)
            .into_iter()
            .partition(|place| rules.looks_only_at(*place, &ASKED_BY));
        Interest {
            screened_once: rules.grouped(&once),
            screened_each: rules.grouped(&each),
            source: source.to_owned(),
            name: name.to_owned(),
            is_kms,
            is_usage: kms::is_use(source, name),
            is_change: facts::may_change_a_key(source, name) || facts::may_change_a_trail(source, name),
        }
    }

    fn hash(&self, source: &[u8], name: &[u8]) -> u64 {
        hash_pair(&self.hasher, source, name)
    }
}

fn hash_pair(hasher: &RandomState, source: &[u8], name: &[u8]) -> u64 {
    let mut state = hasher.build_hasher();
    state.write(source);
    state.write(name);
    state.finish()
}
