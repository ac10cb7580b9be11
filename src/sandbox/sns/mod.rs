//! Amazon SNS: topics, the queues that are subscribed to them, and a record of everything that was published.

mod publish;
mod subscriptions;
mod topics;
mod validate;

use std::collections::{BTreeMap, VecDeque};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::World;
use super::call::{Answer, Call};
use super::world::unknown_operation;
use crate::model::{AccountId, Region};
use subscriptions::Subscription;

pub use publish::deliver;

/// How many publications are kept; the oldest go first.
const KEPT: usize = 100_000;

/// One topic.
#[derive(Debug, Clone)]
struct Topic {
    account: AccountId,
    region: Region,
    name: String,
    attributes: BTreeMap<String, String>,
    /// What was published in the last five minutes, by deduplication id (FIFO topics).
    recent: BTreeMap<String, Accepted>,
    /// The number of the last message of a FIFO topic.
    sequence: u64,
}

/// A message that a FIFO topic took.
#[derive(Debug, Clone)]
struct Accepted {
    at: DateTime<Utc>,
    message_id: String,
    sequence: u64,
}

/// One message that was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// When.
    pub at: DateTime<Utc>,
    /// The topic's ARN.
    pub topic: String,
    /// The topic's account.
    pub account: AccountId,
    /// The topic's Region.
    pub region: Region,
    /// The id that the publisher was given.
    pub message_id: String,
    /// The message group.
    pub group: Option<String>,
    /// The deduplication id that was sent.
    pub dedup_id: Option<String>,
    /// The subject.
    pub subject: Option<String>,
    /// The message attributes' values by name.
    pub attributes: BTreeMap<String, Value>,
    /// The message as it was sent.
    pub message: String,
    /// Whether the message has a text for each protocol (`MessageStructure` is `json`).
    pub structured: bool,
}

impl Published {
    /// The message as JSON, with its texts for e-mail and SMS, and `document`: what the subscribers without
    /// a text of their own get, if that is JSON.
    pub fn to_json(&self) -> Value {
        let by_protocol = self.by_protocol();
        let text_for = |protocol: &str| by_protocol.get(protocol).and_then(Value::as_str);
        let plain = text_for("default").unwrap_or(&self.message);
        let document: Value = serde_json::from_str(plain).unwrap_or_default();
        json!({
            "at": self.at.to_rfc3339(), "topic": self.topic, "account": self.account, "region": self.region,
            "message_id": self.message_id, "group": self.group, "dedup_id": self.dedup_id,
            "subject": self.subject, "attributes": self.attributes, "message": self.message,
            "document": document, "texts": { "email": text_for("email"), "sms": text_for("sms") },
        })
    }

    /// The texts for the protocols, if the message has them.
    fn by_protocol(&self) -> Value {
        if self.structured { serde_json::from_str(&self.message).unwrap_or_default() } else { Value::Null }
    }

    /// What a subscriber of a protocol gets.
    fn text_for(&self, protocol: &str) -> String {
        let by_protocol = self.by_protocol();
        let text = by_protocol.get(protocol).or_else(|| by_protocol.get("default")).and_then(Value::as_str);
        text.unwrap_or(&self.message).to_owned()
    }
}

/// Every account's topics, and what was published.
#[derive(Debug, Default)]
pub struct State {
    topics: BTreeMap<String, Topic>,
    subscriptions: Vec<Subscription>,
    published: VecDeque<Published>,
    suppressed: u64,
}

impl State {
    /// Everything that was published, oldest first.
    pub fn published(&self) -> impl Iterator<Item = &Published> {
        self.published.iter()
    }

    /// How many publications to FIFO topics were taken for repetitions.
    pub fn suppressed(&self) -> u64 {
        self.suppressed
    }

    /// Everything that was published as a JSON list.
    pub fn to_json(&self) -> Value {
        self.published.iter().map(Published::to_json).collect()
    }

    /// Whether there is a standard topic of an ARN.
    pub fn is_standard(&self, arn: &str) -> bool {
        self.topics.get(arn).is_some_and(|topic| !topic.is_fifo())
    }

    fn keep(&mut self, published: Published) {
        if self.published.len() == KEPT {
            self.published.pop_front();
        }
        self.published.push_back(published);
    }
}

/// Answers a call to SNS.
///
/// # Errors
///
/// As AWS: `InvalidParameter`, `NotFound`, `AuthorizationError`, `KMSDisabled` and its like, and those of
/// batches.
pub fn handle(world: &mut World, call: &Call) -> Answer {
    match call.operation.as_str() {
        "CreateTopic" => topics::create(world, call),
        "GetTopicAttributes" => topics::get_attributes(world, call),
        "ListSubscriptionsByTopic" => subscriptions::list(world, call),
        "ListTopics" => topics::list(world, call),
        "Publish" => publish::publish(world, call),
        "PublishBatch" => publish::publish_batch(world, call),
        "SetSubscriptionAttributes" => subscriptions::set_attribute(world, call),
        "SetTopicAttributes" => topics::set_attribute(world, call),
        "Subscribe" => subscriptions::subscribe(world, call),
        "Unsubscribe" => subscriptions::unsubscribe(world, call),
        _ => Err(unknown_operation(call)),
    }
}

#[cfg(test)]
mod tests;
