//! The report of a small estate, and of its past.

use chrono::TimeDelta;

use super::*;
use crate::audit::Auditor;
use crate::audit::tests::{
    auditor, auditor_by, disabling, look_up, minutes, rotating, sweep, with_exception,
};
use crate::facts::fixtures::{gap, key_set, region_of};
use crate::ledger::Block;
use crate::metrics::Metrics;
use crate::model::{
    Batch, Finding, FindingState, KeyArn, KeySnapshot, Network, Reading, ReadingResult, Snapshot, Usage,
    UsageCount, UsageOutcome,
};
use crate::notify::Notifier;
use crate::pipeline::Pipeline;
use crate::store::{FindingFilter, Store};

/// A key that does not rotate, a key set that spans the Atlantic and a key that hides its policy.
fn small_estate() -> Batch {
    let mut keys = key_set(&["eu-central-1", "us-east-1"]);
    keys.truncate(1);
    keys.push(rotating(false));
    let hidden = "arn:aws:kms:eu-central-1:111122223333:key/hidden";
    keys.push(KeySnapshot { policy: gap("kms:GetKeyPolicy"), ..crate::facts::fixtures::key(hidden) });
    let mut batch = sweep(keys, 0);
    batch.snapshots.push(Snapshot::AccountRegion(Box::new(region_of("eu-central-1"))));
    batch
}

fn denied() -> Reading {
    Reading {
        account: "111122223333".parse().unwrap(),
        region: Some("eu-central-1".parse().unwrap()),
        api: "kms:GetKeyPolicy".to_owned(),
        result: ReadingResult::Denied,
        at: minutes(0),
        attempts: 3,
        failed: 1,
        detail: Some("AccessDeniedException: <no>".to_owned()),
    }
}

fn report_of(auditor: &Auditor, framework: &str, readings: &[Reading]) -> Report {
    let findings: Vec<Finding> = auditor.findings().cloned().collect();
    let ledger = proof::Ledger::default();
    let material = Material {
        auditor,
        findings: &findings,
        readings,
        ledger: &ledger,
        as_of: minutes(60),
        generated_at: minutes(61),
    };
    build(&framework::find(framework).unwrap(), &material)
}

fn rule<'a>(report: &'a Report, name: &str) -> (&'a ControlReport, &'a RuleReport) {
    let mut rules =
        report.controls.iter().flat_map(|control| control.rules.iter().map(move |rule| (control, rule)));
    rules.find(|(_, rule)| rule.name == name).unwrap()
}

#[test]
fn the_report_of_a_small_estate() {
    let mut auditor = auditor();
    auditor.take(&small_estate());
    let report = report_of(&auditor, "iso27001", &[denied()]);
    insta::assert_json_snapshot!(report, { ".generator" => "keyward", ".framework" => "[the mapping]" });
}

#[test]
fn the_page_says_what_the_report_says_and_escapes_it() {
    let mut auditor = auditor();
    auditor.take(&small_estate());
    let report = report_of(&auditor, "iso27001", &[denied()]);
    let page = html::render(&report).unwrap();
    assert!(page.contains("AccessDeniedException: &#60;no&#62;"), "escaped");
    assert!(page.contains("Not everything in scope could be read."));
    assert!(!page.contains("<script"));
    for control in &report.controls {
        assert!(page.contains(&control.id), "{}", control.id);
    }
    for finding in &report.open_findings {
        assert!(page.contains(&finding.id), "{}", finding.rule);
    }
    for heading in 1..=8 {
        assert!(page.contains(&format!(">{heading}. ")), "{heading}");
    }
    assert_eq!(page.matches("<table").count(), page.matches("</table>").count());
    assert!(page.contains("1 of 3"));
}

fn usage(key: &KeyArn, outcome: UsageOutcome, principal: &str) -> (Usage, UsageCount) {
    let usage = Usage {
        hour: minutes(-60).timestamp().div_euclid(3_600),
        key: key.to_string(),
        principal: principal.to_owned(),
        operation: "Decrypt".to_owned(),
        outcome,
        account: "999988887777".to_owned(),
        network: Network::Public,
        context: "none".to_owned(),
    };
    (usage, UsageCount { count: 3, first: minutes(-60), last: minutes(-59) })
}

async fn report_by(auditor: &Auditor, store: &Store) -> Report {
    let places = proof::places_outside(auditor, &store.all_last_uses().await.unwrap(), minutes(60));
    let ledger = proof::Ledger::read(store, &places, minutes(60)).await.unwrap();
    let material = Material {
        auditor,
        findings: &[],
        readings: &[],
        ledger: &ledger,
        as_of: minutes(60),
        generated_at: minutes(61),
    };
    build(&framework::find("gdpr").unwrap(), &material)
}

