//! The `keyward` block of a rule: what Keyward needs beyond Sigma.

use std::collections::BTreeMap;

use super::checks::FactCheck;
use super::error::Problem;
use super::rule::Exemplar;
use super::yaml::{Entry, Node, Value};
use crate::facts::catalogue::find;
use crate::model::{Fact, FactMap, Outcome, SubjectKind};

const KEYS: [&str; 6] = ["applies", "message", "remediation", "controls", "group_by", "exemplars"];
const CORRELATION_KEYS: [&str; 4] = ["message", "remediation", "controls", "exemplars"];
const EXEMPLAR_KEYS: [&str; 6] = ["name", "expect", "facts", "event", "events", "unknown"];
const EVENT_KEYS: [&str; 2] = ["event", "facts"];

/// A `keyward` block as read.
#[derive(Debug, Default)]
pub(super) struct Block {
    pub(super) applies: Option<(String, u64)>,
    pub(super) message: Option<(String, u64)>,
    pub(super) remediation: Option<String>,
    pub(super) controls: BTreeMap<String, Vec<String>>,
    pub(super) group_by: Vec<String>,
    pub(super) exemplars: Vec<Exemplar>,
}

impl Block {
    /// Reads the block of a rule about a kind of subject. What is wrong is added to `problems`.
    pub(super) fn read(block: &Entry, kind: SubjectKind, problems: &mut Vec<Problem>) -> Self {
        Self::read_as(block, kind, &KEYS, problems)
    }

    /// Reads the block of a correlation, which groups by what Sigma says.
    pub(super) fn read_of_correlation(block: &Entry, problems: &mut Vec<Problem>) -> Self {
        Self::read_as(block, SubjectKind::Event, &CORRELATION_KEYS, problems)
    }

    fn read_as(block: &Entry, kind: SubjectKind, keys: &[&str], problems: &mut Vec<Problem>) -> Self {
        if !matches!(block.node.value, Value::Map(_)) {
            problems.push(Problem::with_help(
                block.line,
                format!("`keyward` is {}", block.node.kind()),
                format!("give it the keys {}", keys.join(", ")),
            ));
            return Self::default();
        }
        known_keys(&block.node, "keyward", keys, problems);
        let mut text = |key: &str| {
            let entry = block.node.entry(key)?;
            text_of(entry, problems).map(|text| (text, entry.node.line))
        };
        let (applies, message) = (text("applies"), text("message"));
        let remediation = text("remediation").map(|(remediation, _)| remediation);
        let controls = controls(&block.node, problems);
        let check = FactCheck::Catalogue(kind);
        let group_by =
            block.node.entry("group_by").map(|entry| texts_of(entry, problems)).unwrap_or_default();
        if let Some(entry) = block.node.entry("group_by") {
            for path in &group_by {
                check.path(path, entry.line, problems);
            }
        }
        let exemplars = block.node.get("exemplars").map(Node::items).unwrap_or_default();
        let is_correlation = !keys.contains(&"group_by");
        let read = |node| {
            if is_correlation {
                exemplar_of_correlation(node, problems)
            } else {
                exemplar(node, kind, problems)
            }
        };
        let exemplars = exemplars.iter().filter_map(read).collect();
        Self { applies, message, remediation, controls, group_by, exemplars }
    }

    /// What a rule of ours must have and does not.
    pub(super) fn require(&self, line: u64, problems: &mut Vec<Problem>) {
        let has = |outcome| self.exemplars.iter().any(|exemplar| exemplar.expect == outcome);
        let missing = [
            (self.message.is_none(), "`message`", "say in one sentence what is wrong, with facts in braces"),
            (self.remediation.is_none(), "`remediation`", "say what to do, with the command"),
            (
                self.controls.is_empty(),
                "`controls`",
                "name the framework controls, such as `iso27001: [A.8.24]`",
            ),
            (!has(Outcome::Fail), "exemplar with `expect: fail`", "show what the rule finds"),
            (!has(Outcome::Pass), "exemplar with `expect: pass`", "show what the rule lets pass"),
        ];
        for (is_missing, what, help) in missing {
            if is_missing {
                problems.push(Problem::with_help(line, format!("the `keyward` block has no {what}"), help));
            }
        }
    }
}

pub(super) fn known_keys(node: &Node, of: &str, known: &[&str], problems: &mut Vec<Problem>) {
    for entry in node.entries() {
        if !known.contains(&entry.key.as_str()) {
            let message = format!("unknown key `{}` in `{of}`", entry.key);
            problems.push(Problem::unknown_word(entry.line, message, &entry.key, known.iter().copied()));
        }
    }
}

