//! A daemon's life: what happens becomes findings, metrics and messages, and goes again when it is mended.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::TimeDelta;
use keyward::sandbox::estate::{CUSTOMERS, KeyRef, MANAGEMENT, PAYMENTS, TOPIC};
use keyward::sandbox::scenario::{INCIDENTS, REPLICATED, Scenario, UNROTATED};
use serde_json::json;

use crate::daemon_lab::{Alert, Daemon, Lab, PATIENCE, Settings, about, by_key, lock, standing};
use crate::support::wait_for;

/// The Regions in which the customers' replicated key is, or gets to.
const FEW: Settings = Settings {
    accounts: &[PAYMENTS, CUSTOMERS],
    regions: &["eu-central-1", "eu-west-1", "us-east-1"],
    sweep_secs: 5,
    usage: false,
    topics: &[TOPIC],
    disabled: &[],
    residency: true,
};

fn await_message(lab: &Lab, status: &str, rule: &str, key: &str) {
    wait_for(&format!("{rule} {status} on {key}"), PATIENCE, || {
        let alerts = lab.alerts(TOPIC).into_iter();
        let mut wanted = alerts.filter(|alert| alert.status == status && alert.rule == rule);
        wanted.find(|alert| alert.place.ends_with(key))
    });
}

/// The value of the findings' metric for a rule and a state, over all its series.
fn metric(daemon: &Daemon, rule: &str, state: &str) -> f64 {
    let text = daemon.get("/metrics").unwrap();
    let lines = text.lines().filter(|line| {
        line.starts_with("keyward_findings{")
            && line.contains(&format!("rule=\"{rule}\""))
            && line.contains(&format!("state=\"{state}\""))
    });
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

/// Replicates a key as any client of AWS does: with the SDK, over the wire.
fn replicate_by_sdk(lab: &Lab, id: &str, to: &str) {
    let endpoint = lab.endpoint();
    lab.block_on(async {
        let region = REPLICATED.region.parse().unwrap();
        let sdk = keyward::collect::sdk_config_for(&endpoint, CUSTOMERS, "test", &region).await;
        let kms = aws_sdk_kms::Client::from_conf(
            aws_sdk_kms::config::Builder::from(&sdk)
                .app_name(aws_sdk_kms::config::AppName::new("terraform").unwrap())
                .build(),
        );
        kms.replicate_key().key_id(id).replica_region(to).send().await.unwrap();
    });
}

#[test]
fn a_replica_abroad_is_found_shown_and_said_and_resolves_when_it_is_gone() {
    let lab = Lab::with(&FEW);
    let daemon = lab.daemon();
    daemon.ready();
    let rule = "key-set-outside-boundary";
    assert!(daemon.finding("open", rule, "").is_none());
    assert!(metric(&daemon, rule, "open") < 0.5);

    let id = lab.key_id(REPLICATED);
    replicate_by_sdk(&lab, &id, "us-east-1");
    await_message(&lab, "opened", rule, &id);
    await_message(&lab, "opened", "key-replicated-outside-boundary", &id);
    assert!(daemon.finding("open", rule, &id).is_some());
    assert!((metric(&daemon, rule, "open") - 1.0).abs() < 0.5);
    assert!((metric(&daemon, "key-replicated-outside-boundary", "open") - 1.0).abs() < 0.5);

    let deletion = about(&id, json!({ "PendingWindowInDays": 7 }));
    lab.administer(CUSTOMERS, "us-east-1", "kms:ScheduleKeyDeletion", &deletion);
    await_message(&lab, "opened", "key-pending-deletion", &id);
    assert!(daemon.finding("open", rule, &id).is_some(), "the material is there until the window is over");
    lab.world(|world| {
        world.clock.advance(TimeDelta::days(8));
        let then = world.now();
        world.kms.advance(then);
        // The daemon's own sessions would be over by then, and it cannot know that the clock was moved.
        world.clock.reset();
    });
    await_message(&lab, "resolved", rule, &id);
    await_message(&lab, "resolved", "key-pending-deletion", &id);
    assert!(daemon.finding("resolved", rule, &id).is_some());
    assert!(metric(&daemon, rule, "open") < 0.5);
    assert!(daemon.finding("open", "key-replicated-outside-boundary", &id).is_some(), "it has happened");
    let resolved = lab.alerts_of(TOPIC, "resolved");
    assert_eq!(resolved.iter().filter(|(of, _)| of == rule).count(), 1);
}

#[test]
fn the_scenario_gives_its_incidents_and_nothing_else() {
    let lab = Lab::with(&Settings { sweep_secs: 10, ..Settings::default() });
    let daemon = lab.daemon();
    daemon.ready();
    let world = lab.shared_world();
    let mut expected = standing(&lab);
    assert_eq!(by_key(daemon.found("open")), expected);
    for step in Scenario::incidents().steps() {
        for rule in step.resolves {
            await_message(&lab, "opened", rule, &lab.key_id(step.key.unwrap()));
        }
        step.run(&mut lock(&world)).unwrap();
    }
    for step in INCIDENTS {
        let key = step.key.map(|key| lab.key_id(key)).unwrap_or_default();
        expected.extend(step.violates.iter().map(|rule| ((*rule).to_owned(), key.clone())));
    }
    let repaired = ("rotation-disabled".to_owned(), lab.key_id(UNROTATED));
    let said: BTreeSet<_> = expected.clone();
    expected.remove(&repaired);
    wait_for("every incident", PATIENCE, || {
        let found = by_key(daemon.found("open"));
        let unseen: Vec<_> = expected.difference(&found).cloned().collect();
        unseen.is_empty().then_some(())
    });
    await_message(&lab, "resolved", "rotation-disabled", &repaired.1);
    wait_for("all messages", PATIENCE, || (lab.alerts(TOPIC).len() > said.len()).then_some(()));
    // Sweeps and look-ups go on, and find nothing more.
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(by_key(daemon.found("open")), expected);
    let opened = lab.alerts_of(TOPIC, "opened");
    assert_eq!(opened.len(), said.len(), "each once: {opened:?}");
    assert_eq!(by_key(opened), said);
    assert_eq!(by_key(lab.alerts_of(TOPIC, "resolved")), [repaired].into());
    let others: Vec<Alert> =
        lab.alerts(TOPIC).into_iter().filter(|alert| alert.status == "reminder").collect();
    assert_eq!(others, []);
}

#[test]
fn a_stopped_trail_is_a_finding_at_once_and_a_started_one_none_any_more() {
    // One sweep only: what follows comes of the events.
    let lab = Lab::with(&Settings { accounts: &[MANAGEMENT, PAYMENTS], sweep_secs: 86_400, ..FEW });
    let daemon = lab.daemon();
    daemon.ready();
    let rule = "kms-events-not-logged";
    assert!(daemon.finding("open", rule, "").is_none());
    let by_name = |name: &str| json!({ "Name": name });
    for (account, trail) in [(PAYMENTS, "payments-audit"), (MANAGEMENT, "organization")] {
        lab.administer(account, "eu-central-1", "cloudtrail:StopLogging", &by_name(trail));
    }
    for place in
        FEW.regions.iter().flat_map(|region| [MANAGEMENT, PAYMENTS].map(|id| format!("{id}/{region}")))
    {
        wait_for(&format!("no trail in {place}"), PATIENCE, || daemon.finding("open", rule, &place));
    }
    lab.administer(MANAGEMENT, "eu-central-1", "cloudtrail:StartLogging", &by_name("organization"));
    wait_for("the repair", PATIENCE, || daemon.finding("open", rule, "").is_none().then_some(()));
    assert_eq!(daemon.findings("resolved").iter().filter(|finding| finding["rule"] == rule).count(), 6);
}

#[test]
fn standards_are_read_anew_on_request_and_a_broken_configuration_is_refused() {
    let lab = Lab::with(&FEW);
    let daemon = lab.daemon();
    daemon.ready();
    let rule = "rotation-period-too-long";
    assert!(daemon.finding("open", rule, PAYMENTS).is_some());
    let undeclared = "key-set-across-jurisdictions";
    assert!(daemon.finding("open", undeclared, "").is_none());

    lab.configure(&Settings { disabled: &["rotation-period-too-long"], residency: false, ..FEW });
    assert_eq!(daemon.post("/-/reload").0, 200);
    let rules = daemon.json("/api/v1/rules").unwrap();
    let has = |name: &str| rules["rules"].as_array().unwrap().iter().any(|rule| rule["name"] == name);
    assert!(has(undeclared) && !has(rule));
    let id = lab.key_id(REPLICATED);
    replicate_by_sdk(&lab, &id, "us-east-1");
    await_message(&lab, "opened", undeclared, &id);
    assert!(
        daemon.finding("open", "key-set-outside-boundary", "").is_none(),
        "no boundary is declared any more"
    );

    lab.configure(&Settings { disabled: &["no-such-rule"], ..FEW });
    let (status, answer) = daemon.post("/-/reload");
    assert_eq!(status, 400, "{answer}");
    assert!(answer.contains("no-such-rule"), "{answer}");
    assert!(daemon.finding("open", undeclared, &id).is_some(), "the old configuration stays in force");

    lab.configure(&FEW);
    assert_eq!(daemon.post("/-/reload").0, 200);
    await_message(&lab, "opened", "key-set-outside-boundary", &id);
    await_message(&lab, "resolved", undeclared, &id);
    assert!(daemon.finding("open", rule, PAYMENTS).is_some());
}

#[test]
fn a_second_life_goes_on_where_the_first_one_ended() {
    let lab = Lab::with(&FEW);
    let daemon = lab.daemon();
    daemon.ready();
    let standing: Vec<Alert> = wait_for("the first messages", PATIENCE, || {
        let (alerts, open) = (lab.alerts(TOPIC), daemon.findings("open").len());
        (!alerts.is_empty() && alerts.len() == open).then_some(alerts)
    });
    let findings = daemon.all_findings();
    assert!(daemon.terminate().success(), "SIGTERM is an orderly end");

    let key = lab.key_id(UNROTATED);
    let KeyRef { account, region, .. } = UNROTATED;
    lab.administer(account, region, "kms:DisableKeyRotation", &about(&key, json!({})));
    let daemon = lab.daemon();
    assert!(
        wait_for("the stored findings", PATIENCE, || {
            let found = daemon.all_findings();
            (!found.is_empty()).then_some(found)
        })
        .is_superset(&findings)
    );
    await_message(&lab, "opened", "rotation-disabled", &key);
    await_message(&lab, "opened", "rotation-turned-off", &key);
    lab.administer(account, region, "kms:EnableKeyRotation", &about(&key, json!({})));
    await_message(&lab, "resolved", "rotation-disabled", &key);
    assert!(daemon.terminate().success());
    let alerts = lab.alerts(TOPIC);
    assert_eq!(alerts.len(), standing.len() + 3, "{alerts:?}");
    assert_eq!(alerts[..standing.len()], standing);
}
