//! Sweeps over a local AWS.

use serde_json::{Value, json};

use super::super::testing::{FakeAws, Reply, WireCall, ok};
use super::*;
use crate::collect::progress::Unwatched;
use crate::model::{Gap, Reading, ReadingResult};

const ACCOUNT: &str = "111122223333";

fn arn(id: &str) -> String {
    format!("arn:aws:kms:eu-central-1:{ACCOUNT}:key/{id}")
}

fn key_list(ids: &[&str]) -> Value {
    let keys: Vec<Value> = ids.iter().map(|id| json!({ "KeyId": id, "KeyArn": arn(id) })).collect();
    json!({ "Keys": keys, "Truncated": false })
}

/// The metadata of an ordinary customer key, with some members replaced.
fn metadata(id: &str, other: &Value) -> Value {
    let mut metadata = json!({
        "KeyId": id, "Arn": arn(id), "KeyManager": "CUSTOMER", "KeyState": "Enabled", "Enabled": true,
        "KeySpec": "SYMMETRIC_DEFAULT", "KeyUsage": "ENCRYPT_DECRYPT", "Origin": "AWS_KMS",
        "CreationDate": 1_700_000_000.0, "MultiRegion": false
    });
    for (member, value) in other.as_object().into_iter().flatten() {
        metadata[member] = value.clone();
    }
    json!({ "KeyMetadata": metadata })
}

/// What a Region answers in which nothing is out of the ordinary.
fn ordinary(call: &WireCall) -> Reply {
    match call.operation.as_str() {
        "ListKeys" => ok(&key_list(&["one"])),
        "ListAliases" => ok(&json!({ "Aliases": [], "Truncated": false })),
        "DescribeCustomKeyStores" => ok(&json!({ "CustomKeyStores": [], "Truncated": false })),
        "DescribeKey" => {
            let id = call.text("KeyId").rsplit('/').next().unwrap_or_default().to_owned();
            ok(&metadata(&id, &json!({})))
        }
        "GetKeyPolicy" => ok(&json!({ "Policy": "{}", "PolicyName": "default" })),
        "GetKeyRotationStatus" => ok(&json!({ "KeyRotationEnabled": true, "RotationPeriodInDays": 180 })),
        "ListKeyRotations" => ok(&json!({ "Rotations": [], "Truncated": false })),
        "ListGrants" => ok(&json!({ "Grants": [], "Truncated": false })),
        "ListResourceTags" => ok(&json!({ "Tags": [], "Truncated": false })),
        "DescribeTrails" => ok(&json!({ "trailList": [] })),
        "DescribeConfigurationRecorders" => ok(&json!({ "ConfigurationRecorders": [] })),
        "DescribeConfigRules" => ok(&json!({ "ConfigRules": [] })),
        _ => call.unexpected(),
    }
}

async fn sweep(aws: &FakeAws) -> Batch {
    let target = Target {
        account: ACCOUNT.parse().unwrap(),
        region: "eu-central-1".parse().unwrap(),
        partition: "aws".to_owned(),
    };
    let clients = aws.clients().await;
    let clients = clients.region(&target.account, &target.region).unwrap();
    let in_flight = Semaphore::new(8);
    let inventory = Inventory {
        target: &target,
        clients: &clients,
        with_config: true,
        in_flight: &in_flight,
        progress: &Unwatched,
    };
    Box::pin(inventory.sweep()).await
}

fn keys(batch: &Batch) -> Vec<&KeySnapshot> {
    let mut keys = Vec::new();
    for snapshot in &batch.snapshots {
        if let Snapshot::Key(key) = snapshot {
            keys.push(key.as_ref());
        }
    }
    keys
}

fn region(batch: &Batch) -> &AccountRegionSnapshot {
    match batch.snapshots.last().unwrap() {
        Snapshot::AccountRegion(region) => region,
        Snapshot::Key(_) => panic!("the Region comes last"),
    }
}

fn reading<'a>(batch: &'a Batch, api: &str) -> &'a Reading {
    batch.readings.iter().find(|reading| reading.api == api).unwrap()
}

fn gap(api: &str, result: ReadingResult) -> Gap {
    Gap { api: api.to_owned(), result }
}

