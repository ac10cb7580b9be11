//! `/api/v1`: the audited state as JSON.

use std::collections::BTreeMap;

use axum::extract::{FromRequestParts, Path, Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Web, WebError, report_now};
use crate::clock;
use crate::model::{Fact, Finding, FindingState, KeySetId, Level, UsageOutcome};
use crate::notify;
use crate::report::{framework, html};
use crate::store::LastUse;

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
        .fallback(|| async { WebError::NotFound("there is no such resource under /api/v1".to_owned()) })
        .method_not_allowed_fallback(|| async { WebError::NotAllowed })
}

/// Which findings are asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Filter {
    pub(super) state: Option<FindingState>,
    level: Option<Level>,
    rule: Option<String>,
    account: Option<String>,
    region: Option<String>,
    limit: Option<usize>,
    offset: usize,
}

/// Which keys or key sets are asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Place {
    account: Option<String>,
    region: Option<String>,
    limit: Option<usize>,
    offset: usize,
}

/// Nothing can be asked for; what is given all the same is a mistake to be told of.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// A query string. One that does not fit is answered as every other error of the API.
#[derive(Debug)]
pub(super) struct Asked<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = WebError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, WebError> {
        match Query::<T>::from_request_parts(parts, state).await {
            Ok(Query(query)) => Ok(Self(query)),
            Err(rejection) => Err(WebError::BadRequest(rejection.body_text())),
        }
    }
}

fn is(wanted: Option<&String>, value: &str) -> bool {
    wanted.is_none_or(|wanted| wanted == value)
}

/// One page of rows: of how many, beginning where.
fn page<T: Serialize>(
    name: &str,
    total: usize,
    limit: Option<usize>,
    offset: usize,
    rows: impl Iterator<Item = T>,
) -> Json<Value> {
    let limit = limit.unwrap_or(MAX_LIMIT).min(MAX_LIMIT);
    let rows: Vec<T> = rows.skip(offset).take(limit).collect();
    Json(json!({ "total": total, "offset": offset, "limit": limit, name: rows }))
}

impl Filter {
    /// The rows of one page of at most so many.
    pub(super) fn slice<T>(&self, most: usize, rows: Vec<T>) -> Vec<T> {
        rows.into_iter().skip(self.offset).take(self.limit.unwrap_or(most).min(most)).collect()
    }

    /// Where the rows begin.
    pub(super) fn offset(&self) -> usize {
        self.offset
    }

    /// The query string for another page of the same.
    pub(super) fn query_from(&self, offset: usize) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        let given = [
            ("state", self.state.map(|state| state.to_string())),
            ("level", self.level.map(|level| level.to_string())),
            ("rule", self.rule.clone()),
            ("account", self.account.clone()),
            ("region", self.region.clone()),
            ("offset", Some(offset.to_string())),
        ];
        for (name, value) in given {
            query.extend_pairs(value.map(|value| (name, value)));
        }
        query.finish()
    }

    fn takes(&self, finding: &Finding) -> bool {
        let region = finding.subject.region.as_ref().map_or("", |region| region.as_str());
        self.state.unwrap_or(FindingState::Open) == finding.state
            && self.level.is_none_or(|level| finding.level >= level)
            && is(self.rule.as_ref(), &finding.rule)
            && is(self.account.as_ref(), finding.subject.account.as_str())
            && is(self.region.as_ref(), region)
    }

    /// The findings asked for, worst and newest first. Without a state: those that are open.
    pub(super) fn findings(&self, web: &Web) -> Vec<Finding> {
        let auditor = web.pipeline.auditor();
        let mut found: Vec<Finding> =
            auditor.findings().filter(|finding| self.takes(finding)).cloned().collect();
        found.sort_by(|a, b| (b.level, b.first_seen, &a.id).cmp(&(a.level, a.first_seen, &b.id)));
        found
    }
}

async fn findings(State(web): State<Web>, Asked(filter): Asked<Filter>) -> Json<Value> {
    let found = filter.findings(&web);
    let rows = found.iter().map(|finding| notify::finding_fields(finding, finding.state.as_str()));
    page("findings", found.len(), filter.limit, filter.offset, rows)
}

