//! Metrics, health, API and pages over HTTP.

mod api;
mod pages;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, ORIGIN, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tower_http::compression::CompressionLayer;
use tower_http::set_header::SetResponseHeaderLayer;
use tower_http::timeout::TimeoutLayer;

use crate::metrics::{self, Metrics};
use crate::pipeline::Pipeline;
use crate::{clock, report};

/// No request works longer than this.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Nothing but our own inline style is loaded or run.
const CONTENT_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// What the handlers share.
#[derive(Debug, Clone)]
pub struct Web {
    /// The audit and its store.
    pub pipeline: Arc<Pipeline>,
    /// The metrics of this process.
    pub metrics: Arc<Metrics>,
    /// Set once the first sweep of everything has been taken.
    pub swept: watch::Receiver<bool>,
    /// Asks for the configuration to be read anew; the answer says whether it was.
    pub reload: mpsc::Sender<tokio::sync::oneshot::Sender<Result<(), String>>>,
}

/// What went wrong with a request.
#[derive(Debug)]
pub(crate) enum WebError {
    /// There is no such thing.
    NotFound(String),
    /// The request is malformed.
    BadRequest(String),
    /// The resource is there and does not take this method.
    NotAllowed,
    /// A page of another site asks for a change.
    OtherSite,
    /// It is our fault.
    Internal(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for WebError {
    fn from(error: E) -> Self {
        Self::Internal(error.into())
    }
}

impl IntoResponse for WebError {
    fn into_response(self) -> Response {
        let (status, message) = match self {
            Self::NotFound(what) => (StatusCode::NOT_FOUND, what),
            Self::BadRequest(what) => (StatusCode::BAD_REQUEST, what),
            Self::OtherSite => (StatusCode::FORBIDDEN, "not from a page of another site".to_owned()),
            Self::NotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "not by this method".to_owned()),
            Self::Internal(error) => {
                tracing::error!(error = format!("{error:#}"), "a request failed");
                (StatusCode::INTERNAL_SERVER_ERROR, "the request failed; the log tells why".to_owned())
            }
        };
        (status, axum::Json(serde_json::json!({ "error": message }))).into_response()
    }
}

/// Serves until `shutdown`, then lets running requests end.
///
/// # Errors
///
/// The listener failed.
pub async fn serve(web: Web, listener: TcpListener, shutdown: CancellationToken) -> std::io::Result<()> {
    axum::serve(listener, router(web)).with_graceful_shutdown(shutdown.cancelled_owned()).await
}

fn router(web: Web) -> Router {
    let header = |name, value| SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value));
    Router::new()
        .route("/metrics", get(exposition))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/-/reload", post(reload))
        .nest("/api/v1", api::router())
        .merge(pages::router())
        .layer(from_fn(refuse_other_sites))
        .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, REQUEST_TIMEOUT))
        .layer(CompressionLayer::new())
        .layer(header(CONTENT_SECURITY_POLICY, CONTENT_POLICY))
        .layer(header(X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .layer(header(CACHE_CONTROL, "no-store"))
        .with_state(web)
}

/// Refuses what a page of another site asks a visitor's browser to change here: browsers name the origin of
/// such requests, and programs send none.
async fn refuse_other_sites(request: Request, next: Next) -> Response {
    if !request.method().is_safe() && is_of_another_site(request.headers()) {
        return WebError::OtherSite.into_response();
    }
    next.run(request).await
}

fn is_of_another_site(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(origin) = text(ORIGIN) else { return headers.contains_key(ORIGIN) };
    let host = origin.split_once("://").map_or(origin, |(_, host)| host);
    text(HOST) != Some(host)
}

async fn exposition(State(web): State<Web>) -> Result<Response, WebError> {
    let now = clock::now();
    let readings = web.pipeline.readings().await?;
    let outbox = web.pipeline.store().outbox_stats(now).await?;
    metrics::show_state(&web.metrics, &web.pipeline.auditor(), &readings, now);
    metrics::show_outbox(&web.metrics, &outbox);
    metrics::show_reading_ages(&web.metrics, &web.pipeline.reading_ages(now));
    let text = web.metrics.exposition()?;
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}

async fn ready(State(web): State<Web>) -> Response {
    if *web.swept.borrow() {
        "ready\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the first sweep is not done yet\n").into_response()
    }
}

async fn reload(State(web): State<Web>) -> Result<Response, WebError> {
    let (answer, answered) = tokio::sync::oneshot::channel();
    web.reload.send(answer).await?;
    match answered.await? {
        Ok(()) => Ok("reloaded\n".into_response()),
        Err(error) => Err(WebError::BadRequest(error)),
    }
}

/// The report of a framework as of now, from what the daemon holds.
pub(crate) async fn report_now(web: &Web, framework: &str) -> Result<report::Report, WebError> {
    let framework =
        report::framework::find(framework).map_err(|error| WebError::NotFound(error.to_string()))?;
    let readings = web.pipeline.readings().await?;
    let now = clock::now();
    let store = web.pipeline.store();
    let uses = store.all_last_uses().await?;
    let places = report::proof::places_outside(&web.pipeline.auditor(), &uses, now);
    let ledger = report::proof::Ledger::read(store, &places, now).await?;
    let auditor = web.pipeline.auditor();
    let findings: Vec<_> = auditor.findings().cloned().collect();
    let material = report::Material {
        auditor: &auditor,
        findings: &findings,
        readings: &readings,
        ledger: &ledger,
        as_of: now,
        generated_at: now,
    };
    Ok(report::build(&framework, &material))
}
