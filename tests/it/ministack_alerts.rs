//! The daemon against an AWS that others wrote, from an object in a bucket to a message on a topic, on every way: S3's
//! notifications directly and through SNS, and rules of EventBridge for objects and for calls.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use keyward::collect::sdk_config_for;
use serde_json::Value;
use tempfile::TempDir;

use crate::ministack::serve;
use crate::support::{Running, free_port, get, keyward, wait_for};

const HUB: &str = "111122223333";
const REGION: &str = "eu-central-1";
const WAYS: [&str; 4] = ["direct", "topic", "object", "event"];
const LIMIT: Duration = Duration::from_mins(1);

struct Aws {
    /// In the order in which they are to end.
    _server: Running,
    dir: TempDir,
    python: std::path::PathBuf,
    endpoint: String,
}

impl Aws {
    fn start() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let (server, program, port) = serve(dir.path(), false)?;
        let (python, endpoint) = (program.with_file_name("python"), format!("http://127.0.0.1:{port}"));
        Some(Self { _server: server, dir, python, endpoint })
    }

    /// Runs one order of the script; gives what it prints.
    fn order(&self, order: &str, input: &str) -> String {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ministack_alerts.py");
        let mut command = Command::new(&self.python);
        command.arg(script).args([&self.endpoint, order]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{order}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Starts a daemon that has all queues and the topic.
    fn daemon(&self, made: &Value, port: u16) -> Running {
        let mut text = format!(
            "[accounts]\nstatic = [\"{HUB}\"]\n[regions]\ninclude = [\"{REGION}\"]\n\
             [inventory]\ninterval_secs = 3600\nlast_usage = false\n[lookup]\nenabled = false\n\
             [trails]\nverify = false\n[store]\nurl = \"sqlite:{}\"\n[http]\nlisten = \"127.0.0.1:{port}\"\n\
             [[sns]]\ntopic = {}\nmin_level = \"low\"\n",
            self.dir.path().join("keyward.db").display(),
            made["alerts"],
        );
        for way in WAYS {
            let url = &made["urls"][way];
            write!(text, "[[queue]]\nurl = {url}\nregion = \"{REGION}\"\nvisibility_secs = 15\n").unwrap();
        }
        let config = self.dir.path().join("keyward.toml");
        std::fs::write(&config, text).unwrap();
        let log = std::fs::File::create(self.log()).unwrap();
        let mut command = keyward(self.dir.path());
        command.args(["run", "--config"]).arg(config).env("AWS_ENDPOINT_URL", &self.endpoint);
        command.env("AWS_REGION", REGION).env("AWS_ACCESS_KEY_ID", HUB).env("AWS_SECRET_ACCESS_KEY", "test");
        Running(command.stderr(log).stdout(Stdio::null()).spawn().unwrap())
    }

    fn log(&self) -> std::path::PathBuf {
        self.dir.path().join("keyward.log")
    }
}

impl Drop for Aws {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the program's log:\n{}", std::fs::read_to_string(self.log()).unwrap_or_default());
        }
    }
}

/// Takes the messages that arrived in the subscribed queue, as documents.
async fn arrived(sqs: &aws_sdk_sqs::Client, url: &str) -> Vec<Value> {
    let received = sqs.receive_message().queue_url(url).max_number_of_messages(10).wait_time_seconds(1);
    let mut documents = Vec::new();
    for message in received.send().await.unwrap().messages.unwrap_or_default() {
        let envelope: Value = serde_json::from_str(message.body.as_deref().unwrap()).unwrap();
        documents.push(serde_json::from_str(envelope["Message"].as_str().unwrap()).unwrap());
        let handle = message.receipt_handle.unwrap();
        sqs.delete_message().queue_url(url).receipt_handle(handle).send().await.unwrap();
    }
    documents
}

/// How many events there are in each detection, by key.
fn detections(port: u16) -> Option<BTreeMap<String, u64>> {
    let (_, body) = get(port, "/api/v1/findings?state=open&limit=1000")?;
    let found: Value = serde_json::from_str(&body).ok()?;
    let detected = found["findings"].as_array()?.iter().filter(|finding| finding["rule"] == "key-disabled");
    let count = |finding: &Value| {
        let (_, body) = get(port, &format!("/api/v1/findings/{}", finding["finding"].as_str()?))?;
        let whole: Value = serde_json::from_str(&body).ok()?;
        Some((finding["key"].as_str()?.to_owned(), whole["finding"]["event_count"].as_u64()?))
    };
    detected.map(count).collect()
}

#[test]
fn a_call_becomes_an_alert_on_every_way_and_once() {
    let Some(aws) = Aws::start() else { return };
    let made = aws.order("prepare", "");
    let document: Value = serde_json::from_str(&made).unwrap();
    let port = free_port();
    let _daemon = aws.daemon(&document, port);
    wait_for("the first sweep", LIMIT, || get(port, "/readyz").filter(|(status, _)| *status == 200));
    aws.order("happen", &made);

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let sqs = runtime.block_on(async {
        aws_sdk_sqs::Client::new(&sdk_config_for(&aws.endpoint, HUB, "test", &REGION.parse().unwrap()).await)
    });
    let keys: BTreeSet<&str> =
        document["keys"].as_object().unwrap().values().filter_map(Value::as_str).collect();
    assert_eq!(keys.len(), WAYS.len() + 1, "one for each way, and one that all of them tell of");
    let mut alerts: Vec<Value> = Vec::new();
    let mut listen = || {
        let more = runtime.block_on(arrived(&sqs, document["urls"]["alerts"].as_str().unwrap()));
        alerts.extend(more.into_iter().filter(|alert| alert["rule"] == "key-disabled"));
        alerts.len()
    };
    wait_for("an alert for each key", LIMIT, || (listen() >= keys.len()).then_some(()));
    wait_for("every record", LIMIT, || {
        let (_, metrics) = get(port, "/metrics")?;
        // The one that all ways tell of is there three times too often.
        metrics.contains("keyward_events_duplicate_total 3").then_some(())
    });
    // The outbox is drained once a second: a second alert would be here by then.
    for _ in 0..3 {
        listen();
    }
    let told: Vec<&str> = alerts.iter().map(|alert| alert["key"].as_str().unwrap()).collect();
    assert_eq!(told.iter().copied().collect::<BTreeSet<_>>(), keys);
    assert_eq!(told.len(), keys.len(), "none is told twice: {told:?}");
    assert!(alerts.iter().all(|alert| alert["status"] == "opened"), "{alerts:?}");
    let once: BTreeMap<String, u64> = keys.iter().map(|key| ((*key).to_owned(), 1)).collect();
    assert_eq!(detections(port), Some(once));
    for way in WAYS {
        let (_, metrics) = get(port, "/metrics").unwrap();
        let line = format!("keyward_queue_messages_total{{queue=\"{way}\",result=\"deleted\"}}");
        let counts: Vec<&str> = metrics.lines().filter(|counted| counted.starts_with(&line)).collect();
        assert!(counts.iter().any(|counted| !counted.ends_with(" 0")), "{way}: {counts:?}");
    }
}
