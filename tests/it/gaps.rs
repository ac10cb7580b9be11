//! What cannot be read: everything else goes on, and nobody takes a gap for compliance.

use std::collections::BTreeSet;
use std::process::Output;
use std::time::Duration;

use keyward::sandbox::estate::{ANALYTICS, APAC, CUSTOMERS, EXTERNAL_ID, KeyRef, PAYMENTS, ROLE, TOPIC};
use keyward::sandbox::faults::{Effect, Fault};
use serde_json::{Value, json};

use crate::daemon_lab::{Lab, PATIENCE, Settings, about, by_key, standing};
use crate::support::wait_for;

/// The key of the estate whose policy shuts the auditor out.
const VAULT: KeyRef = KeyRef { account: CUSTOMERS, region: "eu-north-1", name: "alias/hr-vault" };
/// A key in good order.
const LOYALTY: KeyRef = KeyRef { account: CUSTOMERS, region: "eu-west-1", name: "alias/marketing-segments" };
const FOUR: &[&str] = &[PAYMENTS, CUSTOMERS, ANALYTICS, APAC];

fn settings() -> Settings {
    Settings { accounts: FOUR, usage: false, ..Settings::default() }
}

fn document(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    let said = String::from_utf8_lossy(&output.stderr);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}\n{said}"))
}

fn rows<'a>(scan: &'a Value, list: &str) -> &'a Vec<Value> {
    scan[list].as_array().unwrap()
}

/// The readings that did not succeed, as account, Region, API and result.
fn failed(scan: &Value) -> BTreeSet<[String; 4]> {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let row = |reading: &Value| ["account", "region", "api", "result"].map(|name| text(&reading[name]));
    rows(scan, "readings").iter().map(row).filter(|row| row[3] != "ok").collect()
}

fn row(account: &str, region: &str, api: &str, result: &str) -> [String; 4] {
    [account, region, api, result].map(str::to_owned)
}

/// The verdict on a subject, with the reasons.
fn verdict(scan: &Value, rule: &str, subject: &str) -> (String, String) {
    let mut verdicts = rows(scan, "verdicts").iter();
    let found =
        verdicts.find(|row| row["rule"] == rule && row["subject"].as_str().unwrap().contains(subject));
    let found = found.unwrap_or_else(|| panic!("no verdict of {rule} on {subject}"));
    (found["verdict"].as_str().unwrap().to_owned(), found["reasons"].to_string())
}

fn found(scan: &Value) -> BTreeSet<(String, String)> {
    let findings = rows(scan, "findings").iter().map(crate::daemon_lab::Alert::of);
    findings.map(|finding| (finding.rule, finding.place)).collect()
}

#[test]
fn a_scan_with_gaps_finishes_and_says_what_it_does_not_know() {
    let lab = Lab::with(&settings());
    lab.world(|world| {
        let region = Some("sa-east-1".parse().unwrap());
        world.faults.add(Fault { region, ..Fault::every(Effect::Error(503)) });
        let role = world.identity.role_mut(&APAC.parse().unwrap(), ROLE).unwrap();
        role.external_id = Some("another".to_owned());
    });
    let output = lab.scan(&["--format", "json"]);
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
    let scan = document(&output);

    // The account: nothing of it is judged, and that is said.
    let unreadable = |place: &str| ("region-unreadable".to_owned(), format!("{place}/"));
    let failures = failed(&scan);
    assert!(failures.contains(&row(APAC, "-", "sts:AssumeRole", "denied")), "{failures:?}");
    assert!(found(&scan).contains(&unreadable(&format!("{APAC}/aws-global"))), "{:?}", found(&scan));
    // The Region: the same for the accounts that could be entered.
    for account in [PAYMENTS, CUSTOMERS, ANALYTICS] {
        assert!(failures.contains(&row(account, "sa-east-1", "kms:ListKeys", "unreachable")), "{failures:?}");
        assert!(found(&scan).contains(&unreadable(&format!("{account}/sa-east-1"))));
        let (outcome, reasons) = verdict(&scan, "kms-events-not-logged", &format!("{account}/sa-east-1"));
        assert_eq!(outcome, "unknown");
        assert!(reasons.contains("cloudtrail:DescribeTrails unreachable"), "{reasons}");
    }
    // The key: what depends on its policy is unknown, with the reason, and what does not is judged.
    let vault = lab.key_id(VAULT);
    assert!(failures.contains(&row(CUSTOMERS, "eu-north-1", "kms:GetKeyPolicy", "denied")), "{failures:?}");
    let (outcome, reasons) = verdict(&scan, "key-policy-public", &vault);
    assert_eq!(outcome, "unknown");
    assert!(reasons.contains("kms:GetKeyPolicy denied"), "{reasons}");
    assert_eq!(verdict(&scan, "rotation-disabled", &vault).0, "pass");
    assert_eq!(verdict(&scan, "key-unreadable", &vault).0, "fail");

    // Everything else is judged as ever: of what stands in the estate only the dark account's is missing.
    let apac: BTreeSet<_> = standing(&lab)
        .into_iter()
        .filter(|(rule, _)| {
            ["imported-material-expiring", "key-policy-cross-account"].contains(&rule.as_str())
        })
        .collect();
    let expected: BTreeSet<_> = standing(&lab).difference(&apac).cloned().collect();
    let others = found(&scan).into_iter().filter(|(rule, _)| rule != "region-unreadable");
    assert_eq!(by_key(others), expected);
    assert_eq!(found(&scan).iter().filter(|(rule, _)| rule == "region-unreadable").count(), 4);
    let no_passes = rows(&scan, "verdicts").iter().filter(|row| {
        let subject = row["subject"].as_str().unwrap();
        subject.contains("sa-east-1") && row["verdict"] == "pass"
    });
    assert_eq!(no_passes.count(), 0, "nothing of a dark Region passes");
}

