//! Which events a trail logs.

use serde_json::{Value, json};

use super::trails::Desk;
use crate::sandbox::call::{Answer, ApiError};

/// A trail's event selectors.
#[derive(Debug, Clone, Default)]
pub(super) enum Selectors {
    /// All management events, as every new trail.
    #[default]
    Default,
    /// `EventSelectors`.
    Basic(Vec<Value>),
    /// `AdvancedEventSelectors`.
    Advanced(Vec<Value>),
}

impl Selectors {
    pub(super) fn are_custom(&self) -> bool {
        !matches!(self, Self::Default)
    }
}

pub(super) fn get_event_selectors(desk: &Desk<'_>) -> Answer {
    let (_, trail) = desk.seen("TrailName")?;
    Ok(shown(&trail.arn, &trail.selectors))
}

fn shown(arn: &str, selectors: &Selectors) -> Value {
    match selectors {
        Selectors::Default => json!({ "TrailARN": arn, "EventSelectors": [{
            "ReadWriteType": "All",
            "IncludeManagementEvents": true,
            "DataResources": [],
            "ExcludeManagementEventSources": [],
        }] }),
        Selectors::Basic(list) => json!({ "TrailARN": arn, "EventSelectors": list }),
        Selectors::Advanced(list) => json!({ "TrailARN": arn, "AdvancedEventSelectors": list }),
    }
}

pub(super) fn put_event_selectors(desk: &mut Desk<'_>) -> Answer {
    let key = desk.own("TrailName")?;
    let list = |member: &str| desk.call.input.get(member).and_then(Value::as_array).cloned();
    let selectors = match (list("EventSelectors"), list("AdvancedEventSelectors")) {
        (Some(basic), None) if (1..=5).contains(&basic.len()) => {
            Selectors::Basic(basic.iter().map(basic_selector).collect::<Result<_, _>>()?)
        }
        (None, Some(advanced)) if !advanced.is_empty() => {
            advanced.iter().try_for_each(check_advanced)?;
            Selectors::Advanced(advanced)
        }
        _ => return Err(invalid("Specify either one to five event selectors, or advanced event selectors")),
    };
    let Some(trail) = desk.state.trails.get_mut(&key) else { return Err(desk.unknown(&key.2)) };
    let answer = shown(&trail.arn, &selectors);
    trail.selectors = selectors;
    Ok(answer)
}

/// A selector with the defaults that AWS fills in.
fn basic_selector(given: &Value) -> Result<Value, ApiError> {
    let kind = given.get("ReadWriteType").and_then(Value::as_str).unwrap_or("All");
    if !matches!(kind, "All" | "ReadOnly" | "WriteOnly") {
        return Err(invalid(&format!("`{kind}` is not a read-write type")));
    }
    let sources =
        given.get("ExcludeManagementEventSources").and_then(Value::as_array).cloned().unwrap_or_default();
    let excludable =
        |source: &Value| matches!(source.as_str(), Some("kms.amazonaws.com" | "rdsdata.amazonaws.com"));
    if !sources.iter().all(excludable) {
        return Err(invalid("Only kms.amazonaws.com and rdsdata.amazonaws.com can be excluded"));
    }
    Ok(json!({
        "ReadWriteType": kind,
        "IncludeManagementEvents": given.get("IncludeManagementEvents").and_then(Value::as_bool).unwrap_or(true),
        "DataResources": given.get("DataResources").cloned().unwrap_or_else(|| json!([])),
        "ExcludeManagementEventSources": sources,
    }))
}

/// An advanced selector says of which category its events are, and uses fields and operators that there are.
fn check_advanced(selector: &Value) -> Result<(), ApiError> {
    const FIELDS: &[&str] = &[
        "readOnly",
        "eventSource",
        "eventName",
        "eventCategory",
        "eventType",
        "resources.type",
        "resources.ARN",
        "sessionCredentialFromConsole",
        "userIdentity.arn",
        "errorCode",
        "vpcEndpointId",
    ];
    const OPERATORS: &[&str] =
        &["Equals", "StartsWith", "EndsWith", "NotEquals", "NotStartsWith", "NotEndsWith"];
    let fields = selector.get("FieldSelectors").and_then(Value::as_array).cloned().unwrap_or_default();
    let name = |field: &Value| field.get("Field").and_then(Value::as_str).unwrap_or_default().to_owned();
    if let Some(unknown) = fields.iter().map(name).find(|name| !FIELDS.contains(&name.as_str())) {
        return Err(invalid(&format!("`{unknown}` is not a field of event selectors")));
    }
    let has_operator = |field: &Value| OPERATORS.iter().any(|operator| field.get(operator).is_some());
    if !fields.iter().all(has_operator) {
        return Err(invalid("A field selector needs an operator"));
    }
    if fields.iter().any(|field| name(field) == "eventCategory" && field.get("Equals").is_some()) {
        return Ok(());
    }
    Err(invalid("An advanced event selector needs a field selector for eventCategory with Equals"))
}

fn invalid(message: &str) -> ApiError {
    ApiError::client("InvalidEventSelectorsException", message)
}
