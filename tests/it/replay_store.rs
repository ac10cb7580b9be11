//! `keyward replay` into a store: what was taken is not taken again, whoever took it and wherever it was left off.

use std::ops::Range;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use chrono::TimeDelta;
use keyward::sandbox::World;
use keyward::sandbox::clock::Clock;
use keyward::sandbox::estate;
use keyward::sandbox::faults::{Effect, Fault};
use keyward::sandbox::s3::{self, Object};
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use serde_json::{Value, json};

use crate::lab::{Lab, Ran};
use crate::replay::{event, gzip, lines};
use crate::support::{Running, get, wait_for};

const BUCKET: &str = "trail-logs";
const FOLDER: &str = "AWSLogs/111122223333/CloudTrail/eu-central-1/2026/03/01";
const STORE: &str = "sqlite:replay.db";
/// How many events each log file has.
const EVENTS: u32 = 3;

/// A bucket with so many log files.
fn bucket_of(files: u32) -> Lab {
    let lab = Lab::of(World::new(Clock::default()));
    lab.change(|world| {
        let (owner, now) = (estate::MANAGEMENT.parse().unwrap(), world.now());
        world.s3.put_bucket(&owner, &"eu-central-1".parse().unwrap(), BUCKET, now);
        for file in 0..files {
            let key = format!("{FOLDER}/{file:05}.json.gz");
            assert!(s3::deliver(world, BUCKET, &key, Object::new(gzip(&log(file)), now)));
        }
    });
    lab
}

fn log(file: u32) -> String {
    let events: Vec<Value> = (file * EVENTS..(file + 1) * EVENTS).map(event).collect();
    json!({ "Records": events }).to_string()
}

fn replay(lab: &Lab, arguments: &[&str]) -> Ran {
    let common = ["--log", "error", "replay", "--format", "json", "--jobs", "1"];
    lab.run(&[&common, arguments].concat())
}

fn place() -> String {
    format!("s3://{BUCKET}/AWSLogs")
}

#[test]
fn a_bucket_is_listed_to_its_last_page() {
    // A page of a listing has a thousand objects at most.
    let files = 1_003;
    let lab = bucket_of(files);
    let ran = replay(&lab, &["--store", STORE, &place()]);
    let (_, summary) = lines(&ran);
    assert_eq!(ran.code, 0, "{summary:#}");
    assert_eq!((&summary["files"], &summary["events"]), (&json!(files), &json!(files * EVENTS)));
    assert_eq!(summary["duplicates"], 0);
}

#[test]
fn what_could_not_be_read_is_named_and_read_by_the_next_replay() {
    let lab = bucket_of(4);
    // The one with the first call stays unread, the rest is taken.
    let refusal =
        Fault { operation: Some("GetObject".to_owned()), times: Some(1), ..Fault::every(Effect::Deny) };
    lab.change(|world| world.faults.add(refusal));
    let first = replay(&lab, &["--store", STORE, &place()]);
    first.says(3, &["00000.json.gz", "AccessDenied"]);
    assert_eq!(lines(&first).1["events"], 3 * EVENTS);
    let second = replay(&lab, &["--store", STORE, &place()]);
    let (_, summary) = lines(&second);
    assert_eq!(second.code, 0, "{summary:#}");
    assert_eq!((&summary["events"], &summary["duplicates"]), (&json!(EVENTS), &json!(0)));
    assert_eq!(summary["files_replayed_before"], 3);
}

#[test]
fn a_bucket_that_may_not_be_listed_is_said_to_be_refused() {
    let lab = bucket_of(1);
    let refusal = Fault { operation: Some("ListObjectsV2".to_owned()), ..Fault::every(Effect::Deny) };
    lab.change(|world| world.faults.add(refusal));
    replay(&lab, &[&place()]).says(3, &[&place(), "AccessDenied"]);
}

#[test]
fn an_interrupted_replay_says_so_and_the_next_one_goes_on_from_there() {
    let (lab, files) = (bucket_of(8), 8);
    let slow = Fault {
        operation: Some("GetObject".to_owned()),
        times: Some(99),
        ..Fault::every(Effect::DelayMs(700))
    };
    lab.change(|world| world.faults.add(slow));
    let mut command = lab.keyward(&[
        "--log",
        "error",
        "replay",
        "--format",
        "json",
        "--jobs",
        "1",
        "--store",
        STORE,
        &place(),
    ]);
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let begun =
        || lab.change(|world| world.faults.list().iter().filter_map(|fault| fault.times).sum::<u32>() <= 96);
    wait_for("the third object is asked for", Duration::from_mins(1), || begun().then_some(()));
    interrupt(&child);
    let first = Ran::from(child.wait_with_output().unwrap());
    let (_, summary) = lines(&first);
    assert_eq!((first.code, &summary["interrupted"]), (3, &json!(true)), "{first:?}");
    let read = summary["events"].as_u64().unwrap();
    assert!(read >= u64::from(2 * EVENTS) && read < u64::from(files * EVENTS), "{summary:#}");

    lab.change(|world| world.faults.clear());
    let (_, summary) = lines(&replay(&lab, &["--store", STORE, &place()]));
    assert_eq!(summary["events"], u64::from(files * EVENTS) - read, "{summary:#}");
    assert_eq!((&summary["duplicates"], &summary["interrupted"]), (&json!(0), &json!(false)));
    assert_eq!(summary["files_replayed_before"], read / u64::from(EVENTS));
}

