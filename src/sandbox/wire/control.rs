//! The sandbox's own endpoints.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chrono::TimeDelta;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::cloudtrail;
use super::super::faults::Fault;
use super::{Shared, lock};

/// `GET /_sandbox/health`: `{status, now}`.
pub(super) async fn health(State(world): State<Shared>) -> Json<Value> {
    Json(json!({ "status": "ok", "now": lock(&world).now().to_rfc3339() }))
}

/// `GET /_sandbox/calls`: how often what was called, and `sns_suppressed`: repetitions that FIFO topics
/// swallowed.
pub(super) async fn calls(State(world): State<Shared>) -> Json<Value> {
    let world = lock(&world);
    let mut tally = world.tally.to_json();
    if let Some(tally) = tally.as_object_mut() {
        tally.insert("sns_suppressed".to_owned(), world.sns.suppressed().into());
    }
    Json(tally)
}

/// `GET /_sandbox/sns`: everything that was published, oldest first.
pub(super) async fn sns(State(world): State<Shared>) -> Json<Value> {
    Json(lock(&world).sns.to_json())
}

/// `GET /_sandbox/faults`: what goes wrong now.
pub(super) async fn faults(State(world): State<Shared>) -> Json<Value> {
    Json(json!(lock(&world).faults.list()))
}

/// `POST /_sandbox/faults`: a list in the place of what went wrong until now.
pub(super) async fn set_faults(State(world): State<Shared>, body: String) -> Response {
    match serde_json::from_str::<Vec<Fault>>(&body) {
        Ok(list) => {
            lock(&world).faults.replace(list);
            StatusCode::NO_CONTENT.into_response()
        }
        Err(error) => (StatusCode::BAD_REQUEST, format!("not a list of faults: {error}\n")).into_response(),
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    #[serde(default)]
    digests: bool,
}

/// `POST /_sandbox/deliver`: the trails deliver their log files now, with `{"digests": true}` the digests of
/// them too. `{log_files, digests}`: their keys.
pub(super) async fn deliver(State(world): State<Shared>, body: String) -> Response {
    let wanted = if body.trim().is_empty() { Ok(Wanted::default()) } else { serde_json::from_str(&body) };
    let Ok(Wanted { digests }) = wanted else {
        return (StatusCode::BAD_REQUEST, "expected {\"digests\": true} or nothing\n").into_response();
    };
    let mut world = lock(&world);
    let log_files = cloudtrail::deliver_now(&mut world);
    let digests = if digests { cloudtrail::digest_now(&mut world) } else { Vec::new() };
    Json(json!({ "log_files": log_files, "digests": digests })).into_response()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    advance_secs: i64,
}

/// `POST /_sandbox/clock` with `{"advance_secs": n}`: `{now}`.
pub(super) async fn move_clock(State(world): State<Shared>, body: String) -> Response {
    let advance = serde_json::from_str::<Advance>(&body).ok();
    let Some(by) = advance.and_then(|advance| TimeDelta::try_seconds(advance.advance_secs)) else {
        let message = "expected {\"advance_secs\": SECONDS}\n";
        return (StatusCode::BAD_REQUEST, message).into_response();
    };
    let mut world = lock(&world);
    world.clock.advance(by);
    Json(json!({ "now": world.now().to_rfc3339() })).into_response()
}
