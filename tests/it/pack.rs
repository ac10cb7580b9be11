//! The rules that come with Keyward, as a whole. What each of them says is told by its own exemplars.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use keyward::model::{EventRecord, Fact, FactMap, Facts, Outcome, Subject, SubjectKind};
use keyward::rules::{Exemplar, Rule, RuleFile, RuleSet, builtin_files};
use serde::Deserialize;

const POSTURE: [&str; 30] = [
    "config-not-recording",
    "digest-chain-broken",
    "imported-material-expiring",
    "imported-material-not-rotated",
    "key-in-unapproved-region",
    "key-pending-deletion",
    "key-policy-cross-account",
    "key-policy-public",
    "key-set-across-jurisdictions",
    "key-set-alias-drift",
    "key-set-outside-boundary",
    "key-set-policy-drift",
    "key-set-state-divergence",
    "key-set-tag-drift",
    "key-unclassified",
    "key-unreadable",
    "key-without-alias",
    "kms-events-not-logged",
    "log-delivery-late",
    "log-file-altered",
    "log-file-missing",
    "log-validation-off",
    "multi-region-key-not-allowed",
    "multi-region-key-unreplicated",
    "primary-outside-home",
    "region-unreadable",
    "replication-unrestricted",
    "rotation-disabled",
    "rotation-overdue",
    "rotation-period-too-long",
];

const EVENTS: [&str; 14] = [
    "grant-to-outside-account",
    "imported-material-deleted",
    "key-deletion-scheduled",
    "key-disabled",
    "key-policy-made-public",
    "key-replicated-outside-boundary",
    "key-replication-denied",
    "key-used-outside-boundary",
    "kms-logging-excluded",
    "policy-lockout-check-bypassed",
    "primary-moved-outside-boundary",
    "rotation-turned-off",
    "trail-stopped",
    "unauthorized-key-access",
];

fn pack() -> RuleSet {
    RuleSet::compile(&builtin_files(), &[]).unwrap_or_else(|errors| panic!("{errors}"))
}

fn posture(pack: &RuleSet) -> impl Iterator<Item = &Rule> {
    pack.rules().iter().filter(|rule| rule.kind != SubjectKind::Event)
}

fn events(pack: &RuleSet) -> impl Iterator<Item = &Rule> {
    pack.rules().iter().filter(|rule| rule.kind == SubjectKind::Event && !rule.is_correlation())
}

fn correlations(pack: &RuleSet) -> impl Iterator<Item = &Rule> {
    pack.rules().iter().filter(|rule| rule.is_correlation())
}

fn failing(rule: &Rule) -> &Exemplar {
    rule.exemplars.iter().find(|exemplar| exemplar.expect == Outcome::Fail).unwrap()
}

fn subject(kind: SubjectKind) -> Subject {
    Subject {
        kind,
        id: "subject".to_owned(),
        account: "111122223333".parse().unwrap(),
        region: "eu-central-1".parse().ok(),
        key_set: None,
        key: None,
        boundary: None,
    }
}

fn verdict(pack: &RuleSet, rule: &Rule, root: Fact) -> Outcome {
    let facts = Facts { subject: subject(rule.kind), root };
    pack.judge(&facts).into_iter().find(|verdict| verdict.rule == rule.name).unwrap().outcome
}

/// What the rule finds in its failing exemplar, with some leaves changed.
fn detected(pack: &RuleSet, rule: &Rule, changes: &[(&str, Fact)]) -> Option<Outcome> {
    detected_in(pack, rule, |_| (), changes)
}

/// The same, with the record changed too.
fn detected_in(
    pack: &RuleSet,
    rule: &Rule,
    change_record: impl FnOnce(&mut serde_json::Value),
    changes: &[(&str, Fact)],
) -> Option<Outcome> {
    let exemplar = failing(rule);
    let mut record = exemplar.event.clone().unwrap();
    change_record(&mut record);
    let record = EventRecord::new(record).unwrap();
    let facts = Facts { subject: subject(SubjectKind::Event), root: changed(&exemplar.facts, changes) };
    let found = pack.detect(&facts, &record);
    found.into_iter().find(|verdict| verdict.rule == rule.name).map(|verdict| verdict.outcome)
}

fn changed(facts: &FactMap, changes: &[(&str, Fact)]) -> Fact {
    let mut facts = facts.clone();
    for (path, value) in changes {
        let (group, leaf) = path.split_once('.').unwrap();
        let group = facts.entry(group.to_owned()).or_insert_with(|| Fact::Map(FactMap::new()));
        let Fact::Map(group) = group else { panic!("{path}") };
        group.insert(leaf.to_owned(), value.clone());
    }
    Fact::Map(facts)
}

