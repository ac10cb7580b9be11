use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::{by, lookup, names};
use crate::sandbox::call::Principal;
use crate::sandbox::kms::tests::{Lab, role};

#[test]
fn every_attribute_finds_and_only_changes_of_keys_have_resources() {
    let mut lab = Lab::new();
    let key = lab.by("111122223333", role("Admin"), |lab| lab.key(json!({})));
    lab.ok("DescribeKey", json!({ "KeyId": key }));
    lab.ok("Encrypt", json!({ "KeyId": key, "Plaintext": "eA==" }));
    lab.ok("DisableKey", json!({ "KeyId": key }));
    let arn = lab.arn(&key);
    let all = lookup(&mut lab, json!({})).unwrap();
    assert_eq!(names(&all), ["DisableKey", "Encrypt", "DescribeKey", "CreateKey"]);
    let id = all["Events"][1]["EventId"].as_str().unwrap().to_owned();
    let access_key = all["Events"][3]["AccessKeyId"].as_str().unwrap().to_owned();
    for (attribute, value, found) in [
        ("EventId", id.as_str(), vec!["Encrypt"]),
        ("EventName", "DescribeKey", vec!["DescribeKey"]),
        ("ReadOnly", "false", vec!["DisableKey", "CreateKey"]),
        ("Username", "tester", vec!["CreateKey"]),
        ("AccessKeyId", access_key.as_str(), vec!["CreateKey"]),
        ("ResourceName", arn.as_str(), vec!["DisableKey", "CreateKey"]),
        ("ResourceName", key.as_str(), vec!["DisableKey", "CreateKey"]),
        ("ResourceType", "AWS::KMS::Key", vec!["DisableKey", "CreateKey"]),
        ("EventSource", "sts.amazonaws.com", vec![]),
    ] {
        assert_eq!(names(&lookup(&mut lab, by(attribute, value)).unwrap()), found, "{attribute}");
    }
    assert_eq!(all["Events"][1]["Resources"], json!([]));
    // The look-ups themselves are recorded too.
    assert!(names(&lookup(&mut lab, by("EventSource", "cloudtrail.amazonaws.com")).unwrap()).len() >= 10);
}

#[test]
fn bad_queries_get_the_documented_errors() {
    let mut lab = Lab::new();
    let two = json!([{ "AttributeKey": "EventName", "AttributeValue": "a" }, { "AttributeKey": "ReadOnly", "AttributeValue": "true" }]);
    for (input, code) in [
        (json!({ "LookupAttributes": two }), "InvalidLookupAttributesException"),
        (by("Color", "red"), "InvalidLookupAttributesException"),
        (by("EventName", &"_".repeat(1_001)), "InvalidLookupAttributesException"),
        (json!({ "MaxResults": 0 }), "InvalidMaxResultsException"),
        (json!({ "MaxResults": 51 }), "InvalidMaxResultsException"),
        (json!({ "StartTime": 1_795_435_200, "EndTime": 1_795_435_199 }), "InvalidTimeRangeException"),
        (json!({ "NextToken": "bogus" }), "InvalidNextTokenException"),
        (json!({ "EventCategory": "data" }), "InvalidEventCategoryException"),
    ] {
        assert_eq!(lookup(&mut lab, input.clone()), Err(code.to_owned()), "{input}");
    }
    assert_eq!(lookup(&mut lab, json!({ "EventCategory": "insight" })).unwrap()["Events"], json!([]));
}

#[test]
fn a_token_is_good_for_its_very_query_only() {
    let mut lab = Lab::new();
    for _ in 0..5 {
        lab.key(json!({}));
    }
    let query = json!({ "MaxResults": 2, "StartTime": 1_795_000_000, "EndTime": 1_795_435_200 });
    let token = lookup(&mut lab, query.clone()).unwrap()["NextToken"].clone();
    let with = |change: fn(&mut Value)| {
        let mut changed = query.clone();
        changed["NextToken"] = token.clone();
        change(&mut changed);
        changed
    };
    assert_eq!(names(&lookup(&mut lab, with(|_| {})).unwrap()).len(), 2);
    for moved in [
        with(|query| query["EndTime"] = json!(1_795_435_201)),
        with(|query| query["MaxResults"] = json!(3)),
        with(|query| query["LookupAttributes"] = by("EventName", "CreateKey")["LookupAttributes"].clone()),
    ] {
        assert_eq!(lookup(&mut lab, moved), Err("InvalidNextTokenException".to_owned()));
    }
    let elsewhere = lab.within("eu-west-1", |lab| lookup(lab, with(|_| {})));
    assert_eq!(elsewhere, Err("InvalidNextTokenException".to_owned()));
}

