//! Putting, getting and deleting objects.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::{Value, json};

use super::{Object, error, find, find_mut, name, notify};
use crate::sandbox::World;
use crate::sandbox::call::{Answer, ApiError, Call};

/// S3's longest key, in bytes.
const LONGEST_KEY: usize = 1024;

pub(super) fn put(world: &mut World, call: &Call) -> Answer {
    let key = call.text("Key").unwrap_or_default();
    if key.len() > LONGEST_KEY {
        return Err(error("KeyTooLongError", "Your key is too long"));
    }
    let metadata: BTreeMap<String, String> = call
        .input
        .get("Metadata")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()))
        .collect();
    let object = Object::new(call.body.clone(), world.now());
    let object = object.with(metadata, call.text("ContentType"), call.text("ContentEncoding"));
    let etag = object.etag();
    find_mut(world, call)?.objects.insert(key.to_owned(), object);
    notify::created(world, name(call), key, &format!("AWS:{}", call.account));
    Ok(json!({ "ETag": etag }))
}

/// An object, or the part of it that is asked for.
pub(super) fn get(world: &mut World, call: &Call) -> Answer {
    let key = call.text("Key").unwrap_or_default();
    let object = find(world, call)?
        .objects
        .get(key)
        .ok_or_else(|| ApiError { status: 404, ..error("NoSuchKey", "The specified key does not exist.") })?;
    let length = object.body.len();
    let part = call.text("Range").map(|range| part(range, length)).transpose()?.flatten();
    let body = object.body.slice(part.clone().unwrap_or(0..length));
    let range = part.map(|part| format!("bytes {}-{}/{length}", part.start, part.end.saturating_sub(1)));
    let answer = json!({
        "AcceptRanges": "bytes",
        "ContentEncoding": object.content_encoding,
        "ContentLength": body.len(),
        "ContentRange": range,
        "ContentType": object.content_type.as_deref().unwrap_or("binary/octet-stream"),
        "ETag": object.etag(),
        "LastModified": object.modified.format("%a, %d %b %Y %H:%M:%S GMT").to_string(),
        "Metadata": object.metadata,
    });
    if call.operation == "GetObject" {
        world.s3.body = body;
    }
    Ok(answer)
}

/// The bytes that a range names. None for one that S3 does not understand: it gives the whole object then.
fn part(range: &str, length: usize) -> Result<Option<Range<usize>>, ApiError> {
    let unsatisfiable =
        || ApiError { status: 416, ..error("InvalidRange", "The requested range is not satisfiable") };
    let Some((first, last)) = range.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
        return Ok(None);
    };
    let (first, last): (Option<usize>, Option<usize>) = (first.parse().ok(), last.parse().ok());
    match (first, last) {
        (Some(first), _) if first >= length => Err(unsatisfiable()),
        (Some(first), Some(last)) if last < first => Ok(None),
        (Some(first), Some(last)) => Ok(Some(first..last.saturating_add(1).min(length))),
        (Some(first), None) => Ok(Some(first..length)),
        (None, Some(0)) => Err(unsatisfiable()),
        (None, Some(last)) => Ok(Some(length.saturating_sub(last)..length)),
        (None, None) => Ok(None),
    }
}

pub(super) fn delete(world: &mut World, call: &Call) -> Answer {
    find_mut(world, call)?.objects.remove(call.text("Key").unwrap_or_default());
    Ok(json!({}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_s3_s() {
        for (range, expected) in [
            ("bytes=0-3", Some(0..4)),
            ("bytes=8-99", Some(8..10)),
            ("bytes=7-", Some(7..10)),
            ("bytes=-4", Some(6..10)),
            ("bytes=-99", Some(0..10)),
            ("bytes=5-2", None),
            ("pages=1-2", None),
        ] {
            assert_eq!(part(range, 10).unwrap(), expected, "{range}");
        }
        assert_eq!(part("bytes=10-", 10).unwrap_err().code, "InvalidRange");
        assert_eq!(part("bytes=-0", 10).unwrap_err().status, 416);
    }
}
