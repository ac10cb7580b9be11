//! The consumer over the wire against the sandbox.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use aws_sdk_sqs::types::QueueAttributeName;
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::*;
use crate::collect::sdk_config_for;
use crate::model::{AccountId, Reading, ReadingResult, Region, SourceKind};
use crate::sandbox::clock::Clock;
use crate::sandbox::s3::{Object, deliver};
use crate::sandbox::{Sandbox, World};

const QUEUE: &str = "arn:aws:sqs:eu-central-1:111122223333:events";
const DEAD: &str = "arn:aws:sqs:eu-central-1:111122223333:dead";
const LOG: &[u8] = b"{\"Records\":[]}";

/// What was harvested: the input's name, its text, and whether it is broken.
type Part = (String, String, bool);

/// What is not to be read, or there is a panic.
const PANICS: &str = "a mistake";

/// Takes parts, as slowly and as badly as a test wants.
struct Fake {
    /// Harvests and commits wait for permits.
    harvests: tokio::sync::Semaphore,
    commits: tokio::sync::Semaphore,
    /// So many commits are to fail.
    failures: AtomicU32,
    committed: std::sync::Mutex<Vec<Part>>,
    readings: std::sync::Mutex<Vec<Reading>>,
}

impl Intake for Fake {
    type Part = Part;

    async fn harvest(&self, mark: String, object: Box<dyn Read + Send>) -> Result<Part, String> {
        self.harvests.acquire().await.unwrap().forget();
        tokio::task::spawn_blocking(move || {
            let mut text = String::new();
            let broken = MultiGzDecoder::new(object).read_to_string(&mut text).is_err();
            assert_ne!(text, PANICS);
            (mark, text, broken)
        })
        .await
        .map_err(|error| error.to_string())
    }

    async fn harvest_records(&self, mark: String, records: Vec<Value>) -> Result<Part, String> {
        if records.iter().any(|record| record["eventName"] == PANICS) {
            return Err(PANICS.to_owned());
        }
        Ok((mark, Value::Array(records).to_string(), false))
    }

    async fn commit(
        &self,
        source: SourceKind,
        parts: Vec<Part>,
        readings: Vec<Reading>,
    ) -> anyhow::Result<()> {
        assert_eq!(source, SourceKind::Queue);
        self.readings.lock().unwrap().extend(readings);
        if parts.is_empty() {
            return Ok(());
        }
        self.commits.acquire().await?.forget();
        let one_less = |left: u32| left.checked_sub(1);
        if self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok() {
            anyhow::bail!("the store is away");
        }
        self.committed.lock().unwrap().extend(parts);
        Ok(())
    }
}

struct Stage {
    sandbox: Sandbox,
    sdk: SdkConfig,
    sqs: aws_sdk_sqs::Client,
    queue: Queue,
    intake: Arc<Fake>,
    metrics: Arc<Metrics>,
    shutdown: CancellationToken,
}

