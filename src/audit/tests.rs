//! The audit on hand-made snapshots.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::*;
use crate::facts::fixtures::{at, batch, gap, key, key_set, key_with, region_of};
use crate::model::{
    AccountRegionSnapshot, EventRecord, KeySnapshot, Observed, Region, RotationStatus, Selectors, Snapshot,
    SourceKind, TrailSnapshot, TrailStatus,
};
use crate::rules::{RuleFile, builtin_files};

pub(crate) const KEY: &str = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd";
const TRAIL: &str = "arn:aws:cloudtrail:eu-central-1:111122223333:trail/all";

/// Noon, and some minutes.
pub(crate) fn minutes(minutes: i64) -> DateTime<Utc> {
    at("2026-03-01T12:00:00Z") + TimeDelta::minutes(minutes)
}

fn trail_rule() -> RuleFile {
    RuleFile {
        path: "trail-halted.yml".to_owned(),
        text: r#"
title: Trail Halted
id: 0c9f4a52-7f67-4b3c-9a84-3d1f1f0b8a11
name: trail-halted
status: test
level: high
description: A trail that does not log.
logsource: { product: aws, service: kms, category: trail }
detection:
    halted: { trail.logging: false }
    condition: halted
keyward:
    message: "{trail.name} does not log"
    remediation: Start it.
    controls: { iso27001: ["A.8.15"] }
    exemplars:
        - { name: halted, expect: fail, facts: { trail: { logging: false, name: t } } }
        - { name: running, expect: pass, facts: { trail: { logging: true, name: t } } }
"#
        .to_owned(),
    }
}

/// The built-in rules but some, and one about trails.
pub(crate) fn standards(disable: &[&str]) -> Standards {
    let mut files = builtin_files();
    files.push(trail_rule());
    let disable: Vec<String> = disable.iter().map(|rule| (*rule).to_owned()).collect();
    Standards {
        atlas: Arc::new(Atlas::builtin().unwrap()),
        assignments: Assignments::default(),
        policy: AuditPolicy::default(),
        rules: Arc::new(RuleSet::compile(&files, &disable).unwrap()),
        exceptions: Exceptions::default(),
        own: OwnIdentity::default(),
    }
}

/// The standards with one exception.
pub(crate) fn with_exception(rule: &str, expires: &str) -> Standards {
    let text = format!(
        "exceptions:\n- {{id: E1, rule: {rule}, scope: {{accounts: ['111122223333']}}, owner: o, reason: r, \
         legal_basis: l, approver: a, expires: '{expires}'}}\n"
    );
    let exceptions = Exceptions::parse("exceptions.yaml", &text, &BTreeSet::from([rule.to_owned()])).unwrap();
    Standards { exceptions, ..standards(&[]) }
}

pub(crate) fn auditor_by(standards: Standards) -> Auditor {
    let scope = AccountScope { audited: ["111122223333".parse().unwrap()].into(), ..AccountScope::default() };
    Auditor::new(standards, scope)
}

pub(crate) fn auditor() -> Auditor {
    auditor_by(standards(&[]))
}

/// The key with or without rotation.
pub(crate) fn rotating(enabled: bool) -> KeySnapshot {
    let status = RotationStatus {
        enabled,
        period_days: enabled.then_some(365),
        next: enabled.then(|| at("2026-12-31T00:00:00Z")),
        on_demand_started: None,
    };
    KeySnapshot { rotation: Observed::Known(status), ..key(KEY) }
}

/// A sweep of Frankfurt that ended so many minutes after noon.
pub(crate) fn sweep(keys: Vec<KeySnapshot>, ended: i64) -> Batch {
    sweep_of("eu-central-1", keys, ended)
}

fn sweep_of(region: &str, keys: Vec<KeySnapshot>, ended: i64) -> Batch {
    let mut batch = batch(region, keys);
    batch.read_at = minutes(ended);
    batch.id = format!("sweep of {region} at {ended}");
    for snapshot in &mut batch.snapshots {
        if let Snapshot::Key(key) = snapshot {
            key.read_at = minutes(ended);
        }
    }
    batch
}

fn with_region(mut batch: Batch, change: impl Fn(&mut AccountRegionSnapshot)) -> Batch {
    let mut region = region_of(batch.region.as_ref().unwrap().as_str());
    region.read_at = batch.read_at;
    change(&mut region);
    batch.snapshots.push(Snapshot::AccountRegion(Box::new(region)));
    batch
}

