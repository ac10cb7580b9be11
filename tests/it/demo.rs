//! `keyward demo` as a newcomer runs it: metrics, alerts, report and dashboard tell of every violation, of
//! nothing else, and all the same.

mod http;
mod prometheus;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use keyward::sandbox::World;
use keyward::sandbox::clock::Clock;
use keyward::sandbox::estate::{self, KeyRef};
use keyward::sandbox::scenario::INCIDENTS;
use serde_json::Value;

use self::prometheus::{Counts, Prometheus, panels};

/// By when everything has to be seen. The demo runs a little longer, so that the last look finds it alive.
const WITHIN: Duration = Duration::from_secs(150);
/// How long the last numbers may take on their way through a scrape and a rule.
const SCRAPED_WITHIN: Duration = Duration::from_secs(15);

/// Rule, account and key id: what a violation is known by.
type Fault = (String, String, String);

/// The demo as a child process; ends with this.
struct Demo {
    child: Child,
    started: Instant,
    keyward: SocketAddr,
    sandbox: SocketAddr,
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

impl Demo {
    fn start() -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_keyward"))
            .args(["demo", "--listen", "127.0.0.1:0", "--sandbox-listen", "127.0.0.1:0", "--for", "165"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let started = Instant::now();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut address = |label: &str| {
            let line = lines.find(|line| line.trim_start().starts_with(label)).unwrap();
            let url = line.split("http://").nth(1).unwrap();
            url.split('/').next().unwrap().parse::<SocketAddr>().unwrap()
        };
        let (keyward, sandbox) = (address("Pages"), address("Published"));
        // What it says is read to its end, so that it never waits for its reader.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, started, keyward, sandbox }
    }

    fn api(&self, path: &str) -> Value {
        http::get_json(self.keyward, &format!("/api/v1/{path}")).unwrap()
    }

    /// Everything that was published: the status, and what it is about.
    fn published(&self) -> Vec<(String, Fault)> {
        let messages = http::get_json(self.sandbox, "/_sandbox/sns").unwrap();
        let messages = messages.as_array().unwrap().iter().map(|message| &message["document"]);
        let mut published: Vec<_> =
            messages.map(|document| (text(document, "status"), fault_of(document))).collect();
        published.sort();
        published
    }

    fn open_findings(&self) -> Vec<Value> {
        self.api("findings")["findings"].as_array().unwrap().clone()
    }
}

fn text(document: &Value, field: &str) -> String {
    document[field].as_str().unwrap_or_default().to_owned()
}

fn last_part(arn: &str) -> String {
    arn.rsplit('/').next().unwrap_or_default().to_owned()
}

fn fault_of(finding: &Value) -> Fault {
    (text(finding, "rule"), text(finding, "account"), last_part(&text(finding, "key")))
}

/// What the demo is made to violate, and which of it is put right.
struct Expected {
    violations: BTreeSet<Fault>,
    resolved: BTreeSet<Fault>,
}

impl Expected {
    /// From the estate's and the scenario's own lists; the estate is the same in every process.
    fn of_the_demo() -> Self {
        let world = estate::demo(Clock::default()).unwrap();
        let fault = |rule: &str, key: KeyRef| (rule.to_owned(), key.account.to_owned(), id_of(&world, key));
        let mut violations: BTreeSet<Fault> =
            estate::STANDING.iter().map(|violation| fault(violation.rule, violation.key)).collect();
        let mut resolved = BTreeSet::new();
        for step in INCIDENTS {
            let of_step = |rule: &&str| match step.key {
                Some(key) => fault(rule, key),
                None => ((*rule).to_owned(), estate::PAYMENTS.to_owned(), String::new()),
            };
            violations.extend(step.violates.iter().map(of_step));
            resolved.extend(step.resolves.iter().map(of_step));
        }
        assert!(violations.len() >= 17 && resolved.len() == 1, "{violations:?} {resolved:?}");
        assert!(resolved.is_subset(&violations));
        Self { violations, resolved }
    }

