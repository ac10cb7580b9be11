//! A built-in AWS with a bucket, its queue and a topic, and the daemon that reads the one and publishes to the other.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use keyward::sandbox::call::Principal;
use keyward::sandbox::clock::Clock;
use keyward::sandbox::estate::{self, TOPIC};
use keyward::sandbox::{Actor, Sandbox, World, s3};
use serde_json::json;
use tempfile::TempDir;
use tokio::runtime::Runtime;

const ACCOUNT: &str = "111122223333";
const REGION: &str = "eu-central-1";
const BUCKET: &str = "latency-logs";
const QUEUE: &str = "arn:aws:sqs:eu-central-1:111122223333:latency";
const QUEUE_URL: &str = "https://sqs.eu-central-1.amazonaws.com/111122223333/latency";
/// How long the daemon may take to be ready, and to publish what is left.
const PATIENCE: Duration = Duration::from_mins(1);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The AWS, and the daemon beside it.
pub(crate) struct Lab {
    sandbox: Sandbox,
    daemon: Child,
    // The runtime serves the AWS, and the folder is the daemon's.
    _runtime: Runtime,
    _folder: TempDir,
}

impl Lab {
    /// Ready when this returns.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let runtime = Runtime::new()?;
        let sandbox = runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            anyhow::Ok(Sandbox::start(listener, estate::demo(Clock::default())?)?)
        })?;
        prepare(&mut sandbox.world().lock().unwrap_or_else(PoisonError::into_inner))?;
        let folder = tempfile::tempdir()?;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let config = folder.path().join("keyward.toml");
        std::fs::write(&config, config_with(port))?;
        let daemon = Command::new(env!("CARGO_BIN_EXE_keyward"))
            .args(["--log", "warn", "run", "--config"])
            .arg(&config)
            .current_dir(folder.path())
            .env_clear()
            .env("AWS_ENDPOINT_URL", sandbox.endpoint_url())
            .envs([("AWS_ACCESS_KEY_ID", ACCOUNT), ("AWS_SECRET_ACCESS_KEY", "test")])
            .envs([("AWS_REGION", REGION), ("AWS_EC2_METADATA_DISABLED", "true")])
            .stdout(Stdio::null())
            .spawn()?;
        let lab = Self { sandbox, daemon, _runtime: runtime, _folder: folder };
        wait_for("the daemon is ready", || is_ready(port))?;
        Ok(lab)
    }

    /// Puts a log file into the bucket, which tells the queue of it; gives when.
    pub(crate) fn deliver(&self, number: u32, file: Vec<u8>) -> anyhow::Result<DateTime<Utc>> {
        let world = self.sandbox.world();
        let mut world = world.lock().unwrap_or_else(PoisonError::into_inner);
        let now = world.now();
        let key = format!("AWSLogs/{ACCOUNT}/CloudTrail/{REGION}/2026/11/01/{number:06}.json.gz");
        anyhow::ensure!(s3::deliver(&mut world, BUCKET, &key, s3::Object::new(file, now)), "no bucket");
        Ok(now)
    }

    /// When what was first published of each key, once it is at least so many keys.
    pub(crate) fn published(&self, keys: usize) -> anyhow::Result<BTreeMap<String, DateTime<Utc>>> {
        let mut published = BTreeMap::new();
        let all = || {
            published = self.published_until_now();
            published.len() >= keys
        };
        wait_for("all alerts are published", all)?;
        Ok(published)
    }

    fn published_until_now(&self) -> BTreeMap<String, DateTime<Utc>> {
        let world = self.sandbox.world();
        let world = world.lock().unwrap_or_else(PoisonError::into_inner);
        let mut published = BTreeMap::new();
        for message in world.sns.published() {
            let message_json = message.to_json();
            let text = |field: &str| message_json.get("document")?.get(field)?.as_str();
            if text("rule") == Some("key-deletion-scheduled")
                && let Some(key) = text("key")
            {
                published.entry(key.to_owned()).or_insert(message.at);
            }
        }
        published
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // It may have ended by itself, which is as well.
        let _gone = self.daemon.kill();
        let _ended = self.daemon.wait();
    }
}

fn config_with(port: u16) -> String {
    format!(
        "[accounts]\nstatic = [\"{ACCOUNT}\"]\n[regions]\ninclude = [\"{REGION}\"]\n\
         [inventory]\ninterval_secs = 3600\n[lookup]\nenabled = false\n[trails]\nverify = false\n\
         [store]\nurl = \"sqlite:latency.db\"\n[http]\nlisten = \"127.0.0.1:{port}\"\n\
         [[queue]]\nurl = \"{QUEUE_URL}\"\n[[sns]]\ntopic = \"{TOPIC}\"\nmin_level = \"low\"\n"
    )
}

fn prepare(world: &mut World) -> anyhow::Result<()> {
    let root = Actor::new(&ACCOUNT.parse()?, Principal::Root);
    let queue = json!({ "Id": "latency", "Queue": QUEUE, "Event": "s3:ObjectCreated:*" });
    let place = json!({ "LocationConstraint": REGION });
    for (call, input) in [
        ("sqs:CreateQueue", json!({ "QueueName": "latency" })),
        ("s3:CreateBucket", json!({ "Bucket": BUCKET, "Document": place })),
        (
            "s3:PutBucketNotificationConfiguration",
            json!({ "Bucket": BUCKET, "Document": { "QueueConfiguration": queue } }),
        ),
    ] {
        let answer = world.act(&root, &REGION.parse()?, call, input);
        answer.map_err(|error| anyhow::anyhow!("{call}: {} {}", error.code, error.message))?;
    }
    Ok(())
}

fn is_ready(port: u16) -> bool {
    use std::io::{Read as _, Write as _};
    let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { return false };
    let asked = write!(stream, "GET /readyz HTTP/1.0\r\nHost: localhost\r\n\r\n");
    let mut answer = String::new();
    asked.is_ok() && stream.read_to_string(&mut answer).is_ok() && answer.contains(" 200 ")
}

fn wait_for(what: &str, mut is_there: impl FnMut() -> bool) -> anyhow::Result<()> {
    let started = Instant::now();
    while !is_there() {
        anyhow::ensure!(started.elapsed() < PATIENCE, "{what}: not after {PATIENCE:?}");
        std::thread::sleep(LOOK_EVERY);
    }
    Ok(())
}
