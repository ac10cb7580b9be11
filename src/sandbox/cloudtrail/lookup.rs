//! `LookupEvents`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::State;
use super::history::{Entry, Position};
use crate::sandbox::call::{Answer, ApiError, Call};
use crate::sandbox::ids::Ids;
use crate::sandbox::kms::{epoch, time};

/// How far back the event history goes.
const DAYS_KEPT: i64 = 90;

/// What is looked for.
struct Wanted {
    attribute: Option<(String, String)>,
    start: DateTime<Utc>,
    end: DateTime<Utc>,
    limit: usize,
    before: Position,
}

pub(super) fn lookup_events(state: &State, call: &Call, now: DateTime<Utc>) -> Answer {
    let wanted = wanted(call, now)?;
    let category = call.text("EventCategory");
    if category.is_some_and(|category| category != "insight") {
        return Err(ApiError::client(
            "InvalidEventCategoryException",
            "Event category is invalid: only insight is supported",
        ));
    }
    let history = state.histories.get(&(call.account.clone(), call.region.clone()));
    // The sandbox has no insight events.
    let history = history.filter(|_| category.is_none());
    let entries = history.into_iter().flat_map(|history| history.before(wanted.before));
    let recent = entries.take_while(|(_, entry)| entry.time >= wanted.start);
    let mut hits = recent.filter(|(_, entry)| {
        entry.visible <= now && wanted.attribute.as_ref().is_none_or(|attribute| has(entry, attribute))
    });
    let page: Vec<&(Position, Entry)> = hits.by_ref().take(wanted.limit).collect();
    let more = hits.next().is_some();
    let events: Vec<Value> = page.iter().map(|(_, entry)| event(entry)).collect();
    let mut answer = json!({ "Events": events });
    if let (true, Some((position, _)), Some(members)) = (more, page.last(), answer.as_object_mut()) {
        members.insert("NextToken".to_owned(), json!(token(call, *position)));
    }
    Ok(answer)
}

fn wanted(call: &Call, now: DateTime<Utc>) -> Result<Wanted, ApiError> {
    let limit = match call.integer("MaxResults") {
        None => 50,
        Some(limit) => {
            usize::try_from(limit).ok().filter(|limit| (1..=50).contains(limit)).ok_or_else(|| {
                ApiError::client(
                    "InvalidMaxResultsException",
                    "A max results value of between 1 and 50 must be specified",
                )
            })?
        }
    };
    let oldest = now - TimeDelta::days(DAYS_KEPT);
    let start = time(&call.input, "StartTime");
    let end = time(&call.input, "EndTime").unwrap_or(now);
    if start.is_some_and(|start| start > end) {
        return Err(ApiError::client(
            "InvalidTimeRangeException",
            "The start time must be before the end time",
        ));
    }
    let start = start.map_or(oldest, |start| start.max(oldest));
    let before = match call.text("NextToken") {
        None => (end, u64::MAX),
        Some(token) => position(call, token).ok_or_else(|| {
            ApiError::client(
                "InvalidNextTokenException",
                "Invalid token, please check your request parameters",
            )
        })?,
    };
    Ok(Wanted { attribute: attribute(call)?, start, end, limit, before }.bounded())
}

impl Wanted {
    /// A token cannot lead out of the range.
    fn bounded(self) -> Self {
        let before = self.before.min((self.end, u64::MAX));
        Self { before, ..self }
    }
}

fn attribute(call: &Call) -> Result<Option<(String, String)>, ApiError> {
    const KEYS: [&str; 8] = [
        "EventId",
        "EventName",
        "ReadOnly",
        "Username",
        "ResourceType",
        "ResourceName",
        "EventSource",
        "AccessKeyId",
    ];
    let invalid = |why: &str| ApiError::client("InvalidLookupAttributesException", why);
    let attributes = call.input.get("LookupAttributes").and_then(Value::as_array);
    let Some((first, rest)) = attributes.and_then(|attributes| attributes.split_first()) else {
        return Ok(None);
    };
    if !rest.is_empty() {
        return Err(invalid("You can only specify one lookup attribute at a time"));
    }
    let member = |name: &str| first.get(name).and_then(Value::as_str);
    let (Some(key), Some(value)) = (member("AttributeKey"), member("AttributeValue")) else {
        return Err(invalid("A lookup attribute needs an AttributeKey and an AttributeValue"));
    };
    if !KEYS.contains(&key) {
        return Err(invalid(&format!("`{key}` is not a lookup attribute")));
    }
    let double = |letter: char| matches!(letter, '_' | ' ' | ',' | '\n');
    let length: usize = value.chars().map(|letter| if double(letter) { 2 } else { 1 }).sum();
    if length == 0 || length > 2_000 {
        return Err(invalid("An attribute value has to be 1 to 2000 characters long"));
    }
    Ok(Some((key.to_owned(), value.to_owned())))
}

fn has(entry: &Entry, (key, value): &(String, String)) -> bool {
    match key.as_str() {
        "EventId" => *entry.id == **value,
        "EventName" => *entry.name == **value,
        "EventSource" => *entry.source == **value,
        "ReadOnly" => entry.read_only.to_string() == *value,
        "Username" => entry.username.as_deref() == Some(value),
        "AccessKeyId" => entry.access_key.as_deref() == Some(value),
        "ResourceName" => entry.resources.iter().any(|(name, _)| name == value),
        _ => entry.resources.iter().any(|(_, kind)| kind == value),
    }
}

fn event(entry: &Entry) -> Value {
    let resources: Vec<Value> = entry
        .resources
        .iter()
        .map(|(name, kind)| json!({ "ResourceType": kind, "ResourceName": name }))
        .collect();
    let mut event = json!({
        "EventId": &*entry.id,
        "EventName": &*entry.name,
        "ReadOnly": entry.read_only.to_string(),
        "EventTime": epoch(entry.time),
        "EventSource": &*entry.source,
        "Resources": resources,
        "CloudTrailEvent": &*entry.record,
    });
    for (name, value) in [("Username", &entry.username), ("AccessKeyId", &entry.access_key)] {
        if let (Some(event), Some(value)) = (event.as_object_mut(), value) {
            event.insert(name.to_owned(), json!(&**value));
        }
    }
    event
}

/// A token names the place where its page ended, and is good for its very query only.
fn token(call: &Call, (time, arrival): Position) -> String {
    URL_SAFE_NO_PAD.encode(format!("{}:{}:{arrival}", fingerprint(call), time.timestamp_millis()))
}

fn position(call: &Call, token: &str) -> Option<Position> {
    let plain = String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
    let mut parts = plain.split(':');
    if parts.next()? != fingerprint(call) {
        return None;
    }
    let time = DateTime::from_timestamp_millis(parts.next()?.parse().ok()?)?;
    Some((time, parts.next()?.parse().ok()?))
}

fn fingerprint(call: &Call) -> String {
    let mut query = call.input.clone();
    if let Some(members) = query.as_object_mut() {
        members.remove("NextToken");
    }
    Ids::new(&format!("{}|{}|{query}", call.account, call.region)).hex(24)
}