    /// Once as opened for each violation, and once as resolved for each that is put right.
    fn published(&self) -> Vec<(String, Fault)> {
        let opened = self.violations.iter().map(|fault| ("opened".to_owned(), fault.clone()));
        let resolved = self.resolved.iter().map(|fault| ("resolved".to_owned(), fault.clone()));
        opened.chain(resolved).collect()
    }

    fn open(&self) -> BTreeSet<Fault> {
        self.violations.difference(&self.resolved).cloned().collect()
    }
}

fn id_of(world: &World, key: KeyRef) -> String {
    let (account, region) = (key.account.parse().unwrap(), key.region.parse().unwrap());
    world.kms.key_id_of_alias(&account, &region, key.name).unwrap_or_else(|| key.name.to_owned())
}

/// How many there are of each combination of labels.
fn tally<'a>(rows: impl IntoIterator<Item = &'a Value>, labels: &[fn(&Value) -> String]) -> Counts {
    let mut counts = Counts::new();
    for row in rows {
        *counts.entry(labels.iter().map(|label| label(row)).collect()).or_default() += 1;
    }
    counts
}

#[test]
fn metrics_alerts_report_and_dashboard_tell_of_every_violation_and_of_nothing_else() {
    let expected = Expected::of_the_demo();
    let demo = Demo::start();
    let prometheus = Prometheus::scraping(demo.keyward);

    let wanted = expected.published();
    while demo.published() != wanted {
        let published = demo.published();
        let missing: Vec<_> = wanted.iter().filter(|message| !published.contains(message)).collect();
        let too_many = surplus(&published, &wanted);
        assert!(
            too_many.is_empty() && demo.started.elapsed() < WITHIN,
            "after {:?}: not published: {missing:#?}; published once too often: {too_many:#?}",
            demo.started.elapsed()
        );
        std::thread::sleep(Duration::from_millis(500));
    }
    let findings = demo.open_findings();
    assert_eq!(findings.len(), expected.open().len());
    assert_eq!(findings.iter().map(fault_of).collect::<BTreeSet<_>>(), expected.open());
    metrics_show(&demo, &findings);
    report_shows(&demo, &findings);
    match &prometheus {
        Some(prometheus) => dashboard_shows(&demo, prometheus, &findings),
        None => {
            eprintln!("NOT CHECKED: /usr/bin/prometheus is missing, so the dashboard's queries were not run");
        }
    }
    assert_eq!(demo.published(), wanted, "nothing is published after the last");
}

/// What was published more often than wanted.
fn surplus(published: &[(String, Fault)], wanted: &[(String, Fault)]) -> Vec<(String, Fault)> {
    let mut left = published.to_vec();
    for message in wanted {
        if let Some(place) = left.iter().position(|other| other == message) {
            left.remove(place);
        }
    }
    left
}

/// `/metrics` counts the open findings by rule and account, and nothing of what was put right.
fn metrics_show(demo: &Demo, findings: &[Value]) {
    let exposition = http::get(demo.keyward, "/metrics").unwrap();
    let label = |series: &str, name: &str| {
        let from = series.split(&format!("{name}=\"")).nth(1).unwrap();
        from.split('"').next().unwrap().to_owned()
    };
    let mut shown = Counts::new();
    for line in exposition.lines().filter(|line| line.starts_with("keyward_findings{")) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let value: u64 = value.parse().unwrap();
        if label(series, "state") == "open" && value > 0 {
            *shown.entry(vec![label(series, "rule"), label(series, "account")]).or_default() += value;
        }
    }
    assert_eq!(shown, tally(findings, &[|row| text(row, "rule"), |row| text(row, "account")]));
}

