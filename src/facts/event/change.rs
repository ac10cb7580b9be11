//! What a call sets: a key policy, a grant.

use serde_json::Value;

use super::{is_true, recorded_in};
use crate::facts::Context;
use crate::facts::policy::{self, Policy, Principal, Viewpoint};
use crate::facts::sheet::{Known, Sheet};
use crate::model::{EventRecord, KeyArn};

/// Writes what the policy means that PutKeyPolicy, CreateKey or ReplicateKey sets.
pub(super) fn new_policy(
    sheet: &mut Sheet,
    record: &EventRecord,
    key: Option<&KeyArn>,
    context: &Context<'_>,
) {
    const PATHS: [&str; 3] =
        ["new_policy.public", "new_policy.public_statements", "new_policy.foreign_accounts"];
    if !matches!(record.name(), "PutKeyPolicy" | "CreateKey" | "ReplicateKey") {
        return;
    }
    if leaves_out_request(record) {
        sheet.put_unknown(&["new_policy.lockout_check_bypassed"], "the record leaves the request out");
    } else {
        let bypassed = is_true(record, &["requestParameters", "bypassPolicyLockoutSafetyCheck"]);
        sheet.put("new_policy.lockout_check_bypassed", bypassed);
    }
    let policy = match policy_text(record) {
        Some(text) => text.and_then(|text| Policy::parse(&text).map_err(|error| error.to_string())),
        None => return,
    };
    let policy = match policy {
        Ok(policy) => policy,
        Err(reason) => return sheet.put_unknown(&PATHS, &reason),
    };
    let key = policy_holder(record, key);
    let owner = key.as_ref().map(|key| key.account.clone()).or_else(|| recorded_in(record));
    let view = Viewpoint { key: key.as_ref(), owner: owner.as_ref(), accounts: context.accounts };
    let exposure = policy::exposure(&policy, &view);
    let is_public = exposure.public.as_ref().map(|found| !found.is_empty()).map_err(Clone::clone);
    sheet.put_known("new_policy.public", is_public);
    sheet.put_known_texts("new_policy.public_statements", exposure.public);
    sheet.put_known_texts("new_policy.foreign_accounts", exposure.foreign);
}

/// The policy that a call sets. None: it sets none, and AWS KMS gives a new key its default policy.
fn policy_text(record: &EventRecord) -> Option<Known<String>> {
    let paths: &[[&str; 2]] = match record.name() {
        "ReplicateKey" => &[["responseElements", "replicaPolicy"], ["requestParameters", "policy"]],
        _ => &[["requestParameters", "policy"]],
    };
    let value = paths.iter().find_map(|[part, name]| record.record().get(part)?.get(name));
    match value {
        Some(Value::String(text)) => Some(Ok(text.clone())),
        Some(document @ Value::Object(_)) => Some(Ok(document.to_string())),
        _ if record.name() == "PutKeyPolicy" || leaves_out_request(record) => {
            Some(Err("the record leaves the policy out".to_owned()))
        }
        _ => None,
    }
}

/// CloudTrail leaves out parameters that are longer than 100 KB altogether, and KMS those of many calls that failed.
fn leaves_out_request(record: &EventRecord) -> bool {
    let request = record.record().get("requestParameters");
    !request.is_some_and(Value::is_object) || is_true(record, &["requestParameters", "omitted"])
}

/// The key that gets the policy: of ReplicateKey the replica, not the primary that the record is about.
fn policy_holder(record: &EventRecord, key: Option<&KeyArn>) -> Option<KeyArn> {
    let key = key?;
    if record.name() != "ReplicateKey" {
        return Some(key.clone());
    }
    let region = record.text(&["requestParameters", "replicaRegion"])?.parse().ok()?;
    Some(key.in_region(region))
}

/// Writes whom CreateGrant lets do what.
pub(super) fn grant(sheet: &mut Sheet, record: &EventRecord, key: Option<&KeyArn>, context: &Context<'_>) {
    if record.name() != "CreateGrant" {
        return;
    }
    let operations = record.record().get("requestParameters").and_then(|request| request.get("operations"));
    let operations = operations.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    sheet.put_texts("grant.operations", operations);
    if let Some(service) = record.text(&["requestParameters", "granteeServicePrincipal"]) {
        sheet.put("grant.grantee", service);
        return sheet.put("grant.foreign", false);
    }
    let Some(grantee) = record.text(&["requestParameters", "granteePrincipal"]) else {
        return sheet.put_unknown(&["grant.grantee", "grant.foreign"], "the record names no grantee");
    };
    sheet.put("grant.grantee", grantee);
    let foreign = match Principal::from_aws(grantee) {
        Principal::Anyone => Ok(true),
        principal => match principal.account() {
            Some(account) => {
                Ok(key.is_none_or(|key| key.account != *account) && context.accounts.is_foreign(account))
            }
            None if is_service(grantee) => Ok(false),
            None => Err(format!("whose `{grantee}` is cannot be told")),
        },
    };
    sheet.put_known("grant.foreign", foreign);
}

fn is_service(name: &str) -> bool {
    name.ends_with(".amazonaws.com") || name.ends_with(".amazonaws.com.cn") || name.ends_with(".amazonaws.eu")
}
