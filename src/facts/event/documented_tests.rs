//! Each call and act of AWS KMS in the shape in which AWS documents its record: which key it is about, whether it
//! changes it or uses its material, and where it goes. The shapes are those of the AWS KMS Developer Guide's pages "Examples
//! of AWS KMS log entries", among them the older ones, whose records are still in people's logs.

use serde_json::{Value, json};

use super::super::fixtures::{World, key_set, show};
use super::*;

const ID: &str = "mrk-1";
const KEY: &str = "arn:aws:kms:eu-central-1:111122223333:key/mrk-1";
const IN_DUBLIN: &str = "arn:aws:kms:eu-west-1:111122223333:key/mrk-1";
const ALIAS: &str = "arn:aws:kms:eu-central-1:111122223333:alias/app";

/// What a record is to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Does {
    /// It changes the key.
    Change,
    /// It uses key material.
    Use,
    /// Neither.
    Neither,
}

/// A record of a call that succeeded, with what is particular to it.
fn of(name: &str, particular: &Value) -> EventRecord {
    let mut record = json!({
        "eventVersion": "1.11",
        "userIdentity": {
            "type": "IAMUser", "principalId": "EX_PRINCIPAL_ID", "arn": "arn:aws:iam::111122223333:user/Alice",
            "accountId": "111122223333", "accessKeyId": "EXAMPLE_KEY_ID", "userName": "Alice"
        },
        "eventTime": "2026-03-01T11:00:00Z", "eventSource": "kms.amazonaws.com", "eventName": name,
        "awsRegion": "eu-central-1", "sourceIPAddress": "192.0.2.0", "userAgent": "AWS Internal",
        "requestParameters": null, "responseElements": null,
        "requestID": "b4a65126-30d5-4b28-98b9-9153da559963",
        "eventID": "db2b8f9a-1f9a-4a5d-a8a4-6b9c8e3ad4f4", "readOnly": false,
        "eventType": "AwsApiCall", "recipientAccountId": "111122223333", "managementEvent": true,
        "eventCategory": "Management"
    });
    for (field, value) in particular.as_object().unwrap() {
        record[field] = value.clone();
    }
    EventRecord::new(record).unwrap()
}

/// The key among a record's resources, as most have it.
fn resources() -> Value {
    json!([{ "accountId": "111122223333", "type": "AWS::KMS::Key", "ARN": KEY }])
}

/// An act of AWS KMS itself: its identity has neither a type nor an ARN.
fn act(particular: &Value) -> Value {
    let mut act = json!({
        "userIdentity": { "accountId": "111122223333", "invokedBy": "AWS Internal" },
        "sourceIPAddress": "AWS Internal", "eventType": "AwsServiceEvent"
    });
    for (field, value) in particular.as_object().unwrap() {
        act[field] = value.clone();
    }
    act
}

fn facts_of(record: &EventRecord) -> Facts {
    let mut estate = Estate::default();
    for key in key_set(&["eu-central-1", "eu-west-1"]) {
        estate.put_key(key);
    }
    event(record, &estate, &World::new().context())
}

/// Compares what records say with what they are to say of [`KEY`].
fn all_say(does: Does, cases: &[(&str, Value)]) {
    for (name, particular) in cases {
        let facts = facts_of(&of(name, particular));
        assert_eq!(show(&facts, "event.key_arn"), KEY, "{name} {particular}");
        assert_eq!(show(&facts, "event.changed_key"), (does == Does::Change).to_string(), "{name}");
        assert_eq!(show(&facts, "event.cryptographic"), (does == Does::Use).to_string(), "{name}");
        assert_eq!(show(&facts, "event.succeeded"), "true", "{name}");
        assert_eq!(facts.subject.key_set.as_ref().map(ToString::to_string), Some(keys_set()), "{name}");
    }
}

fn keys_set() -> String {
    KEY.parse::<KeyArn>().unwrap().key_set().to_string()
}

