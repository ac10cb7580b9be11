//! Findings in OCSF 1.8: Compliance Finding (2003) for states, Detection Finding (2004) for events.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::model::{Finding, FindingKind, FindingState, Level};

/// The version of the schema.
const OCSF_VERSION: &str = "1.8.0";
/// Findings are category 2.
const CATEGORY_FINDINGS: i64 = 2;
const COMPLIANCE_FINDING: i64 = 2003;
const DETECTION_FINDING: i64 = 2004;
const ACTIVITY_CREATE: i64 = 1;
const ACTIVITY_UPDATE: i64 = 2;
const ACTIVITY_CLOSE: i64 = 3;

/// One finding as an OCSF event made at `at`. Times are milliseconds since 1970, as OCSF has them.
pub fn finding(finding: &Finding, at: DateTime<Utc>) -> Value {
    let class = match finding.kind {
        FindingKind::Posture => COMPLIANCE_FINDING,
        FindingKind::Detection => DETECTION_FINDING,
    };
    let activity = activity(finding);
    let mut event = json!({
        "activity_id": activity,
        "category_uid": CATEGORY_FINDINGS,
        "category_name": "Findings",
        "class_uid": class,
        "class_name": if class == COMPLIANCE_FINDING { "Compliance Finding" } else { "Detection Finding" },
        "type_uid": class * 100 + activity,
        "time": at.timestamp_millis(),
        "severity_id": severity(finding.level),
        "severity": severity_name(finding.level),
        "status_id": status(finding.state),
        "status": finding.state.as_str(),
        "message": finding.message,
        "metadata": {
            "version": OCSF_VERSION,
            "product": { "name": "Keyward", "vendor_name": "Keyward", "version": env!("CARGO_PKG_VERSION") },
            "event_code": finding.rule,
        },
        "finding_info": {
            "uid": finding.id,
            "title": finding.title,
            "desc": finding.message,
            "types": [finding.rule],
            "created_time": finding.first_seen.timestamp_millis(),
            "first_seen_time": finding.first_seen.timestamp_millis(),
            "last_seen_time": finding.last_seen.timestamp_millis(),
        },
        "cloud": cloud(finding),
        "resources": [resource(finding)],
        "remediation": { "desc": finding.remediation },
        "evidences": [{ "data": finding.evidence }],
        "count": finding.event_count,
    });
    if let Some(event) = event.as_object_mut() {
        if class == COMPLIANCE_FINDING {
            event.insert("compliance".to_owned(), compliance(finding));
        } else {
            event.insert("is_alert".to_owned(), Value::Bool(true));
        }
    }
    event
}

fn activity(finding: &Finding) -> i64 {
    match finding.state {
        FindingState::Resolved => ACTIVITY_CLOSE,
        _ if finding.first_seen == finding.last_seen => ACTIVITY_CREATE,
        _ => ACTIVITY_UPDATE,
    }
}

fn compliance(finding: &Finding) -> Value {
    let (status, id) = match finding.state {
        FindingState::Resolved => ("Pass", 1),
        FindingState::Excepted => ("Warning", 2),
        FindingState::Open => ("Fail", 3),
    };
    let requirements: Vec<String> = finding
        .controls
        .iter()
        .flat_map(|(framework, ids)| ids.iter().map(move |id| format!("{framework} {id}")))
        .collect();
    json!({ "control": finding.rule, "status": status, "status_id": id, "requirements": requirements })
}

fn cloud(finding: &Finding) -> Value {
    let mut cloud = json!({ "provider": "AWS", "account": { "uid": finding.subject.account, "type_id": 10, "type": "AWS Account" } });
    if let (Some(cloud), Some(region)) = (cloud.as_object_mut(), &finding.subject.region) {
        cloud.insert("region".to_owned(), json!(region));
    }
    cloud
}

fn resource(finding: &Finding) -> Value {
    let subject = &finding.subject;
    let uid = subject.key.as_ref().map_or_else(|| subject.id.clone(), ToString::to_string);
    let mut resource = json!({ "uid": uid, "type": subject.kind.as_str() });
    if let (Some(resource), Some(region)) = (resource.as_object_mut(), &subject.region) {
        resource.insert("region".to_owned(), json!(region));
    }
    resource
}

/// OCSF: 1 informational to 5 critical.
fn severity(level: Level) -> i64 {
    match level {
        Level::Informational => 1,
        Level::Low => 2,
        Level::Medium => 3,
        Level::High => 4,
        Level::Critical => 5,
    }
}

fn severity_name(level: Level) -> &'static str {
    match level {
        Level::Informational => "Informational",
        Level::Low => "Low",
        Level::Medium => "Medium",
        Level::High => "High",
        Level::Critical => "Critical",
    }
}

/// OCSF: 1 new, 3 suppressed, 4 resolved.
fn status(state: FindingState) -> i64 {
    match state {
        FindingState::Open => 1,
        FindingState::Excepted => 3,
        FindingState::Resolved => 4,
    }
}
