use serde_json::{Value, json};

use super::Lab;

fn rotations(lab: &mut Lab, key: &str) -> Vec<Value> {
    lab.ok("ListKeyRotations", json!({ "KeyId": key }))["Rotations"].as_array().unwrap().clone()
}

#[test]
fn rotation_has_a_period_and_a_next_date() {
    let mut lab = Lab::new();
    let key = lab.key(json!({}));
    let status = lab.ok("GetKeyRotationStatus", json!({ "KeyId": key }));
    assert_eq!(status, json!({ "KeyId": lab.arn(&key), "KeyRotationEnabled": false }));
    for days in [89, 2561] {
        assert_eq!(
            lab.code("EnableKeyRotation", json!({ "KeyId": key, "RotationPeriodInDays": days })),
            "ValidationException"
        );
    }
    lab.ok("EnableKeyRotation", json!({ "KeyId": key }));
    let status = lab.ok("GetKeyRotationStatus", json!({ "KeyId": key }));
    assert_eq!(status["RotationPeriodInDays"], 365);
    assert_eq!(status["NextRotationDate"], 1_795_435_200 + 365 * 86_400);
    lab.ok("DisableKeyRotation", json!({ "KeyId": key }));
    lab.pass_days(800);
    assert!(rotations(&mut lab, &key).is_empty());
}

#[test]
fn the_clock_rotates_the_material_period_by_period() {
    let mut lab = Lab::new();
    let key = lab.key_set(&["eu-west-1"]);
    let before = lab.describe(&key)["CurrentKeyMaterialId"].clone();
    lab.ok("EnableKeyRotation", json!({ "KeyId": key, "RotationPeriodInDays": 100 }));
    lab.pass_days(250);
    let done = rotations(&mut lab, &key);
    assert_eq!(done.len(), 2);
    assert_eq!(done[0]["RotationDate"], 1_795_435_200 + 100 * 86_400);
    assert_eq!(done[1]["RotationType"], "AUTOMATIC");
    assert_eq!(
        (&done[0]["KeyMaterialState"], &done[1]["KeyMaterialState"]),
        (&json!("NON_CURRENT"), &json!("CURRENT"))
    );
    let status = lab.ok("GetKeyRotationStatus", json!({ "KeyId": key }));
    assert_eq!(status["NextRotationDate"], 1_795_435_200 + 300 * 86_400);
    assert_ne!(lab.describe(&key)["CurrentKeyMaterialId"], before);
    let record = lab.record("eu-central-1", "RotateKey");
    assert_eq!(record["eventType"], "AwsServiceEvent");
    assert!(record["userIdentity"].get("type").is_none());
    assert_eq!(record["serviceEventDetails"]["rotationType"], "AUTOMATIC");
    assert_eq!(record["serviceEventDetails"]["currentKeyMaterialId"], done[1]["KeyMaterialId"]);
    let elsewhere = lab.record("eu-west-1", "SynchronizeMultiRegionKey");
    assert_eq!(
        (&elsewhere["eventType"], &elsewhere["userIdentity"]["invokedBy"]),
        (&json!("AwsApiCall"), &json!("AWS Internal"))
    );
}

#[test]
fn only_symmetric_keys_of_aws_rotate() {
    let mut lab = Lab::new();
    let rsa = lab.key(json!({ "KeySpec": "RSA_2048", "KeyUsage": "SIGN_VERIFY" }));
    let hmac = lab.key(json!({ "KeySpec": "HMAC_256", "KeyUsage": "GENERATE_VERIFY_MAC" }));
    let external = lab.key(json!({ "Origin": "EXTERNAL" }));
    for key in [rsa, hmac, external] {
        for operation in ["GetKeyRotationStatus", "EnableKeyRotation", "DisableKeyRotation"] {
            assert_eq!(
                lab.code(operation, json!({ "KeyId": key })),
                "UnsupportedOperationException",
                "{operation}"
            );
        }
    }
}

#[test]
fn rotation_reads_false_while_deletion_is_pending() {
    let mut lab = Lab::new();
    let key = lab.key(json!({}));
    lab.ok("EnableKeyRotation", json!({ "KeyId": key }));
    lab.ok("ScheduleKeyDeletion", json!({ "KeyId": key }));
    let status = lab.ok("GetKeyRotationStatus", json!({ "KeyId": key }));
    assert_eq!(status["KeyRotationEnabled"], false);
    lab.ok("CancelKeyDeletion", json!({ "KeyId": key }));
    let status = lab.ok("GetKeyRotationStatus", json!({ "KeyId": key }));
    assert_eq!(status["KeyRotationEnabled"], true);
    assert_eq!(lab.code("EnableKeyRotation", json!({ "KeyId": key })), "DisabledException");
}

#[test]
fn a_disabled_key_rotates_when_it_is_enabled_again() {
    let mut lab = Lab::new();
    let key = lab.key(json!({}));
    lab.ok("EnableKeyRotation", json!({ "KeyId": key, "RotationPeriodInDays": 90 }));
    lab.ok("DisableKey", json!({ "KeyId": key }));
    lab.pass_days(400);
    assert!(rotations(&mut lab, &key).is_empty());
    lab.ok("EnableKey", json!({ "KeyId": key }));
    assert_eq!(rotations(&mut lab, &key).len(), 1);
    lab.pass_days(90);
    assert_eq!(rotations(&mut lab, &key).len(), 2);
}

#[test]
fn a_key_can_be_rotated_on_demand_25_times() {
    let mut lab = Lab::new();
    let key = lab.key(json!({}));
    for _ in 0..25 {
        assert_eq!(lab.ok("RotateKeyOnDemand", json!({ "KeyId": key }))["KeyId"], lab.arn(&key).as_str());
    }
    assert_eq!(lab.code("RotateKeyOnDemand", json!({ "KeyId": key })), "LimitExceededException");
    let done = rotations(&mut lab, &key);
    assert_eq!((done.len(), &done[24]["RotationType"]), (25, &json!("ON_DEMAND")));
    let all = lab.ok("ListKeyRotations", json!({ "KeyId": key, "IncludeKeyMaterial": "ALL_KEY_MATERIAL" }));
    assert_eq!(all["Rotations"].as_array().unwrap().len(), 26);
    assert!(all["Rotations"][0].get("RotationDate").is_none());
}
