//! The consumer of one queue: receive, read, commit, and only then delete.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::join_all;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::super::api::GET_ANNOUNCED_OBJECT;
use super::super::readings::Readings;
use super::super::s3::{Unread, UnreadKind, fetch};
use super::clients::QueueClients;
use super::envelope::{Announcement, ObjectRef, Reason, Unrecognised, recognise};
use super::intake::Intake;
use super::messages::Received;
use super::upkeep::Health;
use crate::config::Queue;
use crate::metrics::{self, Metrics};
use crate::model::{Region, SourceKind};

/// Batches under way at the same time, so that objects are read while others are committed.
const LANES: usize = 2;
/// From which receive on an object that is not there counts as not read: before, it may not show yet.
const MISSING_PATIENCE: u32 = 3;
/// The longest that a message waits for another attempt, in seconds.
const LONGEST_WAIT: u32 = 900;
/// The longest pause after a batch that failed.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// What an empty answer has to take at least; a queue whose long polls end at once is not to be asked without end.
const SHORTEST_POLL: Duration = Duration::from_secs(1);

/// Why what a message announces was not read.
const UNREAD: [UnreadKind; 5] = [
    UnreadKind::Missing,
    UnreadKind::Denied,
    UnreadKind::Throttled,
    UnreadKind::Unreachable,
    UnreadKind::Unreadable,
];
/// The kind of problem of a message whose events could not be committed.
const NOT_COMMITTED: &str = "commit";

/// How fast a consumer goes about it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// How long one receive waits for messages, in seconds.
    pub(super) poll_secs: i32,
    /// The first wait before a message is tried again, in seconds; it doubles each time.
    pub(super) retry_secs: u32,
    /// How often the queue is measured and readings are told.
    pub(super) upkeep: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { poll_secs: 20, retry_secs: 15, upkeep: Duration::from_secs(30) }
    }
}

/// Takes from one queue.
pub(super) struct Consumer<I: Intake> {
    pub(super) queue: Queue,
    pub(super) aws: QueueClients,
    pub(super) intake: Arc<I>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) health: Arc<Health>,
    pub(super) shutdown: CancellationToken,
    pub(super) readings: Mutex<Readings>,
    reads: Semaphore,
}

/// What is to become of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fate {
    /// Everything in it was read.
    Read,
    /// It holds no events.
    Ignored(Reason),
    /// It is not understood.
    Poison(Unrecognised),
    /// Something could not be read now.
    Retry { kind: &'static str, detail: String },
}

/// What a batch of messages brought.
struct Taken<P> {
    /// By message.
    fates: Vec<Fate>,
    parts: Vec<P>,
}

/// An object as it is asked for; notifications may tell more or less of the same one.
type Identity<'a> = (&'a str, &'a str, Option<&'a str>);

fn identity(object: &ObjectRef) -> Identity<'_> {
    (&object.bucket, &object.key, object.version.as_deref())
}

impl<I: Intake> Consumer<I> {
    pub(super) fn new(
        queue: &Queue,
        aws: QueueClients,
        intake: Arc<I>,
        metrics: Arc<Metrics>,
        health: Arc<Health>,
        shutdown: CancellationToken,
    ) -> Self {
        for result in ["deleted", "ignored", "retried", "poison"] {
            metrics.add(&metrics::QUEUE_MESSAGES, &[&aws.name, result], 0);
        }
        // Prometheus sees no increase in a series that begins with 1.
        let unread = UNREAD.iter().map(|kind| kind.as_str());
        for reason in Unrecognised::KINDS.into_iter().chain(unread).chain([NOT_COMMITTED]) {
            metrics.add(&metrics::QUEUE_PROBLEMS, &[&aws.name, reason], 0);
        }
        let reads = Semaphore::new(queue.max_in_flight.max(1));
        let (queue, readings) = (queue.clone(), Mutex::default());
        Self { queue, aws, intake, metrics, health, shutdown, readings, reads }
    }

