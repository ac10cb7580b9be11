//! From rule files to rules that know each other: names, filters, correlations.

use std::collections::{BTreeMap, BTreeSet};
use std::{panic, thread};

use super::correlation::{Draft, is_called, link};
use super::error::{Problem, RuleError, RuleErrors, nearest};
use super::eval::Expr;
use super::filter::Filter;
use super::load::{Foreign, Part, load};
use super::rule::Rule;
use super::set::{Feed, ForeignRule, Linked, Parts, RuleFile};
use crate::model::SubjectKind;

/// Loads all files. A mistake costs only the rule that it is in.
pub(super) fn assemble(files: &[RuleFile], disable: &[String]) -> (Parts, RuleErrors) {
    let mut assembly = Assembly::default();
    for (file, parts) in files.iter().zip(load_all(files)) {
        for part in parts {
            assembly.add(&file.path, part);
        }
    }
    assembly.filter();
    assembly.link();
    assembly.finish(disable)
}

/// Files that take longer to share out than to load.
const FEW: usize = 8;

/// What is in each file, in order. Reading them is most of what starting takes, so every processor takes a share.
fn load_all(files: &[RuleFile]) -> Vec<Vec<Part>> {
    let load_some =
        |files: &[RuleFile]| files.iter().map(|file| load(&file.path, &file.text)).collect::<Vec<_>>();
    let processors = thread::available_parallelism().map_or(1, usize::from);
    if processors == 1 || files.len() <= FEW {
        return load_some(files);
    }
    thread::scope(|scope| {
        let shares = files.chunks(files.len().div_ceil(processors));
        let running: Vec<_> = shares.map(|share| scope.spawn(move || load_some(share))).collect();
        let loaded = running.into_iter().map(thread::ScopedJoinHandle::join);
        loaded.flat_map(|share| share.unwrap_or_else(|panicked| panic::resume_unwind(panicked))).collect()
    })
}

/// What is loaded so far.
#[derive(Debug, Default)]
struct Assembly {
    rules: BTreeMap<String, Rule>,
    drafts: Vec<Draft>,
    filters: Vec<Filter>,
    foreign: Vec<(String, Foreign)>,
    /// Correlations in force, with whether their rules also find something alone.
    linked: BTreeMap<String, (Rule, bool)>,
    /// For each correlation the rules that it counts, in order.
    counted: BTreeMap<String, Vec<String>>,
    /// Which file has which name, and which id.
    names: BTreeMap<String, String>,
    ids: BTreeMap<String, String>,
    left_out: BTreeSet<String>,
    errors: Vec<RuleError>,
}

/// What a rule's name or id leads to.
enum Called {
    Rule(String),
    Foreign(String),
    Broken,
    /// A correlation that is not linked yet.
    Later,
    Several,
    Nothing,
}

impl Assembly {
    fn add(&mut self, path: &str, part: Part) {
        match part {
            Part::Rule(rule) => {
                if self.is_free(&rule) {
                    self.rules.insert(rule.name.clone(), *rule);
                }
            }
            Part::Correlation(draft) => {
                if self.is_free(&draft.rule) {
                    self.drafts.push(*draft);
                }
            }
            Part::Filter(filter) => self.filters.push(filter),
            Part::Foreign(foreign) => self.foreign.push((path.to_owned(), foreign)),
            Part::Broken(name, problems) => {
                self.left_out.extend(name);
                self.errors.extend(problems.into_iter().map(|problem| problem.in_file(path)));
            }
        }
    }

    /// Takes the rule's name and id, if they are free.
    fn is_free(&mut self, rule: &Rule) -> bool {
        let by_id = rule.id.as_ref().and_then(|id| Some((id, self.ids.get(id)?)));
        let problem = if let Some(other) = self.names.get(&rule.name) {
            let message = format!("there is a rule `{}` already, in {other}", rule.name);
            Problem::with_help(0, message, "rename the file, or leave one of them out")
        } else if let Some((id, other)) = by_id {
            let message = format!("the id {id} is taken by {other}");
            Problem::with_help(0, message, "give the rule an id of its own")
        } else {
            self.names.insert(rule.name.clone(), rule.path.clone());
            self.ids.extend(rule.id.clone().map(|id| (id, rule.path.clone())));
            return true;
        };
        self.errors.push(problem.in_file(&rule.path));
        self.left_out.insert(rule.name.clone());
        false
    }

    fn known(&self) -> impl Iterator<Item = &Rule> + Clone {
        self.rules.values().chain(self.linked.values().map(|(rule, _)| rule))
    }