#[tokio::test]
async fn an_ordinary_key_takes_five_calls_and_a_region_three() {
    let aws = FakeAws::start(ordinary).await;
    let batch = sweep(&aws).await;
    assert!(batch.complete);
    let kms = ["ListKeys", "ListAliases", "DescribeCustomKeyStores", "DescribeKey", "GetKeyPolicy"];
    let kms = kms.into_iter().chain(["GetKeyRotationStatus", "ListGrants", "ListResourceTags"]);
    for operation in kms {
        assert_eq!(aws.calls(operation), 1, "{operation}");
    }
    assert_eq!(aws.calls("ListKeyRotations"), 0, "automatic rotation is on");
    let key = keys(&batch)[0];
    assert_eq!(key.rotation.known().unwrap().period_days, Some(180));
    assert_eq!(key.aliases, Observed::Known(Vec::new()));
    assert!(batch.readings.iter().all(|reading| reading.result == ReadingResult::Ok));
    assert_eq!(region(&batch).keys, Observed::Known(1));
    let agent = &aws.log()[0].user_agent;
    assert!(agent.contains(crate::collect::USER_AGENT_MARK), "{agent}");
}

#[tokio::test]
async fn more_than_a_page_of_keys_is_read_to_the_end() {
    let aws = FakeAws::start(|call| {
        let page = |from: usize, to: usize, next: Option<&str>| {
            let ids: Vec<String> = (from..to).map(|n| format!("key-{n:04}")).collect();
            let mut list = key_list(&ids.iter().map(String::as_str).collect::<Vec<_>>());
            if let Some(next) = next {
                list["Truncated"] = json!(true);
                list["NextMarker"] = json!(next);
            }
            list
        };
        match (call.operation.as_str(), call.token()) {
            ("ListKeys", None) => {
                assert_eq!(call.input["Limit"], 1000);
                ok(&page(0, 40, Some("m2")))
            }
            ("ListKeys", Some("m2")) => ok(&page(40, 80, Some("m3"))),
            ("ListKeys", Some(_)) => ok(&page(80, 100, None)),
            ("DescribeKey", _) => ok(&metadata("aws", &json!({ "KeyManager": "AWS" }))),
            _ => ordinary(call),
        }
    })
    .await;
    let batch = sweep(&aws).await;
    assert!(batch.complete);
    assert_eq!(keys(&batch).len(), 100);
    assert_eq!((aws.calls("ListKeys"), aws.calls("DescribeKey")), (3, 100));
    assert_eq!(aws.calls("GetKeyPolicy"), 0, "AWS managed keys are listed and not judged");
}

#[tokio::test]
async fn a_list_that_says_more_without_a_marker_is_not_complete_and_does_not_loop() {
    let aws = FakeAws::start(|call| match call.operation.as_str() {
        "ListKeys" => {
            let mut list = key_list(&["one", "two"]);
            list["Truncated"] = json!(true);
            ok(&list)
        }
        _ => ordinary(call),
    })
    .await;
    let batch = sweep(&aws).await;
    assert!(!batch.complete);
    assert_eq!(keys(&batch).len(), 2, "what came is read");
    assert_eq!(region(&batch).keys, Observed::Unknown(gap("kms:ListKeys", ReadingResult::Unreachable)));
    let reading = reading(&batch, "kms:ListKeys");
    assert!(reading.detail.as_ref().unwrap().contains("no marker"), "{reading:?}");
}

#[tokio::test]
async fn a_key_that_refuses_everything_is_unknown_and_the_others_are_read() {
    let aws = FakeAws::start(|call| match call.operation.as_str() {
        "ListKeys" => ok(&key_list(&["closed", "open"])),
        operation if operation != "ListKeys" && call.text("KeyId").ends_with("/closed") => {
            call.error(400, "AccessDeniedException")
        }
        _ => ordinary(call),
    })
    .await;
    let batch = sweep(&aws).await;
    assert!(batch.complete, "the key is there, so that nothing vanished");
    let (closed, open) = (keys(&batch)[0], keys(&batch)[1]);
    let denied = |api| gap(api, ReadingResult::Denied);
    assert_eq!(closed.metadata, Observed::Unknown(denied("kms:DescribeKey")));
    assert_eq!(closed.rotation, Observed::Unknown(denied("kms:DescribeKey")), "not known to be eligible");
    assert_eq!(closed.policy, Observed::Unknown(denied("kms:GetKeyPolicy")));
    assert_eq!(closed.tags, Observed::Unknown(denied("kms:ListResourceTags")));
    assert!(closed.aliases.known().is_some(), "the Region's aliases tell");
    assert!(open.policy.known().is_some());
    let reading = reading(&batch, "kms:GetKeyPolicy");
    assert_eq!((reading.attempts, reading.failed, reading.result), (2, 1, ReadingResult::Denied));
    assert!(region(&batch).gaps.contains(&denied("kms:GetKeyPolicy")));
}

