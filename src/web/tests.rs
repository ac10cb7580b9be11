//! The answers over a real socket.

use std::sync::Arc;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::*;
use crate::audit::tests::{auditor, disabling, look_up, minutes, rotating, sweep};
use crate::facts::fixtures::{gap, key, region_of};
use crate::ledger::Block;
use crate::model::{KeySnapshot, Network, Observed, Snapshot, Usage, UsageCount, UsageOutcome};
use crate::notify::Notifier;
use crate::store::Store;

struct Server {
    address: std::net::SocketAddr,
    swept: watch::Sender<bool>,
    reloads: mpsc::Receiver<oneshot::Sender<Result<(), String>>>,
    _stop: tokio_util::sync::DropGuard,
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        assert!(self.head.contains("content-type: application/json"), "{}", self.head);
        serde_json::from_str(&self.body).unwrap()
    }
}

impl Server {
    /// A key that does not rotate, one with markup in its alias, and an event.
    async fn start() -> Self {
        let metrics = Arc::new(Metrics::new().unwrap());
        let store = Store::connect("sqlite::memory:").await.unwrap();
        let pipeline = Pipeline::new(auditor(), store, Arc::clone(&metrics), Notifier::default());
        let odd = KeySnapshot {
            aliases: Observed::Known(vec!["alias/<b>odd</b>".to_owned()]),
            policy: gap("kms:GetKeyPolicy"),
            ..key("arn:aws:kms:eu-central-1:111122223333:key/odd")
        };
        let mut batch = sweep(vec![rotating(false), odd], 0);
        batch.snapshots.push(Snapshot::AccountRegion(Box::new(region_of("eu-central-1"))));
        pipeline.take(&mut batch).await.unwrap();
        pipeline.take(&mut look_up(vec![disabling("e1", 1)], 2)).await.unwrap();
        let usage = Usage {
            hour: 1,
            key: "arn:aws:kms:eu-central-1:111122223333:key/odd".to_owned(),
            principal: "arn:aws:iam::111122223333:role/app".to_owned(),
            operation: "Decrypt".to_owned(),
            outcome: UsageOutcome::Success,
            account: "111122223333".to_owned(),
            network: Network::VpcEndpoint,
            context: "none".to_owned(),
        };
        let count = UsageCount { count: 1, first: minutes(1), last: minutes(1) };
        let block = Block { account: usage.account.clone(), region: "eu-central-1".to_owned(), hour: 1 };
        pipeline.store().use_keys(&[(usage, count)], block).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (swept_in, swept) = watch::channel(false);
        let (reload, reloads) = mpsc::channel(1);
        let stop = CancellationToken::new();
        let web = Web { pipeline: Arc::new(pipeline), metrics, swept, reload };
        tokio::spawn(serve(web, listener, stop.clone()));
        Self { address, swept: swept_in, reloads, _stop: stop.drop_guard() }
    }

    async fn ask(&self, method: &str, path: &str) -> Answer {
        ask(self.address, method, path).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path).await
    }
}

/// HTTP/1.0, so that the answer ends with the connection and comes in one piece.
async fn ask(address: std::net::SocketAddr, method: &str, path: &str) -> Answer {
    ask_with(address, method, path, "").await
}

/// With further header lines, each ended by CR LF.
async fn ask_with(address: std::net::SocketAddr, method: &str, path: &str, headers: &str) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream
        .write_all(format!("{method} {path} HTTP/1.0\r\nhost: test\r\n{headers}\r\n").as_bytes())
        .await
        .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_lowercase(), body: body.to_owned() }
}