/// The text under a key; an empty one counts as missing.
pub(super) fn text_of(entry: &Entry, problems: &mut Vec<Problem>) -> Option<String> {
    match entry.node.text().map(str::trim) {
        Some("") => None,
        Some(text) => Some(text.to_owned()),
        None => {
            problems.push(Problem::with_help(
                entry.line,
                format!("`{}` is {}", entry.key, entry.node.kind()),
                "write it as a text, in quotes if it looks like something else",
            ));
            None
        }
    }
}

/// The texts under a key.
pub(super) fn texts_of(entry: &Entry, problems: &mut Vec<Problem>) -> Vec<String> {
    let items = entry.node.items();
    let texts: Vec<String> = items.iter().filter_map(|item| item.text().map(str::to_owned)).collect();
    if texts.len() < items.len() {
        problems.push(Problem::with_help(
            entry.line,
            format!("`{}` is no list of texts", entry.key),
            "put values that look like numbers in quotes",
        ));
    }
    texts
}

fn controls(block: &Node, problems: &mut Vec<Problem>) -> BTreeMap<String, Vec<String>> {
    let Some(entry) = block.entry("controls") else { return BTreeMap::new() };
    if !matches!(entry.node.value, Value::Map(_)) {
        problems.push(Problem::with_help(
            entry.line,
            format!("`controls` is {}", entry.node.kind()),
            "write it by framework, such as `iso27001: [A.8.24]`",
        ));
    }
    entry
        .node
        .entries()
        .iter()
        .map(|framework| (framework.key.clone(), texts_of(framework, problems)))
        .collect()
}

fn exemplar(node: &Node, kind: SubjectKind, problems: &mut Vec<Problem>) -> Option<Exemplar> {
    known_keys(node, "exemplars", &EXEMPLAR_KEYS, problems);
    let name = node.entry("name").and_then(|entry| text_of(entry, problems));
    let expect = expected(node, problems)?;
    let unknown = node.entry("unknown").map(|entry| texts_of(entry, problems)).unwrap_or_default();
    let check = FactCheck::Catalogue(kind);
    for path in &unknown {
        check.path(path, node.entry("unknown").map_or(node.line, |entry| entry.line), problems);
    }
    let facts = node.get("facts").map(|facts| facts_of(facts, kind, problems)).unwrap_or_default();
    let event = node.get("event").map(Node::json);
    let wrong = match (kind, &event) {
        (SubjectKind::Event, None) => Some(("an exemplar of an event rule has no `event`", "give a record")),
        (SubjectKind::Event, Some(event)) if !event.is_object() => {
            Some(("`event` is no record", "give a CloudTrail record"))
        }
        (SubjectKind::Event, Some(_)) | (_, None) => None,
        (_, Some(_)) => Some(("an exemplar of a posture rule has an `event`", "give `facts`")),
    };
    if let Some((message, help)) = wrong {
        problems.push(Problem::with_help(node.line, message, help));
    }
    if node.entry("events").is_some() {
        problems.push(Problem::with_help(node.line, "only correlations have `events`", "give one `event`"));
    }
    let name = name.unwrap_or_else(|| format!("line {}", node.line));
    Some(Exemplar { name, expect, facts, event, events: Vec::new(), unknown, line: node.line })
}

/// An exemplar of a correlation: several records, each with its facts over those that all of them share.
fn exemplar_of_correlation(node: &Node, problems: &mut Vec<Problem>) -> Option<Exemplar> {
    known_keys(node, "exemplars", &EXEMPLAR_KEYS, problems);
    let name = node.entry("name").and_then(|entry| text_of(entry, problems));
    let expect = expected(node, problems)?;
    if !matches!(expect, Outcome::Fail | Outcome::Pass) {
        let message = "a correlation finds something or nothing";
        problems.push(Problem::with_help(node.line, message, "expect fail or pass"));
    }
    for key in ["event", "unknown"] {
        if let Some(entry) = node.entry(key) {
            let message = format!("an exemplar of a correlation has `{key}`");
            problems.push(Problem::with_help(
                entry.line,
                message,
                "give `events`, a list of `event` and `facts`",
            ));
        }
    }
    let shared =
        node.get("facts").map(|facts| facts_of(facts, SubjectKind::Event, problems)).unwrap_or_default();
    let events: Vec<(serde_json::Value, FactMap)> = node
        .get("events")
        .map(Node::items)
        .unwrap_or_default()
        .iter()
        .filter_map(|event| event_of(event, &shared, problems))
        .collect();
    if events.is_empty() {
        let message = "an exemplar of a correlation has no `events`";
        problems.push(Problem::with_help(node.line, message, "give a list of `event` and `facts`"));
    }
    let name = name.unwrap_or_else(|| format!("line {}", node.line));
    Some(Exemplar { name, expect, facts: shared, event: None, events, unknown: Vec::new(), line: node.line })
}