#[test]
fn pages_go_newest_first_and_miss_nothing_while_new_events_come() {
    let mut lab = Lab::new();
    for _ in 0..120 {
        lab.key(json!({}));
        lab.world.clock.advance(TimeDelta::milliseconds(300));
    }
    let mut seen = Vec::new();
    let mut input = by("EventName", "CreateKey");
    loop {
        let answer = lookup(&mut lab, input.clone()).unwrap();
        for event in answer["Events"].as_array().unwrap() {
            seen.push((event["EventTime"].as_i64().unwrap(), event["EventId"].as_str().unwrap().to_owned()));
        }
        // What comes in between does not disturb the pages.
        lab.key(json!({}));
        match answer.get("NextToken") {
            Some(token) => input["NextToken"] = token.clone(),
            None => break,
        }
    }
    assert_eq!(seen.len(), 120);
    assert_eq!(seen.iter().map(|(_, id)| id).collect::<BTreeSet<_>>().len(), 120);
    assert!(seen.is_sorted_by(|one, next| one.0 >= next.0));
}

#[test]
fn times_bound_what_is_found_and_the_history_ends_after_90_days() {
    let mut lab = Lab::new();
    lab.key(json!({}));
    lab.pass_days(10);
    lab.ok("ListKeys", json!({}));
    let first_day = json!({ "StartTime": 1_795_435_200, "EndTime": 1_795_435_200 });
    assert_eq!(names(&lookup(&mut lab, first_day.clone()).unwrap()), ["CreateKey"]);
    assert_eq!(
        names(&lookup(&mut lab, json!({ "StartTime": 1_795_435_201.5 })).unwrap()).last(),
        Some(&"ListKeys")
    );
    lab.pass_days(81);
    assert_eq!(names(&lookup(&mut lab, first_day).unwrap()), Vec::<&str>::new());
}

#[test]
fn records_can_come_late_out_of_order_and_twice() {
    let mut lab = Lab::new();
    lab.world.cloudtrail.delivery.delay = TimeDelta::minutes(5);
    lab.world.cloudtrail.delivery.jitter = TimeDelta::minutes(10);
    lab.world.cloudtrail.delivery.duplicates = 0.3;
    for _ in 0..60 {
        lab.key(json!({}));
        lab.world.clock.advance(TimeDelta::seconds(1));
    }
    let count = |lab: &mut Lab| {
        lookup(lab, by("EventName", "CreateKey")).unwrap()["Events"].as_array().unwrap().len()
    };
    assert_eq!(count(&mut lab), 0);
    lab.world.clock.advance(TimeDelta::minutes(10));
    let some = lookup(&mut lab, by("EventName", "CreateKey")).unwrap();
    assert!((1..50).contains(&names(&some).len()), "{}", names(&some).len());
    lab.world.clock.advance(TimeDelta::minutes(10));
    let mut copies = BTreeMap::<String, usize>::new();
    for record in lab.records("eu-central-1") {
        if record["eventName"] == "CreateKey" {
            *copies.entry(record["eventID"].as_str().unwrap().to_owned()).or_default() += 1;
        }
    }
    assert_eq!(copies.len(), 60);
    let twice = copies.values().filter(|copies| **copies == 2).count();
    assert!((5..=35).contains(&twice), "{twice}");
}

#[test]
fn a_history_forgets_its_oldest_beyond_its_size() {
    let mut lab = Lab::new();
    lab.world.cloudtrail.most_records = 10;
    for _ in 0..25 {
        lab.key(json!({}));
    }
    lab.within("eu-west-1", |lab| lab.key(json!({})));
    assert_eq!(names(&lookup(&mut lab, json!({})).unwrap()).len(), 10);
    assert_eq!(lab.records("eu-west-1").len(), 1);
}

#[test]
fn lookups_are_limited_to_two_a_second() {
    let mut lab = Lab::new();
    lab.world.quotas.enabled = true;
    assert!(lookup(&mut lab, json!({})).is_ok() && lookup(&mut lab, json!({})).is_ok());
    let error = lab.ask("cloudtrail:LookupEvents", json!({})).unwrap_err();
    assert_eq!((error.status, error.code.as_str()), (400, "ThrottlingException"));
    assert!(lab.within("eu-west-1", |lab| lookup(lab, json!({}))).is_ok());
    assert!(lab.by("222233334444", Principal::Root, |lab| lookup(lab, json!({}))).is_ok());
    lab.world.clock.advance(TimeDelta::seconds(1));
    assert!(lookup(&mut lab, json!({})).is_ok() && lookup(&mut lab, json!({})).is_ok());
    assert_eq!(lookup(&mut lab, json!({})), Err("ThrottlingException".to_owned()));
}
