//! What rules send.

use serde_json::{Value, json};

use crate::sandbox::kms::tests::Lab;

const QUEUE: &str = "arn:aws:sqs:eu-central-1:111122223333:events";

/// A rule for KMS with a queue as its target.
fn lab_with_rule(state: &str, trail: bool) -> Lab {
    let mut lab = Lab::new();
    let pattern = json!({ "source": ["aws.kms"], "detail": { "eventSource": ["kms.amazonaws.com"] } });
    let rule = json!({ "Name": "kms", "State": state, "EventPattern": pattern.to_string() });
    lab.ask("sqs:CreateQueue", json!({ "QueueName": "events" })).unwrap();
    lab.ask("events:PutRule", rule).unwrap();
    let targets = json!({ "Rule": "kms", "Targets": [{ "Id": "q", "Arn": QUEUE }, { "Id": "x", "Arn": "arn:aws:lambda:x" }] });
    let put = lab.ask("events:PutTargets", targets).unwrap();
    assert_eq!((&put["FailedEntryCount"], &put["FailedEntries"][0]["TargetId"]), (&json!(1), &json!("x")));
    if trail {
        lab.ask("cloudtrail:CreateTrail", json!({ "Name": "main", "S3BucketName": "elsewhere" })).unwrap();
        lab.ask("cloudtrail:StartLogging", json!({ "Name": "main" })).unwrap();
    }
    lab
}

fn events(lab: &Lab) -> Vec<Value> {
    lab.world.sqs.bodies(QUEUE).iter().map(|body| serde_json::from_str(body).unwrap()).collect()
}

#[test]
fn calls_and_what_kms_does_of_itself_are_told_apart() {
    let mut lab = lab_with_rule("ENABLED", true);
    let key = lab.key(json!({}));
    lab.ok("DescribeKey", json!({ "KeyId": key }));
    lab.ok("ScheduleKeyDeletion", json!({ "KeyId": key, "PendingWindowInDays": 7 }));
    lab.within("us-east-1", |lab| lab.key(json!({})));
    lab.pass_days(8);
    lab.ok("ListKeys", json!({}));
    let events = events(&lab);
    let names: Vec<&Value> = events.iter().map(|event| &event["detail"]["eventName"]).collect();
    assert_eq!(names, ["CreateKey", "ScheduleKeyDeletion", "DeleteKey"], "no reads, and this Region only");
    assert_eq!(events[0]["detail-type"], "AWS API Call via CloudTrail");
    assert_eq!(events[2]["detail-type"], "AWS Service Event via CloudTrail");
    assert_eq!((&events[0]["source"], &events[0]["region"]), (&json!("aws.kms"), &json!("eu-central-1")));
    assert_eq!(events[0]["detail"], lab.record("eu-central-1", "CreateKey"));
}

#[test]
fn reads_come_if_the_rule_asks_for_them_and_nothing_without_a_trail() {
    for (state, trail, expected) in [
        ("ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS", true, 2),
        ("DISABLED", true, 0),
        ("ENABLED", false, 0),
    ] {
        let mut lab = lab_with_rule(state, trail);
        lab.key(json!({}));
        lab.ok("ListKeys", json!({}));
        assert_eq!(events(&lab).len(), expected, "{state} {trail}");
    }
}

#[test]
fn a_rule_that_there_is_not_has_no_targets() {
    let mut lab = lab_with_rule("ENABLED", true);
    let listed = lab.ask("events:ListRules", json!({})).unwrap();
    assert_eq!(listed["Rules"][0]["Arn"], "arn:aws:events:eu-central-1:111122223333:rule/kms");
    lab.ask("events:RemoveTargets", json!({ "Rule": "kms", "Ids": ["q"] })).unwrap();
    assert_eq!(lab.ask("events:ListTargetsByRule", json!({ "Rule": "kms" })).unwrap()["Targets"], json!([]));
    lab.ask("events:DeleteRule", json!({ "Name": "kms" })).unwrap();
    let error = lab.ask("events:ListTargetsByRule", json!({ "Rule": "kms" })).unwrap_err();
    assert_eq!(error.code, "ResourceNotFoundException");
    let broken = json!({ "Name": "x", "EventPattern": "{\"source\":[{\"prefix\":\"aws\"}]}" });
    assert_eq!(lab.ask("events:PutRule", broken).unwrap_err().code, "InvalidEventPatternException");
}
