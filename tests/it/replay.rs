//! `keyward replay`: every event accounted for, from disk and from a bucket.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use keyward::sandbox::World;
use keyward::sandbox::clock::Clock;
use keyward::sandbox::s3::{self, Object};
use serde_json::{Value, json};

use crate::lab::{Lab, Ran};

const ACCOUNT: &str = "111122223333";
const BUCKET: &str = "trail-logs";
const LOGS: &str = "AWSLogs/o-abcdefghij/111122223333/CloudTrail/eu-central-1/2026/03/01";

/// A call that schedules a key's deletion, as CloudTrail logs it.
pub(crate) fn event(number: u32) -> Value {
    let key = "arn:aws:kms:eu-central-1:111122223333:key/11111111-2222-3333-4444-555555555555";
    json!({
        "eventVersion": "1.11", "eventID": format!("00000000-0000-4000-8000-{number:012}"),
        "eventTime": format!("2026-03-01T10:{:02}:00Z", number % 60),
        "eventSource": "kms.amazonaws.com", "eventName": "ScheduleKeyDeletion",
        "awsRegion": "eu-central-1", "recipientAccountId": ACCOUNT, "eventType": "AwsApiCall",
        "eventCategory": "Management", "managementEvent": true, "readOnly": false,
        "userIdentity": { "type": "Root", "principalId": ACCOUNT, "accountId": ACCOUNT,
            "arn": "arn:aws:iam::111122223333:root" },
        "sourceIPAddress": "198.51.100.7", "userAgent": "aws-cli/2",
        "requestParameters": { "keyId": key, "pendingWindowInDays": 7 },
        "responseElements": { "keyId": key, "keyState": "PendingDeletion", "pendingWindowInDays": 7 },
        "resources": [{ "accountId": ACCOUNT, "type": "AWS::KMS::Key", "ARN": key }],
    })
}

fn log(numbers: impl IntoIterator<Item = u32>) -> String {
    json!({ "Records": numbers.into_iter().map(event).collect::<Vec<_>>() }).to_string()
}

pub(crate) fn gzip(text: &str) -> Vec<u8> {
    let mut writer = GzEncoder::new(Vec::new(), Compression::fast());
    writer.write_all(text.as_bytes()).unwrap();
    writer.finish().unwrap()
}

/// The files of a copy of a bucket, some of them not as they should be.
fn files() -> Vec<(String, Vec<u8>)> {
    let lines: Vec<String> = (30..33).map(|number| event(number).to_string()).collect();
    let envelope = json!({ "version": "0", "detail-type": "AWS API Call via CloudTrail",
        "source": "aws.kms", "detail": event(40) });
    let cut: Vec<u8> = {
        let whole = gzip(&log(50..55));
        whole[..whole.len() / 2].to_vec()
    };
    let digests = LOGS.replace("/CloudTrail/", "/CloudTrail-Digest/");
    vec![
        (format!("{LOGS}/a.json.gz"), gzip(&log(0..10))),
        // Half of it again.
        (format!("{LOGS}/b.json.gz"), gzip(&log(5..15))),
        (format!("{LOGS}/c.json"), log(20..22).into_bytes()),
        (format!("{LOGS}/d.ndjson"), lines.join("\n").into_bytes()),
        (format!("{LOGS}/e.json"), envelope.to_string().into_bytes()),
        (format!("{LOGS}/f.json"), json!([event(60), { "eventName": "Encrypt" }]).to_string().into_bytes()),
        (format!("{LOGS}/z-cut.json.gz"), cut),
        (format!("{digests}/digest.json.gz"), gzip("{\"digestS3Bucket\":1}")),
        ("LICENSE".to_owned(), b"Licensed to nobody.\n".to_vec()),
    ]
}

fn lab() -> Lab {
    Lab::of(World::new(Clock::default()))
}

fn write(lab: &Lab, folder: &str) {
    for (name, bytes) in files() {
        std::fs::write(lab.write(&format!("{folder}/{name}"), ""), bytes).unwrap();
    }
}

/// Puts the files into a bucket that is in another Region than the one that is asked.
fn put(lab: &Lab) {
    lab.change(|world| {
        let now = world.now();
        world.s3.put_bucket(&estate_account(), &"eu-west-1".parse().unwrap(), BUCKET, now);
        for (key, bytes) in files() {
            assert!(s3::deliver(world, BUCKET, &key, Object::new(bytes, now)));
        }
    });
}

fn estate_account() -> keyward::model::AccountId {
    keyward::sandbox::estate::MANAGEMENT.parse().unwrap()
}

fn replay(lab: &Lab, arguments: &[&str]) -> Ran {
    lab.run(&[&["--log", "error", "replay", "--format", "json", "--jobs", "1"], arguments].concat())
}