/// The GDPR report lists the open findings of the rules that support it, on the page and as a document.
fn report_shows(demo: &Demo, findings: &[Value]) {
    let rules = demo.api("rules");
    let supporting: BTreeSet<String> = rules["rules"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|rule| rule["controls"].get("gdpr").is_some())
        .map(|rule| text(rule, "name"))
        .collect();
    let concerned = findings.iter().filter(|finding| supporting.contains(&text(finding, "rule")));
    let concerned: BTreeSet<String> = concerned.map(|finding| text(finding, "finding")).collect();
    assert!(concerned.len() >= 10, "GDPR has rules that the demo violates: {concerned:?}");

    let report = demo.api("reports/gdpr");
    let rows = report["open_findings"].as_array().unwrap();
    assert_eq!(rows.iter().map(|row| text(row, "id")).collect::<BTreeSet<_>>(), concerned);
    assert_eq!(rows.len(), concerned.len());
    let outside = report["residency"]["sets"].as_array().unwrap().iter();
    assert_eq!(outside.filter(|set| set["residency"] == "outside").count(), 1);

    let page = http::get(demo.keyward, "/reports/gdpr").unwrap();
    for id in &concerned {
        assert!(page.contains(id.as_str()), "the page leaves out {id}");
    }
    let resolved = demo.api("findings?state=resolved");
    for finding in resolved["findings"].as_array().unwrap() {
        assert!(!page.contains(&text(finding, "finding")), "the page has {finding}");
    }
}

/// Every query of the dashboards is answered, the panels on posture show what the API says, and the shipped
/// rules are evaluated without an error.
fn dashboard_shows(demo: &Demo, prometheus: &Prometheus, findings: &[Value]) {
    let panels = panels("keyward-overview");
    let started = Instant::now();
    loop {
        // Asked anew each time: a sweep may be under way.
        let problems = posture_problems(prometheus, &panels, &posture(demo, findings));
        if problems.is_empty() {
            break;
        }
        assert!(started.elapsed() < SCRAPED_WITHIN, "{problems:#?}");
        std::thread::sleep(Duration::from_millis(500));
    }
    let of_events = events_panels();
    for (panel, expressions) in panels.iter().chain(&of_events) {
        for expression in expressions {
            let series = prometheus.query(expression).unwrap();
            assert!(!series.is_empty(), "{panel} is empty: {expression}");
        }
    }
    places_of_the_queue_are_watched(prometheus);
    for rule in prometheus.rules().unwrap() {
        assert_eq!(rule["health"], "ok", "{rule}");
    }
    alerts_are_about_findings(prometheus, findings);
}

/// The panels on events. One is empty while all is well: every other series of it begins with 0.
fn events_panels() -> BTreeMap<String, Vec<String>> {
    let mut panels = panels("keyward-events");
    for problems in panels.get_mut("Problems by reason").unwrap() {
        *problems = problems.strip_suffix(" > 0").unwrap().to_owned();
    }
    panels
}

/// Wherever events are looked up, the queue is to bring them too, and its silence shows.
fn places_of_the_queue_are_watched(prometheus: &Prometheus) {
    let places = |source: &str| {
        let series =
            prometheus.query(&format!("keyward_reading_age_seconds{{source=\"{source}\"}}")).unwrap();
        let place = |series: &Value| (text(&series["metric"], "account"), text(&series["metric"], "region"));
        series.iter().map(place).collect::<BTreeSet<_>>()
    };
    assert!(!places("lookup").is_empty());
    assert_eq!(places("queue"), places("lookup"));
}

/// A panel's labels, and what it counts by them.
type Panel = (&'static [&'static str], Counts);

