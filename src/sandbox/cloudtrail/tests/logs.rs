//! What trails deliver, as a consumer and a validator see it through the SDK.

use std::collections::BTreeMap;
use std::io::Read;

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use aws_smithy_types::DateTime as SdkTime;
use chrono::TimeDelta;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::trail;
use crate::sandbox::cloudtrail::{deliver_now, digest_now};
use crate::sandbox::kms::tests::Lab;
use crate::sandbox::organizations::Organization;
use crate::sandbox::testing::{account, other_account, root, sdk, start};
use crate::sandbox::{Sandbox, World};

const BUCKET: &str = "trail-logs";

/// A trail with validation into a bucket that there is, with more settings.
fn lab_with_trail(more: Value) -> Lab {
    let mut lab = Lab::new();
    let now = lab.world.now();
    lab.world.s3.put_bucket(&account(), &lab.region(), BUCKET, now);
    let mut create = json!({
        "Name": "main", "S3BucketName": BUCKET, "IsMultiRegionTrail": true, "EnableLogFileValidation": true,
    });
    create.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    trail(&mut lab, "CreateTrail", create).unwrap();
    trail(&mut lab, "StartLogging", json!({ "Name": "main" })).unwrap();
    lab
}

fn inflate(bytes: &[u8]) -> String {
    let mut text = String::new();
    flate2::read::GzDecoder::new(bytes).read_to_string(&mut text).unwrap();
    text
}

/// An object's inflated content as JSON.
fn document(world: &World, key: &str) -> Value {
    serde_json::from_str(&inflate(world.s3.object(BUCKET, key).unwrap().body())).unwrap()
}

fn event_names(log: &Value) -> Vec<&str> {
    log["Records"].as_array().unwrap().iter().map(|record| record["eventName"].as_str().unwrap()).collect()
}

#[test]
fn log_files_come_every_five_minutes_where_aws_puts_them() {
    let mut lab = lab_with_trail(json!({ "S3KeyPrefix": "some/prefix" }));
    lab.key(json!({}));
    lab.within("us-east-1", |lab| lab.key(json!({})));
    lab.world.clock.advance(TimeDelta::minutes(4));
    lab.ok("ListKeys", json!({}));
    assert!(lab.world.s3.keys(BUCKET).is_empty());
    lab.world.clock.advance(TimeDelta::minutes(1));
    lab.ok("ListAliases", json!({}));
    let keys = lab.world.s3.keys(BUCKET);
    let shape = r"^some/prefix/AWSLogs/111122223333/CloudTrail/(eu-central-1|us-east-1)/2026/11/23/111122223333_CloudTrail_(eu-central-1|us-east-1)_20261123T1205Z_[A-Z0-9]{16}\.json\.gz$";
    let shape = regex::Regex::new(shape).unwrap();
    assert!(keys.len() == 2 && keys.iter().all(|key| shape.is_match(key)), "{keys:?}");
    let log = document(&lab.world, &keys[0]);
    assert_eq!(
        event_names(&log),
        ["StartLogging", "CreateKey", "ListKeys"],
        "before the trail logged is not in it"
    );
    assert_eq!(log["Records"][1], lab.record("eu-central-1", "CreateKey"));
    let status = trail(&mut lab, "GetTrailStatus", json!({ "Name": "main" })).unwrap();
    assert_eq!(status["LatestDeliveryTime"], 1_795_435_200 + 300);
}

