//! `keyward evidence verify-logs` and the daemon's own check, on what the built-in AWS delivers.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use keyward::clock;
use keyward::sandbox::call::Principal;
use keyward::sandbox::clock::Clock;
use keyward::sandbox::faults::{Effect, Fault};
use keyward::sandbox::s3::{self, Object};
use keyward::sandbox::{Actor, World};
use serde_json::{Value, json};

use crate::lab::{Lab, Ran};
use crate::support::{get, wait_for};

const ACCOUNT: &str = "111122223333";
const BUCKET: &str = "trail-logs";
const ARN: &str = "arn:aws:cloudtrail:eu-central-1:111122223333:trail/main";
/// How long the daemon may take for a round, on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

fn act(world: &mut World, action: &str, input: Value) -> Value {
    let actor = Actor::new(&ACCOUNT.parse().unwrap(), Principal::Root);
    world.act(&actor, &"eu-central-1".parse().unwrap(), action, input).unwrap()
}

/// An hour in which something is logged.
fn hour(world: &mut World) {
    act(world, "kms:ListKeys", json!({}));
    world.clock.advance(TimeDelta::minutes(30));
    act(world, "kms:ListKeys", json!({}));
    world.clock.advance(TimeDelta::minutes(30));
    act(world, "kms:ListAliases", json!({}));
}

/// A trail that has delivered for six hours, until some hours before now. The bucket is in another Region.
fn world() -> World {
    let mut world = World::new(Clock::on(|| clock::now() - TimeDelta::hours(12)));
    let now = world.now();
    world.s3.put_bucket(&ACCOUNT.parse().unwrap(), &"eu-west-1".parse().unwrap(), BUCKET, now);
    act(&mut world, "kms:CreateKey", json!({}));
    let trail = json!({ "Name": "main", "S3BucketName": BUCKET, "S3KeyPrefix": "some/prefix",
        "IsMultiRegionTrail": false, "EnableLogFileValidation": true });
    act(&mut world, "cloudtrail:CreateTrail", trail);
    act(&mut world, "cloudtrail:StartLogging", json!({ "Name": "main" }));
    (0..6).for_each(|_| hour(&mut world));
    world
}

fn lab() -> Lab {
    Lab::of(world())
}

fn keys(lab: &Lab, kind: &str) -> Vec<String> {
    let all = lab.change(|world| world.s3.keys(BUCKET));
    all.into_iter().filter(|key| key.contains(&format!("/{kind}/"))).collect()
}

/// Runs the command; until four hours before now, so that no digest is due that was not yet made.
fn verify(lab: &Lab, more: &[&str]) -> Ran {
    let end = lab.change(|world| world.now()).to_rfc3339();
    let mut arguments = vec!["--log", "error", "evidence", "verify-logs", "--end-time", &end];
    arguments.extend(more);
    lab.run(&arguments)
}

fn verify_trail(lab: &Lab) -> (i32, Value) {
    let ran = verify(lab, &["--trail-arn", ARN, "--format", "json"]);
    (ran.code, ran.json())
}

/// What was found but for notices, as kind and object.
fn issues(document: &Value) -> Vec<(String, String)> {
    let chains = document["chains"].as_array().unwrap();
    let issues = chains.iter().flat_map(|chain| chain["issues"].as_array().unwrap());
    let text = |issue: &Value, name: &str| issue[name].as_str().unwrap().to_owned();
    let grave = issues.filter(|issue| issue["nature"] != "notice");
    grave.map(|issue| (text(issue, "kind"), text(issue, "object"))).collect()
}

fn found(kind: &str, key: &str) -> Vec<(String, String)> {
    vec![(kind.to_owned(), format!("s3://{BUCKET}/{key}"))]
}

#[test]
fn what_nobody_touched_is_verified() {
    let lab = lab();
    let (code, document) = verify_trail(&lab);
    assert_eq!((code, &document["result"]), (0, &json!("verified")), "{document:#}");
    let (digests, logs) = (keys(&lab, "CloudTrail-Digest").len(), keys(&lab, "CloudTrail").len());
    assert!(digests >= 3 && logs >= 3, "{digests} digests, {logs} logs");
    // The newest log files are in no digest yet.
    assert_eq!(document["digests"], digests);
    let verified = usize::try_from(document["logs"].as_u64().unwrap()).unwrap();
    assert!((1..=2).contains(&(logs - verified)), "{verified} of {logs} log files");
    assert_eq!(document["schema"], "keyward.verify-logs/v1");
    verify(&lab, &[&format!("s3://{BUCKET}/some/prefix"), "--region", "eu-central-1"])
        .says(0, &["All of them are there and unchanged"]);
    verify(&lab, &[&format!("s3://{BUCKET}"), "--account-id", ACCOUNT]).says(1, &["no digest files"]);
}

