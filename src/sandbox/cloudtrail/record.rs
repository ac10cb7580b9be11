//! The records of a call: what they say, and in whose history they are.

use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, SubsecRound, TimeDelta, Utc};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::caller::Caller;
use super::history::Entry;
use super::parameters::{camel, is_read_only, request, response};
use super::{State, Written};
use crate::model::{AccountId, Region};
use crate::sandbox::call::{Answer, Call, is_denial};
use crate::sandbox::kms::{Companion, ServiceEvent, Trace};

/// What a record says beyond who and where.
struct Content<'a> {
    source: String,
    name: &'a str,
    read_only: bool,
    kind: &'static str,
    request: Value,
    response: Value,
    /// `additionalEventData`, `serviceEventDetails`, `errorCode`, …: what only some records have.
    extras: Map<String, Value>,
    /// The ARNs of the resources; none if the record has no such member.
    resources: Option<Vec<String>>,
    request_id: &'a str,
}

/// Where a record goes.
struct Address<'a> {
    account: &'a AccountId,
    region: &'a Region,
    time: DateTime<Utc>,
    event_id: String,
}

impl State {
    /// Leaves the records of a call, made at one time by a session that began at another.
    pub(super) fn record_call(
        &mut self,
        call: &Call,
        answer: &Answer,
        trace: &Trace,
        (now, began): (DateTime<Utc>, DateTime<Utc>),
    ) {
        if is_data_event(call) || self.most_records == 0 {
            return;
        }
        let caller = Caller::of(call, began);
        let mut content = content(call, answer, trace);
        let region = home_of_record(call);
        let owner = trace.owner.clone().or_else(|| role_owner(call));
        let refused = answer.as_ref().is_err_and(|error| is_denial(&error.code));
        let abroad = owner.filter(|owner| *owner != call.account && !refused);
        if abroad.is_some() {
            content.extras.insert("sharedEventID".to_owned(), json!(self.ids.uuid()));
        }
        let own_id = abroad.is_none().then(|| trace.event_id.clone()).flatten();
        let event_id = own_id.unwrap_or_else(|| self.ids.uuid());
        self.write(
            Address { account: &call.account, region: &region, time: now, event_id },
            &caller,
            &caller.identity,
            &content,
        );
        if let Some(owner) = &abroad {
            let event_id = trace.event_id.clone().unwrap_or_else(|| self.ids.uuid());
            let address = Address { account: owner, region: &region, time: now, event_id };
            self.write(address, &caller, &caller.abroad, &content);
        }
        if answer.is_ok() {
            for companion in &trace.companions {
                self.record_companion(call, companion, &caller, now);
            }
        }
    }

    fn record_companion(&mut self, call: &Call, companion: &Companion, caller: &Caller, now: DateTime<Utc>) {
        let caller = caller.through_kms();
        let content = Content {
            source: "kms.amazonaws.com".to_owned(),
            name: companion.name,
            read_only: false,
            kind: "AwsApiCall",
            request: camel(&companion.request),
            response: camel(&companion.response),
            extras: Map::new(),
            resources: Some(companion.resources.clone()),
            request_id: &call.request_id,
        };
        let event_id = self.ids.uuid();
        let address = Address { account: &call.account, region: &companion.region, time: now, event_id };
        self.write(address, &caller, &caller.identity, &content);
    }

    /// Leaves the records of what KMS did of itself.
    pub(super) fn take_service_events(&mut self, events: Vec<ServiceEvent>) {
        for event in events {
            let caller = Caller::aws(event.account.as_str());
            let request_id = self.ids.uuid();
            let mut extras = Map::new();
            if let Some(details) = event.details {
                extras.insert("serviceEventDetails".to_owned(), details);
            }
            let names_key = event.name != "DeleteExpiredKeyMaterial";
            // AWS writes this one as an API call, though nobody makes it.
            let kind =
                if event.name == "SynchronizeMultiRegionKey" { "AwsApiCall" } else { "AwsServiceEvent" };
            let content = Content {
                source: "kms.amazonaws.com".to_owned(),
                name: event.name,
                read_only: false,
                kind,
                request: Value::Null,
                response: if names_key { json!({ "keyId": event.key_arn }) } else { Value::Null },
                extras,
                resources: Some(vec![event.key_arn.clone()]),
                request_id: &request_id,
            };
            let event_id = self.ids.uuid();
            let address =
                Address { account: &event.account, region: &event.region, time: event.at, event_id };
            self.write(address, &caller, &caller.identity, &content);
        }
    }

