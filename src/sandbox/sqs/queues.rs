//! Queues themselves: creating, finding, their attributes.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::{Queue, invalid};
use crate::sandbox::call::{Answer, ApiError, Call};
use crate::sandbox::identity::{self, Decision};
use crate::sandbox::{World, paging};

/// AWS's page of `ListQueues`.
const PAGE: usize = 1000;

/// Attributes that are numbers, with their bounds and their defaults.
const NUMBERS: [(&str, i64, i64, i64); 5] = [
    ("DelaySeconds", 0, 900, 0),
    ("MaximumMessageSize", 1024, 1_048_576, 1_048_576),
    ("MessageRetentionPeriod", 60, 1_209_600, 345_600),
    ("ReceiveMessageWaitTimeSeconds", 0, 20, 0),
    ("VisibilityTimeout", 0, 43_200, 30),
];
/// Attributes that can be set beside.
const OTHERS: [&str; 6] = [
    "KmsDataKeyReusePeriodSeconds",
    "KmsMasterKeyId",
    "Policy",
    "RedriveAllowPolicy",
    "RedrivePolicy",
    "SqsManagedSseEnabled",
];

pub(super) fn create(world: &mut World, call: &Call) -> Answer {
    let name = call.text("QueueName").unwrap_or_default();
    let attributes = given(world, call)?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if !(1..=80).contains(&name.len()) || !name.bytes().all(plain) {
        return Err(invalid(
            "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length",
        ));
    }
    let now = world.now();
    let queue = Queue {
        account: call.account.clone(),
        region: call.region.clone(),
        name: name.to_owned(),
        created: now,
        modified: now,
        attributes,
        messages: BTreeMap::new(),
        by_time: BTreeSet::new(),
        next: 0,
    };
    let (arn, url) = (queue.arn(), queue.url());
    if let Some(existing) = world.sqs.queues.get(&arn) {
        let differs = |(name, value): (&String, &String)| existing.attributes.get(name) != Some(value);
        if queue.attributes.iter().any(differs) {
            let message = "A queue already exists with the same name and a different value for attributes";
            return Err(ApiError::client("QueueNameExists", message));
        }
    } else {
        world.sqs.queues.insert(arn, queue);
    }
    Ok(json!({ "QueueUrl": url }))
}

/// The attributes of the input, if they are ones.
fn given(world: &World, call: &Call) -> Result<BTreeMap<String, String>, ApiError> {
    let attributes = call.input.get("Attributes").and_then(Value::as_object);
    let mut given = BTreeMap::new();
    for (name, value) in attributes.into_iter().flatten() {
        let text = value.as_str().unwrap_or_default();
        check(world, call, name, text)?;
        given.insert(name.clone(), text.to_owned());
    }
    Ok(given)
}

fn check(world: &World, call: &Call, name: &str, text: &str) -> Result<(), ApiError> {
    let wrong = || {
        let message = format!("Invalid value for the parameter {name}.");
        ApiError::client("InvalidAttributeValue", message)
    };
    if let Some((_, least, most, _)) = NUMBERS.iter().find(|(number, ..)| *number == name) {
        let within = text.parse().is_ok_and(|value: i64| (*least..=*most).contains(&value));
        return if within { Ok(()) } else { Err(wrong()) };
    }
    if !OTHERS.contains(&name) {
        return Err(ApiError::client("InvalidAttributeName", format!("Unknown Attribute {name}.")));
    }
    if name == "RedrivePolicy" && !text.is_empty() {
        let policy: Value = serde_json::from_str(text).map_err(|_| wrong())?;
        let target = policy.get("deadLetterTargetArn").and_then(Value::as_str).unwrap_or_default();
        let here = world.sqs.queues.get(target).filter(|queue| queue.region == call.region);
        if here.is_none_or(|queue| queue.account != call.account) {
            return Err(invalid(format!(
                "Value {text} for parameter RedrivePolicy is invalid. Reason: Dead letter target does not exist."
            )));
        }
        let most = policy.get("maxReceiveCount").cloned().unwrap_or_default();
        let most = most.as_u64().or_else(|| most.as_str()?.parse().ok());
        if !most.is_some_and(|most| (1..=1000).contains(&most)) {
            return Err(wrong());
        }
    }
    Ok(())
}

/// The ARN of the queue that a call names by its URL, if the caller is let in.
pub(super) fn find(world: &World, call: &Call) -> Result<String, ApiError> {
    let url = call.text("QueueUrl").unwrap_or_default();
    let mut parts = url.rsplit('/');
    let (name, account) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let arn = format!("arn:{}:sqs:{}:{account}:{name}", call.partition, call.region);
    admit(world, call, arn)
}

fn admit(world: &World, call: &Call, arn: String) -> Result<String, ApiError> {
    let queue = world.sqs.queues.get(&arn);
    let lets_in = |policy: &String| policy.contains(call.account.as_str()) || policy.contains("\"*\"");
    let policy = queue.and_then(|queue| queue.attributes.get("Policy"));
    match queue {
        Some(queue) if queue.account == call.account || policy.is_some_and(lets_in) => Ok(arn),
        Some(_) => Err(identity::denied(call, Decision::NotAllowed, Some(&arn))),
        None => Err(missing()),
    }
}