#[test]
fn the_pack_has_exactly_the_rules_that_it_promises() {
    let pack = pack();
    assert_eq!(posture(&pack).map(|rule| rule.name.as_str()).collect::<Vec<_>>(), POSTURE);
    assert_eq!(events(&pack).map(|rule| rule.name.as_str()).collect::<Vec<_>>(), EVENTS);
    let correlations: Vec<&str> = correlations(&pack).map(|rule| rule.name.as_str()).collect();
    assert_eq!(correlations, ["key-access-probing", "mass-key-disablement"]);
    assert!(pack.silent().is_empty(), "a built-in rule is heard, whoever correlates it");
}

#[test]
fn the_linter_of_the_sigma_tools_has_nothing_to_say() {
    let warnings: Vec<_> = builtin_files().iter().flat_map(RuleFile::warnings).collect();
    assert!(warnings.is_empty(), "{warnings:#?}");
}

#[test]
fn every_exemplar_holds() {
    let pack = pack();
    let results: Vec<_> = pack.rules().iter().flat_map(RuleSet::run_exemplars).collect();
    let wrong: Vec<_> = results.iter().filter(|result| !result.passed()).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(results.len() >= 200, "{}", results.len());
}

#[test]
fn a_message_of_a_failure_leaves_nothing_open() {
    let pack = pack();
    for rule in pack.rules() {
        let name = &failing(rule).name;
        let results = RuleSet::run_exemplars(rule);
        let message = &results.iter().find(|result| result.exemplar == *name).unwrap().message;
        assert!(!message.contains('?'), "{}: {message}", rule.name);
    }
}

#[test]
fn nothing_that_nobody_could_read_passes() {
    let pack = pack();
    for rule in posture(&pack) {
        let outcome = verdict(&pack, rule, Fact::Unknown("kms:DescribeKey denied".to_owned()));
        assert_eq!(outcome, Outcome::Unknown, "{}", rule.name);
    }
}

#[test]
fn every_posture_rule_shows_when_it_cannot_tell() {
    let pack = pack();
    for rule in posture(&pack).filter(|rule| rule.name != "region-unreadable") {
        let shown = rule.exemplars.iter().any(|exemplar| exemplar.expect == Outcome::Unknown);
        assert!(shown, "{} has no unknown exemplar", rule.name);
    }
}

#[test]
fn nothing_that_aws_manages_is_judged() {
    let pack = pack();
    // A key that may not even be described cannot be told from a customer key.
    for rule in posture(&pack).filter(|rule| rule.name != "key-unreadable") {
        let change = match rule.kind {
            SubjectKind::Key => ("key.manager", Fact::from("AWS")),
            SubjectKind::KeySet => ("key_set.customer", Fact::from(false)),
            _ => continue,
        };
        let outcome = verdict(&pack, rule, changed(&failing(rule).facts, &[change]));
        assert_eq!(outcome, Outcome::NotApplicable, "{}", rule.name);
    }
}

#[test]
fn a_key_set_in_motion_is_judged_by_where_it_is_and_not_by_its_shape() {
    let pack = pack();
    let at_once =
        ["key-set-across-jurisdictions", "key-set-outside-boundary", "multi-region-key-not-allowed"];
    for rule in posture(&pack).filter(|rule| rule.kind == SubjectKind::KeySet) {
        let facts = changed(&failing(rule).facts, &[("key_set.transient", Fact::from(true))]);
        let expected =
            if at_once.contains(&rule.name.as_str()) { Outcome::Fail } else { Outcome::NotApplicable };
        assert_eq!(verdict(&pack, rule, facts), expected, "{}", rule.name);
    }
}

#[test]
fn every_event_rule_finds_its_event_through_the_index() {
    let pack = pack();
    for rule in events(&pack) {
        assert_eq!(detected(&pack, rule, &[]), Some(Outcome::Fail), "{}", rule.name);
        assert!(!rule.group_by.is_empty(), "{} groups by nothing", rule.name);
    }
    assert!(!pack.wants("ec2.amazonaws.com", "RunInstances"));
    assert!(!pack.wants("cloudtrail.amazonaws.com", "LookupEvents"));
}

#[test]
fn a_call_that_failed_for_another_reason_than_permission_changes_and_accuses_nothing() {
    let pack = pack();
    let failed = [("event.succeeded", Fact::from(false)), ("event.denied", Fact::from(false))];
    for rule in events(&pack) {
        assert_eq!(detected(&pack, rule, &failed), None, "{}", rule.name);
    }
}

#[test]
fn what_an_event_does_not_tell_is_unknown() {
    let pack = pack();
    for (rule, leaf) in [
        ("grant-to-outside-account", "grant.foreign"),
        ("key-policy-made-public", "new_policy.public"),
        ("key-replicated-outside-boundary", "target.outside"),
        ("key-replication-denied", "target.outside"),
        ("key-used-outside-boundary", "boundary.use_outside"),
        ("kms-logging-excluded", "trail_change.kms_excluded"),
        ("policy-lockout-check-bypassed", "new_policy.lockout_check_bypassed"),
        ("primary-moved-outside-boundary", "target.outside"),
    ] {
        let unknown = [(leaf, Fact::Unknown("not in the record".to_owned()))];
        assert_eq!(detected(&pack, pack.rule(rule).unwrap(), &unknown), Some(Outcome::Unknown), "{rule}");
    }
}