#[test]
fn the_exit_code_tells_findings_gaps_and_health_apart() {
    let lab = Lab::with(&settings());
    // The estate has a key that the auditor may not read: 3, and 1 where a level is asked for.
    assert_eq!(lab.scan(&[]).status.code(), Some(3));
    assert_eq!(lab.scan(&["--fail-on", "high"]).status.code(), Some(1));
    assert_eq!(lab.scan(&["--fail-on", "critical"]).status.code(), Some(3));
    // In Oregon, analytics has nothing to find and nothing that could not be read.
    lab.configure(&Settings { accounts: &[ANALYTICS], regions: &["us-west-2"], ..settings() });
    let healthy = lab.scan(&["--format", "json", "--fail-on", "informational"]);
    let scan = document(&healthy);
    assert_eq!(found(&scan), BTreeSet::new());
    assert_eq!(failed(&scan), BTreeSet::new());
    assert!(rows(&scan, "verdicts").len() > 20);
    assert_eq!(healthy.status.code(), Some(0));
}

#[test]
fn throttling_that_passes_is_waited_for_and_throttling_that_stays_is_said() {
    let lab =
        Lab::with(&Settings { accounts: &[ANALYTICS], regions: &["us-east-1", "us-west-2"], ..settings() });
    let throttle = |region: &str, operation: &str, times| Fault {
        region: Some(region.parse().unwrap()),
        service: Some("kms".to_owned()),
        operation: Some(operation.to_owned()),
        times,
        ..Fault::every(Effect::Throttle)
    };
    lab.world(|world| world.faults.add(throttle("us-west-2", "ListKeys", Some(2))));
    let scan = lab.scan(&["--format", "json"]);
    assert_eq!(failed(&document(&scan)), BTreeSet::new(), "the retries have sufficed");
    assert_eq!(scan.status.code(), Some(0));
    assert!(lab.world(|world| world.tally.throttled()) >= 2);

    lab.world(|world| world.faults.replace(vec![throttle("us-east-1", "GetKeyRotationStatus", None)]));
    let output = lab.scan(&["--format", "json"]);
    assert_eq!(output.status.code(), Some(3));
    let scan = document(&output);
    let expected = row(ANALYTICS, "us-east-1", "kms:GetKeyRotationStatus", "throttled");
    assert_eq!(failed(&scan), [expected].into());
    let reports = KeyRef { account: ANALYTICS, region: "us-east-1", name: "alias/legacy-reports" };
    let (outcome, reasons) = verdict(&scan, "rotation-disabled", &lab.key_id(reports));
    assert_eq!(outcome, "unknown", "neither accused nor acquitted");
    assert!(reasons.contains("kms:GetKeyRotationStatus throttled"), "{reasons}");
    assert_eq!(verdict(&scan, "key-policy-public", &lab.key_id(reports)).0, "pass");
}

