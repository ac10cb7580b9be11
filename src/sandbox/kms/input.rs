//! Reading the input of a call, and the errors of what is not well formed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use crate::sandbox::call::ApiError;

/// `ValidationException` with AWS's preamble.
pub(super) fn invalid(what: &str) -> ApiError {
    ApiError::client("ValidationException", format!("1 validation error detected: {what}"))
}

/// An optional text member.
pub(super) fn text<'a>(input: &'a Value, member: &str) -> Option<&'a str> {
    input.get(member).and_then(Value::as_str)
}

/// A text member, empty when it is absent.
pub(super) fn owned(input: &Value, member: &str) -> String {
    text(input, member).unwrap_or_default().to_owned()
}

/// A required text member.
pub(super) fn required<'a>(input: &'a Value, member: &str) -> Result<&'a str, ApiError> {
    text(input, member).ok_or_else(|| {
        let member = lower_first(member);
        invalid(&format!("Value null at '{member}' failed to satisfy constraint: Member must not be null"))
    })
}

/// A text member that takes only certain values, or its default.
pub(super) fn one_of<'a>(
    input: &'a Value,
    member: &str,
    default: &'a str,
    values: &[&str],
) -> Result<&'a str, ApiError> {
    let value = text(input, member).unwrap_or(default);
    if values.contains(&value) { Ok(value) } else { Err(not_one_of(value, member, values)) }
}

/// The error of a value that the API does not know.
pub(super) fn not_one_of(value: &str, member: &str, values: &[&str]) -> ApiError {
    let (member, values) = (lower_first(member), values.join(", "));
    invalid(&format!(
        "Value '{value}' at '{member}' failed to satisfy constraint: Member must satisfy enum value set: [{values}]"
    ))
}

/// A boolean member, false when it is absent.
pub(super) fn flag(input: &Value, member: &str) -> bool {
    input.get(member).and_then(Value::as_bool).unwrap_or(false)
}

/// An optional whole number.
pub(super) fn number(input: &Value, member: &str) -> Option<i64> {
    input.get(member).and_then(Value::as_i64)
}

/// A whole number within bounds, or its default.
pub(super) fn number_within(
    input: &Value,
    member: &str,
    default: i64,
    (least, most): (i64, i64),
) -> Result<i64, ApiError> {
    let value = number(input, member).unwrap_or(default);
    let shown = lower_first(member);
    let constraint = if value < least {
        format!("Member must have value greater than or equal to {least}")
    } else if value > most {
        format!("Member must have value less than or equal to {most}")
    } else {
        return Ok(value);
    };
    Err(invalid(&format!("Value '{value}' at '{shown}' failed to satisfy constraint: {constraint}")))
}

/// A list of texts; empty when it is absent.
pub(super) fn texts(input: &Value, member: &str) -> Vec<String> {
    let items = input.get(member).and_then(Value::as_array);
    items.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// A map of texts, such as an encryption context; empty when it is absent.
pub(super) fn text_map(input: &Value, member: &str) -> Map<String, Value> {
    input.get(member).and_then(Value::as_object).cloned().unwrap_or_default()
}

/// A point in time: the JSON protocols write seconds since 1970.
pub(in crate::sandbox) fn time(input: &Value, member: &str) -> Option<DateTime<Utc>> {
    let value = input.get(member)?;
    if let Some(text) = value.as_str() {
        return DateTime::parse_from_rfc3339(text).ok().map(|time| time.with_timezone(&Utc));
    }
    let whole = value.as_i64().and_then(|seconds| seconds.checked_mul(1_000));
    #[expect(clippy::cast_possible_truncation, reason = "times in milliseconds are far below 2^53")]
    let millis = whole.or_else(|| value.as_f64().map(|seconds| (seconds * 1_000.0).round() as i64))?;
    DateTime::from_timestamp_millis(millis)
}

/// A point in time as the JSON protocols write it: seconds since 1970, with milliseconds.
pub(in crate::sandbox) fn epoch(time: DateTime<Utc>) -> Value {
    let millis = time.timestamp_millis();
    if millis % 1_000 == 0 {
        return json!(millis / 1_000);
    }
    #[expect(clippy::cast_precision_loss, reason = "times in milliseconds are far below 2^53")]
    let seconds = millis as f64 / 1_000.0;
    json!(seconds)
}

/// A required blob member.
pub(super) fn blob(input: &Value, member: &str) -> Result<Vec<u8>, ApiError> {
    let encoded = required(input, member)?;
    STANDARD
        .decode(encoded)
        .map_err(|_| ApiError::client("SerializationException", format!("{member} is not valid Base64")))
}

/// Bytes as the JSON protocols write a blob.
pub(super) fn encode(bytes: impl AsRef<[u8]>) -> String {
    STANDARD.encode(bytes)
}

/// The member's name as AWS's messages and CloudTrail write it: `keyId`.
pub(in crate::sandbox) fn lower_first(member: &str) -> String {
    let mut letters = member.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

/// An object with the members that have a value.
pub(super) fn object(members: impl IntoIterator<Item = (&'static str, Option<Value>)>) -> Value {
    let present = members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(present.collect())
}
