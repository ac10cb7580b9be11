//! Sending messages.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::TimeDelta;
use serde_json::{Value, json};

use super::{Message, invalid, md5, queues};
use crate::sandbox::World;
use crate::sandbox::call::{Answer, ApiError, Call};

/// The largest message and the largest batch, in bytes.
pub(super) const LARGEST: usize = 1_048_576;

/// Sends one message: the input of `SendMessage`, or an entry of a batch.
pub(super) fn one(world: &mut World, call: &Call, entry: &Value) -> Answer {
    let arn = queues::find(world, call)?;
    let body = entry.get("MessageBody").and_then(Value::as_str).unwrap_or_default();
    if body.is_empty() {
        return Err(ApiError::client(
            "MissingParameter",
            "The request must contain the parameter MessageBody.",
        ));
    }
    let attributes = entry.get("MessageAttributes").cloned().unwrap_or_default();
    let queue = world.sqs.queues.get(&arn).ok_or_else(queues::missing)?;
    let most = usize::try_from(queue.number("MaximumMessageSize", 1_048_576)).unwrap_or(LARGEST);
    if body.len() > most {
        return Err(invalid(format!(
            "One or more parameters are invalid. Reason: Message must be shorter than {most} bytes."
        )));
    }
    let delay = entry.get("DelaySeconds").and_then(Value::as_i64);
    let delay = delay.unwrap_or_else(|| queue.number("DelaySeconds", 0));
    if !(0..=900).contains(&delay) {
        return Err(invalid("DelaySeconds must be between 0 and 900."));
    }
    let now = world.now();
    let message = Message {
        id: world.ids.uuid(),
        body: body.to_owned(),
        sent: now,
        sender: call.account.to_string(),
        visible: now + TimeDelta::seconds(delay),
        received: 0,
        received_here: 0,
        first_received: None,
        last_received: None,
        source: None,
        attributes,
    };
    let answer = json!({
        "MessageId": message.id, "MD5OfMessageBody": md5(body.as_bytes()),
        "MD5OfMessageAttributes": md5_of_attributes(&message.attributes),
    });
    put(world, &arn, message);
    Ok(answer)
}

/// Sends a message as an AWS service does. Whether there is such a queue.
pub fn deliver(world: &mut World, queue: &str, body: String) -> bool {
    deliver_with(world, queue, body, Value::Null)
}

/// Sends a message with message attributes as an AWS service does. Whether there is such a queue.
pub(in crate::sandbox) fn deliver_with(
    world: &mut World,
    queue: &str,
    body: String,
    attributes: Value,
) -> bool {
    let now = world.now();
    let message = Message {
        id: world.ids.uuid(),
        body,
        attributes,
        sent: now,
        sender: "AIDAIT2UOQQY3AUEKVGXU".to_owned(),
        visible: now,
        received: 0,
        received_here: 0,
        first_received: None,
        last_received: None,
        source: None,
    };
    put(world, queue, message)
}

fn put(world: &mut World, arn: &str, message: Message) -> bool {
    world.sqs.sent += 1;
    let twice =
        world.sqs.unrest.duplicate_every.is_some_and(|every| world.sqs.sent.is_multiple_of(every.max(1)));
    let Some(queue) = world.sqs.queues.get_mut(arn) else { return false };
    if twice {
        queue.insert(message.clone());
    }
    queue.insert(message);
    world.sqs.announce();
    true
}

/// The digest that SDKs compare: names, types and values, each with its length before it.
pub(super) fn md5_of_attributes(attributes: &Value) -> Option<String> {
    let attributes = attributes.as_object().filter(|attributes| !attributes.is_empty())?;
    let mut sorted: Vec<_> = attributes.iter().collect();
    sorted.sort_by_key(|(name, _)| name.as_str());
    let mut digested = Vec::new();
    for (name, attribute) in sorted {
        let text = |member: &str| attribute.get(member).and_then(Value::as_str).unwrap_or_default();
        let kind = text("DataType");
        add(&mut digested, name.as_bytes());
        add(&mut digested, kind.as_bytes());
        if kind.starts_with("Binary") {
            digested.push(2);
            add(&mut digested, &STANDARD.decode(text("BinaryValue")).unwrap_or_default());
        } else {
            digested.push(1);
            add(&mut digested, text("StringValue").as_bytes());
        }
    }
    Some(md5(&digested))
}

fn add(digested: &mut Vec<u8>, part: &[u8]) {
    digested.extend(u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
    digested.extend_from_slice(part);
}
