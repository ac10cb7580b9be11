//! Rounds of look-ups over a local CloudTrail.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::super::testing::{FakeAws, Reply, WireCall, ok};
use super::*;

const NOW: &str = "2026-11-23T12:00:00Z";

/// An event history that answers as CloudTrail does: one attribute, newest first, fifty a page, and tokens
/// that are good for the query that gave them.
#[derive(Debug, Default)]
struct History(Mutex<Vec<Value>>);

impl History {
    fn add(&self, id: &str, name: &str, source: &str, seconds_ago: i64) {
        let time = now() - chrono::Duration::seconds(seconds_ago);
        let record = json!({
            "eventID": id, "eventName": name, "eventSource": source, "eventTime": time.to_rfc3339(),
        });
        self.add_raw(id, name, source, time.timestamp(), &record.to_string());
    }

    fn add_raw(&self, id: &str, name: &str, source: &str, time: i64, text: &str) {
        self.0.lock().unwrap().push(json!({
            "EventId": id, "EventName": name, "EventSource": source, "EventTime": time,
            "CloudTrailEvent": text
        }));
    }

    fn answer(&self, call: &WireCall) -> Reply {
        let mut query = call.input.clone();
        let token = query.as_object_mut().unwrap().remove("NextToken");
        let offset = match token.as_ref().and_then(Value::as_str) {
            None => 0,
            Some(token) => match token.split_once('@') {
                Some((offset, of)) if query == serde_json::from_str::<Value>(of).unwrap() => {
                    offset.parse().unwrap()
                }
                _ => return call.error(400, "InvalidNextTokenException"),
            },
        };
        let attribute = &query["LookupAttributes"][0];
        let member = attribute["AttributeKey"].as_str().unwrap();
        let (start, end) = (query["StartTime"].as_f64().unwrap(), query["EndTime"].as_f64().unwrap());
        let mut found: Vec<Value> = self.0.lock().unwrap().clone();
        found.retain(|event| {
            let time = event["EventTime"].as_f64().unwrap();
            event[member] == attribute["AttributeValue"] && (start..=end).contains(&time)
        });
        found.sort_by_key(|event| std::cmp::Reverse(event["EventTime"].as_i64()));
        let mut answer = json!({ "Events": found.iter().skip(offset).take(50).collect::<Vec<_>>() });
        if found.len() > offset + 50 {
            answer["NextToken"] = json!(format!("{}@{query}", offset + 50));
        }
        ok(&answer)
    }
}

fn now() -> DateTime<Utc> {
    NOW.parse().unwrap()
}

/// Rounds in one Region, with a store that is nothing but a map.
struct Rounds {
    aws: FakeAws,
    clients: std::sync::Arc<RegionClients>,
    config: config::Lookup,
    cursors: BTreeMap<String, String>,
    seen: BTreeSet<String>,
    passes: Passes,
}

impl Rounds {
    async fn over(handler: impl Fn(&WireCall) -> Reply + Send + Sync + 'static, usage: bool) -> Self {
        let aws = FakeAws::start(handler).await;
        let clients = aws.clients().await;
        let clients =
            clients.region(&"111122223333".parse().unwrap(), &"eu-central-1".parse().unwrap()).unwrap();
        let config = config::Lookup { usage, overlap_secs: 600, ..config::Lookup::default() };
        let (cursors, seen, passes) = (BTreeMap::new(), BTreeSet::new(), Passes::new());
        Self { aws, clients, config, cursors, seen, passes }
    }

    async fn over_history(history: &Arc<History>, usage: bool) -> Self {
        let history = Arc::clone(history);
        Self::over(move |call| history.answer(call), usage).await
    }

    /// One round; its batches are committed afterwards.
    async fn run(&mut self, now: DateTime<Utc>) -> (LookupReport, Vec<Batch>) {
        let (sender, mut receiver) = mpsc::channel(1000);
        let seen = |id: &str| self.seen.contains(id);
        let request = LookupRequest { cursors: &self.cursors, seen: &seen, now };
        let report = run(&self.clients, &self.config, &request, &mut self.passes, &sender).await;
        drop(sender);
        let mut batches = Vec::new();
        while let Some(batch) = receiver.recv().await {
            batches.push(batch);
        }
        for batch in &batches {
            self.seen.extend(batch.events.iter().map(|event| event.id().to_owned()));
            self.cursors.extend(batch.cursor.iter().map(|cursor| (cursor.key.clone(), cursor.value.clone())));
        }
        (report, batches)
    }

    fn cursor(&self, lane: &str) -> Option<&str> {
        self.cursors.get(&format!("lookup/111122223333/eu-central-1/{lane}")).map(String::as_str)
    }
}