#[test]
fn calls_that_change_a_key() {
    let by_request = |request: Value| json!({ "requestParameters": request, "resources": resources() });
    let answered =
        |request: Value| json!({ "requestParameters": request, "responseElements": { "keyId": KEY } });
    let id = || json!({ "keyId": ID });
    all_say(
        Does::Change,
        &[
            (
                "CreateKey",
                json!({
                "requestParameters": { "keyUsage": "ENCRYPT_DECRYPT", "origin": "AWS_KMS", "multiRegion": true },
                "responseElements": { "keyMetadata": { "aWSAccountId": "111122223333", "keyId": ID, "arn": KEY,
                    "enabled": true, "keyState": "Enabled" } },
                "resources": resources() }),
            ),
            // What a replica's Region logs may list nothing beside the answer.
            (
                "CreateKey",
                json!({ "responseElements": { "keyMetadata": { "AWSAccountId": "111122223333",
                "keyId": ID, "arn": KEY } } }),
            ),
            (
                "ScheduleKeyDeletion",
                json!({
                "requestParameters": { "keyId": ID, "pendingWindowInDays": 20 },
                "responseElements": { "keyId": KEY, "deletionDate": "Apr 12, 2021 18:58:30 PM" },
                "resources": resources() }),
            ),
            ("ScheduleKeyDeletion", answered(json!({ "keyId": ID, "pendingWindowInDays": 7 }))),
            ("CancelKeyDeletion", by_request(id())),
            ("PutKeyPolicy", by_request(json!({ "keyId": ID, "policyName": "default", "policy": "{}" }))),
            ("EnableKey", answered(id())),
            ("DisableKey", answered(id())),
            ("EnableKeyRotation", answered(json!({ "keyId": ID, "rotationPeriodInDays": 180 }))),
            ("DisableKeyRotation", by_request(id())),
            ("RotateKeyOnDemand", answered(id())),
            (
                "ImportKeyMaterial",
                answered(json!({ "keyId": ID, "expirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE" })),
            ),
            ("DeleteImportedKeyMaterial", by_request(id())),
        ],
    );
}

#[test]
fn calls_that_change_what_belongs_to_a_key() {
    let by_request = |request: Value| json!({ "requestParameters": request, "resources": resources() });
    let answered =
        |request: Value| json!({ "requestParameters": request, "responseElements": { "keyId": KEY } });
    let alias = |request: Value| {
        json!({ "requestParameters": request, "resources": [
            { "accountId": "111122223333", "type": "AWS::KMS::Key", "ARN": ALIAS },
            { "accountId": "111122223333", "type": "AWS::KMS::Key", "ARN": KEY } ] })
    };
    all_say(
        Does::Change,
        &[
            (
                "CreateGrant",
                json!({
                "requestParameters": { "keyId": KEY, "operations": ["Encrypt"], "granteePrincipal":
                    "arn:aws:iam::111122223333:role/Grantee" },
                "responseElements": { "grantId": "f020fe75197b93991dc8491d6f19dd3cebb24ee62277a05914386724f3d48758",
                    "keyId": KEY } }),
            ),
            ("RevokeGrant", by_request(json!({ "keyId": KEY, "grantId": "f020" }))),
            // The grant names its key, the request does not.
            (
                "RetireGrant",
                json!({ "additionalEventData": { "grantId": "1234" }, "resources": resources() }),
            ),
            ("CreateAlias", alias(json!({ "aliasName": "alias/app", "targetKeyId": ID }))),
            ("UpdateAlias", alias(json!({ "aliasName": "alias/app", "targetKeyId": ID }))),
            ("DeleteAlias", alias(json!({ "aliasName": "alias/app" }))),
            ("TagResource", answered(json!({ "keyId": ID, "tags": [{ "tagKey": "a", "tagValue": "b" }] }))),
            ("UntagResource", answered(json!({ "keyId": ID, "tagKeys": ["a"] }))),
            ("UpdateKeyDescription", by_request(json!({ "keyId": ID, "description": "new" }))),
        ],
    );
}

