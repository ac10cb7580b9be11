//! A `correlation` section as read, before its rules are found.

use rsigma_parser::{ConditionExpr, parse_condition, value::Timespan};

use super::state::MAX_MATCHES;
use crate::model::SubjectKind;
use crate::rules::checks::FactCheck;
use crate::rules::error::Problem;
use crate::rules::keyward::{Block, known_keys, texts_of};
use crate::rules::load::Meta;
use crate::rules::rule::Rule;
use crate::rules::yaml::{Entry, Node, Value};

const KEYS: [&str; 10] = [
    "type",
    "rules",
    "group-by",
    "timespan",
    "timeframe",
    "condition",
    "aliases",
    "generate",
    "window",
    "gap",
];
const TYPES: [&str; 4] = ["event_count", "temporal", "temporal_ordered", "value_count"];
const METRICS: [&str; 4] = ["value_avg", "value_median", "value_percentile", "value_sum"];
const OPERATORS: [&str; 6] = ["lt", "lte", "gt", "gte", "eq", "neq"];

/// A year: what is longer would never be forgotten.
const MAX_SPAN_SECONDS: u64 = 366 * 86_400;

/// More rules than this in one correlation are a mistake.
const MAX_RULES: usize = 64;

/// A correlation whose rules have to be found yet.
#[derive(Debug)]
pub(in crate::rules) struct Draft {
    pub(in crate::rules) rule: Rule,
    pub(in crate::rules) line: u64,
    /// How the rules are called, each with its line.
    pub(in crate::rules) rules: Vec<(String, u64)>,
    /// Whether the rules beside it in its file also find something alone.
    pub(in crate::rules) generate: bool,
    pub(super) kind: Kind,
    pub(super) group_by: Vec<String>,
    pub(super) timespan: Timespan,
    /// What has to be reached; none where all rules have to match.
    pub(super) at_least: Option<usize>,
    pub(super) fields: Vec<String>,
    pub(super) expression: Option<(ConditionExpr, u64)>,
    /// For each alias what it is called in the events of a rule.
    pub(super) aliases: Vec<Alias>,
}

/// One alias.
#[derive(Debug)]
pub(super) struct Alias {
    pub(super) name: String,
    pub(super) line: u64,
    pub(super) fields: Vec<(String, String, u64)>,
}

/// The kinds of correlation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    EventCount,
    ValueCount,
    Temporal,
    TemporalOrdered,
}

impl Kind {
    fn is_temporal(self) -> bool {
        matches!(self, Self::Temporal | Self::TemporalOrdered)
    }
}

/// Reads a correlation. What is wrong is added to `problems`.
pub(in crate::rules) fn read(
    meta: Meta,
    entry: &Entry,
    document: &Node,
    problems: &mut Vec<Problem>,
) -> Option<Draft> {
    let node = &entry.node;
    known_keys(node, "correlation", &KEYS, problems);
    let kind = kind(entry, problems);
    let rules = rules(entry, problems);
    let group_by = node.entry("group-by").map(|entry| texts_of(entry, problems)).unwrap_or_default();
    let aliases = aliases(node, problems);
    let timespan = timespan(entry, problems);
    unsupported_window(node, document, problems);
    let condition = kind.and_then(|kind| condition(kind, entry, rules.len(), problems));
    let own = document.entry("keyward");
    let block = own.map(|block| {
        let read = Block::read_of_correlation(block, problems);
        read.require(block.line, problems);
        read
    });
    let mut block = block.unwrap_or_default();
    let condition = condition?;
    if meta.is_ours {
        let is_alias = |name: &String| aliases.iter().any(|alias| alias.name == *name);
        for name in group_by.iter().chain(&condition.fields).filter(|name| !is_alias(name)) {
            FactCheck::Catalogue(SubjectKind::Event).path(name, entry.line, problems);
        }
    }
    let message = super::link::message(&block, meta.title(), &group_by, problems);
    block.group_by.clone_from(&group_by);
    let (kind, timespan) = (kind?, timespan?);
    let rule = super::link::shell(meta, block, message)?;
    Some(Draft {
        rule,
        line: entry.line,
        rules,
        generate: generate(node, document, problems),
        kind,
        group_by,
        timespan,
        at_least: condition.at_least,
        fields: condition.fields,
        expression: condition.expression,
        aliases,
    })
}