fn trail(logging: bool) -> TrailSnapshot {
    TrailSnapshot {
        arn: TRAIL.to_owned(),
        name: "all".to_owned(),
        home_region: Some("eu-central-1".parse().unwrap()),
        multi_region: true,
        organization: false,
        log_file_validation: true,
        bucket: Some("logs".to_owned()),
        key_prefix: None,
        kms_key: None,
        status: Observed::Known(TrailStatus::new(logging)),
        selectors: Observed::Known(Selectors { kms_writes: true, kms_reads: true, kms_excluded: false }),
    }
}

/// `DisableKey` on the key, by somebody.
pub(crate) fn disabling(id: &str, minute: i64) -> EventRecord {
    EventRecord::new(json!({
        "eventVersion": "1.11", "eventID": id, "eventName": "DisableKey", "eventSource": "kms.amazonaws.com",
        "eventTime": minutes(minute).to_rfc3339(), "awsRegion": "eu-central-1", "eventType": "AwsApiCall",
        "requestID": format!("request of {id}"), "readOnly": false, "recipientAccountId": "111122223333",
        "userIdentity": {
            "type": "IAMUser", "accountId": "111122223333", "arn": "arn:aws:iam::111122223333:user/eve",
        },
        "requestParameters": { "keyId": KEY },
        "resources": [{ "ARN": KEY, "type": "AWS::KMS::Key", "accountId": "111122223333" }],
    }))
    .unwrap()
}

pub(crate) fn look_up(events: Vec<EventRecord>, ended: i64) -> Batch {
    let mut batch = batch("eu-central-1", Vec::new());
    batch.source = SourceKind::Lookup;
    batch.id = format!("look-up at {ended}");
    batch.read_at = minutes(ended);
    batch.events = events;
    batch.complete = false;
    batch
}

/// What became of the findings of a rule.
fn steps(changes: &Changes, rule: &str) -> Vec<Transition> {
    let of_rule = changes.findings.iter().filter(|change| change.finding.rule == rule);
    of_rule.map(|change| change.transition).collect()
}

fn open_rules(auditor: &Auditor) -> Vec<&str> {
    auditor.open_findings().map(|finding| finding.rule.as_str()).collect()
}

fn resolution(auditor: &Auditor, rule: &str) -> String {
    let finding = auditor.findings().find(|finding| finding.rule == rule).unwrap();
    assert_eq!(finding.state, FindingState::Resolved);
    finding.evidence["resolution"].as_str().unwrap().to_owned()
}

fn place(region: &str) -> Place {
    ("111122223333".parse().unwrap(), region.parse::<Region>().unwrap())
}

#[test]
fn a_finding_opens_stands_and_resolves_with_its_subject_s_state() {
    let mut auditor = auditor();
    let rule = "rotation-disabled";
    assert_eq!(steps(&auditor.take(&sweep(vec![rotating(false)], 0)), rule), [Transition::Opened]);
    assert_eq!(steps(&auditor.take(&sweep(vec![rotating(false)], 1)), rule), [Transition::Refreshed]);
    assert_eq!(steps(&auditor.take(&sweep(vec![rotating(true)], 2)), rule), [Transition::Resolved]);
    assert!(!open_rules(&auditor).contains(&rule));
    assert_eq!(auditor.outcome(SubjectKind::Key, KEY, rule), Some(Outcome::Pass));
    assert_eq!(steps(&auditor.take(&sweep(vec![rotating(false)], 3)), rule), [Transition::Opened]);
    let again = auditor.open_findings().find(|finding| finding.rule == rule).unwrap();
    assert_eq!((again.opened_count, again.first_seen), (2, minutes(3)));
}

#[test]
fn what_cannot_be_read_keeps_a_finding_open_and_stale() {
    let mut auditor = auditor();
    auditor.take(&sweep(vec![rotating(false)], 0));
    let unread = KeySnapshot { rotation: gap("kms:GetKeyRotationStatus"), ..key(KEY) };
    assert_eq!(steps(&auditor.take(&sweep(vec![unread], 1)), "rotation-disabled"), [Transition::Staled]);
    let finding = auditor.open_findings().find(|finding| finding.rule == "rotation-disabled").unwrap();
    assert!(finding.stale);
    assert_eq!(auditor.outcome(SubjectKind::Key, KEY, "rotation-disabled"), Some(Outcome::Unknown));
}