#[tokio::test]
async fn a_use_outside_the_boundary_is_proved_and_silence_is_not() {
    let mut auditor = auditor();
    let mut estate = small_estate();
    estate.snapshots.push(Snapshot::AccountRegion(Box::new(region_of("us-east-1"))));
    auditor.take(&estate);
    let store = Store::connect("sqlite::memory:").await.unwrap();
    let empty = report_by(&auditor, &store).await;
    // Three sets, and nothing is known of what happened in Virginia.
    assert_eq!((empty.proof.from, empty.proof.none_known, empty.proof.not_covered), (None, 0, 3));
    assert_eq!(empty.proof.accounts[0].not_covered.len(), 2);
    assert!(html::render(&empty).unwrap().contains("The usage ledger is empty."));

    let primary = key_set(&["eu-central-1", "us-east-1"]).remove(0).arn;
    let replica = primary.in_region("us-east-1".parse().unwrap());
    let uses = [
        usage(&primary, UsageOutcome::Success, "at home"),
        usage(&replica, UsageOutcome::Denied, "<mallory>"),
    ];
    let block = |region: &str| Block {
        account: primary.account.to_string(),
        region: region.to_owned(),
        hour: minutes(-60).timestamp().div_euclid(3_600),
    };
    store.use_keys(&uses, block("us-east-1")).await;
    let report = report_by(&auditor, &store).await;
    assert_eq!((report.proof.none_known, report.proof.not_covered), (2, 0));
    let [set] = report.proof.sets.as_slice() else { panic!("{:?}", report.proof.sets) };
    assert_eq!((set.standing, set.id.as_str()), (proof::Standing::Tried, primary.key_set().as_str()));
    let [by] = set.uses.as_slice() else { panic!("{:?}", set.uses) };
    assert_eq!((by.principal.as_str(), by.region.as_str(), by.count), ("<mallory>", "us-east-1", 3));
    let page = html::render(&report).unwrap();
    assert!(
        page.contains("tried outside") && page.contains("&#60;mallory&#62;") && !page.contains("at home")
    );
    // The report of a time before knows nothing of it.
    let places = [(primary.key_set(), replica.region.clone())];
    let before = proof::Ledger::read(&store, &places, minutes(-60 * 48)).await.unwrap();
    assert_eq!(proof::proof(&auditor, &before, minutes(0)).not_covered, 3);

    store.use_keys(&[usage(&replica, UsageOutcome::Success, "root")], block("eu-central-1")).await;
    let report = report_by(&auditor, &store).await;
    let set = &report.proof.sets[0];
    assert_eq!((set.standing, set.uses[0].principal.as_str()), (proof::Standing::Used, "root"));
}

#[test]
fn what_an_exception_permits_violates_nothing_and_is_shown() {
    let excepted = "rotation-disabled";
    let mut auditor = auditor_by(with_exception(excepted, "2027-01-01"));
    auditor.take(&sweep(vec![rotating(false)], 0));
    let report = report_of(&auditor, "iso27001", &[]);
    let (_, shown) = rule(&report, excepted);
    assert_eq!((shown.fail, shown.excepted, shown.failing.len()), (0, 1, 1));
    assert_eq!(shown.failing[0].exception.as_deref(), Some("E1"));
    assert_eq!(report.excepted_findings.len(), 1);
    let only_excepted = report
        .controls
        .iter()
        .filter(|control| control.failed() + control.unknown() == 0 && control.excepted() > 0);
    for control in only_excepted {
        assert_eq!(control.status, ControlStatus::Excepted, "{}", control.id);
    }
    assert!(html::render(&report).unwrap().contains("permitted by exception E1"));
}

#[test]
fn a_detection_counts_until_it_is_dealt_with_and_is_listed_after() {
    let mut auditor = auditor();
    auditor.take(&sweep(vec![rotating(true)], 0));
    auditor.take(&look_up(vec![disabling("e1", 1)], 2));
    let open = report_of(&auditor, "iso27001", &[]);
    let (control, detected) = rule(&open, "key-disabled");
    assert_eq!((detected.fail, control.status), (1, ControlStatus::Violated));
    assert!(
        open.open_findings.iter().all(|finding| finding.evidence.get("records").is_none()),
        "bookkeeping"
    );
    let id = auditor.open_findings().find(|finding| finding.rule == "key-disabled").unwrap().id.clone();
    auditor.acknowledge(&id, minutes(5)).unwrap();
    let closed = report_of(&auditor, "iso27001", &[]);
    assert_eq!(rule(&closed, "key-disabled").1.fail, 0);
    let [row] = closed.closed_detections.as_slice() else { panic!("{:?}", closed.closed_detections) };
    assert_eq!((row.resolution.as_deref(), row.resolved_at), (Some("acknowledged"), Some(minutes(5))));
}

