//! All or nothing.

use super::*;

pub(super) async fn what_was_committed_is_there(bench: &Bench) {
    let store = bench.store().await;
    let (batch, changes) = everything();
    assert_eq!(store.commit(&batch, &changes).await.unwrap(), Commit::Fresh);
    let (keys, regions) = store.load_estate().await.unwrap();
    assert_eq!(keys, [snapshot(1, "p", at(0)), snapshot(2, "p", at(0))]);
    assert_eq!(regions, [region(at(0))]);
    assert_eq!(
        store.findings(&FindingFilter::default()).await.unwrap(),
        [changes.findings[0].finding.clone()]
    );
    assert_eq!(store.finding(&changes.findings[0].finding.id).await.unwrap().unwrap().rule, "r1");
    assert_eq!(store.finding("nobody").await.unwrap(), None);
    assert_eq!(store.cursor("lookup/x").await.unwrap(), batch.cursor);
    assert_eq!(store.cursor("lookup/y").await.unwrap(), None);
    assert_eq!(store.outbox_stats(at(90)).await.unwrap().oldest_age, Some(TimeDelta::seconds(90)));
}

pub(super) async fn a_batch_twice_changes_nothing(bench: &Bench) {
    let store = bench.store().await;
    let (batch, changes) = everything();
    store.commit(&batch, &changes).await.unwrap();
    let before = whole(&store).await;
    // Even if something else followed from it the second time.
    let mut other = judged(2, &[("r1", Outcome::Fail)], 5);
    other.outbox.push(message("m2", "f", "opened"));
    assert_eq!(store.commit(&batch, &other).await.unwrap(), Commit::Repeated);
    assert_eq!(whole(&store).await, before);
}

pub(super) async fn batches_of_two_regions_may_share_a_name(bench: &Bench) {
    let store = bench.store().await;
    let here = batch("sweep-1", at(0));
    let there = Batch { region: Some("eu-west-1".parse().unwrap()), ..batch("sweep-1", at(0)) };
    assert_eq!(store.commit(&here, &Changes::default()).await.unwrap(), Commit::Fresh);
    assert_eq!(store.commit(&there, &Changes::default()).await.unwrap(), Commit::Fresh);
    assert_eq!(store.commit(&there, &Changes::default()).await.unwrap(), Commit::Repeated);
}

pub(super) async fn what_is_old_is_pruned_and_nothing_else(bench: &Bench) {
    let store = bench.store().await;
    let first = with_keys("1", at(0), [snapshot(1, "old", at(0)), snapshot(2, "p", at(0))]);
    let mut changes = judged(1, &[("r1", Outcome::Fail), ("r2", Outcome::Fail)], 0);
    let resolved_id = changes.findings[0].finding.id.clone();
    changes.outbox = vec![message("m1", &resolved_id, "opened"), message("m2", "f2", "opened")];
    store.commit(&first, &changes).await.unwrap();
    let previous = store.findings_of_subjects(SubjectKind::Key, &[key(1).to_string()]).await.unwrap();
    let verdicts = [verdict("r1", Outcome::Pass), verdict("r2", Outcome::Fail)];
    let rules = rules(&[("r1", Level::High), ("r2", Level::Low)]);
    let mended = Changes {
        findings: settle(&verdicts, &rules, &previous, &Exceptions::default(), at(100)),
        ..Changes::default()
    };
    let second = with_keys("2", at(100), [snapshot(1, "new", at(100))]);
    store.commit(&second, &mended).await.unwrap();
    store.outbox_sent("m1", at(100), "sns").await.unwrap();

    let retention = Retention {
        history: TimeDelta::seconds(500),
        events: TimeDelta::seconds(550),
        usage: TimeDelta::hours(1),
    };
    assert_eq!(store.prune(at(500), retention).await.unwrap(), Pruned::default(), "nothing is old yet");
    let pruned = store.prune(at(601), retention).await.unwrap();
    let expected = Pruned { findings: 1, snapshots: 1, messages: 1, batches: 2, ..Pruned::default() };
    assert_eq!(pruned, expected);
    assert_eq!(store.history(&resolved_id).await.unwrap(), []);
    assert_eq!(store.last_said(&[resolved_id]).await.unwrap(), []);
    assert_eq!(store.findings(&FindingFilter::standing()).await.unwrap().len(), 1);
    assert_eq!(store.load_keys().await.unwrap().len(), 2);
    assert_eq!(store.outbox_stats(at(601)).await.unwrap().pending, 1);
}

