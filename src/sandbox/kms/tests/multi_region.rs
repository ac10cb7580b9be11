use chrono::TimeDelta;
use serde_json::{Value, json};

use super::Lab;

fn regions(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|member| member["Region"].as_str().unwrap()).collect()
}

#[test]
fn any_member_tells_the_whole_set() {
    let mut lab = Lab::new();
    let key = lab.key_set(&["eu-west-1", "us-east-1"]);
    assert!(key.starts_with("mrk-") && key.len() == 36);
    for (region, kind) in [("eu-central-1", "PRIMARY"), ("eu-west-1", "REPLICA"), ("us-east-1", "REPLICA")] {
        let metadata = lab.within(region, |lab| lab.describe(&key));
        assert_eq!(metadata["Arn"], format!("arn:aws:kms:{region}:111122223333:key/{key}"));
        let configuration = &metadata["MultiRegionConfiguration"];
        assert_eq!(configuration["MultiRegionKeyType"], kind);
        assert_eq!(configuration["PrimaryKey"]["Region"], "eu-central-1");
        assert_eq!(regions(&configuration["ReplicaKeys"]), ["eu-west-1", "us-east-1"]);
    }
    let elsewhere = lab.within("eu-west-3", |lab| lab.code("DescribeKey", json!({ "KeyId": key })));
    assert_eq!(elsewhere, "NotFoundException");
}