#[test]
fn a_trail_delivers_what_its_selectors_admit_while_it_logs() {
    let mut lab = lab_with_trail(json!({}));
    lab.key(json!({}));
    let write_only = json!({ "TrailName": "main", "EventSelectors": [{ "ReadWriteType": "WriteOnly" }] });
    trail(&mut lab, "PutEventSelectors", write_only).unwrap();
    lab.ok("ListKeys", json!({}));
    lab.key(json!({}));
    let fields = json!([
        { "Field": "eventCategory", "Equals": ["Management"] },
        { "Field": "eventName", "NotEquals": ["CreateKey"], "StartsWith": ["List", "Create"] },
        { "Field": "readOnly", "Equals": ["true", "false"] },
    ]);
    let advanced = json!({ "TrailName": "main", "AdvancedEventSelectors": [{ "FieldSelectors": fields }] });
    trail(&mut lab, "PutEventSelectors", advanced).unwrap();
    lab.key(json!({}));
    lab.ok("ListKeys", json!({}));
    trail(&mut lab, "StopLogging", json!({ "Name": "main" })).unwrap();
    lab.ok("ListKeys", json!({}));
    let keys = lab.world.s3.keys(BUCKET);
    let log = keys.iter().find(|key| key.contains("/CloudTrail/")).unwrap();
    let expected = ["StartLogging", "CreateKey", "PutEventSelectors", "CreateKey", "ListKeys"];
    assert_eq!(event_names(&document(&lab.world, log)), expected);
}

#[test]
fn an_organization_s_trail_keeps_its_members_apart() {
    let mut lab = Lab::new();
    let now = lab.world.now();
    let mut organization = Organization::new("o-exampleorgid", &account(), "Management", now);
    let root_id = organization.root_id();
    organization.add_account(&other_account(), "Member", &root_id, now);
    lab.world.organizations.add(organization);
    lab.world.s3.put_bucket(&account(), &lab.region(), BUCKET, now);
    for name in ["CreateTrail", "StartLogging"] {
        let input = json!({ "Name": "org", "S3BucketName": BUCKET, "IsMultiRegionTrail": true, "IsOrganizationTrail": true });
        trail(&mut lab, name, input).unwrap();
    }
    let key = |lab: &mut Lab| lab.key(json!({}));
    lab.by("222233334444", crate::sandbox::call::Principal::Root, key);
    lab.by("999988887777", crate::sandbox::call::Principal::Root, key);
    let delivered = deliver_now(&mut lab.world);
    let folders: Vec<&str> = delivered.iter().map(|key| key.split("/CloudTrail/").next().unwrap()).collect();
    assert_eq!(folders, ["AWSLogs/o-exampleorgid/111122223333", "AWSLogs/o-exampleorgid/222233334444"]);
    assert_eq!(event_names(&document(&lab.world, &delivered[1])), ["CreateKey"]);
    assert!(digest_now(&mut lab.world).is_empty(), "without validation there are no digests");
}

#[test]
fn notices_go_to_the_trail_s_topic_and_records_may_come_again() {
    let mut lab = lab_with_trail(json!({ "SnsTopicName": "notices" }));
    lab.key(json!({}));
    deliver_now(&mut lab.world);
    let status = trail(&mut lab, "GetTrailStatus", json!({ "Name": "main" })).unwrap();
    assert_eq!(status["LatestNotificationError"], "NotFound");
    lab.ask("sns:CreateTopic", json!({ "Name": "notices" })).unwrap();
    lab.ask("sqs:CreateQueue", json!({ "QueueName": "q" })).unwrap();
    let topic = "arn:aws:sns:eu-central-1:111122223333:notices";
    let queue = "arn:aws:sqs:eu-central-1:111122223333:q";
    let subscribe = json!({ "TopicArn": topic, "Protocol": "sqs", "Endpoint": queue });
    lab.ask("sns:Subscribe", subscribe).unwrap();
    deliver_now(&mut lab.world);
    lab.world.cloudtrail.logs.repeats = 1.0;
    lab.key(json!({}));
    let first = deliver_now(&mut lab.world);
    let again = deliver_now(&mut lab.world);
    assert_eq!(document(&lab.world, &first[0]), document(&lab.world, &again[0]));
    assert!(deliver_now(&mut lab.world).is_empty());
    let bodies = lab.world.sqs.bodies(queue);
    let envelope: Value = serde_json::from_str(bodies.last().unwrap()).unwrap();
    let notice: Value = serde_json::from_str(envelope["Message"].as_str().unwrap()).unwrap();
    assert_eq!(notice, json!({ "s3Bucket": BUCKET, "s3ObjectKey": again }));
}

/// Everything that a validator has: the digests with their metadata, and the public keys by fingerprint.
struct Evidence {
    digests: Vec<(String, String, BTreeMap<String, String>)>,
    keys: BTreeMap<String, Vec<u8>>,
}

