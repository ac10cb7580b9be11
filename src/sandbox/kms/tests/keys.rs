use serde_json::json;

use super::Lab;

#[test]
fn a_new_key_has_all_the_metadata_that_aws_gives() {
    let mut lab = Lab::new();
    let key = lab.key(json!({ "Description": "orders" }));
    let metadata = lab.describe(&key);
    for (member, expected) in [
        ("AWSAccountId", json!("111122223333")),
        ("Arn", json!(lab.arn(&key))),
        ("CreationDate", json!(1_795_435_200)),
        ("Enabled", json!(true)),
        ("Description", json!("orders")),
        ("KeyUsage", json!("ENCRYPT_DECRYPT")),
        ("KeyState", json!("Enabled")),
        ("Origin", json!("AWS_KMS")),
        ("KeyManager", json!("CUSTOMER")),
        ("CustomerMasterKeySpec", json!("SYMMETRIC_DEFAULT")),
        ("KeySpec", json!("SYMMETRIC_DEFAULT")),
        ("EncryptionAlgorithms", json!(["SYMMETRIC_DEFAULT"])),
        ("MultiRegion", json!(false)),
    ] {
        assert_eq!(metadata[member], expected, "{member}");
    }
    assert_eq!(metadata["CurrentKeyMaterialId"].as_str().unwrap().len(), 64);
    assert!(metadata.get("MultiRegionConfiguration").is_none() && metadata.get("DeletionDate").is_none());
}

#[test]
fn specs_have_their_usages_and_algorithms() {
    let mut lab = Lab::new();
    for (spec, usage, member, first) in [
        ("RSA_2048", "SIGN_VERIFY", "SigningAlgorithms", "RSASSA_PKCS1_V1_5_SHA_256"),
        ("RSA_4096", "ENCRYPT_DECRYPT", "EncryptionAlgorithms", "RSAES_OAEP_SHA_1"),
        ("ECC_NIST_P384", "KEY_AGREEMENT", "KeyAgreementAlgorithms", "ECDH"),
        ("HMAC_256", "GENERATE_VERIFY_MAC", "MacAlgorithms", "HMAC_SHA_256"),
        ("ML_DSA_65", "SIGN_VERIFY", "SigningAlgorithms", "ML_DSA_SHAKE_256"),
        ("ML_KEM_768", "ENCAPSULATE_DECAPSULATE", "EncapsulationAlgorithms", "ML_KEM"),
    ] {
        let key = lab.key(json!({ "KeySpec": spec, "KeyUsage": usage }));
        let metadata = lab.describe(&key);
        assert_eq!(metadata[member][0], first, "{spec}");
        assert!(metadata.get("CurrentKeyMaterialId").is_none(), "{spec}");
    }
}

