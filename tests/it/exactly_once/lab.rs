//! A built-in AWS with a bucket, its queue and two topics, and instances that share a store.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use keyward::sandbox::call::Principal;
use keyward::sandbox::clock::Clock;
use keyward::sandbox::estate::{self, STANDARD_TOPIC, TOPIC};
use keyward::sandbox::faults::{Effect, Fault};
use keyward::sandbox::sqs::Unrest;
use keyward::sandbox::{Actor, Sandbox, World, s3};
use serde_json::json;
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Connection as _, Row as _};
use tempfile::TempDir;

use super::stream::Truth;
use crate::daemon_lab::lock;
use crate::support::{Running, free_port, keyward, wait_for};

const ACCOUNT: &str = "111122223333";
const BUCKET: &str = "once-logs";
const QUEUE: &str = "arn:aws:sqs:eu-central-1:111122223333:once";
const QUEUE_URL: &str = "https://sqs.eu-central-1.amazonaws.com/111122223333/once";
/// Longer than a death waits for a commit.
const HELD: u64 = 10_000;

pub(super) struct Lab {
    sandbox: Sandbox,
    runtime: tokio::runtime::Runtime,
    dir: TempDir,
    store: String,
    /// Files with one message only.
    told_once: Mutex<BTreeSet<u64>>,
}

impl Lab {
    pub(super) fn new(store: &str) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let sandbox = runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            Sandbox::start(listener, estate::demo(Clock::default()).unwrap()).unwrap()
        });
        let (dir, store) = (TempDir::new().unwrap(), store.to_owned());
        let lab = Self { sandbox, runtime, dir, store, told_once: Mutex::default() };
        lab.world(prepare);
        lab
    }

    fn world<T>(&self, act: impl FnOnce(&mut World) -> T) -> T {
        act(&mut lock(&self.sandbox.world()))
    }

    pub(super) fn deliver(&self, number: usize, file: &[u8]) {
        let key = format!("AWSLogs/999900001111/CloudTrail/eu-west-3/{number:04}.json.gz");
        let mut told_once = self.told_once.lock().unwrap();
        let told = self.world(|world| {
            let (now, before) = (world.now(), world.sqs.depth(QUEUE));
            assert!(s3::deliver(world, BUCKET, &key, s3::Object::new(file.to_vec(), now)));
            world.sqs.depth(QUEUE) - before
        });
        if told == 1 {
            told_once.insert(number as u64);
        }
    }

    /// Starts an instance.
    pub(super) fn instance(&self, number: usize) -> Running {
        let config = self.dir.path().join(format!("{number}.toml"));
        let mut text = format!(
            "[accounts]\nstatic = [\"{ACCOUNT}\"]\n[regions]\ninclude = [\"eu-central-1\"]\n\
             [inventory]\ninterval_secs = 3600\nlast_usage = false\n[lookup]\nenabled = false\n\
             [trails]\nverify = false\n[store]\nurl = \"{}\"\n[http]\nlisten = \"127.0.0.1:{}\"\n\
             [[queue]]\nurl = \"{QUEUE_URL}\"\nvisibility_secs = 15\n",
            self.store,
            free_port(),
        );
        for topic in [TOPIC, STANDARD_TOPIC] {
            writeln!(text, "[[sns]]\ntopic = \"{topic}\"\nmin_level = \"informational\"").unwrap();
        }
        std::fs::write(&config, text).unwrap();
        let log = OpenOptions::new().create(true).append(true).open(self.log()).unwrap();
        let mut command = keyward(self.dir.path());
        command
            .args(["run", "--config"])
            .arg(config)
            .env("AWS_ENDPOINT_URL", self.sandbox.endpoint_url())
            .env("AWS_ACCESS_KEY_ID", ACCOUNT)
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .env("AWS_REGION", "eu-central-1")
            .stdout(Stdio::null())
            .stderr(log);
        Running(command.spawn().unwrap())
    }

    fn log(&self) -> std::path::PathBuf {
        self.dir.path().join("keyward.log")
    }

    pub(super) fn end_of_log(&self) -> String {
        let log = std::fs::read_to_string(self.log()).unwrap_or_default();
        log.lines().rev().take(25).collect::<Vec<_>>().join("\n")
    }

    /// Has deletions from the queue wait, or not any more.
    pub(super) fn hold_deletions(&self, is_held: bool) {
        let fault = Fault {
            service: Some("sqs".to_owned()),
            operation: Some("DeleteMessageBatch".to_owned()),
            ..Fault::every(Effect::DelayMs(HELD))
        };
        self.world(|world| world.faults.replace(if is_held { vec![fault] } else { Vec::new() }));
    }

    /// How many messages are in the queue, hidden or not.
    pub(super) fn waiting(&self) -> usize {
        self.world(|world| world.sqs.depth(QUEUE))
    }

    /// The files that were taken, though the only message that tells of them is still there.
    pub(super) fn undeleted(&self) -> BTreeSet<u64> {
        let told_once: MutexGuard<'_, BTreeSet<u64>> = self.told_once.lock().unwrap();
        let taken = self.files_taken();
        let bodies = self.world(|world| world.sqs.bodies(QUEUE));
        let waiting: BTreeSet<u64> = bodies.iter().filter_map(|body| number_in(body)).collect();
        told_once.iter().filter(|file| taken.contains(file) && waiting.contains(file)).copied().collect()
    }

    /// The files that are marked as processed.
    pub(super) fn files_taken(&self) -> BTreeSet<u64> {
        let marks = self.rows("SELECT id FROM batch WHERE source = 'queue'", |row| row.get::<String, _>(0));
        marks.iter().filter_map(|mark| number_in(mark)).collect()
    }

    fn rows<T>(&self, sql: &str, of: impl Fn(&AnyRow) -> T) -> Vec<T> {
        self.runtime.block_on(async {
            let mut connection = sqlx::AnyConnection::connect(&self.store).await.unwrap();
            // Before the first instance has made the tables there is nothing to read.
            let rows = sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_all(&mut connection).await;
            connection.close().await.unwrap();
            rows.unwrap_or_default().iter().map(of).collect()
        })
    }

    /// What the store has of the stream.
    pub(super) fn kept(&self) -> Truth {
        let mut kept = Truth { ledger: BTreeMap::new(), heard: BTreeMap::new(), found: BTreeMap::new() };
        let uses = "SELECT key_set, region, principal, operation, outcome, hour, count FROM usage";
        for (set, line, count) in self.rows(uses, |row| {
            let line = (row.get(1), row.get(2), row.get(3), row.get(4), row.get(5));
            (row.get::<String, _>(0), line, number(row, 6))
        }) {
            let (region, principal, operation, outcome, hour) = line;
            let id = set.rsplit('/').next().unwrap_or_default().to_owned();
            *kept.ledger.entry((id, region, principal, operation, outcome, hour)).or_default() += count;
        }
        kept.heard = self
            .rows("SELECT account, region, day, hours, records FROM heard", |row| {
                ((row.get(0), row.get(1), row.get(2)), (row.get(3), number(row, 4)))
            })
            .into_iter()
            .collect();
        let detections = "SELECT id, rule, event_count FROM finding WHERE kind = 'detection'";
        let found = self.rows(detections, |row| (row.get(0), (row.get(1), number(row, 2))));
        kept.found = found.into_iter().collect();
        kept
    }

    /// The open findings, each once.
    pub(super) fn standing(&self) -> BTreeMap<String, usize> {
        let open = self.rows("SELECT id FROM finding WHERE state = 'open'", |row| (row.get(0), 1));
        open.into_iter().collect()
    }

    /// How often each finding was published to a topic as opened.
    pub(super) fn opened(&self, topic: &str) -> BTreeMap<String, usize> {
        let mut opened = BTreeMap::new();
        self.world(|world| {
            for message in world.sns.published().filter(|message| message.topic == topic) {
                let document = &message.to_json()["document"];
                if document["status"] == "opened" {
                    let finding = document["finding"].as_str().unwrap_or_default();
                    *opened.entry(finding.to_owned()).or_default() += 1;
                }
            }
        });
        opened
    }

    /// How many messages were published, to whichever topic.
    pub(super) fn published(&self) -> usize {
        self.world(|world| world.sns.published().count())
    }

    pub(super) fn suppressed(&self) -> u64 {
        self.world(|world| world.sns.suppressed())
    }
}

