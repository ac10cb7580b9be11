//! Amazon EventBridge: rules on the default bus that send what CloudTrail records to queues.
//!
//! As on AWS, an account's Region has such events only while a trail logs there, and a rule gets read-only ones
//! only in the state that asks for them. Patterns are lists of exact values.

mod pattern;

use std::collections::BTreeMap;

use chrono::SecondsFormat;
use serde_json::{Value, json};

use super::call::{Answer, ApiError, Call};
use super::cloudtrail::Written;
use super::geography::partition_of;
use super::world::unknown_operation;
use super::{World, paging, sqs};
use crate::model::{AccountId, Region};

/// What a rule's state may be; the last one is for read-only events too.
const STATES: [&str; 3] = ["ENABLED", "DISABLED", "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS"];
/// The largest event, in bytes; AWS does not send larger ones.
const LARGEST: usize = 262_144;
/// AWS's page of rules and targets.
const PAGE: usize = 100;

/// A rule.
#[derive(Debug, Clone)]
struct Rule {
    pattern: Value,
    state: String,
    /// Queues' ARNs by the target's id.
    targets: BTreeMap<String, String>,
}

/// Every account's rules.
#[derive(Debug, Default)]
pub struct State {
    rules: BTreeMap<(AccountId, Region, String), Rule>,
}

/// Answers a call to EventBridge.
///
/// # Errors
///
/// As AWS: `ResourceNotFoundException`, `InvalidEventPatternException`, `ValidationException`.
pub fn handle(world: &mut World, call: &Call) -> Answer {
    if call.text("EventBusName").is_some_and(|bus| bus != "default") {
        return Err(missing("EventBus"));
    }
    match call.operation.as_str() {
        "PutRule" => put_rule(world, call),
        "DeleteRule" => {
            world.events.rules.remove(&key(call, "Name"));
            Ok(json!({}))
        }
        "ListRules" => list_rules(world, call),
        "PutTargets" => put_targets(world, call),
        "RemoveTargets" => {
            let ids = call.input.get("Ids").and_then(Value::as_array).cloned().unwrap_or_default();
            let rule = rule(world, call)?;
            rule.targets.retain(|id, _| !ids.iter().any(|removed| removed == id.as_str()));
            Ok(json!({ "FailedEntryCount": 0, "FailedEntries": [] }))
        }
        "ListTargetsByRule" => {
            let targets = rule(world, call)?.targets.iter();
            let rows: Vec<Value> = targets.map(|(id, arn)| json!({ "Id": id, "Arn": arn })).collect();
            paged(call, "Targets", rows)
        }
        _ => Err(unknown_operation(call)),
    }
}

fn key(call: &Call, member: &str) -> (AccountId, Region, String) {
    (call.account.clone(), call.region.clone(), call.text(member).unwrap_or_default().to_owned())
}

fn rule<'a>(world: &'a mut World, call: &Call) -> Result<&'a mut Rule, ApiError> {
    world.events.rules.get_mut(&key(call, "Rule")).ok_or_else(|| missing("Rule"))
}

fn missing(what: &str) -> ApiError {
    ApiError::client("ResourceNotFoundException", format!("{what} does not exist."))
}

fn arn(account: &AccountId, region: &Region, name: &str) -> String {
    format!("arn:{}:events:{region}:{account}:rule/{name}", partition_of(region))
}

fn put_rule(world: &mut World, call: &Call) -> Answer {
    let state = call.text("State").unwrap_or("ENABLED");
    if !STATES.contains(&state) || call.text("Name").is_none_or(str::is_empty) {
        return Err(ApiError::client("ValidationException", "a rule needs a name and a state that there is"));
    }
    let pattern = serde_json::from_str(call.text("EventPattern").unwrap_or_default()).unwrap_or_default();
    pattern::check(&pattern)?;
    let key = key(call, "Name");
    let arn = arn(&key.0, &key.1, &key.2);
    let targets = world.events.rules.remove(&key).map(|rule| rule.targets).unwrap_or_default();
    world.events.rules.insert(key, Rule { pattern, state: state.to_owned(), targets });
    Ok(json!({ "RuleArn": arn }))
}

fn list_rules(world: &World, call: &Call) -> Answer {
    let own = world
        .events
        .rules
        .iter()
        .filter(|((account, region, _), _)| *account == call.account && *region == call.region);
    let rows = own.map(|((account, region, name), rule)| {
        json!({
            "Name": name, "Arn": arn(account, region, name), "State": rule.state,
            "EventPattern": rule.pattern.to_string(), "EventBusName": "default",
        })
    });
    paged(call, "Rules", rows.collect())
}

fn paged(call: &Call, member: &str, rows: Vec<Value>) -> Answer {
    let list = format!("{} {} {}", call.account, call.region, call.operation);
    let page = paging::page(&list, rows, call.text("NextToken"), PAGE);
    let page = page.map_err(|_| ApiError::client("ValidationException", "the NextToken is not valid"))?;
    Ok(json!({ member: page.items, "NextToken": page.next }))
}

/// Takes the targets that are queues; the others fail one by one.
fn put_targets(world: &mut World, call: &Call) -> Answer {
    let given = call.input.get("Targets").and_then(Value::as_array).cloned().unwrap_or_default();
    let text =
        |target: &Value, name: &str| target.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (queues, others): (Vec<Value>, Vec<Value>) =
        given.into_iter().partition(|target| world.sqs.exists(&text(target, "Arn")));
    let rule = rule(world, call)?;
    rule.targets.extend(queues.iter().map(|target| (text(target, "Id"), text(target, "Arn"))));
    let failed: Vec<Value> = others
        .iter()
        .map(|target| {
            json!({
                "TargetId": text(target, "Id"), "ErrorCode": "ResourceNotFoundException",
                "ErrorMessage": "the sandbox sends to queues that it has only",
            })
        })
        .collect();
    Ok(json!({ "FailedEntryCount": failed.len(), "FailedEntries": failed }))
}

/// Sends an event to every rule's targets that it fits.
pub(super) fn send(world: &mut World, written: &Written) {
    if world.events.rules.is_empty() || written.record.len() > LARGEST {
        return;
    }
    let Some(event) = envelope(world, written) else { return };
    let all = STATES.last().copied().unwrap_or_default();
    let here = world.events.rules.iter().filter(|((account, region, _), rule)| {
        *account == written.account
            && *region == written.region
            && (rule.state == all || (rule.state == "ENABLED" && !written.read_only))
            && pattern::matches(&rule.pattern, &event)
    });
    let targets: Vec<String> = here.flat_map(|(_, rule)| rule.targets.values().cloned()).collect();
    for target in targets {
        sqs::deliver(world, &target, event.to_string());
    }
}

fn envelope(world: &mut World, written: &Written) -> Option<Value> {
    let detail: Value = serde_json::from_str(&written.record).ok()?;
    let source = detail.get("eventSource")?.as_str()?.split('.').next()?.to_owned();
    let kind = match detail.get("eventType")?.as_str()? {
        "AwsServiceEvent" => "AWS Service Event via CloudTrail",
        _ => "AWS API Call via CloudTrail",
    };
    Some(json!({
        "version": "0", "id": world.ids.uuid(), "detail-type": kind, "source": format!("aws.{source}"),
        "account": written.account.as_str(), "region": written.region.as_str(), "resources": [],
        "time": written.time.to_rfc3339_opts(SecondsFormat::Secs, true), "detail": detail,
    }))
}

#[cfg(test)]
mod tests;
