//! What was read.

use super::*;

pub(super) async fn snapshots_keep_the_time_in_which_they_held(bench: &Bench) {
    let store = bench.store().await;
    for (sweep, seconds, policy) in [("1", 0, "old"), ("2", 100, "old"), ("3", 200, "new"), ("4", 300, "old")]
    {
        let batch = with_keys(sweep, at(seconds), [snapshot(1, policy, at(seconds))]);
        store.commit(&batch, &Changes::default()).await.unwrap();
    }
    assert_eq!(store.load_keys().await.unwrap(), [snapshot(1, "old", at(300))]);
    for (seconds, expected) in [
        (-1, None),
        (0, Some(snapshot(1, "old", at(0)))),
        (150, Some(snapshot(1, "old", at(100)))),
        (200, Some(snapshot(1, "new", at(200)))),
        (299, Some(snapshot(1, "new", at(200)))),
        (900, Some(snapshot(1, "old", at(300)))),
    ] {
        let then = store.key_snapshots_as_of(at(seconds)).await.unwrap();
        assert_eq!(then, Vec::from_iter(expected), "at {seconds}");
    }
}

pub(super) async fn usage_and_deliveries_are_no_change(bench: &Bench) {
    let store = bench.store().await;
    let used = |seconds: i64| KeySnapshot {
        last_usage: Observed::Known(LastUsage {
            operation: Some("Decrypt".to_owned()),
            at: Some(at(seconds)),
            event_id: None,
            tracking_since: None,
        }),
        ..snapshot(1, "p", at(seconds))
    };
    for seconds in [0, 100, 200] {
        let batch = with_keys(&seconds.to_string(), at(seconds), [used(seconds)]);
        store.commit(&batch, &Changes::default()).await.unwrap();
    }
    assert_eq!(store.load_keys().await.unwrap(), [used(200)], "the newest usage is kept");
    let rows: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM snapshot").fetch_one(&store.pool).await.unwrap();
    assert_eq!(rows, 1, "and is no stretch of its own");
}

pub(super) async fn an_older_snapshot_does_not_replace_a_newer_one(bench: &Bench) {
    let store = bench.store().await;
    let reread = with_keys("event", at(60), [snapshot(1, "new", at(60))]);
    store.commit(&reread, &Changes::default()).await.unwrap();
    let sweep = with_keys("sweep", at(90), [snapshot(1, "old", at(30)), snapshot(2, "p", at(30))]);
    store.commit(&sweep, &Changes::default()).await.unwrap();
    let expected = [snapshot(1, "new", at(60)), snapshot(2, "p", at(30))];
    assert_eq!(store.load_keys().await.unwrap(), expected);
}

pub(super) async fn a_key_that_vanished_is_gone_now_and_there_in_the_past(bench: &Bench) {
    let store = bench.store().await;
    let first = with_keys("1", at(0), [snapshot(1, "p", at(0)), snapshot(2, "p", at(0))]);
    let opened = judged(1, &[("r1", Outcome::Fail)], 0);
    store.commit(&first, &opened).await.unwrap();
    let arn = key(1).to_string();
    let previous = store.findings_of_subjects(SubjectKind::Key, std::slice::from_ref(&arn)).await.unwrap();
    let changes = Changes {
        gone: vec![(SubjectKind::Key, arn.clone()), (SubjectKind::KeySet, arn.clone())],
        findings: vanish(SubjectKind::Key, &arn, &previous, at(100)),
        ..Changes::default()
    };
    let second = with_keys("2", at(100), [snapshot(2, "p", at(100))]);
    store.commit(&second, &changes).await.unwrap();
    assert_eq!(store.load_keys().await.unwrap(), [snapshot(2, "p", at(100))]);
    assert_eq!(store.key_snapshots_as_of(at(50)).await.unwrap().len(), 2);
    assert_eq!(store.verdict_rows(&VerdictFilter::default()).await.unwrap(), []);
    let finding = store.finding(&opened.findings[0].finding.id).await.unwrap().unwrap();
    assert_eq!((finding.state, finding.resolved_at), (FindingState::Resolved, Some(at(100))));
    // It comes back, as a cancelled deletion does.
    let third = with_keys("3", at(200), [snapshot(1, "p", at(200))]);
    store.commit(&third, &Changes::default()).await.unwrap();
    assert_eq!(store.key_snapshots_as_of(at(150)).await.unwrap().len(), 1);
    assert_eq!(store.load_keys().await.unwrap().len(), 2);
}

pub(super) async fn readings_know_since_when(bench: &Bench) {
    let store = bench.store().await;
    for (seconds, result) in [
        (0, ReadingResult::Ok),
        (60, ReadingResult::Denied),
        (120, ReadingResult::Denied),
        (90, ReadingResult::Ok),
    ] {
        let readings = vec![reading("kms:ListKeys", result, seconds)];
        let batch = Batch { readings, ..batch(&seconds.to_string(), at(seconds)) };
        store.commit(&batch, &Changes::default()).await.unwrap();
    }
    let global = Reading { region: None, ..reading("sts:AssumeRole", ReadingResult::Ok, 5) };
    let batch = Batch { readings: vec![global.clone()], ..batch("global", at(5)) };
    store.commit(&batch, &Changes::default()).await.unwrap();
    let denied = reading("kms:ListKeys", ReadingResult::Denied, 120);
    let stored = store.readings().await.unwrap();
    assert_eq!(
        stored,
        [StoredReading { reading: global, since: at(5) }, StoredReading { reading: denied, since: at(60) }],
        "the late reading of 90 s changed nothing"
    );
}

pub(super) async fn twenty_thousand_keys_are_affordable(bench: &Bench) {
    let store = bench.store().await;
    let names: Vec<String> = (0..25).map(|number| format!("rule-number-{number:02}")).collect();
    let outcomes: Vec<(&str, Outcome)> = names.iter().map(|name| (name.as_str(), Outcome::Pass)).collect();
    let keys = (0..20_000).map(|number| snapshot(number, "p", at(0)));
    let batch = with_keys("sweep", at(0), keys);
    let mut changes = Changes::default();
    for number in 0..20_000 {
        changes.verdicts.append(&mut judged(number, &outcomes, 0).verdicts);
    }
    let started = std::time::Instant::now();
    store.commit(&batch, &changes).await.unwrap();
    let again = Batch { id: "again".to_owned(), ..batch.clone() };
    store.commit(&again, &changes).await.unwrap();
    assert_eq!(store.load_keys().await.unwrap().len(), 20_000);
    let counts = store.verdict_counts().await.unwrap();
    assert_eq!((counts.len(), counts[0].subjects), (25, 20_000));
    let took = started.elapsed();
    // An unoptimised build on a busy machine takes a few seconds; one row a statement took minutes.
    assert!(took.as_secs() < 60, "two sweeps took {took:?}");
}
