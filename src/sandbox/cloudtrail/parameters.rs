//! `requestParameters` and `responseElements`: which members records have, and how they are written.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use crate::sandbox::call::Call;
use crate::sandbox::kms::{lower_first, time};

/// What records never show.
const OMITTED: &[&str] = &[
    "Plaintext",
    "CiphertextBlob",
    "Message",
    "Mac",
    "Signature",
    "EncryptedKeyMaterial",
    "ImportToken",
    "GrantTokens",
    "GrantToken",
    "Recipient",
    "KeyStorePassword",
    "XksProxyAuthenticationCredential",
    "SecretAccessKey",
    "PrivateKeyPlaintext",
];

/// Members that hold a point in time.
const TIMES: &[&str] = &[
    "CreationDate",
    "DeletionDate",
    "ValidTo",
    "StartTime",
    "EndTime",
    "ParametersValidTo",
    "RotationDate",
    "Expiration",
];

/// Members whose inner names are the caller's own.
const FREE: &[&str] = &[
    "EncryptionContext",
    "EncryptionContextSubset",
    "EncryptionContextEquals",
    "SourceEncryptionContext",
    "DestinationEncryptionContext",
];

/// A value of the API as records write it: `keyId` for `KeyId`, times as text, secrets left out.
pub(super) fn camel(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let shown = members.iter().filter(|(name, _)| !OMITTED.contains(&name.as_str()));
            Value::Object(
                shown.map(|(name, value)| (lower_first(name), member(name, value, members))).collect(),
            )
        }
        Value::Array(items) => Value::Array(items.iter().map(camel).collect()),
        other => other.clone(),
    }
}

fn member(name: &str, value: &Value, members: &Map<String, Value>) -> Value {
    if FREE.contains(&name) {
        return value.clone();
    }
    let is_time = TIMES.contains(&name) && value.is_number();
    match is_time.then(|| time(&Value::Object(members.clone()), name)).flatten() {
        Some(at) => json!(spoken(at)),
        None => camel(value),
    }
}

/// `Nov 18, 2020, 1:29:18 AM`.
fn spoken(time: DateTime<Utc>) -> String {
    time.format("%b %-d, %Y, %-I:%M:%S %p").to_string()
}

/// `requestParameters`.
pub(super) fn request(call: &Call) -> Value {
    // Its only parameter may be a secret, so AWS shows none.
    if call.operation == "RetireGrant" {
        return Value::Null;
    }
    let mut input = call.input.clone();
    if let Some(members) = input.as_object_mut() {
        for (name, value) in defaults(call) {
            members.entry(name).or_insert(value);
        }
        if call.service == "kms" && call.operation == "CreateKey" {
            let spec = members.get("KeySpec").or_else(|| members.get("CustomerMasterKeySpec")).cloned();
            let spec = spec.unwrap_or_else(|| json!("SYMMETRIC_DEFAULT"));
            members.insert("CustomerMasterKeySpec".to_owned(), spec.clone());
            members.insert("KeySpec".to_owned(), spec);
        }
    }
    match camel(&input) {
        Value::Object(members) if members.is_empty() => Value::Null,
        shown => shown,
    }
}

/// What AWS writes where the caller said nothing.
fn defaults(call: &Call) -> Vec<(&'static str, Value)> {
    if call.service != "kms" {
        return Vec::new();
    }
    match call.operation.as_str() {
        "CreateKey" => vec![
            ("Description", json!("")),
            ("Origin", json!("AWS_KMS")),
            ("KeyUsage", json!("ENCRYPT_DECRYPT")),
            ("BypassPolicyLockoutSafetyCheck", json!(false)),
            ("MultiRegion", json!(false)),
        ],
        "ReplicateKey" => vec![("Description", json!("")), ("BypassPolicyLockoutSafetyCheck", json!(false))],
        "PutKeyPolicy" => {
            vec![("PolicyName", json!("default")), ("BypassPolicyLockoutSafetyCheck", json!(false))]
        }
        "ScheduleKeyDeletion" => vec![("PendingWindowInDays", json!(30))],
        "Encrypt" | "Decrypt" => vec![("EncryptionAlgorithm", json!("SYMMETRIC_DEFAULT"))],
        _ => Vec::new(),
    }
}

/// `responseElements` of a call that succeeded; `key` is the ARN of the key that it changed.
pub(super) fn response(call: &Call, output: &Value, read_only: bool, key: Option<&str>) -> Value {
    if call.service != "kms" {
        let shown = camel(output);
        let shows_answer = !read_only || call.operation == "AssumeRole";
        return if shows_answer && !is_empty(&shown) { shown } else { Value::Null };
    }
    match call.operation.as_str() {
        "CreateAlias"
        | "UpdateAlias"
        | "DeleteAlias"
        | "DisableKey"
        | "EnableKey"
        | "EnableKeyRotation"
        | "TagResource"
        | "UntagResource"
        | "UpdatePrimaryRegion" => json!({ "keyId": key }),
        "CreateGrant" => json!({ "grantId": output.get("GrantId"), "keyId": key }),
        "ScheduleKeyDeletion" => {
            let mut shown = camel(output);
            if let Some(members) = shown.as_object_mut()
                && members.contains_key("deletionDate")
            {
                members.remove("pendingWindowInDays");
            }
            shown
        }
        "CreateKey"
        | "ReplicateKey"
        | "CancelKeyDeletion"
        | "RotateKeyOnDemand"
        | "ImportKeyMaterial"
        | "CreateCustomKeyStore" => camel(output),
        _ => Value::Null,
    }
}

fn is_empty(value: &Value) -> bool {
    value.is_null() || value.as_object().is_some_and(Map::is_empty)
}

/// Whether AWS calls an operation read-only. Using a key is.
pub(super) fn is_read_only(service: &str, operation: &str) -> bool {
    const USES: &[&str] = &[
        "Encrypt",
        "Decrypt",
        "ReEncrypt",
        "Sign",
        "Verify",
        "VerifyMac",
        "GenerateMac",
        "GenerateRandom",
        "DeriveSharedSecret",
        "Encapsulate",
        "Decapsulate",
    ];
    let reads = ["Get", "List", "Describe", "Lookup", "BatchGet", "Select"];
    reads.iter().any(|prefix| operation.starts_with(prefix))
        || (service == "sts" && operation.starts_with("AssumeRole"))
        || (service == "kms" && (USES.contains(&operation) || operation.starts_with("GenerateDataKey")))
}