    /// Whom a name or an id means: a rule of the same file first.
    fn called(&self, called: &str, path: &str) -> Called {
        let hits: Vec<&Rule> = self.known().filter(|rule| is_called(rule, called)).collect();
        let beside = hits.iter().find(|rule| rule.path == path);
        let exact = hits.iter().find(|rule| rule.name == called);
        match (beside.or(exact), hits.as_slice()) {
            (Some(rule), _) => return Called::Rule(rule.name.clone()),
            (None, [one]) => return Called::Rule(one.name.clone()),
            (None, []) => {}
            (None, _) => return Called::Several,
        }
        let is_foreign = |foreign: &Foreign| {
            foreign.name == called
                || foreign.alias.as_deref() == Some(called)
                || foreign.id.as_deref() == Some(called)
        };
        if self.drafts.iter().any(|draft| is_called(&draft.rule, called)) {
            Called::Later
        } else if let Some((_, foreign)) = self.foreign.iter().find(|(_, foreign)| is_foreign(foreign)) {
            Called::Foreign(foreign.reason.clone())
        } else if self.left_out.contains(called) {
            Called::Broken
        } else {
            Called::Nothing
        }
    }

    fn not_called(&self, called: &str, line: u64, found: &Called) -> Problem {
        let message = match found {
            Called::Broken => format!("`{called}` has a mistake of its own"),
            Called::Several => format!("several rules are called `{called}`; name one by its id"),
            Called::Later => {
                format!("`{called}` cannot be linked either: it is broken, or they name each other")
            }
            _ => {
                let message = format!("`{called}` is no rule");
                let known = self.known().map(|rule| rule.name.as_str());
                let help = nearest(called, known).map_or_else(
                    || "name a rule that is loaded with it, by `name` or `id`".to_owned(),
                    |nearest| format!("did you mean `{nearest}`?"),
                );
                return Problem::with_help(line, message, help);
            }
        };
        Problem::new(line, message)
    }

    /// Lays the filters over their rules.
    fn filter(&mut self) {
        for filter in std::mem::take(&mut self.filters) {
            match self.filtered(&filter) {
                Ok(names) => {
                    for (_, rule) in self.rules.iter_mut().filter(|(name, _)| names.contains(*name)) {
                        lay_over(rule, &filter);
                    }
                }
                Err(Some(problem)) => self.errors.push(problem.in_file(&filter.path)),
                Err(None) => {
                    let reason = "all of its rules are".to_owned();
                    let (name, alias, id) = (filter.name, None, None);
                    let foreign = Foreign { name, alias, id, line: 1, reason };
                    self.foreign.push((filter.path, foreign));
                }
            }
        }
    }

    /// The names of a filter's rules; an error without a problem if all of them are foreign.
    fn filtered(&self, filter: &Filter) -> Result<BTreeSet<String>, Option<Problem>> {
        let Some(rules) = &filter.rules else {
            let events = self.rules.values().filter(|rule| rule.kind == SubjectKind::Event);
            return Ok(events.map(|rule| rule.name.clone()).collect());
        };
        let mut names = BTreeSet::new();
        for (called, line) in rules {
            match self.called(called, &filter.path) {
                Called::Rule(name) if self.rules.get(&name).is_some_and(is_of_events) => {
                    names.insert(name);
                }
                Called::Rule(_) | Called::Later => {
                    let message = format!("`{called}` is no rule about events");
                    return Err(Some(Problem::new(*line, message)));
                }
                Called::Foreign(_) => {}
                other => return Err(Some(self.not_called(called, *line, &other))),
            }
        }
        if names.is_empty() { Err(None) } else { Ok(names) }
    }

    /// Links correlations with their rules, those that others count first.
    fn link(&mut self) {
        loop {
            let before = self.drafts.len();
            for _ in 0..before {
                let draft = self.drafts.remove(0);
                self.link_one(draft);
            }
            if self.drafts.len() == before {
                break;
            }
        }
        for draft in std::mem::take(&mut self.drafts) {
            let later = draft
                .rules
                .iter()
                .find(|(called, _)| !matches!(self.called(called, &draft.rule.path), Called::Rule(_)));
            let (called, line) = later.cloned().unwrap_or_default();
            let problem = self.not_called(&called, line, &Called::Later);
            self.leave_out(&draft, [problem]);
        }
    }

    fn link_one(&mut self, draft: Draft) {
        let mut names = Vec::new();
        let mut problems = Vec::new();
        let mut is_later = false;
        for (called, line) in &draft.rules {
            match self.called(called, &draft.rule.path) {
                Called::Rule(name) => names.push(name),
                Called::Foreign(reason) => {
                    let reason = format!("it correlates `{called}`, and {reason}");
                    let Rule { name, alias, id, path, .. } = draft.rule;
                    self.foreign.push((path, Foreign { name, alias, id, line: draft.line, reason }));
                    return;
                }
                Called::Later => is_later = true,
                Called::Nothing if is_called(&draft.rule, called) => is_later = true,
                other => problems.push(self.not_called(called, *line, &other)),
            }
        }
        if !problems.is_empty() {
            return self.leave_out(&draft, problems);
        }
        if is_later {
            self.drafts.push(draft);
            return;
        }
        self.link_with(draft, &names);
    }

