//! The task that publishes what the outbox holds.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::join_all;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::model::OutboxRow;
use crate::store::{Claimed, Result, Store};

/// Publishes messages; SNS, or a double in tests.
pub trait Publisher: Send + Sync {
    /// Publishes a message to a topic; gives the id that the topic's service gave it.
    fn publish(
        &self,
        topic: &str,
        row: &OutboxRow,
    ) -> impl Future<Output = std::result::Result<String, PublishError>> + Send;
}

/// Whether trying again can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// It may: throttling, 5xx, time-outs, the network.
    Transient,
    /// This topic will not take this message: it is gone, forbidden, or its key cannot be used.
    Permanent,
}

/// Why a message was not published.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct PublishError {
    /// Whether trying again can help.
    pub failure: Failure,
    /// What the service said.
    pub message: String,
}

/// What became of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Delivery {
    /// It was published.
    Sent,
    /// It was published to the fallback topic, since its own topic will not take it.
    SentToFallback,
    /// It will be tried again.
    Retried,
    /// It will not be tried again; it stays in the outbox with the reason.
    Dead,
}

impl Delivery {
    /// Every result.
    pub const ALL: [Self; 4] = [Self::Sent, Self::SentToFallback, Self::Retried, Self::Dead];

    /// The result's name, as in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::SentToFallback => "sent_to_fallback",
            Self::Retried => "retried",
            Self::Dead => "dead",
        }
    }
}

impl fmt::Display for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How the outbox is drained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutboxSettings {
    /// How often the store is asked for messages when there were none: those of other instances, and those to be tried
    /// again. What this process commits it goes to at once.
    pub poll: Duration,
    /// How long one attempt may take.
    pub attempt: Duration,
    /// How many attempts a message gets.
    pub max_attempts: u64,
    /// How many messages are under way at a time.
    pub at_a_time: u32,
}

impl Default for OutboxSettings {
    /// 50 attempts are more than three hours, at most five minutes apart.
    fn default() -> Self {
        Self {
            poll: Duration::from_secs(1),
            attempt: Duration::from_secs(20),
            max_attempts: 50,
            at_a_time: 10,
        }
    }
}

/// Drains the outbox of a store to a publisher.
///
/// Messages about one finding go out in order, each after the one before it is published or dead. A process that
/// dies between a publication and its mark publishes that message again when its claim has ended; a FIFO topic
/// takes it once, by its deduplication id.
#[derive(Debug)]
pub struct Outbox<P> {
    store: Store,
    publisher: P,
    settings: OutboxSettings,
}

impl<P: Publisher> Outbox<P> {
    /// An outbox that is not drained yet.
    pub fn new(store: Store, publisher: P, settings: OutboxSettings) -> Self {
        Self { store, publisher, settings }
    }

    /// Drains until cancelled; what is under way then is finished first. `tell` hears of every attempt, for
    /// metrics and logs.
    pub async fn run(&self, cancel: &CancellationToken, tell: impl Fn(&OutboxRow, Delivery)) {
        if let Err(error) = self.store.outbox_release().await {
            tracing::warn!(error = %error, "messages of the last run wait until their claims end");
        }
        while !cancel.is_cancelled() {
            let done = match self.drain(clock::now(), &tell).await {
                Ok(done) => done,
                Err(error) => {
                    tracing::error!(error = %error, "the outbox could not be read or marked; trying again");
                    0
                }
            };
            if done == 0 {
                // Waiting is all that is broken off.
                let filled = tokio::time::timeout(self.settings.poll, self.store.outbox_filled());
                let _cancelled = cancel.run_until_cancelled(filled).await;
            }
        }
    }