/// A bucket, and a queue that gives a message up after three receives.
async fn stage() -> Stage {
    let mut world = World::new(Clock::default());
    let (own, frankfurt): (AccountId, Region) =
        ("111122223333".parse().unwrap(), "eu-central-1".parse().unwrap());
    let now = world.now();
    world.s3.put_bucket(&own, &frankfurt, "logs", now);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let sandbox = Sandbox::start(listener, world).unwrap();
    let sdk = sdk_config_for(&sandbox.endpoint_url(), own.as_str(), "test", &frankfurt).await;
    let sqs = aws_sdk_sqs::Client::new(&sdk);
    sqs.create_queue().queue_name("dead").send().await.unwrap();
    let redrive = json!({ "deadLetterTargetArn": DEAD, "maxReceiveCount": 3 }).to_string();
    let created =
        sqs.create_queue().queue_name("events").attributes(QueueAttributeName::RedrivePolicy, redrive);
    let url = created.send().await.unwrap().queue_url.unwrap();
    let queue = toml::from_str(&format!("url = '{url}'\nvisibility_secs = 60")).unwrap();
    let intake = Fake {
        harvests: tokio::sync::Semaphore::new(1000),
        commits: tokio::sync::Semaphore::new(1000),
        failures: AtomicU32::new(0),
        committed: std::sync::Mutex::default(),
        readings: std::sync::Mutex::default(),
    };
    let (metrics, shutdown) = (Arc::new(Metrics::new().unwrap()), CancellationToken::new());
    Stage { sandbox, sdk, sqs, queue, intake: Arc::new(intake), metrics, shutdown }
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

impl Stage {
    fn put(&self, bucket: &str, key: &str, body: Vec<u8>) {
        let world = self.sandbox.world();
        let mut world = world.lock().unwrap();
        let object = Object::new(body, world.now());
        assert!(deliver(&mut world, bucket, key, object));
    }

    async fn send(&self, body: &str) {
        self.sqs.send_message().queue_url(&self.queue.url).message_body(body).send().await.unwrap();
    }

    async fn announce(&self, bucket: &str, key: &str) {
        self.send(&json!({ "s3Bucket": bucket, "s3ObjectKey": [key] }).to_string()).await;
    }

    async fn start(&self) -> JoinHandle<()> {
        let aws = QueueClients::new(&self.sdk, &self.queue, Arc::default()).await.unwrap();
        let (intake, metrics) = (Arc::clone(&self.intake), Arc::clone(&self.metrics));
        let consumer =
            Consumer::new(&self.queue, aws, intake, metrics, Arc::default(), self.shutdown.clone());
        let pace = Pace { poll_secs: 1, retry_secs: 0, upkeep: std::time::Duration::from_millis(200) };
        tokio::spawn(consumer.run(pace))
    }

    fn depth(&self, arn: &str) -> usize {
        self.sandbox.world().lock().unwrap().sqs.depth(arn)
    }

    fn committed(&self) -> Vec<Part> {
        let mut committed = self.intake.committed.lock().unwrap().clone();
        committed.sort();
        committed
    }

    /// Whether the metrics have a line.
    fn shows(&self, line: &str) -> bool {
        self.metrics.exposition().unwrap().lines().any(|shown| shown == line)
    }

    async fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        let started = Instant::now();
        while !is_so() {
            let metrics = self.metrics.exposition().unwrap();
            assert!(started.elapsed().as_secs() < 20, "{what}: {:?} {metrics}", self.intake.readings.lock());
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test]
async fn a_message_is_deleted_after_the_commit_and_not_before() {
    let stage = stage().await;
    // More than waits in the channel, and more than one piece of the network.
    let text = "x".repeat(8_000_000);
    stage.put("logs", "a b+c.json.gz", gzip(text.as_bytes()));
    stage.put("logs", "large.json.gz", [gzip(b"one "), gzip(b"two")].concat());
    stage.intake.commits.forget_permits(1000);
    let record = json!({ "eventID": "e", "eventName": "n", "eventSource": "s", "eventTime": "t" });
    stage
        .send(&json!({ "s3Bucket": "logs", "s3ObjectKey": ["a b+c.json.gz", "large.json.gz"] }).to_string())
        .await;
    stage.send(&record.to_string()).await;
    stage.send(r#"{"Event":"s3:TestEvent"}"#).await;
    let running = stage.start().await;
    stage
        .until("all is received", || {
            stage.shows("keyward_queue_messages{queue=\"events\",state=\"in_flight\"} 3")
                || stage.intake.commits.available_permits() == 0 && stage.depth(QUEUE) < 3
        })
        .await;
    assert!(stage.committed().is_empty());
    assert!(stage.depth(QUEUE) >= 2, "what is not committed is still there");
    stage.intake.commits.add_permits(10);
    stage.until("the queue is empty", || stage.depth(QUEUE) == 0).await;
    let committed = stage.committed();
    let texts: Vec<&str> = committed.iter().map(|(_, text, _)| text.as_str()).collect();
    assert_eq!(committed.len(), 3);
    assert!(texts.contains(&text.as_str()) && texts.contains(&"one two"));
    assert!(committed.iter().any(|(mark, ..)| mark.starts_with("s3/logs/a b+c.json.gz@")));
    stage
        .until("they are counted", || {
            stage.shows("keyward_queue_messages_total{queue=\"events\",result=\"deleted\"} 2")
        })
        .await;
    assert!(stage.shows("keyward_queue_messages_total{queue=\"events\",result=\"ignored\"} 1"));
    assert!(stage.shows("keyward_source_up{source=\"queue\"} 1"));
    stage.shutdown.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn what_could_not_be_committed_comes_again() {
    let stage = stage().await;
    stage.put("logs", "a.json.gz", gzip(LOG));
    stage.intake.failures.store(1, Ordering::SeqCst);
    stage.announce("logs", "a.json.gz").await;
    let _running = stage.start().await;
    stage.until("it is committed", || stage.depth(QUEUE) == 0).await;
    assert_eq!(stage.committed().len(), 1);
    assert!(stage.shows("keyward_queue_problems_total{queue=\"events\",reason=\"commit\"} 1"));
}

#[tokio::test]
async fn poison_goes_the_way_of_the_redrive_policy_and_holds_nobody_up() {
    let mut stage = stage().await;
    stage.queue.visibility_secs = 1;
    stage.put("logs", "a.json.gz", gzip(LOG));
    stage.send("no JSON").await;
    stage.announce("logs", "a.json.gz").await;
    let _running = stage.start().await;
    stage.until("it is given up", || stage.depth(DEAD) == 1 && stage.depth(QUEUE) == 0).await;
    assert_eq!(stage.committed().len(), 1);
    assert!(stage.shows("keyward_queue_problems_total{queue=\"events\",reason=\"not_json\"} 3"));
    assert!(stage.shows("keyward_queue_messages_total{queue=\"events\",result=\"poison\"} 3"));
}

#[tokio::test]
async fn missing_denied_and_broken_objects_are_told_apart() {
    let stage = stage().await;
    let now = stage.sandbox.world().lock().unwrap().now();
    let (other, ireland) = ("222233334444".parse().unwrap(), "eu-west-1".parse().unwrap());
    let own = "111122223333".parse().unwrap();
    stage.sandbox.world().lock().unwrap().s3.put_bucket(&other, &ireland, "theirs", now);
    stage.sandbox.world().lock().unwrap().s3.put_bucket(&own, &ireland, "ireland", now);
    stage.put("theirs", "a.json.gz", gzip(LOG));
    stage.put("ireland", "a.json.gz", gzip(LOG));
    let mut cut = gzip(&LOG.repeat(100));
    cut.truncate(cut.len() - 9);
    stage.put("logs", "cut.json.gz", cut);
    for (bucket, key) in [("logs", "gone.json.gz"), ("logs", "cut.json.gz"), ("ireland", "a.json.gz")] {
        stage.announce(bucket, key).await;
    }
    let object = json!({ "bucket": { "name": "theirs" }, "object": { "key": "a.json.gz" } });
    let event = json!({ "awsRegion": "eu-west-1", "eventName": "ObjectCreated:Put", "s3": object });
    stage.send(&json!({ "Records": [event] }).to_string()).await;
    let _running = stage.start().await;
    stage.until("two are given up", || stage.depth(DEAD) == 2 && stage.depth(QUEUE) == 0).await;
    let committed = stage.committed();
    let broken: Vec<bool> = committed.iter().map(|(.., broken)| *broken).collect();
    assert_eq!(broken, [false, true], "the one in another Region, and the one that was cut: {committed:?}");
    for reason in ["missing", "denied"] {
        assert!(
            stage.shows(&format!("keyward_queue_problems_total{{queue=\"events\",reason=\"{reason}\"}} 3"))
        );
    }
    let told = |result, part: &str| {
        let readings = stage.intake.readings.lock().unwrap();
        let mut of_objects = readings.iter().filter(|reading| reading.api == "s3:GetObject");
        of_objects.any(|reading| {
            reading.result == result && reading.detail.as_deref().is_some_and(|text| text.contains(part))
        })
    };
    stage.until("what is denied is told", || told(ReadingResult::Denied, "s3://theirs/a.json.gz")).await;
}

#[tokio::test]
async fn what_a_mistake_of_ours_keeps_from_being_read_goes_the_way_of_the_redrive_policy() {
    let stage = stage().await;
    stage.put("logs", "a.json.gz", gzip(LOG));
    stage.put("logs", "b.json.gz", gzip(PANICS.as_bytes()));
    stage.announce("logs", "a.json.gz").await;
    stage.announce("logs", "b.json.gz").await;
    let record = json!({ "eventID": "e", "eventName": PANICS, "eventSource": "s", "eventTime": "t" });
    stage.send(&record.to_string()).await;
    let _running = stage.start().await;
    stage.until("both are given up", || stage.depth(DEAD) == 2 && stage.depth(QUEUE) == 0).await;
    assert_eq!(stage.committed().len(), 1, "the other one is taken in");
    assert!(stage.shows("keyward_queue_problems_total{queue=\"events\",reason=\"unreadable\"} 6"));
}

#[tokio::test]
async fn objects_of_a_bucket_in_another_region_are_found_at_once_by_all_who_ask() {
    let stage = stage().await;
    let now = stage.sandbox.world().lock().unwrap().now();
    let (own, ireland) = ("111122223333".parse().unwrap(), "eu-west-1".parse().unwrap());
    stage.sandbox.world().lock().unwrap().s3.put_bucket(&own, &ireland, "ireland", now);
    let keys: Vec<String> = (0..8).map(|number| format!("{number}.json.gz")).collect();
    for key in &keys {
        stage.put("ireland", key, gzip(LOG));
    }
    stage.send(&json!({ "s3Bucket": "ireland", "s3ObjectKey": keys }).to_string()).await;
    let _running = stage.start().await;
    stage.until("they are read", || stage.depth(QUEUE) == 0).await;
    assert_eq!(stage.committed().len(), keys.len());
    assert!(stage.shows("keyward_queue_messages_total{queue=\"events\",result=\"retried\"} 0"));
}

#[tokio::test]
async fn a_missing_object_is_told_once_it_had_its_time() {
    let stage = stage().await;
    stage.announce("logs", "gone.json.gz").await;
    let _running = stage.start().await;
    stage.until("it is given up", || stage.depth(DEAD) == 1).await;
    let failed = || -> u64 {
        let readings = stage.intake.readings.lock().unwrap();
        readings.iter().filter(|reading| reading.api == "s3:GetObject").map(|reading| reading.failed).sum()
    };
    stage.until("it is told", || failed() == 1).await;
}

#[tokio::test]
async fn a_message_stays_hidden_for_as_long_as_the_work_takes() {
    let mut stage = stage().await;
    stage.queue.visibility_secs = 1;
    stage.put("logs", "a.json.gz", gzip(LOG));
    stage.intake.commits.forget_permits(1000);
    stage.announce("logs", "a.json.gz").await;
    let _running = stage.start().await;
    tokio::time::sleep(std::time::Duration::from_millis(3500)).await;
    stage.intake.commits.add_permits(10);
    stage.until("it is done", || stage.depth(QUEUE) == 0).await;
    assert_eq!(stage.committed().len(), 1, "nobody else received it, and there was somebody: the other lane");
}

#[tokio::test]
async fn shutdown_gives_back_what_is_not_read_and_finishes_what_is_being_committed() {
    let stage = stage().await;
    stage.put("logs", "a.json.gz", gzip(LOG));
    stage.intake.harvests.forget_permits(1000);
    stage.announce("logs", "a.json.gz").await;
    let running = stage.start().await;
    let hidden = "keyward_queue_messages{queue=\"events\",state=\"in_flight\"} 1";
    stage.until("it is received", || stage.shows(hidden)).await;
    stage.shutdown.cancel();
    running.await.unwrap();
    let received = stage.sqs.receive_message().queue_url(&stage.queue.url).send().await.unwrap();
    let message = received.messages.unwrap().remove(0);
    let handle = message.receipt_handle.unwrap();
    let back = stage.sqs.change_message_visibility().queue_url(&stage.queue.url).receipt_handle(handle);
    back.visibility_timeout(0).send().await.unwrap();

    let again = Stage { shutdown: CancellationToken::new(), ..stage };
    again.intake.harvests.add_permits(10);
    again.intake.commits.forget_permits(1000);
    let running = again.start().await;
    again.until("it is read", || again.intake.harvests.available_permits() < 10).await;
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    again.shutdown.cancel();
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    assert_eq!((again.depth(QUEUE), running.is_finished()), (1, false));
    again.intake.commits.add_permits(1);
    running.await.unwrap();
    assert_eq!((again.depth(QUEUE), again.committed().len()), (0, 1));
}

#[tokio::test]
async fn a_queue_that_refuses_is_down_and_says_why() {
    let stage = stage().await;
    let deny = crate::sandbox::faults::Fault::every(crate::sandbox::faults::Effect::Deny);
    stage.sandbox.world().lock().unwrap().faults.add(deny);
    let _running = stage.start().await;
    stage.until("it is down", || stage.shows("keyward_source_up{source=\"queue\"} 0")).await;
    let denied = |api: &str| {
        let readings = stage.intake.readings.lock().unwrap();
        readings.iter().any(|reading| reading.api == api && reading.result == ReadingResult::Denied)
    };
    stage.until("why", || denied("sqs:ReceiveMessage") && denied("sqs:GetQueueAttributes")).await;
}