#[tokio::test]
async fn every_page_is_there_and_says_what_it_is() {
    let server = Server::start().await;
    for path in
        ["/", "/findings", "/findings?state=resolved", "/key-sets", "/coverage", "/rules", "/reports/gdpr"]
    {
        let answer = server.get(path).await;
        assert_eq!(answer.status, 200, "{path}");
        for header in [
            "content-type: text/html; charset=utf-8",
            "x-content-type-options: nosniff",
            "default-src 'none'",
        ] {
            assert!(answer.head.contains(header), "{path}: {header}: {}", answer.head);
        }
        assert!(answer.body.ends_with("</html>\n") || answer.body.ends_with("</html>"), "{path}");
        assert!(!answer.body.contains("<b>odd</b>"), "{path} shows an alias as markup");
    }
    assert!(server.get("/").await.body.contains("rotation-disabled"));
}

#[tokio::test]
async fn findings_are_filtered_and_paged() {
    let server = Server::start().await;
    let all = server.get("/api/v1/findings").await.json();
    let total = all["total"].as_u64().unwrap();
    assert!(total > 2);
    assert_eq!(all["findings"].as_array().unwrap().len() as u64, total);
    let paged = server.get("/api/v1/findings?limit=1&offset=1").await.json();
    assert_eq!((paged["total"].as_u64(), paged["limit"].as_u64()), (Some(total), Some(1)));
    assert_eq!(paged["findings"][0], all["findings"][1]);
    let one =
        server.get("/api/v1/findings?rule=rotation-disabled&account=111122223333&region=eu-central-1").await;
    assert_eq!(one.json()["total"], 1);
    for none in ["state=resolved", "rule=no-such", "region=us-east-1"] {
        assert_eq!(server.get(&format!("/api/v1/findings?{none}")).await.json()["total"], 0, "{none}");
    }
    let page = server.get("/findings?limit=1&offset=1").await.body;
    assert!(page.contains("offset=2") && page.contains("offset=0"), "links to the pages beside it");
}

#[tokio::test]
async fn the_rest_of_the_api_answers() {
    let server = Server::start().await;
    let keys = server.get("/api/v1/keys").await.json();
    assert_eq!((keys["total"].as_u64(), keys["keys"].as_array().unwrap().len()), (Some(2), 2));
    assert_eq!(server.get("/api/v1/keys?region=us-east-1").await.json()["total"], 0);
    assert_eq!(server.get("/api/v1/key-sets?region=eu-central-1&limit=1").await.json()["total"], 2);
    for (path, name) in [
        ("coverage", "readings"),
        ("rules", "rules"),
        ("exceptions", "exceptions"),
        ("reports", "frameworks"),
    ] {
        assert!(server.get(&format!("/api/v1/{path}")).await.json()[name].is_array(), "{path}");
    }
    assert_eq!(server.get("/api/v1/reports/gdpr").await.json()["schema"], "keyward.report/v1");
    let page = server.get("/api/v1/reports/gdpr?format=html").await;
    assert!(page.head.contains("content-type: text/html"), "{}", page.head);
}

#[tokio::test]
async fn keys_and_sets_tell_when_they_were_last_used() {
    let server = Server::start().await;
    for path in ["/api/v1/keys", "/api/v1/key-sets"] {
        let answer = server.get(path).await.json();
        let rows =
            answer[if path.ends_with("keys") { "keys" } else { "key_sets" }].as_array().unwrap().clone();
        assert!(rows.iter().all(|row| row.as_object().unwrap().contains_key("last_used")), "{path}");
        let used: Vec<&Value> =
            rows.iter().map(|row| &row["last_used"]).filter(|used| !used.is_null()).collect();
        assert_eq!(used.len(), 1, "{path}: {used:?}");
        assert_eq!((&used[0]["operation"], &used[0]["network"]), (&"Decrypt".into(), &"vpc_endpoint".into()));
        assert_eq!(used[0]["principal"], "arn:aws:iam::111122223333:role/app");
    }
}

