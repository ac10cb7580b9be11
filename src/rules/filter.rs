//! Sigma filters: conditions that are laid over other rules.

use super::checks::FactCheck;
use super::detection::Detection;
use super::error::Problem;
use super::eval::Expr;
use super::load::{Foreign, Part};
use super::source::{Source, source};
use super::yaml::{Entry, Node, Value};
use crate::model::SubjectKind;

/// A filter as read.
#[derive(Debug)]
pub(super) struct Filter {
    pub(super) name: String,
    pub(super) path: String,
    /// Whom it is for, each with its line; every event rule where it is none.
    pub(super) rules: Option<Vec<(String, u64)>>,
    pub(super) condition: Expr,
}

/// Reads a filter. What is wrong is added to `problems`.
pub(super) fn read(
    name: &str,
    path: &str,
    filter: &Entry,
    document: &Node,
    problems: &mut Vec<Problem>,
) -> Option<Part> {
    match source(document) {
        Ok(Source::Kind(SubjectKind::Event)) => {}
        Ok(Source::Kind(kind)) => problems.push(Problem::with_help(
            filter.line,
            format!("a filter over rules about a {kind}"),
            "filters are for events; permit a violation in the file that `rules.exceptions` names",
        )),
        Ok(Source::Foreign(reason, line)) => {
            let name = name.to_owned();
            return Some(Part::Foreign(Foreign { name, alias: None, id: None, line, reason }));
        }
        Err(problem) => problems.push(problem),
    }
    let rules = rules(filter, problems);
    let entries = filter.node.entries().iter().filter(|entry| entry.key != "rules").cloned().collect();
    let node = Node { line: filter.node.line, value: Value::Map(entries) };
    let detection = Entry { key: "filter".to_owned(), line: filter.line, node };
    let condition = Detection::compile(&detection, FactCheck::Off, problems).condition?;
    Some(Part::Filter(Filter { name: name.to_owned(), path: path.to_owned(), rules: rules?, condition }))
}

#[expect(clippy::option_option, reason = "wrong, any, or these")]
fn rules(filter: &Entry, problems: &mut Vec<Problem>) -> Option<Option<Vec<(String, u64)>>> {
    let entry = filter.node.entry("rules");
    let items = entry.map(|entry| entry.node.items()).unwrap_or_default();
    if let [one] = items
        && one.text().is_some_and(|text| text.eq_ignore_ascii_case("any"))
    {
        return Some(None);
    }
    let named: Vec<(String, u64)> =
        items.iter().filter_map(|item| Some((item.text()?.to_owned(), item.line))).collect();
    if named.is_empty() || named.len() < items.len() {
        let line = entry.map_or(filter.line, |entry| entry.line);
        let help = "name rules by `name` or `id`, or write `rules: any`";
        problems.push(Problem::with_help(line, "the filter does not say which rules it is for", help));
        return None;
    }
    Some(Some(named))
}