#[test]
fn an_interruption_does_not_wait_for_a_bucket_that_does_not_answer() {
    let lab = bucket_of(2);
    let silence = Fault {
        operation: Some("GetObject".to_owned()),
        times: Some(99),
        ..Fault::every(Effect::DelayMs(3_600_000))
    };
    lab.change(|world| world.faults.add(silence));
    let mut command = lab.keyward(&["--log", "error", "replay", "--format", "json", &place()]);
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut child = Running(child);
    let asked = || lab.change(|world| world.faults.list().iter().any(|fault| fault.times < Some(99)));
    wait_for("an object is asked for", Duration::from_mins(1), || asked().then_some(()));
    interrupt(&child.0);
    // An attempt alone may take 20 seconds.
    let ended = wait_for("the end", Duration::from_secs(15), || child.0.try_wait().unwrap());
    assert_eq!(ended.code(), Some(3));
}

/// As Ctrl-C does.
fn interrupt(child: &Child) {
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
}

#[test]
fn events_in_files_that_are_compressed_with_zstd_or_twice_over_count_the_same() {
    let lab = Lab::of(World::new(Clock::default()));
    let zstd = |text: &str| compress_to_vec(text.as_bytes(), CompressionLevel::Fastest);
    let halves = {
        let whole = log(2);
        let (one, other) = whole.split_at(40);
        [gzip(one), gzip(other)].concat()
    };
    for (name, bytes) in [("a.json.zst", zstd(&log(0))), ("b.json.gz", gzip(&log(1))), ("c.json.gz", halves)]
    {
        std::fs::write(lab.write(&format!("logs/{name}"), ""), bytes).unwrap();
    }
    // What a file is called does not tell how it is compressed.
    std::fs::write(lab.write("logs/d.json", ""), zstd(&log(3))).unwrap();
    let cut = zstd(&log(4));
    std::fs::write(lab.write("cut/e.json.zst", ""), &cut[..cut.len() / 2]).unwrap();
    let (_, summary) = lines(&replay(&lab, &["logs"]));
    assert_eq!((&summary["events"], &summary["malformed"]), (&json!(4 * EVENTS), &json!(0)), "{summary:#}");
    let ran = replay(&lab, &["cut"]);
    ran.says(3, &["e.json.zst"]);
    assert_eq!(lines(&ran).1["malformed"], 1, "{ran:?}");
}

#[test]
fn what_the_daemon_took_from_its_queue_is_not_replayed_and_the_other_way_round() {
    let lab = Lab::of(estate::demo(Clock::default()).unwrap());
    // What the daemon itself calls is logged as well, and is not to come in between.
    lab.change(|world| world.cloudtrail.logs.interval = TimeDelta::days(1_000));
    let config = format!(
        "accounts.static = ['{}']\nregions.include = ['eu-central-1']\nlookup.enabled = false\ntrails.verify = false\n\
         inventory.interval_secs = 3600\nstore.url = 'sqlite:replay.db'\n[[queue]]\nurl = '{}'\n",
        estate::MANAGEMENT,
        estate::LOG_QUEUE_URL
    );
    lab.write("keyward.toml", &config);
    let deliver = |files: Range<u32>| {
        lab.change(|world| {
            let now = world.now();
            for file in files {
                let key = format!("{FOLDER}/{file:05}.json.gz");
                assert!(s3::deliver(world, estate::LOG_BUCKET, &key, Object::new(gzip(&log(file)), now)));
            }
        });
    };
    let taken =
        |port: u16, name: &str| metric(port, &format!("keyward_events{name}_total")).unwrap_or_default();

    deliver(0..4);
    let (daemon, port) = lab.daemon("keyward.toml");
    let all = f64::from(4 * EVENTS);
    wait_for("the daemon takes them", Duration::from_mins(1), || (taken(port, "") >= all).then_some(()));
    drop(daemon);

    // What came in the meantime is replayed, and nothing else.
    deliver(4..6);
    let bucket = format!("s3://{}/AWSLogs", estate::LOG_BUCKET);
    let (_, summary) = lines(&replay(&lab, &["--store", STORE, &bucket]));
    assert_eq!((&summary["files"], &summary["files_replayed_before"]), (&json!(6), &json!(4)), "{summary:#}");
    assert_eq!((&summary["events"], &summary["duplicates"]), (&json!(2 * EVENTS), &json!(0)), "{summary:#}");

    // The messages about these are still in the queue. The daemon finds the files done, and takes one that is new.
    deliver(6..7);
    let (_daemon, port) = lab.daemon("keyward.toml");
    let one = f64::from(EVENTS);
    wait_for("the daemon takes the new one", Duration::from_mins(1), || {
        (taken(port, "") >= one).then_some(())
    });
    let empty = || lab.change(|world| world.sqs.depth(estate::LOG_QUEUE) == 0);
    wait_for("the queue is empty", Duration::from_mins(1), || empty().then_some(()));
    assert!((taken(port, "") - one).abs() < 0.5 && taken(port, "_duplicate") < 0.5);
}

/// The sum of a metric's series.
fn metric(port: u16, name: &str) -> Option<f64> {
    let (_, text) = get(port, "/metrics")?;
    let of_it = text.lines().filter(|line| line.split(['{', ' ']).next() == Some(name));
    of_it.map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}