/// A role that cannot be assumed any more, or can again.
fn change_role(lab: &Lab, account: &str, external_id: &str) {
    lab.world(|world| {
        let role = world.identity.role_mut(&account.parse().unwrap(), ROLE).unwrap();
        role.external_id = Some(external_id.to_owned());
    });
}

#[test]
fn a_daemon_that_loses_sight_of_a_key_keeps_its_finding_until_it_sees_again() {
    let lab =
        Lab::with(&Settings { accounts: &[CUSTOMERS], regions: &["eu-west-1"], sweep_secs: 3, ..settings() });
    let (key, KeyRef { account, region, .. }) = (lab.key_id(LOYALTY), LOYALTY);
    lab.administer(account, region, "kms:DisableKeyRotation", &about(&key, json!({})));
    let daemon = lab.daemon();
    daemon.ready();
    let rule = "rotation-disabled";
    let open = || daemon.whole_finding("open", rule, &key);
    let is_stale = |stale: bool| move |finding: &Value| finding["finding"]["stale"] == stale;
    wait_for("the finding", PATIENCE, || open().filter(is_stale(false)));

    // The key's own policy shuts the auditor out, so that rotation cannot be asked for.
    let mut refusal = Fault { service: Some("kms".to_owned()), ..Fault::every(Effect::Deny) };
    refusal.operation = Some("GetKeyRotationStatus".to_owned());
    lab.world(|world| world.faults.add(refusal));
    lab.administer(account, region, "kms:EnableKeyRotation", &about(&key, json!({})));
    wait_for("the finding to be stale", PATIENCE, || open().filter(is_stale(true)));
    wait_for("the finding about the gap", PATIENCE, || daemon.finding("open", "key-unreadable", &key));
    assert_eq!(lab.alerts_of(TOPIC, "resolved"), []);

    lab.world(|world| world.faults.clear());
    wait_for("the repair to be seen", PATIENCE, || daemon.whole_finding("resolved", rule, &key));
    wait_for("the gap to close", PATIENCE, || daemon.finding("resolved", "key-unreadable", &key));
    wait_for("the messages", PATIENCE, || {
        let resolved = by_key(lab.alerts_of(TOPIC, "resolved"));
        resolved.contains(&(rule.to_owned(), key.clone())).then_some(())
    });
}

#[test]
fn an_account_that_can_be_entered_again_is_no_gap_any_more() {
    let lab = Lab::with(&Settings {
        accounts: &[PAYMENTS, ANALYTICS],
        regions: &["us-west-2"],
        sweep_secs: 3,
        ..settings()
    });
    change_role(&lab, ANALYTICS, "another");
    let daemon = lab.daemon();
    daemon.ready();
    let (rule, place) = ("region-unreadable", format!("{ANALYTICS}/aws-global"));
    wait_for("the dark account", PATIENCE, || daemon.finding("open", rule, &place));
    wait_for("the message", PATIENCE, || {
        lab.alerts_of(TOPIC, "opened").into_iter().find(|(of, at)| of == rule && at.starts_with(&place))
    });
    let keys_of = |account: &str| {
        let keys = daemon.json(&format!("/api/v1/keys?account={account}"))?;
        keys["total"].as_u64().filter(|total| *total > 0)
    };
    assert_eq!(keys_of(ANALYTICS), None);

    change_role(&lab, ANALYTICS, EXTERNAL_ID);
    wait_for("the account to be read", PATIENCE, || keys_of(ANALYTICS));
    wait_for("the gap to close", PATIENCE, || daemon.finding("resolved", rule, &place));
    wait_for("the message", PATIENCE, || {
        lab.alerts_of(TOPIC, "resolved").into_iter().find(|(of, at)| of == rule && at.starts_with(&place))
    });
    assert!(daemon.finding("open", rule, "").is_none());
    // It stays so over a restart: what is stored says so, too.
    assert!(daemon.terminate().success());
    let daemon = lab.daemon();
    daemon.ready();
    std::thread::sleep(Duration::from_secs(1));
    assert!(daemon.finding("open", rule, "").is_none());
    let findings = daemon.findings("resolved");
    assert_eq!(findings.iter().filter(|finding| finding["rule"] == rule).count(), 1);
}
