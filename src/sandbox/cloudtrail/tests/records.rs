use chrono::TimeDelta;
use serde_json::{Value, json};

use super::{by, lookup};
use crate::sandbox::call::Principal;
use crate::sandbox::identity::{Permissions, Role};
use crate::sandbox::kms::tests::{Lab, role};
use crate::sandbox::testing::{account, other_account};

#[test]
fn a_record_has_the_envelope_of_aws() {
    let mut lab = Lab::new();
    lab.by("111122223333", role("Admin"), |lab| lab.key(json!({ "Description": "x" })));
    let answer = lookup(&mut lab, by("EventName", "CreateKey")).unwrap();
    let event = &answer["Events"][0];
    assert_eq!((&event["Username"], &event["ReadOnly"]), (&json!("tester"), &json!("false")));
    assert_eq!(
        (&event["EventSource"], &event["EventTime"]),
        (&json!("kms.amazonaws.com"), &json!(1_795_435_200))
    );
    let record: Value = serde_json::from_str(event["CloudTrailEvent"].as_str().unwrap()).unwrap();
    for (member, expected) in [
        ("eventVersion", json!("1.11")),
        ("eventTime", json!("2026-11-23T12:00:00Z")),
        ("awsRegion", json!("eu-central-1")),
        ("sourceIPAddress", json!("127.0.0.1")),
        ("userAgent", json!("tests")),
        ("readOnly", json!(false)),
        ("managementEvent", json!(true)),
        ("eventType", json!("AwsApiCall")),
        ("eventCategory", json!("Management")),
        ("recipientAccountId", json!("111122223333")),
        ("eventID", event["EventId"].clone()),
    ] {
        assert_eq!(record[member], expected, "{member}");
    }
    let identity = &record["userIdentity"];
    assert_eq!(identity["type"], "AssumedRole");
    assert_eq!(identity["arn"], "arn:aws:sts::111122223333:assumed-role/Admin/tester");
    assert_eq!(identity["sessionContext"]["sessionIssuer"]["userName"], "Admin");
    assert_eq!(identity["accessKeyId"], event["AccessKeyId"]);
    assert_eq!(record["requestParameters"]["multiRegion"], false);
    assert_eq!(record["requestParameters"]["customerMasterKeySpec"], "SYMMETRIC_DEFAULT");
    assert!(record.get("sharedEventID").is_none() && record.get("errorCode").is_none());
}

#[test]
fn principals_are_told_apart() {
    let mut lab = Lab::new();
    for (principal, kind, username) in [
        (Principal::Root, "Root", json!("root")),
        (Principal::User { name: "ann".to_owned() }, "IAMUser", json!("ann")),
        (role("Admin"), "AssumedRole", json!("tester")),
        (Principal::Service { name: "s3.amazonaws.com".to_owned() }, "AWSService", Value::Null),
    ] {
        lab.by("111122223333", principal, |lab| lab.ok("ListKeys", json!({})));
        let event = lookup(&mut lab, by("EventName", "ListKeys")).unwrap()["Events"][0].clone();
        let record: Value = serde_json::from_str(event["CloudTrailEvent"].as_str().unwrap()).unwrap();
        assert_eq!((&record["userIdentity"]["type"], &event["Username"]), (&json!(kind), &username));
        lab.world.clock.advance(TimeDelta::seconds(1));
    }
}