fn kind(entry: &Entry, problems: &mut Vec<Problem>) -> Option<Kind> {
    let given = entry.node.entry("type");
    let (word, line) =
        given.map_or(("", entry.line), |given| (given.node.text().unwrap_or_default(), given.line));
    let found = match word {
        "event_count" => Some(Kind::EventCount),
        "value_count" => Some(Kind::ValueCount),
        "temporal" => Some(Kind::Temporal),
        "temporal_ordered" => Some(Kind::TemporalOrdered),
        _ => None,
    };
    if METRICS.contains(&word) {
        problems.push(Problem::with_help(
            line,
            format!("`{word}` is not evaluated: an event that comes late could take its answer back"),
            "count events or distinct values",
        ));
    } else if found.is_none() {
        let message = format!("unknown type of correlation `{word}`");
        problems.push(Problem::unknown_word(line, message, word, TYPES));
    }
    found
}

fn rules(entry: &Entry, problems: &mut Vec<Problem>) -> Vec<(String, u64)> {
    let items = entry.node.get("rules").map(Node::items).unwrap_or_default();
    let rules: Vec<(String, u64)> =
        items.iter().filter_map(|item| Some((item.text()?.to_owned(), item.line))).collect();
    let line = entry.node.entry("rules").map_or(entry.line, |rules| rules.line);
    if rules.is_empty() || rules.len() < items.len() || rules.len() > MAX_RULES {
        let help = format!("name up to {MAX_RULES} rules by `name` or `id`");
        problems.push(Problem::with_help(line, "the correlation names no rules to count", help));
    }
    for (at, (name, line)) in rules.iter().enumerate() {
        if rules.iter().take(at).any(|(other, _)| other == name) {
            problems.push(Problem::new(*line, format!("the correlation names `{name}` twice")));
        }
    }
    rules
}

fn timespan(entry: &Entry, problems: &mut Vec<Problem>) -> Option<Timespan> {
    let help = "write it like 90s, 15m, 12h or 7d; a year is the most";
    let Some(given) = entry.node.entry("timespan").or_else(|| entry.node.entry("timeframe")) else {
        problems.push(Problem::with_help(entry.line, "the correlation has no `timespan`", help));
        return None;
    };
    let text = given.node.text().unwrap_or_default();
    let read = Timespan::parse(text).ok();
    let read = read.filter(|span| span.seconds > 0 && span.seconds <= MAX_SPAN_SECONDS);
    if read.is_none() {
        problems.push(Problem::with_help(given.line, format!("`{text}` is no timespan"), help));
    }
    read
}

/// Windows other than sliding ones are an extension of another tool, and hang on where they begin.
fn unsupported_window(node: &Node, document: &Node, problems: &mut Vec<Problem>) {
    let given = [
        node.entry("window"),
        node.entry("gap"),
        document.entry("rsigma.window"),
        document.entry("rsigma.gap"),
    ];
    for entry in given.into_iter().flatten().filter(|entry| entry.node.text() != Some("sliding")) {
        problems.push(Problem::with_help(
            entry.line,
            format!("`{}` is no part of Sigma, and windows always slide", entry.key),
            "leave it out",
        ));
    }
}

fn generate(node: &Node, document: &Node, problems: &mut Vec<Problem>) -> bool {
    let Some(entry) = document.entry("generate").or_else(|| node.entry("generate")) else { return false };
    if let Value::Bool(value) = &entry.node.value {
        return *value;
    }
    let message = format!("`generate` is {}", entry.node.kind());
    problems.push(Problem::with_help(entry.line, message, "give it true or false"));
    false
}

fn aliases(node: &Node, problems: &mut Vec<Problem>) -> Vec<Alias> {
    let entries = node.get("aliases").map(Node::entries).unwrap_or_default();
    entries
        .iter()
        .map(|alias| {
            let fields = alias.node.entries().iter().filter_map(|field| {
                let name = crate::rules::keyward::text_of(field, problems)?;
                Some((field.key.clone(), name, field.line))
            });
            let fields = fields.collect();
            Alias { name: alias.key.clone(), line: alias.line, fields }
        })
        .collect()
}

struct ReadCondition {
    at_least: Option<usize>,
    fields: Vec<String>,
    expression: Option<(ConditionExpr, u64)>,
}