#[test]
fn acts_of_aws_kms_itself() {
    let material = json!({ "rotationType": "AUTOMATIC", "keyOrigin": "AWS_KMS", "keyId": ID,
        "previousKeyMaterialId": "123d", "currentKeyMaterialId": "96a2" });
    let cases = [
        // Until December 2022 with no answer, since then with the key's ARN.
        ("RotateKey", json!({ "resources": resources() })),
        (
            "RotateKey",
            json!({ "resources": resources(), "responseElements": { "keyId": KEY },
            "serviceEventDetails": material }),
        ),
        ("RotateKey", json!({ "serviceEventDetails": { "keyId": ID } })),
        ("DeleteKey", json!({ "resources": resources() })),
        ("DeleteKey", json!({ "serviceEventDetails": { "keyId": ID } })),
        (
            "DeleteKey",
            json!({ "responseElements": { "keyId": KEY }, "additionalEventData": {
            "customKeyStoreId": "cks-1234", "clusterId": "cluster-1234", "backingKeys": "[{}]" } }),
        ),
        (
            "DeleteExpiredKeyMaterial",
            json!({ "serviceEventDetails": { "keyId": ID, "keyMaterialId": "12" } }),
        ),
    ];
    all_say(Does::Change, &cases.map(|(name, particular)| (name, act(&particular))));
    // This one is an act as well, and yet logged as a call.
    let synchronized = |response: Value| {
        let mut record = act(&json!({ "resources": resources(), "responseElements": response }));
        record["eventType"] = "AwsApiCall".into();
        record
    };
    all_say(
        Does::Change,
        &[
            ("SynchronizeMultiRegionKey", synchronized(Value::Null)),
            ("SynchronizeMultiRegionKey", synchronized(json!({ "keyId": KEY }))),
        ],
    );
}

#[test]
fn uses_of_key_material() {
    let request =
        |request: Value| json!({ "requestParameters": request, "resources": resources(), "readOnly": true });
    let id = || json!({ "keyId": ID });
    all_say(
        Does::Use,
        &[
            (
                "Encrypt",
                request(json!({ "keyId": ID, "encryptionContext": { "Department": "Engineering" } })),
            ),
            // A ciphertext names its key, so that the request need not.
            ("Decrypt", request(json!({ "encryptionAlgorithm": "SYMMETRIC_DEFAULT" }))),
            (
                "Decrypt",
                json!({ "resources": resources(), "additionalEventData": { "recipient": {
                "attestationDocumentModuleId": "i-123456789abcde123-enc123456789abcde12" } } }),
            ),
            ("GenerateDataKey", request(json!({ "keyId": ID, "keySpec": "AES_256" }))),
            ("GenerateDataKeyWithoutPlaintext", request(json!({ "keyId": ID, "numberOfBytes": 32 }))),
            ("GenerateDataKeyPair", request(json!({ "keyId": ID, "keyPairSpec": "RSA_3072" }))),
            (
                "GenerateDataKeyPairWithoutPlaintext",
                request(json!({ "keyId": ID, "keyPairSpec": "RSA_4096" })),
            ),
            (
                "Sign",
                request(json!({ "keyId": ID, "messageType": "RAW", "signingAlgorithm": "ECDSA_SHA_256" })),
            ),
            ("Verify", request(json!({ "keyId": ID, "signingAlgorithm": "RSASSA_PKCS1_V1_5_SHA_256" }))),
            ("GenerateMac", request(json!({ "keyId": ID, "macAlgorithm": "HMAC_SHA_512" }))),
            ("VerifyMac", request(json!({ "keyId": ID, "macAlgorithm": "HMAC_SHA_384" }))),
            ("DeriveSharedSecret", request(json!({ "keyId": ID, "keyAgreementAlgorithm": "ECDH" }))),
            ("Encapsulate", request(id())),
            ("Decapsulate", request(id())),
        ],
    );
}

#[test]
fn reading_about_a_key_neither_changes_nor_uses_it() {
    let names = [
        "DescribeKey",
        "GetKeyPolicy",
        "GetKeyRotationStatus",
        "GetParametersForImport",
        "GetPublicKey",
        "ListGrants",
        "ListKeyPolicies",
        "ListKeyRotations",
        "ListResourceTags",
    ];
    let read = json!({ "requestParameters": { "keyId": ID }, "readOnly": true });
    all_say(Does::Neither, &names.map(|name| (name, read.clone())));
}

