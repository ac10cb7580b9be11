//! A CloudTrail record.

use chrono::{DateTime, Utc};
use serde_json::Value;

/// One CloudTrail record as delivered, with reading aids for what every consumer needs.
///
/// The record stays whole, since Sigma rules may name any field of it.
#[derive(Debug, Clone, PartialEq)]
pub struct EventRecord {
    record: Value,
    time: DateTime<Utc>,
}

impl EventRecord {
    /// Takes a record that has at least an `eventID`, an `eventName`, an `eventSource` and an RFC 3339
    /// `eventTime`; gives the name of the first of them that is missing or malformed otherwise.
    pub fn new(record: Value) -> Result<Self, &'static str> {
        for field in ["eventID", "eventName", "eventSource"] {
            if record.get(field).and_then(Value::as_str).is_none_or(str::is_empty) {
                return Err(field);
            }
        }
        let time = record
            .get("eventTime")
            .and_then(Value::as_str)
            .and_then(|text| DateTime::parse_from_rfc3339(text).ok())
            .ok_or("eventTime")?
            .with_timezone(&Utc);
        Ok(Self { record, time })
    }

    /// The whole record, given away.
    pub fn into_record(self) -> Value {
        self.record
    }

    /// The whole record.
    pub fn record(&self) -> &Value {
        &self.record
    }

    /// When the call was made.
    pub fn time(&self) -> DateTime<Utc> {
        self.time
    }

    /// A text field at a path, such as `["userIdentity", "type"]`; none if it is missing or no text.
    pub fn text(&self, path: &[&str]) -> Option<&str> {
        path.iter().try_fold(&self.record, |value, step| value.get(step)).and_then(Value::as_str)
    }

    /// `eventID`.
    pub fn id(&self) -> &str {
        self.text(&["eventID"]).unwrap_or_default()
    }

    /// `eventName`.
    pub fn name(&self) -> &str {
        self.text(&["eventName"]).unwrap_or_default()
    }

    /// `eventSource`, such as `kms.amazonaws.com`.
    pub fn source(&self) -> &str {
        self.text(&["eventSource"]).unwrap_or_default()
    }
}