fn condition(
    kind: Kind,
    correlation: &Entry,
    rules: usize,
    problems: &mut Vec<Problem>,
) -> Option<ReadCondition> {
    let all = ReadCondition { at_least: None, fields: Vec::new(), expression: None };
    let Some(entry) = correlation.node.entry("condition") else {
        if kind.is_temporal() {
            return Some(all);
        }
        let message = "the correlation has no `condition`";
        problems.push(Problem::with_help(correlation.line, message, "say how many, such as `gte: 10`"));
        return None;
    };
    match &entry.node.value {
        Value::Text(text) if kind == Kind::Temporal => {
            if let Ok(expression) = parse_condition(text) {
                return Some(ReadCondition { expression: Some((expression, entry.line)), ..all });
            }
            let message = format!("the condition `{text}` cannot be read");
            let help = "combine the rules' names with `and` and `or`";
            problems.push(Problem::with_help(entry.line, message, help));
            None
        }
        Value::Map(_) => counted(kind, entry, rules, problems),
        _ => {
            let message = format!("`condition` is {}", entry.node.kind());
            problems.push(Problem::with_help(entry.line, message, "write it like `gte: 10`"));
            None
        }
    }
}

fn counted(kind: Kind, entry: &Entry, rules: usize, problems: &mut Vec<Problem>) -> Option<ReadCondition> {
    let mut known = OPERATORS.to_vec();
    known.push("field");
    known_keys(&entry.node, "condition", &known, problems);
    let fields = entry.node.entry("field").map(|field| texts_of(field, problems)).unwrap_or_default();
    if (kind == Kind::ValueCount) == fields.is_empty() {
        let (message, help) = match kind {
            Kind::ValueCount => ("the condition has no `field`", "name the field whose values are counted"),
            _ => ("the condition has a `field`", "only `value_count` counts the values of one"),
        };
        problems.push(Problem::with_help(entry.line, message, help));
        return None;
    }
    let least = least(entry, problems)?;
    let most = if kind.is_temporal() { rules } else { MAX_MATCHES };
    if least > most || kind == Kind::TemporalOrdered && least != rules {
        let message = format!("the condition asks for {least}");
        let help = match kind {
            Kind::TemporalOrdered => format!("all {rules} rules have to match in their order; leave it out"),
            Kind::Temporal => format!("there are {rules} rules"),
            _ => format!("no more than {MAX_MATCHES} are remembered"),
        };
        problems.push(Problem::with_help(entry.line, message, help));
        return None;
    }
    Some(ReadCondition { at_least: Some(least), fields, expression: None })
}

/// The least count that the condition holds of. Counts grow one by one, so that who reaches more has been there.
fn least(entry: &Entry, problems: &mut Vec<Problem>) -> Option<usize> {
    let mut bounds = Vec::new();
    for given in entry.node.entries().iter().filter(|given| OPERATORS.contains(&given.key.as_str())) {
        let number = match given.node.value {
            Value::Int(number) => usize::try_from(number).ok(),
            _ => None,
        };
        let Some(number) = number else {
            let message = format!("`{}` is no count", given.key);
            problems.push(Problem::with_help(given.line, message, "give a whole number"));
            return None;
        };
        bounds.push((given.key.as_str(), number));
    }
    let has_lower = bounds.iter().any(|(operator, _)| matches!(*operator, "gt" | "gte" | "eq"));
    if !has_lower {
        problems.push(Problem::with_help(
            entry.line,
            "the condition has no lower bound, and too few events may be events that have not come",
            "give `gt`, `gte` or `eq`",
        ));
        return None;
    }
    let holds = |count: usize| {
        bounds.iter().all(|(operator, number)| match *operator {
            "lt" => count < *number,
            "lte" => count <= *number,
            "gt" => count > *number,
            "gte" => count >= *number,
            "neq" => count != *number,
            _ => count == *number,
        })
    };
    let least = bounds.iter().flat_map(|(_, number)| [*number, number.saturating_add(1)]).chain([1]);
    let least = least.filter(|count| *count > 0 && holds(*count)).min();
    if least.is_none() {
        let message = "no count meets the condition";
        problems.push(Problem::with_help(entry.line, message, "events are counted from one on"));
    }
    least
}
