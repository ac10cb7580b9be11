//! `ListKeys` and `GetKeyLastUsage`.

use std::ops::Bound;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::aws_managed::require_iam;
use super::input::{epoch, not_one_of, texts};
use super::page::{Bounds, Page};
use super::turn::{Naming, Turn};
use crate::sandbox::call::Answer;

/// When the sandbox's AWS began to record the last use of keys, in seconds since 1970: 23 March 2026.
const TRACKING_BEGAN: i64 = 1_774_224_000;

pub(super) fn list_keys(turn: &mut Turn<'_>) -> Answer {
    require_iam(turn)?;
    let owners = texts(&turn.call.input, "ResourceOwners");
    let kinds = ["SELF", "OTHER_ACCOUNTS_VIA_RAM"];
    if let Some(unknown) = owners.iter().find(|owner| !kinds.contains(&owner.as_str())) {
        return Err(not_one_of(unknown, "ResourceOwners", &kinds));
    }
    let page = Page::of(turn.call, &owners.join(","), Bounds { default: 100, most: 1_000 })?;
    let place = turn.state.place(&turn.call.account, &turn.call.region);
    // No key of the sandbox is shared through RAM.
    let place = place.filter(|_| owners.is_empty() || owners.iter().any(|owner| owner == "SELF"));
    let start = page.after().map_or(Bound::Unbounded, Bound::Excluded);
    let keys = place.into_iter().flat_map(|place| place.keys.range::<str, _>((start, Bound::Unbounded)));
    let entries = keys.map(|(id, key)| (id.clone(), json!({ "KeyId": id, "KeyArn": key.arn.to_string() })));
    Ok(page.cut("Keys", entries))
}

pub(super) fn get_key_last_usage(turn: &mut Turn<'_>) -> Answer {
    let spot = turn.open(Naming::Own)?;
    let key = turn.key(&spot)?;
    let usage = key.last_usage.as_ref().map_or_else(
        || json!({}),
        |usage| {
            json!({
                "Operation": usage.operation,
                "Timestamp": epoch(usage.at),
                "CloudTrailEventId": usage.event_id,
                "KmsRequestId": usage.request_id,
            })
        },
    );
    let began = DateTime::<Utc>::from_timestamp(TRACKING_BEGAN, 0)
        .map_or(key.created, |began| began.max(key.created));
    let answer: Value = json!({
        "KeyId": key.arn.to_string(),
        "KeyLastUsage": usage,
        "TrackingStartDate": epoch(began),
        "KeyCreationDate": epoch(key.created),
    });
    Ok(answer)
}