fn event_of(
    node: &Node,
    shared: &FactMap,
    problems: &mut Vec<Problem>,
) -> Option<(serde_json::Value, FactMap)> {
    known_keys(node, "events", &EVENT_KEYS, problems);
    let own =
        node.get("facts").map(|facts| facts_of(facts, SubjectKind::Event, problems)).unwrap_or_default();
    let Some(record) = node.get("event").map(Node::json).filter(serde_json::Value::is_object) else {
        let message = "one of the `events` has no `event`";
        problems.push(Problem::with_help(node.line, message, "give a CloudTrail record"));
        return None;
    };
    let mut facts = shared.clone();
    for (name, fact) in own {
        match (facts.get_mut(&name), fact) {
            (Some(Fact::Map(below)), Fact::Map(above)) => below.extend(above),
            (_, fact) => {
                facts.insert(name, fact);
            }
        }
    }
    Some((record, facts))
}

fn expected(node: &Node, problems: &mut Vec<Problem>) -> Option<Outcome> {
    let known = Outcome::ALL.map(Outcome::as_str);
    let Some(entry) = node.entry("expect") else {
        problems.push(Problem::with_help(
            node.line,
            "an exemplar has no `expect`",
            format!("give it one of {}", known.join(", ")),
        ));
        return None;
    };
    let word = entry.node.text().unwrap_or_default();
    let found = Outcome::ALL.into_iter().find(|outcome| outcome.as_str() == word);
    if found.is_none() {
        let message = format!("`expect` is `{word}`, which is no outcome");
        problems.push(Problem::unknown_word(entry.line, message, word, known));
    }
    found
}

fn facts_of(node: &Node, kind: SubjectKind, problems: &mut Vec<Problem>) -> FactMap {
    check_names(node, "", kind, problems);
    match Fact::from(&node.json()) {
        Fact::Map(map) => map,
        Fact::Null => FactMap::new(),
        _ => {
            problems.push(Problem::with_help(
                node.line,
                format!("`facts` is {}", node.kind()),
                "write it as a mapping, nested like the facts",
            ));
            FactMap::new()
        }
    }
}

/// An exemplar with a misspelt fact would test nothing.
fn check_names(node: &Node, above: &str, kind: SubjectKind, problems: &mut Vec<Problem>) {
    for entry in node.entries() {
        let path = if above.is_empty() { entry.key.clone() } else { format!("{above}.{}", entry.key) };
        if find(kind, &path).is_some() {
            continue;
        }
        if entry.node.entries().is_empty() {
            FactCheck::Catalogue(kind).path(&path, entry.line, problems);
        } else {
            check_names(&entry.node, &path, kind, problems);
        }
    }
}

/// Exemplars in the form of the Sigma tools.
pub(super) fn sigma_exemplars(entry: &Entry, problems: &mut Vec<Problem>) -> Vec<Exemplar> {
    let read = |(at, node): (usize, &Node)| {
        let expect = match node.get("expect").and_then(Node::text) {
            Some("match") => Some(Outcome::Fail),
            Some("no-match") => Some(Outcome::Pass),
            _ => None,
        };
        let event = node.get("event").map(Node::json).filter(serde_json::Value::is_object);
        let (Some(expect), Some(event)) = (expect, event) else {
            problems.push(Problem::with_help(
                node.line,
                "an exemplar is not as the Sigma tools have it",
                "give `expect: match` or `expect: no-match`, and an `event`",
            ));
            return None;
        };
        let name = node.get("name").and_then(Node::text).map_or_else(|| at.to_string(), str::to_owned);
        let (facts, unknown) = (FactMap::new(), Vec::new());
        Some(Exemplar {
            name,
            expect,
            facts,
            event: Some(event),
            events: Vec::new(),
            unknown,
            line: node.line,
        })
    };
    entry.node.items().iter().enumerate().filter_map(read).collect()
}