#[test]
fn members_share_material_and_rotation_and_nothing_else() {
    let mut lab = Lab::new();
    let key = lab.key(json!({ "MultiRegion": true, "Description": "orders", "Tags": [{ "TagKey": "team", "TagValue": "a" }] }));
    lab.ok("CreateAlias", json!({ "AliasName": "alias/orders", "TargetKeyId": key }));
    lab.ok("EnableKeyRotation", json!({ "KeyId": key, "RotationPeriodInDays": 90 }));
    lab.pass_days(100);
    lab.ok("ReplicateKey", json!({ "KeyId": key, "ReplicaRegion": "eu-west-1" }));
    lab.ok("DisableKey", json!({ "KeyId": key }));
    let here = lab.describe(&key);
    let rotations =
        lab.ok("ListKeyRotations", json!({ "KeyId": key, "IncludeKeyMaterial": "ALL_KEY_MATERIAL" }));
    lab.within("eu-west-1", |lab| {
        let there = lab.describe(&key);
        assert_eq!(there["CurrentKeyMaterialId"], here["CurrentKeyMaterialId"]);
        assert_eq!((&there["KeyState"], &there["Description"]), (&json!("Enabled"), &json!("")));
        assert_eq!(lab.ok("ListResourceTags", json!({ "KeyId": key }))["Tags"], json!([]));
        assert_eq!(lab.ok("ListAliases", json!({ "KeyId": key }))["Aliases"], json!([]));
        let status = lab.ok("GetKeyRotationStatus", json!({ "KeyId": key }));
        assert_eq!(
            (&status["KeyRotationEnabled"], &status["RotationPeriodInDays"]),
            (&json!(true), &json!(90))
        );
        // All the historic material came along.
        let there =
            lab.ok("ListKeyRotations", json!({ "KeyId": key, "IncludeKeyMaterial": "ALL_KEY_MATERIAL" }));
        let ids = |list: &Value| {
            list["Rotations"]
                .as_array()
                .unwrap()
                .iter()
                .map(|one| one["KeyMaterialId"].clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(ids(&there).len(), 2);
        assert_eq!(ids(&there), ids(&rotations));
        for operation in ["EnableKeyRotation", "DisableKeyRotation", "RotateKeyOnDemand"] {
            assert_eq!(
                lab.code(operation, json!({ "KeyId": key })),
                "UnsupportedOperationException",
                "{operation}"
            );
        }
    });
}

#[test]
fn replication_fails_as_on_aws() {
    let mut lab = Lab::new();
    let single = lab.key(json!({}));
    let key = lab.key_set(&["eu-west-1"]);
    let replicate = |key: &str, region: &str| json!({ "KeyId": key, "ReplicaRegion": region });
    for (input, code) in [
        (replicate(&single, "eu-west-1"), "UnsupportedOperationException"),
        (replicate(&key, "eu-west-1"), "AlreadyExistsException"),
        (replicate(&key, "eu-central-1"), "AlreadyExistsException"),
        (replicate(&key, "cn-north-1"), "UnsupportedOperationException"),
        (replicate(&key, "ap-east-1"), "UnsupportedOperationException"),
        (json!({ "KeyId": key }), "ValidationException"),
    ] {
        assert_eq!(lab.code("ReplicateKey", input.clone()), code, "{input}");
    }
    let from_replica = lab.within("eu-west-1", |lab| lab.code("ReplicateKey", replicate(&key, "eu-west-3")));
    assert_eq!(from_replica, "UnsupportedOperationException");
    lab.ok("DisableKey", json!({ "KeyId": key }));
    assert_eq!(lab.code("ReplicateKey", replicate(&key, "eu-west-3")), "DisabledException");
    lab.ok("ScheduleKeyDeletion", json!({ "KeyId": single }));
    assert_eq!(lab.code("DisableKey", json!({ "KeyId": single })), "KMSInvalidStateException");
}

#[test]
fn a_replication_leaves_a_record_at_either_end() {
    let mut lab = Lab::new();
    let key = lab.key_set(&["us-east-1"]);
    let here = lab.record("eu-central-1", "ReplicateKey");
    assert_eq!(
        here["requestParameters"],
        json!({ "keyId": key, "replicaRegion": "us-east-1", "description": "", "bypassPolicyLockoutSafetyCheck": false })
    );
    let replica = format!("arn:aws:kms:us-east-1:111122223333:key/{key}");
    assert_eq!(here["responseElements"]["replicaKeyMetadata"]["arn"], replica.as_str());
    assert_eq!(here["responseElements"]["replicaKeyMetadata"]["aWSAccountId"], "111122223333");
    assert_eq!(here["responseElements"]["replicaKeyMetadata"]["creationDate"], "Nov 23, 2026, 12:00:00 PM");
    assert!(here["responseElements"]["replicaPolicy"].as_str().unwrap().contains("key-default-1"));
    let there = lab.record("us-east-1", "CreateKey");
    assert_eq!(there["awsRegion"], "us-east-1");
    assert_eq!(there["requestParameters"]["multiRegion"], true);
    assert_eq!(there["responseElements"]["keyMetadata"]["arn"], replica.as_str());
    assert_eq!(there["userIdentity"]["invokedBy"], "kms.amazonaws.com");
    assert_eq!(there["userIdentity"]["arn"], here["userIdentity"]["arn"]);
    assert_eq!(there["resources"][0]["ARN"], replica.as_str());
    assert!(lab.records("us-east-1").iter().all(|record| record["eventName"] != "ReplicateKey"));
}

#[test]
fn a_new_primary_takes_over_through_updating() {
    let mut lab = Lab::new();
    let key = lab.key_set(&["eu-west-1", "us-east-1"]);
    lab.world.kms.set_settling(TimeDelta::seconds(5));
    let update = |region: &str| json!({ "KeyId": key, "PrimaryRegion": region });
    assert_eq!(lab.code("UpdatePrimaryRegion", update("eu-west-3")), "NotFoundException");
    lab.ok("UpdatePrimaryRegion", update("eu-west-1"));
    assert_eq!(lab.state_of(&key), "Updating");
    assert_eq!(lab.within("eu-west-1", |lab| lab.state_of(&key)), "Updating");
    assert_eq!(lab.within("us-east-1", |lab| lab.state_of(&key)), "Enabled");
    assert_eq!(lab.code("DisableKey", json!({ "KeyId": key })), "KMSInvalidStateException");
    lab.ok("Encrypt", json!({ "KeyId": key, "Plaintext": "eA==" }));
    lab.world.clock.advance(TimeDelta::seconds(5));
    let metadata = lab.describe(&key);
    assert_eq!(metadata["KeyState"], "Enabled");
    let configuration = &metadata["MultiRegionConfiguration"];
    assert_eq!(configuration["MultiRegionKeyType"], "REPLICA");
    assert_eq!(configuration["PrimaryKey"]["Region"], "eu-west-1");
    assert_eq!(regions(&configuration["ReplicaKeys"]), ["eu-central-1", "us-east-1"]);
    assert_eq!(lab.code("UpdatePrimaryRegion", update("us-east-1")), "UnsupportedOperationException");
}

#[test]
fn moving_the_primary_leaves_two_records_of_one_request() {
    let mut lab = Lab::new();
    let key = lab.key_set(&["eu-west-1"]);
    lab.ok("UpdatePrimaryRegion", json!({ "KeyId": key, "PrimaryRegion": "eu-west-1" }));
    let old = lab.record("eu-central-1", "UpdatePrimaryRegion");
    let new = lab.record("eu-west-1", "UpdatePrimaryRegion");
    assert_eq!(old["requestID"], new["requestID"]);
    assert_ne!(old["eventID"], new["eventID"]);
    assert!(old["userIdentity"].get("invokedBy").is_none());
    assert_eq!(new["userIdentity"]["invokedBy"], "kms.amazonaws.com");
    assert_eq!(new["requestParameters"]["keyId"], lab.arn(&key).as_str());
    assert_eq!(old["requestParameters"]["primaryRegion"], "eu-west-1");
}

#[test]
fn a_primary_waits_for_its_replicas_and_then_for_its_window() {
    let mut lab = Lab::new();
    let key = lab.key_set(&["eu-west-1", "us-east-1"]);
    let answer = lab.ok("ScheduleKeyDeletion", json!({ "KeyId": key, "PendingWindowInDays": 10 }));
    assert_eq!(answer["KeyState"], "PendingReplicaDeletion");
    assert!(answer.get("DeletionDate").is_none());
    lab.pass_days(365);
    let metadata = lab.describe(&key);
    assert_eq!(metadata["KeyState"], "PendingReplicaDeletion");
    assert_eq!(metadata["PendingDeletionWindowInDays"], 10);
    for region in ["eu-west-1", "us-east-1"] {
        lab.within(region, |lab| {
            lab.ok("ScheduleKeyDeletion", json!({ "KeyId": key, "PendingWindowInDays": 7 }))
        });
    }
    lab.pass_days(7);
    let metadata = lab.describe(&key);
    assert_eq!(metadata["KeyState"], "PendingDeletion");
    assert_eq!(metadata["MultiRegionConfiguration"]["ReplicaKeys"], json!([]));
    assert!(metadata.get("PendingDeletionWindowInDays").is_none());
    lab.pass_days(9);
    assert_eq!(lab.state_of(&key), "PendingDeletion");
    lab.pass_days(1);
    assert_eq!(lab.code("DescribeKey", json!({ "KeyId": key })), "NotFoundException");
}

#[test]
fn a_deleted_replica_can_be_made_again() {
    let mut lab = Lab::new();
    let key = lab.key_set(&["eu-west-1"]);
    lab.within("eu-west-1", |lab| {
        lab.ok("ScheduleKeyDeletion", json!({ "KeyId": key, "PendingWindowInDays": 7 }))
    });
    assert_eq!(
        lab.code("ReplicateKey", json!({ "KeyId": key, "ReplicaRegion": "eu-west-1" })),
        "AlreadyExistsException"
    );
    lab.pass_days(7);
    lab.ok("ReplicateKey", json!({ "KeyId": key, "ReplicaRegion": "eu-west-1" }));
    assert_eq!(lab.within("eu-west-1", |lab| lab.state_of(&key)), "Enabled");
}
