//! One loaded rule.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value as Json;

use super::correlation::Correlation;
use super::document::{Document, Path, is_enrichment};
use super::eval::{Expr, Kleene, evidence};
use super::message::{Message, shown_at};
use crate::model::{Fact, FactMap, Level, Outcome, Subject, SubjectKind, Verdict};

/// One loaded rule: what it says of itself, and its compiled condition.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Its name in metrics, alerts and reports: that of its file, without `.yml`.
    pub name: String,
    /// Sigma's `name`, by which correlations and filters may call it beside its own name and id.
    pub alias: Option<String>,
    /// Sigma's UUID.
    pub id: Option<String>,
    /// What a violation is called.
    pub title: String,
    /// How much a violation matters; `medium` where a rule from elsewhere does not say.
    pub level: Level,
    /// Sigma's status, such as `stable`.
    pub status: Option<String>,
    /// Why it matters.
    pub description: String,
    /// What it judges.
    pub kind: SubjectKind,
    /// The template of the message; the title where there is none.
    pub message: String,
    /// What to do, with the command.
    pub remediation: String,
    /// The framework controls that it concerns, by framework.
    pub controls: BTreeMap<String, Vec<String>>,
    /// Where to read on.
    pub references: Vec<String>,
    /// What may look like a violation and is none.
    pub falsepositives: Vec<String>,
    /// For events: the facts whose values make two detections one finding.
    pub group_by: Vec<String>,
    /// Examples of what it says, run as tests.
    pub exemplars: Vec<Exemplar>,
    /// The file.
    pub path: String,
    /// What it is about, as a condition over the selections; everything of its kind where it is none.
    pub applies: Option<String>,
    /// The condition of a violation over the selections.
    pub condition: String,
    /// The selections in words, each a list to be joined by "and".
    pub selections: Vec<(String, Vec<String>)>,
    pub(super) program: Program,
    /// What it counts, if it is a correlation; nothing matches it by itself then.
    pub(super) correlation: Option<Arc<Correlation>>,
}

/// An example of what a rule says.
#[derive(Debug, Clone, PartialEq)]
pub struct Exemplar {
    /// What it shows.
    pub name: String,
    /// What the rule has to say.
    pub expect: Outcome,
    /// The facts; for events, those beyond the record's own fields.
    pub facts: FactMap,
    /// The CloudTrail record, for event rules.
    pub event: Option<Json>,
    /// The CloudTrail records of a correlation, each with the facts beyond its own fields.
    pub events: Vec<(Json, FactMap)>,
    /// The paths of facts that could not be read.
    pub unknown: Vec<String>,
    /// The line in the file.
    pub line: u64,
}

/// What is evaluated.
#[derive(Debug, Clone)]
pub(super) struct Program {
    pub(super) applies: Option<Expr>,
    pub(super) detection: Expr,
    pub(super) message: Message,
    pub(super) group_by: Vec<Path>,
    /// What the conditions look at, each path once.
    looked_at: Vec<Path>,
}

impl Program {
    pub(super) fn new(applies: Option<Expr>, detection: Expr, message: Message, group_by: &[String]) -> Self {
        let mut paths = Vec::new();
        for condition in applies.iter().chain([&detection]) {
            condition.paths(&mut paths);
        }
        paths.sort_by_key(|path| path.name());
        paths.dedup();
        let looked_at = paths.into_iter().cloned().collect();
        let group_by = group_by.iter().map(|path| Path::new(path)).collect();
        Self { applies, detection, message, group_by, looked_at }
    }

    /// Whether the condition looks at no other fields of a record than these, as wholes; keywords look everywhere.
    pub(super) fn looks_only_at(&self, fields: &[&str]) -> bool {
        let mut paths = Vec::new();
        self.detection.paths(&mut paths);
        !self.detection.has_keywords()
            && paths.iter().all(|path| is_enrichment(path.name()) || fields.contains(&path.name()))
    }

    /// What the rule says of a document.
    pub(super) fn outcome<D: Document + ?Sized>(&self, document: &D) -> Outcome {
        match self.applies.as_ref().map_or(Kleene::True, |applies| applies.eval(document)) {
            Kleene::False => Outcome::NotApplicable,
            Kleene::Unknown => Outcome::Unknown,
            Kleene::True => match self.detection.eval(document) {
                Kleene::True => Outcome::Fail,
                Kleene::Unknown => Outcome::Unknown,
                Kleene::False => Outcome::Pass,
            },
        }
    }

    /// Why the outcome is unknown: what `applies` hangs on, else what the condition hangs on.
    pub(super) fn reasons<D: Document + ?Sized>(&self, document: &D) -> Vec<String> {
        let mut reasons = BTreeSet::new();
        match &self.applies {
            Some(applies) if applies.eval(document) == Kleene::Unknown => {
                applies.reasons(document, &mut reasons);
            }
            _ => self.detection.reasons(document, &mut reasons),
        }
        reasons.into_iter().collect()
    }

    /// The rule's message, filled in.
    pub(super) fn message<D: Document + ?Sized>(&self, subject: Option<&Subject>, document: &D) -> String {
        self.message.fill(subject, document)
    }
}

impl Rule {
    /// Whether it counts what other rules match.
    pub fn is_correlation(&self) -> bool {
        self.correlation.is_some()
    }

    /// What the rule says of a document, and nothing more: no reasons, no message, no allocation.
    pub fn outcome<D: Document + ?Sized>(&self, document: &D) -> Outcome {
        self.program.outcome(document)
    }

    /// The verdict on a subject.
    pub(super) fn verdict<D: Document + ?Sized>(&self, subject: &Subject, document: &D) -> Verdict {
        let outcome = self.program.outcome(document);
        let mut verdict = Verdict {
            rule: self.name.clone(),
            subject: subject.clone(),
            outcome,
            reasons: Vec::new(),
            message: String::new(),
            evidence: BTreeMap::<String, Fact>::new(),
            group: Vec::new(),
        };
        match outcome {
            Outcome::Fail => {
                verdict.message = self.program.message(Some(subject), document);
                verdict.evidence = evidence(&self.program.looked_at, document);
            }
            Outcome::Unknown => verdict.reasons = self.program.reasons(document),
            Outcome::Pass | Outcome::NotApplicable => {}
        }
        if matches!(outcome, Outcome::Fail | Outcome::Unknown) {
            verdict.group = self.program.group_by.iter().map(|path| shown_at(path, document)).collect();
        }
        verdict
    }
}
