//! Event rules over CloudTrail records.

use serde_json::json;

use super::*;

fn detected(rules: &RuleSet, event: &EventRecord, enrichment: &Json) -> Vec<(String, Outcome)> {
    rules
        .detect(&facts(SubjectKind::Event, Fact::from(enrichment)), event)
        .into_iter()
        .map(|verdict| (verdict.rule, verdict.outcome))
        .collect()
}

/// Whether a selection finds a record.
fn finds(selection: &str, event: &EventRecord) -> bool {
    let rule = event_rule("test", &format!("    selection: {selection}\n    condition: selection\n"));
    let rules = RuleSet::compile(&[rule], &[]).unwrap();
    !detected(&rules, event, &json!({})).is_empty()
}

#[test]
fn an_event_meets_the_rules_of_its_source_and_name() {
    let rules = RuleSet::compile(
        &[
            event_rule("both", "    s: { eventSource: kms.amazonaws.com, eventName: [ReplicateKey, CreateKey] }\n    condition: s"),
            event_rule("name", "    s: { eventName: ReplicateKey }\n    condition: s"),
            event_rule("source", "    s: { eventSource: kms.amazonaws.com }\n    condition: s"),
            event_rule("any", "    s: { eventName|startswith: Replicate }\n    condition: s"),
            event_rule("other", "    s: { eventSource: s3.amazonaws.com, eventName: ReplicateKey }\n    condition: s"),
        ],
        &[],
    )
    .unwrap();
    let names = |event: &EventRecord| -> Vec<String> {
        detected(&rules, event, &json!({})).into_iter().map(|(rule, _)| rule).collect()
    };
    assert_eq!(names(&record("ReplicateKey", &json!({}))), ["any", "both", "name", "source"]);
    assert_eq!(names(&record("Decrypt", &json!({}))), ["source"]);
    assert_eq!(names(&record("replicatekey", &json!({}))), ["any", "both", "name", "source"]);
}

#[test]
fn only_what_a_rule_could_match_is_wanted() {
    let two = [
        event_rule(
            "a",
            "    s: { eventSource: kms.amazonaws.com }\n    f: { eventName: [DisableKey, EnableKey] }\n    condition: s and f",
        ),
        event_rule(
            "b",
            "    s1: { eventName: StopLogging }\n    s2: { eventName: PutEventSelectors, eventSource: cloudtrail.amazonaws.com }\n    condition: 1 of s*",
        ),
    ];
    let rules = RuleSet::compile(&two, &[]).unwrap();
    assert!(rules.wants("kms.amazonaws.com", "DisableKey"));
    assert!(rules.wants("KMS.amazonaws.com", "enablekey"));
    assert!(!rules.wants("kms.amazonaws.com", "Decrypt"));
    assert!(!rules.wants("s3.amazonaws.com", "DisableKey"));
    assert!(rules.wants("cloudtrail.amazonaws.com", "StopLogging"));
    assert!(rules.wants("cloudtrail.amazonaws.com", "PutEventSelectors"));

    let negated = event_rule("c", "    s: { eventName: DisableKey }\n    condition: not s");
    let rules = RuleSet::compile(&[negated], &[]).unwrap();
    assert!(rules.wants("s3.amazonaws.com", "GetObject"), "nothing can be proven of a negation");
}

#[test]
fn the_record_and_what_we_know_of_it_are_one_document() {
    let rule = event_rule(
        "outside",
        "    s: { eventName: ReplicateKey, target.outside: true, event.succeeded: 'true' }\n    condition: s",
    );
    let rules = RuleSet::compile(&[rule], &[]).unwrap();
    let event = record("ReplicateKey", &json!({}));
    let enriched =
        |outside: bool| json!({ "target": { "outside": outside }, "event": { "succeeded": true } });
    assert_eq!(detected(&rules, &event, &enriched(true)), [("outside".to_owned(), Outcome::Fail)]);
    assert_eq!(detected(&rules, &event, &enriched(false)), []);
}