#[test]
fn what_aws_does_not_make_is_refused() {
    let mut lab = Lab::new();
    for (input, code) in [
        (json!({ "KeySpec": "RSA_2048" }), "ValidationException"),
        (json!({ "KeySpec": "RSA_2048", "KeyUsage": "GENERATE_VERIFY_MAC" }), "ValidationException"),
        (json!({ "KeySpec": "DES" }), "ValidationException"),
        (json!({ "KeySpec": "SM2", "KeyUsage": "SIGN_VERIFY" }), "UnsupportedOperationException"),
        (json!({ "Origin": "AWS_CLOUDHSM" }), "ValidationException"),
        (json!({ "Origin": "AWS_CLOUDHSM", "CustomKeyStoreId": "cks-1" }), "CustomKeyStoreNotFoundException"),
        (
            json!({ "CustomKeyStoreId": "cks-1", "MultiRegion": true, "Origin": "AWS_CLOUDHSM" }),
            "UnsupportedOperationException",
        ),
        (json!({ "Policy": "{" }), "MalformedPolicyDocumentException"),
        (
            json!({ "Policy": r#"{"Statement":[{"Effect":"Allow","Principal":"*","Action":"kms:*"}]}"# }),
            "MalformedPolicyDocumentException",
        ),
        (
            json!({ "Policy": r#"{"Statement":[{"Effect":"Allow","Principal":{"AWS":"nobody"},"Action":"kms:*","Resource":"*"}]}"# }),
            "MalformedPolicyDocumentException",
        ),
        (json!({ "Tags": [{ "TagKey": "aws:x", "TagValue": "1" }] }), "TagException"),
    ] {
        assert_eq!(lab.code("CreateKey", input.clone()), code, "{input}");
    }
    assert_eq!(lab.ok("ListKeys", json!({}))["Keys"], json!([]));
}

#[test]
fn a_key_policy_that_locks_its_author_out_needs_the_bypass() {
    let mut lab = Lab::new();
    let policy = r#"{"Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:role/Only"},"Action":"kms:*","Resource":"*"}]}"#;
    assert_eq!(lab.code("CreateKey", json!({ "Policy": policy })), "MalformedPolicyDocumentException");
    let key = lab.key(json!({ "Policy": policy, "BypassPolicyLockoutSafetyCheck": true }));
    assert_eq!(lab.code("DescribeKey", json!({ "KeyId": key })), "AccessDeniedException");
}

#[test]
fn a_deletion_comes_after_its_window_and_takes_the_aliases_along() {
    let mut lab = Lab::new();
    let key = lab.key(json!({}));
    lab.ok("CreateAlias", json!({ "AliasName": "alias/orders", "TargetKeyId": key }));
    for days in [6, 31] {
        assert_eq!(
            lab.code("ScheduleKeyDeletion", json!({ "KeyId": key, "PendingWindowInDays": days })),
            "ValidationException"
        );
    }
    let answer = lab.ok("ScheduleKeyDeletion", json!({ "KeyId": key, "PendingWindowInDays": 7 }));
    assert_eq!(answer["KeyState"], "PendingDeletion");
    assert_eq!(answer["KeyId"], lab.arn(&key).as_str());
    assert_eq!(answer["DeletionDate"], 1_795_435_200 + 7 * 86_400);
    assert_eq!(lab.code("ScheduleKeyDeletion", json!({ "KeyId": key })), "KMSInvalidStateException");
    assert_eq!(lab.code("EnableKey", json!({ "KeyId": key })), "KMSInvalidStateException");
    lab.pass_days(6);
    assert_eq!(lab.state_of(&key), "PendingDeletion");
    lab.pass_days(1);
    assert_eq!(lab.code("DescribeKey", json!({ "KeyId": key })), "NotFoundException");
    let aliases = lab.ok("ListAliases", json!({}));
    assert!(!aliases.to_string().contains("alias/orders"));
    let record = lab.record("eu-central-1", "DeleteKey");
    assert_eq!(record["eventType"], "AwsServiceEvent");
    assert_eq!(record["userIdentity"], json!({ "accountId": "111122223333", "invokedBy": "AWS Internal" }));
    assert_eq!(record["eventTime"], "2026-11-30T12:00:00Z");
    assert_eq!(record["responseElements"]["keyId"], lab.arn(&key).as_str());
}

#[test]
fn a_cancelled_deletion_leaves_the_key_disabled() {
    let mut lab = Lab::new();
    let key = lab.key(json!({}));
    assert_eq!(lab.code("CancelKeyDeletion", json!({ "KeyId": key })), "KMSInvalidStateException");
    lab.ok("ScheduleKeyDeletion", json!({ "KeyId": key }));
    lab.ok("CancelKeyDeletion", json!({ "KeyId": key }));
    assert_eq!(lab.state_of(&key), "Disabled");
    lab.pass_days(40);
    assert_eq!(lab.state_of(&key), "Disabled");
    lab.ok("EnableKey", json!({ "KeyId": key }));
    assert_eq!(lab.state_of(&key), "Enabled");
}

#[test]
fn keys_that_there_are_not_are_told_apart_by_message() {
    let mut lab = Lab::new();
    for (reference, message) in [
        ("nonsense", "Invalid keyId 'nonsense'"),
        (
            "1234abcd-12ab-34cd-56ef-1234567890ab",
            "Key 'arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab' does not exist",
        ),
        ("alias/none", "Alias arn:aws:kms:eu-central-1:111122223333:alias/none is not found."),
        (
            "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
            "Invalid arn us-east-1",
        ),
    ] {
        let error = lab.ask("kms:DescribeKey", json!({ "KeyId": reference })).unwrap_err();
        assert_eq!((error.code.as_str(), error.message.as_str()), ("NotFoundException", message));
    }
    assert_eq!(lab.code("DescribeKey", json!({})), "ValidationException");
    assert_eq!(lab.code("DescribeKey", json!({ "KeyId": "arn:aws:s3:::bucket" })), "InvalidArnException");
}

#[test]
fn every_partition_writes_its_own_arns() {
    for (region, partition) in [
        ("cn-north-1", "aws-cn"),
        ("us-gov-west-1", "aws-us-gov"),
        ("eusc-de-east-1", "aws-eusc"),
        ("us-iso-east-1", "aws-iso"),
        ("us-isob-east-1", "aws-iso-b"),
    ] {
        let mut lab = Lab { region, ..Lab::new() };
        let key = lab.key(json!({}));
        let arn = format!("arn:{partition}:kms:{region}:111122223333:key/{key}");
        assert_eq!(lab.describe(&arn)["Arn"], arn.as_str());
        let policy = lab.ok("GetKeyPolicy", json!({ "KeyId": key }));
        assert!(
            policy["Policy"].as_str().unwrap().contains(&format!("arn:{partition}:iam::111122223333:root"))
        );
    }
}

#[test]
fn aws_managed_keys_come_with_their_alias_and_cannot_be_changed() {
    let mut lab = Lab::new();
    let listed = lab.ok("ListAliases", json!({}));
    assert!(listed["Aliases"].as_array().unwrap().iter().all(|alias| alias.get("TargetKeyId").is_none()));
    let metadata = lab.describe("alias/aws/s3");
    assert_eq!(metadata["KeyManager"], "AWS");
    let key = metadata["KeyId"].as_str().unwrap().to_owned();
    assert_eq!(lab.describe("alias/aws/s3")["KeyId"], key.as_str());
    assert_eq!(lab.ok("ListKeys", json!({}))["Keys"].as_array().unwrap().len(), 1);
    let status = lab.ok("GetKeyRotationStatus", json!({ "KeyId": key }));
    assert_eq!(status["KeyRotationEnabled"], true);
    for (operation, input) in [
        ("DisableKey", json!({ "KeyId": key })),
        ("ScheduleKeyDeletion", json!({ "KeyId": key })),
        ("PutKeyPolicy", json!({ "KeyId": key, "Policy": "{}" })),
        ("DisableKeyRotation", json!({ "KeyId": key })),
    ] {
        assert_eq!(lab.code(operation, input), "AccessDeniedException", "{operation}");
    }
    assert_eq!(lab.code("DescribeKey", json!({ "KeyId": "alias/aws/nothing" })), "NotFoundException");
}
