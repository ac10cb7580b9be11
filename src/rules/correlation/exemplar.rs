//! The exemplars of a correlation: records all at once, and whether anything is found.

use std::collections::BTreeMap;

use chrono::DateTime;

use super::state::take;
use super::{Correlation, Counted, Match};
use crate::model::{EventRecord, Fact, Outcome};
use crate::rules::document::EventDocument;
use crate::rules::exemplar::ExemplarResult;
use crate::rules::rule::{Exemplar, Rule};

/// The account of a record that names none.
const NOBODY: &str = "000000000000";

/// Runs one exemplar of a correlation.
pub(in crate::rules) fn run_one(
    rule: &Rule,
    correlation: &Correlation,
    exemplar: &Exemplar,
) -> ExemplarResult {
    let events: Vec<(EventRecord, Fact)> = exemplar
        .events
        .iter()
        .filter_map(|(record, facts)| {
            Some((EventRecord::new(record.clone()).ok()?, Fact::Map(facts.clone())))
        })
        .collect();
    let message = message(rule, correlation, &events);
    // A record that is none would be left out, and the exemplar would test something else.
    let is_whole = events.len() == exemplar.events.len();
    let outcome = match &message {
        _ if !is_whole => Outcome::Unknown,
        Some(_) => Outcome::Fail,
        None => Outcome::Pass,
    };
    ExemplarResult {
        rule: rule.name.clone(),
        exemplar: exemplar.name.clone(),
        line: exemplar.line,
        expected: exemplar.expect,
        outcome,
        message: message.unwrap_or_default(),
        hidden_by_index: false,
    }
}

/// What the correlation says of the group that it finds, if any.
fn message(rule: &Rule, correlation: &Correlation, events: &[(EventRecord, Fact)]) -> Option<String> {
    let groups = groups(&rule.name, correlation, events);
    groups.into_values().find_map(|matches| {
        let key = matches.first()?.key.clone();
        let now = DateTime::from_timestamp_micros(matches.first()?.event.at)?;
        take(rule, correlation, key, None, &matches, now).verdict.map(|verdict| verdict.message)
    })
}

fn groups(
    rule: &str,
    correlation: &Correlation,
    events: &[(EventRecord, Fact)],
) -> BTreeMap<String, Vec<Match>> {
    let mut found: BTreeMap<(String, String), Match> = BTreeMap::new();
    for (place, base) in (0_u16..).zip(&correlation.bases) {
        let counted = match &base.counted {
            Counted::Rule(program) => {
                let outcome = |(record, facts): &&(EventRecord, Fact)| {
                    program.outcome(&EventDocument { record: record.record(), enrichment: facts })
                };
                events.iter().filter(|event| outcome(event) == Outcome::Fail).collect()
            }
            Counted::Correlation(inner) => completing(&base.name, inner, events),
        };
        for (record, facts) in counted {
            let document = EventDocument { record: record.record(), enrichment: facts };
            let Some(one) = correlation.found(rule, place, recorded_in(record), record, &document) else {
                continue;
            };
            let at = (one.key.group.clone(), one.event.event.clone());
            match found.get_mut(&at) {
                Some(known) => {
                    known.merge(one);
                }
                None => {
                    found.insert(at, one);
                }
            }
        }
    }
    let mut groups: BTreeMap<String, Vec<Match>> = BTreeMap::new();
    for ((group, _), one) in found {
        groups.entry(group).or_default().push(one);
    }
    groups
}

/// The events that complete a correlation.
fn completing<'e>(
    name: &str,
    correlation: &Correlation,
    events: &'e [(EventRecord, Fact)],
) -> Vec<&'e (EventRecord, Fact)> {
    let mut found = Vec::new();
    for matches in groups(name, correlation, events).into_values() {
        let mut remembered: Vec<_> = matches.into_iter().map(|one| one.event).collect();
        remembered.sort();
        let met = super::window::met(&correlation.condition, correlation.span, &remembered);
        let ends = remembered.iter().zip(met.end).filter(|(_, is_end)| *is_end);
        for (end, _) in ends {
            found.extend(events.iter().filter(|(record, _)| record.id() == end.event));
        }
    }
    found
}

/// The account and the Region that an exemplar's record is of.
fn recorded_in(record: &EventRecord) -> (&str, Option<&str>) {
    (record.text(&["recipientAccountId"]).unwrap_or(NOBODY), record.text(&["awsRegion"]))
}
