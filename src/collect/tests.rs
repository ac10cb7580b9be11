//! The collector as a whole, over a local AWS.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::testing::{FakeAws, Reply, WireCall, ok};
use super::*;
use crate::model::{AccountRegionSnapshot, Gap, KeySnapshot, ReadingResult};

const OWN: &str = "111122223333";
const OTHER: &str = "222233334444";
const REFUSED: &str = "333344445555";

fn config_of(text: &str) -> Config {
    toml::from_str(text).unwrap()
}

async fn collector(aws: &FakeAws, config: &Config) -> Collector {
    let sdk = sdk_config_for(&aws.endpoint(), OWN, "test", &"eu-central-1".parse().unwrap()).await;
    let mut collector = Collector::new(config, sdk, BTreeMap::new(), Arc::new(Unwatched));
    collector.clients.hurry();
    collector
}

fn key_arn(account: &str, region: &str) -> KeyArn {
    format!("arn:aws:kms:{region}:{account}:key/mrk-1").parse().unwrap()
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

fn regions(batch: &Batch) -> Vec<&AccountRegionSnapshot> {
    let mut regions = Vec::new();
    for snapshot in &batch.snapshots {
        if let Snapshot::AccountRegion(region) = snapshot {
            regions.push(region.as_ref());
        }
    }
    regions
}

/// Three accounts with a multi-Region key each in eu-central-1 (primary), eu-west-1 and us-east-1; one
/// account's role refuses. Whose keys are answered is decided by the credentials, as in AWS.
fn estate(call: &WireCall) -> Reply {
    let account = call.access_key.strip_prefix("AS").unwrap_or(&call.access_key).to_owned();
    match call.operation.as_str() {
        "AssumeRole" if call.text("RoleArn").contains(REFUSED) => call.error(403, "AccessDenied"),
        "AssumeRole" | "GetCallerIdentity" => call.sts(),
        "ListKeys" => {
            let arn = key_arn(&account, &call.region).to_string();
            ok(&json!({ "Keys": [{ "KeyId": "mrk-1", "KeyArn": arn }], "Truncated": false }))
        }
        "DescribeKey" => ok(&describe(&account, &call.region)),
        "GetKeyPolicy" => ok(&json!({ "Policy": "{}" })),
        "GetKeyRotationStatus" => ok(&json!({ "KeyRotationEnabled": true })),
        _ => ok(&json!({ "Truncated": false })),
    }
}

fn describe(account: &str, region: &str) -> Value {
    let member = |region: &str| json!({ "Arn": key_arn(account, region).to_string(), "Region": region });
    let role = if region == "eu-central-1" { "PRIMARY" } else { "REPLICA" };
    json!({ "KeyMetadata": {
        "KeyId": "mrk-1", "Arn": key_arn(account, region).to_string(), "KeyManager": "CUSTOMER",
        "KeyState": "Enabled", "KeySpec": "SYMMETRIC_DEFAULT", "KeyUsage": "ENCRYPT_DECRYPT", "Origin": "AWS_KMS",
        "MultiRegion": true, "MultiRegionConfiguration": {
            "MultiRegionKeyType": role, "PrimaryKey": member("eu-central-1"),
            "ReplicaKeys": [member("eu-west-1"), member("us-east-1")]
        }
    }})
}

#[tokio::test]
async fn every_account_is_read_with_its_own_credentials_and_one_that_refuses_is_reported() {
    let aws = FakeAws::start(estate).await;
    let config = config_of(&format!(
        "accounts = {{ static = ['{OWN}', '{OTHER}', '{REFUSED}'], role = 'KeywardReader', external_id = 'e-1' }}
         regions.include = ['eu-central-1', 'eu-west-1']"
    ));
    let collector = collector(&aws, &config).await;
    let found = collector.discover().await.unwrap();
    assert_eq!(found.caller.account.as_str(), OWN);
    assert_eq!(found.accounts.len(), 3);
    let places: Vec<_> = found.targets.iter().map(|t| (t.account.as_str(), t.region.as_str())).collect();
    assert_eq!(
        places,
        [(OWN, "eu-central-1"), (OWN, "eu-west-1"), (OTHER, "eu-central-1"), (OTHER, "eu-west-1")]
    );
    let refused = regions(&found.batches[0])[0];
    assert_eq!((refused.account.as_str(), refused.region.as_str()), (REFUSED, "aws-global"));
    let gap = Gap { api: "sts:AssumeRole".to_owned(), result: ReadingResult::Denied };
    assert_eq!(refused.keys, Observed::Unknown(gap));
    let assumed: Vec<_> = aws.log().into_iter().filter(|call| call.operation == "AssumeRole").collect();
    assert!(assumed.iter().all(|call| call.text("ExternalId") == "e-1"));
    assert!(assumed.iter().all(|call| call.text("RoleSessionName") == SESSION_NAME));
    assert!(assumed.iter().all(|call| !call.text("RoleArn").contains(OWN)), "the own account needs no role");

    let batch = collector.sweep(&found.targets[3]).await;
    assert!(batch.complete);
    assert_eq!(keys(&batch)[0].arn, key_arn(OTHER, "eu-west-1"));
    let last = aws.log().last().unwrap().clone();
    assert_eq!((last.access_key, last.region), (format!("AS{OTHER}"), "eu-west-1".to_owned()));
    let counts = collector.requests().snapshot();
    let listed = ("kms".to_owned(), "ListKeys".to_owned(), ReadingResult::Ok, 1);
    assert!(counts.contains(&listed), "{counts:?}");
    let refusals = ("sts".to_owned(), "AssumeRole".to_owned(), ReadingResult::Denied, 1);
    assert!(counts.contains(&refusals), "{counts:?}");
}

#[tokio::test]
async fn a_place_whose_role_was_never_assumed_is_not_read_with_the_callers_credentials() {
    let aws = FakeAws::start(estate).await;
    let collector = collector(&aws, &config_of(&format!("accounts.static = ['{OWN}']"))).await;
    let target = Target {
        account: OTHER.parse().unwrap(),
        region: "eu-central-1".parse().unwrap(),
        partition: "aws".to_owned(),
    };
    let batch = collector.sweep(&target).await;
    assert!(!batch.complete && keys(&batch).is_empty());
    assert_eq!(batch.readings[0].api, "sts:AssumeRole");
    assert!(regions(&batch)[0].keys.gap().is_some());
    assert!(aws.log().is_empty());
}

#[tokio::test]
async fn a_role_that_is_taken_away_later_is_a_refusal_of_every_call() {
    let assumed = std::sync::atomic::AtomicUsize::new(0);
    let aws = FakeAws::start(move |call| match call.operation.as_str() {
        "AssumeRole" if assumed.fetch_add(1, std::sync::atomic::Ordering::SeqCst) > 0 => {
            call.error(403, "AccessDenied")
        }
        _ => estate(call),
    })
    .await;
    let config =
        format!("accounts = {{ static = ['{OTHER}'], role = 'R' }}\nregions.include = ['eu-central-1']");
    let collector = collector(&aws, &config_of(&config)).await;
    let found = collector.discover().await.unwrap();
    let batch = collector.sweep(&found.targets[0]).await;
    assert!(!batch.complete);
    for reading in &batch.readings {
        assert_eq!(reading.result, ReadingResult::Denied, "{reading:?}");
        assert!(reading.detail.as_ref().unwrap().starts_with("AccessDenied"), "{reading:?}");
    }
}

#[tokio::test]
async fn without_an_answer_from_sts_the_error_names_the_remedy() {
    let aws = FakeAws::start(|call| call.error(403, "InvalidClientTokenId")).await;
    let error = collector(&aws, &Config::default()).await.discover().await.unwrap_err().to_string();
    assert!(error.contains("InvalidClientTokenId") && error.contains("credentials"), "{error}");
}

#[tokio::test]
async fn a_changed_key_is_read_again_with_all_members_of_its_set_that_are_audited() {
    let aws = FakeAws::start(estate).await;
    let config = config_of("regions.include = ['eu-central-1', 'eu-west-1']");
    let collector = collector(&aws, &config).await;
    let found = collector.discover().await.unwrap();
    let changed = BTreeSet::from([
        key_arn(OWN, "eu-west-1"),
        key_arn(OWN, "ap-south-1"),
        key_arn(REFUSED, "eu-central-1"),
    ]);
    let batch = collector.reread(&changed, &found.targets).await;
    let read: Vec<_> = keys(&batch).iter().map(|key| key.arn.region.as_str()).collect();
    assert_eq!(read, ["eu-central-1", "eu-west-1"], "us-east-1 and ap-south-1 are not audited");
    assert!(!batch.complete);
    assert_eq!((batch.account.unwrap().as_str(), batch.region), (OWN, None));
    assert_eq!(aws.calls("DescribeKey"), 2);
    assert!(
        aws.log()
            .iter()
            .filter(|call| call.operation == "ListAliases")
            .all(|call| call.text("KeyId") == "mrk-1")
    );
}

#[tokio::test]
async fn retries_keep_the_pace_too() {
    let aws = FakeAws::start(|call| call.error(400, "ThrottlingException")).await;
    let clients = aws.paced_clients(&crate::config::Accounts::default()).await;
    clients.set_own(&OWN.parse().unwrap());
    let region = clients.region(&OWN.parse().unwrap(), &"eu-central-1".parse().unwrap()).unwrap();
    let started = Instant::now();
    let readings = Readings::default();
    let calls =
        (0..2).map(|_| region.call(&readings, api::LOOKUP_EVENTS, region.cloudtrail.lookup_events().send()));
    futures::future::join_all(calls).await;
    let requests = aws.calls("LookupEvents");
    assert!(requests > 2, "they are retried");
    let least = Duration::from_millis(555) * u32::try_from(requests - 1).unwrap();
    assert!(started.elapsed() >= least, "{requests} requests in {:?}", started.elapsed());
    assert_eq!(readings.finish(clock::now())[0].result, ReadingResult::Throttled);
}

#[tokio::test]
async fn a_sweep_that_is_dropped_stops() {
    let aws = FakeAws::start(|call| {
        std::thread::sleep(Duration::from_millis(if call.operation == "DescribeKey" { 5 } else { 0 }));
        match call.operation.as_str() {
            "ListKeys" => {
                let keys: Vec<Value> = (0..900)
                    .map(|n| json!({ "KeyArn": format!("arn:aws:kms:eu-central-1:{OWN}:key/k-{n}") }))
                    .collect();
                ok(&json!({ "Keys": keys, "Truncated": false }))
            }
            _ => estate(call),
        }
    })
    .await;
    let collector = collector(&aws, &config_of("regions.include = ['eu-central-1']")).await;
    let found = collector.discover().await.unwrap();
    let sweep = collector.sweep(&found.targets[0]);
    assert!(tokio::time::timeout(Duration::from_millis(300), sweep).await.is_err());
    tokio::time::sleep(Duration::from_millis(500)).await;
    let after = aws.log().len();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(aws.log().len(), after);
}
