//! Notifications of new objects, to queues and topics.

use chrono::SecondsFormat;
use serde_json::{Map, Value, json};

use super::{error, find, find_mut, list::encode, name};
use crate::sandbox::call::{Answer, ApiError, Call};
use crate::sandbox::geography::partition_of;
use crate::sandbox::{World, sns, sqs};

/// What the destination of each kind is called.
const KINDS: [(&str, &str); 2] = [("QueueConfiguration", "Queue"), ("TopicConfiguration", "Topic")];

/// A member that may be there once, several times or not at all.
fn several<'a>(document: &'a Value, member: &str) -> Vec<&'a Value> {
    match document.get(member) {
        None => Vec::new(),
        Some(Value::Array(items)) => items.iter().collect(),
        Some(one) => vec![one],
    }
}

fn text<'a>(document: &'a Value, member: &str) -> &'a str {
    document.get(member).and_then(Value::as_str).unwrap_or_default()
}

pub(super) fn configuration(world: &World, call: &Call) -> Answer {
    Ok(find(world, call)?.notifications.clone())
}

/// Takes a configuration whose destinations there are, and tries each with a test event.
pub(super) fn configure(world: &mut World, call: &Call) -> Answer {
    let document = call.input.get("Document").cloned().unwrap_or_else(|| json!({}));
    let known = |member: &String| KINDS.iter().any(|(kind, _)| kind == member);
    if let Some(other) =
        document.as_object().into_iter().flatten().map(|(name, _)| name).find(|name| !known(name))
    {
        let message = format!("the sandbox does not know {other}");
        return Err(ApiError { status: 501, ..error("NotImplemented", &message) });
    }
    let mut kept = Map::new();
    let mut destinations = Vec::new();
    for (kind, member) in KINDS {
        let mut list = Vec::new();
        for configured in several(&document, kind) {
            let destination = text(configured, member);
            check(world, call, configured, destination)?;
            let mut configured = configured.clone();
            if let Some(members) = configured.as_object_mut() {
                members.entry("Id").or_insert_with(|| world.ids.uuid().into());
            }
            destinations.push(destination.to_owned());
            list.push(configured);
        }
        if !list.is_empty() {
            kept.insert(kind.to_owned(), Value::Array(list));
        }
    }
    find_mut(world, call)?.notifications = Value::Object(kept);
    let test = json!({
        "Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": name(call),
        "Time": world.now().to_rfc3339_opts(SecondsFormat::Millis, true),
        "RequestId": call.request_id, "HostId": "sandbox",
    });
    for destination in destinations {
        send(world, &destination, &test);
    }
    Ok(json!({}))
}

fn check(world: &World, call: &Call, configured: &Value, destination: &str) -> Result<(), ApiError> {
    let mut parts = destination.split(':');
    let region = parts.nth(3).unwrap_or_default();
    let exists = world.sqs.exists(destination) || world.sns.is_standard(destination);
    if !exists || region != call.region.as_str() {
        return Err(error("InvalidArgument", "Unable to validate the following destination configurations"));
    }
    let events = several(configured, "Event");
    let of_objects = |event: &&Value| event.as_str().is_some_and(|event| event.starts_with("s3:Object"));
    if events.is_empty() || !events.iter().all(of_objects) {
        return Err(error("InvalidArgument", "The event is not supported for notifications"));
    }
    Ok(())
}

/// Tells whoever asked for it that an object was put.
pub(super) fn created(world: &mut World, bucket: &str, key: &str, principal: &str) {
    let Some(found) = world.s3.buckets.get(bucket) else { return };
    let Some(object) = found.objects.get(key) else { return };
    let wanted: Vec<(String, String)> = KINDS
        .iter()
        .flat_map(|(kind, member)| {
            several(&found.notifications, kind).into_iter().map(move |of| (of, member))
        })
        .filter(|(configured, _)| wants(configured, key))
        .map(|(configured, member)| (text(configured, member).to_owned(), text(configured, "Id").to_owned()))
        .collect();
    if wanted.is_empty() {
        return;
    }
    let mut record = json!({
        "eventVersion": "2.1", "eventSource": "aws:s3", "awsRegion": found.region.as_str(),
        "eventTime": object.modified.to_rfc3339_opts(SecondsFormat::Millis, true),
        "eventName": "ObjectCreated:Put", "userIdentity": { "principalId": principal },
        "requestParameters": { "sourceIPAddress": "203.0.113.10" },
        "s3": {
            "s3SchemaVersion": "1.0",
            "bucket": {
                "name": bucket, "ownerIdentity": { "principalId": found.account.as_str() },
                "arn": format!("arn:{}:s3:::{bucket}", partition_of(&found.region)),
            },
            "object": { "key": encode(key), "size": object.body.len(), "eTag": object.md5 },
        },
    });
    let (request, sequencer) = (world.ids.upper(16), world.ids.hex(18).to_uppercase());
    for (destination, id) in wanted {
        if let Some(record) = record.as_object_mut() {
            record.insert(
                "responseElements".to_owned(),
                json!({ "x-amz-request-id": request, "x-amz-id-2": "sandbox" }),
            );
        }
        if let Some(s3) = record.get_mut("s3").and_then(Value::as_object_mut) {
            s3.insert("configurationId".to_owned(), json!(id));
            if let Some(object) = s3.get_mut("object").and_then(Value::as_object_mut) {
                object.insert("sequencer".to_owned(), json!(sequencer));
            }
        }
        send(world, &destination, &json!({ "Records": [record] }));
    }
}

/// Whether a configuration is about putting an object of that key.
fn wants(configured: &Value, key: &str) -> bool {
    let put = |event: &&Value| {
        matches!(event.as_str(), Some("s3:ObjectCreated:*" | "s3:ObjectCreated:Put" | "s3:Object*"))
    };
    let rules = configured.get("Filter").and_then(|filter| filter.get("S3Key"));
    let fits = |rule: &&Value| match text(rule, "Name").to_ascii_lowercase().as_str() {
        "prefix" => key.starts_with(text(rule, "Value")),
        "suffix" => key.ends_with(text(rule, "Value")),
        _ => true,
    };
    several(configured, "Event").iter().any(put)
        && rules.is_none_or(|rules| several(rules, "FilterRule").iter().all(fits))
}

fn send(world: &mut World, destination: &str, message: &Value) {
    if world.sqs.exists(destination) {
        sqs::deliver(world, destination, message.to_string());
    } else {
        sns::deliver(world, destination, Some("Amazon S3 Notification"), message.to_string());
    }
}
