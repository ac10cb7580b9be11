//! Answers as S3 writes them: members in headers, documents in XML, or an object's content.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use tokio_util::bytes::Bytes;

use super::super::World;
use super::super::call::{ApiError, Call};
use super::answer::respond;
use super::{chunked, xml};

/// Members that go into headers.
const HEADERS: &[(&str, &str)] = &[
    ("AcceptRanges", "accept-ranges"),
    ("BucketRegion", "x-amz-bucket-region"),
    ("ContentEncoding", "content-encoding"),
    ("ContentLength", "content-length"),
    ("ContentRange", "content-range"),
    ("ContentType", "content-type"),
    ("ETag", "etag"),
    ("LastModified", "last-modified"),
    ("Location", "location"),
];

/// The document that an operation answers with, by its root element.
fn root(operation: &str) -> Option<&'static str> {
    match operation {
        "ListBuckets" => Some("ListAllMyBucketsResult"),
        "ListObjects" | "ListObjectsV2" => Some("ListBucketResult"),
        "GetBucketLocation" => Some("LocationConstraint"),
        "GetBucketNotificationConfiguration" => Some("NotificationConfiguration"),
        _ => None,
    }
}

/// The answer to a call that succeeded.
pub(super) fn output(call: &Call, output: &Value, body: Bytes) -> Response {
    let id = &call.request_id;
    if let Some(root) = root(&call.operation) {
        let content = output.get("LocationConstraint").unwrap_or(output);
        return respond(StatusCode::OK, "application/xml", xml::s3_document(root, content), id);
    }
    let status = match call.operation.as_str() {
        "DeleteObject" | "DeleteBucket" | "PutBucketPolicy" => StatusCode::NO_CONTENT,
        "GetObject" if output.get("ContentRange").is_some_and(Value::is_string) => {
            StatusCode::PARTIAL_CONTENT
        }
        _ => StatusCode::OK,
    };
    let mut headers = headers(output);
    let whole = status == StatusCode::OK && call.operation == "GetObject";
    if whole && call.text("ChecksumMode").is_some_and(|mode| mode.eq_ignore_ascii_case("enabled")) {
        insert(&mut headers, "x-amz-checksum-crc32", &chunked::crc32(&body));
        insert(&mut headers, "x-amz-checksum-type", "FULL_OBJECT");
    }
    insert(&mut headers, "x-amz-request-id", id);
    let body = match output.get("Policy").and_then(Value::as_str) {
        Some(policy) => Body::from(policy.to_owned()),
        None => Body::from(body),
    };
    (status, headers, body).into_response()
}

fn headers(output: &Value) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (member, name) in HEADERS {
        match output.get(member) {
            Some(Value::String(text)) => insert(&mut headers, name, text),
            Some(number @ Value::Number(_)) => insert(&mut headers, name, &number.to_string()),
            _ => {}
        }
    }
    let metadata = output.get("Metadata").and_then(Value::as_object);
    for (name, value) in metadata.into_iter().flatten() {
        insert(&mut headers, &format!("x-amz-meta-{name}"), value.as_str().unwrap_or_default());
    }
    headers
}

fn insert(headers: &mut HeaderMap, name: &str, value: &str) {
    if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_str(value)) {
        headers.insert(name, value);
    }
}

/// The answer to a call that failed. One that came to the wrong Region is told the right one.
pub(super) fn error(world: &World, call: &Call, error: &ApiError) -> Response {
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let ApiError { code, message, .. } = error;
    let is_head = call.operation.starts_with("Head");
    let body = if is_head { String::new() } else { xml::s3_error(code, message, &call.request_id) };
    let mut response = respond(status, "application/xml", body, &call.request_id);
    insert(response.headers_mut(), "x-amz-request-id", &call.request_id);
    if let Some(region) = call.text("Bucket").and_then(|bucket| world.s3.region_of(bucket))
        && matches!(error.status, 301 | 400)
    {
        insert(response.headers_mut(), "x-amz-bucket-region", region.as_str());
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_location_is_the_document_itself() {
        let call = crate::sandbox::testing::call("eu-west-1", "s3", "GetBucketLocation");
        let response = output(&call, &json!({ "LocationConstraint": "eu-west-1" }), Bytes::new());
        assert_eq!(response.headers()["content-type"], "application/xml");
        let xml = xml::s3_document("LocationConstraint", &json!("eu-west-1"));
        assert!(xml.ends_with(">eu-west-1</LocationConstraint>"), "{xml}");
    }
}
