//! The pages under `/`, for people.

use std::collections::BTreeMap;

use askama::Template;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;

use super::api::{Asked, Filter, newest_uses};
use super::{Web, WebError, report_now};
use crate::clock;
use crate::model::{Finding, FindingState, Level, Reading, ReadingResult};
use crate::report::framework;
use crate::report::html;
use crate::report::residency::{Cell, Residency, residency};
use crate::rules::Rule;
use crate::store::{HistoryEntry, LastUse};

pub(super) fn router() -> Router<Web> {
    Router::new()
        .route("/", get(overview))
        .route("/findings", get(findings))
        .route("/findings/{id}", get(finding))
        .route("/key-sets", get(key_sets))
        .route("/coverage", get(coverage))
        .route("/rules", get(rules))
        .route("/reports/{framework}", get(report))
}

/// Findings on one page.
const ROWS_A_PAGE: usize = 200;

type Page = Result<Html<String>, WebError>;

fn render(template: &impl Template) -> Page {
    Ok(Html(template.render()?))
}

fn minute(time: &chrono::DateTime<chrono::Utc>) -> String {
    time.format("%Y-%m-%d %H:%M:%S").to_string()
}

#[derive(Template)]
#[template(path = "overview.html")]
struct Overview {
    tab: &'static str,
    levels: Vec<(Level, usize)>,
    newest: Vec<Finding>,
    keys: usize,
    accounts: usize,
    regions: usize,
    rules: usize,
    gaps: usize,
    residency: Residency,
    frameworks: Vec<String>,
}

async fn overview(State(web): State<Web>) -> Page {
    let readings = web.pipeline.readings().await?;
    let auditor = web.pipeline.auditor();
    let open: Vec<&Finding> = auditor.open_findings().collect();
    let levels = Level::ALL
        .into_iter()
        .rev()
        .map(|level| (level, open.iter().filter(|finding| finding.level == level).count()))
        .collect();
    let mut newest: Vec<Finding> = open.into_iter().cloned().collect();
    newest.sort_by(|a, b| (b.first_seen, &b.id).cmp(&(a.first_seen, &a.id)));
    newest.truncate(12);
    let accounts: std::collections::BTreeSet<_> = auditor.regions().map(|(account, _)| account).collect();
    render(&Overview {
        tab: "overview",
        levels,
        newest,
        keys: auditor.estate().keys().count(),
        accounts: accounts.len(),
        regions: auditor.regions().count(),
        rules: auditor.standards().rules.rules().len(),
        gaps: readings.iter().filter(|reading| reading.result != ReadingResult::Ok).count(),
        residency: residency(&auditor, clock::now()),
        frameworks: framework::names(),
    })
}

#[derive(Template)]
#[template(path = "findings.html")]
struct Findings {
    tab: &'static str,
    rows: Vec<Finding>,
    state: FindingState,
    total: usize,
    /// The first row shown, counted from 1.
    first: usize,
    newer: Option<String>,
    older: Option<String>,
}

async fn findings(State(web): State<Web>, Asked(filter): Asked<Filter>) -> Page {
    let found = filter.findings(&web);
    let (total, offset) = (found.len(), filter.offset());
    let rows = filter.slice(ROWS_A_PAGE, found);
    let next = offset + rows.len();
    render(&Findings {
        tab: "findings",
        state: filter.state.unwrap_or(FindingState::Open),
        total,
        first: offset + 1,
        newer: (offset > 0).then(|| filter.query_from(offset.saturating_sub(ROWS_A_PAGE))),
        older: (next < total && !rows.is_empty()).then(|| filter.query_from(next)),
        rows,
    })
}

#[derive(Template)]
#[template(path = "finding.html")]
struct OneFinding {
    tab: &'static str,
    finding: Finding,
    history: Vec<HistoryEntry>,
    evidence: Vec<(String, String)>,
}

async fn finding(State(web): State<Web>, Path(id): Path<String>) -> Page {
    let finding = web.pipeline.auditor().finding(&id).cloned();
    let finding = finding.ok_or_else(|| WebError::NotFound(format!("there is no finding `{id}`")))?;
    let history = web.pipeline.store().history(&id).await?;
    let shown = crate::notify::shown_evidence(&finding.evidence);
    let evidence = shown.as_object().into_iter().flatten();
    let evidence = evidence.map(|(name, value)| (name.clone(), plain(value))).collect();
    render(&OneFinding { tab: "findings", finding, history, evidence })
}

/// A value as people read it: texts without quotes, lists with commas.
fn plain(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

#[derive(Template)]
#[template(path = "key_sets.html")]
struct KeySets {
    tab: &'static str,
    residency: Residency,
    uses: BTreeMap<String, Vec<LastUse>>,
}

impl KeySets {
    /// The newest successful use of a key set's members.
    fn last_use(&self, id: &str) -> Option<&LastUse> {
        self.uses.get(id)?.iter().max_by_key(|used| used.at)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "templates pass references")]
fn cell(cell: &Cell) -> (&'static str, &'static str) {
    match cell {
        Cell::None => ("", "none"),
        Cell::Home => ("●", "inside"),
        Cell::Replica => ("○", "inside"),
        Cell::Outside => ("✖", "outside"),
        Cell::Unread => ("?", "unread"),
    }
}

async fn key_sets(State(web): State<Web>) -> Page {
    let uses = newest_uses(&web).await?;
    let residency = residency(&web.pipeline.auditor(), clock::now());
    render(&KeySets { tab: "key-sets", residency, uses })
}

#[derive(Template)]
#[template(path = "coverage.html")]
struct Coverage {
    tab: &'static str,
    readings: Vec<Reading>,
    ok: usize,
}

async fn coverage(State(web): State<Web>) -> Page {
    let mut readings = web.pipeline.readings().await?;
    let ok = readings.iter().filter(|reading| reading.result == ReadingResult::Ok).count();
    readings.sort_by(|a, b| {
        (b.result, &a.account, &a.region, &a.api).cmp(&(a.result, &b.account, &b.region, &b.api))
    });
    render(&Coverage { tab: "coverage", readings, ok })
}

#[derive(Template)]
#[template(path = "rules.html")]
struct Rules {
    tab: &'static str,
    rules: Vec<Rule>,
}

async fn rules(State(web): State<Web>) -> Page {
    let rules = web.pipeline.auditor().standards().rules.rules().to_vec();
    render(&Rules { tab: "rules", rules })
}

async fn report(State(web): State<Web>, Path(framework): Path<String>) -> Result<Response, WebError> {
    let page = html::render(&report_now(&web, &framework).await?)?;
    Ok(([(CONTENT_TYPE, "text/html; charset=utf-8")], page).into_response())
}
