//! The `detection` of a rule, compiled.

use std::collections::BTreeMap;

use rsigma_parser::{ConditionExpr, Quantifier, SelectorPattern, SigmaParserError, parse_condition};

use super::checks::FactCheck;
use super::describe;
use super::error::Problem;
use super::eval::Expr;
use super::modifier::{Modifiers, Operator, field_spec};
use super::values;
use super::yaml::{Entry, Node, Value};

/// Longer conditions are no longer written by people, and are parsed by recursion.
const MAX_CONDITION_LEN: usize = 4096;

/// The same for brackets inside each other.
const MAX_CONDITION_DEPTH: usize = 32;

/// The selections of a rule and its condition.
#[derive(Debug)]
pub(super) struct Detection {
    selections: BTreeMap<String, Expr>,
    /// What is wrong with a selection is told once, and not again for each condition that uses it.
    broken: Vec<String>,
    /// The condition; none if it is broken.
    pub(super) condition: Option<Expr>,
    /// The condition as written; alternatives are joined by `or`.
    pub(super) condition_text: String,
    /// Each selection in words.
    pub(super) shown: Vec<(String, Vec<String>)>,
}

impl Detection {
    /// Compiles a `detection` mapping. What is wrong is added to `problems`.
    pub(super) fn compile(detection: &Entry, check: FactCheck, problems: &mut Vec<Problem>) -> Self {
        let mut compiled = Self {
            selections: BTreeMap::new(),
            broken: Vec::new(),
            condition: None,
            condition_text: String::new(),
            shown: Vec::new(),
        };
        for entry in detection.node.entries() {
            match entry.key.as_str() {
                "condition" => {}
                "timeframe" => problems.push(Problem::with_help(
                    entry.line,
                    "`timeframe` belongs to Sigma 1",
                    "write a Sigma correlation",
                )),
                _ => compiled.add_selection(entry, check, problems),
            }
        }
        match detection.node.entry("condition") {
            Some(condition) => compiled.set_condition(condition, problems),
            None => problems.push(Problem::with_help(
                detection.line,
                "`detection` has no `condition`",
                "say which selections have to match, such as `condition: selection`",
            )),
        }
        compiled
    }

    fn add_selection(&mut self, entry: &Entry, check: FactCheck, problems: &mut Vec<Problem>) {
        match selection(&entry.node, check, problems) {
            Some(expr) => {
                self.selections.insert(entry.key.clone(), expr);
            }
            None => self.broken.push(entry.key.clone()),
        }
        self.shown.push((entry.key.clone(), describe::selection(&entry.node)));
    }

    fn set_condition(&mut self, condition: &Entry, problems: &mut Vec<Problem>) {
        let items = condition.node.items();
        let texts: Vec<&str> = items.iter().filter_map(Node::text).collect();
        if texts.len() < items.len() || texts.is_empty() {
            problems.push(Problem::with_help(
                condition.line,
                format!("`condition` is {}", condition.node.kind()),
                "write it as a text, such as `selection and not filter`",
            ));
            return;
        }
        self.condition_text = match texts.as_slice() {
            [one] => (*one).to_owned(),
            several => several.iter().map(|text| format!("({text})")).collect::<Vec<_>>().join(" or "),
        };
        let alternatives = items.iter().zip(texts).map(|(item, text)| self.expression(text, item.line));
        match alternatives.collect::<Result<Vec<_>, _>>() {
            Ok(mut one) if one.len() == 1 => self.condition = one.pop().flatten(),
            Ok(several) => {
                self.condition =
                    several.into_iter().collect::<Option<Vec<_>>>().map(|any| Expr::Any(any.into()));
            }
            Err(problem) => problems.push(problem),
        }
    }

    /// Compiles a condition over the selections; none if it uses one that is broken.
    pub(super) fn expression(&self, text: &str, line: u64) -> Result<Option<Expr>, Problem> {
        let depth = text.chars().fold((0_usize, 0_usize), |(open, most), character| match character {
            '(' => (open + 1, most.max(open + 1)),
            ')' => (open.saturating_sub(1), most),
            _ => (open, most),
        });
        if text.len() > MAX_CONDITION_LEN || depth.1 > MAX_CONDITION_DEPTH {
            return Err(Problem::with_help(line, "the condition is too long or too deep", "split the rule"));
        }
        let parsed = parse_condition(text).map_err(|error| unparsable(text, line, &error))?;
        self.resolve(&parsed, line)
    }

    fn resolve(&self, condition: &ConditionExpr, line: u64) -> Result<Option<Expr>, Problem> {
        Ok(match condition {
            ConditionExpr::And(parts) => self.resolve_all(parts, line)?.map(|parts| Expr::All(parts.into())),
            ConditionExpr::Or(parts) => self.resolve_all(parts, line)?.map(|parts| Expr::Any(parts.into())),
            ConditionExpr::Not(part) => self.resolve(part, line)?.map(|part| Expr::Not(Box::new(part))),
            ConditionExpr::Identifier(name) => self.named(name, line)?,
            ConditionExpr::Selector { quantifier, pattern } => self.several(quantifier, pattern, line)?,
        })
    }

