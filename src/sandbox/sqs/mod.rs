//! Amazon SQS: standard queues, with visibility by the sandbox's clock, redrive and long polls.
//!
//! There are no FIFO queues: neither S3 nor a trail can send to one.

mod handles;
mod queues;
mod receive;
mod send;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use md5::{Digest, Md5};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::World;
use super::call::{Answer, ApiError, Call};
use super::geography::partition_of;
use super::ids::hex_of;
use super::world::unknown_operation;
use crate::model::{AccountId, Region};

pub use receive::{patience, would_wait};
pub use send::deliver;
pub(super) use send::deliver_with;

/// AWS's largest batch.
const BATCH: usize = 10;

/// A message in a queue.
#[derive(Debug, Clone)]
struct Message {
    id: String,
    body: String,
    attributes: Value,
    sent: DateTime<Utc>,
    sender: String,
    /// When it can be received.
    visible: DateTime<Utc>,
    /// How often it was received: in all queues, and in this one.
    received: u32,
    received_here: u32,
    first_received: Option<DateTime<Utc>>,
    last_received: Option<DateTime<Utc>>,
    /// The queue that it was moved from.
    source: Option<String>,
}

/// A queue.
#[derive(Debug)]
struct Queue {
    account: AccountId,
    region: Region,
    name: String,
    created: DateTime<Utc>,
    modified: DateTime<Utc>,
    attributes: BTreeMap<String, String>,
    /// By number: in the order of their sending.
    messages: BTreeMap<u64, Message>,
    /// Every message by when it can be received.
    by_time: BTreeSet<(DateTime<Utc>, u64)>,
    next: u64,
}

impl Queue {
    fn arn(&self) -> String {
        format!("arn:{}:sqs:{}:{}:{}", partition_of(&self.region), self.region, self.account, self.name)
    }

    fn url(&self) -> String {
        format!("https://sqs.{}.amazonaws.com/{}/{}", self.region, self.account, self.name)
    }

    /// An attribute that is a number, or its default.
    fn number(&self, attribute: &str, default: i64) -> i64 {
        self.attributes.get(attribute).and_then(|value| value.parse().ok()).unwrap_or(default)
    }

    fn insert(&mut self, message: Message) {
        self.next += 1;
        self.by_time.insert((message.visible, self.next));
        self.messages.insert(self.next, message);
    }

    fn remove(&mut self, number: u64) -> Option<Message> {
        let message = self.messages.remove(&number)?;
        self.by_time.remove(&(message.visible, number));
        Some(message)
    }

    fn show_at(&mut self, number: u64, at: DateTime<Utc>) {
        if let Some(message) = self.messages.get_mut(&number) {
            self.by_time.remove(&(message.visible, number));
            message.visible = at;
            self.by_time.insert((at, number));
        }
    }

    /// Drops what is older than the queue keeps messages.
    fn expire(&mut self, now: DateTime<Utc>) {
        let kept = TimeDelta::seconds(self.number("MessageRetentionPeriod", 345_600));
        while let Some((&number, oldest)) = self.messages.first_key_value()
            && now - oldest.sent > kept
        {
            self.remove(number);
        }
    }

    /// The dead-letter queue's ARN, and after how many receives messages go there.
    fn redrive(&self) -> Option<(String, u32)> {
        let policy: Value = serde_json::from_str(self.attributes.get("RedrivePolicy")?).ok()?;
        let most = policy.get("maxReceiveCount")?;
        let most = most.as_u64().or_else(|| most.as_str()?.parse().ok())?;
        let target = policy.get("deadLetterTargetArn")?.as_str()?.to_owned();
        Some((target, u32::try_from(most).ok()?))
    }
}

/// How a standard queue may deliver: AWS promises neither order nor that a message comes once only.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unrest {
    /// Every so many messages one is there twice: receiving and deleting the one leaves the other.
    pub duplicate_every: Option<u64>,
    /// Whether messages come in no order.
    pub shuffle: bool,
}

/// Every account's queues.
#[derive(Debug)]
pub struct State {
    /// By ARN.
    queues: BTreeMap<String, Queue>,
    /// How messages are delivered.
    pub unrest: Unrest,
    sent: u64,
    drawn: u64,
    arrivals: watch::Sender<u64>,
    closed: bool,
}

impl Default for State {
    fn default() -> Self {
        Self {
            queues: BTreeMap::new(),
            unrest: Unrest::default(),
            sent: 0,
            drawn: 0,
            arrivals: watch::Sender::new(0),
            closed: false,
        }
    }
}

impl State {
    /// Whether there is a queue of an ARN.
    pub fn exists(&self, arn: &str) -> bool {
        self.queues.contains_key(arn)
    }

    /// The URL of a queue.
    pub fn url_of(&self, arn: &str) -> Option<String> {
        self.queues.get(arn).map(Queue::url)
    }

    /// The bodies of all messages in a queue, received or not, in the order of their sending.
    pub fn bodies(&self, arn: &str) -> Vec<String> {
        let messages = self.queues.get(arn).map(|queue| queue.messages.values());
        messages.into_iter().flatten().map(|message| message.body.clone()).collect()
    }

