//! Detections: findings that events cause.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::calls::{Calls, Record};
use super::settle::{apply_exceptions, from_verdict};
use super::{Exceptions, RESOLUTION, RuleBook, detection_id, resolved};
use crate::model::{
    EventRecord, Finding, FindingChange, FindingKind, FindingState, Outcome, Transition, Verdict,
};

/// The member of a detection's evidence that names its newest events.
pub const EVENT_IDS: &str = "event_ids";
/// The member that remembers the newest records, so that none counts twice.
pub const RECORDS: &str = "records";
/// How many event ids the evidence names.
const EVENT_IDS_KEPT: usize = 20;
/// How many records are remembered. A second record of a call that is older than all of these counts again;
/// that takes 128 newer calls between the delivery of the two.
const RECORDS_KEPT: usize = 128;

/// What a rule said of an event, and the event.
#[derive(Debug, Clone, Copy)]
pub struct Detection<'a> {
    /// The verdict; only failures detect.
    pub verdict: &'a Verdict,
    /// The event that it is about.
    pub event: &'a EventRecord,
}

/// What the detections of a batch change: one change for each finding, in the order of the findings' ids.
///
/// The same records in any order, over any number of batches, make the same finding: it shows what its newest
/// record shows, and counts calls rather than records. Two records tell of one call if they share an event
/// id, a `sharedEventID` (a call across accounts is recorded in both), a `requestID` (UpdatePrimaryRegion is
/// recorded in both Regions), or if one is an addendum to the other.
///
/// `previous` are the findings that the store has under the ids ([`detection_id`]) concerned; others are ignored.
/// A new call reopens a finding that was acknowledged or aged out.
pub fn detect(
    detections: &[Detection<'_>],
    rules: &impl RuleBook,
    previous: &[Finding],
    exceptions: &Exceptions,
    now: DateTime<Utc>,
) -> Vec<FindingChange> {
    let before: BTreeMap<&str, &Finding> =
        previous.iter().map(|finding| (finding.id.as_str(), finding)).collect();
    let mut groups: BTreeMap<String, Group<'_>> = BTreeMap::new();
    for detection in detections.iter().filter(|detection| detection.verdict.outcome == Outcome::Fail) {
        let id = id_of(detection.verdict);
        let known = before.get(id.as_str()).copied();
        groups.entry(id).or_insert_with(|| Group::of(known)).add(detection);
    }
    groups
        .into_iter()
        .filter_map(|(id, group)| {
            let was = before.get(id.as_str()).copied();
            let mut finding = group.finding(&id, rules)?;
            let transition = transition(&mut finding, was, exceptions, now);
            Some(FindingChange { finding, transition })
        })
        .collect()
}

/// The id of the finding that a failing verdict on an event belongs to.
///
/// Without a `group_by` the rule's events go together by key, or by account where no key is concerned.
pub fn id_of(verdict: &Verdict) -> String {
    if !verdict.group.is_empty() {
        return detection_id(&verdict.rule, &verdict.group);
    }
    let subject = &verdict.subject;
    let group = subject.key.as_ref().map_or_else(|| subject.account.to_string(), ToString::to_string);
    detection_id(&verdict.rule, &[group])
}

/// Ends a detection that someone has dealt with. None for posture, which only its repair ends, and for what
/// has ended already.
pub fn acknowledge(finding: &Finding, now: DateTime<Utc>) -> Option<FindingChange> {
    is_standing_detection(finding).then(|| resolved(finding, "acknowledged", now))
}

/// Ends the detections without a like event for longer than `max_age`.
pub fn age_out<'a>(
    findings: impl IntoIterator<Item = &'a Finding>,
    now: DateTime<Utc>,
    max_age: TimeDelta,
) -> Vec<FindingChange> {
    findings
        .into_iter()
        .filter(|finding| is_standing_detection(finding) && now - finding.last_seen > max_age)
        .map(|finding| resolved(finding, "aged out", now))
        .collect()
}

fn is_standing_detection(finding: &Finding) -> bool {
    finding.kind == FindingKind::Detection && finding.state != FindingState::Resolved
}

/// A finding, and the records that come to it.
struct Group<'a> {
    known: Option<&'a Finding>,
    life: Option<Life>,
    records: Vec<Record>,
    ids: BTreeSet<String>,
    calls: Calls,
    /// The newest record so far; none if the finding is new.
    newest: Option<Record>,
    /// What shows that record, if it came with this batch.
    shown: Option<Detection<'a>>,
    is_changed: bool,
}