    /// Runs until shutdown.
    pub(super) async fn run(self, pace: Pace) {
        let lanes = LANES.min(self.queue.max_in_flight.max(1));
        tokio::join!(join_all((0..lanes).map(|_| self.lane(pace))), self.upkeep(pace.upkeep));
    }

    async fn lane(&self, pace: Pace) {
        let mut failures = 0;
        while !self.shutdown.is_cancelled() {
            let asked = Instant::now();
            let received = tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return,
                received = self.receive(pace.poll_secs) => received,
            };
            let is_well = match received {
                Ok(messages) if messages.is_empty() => {
                    self.pause(SHORTEST_POLL.saturating_sub(asked.elapsed())).await;
                    true
                }
                Ok(messages) => self.work(&messages, pace).await,
                Err(failure) => {
                    tracing::warn!(queue = self.aws.name, error = failure.detail, "nothing can be received");
                    false
                }
            };
            failures = if is_well { 0 } else { failures + 1 };
            if failures > 0 {
                // A queue without its store would otherwise use up every message's receives in no time.
                self.pause(Duration::from_secs(1 << failures.min(6)).min(LONGEST_PAUSE)).await;
            }
        }
    }

    async fn pause(&self, time: Duration) {
        tokio::select! {
            () = self.shutdown.cancelled() => {}
            () = sleep(time) => {}
        }
    }

    /// Reads, commits and deletes what was received; false if nothing could be committed.
    async fn work(&self, messages: &[Received], pace: Pace) -> bool {
        let work = async {
            let taken = tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return None,
                taken = self.take(messages) => taken,
            };
            Some(self.commit(taken).await)
        };
        let done = tokio::select! {
            done = work => done,
            never = self.keep_hidden(messages) => match never {},
        };
        let Some((fates, committed)) = done else {
            let all: Vec<(&Received, i32)> = messages.iter().map(|message| (message, 0)).collect();
            self.hide(&all).await;
            return true;
        };
        self.settle(messages, &fates, pace).await;
        committed
    }

    /// Reads everything that messages tell of.
    async fn take(&self, messages: &[Received]) -> Taken<I::Part> {
        let told: Vec<_> = messages.iter().map(|message| recognise(&message.body)).collect();
        let mut objects: BTreeMap<Identity<'_>, (&ObjectRef, u32)> = BTreeMap::new();
        for (message, told) in messages.iter().zip(&told) {
            let Ok(Announcement::Objects(announced)) = told else { continue };
            for object in announced {
                let (_, count) = objects.entry(identity(object)).or_insert((object, message.count));
                *count = message.count.max(*count);
            }
        }
        let reads = objects.values().map(|(object, count)| self.read(object, *count));
        let mut parts = Vec::new();
        let mut unread: BTreeMap<Identity<'_>, Unread> = BTreeMap::new();
        for (identity, outcome) in objects.keys().zip(join_all(reads).await) {
            match outcome {
                Ok(part) => parts.push(part),
                Err(reason) => _ = unread.insert(*identity, reason),
            }
        }
        let mut fates = Vec::with_capacity(messages.len());
        for (message, told) in messages.iter().zip(&told) {
            let mut fate = fate(told, &unread);
            if let Ok(Announcement::Records(records)) = told {
                match self.intake.harvest_records(format!("sqs/{}", message.id), records.clone()).await {
                    Ok(part) => parts.push(part),
                    Err(detail) => fate = Fate::Retry { kind: UnreadKind::Unreadable.as_str(), detail },
                }
            }
            fates.push(fate);
        }
        Taken { fates, parts }
    }

    /// Reads one object; `count` is how often it was announced.
    async fn read(&self, object: &ObjectRef, count: u32) -> Result<I::Part, Unread> {
        // The semaphore is never closed.
        let _turn = self.reads.acquire().await.ok();
        let outcome = match fetch(&self.aws.s3, object, &self.shutdown).await {
            Ok(fetched) => fetched.read_with(|mark, stream| self.intake.harvest(mark, stream)).await,
            Err(unread) => Err(unread),
        };
        let may_come = |unread: &Unread| unread.kind == UnreadKind::Missing && count < MISSING_PATIENCE;
        if !outcome.as_ref().is_err_and(may_come) {
            let region = object.region.as_deref().and_then(|region| region.parse::<Region>().ok());
            let failure = outcome.as_ref().err().map(|unread| &unread.failure);
            self.record(region.as_ref(), GET_ANNOUNCED_OBJECT, failure);
        }
        outcome
    }

    /// Commits what was read. If that fails, no message with events in it is done.
    async fn commit(&self, taken: Taken<I::Part>) -> (Vec<Fate>, bool) {
        let Taken { mut fates, parts } = taken;
        if parts.is_empty() {
            return (fates, true);
        }
        let Err(error) = self.intake.commit(SourceKind::Queue, parts, Vec::new()).await else {
            return (fates, true);
        };
        let detail = format!("{error:#}");
        tracing::error!(
            queue = self.aws.name,
            error = detail,
            "a batch could not be committed and is given back"
        );
        for fate in fates.iter_mut().filter(|fate| **fate == Fate::Read) {
            *fate = Fate::Retry { kind: NOT_COMMITTED, detail: detail.clone() };
        }
        (fates, false)
    }

    /// Deletes what is done, gives back what is to be tried again, and leaves what is poison.
    async fn settle(&self, messages: &[Received], fates: &[Fate], pace: Pace) {
        let (mut done, mut again) = (Vec::new(), Vec::new());
        for (message, fate) in messages.iter().zip(fates) {
            match fate {
                Fate::Read => done.push((message, "deleted")),
                Fate::Ignored(reason) => {
                    tracing::debug!(queue = self.aws.name, message = message.id, %reason, "a message without events");
                    done.push((message, "ignored"));
                }
                Fate::Retry { kind, detail } => {
                    self.troubled(message, "retried", kind, detail);
                    again.push((message, wait(pace.retry_secs, message.count)));
                }
                Fate::Poison(problem) => {
                    self.troubled(message, "poison", problem.kind(), &problem.to_string());
                }
            }
        }
        let deletions: Vec<&Received> = done.iter().map(|(message, _)| *message).collect();
        for (_, result) in self.delete(&deletions).await.into_iter().filter_map(|at| done.get(at)) {
            self.metrics.add(&metrics::QUEUE_MESSAGES, &[&self.aws.name, result], 1);
        }
        self.hide(&again).await;
    }

    fn troubled(&self, message: &Received, result: &str, kind: &str, detail: &str) {
        let Received { id, count, .. } = message;
        let queue = self.aws.name.as_str();
        tracing::warn!(
            queue,
            message = id,
            receives = count,
            reason = kind,
            detail,
            "a message stays in the queue"
        );
        self.metrics.add(&metrics::QUEUE_MESSAGES, &[queue, result], 1);
        self.metrics.add(&metrics::QUEUE_PROBLEMS, &[queue, kind], 1);
    }
}

fn fate(told: &Result<Announcement, Unrecognised>, unread: &BTreeMap<Identity<'_>, Unread>) -> Fate {
    match told {
        Err(problem) => Fate::Poison(problem.clone()),
        Ok(Announcement::Nothing(reason)) => Fate::Ignored(reason.clone()),
        Ok(Announcement::Records(_)) => Fate::Read,
        Ok(Announcement::Objects(objects)) => {
            let first = objects.iter().find_map(|object| unread.get(&identity(object)));
            first.map_or(Fate::Read, |unread| Fate::Retry {
                kind: unread.kind.as_str(),
                detail: unread.failure.detail.clone(),
            })
        }
    }
}

/// How long a message waits that was received so often, in seconds.
fn wait(first: u32, count: u32) -> i32 {
    let doubled = first.saturating_mul(1 << count.saturating_sub(1).min(10));
    i32::try_from(doubled.min(LONGEST_WAIT)).unwrap_or(i32::MAX)
}
