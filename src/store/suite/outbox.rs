//! What has to be said.

use super::*;

async fn due(store: &Store, seconds: i64) -> Vec<String> {
    let claimed = store.outbox_due(at(seconds), TimeDelta::seconds(60), 10).await.unwrap();
    claimed.into_iter().map(|claimed| claimed.row.id).collect()
}

pub(super) async fn a_message_is_put_into_the_outbox_once(bench: &Bench) {
    let store = bench.store().await;
    let opened = message("m1", "f1", "opened");
    store.commit(&batch("1", at(0)), &saying(&[opened.clone(), opened.clone()])).await.unwrap();
    store.commit(&batch("2", at(10)), &saying(std::slice::from_ref(&opened))).await.unwrap();
    let claimed = store.outbox_due(at(20), TimeDelta::seconds(60), 10).await.unwrap();
    assert_eq!(claimed, [Claimed { row: opened.clone(), attempts: 0 }]);
    store.outbox_sent("m1", at(21), "sns-1").await.unwrap();
    store.commit(&batch("3", at(30)), &saying(&[opened])).await.unwrap();
    assert_eq!(due(&store, 600).await, [""; 0], "what was sent is not sent again");
    assert_eq!(store.outbox_stats(at(600)).await.unwrap(), OutboxStats { sent: 1, ..OutboxStats::default() });
}

pub(super) async fn messages_about_one_thing_go_out_in_order(bench: &Bench) {
    let store = bench.store().await;
    // The ids are against the order on purpose.
    let changes = saying(&[message("m9", "f1", "opened"), message("m8", "f2", "opened")]);
    store.commit(&batch("1", at(0)), &changes).await.unwrap();
    store.commit(&batch("2", at(1)), &saying(&[message("m1", "f1", "resolved")])).await.unwrap();
    assert_eq!(due(&store, 5).await, ["m9", "m8"]);
    assert_eq!(due(&store, 6).await, [""; 0], "m1 waits for m9, which is claimed");
    store.outbox_retry("m9", "throttled", at(30)).await.unwrap();
    assert_eq!(due(&store, 10).await, [""; 0], "and still when m9 has to be tried again");
    assert_eq!(store.outbox_next().await.unwrap(), Some(at(1)));
    assert_eq!(due(&store, 30).await, ["m9"]);
    store.outbox_sent("m9", at(31), "sns-1").await.unwrap();
    assert_eq!(due(&store, 32).await, ["m1"]);
}

pub(super) async fn a_claimed_message_comes_back_when_the_claim_ends(bench: &Bench) {
    let store = bench.store().await;
    store.commit(&batch("1", at(0)), &saying(&[message("m1", "f1", "opened")])).await.unwrap();
    assert_eq!(due(&store, 0).await, ["m1"]);
    assert_eq!(due(&store, 59).await, [""; 0]);
    assert_eq!(due(&store, 60).await, ["m1"], "whoever claimed it died");
    store.outbox_retry("m1", "boom", at(70)).await.unwrap();
    let again = store.outbox_due(at(70), TimeDelta::seconds(60), 10).await.unwrap();
    assert_eq!(again[0].attempts, 1);
}

pub(super) async fn a_dead_message_is_kept_and_blocks_nothing(bench: &Bench) {
    let store = bench.store().await;
    let changes = saying(&[message("m1", "f1", "opened"), message("m2", "f1", "resolved")]);
    store.commit(&batch("1", at(0)), &changes).await.unwrap();
    assert_eq!(due(&store, 1).await, ["m1"]);
    store.outbox_dead("m1", at(2), "NotFound").await.unwrap();
    assert_eq!(due(&store, 3).await, ["m2"]);
    let stats = store.outbox_stats(at(10)).await.unwrap();
    assert_eq!((stats.pending, stats.sent, stats.dead), (1, 0, 1));
}

pub(super) async fn what_was_last_said_is_known(bench: &Bench) {
    let store = bench.store().await;
    store.commit(&batch("1", at(0)), &saying(&[message("m1", "f1", "opened")])).await.unwrap();
    let both = saying(&[message("m2", "f1", "escalated"), message("m3", "f2", "opened")]);
    store.apply(&both, at(60)).await.unwrap();
    store.apply(&saying(&[message("m4", "f1", "opened")]), at(90)).await.unwrap();
    let said = store.last_said(&["f1".to_owned(), "f3".to_owned()]).await.unwrap();
    let topic = message("", "", "").topic;
    let entry = |reason: &str, at| LastSaid {
        topic: topic.clone(),
        about: "f1".to_owned(),
        reason: reason.to_owned(),
        at,
    };
    assert_eq!(said, [entry("escalated", at(60)), entry("opened", at(90))]);
}

pub(super) async fn no_message_is_claimed_twice(bench: &Bench) {
    let (one, other) = (bench.store().await, bench.store().await);
    let messages: Vec<OutboxRow> =
        (0..100).map(|number| message(&format!("m{number:03}"), &format!("f{number}"), "opened")).collect();
    one.commit(&batch("1", at(0)), &saying(&messages)).await.unwrap();
    let mut claimed = Vec::new();
    for _ in 0..10 {
        let (first, second) = tokio::join!(due(&one, 10), due(&other, 10));
        claimed.extend(first.into_iter().chain(second));
    }
    claimed.extend(due(&one, 10).await);
    claimed.sort();
    let expected: Vec<_> = messages.iter().map(|message| message.id.clone()).collect();
    assert_eq!(claimed, expected);
}
