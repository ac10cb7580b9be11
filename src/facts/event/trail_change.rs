//! What a call does to a CloudTrail trail: whether it still records KMS.

use serde_json::Value;

use crate::facts::key::either;
use crate::facts::sheet::{Known, Sheet};
use crate::model::{AccountId, EventRecord};

const CLOUDTRAIL: &str = "cloudtrail.amazonaws.com";

/// A trail that a call has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedTrail<'a> {
    /// The account in whose log the call is.
    pub account: AccountId,
    /// The trail by name or ARN, if the record tells.
    pub trail: Option<&'a str>,
    /// Whether the call asks for a trail of the whole organization.
    pub organization: bool,
}

/// The trail that a call has changed, or whose recording it has; none if it failed or concerns no trail.
pub fn changed_trail(record: &EventRecord) -> Option<ChangedTrail<'_>> {
    if !is_about_a_trail(record) || record.text(&["errorCode"]).is_some() {
        return None;
    }
    let request = record.record().get("requestParameters");
    let organization =
        request.and_then(|request| request.get("isOrganizationTrail")).and_then(Value::as_bool);
    let account = super::recorded_in(record)?;
    Some(ChangedTrail { account, trail: trail(record), organization: organization.unwrap_or(false) })
}

/// Whether an event of a source and name may tell of a change of a trail.
pub fn may_change_a_trail(source: &str, name: &str) -> bool {
    let names =
        ["CreateTrail", "DeleteTrail", "PutEventSelectors", "StartLogging", "StopLogging", "UpdateTrail"];
    source == CLOUDTRAIL && names.contains(&name)
}

fn is_about_a_trail(record: &EventRecord) -> bool {
    may_change_a_trail(record.source(), record.name())
}

fn trail(record: &EventRecord) -> Option<&str> {
    let named = ["trailName", "name"].iter().find_map(|name| record.text(&["requestParameters", name]));
    named.or_else(|| record.text(&["responseElements", "trailARN"]))
}

/// Writes which trail a call concerns, and what its new event selectors leave of KMS.
pub(super) fn put(sheet: &mut Sheet, record: &EventRecord) {
    if !is_about_a_trail(record) {
        return;
    }
    sheet.put_some("trail_change.trail", trail(record));
    if record.name() == "PutEventSelectors" {
        let Recorded { changes, uses } = recorded(record);
        sheet.put_known("trail_change.kms_excluded", changes.clone().map(|changes| !changes));
        sheet.put_known("trail_change.kms_writes_only", changes.and_then(|changes| Ok(changes && !uses?)));
    }
}

/// What a trail's selectors record of KMS: all calls are management events, and uses of keys are reads.
struct Recorded {
    changes: Known<bool>,
    uses: Known<bool>,
}

fn recorded(record: &EventRecord) -> Recorded {
    let list = |name| {
        let selectors = record.record().get("requestParameters").and_then(|request| request.get(name));
        selectors.and_then(Value::as_array).filter(|selectors| !selectors.is_empty())
    };
    let each: Vec<Recorded> = match (list("advancedEventSelectors"), list("eventSelectors")) {
        (Some(advanced), _) => advanced.iter().map(by_advanced).collect(),
        (None, Some(basic)) => basic.iter().map(by_basic).collect(),
        (None, None) => {
            let reason = "the record leaves the event selectors out";
            return Recorded { changes: Err(reason.to_owned()), uses: Err(reason.to_owned()) };
        }
    };
    // One selector that lets an event through is enough.
    let none = Recorded { changes: Ok(false), uses: Ok(false) };
    each.into_iter().fold(none, |all, one| Recorded {
        changes: either(all.changes, one.changes),
        uses: either(all.uses, one.uses),
    })
}

fn by_basic(selector: &Value) -> Recorded {
    let includes = selector.get("includeManagementEvents").and_then(Value::as_bool).unwrap_or(true);
    let excluded = texts(selector, "excludeManagementEventSources").any(|source| source == super::KMS);
    let kind = selector.get("readWriteType").and_then(Value::as_str).unwrap_or("All");
    let recorded = includes && !excluded;
    Recorded { changes: Ok(recorded && kind != "ReadOnly"), uses: Ok(recorded && kind != "WriteOnly") }
}

fn by_advanced(selector: &Value) -> Recorded {
    let fields = || selector.get("fieldSelectors").and_then(Value::as_array).into_iter().flatten();
    let name = |field: &Value| field.get("field").and_then(Value::as_str).unwrap_or_default().to_owned();
    let admits = |field_name: &str, value: &str| {
        fields().filter(|field| name(field) == field_name).all(|field| admits(field, value))
    };
    let is_management =
        fields().any(|field| name(field) == "eventCategory") && admits("eventCategory", "Management");
    let covers_kms = is_management && admits("eventSource", super::KMS);
    let other = fields()
        .map(name)
        .find(|name| !matches!(name.as_str(), "eventCategory" | "eventSource" | "readOnly"));
    let answer = |read_only: &str| match &other {
        _ if !covers_kms || !admits("readOnly", read_only) => Ok(false),
        Some(field) => Err(format!("what an event selector on `{field}` leaves of KMS cannot be told")),
        None => Ok(true),
    };
    Recorded { changes: answer("false"), uses: answer("true") }
}

