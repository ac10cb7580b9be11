//! The command line: what each command says of itself, what it prints, and how it ends.

use std::collections::BTreeSet;

use chrono::Utc;
use keyward::sandbox::Actor;
use keyward::sandbox::call::Principal;
use keyward::sandbox::estate::{self, STANDING};
use serde_json::{Value, json};

use crate::lab::{Lab, Ran};
use crate::support;

/// Every command, with the words that lead to it.
const COMMANDS: [&[&str]; 13] = [
    &[],
    &["run"],
    &["demo"],
    &["scan"],
    &["report"],
    &["rules"],
    &["rules", "list"],
    &["rules", "check"],
    &["rules", "test"],
    &["rules", "explain"],
    &["config"],
    &["config", "check"],
    &["help", "scan"],
];

/// Runs the program where there is no AWS, and no terminal.
fn plain(arguments: &[&str]) -> Ran {
    let dir = tempfile::tempdir().unwrap();
    Ran::of(support::keyward(dir.path()).args(arguments).env("COLUMNS", "100"))
}

fn scan(lab: &Lab, arguments: &[&str]) -> Ran {
    lab.run(&[&["--log", "error", "scan", "--config", "demo.toml"], arguments].concat())
}

/// The rules that the estate violates from the start, once for each violation.
fn standing() -> Vec<&'static str> {
    let mut rules: Vec<&str> = STANDING.iter().map(|violation| violation.rule).collect();
    rules.sort_unstable();
    rules
}

#[test]
fn every_command_explains_itself() {
    let mut pages = String::new();
    for command in COMMANDS {
        let help: &[&str] = if command.first() == Some(&"help") { &[] } else { &["--help"] };
        let ran = plain(&[command, help].concat());
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{command:?}");
        pages.extend(["$ keyward ", &[command, help].concat().join(" "), "\n", &ran.out, "\n"]);
    }
    insta::assert_snapshot!(pages);
}

#[test]
fn the_version_is_the_package_s() {
    let ran = plain(&["--version"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, concat!("keyward ", env!("CARGO_PKG_VERSION"), "\n")));
}

#[test]
fn nothing_at_all_is_answered_with_the_help() {
    plain(&[]).says(2, &["Usage: keyward", "scan", "report"]);
}

#[test]
fn the_scan_s_json_has_the_fields_that_were_promised() {
    let ran = scan(&Lab::demo(), &["--format", "json"]);
    // One key of the estate does not let the auditor in.
    assert_eq!(ran.code, 3, "{}", ran.err);
    let scan = ran.json();
    assert_eq!(keys(&scan), ["at", "findings", "readings", "schema", "verdicts"]);
    assert_eq!(scan["schema"], "keyward.scan/v1");
    assert!(scan["at"].as_str().unwrap().parse::<chrono::DateTime<Utc>>().is_ok());
    assert_eq!(keys(&scan["verdicts"][0]), ["reasons", "rule", "subject", "verdict"]);
    let reading = ["account", "api", "at", "region", "result"];
    assert!(
        reading.iter().all(|field| keys(&scan["readings"][0]).contains(field)),
        "{}",
        scan["readings"][0]
    );

    let findings = scan["findings"].as_array().unwrap();
    let mut rules: Vec<&str> = findings.iter().map(|finding| finding["rule"].as_str().unwrap()).collect();
    rules.sort_unstable();
    assert_eq!(rules, standing());
    for finding in findings {
        for field in [
            "status",
            "finding",
            "rule",
            "level",
            "title",
            "message",
            "account",
            "region",
            "key_set",
            "key",
            "boundary",
            "controls",
            "first_seen",
            "last_seen",
            "evidence",
            "remediation",
        ] {
            assert!(finding.get(field).is_some(), "{field} is missing in {finding}");
        }
        assert_eq!((&finding["status"], finding.get("schema")), (&json!("opened"), None));
    }
    let outcomes: BTreeSet<&str> =
        scan["verdicts"].as_array().unwrap().iter().map(|row| row["verdict"].as_str().unwrap()).collect();
    assert_eq!(outcomes, BTreeSet::from(["fail", "not_applicable", "pass", "unknown"]));
}

