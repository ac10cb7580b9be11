//! What is harvested, against what the rules say of everything.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::audit::Auditor;
use crate::audit::tests::{KEY, auditor, disabling, minutes, rotating, sweep};
use crate::model::{Fact, KeyArn};

const NOW: i64 = 5;

/// Harvests values as one input in an estate.
fn harvest_in(auditor: &Auditor, mark: Option<&str>, values: &[Value]) -> Vec<Part> {
    let look = |record: &EventRecord| {
        let facts = auditor.event_facts(record, minutes(NOW)).root;
        let key: Option<KeyArn> = match facts.at("event.key_arn") {
            Some(Fact::Text(arn)) => arn.parse().ok(),
            _ => None,
        };
        Looked { facts, may_become_known: key.is_some_and(|key| auditor.may_become_known(&key)) }
    };
    let tools = Tools { rules: &auditor.standards().rules, look: &look, limits: Limits::default() };
    let mut parts = Vec::new();
    harvest_values(mark, values, tools, &mut Memo::default(), &mut |part| parts.push(part));
    parts
}

/// An estate that knows one key, in Frankfurt.
fn estate() -> Auditor {
    let mut auditor = auditor();
    auditor.take(&sweep(vec![rotating(true)], 0));
    auditor
}

fn decrypt(id: u32, key: &str, more: &Value) -> Value {
    let mut record = json!({
        "eventVersion": "1.11", "eventID": format!("{id:08x}-0000-4000-8000-000000000000"),
        "eventName": "Decrypt", "eventSource": "kms.amazonaws.com", "eventTime": "2026-03-01T12:00:00Z",
        "awsRegion": "eu-central-1", "readOnly": true, "recipientAccountId": "111122223333",
        "userIdentity": { "type": "IAMUser", "accountId": "111122223333", "arn": "arn:aws:iam::111122223333:user/eve" },
        "requestParameters": { "encryptionContext": { "SecretARN": "x" } },
        "resources": [{ "ARN": key, "type": "AWS::KMS::Key", "accountId": "111122223333" }],
    });
    if let (Value::Object(record), Value::Object(more)) = (&mut record, more) {
        record.extend(more.clone());
    }
    record
}

fn ids(events: &[EventRecord]) -> BTreeSet<&str> {
    events.iter().map(EventRecord::id).collect()
}

#[test]
fn an_event_that_violates_nothing_is_counted_and_dropped() {
    let parts = harvest_in(&estate(), Some("f"), &[decrypt(1, KEY, &json!({}))]);
    let [part] = &parts[..] else { panic!("{} parts", parts.len()) };
    assert!(part.events.is_empty());
    assert_eq!((part.counts.events, part.counts.kms_events, part.counts.malformed), (1, 1, 0));
    assert_eq!(part.marks, ["f"]);
    assert!(part.counts.undecided.is_empty());
}

#[test]
fn what_a_rule_may_be_about_is_kept() {
    let denied = decrypt(1, KEY, &json!({ "errorCode": "AccessDenied" }));
    let changing = disabling("e2", 1).into_record();
    let parts = harvest_in(&estate(), Some("f"), &[denied, changing, decrypt(3, KEY, &json!({}))]);
    assert_eq!(parts[0].events.len(), 2);
}

#[test]
fn a_use_of_a_key_that_nobody_will_know_is_undecided_and_one_that_may_be_read_is_kept() {
    let foreign = KEY.replace("111122223333", "999999999999");
    let here = KEY.replace("key/", "key/f");
    let auditor = estate();
    let parts =
        harvest_in(&auditor, Some("f"), &[decrypt(1, &foreign, &json!({})), decrypt(2, &here, &json!({}))]);
    let known_place = auditor.regions().next().is_some();
    assert_eq!(parts[0].events.len(), usize::from(known_place), "only where its Region is audited");
    assert_eq!(parts[0].counts.undecided["key-used-outside-boundary"], 2 - u64::from(known_place));
}

