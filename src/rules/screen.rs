//! Whether a rule might hold for a record, told from the record as it lies in its file.
//!
//! To turn a record into values costs several times what it takes to judge it, and most records violate nothing.
//! So rules are first evaluated on the raw text, with every leaf that takes more than a look left unknown. Where
//! a rule is false whatever those leaves are, it is false; only else is the record read as a whole.

use std::collections::BTreeMap;

use super::document::{Document, Node};
use super::eval::Kleene;
use super::guard::{FEW, Seen};
use super::set::RuleSet;
use crate::model::Fact;
use crate::records::Envelope;

/// The reason of a leaf that would take more than a look.
pub const NOT_LOOKED_AT: &str = "not looked at yet";

/// What a look at a record tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Screened {
    /// A rule may hold, or it takes more than a look to tell.
    pub may_hold: bool,
    /// The rules of which it is certain that it cannot be told whether they hold, by their places.
    pub undecided: Vec<usize>,
}

/// A record as it lies in its file, and what is known of it without a further look.
struct Glance<'a> {
    envelope: &'a Envelope<'a>,
    facts: &'a Fact,
    all: Fact,
}

impl Document for Glance<'_> {
    fn top(&self, name: &str, enrichment: bool) -> Option<Node<'_>> {
        if enrichment { self.facts.top(name, true) } else { self.envelope.other(name).map(Node::Raw) }
    }

    /// Keywords are looked for in names and values everywhere: that is no glance.
    fn searched(&self) -> Node<'_> {
        Node::Fact(&self.all)
    }
}

/// Rules that could match events of one source and name, by their places.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Candidates {
    /// Those that each event meets.
    always: Vec<usize>,
    /// The others, which an event only meets if its value of a field says so.
    guarded: Vec<Guarded>,
}

/// Rules that a field guards.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Guarded {
    field: usize,
    rules: Vec<usize>,
}

impl Candidates {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.always.is_empty() && self.guarded.is_empty()
    }
}

impl RuleSet {
    /// The rules that could match an event of this source and name, by their places and in their order.
    pub fn candidates(&self, source: &str, name: &str) -> Vec<usize> {
        let mut found: Vec<usize> = self.event_candidates(source, name).collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Puts rules together that one look at a field may rule out. `places` are some of [`Self::candidates`], in order.
    pub fn grouped(&self, places: &[usize]) -> Candidates {
        let mut by_field = BTreeMap::<Option<usize>, Vec<usize>>::new();
        for at in places {
            by_field.entry(self.guards.field_of(*at)).or_default().push(*at);
        }
        let mut candidates = Candidates::default();
        for (field, rules) in by_field {
            match field.filter(|_| rules.len() >= FEW) {
                Some(field) => candidates.guarded.push(Guarded { field, rules }),
                None => candidates.always.extend(rules),
            }
        }
        candidates
    }

    /// What a look at a record tells of some rules. `facts` are those beyond the record that are known, the others
    /// being unknown for the reason [`NOT_LOOKED_AT`].
    pub fn screen(&self, rules: &Candidates, envelope: &Envelope<'_>, facts: &Fact) -> Screened {
        let mut screened = Screened::default();
        if rules.is_empty() {
            return screened;
        }
        let glance = Glance { envelope, facts, all: Fact::Unknown(String::new()) };
        self.screen_each(&rules.always, &glance, &mut screened);
        for Guarded { field, rules } in &rules.guarded {
            if screened.may_hold {
                break;
            }
            match self.guards.look(*field, &glance) {
                Seen::Nothing => self.screen_each(rules, &glance, &mut screened),
                Seen::Only(mut found) => {
                    found.retain(|at| rules.binary_search(at).is_ok());
                    self.screen_each(&found, &glance, &mut screened);
                }
            }
        }
        screened
    }

    /// Looks at rules one by one, until one may hold.
    fn screen_each(&self, rules: &[usize], glance: &Glance<'_>, screened: &mut Screened) {
        for (at, rule) in rules.iter().filter_map(|at| Some((*at, self.numbered(*at)?))) {
            match rule.program.detection.eval(glance) {
                Kleene::False => {}
                Kleene::Unknown if !rule.program.detection.hangs_on(glance, is_unseen) => {
                    screened.undecided.push(at);
                }
                Kleene::Unknown | Kleene::True => {
                    screened.may_hold = true;
                    return;
                }
            }
        }
    }

    /// Whether a rule, by its place, looks at no other fields of a record than these: what [`Self::screen`] tells of
    /// it then hangs on nothing else in it.
    pub fn looks_only_at(&self, place: usize, fields: &[&str]) -> bool {
        self.numbered(place).is_some_and(|rule| rule.program.looks_only_at(fields))
    }

    /// The name of the rule at a place that [`Screened::undecided`] gives.
    pub fn name_at(&self, place: usize) -> Option<&str> {
        self.numbered(place).map(|rule| rule.name.as_str())
    }
}

fn is_unseen(reason: &str) -> bool {
    reason.is_empty() || reason == NOT_LOOKED_AT
}
