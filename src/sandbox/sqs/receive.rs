//! Receiving messages: visibility, redrive, long polls.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::send::md5_of_attributes;
use super::{Message, Queue, invalid, md5, queues};
use crate::sandbox::World;
use crate::sandbox::call::{Answer, ApiError, Call};

/// From how many visible messages some are drawn when they come in no order.
const DRAWN_FROM: usize = 512;

/// How long a call waits for a message if there is none.
pub fn patience(world: &World, call: &Call) -> Duration {
    if call.operation != "ReceiveMessage" {
        return Duration::ZERO;
    }
    let of_queue = || {
        let queue = world.sqs.queues.get(&queues::find(world, call).ok()?)?;
        Some(queue.number("ReceiveMessageWaitTimeSeconds", 0))
    };
    let seconds = call.integer("WaitTimeSeconds").or_else(of_queue).unwrap_or_default();
    Duration::from_secs(u64::try_from(seconds.clamp(0, 20)).unwrap_or_default())
}

/// Whether a call would be answered without a message now, though it is in order.
pub fn would_wait(world: &mut World, call: &Call) -> bool {
    let in_order = call.operation == "ReceiveMessage" && !world.sqs.closed && limits(call).is_ok();
    let Some(arn) = queues::find(world, call).ok().filter(|_| in_order) else { return false };
    let now = world.now();
    settle(world, &arn, now);
    world.sqs.queues.get(&arn).is_some_and(|queue| visible(queue, now).next().is_none())
}

/// The numbers of the messages that can be received, by when they could first.
fn visible(queue: &Queue, now: DateTime<Utc>) -> impl Iterator<Item = u64> {
    queue.by_time.range(..=(now, u64::MAX)).map(|(_, number)| *number)
}

/// Drops what is too old, and moves to the dead-letter queue what was received too often.
fn settle(world: &mut World, arn: &str, now: DateTime<Utc>) {
    let Some(queue) = world.sqs.queues.get_mut(arn) else { return };
    queue.expire(now);
    let Some((target, most)) = queue.redrive() else { return };
    let spent =
        |number: &u64| queue.messages.get(number).is_some_and(|message| message.received_here >= most);
    let spent: Vec<u64> = visible(queue, now).filter(spent).collect();
    let spent: Vec<Message> = spent.into_iter().filter_map(|number| queue.remove(number)).collect();
    let Some(letters) = world.sqs.queues.get_mut(&target) else { return };
    if spent.is_empty() {
        return;
    }
    for message in spent {
        letters.insert(Message { received_here: 0, visible: now, source: Some(arn.to_owned()), ..message });
    }
    world.sqs.announce();
}

/// How many messages are wanted at most, and for how long they are hidden if that is said.
fn limits(call: &Call) -> Result<(usize, Option<i64>), ApiError> {
    let within = |member: &str, least: i64, most: i64| match call.integer(member) {
        Some(value) if !(least..=most).contains(&value) => Err(invalid(format!(
            "Value {value} for parameter {member} is invalid. Reason: Must be >= {least} and <= {most}, if provided."
        ))),
        value => Ok(value),
    };
    within("WaitTimeSeconds", 0, 20)?;
    let most = within("MaxNumberOfMessages", 1, 10)?.unwrap_or(1);
    Ok((usize::try_from(most).unwrap_or(1), within("VisibilityTimeout", 0, 43_200)?))
}

pub(super) fn receive(world: &mut World, call: &Call) -> Answer {
    let (most, timeout) = limits(call)?;
    let arn = queues::find(world, call)?;
    let now = world.now();
    settle(world, &arn, now);
    world.sqs.drawn += 1;
    let (shuffle, drawn) = (world.sqs.unrest.shuffle, world.sqs.drawn);
    let queue = world.sqs.queues.get_mut(&arn).ok_or_else(queues::missing)?;
    let numbers = pick(queue, now, most, shuffle.then_some(drawn));
    let timeout = timeout.unwrap_or_else(|| queue.number("VisibilityTimeout", 30));
    let mut messages = Vec::new();
    for number in numbers {
        queue.show_at(number, now + TimeDelta::seconds(timeout));
        let Some(message) = queue.messages.get_mut(&number) else { continue };
        message.received += 1;
        message.received_here += 1;
        message.first_received.get_or_insert(now);
        message.last_received = Some(now);
        messages.push(shown(message, &handle(&arn, number, message.received), call));
    }
    Ok(if messages.is_empty() { json!({}) } else { json!({ "Messages": messages }) })
}

/// The messages to give: the first that are visible, or some drawn from them.
fn pick(queue: &Queue, now: DateTime<Utc>, most: usize, shuffled: Option<u64>) -> Vec<u64> {
    let Some(draw) = shuffled else { return visible(queue, now).take(most).collect() };
    let mut numbers: Vec<u64> = visible(queue, now).take(DRAWN_FROM).collect();
    numbers.sort_by_cached_key(|number| Sha256::digest(format!("{draw} {number}")).to_vec());
    numbers.truncate(most);
    numbers
}

/// What a message that was received can be deleted by.
fn handle(arn: &str, number: u64, received: u32) -> String {
    URL_SAFE_NO_PAD.encode(format!("{arn}|{number}|{received}"))
}

/// The number of the message that a handle is of, and which receive gave it. None if it is not of this queue.
pub(super) fn read_handle(arn: &str, handle: &str) -> Option<(u64, u32)> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(handle).ok()?).ok()?;
    let (number, received) = text.strip_prefix(arn)?.strip_prefix('|')?.split_once('|')?;
    Some((number.parse().ok()?, received.parse().ok()?))
}

fn shown(message: &Message, handle: &str, call: &Call) -> Value {
    let names = |member: &str| -> Vec<String> {
        let names = call.input.get(member).and_then(Value::as_array).into_iter().flatten();
        names.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let system = [names("AttributeNames"), names("MessageSystemAttributeNames")].concat();
    let wanted = |name: &str| system.iter().any(|asked| asked == "All" || asked == name);
    let millis = |time: Option<DateTime<Utc>>| time.map(|time| time.timestamp_millis().to_string());
    let attributes: Map<String, Value> = [
        ("ApproximateReceiveCount", Some(message.received.to_string())),
        ("ApproximateFirstReceiveTimestamp", millis(message.first_received)),
        ("SentTimestamp", millis(Some(message.sent))),
        ("SenderId", Some(message.sender.clone())),
        ("DeadLetterQueueSourceArn", message.source.clone()),
    ]
    .into_iter()
    .filter(|(name, _)| wanted(name))
    .filter_map(|(name, value)| Some((name.to_owned(), Value::String(value?))))
    .collect();
    let asked = names("MessageAttributeNames");
    let own: Map<String, Value> = message
        .attributes
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(name, _)| asked.iter().any(|asked| matches(asked, name)))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let own = Value::Object(own);
    json!({
        "MessageId": message.id, "ReceiptHandle": handle, "Body": message.body,
        "MD5OfBody": md5(message.body.as_bytes()), "MD5OfMessageAttributes": md5_of_attributes(&own),
        "Attributes": (!attributes.is_empty()).then_some(attributes),
        "MessageAttributes": own.as_object().is_some_and(|own| !own.is_empty()).then_some(own),
    })
}

/// Whether a name of message attributes that is asked for (`All`, `.*`, `level`, `lev.*`) is that of one.
fn matches(asked: &str, name: &str) -> bool {
    matches!(asked, "All" | ".*")
        || asked == name
        || asked.strip_suffix(".*").is_some_and(|prefix| name.starts_with(prefix))
}