fn keys(object: &Value) -> Vec<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn the_scan_s_table_is_for_people() {
    let ran = scan(&Lab::demo(), &[]);
    assert_eq!(ran.code, 3, "{}", ran.err);
    assert!(!ran.out.contains('\u{1b}'), "no colours where there is no terminal");
    let rows: Vec<&str> =
        ran.out.lines().filter(|line| standing().iter().any(|rule| line.contains(rule))).collect();
    assert_eq!(rows.len(), STANDING.len());
    ran.says(
        3,
        &[
            "LEVEL",
            "6 findings, 2 high, 3 medium, 1 low; ",
            "Not everything could be read",
            "kms:GetKeyPolicy denied (1 of ",
        ],
    );
    let worst_first = ["high", "medium", "low"].map(|level| rows.iter().rposition(|row| row.contains(level)));
    assert!(worst_first.is_sorted(), "{rows:#?}");
}

#[test]
fn colours_come_when_asked_for_and_never_against_no_color() {
    let lab = Lab::demo();
    let with = |name: &str| {
        let mut command = lab.keyward(&["--log", "error", "scan", "--config", "demo.toml"]);
        Ran::of(command.env("TERM", "xterm").env("CLICOLOR_FORCE", "1").env(name, "1")).out
    };
    assert!(with("COLORTERM").contains("\u{1b}["));
    assert!(!with("NO_COLOR").contains("\u{1b}["));
}

#[test]
fn the_scan_s_csv_has_one_row_a_finding() {
    let ran = scan(&Lab::demo(), &["--format", "csv"]);
    assert_eq!(ran.code, 3, "{}", ran.err);
    let mut reader = csv::Reader::from_reader(ran.out.as_bytes());
    let header: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
    assert_eq!(
        header.join(","),
        "finding,level,rule,title,account,region,subject,key_set,boundary,status,first_seen,last_seen,message,remediation,controls"
    );
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    let mut rules: Vec<&str> = rows.iter().map(|row| &row[2]).collect();
    rules.sort_unstable();
    assert_eq!(rules, standing());
    assert!(rows.iter().all(|row| row[9] == *"open" && row[14].contains("iso27001: ")), "{rows:#?}");
}

#[test]
fn the_scan_s_ocsf_is_a_compliance_finding_a_line() {
    let ran = scan(&Lab::demo(), &["--format", "ocsf"]);
    assert_eq!(ran.code, 3, "{}", ran.err);
    let events: Vec<Value> = ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut rules: Vec<&str> =
        events.iter().map(|event| event["metadata"]["event_code"].as_str().unwrap()).collect();
    rules.sort_unstable();
    assert_eq!(rules, standing());
    for event in &events {
        // What OCSF 1.8 requires of a Compliance Finding and of the objects in it.
        for path in [
            "/activity_id",
            "/category_uid",
            "/class_uid",
            "/type_uid",
            "/time",
            "/severity_id",
            "/metadata/version",
            "/metadata/product/vendor_name",
            "/finding_info/uid",
            "/compliance/status_id",
            "/cloud/provider",
            "/resources/0/uid",
        ] {
            assert!(event.pointer(path).is_some(), "{path} is missing in {event}");
        }
        assert_eq!((&event["class_uid"], &event["category_uid"]), (&json!(2003), &json!(2)));
        let activity = event["activity_id"].as_i64().unwrap();
        assert_eq!(event["type_uid"], 200_300 + activity);
        assert_eq!(event["compliance"]["status_id"], 3);
        assert!(event["time"].as_i64().unwrap() > 1_700_000_000_000, "milliseconds");
    }
}

#[test]
fn the_worst_finding_decides_the_exit_code_where_a_level_is_given() {
    let lab = Lab::demo();
    assert_eq!(scan(&lab, &["--fail-on", "low"]).code, 1);
    assert_eq!(scan(&lab, &["--fail-on", "high"]).code, 1);
    // Nothing is that bad, and still not everything could be read.
    assert_eq!(scan(&lab, &["--fail-on", "critical"]).code, 3);
}