#[test]
fn a_key_that_vanished_takes_its_findings_along_after_a_complete_reading_only() {
    let mut auditor = auditor();
    auditor.take(&sweep(vec![rotating(false)], 0));
    let mut partial = sweep(Vec::new(), 1);
    partial.complete = false;
    assert!(auditor.take(&partial).findings.is_empty());
    assert!(open_rules(&auditor).contains(&"rotation-disabled"));
    let changes = auditor.take(&sweep(Vec::new(), 2));
    let gone: Vec<SubjectKind> = changes.gone.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(gone, [SubjectKind::Key, SubjectKind::KeySet]);
    assert_eq!(resolution(&auditor, "rotation-disabled"), "the subject is gone");
    assert!(open_rules(&auditor).is_empty(), "{:?}", open_rules(&auditor));
    assert_eq!(auditor.judged().count(), 0);
}

#[test]
fn a_set_that_lost_a_member_is_judged_anew() {
    let mut auditor = auditor();
    let [primary, replica] = <[KeySnapshot; 2]>::try_from(key_set(&["eu-central-1", "us-east-1"])).unwrap();
    auditor.take(&sweep(vec![primary], 0));
    auditor.take(&sweep_of("us-east-1", vec![replica], 1));
    let across = "key-set-across-jurisdictions";
    assert!(open_rules(&auditor).contains(&across), "{:?}", open_rules(&auditor));
    auditor.take(&sweep_of("us-east-1", Vec::new(), 2));
    let alone = key_set(&["eu-central-1"]);
    let changes = auditor.take(&sweep(alone, 3));
    assert_eq!(steps(&changes, across), [Transition::Resolved]);
    assert!(changes.gone.is_empty(), "the set is still there");
}

#[test]
fn a_key_that_turns_out_to_be_managed_for_one_is_accused_no_more() {
    let mut auditor = auditor();
    let unread = KeySnapshot { metadata: gap("kms:DescribeKey"), ..key(KEY) };
    auditor.take(&sweep(vec![unread], 0));
    assert!(open_rules(&auditor).contains(&"key-unreadable"), "{:?}", open_rules(&auditor));
    let managed = key_with(KEY, |metadata| metadata.manager = "AWS".to_owned());
    let changes = auditor.take(&sweep(vec![managed], 1));
    assert!(open_rules(&auditor).is_empty(), "{:?}", open_rules(&auditor));
    assert_eq!(resolution(&auditor, "key-unreadable"), "no rule is about the subject any more");
    assert!(changes.gone.is_empty(), "it stays in the inventory");
    let emptied: Vec<_> = changes.verdicts.iter().filter(|judged| judged.verdicts.is_empty()).collect();
    assert_eq!(emptied.len(), 2, "the stored verdicts on the key and on its set are replaced by none");
}

#[test]
fn a_trail_that_shows_nowhere_any_more_is_gone() {
    let mut auditor = auditor();
    let with_trail = |region: &str, ended| {
        with_region(sweep_of(region, Vec::new(), ended), |place| {
            place.trails = Observed::Known(vec![trail(false)]);
        })
    };
    let without = |region: &str, ended| with_region(sweep_of(region, Vec::new(), ended), |_| {});
    auditor.take(&with_trail("eu-central-1", 0));
    auditor.take(&with_trail("eu-west-1", 0));
    assert!(open_rules(&auditor).contains(&"trail-halted"));
    auditor.take(&without("eu-central-1", 1));
    assert!(open_rules(&auditor).contains(&"trail-halted"), "Ireland still shows it");
    let unread = with_region(sweep_of("eu-west-1", Vec::new(), 2), |place| {
        place.trails = gap("cloudtrail:DescribeTrails");
    });
    auditor.take(&unread);
    assert_eq!(resolution(&auditor, "trail-halted"), "the subject is gone", "its home was read, and decides");
}

#[test]
fn a_trail_may_be_where_its_home_could_not_be_read() {
    let mut auditor = auditor();
    auditor.take(&with_region(sweep(Vec::new(), 0), |place| {
        place.trails = Observed::Known(vec![trail(false)]);
    }));
    let changes = auditor.take(&with_region(sweep(Vec::new(), 1), |place| {
        place.trails = gap("cloudtrail:DescribeTrails");
    }));
    assert!(changes.gone.is_empty());
    assert!(open_rules(&auditor).contains(&"trail-halted"));
}

