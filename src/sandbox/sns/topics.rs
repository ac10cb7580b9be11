//! Creating topics and their attributes.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::World;
use super::super::call::{Answer, ApiError, Call};
use super::super::identity::{self, Decision};
use super::super::paging;
use super::{Topic, subscriptions};

/// AWS's page of `ListTopics`.
const PAGE: usize = 100;

/// The attributes that can be set, but for those of deliveries.
const SETTABLE: &[&str] = &[
    "ContentBasedDeduplication",
    "DeliveryPolicy",
    "DisplayName",
    "FifoThroughputScope",
    "KmsMasterKeyId",
    "MaximumMessageSize",
    "Policy",
    "SignatureVersion",
    "TracingConfig",
];

/// AWS's bounds for `MaximumMessageSize`, in bytes.
const MESSAGE_SIZE: std::ops::RangeInclusive<usize> = 1024..=1_048_576;

impl Topic {
    pub(super) fn arn(&self) -> String {
        let partition = super::super::geography::partition_of(&self.region);
        format!("arn:{partition}:sns:{}:{}:{}", self.region, self.account, self.name)
    }

    pub(super) fn is_fifo(&self) -> bool {
        is_fifo(&self.name)
    }

    pub(super) fn flag(&self, attribute: &str) -> bool {
        self.attributes.get(attribute).is_some_and(|value| value == "true")
    }

    /// How large a message may be, its attributes included, in bytes.
    pub(super) fn maximum_size(&self) -> usize {
        let set = self.attributes.get("MaximumMessageSize").and_then(|value| value.parse().ok());
        set.unwrap_or(262_144)
    }
}

/// Whether a topic's name or ARN is a FIFO topic's.
pub(super) fn is_fifo(name: &str) -> bool {
    name.strip_suffix(".fifo").is_some()
}

pub(super) fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::client("InvalidParameter", format!("Invalid parameter: {}", message.into()))
}

fn not_found() -> ApiError {
    ApiError { status: 404, code: "NotFound".to_owned(), message: "Topic does not exist".to_owned() }
}

/// Creates a topic. Creating it again with the same attributes gives it again.
pub(super) fn create(world: &mut World, call: &Call) -> Answer {
    let name = call.text("Name").unwrap_or_default();
    let mut attributes = attributes_of(call)?;
    let fifo = attributes.remove("FifoTopic").is_some_and(|value| value == "true");
    check_name(name, fifo)?;
    for (attribute, value) in &attributes {
        check_attribute(fifo, attribute, value)?;
    }
    let topic = Topic {
        account: call.account.clone(),
        region: call.region.clone(),
        name: name.to_owned(),
        attributes,
        recent: BTreeMap::new(),
        sequence: 0,
    };
    let arn = topic.arn();
    if let Some(existing) = world.sns.topics.get(&arn) {
        let differs = |(name, value): (&String, &String)| existing.attributes.get(name) != Some(value);
        if topic.attributes.iter().any(differs) {
            return Err(invalid("Attributes Reason: Topic already exists with different attributes"));
        }
    } else {
        world.sns.topics.insert(arn.clone(), topic);
    }
    Ok(json!({ "TopicArn": arn }))
}

fn attributes_of(call: &Call) -> Result<BTreeMap<String, String>, ApiError> {
    let Some(given) = call.input.get("Attributes").and_then(Value::as_object) else {
        return Ok(BTreeMap::new());
    };
    given
        .iter()
        .map(|(name, value)| {
            let text = value.as_str().ok_or_else(|| invalid(format!("Attributes Reason: {name}")))?;
            Ok((name.clone(), text.to_owned()))
        })
        .collect()
}

fn check_name(name: &str, fifo: bool) -> Result<(), ApiError> {
    let stem = name.strip_suffix(".fifo");
    let plain = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    let fits = if fifo { stem.is_some_and(plain) } else { plain(name) };
    if fits && (1..=256).contains(&name.len()) {
        return Ok(());
    }
    let reason = if fifo {
        "Fifo Topic names must end with .fifo and must be made up of only uppercase and lowercase ASCII letters, numbers, underscores, and hyphens, and must be between 1 and 256 characters long."
    } else {
        "Topic Name"
    };
    Err(invalid(reason))
}