#[test]
fn a_role_assumed_across_accounts_is_recorded_in_both_without_its_secret() {
    let mut lab = Lab::new();
    lab.world.identity.put_role(&other_account(), Role::new("Reader", &account()));
    let arn = "arn:aws:iam::222233334444:role/Reader";
    lab.ask("sts:AssumeRole", json!({ "RoleArn": arn, "RoleSessionName": "keyward" })).unwrap();
    let used = lab.record("eu-central-1", "AssumeRole");
    let owned = lab.by("222233334444", Principal::Root, |lab| lab.record("eu-central-1", "AssumeRole"));
    assert_eq!((&used["sharedEventID"], used["readOnly"].as_bool()), (&owned["sharedEventID"], Some(true)));
    assert_eq!(owned["userIdentity"]["type"], "AWSAccount");
    assert_eq!(
        used["resources"],
        json!([{ "accountId": "222233334444", "type": "AWS::IAM::Role", "ARN": arn }])
    );
    assert_eq!(used["requestParameters"]["roleSessionName"], "keyward");
    assert!(used["responseElements"]["credentials"]["accessKeyId"].as_str().unwrap().starts_with("ASIA"));
    assert!(!used.to_string().to_lowercase().contains("secretaccesskey"));
}

#[test]
fn a_call_that_iam_refuses_is_recorded_with_the_key_it_asked_for() {
    let mut lab = Lab::new();
    let permissions = Permissions::all_but(&["kms:GetKeyPolicy"]);
    lab.world.identity.put_role(&account(), Role { permissions, ..Role::new("Reader", &account()) });
    let key = lab.key(json!({}));
    lab.by("111122223333", role("Reader"), |lab| {
        assert_eq!(lab.code("GetKeyPolicy", json!({ "KeyId": key })), "AccessDeniedException");
    });
    let record = lab.record("eu-central-1", "GetKeyPolicy");
    assert_eq!(record["errorCode"], "AccessDenied");
    assert_eq!(record["resources"][0]["ARN"], lab.arn(&key).as_str());
    assert!(record["errorMessage"].as_str().unwrap().contains("identity-based policy"));
}

#[test]
fn without_a_permission_in_iam_a_key_policy_alone_can_allow() {
    let mut lab = Lab::new();
    let permissions = Permissions::only(&["kms:ListKeys"]);
    lab.world.identity.put_role(&account(), Role { permissions, ..Role::new("Reader", &account()) });
    let key = lab.key(json!({}));
    let policy = json!({ "Statement": [
        { "Effect": "Allow", "Principal": { "AWS": "111122223333" }, "Action": "kms:*", "Resource": "*" },
        { "Effect": "Allow", "Principal": { "AWS": "arn:aws:iam::111122223333:role/Reader" }, "Action": "kms:GetKeyPolicy", "Resource": "*" },
    ] });
    lab.ok("PutKeyPolicy", json!({ "KeyId": key, "Policy": policy.to_string() }));
    lab.by("111122223333", role("Reader"), |lab| {
        lab.ok("GetKeyPolicy", json!({ "KeyId": key }));
        lab.ok("ListKeys", json!({}));
        let error = lab.ask("kms:DescribeKey", json!({ "KeyId": key })).unwrap_err();
        assert!(
            error.message.ends_with("because no identity-based policy allows the kms:DescribeKey action")
        );
        assert_eq!(lab.code("ListAliases", json!({})), "AccessDeniedException");
        assert_eq!(lab.code("CreateKey", json!({})), "AccessDeniedException");
    });
    let record = lab.record("eu-central-1", "PutKeyPolicy");
    assert_eq!(record["requestParameters"]["policyName"], "default");
    assert_eq!(record["requestParameters"]["policy"], policy.to_string());
}

#[test]
fn services_without_regions_leave_their_records_in_one() {
    let mut lab = Lab { region: "eu-west-1", ..Lab::new() };
    lab.ask("account:ListRegions", json!({})).unwrap();
    assert_eq!(lab.record("us-east-1", "ListRegions")["awsRegion"], "us-east-1");
    assert!(lab.records("eu-west-1").iter().all(|record| record["eventName"] != "ListRegions"));
}

#[test]
fn nothing_is_kept_where_nothing_is_wanted() {
    let mut lab = Lab::new();
    lab.world.cloudtrail.most_records = 0;
    lab.key(json!({}));
    lab.world.cloudtrail.most_records = 100;
    assert!(lab.records("eu-central-1").is_empty());
}