/// The detections, and the summary after them.
pub(crate) fn lines(ran: &Ran) -> (Vec<Value>, Value) {
    let mut lines: Vec<Value> = ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let document = lines.pop().unwrap_or_else(|| panic!("{ran:?}"));
    assert_eq!(document["schema"], "keyward.replay/v1", "{ran:?}");
    (lines, document["summary"].clone())
}

/// What has to come of the files, wherever they are. Of the file that was cut off, whole events count.
fn check(ran: &Ran) {
    let (detections, summary) = lines(ran);
    assert_eq!(ran.code, 3, "{ran:?}");
    assert_eq!(summary["duplicates"], 5, "{summary:#}");
    let broken = summary["malformed_at"].as_array().unwrap();
    let named = |name: &str| broken.iter().any(|at| at["file"].as_str().unwrap().ends_with(name));
    assert!(broken.len() == 2 && named("f.json") && named("z-cut.json.gz"), "{summary:#}");
    assert_eq!(summary["malformed"], 2);
    let read = summary["events"].as_u64().unwrap();
    assert!((27..=31).contains(&read), "{summary:#}");
    assert_eq!(summary["kms_events"], read);
    let skipped = summary["files_skipped"].as_array().unwrap();
    assert!(skipped.len() == 1 && skipped[0].as_str().unwrap().ends_with("LICENSE"), "{summary:#}");
    assert_eq!((&summary["accounts"], &summary["regions"]), (&json!([ACCOUNT]), &json!(["eu-central-1"])));
    assert_eq!(summary["detections"], detections.len());
    assert!(detections.iter().any(|line| line["event_name"] == "ScheduleKeyDeletion"), "{ran:?}");
}

#[test]
fn every_event_of_a_folder_is_accounted_for() {
    let lab = lab();
    write(&lab, "copy");
    let first = replay(&lab, &["copy"]);
    check(&first);
    assert_eq!(lines(&first).0, lines(&replay(&lab, &["copy"])).0, "the order is always the same");
    assert_eq!(replay(&lab, &["copy", "--fail-on", "low"]).code, 1);
}

#[test]
fn a_bucket_is_read_as_its_copy_is_and_only_once_into_a_store() {
    let lab = lab();
    put(&lab);
    let place = format!("s3://{BUCKET}/AWSLogs");
    let whole = format!("s3://{BUCKET}");
    check(&replay(&lab, &[&whole]));
    let store = ["--store", "sqlite:replay.db"];
    let (_, first) = lines(&replay(&lab, &[&[place.as_str()], &store[..]].concat()));
    let (again, second) = lines(&replay(&lab, &[&[place.as_str()], &store[..]].concat()));
    assert_eq!((again.len(), &second["events"]), (0, &json!(0)), "{second:#}");
    assert_eq!(second["files_replayed_before"], first["files"]);
}

#[test]
fn what_is_not_there_is_said_with_its_place() {
    let lab = lab();
    replay(&lab, &["s3://no-such-bucket/logs"]).says(3, &["s3://no-such-bucket/logs: ", "NoSuchBucket"]);
    replay(&lab, &["s3:///logs"]).says(3, &["s3://BUCKET/PREFIX"]);
    replay(&lab, &["no/such/folder"]).says(3, &["no/such/folder: No such file"]);
}

#[test]
fn rules_of_ones_own_judge_too_and_those_for_other_products_are_left_out() {
    let lab = lab();
    lab.write(
        "sigma/own.yml",
        "title: A key is scheduled for deletion\nname: own-deletion\nlevel: high\n\
         logsource: { product: aws, service: cloudtrail }\n\
         detection:\n  selection: { eventSource: kms.amazonaws.com, eventName: ScheduleKeyDeletion }\n  \
         condition: selection\n",
    );
    lab.write(
        "sigma/many.yml",
        "title: Many keys\nlevel: critical\ncorrelation:\n  type: event_count\n  rules: [own-deletion]\n  \
         group-by: [recipientAccountId]\n  timespan: 1h\n  condition: { gte: 3 }\n",
    );
    lab.write(
        "sigma/other.yml",
        "title: Windows\nlevel: high\nlogsource: { product: windows, service: security }\n\
         detection:\n  selection: { EventID: 4625 }\n  condition: selection\n",
    );
    lab.write("log.json", &log(0..4));
    let ran =
        lab.run(&["replay", "--format", "json", "--rules", "sigma", "--fail-on", "critical", "log.json"]);
    ran.says(1, &["rules for other products are left out", "count=1"]);
    let (detections, summary) = lines(&ran);
    let of = |rule: &str| detections.iter().filter(|line| line["rule"] == rule).count();
    assert_eq!((of("own"), of("many")), (4, 1), "{ran:?}");
    assert_eq!(summary["detections"], detections.len());
}