    /// Publishes what is due, once; tells how many messages were attempted.
    ///
    /// # Errors
    /// When the store fails. What was claimed then comes back when the claim ends.
    pub async fn drain(&self, now: DateTime<Utc>, tell: &impl Fn(&OutboxRow, Delivery)) -> Result<usize> {
        let claimed = self.store.outbox_due(now, self.lease(), self.settings.at_a_time).await?;
        let attempts = join_all(claimed.iter().map(|claimed| self.attempt(claimed, now))).await;
        let mut failure = None;
        for (claimed, attempt) in claimed.iter().zip(attempts) {
            match attempt {
                Ok(delivery) => tell(&claimed.row, delivery),
                Err(error) => failure = Some(error),
            }
        }
        failure.map_or(Ok(claimed.len()), Err)
    }

    /// Longer than an attempt at the topic and one at its fallback take together.
    fn lease(&self) -> TimeDelta {
        TimeDelta::from_std(self.settings.attempt * 3).unwrap_or(TimeDelta::minutes(5))
    }

    async fn attempt(&self, claimed: &Claimed, now: DateTime<Utc>) -> Result<Delivery> {
        let row = &claimed.row;
        let mut outcome = self.publish(&row.topic, row).await;
        let mut delivery = Delivery::Sent;
        if let (Err(PublishError { failure: Failure::Permanent, message }), Some(fallback)) =
            (&outcome, &row.fallback)
        {
            tracing::warn!(
                topic = row.topic,
                fallback,
                error = message,
                "the topic failed; using its fallback"
            );
            outcome = self.publish(fallback, row).await;
            delivery = Delivery::SentToFallback;
        }
        match outcome {
            Ok(message_id) => {
                self.mark_sent(&row.id, now, &message_id).await?;
                Ok(delivery)
            }
            Err(error) => self.failed(claimed, now, &error).await,
        }
    }

    async fn publish(&self, topic: &str, row: &OutboxRow) -> std::result::Result<String, PublishError> {
        match tokio::time::timeout(self.settings.attempt, self.publisher.publish(topic, row)).await {
            Ok(outcome) => outcome,
            Err(_elapsed) => Err(PublishError {
                failure: Failure::Transient,
                message: format!("no answer within {} s", self.settings.attempt.as_secs()),
            }),
        }
    }

