//! Who cares for events of a source and name.

use std::hash::{BuildHasher, Hash, Hasher};
use std::rc::Rc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::memo::ASKED_BY;
use crate::facts;
use crate::model::kms::{CRYPTOGRAPHIC, KMS};
use crate::records::{Envelope, Field};
use crate::rules::RuleSet;

/// How many pairs of source and name are remembered; more are looked up each time they come.
const REMEMBERED: usize = 10_000;

/// Who cares for events of one source and name.
#[derive(Debug)]
pub(super) struct Interest {
    /// The events' source.
    pub(super) source: String,
    /// The events' name.
    pub(super) name: String,
    /// The rules that could hold.
    pub(super) rules: Vec<usize>,
    /// Whether what a look tells of these rules hangs on nothing but what a [`super::memo`] asks by.
    pub(super) is_screened_once: bool,
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
    known: HashTable<Rc<Interest>>,
    hasher: RandomState,
}

impl<'a> Interests<'a> {
    pub(super) fn new(rules: &'a RuleSet) -> Self {
        Self { rules, known: HashTable::new(), hasher: RandomState::default() }
    }

    /// Who cares for an event.
    pub(super) fn of(&mut self, envelope: &Envelope<'_>) -> Rc<Interest> {
        let source = envelope.text(Field::EventSource).unwrap_or_default();
        let name = envelope.text(Field::EventName).unwrap_or_default();
        let hash = self.hash(&source, &name);
        let is_same = |interest: &Rc<Interest>| interest.name == name && interest.source == source;
        if let Some(interest) = self.known.find(hash, is_same) {
            return Rc::clone(interest);
        }
        let interest = Rc::new(self.find(&source, &name));
        if self.known.len() < REMEMBERED {
            let hasher = &self.hasher;
            let rehash = |interest: &Rc<Interest>| hash_pair(hasher, &interest.source, &interest.name);
            self.known.insert_unique(hash, Rc::clone(&interest), rehash);
        }
        interest
    }

    fn find(&self, source: &str, name: &str) -> Interest {
        let is_kms = source == KMS;
        let rules = self.rules.candidates(source, name);
        Interest {
            is_screened_once: self.rules.look_only_at(&rules, &ASKED_BY),
            source: source.to_owned(),
            name: name.to_owned(),
            rules,
            is_kms,
            is_usage: is_kms && CRYPTOGRAPHIC.contains(&name),
            is_change: facts::may_change_a_key(source, name) || facts::may_change_a_trail(source, name),
        }
    }

    fn hash(&self, source: &str, name: &str) -> u64 {
        hash_pair(&self.hasher, source, name)
    }
}

fn hash_pair(hasher: &RandomState, source: &str, name: &str) -> u64 {
    let mut state = hasher.build_hasher();
    source.hash(&mut state);
    name.hash(&mut state);
    state.finish()
}