async fn pipeline() -> Pipeline {
    let store = Store::connect("sqlite::memory:").await.unwrap();
    Pipeline::new(auditor(), store, std::sync::Arc::new(Metrics::new().unwrap()), Notifier::default())
}

/// The finding of a rule as the report of a past time has it.
async fn then(pipeline: &Pipeline, rule: &str, minute: i64) -> Option<Finding> {
    let kept = as_of::kept(pipeline.store(), minutes(minute)).await.unwrap();
    let mut past = auditor();
    past.restore_past(kept, minutes(minute));
    past.findings().find(|finding| finding.rule == rule).cloned()
}

#[tokio::test]
async fn what_stood_then_shows_though_it_was_resolved_and_opened_again_since() {
    let pipeline = pipeline().await;
    for (minute, rotates) in [(0, false), (10, true), (20, false), (30, true)] {
        pipeline.take(&mut sweep(vec![rotating(rotates)], minute)).await.unwrap();
    }
    let rule = "rotation-disabled";
    assert_eq!(then(&pipeline, rule, -1).await, None);
    let first = then(&pipeline, rule, 5).await.unwrap();
    assert_eq!((first.state, first.first_seen, first.resolved_at), (FindingState::Open, minutes(0), None));
    assert_eq!(first.evidence["rotation.enabled"], false, "the evidence is of then");
    let between = then(&pipeline, rule, 15).await.unwrap();
    assert_eq!((between.state, between.resolved_at), (FindingState::Resolved, Some(minutes(10))));
    let second = then(&pipeline, rule, 25).await.unwrap();
    assert_eq!((second.state, second.first_seen), (FindingState::Open, minutes(20)));
    assert_eq!(then(&pipeline, rule, 35).await.unwrap().state, FindingState::Resolved);
}

#[tokio::test]
async fn a_detection_shows_the_events_of_then() {
    let pipeline = pipeline().await;
    pipeline.take(&mut look_up(vec![disabling("e1", 1)], 2)).await.unwrap();
    pipeline.take(&mut look_up(vec![disabling("e2", 10)], 11)).await.unwrap();
    let id = pipeline.auditor().open_findings().next().unwrap().id.clone();
    pipeline.acknowledge(&id, minutes(20)).await.unwrap();
    let early = then(&pipeline, "key-disabled", 5).await.unwrap();
    assert_eq!(early.state, FindingState::Open);
    assert_eq!(early.evidence["event_ids"], serde_json::json!(["e1"]));
    assert_eq!(then(&pipeline, "key-disabled", 21).await.unwrap().state, FindingState::Resolved);
}

#[tokio::test]
async fn gaps_of_the_past_come_from_its_snapshots() {
    let pipeline = pipeline().await;
    let with_gap = |minute: i64, broken: bool| {
        let mut batch = sweep(vec![rotating(true)], minute);
        let mut region = region_of("eu-central-1");
        region.read_at = minutes(minute);
        if broken {
            region.trails = gap("cloudtrail:DescribeTrails");
            region.gaps = region.trails.gap().cloned().into_iter().collect();
        }
        batch.snapshots.push(Snapshot::AccountRegion(Box::new(region)));
        batch
    };
    pipeline.take(&mut with_gap(0, true)).await.unwrap();
    pipeline.take(&mut with_gap(10, false)).await.unwrap();
    for (minute, missing) in [(5, 1), (15, 0)] {
        let kept = as_of::kept(pipeline.store(), minutes(minute)).await.unwrap();
        let gaps = as_of::gaps(&kept.regions);
        assert_eq!(gaps.len(), missing, "{minute}");
        let mut past = auditor();
        past.restore_past(kept, minutes(minute));
        let report = report_of(&past, "iso27001", &gaps);
        assert_eq!(report.coverage_gaps.len(), missing);
        assert!(report.coverage_gaps.iter().all(|gap| gap.attempts.is_none()), "no count is made up");
        assert!(report.scope.newest_reading.unwrap() <= minutes(minute) + TimeDelta::minutes(1));
    }
    assert!(!pipeline.store().findings(&FindingFilter::default()).await.unwrap().is_empty());
}
