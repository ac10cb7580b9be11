//! `/api/v1`: the audited state as JSON.

use axum::extract::{Path, Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Web, WebError, report_now};
use crate::clock;
use crate::model::{Finding, FindingState, Level};
use crate::notify;
use crate::report::{framework, html};

/// The most rows that one answer holds.
const MAX_LIMIT: usize = 1000;

pub(super) fn router() -> Router<Web> {
    Router::new()
        .route("/findings", get(findings))
        .route("/findings/{id}", get(finding))
        .route("/findings/{id}/acknowledge", post(acknowledge))
        .route("/keys", get(keys))
        .route("/key-sets", get(key_sets))
        .route("/coverage", get(coverage))
        .route("/rules", get(rules))
        .route("/exceptions", get(exceptions))
        .route("/reports", get(reports))
        .route("/reports/{framework}", get(report))
}

/// Which rows are asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Filter {
    pub(super) state: Option<String>,
    pub(super) level: Option<Level>,
    pub(super) rule: Option<String>,
    pub(super) account: Option<String>,
    pub(super) region: Option<String>,
    limit: Option<usize>,
    offset: usize,
}

impl Filter {
    fn page<T>(&self, rows: impl Iterator<Item = T>) -> Vec<T> {
        rows.skip(self.offset).take(self.limit.unwrap_or(MAX_LIMIT).min(MAX_LIMIT)).collect()
    }

    fn takes(&self, finding: &Finding) -> bool {
        let is =
            |wanted: &Option<String>, value: &str| wanted.as_deref().is_none_or(|wanted| wanted == value);
        let region = finding.subject.region.as_ref().map_or("", |region| region.as_str());
        is(&self.state, finding.state.as_str())
            && self.level.is_none_or(|level| finding.level >= level)
            && is(&self.rule, &finding.rule)
            && is(&self.account, finding.subject.account.as_str())
            && is(&self.region, region)
    }

    /// The findings asked for, worst and newest first. Without a state: those that are open.
    pub(super) fn findings(&self, web: &Web) -> Vec<Finding> {
        let auditor = web.pipeline.auditor();
        let mut found: Vec<Finding> = auditor
            .findings()
            .filter(|finding| self.state.is_some() || finding.state == FindingState::Open)
            .filter(|finding| self.takes(finding))
            .cloned()
            .collect();
        found.sort_by(|a, b| (b.level, b.first_seen, &a.id).cmp(&(a.level, a.first_seen, &b.id)));
        found
    }
}

async fn findings(State(web): State<Web>, Query(filter): Query<Filter>) -> Json<Value> {
    let found = filter.findings(&web);
    let total = found.len();
    let rows =
        filter.page(found.iter().map(|finding| notify::finding_fields(finding, finding.state.as_str())));
    Json(json!({ "total": total, "findings": rows }))
}

async fn finding(State(web): State<Web>, Path(id): Path<String>) -> Result<Json<Value>, WebError> {
    let finding = web.pipeline.auditor().finding(&id).cloned();
    let finding = finding.ok_or_else(|| WebError::NotFound(format!("there is no finding `{id}`")))?;
    let history = web.pipeline.store().history(&id).await?;
    Ok(Json(json!({ "finding": finding, "history": history })))
}

async fn acknowledge(State(web): State<Web>, Path(id): Path<String>) -> Result<Json<Value>, WebError> {
    let change = web.pipeline.acknowledge(&id, clock::now()).await?;
    change.map(|finding| Json(json!({ "finding": finding }))).ok_or_else(|| {
        WebError::NotFound(format!("there is no open detection `{id}`; a state resolves when it is mended"))
    })
}

async fn keys(State(web): State<Web>, Query(filter): Query<Filter>) -> Json<Value> {
    let now = clock::now();
    let auditor = web.pipeline.auditor();
    let wanted = auditor.estate().keys().filter(|key| {
        filter.account.as_deref().is_none_or(|account| key.arn.account.as_str() == account)
            && filter.region.as_deref().is_none_or(|region| key.arn.region.as_str() == region)
    });
    let arns: Vec<_> = wanted.map(|key| key.arn.clone()).collect();
    let total = arns.len();
    let rows = filter.page(arns.iter().filter_map(|arn| auditor.key_facts(arn, now)).map(|facts| facts.root));
    Json(json!({ "total": total, "keys": rows }))
}

async fn key_sets(State(web): State<Web>, Query(filter): Query<Filter>) -> Json<Value> {
    let now = clock::now();
    let auditor = web.pipeline.auditor();
    let ids: Vec<_> = auditor
        .customer_key_sets()
        .filter(|(_, account)| filter.account.as_deref().is_none_or(|wanted| account.as_str() == wanted))
        .map(|(id, _)| id)
        .collect();
    let total = ids.len();
    let rows =
        filter.page(ids.iter().filter_map(|id| auditor.key_set_facts(id, now)).map(|facts| facts.root));
    Json(json!({ "total": total, "key_sets": rows }))
}

async fn coverage(State(web): State<Web>) -> Result<Json<Value>, WebError> {
    Ok(Json(json!({ "readings": web.pipeline.readings().await? })))
}

async fn rules(State(web): State<Web>) -> Json<Value> {
    let auditor = web.pipeline.auditor();
    let rows: Vec<Value> = auditor
        .standards()
        .rules
        .rules()
        .iter()
        .map(|rule| {
            json!({
                "name": rule.name, "id": rule.id, "title": rule.title, "level": rule.level, "kind": rule.kind,
                "description": rule.description, "remediation": rule.remediation, "controls": rule.controls,
                "references": rule.references, "falsepositives": rule.falsepositives,
            })
        })
        .collect();
    Json(json!({ "rules": rows }))
}

async fn exceptions(State(web): State<Web>) -> Json<Value> {
    let auditor = web.pipeline.auditor();
    Json(json!({ "exceptions": auditor.standards().exceptions.iter().collect::<Vec<_>>() }))
}

async fn reports() -> Json<Value> {
    Json(json!({ "frameworks": framework::names() }))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReportQuery {
    format: Option<String>,
}

async fn report(
    State(web): State<Web>,
    Path(framework): Path<String>,
    Query(query): Query<ReportQuery>,
) -> Result<Response, WebError> {
    let report = report_now(&web, &framework).await?;
    match query.format.as_deref() {
        None | Some("json") => Ok(Json(report).into_response()),
        Some("html") => {
            Ok(([(CONTENT_TYPE, "text/html; charset=utf-8")], html::render(&report)?).into_response())
        }
        Some(other) => Err(WebError::BadRequest(format!("there is no format `{other}`; use json or html"))),
    }
}