/// What a finding has been through.
#[derive(Debug, Clone)]
struct Life {
    state: FindingState,
    first_seen: DateTime<Utc>,
    last_seen: DateTime<Utc>,
    resolved_at: Option<DateTime<Utc>>,
    opened_count: u64,
    event_count: u64,
}

impl<'a> Group<'a> {
    fn of(known: Option<&'a Finding>) -> Self {
        let records = known.map(records_of).unwrap_or_default();
        let mut calls = Calls::default();
        for record in &records {
            calls.add(record);
        }
        let life = known.map(|known| Life {
            state: known.state,
            first_seen: known.first_seen,
            last_seen: known.last_seen,
            resolved_at: known.resolved_at,
            opened_count: known.opened_count,
            event_count: known.event_count,
        });
        let ids = records.iter().map(|record| record.id.clone()).collect();
        let newest = records.iter().max().cloned();
        Self { known, life, records, ids, calls, newest, shown: None, is_changed: false }
    }

    /// Takes a record in, unless it is there already.
    fn add(&mut self, detection: &Detection<'a>) {
        if self.ids.contains(detection.event.id()) {
            return;
        }
        let record = Record::of(detection.event);
        let calls_before = self.calls.count();
        self.calls.add(&record);
        let time = detection.event.time();
        let life = self.life.get_or_insert(Life {
            state: FindingState::Open,
            first_seen: time,
            last_seen: time,
            resolved_at: None,
            opened_count: 1,
            event_count: 0,
        });
        life.count_call(time, calls_before, self.calls.count());
        if self.newest.as_ref().is_none_or(|newest| *newest < record) {
            self.newest = Some(record.clone());
            self.shown = Some(*detection);
        }
        self.ids.insert(record.id.clone());
        self.records.push(record);
        self.is_changed = true;
    }

    /// The finding as its newest record shows it; none if nothing came to it.
    fn finding(mut self, id: &str, rules: &impl RuleBook) -> Option<Finding> {
        let life = self.life.filter(|_| self.is_changed)?;
        let mut finding = match (self.shown, self.known) {
            (Some(detection), _) => from_verdict(detection.verdict, rules, FindingKind::Detection),
            (None, Some(known)) => known.clone(),
            (None, None) => return None,
        };
        id.clone_into(&mut finding.id);
        if let Some(known) = self.known {
            finding.exception.clone_from(&known.exception);
        }
        life.put(&mut finding);
        self.records.sort_unstable_by(|one, other| other.cmp(one));
        self.records.truncate(RECORDS_KEPT);
        let is_resolved = finding.state == FindingState::Resolved;
        let resolution = self.known.filter(|_| is_resolved).and_then(resolution_of);
        write_evidence(&mut finding.evidence, &self.records, resolution);
        Some(finding)
    }
}

impl Life {
    /// Counts a call that was not counted before; one that comes after the finding's end opens it again.
    fn count_call(&mut self, time: DateTime<Utc>, calls_before: u64, calls_after: u64) {
        self.event_count = (self.event_count + calls_after).saturating_sub(calls_before);
        if self.state == FindingState::Resolved && calls_after > calls_before {
            self.state = FindingState::Open;
            self.resolved_at = None;
            self.opened_count += 1;
            self.first_seen = time;
        }
        self.first_seen = self.first_seen.min(time);
        self.last_seen = self.last_seen.max(time);
    }

    fn put(self, finding: &mut Finding) {
        finding.state = self.state;
        finding.first_seen = self.first_seen;
        finding.last_seen = self.last_seen;
        finding.resolved_at = self.resolved_at;
        finding.opened_count = self.opened_count;
        finding.event_count = self.event_count;
    }
}

fn resolution_of(finding: &Finding) -> Option<Value> {
    finding.evidence.get(RESOLUTION).cloned()
}

fn records_of(finding: &Finding) -> Vec<Record> {
    let stored = finding.evidence.get(RECORDS).cloned().unwrap_or_default();
    serde_json::from_value(stored).unwrap_or_default()
}

fn write_evidence(evidence: &mut Value, records: &[Record], resolution: Option<Value>) {
    let Value::Object(map) = evidence else { return };
    let ids = records.iter().take(EVENT_IDS_KEPT).map(|record| Value::from(record.id.as_str()));
    map.insert(EVENT_IDS.to_owned(), ids.collect());
    map.insert(RECORDS.to_owned(), serde_json::to_value(records).unwrap_or_default());
    map.remove(RESOLUTION);
    map.extend(resolution.map(|reason| (RESOLUTION.to_owned(), reason)));
}

