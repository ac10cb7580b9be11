//! What events mean together: matches and what is remembered of earlier ones become findings.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use super::Auditor;
use crate::findings::{self, Detection, EVENT_IDS, RECORDS, RESOLUTION};
use crate::model::{
    Changes, CorrelationKey, CorrelationState, EventRecord, Finding, FindingChange, Remembered, Verdict,
};
use crate::rules::{Correlated, Match};

/// What a round of correlation finds, and what it leaves to be done.
#[derive(Debug, Default)]
pub struct Correlations {
    /// What is to be remembered, in place of what was.
    pub states: Vec<CorrelationState>,
    /// Matches for correlations of correlations: the next round takes them.
    pub further: Vec<Match>,
    /// How many events were forgotten since there are too many of a group.
    pub dropped: u64,
    /// What correlation rules say, and of which events.
    told: Vec<(Verdict, Vec<EventRecord>)>,
}

impl Correlations {
    /// The ids of the findings that it is about.
    pub fn finding_ids(&self) -> Vec<String> {
        let ids: BTreeSet<String> = self.told.iter().map(|(verdict, _)| findings::id_of(verdict)).collect();
        ids.into_iter().collect()
    }

    /// What correlation rules say, each with the newest of its events.
    pub fn told(&self) -> impl Iterator<Item = (&Verdict, &EventRecord)> {
        self.told.iter().filter_map(|(verdict, events)| {
            Some((verdict, events.iter().max_by_key(|event| (event.time(), event.id().to_owned()))?))
        })
    }
}

impl Auditor {
    /// The groups whose states a round of matches needs.
    pub fn correlated(matches: &[Match]) -> BTreeSet<CorrelationKey> {
        matches.iter().map(|one| one.key.clone()).collect()
    }

    /// Adds a batch's matches to what is remembered of their groups.
    ///
    /// `states` are those that the store has of [`Self::correlated`], read in the transaction that will write
    /// what this gives.
    pub fn correlate(
        &self,
        matches: Vec<Match>,
        states: Vec<CorrelationState>,
        now: DateTime<Utc>,
    ) -> Correlations {
        let mut known: BTreeMap<CorrelationKey, CorrelationState> =
            states.into_iter().map(|state| (state.key.clone(), state)).collect();
        let mut groups: BTreeMap<CorrelationKey, Vec<Match>> = BTreeMap::new();
        for one in matches {
            groups.entry(one.key.clone()).or_default().push(one);
        }
        let mut result = Correlations::default();
        for (key, matches) in groups {
            let known = known.remove(&key);
            let Some(correlated) = self.standards.rules.correlate(&key, known, &matches, now) else {
                continue;
            };
            let Correlated { state, verdict, told, further, dropped } = correlated;
            result.states.push(state);
            result.further.extend(further);
            result.dropped += dropped;
            let events = told.iter().filter_map(record_of).collect();
            result.told.extend(verdict.map(|verdict| (verdict, events)));
        }
        result
    }

    /// What becomes of the findings of a round. `previous` are those that there are of
    /// [`Correlations::finding_ids`].
    pub fn tell(&self, round: &Correlations, previous: &[Finding], now: DateTime<Utc>) -> Changes {
        let detections: Vec<Detection<'_>> = round
            .told
            .iter()
            .flat_map(|(verdict, events)| events.iter().map(move |event| Detection { verdict, event }))
            .collect();
        let by_id: BTreeMap<String, &Verdict> =
            round.told.iter().map(|(verdict, _)| (findings::id_of(verdict), verdict)).collect();
        let mut changes = self.settle_detections(&detections, previous, now);
        for change in &mut changes.findings {
            if let Some(verdict) = by_id.get(&change.finding.id) {
                show(change, verdict);
            }
        }
        changes
    }
}

/// A group is shown as it is now, also when what came is older than its newest event.
fn show(change: &mut FindingChange, verdict: &Verdict) {
    let finding = &mut change.finding;
    finding.subject.clone_from(&verdict.subject);
    finding.message.clone_from(&verdict.message);
    let (Value::Object(evidence), Ok(Value::Object(shown))) =
        (&mut finding.evidence, serde_json::to_value(&verdict.evidence))
    else {
        return;
    };
    evidence.retain(|name, _| [EVENT_IDS, RECORDS, RESOLUTION].contains(&name.as_str()));
    evidence.extend(shown);
}

/// What is remembered of an event, as far as a finding looks at it.
fn record_of(event: &Remembered) -> Option<EventRecord> {
    let time = DateTime::from_timestamp_micros(event.at)?;
    EventRecord::new(json!({
        "eventID": event.event,
        "eventName": "correlated",
        "eventSource": "keyward",
        "eventTime": time.to_rfc3339_opts(SecondsFormat::Micros, true),
        "sharedEventID": event.call,
    }))
    .ok()
}