#[tokio::test]
async fn what_is_wrong_is_answered_in_json_with_what_is_wrong() {
    let server = Server::start().await;
    for (method, path, status, says) in [
        ("GET", "/api/v1/findings?levl=high", 400, "levl"),
        ("GET", "/api/v1/findings?level=hihg", 400, "hihg"),
        ("GET", "/api/v1/findings?state=closed", 400, "closed"),
        ("GET", "/api/v1/findings?limit=-1", 400, "invalid"),
        ("GET", "/api/v1/keys?rule=rotation-disabled", 400, "rule"),
        ("GET", "/api/v1/rules?x=1", 400, "x"),
        ("GET", "/api/v1/findings/none", 404, "none"),
        ("GET", "/api/v1/nothing", 404, "/api/v1"),
        ("GET", "/api/v1/reports/sox", 404, "sox"),
        ("GET", "/api/v1/reports/gdpr?format=pdf", 400, "pdf"),
        ("POST", "/api/v1/findings", 405, "method"),
        ("POST", "/api/v1/findings/none/acknowledge", 404, "none"),
    ] {
        let answer = server.ask(method, path).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.body);
        let error = answer.json()["error"].as_str().unwrap().to_owned();
        assert!(error.contains(says), "{path}: {error}");
    }
}

#[tokio::test]
async fn a_detection_is_acknowledged_by_a_post_without_a_body() {
    let server = Server::start().await;
    let found = server.get("/api/v1/findings?rule=key-disabled").await.json();
    let id = found["findings"][0]["finding"].as_str().unwrap().to_owned();
    let shown = server.get(&format!("/api/v1/findings/{id}")).await.json();
    assert!(shown["finding"]["evidence"].get("records").is_none(), "bookkeeping is not shown");
    assert_eq!(shown["history"][0]["transition"], "opened");
    assert_eq!(server.get(&format!("/findings/{id}")).await.status, 200);
    let path = format!("/api/v1/findings/{id}/acknowledge");
    assert_eq!(server.ask("POST", &path).await.json()["finding"]["state"], "resolved");
    assert_eq!(server.ask("POST", &path).await.status, 404);
}

#[tokio::test]
async fn a_page_of_another_site_changes_nothing() {
    let server = Server::start().await;
    let found = server.get("/api/v1/findings?rule=key-disabled").await.json();
    let path = format!("/api/v1/findings/{}/acknowledge", found["findings"][0]["finding"].as_str().unwrap());
    for origin in ["http://elsewhere.example", "null", "http://test.elsewhere.example"] {
        let headers = format!("origin: {origin}\r\n");
        assert_eq!(ask_with(server.address, "POST", &path, &headers).await.status, 403, "{origin}");
        assert_eq!(ask_with(server.address, "GET", "/findings", &headers).await.status, 200, "{origin}");
    }
    assert_eq!(ask_with(server.address, "POST", &path, "origin: http://test\r\n").await.status, 200);
}

#[tokio::test]
async fn it_is_ready_after_the_first_sweep() {
    let server = Server::start().await;
    assert_eq!(server.get("/healthz").await.status, 200);
    assert_eq!(server.get("/readyz").await.status, 503);
    server.swept.send_replace(true);
    assert_eq!(server.get("/readyz").await.status, 200);
}

#[tokio::test]
async fn a_reload_says_whether_it_was_one() {
    let mut server = Server::start().await;
    let address = server.address;
    for (result, status) in [(Ok(()), 200), (Err("keyward.toml:3: no".to_owned()), 400)] {
        let asking = tokio::spawn(async move { ask(address, "POST", "/-/reload").await });
        server.reloads.recv().await.unwrap().send(result).unwrap();
        assert_eq!(asking.await.unwrap().status, status);
    }
    assert_eq!(server.get("/-/reload").await.status, 405);
}

#[tokio::test]
async fn metrics_are_served_in_the_text_format() {
    let server = Server::start().await;
    let answer = server.get("/metrics").await;
    assert!(answer.head.contains("content-type: text/plain; version=0.0.4"), "{}", answer.head);
    assert!(answer.body.contains("keyward_reading_age_seconds{account=\"111122223333\""));
    assert!(minutes(0) < clock::now());
}