#[test]
fn an_event_of_another_service_or_name_concerns_no_rule() {
    let pack = pack();
    for rule in events(&pack) {
        // Payment Cryptography has calls with KMS's names.
        let elsewhere = |record: &mut serde_json::Value| {
            record["eventSource"] = "payment-cryptography.amazonaws.com".into();
        };
        assert_eq!(detected_in(&pack, rule, elsewhere, &[]), None, "{}", rule.name);
        let reading = |record: &mut serde_json::Value| record["eventName"] = "DescribeKey".into();
        let found = detected_in(&pack, rule, reading, &[]);
        // A refused look is a refusal like any other.
        let expected = (rule.name == "unauthorized-key-access").then_some(Outcome::Fail);
        assert_eq!(found, expected, "{}", rule.name);
    }
}

#[test]
fn each_call_that_can_do_it_is_found() {
    let policy_calls: &[&str] = &["CreateKey", "PutKeyPolicy", "ReplicateKey"];
    let uses: &[&str] = &[
        "Decapsulate",
        "Decrypt",
        "DeriveSharedSecret",
        "Encapsulate",
        "Encrypt",
        "GenerateDataKey",
        "GenerateDataKeyPair",
        "GenerateDataKeyPairWithoutPlaintext",
        "GenerateDataKeyWithoutPlaintext",
        "GenerateMac",
        "ReEncrypt",
        "Sign",
        "Verify",
        "VerifyMac",
    ];
    let pack = pack();
    for (rule, names) in [
        ("imported-material-deleted", &["DeleteExpiredKeyMaterial", "DeleteImportedKeyMaterial"][..]),
        ("key-policy-made-public", policy_calls),
        ("key-used-outside-boundary", uses),
        ("policy-lockout-check-bypassed", policy_calls),
        ("trail-stopped", &["DeleteTrail", "StopLogging"]),
    ] {
        for name in names {
            let named = |record: &mut serde_json::Value| record["eventName"] = (*name).into();
            let found = detected_in(&pack, pack.rule(rule).unwrap(), named, &[]);
            assert_eq!(found, Some(Outcome::Fail), "{rule} {name}");
        }
    }
}

#[test]
fn own_refusals_are_no_alarm() {
    let pack = pack();
    let rule = pack.rule("unauthorized-key-access").unwrap();
    assert_eq!(detected(&pack, rule, &[("event.own", Fact::from(true))]), None);
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Framework {
    id: String,
    title: String,
    edition: String,
    version: u32,
    date: chrono::NaiveDate,
    source: Option<String>,
    disclaimer: String,
    controls: Vec<Control>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Control {
    id: String,
    title: String,
    checks: Option<String>,
}

fn frameworks() -> BTreeMap<String, Framework> {
    let folder: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules/frameworks");
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            let framework: Framework =
                serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            (path.file_stem().unwrap().to_string_lossy().into_owned(), framework)
        })
        .collect()
}

#[test]
fn every_control_that_a_rule_names_is_one_of_its_framework_and_the_other_way_round() {
    let mut named = BTreeMap::<String, BTreeSet<String>>::new();
    for rule in pack().rules() {
        for (framework, controls) in &rule.controls {
            named.entry(framework.clone()).or_default().extend(controls.iter().cloned());
        }
    }
    let listed: BTreeMap<String, BTreeSet<String>> = frameworks()
        .into_iter()
        .map(|(file, framework)| (file, framework.controls.into_iter().map(|control| control.id).collect()))
        .collect();
    assert_eq!(named, listed);
}

#[test]
fn every_framework_says_what_it_is_and_what_its_mapping_does_not_claim() {
    for (file, framework) in frameworks() {
        assert_eq!(framework.id, file);
        assert!(framework.version >= 1 && framework.date.to_string().starts_with("20"), "{file}");
        assert!(!framework.title.is_empty() && !framework.edition.is_empty(), "{file}");
        assert!(framework.source.is_none_or(|source| source.starts_with("https://")), "{file}");
        assert!(
            framework.disclaimer.contains("supports") && framework.disclaimer.contains("no legal opinion")
        );
        for control in framework.controls {
            assert!(!control.title.is_empty(), "{file} {}", control.id);
            // The two that have a report of their own say what Keyward looks at.
            let reported = ["gdpr", "iso27001"].contains(&file.as_str());
            assert_eq!(control.checks.is_some(), reported, "{file} {}", control.id);
        }
    }
}
