//! All rules together.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use chrono::{DateTime, Utc};

use super::assemble::assemble;
use super::correlation::{Correlated, Match, take};
use super::document::EventDocument;
use super::error::{RuleError, RuleErrors, nearest};
use super::eval::Kleene;
use super::exemplar::{self, ExemplarResult};
use super::guard::Guards;
use super::index::EventIndex;
use super::load::warnings;
use super::rule::Rule;
use crate::model::{
    CorrelationKey, CorrelationState, EventRecord, Facts, Outcome, Region, Subject, SubjectKind, Verdict,
};

/// A rule file, wherever it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleFile {
    /// Its path, for the rule's name and for errors.
    pub path: String,
    /// Its YAML.
    pub text: String,
}

impl RuleFile {
    /// What the linter of the Sigma tools finds worth a look, beside what keeps the rule from loading.
    pub fn warnings(&self) -> Vec<RuleError> {
        warnings(&self.text).into_iter().map(|problem| problem.in_file(&self.path)).collect()
    }
}

/// A rule for something that is not read here.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ForeignRule {
    /// Its file.
    pub path: String,
    /// The line that says so.
    pub line: u64,
    /// Its name.
    pub name: String,
    /// What it is for.
    pub reason: String,
}

impl fmt::Display for ForeignRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: `{}` is left out: {}", self.path, self.line, self.name, self.reason)
    }
}

/// What the rules find in one event.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// Violations, and what cannot be told, by the rules' names.
    pub verdicts: Vec<Verdict>,
    /// What counts for correlations.
    pub matches: Vec<Match>,
}

/// Compiled rules, indexed by what they judge.
#[derive(Debug, Clone, Default)]
pub struct RuleSet {
    rules: Vec<Rule>,
    /// Event rules that only count for correlations; numbered on after the rules.
    silent: Vec<Rule>,
    posture: BTreeMap<SubjectKind, Vec<usize>>,
    events: EventIndex,
    /// What rules out event rules beyond their source and name.
    pub(super) guards: Guards,
    feeds: BTreeMap<usize, Vec<Feed>>,
    correlations: BTreeMap<String, Linked>,
    left_out: BTreeSet<String>,
    foreign: Vec<ForeignRule>,
}

/// For which correlation a rule counts, and at which place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Feed {
    pub(super) correlation: String,
    pub(super) place: u16,
}

/// A correlation in force.
#[derive(Debug, Clone)]
pub(super) struct Linked {
    pub(super) rule: Rule,
    /// Only other correlations are told.
    pub(super) is_silent: bool,
    /// The correlations that name it.
    pub(super) feeds: Vec<Feed>,
}

/// Rules that go together, before they are indexed.
#[derive(Debug, Default)]
pub(super) struct Parts {
    pub(super) rules: Vec<Rule>,
    pub(super) silent: Vec<Rule>,
    /// By the names of rules.
    pub(super) feeds: BTreeMap<String, Vec<Feed>>,
    pub(super) correlations: BTreeMap<String, Linked>,
    pub(super) left_out: BTreeSet<String>,
    pub(super) foreign: Vec<ForeignRule>,
}

impl RuleSet {
    /// Compiles all files but the rules that are disabled by name; gives every mistake in any of them otherwise.
    pub fn compile(files: &[RuleFile], disable: &[String]) -> Result<Self, RuleErrors> {
        let (ruleset, errors) = Self::load(files, disable);
        if errors.is_empty() { Ok(ruleset) } else { Err(errors) }
    }

    /// The same, with what could be compiled beside the mistakes: a bad file costs only itself.
    pub fn load(files: &[RuleFile], disable: &[String]) -> (Self, RuleErrors) {
        let (parts, errors) = assemble(files, disable);
        (Self::of(parts), errors)
    }

    fn of(parts: Parts) -> Self {
        let Parts { rules, silent, mut feeds, correlations, left_out, foreign } = parts;
        let mut posture = BTreeMap::<SubjectKind, Vec<usize>>::new();
        for (at, rule) in rules.iter().enumerate().filter(|(_, rule)| rule.kind != SubjectKind::Event) {
            posture.entry(rule.kind).or_default().push(at);
        }
        let numbered = || rules.iter().chain(&silent).enumerate();
        let is_matched = |rule: &Rule| rule.kind == SubjectKind::Event && !rule.is_correlation();
        let conditions = || {
            numbered().filter(|(_, rule)| is_matched(rule)).map(|(at, rule)| (at, &rule.program.detection))
        };
        let (events, guards) = (EventIndex::new(conditions()), Guards::new(conditions()));
        let feeds = numbered()
            .filter(|(_, rule)| is_matched(rule))
            .filter_map(|(at, rule)| Some((at, feeds.remove(&rule.name)?)))
            .collect();
        Self { rules, silent, posture, events, guards, feeds, correlations, left_out, foreign }
    }

    /// The rules by name.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The rule of a name.
    pub fn rule(&self, name: &str) -> Option<&Rule> {
        let at = self.rules.binary_search_by(|rule| rule.name.as_str().cmp(name)).ok()?;
        self.rules.get(at)
    }