async fn collect(sandbox: &Sandbox) -> Evidence {
    let config = sdk(sandbox, "eu-central-1", root(&account()));
    let s3 = aws_sdk_s3::Client::from_conf(
        aws_sdk_s3::config::Builder::from(&config).force_path_style(true).build(),
    );
    let prefix = "AWSLogs/111122223333/CloudTrail-Digest/eu-central-1/";
    let listed = s3.list_objects_v2().bucket(BUCKET).prefix(prefix).send().await.unwrap();
    let mut digests = Vec::new();
    for key in listed.contents().iter().filter_map(|object| object.key()) {
        let object = s3.get_object().bucket(BUCKET).key(key).send().await.unwrap();
        let metadata = object.metadata().unwrap().clone().into_iter().collect();
        let text = inflate(&object.body.collect().await.unwrap().to_vec());
        digests.push((key.to_owned(), text, metadata));
    }
    let trails = aws_sdk_cloudtrail::Client::new(&config);
    let range = |seconds: i64| SdkTime::from_secs(1_795_435_200 + seconds);
    let listed = trails.list_public_keys().start_time(range(0)).end_time(range(36_000)).send().await.unwrap();
    let keys = listed
        .public_key_list()
        .iter()
        .map(|key| (key.fingerprint().unwrap().to_owned(), key.value().unwrap().as_ref().to_vec()));
    Evidence { digests, keys: keys.collect() }
}

/// Verifies a digest as AWS documents it; gives its content.
fn verify(evidence: &Evidence, at: usize) -> Value {
    let (key, text, metadata) = &evidence.digests[at];
    let digest: Value = serde_json::from_str(text).unwrap();
    assert_eq!((&digest["digestS3Bucket"], &digest["digestS3Object"]), (&json!(BUCKET), &json!(key)));
    let signed = format!(
        "{}\n{BUCKET}/{key}\n{}\n{}",
        digest["digestEndTime"].as_str().unwrap(),
        hex::encode(Sha256::digest(text)),
        digest["previousDigestSignature"].as_str().unwrap_or("null"),
    );
    assert_eq!(metadata["signature-algorithm"], "SHA256withRSA");
    let public = &evidence.keys[digest["digestPublicKeyFingerprint"].as_str().unwrap()];
    let signature = hex::decode(&metadata["signature"]).unwrap();
    let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public);
    public.verify(signed.as_bytes(), &signature).unwrap();
    digest
}