    /// A mark that fails would publish the message again, so it is worth a second and a third attempt.
    async fn mark_sent(&self, id: &str, now: DateTime<Utc>, message_id: &str) -> Result<()> {
        for _ in 0..2 {
            match self.store.outbox_sent(id, now, message_id).await {
                Ok(()) => return Ok(()),
                Err(error) => tracing::warn!(error = %error, "a published message could not be marked"),
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        self.store.outbox_sent(id, now, message_id).await
    }

    async fn failed(&self, claimed: &Claimed, now: DateTime<Utc>, error: &PublishError) -> Result<Delivery> {
        let Claimed { row, attempts } = claimed;
        let attempts = attempts + 1;
        if error.failure == Failure::Permanent || attempts >= self.settings.max_attempts {
            tracing::error!(topic = row.topic, id = row.id, attempts, error = %error, "a message is given up");
            self.store.outbox_dead(&row.id, now, &error.message).await?;
            return Ok(Delivery::Dead);
        }
        tracing::warn!(topic = row.topic, id = row.id, attempts, error = %error, "a message will be tried again");
        self.store.outbox_retry(&row.id, &error.message, now + backoff(attempts)).await?;
        Ok(Delivery::Retried)
    }
}

/// How long to wait after so many failed attempts: 1 s, 2 s, 4 s, … and at most 5 minutes.
fn backoff(attempts: u64) -> TimeDelta {
    let doublings = u32::try_from(attempts.saturating_sub(1).min(9)).unwrap_or(9);
    TimeDelta::seconds((1_i64 << doublings).min(300))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::findings::fixtures::at;
    use crate::model::Changes;
    use crate::store::OutboxStats;

    /// Answers by topic with what it was told to, and remembers what it was given.
    #[derive(Debug, Default)]
    struct Double {
        answers: BTreeMap<&'static str, Failure>,
        published: Mutex<Vec<(String, String)>>,
        hang: bool,
    }

    impl Publisher for &Double {
        async fn publish(&self, topic: &str, row: &OutboxRow) -> std::result::Result<String, PublishError> {
            if self.hang {
                std::future::pending::<()>().await;
            }
            if let Some(failure) = self.answers.get(topic) {
                return Err(PublishError { failure: *failure, message: "no".to_owned() });
            }
            self.published.lock().unwrap().push((topic.to_owned(), row.id.clone()));
            Ok(format!("sns-{}", row.id))
        }
    }

    fn message(id: &str, finding: &str) -> OutboxRow {
        OutboxRow {
            id: id.to_owned(),
            topic: "topic".to_owned(),
            fallback: None,
            finding: Some(finding.to_owned()),
            reason: "opened".to_owned(),
            subject: String::new(),
            document: String::new(),
            text: String::new(),
            attributes: BTreeMap::new(),
        }
    }

    async fn store_with(rows: Vec<OutboxRow>) -> Store {
        let store = Store::connect("sqlite::memory:").await.unwrap();
        store.apply(&Changes { outbox: rows, ..Changes::default() }, at(0)).await.unwrap();
        store
    }

    /// Drains once at `seconds`; gives each message and what became of it.
    async fn drain(outbox: &Outbox<&Double>, seconds: i64) -> Vec<(String, Delivery)> {
        let heard = Mutex::new(Vec::new());
        let tell = |row: &OutboxRow, delivery| heard.lock().unwrap().push((row.id.clone(), delivery));
        outbox.drain(at(seconds), &tell).await.unwrap();
        heard.into_inner().unwrap()
    }

    fn told(id: &str, delivery: Delivery) -> Vec<(String, Delivery)> {
        vec![(id.to_owned(), delivery)]
    }

    #[tokio::test]
    async fn messages_about_a_finding_go_out_one_after_the_other_and_once() {
        let rows = vec![message("m3", "f1"), message("m2", "f1"), message("m1", "f2")];
        let store = store_with(rows).await;
        let double = Double::default();
        let outbox = Outbox::new(store, &double, OutboxSettings::default());
        for _ in 0..4 {
            drain(&outbox, 1).await;
        }
        let published: Vec<String> =
            double.published.lock().unwrap().iter().map(|(_, id)| id.clone()).collect();
        assert_eq!(published, ["m3", "m1", "m2"]);
    }

    #[tokio::test]
    async fn what_fails_for_now_is_tried_again_later_and_in_the_end_given_up() {
        let store = store_with(vec![message("m1", "f1")]).await;
        let double = Double { answers: [("topic", Failure::Transient)].into(), ..Double::default() };
        let settings = OutboxSettings { max_attempts: 3, ..OutboxSettings::default() };
        let outbox = Outbox::new(store.clone(), &double, settings);
        assert_eq!(drain(&outbox, 0).await, told("m1", Delivery::Retried));
        assert_eq!(drain(&outbox, 0).await, [], "not before a second has passed");
        assert_eq!(drain(&outbox, 1).await, told("m1", Delivery::Retried));
        assert_eq!(drain(&outbox, 2).await, []);
        assert_eq!(drain(&outbox, 3).await, told("m1", Delivery::Dead));
        assert_eq!(drain(&outbox, 9_000).await, []);
        let stats = store.outbox_stats(at(9_000)).await.unwrap();
        assert_eq!(stats, OutboxStats { dead: 1, ..OutboxStats::default() });
    }

    #[tokio::test]
    async fn what_fails_for_good_takes_the_fallback_or_dies_at_once() {
        let with_fallback = OutboxRow { fallback: Some("fallback".to_owned()), ..message("m1", "f1") };
        let store = store_with(vec![with_fallback, message("m2", "f2")]).await;
        let double = Double { answers: [("topic", Failure::Permanent)].into(), ..Double::default() };
        let outbox = Outbox::new(store, &double, OutboxSettings::default());
        let expected = [("m1".to_owned(), Delivery::SentToFallback), ("m2".to_owned(), Delivery::Dead)];
        assert_eq!(drain(&outbox, 0).await, expected);
        assert_eq!(*double.published.lock().unwrap(), [("fallback".to_owned(), "m1".to_owned())]);
    }

    #[tokio::test]
    async fn a_fallback_is_not_for_what_passes() {
        let row = OutboxRow { fallback: Some("fallback".to_owned()), ..message("m1", "f1") };
        let double = Double { answers: [("topic", Failure::Transient)].into(), ..Double::default() };
        let outbox = Outbox::new(store_with(vec![row]).await, &double, OutboxSettings::default());
        assert_eq!(drain(&outbox, 0).await, told("m1", Delivery::Retried));
        assert_eq!(*double.published.lock().unwrap(), []);
    }

    #[tokio::test]
    async fn a_topic_that_does_not_answer_holds_nothing_up_for_ever() {
        let double = Double { hang: true, ..Double::default() };
        let settings = OutboxSettings { attempt: Duration::from_millis(20), ..OutboxSettings::default() };
        let outbox = Outbox::new(store_with(vec![message("m1", "f1")]).await, &double, settings);
        assert_eq!(drain(&outbox, 0).await, told("m1", Delivery::Retried));
    }

    #[tokio::test]
    async fn the_task_drains_until_it_is_cancelled() {
        let rows = (0..25).map(|number| message(&format!("m{number}"), &format!("f{number}"))).collect();
        let store = store_with(rows).await;
        let double = Double::default();
        let outbox = Outbox::new(store.clone(), &double, OutboxSettings::default());
        let cancel = CancellationToken::new();
        let heard = AtomicUsize::new(0);
        let tell = |_: &OutboxRow, _| {
            if heard.fetch_add(1, Ordering::SeqCst) == 24 {
                cancel.cancel();
            }
        };
        let ended = tokio::time::timeout(Duration::from_secs(30), outbox.run(&cancel, tell)).await;
        assert!(ended.is_ok(), "it did not end");
        assert_eq!(store.outbox_stats(at(0)).await.unwrap().sent, 25);
    }

    #[tokio::test]
    async fn what_is_committed_goes_out_without_waiting_for_the_next_look() {
        let store = store_with(Vec::new()).await;
        let double = Double::default();
        let settings = OutboxSettings { poll: Duration::from_hours(1), ..OutboxSettings::default() };
        let outbox = Outbox::new(store.clone(), &double, settings);
        let cancel = CancellationToken::new();
        let commit = async {
            // By then it has found nothing and waits.
            tokio::time::sleep(Duration::from_millis(200)).await;
            let changes = Changes { outbox: vec![message("m1", "f1")], ..Changes::default() };
            store.apply(&changes, at(0)).await.unwrap();
        };
        let run = outbox.run(&cancel, |_, _| cancel.cancel());
        let both = tokio::time::timeout(Duration::from_secs(30), async { tokio::join!(run, commit) });
        assert!(both.await.is_ok(), "it waited");
        assert_eq!(double.published.lock().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn what_a_killed_process_had_claimed_goes_out_at_the_next_start() {
        let store = store_with(vec![message("m1", "f1")]).await;
        let far = clock::now() + TimeDelta::days(1);
        assert_eq!(store.outbox_due(far, TimeDelta::days(1), 10).await.unwrap().len(), 1);
        let double = Double::default();
        let outbox = Outbox::new(store.clone(), &double, OutboxSettings::default());
        let cancel = CancellationToken::new();
        let tell = |_: &OutboxRow, _| cancel.cancel();
        let ended = tokio::time::timeout(Duration::from_secs(30), outbox.run(&cancel, tell)).await;
        assert!(ended.is_ok(), "the claim of the dead held it up");
        assert_eq!(store.outbox_stats(far).await.unwrap().sent, 1);
    }

    #[test]
    fn the_waits_double_up_to_five_minutes() {
        let waits: Vec<i64> = [1, 2, 3, 9, 10, 50, u64::MAX].map(|n| backoff(n).num_seconds()).into();
        assert_eq!(waits, [1, 2, 4, 256, 300, 300, 300]);
    }
}
