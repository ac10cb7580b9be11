//! What the body of a queue's message says: which objects there are to read, or which records it carries.

use std::fmt;

use serde_json::{Map, Value};
use thiserror::Error;

use crate::integrity::is_beside_events;

/// How often one SNS notification may hold another. A topic that forwards to a topic is rare enough.
const NESTING: usize = 4;

/// CloudTrail sends this once when a trail gets a topic.
const VALIDATION: &str = "CloudTrail validation message";

/// An object that a message announces.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef {
    /// The bucket.
    pub bucket: String,
    /// The key, decoded.
    pub key: String,
    /// The bucket's Region, where the message tells.
    pub region: Option<String>,
    /// The version, in a bucket that keeps versions.
    pub version: Option<String>,
    /// The ETag without quotes.
    pub etag: Option<String>,
    /// The size in bytes.
    pub size: Option<u64>,
}

impl ObjectRef {
    fn new(bucket: String, key: String) -> Self {
        Self { bucket, key, region: None, version: None, etag: None, size: None }
    }
}

/// What a message tells.
#[derive(Debug, Clone, PartialEq)]
pub enum Announcement {
    /// Objects that may hold events.
    Objects(Vec<ObjectRef>),
    /// CloudTrail records, in the message itself.
    Records(Vec<Value>),
    /// Nothing that holds events, for this reason.
    Nothing(Reason),
}

/// Why there is nothing to read in a message that is understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// A service has tried whether its messages arrive.
    Test,
    /// Something befell an object other than that it was created.
    NotCreated(String),
    /// Markers of folders, digest or insight files, which hold no events.
    NoEvents,
    /// KMS's own event, such as `KMS CMK Rotation`: a record in CloudTrail tells the same and more.
    OfKms(String),
    /// Another event of EventBridge.
    OtherEvent(String),
    /// A topic is no longer subscribed.
    Unsubscribed,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Test => f.write_str("a test message"),
            Self::NotCreated(event) => write!(f, "`{event}` creates no object"),
            Self::NoEvents => f.write_str("folders, and digest and insight files, hold no events"),
            Self::OfKms(kind) => write!(f, "`{kind}` is told by CloudTrail too, with the caller"),
            Self::OtherEvent(kind) => write!(f, "`{kind}` is no event of CloudTrail"),
            Self::Unsubscribed => f.write_str("an SNS subscription has ended"),
        }
    }
}

/// Why a message is not understood.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Unrecognised {
    /// No JSON.
    #[error("the message is not JSON: {0}")]
    NotJson(String),
    /// JSON that is none of the shapes.
    #[error("the message is no notification of S3, SNS, CloudTrail or EventBridge")]
    UnknownShape,
    /// One of the shapes, without something that it has to have.
    #[error("{shape} without {lacks}")]
    Incomplete {
        /// Which shape.
        shape: &'static str,
        /// What is missing or wrong.
        lacks: &'static str,
    },
    /// Notifications in notifications.
    #[error("SNS notifications within SNS notifications, more than {NESTING} deep")]
    Nested,
    /// SNS waits for somebody to confirm.
    #[error("an SNS subscription waits to be confirmed; open its `SubscribeURL`, then delete the message")]
    Unconfirmed,
}

impl Unrecognised {
    /// Every [kind](Self::kind).
    pub const KINDS: [&'static str; 5] = ["not_json", "unknown_shape", "incomplete", "nested", "unconfirmed"];

    /// The kind, as in metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NotJson(_) => "not_json",
            Self::UnknownShape => "unknown_shape",
            Self::Incomplete { .. } => "incomplete",
            Self::Nested => "nested",
            Self::Unconfirmed => "unconfirmed",
        }
    }
}

/// Reads a message's body.
///
/// # Errors
/// When it is not understood, and what is wrong with it.
pub fn recognise(body: &str) -> Result<Announcement, Unrecognised> {
    within(body, 0)
}