/// What the panels on posture are to show, from the API.
fn posture(demo: &Demo, findings: &[Value]) -> BTreeMap<&'static str, Panel> {
    let of_levels = |levels: &[&str]| {
        tally(findings.iter().filter(|finding| levels.contains(&text(finding, "level").as_str())), &[])
    };
    let sets = demo.api("key-sets")["key_sets"].as_array().unwrap().clone();
    let outside = sets.iter().filter(|set| set["residency"] == "outside");
    let keys = demo.api("keys")["keys"].as_array().unwrap().clone();
    let customer: Vec<&Value> = keys.iter().filter(|key| key["key"]["manager"] == "CUSTOMER").collect();
    let readings = demo.api("coverage")["readings"].as_array().unwrap().clone();
    let failed: u64 = readings.iter().filter_map(|reading| reading["failed"].as_u64()).sum();
    assert!(failed >= 2, "one key refuses two calls: {readings:?}");
    let mut failed_by_account = Counts::new();
    for reading in readings.iter().filter(|reading| reading["failed"].as_u64() > Some(0)) {
        *failed_by_account.entry(vec![text(reading, "account")]).or_default() +=
            reading["failed"].as_u64().unwrap_or_default();
    }
    let boundary: fn(&Value) -> String =
        |row| row["boundary"].as_str().map_or_else(|| "none".to_owned(), ToOwned::to_owned);
    [
        ("Critical findings", (&[][..], of_levels(&["critical"]))),
        ("High findings", (&[], of_levels(&["high"]))),
        ("Other findings", (&[], of_levels(&["medium", "low", "informational"]))),
        ("Excepted", (&[], Counts::new())),
        ("Key sets outside", (&[], tally(outside, &[]))),
        ("Key sets not known", (&[], Counts::new())),
        ("Readings not ok", (&[], [(Vec::new(), failed)].into())),
        ("What could not be read", (&["account"], failed_by_account)),
        (
            "Posture by boundary",
            (
                &["boundary", "residency"],
                tally(&sets, &[|set| text(&set["boundary"], "name"), |set| text(set, "residency")]),
            ),
        ),
        (
            "Findings by rule and level",
            (
                &["rule", "level", "state"],
                tally(
                    findings,
                    &[|row| text(row, "rule"), |row| text(row, "level"), |row| text(row, "status")],
                ),
            ),
        ),
        ("Findings over time", (&["level"], tally(findings, &[|row| text(row, "level")]))),
        ("Findings by boundary", (&["boundary"], tally(findings, &[boundary]))),
        (
            "Findings by account",
            (&["account", "level"], tally(findings, &[|row| text(row, "account"), |row| text(row, "level")])),
        ),
        (
            "Customer keys by country",
            (&["country"], tally(customer.iter().copied(), &[|key| text(&key["key"], "country")])),
        ),
        (
            "Customer keys by state",
            (&["state"], tally(customer.iter().copied(), &[|key| text(&key["key"], "state")])),
        ),
    ]
    .into()
}

fn posture_problems(
    prometheus: &Prometheus,
    panels: &BTreeMap<String, Vec<String>>,
    wanted: &BTreeMap<&'static str, Panel>,
) -> Vec<String> {
    let mut problems = Vec::new();
    for (panel, (labels, wanted)) in wanted {
        let expressions = panels.get(*panel).unwrap_or_else(|| panic!("the dashboard has no panel {panel}"));
        for expression in expressions {
            match prometheus.counts(expression, labels) {
                Ok(shown) if shown == *wanted => {}
                Ok(shown) => problems.push(format!("{panel} shows {shown:?}, and it is {wanted:?}")),
                Err(error) => problems.push(format!("{panel}: {error}")),
            }
        }
    }
    problems
}

/// The alerts that fire name the critical findings; what watches Keyward itself has only the refused readings
/// of one key to tell of, and that not yet.
fn alerts_are_about_findings(prometheus: &Prometheus, findings: &[Value]) {
    let alerts = prometheus.alerts().unwrap();
    let of = |name: &str| -> BTreeSet<(String, String)> {
        let alerts = alerts.iter().map(|alert| &alert["labels"]).filter(|labels| labels["alertname"] == name);
        alerts.map(|labels| (text(labels, "rule"), text(labels, "account"))).collect()
    };
    let at = |level: &str| -> BTreeSet<(String, String)> {
        let findings = findings.iter().filter(|finding| finding["level"] == level);
        findings.map(|finding| (text(finding, "rule"), text(finding, "account"))).collect()
    };
    assert_eq!(of("KeywardCriticalFinding"), at("critical"));
    assert_eq!(of("KeywardHighFinding"), at("high"));
    let names: BTreeSet<String> = alerts.iter().map(|alert| text(&alert["labels"], "alertname")).collect();
    assert_eq!(
        names.iter().map(String::as_str).collect::<Vec<_>>(),
        ["KeywardCoverageLost", "KeywardCriticalFinding", "KeywardHighFinding"]
    );
    // The bucket of the payments account's own trail is somebody else's: its log files cannot be verified.
    let of_account = |account: &str| (String::new(), account.to_owned());
    let lost = [of_account(estate::CUSTOMERS), of_account(estate::PAYMENTS)].into();
    assert_eq!(of("KeywardCoverageLost"), lost);
}