#[test]
fn a_trail_is_judged_as_its_home_shows_it_wherever_it_is_read() {
    let mut auditor = auditor();
    auditor.take(&with_region(sweep(Vec::new(), 0), |place| {
        place.trails = Observed::Known(vec![trail(false)]);
    }));
    auditor.take(&with_region(sweep_of("eu-west-1", Vec::new(), 1), |place| {
        let shadow = TrailSnapshot { status: gap("cloudtrail:GetTrailStatus"), ..trail(false) };
        place.trails = Observed::Known(vec![shadow]);
    }));
    assert_eq!(auditor.outcome(SubjectKind::Trail, TRAIL, "trail-halted"), Some(Outcome::Fail));
}

#[test]
fn a_place_that_is_audited_no_more_leaves_with_all_that_was_found_there() {
    let mut auditor = auditor();
    auditor.take(&with_region(sweep(vec![rotating(false)], 0), |place| place.keys = gap("kms:ListKeys")));
    assert!(open_rules(&auditor).contains(&"region-unreadable"), "{:?}", open_rules(&auditor));
    let changes = auditor.forget_places(&BTreeSet::from([place("eu-central-1")]), minutes(1));
    let gone: BTreeSet<SubjectKind> = changes.gone.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(gone, [SubjectKind::Key, SubjectKind::KeySet, SubjectKind::AccountRegion].into());
    assert!(open_rules(&auditor).is_empty());
    for rule in ["rotation-disabled", "region-unreadable"] {
        assert_eq!(resolution(&auditor, rule), "it is no longer audited");
    }
    assert_eq!((auditor.estate().keys().count(), auditor.regions().count()), (0, 0));
}

#[test]
fn a_rule_that_is_disabled_ends_its_findings_and_no_others() {
    let mut auditor = auditor();
    auditor.take(&sweep(vec![rotating(false)], 0));
    let others = open_rules(&auditor).len() - 1;
    let (old, changes) = auditor.replace_standards(standards(&["rotation-disabled"]), minutes(1));
    assert!(old.rules.rule("rotation-disabled").is_some());
    assert_eq!(steps(&changes, "rotation-disabled"), [Transition::Resolved]);
    assert_eq!(open_rules(&auditor).len(), others);
    assert_eq!(auditor.outcome(SubjectKind::Key, KEY, "rotation-disabled"), None);
    assert_eq!(
        auditor.outcome(SubjectKind::Key, KEY, "key-policy-public"),
        Some(Outcome::Pass),
        "the answers of the other rules are still theirs"
    );
}

#[test]
fn without_any_rule_of_a_kind_nothing_of_that_kind_stands() {
    let mut auditor = auditor();
    auditor.take(&with_region(sweep(Vec::new(), 0), |place| {
        place.trails = Observed::Known(vec![trail(false)]);
    }));
    assert!(open_rules(&auditor).contains(&"trail-halted"));
    let of_trails = ["digest-chain-broken", "log-delivery-late", "log-file-altered", "log-file-missing"];
    let of_trails = [&of_trails[..], &["log-validation-off", "trail-halted"]].concat();
    let (_, changes) = auditor.replace_standards(standards(&of_trails), minutes(1));
    assert_eq!(steps(&changes, "trail-halted"), [Transition::Resolved]);
    assert!(changes.verdicts.iter().any(|judged| judged.subject.id == TRAIL && judged.verdicts.is_empty()));
}

#[test]
fn an_exception_holds_until_it_ends() {
    let mut auditor = auditor_by(with_exception("rotation-disabled", "2026-03-02"));
    let changes = auditor.take(&sweep(vec![rotating(false)], 0));
    assert_eq!(steps(&changes, "rotation-disabled"), [Transition::Excepted]);
    assert!(!open_rules(&auditor).contains(&"rotation-disabled"));
    let ended = auditor.tick(at("2026-03-03T00:00:00Z"), TimeDelta::days(30));
    assert_eq!(steps(&ended, "rotation-disabled"), [Transition::ExceptionEnded]);
    assert!(open_rules(&auditor).contains(&"rotation-disabled"));
}

