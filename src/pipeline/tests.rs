//! The pipeline on a store in memory, with scripted batches and a store that fails.

use chrono::TimeDelta;

use super::*;
use crate::audit::tests::{
    KEY, auditor, auditor_by, disabling, look_up, minutes, rotating, standards, sweep, with_exception,
};
use crate::config::{Alerts, SnsTopic};
use crate::facts::fixtures::region_of;
use crate::model::{FindingState, Level, Snapshot};

const RULE: &str = "rotation-disabled";
/// Makes commits fail, while what is stored can be read.
const BREAK: &str = "ALTER TABLE verdict RENAME TO verdict_away";
const MEND: &str = "ALTER TABLE verdict_away RENAME TO verdict";
/// Makes even reading fail.
const BREAK_ALL: &str = "ALTER TABLE finding RENAME TO finding_away";
const MEND_ALL: &str = "ALTER TABLE finding_away RENAME TO finding";

async fn pipeline() -> Pipeline {
    pipeline_of(auditor()).await
}

async fn pipeline_of(auditor: Auditor) -> Pipeline {
    pipeline_at("sqlite::memory:", auditor).await
}

async fn pipeline_at(url: &str, auditor: Auditor) -> Pipeline {
    let store = Store::connect(url).await.unwrap();
    let topic = SnsTopic {
        topic: "arn:aws:sns:eu-central-1:111122223333:alerts".to_owned(),
        min_level: Level::Informational,
        fallback: None,
    };
    let notifier = Notifier { topics: vec![topic], alerts: Alerts::default(), external_url: None };
    Pipeline::new(auditor, store, Arc::new(Metrics::new().unwrap()), notifier)
}

fn exposition(pipeline: &Pipeline, series: &str) -> String {
    let text = pipeline.metrics.exposition().unwrap();
    let line = text.lines().find(|line| line.starts_with(series)).map(|line| line.replace(series, ""));
    line.unwrap_or_default().trim().to_owned()
}

fn state_of(pipeline: &Pipeline, rule: &str) -> Option<FindingState> {
    pipeline.auditor().findings().find(|finding| finding.rule == rule).map(|finding| finding.state)
}

/// The audit holds what the store holds, no more and no less.
async fn assert_in_step(pipeline: &Pipeline) {
    let mut stored = pipeline.store().findings(&FindingFilter::default()).await.unwrap();
    stored.sort_by(|one, other| one.id.cmp(&other.id));
    let held: Vec<Finding> = pipeline.auditor().findings().cloned().collect();
    assert_eq!(held, stored);
    let keys = pipeline.store().load_keys().await.unwrap();
    assert_eq!(pipeline.auditor().estate().keys().cloned().collect::<Vec<_>>(), keys);
}

async fn pending(pipeline: &Pipeline) -> u64 {
    pipeline.store().outbox_stats(minutes(0)).await.unwrap().pending
}

