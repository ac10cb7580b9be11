//! Two instances on one PostgreSQL take a stream with repetitions, redeliveries and no order, and are killed again
//! and again: what is in the store then is the truth, as computed from the input.
//!
//! `KEYWARD_TEST_RUNS` says how many runs there are, each with other moments of death; one if it does not.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::net::Ipv4Addr;
use std::process::Stdio;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use keyward::sandbox::call::Principal;
use keyward::sandbox::clock::Clock;
use keyward::sandbox::sqs::Unrest;
use keyward::sandbox::{Actor, Sandbox, estate, s3};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, Row as _};
use tempfile::TempDir;

use crate::daemon_lab::lock;
use crate::support::{Running, free_port, keyward};

const EVENTS: u64 = 200_000;
const FILES: u64 = 80;
/// Of so many events of a file one is in another one too.
const ONE_REPEATED_IN: u64 = 5;
const KILLS: u64 = 10;
const LIMIT: Duration = Duration::from_mins(4);

const ACCOUNT: &str = "111122223333";
const BUCKET: &str = "once-logs";
const QUEUE: &str = "arn:aws:sqs:eu-central-1:111122223333:once";
const QUEUE_URL: &str = "https://sqs.eu-central-1.amazonaws.com/111122223333/once";
/// Of an account that nobody audits, so that nothing but the events tells of them.
const OWNER: &str = "999900001111";

/// Key, principal, operation, outcome, hour: how often.
type Ledger = BTreeMap<(String, String, String, String, i64), u64>;
/// Findings and events by rule.
type Found = BTreeMap<String, (u64, u64)>;

/// The day that the events are of: a few days ago, since detections age out. The same over a whole run of the tests.
fn day() -> DateTime<Utc> {
    static DAY: LazyLock<DateTime<Utc>> = LazyLock::new(|| {
        (keyward::clock::now() - TimeDelta::days(3)).duration_trunc(TimeDelta::days(1)).unwrap()
    });
    *DAY
}

/// Numbers from a seed (Knuth's MMIX).
struct Moments(u64);

impl Moments {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// One event, as its number makes it.
struct Made {
    key: String,
    principal: String,
    name: &'static str,
    is_refused: bool,
    second: u64,
}

impl Made {
    fn new(number: u64) -> Self {
        let key = number.wrapping_mul(7_919) % 40;
        let name = match number {
            _ if number % 4_000 == 17 => "DisableKey",
            _ => ["Decrypt", "GenerateDataKey", "Encrypt"][usize::try_from(number % 3).unwrap()],
        };
        Self {
            key: format!("{key:08x}-0000-4000-8000-000000000000"),
            principal: format!("arn:aws:iam::{OWNER}:user/u{}", key % 7),
            name,
            is_refused: name != "DisableKey" && number % 1_000 == 3,
            second: number * 4 * 3_600 / EVENTS,
        }
    }

