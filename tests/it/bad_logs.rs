//! Log files that are broken in every way, between good ones: each is named with its place and costs only itself, and
//! none costs memory, be it replayed or brought by a queue.

use std::io::Write as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use flate2::Compression;
use flate2::write::GzEncoder;
use keyward::records::Field;
use keyward::sandbox::call::Principal;
use keyward::sandbox::clock::Clock;
use keyward::sandbox::{Actor, World, s3, sqs};
use serde_json::{Value, json};

use crate::lab::{Lab, Ran};
use crate::replay::{event, gzip, lines};
use crate::support::{get, wait_for};

/// What a process may have resident, in MB, in a debug build and with two files open: less than the largest record
/// that is in them, and far less than what the bombs hold.
const MEMORY: u64 = 250;
const PATIENCE: Duration = Duration::from_mins(1);
const MEBIBYTE: usize = 1 << 20;

const ACCOUNT: &str = "111122223333";
const BUCKET: &str = "bad-logs";
const QUEUE: &str = "arn:aws:sqs:eu-central-1:111122223333:logs";
const LETTERS: &str = "arn:aws:sqs:eu-central-1:111122223333:letters";

/// A file, how many events can be read in it, and what is told of the rest: how many were before it, and what it is.
struct Log {
    name: &'static str,
    bytes: Vec<u8>,
    events: u64,
    broken: Vec<(u64, &'static str)>,
}

impl Log {
    fn new(
        name: &'static str,
        bytes: impl Into<Vec<u8>>,
        events: u64,
        broken: &[(u64, &'static str)],
    ) -> Self {
        Self { name, bytes: bytes.into(), events, broken: broken.to_vec() }
    }

    /// Two good events with something between them.
    fn around(name: &'static str, first: u32, middle: &[u8], problem: &'static str) -> Self {
        let (one, other) = (event(first).to_string(), event(first + 1).to_string());
        let text = [b"{\"Records\":[", one.as_bytes(), b",", middle, b",", other.as_bytes(), b"]}"].concat();
        Self::new(name, text, 2, &[(1, problem)])
    }
}

/// A member of a gzip file, pressed as hard as it goes.
fn member(bytes: &[u8]) -> Vec<u8> {
    let mut writer = GzEncoder::new(Vec::new(), Compression::best());
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

/// A gzip file of a text, a mebibyte so many times, and another text.
fn stuffed(before: &str, mebibyte: &[u8], times: usize, after: &str) -> Vec<u8> {
    [member(before.as_bytes()), member(mebibyte).repeat(times), member(after.as_bytes())].concat()
}

/// A mebibyte that inflates to some 50 times its size.
fn dull() -> Vec<u8> {
    let mut numbers = 1_u64;
    let mut bytes = Vec::with_capacity(MEBIBYTE);
    while bytes.len() < MEBIBYTE {
        numbers = numbers.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        bytes.extend(format!("{numbers:016x}{}", "-".repeat(496)).bytes());
    }
    bytes
}

fn compressed() -> Vec<Log> {
    let bomb = (0, "the record is larger than 4194304 bytes");
    let dense = "the file inflates to more than 200 times its size";
    let (first, last) = (event(10).to_string(), event(11).to_string());
    let large = stuffed(
        &format!("{{\"Records\":[{first},{{\"eventID\":\""),
        &dull(),
        300,
        &format!("\"}},{last}]}}"),
    );
    assert!(large.len() < 16 * MEBIBYTE, "300 MB in {}", large.len());
    let blank = stuffed(&format!("{{\"Records\":[{}", event(12)), &vec![b' '; MEBIBYTE], 1_024, "]}");
    let cut = gzip(&json!({ "Records": [event(13), event(14)] }).to_string());
    let mut changed = gzip(&json!({ "Records": [event(15), event(16)] }).to_string());
    let sum = changed.len() - 6;
    changed[sum] ^= 1;
    vec![
        Log::new(
            "bomb-text.json.gz",
            stuffed("{\"Records\":[{\"eventID\":\"", &vec![b'x'; MEBIBYTE], 1_024, "\"}]}"),
            0,
            &[bomb, (1, dense)],
        ),
        Log::new("bomb-blank.json.gz", blank, 1, &[(1, dense)]),
        Log::new("changed.json.gz", changed, 2, &[(2, "the checksum of the compressed file")]),
        Log::new("cut.json.gz", &cut[..20], 0, &[(0, "the file ends too early")]),
        Log::new("empty.json.gz", gzip(""), 0, &[(0, "the file holds no records")]),
        Log::new("large.json.gz", large, 2, &[(1, "the record is larger than 4194304 bytes")]),
        Log::new("no-gzip.json.gz", &b"\x1f\x8b\x08\x00 but no more"[..], 0, &[(0, "damaged")]),
        Log::new("none.json.gz", Vec::new(), 0, &[(0, "the file holds no records")]),
    ]
}

fn plain() -> Vec<Log> {
    let with = |number: u32, field: &str, value: &str| {
        event(number).to_string().replacen('{', &format!("{{\"{field}\":{value},"), 1).into_bytes()
    };
    let nested = |open: &str, close: &str| {
        with(90, "x", &format!("{}1{}", open.repeat(100_000), close.repeat(100_000)))
    };
    let mut no_text = with(90, "x", "\"?\"");
    let at = no_text.iter().position(|byte| *byte == b'?').unwrap();
    no_text[at] = 0xff;
    let deep = "the record nests deeper than 128 levels";
    let page = "<html><body>403 Forbidden</body></html>\n";
    vec![
        Log::around("deep-lists.json", 20, &nested("[", "]"), deep),
        Log::around("deep-objects.json", 22, &nested("{\"a\":", "}"), deep),
        Log::around("no-text.json", 24, &no_text, "the record is not UTF-8"),
        Log::around("twice.json", 26, &with(90, "eventName", "\"Encrypt\""), "duplicate key `eventName`"),
        Log::around("twice-within.json", 28, &with(90, "x", r#"[{"a":1,"\u0061":2}]"#), "duplicate key `a`"),
        Log::around("word.json", 30, &with(90, "x", "[nul]"), "not JSON"),
        Log::new("empty.json", Vec::new(), 0, &[(0, "the file holds no records")]),
        Log::new("one-no-text.json", no_text.clone(), 0, &[(0, "the record is not UTF-8")]),
        Log::new("open.json", "[".repeat(100_000), 0, &[(0, "not a record"), (1, "the file ends too early")]),
        Log::new("page.json", page, 0, &[(0, "not JSON")]),
        types(),
    ]
}

/// Every field with a value of every type. Of those that every record has, most are malformed; whatever the others
/// are, the event happened.
fn types() -> Log {
    let values = [json!(5), json!(true), json!(null), json!([[]]), json!({ "a": {} }), json!("?")];
    let mut log = Log::new("types.json", "", 0, &[]);
    let mut records = Vec::new();
    for field in Field::ALL {
        for value in &values {
            let mut record = event(40);
            record["eventID"] = json!(format!("{} {value}", field.name()));
            record[field.name()] = value.clone();
            let problem = match field {
                Field::EventId | Field::EventName | Field::EventSource if value.is_string() => None,
                Field::EventId => Some("`eventID` is malformed"),
                Field::EventName => Some("`eventName` is malformed"),
                Field::EventSource => Some("`eventSource` is malformed"),
                Field::EventTime => Some("`eventTime` is malformed"),
                _ => None,
            };
            match problem {
                Some(problem) => log.broken.push((records.len() as u64, problem)),
                None => log.events += 1,
            }
            records.push(record);
        }
    }
    log.bytes = json!({ "Records": records }).to_string().into_bytes();
    log
}

fn logs() -> Vec<Log> {
    let good = |name, numbers: [u32; 2]| {
        Log::new(name, gzip(&json!({ "Records": numbers.map(event) }).to_string()), 2, &[])
    };
    let mut logs = vec![good("a-good.json.gz", [0, 1])];
    logs.extend(compressed());
    logs.push(good("folder.json.gz/good.json.gz", [2, 3]));
    logs.extend(plain());
    logs.push(good("z-good.json.gz", [4, 5]));
    logs
}

/// The most memory that a process has had resident, in MB; none once it has ended.
fn peak(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? / 1_000)
}

/// Runs the program to its end, and gives the most memory that it has had, in MB.
fn watched(lab: &Lab, arguments: &[&str]) -> (Ran, u64) {
    let mut command = lab.keyward(arguments);
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let process = child.id();
    let watch = std::thread::spawn(move || {
        let mut most = 0;
        while let Some(now) = peak(process) {
            most = now;
            std::thread::sleep(Duration::from_millis(2));
        }
        most
    });
    let output = child.wait_with_output().unwrap();
    (Ran::from(output), watch.join().unwrap())
}

/// Writes the files, and one that may not be read; false if that may be read by us, as root may read all.
fn write(lab: &Lab, logs: &[Log]) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    for log in logs {
        std::fs::write(lab.write(&format!("logs/{}", log.name), ""), &log.bytes).unwrap();
    }
    lab.write("logs/NOTES", "Not a log at all.\n");
    let closed = lab.write("logs/unreadable.json", "{\"Records\":[]}");
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o000)).unwrap();
    std::fs::File::open(&closed).is_err()
}

/// What is told of one file.
fn told<'s>(summary: &'s Value, name: &str) -> Vec<(u64, &'s str)> {
    let at = summary["malformed_at"].as_array().unwrap().iter();
    let of_file = at.filter(|at| at["file"].as_str().unwrap() == format!("logs/{name}"));
    of_file.map(|at| (at["record"].as_u64().unwrap(), at["problem"].as_str().unwrap())).collect()
}

#[test]
fn replay_names_what_is_broken_and_reads_the_rest_in_bounded_memory() {
    let lab = Lab::of(World::new(Clock::default()));
    let logs = logs();
    let is_closed = write(&lab, &logs);
    let started = Instant::now();
    let (ran, memory) =
        watched(&lab, &["--log", "error", "replay", "--format", "json", "--jobs", "2", "logs"]);
    let took = started.elapsed();
    assert_eq!(ran.code, 3, "{ran:?}");
    let (detections, summary) = lines(&ran);
    for log in &logs {
        let found = told(&summary, log.name);
        let is_same =
            |(found, wanted): (&(u64, &str), &(u64, &str))| found.0 == wanted.0 && found.1.contains(wanted.1);
        let all_same = found.len() == log.broken.len() && found.iter().zip(&log.broken).all(is_same);
        assert!(all_same, "{}: {found:?} instead of {:?}", log.name, log.broken);
    }
    assert_eq!(summary["events"], logs.iter().map(|log| log.events).sum::<u64>(), "{summary:#}");
    assert_eq!(summary["malformed"], logs.iter().map(|log| log.broken.len()).sum::<usize>());
    assert_eq!(summary["files_skipped"], json!(["logs/NOTES"]));
    let unreadable = summary["files_unreadable"].as_array().unwrap();
    assert_eq!(unreadable.len(), usize::from(is_closed), "{unreadable:?}");
    let scheduled = detections.iter().filter(|line| line["rule"] == "key-deletion-scheduled").count();
    assert!(scheduled >= 20, "{scheduled} detections");
    assert!(memory > 0 && memory < MEMORY, "{memory} MB");
    assert!(took < PATIENCE, "{took:?}");
    println!("{memory} MB, {took:?}");
}

/// Puts the files into a bucket that announces them, and messages beside that nobody understands.
fn announce(world: &mut World, logs: Vec<Log>, poison: &[&str]) {
    let root = Actor::new(&ACCOUNT.parse().unwrap(), Principal::Root);
    let region = "eu-central-1".parse().unwrap();
    let redrive = json!({ "deadLetterTargetArn": LETTERS, "maxReceiveCount": 2 }).to_string();
    let notification = json!({ "QueueConfiguration": {
        "Id": "logs", "Queue": QUEUE, "Event": "s3:ObjectCreated:*",
    }});
    for (call, input) in [
        ("sqs:CreateQueue", json!({ "QueueName": "letters" })),
        ("sqs:CreateQueue", json!({ "QueueName": "logs", "Attributes": { "RedrivePolicy": redrive } })),
        (
            "s3:CreateBucket",
            json!({ "Bucket": BUCKET, "Document": { "LocationConstraint": "eu-central-1" } }),
        ),
        ("s3:PutBucketNotificationConfiguration", json!({ "Bucket": BUCKET, "Document": notification })),
    ] {
        let answer = world.act(&root, &region, call, input);
        answer.unwrap_or_else(|error| panic!("{call}: {} {}", error.code, error.message));
    }
    for log in logs {
        let now = world.now();
        assert!(s3::deliver(world, BUCKET, log.name, s3::Object::new(log.bytes, now)));
    }
    for body in poison {
        assert!(sqs::deliver(world, QUEUE, (*body).to_owned()));
    }
}

#[test]
fn a_queue_brings_what_is_good_and_is_rid_of_what_is_broken() {
    let lab = Lab::of(World::new(Clock::default()));
    lab.write(
        "queue.toml",
        "accounts.static = ['111122223333']\nregions.include = ['eu-central-1']\nstore.url = 'sqlite:bad.db'\n\
         inventory = { interval_secs = 3600, last_usage = false }\nlookup.enabled = false\ntrails.verify = false\n\
         [[queue]]\nurl = 'https://sqs.eu-central-1.amazonaws.com/111122223333/logs'\nvisibility_secs = 15\n",
    );
    let logs = logs();
    let events: u64 = logs.iter().map(|log| log.events).sum();
    let broken: usize = logs.iter().map(|log| log.broken.len()).sum();
    // A message is no file: what EventBridge brings is understood, and the record in it is broken.
    let bus = json!({ "detail-type": "AWS API Call via CloudTrail", "source": "aws.kms",
        "detail": { "eventID": 5 } });
    let poison = ["{\"Records\":[{}]}", "[[[", "", &"[".repeat(100_000)];
    lab.change(|world| {
        announce(world, logs, &poison);
        assert!(sqs::deliver(world, QUEUE, bus.to_string()));
    });
    let (daemon, port) = lab.daemon("queue.toml");
    let wanted = [
        format!("keyward_events_total{{source=\"queue\"}} {events}"),
        format!("keyward_events_malformed_total {}", broken + 1),
    ];
    let counts = || -> Option<String> {
        let (_, text) = get(port, "/metrics")?;
        let is_count = |line: &&str| line.starts_with("keyward_events") || line.starts_with("keyward_queue");
        Some(text.lines().filter(is_count).collect::<Vec<_>>().join("\n"))
    };
    let started = Instant::now();
    loop {
        let told = counts().unwrap_or_default();
        let is_told = wanted.iter().all(|line| told.lines().any(|other| other == line));
        let (waiting, letters) = lab.change(|world| {
            if is_told {
                // A message that nobody understood shows again after a while, and is a dead letter at last.
                world.clock.advance(TimeDelta::seconds(2));
            }
            (world.sqs.depth(QUEUE), world.sqs.depth(LETTERS))
        });
        if is_told && waiting == 0 && letters == poison.len() {
            break;
        }
        assert!(
            started.elapsed() < PATIENCE,
            "{wanted:?}: {waiting} messages wait, {letters} are given up\n{told}"
        );
        std::thread::sleep(Duration::from_millis(200));
    }
    let memory = peak(daemon.0.id()).unwrap();
    assert!(memory < MEMORY, "{memory} MB");
    wait_for("the deletions are detected", PATIENCE, || {
        let (_, body) = get(port, "/api/v1/findings?rule=key-deletion-scheduled")?;
        body.contains("\"open\"").then_some(())
    });
    println!("{memory} MB, {:?}", started.elapsed());
}