fn within(body: &str, depth: usize) -> Result<Announcement, Unrecognised> {
    if depth > NESTING {
        return Err(Unrecognised::Nested);
    }
    let body = body.trim_start_matches('\u{feff}').trim();
    if body.starts_with(VALIDATION) {
        return Ok(Announcement::Nothing(Reason::Test));
    }
    match serde_json::from_str(body).map_err(|error| Unrecognised::NotJson(error.to_string()))? {
        Value::Object(message) => of_object(message, depth),
        // Raw delivery of a text that was sent as JSON.
        Value::String(text) => within(&text, depth + 1),
        _ => Err(Unrecognised::UnknownShape),
    }
}

fn of_object(message: Map<String, Value>, depth: usize) -> Result<Announcement, Unrecognised> {
    let has = |name: &str| message.contains_key(name);
    if has("Type") && (has("TopicArn") || has("Message")) {
        of_sns(&message, depth)
    } else if has("s3ObjectKey") {
        of_trail(&message)
    } else if let Some(Value::Array(records)) = message.get("Records") {
        of_s3(records)
    } else if text(&message, "Event") == Some("s3:TestEvent") {
        Ok(Announcement::Nothing(Reason::Test))
    } else if has("detail-type") {
        of_bus(message)
    } else if is_record(&message) {
        Ok(Announcement::Records(vec![Value::Object(message)]))
    } else {
        Err(Unrecognised::UnknownShape)
    }
}

fn of_sns(message: &Map<String, Value>, depth: usize) -> Result<Announcement, Unrecognised> {
    match text(message, "Type") {
        Some("Notification") => {
            let shape = "an SNS notification";
            within(text(message, "Message").ok_or_else(incomplete(shape, "`Message`"))?, depth + 1)
        }
        Some("SubscriptionConfirmation") => Err(Unrecognised::Unconfirmed),
        Some("UnsubscribeConfirmation") => Ok(Announcement::Nothing(Reason::Unsubscribed)),
        _ => Err(Unrecognised::UnknownShape),
    }
}

/// CloudTrail's own notice. It gives the keys as they are.
fn of_trail(message: &Map<String, Value>) -> Result<Announcement, Unrecognised> {
    let lacks = |what| incomplete("a notice of CloudTrail", what);
    let bucket = text(message, "s3Bucket").ok_or_else(lacks("`s3Bucket`"))?;
    let keys = match message.get("s3ObjectKey") {
        Some(Value::Array(keys)) => keys.iter().map(Value::as_str).collect(),
        one => one.map(|key| vec![key.as_str()]).unwrap_or_default(),
    };
    let mut objects = Vec::with_capacity(keys.len());
    for key in keys {
        let key = key.filter(|key| !key.is_empty()).ok_or_else(lacks("a usable `s3ObjectKey`"))?;
        objects.push(ObjectRef::new(bucket.to_owned(), key.to_owned()));
    }
    Ok(with_events(objects, Reason::NoEvents))
}

/// S3's event notification, whose keys are encoded as in a form.
fn of_s3(records: &[Value]) -> Result<Announcement, Unrecognised> {
    const SHAPE: &str = "an S3 event";
    let mut objects = Vec::new();
    let mut other = None;
    for record in records {
        if record.get("s3").is_none() {
            return Err(Unrecognised::UnknownShape);
        }
        let name =
            record.get("eventName").and_then(Value::as_str).ok_or_else(incomplete(SHAPE, "`eventName`"))?;
        let event = name.strip_prefix("s3:").unwrap_or(name);
        if !event.starts_with("ObjectCreated:") {
            other = Some(event.to_owned());
            continue;
        }
        objects.push(created(record)?);
    }
    Ok(with_events(objects, other.map_or(Reason::NoEvents, Reason::NotCreated)))
}