#[test]
fn calls_about_no_key() {
    let names = [
        "ListAliases",
        "ListKeys",
        "ListRetirableGrants",
        "GenerateRandom",
        "CreateCustomKeyStore",
        "ConnectCustomKeyStore",
        "DisconnectCustomKeyStore",
        "DeleteCustomKeyStore",
        "UpdateCustomKeyStore",
        "DescribeCustomKeyStores",
    ];
    for name in names {
        let particular =
            json!({ "requestParameters": { "customKeyStoreId": "cks-1234567890abcdef0" }, "resources": [] });
        let facts = facts_of(&of(name, &particular));
        assert_eq!(show(&facts, "event.key_arn"), "-", "{name}");
        assert_eq!(show(&facts, "event.changed_key"), "false", "{name}");
        assert_eq!(show(&facts, "event.cryptographic"), "false", "{name}");
        assert_eq!(facts.subject.key, None, "{name}");
    }
}

#[test]
fn a_reencryption_uses_two_keys_however_it_names_them() {
    let request = json!({ "sourceKeyId": KEY, "destinationKeyId": IN_DUBLIN,
        "sourceEncryptionAlgorithm": "SYMMETRIC_DEFAULT", "destinationEncryptionAlgorithm": "SYMMETRIC_DEFAULT" });
    let listed = json!([{ "ARN": KEY, "accountId": "111122223333" }, { "ARN": IN_DUBLIN, "accountId": "111122223333" }]);
    for particular in [
        json!({ "requestParameters": request, "resources": listed }),
        json!({ "requestParameters": request }),
    ] {
        let record = of("ReEncrypt", &particular);
        let estate = Estate::default();
        let named = named::keys(&record, &estate, &World::new().context());
        let named: Vec<String> = named.keys.iter().map(ToString::to_string).collect();
        assert_eq!(named, [KEY, IN_DUBLIN], "{particular}");
    }
}

#[test]
fn a_reencryption_that_names_no_key_is_about_none() {
    let facts = facts_of(&of("ReEncrypt", &json!({ "errorCode": "AccessDenied" })));
    assert_eq!(show(&facts, "event.key_arn"), "-");
}

#[test]
fn a_reencryption_whose_second_key_cannot_be_told_is_not_inside() {
    let request = json!({ "sourceKeyId": KEY, "destinationKeyId": "alias/nobody-knows" });
    let facts = facts_of(&of("ReEncrypt", &json!({ "requestParameters": request })));
    assert_eq!(show(&facts, "event.key_arn"), KEY);
    assert_eq!(show(&facts, "boundary.use_outside"), "?which key `alias/nobody-knows` is could not be told");
}

#[test]
fn a_replica_and_a_move_of_the_primary_say_where_they_go() {
    let replica = json!({
        "requestParameters": { "keyId": ID, "replicaRegion": "us-west-2", "bypassPolicyLockoutSafetyCheck": false,
            "description": "" },
        "responseElements": { "replicaKeyMetadata": { "aWSAccountId": "111122223333", "keyId": ID,
            "arn": "arn:aws:kms:us-west-2:111122223333:key/mrk-1", "multiRegion": true } },
        "resources": resources()
    });
    let moved = json!({ "requestParameters": { "keyId": ID, "primaryRegion": "us-west-2" }, "resources": resources() });
    for (name, particular) in [("ReplicateKey", replica), ("UpdatePrimaryRegion", moved)] {
        let facts = facts_of(&of(name, &particular));
        assert_eq!(show(&facts, "event.key_arn"), KEY, "{name}");
        assert_eq!(show(&facts, "target.region"), "us-west-2", "{name}");
        assert_eq!(show(&facts, "target.country"), "US", "{name}");
        assert_eq!(show(&facts, "event.changed_key"), "true", "{name}");
    }
}

#[test]
fn the_record_that_a_move_leaves_in_the_new_region_is_about_the_key_there() {
    let arrived = json!({
        "awsRegion": "eu-west-1",
        "userIdentity": { "type": "IAMUser", "accountId": "111122223333", "invokedBy": "kms.amazonaws.com",
            "arn": "arn:aws:iam::111122223333:user/Alice" },
        "requestParameters": { "keyId": IN_DUBLIN, "primaryRegion": "eu-west-1" }
    });
    let facts = facts_of(&of("UpdatePrimaryRegion", &arrived));
    assert_eq!(show(&facts, "event.key_arn"), IN_DUBLIN);
    assert_eq!(show(&facts, "event.key_set"), keys_set());
    assert_eq!(show(&facts, "target.region"), "eu-west-1");
    assert_eq!(show(&facts, "event.changed_key"), "true");
}
