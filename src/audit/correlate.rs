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

#[cfg(test)]
mod tests {
    use super::super::tests::{auditor, minutes};
    use super::*;
    use crate::model::{FindingState, Level, Transition};

    fn disabled(key: u32, minute: i64) -> EventRecord {
        EventRecord::new(json!({
            "eventID": format!("event-{key}-{minute}"), "eventName": "DisableKey",
            "eventSource": "kms.amazonaws.com", "eventTime": minutes(minute).to_rfc3339(),
            "awsRegion": "eu-central-1", "recipientAccountId": "111122223333",
            "userIdentity": { "type": "IAMUser", "arn": "arn:aws:iam::111122223333:user/m", "accountId": "111122223333" },
            "resources": [{ "type": "AWS::KMS::Key", "ARN": format!("arn:aws:kms:eu-central-1:111122223333:key/{key:08}") }],
        }))
        .unwrap()
    }

    /// One batch: what the pipeline does with it, but for the store.
    fn take(
        auditor: &mut Auditor,
        stored: &mut BTreeMap<CorrelationKey, CorrelationState>,
        events: &[EventRecord],
    ) -> Changes {
        let mut changes = Changes::default();
        let now = minutes(600);
        let found =
            |event: &EventRecord| auditor.standards.rules.find(&auditor.event_facts(event, now), event);
        let mut matches: Vec<Match> = events.iter().flat_map(|event| found(event).matches).collect();
        while !matches.is_empty() {
            let keys = Auditor::correlated(&matches);
            let states = keys.iter().filter_map(|key| stored.get(key)).cloned().collect();
            let mut round = auditor.correlate(matches, states, now);
            let previous: Vec<Finding> =
                round.finding_ids().iter().filter_map(|id| auditor.findings.get(id)).cloned().collect();
            let told = auditor.tell(&round, &previous, now);
            auditor.keep(&told.findings);
            changes.add(told);
            matches = std::mem::take(&mut round.further);
            stored.extend(round.states.into_iter().map(|state| (state.key.clone(), state)));
        }
        changes
    }

    #[test]
    fn what_events_mean_together_is_a_finding_that_lives_like_others() {
        let (mut auditor, mut stored) = (auditor(), BTreeMap::new());
        let four: Vec<EventRecord> = (0..4).map(|key| disabled(key, key.into())).collect();
        assert!(take(&mut auditor, &mut stored, &four).findings.is_empty());
        let changes = take(&mut auditor, &mut stored, &[disabled(9, 8)]);
        let [change] = changes.findings.as_slice() else { panic!("{changes:?}") };
        let finding = &change.finding;
        assert_eq!((change.transition, finding.level), (Transition::Opened, Level::Critical));
        assert_eq!(finding.message, "arn:aws:iam::111122223333:user/m put 5 keys out of use within 15m");
        assert_eq!((finding.event_count, finding.first_seen, finding.last_seen), (5, minutes(0), minutes(8)));
        assert_eq!(finding.evidence[EVENT_IDS].as_array().unwrap().len(), 5);
        assert_eq!(finding.evidence["event.principal"], "arn:aws:iam::111122223333:user/m");
        assert_eq!(changes.detected[&("mass-key-disablement".to_owned(), Level::Critical)], 5);

        assert!(take(&mut auditor, &mut stored, &four).findings.is_empty(), "a redelivery changes nothing");
        let late = take(&mut auditor, &mut stored, &[disabled(7, 5)]).findings.remove(0);
        assert_eq!(late.transition, Transition::Refreshed);
        assert_eq!((late.finding.event_count, late.finding.last_seen), (6, minutes(8)));
        assert!(late.finding.message.contains("put 6 keys"), "{}", late.finding.message);

        let acknowledged = auditor.acknowledge(&late.finding.id, minutes(601)).unwrap();
        assert_eq!(acknowledged.finding.state, FindingState::Resolved);
        let again = take(&mut auditor, &mut stored, &[disabled(8, 9)]).findings.remove(0);
        assert_eq!((again.transition, again.finding.opened_count), (Transition::Opened, 2));
    }
}
