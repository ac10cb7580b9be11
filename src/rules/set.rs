//! All rules together.

use std::collections::{BTreeMap, BTreeSet};

use super::document::EventDocument;
use super::error::{Problem, RuleError, RuleErrors, nearest};
use super::eval::Kleene;
use super::exemplar::{self, ExemplarResult};
use super::index::EventIndex;
use super::load::{load, warnings};
use super::rule::Rule;
use crate::model::{EventRecord, Facts, Outcome, SubjectKind, Verdict};

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

/// Compiled rules, indexed by what they judge.
#[derive(Debug, Clone, Default)]
pub struct RuleSet {
    rules: Vec<Rule>,
    posture: BTreeMap<SubjectKind, Vec<usize>>,
    events: EventIndex,
    left_out: BTreeSet<String>,
}

impl RuleSet {
    /// Compiles all files but the rules that are disabled by name; gives every mistake in any of them otherwise.
    pub fn compile(files: &[RuleFile], disable: &[String]) -> Result<Self, RuleErrors> {
        let (ruleset, errors) = Self::load(files, disable);
        if errors.is_empty() { Ok(ruleset) } else { Err(errors) }
    }

    /// The same, with what could be compiled beside the mistakes: a bad file costs only itself.
    pub fn load(files: &[RuleFile], disable: &[String]) -> (Self, RuleErrors) {
        let (mut rules, mut errors) = (BTreeMap::<String, Rule>::new(), Vec::new());
        let mut ids = BTreeMap::<String, String>::new();
        let (mut names, mut left_out) = (BTreeSet::new(), BTreeSet::new());
        for file in files {
            match load(&file.path, &file.text) {
                Ok(rule) => {
                    names.insert(rule.name.clone());
                    if let Some(problem) = taken(&rule, &rules, &ids) {
                        errors.push(problem.in_file(&file.path));
                        left_out.insert(rule.name);
                    } else {
                        ids.extend(rule.id.clone().map(|id| (id, rule.path.clone())));
                        rules.insert(rule.name.clone(), rule);
                    }
                }
                Err(problems) => {
                    names.extend(file_stem(&file.path));
                    left_out.extend(file_stem(&file.path));
                    errors.extend(problems.into_iter().map(|problem| problem.in_file(&file.path)));
                }
            }
        }
        errors.extend(unknown_disabled(disable, &names));
        rules.retain(|name, _| !disable.contains(name));
        left_out.retain(|name| !rules.contains_key(name) && !disable.contains(name));
        errors.sort();
        (Self { left_out, ..Self::of(rules.into_values().collect()) }, RuleErrors(errors))
    }

    fn of(rules: Vec<Rule>) -> Self {
        let mut posture = BTreeMap::<SubjectKind, Vec<usize>>::new();
        for (at, rule) in rules.iter().enumerate().filter(|(_, rule)| rule.kind != SubjectKind::Event) {
            posture.entry(rule.kind).or_default().push(at);
        }
        let events = EventIndex::new(
            rules
                .iter()
                .enumerate()
                .filter(|(_, rule)| rule.kind == SubjectKind::Event)
                .map(|(at, rule)| (at, &rule.program.detection)),
        );
        Self { rules, posture, events, left_out: BTreeSet::new() }
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
        let document = EventDocument { record: event.record(), enrichment: &facts.root };
        let mut found: Vec<usize> = Vec::new();
        for at in self.events.candidates(event.source(), event.name()) {
            let Some(rule) = self.rules.get(at) else { continue };
            if rule.program.detection.eval(&document) != Kleene::False {
                found.push(at);
            }
        }
        found.sort_unstable();
        found.dedup();
        found
            .into_iter()
            .filter_map(|at| self.rules.get(at))
            .map(|rule| rule.verdict(&facts.subject, &document))
            .filter(|verdict| matches!(verdict.outcome, Outcome::Fail | Outcome::Unknown))
            .collect()
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

fn file_stem(path: &str) -> Option<String> {
    path.rsplit('/').next()?.strip_suffix(".yml").map(str::to_owned)
}

fn taken(rule: &Rule, rules: &BTreeMap<String, Rule>, ids: &BTreeMap<String, String>) -> Option<Problem> {
    if let Some(other) = rules.get(&rule.name) {
        let message = format!("there is a rule `{}` already, in {}", rule.name, other.path);
        return Some(Problem::with_help(0, message, "rename the file, or leave one of them out"));
    }
    let id = rule.id.as_ref()?;
    let other = ids.get(id)?;
    Some(Problem::with_help(0, format!("the id {id} is taken by {other}"), "give the rule an id of its own"))
}

fn unknown_disabled(disable: &[String], names: &BTreeSet<String>) -> Vec<RuleError> {
    disable
        .iter()
        .filter(|name| !names.contains(*name))
        .map(|name| {
            let message = format!("`{name}` is no rule");
            let known = names.iter().map(String::as_str);
            Problem::unknown_word(0, message, name, known).in_file("rules.disable")
        })
        .collect()
}