    /// How many messages there are in a queue, received or not.
    pub fn depth(&self, arn: &str) -> usize {
        self.queues.get(arn).map_or(0, |queue| queue.messages.len())
    }

    /// Tells of messages that arrive from now on.
    pub(super) fn arrivals(&self) -> watch::Receiver<u64> {
        self.arrivals.subscribe()
    }

    /// Ends all long polls, and those to come.
    pub(super) fn stop_waiting(&mut self) {
        self.closed = true;
        self.announce();
    }

    fn announce(&self) {
        self.arrivals.send_modify(|arrived| *arrived += 1);
    }
}

/// Answers a call to SQS.
///
/// # Errors
///
/// As AWS: `QueueDoesNotExist`, `ReceiptHandleIsInvalid`, `InvalidParameterValue`, `InvalidAttributeName`,
/// `InvalidAttributeValue`, `QueueNameExists`, `MessageNotInflight`, and those of batches.
pub fn handle(world: &mut World, call: &Call) -> Answer {
    match call.operation.as_str() {
        "CreateQueue" => queues::create(world, call),
        "DeleteQueue" => queues::delete(world, call),
        "GetQueueUrl" => queues::url(world, call),
        "ListQueues" => queues::list(world, call),
        "GetQueueAttributes" => queues::attributes(world, call),
        "SetQueueAttributes" => queues::set_attributes(world, call),
        "PurgeQueue" => queues::purge(world, call),
        "SendMessage" => send::one(world, call, &call.input),
        "SendMessageBatch" => batch(world, call, send::one),
        "ReceiveMessage" => receive::receive(world, call),
        "DeleteMessage" => handles::delete(world, call, &call.input),
        "DeleteMessageBatch" => batch(world, call, handles::delete),
        "ChangeMessageVisibility" => handles::change(world, call, &call.input),
        "ChangeMessageVisibilityBatch" => batch(world, call, handles::change),
        _ => Err(unknown_operation(call)),
    }
}

/// The codes of an error in the JSON protocol and in the older query protocol.
pub fn codes(code: &str) -> (&str, String) {
    let query = match code {
        "QueueDoesNotExist" => "AWS.SimpleQueueService.NonExistentQueue".to_owned(),
        "QueueNameExists" => "QueueAlreadyExists".to_owned(),
        "MessageNotInflight"
        | "EmptyBatchRequest"
        | "TooManyEntriesInBatchRequest"
        | "BatchEntryIdsNotDistinct"
        | "InvalidBatchEntryId"
        | "BatchRequestTooLong"
        | "UnsupportedOperation" => format!("AWS.SimpleQueueService.{code}"),
        "AccessDeniedException" => "AccessDenied".to_owned(),
        other => other.to_owned(),
    };
    (code, query)
}

/// Does one thing for every entry of a batch; each may fail on its own.
fn batch(world: &mut World, call: &Call, one: fn(&mut World, &Call, &Value) -> Answer) -> Answer {
    queues::find(world, call)?;
    let entries = call.input.get("Entries").and_then(Value::as_array).cloned().unwrap_or_default();
    check_batch(&entries)?;
    let (mut successful, mut failed) = (Vec::new(), Vec::new());
    for entry in &entries {
        let id = entry.get("Id").cloned().unwrap_or_default();
        match one(world, call, entry) {
            Ok(Value::Object(mut row)) => {
                row.insert("Id".to_owned(), id);
                successful.push(Value::Object(row));
            }
            Ok(_) => successful.push(json!({ "Id": id })),
            Err(error) => failed.push(json!({
                "Id": id, "Code": codes(&error.code).1, "Message": error.message,
                "SenderFault": error.status < 500,
            })),
        }
    }
    Ok(json!({ "Successful": successful, "Failed": failed }))
}

fn check_batch(entries: &[Value]) -> Result<(), ApiError> {
    let error = |code: &str, text: &str| Err(ApiError::client(code, text));
    if entries.is_empty() {
        return error("EmptyBatchRequest", "There should be at least one entry in the request.");
    }
    if entries.len() > BATCH {
        let text =
            format!("Maximum number of entries per request are {BATCH}. You have sent {}.", entries.len());
        return error("TooManyEntriesInBatchRequest", &text);
    }
    let ids: Vec<&str> =
        entries.iter().map(|entry| entry.get("Id").and_then(Value::as_str).unwrap_or_default()).collect();
    let plain = |id: &&str| {
        (1..=80).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    if !ids.iter().all(plain) {
        let text = "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 letters long.";
        return error("InvalidBatchEntryId", text);
    }
    if ids.iter().collect::<BTreeSet<_>>().len() < ids.len() {
        return error(
            "BatchEntryIdsNotDistinct",
            "Two or more batch entries in the request have the same Id.",
        );
    }
    let length = |entry: &Value| entry.get("MessageBody").and_then(Value::as_str).map_or(0, str::len);
    if entries.iter().map(length).sum::<usize>() > send::LARGEST {
        return error("BatchRequestTooLong", "Batch requests cannot be longer than 1048576 bytes.");
    }
    Ok(())
}

fn md5(bytes: &[u8]) -> String {
    hex_of(&Md5::digest(bytes))
}

fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::client("InvalidParameterValue", message)
}

#[cfg(test)]
mod tests;