#[tokio::test]
async fn a_region_that_does_not_answer_is_a_reading_and_its_keys_are_not_gone() {
    let aws = FakeAws::start(|_| (503, "<html>out of order</html>".to_owned())).await;
    let batch = sweep(&aws).await;
    assert!(!batch.complete);
    let unreachable = |api| gap(api, ReadingResult::Unreachable);
    assert_eq!(region(&batch).keys, Observed::Unknown(unreachable("kms:ListKeys")));
    assert_eq!(region(&batch).trails, Observed::Unknown(unreachable("cloudtrail:DescribeTrails")));
    assert_eq!(reading(&batch, "kms:ListKeys").result, ReadingResult::Unreachable);
    assert_eq!(aws.calls("ListKeys"), 3, "the SDK's standard retry");
}

#[tokio::test]
async fn a_throttle_is_retried_and_one_that_lasts_is_a_reading() {
    let first = std::sync::atomic::AtomicBool::new(true);
    let aws = FakeAws::start(move |call| match call.operation.as_str() {
        "GetKeyPolicy" => call.error(400, "ThrottlingException"),
        "ListGrants" if first.swap(false, std::sync::atomic::Ordering::SeqCst) => {
            call.error(400, "ThrottlingException")
        }
        _ => ordinary(call),
    })
    .await;
    let batch = sweep(&aws).await;
    let key = keys(&batch)[0];
    assert_eq!(key.policy, Observed::Unknown(gap("kms:GetKeyPolicy", ReadingResult::Throttled)));
    assert!(key.grants.known().is_some());
    assert_eq!(reading(&batch, "kms:ListGrants").result, ReadingResult::Ok);
}

#[tokio::test]
async fn a_key_that_is_deleted_during_the_sweep_is_gone_and_no_failure() {
    let aws = FakeAws::start(|call| match call.operation.as_str() {
        "ListKeys" => ok(&key_list(&["gone", "here"])),
        "DescribeKey" if call.text("KeyId").ends_with("/gone") => call.error(400, "NotFoundException"),
        _ => ordinary(call),
    })
    .await;
    let batch = sweep(&aws).await;
    assert!(batch.complete);
    assert_eq!(keys(&batch).len(), 1);
    assert_eq!(reading(&batch, "kms:DescribeKey").result, ReadingResult::Ok);
}