fn ids(batches: &[Batch]) -> Vec<&str> {
    batches.iter().flat_map(|batch| &batch.events).map(crate::model::EventRecord::id).collect()
}

#[tokio::test]
async fn the_gravest_calls_come_first_and_other_services_calls_of_the_same_name_do_not_come() {
    let history = Arc::new(History::default());
    history.add("tagged", "TagResource", "kms.amazonaws.com", 10);
    history.add("lambda", "TagResource", "lambda.amazonaws.com", 10);
    history.add("stopped", "StopLogging", "cloudtrail.amazonaws.com", 20);
    history.add("replicated", "ReplicateKey", "kms.amazonaws.com", 30);
    history.add("too-old", "ReplicateKey", "kms.amazonaws.com", 90_000);
    let mut rounds = Rounds::over_history(&history, false).await;
    let (report, batches) = rounds.run(now()).await;
    assert_eq!(ids(&batches), ["replicated", "stopped", "tagged"]);
    assert_eq!((report.events, report.failed), (3, false));
    assert_eq!(rounds.aws.calls("LookupEvents"), MUTATIONS.len(), "one request a name");
    assert_eq!(rounds.cursor("mutations/ReplicateKey"), Some(NOW));
    let readings = &batches.last().unwrap().readings;
    assert_eq!(readings[0].attempts, MUTATIONS.len() as u64);
}

#[tokio::test]
async fn a_late_event_is_found_by_the_overlap_and_a_known_one_is_dropped() {
    let history = Arc::new(History::default());
    history.add("first", "ReplicateKey", "kms.amazonaws.com", 60);
    let mut rounds = Rounds::over_history(&history, false).await;
    rounds.run(now()).await;
    history.add("late", "ReplicateKey", "kms.amazonaws.com", 400);
    let (report, batches) = rounds.run(now() + chrono::Duration::seconds(60)).await;
    assert_eq!(ids(&batches), ["late"]);
    assert_eq!(report.duplicates, 1);
    let (report, batches) = rounds.run(now() + chrono::Duration::seconds(120)).await;
    assert_eq!((ids(&batches).len(), report.duplicates), (0, 2));
    assert_eq!(batches.len(), 1, "nothing new and no cursor due: readings only");
}

#[tokio::test]
async fn a_flood_of_one_name_delays_the_others_by_four_pages_only() {
    let history = Arc::new(History::default());
    for n in 0..1000 {
        history.add(&format!("grant-{n:04}"), "CreateGrant", "kms.amazonaws.com", n % 500);
    }
    history.add("retired", "RetireGrant", "kms.amazonaws.com", 5);
    let mut rounds = Rounds::over_history(&history, false).await;
    let (report, batches) = rounds.run(now()).await;
    let ids = ids(&batches);
    let retired = ids.iter().position(|id| *id == "retired").unwrap();
    assert_eq!(retired, 200, "after four pages of fifty");
    assert_eq!(ids.len(), 1001);
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 1001);
    assert_eq!(report.unfinished, 0);
    let cursors =
        batches.iter().filter(|batch| batch.id.contains("CreateGrant")).filter(|b| b.cursor.is_some());
    assert_eq!(cursors.count(), 1, "the cursor moves when the pass is over");
}

#[tokio::test]
async fn a_pass_that_does_not_end_in_its_interval_goes_on_in_the_next_one() {
    let history = Arc::new(History::default());
    for n in 0..600 {
        history.add(&format!("grant-{n:04}"), "CreateGrant", "kms.amazonaws.com", 1 + n % 500);
    }
    let mut rounds = Rounds::over_history(&history, false).await;
    rounds.config.interval_secs = 0;
    let (report, batches) = rounds.run(now()).await;
    assert_eq!((report.unfinished, ids(&batches).len()), (1, 200));
    assert_eq!(rounds.cursor("mutations/CreateGrant"), None);
    let (_, batches) = rounds.run(now() + chrono::Duration::seconds(60)).await;
    assert_eq!(ids(&batches).len(), 200, "the next four pages, on the first window");
    let (report, _) = rounds.run(now() + chrono::Duration::seconds(120)).await;
    assert_eq!((report.unfinished, rounds.seen.len()), (0, 600));
    assert_eq!(rounds.cursor("mutations/CreateGrant"), Some(NOW), "as far as that window went");
}

