//! `Publish` and `PublishBatch`.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::super::World;
use super::super::call::{Answer, ApiError, Call};
use super::super::ids::hex_of;
use super::topics::{self, invalid, is_fifo};
use super::validate::Message;
use super::{Accepted, Published, Topic, subscriptions};

/// How long a FIFO topic remembers a deduplication id, in minutes.
const DEDUPLICATION_MINUTES: i64 = 5;
/// AWS's largest batch.
const BATCH: usize = 10;

/// Publishes one message.
pub(super) fn publish(world: &mut World, call: &Call) -> Answer {
    let arn = call.text("TopicArn").or_else(|| call.text("TargetArn"));
    let arn = topics::find(
        world,
        call,
        arn.ok_or_else(|| invalid("TopicArn or TargetArn Reason: no value for required parameter"))?,
    )?;
    let message = Message::read(&call.input)?;
    let accepted = accept(world, &arn, message)?;
    Ok(to_json(&arn, &accepted))
}

/// Publishes up to ten messages, each of which may fail on its own.
pub(super) fn publish_batch(world: &mut World, call: &Call) -> Answer {
    let arn = topics::find(world, call, call.text("TopicArn").unwrap_or_default())?;
    let entries: Vec<Value> =
        call.input.get("PublishBatchRequestEntries").and_then(Value::as_array).cloned().unwrap_or_default();
    check_batch(&entries)?;
    let messages: Vec<Result<Message, ApiError>> = entries.iter().map(Message::read).collect();
    let total: usize = messages.iter().flatten().map(|message| message.size).sum();
    if world.sns.topics.get(&arn).is_some_and(|topic| total > topic.maximum_size()) {
        let text = "The length of all the batch messages put together is more than the limit.";
        return Err(ApiError::client("BatchRequestTooLong", text));
    }
    let (mut successful, mut failed) = (Vec::new(), Vec::new());
    for (entry, message) in entries.iter().zip(messages) {
        let id = entry.get("Id").cloned().unwrap_or_default();
        match message.and_then(|message| accept(world, &arn, message)) {
            Ok(accepted) => {
                let mut row = to_json(&arn, &accepted);
                if let Some(row) = row.as_object_mut() {
                    row.insert("Id".to_owned(), id);
                }
                successful.push(row);
            }
            Err(error) => failed.push(json!({
                "Id": id, "Code": error.code, "Message": error.message, "SenderFault": error.status < 500,
            })),
        }
    }
    Ok(json!({ "Successful": successful, "Failed": failed }))
}

fn check_batch(entries: &[Value]) -> Result<(), ApiError> {
    let error = |code: &str, text: &str| Err(ApiError::client(code, text));
    if entries.is_empty() {
        return error("EmptyBatchRequest", "The batch request doesn't contain any entries.");
    }
    if entries.len() > BATCH {
        return error(
            "TooManyEntriesInBatchRequest",
            "The batch request contains more entries than permissible.",
        );
    }
    let ids: Vec<&str> =
        entries.iter().map(|entry| entry.get("Id").and_then(Value::as_str).unwrap_or_default()).collect();
    let plain = |id: &&str| {
        (1..=80).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    if !ids.iter().all(plain) {
        return error(
            "InvalidBatchEntryId",
            "The Id of a batch entry in a batch request doesn't abide by the specification.",
        );
    }
    if ids.iter().collect::<BTreeSet<_>>().len() < ids.len() {
        return error(
            "BatchEntryIdsNotDistinct",
            "Two or more batch entries in the request have the same Id.",
        );
    }
    Ok(())
}

/// Publishes a message as an AWS service does. Whether there is such a standard topic, and it takes it.
pub fn deliver(world: &mut World, topic: &str, subject: Option<&str>, text: String) -> bool {
    let message = Message {
        size: text.len(),
        text,
        subject: subject.map(str::to_owned),
        structured: false,
        group: None,
        dedup_id: None,
        attributes: BTreeMap::new(),
        sent_attributes: Value::Null,
    };
    accept(world, topic, message).is_ok()
}

fn accept(world: &mut World, arn: &str, message: Message) -> Result<Accepted, ApiError> {
    let Some(topic) = world.sns.topics.get(arn) else { return Err(invalid("TopicArn")) };
    message.check_for(topic)?;
    check_key(world, topic)?;
    let (now, message_id) = (world.clock.now(), world.ids.uuid());
    let Some(topic) = world.sns.topics.get_mut(arn) else { return Err(invalid("TopicArn")) };
    let dedup_key = topic.is_fifo().then(|| deduplication_key(topic, &message));
    let window = TimeDelta::minutes(DEDUPLICATION_MINUTES);
    topic.recent.retain(|_, accepted| now - accepted.at < window);
    if let Some(earlier) = dedup_key.as_ref().and_then(|key| topic.recent.get(key)) {
        let earlier = earlier.clone();
        world.sns.suppressed += 1;
        return Ok(earlier);
    }
    topic.sequence += 1;
    let accepted = Accepted { at: now, message_id: message_id.clone(), sequence: topic.sequence };
    if let Some(key) = dedup_key {
        topic.recent.insert(key, accepted.clone());
    }
    let (account, region) = (topic.account.clone(), topic.region.clone());
    let published = Published {
        at: now,
        topic: arn.to_owned(),
        account,
        region,
        message_id,
        group: message.group,
        dedup_id: message.dedup_id,
        subject: message.subject,
        attributes: message.attributes,
        message: message.text,
        structured: message.structured,
    };
    subscriptions::fan_out(world, &published, &message.sent_attributes);
    world.sns.keep(published);
    Ok(accepted)
}

/// What makes two messages to a FIFO topic the same one.
fn deduplication_key(topic: &Topic, message: &Message) -> String {
    let of_content = || hex_of(&Sha256::digest(message.text.as_bytes()));
    let id = message.dedup_id.clone().unwrap_or_else(of_content);
    let by_group = topic.attributes.get("FifoThroughputScope").is_some_and(|scope| scope == "MessageGroup");
    if by_group { format!("{} {id}", message.group.as_deref().unwrap_or_default()) } else { id }
}

/// A topic that is encrypted with a key takes messages only while the key can be used.
fn check_key(world: &World, topic: &Topic) -> Result<(), ApiError> {
    let Some(key) = topic.attributes.get("KmsMasterKeyId").filter(|key| *key != "alias/aws/sns") else {
        return Ok(());
    };
    let id = if key.contains("alias/") {
        let alias = key.split_once("alias/").map(|(_, name)| format!("alias/{name}")).unwrap_or_default();
        world.kms.key_id_of_alias(&topic.account, &topic.region, &alias)
    } else {
        key.rsplit('/').next().map(str::to_owned)
    };
    let views = world.kms.views(&topic.account, &topic.region);
    let state = id.and_then(|id| views.into_iter().find(|view| view.id == id)).map(|view| view.state);
    let (code, text) = match state.as_deref() {
        Some("Enabled") => return Ok(()),
        Some("Disabled") => {
            ("KMSDisabled", "The request was rejected because the specified Amazon KMS key isn't enabled.")
        }
        Some(_) => (
            "KMSInvalidState",
            "The request was rejected because the state of the specified resource isn't valid for this request.",
        ),
        None => (
            "KMSNotFound",
            "The request was rejected because the specified entity or resource can't be found.",
        ),
    };
    Err(ApiError::client(code, text))
}

fn to_json(arn: &str, accepted: &Accepted) -> Value {
    let sequence = is_fifo(arn).then(|| format!("1{:019}", accepted.sequence));
    json!({ "MessageId": accepted.message_id, "SequenceNumber": sequence })
}