#[test]
fn what_cannot_be_told_of_an_event_is_reported() {
    let rule =
        event_rule("outside", "    s: { eventName: ReplicateKey, target.outside: true }\n    condition: s");
    let rules = RuleSet::compile(&[rule], &[]).unwrap();
    let unknown =
        Fact::map([("target", Fact::map([("outside", Fact::Unknown("kms:DescribeKey denied".to_owned()))]))]);
    let verdicts = rules.detect(&facts(SubjectKind::Event, unknown), &record("ReplicateKey", &json!({})));
    assert_eq!(verdicts[0].outcome, Outcome::Unknown);
    assert_eq!(verdicts[0].reasons, ["kms:DescribeKey denied"]);
}

#[test]
fn records_are_walked_through_lists() {
    let event = record(
        "Decrypt",
        &json!({
            "resources": [{ "ARN": "arn:aws:kms:eu-central-1:111122223333:key/1", "type": "AWS::KMS::Key" }, { "ARN": "other" }],
            "requestParameters": { "grantTokens": [], "items": [{ "cidrIp": "0.0.0.0/0" }, { "cidrIp": "10.0.0.0/8" }] },
        }),
    );
    assert!(finds("{ resources.ARN|endswith: key/1 }", &event));
    assert!(finds("{ resources.type: AWS::KMS::Key }", &event));
    assert!(finds("{ requestParameters.items.cidrIp: [0.0.0.0/0, '::/0'] }", &event));
    assert!(!finds("{ resources.ARN: key/1 }", &event));
}

#[test]
fn values_of_every_kind_are_compared() {
    let event = record(
        "Decrypt",
        &json!({
            "errorCode": "AccessDenied",
            "readOnly": true,
            "requestParameters": { "bypassPolicyLockoutSafetyCheck": "true", "pendingWindowInDays": 7, "empty": "" },
            "recipientAccountId": "012345671234",
        }),
    );
    for selection in [
        "{ readOnly: true }",
        "{ readOnly: 'True' }",
        "{ requestParameters.bypassPolicyLockoutSafetyCheck: true }",
        "{ requestParameters.pendingWindowInDays: 7 }",
        "{ requestParameters.pendingWindowInDays: '7' }",
        "{ requestParameters.pendingWindowInDays|lt: 30 }",
        "{ requestParameters.pendingWindowInDays|neq: 30 }",
        "{ recipientAccountId: 012345671234 }",
        "{ errorCode: accessdenied }",
        "{ errorCode|re: '^Access' }",
        "{ errorCode|re|i: '^access' }",
        "{ errorCode: '*Den?ed' }",
        "{ sourceIPAddress|cidr: [10.0.0.0/8, 198.51.100.0/24] }",
        "{ eventTime|hour|gte: 22 }",
        "{ userAgent|contains|all: [aws-cli, replicate-key] }",
        "{ userAgent|contains|windash: ' /md' }",
        "{ requestParameters.empty: '' }",
        "{ responseElements: null }",
        "[ AccessDenied ]",
        "[ nothing, accessden ]",
        "[ pendingWindow ]",
        "{ '|all': [ AccessDenied, 198.51.100 ] }",
        "[ { errorCode: x }, { eventName: Decrypt, readOnly: true } ]",
    ] {
        let expected = !selection.contains("/md");
        assert_eq!(finds(selection, &event), expected, "{selection}");
    }
    for selection in [
        "{ requestParameters.pendingWindowInDays|gt: 7 }",
        "{ errorCode|re: '^access' }",
        "{ errorCode|cased: accessdenied }",
        "{ sourceIPAddress|cidr: 10.0.0.0/8 }",
        "{ errorCode: '' }",
        "{ errorCode: null }",
        "[ nothing, nowhere ]",
        "{ userAgent|contains|all: [aws-cli, boto3] }",
    ] {
        assert!(!finds(selection, &event), "{selection}");
    }
}

#[test]
fn encoded_values_are_found() {
    let with = |text: &str| record("X", &json!({ "requestParameters": { "userData": text } }));
    // printf 'xx curl http://' | base64
    let event = with("eHggY3VybCBodHRwOi8v");
    assert!(finds("{ requestParameters.userData|base64offset|contains: 'curl http' }", &event));
    assert!(!finds("{ requestParameters.userData|base64offset|contains: 'wget http' }", &event));
    assert!(finds("{ requestParameters.userData|base64: 'xx curl http://' }", &event));
    // 'curl' in UTF-16LE, in base64
    assert!(finds("{ requestParameters.userData|wide|base64: curl }", &with("YwB1AHIAbAA=")));
    assert!(finds("{ requestParameters.userData|utf16be|base64: curl }", &with("AGMAdQByAGw=")));
    for dash in ["-", "/", "–"] {
        let event = with(&format!("cmd {dash}enc x"));
        assert!(finds("{ requestParameters.userData|windash|contains: ' -enc' }", &event), "{dash}");
    }
}

