//! What an S3 request asks: method, path and query become an operation with its members.

use std::collections::BTreeMap;

use axum::http::Method;
use axum::http::request::Parts;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};
use tokio_util::bytes::Bytes;

use super::super::call::ApiError;
use super::request::{Incoming, header, incoming};
use super::{chunked, tree};

/// Members that come in the query.
const FROM_QUERY: &[(&str, &str)] = &[
    ("continuation-token", "ContinuationToken"),
    ("delimiter", "Delimiter"),
    ("encoding-type", "EncodingType"),
    ("marker", "Marker"),
    ("max-keys", "MaxKeys"),
    ("prefix", "Prefix"),
    ("start-after", "StartAfter"),
];
/// Members that come as headers.
const FROM_HEADERS: &[(&str, &str)] =
    &[("content-type", "ContentType"), ("range", "Range"), ("x-amz-checksum-mode", "ChecksumMode")];
/// What the query may say beside: the operation, and what makes no difference here.
const OTHERS: &[&str] =
    &["fetch-owner", "list-type", "location", "max-buckets", "notification", "policy", "x-id"];

/// Reads a request.
pub(super) fn read(head: &Parts, body: Bytes) -> Result<Incoming, ApiError> {
    let query: BTreeMap<String, String> =
        form_urlencoded::parse(head.uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    let path = head.uri.path().trim_start_matches('/');
    let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
    let operation = operation(&head.method, bucket, key, &query);
    let operation = operation.filter(|_| header(head, "x-amz-copy-source").is_none());
    let operation = operation.ok_or_else(|| not_implemented(head))?;
    let mut members = members(head, &query);
    members.insert("Bucket".to_owned(), json!(decode(bucket)?));
    if !key.is_empty() {
        members.insert("Key".to_owned(), json!(decode(key)?));
    }
    let body = content(head, body)?;
    if operation == "PutObject" {
        return Ok(Incoming { body, ..incoming(head, operation, Value::Object(members))? });
    }
    if operation == "PutBucketPolicy" {
        members.insert("Policy".to_owned(), json!(String::from_utf8_lossy(&body)));
    } else if !body.is_empty() {
        let document = tree::read(&body)
            .ok_or_else(|| ApiError::client("MalformedXML", "The XML you provided was not well-formed."))?;
        members.insert("Document".to_owned(), document);
    }
    incoming(head, operation, Value::Object(members))
}

fn operation(
    method: &Method,
    bucket: &str,
    key: &str,
    query: &BTreeMap<String, String>,
) -> Option<&'static str> {
    let known = |name: &str| OTHERS.contains(&name) || FROM_QUERY.iter().any(|(from, _)| *from == name);
    if !query.keys().all(|name| known(name)) {
        return None;
    }
    let asks = |name: &str| query.contains_key(name);
    match (method.as_str(), bucket.is_empty(), key.is_empty()) {
        ("GET", true, true) => Some("ListBuckets"),
        ("GET", false, true) if asks("notification") => Some("GetBucketNotificationConfiguration"),
        ("GET", false, true) if asks("location") => Some("GetBucketLocation"),
        ("GET", false, true) if asks("policy") => Some("GetBucketPolicy"),
        ("GET", false, true) if asks("list-type") => Some("ListObjectsV2"),
        ("GET", false, true) => Some("ListObjects"),
        ("PUT", false, true) if asks("notification") => Some("PutBucketNotificationConfiguration"),
        ("PUT", false, true) if asks("policy") => Some("PutBucketPolicy"),
        ("PUT", false, true) => Some("CreateBucket"),
        ("HEAD", false, true) => Some("HeadBucket"),
        ("DELETE", false, true) => Some("DeleteBucket"),
        ("PUT", false, false) => Some("PutObject"),
        ("GET", false, false) => Some("GetObject"),
        ("HEAD", false, false) => Some("HeadObject"),
        ("DELETE", false, false) => Some("DeleteObject"),
        _ => None,
    }
}

fn not_implemented(head: &Parts) -> ApiError {
    let message = format!("the sandbox does not know {} {} of S3", head.method, head.uri);
    ApiError { status: 501, code: "NotImplemented".to_owned(), message }
}

fn members(head: &Parts, query: &BTreeMap<String, String>) -> Map<String, Value> {
    let from_query = FROM_QUERY.iter().filter_map(|(from, name)| Some((*name, query.get(*from)?.as_str())));
    let from_headers = FROM_HEADERS.iter().filter_map(|(from, name)| Some((*name, header(head, from)?)));
    let mut members: Map<String, Value> =
        from_query.chain(from_headers).map(|(name, value)| (name.to_owned(), json!(value))).collect();
    if let Some(encoding) = header(head, "content-encoding") {
        let encodings =
            encoding.split(',').map(str::trim).filter(|name| *name != "aws-chunked" && !name.is_empty());
        let encoding = encodings.collect::<Vec<_>>().join(",");
        if !encoding.is_empty() {
            members.insert("ContentEncoding".to_owned(), json!(encoding));
        }
    }
    let metadata: Map<String, Value> = head
        .headers
        .iter()
        .filter_map(|(name, value)| Some((name.as_str().strip_prefix("x-amz-meta-")?, value.to_str().ok()?)))
        .map(|(name, value)| (name.to_owned(), json!(value)))
        .collect();
    members.insert("Metadata".to_owned(), Value::Object(metadata));
    members
}

fn decode(text: &str) -> Result<String, ApiError> {
    let decoded = percent_decode_str(text).decode_utf8();
    let decoded = decoded.map_err(|_| ApiError::client("InvalidURI", "Couldn't parse the specified URI."))?;
    Ok(decoded.into_owned())
}

/// The body out of its chunks, if its CRC-32 is the one that was sent.
fn content(head: &Parts, body: Bytes) -> Result<Bytes, ApiError> {
    let streamed = header(head, "x-amz-content-sha256").is_some_and(|hash| hash.starts_with("STREAMING-"));
    let mut checksum = header(head, "x-amz-checksum-crc32").map(str::to_owned);
    let body = if streamed {
        let decoded = chunked::decode(body)
            .ok_or_else(|| ApiError::client("IncompleteBody", "The request body terminated unexpectedly"))?;
        let of_trailer = decoded.trailers.into_iter().find(|(name, _)| name == "x-amz-checksum-crc32");
        checksum = of_trailer.map(|(_, value)| value).or(checksum);
        decoded.body
    } else {
        body
    };
    if checksum.is_some_and(|checksum| checksum != chunked::crc32(&body)) {
        return Err(ApiError::client("BadDigest", "The CRC32 you specified did not match what we received."));
    }
    Ok(body)
}
