//! Subscriptions of queues to topics, and what they get.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::SecondsFormat;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::super::World;
use super::super::call::{Answer, ApiError, Call};
use super::super::{paging, sqs};
use super::Published;
use super::topics::{self, invalid};

/// AWS's page of subscriptions.
const PAGE: usize = 100;

/// A queue that gets what is published to a topic.
#[derive(Debug, Clone)]
pub(super) struct Subscription {
    arn: String,
    topic: String,
    owner: String,
    /// The queue's ARN.
    endpoint: String,
    /// Whether the message comes as it was published, without an envelope.
    raw: bool,
}

pub(super) fn subscribe(world: &mut World, call: &Call) -> Answer {
    let topic = topics::find(world, call, call.text("TopicArn").unwrap_or_default())?;
    if call.text("Protocol") != Some("sqs") {
        return Err(invalid("Protocol Reason: the sandbox delivers to queues (sqs) only"));
    }
    let endpoint = call.text("Endpoint").unwrap_or_default();
    if !world.sqs.exists(endpoint) {
        return Err(invalid("SQS endpoint ARN"));
    }
    let raw = match call.input.get("Attributes").and_then(Value::as_object) {
        None => false,
        Some(attributes) => raw_of(attributes)?,
    };
    let same = |known: &&Subscription| known.topic == topic && known.endpoint == endpoint;
    if let Some(known) = world.sns.subscriptions.iter().find(same) {
        return Ok(json!({ "SubscriptionArn": known.arn }));
    }
    let arn = format!("{topic}:{}", world.ids.uuid());
    world.sns.subscriptions.push(Subscription {
        arn: arn.clone(),
        topic,
        owner: call.account.to_string(),
        endpoint: endpoint.to_owned(),
        raw,
    });
    Ok(json!({ "SubscriptionArn": arn }))
}

fn raw_of(attributes: &Map<String, Value>) -> Result<bool, ApiError> {
    if let Some(other) = attributes.keys().find(|name| *name != "RawMessageDelivery") {
        return Err(invalid(format!("Attributes Reason: the sandbox does not know {other}")));
    }
    match attributes.get("RawMessageDelivery").and_then(Value::as_str) {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(invalid("Attributes Reason: RawMessageDelivery: Invalid value")),
    }
}

pub(super) fn unsubscribe(world: &mut World, call: &Call) -> Answer {
    let arn = call.text("SubscriptionArn").unwrap_or_default();
    world.sns.subscriptions.retain(|known| known.arn != arn || known.owner != call.account.as_str());
    Ok(json!({}))
}

pub(super) fn set_attribute(world: &mut World, call: &Call) -> Answer {
    let (arn, name) = (call.text("SubscriptionArn"), call.text("AttributeName").unwrap_or_default());
    let attributes = json!({ name: call.text("AttributeValue") });
    let raw = raw_of(attributes.as_object().ok_or_else(|| invalid("AttributeName"))?)?;
    let found = world.sns.subscriptions.iter_mut().find(|known| Some(known.arn.as_str()) == arn);
    let subscription = found.filter(|known| known.owner == call.account.as_str()).ok_or_else(|| {
        ApiError { status: 404, ..ApiError::client("NotFound", "Subscription does not exist") }
    })?;
    subscription.raw = raw;
    Ok(json!({}))
}

pub(super) fn list(world: &World, call: &Call) -> Answer {
    let topic = topics::find(world, call, call.text("TopicArn").unwrap_or_default())?;
    let rows: Vec<Value> = of_topic(world, &topic)
        .map(|known| {
            json!({
                "SubscriptionArn": known.arn, "Owner": known.owner, "Protocol": "sqs",
                "Endpoint": known.endpoint, "TopicArn": known.topic,
            })
        })
        .collect();
    let page = paging::page(&format!("{topic} subscriptions"), rows, call.text("NextToken"), PAGE);
    let page = page.map_err(|_| invalid("NextToken"))?;
    Ok(json!({ "Subscriptions": page.items, "NextToken": page.next }))
}

/// The subscriptions of a topic.
pub(super) fn of_topic<'a>(world: &'a World, topic: &'a str) -> impl Iterator<Item = &'a Subscription> {
    world.sns.subscriptions.iter().filter(move |known| known.topic == topic)
}

/// Sends a message to every queue that is subscribed to its topic. `attributes` are as they were published.
pub(super) fn fan_out(world: &mut World, published: &Published, attributes: &Value) {
    let subscribed: Vec<Subscription> = of_topic(world, &published.topic).cloned().collect();
    for subscription in subscribed {
        let text = published.text_for("sqs");
        if subscription.raw {
            sqs::deliver_with(world, &subscription.endpoint, text, attributes.clone());
        } else {
            let body = envelope(published, &text, attributes, &subscription.arn).to_string();
            sqs::deliver(world, &subscription.endpoint, body);
        }
    }
}

/// SNS's envelope. Its signature is none: nothing here holds a key of SNS's.
fn envelope(published: &Published, text: &str, attributes: &Value, subscription: &str) -> Value {
    let host = format!("https://sns.{}.amazonaws.com", published.region);
    let mut envelope = json!({
        "Type": "Notification",
        "MessageId": published.message_id,
        "TopicArn": published.topic,
        "Message": text,
        "Timestamp": published.at.to_rfc3339_opts(SecondsFormat::Millis, true),
        "SignatureVersion": "1",
        "Signature": STANDARD.encode(Sha256::digest(&published.message_id)),
        "SigningCertURL": format!("{host}/SimpleNotificationService-0000000000000000000000000000000.pem"),
        "UnsubscribeURL": format!("{host}/?Action=Unsubscribe&SubscriptionArn={subscription}"),
    });
    let Some(members) = envelope.as_object_mut() else { return envelope };
    if let Some(subject) = &published.subject {
        members.insert("Subject".to_owned(), json!(subject));
    }
    let shown: Map<String, Value> = attributes
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, attribute)| {
            let value = attribute.get("StringValue").or_else(|| attribute.get("BinaryValue"));
            (name.clone(), json!({ "Type": attribute.get("DataType"), "Value": value }))
        })
        .collect();
    if !shown.is_empty() {
        members.insert("MessageAttributes".to_owned(), Value::Object(shown));
    }
    envelope
}