/// The step from what the store has to what the batch made of it.
fn transition(
    finding: &mut Finding,
    was: Option<&Finding>,
    exceptions: &Exceptions,
    now: DateTime<Utc>,
) -> Transition {
    if finding.state == FindingState::Resolved {
        return Transition::Refreshed;
    }
    let standing = was.filter(|was| was.state != FindingState::Resolved);
    let excepted = apply_exceptions(finding, exceptions, now);
    excepted.unwrap_or(match standing {
        None => Transition::Opened,
        Some(was) if finding.state == FindingState::Open && was.level < finding.level => {
            Transition::Escalated
        }
        Some(_) => Transition::Refreshed,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::findings::fixtures::{TestRule, at, rules, verdict};
    use crate::model::{Fact, Level};

    /// A record, made of its id, its time, its requestID and its sharedEventID.
    fn record(id: &str, seconds: i64, request: &str, shared: &str) -> EventRecord {
        EventRecord::new(json!({
            "eventID": id, "eventName": "DisableKey", "eventSource": "kms.amazonaws.com",
            "eventTime": at(seconds).to_rfc3339(), "requestID": request, "sharedEventID": shared,
        }))
        .unwrap()
    }

    fn plain(number: i64) -> EventRecord {
        record(&format!("event-{number:04}"), number, &format!("request-{number}"), "")
    }

    fn ruleset() -> BTreeMap<String, TestRule> {
        rules(&[("r", Level::High)])
    }

    fn verdict_on(event: &EventRecord) -> Verdict {
        let mut verdict = verdict("r", Outcome::Fail);
        verdict.group = vec!["a key".to_owned()];
        verdict.message = format!("seen in {}", event.id());
        verdict.evidence.insert("event.id".to_owned(), Fact::from(event.id()));
        verdict
    }

    /// Detects batches of records one after the other; gives the finding and the steps.
    fn run(batches: &[&[EventRecord]]) -> (Finding, Vec<Transition>) {
        let mut stored: Vec<Finding> = Vec::new();
        let mut steps = Vec::new();
        for batch in batches {
            let verdicts: Vec<Verdict> = batch.iter().map(verdict_on).collect();
            let detections: Vec<_> =
                verdicts.iter().zip(*batch).map(|(verdict, event)| Detection { verdict, event }).collect();
            let changes = detect(&detections, &ruleset(), &stored, &Exceptions::default(), at(9_000));
            assert!(changes.len() <= 1);
            for change in changes {
                steps.push(change.transition);
                stored = vec![change.finding];
            }
        }
        (stored.pop().unwrap(), steps)
    }

    #[test]
    fn like_events_are_one_finding() {
        let (finding, steps) = run(&[&[plain(5)], &[plain(9), plain(2)]]);
        assert_eq!(steps, [Transition::Opened, Transition::Refreshed]);
        assert_eq!((finding.event_count, finding.opened_count), (3, 1));
        assert_eq!((finding.first_seen, finding.last_seen), (at(2), at(9)));
        assert_eq!(finding.evidence[EVENT_IDS], json!(["event-0009", "event-0005", "event-0002"]));
        assert_eq!(finding.evidence["event.id"], "event-0009", "it shows its newest event");
        assert_eq!(finding.message, "seen in event-0009");
        assert_eq!(
            (finding.kind, finding.id),
            (FindingKind::Detection, detection_id("r", &["a key".into()]))
        );
    }

    #[test]
    fn a_record_that_comes_again_changes_nothing() {
        let (finding, steps) = run(&[&[plain(1), plain(1)], &[plain(1)]]);
        assert_eq!((finding.event_count, steps.len()), (1, 1));
    }

    #[test]
    fn two_records_of_one_call_count_once() {
        let across_accounts = [record("a", 1, "q1", "shared"), record("b", 1, "q2", "shared")];
        assert_eq!(run(&[&across_accounts]).0.event_count, 1);
        let in_both_regions = [record("a", 1, "q", ""), record("b", 2, "q", "")];
        let (finding, steps) = run(&[&in_both_regions[..1], &in_both_regions[1..]]);
        assert_eq!((finding.event_count, steps), (1, vec![Transition::Opened, Transition::Refreshed]));
        assert_eq!(finding.evidence[EVENT_IDS], json!(["b", "a"]), "both can be looked up");
        let correction = EventRecord::new(json!({
            "eventID": "c", "eventName": "DisableKey", "eventSource": "kms.amazonaws.com",
            "eventTime": at(1).to_rfc3339(), "addendum": { "reason": "UPDATED_DATA", "originalEventID": "a" },
        }));
        assert_eq!(run(&[&[record("a", 1, "q", ""), correction.unwrap()]]).0.event_count, 1);
        let unrelated = [record("a", 1, "", ""), record("b", 1, "", "")];
        assert_eq!(run(&[&unrelated]).0.event_count, 2, "empty ids relate nothing");
    }

    #[test]
    fn what_is_remembered_is_bounded_and_what_is_counted_is_not() {
        let flood: Vec<EventRecord> = (0..1_000).map(plain).collect();
        let (finding, _) = run(&[&flood]);
        assert_eq!(finding.event_count, 1_000);
        assert_eq!(finding.evidence[EVENT_IDS].as_array().unwrap().len(), 20);
        assert!(finding.evidence.to_string().len() < 30_000);
    }

    #[test]
    fn an_acknowledged_detection_opens_again_with_a_new_call_only() {
        let (finding, _) = run(&[&[record("a", 1, "q", "")]]);
        let acknowledged = acknowledge(&finding, at(50)).unwrap().finding;
        assert_eq!(acknowledge(&acknowledged, at(51)), None);
        let again = |event: &EventRecord| {
            let verdict = verdict_on(event);
            let detection = Detection { verdict: &verdict, event };
            let previous = std::slice::from_ref(&acknowledged);
            detect(&[detection], &ruleset(), previous, &Exceptions::default(), at(60)).pop().unwrap()
        };
        let twin = again(&record("b", 1, "q", ""));
        assert_eq!((twin.finding.state, twin.transition), (FindingState::Resolved, Transition::Refreshed));
        assert_eq!(twin.finding.evidence[RESOLUTION], "acknowledged");
        let fresh = again(&record("c", 55, "q3", ""));
        assert_eq!((fresh.finding.state, fresh.transition), (FindingState::Open, Transition::Opened));
        assert_eq!((fresh.finding.opened_count, fresh.finding.event_count), (2, 2));
        assert_eq!((fresh.finding.first_seen, fresh.finding.resolved_at), (at(55), None));
        assert_eq!(fresh.finding.evidence.get(RESOLUTION), None);
    }

    #[test]
    fn a_detection_ages_out_after_its_last_event() {
        let (finding, _) = run(&[&[plain(0), plain(100)]]);
        let max_age = TimeDelta::seconds(1_000);
        assert_eq!(age_out([&finding], at(1_100), max_age), []);
        let aged = age_out([&finding], at(1_101), max_age);
        assert_eq!(aged[0].finding.evidence[RESOLUTION], "aged out");
        assert_eq!(age_out([&aged[0].finding], at(9_999), max_age), []);
        let posture = Finding { kind: FindingKind::Posture, ..finding };
        assert_eq!(age_out([&posture], at(9_999), max_age), []);
        assert_eq!(acknowledge(&posture, at(9_999)), None, "only its repair ends posture");
    }

    #[test]
    fn only_failures_detect() {
        let event = plain(1);
        let verdict = Verdict { outcome: Outcome::Unknown, ..verdict_on(&event) };
        let detection = Detection { verdict: &verdict, event: &event };
        assert_eq!(detect(&[detection], &ruleset(), &[], &Exceptions::default(), at(1)), []);
    }

    #[test]
    fn without_a_group_events_go_together_by_key() {
        let ungrouped = Verdict { group: Vec::new(), ..verdict_on(&plain(1)) };
        let other_key = Verdict { subject: crate::findings::fixtures::key_subject(2), ..ungrouped.clone() };
        let mut no_key = ungrouped.clone();
        no_key.subject.key = None;
        let ids: BTreeSet<String> = [&ungrouped, &other_key, &no_key].map(id_of).into();
        assert_eq!(ids.len(), 3);
    }

    proptest! {
        /// Few ids, times, requests and shared ids, so that twins, repetitions and equal times abound.
        #[test]
        fn the_order_and_the_batches_do_not_matter(
            ids in proptest::collection::vec(0_u8..12, 1..40),
            order in any::<u64>(),
            cut in 0_usize..40,
        ) {
            // A record's id settles all else about it, as it does at AWS.
            let records: Vec<EventRecord> = ids
                .into_iter()
                .map(|id| {
                    let shared = if id % 3 == 0 { format!("s{}", id % 4) } else { String::new() };
                    record(&format!("e{id}"), i64::from(id % 5), &format!("q{}", id % 7), &shared)
                })
                .collect();
            let mut shuffled = records.clone();
            let mut state = order | 1;
            for index in (1..shuffled.len()).rev() {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let other = usize::try_from(state >> 33).unwrap() % (index + 1);
                shuffled.swap(index, other);
            }
            let (first, second) = shuffled.split_at(cut.min(shuffled.len()));
            let (at_once, _) = run(&[&records]);
            let (in_parts, _) = run(&[first, second]);
            prop_assert_eq!(at_once, in_parts);
        }
    }
}
