//! Rules name facts that exist, and compare them with values that they can have.

use super::error::{Problem, nearest};
use super::eval::RelationKind;
use super::modifier::{Modifiers, Operator};
use super::yaml::{Entry, Node, Value};
use crate::facts::catalogue::{CATALOGUE, FactSpec, FactType, find};
use crate::model::SubjectKind;

/// What the names of facts are checked against.
#[derive(Debug, Clone, Copy)]
pub(super) enum FactCheck {
    /// The catalogue's facts of a kind.
    Catalogue(SubjectKind),
    /// Nothing: CloudTrail rules from elsewhere may name whatever a record has.
    Off,
}

impl FactCheck {
    /// Checks that a path names a fact.
    pub(super) fn path(self, path: &str, line: u64, problems: &mut Vec<Problem>) {
        let Self::Catalogue(kind) = self else { return };
        if find(kind, path).is_some() {
            return;
        }
        let message = format!("`{path}` is no fact of a {kind}");
        let here = CATALOGUE.iter().filter(|spec| spec.kind == kind).map(|spec| spec.path);
        let help = match nearest(path, here) {
            Some(nearest) => format!("did you mean `{nearest}`?"),
            None => match CATALOGUE.iter().find(|spec| spec.path == path) {
                Some(spec) => format!("it is one of a {}; `logsource.category` says `{kind}`", spec.kind),
                None => "docs/facts.md lists them all".to_owned(),
            },
        };
        problems.push(Problem::with_help(line, message, help));
    }

    /// Checks that a field names a fact, and that its values are such as the fact can have.
    pub(super) fn field(self, path: &str, modifiers: &Modifiers, entry: &Entry, problems: &mut Vec<Problem>) {
        let Self::Catalogue(kind) = self else { return };
        self.path(path, entry.line, problems);
        let Some(spec) = find(kind, path) else { return };
        problems.extend(entry.node.items().iter().filter_map(|value| misfit(spec, modifiers, value)));
    }
}

/// A comparison that can never be true would be a silent pass.
fn misfit(spec: &FactSpec, modifiers: &Modifiers, value: &Node) -> Option<Problem> {
    let wanted = match (spec.fact_type, modifiers.operator) {
        (FactType::Open, _)
        | (_, Operator::Exists | Operator::Reference)
        | (FactType::Int, Operator::Compare(_))
        | (FactType::Time, Operator::TimePart(..)) => return None,
        (FactType::Bool | FactType::Int, Operator::Plain) if modifiers.relation != RelationKind::Equals => {
            "is no text to look into"
        }
        (FactType::Bool, Operator::Plain) => match &value.value {
            Value::Bool(_) | Value::Null => return None,
            Value::Text(text) if ["true", "false"].contains(&text.to_ascii_lowercase().as_str()) => {
                return None;
            }
            _ => "is true or false",
        },
        (FactType::Bool, _) => "is true or false, and has no other comparison",
        (FactType::Int, Operator::Plain) => match &value.value {
            Value::Int(_) | Value::Null => return None,
            _ => "is a whole number",
        },
        (FactType::Text | FactType::Texts | FactType::Time, Operator::Compare(_)) => {
            "is a text, which is not compared by size"
        }
        (FactType::Text | FactType::Texts | FactType::Int, Operator::TimePart(..)) => "is no time",
        (FactType::Int, _) => "is a whole number, and no text",
        (FactType::Text | FactType::Texts | FactType::Time, _) => match &value.value {
            Value::Bool(_) => "is a text, and neither true nor false",
            _ => return None,
        },
    };
    let help = format!("docs/facts.md says of it: {}", spec.meaning);
    Some(Problem::with_help(value.line, format!("`{}` {wanted}", spec.path), help))
}