pub(super) async fn a_dropped_transaction_writes_all_or_nothing(bench: &Bench) {
    let (batch, changes) = everything();
    let reference = Bench::memory().store().await;
    reference.commit(&batch, &changes).await.unwrap();
    let after = whole(&reference).await;
    let store = bench.store().await;
    let before = whole(&store).await;
    // Dropped with all written but the last word.
    let mut writing = store.begin().await.unwrap();
    assert!(writing.mark(&mark_of(&batch), batch.source, batch.read_at).await.unwrap());
    write(&mut writing, &batch, &changes).await.unwrap();
    drop(writing);
    assert_eq!(whole(&store).await, before);
    // Dropped after 0, 1, 2, … of its steps, as by a process that dies there.
    let mut steps = 0_usize;
    let outcome = loop {
        let mut polls = 0_usize;
        let mut commit = Box::pin(store.commit(&batch, &changes));
        let done = std::future::poll_fn(|context| match commit.as_mut().poll(context) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending if polls == steps => Poll::Ready(None),
            Poll::Pending => {
                polls += 1;
                Poll::Pending
            }
        })
        .await;
        drop(commit);
        if let Some(done) = done {
            break done.unwrap();
        }
        // Dropped between the last word to the database and its answer, all of it will be there in a moment.
        let mut now = whole(&store).await;
        for _ in 0..100 {
            if now == before || now == after {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            now = whole(&store).await;
        }
        assert!(now == before || now == after, "dropped after {steps} steps: {now}");
        steps += 1;
    };
    assert_eq!(whole(&store).await, after, "{outcome:?}");
    assert_eq!(store.commit(&batch, &changes).await.unwrap(), Commit::Repeated);
}

pub(super) async fn everything_is_there_after_a_restart(bench: &Bench) {
    let store = bench.store().await;
    let (batch, changes) = everything();
    store.commit(&batch, &changes).await.unwrap();
    let before = whole(&store).await;
    store.close().await;
    let store = bench.store().await;
    assert_eq!(whole(&store).await, before);
    assert_eq!(store.commit(&batch, &changes).await.unwrap(), Commit::Repeated);
}

pub(super) async fn of_two_writers_of_one_batch_one_writes(bench: &Bench) {
    let (one, other) = (bench.store().await, bench.store().await);
    for number in 0..20 {
        let (mut batch, changes) = everything();
        batch.id = number.to_string();
        let (first, second) = tokio::join!(one.commit(&batch, &changes), other.commit(&batch, &changes));
        let mut outcomes = [first.unwrap(), second.unwrap()];
        outcomes.sort_by_key(|outcome| *outcome == Commit::Repeated);
        assert_eq!(outcomes, [Commit::Fresh, Commit::Repeated]);
    }
}

pub(super) async fn many_writers_do_not_fail(bench: &Bench) {
    let store = bench.store().await;
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..4_u32 {
        let store = store.clone();
        tasks.spawn(async move {
            for number in 0..25_u32 {
                let id = format!("{writer}/{number}");
                let keys = [snapshot(1, &id, at(i64::from(number))), snapshot(2 + writer, &id, at(0))];
                let changes = judged(1, &[("r1", Outcome::Fail)], i64::from(number));
                store.commit(&with_keys(&id, at(i64::from(number)), keys), &changes).await.unwrap();
                store.outbox_due(at(0), TimeDelta::seconds(1), 1).await.unwrap();
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    assert_eq!(store.load_keys().await.unwrap().len(), 5);
    assert_eq!(store.findings(&FindingFilter::default()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_writer_that_falls_silent_holds_nobody_up_for_ever() {
    let Some(bench) = Bench::postgres("a_silent_writer").await else { return };
    let store = bench.store().await;
    let mut writing = store.begin().await.unwrap();
    let bound: String = sqlx::query_scalar("SELECT current_setting('idle_in_transaction_session_timeout')")
        .fetch_one(&mut **writing.transaction())
        .await
        .unwrap();
    assert_eq!(bound, "2min");
    drop(writing);

    // What the URL says holds.
    let url = format!("{}&options[idle_in_transaction_session_timeout]=300", bench.url);
    let silent = Store::connect(&url).await.unwrap().begin().await.unwrap();
    let patience = std::time::Duration::from_secs(20);
    let next = tokio::time::timeout(patience, store.begin()).await.expect("it waits for the silent one");
    next.unwrap().commit().await.unwrap();
    silent.commit().await.unwrap_err();
}
