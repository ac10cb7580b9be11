//! Exemplars are the tests of a rule.

use super::correlation::run_exemplar;
use super::document::{Document, EventDocument, put_unknown};
use super::index::EventIndex;
use super::rule::{Exemplar, Rule};
use crate::model::{Fact, Outcome};

/// The reason of what an exemplar makes unknown.
const NOT_READ: &str = "not read (exemplar)";

/// What came of one exemplar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExemplarResult {
    /// The rule's name.
    pub rule: String,
    /// The exemplar's name.
    pub exemplar: String,
    /// Its line in the rule's file.
    pub line: u64,
    /// What the rule had to say.
    pub expected: Outcome,
    /// What the rule says.
    pub outcome: Outcome,
    /// The message of a failure.
    pub message: String,
    /// An event that the rule finds, and that the index would keep from it.
    pub hidden_by_index: bool,
}

impl ExemplarResult {
    /// Whether the rule says what it had to.
    pub fn passed(&self) -> bool {
        self.outcome == self.expected && !self.hidden_by_index
    }
}

/// Runs all exemplars of a rule.
pub(super) fn run(rule: &Rule) -> Vec<ExemplarResult> {
    rule.exemplars.iter().map(|exemplar| run_one(rule, exemplar)).collect()
}

fn run_one(rule: &Rule, exemplar: &Exemplar) -> ExemplarResult {
    if let Some(correlation) = &rule.correlation {
        return run_exemplar(rule, correlation, exemplar);
    }
    let mut facts = exemplar.facts.clone();
    let Some(record) = &exemplar.event else {
        for path in &exemplar.unknown {
            put_unknown(&mut facts, path, NOT_READ);
        }
        return result(rule, exemplar, &Fact::Map(facts), false);
    };
    // A record's own fields are known as delivered; only where an exemplar says otherwise it becomes facts.
    let of_record = exemplar.unknown.iter().any(|path| !super::document::is_enrichment(path));
    if of_record && let Fact::Map(fields) = Fact::from(record) {
        facts.extend(fields);
    }
    for path in &exemplar.unknown {
        put_unknown(&mut facts, path, NOT_READ);
    }
    let enrichment = Fact::Map(facts);
    let text = |field: &str| record.get(field).and_then(serde_json::Value::as_str).unwrap_or_default();
    let index = EventIndex::new([(0, &rule.program.detection)]);
    let hidden = index.candidates(text("eventSource"), text("eventName")).next().is_none();
    if of_record {
        result(rule, exemplar, &enrichment, hidden)
    } else {
        result(rule, exemplar, &EventDocument { record, enrichment: &enrichment }, hidden)
    }
}

fn result<D: Document>(rule: &Rule, exemplar: &Exemplar, document: &D, hidden: bool) -> ExemplarResult {
    let outcome = rule.program.outcome(document);
    let failed = outcome == Outcome::Fail;
    ExemplarResult {
        rule: rule.name.clone(),
        exemplar: exemplar.name.clone(),
        line: exemplar.line,
        expected: exemplar.expect,
        outcome,
        message: if failed { rule.program.message(None, document) } else { String::new() },
        hidden_by_index: failed && hidden,
    }
}
