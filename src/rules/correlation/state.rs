//! What a batch's matches make of what is remembered.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::window::{Condition, met, shown};
use super::{Correlation, Match};
use crate::model::{
    AccountId, CorrelationKey, CorrelationState, Fact, FactMap, Outcome, Region, Remembered, Subject,
    SubjectKind, Verdict,
};
use crate::rules::rule::Rule;

/// How many events of a group are remembered.
pub const MAX_MATCHES: usize = 10_000;

/// How many values the evidence names.
const VALUES_SHOWN: usize = 20;

/// For how long beyond its timespan a correlation waits for events that are late, and for other records of the
/// same time: events are remembered for this and the timespan, from their arrival on.
pub const LATENESS: TimeDelta = TimeDelta::hours(24);

/// What came of one group's matches.
#[derive(Debug)]
pub struct Correlated {
    /// What is to be remembered from now on.
    pub state: CorrelationState,
    /// What the rule says as of now; none if no event became part of a detection.
    pub verdict: Option<Verdict>,
    /// The events that became part of a detection, by time, each told once and for all.
    pub told: Vec<Remembered>,
    /// What is to be counted by the correlations that name this one.
    pub further: Vec<Match>,
    /// How many events were forgotten since there are too many.
    pub dropped: u64,
}

/// Adds matches of one group to what is remembered of it, none if nothing is, and says what follows.
///
/// The outcome of all batches together hangs on which events came and not on their order, as long as they come
/// within [`LATENESS`] of each other and are no more than [`MAX_MATCHES`]. Events that are remembered change
/// nothing when they come again.
pub(in crate::rules) fn take(
    rule: &Rule,
    correlation: &Correlation,
    key: CorrelationKey,
    known: Option<CorrelationState>,
    matches: &[Match],
    now: DateTime<Utc>,
) -> Correlated {
    let horizon = TimeDelta::microseconds(correlation.span).checked_add(&LATENESS).unwrap_or(TimeDelta::MAX);
    let arrived = now.timestamp_micros();
    let horizon = horizon.num_microseconds().unwrap_or(i64::MAX);
    let mut kept: BTreeMap<String, Remembered> = BTreeMap::new();
    for event in known.into_iter().flat_map(|state| state.matches) {
        if event.arrived.saturating_add(horizon) >= arrived {
            kept.insert(event.event.clone(), event);
        }
    }
    for found in matches {
        kept.entry(found.event.event.clone())
            .or_insert_with(|| Remembered { arrived, ..found.event.clone() });
    }
    let mut events: Vec<Remembered> = kept.into_values().collect();
    let dropped = drop_oldest(&mut events);
    events.sort();
    let (told, further) = tell(&correlation.condition, correlation.span, &mut events);
    let group = matches.first().map(|found| found.group.clone()).unwrap_or_default();
    let verdict = told.last().and_then(|_| verdict(rule, correlation, group, &events));
    let touched_at = events.iter().map(|event| event.arrived).max().unwrap_or(arrived);
    let expires_at = touched_at.saturating_add(horizon);
    let state = CorrelationState { key, touched_at, expires_at, matches: events };
    Correlated { state, verdict, told, further, dropped }
}

/// Forgets what arrived first, and of that the oldest.
fn drop_oldest(events: &mut Vec<Remembered>) -> u64 {
    let Some(too_many) = events.len().checked_sub(MAX_MATCHES).filter(|count| *count > 0) else { return 0 };
    events.sort_by(|one, other| (one.arrived, one).cmp(&(other.arrived, other)));
    events.drain(..too_many);
    too_many as u64
}

/// Marks what is part of a detection, and gives what was not before; beside it what is to be handed on.
fn tell(condition: &Condition, span: i64, events: &mut [Remembered]) -> (Vec<Remembered>, Vec<Match>) {
    let met = met(condition, span, events);
    let (mut told, mut further) = (Vec::new(), Vec::new());
    for (event, (is_part, is_end)) in events.iter_mut().zip(met.part.into_iter().zip(met.end)) {
        if is_part && !event.told {
            event.told = true;
            told.push(event.clone());
        }
        if is_end && !event.ended {
            event.ended = true;
            further.extend(Match::lifted(event));
        }
    }
    (told, further)
}

/// What the rule says, as the newest event that is part of a detection shows it.
fn verdict(
    rule: &Rule,
    correlation: &Correlation,
    group: Vec<String>,
    events: &[Remembered],
) -> Option<Verdict> {
    let newest = events.iter().rev().find(|event| event.told)?;
    let window = shown(&correlation.condition, correlation.span, events, newest.at);
    let named: Vec<&str> = window
        .rules
        .iter()
        .filter_map(|place| Some(correlation.bases.get(usize::from(*place))?.name.as_str()))
        .collect();
    let time = |micros| DateTime::from_timestamp_micros(micros).unwrap_or_default();
    let shown = |micros| Fact::from(time(micros).to_rfc3339_opts(chrono::SecondsFormat::Secs, true));
    let mut evidence: FactMap = correlation
        .group_by
        .iter()
        .cloned()
        .zip(group.iter().map(|value| Fact::from(value.as_str())))
        .collect();
    let own = [
        ("count", Fact::Int(i64::try_from(window.count).unwrap_or(i64::MAX))),
        ("timespan", Fact::from(correlation.timespan.as_str())),
        ("first", shown(window.first)),
        ("last", shown(window.last)),
        ("rules", Fact::texts(named)),
        ("values", Fact::texts(window.values.iter().copied().take(VALUES_SHOWN))),
    ];
    evidence.extend(
        own.into_iter()
            .filter(|(name, _)| *name != "values" || !window.values.is_empty())
            .map(|(name, fact)| (name.to_owned(), fact)),
    );
    let subject = Subject {
        kind: SubjectKind::Event,
        id: newest.event.clone(),
        account: newest.account.parse::<AccountId>().ok()?,
        region: newest.region.as_deref().and_then(|region| region.parse::<Region>().ok()),
        key_set: None,
        key: None,
        boundary: None,
    };
    Some(Verdict {
        rule: rule.name.clone(),
        message: rule.program.message.fill(Some(&subject), &nested(&evidence)),
        subject,
        outcome: Outcome::Fail,
        reasons: Vec::new(),
        evidence,
        group: if group.is_empty() { vec!["*".to_owned()] } else { group },
    })
}

/// Evidence by dotted names as facts inside each other, for the message.
fn nested(evidence: &FactMap) -> Fact {
    let mut root = FactMap::new();
    for (path, fact) in evidence {
        put(&mut root, path, fact);
    }
    Fact::Map(root)
}

fn put(map: &mut FactMap, path: &str, fact: &Fact) {
    let Some((first, rest)) = path.split_once('.') else {
        map.insert(path.to_owned(), fact.clone());
        return;
    };
    let below = map.entry(first.to_owned()).or_insert_with(|| Fact::Map(FactMap::new()));
    if let Fact::Map(below) = below {
        put(below, rest, fact);
    }
}