    /// The names of the rules whose files hold mistakes, so that they are not in force.
    pub fn left_out(&self) -> &BTreeSet<String> {
        &self.left_out
    }

    /// The name of the rule that is probably meant by a name that no rule has.
    pub fn nearest_name(&self, name: &str) -> Option<&str> {
        nearest(name, self.rules.iter().map(|rule| rule.name.as_str()))
    }

    /// What every posture rule of the subject's kind says of it, by the rules' names.
    pub fn judge(&self, facts: &Facts) -> Vec<Verdict> {
        let rules = self.posture.get(&facts.subject.kind).map_or(&[][..], Vec::as_slice);
        rules
            .iter()
            .filter_map(|at| self.rules.get(*at))
            .map(|rule| rule.verdict(&facts.subject, &facts.root))
            .collect()
    }

    /// What the event rules find in an event, and what they cannot tell of it, by the rules' names.
    ///
    /// `facts` are those that Keyward adds to the record; the record's own fields are read from `event`.
    pub fn detect(&self, facts: &Facts, event: &EventRecord) -> Vec<Verdict> {
        self.find(facts, event).verdicts
    }

    /// The same, with what counts for correlations.
    pub fn find(&self, facts: &Facts, event: &EventRecord) -> Found {
        let document = EventDocument { record: event.record(), enrichment: &facts.root };
        let mut candidates: Vec<usize> = Vec::new();
        for at in self.events.candidates(event.source(), event.name()) {
            let Some(rule) = self.numbered(at) else { continue };
            if rule.program.detection.eval(&document) != Kleene::False {
                candidates.push(at);
            }
        }
        candidates.sort_unstable();
        candidates.dedup();
        let mut found = Found::default();
        for at in candidates {
            let Some(rule) = self.numbered(at) else { continue };
            let verdict = rule.verdict(&facts.subject, &document);
            if let Some(feeds) = self.feeds.get(&at).filter(|_| verdict.outcome == Outcome::Fail) {
                self.count(feeds, &facts.subject, event, &document, &mut found.matches);
            }
            let is_told = at < self.rules.len() && verdict.outcome == Outcome::Fail;
            if is_told || verdict.outcome == Outcome::Unknown {
                found.verdicts.push(verdict);
            }
        }
        found
    }

    /// The rule of a number that [`Self::candidates`] gave.
    pub(super) fn numbered(&self, at: usize) -> Option<&Rule> {
        self.rules.get(at).or_else(|| self.silent.get(at.checked_sub(self.rules.len())?))
    }

    /// Adds what an event is for the correlations that its rule counts for.
    fn count(
        &self,
        feeds: &[Feed],
        subject: &Subject,
        event: &EventRecord,
        document: &EventDocument<'_>,
        matches: &mut Vec<Match>,
    ) {
        for feed in feeds {
            let Some(linked) = self.correlations.get(&feed.correlation) else { continue };
            let Some(correlation) = &linked.rule.correlation else { continue };
            let region = subject.region.as_ref().map(Region::as_str);
            let recorded_in = (subject.account.as_str(), region);
            let Some(mut one) =
                correlation.found(&feed.correlation, feed.place, recorded_in, event, document)
            else {
                continue;
            };
            let mut further = Vec::new();
            self.count(&linked.feeds, subject, event, document, &mut further);
            one.event.lifts = further.into_iter().map(Match::into_lift).collect();
            let mut rest = Some(one);
            for known in &mut *matches {
                rest = rest.and_then(|one| known.merge(one));
            }
            matches.extend(rest);
        }
    }

    /// Adds the matches of one group to what is remembered of it; none if there is no such correlation.
    ///
    /// All of `matches` have the key `key`. What is told by the correlation itself is left out if it only counts
    /// for others.
    pub fn correlate(
        &self,
        key: &CorrelationKey,
        known: Option<CorrelationState>,
        matches: &[Match],
        now: DateTime<Utc>,
    ) -> Option<Correlated> {
        let linked = self.correlations.get(&key.rule)?;
        let correlation = linked.rule.correlation.as_ref()?;
        let mut correlated = take(&linked.rule, correlation, key.clone(), known, matches, now);
        if linked.is_silent {
            correlated.verdict = None;
        }
        Some(correlated)
    }

    /// The rules that are for something that is not read here.
    pub fn foreign(&self) -> &[ForeignRule] {
        &self.foreign
    }

    /// The rules that find nothing by themselves, and only count for correlations.
    pub fn silent(&self) -> &[Rule] {
        &self.silent
    }

    /// The rules that could match an event of this source and name, in no order.
    pub(super) fn event_candidates(&self, source: &str, name: &str) -> impl Iterator<Item = usize> {
        self.events.candidates(source, name)
    }

    /// Whether any rule could match an event of this source and name.
    pub fn wants(&self, event_source: &str, event_name: &str) -> bool {
        self.events.candidates(event_source, event_name).next().is_some()
    }

    /// Runs the exemplars of a rule.
    pub fn run_exemplars(rule: &Rule) -> Vec<ExemplarResult> {
        exemplar::run(rule)
    }
}
