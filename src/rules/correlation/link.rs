//! A correlation and the rules that it names become one.

use std::sync::Arc;

use chrono::TimeDelta;
use rsigma_parser::{ConditionExpr, Quantifier};

use super::found::hash;
use super::read::{Draft, Kind};
use super::window::{Condition, Presence};
use super::{Base, Correlation, Counted};
use crate::model::SubjectKind;
use crate::rules::document::Path;
use crate::rules::error::Problem;
use crate::rules::eval::Expr;
use crate::rules::keyward::Block;
use crate::rules::load::Meta;
use crate::rules::message::{LABELS, Message};
use crate::rules::rule::{Program, Rule};

/// What a message may say of a correlation beside the values of its group.
const SAID: [&str; 6] = ["count", "first", "last", "rules", "timespan", "values"];

/// The rule as it is listed: no event matches it by itself.
pub(super) fn shell(meta: Meta, block: Block, message: Message) -> Option<Rule> {
    let program = Program::new(None, Expr::Any([].into()), message, &[]);
    meta.into_rule(SubjectKind::Event, block, program)
}

/// The message of a correlation.
pub(super) fn message(
    block: &Block,
    title: &str,
    group_by: &[String],
    problems: &mut Vec<Problem>,
) -> Message {
    let Some((template, line)) = &block.message else {
        let title = title.replace('{', "{{").replace('}', "}}");
        let mut template = format!("{title}: {{count}} within {{timespan}}");
        for name in group_by {
            template.extend([", {", name, "}"]);
        }
        return Message::parse(&template).map_or_else(|_| Message::verbatim(&title), |(message, _)| message);
    };
    let known = || group_by.iter().map(String::as_str).chain(SAID);
    let help = || format!("name one of {}", known().chain(LABELS).collect::<Vec<_>>().join(", "));
    match Message::parse(template) {
        Ok((message, paths)) => {
            for path in paths.iter().filter(|path| !known().any(|name| name == path.as_str())) {
                let message = format!("`{path}` is not known of a correlation");
                problems.push(Problem::with_help(*line, message, help()));
            }
            message
        }
        Err(reason) => {
            problems.push(Problem::with_help(*line, reason, help()));
            Message::default()
        }
    }
}

/// Links a correlation with its rules, which are given in the order of its list.
pub(in crate::rules) fn link(draft: Draft, bases: &[&Rule]) -> Result<Rule, Vec<Problem>> {
    let mut problems = Vec::new();
    check_aliases(&draft, bases, &mut problems);
    let condition = condition(&draft, bases, &mut problems);
    let linked: Vec<Base> = bases
        .iter()
        .zip(&draft.rules)
        .map(|(base, (called, _))| Base {
            name: base.name.clone(),
            counted: match &base.correlation {
                Some(correlation) => Counted::Correlation(Arc::clone(correlation)),
                None => Counted::Rule(Box::new(base.program.clone())),
            },
            group_by: paths(&draft, &draft.group_by, base, called, &mut problems),
            fields: paths(&draft, &draft.fields, base, called, &mut problems),
        })
        .collect();
    let Some(condition) = condition.filter(|_| problems.is_empty()) else { return Err(problems) };
    let seconds = i64::try_from(draft.timespan.seconds).unwrap_or(i64::MAX);
    let span = TimeDelta::try_seconds(seconds).and_then(|span| span.num_microseconds()).unwrap_or(i64::MAX);
    let mut correlation = Correlation {
        bases: linked,
        group_by: draft.group_by.clone(),
        span,
        timespan: draft.timespan.original.clone(),
        condition,
        digest: String::new(),
    };
    correlation.digest = digest(&correlation, bases);
    let mut rule = draft.rule;
    rule.condition = correlation.words(&draft.fields);
    rule.selections = shown(&correlation);
    rule.correlation = Some(Arc::new(correlation));
    Ok(rule)
}

/// The lines that tell what is counted.
fn shown(correlation: &Correlation) -> Vec<(String, Vec<String>)> {
    let joint = if matches!(correlation.condition, Condition::Ordered(_)) { ", then " } else { ", " };
    let names: Vec<&str> = correlation.bases.iter().map(|base| base.name.as_str()).collect();
    let mut shown = vec![("rules".to_owned(), vec![names.join(joint)])];
    if !correlation.group_by.is_empty() {
        shown.push(("group-by".to_owned(), correlation.group_by.clone()));
    }
    shown
}

impl Correlation {
    fn words(&self, fields: &[String]) -> String {
        let timespan = &self.timespan;
        match &self.condition {
            Condition::Calls(count) => format!("{count} or more matches within {timespan}"),
            Condition::Values(count) => {
                format!("{count} or more distinct {} within {timespan}", fields.join(" with "))
            }
            Condition::Rules(presence) => format!("{} within {timespan}", self.presence(presence)),
            Condition::Ordered(_) => format!("all rules in their order within {timespan}"),
        }
    }

    fn presence(&self, presence: &Presence) -> String {
        let several = |parts: &[Presence], joint: &str| {
            let parts: Vec<String> = parts.iter().map(|part| self.presence(part)).collect();
            format!("({})", parts.join(joint))
        };
        match presence {
            Presence::AtLeast(count) if *count == self.bases.len() => "all rules".to_owned(),
            Presence::AtLeast(count) => format!("{count} or more of the rules"),
            Presence::Rule(place) => {
                self.bases.get(usize::from(*place)).map(|base| base.name.clone()).unwrap_or_default()
            }
            Presence::All(parts) => several(parts, " and "),
            Presence::Any(parts) => several(parts, " or "),
            Presence::Some(count, parts) => format!("{count} of {}", several(parts, ", ")),
        }
    }
}

