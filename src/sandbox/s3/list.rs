//! `ListObjectsV2`, and the older `ListObjects` that the AWS CLI still validates logs with.

use std::ops::Bound;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::SecondsFormat;
use serde_json::{Value, json};

use super::{Bucket, error, find, name};
use crate::sandbox::World;
use crate::sandbox::call::{Answer, ApiError, Call};

/// S3's largest page.
const PAGE: usize = 1000;

/// A page of a listing.
#[derive(Debug, Default)]
struct Page {
    contents: Vec<Value>,
    prefixes: Vec<String>,
    /// The last key or common prefix on it.
    last: Option<String>,
    truncated: bool,
}

pub(super) fn list(world: &World, call: &Call) -> Answer {
    let text = |member: &str| call.text(member).unwrap_or_default();
    let (prefix, delimiter) = (text("Prefix"), text("Delimiter"));
    let older = call.operation == "ListObjects";
    let after = if older { text("Marker").to_owned() } else { start(call)? };
    let size = match call.text("MaxKeys") {
        None => PAGE,
        Some(size) => {
            size.parse::<usize>().map_err(|_| invalid("Provided max-keys not an integer"))?.min(PAGE)
        }
    };
    let encoded = match call.text("EncodingType") {
        None => false,
        Some("url") => true,
        Some(_) => return Err(invalid("Invalid Encoding Method specified in Request")),
    };
    let encode = |text: &str| if encoded { encode(text) } else { text.to_owned() };
    let page = page(find(world, call)?, (prefix, delimiter), &after, size, encode);
    let mut answer = json!({
        "Name": name(call), "Prefix": encode(prefix), "MaxKeys": size, "IsTruncated": page.truncated,
        "Delimiter": call.text("Delimiter").map(encode), "EncodingType": call.text("EncodingType"),
        "CommonPrefixes": page.prefixes.iter().map(|prefix| json!({ "Prefix": encode(prefix) })).collect::<Vec<_>>(),
        "Contents": page.contents,
    });
    let last = page.last.filter(|_| page.truncated);
    let more = if older {
        json!({ "Marker": encode(&after), "NextMarker": last.map(|last| encode(&last)) })
    } else {
        json!({
            "KeyCount": page.contents.len() + page.prefixes.len(),
            "StartAfter": call.text("StartAfter").map(encode),
            "ContinuationToken": call.text("ContinuationToken"),
            "NextContinuationToken": last.map(|last| URL_SAFE_NO_PAD.encode(last)),
        })
    };
    if let (Some(answer), Value::Object(more)) = (answer.as_object_mut(), more) {
        answer.extend(more);
    }
    Ok(answer)
}

/// What a page of the newer listing comes after.
fn start(call: &Call) -> Result<String, ApiError> {
    let Some(token) = call.text("ContinuationToken") else {
        return Ok(call.text("StartAfter").unwrap_or_default().to_owned());
    };
    let key = URL_SAFE_NO_PAD.decode(token).ok().and_then(|key| String::from_utf8(key).ok());
    key.ok_or_else(|| invalid("The continuation token provided is incorrect"))
}

fn page(
    bucket: &Bucket,
    (prefix, delimiter): (&str, &str),
    after: &str,
    size: usize,
    encode: impl Fn(&str) -> String,
) -> Page {
    let mut page = Page::default();
    let from = if after < prefix { Bound::Included(prefix) } else { Bound::Excluded(after) };
    let within = bucket.objects.range::<str, _>((from, Bound::Unbounded));
    for (key, object) in within.take_while(|(key, _)| key.starts_with(prefix)) {
        let rest = key.strip_prefix(prefix).unwrap_or_default();
        let cut = rest.split_once(delimiter).filter(|_| !delimiter.is_empty());
        let common = cut.map(|(before, _)| format!("{prefix}{before}{delimiter}"));
        // A common prefix stands for everything below it, on the page before as well.
        if common.as_ref().is_some_and(|common| page.last.as_ref() == Some(common) || common == after) {
            continue;
        }
        if page.contents.len() + page.prefixes.len() == size {
            page.truncated = size > 0;
            break;
        }
        page.last = Some(common.clone().unwrap_or_else(|| key.clone()));
        match common {
            Some(common) => page.prefixes.push(common),
            None => page.contents.push(json!({
                "Key": encode(key), "ETag": object.etag(), "Size": object.body.len(), "StorageClass": "STANDARD",
                "LastModified": object.modified.to_rfc3339_opts(SecondsFormat::Millis, true),
            })),
        }
    }
    page
}

fn invalid(message: &str) -> ApiError {
    error("InvalidArgument", message)
}

/// A key as S3 writes it in URLs: slashes stay, a space becomes a plus.
pub(super) fn encode(key: &str) -> String {
    let parts =
        key.split('/').map(|part| form_urlencoded::byte_serialize(part.as_bytes()).collect::<String>());
    parts.collect::<Vec<_>>().join("/")
}