#[tokio::test]
async fn a_page_that_fails_keeps_the_cursor_and_loses_nothing() {
    let history = Arc::new(History::default());
    for n in 0..120 {
        history.add(&format!("grant-{n:04}"), "CreateGrant", "kms.amazonaws.com", 1 + n);
    }
    let (broken, answers) = (Arc::new(Mutex::new(true)), Arc::clone(&history));
    let is_broken = Arc::clone(&broken);
    let mut rounds = Rounds::over(
        move |call| {
            let fails = *is_broken.lock().unwrap() && call.token().is_some();
            if fails { call.error(400, "InvalidTimeRangeException") } else { answers.answer(call) }
        },
        false,
    )
    .await;
    let (report, batches) = rounds.run(now()).await;
    assert!(report.failed);
    assert_eq!(ids(&batches).len(), 50, "the page that came is not thrown away");
    assert_eq!(rounds.cursor("mutations/CreateGrant"), None);
    *broken.lock().unwrap() = false;
    rounds.run(now() + chrono::Duration::seconds(60)).await;
    assert_eq!(rounds.seen.len(), 120);
}

#[tokio::test]
async fn a_refusal_ends_the_round_at_once_and_is_a_reading() {
    let mut rounds = Rounds::over(|call| call.error(400, "AccessDeniedException"), true).await;
    let (report, batches) = rounds.run(now()).await;
    assert!(report.failed);
    assert_eq!(rounds.aws.calls("LookupEvents"), 1);
    assert_eq!(batches.len(), 1);
    assert_eq!(batches[0].readings[0].result, crate::model::ReadingResult::Denied);
    assert!(rounds.cursors.is_empty());
}

#[tokio::test]
async fn an_event_that_cannot_be_read_is_counted_and_costs_only_itself() {
    let history = Arc::new(History::default());
    let time = now().timestamp() - 5;
    history.add_raw("broken", "DisableKey", "kms.amazonaws.com", time, "{\"eventID\":");
    history.add_raw("empty", "DisableKey", "kms.amazonaws.com", time, "{\"eventID\":\"empty\"}");
    history.add("fine", "DisableKey", "kms.amazonaws.com", 5);
    let mut rounds = Rounds::over_history(&history, false).await;
    let (report, batches) = rounds.run(now()).await;
    assert_eq!((ids(&batches), report.malformed), (vec!["fine"], 2));
}

#[tokio::test]
async fn uses_of_keys_come_last_are_asked_by_source_and_tell_their_backlog() {
    let history = Arc::new(History::default());
    for n in 0..300 {
        history.add(&format!("use-{n:04}"), "Decrypt", "kms.amazonaws.com", n * 60);
    }
    history.add("scheduled", "ScheduleKeyDeletion", "kms.amazonaws.com", 30);
    let mut rounds = Rounds::over_history(&history, true).await;
    rounds.config.first_secs = 7200;
    let (report, batches) = rounds.run(now()).await;
    assert_eq!(ids(&batches)[0], "scheduled");
    assert_eq!(report.usage_backlog_secs, Some(0), "two hours, in windows of an hour");
    assert_eq!(rounds.seen.iter().filter(|id| id.starts_with("use-")).count(), 121);
    assert_eq!(rounds.cursor("usage"), Some(NOW));
}

#[tokio::test]
async fn uses_of_keys_have_one_turn_in_a_round_that_has_no_time_left() {
    let history = Arc::new(History::default());
    for n in 0..120 {
        history.add(&format!("use-{n:04}"), "Decrypt", "kms.amazonaws.com", n * 60);
    }
    let mut rounds = Rounds::over_history(&history, true).await;
    rounds.config.first_secs = 7200;
    // The call names alone take longer than this.
    rounds.config.interval_secs = 0;
    let (report, _) = rounds.run(now()).await;
    let backlog = report.usage_backlog_secs.unwrap();
    assert!((1..7200).contains(&backlog), "{backlog}");
    let mut later = backlog;
    for _ in 0..3 {
        let (report, _) = rounds.run(now()).await;
        assert!(report.usage_backlog_secs.unwrap() <= later);
        later = report.usage_backlog_secs.unwrap();
    }
    assert_eq!((later, rounds.seen.len()), (0, 120));
}

#[tokio::test]
async fn a_round_without_a_listener_ends() {
    let history = Arc::new(History::default());
    history.add("replicated", "ReplicateKey", "kms.amazonaws.com", 30);
    let mut rounds = Rounds::over_history(&history, false).await;
    let (sender, receiver) = mpsc::channel(1);
    drop(receiver);
    let request = LookupRequest { cursors: &BTreeMap::new(), seen: &|_| false, now: now() };
    run(&rounds.clients, &rounds.config, &request, &mut rounds.passes, &sender).await;
    assert!(rounds.aws.calls("LookupEvents") <= 1);
    assert!(rounds.passes.is_empty());
}