/// Turns the rotation of a key of the estate off; gives its id.
fn stop_rotation(lab: &Lab) -> String {
    let (account, region) = (estate::PAYMENTS.parse().unwrap(), "eu-central-1".parse().unwrap());
    let actor = Actor::new(&account, Principal::Root);
    lab.change(|world| {
        let listed = world.act(&actor, &region, "kms:ListKeys", json!({})).unwrap();
        let ids = listed["Keys"].as_array().unwrap().iter().map(|key| key["KeyId"].as_str().unwrap());
        let rotates = |id: &&str| {
            let status = world.act(&actor, &region, "kms:GetKeyRotationStatus", json!({ "KeyId": id }));
            let key = world.act(&actor, &region, "kms:DescribeKey", json!({ "KeyId": id })).unwrap();
            key["KeyMetadata"]["KeyManager"] == "CUSTOMER"
                && status.is_ok_and(|status| status["KeyRotationEnabled"] == true)
        };
        let id = ids.collect::<Vec<_>>().into_iter().find(rotates).unwrap().to_owned();
        world.act(&actor, &region, "kms:DisableKeyRotation", json!({ "KeyId": id })).unwrap();
        id
    })
}

#[test]
fn reports_tell_of_now_and_of_any_time_before() {
    let lab = Lab::demo();
    let (daemon, _) = lab.daemon("demo.toml");
    drop(daemon);
    let before = keyward::clock::now().to_rfc3339();
    let id = stop_rotation(&lab);
    let (daemon, _) = lab.daemon("demo.toml");
    drop(daemon);

    let report = |arguments: &[&str]| {
        let common = ["--log", "error", "report", "--config", "demo.toml"];
        let ran = lab.run(&[&common, arguments].concat());
        assert_eq!(ran.code, 3, "{}", ran.err);
        ran
    };
    let rotation_findings = |report: &Value| -> Vec<String> {
        let open = report["open_findings"].as_array().unwrap().iter();
        open.filter(|row| row["rule"] == "rotation-disabled").map(ToString::to_string).collect()
    };
    let now = report(&["--framework", "iso27001", "--format", "json"]).json();
    assert_eq!(now["schema"], "keyward.report/v1");
    assert_eq!(rotation_findings(&now).len(), 2);
    assert!(rotation_findings(&now).iter().any(|row| row.contains(&id)));
    let then = report(&["--framework", "iso27001", "--format", "json", "--as-of", &before]).json();
    assert_eq!(rotation_findings(&then).len(), 1);
    assert!(!rotation_findings(&then).iter().any(|row| row.contains(&id)));
    let time = |text: &str| text.parse::<chrono::DateTime<Utc>>().unwrap();
    assert_eq!(time(then["as_of"].as_str().unwrap()), time(&before));

    for framework in ["gdpr", "iso27001"] {
        let page = report(&["--framework", framework]).out;
        assert!(page.starts_with("<!doctype html>") && page.trim_end().ends_with("</html>"), "{framework}");
        assert!(page.contains("hr-vault") || page.contains("GetKeyPolicy"), "what could not be read is told");
    }
    report(&["--framework", "gdpr", "-o", "gdpr.html"]);
    let early = ["report", "--config", "demo.toml", "--framework", "gdpr", "--as-of", "2020-01-01T00:00:00Z"];
    lab.run(&early).says(4, &["holds no reading from that time"]);
}

#[test]
fn the_rules_that_come_with_it_are_listed_in_order_and_explained() {
    let listed = plain(&["rules", "list", "--format", "json"]);
    assert_eq!(listed.code, 0);
    let rules = listed.json();
    assert_eq!(rules.as_array().unwrap().len(), 46);
    let table = plain(&["rules", "list"]);
    assert!(rules.as_array().unwrap().iter().all(|rule| table.out.contains(rule["name"].as_str().unwrap())));
    plain(&["rules", "check"]).says(0, &["46 rules in order, 0 errors"]);
    plain(&["rules", "test"]).says(0, &["46 rules, ", " 0 failed"]);
    plain(&["rules", "explain", "key-set-outside-boundary"])
        .says(0, &["Why it matters", "What to do", "gdpr: "]);
}

#[test]
fn a_configuration_is_checked_and_summed_up() {
    let lab = Lab::demo();
    lab.run(&["config", "check", "--config", "demo.toml"])
        .says(0, &["demo.toml: fine: every account of the organization, 10 Regions, 3 residency assignments, 0 topics"]);
    let by_variable = Ran::of(lab.keyward(&["config", "check"]).env("KEYWARD_CONFIG", "demo.toml"));
    by_variable.says(0, &["demo.toml: fine"]);
}