/// Whether a field selector lets a value through; every operator that it has must.
fn admits(field: &Value, value: &str) -> bool {
    let any = |name: &str, test: &dyn Fn(&str) -> bool| {
        let mut given = texts(field, name).peekable();
        given.peek().is_none() || given.any(test)
    };
    let none = |name: &str, test: &dyn Fn(&str) -> bool| !texts(field, name).any(test);
    any("equals", &|given| given == value)
        && any("startsWith", &|given| value.starts_with(given))
        && any("endsWith", &|given| value.ends_with(given))
        && none("notEquals", &|given| given == value)
        && none("notStartsWith", &|given| value.starts_with(given))
        && none("notEndsWith", &|given| value.ends_with(given))
}

fn texts<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a str> {
    value.get(name).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::facts::Estate;
    use crate::facts::fixtures::{World, show};
    use crate::model::Facts;

    fn judge(name: &str, request: &Value) -> Facts {
        let record = json!({"eventID": "e", "eventSource": CLOUDTRAIL, "eventName": name,
            "eventTime": "2026-03-01T11:00:00Z", "requestParameters": request});
        let world = World::new();
        crate::facts::event(&EventRecord::new(record).unwrap(), &Estate::default(), &world.context())
    }

    fn selectors(request: &Value) -> [String; 2] {
        let facts = judge("PutEventSelectors", request);
        ["trail_change.kms_excluded", "trail_change.kms_writes_only"].map(|path| show(&facts, path))
    }

    #[test]
    fn selectors_that_leave_out_kms_are_told() {
        let basic = |selector: Value| selectors(&json!({"trailName": "t", "eventSelectors": [selector]}));
        assert_eq!(
            basic(json!({"readWriteType": "All", "includeManagementEvents": true})),
            ["false", "false"]
        );
        assert_eq!(
            basic(json!({"readWriteType": "WriteOnly", "includeManagementEvents": true})),
            ["false", "true"]
        );
        assert_eq!(
            basic(json!({"readWriteType": "ReadOnly", "includeManagementEvents": true})),
            ["true", "false"]
        );
        assert_eq!(basic(json!({"includeManagementEvents": false})), ["true", "false"]);
        let excluding =
            json!({"includeManagementEvents": true, "excludeManagementEventSources": ["kms.amazonaws.com"]});
        assert_eq!(basic(excluding.clone()), ["true", "false"]);
        let both = json!({"eventSelectors": [excluding, {"includeManagementEvents": true}]});
        assert_eq!(selectors(&both), ["false", "false"]);
        assert!(selectors(&json!({"trailName": "t"}))[0].starts_with('?'));
    }

    #[test]
    fn advanced_selectors_that_leave_out_kms_are_told() {
        let advanced =
            |fields: Value| selectors(&json!({"advancedEventSelectors": [{"fieldSelectors": fields}]}));
        let management = json!({"field": "eventCategory", "equals": ["Management"]});
        assert_eq!(advanced(json!([management])), ["false", "false"]);
        assert_eq!(advanced(json!([{"field": "eventCategory", "equals": ["Data"]}])), ["true", "false"]);
        let no_kms =
            json!({"field": "eventSource", "notEquals": ["kms.amazonaws.com", "rdsdata.amazonaws.com"]});
        assert_eq!(advanced(json!([management, no_kms])), ["true", "false"]);
        let rds = json!({"field": "eventSource", "notEquals": ["rdsdata.amazonaws.com"]});
        assert_eq!(advanced(json!([management, rds])), ["false", "false"]);
        assert_eq!(
            advanced(json!([management, {"field": "readOnly", "equals": ["false"]}])),
            ["false", "true"]
        );
        let by_name = advanced(json!([management, {"field": "eventName", "notEquals": ["Decrypt"]}]));
        assert!(by_name[0].starts_with('?'), "{by_name:?}");
    }

    #[test]
    fn the_trail_of_a_call_is_named() {
        let facts = judge("StopLogging", &json!({"name": "main"}));
        assert_eq!(show(&facts, "trail_change.trail"), "main");
        assert_eq!(show(&facts, "trail_change.kms_excluded"), "-");
        assert_eq!(show(&judge("LookupEvents", &json!({"name": "main"})), "trail_change"), "-");
    }
}