fn prepare(world: &mut World) {
    let root = Actor::new(&ACCOUNT.parse().unwrap(), Principal::Root);
    let region = "eu-central-1".parse().unwrap();
    let queue = json!({ "Id": "once", "Queue": QUEUE, "Event": "s3:ObjectCreated:*" });
    for (call, input) in [
        ("sqs:CreateQueue", json!({ "QueueName": "once" })),
        (
            "s3:CreateBucket",
            json!({ "Bucket": BUCKET, "Document": { "LocationConstraint": "eu-central-1" } }),
        ),
        (
            "s3:PutBucketNotificationConfiguration",
            json!({ "Bucket": BUCKET, "Document": { "QueueConfiguration": queue } }),
        ),
    ] {
        let answer = world.act(&root, &region, call, input);
        answer.unwrap_or_else(|error| panic!("{call}: {} {}", error.code, error.message));
    }
    world.sqs.unrest = Unrest { duplicate_every: Some(7), shuffle: true };
}

fn number(row: &AnyRow, column: usize) -> u64 {
    u64::try_from(row.get::<i64, _>(column)).unwrap()
}

/// The number of the file that a text names.
fn number_in(text: &str) -> Option<u64> {
    text.split(".json.gz").next()?.rsplit('/').next()?.parse().ok()
}

/// Asks an instance to end, and waits until it has.
pub(super) fn terminate(mut instance: Running) -> ExitStatus {
    let signal = format!("kill -TERM {}", instance.0.id());
    assert!(Command::new("sh").args(["-c", &signal]).status().unwrap().success());
    wait_for("an instance's end", Duration::from_mins(1), || instance.0.try_wait().unwrap())
}

/// Says something past the test harness, which keeps to itself what a passing test prints.
pub(super) fn say(notice: &str) {
    writeln!(std::io::stderr(), "{notice}").unwrap();
}