    fn resolve_all(&self, parts: &[ConditionExpr], line: u64) -> Result<Option<Vec<Expr>>, Problem> {
        let parts: Vec<Option<Expr>> =
            parts.iter().map(|part| self.resolve(part, line)).collect::<Result<_, _>>()?;
        Ok(parts.into_iter().collect())
    }

    fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.selections.keys().chain(&self.broken).map(String::as_str)
    }

    fn named(&self, name: &str, line: u64) -> Result<Option<Expr>, Problem> {
        if self.names().any(|known| known == name) {
            return Ok(self.selections.get(name).cloned());
        }
        let message = format!("the condition names `{name}`, which is no selection");
        Err(Problem::unknown_word(line, message, name, self.names()))
    }

    fn several(
        &self,
        quantifier: &Quantifier,
        pattern: &SelectorPattern,
        line: u64,
    ) -> Result<Option<Expr>, Problem> {
        let matching: Vec<&str> = self.names().filter(|name| pattern.matches_detection_name(name)).collect();
        if matching.is_empty() {
            let message = format!("no selection is called `{pattern}`, as the condition has it");
            let word = pattern.to_string();
            return Err(Problem::unknown_word(line, message, word.trim_end_matches('*'), self.names()));
        }
        let count = match quantifier {
            Quantifier::Any => 1,
            Quantifier::All => matching.len(),
            Quantifier::Count(count) => usize::try_from(*count).unwrap_or(usize::MAX),
        };
        if count == 0 || count > matching.len() {
            return Err(Problem::with_help(
                line,
                format!("`{quantifier} of {pattern}` is asked of {} selections", matching.len()),
                "ask for at least one and for no more than there are",
            ));
        }
        let parts: Option<Vec<Expr>> =
            matching.iter().map(|name| self.selections.get(*name).cloned()).collect();
        Ok(parts.map(|parts| match count {
            1 => Expr::Any(parts.into()),
            all if all == parts.len() => Expr::All(parts.into()),
            some => Expr::AtLeast(some, parts.into()),
        }))
    }
}

fn unparsable(text: &str, line: u64, error: &SigmaParserError) -> Problem {
    if text.contains('|') {
        return Problem::with_help(
            line,
            "aggregations behind a `|` in the condition belong to Sigma 1",
            "write a Sigma correlation",
        );
    }
    let column = error.location().map_or(1, |location| location.col);
    Problem::with_help(
        line,
        format!("the condition `{text}` cannot be read from column {column} on"),
        "combine selections with `and`, `or`, `not`, brackets and `1 of name*`, all in lower case",
    )
}

/// Compiles one selection; none if something is wrong with it, which is added to `problems`.
fn selection(node: &Node, check: FactCheck, problems: &mut Vec<Problem>) -> Option<Expr> {
    match &node.value {
        Value::Map(entries) if entries.is_empty() => {
            problems.push(Problem::with_help(
                node.line,
                "the selection is empty",
                "name a field and a value",
            ));
            None
        }
        Value::Map(entries) => {
            let parts: Vec<Option<Expr>> =
                entries.iter().map(|entry| field(entry, check, problems)).collect();
            let mut parts: Vec<Expr> = parts.into_iter().collect::<Option<_>>()?;
            Some(if parts.len() == 1 { parts.remove(0) } else { Expr::All(parts.into()) })
        }
        Value::List(items)
            if items.iter().any(|item| matches!(item.value, Value::Map(_) | Value::List(_))) =>
        {
            let parts: Vec<Option<Expr>> =
                items.iter().map(|item| selection(item, check, problems)).collect();
            parts.into_iter().collect::<Option<Vec<_>>>().map(|parts| Expr::Any(parts.into()))
        }
        _ => {
            let spec = field_spec("", node.line);
            let modifiers = spec
                .and_then(|spec| Modifiers::read(&spec).map_err(|reason| Problem::new(node.line, reason)));
            kept(modifiers.and_then(|modifiers| values::compile(None, &modifiers, node)), problems)
        }
    }
}

fn field(entry: &Entry, check: FactCheck, problems: &mut Vec<Problem>) -> Option<Expr> {
    let spec = kept(field_spec(&entry.key, entry.line), problems)?;
    let modifiers = Modifiers::read(&spec)
        .map_err(|reason| Problem::new(entry.line, format!("in `{}`: {reason}", entry.key)));
    let modifiers = kept(modifiers, problems)?;
    let before = problems.len();
    if let Some(path) = &spec.name {
        check.field(path, &modifiers, entry, problems);
    }
    if modifiers.operator == Operator::Reference {
        for other in entry.node.items() {
            check.path(other.text().unwrap_or_default(), other.line, problems);
        }
    }
    let expr = kept(values::compile(spec.name.as_deref(), &modifiers, &entry.node), problems);
    expr.filter(|_| problems.len() == before)
}

fn kept<T>(result: Result<T, Problem>, problems: &mut Vec<Problem>) -> Option<T> {
    result.map_err(|problem| problems.push(problem)).ok()
}
