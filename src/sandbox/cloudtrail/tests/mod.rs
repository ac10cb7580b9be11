//! What the sandbox's CloudTrail does, as AWS documents it.

mod logs;
mod lookups;
mod records;
mod trails;

use serde_json::{Value, json};

use crate::sandbox::kms::tests::Lab;

pub(super) fn lookup(lab: &mut Lab, input: Value) -> Result<Value, String> {
    lab.ask("cloudtrail:LookupEvents", input).map_err(|error| error.code)
}

pub(super) fn by(key: &str, value: &str) -> Value {
    json!({ "LookupAttributes": [{ "AttributeKey": key, "AttributeValue": value }] })
}

pub(super) fn names(answer: &Value) -> Vec<&str> {
    answer["Events"].as_array().unwrap().iter().map(|event| event["EventName"].as_str().unwrap()).collect()
}

pub(super) fn trail(lab: &mut Lab, operation: &str, input: Value) -> Result<Value, String> {
    lab.ask(&format!("cloudtrail:{operation}"), input).map_err(|error| error.code)
}