#[tokio::test]
async fn rotation_is_asked_for_only_where_aws_has_it() {
    let aws = FakeAws::start(|call| match call.operation.as_str() {
        "ListKeys" => ok(&key_list(&["external", "hmac", "mrk-replica", "off", "rsa", "store"])),
        "DescribeKey" => {
            let id = call.text("KeyId").rsplit('/').next().unwrap().to_owned();
            let related = json!({
                "MultiRegionKeyType": "REPLICA", "PrimaryKey": { "Arn": arn(&id), "Region": "us-east-1" },
                "ReplicaKeys": [{ "Arn": arn(&id), "Region": "eu-central-1" }]
            });
            ok(&metadata(
                &id,
                &match id.as_str() {
                    "rsa" => json!({ "KeySpec": "RSA_2048", "KeyUsage": "SIGN_VERIFY" }),
                    "hmac" => json!({ "KeySpec": "HMAC_256", "KeyUsage": "GENERATE_VERIFY_MAC" }),
                    "external" => json!({ "Origin": "EXTERNAL", "ValidTo": 1_900_000_000.0 }),
                    "store" => json!({ "Origin": "AWS_CLOUDHSM", "CustomKeyStoreId": "cks-1" }),
                    "mrk-replica" => json!({ "MultiRegion": true, "MultiRegionConfiguration": related }),
                    _ => json!({}),
                },
            ))
        }
        "GetKeyRotationStatus" => ok(&json!({ "KeyRotationEnabled": false })),
        "ListKeyRotations" => ok(&json!({ "Truncated": false, "Rotations": [
            { "RotationDate": 1_750_000_000.0, "RotationType": "ON_DEMAND" },
            { "KeyMaterialId": "first", "ImportState": "IMPORTED", "ValidTo": 1_800_000_000.0 },
        ]})),
        _ => ordinary(call),
    })
    .await;
    let batch = sweep(&aws).await;
    let asked = |operation: &str| -> Vec<String> {
        let calls = aws.log().into_iter().filter(|call| call.operation == operation);
        let mut ids: Vec<String> =
            calls.map(|call| call.text("KeyId").rsplit('/').next().unwrap().to_owned()).collect();
        ids.sort();
        ids
    };
    assert_eq!(asked("GetKeyRotationStatus"), ["off"]);
    assert_eq!(asked("ListKeyRotations"), ["external", "off"]);
    let external = keys(&batch)[0];
    assert_eq!(external.rotation, Observed::NotApplicable);
    let rotations = external.rotations.known().unwrap();
    assert_eq!(rotations[0].material_id.as_deref(), Some("first"), "oldest first");
    let expires = external.metadata.known().unwrap().valid_to.unwrap().timestamp();
    assert_eq!(expires, 1_800_000_000, "the earliest of all materials");
    assert_eq!(keys(&batch)[2].rotation, Observed::NotApplicable, "a replica mirrors its primary");
}

#[tokio::test]
async fn a_rotation_that_is_not_supported_is_not_an_error() {
    let aws = FakeAws::start(|call| match call.operation.as_str() {
        "GetKeyRotationStatus" => call.error(400, "UnsupportedOperationException"),
        _ => ordinary(call),
    })
    .await;
    let batch = sweep(&aws).await;
    assert_eq!(keys(&batch)[0].rotation, Observed::NotApplicable);
    assert_eq!(reading(&batch, "kms:GetKeyRotationStatus").result, ReadingResult::Ok);
}

#[tokio::test]
async fn aliases_are_read_once_for_the_region_and_grants_page_by_page() {
    let aws = FakeAws::start(|call| match (call.operation.as_str(), call.token()) {
        ("ListAliases", None) => ok(&json!({ "Truncated": true, "NextMarker": "2", "Aliases": [
            { "AliasName": "alias/b", "TargetKeyId": "one" }, { "AliasName": "alias/aws/ebs" },
        ]})),
        ("ListAliases", _) => ok(&json!({ "Truncated": false, "Aliases": [
            { "AliasName": "alias/a", "TargetKeyId": "one" },
        ]})),
        ("ListGrants", None) => ok(&json!({ "Truncated": true, "NextMarker": "2", "Grants": [
            { "GrantId": "g2", "Operations": ["Decrypt"], "GranteePrincipal": "arn:aws:iam::444455556666:root" },
        ]})),
        ("ListGrants", _) => ok(&json!({ "Truncated": false, "Grants": [{ "GrantId": "g1" }] })),
        _ => ordinary(call),
    })
    .await;
    let batch = sweep(&aws).await;
    let key = keys(&batch)[0];
    assert_eq!(key.aliases.known().unwrap(), &["alias/a", "alias/b"]);
    let grants: Vec<_> = key.grants.known().unwrap().iter().map(|grant| grant.id.as_str()).collect();
    assert_eq!(grants, ["g1", "g2"]);
}

#[tokio::test]
async fn last_usage_leaves_a_region_that_does_not_know_the_call() {
    let aws = FakeAws::start(|call| call.error(400, "UnknownOperationException")).await;
    let clients = aws.clients().await;
    let region = clients.region(&ACCOUNT.parse().unwrap(), &"eu-central-1".parse().unwrap()).unwrap();
    let asked: Vec<KeyArn> = (0..20).map(|n| arn(&format!("key-{n}")).parse().unwrap()).collect();
    let readings = Readings::default();
    let sampled = last_usage(&region, &readings, &asked).await;
    assert_eq!(sampled.len(), 5);
    assert!(sampled.values().all(|usage| usage.gap().is_some()));
}
