//! The policies of `deploy/iam/`: valid, least, and the same as what their README says.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

const READER: &str = include_str!("../../deploy/iam/keyward-reader-policy.json");
const HUB: &str = include_str!("../../deploy/iam/keyward-hub-policy.json");
const QUEUE: &str = include_str!("../../deploy/iam/keyward-queue-policy.json");
const TRUST: &str = include_str!("../../deploy/iam/keyward-reader-trust.json");
const KEY_STATEMENT: &str = include_str!("../../deploy/iam/key-policy-statement.json");
const README: &str = include_str!("../../deploy/iam/README.md");

/// What one key's policy decides about, so that IAM can only allow it for key ARNs.
const OF_A_KEY: [&str; 7] = [
    "kms:DescribeKey",
    "kms:GetKeyLastUsage",
    "kms:GetKeyPolicy",
    "kms:GetKeyRotationStatus",
    "kms:ListGrants",
    "kms:ListKeyRotations",
    "kms:ListResourceTags",
];

/// What does more than read: alerts, the messages of the queue, and the one use of a key, which log files need.
const NO_READS: [&str; 6] = [
    "kms:Decrypt",
    "sns:Publish",
    "sqs:ChangeMessageVisibility",
    "sqs:DeleteMessage",
    "sqs:ReceiveMessage",
    "sts:AssumeRole",
];

fn statements(policy: &str) -> Vec<Value> {
    let document: Value = serde_json::from_str(policy).unwrap();
    assert_eq!(document["Version"], "2012-10-17");
    document["Statement"].as_array().unwrap().clone()
}

fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::Array(items) => items.iter().map(|item| item.as_str().unwrap().to_owned()).collect(),
        one => vec![one.as_str().unwrap().to_owned()],
    }
}

/// Action to the resources that it is allowed on.
fn allowed(statements: &[Value]) -> BTreeMap<String, Vec<String>> {
    let mut all = BTreeMap::new();
    for statement in statements {
        assert_eq!(statement["Effect"], "Allow");
        for action in texts(&statement["Action"]) {
            let twice = all.insert(action.clone(), texts(&statement["Resource"]));
            assert_eq!(twice, None, "{action} is allowed twice");
        }
    }
    all
}

fn every_statement() -> Vec<Value> {
    let mut all = statements(READER);
    all.extend(statements(HUB));
    all.extend(statements(QUEUE));
    all.extend(statements(TRUST));
    all.push(serde_json::from_str(KEY_STATEMENT).unwrap());
    all
}

#[test]
fn no_action_has_a_wildcard_and_none_changes_or_uses_anything() {
    for statement in every_statement() {
        assert!(statement.get("NotAction").is_none() && statement.get("NotResource").is_none());
        for action in texts(&statement["Action"]) {
            let (_, verb) = action.split_once(':').unwrap();
            assert!(!action.contains(['*', '?']), "{action}");
            let reads = ["Describe", "Get", "List", "Lookup"].iter().any(|prefix| verb.starts_with(prefix));
            assert!(reads || NO_READS.contains(&action.as_str()), "{action}");
        }
    }
}

#[test]
fn the_reader_may_do_what_the_collector_calls_and_no_more() {
    let expected: BTreeSet<&str> = [
        "account:ListRegions",
        "cloudtrail:DescribeTrails",
        "cloudtrail:GetEventSelectors",
        "cloudtrail:GetTrailStatus",
        "cloudtrail:ListPublicKeys",
        "cloudtrail:LookupEvents",
        "config:DescribeConfigRules",
        "config:DescribeConfigurationRecorderStatus",
        "config:DescribeConfigurationRecorders",
        "config:DescribeDeliveryChannelStatus",
        "config:GetComplianceDetailsByConfigRule",
        "kms:DescribeCustomKeyStores",
        "kms:ListAliases",
        "kms:ListKeys",
        "s3:GetObject",
        "s3:ListBucket",
    ]
    .into_iter()
    .chain(OF_A_KEY)
    .collect();
    let reader = allowed(&statements(READER));
    assert_eq!(reader.keys().map(String::as_str).collect::<BTreeSet<_>>(), expected);
}

#[test]
fn what_a_key_policy_decides_is_allowed_for_keys_only() {
    let reader = allowed(&statements(READER));
    for action in OF_A_KEY {
        assert_eq!(reader[action], ["arn:aws:kms:*:*:key/*"], "{action}");
    }
    let statement: Value = serde_json::from_str(KEY_STATEMENT).unwrap();
    assert_eq!(texts(&statement["Action"]), OF_A_KEY);
    assert!(statement["Principal"]["AWS"].as_str().unwrap().ends_with(":role/KeywardReader"));
}