#[test]
fn detections_count_calls_and_end_by_word_or_by_age() {
    let mut auditor = auditor();
    auditor.take(&sweep(vec![rotating(true)], 0));
    let changes = auditor.take(&look_up(vec![disabling("e1", 1), disabling("e2", 2)], 3));
    let rule = "key-disabled".to_owned();
    let level = changes.findings.iter().find(|change| change.finding.rule == rule).unwrap().finding.level;
    assert_eq!(changes.detected.get(&(rule.clone(), level)), Some(&2));
    let more = auditor.take(&look_up(vec![disabling("e3", 4)], 5));
    assert_eq!(more.detected.get(&(rule.clone(), level)), Some(&1));
    assert_eq!(auditor.findings().filter(|finding| finding.rule == rule).count(), 1);
    assert!(auditor.by_subject.keys().all(|(kind, _)| *kind != SubjectKind::Event), "it would grow for ever");

    let id = auditor.open_findings().find(|finding| finding.rule == rule).unwrap().id.clone();
    assert!(auditor.acknowledge(&id, minutes(6)).is_some());
    assert!(auditor.acknowledge(&id, minutes(7)).is_none());
    assert_eq!(resolution(&auditor, &rule), "acknowledged");
    auditor.take(&look_up(vec![disabling("e4", 8)], 9));
    let aged = auditor.tick(minutes(9) + TimeDelta::days(31), TimeDelta::days(30));
    assert_eq!(steps(&aged, &rule), [Transition::Resolved]);
    assert_eq!(resolution(&auditor, &rule), "aged out");
}

#[test]
fn what_was_resolved_long_ago_is_forgotten_and_what_stands_is_not() {
    let mut auditor = auditor();
    auditor.take(&sweep(vec![rotating(false)], 0));
    auditor.take(&sweep(vec![rotating(true)], 1));
    auditor.forget_resolved(minutes(1));
    assert!(auditor.findings().any(|finding| finding.rule == "rotation-disabled"), "not before its time");
    let standing = auditor.open_findings().count();
    auditor.forget_resolved(minutes(2));
    assert!(auditor.findings().all(|finding| finding.rule != "rotation-disabled"));
    assert_eq!(auditor.open_findings().count(), standing);
    let ids: usize = auditor.by_subject.values().map(BTreeSet::len).sum();
    assert_eq!(ids, auditor.findings().count());
}

#[test]
fn going_back_forgets_what_was_not_kept() {
    let mut auditor = auditor();
    auditor.take(&sweep(vec![rotating(false)], 0));
    let kept = || Kept { keys: vec![rotating(true)], ..Kept::default() };
    auditor.go_back(kept(), minutes(1));
    assert_eq!(auditor.findings().count(), 0);
    assert_eq!(auditor.outcome(SubjectKind::Key, KEY, "rotation-disabled"), Some(Outcome::Pass));
    let mut fresh = super::tests::auditor();
    fresh.restore(kept(), minutes(1));
    let judged = |auditor: &Auditor| auditor.judged().cloned().collect::<Vec<_>>();
    assert_eq!(judged(&auditor), judged(&fresh));
}

#[test]
fn the_past_stands_as_it_was_recorded_and_is_judged_by_what_was_known() {
    let mut auditor = auditor();
    auditor.take(&sweep(vec![rotating(false)], 0));
    let mut recorded =
        auditor.open_findings().find(|finding| finding.rule == "rotation-disabled").unwrap().clone();
    recorded.state = FindingState::Excepted;
    recorded.exception = Some("OLD".to_owned());
    let kept = Kept { keys: vec![rotating(false)], findings: vec![recorded], ..Kept::default() };
    let mut past = super::tests::auditor();
    past.restore_past(kept, minutes(30));
    let found = past.findings().find(|finding| finding.rule == "rotation-disabled").unwrap();
    assert_eq!((found.state, found.exception.as_deref()), (FindingState::Excepted, Some("OLD")));
    assert_eq!(found.first_seen, minutes(0));

    let mut past = super::tests::auditor();
    past.restore_past(Kept { keys: vec![rotating(false)], ..Kept::default() }, minutes(30));
    let found = past.findings().find(|finding| finding.rule == "rotation-disabled").unwrap();
    assert_eq!((found.state, found.first_seen), (FindingState::Open, minutes(30)), "younger than the rule");
}

#[test]
fn a_sweep_keeps_when_a_key_was_last_used() {
    let mut auditor = auditor();
    auditor.take(&sweep(vec![rotating(true)], 0));
    let usage = crate::model::LastUsage {
        operation: Some("Decrypt".to_owned()),
        at: Some(minutes(-60)),
        event_id: None,
        tracking_since: None,
    };
    let (account, region) = place("eu-central-1");
    let sampled = BTreeMap::from([(KEY.parse().unwrap(), Observed::Known(usage))]);
    auditor.take(&auditor.with_last_usage(&account, &region, &sampled, minutes(1)));
    let mut next = sweep(vec![rotating(true)], 2);
    auditor.carry_last_usage(&mut next);
    auditor.take(&next);
    assert!(auditor.estate().key(&KEY.parse().unwrap()).unwrap().last_usage.known().is_some());
}
