//! Answers in the protocol of the request.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::super::call::{ApiError, Call};
use super::super::sqs;
use super::request::Protocol;
use super::xml;

/// The XML namespaces of STS and SNS.
fn namespace(service: &str) -> &'static str {
    match service {
        "sts" => "https://sts.amazonaws.com/doc/2011-06-15/",
        _ => "http://sns.amazonaws.com/doc/2010-03-31/",
    }
}

/// The answer to a call that succeeded.
pub(super) fn output(protocol: Protocol, call: &Call, output: Value) -> Response {
    let id = &call.request_id;
    match protocol {
        Protocol::Query => {
            let body = xml::output(namespace(&call.service), &call.operation, &output, id);
            respond(StatusCode::OK, "text/xml", body, id)
        }
        Protocol::Json => {
            respond(StatusCode::OK, "application/x-amz-json-1.1", without_nulls(output).to_string(), id)
        }
        Protocol::Json10 => {
            respond(StatusCode::OK, "application/x-amz-json-1.0", without_nulls(output).to_string(), id)
        }
        Protocol::Rest | Protocol::S3 => {
            respond(StatusCode::OK, "application/json", without_nulls(output).to_string(), id)
        }
    }
}

/// The answer to a call that failed.
pub(super) fn error(protocol: Protocol, error: &ApiError, request_id: &str) -> Response {
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let ApiError { code, message, .. } = error;
    let mut response = match protocol {
        Protocol::Query => {
            let body = xml::error(namespace("sns"), code, message, status.is_client_error(), request_id);
            respond(status, "text/xml", body, request_id)
        }
        Protocol::Json => {
            respond(status, "application/x-amz-json-1.1", error.to_json().to_string(), request_id)
        }
        Protocol::Json10 => return json10_error(status, error, request_id),
        Protocol::S3 => {
            respond(status, "application/xml", xml::s3_error(code, message, request_id), request_id)
        }
        Protocol::Rest => {
            respond(status, "application/json", json!({ "message": message }).to_string(), request_id)
        }
    };
    if !matches!(protocol, Protocol::Query | Protocol::S3)
        && let Ok(code) = HeaderValue::from_str(code)
    {
        response.headers_mut().insert("x-amzn-errortype", code);
    }
    response
}

/// An error of SQS, whose code the older query protocol spells otherwise.
fn json10_error(status: StatusCode, error: &ApiError, request_id: &str) -> Response {
    let (shape, query_code) = sqs::codes(&error.code);
    let body = json!({ "__type": format!("com.amazonaws.sqs#{shape}"), "message": error.message });
    let mut response = respond(status, "application/x-amz-json-1.0", body.to_string(), request_id);
    let fault = if status.is_client_error() { "Sender" } else { "Receiver" };
    if let Ok(code) = HeaderValue::from_str(&format!("{query_code};{fault}")) {
        response.headers_mut().insert("x-amzn-query-error", code);
    }
    response
}

pub(super) fn respond(
    status: StatusCode,
    content_type: &'static str,
    body: String,
    request_id: &str,
) -> Response {
    let mut response = (status, [(header::CONTENT_TYPE, content_type)], body).into_response();
    if let Ok(id) = HeaderValue::from_str(request_id) {
        response.headers_mut().insert("x-amzn-requestid", id);
    }
    response
}

/// AWS leaves out what there is not.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(members) => members
            .into_iter()
            .filter(|(_, member)| !member.is_null())
            .map(|(name, member)| (name, without_nulls(member)))
            .collect(),
        Value::Array(items) => items.into_iter().map(without_nulls).collect(),
        plain => plain,
    }
}
