//! What is shipped for Grafana and Prometheus asks for metrics that Keyward has, by labels that they have.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use regex::Regex;
use serde::Deserialize;
use serde_json::Value;

/// The metrics that people outside build on, with their labels.
const METRICS: &[(&str, &[&str])] = &[
    ("keyward_build_info", &["version"]),
    ("keyward_keys", &["account", "region", "country", "manager", "state", "multi_region"]),
    ("keyward_key_sets", &["account", "boundary", "residency"]),
    ("keyward_findings", &["rule", "level", "account", "boundary", "state"]),
    ("keyward_verdicts", &["framework", "verdict"]),
    ("keyward_readings", &["account", "region", "api", "result"]),
    ("keyward_reading_age_seconds", &["account", "region", "source"]),
    ("keyward_events_total", &["source"]),
    ("keyward_events_duplicate_total", &[]),
    ("keyward_events_malformed_total", &[]),
    ("keyward_event_lag_seconds_bucket", &["le"]),
    ("keyward_detections_total", &["rule", "level"]),
    ("keyward_anomalies_total", &["kind"]),
    ("keyward_key_requests_total", &["operation", "outcome"]),
    ("keyward_notifications_total", &["reason", "result"]),
    ("keyward_outbox_pending", &[]),
    ("keyward_outbox_oldest_age_seconds", &[]),
    ("keyward_aws_requests_total", &["service", "operation", "result"]),
    ("keyward_batch_seconds_bucket", &["source", "le"]),
    ("keyward_rules_loaded", &[]),
    ("keyward_config_last_reload_successful", &[]),
    ("keyward_source_up", &["source"]),
];

/// Labels that Prometheus itself adds.
const SCRAPE_LABELS: [&str; 2] = ["instance", "job"];

fn dashboards_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("dashboards")
}

