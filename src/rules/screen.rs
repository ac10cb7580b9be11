//! Whether a rule might hold for a record, told from the record as it lies in its file.
//!
//! To turn a record into values costs several times what it takes to judge it, and most records violate nothing.
//! So rules are first evaluated on the raw text, with every leaf that takes more than a look left unknown. Where
//! a rule is false whatever those leaves are, it is false; only else is the record read as a whole.

use super::document::{Document, Node};
use super::eval::Kleene;
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

impl RuleSet {
    /// The rules that could match an event of this source and name, by their places.
    pub fn candidates(&self, source: &str, name: &str) -> Vec<usize> {
        let mut found: Vec<usize> = self.event_candidates(source, name).collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    /// What a look at a record tells of some rules, by their places. `facts` are those beyond the record that are
    /// known, the others being unknown for the reason [`NOT_LOOKED_AT`].
    pub fn screen(&self, rules: &[usize], envelope: &Envelope<'_>, facts: &Fact) -> Screened {
        let glance = Glance { envelope, facts, all: Fact::Unknown(String::new()) };
        let mut screened = Screened::default();
        for (at, rule) in rules.iter().filter_map(|at| Some((*at, self.numbered(*at)?))) {
            match rule.program.detection.eval(&glance) {
                Kleene::False => {}
                Kleene::Unknown if !rule.program.detection.hangs_on(&glance, is_unseen) => {
                    screened.undecided.push(at);
                }
                Kleene::Unknown | Kleene::True => {
                    screened.may_hold = true;
                    break;
                }
            }
        }
        screened
    }
}

impl RuleSet {
    /// Whether some rules, by their places, look at no other fields of a record than these: what [`Self::screen`]
    /// tells of it then hangs on nothing else in it.
    pub fn look_only_at(&self, rules: &[usize], fields: &[&str]) -> bool {
        rules.iter().filter_map(|at| self.numbered(*at)).all(|rule| rule.program.looks_only_at(fields))
    }

    /// The name of the rule at a place that [`Self::candidates`] gave.
    pub fn name_at(&self, place: usize) -> Option<&str> {
        self.numbered(place).map(|rule| rule.name.as_str())
    }
}

fn is_unseen(reason: &str) -> bool {
    reason.is_empty() || reason == NOT_LOOKED_AT
}