#[test]
fn each_thing_that_is_wrong_is_named_for_what_it_is() {
    let lab = lab();
    let (digests, logs) = (keys(&lab, "CloudTrail-Digest"), keys(&lab, "CloudTrail"));
    let remove = |key: &str| lab.change(|world| world.s3.remove(BUCKET, key)).unwrap();
    let put_back = |key: &str, object: Object| {
        assert!(lab.change(|world| s3::deliver(world, BUCKET, key, object)));
    };
    let gone = remove(&logs[2]);
    let (code, document) = verify_trail(&lab);
    assert_eq!((code, issues(&document)), (1, found("log-missing", &logs[2])));
    put_back(&logs[2], gone);

    let whole = lab.change(|world| world.s3.object(BUCKET, &logs[3]).cloned()).unwrap();
    let other = lab.change(|world| world.s3.object(BUCKET, &logs[1]).cloned()).unwrap();
    assert!(lab.change(|world| world.s3.alter(BUCKET, &logs[3], other.body().clone())));
    assert_eq!(issues(&verify_trail(&lab).1), found("log-altered", &logs[3]));
    put_back(&logs[3], whole);

    let gone = remove(&digests[2]);
    assert_eq!(issues(&verify_trail(&lab).1), found("digest-missing", &digests[2]));
    let mut forged = gone.clone();
    let signature = lab.change(|world| world.s3.object(BUCKET, &digests[1]).cloned()).unwrap();
    forged.metadata.insert("signature".to_owned(), signature.metadata["signature"].clone());
    put_back(&digests[2], forged);
    assert_eq!(issues(&verify_trail(&lab).1), found("digest-forged", &digests[2]));
    put_back(&digests[2], gone);
    assert_eq!(verify_trail(&lab).0, 0, "all of it was put back");
}

#[test]
fn a_stopped_trail_is_told_from_removed_digests() {
    let lab = lab();
    lab.change(|world| {
        act(world, "cloudtrail:StopLogging", json!({ "Name": "main" }));
        world.clock.advance(TimeDelta::hours(2));
        act(world, "cloudtrail:StartLogging", json!({ "Name": "main" }));
        (0..2).for_each(|_| hour(world));
    });
    let (code, document) = verify_trail(&lab);
    let kinds: Vec<String> = issues(&document).into_iter().map(|(kind, _)| kind).collect();
    assert_eq!((code, kinds), (1, vec!["chain-stopped".to_owned()]), "{document:#}");
}

#[test]
fn what_could_not_be_read_is_neither_fine_nor_a_defect() {
    let lab = lab();
    let deny = |operation: &str, service: &str| {
        let fault = Fault {
            service: Some(service.to_owned()),
            operation: Some(operation.to_owned()),
            ..Fault::every(Effect::Deny)
        };
        lab.change(|world| world.faults.replace(vec![fault]));
        let (code, document) = verify_trail(&lab);
        assert_eq!((code, &document["result"]), (3, &json!("incomplete")), "{operation}: {document:#}");
        assert!(document.to_string().contains("denied"), "{operation}: {document:#}");
    };
    deny("GetObject", "s3");
    deny("ListObjectsV2", "s3");
    deny("ListPublicKeys", "cloudtrail");
    lab.change(|world| world.faults.clear());
    assert_eq!(verify_trail(&lab).0, 0);
}

