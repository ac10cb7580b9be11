//! A real Prometheus that scrapes the demo with the shipped rules, and is asked what the dashboard asks.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::http;

const PROGRAM: &str = "/usr/bin/prometheus";

/// Label values, in the order of the label names, and what they count; series at 0 are left out.
pub(super) type Counts = BTreeMap<Vec<String>, u64>;

/// Prometheus as a child process; ends with this.
#[derive(Debug)]
pub(super) struct Prometheus {
    child: Child,
    address: SocketAddr,
    _files: tempfile::TempDir,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

impl Prometheus {
    /// Starts it on a free port; none if this machine has no Prometheus.
    pub(super) fn scraping(keyward: SocketAddr) -> Option<Self> {
        if !Path::new(PROGRAM).exists() {
            return None;
        }
        let files = tempfile::tempdir().unwrap();
        let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("dashboards/prometheus");
        let config = format!(
            "global: {{ scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s }}\n\
             rule_files: ['{}/*.yml']\n\
             scrape_configs:\n  - job_name: keyward\n    static_configs: [{{ targets: ['{keyward}'] }}]\n",
            rules.display()
        );
        let config_file = files.path().join("prometheus.yml");
        std::fs::write(&config_file, config).unwrap();
        let address = free_address();
        let child = Command::new(PROGRAM)
            .arg(format!("--config.file={}", config_file.display()))
            .arg(format!("--storage.tsdb.path={}", files.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .args(["--log.level=error"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Some(Self { child, address, _files: files })
    }

    fn api(&self, path: &str) -> Result<Value, String> {
        let answer = http::get_json(self.address, &format!("/api/v1/{path}"))?;
        if answer["status"] == "success" { Ok(answer["data"].clone()) } else { Err(answer.to_string()) }
    }

    /// The result of an expression at this moment.
    pub(super) fn query(&self, expression: &str) -> Result<Vec<Value>, String> {
        let query = form_urlencoded::Serializer::new(String::new()).append_pair("query", expression).finish();
        let data = self.api(&format!("query?{query}")).map_err(|error| format!("{expression}: {error}"))?;
        data["result"].as_array().cloned().ok_or_else(|| format!("{expression}: {data}"))
    }

    /// What an expression counts, by some of its labels.
    pub(super) fn counts(&self, expression: &str, labels: &[&str]) -> Result<Counts, String> {
        let mut counts = Counts::new();
        for series in self.query(expression)? {
            let text = |label: &&str| series["metric"][*label].as_str().unwrap_or_default().to_owned();
            let value = series["value"][1].as_str().unwrap_or_default();
            let value: u64 = value.parse().map_err(|error| format!("{expression}: {error}: {series}"))?;
            if value > 0 {
                *counts.entry(labels.iter().map(text).collect()).or_default() += value;
            }
        }
        Ok(counts)
    }

    /// The rules, as Prometheus loaded them.
    pub(super) fn rules(&self) -> Result<Vec<Value>, String> {
        let data = self.api("rules")?;
        let groups = data["groups"].as_array().cloned().unwrap_or_default();
        Ok(groups.iter().flat_map(|group| group["rules"].as_array().cloned().unwrap_or_default()).collect())
    }

    /// The alerts that fire or are about to.
    pub(super) fn alerts(&self) -> Result<Vec<Value>, String> {
        Ok(self.api("alerts")?["alerts"].as_array().cloned().unwrap_or_default())
    }
}

/// A dashboard's expressions by panel, with its variables set to "All".
pub(super) fn panels(name: &str) -> BTreeMap<String, Vec<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("dashboards/{name}.json"));
    let dashboard: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let mut panels = BTreeMap::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let targets = panel["targets"].as_array().cloned().unwrap_or_default();
        let expressions: Vec<String> =
            targets.iter().map(|target| filled(target["expr"].as_str().unwrap())).collect();
        if !expressions.is_empty() {
            let title = panel["title"].as_str().unwrap();
            assert!(panels.insert(title.to_owned(), expressions).is_none(), "two panels are called {title}");
        }
    }
    panels
}

fn filled(expression: &str) -> String {
    let filled = expression
        .replace("$account", ".*")
        .replace("$boundary", ".*")
        .replace("$queue", ".*")
        // Longer than the scenario, so that whatever has ever been counted in it shows.
        .replace("$__rate_interval", "3m");
    assert!(!filled.contains('$'), "a variable that this test does not know: {filled}");
    filled
}

/// A port that is free now. Another program might take it before Prometheus does; then the test says so.
fn free_address() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}
