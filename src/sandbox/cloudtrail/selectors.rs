//! Which events a trail logs.

use serde_json::{Value, json};

use super::Written;
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

    /// Whether the trail logs an event.
    pub(super) fn admit(&self, written: &Written) -> bool {
        match self {
            Self::Default => true,
            Self::Basic(list) => list.iter().any(|selector| admits(selector, written)),
            Self::Advanced(list) => {
                let record: Value = serde_json::from_str(&written.record).unwrap_or_default();
                list.iter().any(|selector| selects(selector, &record))
            }
        }
    }
}

/// Whether a basic selector takes an event.
fn admits(selector: &Value, written: &Written) -> bool {
    let member = |name: &str| selector.get(name);
    let kind = member("ReadWriteType").and_then(Value::as_str);
    let excluded = member("ExcludeManagementEventSources").and_then(Value::as_array).into_iter().flatten();
    let wanted = match kind {
        Some("ReadOnly") => written.read_only,
        Some("WriteOnly") => !written.read_only,
        _ => true,
    };
    wanted
        && member("IncludeManagementEvents").and_then(Value::as_bool).unwrap_or(true)
        && excluded.into_iter().all(|source| source.as_str() != Some(&*written.source))
}

/// Whether an advanced selector takes a record: all of its fields do.
fn selects(selector: &Value, record: &Value) -> bool {
    let fields = selector.get("FieldSelectors").and_then(Value::as_array).into_iter().flatten();
    fields.into_iter().all(|field| {
        let name = field.get("Field").and_then(Value::as_str).unwrap_or_default();
        let value = name.split('.').try_fold(record, |value, part| value.get(part));
        let text = match value {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Bool(flag)) => flag.to_string(),
            _ => String::new(),
        };
        let any = |operator: &str, holds: fn(&str, &str) -> bool| {
            let values = field.get(operator).and_then(Value::as_array);
            values.map(|values| values.iter().filter_map(Value::as_str).any(|value| holds(&text, value)))
        };
        let equals = |text: &str, value: &str| text == value;
        let starts = |text: &str, value: &str| text.starts_with(value);
        let ends = |text: &str, value: &str| text.ends_with(value);
        [
            ("Equals", "NotEquals", equals as fn(&str, &str) -> bool),
            ("StartsWith", "NotStartsWith", starts),
            ("EndsWith", "NotEndsWith", ends),
        ]
        .into_iter()
        .all(|(positive, negative, holds)| {
            any(positive, holds) != Some(false) && any(negative, holds) != Some(true)
        })
    })
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