#[test]
fn a_broken_record_costs_only_itself() {
    let broken = decrypt(2, KEY, &json!({ "eventTime": "yesterday" }));
    let parts =
        harvest_in(&estate(), Some("f"), &[decrypt(1, KEY, &json!({})), broken, decrypt(3, KEY, &json!({}))]);
    assert_eq!((parts[0].counts.events, parts[0].counts.malformed), (2, 1));
    assert_eq!(parts[0].counts.problems[0].place.index, 1);
}

#[test]
fn the_part_in_which_an_input_fails_is_not_handed_over() {
    struct Failing<'a>(&'a [u8]);
    impl Read for Failing<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() { Err(io::ErrorKind::ConnectionReset.into()) } else { self.0.read(buffer) }
        }
    }
    let auditor = estate();
    let look = |_: &EventRecord| Looked { facts: Fact::map::<String>([]), may_become_known: false };
    let tools = Tools { rules: &auditor.standards().rules, look: &look, limits: Limits::default() };
    let text = json!({ "Records": [decrypt(1, KEY, &json!({}))] }).to_string();
    let mut parts = 0;
    let ended =
        harvest(Some("f"), Failing(text.as_bytes()), tools, &mut Memo::default(), &mut |_| parts += 1);
    assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(parts, 0);
}

#[test]
fn a_repetition_is_taken_out_of_everything() {
    let twice = decrypt(1, KEY, &json!({ "errorCode": "AccessDenied" }));
    let mut parts = harvest_in(&estate(), Some("f"), &[twice.clone(), decrypt(2, KEY, &json!({})), twice]);
    parts[0].drop_seen(|_, prints| prints.iter().map(|_| true).collect());
    assert_eq!((parts[0].counts.duplicates, parts[0].events.len()), (1, 1));
    assert_eq!(uses(&mut parts[0]), 2);
    let mut again = harvest_in(&estate(), Some("g"), &[decrypt(2, KEY, &json!({}))]);
    again[0].drop_seen(|_, prints| prints.iter().map(|_| false).collect());
    assert_eq!((again[0].counts.duplicates, uses(&mut again[0])), (1, 0));
}

fn uses(part: &mut Part) -> u64 {
    let deltas = std::mem::take(&mut part.tally).finish();
    deltas.usage.iter().map(|(_, count)| count.count).sum()
}

/// Events of every kind that the built-in rules are about, as their own exemplars have them.
fn exemplary() -> Vec<Value> {
    let auditor = auditor();
    let exemplars = auditor.standards().rules.rules().iter().flat_map(|rule| &rule.exemplars);
    exemplars.filter_map(|exemplar| exemplar.event.clone()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Whatever the rules find in all events, they find in those that are kept.
    #[test]
    fn nothing_is_dropped_in_which_the_rules_find_something(
        picks in proptest::collection::vec((any::<prop::sample::Index>(), 0_u8..6), 1..60),
    ) {
        let events = exemplary();
        let values: Vec<Value> = picks
            .iter()
            .enumerate()
            .map(|(at, (pick, twist))| {
                let mut event = pick.get(&events).clone();
                event["eventID"] = json!(format!("{at:08x}-0000-4000-8000-000000000000"));
                match twist {
                    0 => event["errorCode"] = json!("AccessDenied"),
                    1 => event["resources"] = json!([{ "ARN": KEY }]),
                    2 => event["resources"] = json!(null),
                    3 => event["awsRegion"] = json!("us-east-1"),
                    _ => {}
                }
                event
            })
            .collect();
        let auditor = estate();
        let records: Vec<EventRecord> =
            values.iter().filter_map(|value| EventRecord::new(value.clone()).ok()).collect();
        let all = auditor.detect(&records, minutes(NOW));
        let parts = harvest_in(&auditor, Some("f"), &values);
        let kept = auditor.detect(&parts[0].events, minutes(NOW));
        let found = |detected: &crate::audit::Detected<'_>| -> BTreeSet<(String, String)> {
            detected.found.iter().map(|(verdict, event)| (verdict.rule.clone(), event.id().to_owned())).collect()
        };
        prop_assert_eq!(found(&all), found(&kept));
        prop_assert!(ids(&parts[0].events).len() == parts[0].events.len());
    }
}