pub(super) fn missing() -> ApiError {
    ApiError::client("QueueDoesNotExist", "The specified queue does not exist.")
}

/// The queue that a call names, with its ARN.
pub(super) fn find_mut<'a>(world: &'a mut World, call: &Call) -> Result<(String, &'a mut Queue), ApiError> {
    let arn = find(world, call)?;
    let queue = world.sqs.queues.get_mut(&arn).ok_or_else(missing)?;
    Ok((arn, queue))
}

pub(super) fn delete(world: &mut World, call: &Call) -> Answer {
    let arn = find(world, call)?;
    world.sqs.queues.remove(&arn);
    Ok(json!({}))
}

pub(super) fn url(world: &World, call: &Call) -> Answer {
    let owner = call.text("QueueOwnerAWSAccountId").unwrap_or(call.account.as_str());
    let name = call.text("QueueName").unwrap_or_default();
    let arn = admit(world, call, format!("arn:{}:sqs:{}:{owner}:{name}", call.partition, call.region))?;
    Ok(json!({ "QueueUrl": world.sqs.url_of(&arn) }))
}

/// The caller's queues in the Region, by name.
pub(super) fn list(world: &World, call: &Call) -> Answer {
    let prefix = call.text("QueueNamePrefix").unwrap_or_default();
    let own = world.sqs.queues.values().filter(|queue| {
        queue.account == call.account && queue.region == call.region && queue.name.starts_with(prefix)
    });
    let urls: Vec<String> = own.map(Queue::url).collect();
    let size = call.integer("MaxResults").and_then(|size| usize::try_from(size).ok()).unwrap_or(PAGE);
    let scope = format!("{} {} queues {prefix}", call.account, call.region);
    let page = paging::page(&scope, urls, call.text("NextToken"), size.clamp(1, PAGE));
    let page = page.map_err(|_| invalid("Invalid or expired next token."))?;
    Ok(json!({ "QueueUrls": page.items, "NextToken": page.next }))
}

pub(super) fn attributes(world: &mut World, call: &Call) -> Answer {
    let now = world.now();
    let (arn, queue) = find_mut(world, call)?;
    queue.expire(now);
    let mut all: BTreeMap<String, String> =
        NUMBERS.iter().map(|(name, .., default)| ((*name).to_owned(), default.to_string())).collect();
    all.extend(queue.attributes.clone());
    let delayed = |message: &&super::Message| message.visible > now && message.received_here == 0;
    let hidden = |message: &&super::Message| message.visible > now && message.received_here > 0;
    let (delayed, hidden) =
        (queue.messages.values().filter(delayed).count(), queue.messages.values().filter(hidden).count());
    let counts = [
        ("ApproximateNumberOfMessages", queue.messages.len() - delayed - hidden),
        ("ApproximateNumberOfMessagesNotVisible", hidden),
        ("ApproximateNumberOfMessagesDelayed", delayed),
    ];
    all.extend(counts.map(|(name, count)| (name.to_owned(), count.to_string())));
    all.insert("QueueArn".to_owned(), arn);
    all.insert("CreatedTimestamp".to_owned(), queue.created.timestamp().to_string());
    all.insert("LastModifiedTimestamp".to_owned(), queue.modified.timestamp().to_string());
    let names = call.input.get("AttributeNames").and_then(Value::as_array).cloned().unwrap_or_default();
    let names: Vec<&str> = names.iter().filter_map(Value::as_str).collect();
    if let Some(unknown) = names.iter().find(|name| **name != "All" && !is_attribute(&all, name)) {
        return Err(ApiError::client("InvalidAttributeName", format!("Unknown Attribute {unknown}.")));
    }
    let wanted = |name: &String| names.contains(&"All") || names.contains(&name.as_str());
    let shown: Map<String, Value> =
        all.into_iter().filter(|(name, _)| wanted(name)).map(|(name, value)| (name, json!(value))).collect();
    Ok(if shown.is_empty() { json!({}) } else { json!({ "Attributes": shown }) })
}

fn is_attribute(all: &BTreeMap<String, String>, name: &str) -> bool {
    all.contains_key(name) || OTHERS.contains(&name)
}

/// Sets attributes; an empty text takes one away.
pub(super) fn set_attributes(world: &mut World, call: &Call) -> Answer {
    let given = given(world, call)?;
    let now = world.now();
    let (_, queue) = find_mut(world, call)?;
    for (name, value) in given {
        if value.is_empty() {
            queue.attributes.remove(&name);
        } else {
            queue.attributes.insert(name, value);
        }
    }
    queue.modified = now;
    Ok(json!({}))
}

pub(super) fn purge(world: &mut World, call: &Call) -> Answer {
    let (_, queue) = find_mut(world, call)?;
    queue.messages.clear();
    queue.by_time.clear();
    Ok(json!({}))
}
