//! The queue source against an AWS that others wrote: ministack's own notifications, topics and rules, over its wire.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_sqs::types::QueueAttributeName;
use flate2::read::MultiGzDecoder;
use keyward::collect::queue::{Intake, Told, consume};
use keyward::collect::sdk_config_for;
use keyward::config::Queue;
use keyward::metrics::Metrics;
use keyward::model::{Reading, Region, SourceKind};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::ministack::serve;

/// Remembers what was committed: the input, and the id of each of its events.
#[derive(Default)]
struct Remembering(Mutex<BTreeSet<(String, String)>>);

fn ids(mark: &str, records: &Value) -> Vec<(String, String)> {
    let ids = records.as_array().unwrap().iter().map(|record| record["eventID"].as_str().unwrap().to_owned());
    ids.map(|id| (mark.to_owned(), id)).collect()
}

impl Intake for Remembering {
    type Part = Vec<(String, String)>;

    async fn harvest(&self, mark: String, object: Box<dyn Read + Send>) -> Result<Self::Part, String> {
        let read = move || {
            let file: Value = serde_json::from_reader(MultiGzDecoder::new(object)).unwrap();
            ids(&mark, &file["Records"])
        };
        tokio::task::spawn_blocking(read).await.map_err(|error| error.to_string())
    }

    async fn harvest_records(&self, _mark: String, records: Vec<Value>) -> Result<Self::Part, String> {
        Ok(ids("a message", &Value::Array(records)))
    }

    async fn commit(&self, _: SourceKind, parts: Vec<Self::Part>, _: Vec<Reading>) -> anyhow::Result<()> {
        self.0.lock().unwrap().extend(parts.into_iter().flatten());
        Ok(())
    }
}

/// How many messages a queue has, in all states.
async fn depth(sqs: &aws_sdk_sqs::Client, url: &str) -> u64 {
    let names = [
        QueueAttributeName::ApproximateNumberOfMessages,
        QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
    ];
    let request = sqs.get_queue_attributes().queue_url(url).set_attribute_names(Some(names.to_vec()));
    let attributes = request.send().await.unwrap().attributes.unwrap();
    names.iter().map(|name| attributes[name].parse::<u64>().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_into_a_queue_leads_to_the_same_events() {
    let dir = tempfile::tempdir().unwrap();
    let Some((_server, program, port)) = serve(dir.path(), false) else { return };
    let endpoint = format!("http://127.0.0.1:{port}");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ministack_events.py");
    let fed = Command::new(program.with_file_name("python")).arg(script).arg(&endpoint).output().unwrap();
    assert!(fed.status.success(), "{}", String::from_utf8_lossy(&fed.stderr));
    let urls: Value = serde_json::from_slice(&fed.stdout).unwrap();
    let url = |name: &str| urls[name].as_str().unwrap().to_owned();

    let region: Region = "eu-central-1".parse().unwrap();
    let sdk = sdk_config_for(&endpoint, "111122223333", "test", &region).await;
    let sqs = aws_sdk_sqs::Client::new(&sdk);
    for (name, inputs) in [
        ("direct", ["one.json.gz one", "with space+plus=ü.json.gz two"].as_slice()),
        ("topic", &["one.json.gz one", "with space+plus=ü.json.gz two"]),
        ("rule", &["a message three", "one.json.gz one", "with space+plus=ü.json.gz two"]),
    ] {
        // What is not understood is to show again soon, and so to be given up.
        let queue = json!({ "url": url(name), "region": region, "visibility_secs": 2 });
        let queues: Vec<Queue> = vec![serde_json::from_value(queue).unwrap()];
        let (intake, shutdown) = (Arc::new(Remembering::default()), CancellationToken::new());
        let metrics = Arc::new(Metrics::new().unwrap());
        let (sdk, taken, told, ended) =
            (sdk.clone(), Arc::clone(&intake), Arc::clone(&metrics), shutdown.clone());
        let running = tokio::spawn(consume(
            queues,
            sdk,
            taken,
            Told { requests: Arc::default(), metrics: told },
            ended,
        ));
        let empty = async {
            // The object that was removed again is announced for ever, in vain; it is not waited for.
            let rest = |text: &str| text.contains("reason=\"missing\"");
            while !(depth(&sqs, &url(name)).await <= 1 && rest(&metrics.exposition().unwrap())) {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let in_time = tokio::time::timeout(Duration::from_secs(40), empty).await;
        assert!(in_time.is_ok(), "{name}: {}", metrics.exposition().unwrap());
        shutdown.cancel();
        running.await.unwrap().unwrap();
        let found: BTreeSet<String> = intake
            .0
            .lock()
            .unwrap()
            .iter()
            .map(|(mark, id)| {
                let name = mark.rsplit('/').next().unwrap().split('@').next().unwrap();
                format!("{name} {id}")
            })
            .collect();
        assert_eq!(found, inputs.iter().map(ToString::to_string).collect(), "{name}");
    }
    assert_eq!(depth(&sqs, &url("dead")).await, 1, "the message that is no JSON");
}