    fn write(&mut self, address: Address<'_>, caller: &Caller, identity: &Value, content: &Content<'_>) {
        let time = address.time.trunc_subsecs(0);
        let record = compose(&address, time, caller, identity, content);
        let at_home = *identity == caller.identity;
        let entry = Entry {
            time,
            visible: address.time,
            id: address.event_id.into(),
            name: content.name.into(),
            source: content.source.as_str().into(),
            read_only: content.read_only,
            username: caller.username.clone().filter(|_| at_home),
            access_key: caller.access_key.clone().filter(|_| at_home),
            resources: looked_up_by(content),
            record: Arc::from(record.to_string()),
        };
        self.deliver(address.account, address.region, &entry);
    }

    /// Puts an entry into its history: when it is due, and perhaps twice.
    fn deliver(&mut self, account: &AccountId, region: &Region, entry: &Entry) {
        let delivery = self.delivery;
        let chance = |salt: &str| -> f64 {
            let hash = Sha256::digest(format!("{salt}{}", entry.id));
            let first = hash.first().copied().map_or(0, u32::from);
            let second = hash.get(1).copied().map_or(0, u32::from);
            f64::from(first * 256 + second) / 65_536.0
        };
        let visible = |salt: &str| {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_precision_loss,
                reason = "milliseconds are far below 2^53"
            )]
            let late = (delivery.jitter.num_milliseconds() as f64 * chance(salt)) as i64;
            entry.visible + delivery.delay + TimeDelta::milliseconds(late)
        };
        let first = Entry { visible: visible("first"), ..entry.clone() };
        let second = (chance("twice") < delivery.duplicates)
            .then(|| Entry { visible: visible("second"), ..entry.clone() });
        let most = self.most_records;
        if self.ships() {
            self.written.push(Written {
                account: account.clone(),
                region: region.clone(),
                time: entry.time,
                read_only: entry.read_only,
                record: Arc::clone(&entry.record),
                id: Arc::clone(&entry.id),
                source: Arc::clone(&entry.source),
            });
        }
        let history = self.histories.entry((account.clone(), region.clone())).or_default();
        history.add(first, most);
        if let Some(second) = second {
            history.add(second, most);
        }
    }
}

/// Publishing, messages and objects are data events, which no event history has.
fn is_data_event(call: &Call) -> bool {
    let data: &[&str] = match call.service.as_str() {
        "sns" => &["Publish"],
        "sqs" => &["SendMessage", "ReceiveMessage", "DeleteMessage", "ChangeMessageVisibility"],
        "s3" => &["PutObject", "GetObject", "HeadObject", "DeleteObject", "HeadBucket", "ListObjects"],
        _ => &[],
    };
    data.iter().any(|name| call.operation.starts_with(name))
}

fn content<'a>(call: &'a Call, answer: &Answer, trace: &Trace) -> Content<'a> {
    let read_only = is_read_only(&call.service, &call.operation);
    let key = trace.resources.iter().rev().find(|arn| arn.contains(":key/"));
    let mut extras = Map::new();
    let shown = match answer {
        Ok(output) => {
            if let Some(additional) = &trace.additional {
                extras.insert("additionalEventData".to_owned(), additional.clone());
            }
            response(call, output, read_only, key.map(String::as_str))
        }
        Err(error) => {
            let denied = is_denial(&error.code) && call.service != "sns";
            let code = if denied { "AccessDenied" } else { error.code.as_str() };
            extras.insert("errorCode".to_owned(), json!(code));
            if !error.message.is_empty() {
                extras.insert("errorMessage".to_owned(), json!(error.message));
            }
            Value::Null
        }
    };
    Content {
        source: format!("{}.amazonaws.com", call.service),
        name: &call.operation,
        read_only,
        kind: "AwsApiCall",
        request: request(call),
        response: shown,
        extras,
        resources: resources(call, answer, trace),
        request_id: &call.request_id,
    }
}