/// Stable over restarts and versions, and another one when something else is counted.
fn digest(correlation: &Correlation, bases: &[&Rule]) -> String {
    let mut parts = vec![correlation.span.to_string(), format!("{:?}", correlation.condition)];
    for (base, rule) in correlation.bases.iter().zip(bases) {
        parts.push(base.name.clone());
        parts.extend(base.group_by.iter().chain(&base.fields).map(|path| path.name().to_owned()));
        parts.push(rule.applies.clone().unwrap_or_default());
        parts.push(rule.condition.clone());
        parts.extend(rule.selections.iter().map(|(name, lines)| format!("{name}: {}", lines.join(" and "))));
    }
    hash(parts.iter().map(String::as_str))
}

/// Whether a rule may be called like this.
pub(in crate::rules) fn is_called(rule: &Rule, called: &str) -> bool {
    rule.name == called || rule.alias.as_deref() == Some(called) || rule.id.as_deref() == Some(called)
}

fn check_aliases(draft: &Draft, bases: &[&Rule], problems: &mut Vec<Problem>) {
    for alias in &draft.aliases {
        let unknown = |called: &str| !bases.iter().any(|base| is_called(base, called));
        for (called, _, line) in alias.fields.iter().filter(|(called, _, _)| unknown(called)) {
            let message = format!("the alias `{}` is for `{called}`, which is not correlated", alias.name);
            let known = draft.rules.iter().map(|(name, _)| name.as_str());
            problems.push(Problem::unknown_word(*line, message, called, known));
        }
    }
}

/// The paths of some names in the events of a rule, aliases replaced.
fn paths(
    draft: &Draft,
    names: &[String],
    base: &Rule,
    called: &str,
    problems: &mut Vec<Problem>,
) -> Vec<Path> {
    let mut path = |name: &String| {
        let Some(alias) = draft.aliases.iter().find(|alias| alias.name == *name) else {
            return Path::new(name);
        };
        let field = alias.fields.iter().find(|(of, _, _)| of == called || is_called(base, of));
        if let Some((_, field, _)) = field {
            return Path::new(field);
        }
        let message = format!("the alias `{name}` names no field of `{called}`");
        let help = "say for each of the rules what it is called";
        problems.push(Problem::with_help(alias.line, message, help));
        Path::new(name)
    };
    names.iter().map(&mut path).collect()
}

fn condition(draft: &Draft, bases: &[&Rule], problems: &mut Vec<Problem>) -> Option<Condition> {
    Some(match draft.kind {
        Kind::EventCount => Condition::Calls(draft.at_least?),
        Kind::ValueCount => Condition::Values(draft.at_least?),
        Kind::TemporalOrdered => Condition::Ordered(u16::try_from(bases.len()).ok()?),
        Kind::Temporal => Condition::Rules(match &draft.expression {
            None => Presence::AtLeast(draft.at_least.unwrap_or(bases.len())),
            Some((expression, line)) => presence(expression, *line, draft, bases, problems)?,
        }),
    })
}

fn presence(
    expression: &ConditionExpr,
    line: u64,
    draft: &Draft,
    bases: &[&Rule],
    problems: &mut Vec<Problem>,
) -> Option<Presence> {
    let mut all = |parts: &[ConditionExpr]| {
        parts.iter().map(|part| presence(part, line, draft, bases, problems)).collect::<Option<Vec<_>>>()
    };
    match expression {
        ConditionExpr::And(parts) => all(parts).map(Presence::All),
        ConditionExpr::Or(parts) => all(parts).map(Presence::Any),
        ConditionExpr::Not(_) => {
            let message = "`not` cannot be told: an event that has not come may come late";
            problems.push(Problem::with_help(line, message, "ask for what has to be there"));
            None
        }
        ConditionExpr::Identifier(called) => {
            let place = bases
                .iter()
                .zip(&draft.rules)
                .position(|(base, (name, _))| name == called || is_called(base, called));
            let place = place.and_then(|place| u16::try_from(place).ok());
            if place.is_none() {
                let message = format!("the condition names `{called}`, which is not correlated");
                let known = draft.rules.iter().map(|(name, _)| name.as_str());
                problems.push(Problem::unknown_word(line, message, called, known));
            }
            place.map(Presence::Rule)
        }
        ConditionExpr::Selector { quantifier, pattern } => {
            let places: Vec<Presence> = (0_u16..)
                .zip(&draft.rules)
                .filter(|(_, (name, _))| pattern.matches_detection_name(name))
                .map(|(place, _)| Presence::Rule(place))
                .collect();
            let count = match quantifier {
                Quantifier::Any => 1,
                Quantifier::All => places.len(),
                Quantifier::Count(count) => usize::try_from(*count).unwrap_or(usize::MAX),
            };
            if count == 0 || count > places.len() {
                let message = format!("`{expression}` is asked of {} rules", places.len());
                problems.push(Problem::with_help(
                    line,
                    message,
                    "ask for at least one and no more than there are",
                ));
                return None;
            }
            Some(Presence::Some(count, places))
        }
    }
}
