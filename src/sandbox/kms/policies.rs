//! `GetKeyPolicy`, `PutKeyPolicy`, `ListKeyPolicies`.

use std::sync::Arc;

use serde_json::json;

use super::input::{flag, required, text};
use super::page::{Bounds, Page};
use super::policy::{Policy, malformed};
use super::turn::{Naming, Turn, not_found};
use crate::sandbox::call::{Answer, ApiError};

/// The largest key policy, in bytes.
const LARGEST: usize = 32_768;

pub(super) fn get_key_policy(turn: &mut Turn<'_>) -> Answer {
    let spot = turn.open(Naming::Own)?;
    match text(&turn.call.input, "PolicyName").unwrap_or("default") {
        "default" => Ok(json!({ "Policy": turn.key(&spot)?.policy.text, "PolicyName": "default" })),
        // `AWS_RAM` too: no key of the sandbox is shared through RAM.
        name => Err(not_found(format!("No such policy exists: {name}"))),
    }
}

pub(super) fn list_key_policies(turn: &mut Turn<'_>) -> Answer {
    let spot = turn.open(Naming::Own)?;
    let page = Page::of(turn.call, &spot.id, Bounds { default: 100, most: 1_000 })?;
    let names = ["default"].into_iter().filter(|name| page.after().is_none_or(|after| *name > after));
    Ok(page.cut("PolicyNames", names.map(|name| (name.to_owned(), json!(name)))))
}

pub(super) fn put_key_policy(turn: &mut Turn<'_>) -> Answer {
    let spot = turn.open(Naming::Own)?;
    turn.require_customer(&spot)?;
    let name = text(&turn.call.input, "PolicyName").unwrap_or("default");
    if name != "default" {
        return Err(not_found(format!("No such policy exists: {name}")));
    }
    required(&turn.call.input, "Policy")?;
    let policy = Arc::new(from_input(turn)?);
    turn.key_mut(&spot)?.policy = policy;
    Ok(json!({}))
}

/// The policy that the call gives, or the default one. Unless told not to, AWS refuses a policy under which the
/// caller could not change it again.
pub(super) fn from_input(turn: &Turn<'_>) -> Result<Policy, ApiError> {
    let call = turn.call;
    let Some(document) = text(&call.input, "Policy") else {
        return Ok(Policy::default_of(&call.partition, &call.account));
    };
    if document.len() > LARGEST {
        return Err(ApiError::client("LimitExceededException", "The key policy is larger than 32 KB"));
    }
    let policy = Policy::parse(document)?;
    let bypass = flag(&call.input, "BypassPolicyLockoutSafetyCheck");
    if !bypass && !turn.allowed_by(&policy, "PutKeyPolicy") {
        return Err(malformed(
            "The new key policy will not allow you to update the key policy in the future.",
        ));
    }
    Ok(policy)
}
