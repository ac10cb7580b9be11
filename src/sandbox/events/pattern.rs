//! Event patterns: for each field that they name, the values that it may have.

use serde_json::Value;

use crate::sandbox::call::ApiError;

/// Deeper patterns than any rule's are refused.
const DEEPEST: usize = 12;

/// Whether a pattern is one that the sandbox knows: fields with lists of exact values.
pub(super) fn check(pattern: &Value) -> Result<(), ApiError> {
    if pattern.as_object().is_some_and(|fields| !fields.is_empty()) && known(pattern, 0) {
        return Ok(());
    }
    Err(ApiError::client(
        "InvalidEventPatternException",
        "Event pattern is not valid. Reason: the sandbox knows lists of exact values only",
    ))
}

fn known(pattern: &Value, depth: usize) -> bool {
    match pattern {
        Value::Object(fields) if depth < DEEPEST => fields.values().all(|field| known(field, depth + 1)),
        Value::Array(values) => {
            !values.is_empty() && values.iter().all(|value| !value.is_object() && !value.is_array())
        }
        _ => false,
    }
}

/// Whether an event fits a pattern.
pub(super) fn matches(pattern: &Value, event: &Value) -> bool {
    match pattern {
        Value::Object(fields) => fields.iter().all(|(name, field)| {
            // A pattern can ask for null; a field that is missing is nothing.
            event.get(name).is_some_and(|value| matches(field, value))
        }),
        Value::Array(wanted) => match event {
            Value::Array(values) => values.iter().any(|value| wanted.contains(value)),
            value => wanted.contains(value),
        },
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_field_has_one_of_its_values() {
        let event = json!({ "source": "aws.kms", "detail": { "eventName": "Decrypt", "errorCode": null, "of": [1, 2] } });
        for (pattern, expected) in [
            (json!({ "source": ["aws.kms", "aws.s3"] }), true),
            (json!({ "source": ["aws.s3"] }), false),
            (json!({ "source": ["aws.kms"], "detail": { "eventName": ["Encrypt"] } }), false),
            (json!({ "detail": { "errorCode": [null], "of": [2] } }), true),
            (json!({ "detail": { "missing": [null] } }), false),
        ] {
            assert!(check(&pattern).is_ok());
            assert_eq!(matches(&pattern, &event), expected, "{pattern}");
        }
    }

    #[test]
    fn what_the_sandbox_does_not_know_is_refused() {
        for pattern in [
            json!(null),
            json!({}),
            json!({ "source": "aws.kms" }),
            json!({ "source": [] }),
            json!({ "source": [{ "prefix": "aws." }] }),
        ] {
            assert_eq!(check(&pattern).unwrap_err().code, "InvalidEventPatternException", "{pattern}");
        }
    }
}