fn created(record: &Value) -> Result<ObjectRef, Unrecognised> {
    let lacks = |what| incomplete("an S3 event", what);
    let of = |pointer: &str| {
        record.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let bucket = of("/s3/bucket/name").ok_or_else(lacks("the name of the bucket"))?;
    let key = of("/s3/object/key").ok_or_else(lacks("the key of the object"))?;
    Ok(ObjectRef {
        region: of("/awsRegion"),
        version: of("/s3/object/versionId").filter(|version| version != "null"),
        etag: of("/s3/object/eTag").map(|etag| bare(&etag)),
        size: record.pointer("/s3/object/size").and_then(Value::as_u64),
        ..ObjectRef::new(bucket, decode(&key).ok_or_else(lacks("a key in UTF-8"))?)
    })
}

/// An event of EventBridge. Its keys are not encoded.
fn of_bus(mut message: Map<String, Value>) -> Result<Announcement, Unrecognised> {
    let lacks = |what| incomplete("an event of EventBridge", what);
    let kind = text(&message, "detail-type").ok_or_else(lacks("`detail-type`"))?.to_owned();
    let source = text(&message, "source").ok_or_else(lacks("`source`"))?.to_owned();
    if kind == "AWS Insight via CloudTrail" {
        return Ok(Announcement::Nothing(Reason::NoEvents));
    }
    if kind.ends_with(" via CloudTrail") {
        let record = message.remove("detail").filter(Value::is_object);
        return Ok(Announcement::Records(vec![record.ok_or_else(lacks("a record as its `detail`"))?]));
    }
    match (source.as_str(), kind.as_str()) {
        ("aws.s3", "Object Created") => {}
        ("aws.s3", _) => return Ok(Announcement::Nothing(Reason::NotCreated(kind))),
        ("aws.kms", _) => return Ok(Announcement::Nothing(Reason::OfKms(kind))),
        _ => return Ok(Announcement::Nothing(Reason::OtherEvent(kind))),
    }
    let detail = message.get("detail").ok_or_else(lacks("`detail`"))?;
    let of = |pointer: &str| {
        detail.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let bucket = of("/bucket/name").ok_or_else(lacks("the name of the bucket"))?;
    let key = of("/object/key").ok_or_else(lacks("the key of the object"))?;
    let object = ObjectRef {
        region: text(&message, "region").map(str::to_owned),
        version: of("/object/version-id").filter(|version| version != "null"),
        etag: of("/object/etag").map(|etag| bare(&etag)),
        size: detail.pointer("/object/size").and_then(Value::as_u64),
        ..ObjectRef::new(bucket, key)
    };
    Ok(with_events(vec![object], Reason::NoEvents))
}

/// The objects that may hold events; with none, the reason.
fn with_events(mut objects: Vec<ObjectRef>, reason: Reason) -> Announcement {
    // What ends with a slash only marks a folder.
    let has_none = |key: &str| key.ends_with('/') || is_beside_events(key);
    let announced = objects.len();
    objects.retain(|object| !has_none(&object.key));
    match (objects.is_empty(), announced) {
        (false, _) => Announcement::Objects(objects),
        (true, 0) => Announcement::Nothing(reason),
        (true, _) => Announcement::Nothing(Reason::NoEvents),
    }
}

/// Whether this is a CloudTrail record: a rule of EventBridge may send the `detail` alone.
fn is_record(message: &Map<String, Value>) -> bool {
    ["eventID", "eventName", "eventSource", "eventTime"].iter().all(|name| text(message, name).is_some())
}

fn text<'a>(message: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    message.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
}

fn incomplete(shape: &'static str, lacks: &'static str) -> impl Fn() -> Unrecognised {
    move || Unrecognised::Incomplete { shape, lacks }
}

/// An ETag without its quotes.
pub(crate) fn bare(etag: &str) -> String {
    etag.trim_matches('"').to_owned()
}

/// A key as S3's notifications encode it: `+` is a space, `%2B` a plus. A `%` that begins no pair of digits stands
/// for itself. None if what comes out is not UTF-8.
fn decode(key: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(key.len());
    let mut rest = key.as_bytes();
    while let [first, after @ ..] = rest {
        let pair = after.get(..2).filter(|_| *first == b'%').and_then(|digits| hex::decode(digits).ok());
        rest = after;
        if let Some(byte) = pair {
            decoded.extend(byte);
            rest = after.get(2..).unwrap_or_default();
        } else {
            decoded.push(if *first == b'+' { b' ' } else { *first });
        }
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
#[path = "envelope_tests.rs"]
mod tests;
