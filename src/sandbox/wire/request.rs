//! What a request asks, whatever its protocol.

use axum::http::request::Parts;
use serde_json::{Map, Value};
use tokio_util::bytes::Bytes;

use super::super::call::ApiError;
use super::super::identity::AuthError;
use super::super::world::invalid_token;
use super::{form, s3_request};
use crate::model::Region;

/// How a request and its answer are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    /// awsJson1.1.
    Json,
    /// AWS query: a form, answered in XML.
    Query,
    /// rest-json.
    Rest,
    /// awsJson1.0, with the codes of the older query protocol in a header.
    Json10,
    /// rest-xml as S3 writes it, path style.
    S3,
}

/// A request as it came.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Incoming {
    pub(super) access_key: String,
    pub(super) token: Option<String>,
    pub(super) region: Region,
    pub(super) service: String,
    pub(super) operation: String,
    pub(super) input: Value,
    pub(super) body: Bytes,
}

/// The target prefixes of the services that speak awsJson1.1, without what may stand before the last dot.
const TARGETS: &[(&str, &str)] = &[
    ("AWSEvents", "events"),
    ("AWSOrganizationsV20161128", "organizations"),
    ("AmazonSQS", "sqs"),
    ("CloudTrail_20131101", "cloudtrail"),
    ("StarlingDoveService", "config"),
    ("TrentService", "kms"),
];

/// A header's text.
pub(super) fn header<'a>(head: &'a Parts, name: &str) -> Option<&'a str> {
    head.headers.get(name).and_then(|value| value.to_str().ok())
}

/// Reads a request: its protocol, and what it asks or the error to answer.
pub(super) fn read(head: &Parts, body: Bytes) -> (Protocol, Result<Incoming, ApiError>) {
    if let Some(target) = header(head, "x-amz-target") {
        let protocol = if target.starts_with("AmazonSQS.") { Protocol::Json10 } else { Protocol::Json };
        return (protocol, read_json(head, target, &body));
    }
    if is_s3(head) {
        return (Protocol::S3, s3_request::read(head, body));
    }
    if head.uri.path() == "/listRegions" {
        return (Protocol::Rest, read_rest(head, &body));
    }
    (Protocol::Query, read_query(head, &body))
}

/// Whether a request is signed for S3.
pub(super) fn is_s3(head: &Parts) -> bool {
    scope(head).is_ok_and(|scope| scope.service == "s3")
}

/// Who signed, for which Region and service.
struct Scope {
    access_key: String,
    region: Region,
    service: String,
}

fn scope(head: &Parts) -> Result<Scope, ApiError> {
    let forbidden = |code: &str, message: &str| ApiError {
        status: 403,
        code: code.to_owned(),
        message: message.to_owned(),
    };
    let authorization = header(head, "authorization")
        .ok_or_else(|| forbidden("MissingAuthenticationToken", "Missing Authentication Token"))?;
    let incomplete = || {
        forbidden(
            "IncompleteSignature",
            "Authorization header requires 'Credential' parameter of the form ACCESS_KEY/DATE/REGION/SERVICE/aws4_request",
        )
    };
    let (_, from_credential) = authorization.split_once("Credential=").ok_or_else(incomplete)?;
    let credential = from_credential.split([',', ' ']).next().unwrap_or_default();
    let mut parts = credential.split('/');
    let mut part = || parts.next().filter(|part| !part.is_empty()).ok_or_else(incomplete);
    let (access_key, _date, region, service) = (part()?, part()?, part()?, part()?);
    Ok(Scope {
        access_key: access_key.to_owned(),
        region: region.parse().map_err(|_| incomplete())?,
        service: service.to_owned(),
    })
}

pub(super) fn incoming(head: &Parts, operation: &str, input: Value) -> Result<Incoming, ApiError> {
    let Scope { access_key, region, service } = scope(head)?;
    let token = header(head, "x-amz-security-token").map(str::to_owned);
    let operation = operation.to_owned();
    Ok(Incoming { access_key, token, region, service, operation, input, body: Bytes::new() })
}

fn read_json(head: &Parts, target: &str, body: &[u8]) -> Result<Incoming, ApiError> {
    let mut parts = target.rsplit('.');
    let (operation, prefix) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let incoming = incoming(head, operation, json_object(body)?)?;
    let service = TARGETS.iter().find(|(target, _)| *target == prefix).map(|(_, service)| *service);
    if service == Some(incoming.service.as_str()) {
        return Ok(incoming);
    }
    Err(ApiError::client(
        "UnknownOperationException",
        format!("the sandbox does not know the target `{target}`"),
    ))
}

fn read_rest(head: &Parts, body: &[u8]) -> Result<Incoming, ApiError> {
    incoming(head, "ListRegions", json_object(body)?)
}

fn read_query(head: &Parts, body: &[u8]) -> Result<Incoming, ApiError> {
    let from_url = head.uri.query().unwrap_or_default();
    let mut members = form::read(if body.is_empty() { from_url.as_bytes() } else { body })?;
    let Some(Value::String(operation)) = members.remove("Action") else {
        let message =
            "the request has neither an X-Amz-Target header nor an Action: the sandbox does not know it";
        return Err(ApiError::client("MissingAction", message));
    };
    members.remove("Version");
    incoming(head, &operation, Value::Object(members))
}

fn json_object(body: &[u8]) -> Result<Value, ApiError> {
    if body.is_empty() {
        return Ok(Value::Object(Map::new()));
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(members)) => Ok(Value::Object(members)),
        _ => Err(ApiError::client("SerializationException", "the request's body is not a JSON object")),
    }
}

/// The error of credentials that are not taken.
pub(super) fn refused(service: &str, error: AuthError) -> ApiError {
    match error {
        AuthError::Unknown => invalid_token(service),
        AuthError::Expired => {
            let (status, code) = match service {
                "sts" | "sns" => (403, "ExpiredToken"),
                "s3" => (400, "ExpiredToken"),
                _ => (400, "ExpiredTokenException"),
            };
            let message = "The security token included in the request is expired";
            ApiError { status, code: code.to_owned(), message: message.to_owned() }
        }
    }
}