#[tokio::test]
async fn digests_are_signed_and_chained_and_prove_the_log_files() {
    let mut lab = lab_with_trail(json!({}));
    for hour in 0..3 {
        lab.key(json!({}));
        if hour == 2 {
            let now = lab.world.now();
            lab.world.cloudtrail.keys.rotate(now);
        }
        lab.world.clock.advance(TimeDelta::minutes(5));
        lab.ok("ListKeys", json!({}));
        lab.world.clock.advance(TimeDelta::minutes(55));
        lab.ok("ListKeys", json!({}));
    }
    trail(&mut lab, "StopLogging", json!({ "Name": "main" })).unwrap();
    lab.world.clock.advance(TimeDelta::minutes(30));
    trail(&mut lab, "StartLogging", json!({ "Name": "main" })).unwrap();
    lab.world.clock.advance(TimeDelta::minutes(5));
    deliver_now(&mut lab.world);
    assert_eq!(digest_now(&mut lab.world).len(), 1);
    let status = trail(&mut lab, "GetTrailStatus", json!({ "Name": "main" })).unwrap();
    assert_eq!(status["LatestDigestDeliveryTime"], json!(lab.world.now().timestamp()));

    let sandbox = start(lab.world).await;
    let evidence = collect(&sandbox).await;
    assert_eq!(evidence.keys.len(), 2, "one was rotated");
    let digests: Vec<Value> = (0..evidence.digests.len()).map(|at| verify(&evidence, at)).collect();
    let times: Vec<(&str, &str)> = digests
        .iter()
        .map(|digest| {
            (digest["digestStartTime"].as_str().unwrap(), digest["digestEndTime"].as_str().unwrap())
        })
        .collect();
    assert_eq!(
        times,
        [
            ("2026-11-23T12:00:00Z", "2026-11-23T13:00:00Z"),
            ("2026-11-23T13:00:00Z", "2026-11-23T14:00:00Z"),
            ("2026-11-23T14:00:00Z", "2026-11-23T15:00:00Z"),
            ("2026-11-23T15:00:00Z", "2026-11-23T15:00:01Z"),
            ("2026-11-23T15:30:00Z", "2026-11-23T15:35:00Z"),
        ]
    );
    for (at, digest) in digests.iter().enumerate() {
        let (chained, previous) = ((1..4).contains(&at), evidence.digests.get(at.wrapping_sub(1)));
        let expected = previous.filter(|_| chained).map(|(key, text, metadata)| {
            (json!(key), json!(hex::encode(Sha256::digest(text))), json!(metadata["signature"]))
        });
        let found = ["S3Object", "HashValue", "Signature"]
            .map(|name| digest[format!("previousDigest{name}")].clone());
        assert_eq!(
            found,
            expected.map_or([Value::Null, Value::Null, Value::Null], <[Value; 3]>::from),
            "{at}"
        );
    }
    let world = sandbox.world();
    let world = world.lock().unwrap();
    let files: Vec<&Value> =
        digests.iter().flat_map(|digest| digest["logFiles"].as_array().unwrap()).collect();
    let mut proven: Vec<String> = Vec::new();
    for file in files {
        let key = file["s3Object"].as_str().unwrap();
        let text = inflate(world.s3.object(BUCKET, key).unwrap().body());
        assert_eq!(file["hashValue"], hex::encode(Sha256::digest(&text)));
        assert!(file["oldestEventTime"].as_str() <= file["newestEventTime"].as_str());
        proven.push(key.to_owned());
    }
    proven.sort();
    let logs: Vec<String> =
        world.s3.keys(BUCKET).into_iter().filter(|key| key.contains("/CloudTrail/")).collect();
    assert_eq!(proven, logs, "each log file is in one digest");
}

#[test]
fn a_leap_of_the_clock_breaks_no_chain() {
    let mut lab = lab_with_trail(json!({}));
    lab.key(json!({}));
    lab.world.clock.advance(TimeDelta::minutes(5));
    lab.ok("ListKeys", json!({}));
    lab.pass_days(7);
    lab.ok("ListKeys", json!({}));
    let digests: Vec<String> =
        lab.world.s3.keys(BUCKET).into_iter().filter(|key| key.contains("-Digest/")).collect();
    assert_eq!(digests.len(), 24);
    let mut end = "2026-11-23T12:00:00Z".to_owned();
    for key in &digests {
        let digest = document(&lab.world, key);
        assert_eq!(digest["digestStartTime"], end);
        digest["digestEndTime"].as_str().unwrap().clone_into(&mut end);
    }
    assert_eq!(end, "2026-11-30T12:00:00Z");
}

#[test]
fn what_is_tampered_with_or_fails_is_seen() {
    let mut lab = lab_with_trail(json!({}));
    lab.key(json!({}));
    let key = deliver_now(&mut lab.world).remove(0);
    assert!(lab.world.s3.alter(BUCKET, &key, "other"));
    assert_eq!(lab.world.s3.object(BUCKET, &key).unwrap().body().as_ref(), b"other");
    assert!(lab.world.s3.remove(BUCKET, &key).is_some());
    lab.key(json!({}));
    lab.ask("s3:DeleteBucket", json!({ "Bucket": BUCKET })).unwrap();
    assert!(deliver_now(&mut lab.world).is_empty());
    let status = trail(&mut lab, "GetTrailStatus", json!({ "Name": "main" })).unwrap();
    assert_eq!(status["LatestDeliveryError"], "NoSuchBucket");
    let now = lab.world.now();
    lab.world.s3.put_bucket(&account(), &lab.region(), BUCKET, now);
    let late = deliver_now(&mut lab.world);
    assert!(event_names(&document(&lab.world, &late[0])).contains(&"CreateKey"), "nothing was lost");
}