#[test]
fn the_hub_has_all_of_the_reader_and_its_own_on_named_resources() {
    let (reader, hub) = (statements(READER), statements(HUB));
    assert!(reader.iter().all(|statement| hub.contains(statement)));
    let own: Vec<Value> = hub.into_iter().filter(|statement| !reader.contains(statement)).collect();
    let own = allowed(&own);
    assert_eq!(
        own.keys().map(String::as_str).collect::<Vec<_>>(),
        ["organizations:ListAccounts", "organizations:ListParents", "sns:Publish", "sts:AssumeRole"]
    );
    assert_eq!(own["sts:AssumeRole"], ["arn:aws:iam::*:role/KeywardReader"]);
    assert!(own["sns:Publish"].iter().all(|topic| topic.starts_with("arn:aws:sns:") && !topic.contains('*')));
}

#[test]
fn the_queue_is_read_with_its_own_policy_on_named_resources() {
    let queue = allowed(&statements(QUEUE));
    assert_eq!(
        queue.keys().map(String::as_str).collect::<Vec<_>>(),
        [
            "kms:Decrypt",
            "s3:GetObject",
            "s3:ListBucket",
            "sqs:ChangeMessageVisibility",
            "sqs:DeleteMessage",
            "sqs:GetQueueAttributes",
            "sqs:ReceiveMessage"
        ]
    );
    assert_eq!(queue["s3:GetObject"], ["arn:aws:s3:::TRAIL_BUCKET/*"]);
    assert_eq!(queue["s3:ListBucket"], ["arn:aws:s3:::TRAIL_BUCKET"]);
    let rest = queue.iter().filter(|(action, _)| *action != "s3:GetObject");
    assert!(rest.flat_map(|(_, resources)| resources).all(|resource| !resource.contains('*')));
    let of_keys =
        statements(QUEUE).into_iter().find(|statement| texts(&statement["Action"]) == ["kms:Decrypt"]);
    let only_through = &of_keys.unwrap()["Condition"]["StringLike"]["kms:ViaService"];
    assert_eq!(texts(only_through), ["s3.*.amazonaws.com", "sqs.*.amazonaws.com"]);
}

#[test]
fn log_files_are_read_in_a_named_bucket_only() {
    let reader = allowed(&statements(READER));
    assert_eq!(reader["s3:ListBucket"], ["arn:aws:s3:::LOG_BUCKET"]);
    assert_eq!(reader["s3:GetObject"], ["arn:aws:s3:::LOG_BUCKET/*"]);
}

#[test]
fn only_the_hub_with_the_external_id_may_assume_the_reader() {
    let trust = statements(TRUST);
    assert_eq!(trust.len(), 1);
    assert_eq!(trust[0]["Principal"]["AWS"], "arn:aws:iam::HUB_ACCOUNT_ID:role/KeywardHub");
    assert_eq!(trust[0]["Condition"]["StringEquals"]["sts:ExternalId"], "EXTERNAL_ID");
}

#[test]
fn the_readme_tells_of_every_file_action_and_placeholder() {
    for file in [
        "keyward-reader-policy",
        "keyward-hub-policy",
        "keyward-queue-policy",
        "keyward-reader-trust",
        "key-policy-statement",
    ] {
        assert!(README.contains(&format!("`{file}.json`")), "{file}");
    }
    for action in every_statement().iter().flat_map(|statement| texts(&statement["Action"])) {
        assert!(README.contains(&format!("`{action}`")), "{action}");
    }
    for placeholder in [
        "HUB_ACCOUNT_ID",
        "ACCOUNT_ID",
        "EXTERNAL_ID",
        "TOPIC_REGION",
        "TOPIC_NAME",
        "LOG_BUCKET",
        "QUEUE_REGION",
        "QUEUE_ACCOUNT_ID",
        "QUEUE_NAME",
        "TRAIL_BUCKET",
        "TRAIL_KEY_REGION",
        "TRAIL_KEY_ACCOUNT_ID",
        "TRAIL_KEY_ID",
    ] {
        assert!(README.contains(&format!("`{placeholder}`")), "{placeholder}");
        assert!([HUB, READER, TRUST, QUEUE, KEY_STATEMENT].concat().contains(placeholder), "{placeholder}");
    }
}