    fn link_with(&mut self, draft: Draft, names: &[String]) {
        let find = |name: &String| self.known().find(|rule| rule.name == *name).cloned();
        let bases: Vec<Rule> = names.iter().filter_map(find).collect();
        let mut problems = Vec::new();
        for (rule, (called, line)) in bases.iter().zip(&draft.rules) {
            if rule.kind != SubjectKind::Event {
                let message = format!("`{called}` judges a {}, and events are correlated", rule.kind);
                problems.push(Problem::with_help(*line, message, "name rules about events"));
            }
        }
        if !problems.is_empty() {
            return self.leave_out(&draft, problems);
        }
        let (name, path, generate) = (draft.rule.name.clone(), draft.rule.path.clone(), draft.generate);
        match link(draft, &bases.iter().collect::<Vec<_>>()) {
            Ok(rule) => {
                self.counted.insert(name.clone(), names.to_vec());
                self.linked.insert(name, (rule, generate));
            }
            Err(problems) => {
                self.left_out.insert(name);
                self.errors.extend(problems.into_iter().map(|problem| problem.in_file(&path)));
            }
        }
    }

    fn leave_out(&mut self, draft: &Draft, problems: impl IntoIterator<Item = Problem>) {
        self.left_out.insert(draft.rule.name.clone());
        self.errors.extend(problems.into_iter().map(|problem| problem.in_file(&draft.rule.path)));
    }

    /// The rules that only count: those whose correlations are all beside them in their file, and do not say
    /// `generate`. What is loaded in its own right is silenced by nobody else.
    fn silenced(&self) -> BTreeSet<String> {
        let (mut silent, mut heard) = (BTreeSet::new(), BTreeSet::new());
        for (name, counted) in &self.counted {
            let Some((correlation, generate)) = self.linked.get(name) else { continue };
            for base in self.known().filter(|rule| counted.contains(&rule.name)) {
                if base.path != correlation.path {
                    continue;
                }
                let side = if *generate { &mut heard } else { &mut silent };
                side.insert(base.name.clone());
            }
        }
        silent.difference(&heard).cloned().collect()
    }

    /// Lets go of correlations that nobody hears: disabled, or counted by such alone.
    fn drop_unheard(&mut self, silent: &BTreeSet<String>) {
        loop {
            let is_counted = |name: &String| self.counted.values().any(|counted| counted.contains(name));
            let unheard: Vec<String> = self
                .linked
                .keys()
                .filter(|name| silent.contains(*name) && !is_counted(name))
                .cloned()
                .collect();
            if unheard.is_empty() {
                return;
            }
            for name in unheard {
                self.linked.remove(&name);
                self.counted.remove(&name);
            }
        }
    }

    /// For each rule the correlations that count it.
    fn feeds(&self) -> BTreeMap<String, Vec<Feed>> {
        let mut feeds: BTreeMap<String, Vec<Feed>> = BTreeMap::new();
        for (correlation, counted) in &self.counted {
            for (place, name) in (0_u16..).zip(counted) {
                let feed = Feed { correlation: correlation.clone(), place };
                feeds.entry(name.clone()).or_default().push(feed);
            }
        }
        feeds
    }

    fn finish(mut self, disable: &[String]) -> (Parts, RuleErrors) {
        let mut names: BTreeSet<String> = self.names.keys().cloned().collect();
        names.extend(self.left_out.iter().cloned());
        names.extend(self.foreign.iter().map(|(_, foreign)| foreign.name.clone()));
        self.errors.extend(unknown_disabled(disable, &names));
        let mut silent = self.silenced();
        silent.extend(disable.iter().cloned());
        self.drop_unheard(&silent);
        let feeds = self.feeds();
        let in_force = |name: &String| self.rules.contains_key(name) || self.linked.contains_key(name);
        self.left_out.retain(|name| !in_force(name) && !disable.contains(name));
        self.errors.sort();
        let mut parts = Parts { left_out: self.left_out, ..Parts::default() };
        for (name, (rule, _)) in self.linked {
            let is_silent = silent.contains(&name);
            if !is_silent {
                parts.rules.push(rule.clone());
            }
            let feeds = feeds.get(&name).cloned().unwrap_or_default();
            parts.correlations.insert(name, Linked { rule, is_silent, feeds });
        }
        for (name, rule) in self.rules {
            if !silent.contains(&name) {
                parts.rules.push(rule);
            } else if feeds.contains_key(&name) {
                parts.silent.push(rule);
            }
        }
        parts.rules.sort_by(|one, other| one.name.cmp(&other.name));
        parts.feeds = feeds;
        parts.foreign = foreign_rules(self.foreign);
        (parts, RuleErrors(self.errors))
    }
}

fn is_of_events(rule: &Rule) -> bool {
    rule.kind == SubjectKind::Event
}

fn lay_over(rule: &mut Rule, filter: &Filter) {
    let detection = std::mem::replace(&mut rule.program.detection, Expr::Any([].into()));
    rule.program.detection = Expr::All([detection, filter.condition.clone()].into());
    rule.condition = format!("({}) and filter {}", rule.condition, filter.name);
}

fn foreign_rules(foreign: Vec<(String, Foreign)>) -> Vec<ForeignRule> {
    let mut rules: Vec<ForeignRule> = foreign
        .into_iter()
        .map(|(path, Foreign { name, line, reason, .. })| ForeignRule { path, line, name, reason })
        .collect();
    rules.sort();
    rules
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