fn check_attribute(fifo: bool, name: &str, value: &str) -> Result<(), ApiError> {
    let fifo_only = matches!(name, "ContentBasedDeduplication" | "FifoThroughputScope");
    if !SETTABLE.contains(&name) || (fifo_only && !fifo) {
        return Err(invalid("AttributeName"));
    }
    let fits = match name {
        "MaximumMessageSize" => value.parse().is_ok_and(|size| MESSAGE_SIZE.contains(&size)),
        "FifoThroughputScope" => matches!(value, "Topic" | "MessageGroup"),
        "ContentBasedDeduplication" => matches!(value, "true" | "false"),
        _ => true,
    };
    if fits { Ok(()) } else { Err(invalid(format!("Attributes Reason: {name} has an invalid value"))) }
}

/// The ARN of the topic that a call names, if it is the caller's or the caller is let in.
pub(super) fn find(world: &World, call: &Call, arn: &str) -> Result<String, ApiError> {
    let mut parts = arn.splitn(6, ':');
    let mut part = || parts.next().unwrap_or_default();
    let (_, partition, service, region, owner, name) = (part(), part(), part(), part(), part(), part());
    let well_formed = service == "sns" && owner.len() == 12 && !name.is_empty();
    // Topics are reached in their own Region only.
    if !well_formed || region != call.region.as_str() || partition != call.partition {
        return Err(invalid("TopicArn"));
    }
    let topic = world.sns.topics.get(arn);
    let lets_in = |policy: &String| policy.contains(call.account.as_str()) || policy.contains("\"*\"");
    let may = owner == call.account.as_str()
        || topic.and_then(|topic| topic.attributes.get("Policy")).is_some_and(lets_in);
    if !may {
        return Err(identity::denied(call, Decision::NotAllowed, Some(arn)));
    }
    topic.map(|_| arn.to_owned()).ok_or_else(not_found)
}

/// Sets one attribute.
pub(super) fn set_attribute(world: &mut World, call: &Call) -> Answer {
    let arn = find(world, call, call.text("TopicArn").unwrap_or_default())?;
    let (name, value) = (call.text("AttributeName").unwrap_or_default(), call.text("AttributeValue"));
    let topic = world.sns.topics.get_mut(&arn).ok_or_else(not_found)?;
    check_attribute(topic.is_fifo(), name, value.unwrap_or_default())?;
    match value.filter(|value| !value.is_empty()) {
        Some(value) => topic.attributes.insert(name.to_owned(), value.to_owned()),
        None => topic.attributes.remove(name),
    };
    Ok(json!({}))
}

/// All attributes.
pub(super) fn get_attributes(world: &mut World, call: &Call) -> Answer {
    let arn = find(world, call, call.text("TopicArn").unwrap_or_default())?;
    let topic = world.sns.topics.get(&arn).ok_or_else(not_found)?;
    let mut attributes = topic.attributes.clone();
    attributes.insert("Owner".to_owned(), topic.account.to_string());
    let subscribed = subscriptions::of_topic(world, &arn).count();
    for (counter, count) in
        [("SubscriptionsConfirmed", subscribed), ("SubscriptionsDeleted", 0), ("SubscriptionsPending", 0)]
    {
        attributes.insert(counter.to_owned(), count.to_string());
    }
    attributes.entry("DisplayName".to_owned()).or_default();
    attributes.insert("TopicArn".to_owned(), arn);
    if topic.is_fifo() {
        attributes.insert("FifoTopic".to_owned(), "true".to_owned());
        attributes.entry("ContentBasedDeduplication".to_owned()).or_insert_with(|| "false".to_owned());
    }
    Ok(json!({ "Attributes": attributes }))
}

/// The caller's topics in the Region, by ARN.
pub(super) fn list(world: &mut World, call: &Call) -> Answer {
    let own = world.sns.topics.values().filter(|t| t.account == call.account && t.region == call.region);
    let rows: Vec<Value> = own.map(|topic| json!({ "TopicArn": topic.arn() })).collect();
    let scope = format!("{} {} topics", call.account, call.region);
    let page = paging::page(&scope, rows, call.text("NextToken"), PAGE).map_err(|_| invalid("NextToken"))?;
    Ok(json!({ "Topics": page.items, "NextToken": page.next }))
}