    fn record(&self, number: u64) -> Value {
        let Self { key, principal, name, is_refused, second } = self;
        let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
        let mut record = json!({
            "eventVersion": "1.11", "eventName": name, "eventSource": "kms.amazonaws.com",
            "eventID": format!("{number:08x}-1111-4000-8000-{:012x}", number * 3),
            "requestID": format!("{number:08x}-2222-4000-8000-000000000000"),
            "eventTime": format!("{}T{hour:02}:{minute:02}:{second:02}Z", day().format("%F")), "awsRegion": "eu-west-3",
            "eventType": "AwsApiCall", "readOnly": *name != "DisableKey", "recipientAccountId": OWNER,
            "sourceIPAddress": "198.51.100.7", "managementEvent": true, "eventCategory": "Management",
            "userIdentity": { "type": "IAMUser", "accountId": OWNER, "arn": principal },
            "requestParameters": { "keyId": format!("arn:aws:kms:eu-west-3:{OWNER}:key/{key}") },
            "resources": [{ "ARN": format!("arn:aws:kms:eu-west-3:{OWNER}:key/{key}"), "accountId": OWNER }],
        });
        if *is_refused {
            record["errorCode"] = json!("AccessDenied");
        }
        record
    }
}

/// What the input says.
fn truth() -> (Ledger, Found) {
    let (mut ledger, mut by_group) = (Ledger::new(), BTreeMap::<(&str, String), u64>::new());
    for made in (0..EVENTS).map(Made::new) {
        if made.name == "DisableKey" {
            *by_group.entry(("key-disabled", made.key)).or_default() += 1;
            continue;
        }
        if made.is_refused {
            *by_group.entry(("unauthorized-key-access", made.key.clone())).or_default() += 1;
        }
        let outcome = if made.is_refused { "denied" } else { "success" };
        let hour = day().timestamp() / 3_600 + i64::try_from(made.second / 3_600).unwrap();
        let line = (made.key, made.principal, made.name.to_owned(), outcome.to_owned(), hour);
        *ledger.entry(line).or_default() += 1;
    }
    let mut found = Found::new();
    for ((rule, _), events) in by_group {
        let (groups, all) = found.entry(rule.to_owned()).or_default();
        *groups += 1;
        *all += events;
    }
    (ledger, found)
}

/// The files, as CloudTrail would deliver them; some of their events stand in the file before, too.
fn files() -> Vec<Vec<u8>> {
    let a_file = EVENTS / FILES;
    let of = |file: u64| (0..a_file).map(move |at| at * FILES + file);
    let file = |file: u64| {
        let repeated =
            of((file + FILES - 1) % FILES).filter(|number| (number / FILES).is_multiple_of(ONE_REPEATED_IN));
        let records: Vec<Value> =
            of(file).chain(repeated).map(|number| Made::new(number).record(number)).collect();
        gzip(&json!({ "Records": records }).to_string())
    };
    (0..FILES).map(file).collect()
}

fn gzip(text: &str) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

struct Lab {
    sandbox: Sandbox,
    runtime: tokio::runtime::Runtime,
    dir: TempDir,
    store: String,
}

impl Lab {
    fn new(store: &str) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let sandbox = runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            Sandbox::start(listener, estate::demo(Clock::default()).unwrap()).unwrap()
        });
        let lab = Self { sandbox, runtime, dir: TempDir::new().unwrap(), store: store.to_owned() };
        lab.prepare();
        lab
    }

    fn prepare(&self) {
        let world = self.sandbox.world();
        let world = &mut *lock(&world);
        let root = Actor::new(&ACCOUNT.parse().unwrap(), Principal::Root);
        let region = "eu-central-1".parse().unwrap();
        let notification = json!({ "QueueConfiguration": {
            "Id": "once", "Queue": QUEUE, "Event": "s3:ObjectCreated:*",
        }});
        for (call, input) in [
            ("sqs:CreateQueue", json!({ "QueueName": "once", "Attributes": { "VisibilityTimeout": "30" } })),
            (
                "s3:CreateBucket",
                json!({ "Bucket": BUCKET, "Document": { "LocationConstraint": "eu-central-1" } }),
            ),
            ("s3:PutBucketNotificationConfiguration", json!({ "Bucket": BUCKET, "Document": notification })),
        ] {
            let answer = world.act(&root, &region, call, input);
            answer.unwrap_or_else(|error| panic!("{call}: {} {}", error.code, error.message));
        }
        world.sqs.unrest = Unrest { duplicate_every: Some(7), shuffle: true };
    }

    fn deliver(&self, files: &[Vec<u8>]) {
        let world = self.sandbox.world();
        for (number, file) in files.iter().enumerate() {
            let world = &mut *lock(&world);
            let key = format!(
                "AWSLogs/{OWNER}/CloudTrail/eu-west-3/{}/{number:04}.json.gz",
                day().format("%Y/%m/%d")
            );
            let now = world.now();
            assert!(s3::deliver(world, BUCKET, &key, s3::Object::new(file.clone(), now)));
        }
    }

    /// Starts an instance.
    fn instance(&self, number: u64) -> Running {
        let config = self.dir.path().join(format!("{number}.toml"));
        let mut text = format!(
            "[accounts]\nstatic = [\"{ACCOUNT}\"]\n[regions]\ninclude = [\"eu-central-1\"]\n\
             [inventory]\ninterval_secs = 3600\nlast_usage = false\n[lookup]\nenabled = false\n\
             [trails]\nverify = false\n[store]\nurl = \"{}\"\n[http]\nlisten = \"127.0.0.1:{}\"\n\
             [[sns]]\ntopic = \"{}\"\nmin_level = \"low\"\n",
            self.store,
            free_port(),
            estate::TOPIC
        );
        write!(text, "[[queue]]\nurl = \"{QUEUE_URL}\"\nvisibility_secs = 15\n").unwrap();
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

    fn waiting(&self) -> usize {
        lock(&self.sandbox.world()).sqs.depth(QUEUE)
    }

    fn rows<T>(&self, sql: &str, of: impl Fn(&sqlx::any::AnyRow) -> T) -> Vec<T> {
        self.runtime.block_on(async {
            let mut connection = sqlx::AnyConnection::connect(&self.store).await.unwrap();
            let rows = sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_all(&mut connection).await;
            connection.close().await.unwrap();
            rows.unwrap_or_default().iter().map(of).collect()
        })
    }

    fn ledger(&self) -> Ledger {
        let count = |row: &sqlx::any::AnyRow| u64::try_from(row.get::<i64, _>(5)).unwrap();
        let rows = self.rows(
            "SELECT key_set, principal, operation, outcome, hour, count FROM usage WHERE region = 'eu-west-3'",
            |row| {
                let set: String = row.get(0);
                let key = set.rsplit('/').next().unwrap_or_default().to_owned();
                ((key, row.get(1), row.get(2), row.get(3), row.get(4)), count(row))
            },
        );
        let mut ledger = Ledger::new();
        for (line, count) in rows {
            *ledger.entry(line).or_default() += count;
        }
        ledger
    }

    fn found(&self) -> Found {
        let rows = self.rows("SELECT rule, event_count FROM finding WHERE kind = 'detection'", |row| {
            (row.get::<String, _>(0), u64::try_from(row.get::<i64, _>(1)).unwrap())
        });
        let mut found = Found::new();
        for (rule, events) in rows {
            let (groups, all) = found.entry(rule).or_default();
            *groups += 1;
            *all += events;
        }
        found
    }

    /// How often each finding was published as opened.
    fn opened(&self) -> BTreeMap<String, usize> {
        let world = self.sandbox.world();
        let world = lock(&world);
        let mut opened = BTreeMap::new();
        for message in world.sns.published().filter(|message| message.topic == estate::TOPIC) {
            let document = &message.to_json()["document"];
            if document["status"] == "opened" {
                *opened.entry(document["finding"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
            }
        }
        opened
    }
}

/// One run; gives how long it took.
fn run(seed: u64, store: &str, instances: u64) -> Duration {
    let lab = Lab::new(store);
    let (ledger, found) = truth();
    let started = Instant::now();
    let mut running: Vec<Running> = (0..instances).map(|number| lab.instance(number)).collect();
    lab.deliver(&files());
    let mut moments = Moments(seed);
    for _ in 0..KILLS {
        std::thread::sleep(Duration::from_millis(900 + moments.below(2_200)));
        let victim = usize::try_from(moments.below(instances)).unwrap();
        // Dropping it is `kill -9`.
        drop(running.remove(victim));
        running.insert(victim, lab.instance(victim as u64));
    }
    loop {
        let all_is_said =
            || found.values().map(|(groups, _)| groups).sum::<u64>() <= lab.opened().len() as u64;
        if lab.waiting() == 0 && lab.ledger() == ledger && lab.found() == found && all_is_said() {
            break;
        }
        if started.elapsed() > LIMIT {
            let log = std::fs::read_to_string(lab.log()).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(25).collect();
            let (is, total) = (lab.ledger().values().sum::<u64>(), ledger.values().sum::<u64>());
            panic!(
                "after {LIMIT:?} with seed {seed}: {} messages wait, {is} of {total} uses, {:?} instead of {found:?}; the log, \
                 newest first:\n{}",
                lab.waiting(),
                lab.found(),
                tail.join("\n")
            );
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    // What came twice would be counted twice by now, and said twice.
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(lab.ledger(), ledger);
    assert_eq!(lab.found(), found);
    let opened = lab.opened();
    let twice: Vec<_> = opened.iter().filter(|(_, times)| **times != 1).collect();
    assert_eq!(twice, [], "each finding is said to be open once");
    started.elapsed()
}

#[expect(clippy::disallowed_methods, reason = "the one place where this test asks what it is to do")]
fn asked_for(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[test]
fn a_stream_is_counted_once_whoever_dies() {
    let runs: u64 = asked_for("KEYWARD_TEST_RUNS").and_then(|text| text.parse().ok()).unwrap_or(1);
    sqlx::any::install_default_drivers();
    let Some(server) = asked_for("KEYWARD_TEST_POSTGRES") else {
        eprintln!("LEFT OUT: two instances on one PostgreSQL, since KEYWARD_TEST_POSTGRES is not set");
        let dir = TempDir::new().unwrap();
        let store = format!("sqlite:{}?mode=rwc", dir.path().join("once.db").display());
        println!("one instance on SQLite: {:?}", run(1, &store, 1));
        return;
    };
    for seed in 1..=runs {
        let schema = format!("once_{seed}");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut admin = sqlx::AnyConnection::connect(&server).await.unwrap();
            for sql in [format!("DROP SCHEMA IF EXISTS {schema} CASCADE"), format!("CREATE SCHEMA {schema}")]
            {
                sqlx::query(AssertSqlSafe(sql)).execute(&mut admin).await.unwrap();
            }
            admin.close().await.unwrap();
        });
        let separator = if server.contains('?') { '&' } else { '?' };
        let store = format!("{server}{separator}options[search_path]={schema}");
        println!("run {seed}: {:?}", run(seed, &store, 2));
    }
}