const DENIED: &str = r#"
title: KMS Key Replication Denied
id: 7c5a41d3-6f3e-4d67-9d0a-3f6a2f1b7e22
status: stable
description: Somebody tried to replicate a key and was refused.
author: Keyward
logsource: { product: aws, service: cloudtrail }
detection:
    call: { eventSource: kms.amazonaws.com, eventName: ReplicateKey, event.denied: true }
    own: { event.own: true }
    condition: call and not own
falsepositives: [ A pipeline without the permission ]
level: medium
keyward:
    message: "{event.principal} was refused {eventName} of {event.key_arn} to {target.region}"
    remediation: Ask the principal.
    controls: { iso27001: ["A.8.15"] }
    group_by: [event.principal, event.key_set]
    exemplars:
        - name: refused
          expect: fail
          facts: { event: { denied: true, own: false, principal: "arn:aws:iam::111122223333:role/dev" }, target: { region: us-east-1 } }
          event: { eventSource: kms.amazonaws.com, eventName: ReplicateKey, errorCode: AccessDenied }
        - name: done
          expect: pass
          facts: { event: { denied: false, own: false } }
          event: { eventSource: kms.amazonaws.com, eventName: ReplicateKey }
        - name: not told whether it is us
          expect: unknown
          facts: { event: { denied: true } }
          unknown: [event.own]
          event: { eventSource: kms.amazonaws.com, eventName: ReplicateKey, errorCode: AccessDenied }
        - name: a record that lost its name
          expect: unknown
          facts: { event: { denied: true, own: false } }
          unknown: [eventName]
          event: { eventSource: kms.amazonaws.com, eventName: ReplicateKey }
"#;

#[test]
fn exemplars_of_events_are_run_on_records() {
    let rules = RuleSet::compile(&[file("key-replication-denied", DENIED)], &[]).unwrap();
    let results = RuleSet::run_exemplars(&rules.rules()[0]);
    assert_eq!(results.len(), 4);
    assert!(results.iter().all(ExemplarResult::passed), "{results:#?}");
    assert_eq!(
        results[0].message,
        "arn:aws:iam::111122223333:role/dev was refused ReplicateKey of ? to us-east-1"
    );
}

#[test]
fn detections_are_grouped_by_their_facts() {
    let rules = RuleSet::compile(&[file("key-replication-denied", DENIED)], &[]).unwrap();
    let enrichment = json!({ "event": { "denied": true, "own": false, "principal": "role/dev" } });
    let verdicts = rules.detect(
        &facts(SubjectKind::Event, Fact::from(&enrichment)),
        &record("ReplicateKey", &json!({ "errorCode": "AccessDenied" })),
    );
    assert_eq!(verdicts[0].group, ["role/dev", "?"]);
    assert_eq!(verdicts[0].evidence["eventName"], Fact::from("ReplicateKey"));
    assert_eq!(verdicts[0].evidence["event.denied"], Fact::Bool(true));
    assert!(!verdicts[0].evidence.contains_key("event.key_arn"));
}

#[test]
fn exemplars_of_the_sigma_tools_are_run_too() {
    let mut rule = event_rule("stopped", "    s: { eventName: StopLogging }\n    condition: s");
    rule.text.push_str(
        "rsigma.exemplars:\n  - { name: stopped, expect: match, event: { eventName: StopLogging } }\n  - { expect: no-match, event: { eventName: StartLogging } }\n",
    );
    let rules = RuleSet::compile(&[rule], &[]).unwrap();
    let results = RuleSet::run_exemplars(&rules.rules()[0]);
    assert_eq!(results.iter().map(|result| result.exemplar.as_str()).collect::<Vec<_>>(), ["stopped", "1"]);
    assert!(results.iter().all(ExemplarResult::passed));
}
