use serde_json::json;

use super::Lab;

#[test]
fn a_ciphertext_comes_back_with_its_context_only() {
    let mut lab = Lab::new();
    let key = lab.key_set(&["eu-west-1"]);
    let sealed = lab
        .ok("Encrypt", json!({ "KeyId": key, "Plaintext": "c2VjcmV0", "EncryptionContext": { "a": "1" } }));
    let blob = sealed["CiphertextBlob"].clone();
    let good = json!({ "CiphertextBlob": blob, "EncryptionContext": { "a": "1" } });
    assert_eq!(lab.ok("Decrypt", good.clone())["Plaintext"], "c2VjcmV0");
    assert_eq!(lab.code("Decrypt", json!({ "CiphertextBlob": blob })), "InvalidCiphertextException");
    assert_eq!(lab.code("Decrypt", json!({ "CiphertextBlob": "AAAA" })), "InvalidCiphertextException");
    // A replica reads what the primary wrote, and says so by its own ARN.
    lab.within("eu-west-1", |lab| {
        assert_eq!(lab.ok("Decrypt", good.clone())["KeyId"], lab.arn(&key).as_str());
    });
    let other = lab.key(json!({}));
    let mut wrong = good.clone();
    wrong["KeyId"] = json!(other);
    assert_eq!(lab.code("Decrypt", wrong), "IncorrectKeyException");
    let moved = lab.ok(
        "ReEncrypt",
        json!({ "CiphertextBlob": blob, "SourceEncryptionContext": { "a": "1" }, "DestinationKeyId": other }),
    );
    assert_eq!(
        lab.ok("Decrypt", json!({ "CiphertextBlob": moved["CiphertextBlob"] }))["KeyId"],
        lab.arn(&other).as_str()
    );
    let record = lab.record("eu-central-1", "ReEncrypt");
    assert_eq!(record["resources"].as_array().unwrap().len(), 2);
}

#[test]
fn a_key_that_cannot_be_used_says_why() {
    let mut lab = Lab::new();
    let key = lab.key(json!({}));
    let input = json!({ "KeyId": key, "Plaintext": "eA==" });
    lab.ok("DisableKey", json!({ "KeyId": key }));
    let error = lab.ask("kms:Encrypt", input.clone()).unwrap_err();
    assert_eq!(
        (error.code.as_str(), error.message),
        ("DisabledException", format!("{} is disabled.", lab.arn(&key)))
    );
    assert_eq!(lab.record("eu-central-1", "Encrypt")["errorCode"], "DisabledException");
    lab.ok("ScheduleKeyDeletion", json!({ "KeyId": key }));
    let error = lab.ask("kms:Encrypt", input).unwrap_err();
    assert_eq!(
        (error.code.as_str(), error.message),
        ("KMSInvalidStateException", format!("{} is pending deletion.", lab.arn(&key)))
    );
    let signer = lab.key(json!({ "KeySpec": "RSA_2048", "KeyUsage": "SIGN_VERIFY" }));
    assert_eq!(
        lab.code("Encrypt", json!({ "KeyId": signer, "Plaintext": "eA==" })),
        "InvalidKeyUsageException"
    );
}

#[test]
fn signatures_and_macs_verify() {
    let mut lab = Lab::new();
    let signer = lab.key(json!({ "KeySpec": "ECC_NIST_P256", "KeyUsage": "SIGN_VERIFY" }));
    let input = |extra: &str, value: serde_json::Value| {
        let mut input = json!({ "KeyId": signer, "Message": "eA==", "SigningAlgorithm": "ECDSA_SHA_256" });
        input[extra] = value;
        input
    };
    let signature = lab.ok("Sign", input("MessageType", json!("RAW")))["Signature"].clone();
    assert_eq!(lab.ok("Verify", input("Signature", signature))["SignatureValid"], true);
    lab.pass_days(1);
    assert_eq!(lab.code("Verify", input("Signature", json!("AAAA"))), "KMSInvalidSignatureException");
    // Only successful uses count.
    let usage = lab.ok("GetKeyLastUsage", json!({ "KeyId": signer }));
    assert_eq!(
        (&usage["KeyLastUsage"]["Operation"], &usage["KeyLastUsage"]["Timestamp"]),
        (&json!("Verify"), &json!(1_795_435_200))
    );
    assert_eq!(
        lab.ok("GetPublicKey", json!({ "KeyId": signer }))["SigningAlgorithms"],
        json!(["ECDSA_SHA_256"])
    );
    let hmac = lab.key(json!({ "KeySpec": "HMAC_256", "KeyUsage": "GENERATE_VERIFY_MAC" }));
    let mac = lab
        .ok("GenerateMac", json!({ "KeyId": hmac, "Message": "eA==", "MacAlgorithm": "HMAC_SHA_256" }))["Mac"]
        .clone();
    let verify = json!({ "KeyId": hmac, "Message": "eQ==", "MacAlgorithm": "HMAC_SHA_256", "Mac": mac });
    assert_eq!(lab.code("VerifyMac", verify), "KMSInvalidMacException");
    assert_eq!(lab.code("GetPublicKey", json!({ "KeyId": hmac })), "UnsupportedOperationException");
}

#[test]
fn the_last_use_is_each_members_own_and_empty_before_the_first() {
    let mut lab = Lab::new();
    let key = lab.key_set(&["eu-west-1"]);
    let none = lab.ok("GetKeyLastUsage", json!({ "KeyId": key }));
    assert_eq!(none["KeyLastUsage"], json!({}));
    assert_eq!(none["TrackingStartDate"], none["KeyCreationDate"]);
    lab.ok("GenerateDataKey", json!({ "KeyId": key, "NumberOfBytes": 24 }));
    let used = lab.ok("GetKeyLastUsage", json!({ "KeyId": key }));
    assert_eq!(used["KeyLastUsage"]["Operation"], "GenerateDataKey");
    let record = lab.record("eu-central-1", "GenerateDataKey");
    assert_eq!(used["KeyLastUsage"]["CloudTrailEventId"], record["eventID"]);
    assert_eq!(used["KeyLastUsage"]["KmsRequestId"], record["requestID"]);
    lab.within("eu-west-1", |lab| {
        assert_eq!(lab.ok("GetKeyLastUsage", json!({ "KeyId": key }))["KeyLastUsage"], json!({}));
    });
    assert_eq!(lab.code("GetKeyLastUsage", json!({ "KeyId": "alias/aws/s3" })), "NotFoundException");
}

#[test]
fn a_dry_run_says_that_it_would_have_worked_and_uses_nothing() {
    let mut lab = Lab::new();
    let key = lab.key(json!({}));
    assert_eq!(
        lab.code("Encrypt", json!({ "KeyId": key, "Plaintext": "eA==", "DryRun": true })),
        "DryRunOperationException"
    );
    assert_eq!(lab.ok("GetKeyLastUsage", json!({ "KeyId": key }))["KeyLastUsage"], json!({}));
    assert_eq!(lab.record("eu-central-1", "Encrypt")["errorCode"], "DryRunOperationException");
    let random =
        lab.ok("GenerateRandom", json!({ "NumberOfBytes": 33 }))["Plaintext"].as_str().unwrap().len();
    assert_eq!(random, 44);
    assert_eq!(lab.record("eu-central-1", "GenerateRandom")["resources"], json!([]));
}