fn dashboard() -> Value {
    let text = std::fs::read_to_string(dashboards_dir().join("keyward-overview.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// What is wrong with the metrics and labels of an expression.
fn mistakes(expression: &str) -> Vec<String> {
    let known: BTreeMap<&str, BTreeSet<&str>> =
        METRICS.iter().map(|(name, labels)| (*name, labels.iter().copied().collect())).collect();
    let metric = Regex::new(r"(keyward_\w+)(?:\{([^}]*)\})?").unwrap();
    let matcher = Regex::new(r#"(\w+)\s*(?:=~|!~|!=|=)\s*""#).unwrap();
    let grouping = Regex::new(r"\b(?:by|without)\s*\(([^)]*)\)").unwrap();
    let (mut wrong, mut labels) = (Vec::new(), BTreeSet::from(SCRAPE_LABELS));
    for found in metric.captures_iter(expression) {
        let name = found.get(1).unwrap().as_str();
        let Some(of_metric) = known.get(name) else {
            wrong.push(format!("no metric {name}"));
            continue;
        };
        labels.extend(of_metric);
        let matchers = found.get(2).map_or("", |matchers| matchers.as_str());
        for label in matcher.captures_iter(matchers).map(|found| found.get(1).unwrap().as_str()) {
            if !of_metric.contains(label) {
                wrong.push(format!("{name} has no label {label}"));
            }
        }
    }
    for list in grouping.captures_iter(expression) {
        let names = list.get(1).unwrap().as_str().split(',').map(str::trim);
        wrong.extend(names.filter(|name| !labels.contains(name)).map(|name| format!("grouped by {name}")));
    }
    if labels.len() == SCRAPE_LABELS.len() && !expression.contains("keyward_") {
        wrong.push("no metric of Keyward".to_owned());
    }
    wrong
}

#[test]
fn the_check_itself_finds_mistakes() {
    assert!(mistakes(r#"sum by (level) (keyward_findings{state="open", account=~"$account"})"#).is_empty());
    assert_eq!(mistakes("sum(keyward_finding)"), ["no metric keyward_finding"]);
    assert_eq!(mistakes(r#"keyward_readings{boundary="eea"}"#), ["keyward_readings has no label boundary"]);
    assert_eq!(mistakes("sum by (region) (keyward_findings)"), ["grouped by region"]);
    assert_eq!(mistakes("sum(up)"), ["no metric of Keyward"]);
}

#[test]
fn every_panel_asks_for_metrics_that_keyward_has() {
    let dashboard = dashboard();
    let mut wrong = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap();
        let targets = panel["targets"].as_array().map_or(&[][..], Vec::as_slice);
        assert!(panel["type"] == "row" || !targets.is_empty(), "{title} asks for nothing");
        for target in targets {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}");
            let expression = target["expr"].as_str().unwrap();
            wrong.extend(mistakes(expression).into_iter().map(|mistake| format!("{title}: {mistake}")));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_dashboard_can_be_imported_anywhere() {
    let dashboard = dashboard();
    assert_eq!(dashboard["uid"], "keyward-overview");
    assert!(dashboard["id"].is_null(), "an id belongs to one Grafana");
    let variables: Vec<&str> = dashboard["templating"]["list"]
        .as_array()
        .unwrap()
        .iter()
        .map(|variable| variable["name"].as_str().unwrap())
        .collect();
    assert_eq!(variables, ["datasource", "account", "boundary"]);
    // Findings that concern no key set have an empty boundary; "All" has to mean them too.
    for variable in dashboard["templating"]["list"].as_array().unwrap().iter().skip(1) {
        assert_eq!(variable["allValue"], ".*", "{}", variable["name"]);
    }
}

#[test]
fn no_panel_covers_another() {
    let dashboard = dashboard();
    let (mut cells, mut ids) = (BTreeSet::new(), BTreeSet::new());
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_i64().unwrap()), "{} shares its id", panel["title"]);
        let position = |name: &str| panel["gridPos"][name].as_u64().unwrap();
        for column in position("x")..position("x") + position("w") {
            assert!(column < 24, "{} is too wide", panel["title"]);
            for line in position("y")..position("y") + position("h") {
                assert!(cells.insert((column, line)), "{} covers another", panel["title"]);
            }
        }
    }
}

#[derive(Debug, Deserialize)]
struct RuleGroups {
    groups: Vec<RuleGroup>,
}

#[derive(Debug, Deserialize)]
struct RuleGroup {
    rules: Vec<PrometheusRule>,
}

#[derive(Debug, Deserialize)]
struct PrometheusRule {
    record: Option<String>,
    alert: Option<String>,
    expr: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

fn prometheus_rules(file: &str) -> Vec<PrometheusRule> {
    let text = std::fs::read_to_string(dashboards_dir().join("prometheus").join(file)).unwrap();
    let groups: RuleGroups = serde_saphyr::from_str(&text).unwrap();
    groups.groups.into_iter().flat_map(|group| group.rules).collect()
}

#[test]
fn prometheus_rules_ask_for_metrics_that_keyward_has() {
    let mut wrong = Vec::new();
    for rule in prometheus_rules("recording.yml").into_iter().chain(prometheus_rules("alerting.yml")) {
        let name = rule.record.or(rule.alert).unwrap();
        wrong.extend(mistakes(&rule.expr).into_iter().map(|mistake| format!("{name}: {mistake}")));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_alert_says_how_bad_it_is_and_what_it_means_and_is_tested() {
    let tests = std::fs::read_to_string(dashboards_dir().join("prometheus/tests/alerting.yml")).unwrap();
    for rule in prometheus_rules("alerting.yml") {
        let name = rule.alert.unwrap();
        assert!(["warning", "critical"].contains(&rule.labels["severity"].as_str()), "{name}");
        for annotation in ["summary", "description"] {
            assert!(rule.annotations.contains_key(annotation), "{name} has no {annotation}");
        }
        // Once where it is silent, and once where it fires.
        let named = tests.matches(&format!("alertname: {name}\n")).count();
        assert!(named >= 1 && tests.contains(&format!("alertname: {name} }}")), "{name} is not tested");
    }
}