#[test]
fn a_copy_on_disk_is_verified_without_aws() {
    let lab = lab();
    let all = lab.change(|world| {
        let objects = |key: &String| world.s3.object(BUCKET, key).map(|object| object.body().clone());
        let keys = world.s3.keys(BUCKET);
        keys.into_iter().filter_map(|key| objects(&key).map(|body| (key, body))).collect::<Vec<_>>()
    });
    let range: (DateTime<Utc>, DateTime<Utc>) = (clock::now() - TimeDelta::days(2), clock::now());
    let range = json!({ "StartTime": range.0.timestamp(), "EndTime": range.1.timestamp() });
    let public = lab.change(|world| act(world, "cloudtrail:ListPublicKeys", range));
    let file = lab.write("keys.json", &public.to_string());
    let root: PathBuf = file.parent().unwrap().join("copy");
    for (key, body) in &all {
        // The copy has lost the prefix of the bucket's keys.
        let path = root.join(key.strip_prefix("some/prefix/").unwrap());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, body).unwrap();
    }
    // Where a Region is asked for that the environment does not name.
    let metadata = TcpListener::bind("127.0.0.1:0").unwrap();
    metadata.set_nonblocking(true).unwrap();
    let endpoint = format!("http://{}", metadata.local_addr().unwrap());
    let run = || {
        let copy = root.to_str().unwrap();
        let arguments = ["--log", "error", "evidence", "verify-logs", copy, "--public-keys", "keys.json"];
        let mut command = lab.keyward(&arguments);
        command.env_remove("AWS_REGION").env_remove("AWS_EC2_METADATA_DISABLED");
        command.env("AWS_EC2_METADATA_SERVICE_ENDPOINT", &endpoint);
        let ran = Ran::of(command.args(["--format", "json"]).env("AWS_ENDPOINT_URL", "http://127.0.0.1:9"));
        assert_eq!(metadata.accept().map(|_| ()).unwrap_err().kind(), ErrorKind::WouldBlock);
        (ran.code, ran.json())
    };
    let (code, document) = run();
    let digests = keys(&lab, "CloudTrail-Digest");
    let newest = digests.last().unwrap().strip_prefix("some/prefix/").unwrap();
    assert_eq!(issues(&document), [("unread".to_owned(), newest.to_owned())], "{document:#}");
    assert_eq!((code, &document["digests"]), (3, &json!(digests.len() - 1)));
    let log = &keys(&lab, "CloudTrail")[0];
    std::fs::remove_file(root.join(log.strip_prefix("some/prefix/").unwrap())).unwrap();
    let (code, document) = run();
    assert_eq!(code, 1);
    assert!(issues(&document).contains(&("log-missing".to_owned(), log.clone())), "{document:#}");
}

#[test]
fn bad_arguments_are_refused_with_the_remedy() {
    let lab = lab();
    for (arguments, said) in [
        (&["--trail-arn", "main"][..], "one looks like"),
        (&["--trail-arn", "arn:aws:cloudtrail:eu-central-1:111122223333:trail/other"], "there is no trail"),
        (&["nowhere"], "no folder"),
        (&["--trail-arn", ARN, "--start-time", "2099-01-01T00:00:00Z"], "is after the end"),
        (&["--trail-arn", ARN, "--public-keys", "none.json"], "none.json"),
    ] {
        verify(&lab, arguments).says(2, &[said]);
    }
}

/// The open findings of a rule.
fn open(port: u16, rule: &str) -> Vec<Value> {
    let (_, body) = get(port, "/api/v1/findings?state=open").unwrap();
    let all: Value = serde_json::from_str(&body).unwrap();
    let findings = all["findings"].as_array().or_else(|| all.as_array()).unwrap();
    findings.iter().filter(|finding| finding["rule"] == rule).cloned().collect()
}

#[test]
fn the_daemon_finds_what_is_gone_remembers_it_and_sees_that_it_is_back() {
    let lab = lab();
    lab.write(
        "keyward.toml",
        "regions.include = ['eu-central-1']\nstore.url = 'sqlite:keyward.db'\ntrails.verify_interval_secs = 1\n",
    );
    let logs = keys(&lab, "CloudTrail");
    let gone = lab.change(|world| world.s3.remove(BUCKET, &logs[1])).unwrap();
    let (first, port) = lab.daemon("keyward.toml");
    let found = wait_for("the finding", PATIENCE, || open(port, "log-file-missing").pop());
    assert!(found.to_string().contains(&logs[1]), "{found:#}");
    assert!(found["message"].as_str().unwrap().contains(ARN), "{found:#}");
    assert!(open(port, "log-file-altered").is_empty() && open(port, "digest-chain-broken").is_empty());
    drop(first);
    let (second, port) = lab.daemon("keyward.toml");
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(open(port, "log-file-missing").len(), 1, "the cursor has passed it, and it is still gone");
    assert!(lab.change(|world| s3::deliver(world, BUCKET, &logs[1], gone)));
    wait_for("the finding's end", PATIENCE, || open(port, "log-file-missing").is_empty().then_some(()));
    drop(second);
}
