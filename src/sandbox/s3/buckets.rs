//! Buckets themselves: creating, finding, letting in.

use chrono::SecondsFormat;
use serde_json::{Value, json};

use super::{error, find, find_mut, name};
use crate::sandbox::World;
use crate::sandbox::call::{Answer, ApiError, Call};

/// The Region that stands for none in `LocationConstraint`.
const UNCONSTRAINED: &str = "us-east-1";

/// The caller's buckets, in all Regions.
pub(super) fn list(world: &World, call: &Call) -> Value {
    let own = world.s3.buckets.iter().filter(|(_, bucket)| bucket.account == call.account);
    let rows: Vec<Value> = own
        .map(|(name, bucket)| {
            let created = bucket.created.to_rfc3339_opts(SecondsFormat::Millis, true);
            json!({ "Name": name, "CreationDate": created, "BucketRegion": bucket.region.as_str() })
        })
        .collect();
    json!({
        "Owner": { "ID": call.account.as_str(), "DisplayName": call.account.as_str() },
        "Buckets": { "Bucket": rows },
    })
}

pub(super) fn create(world: &mut World, call: &Call) -> Answer {
    let name = name(call);
    check_name(name)?;
    let document = call.input.get("Document");
    let constraint = document.and_then(|document| document.get("LocationConstraint")).and_then(Value::as_str);
    if constraint.filter(|constraint| !constraint.is_empty()).unwrap_or(UNCONSTRAINED) != call.region.as_str()
    {
        let message = "The location constraint is incompatible for the region specific endpoint this request was sent to.";
        return Err(error("IllegalLocationConstraintException", message));
    }
    match world.s3.buckets.get(name).map(|bucket| bucket.account == call.account) {
        Some(true) => Err(conflict(
            "BucketAlreadyOwnedByYou",
            "Your previous request to create the named bucket succeeded and you already own it.",
        )),
        Some(false) => Err(conflict(
            "BucketAlreadyExists",
            "The requested bucket name is not available. The bucket namespace is shared by all users of the system. Please select a different name and try again.",
        )),
        None => {
            let now = world.now();
            world.s3.put_bucket(&call.account, &call.region, name, now);
            Ok(json!({ "Location": format!("/{name}") }))
        }
    }
}

fn conflict(code: &str, message: &str) -> ApiError {
    ApiError { status: 409, ..error(code, message) }
}

fn check_name(name: &str) -> Result<(), ApiError> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    if (3..=63).contains(&name.len()) && name.bytes().all(plain) {
        return Ok(());
    }
    Err(error("InvalidBucketName", "The specified bucket is not valid."))
}

pub(super) fn delete(world: &mut World, call: &Call) -> Answer {
    if !find(world, call)?.objects.is_empty() {
        return Err(conflict("BucketNotEmpty", "The bucket you tried to delete is not empty"));
    }
    world.s3.buckets.remove(name(call));
    Ok(json!({}))
}

pub(super) fn head(world: &World, call: &Call) -> Answer {
    Ok(json!({ "BucketRegion": find(world, call)?.region.as_str() }))
}

pub(super) fn location(world: &World, call: &Call) -> Answer {
    let region = find(world, call)?.region.as_str();
    Ok(json!({ "LocationConstraint": if region == UNCONSTRAINED { "" } else { region } }))
}

pub(super) fn policy(world: &World, call: &Call) -> Answer {
    match &find(world, call)?.policy {
        Some(policy) => Ok(json!({ "Policy": policy })),
        None => {
            Err(ApiError { status: 404, ..error("NoSuchBucketPolicy", "The bucket policy does not exist") })
        }
    }
}

pub(super) fn set_policy(world: &mut World, call: &Call) -> Answer {
    let policy = call.text("Policy").unwrap_or_default();
    if !serde_json::from_str::<Value>(policy).is_ok_and(|policy| policy.is_object()) {
        return Err(error("MalformedPolicy", "Policies must be valid JSON and the first byte must be '{'"));
    }
    find_mut(world, call)?.policy = Some(policy.to_owned());
    Ok(json!({}))
}