#[tokio::test]
async fn a_batch_is_judged_stored_told_and_counted() {
    let pipeline = pipeline().await;
    pipeline.take(&mut sweep(vec![rotating(false)], 0)).await.unwrap();
    assert_eq!(state_of(&pipeline, RULE), Some(FindingState::Open));
    assert_in_step(&pipeline).await;
    assert_eq!(pending(&pipeline).await, pipeline.auditor().open_findings().count() as u64);
    assert_eq!(exposition(&pipeline, r#"keyward_batch_seconds_count{source="inventory"}"#), "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn it_works_on_a_runtime_with_threads_too() {
    let pipeline = pipeline().await;
    pipeline.take(&mut sweep(vec![rotating(false)], 0)).await.unwrap();
    pipeline.replace_standards(standards(&[RULE]), minutes(1)).await.unwrap();
    assert_eq!(state_of(&pipeline, RULE), Some(FindingState::Resolved));
    assert_in_step(&pipeline).await;
}

#[tokio::test]
async fn an_event_counts_once_however_often_it_comes() {
    let pipeline = pipeline().await;
    pipeline.take(&mut sweep(vec![rotating(true)], 0)).await.unwrap();
    let mut first = look_up(vec![disabling("e1", 1), disabling("e1", 1), disabling("e2", 2)], 3);
    let taken = pipeline.take(&mut first).await.unwrap();
    assert_eq!(taken.changed_keys, BTreeSet::from([KEY.parse().unwrap()]));
    let again = pipeline.take(&mut look_up(vec![disabling("e2", 2), disabling("e1", 1)], 4)).await.unwrap();
    assert!(again.changed_keys.is_empty());
    assert_eq!(exposition(&pipeline, r#"keyward_events_total{source="lookup"}"#), "2");
    assert_eq!(exposition(&pipeline, "keyward_events_duplicate_total"), "3");
    assert_eq!(exposition(&pipeline, r#"keyward_detections_total{level="medium",rule="key-disabled"}"#), "2");
    let finding = pipeline.auditor().findings().find(|found| found.rule == "key-disabled").cloned().unwrap();
    assert_eq!(finding.event_count, 2);
    assert_in_step(&pipeline).await;
}

#[tokio::test]
async fn the_same_batch_again_changes_nothing() {
    let pipeline = pipeline().await;
    pipeline.take(&mut sweep(vec![rotating(false)], 0)).await.unwrap();
    // The same batch with other contents: what the store has counts.
    pipeline.take(&mut sweep(vec![rotating(true)], 0)).await.unwrap();
    assert_eq!(state_of(&pipeline, RULE), Some(FindingState::Open));
    assert_in_step(&pipeline).await;
    assert_eq!(exposition(&pipeline, r#"keyward_batch_seconds_count{source="inventory"}"#), "1");
}

#[tokio::test]
async fn a_commit_that_fails_leaves_nothing_behind_and_may_be_tried_again() {
    let pipeline = pipeline().await;
    pipeline.take(&mut sweep(vec![rotating(true)], 0)).await.unwrap();
    pipeline.store().meddle(BREAK).await;
    let mut failing = sweep(vec![rotating(false)], 1);
    let error = format!("{:#}", pipeline.take(&mut failing).await.unwrap_err());
    assert!(error.starts_with("batch sweep of eu-central-1 at 1 was not stored: "), "{error}");
    assert_eq!(state_of(&pipeline, RULE), None);
    pipeline.store().meddle(MEND).await;
    assert_in_step(&pipeline).await;
    pipeline.take(&mut failing).await.unwrap();
    assert_eq!(state_of(&pipeline, RULE), Some(FindingState::Open));
    assert_in_step(&pipeline).await;
    let undisturbed = super::tests::pipeline().await;
    for (minute, rotates) in [(0, true), (1, false)] {
        undisturbed.take(&mut sweep(vec![rotating(rotates)], minute)).await.unwrap();
    }
    assert_eq!(pending(&pipeline).await, pending(&undisturbed).await, "each alert once");
}

#[tokio::test]
async fn events_of_a_commit_that_failed_are_not_lost() {
    let pipeline = pipeline().await;
    pipeline.take(&mut sweep(vec![rotating(true)], 0)).await.unwrap();
    pipeline.store().meddle("ALTER TABLE outbox RENAME TO outbox_away").await;
    let mut batch = look_up(vec![disabling("e1", 1)], 2);
    pipeline.take(&mut batch).await.unwrap_err();
    let counted = exposition(&pipeline, r#"keyward_detections_total{level="medium",rule="key-disabled"}"#);
    assert!(["", "0"].contains(&counted.as_str()), "nothing was detected yet: {counted}");
    pipeline.store().meddle("ALTER TABLE outbox_away RENAME TO outbox").await;
    let taken = pipeline.take(&mut batch).await.unwrap();
    assert_eq!(taken.changed_keys.len(), 1);
    assert_eq!(exposition(&pipeline, r#"keyward_detections_total{level="medium",rule="key-disabled"}"#), "1");
    assert_in_step(&pipeline).await;
}

#[tokio::test]
async fn a_commit_whose_answer_was_lost_still_has_its_keys_read_again() {
    let pipeline = pipeline().await;
    pipeline.take(&mut look_up(vec![disabling("e1", 1)], 2)).await.unwrap();
    let mut same = look_up(vec![disabling("e1", 1)], 2);
    let taken = pipeline.take(&mut same).await.unwrap();
    assert_eq!(taken.changed_keys, BTreeSet::from([KEY.parse().unwrap()]));
}

#[tokio::test]
async fn where_even_the_stored_state_cannot_be_read_nothing_is_built_on_what_was_not_stored() {
    let pipeline = pipeline().await;
    pipeline.take(&mut sweep(vec![rotating(true)], 0)).await.unwrap();
    pipeline.store().meddle(BREAK_ALL).await;
    pipeline.take(&mut sweep(vec![rotating(false)], 1)).await.unwrap_err();
    let error = format!("{:#}", pipeline.tick(minutes(2)).await.unwrap_err());
    assert!(error.starts_with("the stored state could not be read again"), "{error}");
    pipeline.store().meddle(MEND_ALL).await;
    let steady = sweep(vec![rotating(true)], 3);
    pipeline.take(&mut steady.clone()).await.unwrap();
    assert_eq!(state_of(&pipeline, RULE), None, "it was never on record");
    assert_in_step(&pipeline).await;
}

#[tokio::test]
async fn a_take_that_is_dropped_midway_is_forgotten() {
    // The database may be quick enough to answer all of it between two polls: then another one is tried.
    for _ in 0..1_000 {
        let pipeline = pipeline().await;
        if dropped_midway(&pipeline).await {
            pipeline.tick(minutes(1)).await.unwrap();
            return assert_in_step(&pipeline).await;
        }
    }
    panic!("no take could be dropped before its end");
}

/// Drops a take once the audit shows what it brings; false if it was over by then.
async fn dropped_midway(pipeline: &Pipeline) -> bool {
    let mut batch = sweep(vec![rotating(false)], 0);
    let mut take = Box::pin(pipeline.take(&mut batch));
    while state_of(pipeline, RULE).is_none() {
        if futures::poll!(&mut take).is_ready() {
            return false;
        }
        tokio::task::yield_now().await;
    }
    true
}

#[tokio::test]
async fn standards_that_cannot_be_stored_are_not_in_force() {
    let pipeline = pipeline().await;
    pipeline.take(&mut sweep(vec![rotating(false)], 0)).await.unwrap();
    pipeline.store().meddle(BREAK).await;
    pipeline.replace_standards(standards(&[RULE]), minutes(1)).await.unwrap_err();
    pipeline.store().meddle(MEND).await;
    assert!(pipeline.auditor().standards().rules.rule(RULE).is_some());
    assert_eq!(state_of(&pipeline, RULE), Some(FindingState::Open));
    assert_in_step(&pipeline).await;
    pipeline.replace_standards(standards(&[RULE]), minutes(2)).await.unwrap();
    assert_eq!(state_of(&pipeline, RULE), Some(FindingState::Resolved));
    assert_in_step(&pipeline).await;
}

/// Two instances on one database that have both begun.
async fn two_instances() -> (tempfile::TempDir, Pipeline, Pipeline) {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("keyward.db").display());
    let (one, other) = (pipeline_at(&url, auditor()).await, pipeline_at(&url, auditor()).await);
    for instance in [&one, &other] {
        instance.tick(minutes(0)).await.unwrap();
    }
    (folder, one, other)
}

#[tokio::test]
async fn what_another_instance_found_is_not_found_again() {
    let (_folder, one, other) = two_instances().await;
    one.take(&mut sweep(vec![rotating(false)], 0)).await.unwrap();
    let opened = one.auditor().findings().find(|finding| finding.rule == RULE).cloned().unwrap();
    // Something that takes no look at the estate comes between.
    other.take(&mut look_up(vec![disabling("e1", 1)], 2)).await.unwrap();
    other.take(&mut sweep(vec![rotating(false)], 3)).await.unwrap();
    let again = other.auditor().findings().find(|finding| finding.rule == RULE).cloned().unwrap();
    assert_eq!((again.first_seen, again.opened_count), (opened.first_seen, 1));
    assert_in_step(&other).await;
    one.take(&mut sweep(vec![rotating(true)], 4)).await.unwrap();
    assert_eq!(state_of(&one, RULE), Some(FindingState::Resolved));
    other.tick(minutes(5)).await.unwrap();
    for instance in [&one, &other] {
        instance.tick(minutes(5)).await.unwrap();
        assert_eq!(state_of(instance, RULE), Some(FindingState::Resolved));
        assert_in_step(instance).await;
    }
}

#[tokio::test]
async fn events_that_another_instance_took_do_not_have_everything_judged_again() {
    let (_folder, one, other) = two_instances().await;
    other.take(&mut sweep(vec![rotating(false)], 0)).await.unwrap();
    for (event, minute) in [("e1", 1), ("e2", 2)] {
        one.take(&mut look_up(vec![disabling(event, minute)], minute)).await.unwrap();
    }
    let version = other.auditor().version();
    other.tick(minutes(3)).await.unwrap();
    assert_eq!(other.auditor().version(), version, "time changes no estate");
    assert_eq!(state_of(&other, "key-disabled"), Some(FindingState::Open));
    assert_in_step(&other).await;
    one.take(&mut look_up(vec![disabling("e3", 4)], 4)).await.unwrap();
    other.take(&mut sweep(vec![rotating(false)], 5)).await.unwrap();
    assert_eq!(other.auditor().version(), version + 1, "its own sweep and nothing else");
    other.tick(minutes(6)).await.unwrap();
    assert_eq!(other.auditor().version(), version + 1);
    assert_in_step(&other).await;
}

#[tokio::test]
async fn time_ends_exceptions_and_detections_and_they_are_stored() {
    let pipeline = pipeline_of(auditor_by(with_exception(RULE, "2026-03-02"))).await;
    pipeline.take(&mut sweep(vec![rotating(false)], 0)).await.unwrap();
    pipeline.take(&mut look_up(vec![disabling("e1", 1)], 2)).await.unwrap();
    assert_eq!(state_of(&pipeline, RULE), Some(FindingState::Excepted));
    pipeline.tick(minutes(3) + TimeDelta::days(3650)).await.unwrap();
    assert_eq!(state_of(&pipeline, RULE), Some(FindingState::Open));
    assert_eq!(state_of(&pipeline, "key-disabled"), Some(FindingState::Resolved));
    assert_in_step(&pipeline).await;
}

#[tokio::test]
async fn a_detection_is_acknowledged_once() {
    let pipeline = pipeline().await;
    pipeline.take(&mut look_up(vec![disabling("e1", 1)], 2)).await.unwrap();
    let id = pipeline.auditor().open_findings().next().unwrap().id.clone();
    assert!(pipeline.acknowledge(&id, minutes(3)).await.unwrap().is_some());
    assert!(pipeline.acknowledge(&id, minutes(4)).await.unwrap().is_none());
    assert_in_step(&pipeline).await;
}

#[tokio::test]
async fn a_place_that_another_instance_let_go_of_is_still_known_by_its_age() {
    let pipeline = pipeline().await;
    let region = region_of("eu-central-1");
    let place = (region.account, region.region);
    pipeline.expect((place.0.clone(), place.1.clone(), SourceKind::Queue));
    assert!(pipeline.auditor().estate().region(&place.0, &place.1).is_none());
    assert_eq!(pipeline.places(), [place.clone()].into());
    pipeline.forget_places(&BTreeSet::from([place]), minutes(1)).await.unwrap();
    assert!(pipeline.reading_ages(minutes(1)).is_empty() && pipeline.places().is_empty());
}

#[tokio::test]
async fn a_place_that_is_let_go_of_leaves_the_store_too() {
    let pipeline = pipeline().await;
    let mut batch = sweep(vec![rotating(false)], 0);
    let region = region_of("eu-central-1");
    let place = (region.account.clone(), region.region.clone());
    batch.snapshots.push(Snapshot::AccountRegion(Box::new(region)));
    let reading = |region: Option<Region>, api: &str| Reading {
        account: place.0.clone(),
        region,
        api: api.to_owned(),
        result: ReadingResult::Ok,
        at: minutes(0),
        attempts: 1,
        failed: 0,
        detail: None,
    };
    batch.readings = vec![reading(Some(place.1.clone()), "kms:ListKeys"), reading(None, "sts:AssumeRole")];
    pipeline.take(&mut batch).await.unwrap();
    assert_eq!(pipeline.reading_ages(minutes(1)).len(), 1);
    pipeline.forget_places(&BTreeSet::from([place]), minutes(1)).await.unwrap();
    assert!(pipeline.reading_ages(minutes(1)).is_empty(), "an age that only grows would alarm for ever");
    assert!(pipeline.readings().await.unwrap().is_empty());
    assert!(pipeline.store().load_regions().await.unwrap().is_empty());
    assert_eq!(pipeline.store().region_snapshots_as_of(minutes(0)).await.unwrap().len(), 1, "the past stays");
    assert_in_step(&pipeline).await;
}

#[tokio::test]
async fn ages_count_from_full_readings_only() {
    let pipeline = pipeline().await;
    let place: ReadPlace =
        ("111122223333".parse().unwrap(), "eu-central-1".parse().unwrap(), SourceKind::Lookup);
    pipeline.expect(place.clone());
    let later = pipeline.started + TimeDelta::hours(1);
    assert_eq!(pipeline.reading_ages(later).get(&place), Some(&3600), "since the start");
    let mut half = look_up(Vec::new(), 0);
    half.read_at = pipeline.started + TimeDelta::minutes(10);
    pipeline.take(&mut half).await.unwrap();
    assert_eq!(pipeline.reading_ages(later).get(&place), Some(&3600), "no reading, no answer");
    let mut whole = look_up(Vec::new(), 1);
    whole.read_at = half.read_at;
    whole.readings = vec![Reading {
        account: place.0.clone(),
        region: Some(place.1.clone()),
        api: "cloudtrail:LookupEvents".to_owned(),
        result: ReadingResult::Ok,
        at: whole.read_at,
        attempts: 14,
        failed: 0,
        detail: None,
    }];
    pipeline.take(&mut whole).await.unwrap();
    assert_eq!(pipeline.reading_ages(later).get(&place), Some(&3000));
}

/// What a queue brought at some time: one event of each of some places, at so many minutes after the start.
fn brought(pipeline: &Pipeline, name: &str, events: &[(&str, &str, i64)]) -> Parcel {
    let record = |(at, (account, region, minute)): (usize, &(&str, &str, i64))| {
        let mut record = disabling(&format!("{name}-{at}"), 0).record().clone();
        let time = pipeline.started + TimeDelta::minutes(*minute);
        record["eventTime"] = time.to_rfc3339_opts(chrono::SecondsFormat::Micros, true).into();
        record["recipientAccountId"] = (*account).into();
        record["awsRegion"] = (*region).into();
        record
    };
    let records: Vec<_> = events.iter().enumerate().map(record).collect();
    Parcel {
        source: SourceKind::Queue,
        parts: pipeline.harvest_values(name, &records),
        readings: Vec::new(),
        read_at: pipeline.started + TimeDelta::minutes(30),
    }
}

#[tokio::test]
async fn a_place_is_as_old_as_the_newest_event_that_a_queue_brought() {
    let pipeline = pipeline().await;
    let mut swept = sweep(Vec::new(), 0);
    swept.snapshots.push(Snapshot::AccountRegion(Box::new(region_of("eu-central-1"))));
    pipeline.take(&mut swept).await.unwrap();
    let expected: ReadPlace =
        ("111122223333".parse().unwrap(), "us-east-1".parse().unwrap(), SourceKind::Queue);
    pipeline.expect(expected);
    let now = pipeline.started + TimeDelta::hours(1);
    let ages = || {
        let ages = pipeline.reading_ages(now);
        let of_queue = ages.into_iter().filter(|((_, _, source), _)| *source == SourceKind::Queue);
        of_queue.map(|((_, region, _), age)| (region.to_string(), age / 60)).collect::<Vec<_>>()
    };
    let of = |region: &str, minutes| (region.to_owned(), minutes);
    assert_eq!(ages(), [of("us-east-1", 60)], "nothing was heard of it since the start");
    let (own, other) = ("111122223333", "222233334444");
    let events = [
        (own, "eu-central-1", 20),
        (own, "eu-central-1", 10),
        (own, "eu-west-1", 20),
        (other, "eu-central-1", 20),
        ("", "eu-central-1", 20),
        (own, "not a Region", 20),
    ];
    pipeline.take_parcel(brought(&pipeline, "first", &events)).await.unwrap();
    assert_eq!(ages(), [of("eu-central-1", 40), of("us-east-1", 60)], "only what is audited or expected");
    let late = [(own, "eu-central-1", 5), (own, "us-east-1", -120)];
    pipeline.take_parcel(brought(&pipeline, "late", &late)).await.unwrap();
    assert_eq!(ages(), [of("eu-central-1", 40), of("us-east-1", 180)], "the newest, in whatever order");
    let ahead = [(own, "us-east-1", 100_000)];
    pipeline.take_parcel(brought(&pipeline, "ahead", &ahead)).await.unwrap();
    assert_eq!(ages()[1], of("us-east-1", 30), "no later than when it was read");

    let again =
        Parcel { source: SourceKind::Files, ..brought(&pipeline, "files", &[(own, "eu-central-1", 29)]) };
    pipeline.take_parcel(again).await.unwrap();
    assert_eq!(ages()[0], of("eu-central-1", 40), "no queue brought it");
    pipeline.take_parcel(brought(&pipeline, "files", &[(own, "eu-central-1", 29)])).await.unwrap();
    assert_eq!(ages()[0], of("eu-central-1", 40), "the same input again changes nothing");
    let place = (own.parse().unwrap(), "us-east-1".parse().unwrap());
    pipeline.forget_places(&BTreeSet::from([place]), now).await.unwrap();
    pipeline.take_parcel(brought(&pipeline, "after", &[(own, "us-east-1", 25)])).await.unwrap();
    assert_eq!(ages(), [of("eu-central-1", 40)], "what is audited no more has no age");
}

#[tokio::test]
async fn the_counters_of_events_begin_at_zero() {
    let pipeline = pipeline().await;
    for series in [
        r#"keyward_events_total{source="queue"}"#,
        r#"keyward_key_requests_total{operation="Decrypt",outcome="denied"}"#,
        r#"keyward_key_requests_total{operation="Decapsulate",outcome="dry_run"}"#,
        "keyward_ledger_folded_total",
        "keyward_correlation_dropped_total",
    ] {
        assert_eq!(exposition(&pipeline, &format!("{series} ")), "0", "{series}");
    }
}

#[tokio::test]
async fn the_audit_forgets_what_the_store_forgets() {
    let pipeline = pipeline().await;
    pipeline.take(&mut sweep(vec![rotating(false)], 0)).await.unwrap();
    pipeline.take(&mut sweep(vec![rotating(true)], 1)).await.unwrap();
    let retention =
        Retention { history: TimeDelta::days(1), events: TimeDelta::days(1), usage: TimeDelta::days(1) };
    pipeline.prune(minutes(2), retention).await.unwrap();
    assert_eq!(state_of(&pipeline, RULE), Some(FindingState::Resolved));
    pipeline.prune(minutes(2) + TimeDelta::days(1), retention).await.unwrap();
    assert_eq!(state_of(&pipeline, RULE), None);
    assert_in_step(&pipeline).await;
}
