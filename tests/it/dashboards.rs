//! What is shipped for Grafana and Prometheus asks for metrics that Keyward has, by labels that they have.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use keyward::metrics::{METRICS, MetricKind};
use regex::Regex;
use serde::Deserialize;
use serde_json::Value;

/// Labels that Prometheus itself adds.
const SCRAPE_LABELS: [&str; 2] = ["instance", "job"];

fn dashboards_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("dashboards")
}

/// The dashboards, with the variables that they offer beside the data source.
const DASHBOARDS: [(&str, [&str; 2]); 2] =
    [("keyward-overview", ["account", "boundary"]), ("keyward-events", ["account", "queue"])];

fn dashboard(name: &str) -> Value {
    let text = std::fs::read_to_string(dashboards_dir().join(format!("{name}.json"))).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Every dashboard, by name.
fn dashboards() -> impl Iterator<Item = (&'static str, Value)> {
    DASHBOARDS.into_iter().map(|(name, _)| (name, dashboard(name)))
}

/// The series of every metric that Keyward declares, with their labels.
fn declared() -> BTreeMap<String, BTreeSet<&'static str>> {
    let mut series = BTreeMap::new();
    for spec in METRICS {
        let labels: BTreeSet<&str> = spec.labels.iter().copied().collect();
        if spec.kind == MetricKind::Histogram {
            series.insert(format!("{}_sum", spec.name), labels.clone());
            series.insert(format!("{}_count", spec.name), labels.clone());
            series.insert(format!("{}_bucket", spec.name), labels.into_iter().chain(["le"]).collect());
        } else {
            series.insert(spec.name.to_owned(), labels);
        }
    }
    series
}

/// What is wrong with the metrics and labels of an expression.
fn mistakes(expression: &str) -> Vec<String> {
    let known = declared();
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
    assert_eq!(mistakes("rate(keyward_batch_seconds[5m])"), ["no metric keyward_batch_seconds"]);
}

#[test]
fn every_panel_asks_for_metrics_that_keyward_has() {
    let mut wrong = Vec::new();
    for (name, dashboard) in dashboards() {
        for panel in dashboard["panels"].as_array().unwrap() {
            let title = format!("{name}, {}", panel["title"].as_str().unwrap());
            let targets = panel["targets"].as_array().map_or(&[][..], Vec::as_slice);
            assert!(panel["type"] == "row" || !targets.is_empty(), "{title} asks for nothing");
            assert!(
                panel["type"] == "row" || panel["description"].is_string(),
                "{title} does not explain itself"
            );
            for target in targets {
                assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}");
                let expression = target["expr"].as_str().unwrap();
                wrong.extend(mistakes(expression).into_iter().map(|mistake| format!("{title}: {mistake}")));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_metric_of_events_has_a_panel() {
    let panels = dashboard("keyward-events")["panels"].to_string();
    let is_of_events = |name: &str| {
        ["events", "event", "queue", "ledger", "correlation", "detections", "key_requests", "batch"]
            .iter()
            .any(|family| name.starts_with(&format!("keyward_{family}_")))
    };
    let names: Vec<&str> = METRICS.iter().map(|spec| spec.name).filter(|name| is_of_events(name)).collect();
    assert!(names.len() >= 12, "{names:?}");
    for name in names {
        assert!(panels.contains(name), "no panel shows {name}");
    }
}

#[test]
fn the_dashboards_can_be_imported_anywhere() {
    for (name, own) in DASHBOARDS {
        let dashboard = dashboard(name);
        assert_eq!(dashboard["uid"], name);
        assert!(dashboard["id"].is_null(), "{name}: an id belongs to one Grafana");
        let list = dashboard["templating"]["list"].as_array().unwrap();
        let variables: Vec<&str> = list.iter().map(|variable| variable["name"].as_str().unwrap()).collect();
        assert_eq!(variables, ["datasource", own[0], own[1]], "{name}");
        // Findings that concern no key set have an empty boundary; "All" has to mean them too.
        for variable in list.iter().skip(1) {
            assert_eq!(variable["allValue"], ".*", "{name}: {}", variable["name"]);
            let query = variable["query"]["query"].as_str().unwrap();
            assert_eq!(variable["definition"], query, "{name}");
            let (metric, label) =
                query.strip_prefix("label_values(").and_then(|rest| rest.split_once(", ")).unwrap();
            let label = label.trim_end_matches(')');
            assert!(declared()[metric].contains(label), "{name}: {metric} has no label {label}");
            assert_eq!(variable["name"], label, "{name}");
        }
    }
}

#[test]
fn the_dashboards_lead_to_each_other() {
    for (name, dashboard) in dashboards() {
        let link = &dashboard["links"][0];
        assert_eq!(link["type"], "dashboards", "{name}");
        assert!(link["includeVars"] == true && link["keepTime"] == true, "{name} loses what was chosen");
        let tags = link["tags"].as_array().unwrap();
        assert!(!tags.is_empty(), "{name} would lead to every dashboard");
        for (other, target) in dashboards().filter(|(other, _)| *other != name) {
            let has = target["tags"].as_array().unwrap();
            assert!(tags.iter().all(|tag| has.contains(tag)), "{name} does not lead to {other}");
        }
    }
}

#[test]
fn no_panel_covers_another() {
    for (name, dashboard) in dashboards() {
        let (mut cells, mut ids) = (BTreeSet::new(), BTreeSet::new());
        for panel in dashboard["panels"].as_array().unwrap() {
            assert!(ids.insert(panel["id"].as_i64().unwrap()), "{name}: {} shares its id", panel["title"]);
            let position = |side: &str| panel["gridPos"][side].as_u64().unwrap();
            for column in position("x")..position("x") + position("w") {
                assert!(column < 24, "{name}: {} is too wide", panel["title"]);
                for line in position("y")..position("y") + position("h") {
                    assert!(cells.insert((column, line)), "{name}: {} covers another", panel["title"]);
                }
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