async fn finding(State(web): State<Web>, Path(id): Path<String>) -> Result<Json<Value>, WebError> {
    let finding = web.pipeline.auditor().finding(&id).cloned();
    let finding = finding.ok_or_else(|| WebError::NotFound(format!("there is no finding `{id}`")))?;
    let history = web.pipeline.store().history(&id).await?;
    let finding = Finding { evidence: notify::shown_evidence(&finding.evidence), ..finding };
    Ok(Json(json!({ "finding": finding, "history": history })))
}

async fn acknowledge(State(web): State<Web>, Path(id): Path<String>) -> Result<Json<Value>, WebError> {
    let change = web.pipeline.acknowledge(&id, clock::now()).await?;
    change.map(|finding| Json(json!({ "finding": finding }))).ok_or_else(|| {
        WebError::NotFound(format!("there is no open detection `{id}`; a state resolves when it is mended"))
    })
}

/// The newest successful uses of all keys, by key set.
pub(super) async fn newest_uses(web: &Web) -> Result<BTreeMap<String, Vec<LastUse>>, WebError> {
    let mut uses = web.pipeline.store().all_last_uses().await?;
    for uses in uses.values_mut() {
        uses.retain(|used| used.outcome == UsageOutcome::Success);
    }
    Ok(uses)
}

/// A row of facts with the newest successful use.
fn with_last_use(root: &Fact, last_use: Option<&LastUse>) -> Value {
    let mut row = json!(root);
    if let Value::Object(fields) = &mut row {
        let shown = last_use.map(|used| {
            json!({
                "at": used.at, "principal": used.principal, "operation": used.operation,
                "network": used.network, "account": used.account, "key": used.key,
            })
        });
        fields.insert("last_used".to_owned(), json!(shown));
    }
    row
}

async fn keys(State(web): State<Web>, Asked(place): Asked<Place>) -> Result<Json<Value>, WebError> {
    let now = clock::now();
    let uses = newest_uses(&web).await?;
    let auditor = web.pipeline.auditor();
    let wanted: Vec<_> = auditor
        .estate()
        .keys()
        .map(|key| &key.arn)
        .filter(|arn| is(place.account.as_ref(), arn.account.as_str()))
        .filter(|arn| is(place.region.as_ref(), arn.region.as_str()))
        .collect();
    let rows = wanted.iter().filter_map(|arn| {
        let of_key = uses.get(arn.key_set().as_str()).into_iter().flatten();
        let own = of_key.filter(|used| used.key == arn.to_string()).max_by_key(|used| used.at);
        Some(with_last_use(&auditor.key_facts(arn, now)?.root, own))
    });
    Ok(page("keys", wanted.len(), place.limit, place.offset, rows))
}

async fn key_sets(State(web): State<Web>, Asked(place): Asked<Place>) -> Result<Json<Value>, WebError> {
    let now = clock::now();
    let uses = newest_uses(&web).await?;
    let auditor = web.pipeline.auditor();
    let is_there = |id: &KeySetId| {
        auditor.estate().members(id).iter().any(|key| is(place.region.as_ref(), key.arn.region.as_str()))
    };
    let wanted: Vec<KeySetId> = auditor
        .customer_key_sets()
        .filter(|(id, account)| is(place.account.as_ref(), account.as_str()) && is_there(id))
        .map(|(id, _)| id)
        .collect();
    let rows = wanted.iter().filter_map(|id| {
        let newest = uses.get(id.as_str()).into_iter().flatten().max_by_key(|used| used.at);
        Some(with_last_use(&auditor.key_set_facts(id, now)?.root, newest))
    });
    Ok(page("key_sets", wanted.len(), place.limit, place.offset, rows))
}

async fn coverage(State(web): State<Web>, _: Asked<Nothing>) -> Result<Json<Value>, WebError> {
    Ok(Json(json!({ "readings": web.pipeline.readings().await? })))
}

async fn rules(State(web): State<Web>, _: Asked<Nothing>) -> Json<Value> {
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

async fn exceptions(State(web): State<Web>, _: Asked<Nothing>) -> Json<Value> {
    let auditor = web.pipeline.auditor();
    Json(json!({ "exceptions": auditor.standards().exceptions.iter().collect::<Vec<_>>() }))
}

async fn reports(_: Asked<Nothing>) -> Json<Value> {
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
    Asked(query): Asked<ReportQuery>,
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