/// The ARNs of a record's `resources`.
fn resources(call: &Call, answer: &Answer, trace: &Trace) -> Option<Vec<String>> {
    if call.service == "sts" {
        return call.text("RoleArn").map(|role| vec![role.to_owned()]);
    }
    if call.service != "kms" {
        return None;
    }
    if call.operation == "GenerateRandom" {
        return Some(Vec::new());
    }
    if !trace.resources.is_empty() {
        return Some(trace.resources.clone());
    }
    // A call that IAM refused never came to KMS; the record names the key that was asked for.
    let key = call.text("KeyId").filter(|_| answer.as_ref().is_err_and(|error| is_denial(&error.code)))?;
    if key.contains("alias/") {
        return None;
    }
    let arn = if key.starts_with("arn:") {
        key.to_owned()
    } else {
        format!("arn:{}:kms:{}:{}:key/{key}", call.partition, call.region, call.account)
    };
    Some(vec![arn])
}

/// The Region of the record: the services without Regions leave theirs in one.
fn home_of_record(call: &Call) -> Region {
    if !matches!(call.service.as_str(), "organizations" | "account") {
        return call.region.clone();
    }
    let home = match call.partition.as_str() {
        "aws" => "us-east-1",
        "aws-cn" => "cn-northwest-1",
        "aws-us-gov" => "us-gov-west-1",
        _ => return call.region.clone(),
    };
    home.parse().unwrap_or_else(|_| call.region.clone())
}

/// The account of the role that a call assumes.
fn role_owner(call: &Call) -> Option<AccountId> {
    if call.service != "sts" {
        return None;
    }
    call.text("RoleArn").and_then(account_of)
}

fn account_of(arn: &str) -> Option<AccountId> {
    arn.split(':').nth(4).and_then(|account| account.parse().ok())
}

fn type_of(arn: &str) -> &'static str {
    if arn.contains(":iam:") { "AWS::IAM::Role" } else { "AWS::KMS::Key" }
}

/// What an event can be found by: AWS fills it in for what changes a key, and for nothing else of KMS.
fn looked_up_by(content: &Content<'_>) -> Arc<[(String, &'static str)]> {
    if content.read_only || content.source != "kms.amazonaws.com" {
        return Arc::from([]);
    }
    let arns = content.resources.iter().flatten();
    let names = arns.flat_map(|arn| {
        let short = arn.rsplit(":key/").next().filter(|short| short.len() < arn.len());
        [Some((arn.clone(), "AWS::KMS::Key")), short.map(|short| (short.to_owned(), "AWS::KMS::Key"))]
    });
    names.flatten().collect()
}

fn compose(
    address: &Address<'_>,
    time: DateTime<Utc>,
    caller: &Caller,
    identity: &Value,
    content: &Content<'_>,
) -> Value {
    let mut record = json!({
        "eventVersion": "1.11",
        "userIdentity": identity,
        "eventTime": time.to_rfc3339_opts(SecondsFormat::Secs, true),
        "eventSource": content.source,
        "eventName": content.name,
        "awsRegion": address.region.as_str(),
        "sourceIPAddress": caller.source,
        "userAgent": caller.agent,
        "requestParameters": content.request,
        "responseElements": content.response,
        "requestID": content.request_id,
        "eventID": address.event_id,
        "readOnly": content.read_only,
        "eventType": content.kind,
        "managementEvent": true,
        "recipientAccountId": address.account.as_str(),
        "eventCategory": "Management",
    });
    let Some(members) = record.as_object_mut() else { return record };
    if let Some(resources) = &content.resources {
        let resources = resources.iter().map(|arn| {
            let account =
                account_of(arn).map_or_else(|| address.account.to_string(), |account| account.to_string());
            json!({ "accountId": account, "type": type_of(arn), "ARN": arn })
        });
        members.insert("resources".to_owned(), Value::Array(resources.collect()));
    }
    members.extend(content.extras.clone());
    record
}
