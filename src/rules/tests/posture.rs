//! Posture rules over facts.

use serde_json::json;

use super::*;

const OUTSIDE: &str = r#"
title: KMS Key Set Outside Its Boundary
id: 0f4a7c1e-5d1b-4a59-9a68-0a8b4d9c1e11
name: key-set-outside-boundary
status: stable
description: Personal data may not leave the boundary without a legal basis.
author: Keyward
references: [ "https://docs.aws.amazon.com/kms/latest/developerguide/multi-region-keys-overview.html" ]
logsource: { product: aws, service: kms, category: key_set }
detection:
    declared: { boundary.declared: true }
    outside: { boundary.outside|exists: true }
    condition: declared and outside
falsepositives: [ A replica on its way out of a boundary ]
level: critical
keyward:
    applies: declared
    message: "{key_set.id} has material in {boundary.outside}, outside {boundary.name}"
    remediation: Delete the replica.
    controls: { gdpr: ["Art. 44", "Art. 46"], iso27001: ["A.8.24"] }
    exemplars:
        - { name: replica in London, expect: fail, facts: { boundary: { declared: true, outside: [eu-west-2] } } }
        - { name: all inside, expect: pass, facts: { boundary: { declared: true } } }
        - { name: not readable, expect: unknown, unknown: [boundary.outside], facts: { boundary: { declared: true } } }
        - { name: none declared, expect: not_applicable, facts: { boundary: { declared: false } } }
"#;

fn outside_boundary() -> RuleSet {
    RuleSet::compile(&[file("key-set-outside-boundary", OUTSIDE)], &[]).unwrap()
}

#[test]
fn a_rule_of_ours_is_read_whole() {
    let rules = outside_boundary();
    let rule = rules.rule("key-set-outside-boundary").unwrap();
    assert_eq!(rule.kind, SubjectKind::KeySet);
    assert_eq!(rule.level, crate::model::Level::Critical);
    assert_eq!(rule.title, "KMS Key Set Outside Its Boundary");
    assert_eq!(rule.status.as_deref(), Some("stable"));
    assert_eq!(rule.controls["gdpr"], ["Art. 44", "Art. 46"]);
    assert_eq!(rule.applies.as_deref(), Some("declared"));
    assert_eq!(rule.condition, "declared and outside");
    assert_eq!(rule.selections[1], ("outside".to_owned(), vec!["boundary.outside is there".to_owned()]));
    assert_eq!(rule.falsepositives.len(), 1);
    assert_eq!(rule.path, "kms/key-set-outside-boundary.yml");
    assert!(rules.rule("another").is_none());
}

#[test]
fn exemplars_are_run() {
    let rules = outside_boundary();
    let results = RuleSet::run_exemplars(&rules.rules()[0]);
    assert_eq!(results.len(), 4);
    assert!(results.iter().all(ExemplarResult::passed), "{results:#?}");
    assert_eq!(results[0].message, "? has material in eu-west-2, outside ?");

    let wrong = OUTSIDE.replace("expect: unknown", "expect: pass");
    let rules = RuleSet::compile(&[file("key-set-outside-boundary", &wrong)], &[]).unwrap();
    let failed: Vec<_> =
        RuleSet::run_exemplars(&rules.rules()[0]).into_iter().filter(|result| !result.passed()).collect();
    assert_eq!(failed.len(), 1);
    assert_eq!((failed[0].expected, failed[0].outcome), (Outcome::Pass, Outcome::Unknown));
    assert!(failed[0].line > 20);
}

#[test]
fn a_failure_says_what_is_wrong_and_shows_what_it_rests_on() {
    let root = Fact::from(&json!({
        "key_set": { "id": "arn:aws:kms:*:111122223333:key/mrk-1" },
        "boundary": { "declared": true, "name": "eea", "outside": ["eu-west-2", "us-east-1"] },
    }));
    let verdicts = outside_boundary().judge(&facts(SubjectKind::KeySet, root));
    assert_eq!(verdicts.len(), 1);
    let verdict = &verdicts[0];
    assert_eq!(verdict.outcome, Outcome::Fail);
    assert_eq!(
        verdict.message,
        "arn:aws:kms:*:111122223333:key/mrk-1 has material in eu-west-2, us-east-1, outside eea"
    );
    let expected = [
        ("boundary.declared".to_owned(), Fact::Bool(true)),
        ("boundary.outside".to_owned(), Fact::texts(["eu-west-2", "us-east-1"])),
    ];
    assert_eq!(verdict.evidence, expected.into());
    assert!(verdict.reasons.is_empty());
}

#[test]
fn what_could_not_be_read_is_unknown_with_its_reasons() {
    let root = Fact::map([(
        "boundary",
        Fact::map([
            ("declared", Fact::Bool(true)),
            ("outside", Fact::Unknown("kms:DescribeKey denied".to_owned())),
        ]),
    )]);
    let verdict = outside_boundary().judge(&facts(SubjectKind::KeySet, root)).remove(0);
    assert_eq!(verdict.outcome, Outcome::Unknown);
    assert_eq!(verdict.reasons, ["kms:DescribeKey denied"]);
    assert!(verdict.message.is_empty() && verdict.evidence.is_empty());

    let root = Fact::map([("boundary", Fact::Unknown("kms:ListResourceTags throttled".to_owned()))]);
    let verdict = outside_boundary().judge(&facts(SubjectKind::KeySet, root)).remove(0);
    assert_eq!(verdict.outcome, Outcome::Unknown, "not knowing whether it applies is not knowing");
    assert_eq!(verdict.reasons, ["kms:ListResourceTags throttled"]);
}

#[test]
fn rules_judge_subjects_of_their_kind_only() {
    let rules = outside_boundary();
    assert!(rules.judge(&facts(SubjectKind::Key, Fact::from(&json!({})))).is_empty());
    assert!(rules.judge(&facts(SubjectKind::Event, Fact::from(&json!({})))).is_empty());
}

#[test]
fn a_decisive_answer_is_not_lost_to_an_unknown_one() {
    let detection = "    a: { key.enabled: true }\n    b: { policy.public: true }\n";
    let root = |enabled: bool| {
        Fact::map([
            ("key", Fact::map([("enabled", Fact::Bool(enabled))])),
            ("policy", Fact::Unknown("kms:GetKeyPolicy denied".to_owned())),
        ])
    };
    let says = |condition: &str, enabled| {
        let rules = posture("key", &format!("{detection}    condition: {condition}\n"));
        on_key(&rules, root(enabled)).outcome
    };
    for (condition, enabled, expected) in [
        ("a and b", false, Outcome::Pass),
        ("b and a", false, Outcome::Pass),
        ("a and b", true, Outcome::Unknown),
        ("b or a", true, Outcome::Fail),
        ("a or b", false, Outcome::Unknown),
        ("not b", true, Outcome::Unknown),
        ("1 of them", true, Outcome::Fail),
        ("all of them", true, Outcome::Unknown),
        ("all of them", false, Outcome::Pass),
        ("not (a and b)", false, Outcome::Fail),
    ] {
        assert_eq!(says(condition, enabled), expected, "{condition} with {enabled}");
    }
}

#[test]
fn reasons_are_those_that_the_answer_hangs_on_sorted() {
    let detection = "    a: { key.enabled: true }\n    b: { policy.public: true }\n    c: { grants.count|gt: 1 }\n    condition: (a and b) or c\n";
    let unknown = |reason: &str| Fact::Unknown(reason.to_owned());
    let root = |enabled: bool| {
        Fact::map([
            ("key", Fact::map([("enabled", Fact::Bool(enabled))])),
            ("policy", unknown("kms:GetKeyPolicy denied")),
            ("grants", unknown("kms:Grants throttled")),
        ])
    };
    let rules = posture("key", detection);
    assert_eq!(on_key(&rules, root(true)).reasons, ["kms:GetKeyPolicy denied", "kms:Grants throttled"]);
    assert_eq!(on_key(&rules, root(false)).reasons, ["kms:Grants throttled"]);
}

#[test]
fn a_list_matches_if_any_of_its_items_does() {
    let aliases = json!({ "aliases": { "names": ["alias/eu/a", "alias/b"] } });
    assert_eq!(outcome("{ aliases.names: alias/b }", &aliases), Outcome::Fail);
    assert_eq!(outcome("{ aliases.names|startswith: alias/eu }", &aliases), Outcome::Fail);
    assert_eq!(outcome("{ aliases.names: alias/c }", &aliases), Outcome::Pass);
    assert_eq!(outcome("{ aliases.names|contains|all: [eu/, /b] }", &aliases), Outcome::Fail);
    assert_eq!(outcome("{ aliases.names|contains|all: [eu/, /c] }", &aliases), Outcome::Pass);
    assert_eq!(outcome("{ aliases.names|neq: alias/c }", &aliases), Outcome::Fail);
    assert_eq!(outcome("{ aliases.names|neq: alias/b }", &aliases), Outcome::Pass, "one of them is");
}

#[test]
fn an_unknown_item_of_a_list_counts() {
    let rules = posture("key", "    selection: { aliases.names: alias/a }\n    condition: selection\n");
    let with = |first: &str| {
        let names = vec![Fact::from(first), Fact::Unknown("kms:ListAliases denied".to_owned())];
        on_key(&rules, Fact::map([("aliases", Fact::map([("names", Fact::List(names))]))]))
    };
    assert_eq!(with("alias/a").outcome, Outcome::Fail);
    let verdict = with("alias/b");
    assert_eq!(verdict.outcome, Outcome::Unknown);
    assert_eq!(verdict.reasons, ["kms:ListAliases denied"]);
}

#[test]
fn missing_is_not_unknown_and_null_counts_as_missing() {
    let empty = json!({ "key": { "description": null } });
    assert_eq!(outcome("{ key.state: Enabled }", &empty), Outcome::Pass);
    assert_eq!(outcome("{ key.state|neq: Enabled }", &empty), Outcome::Pass, "not there is not different");
    assert_eq!(outcome("{ key.state|exists: false }", &empty), Outcome::Fail);
    assert_eq!(outcome("{ key.description|exists: true }", &empty), Outcome::Pass);
    assert_eq!(outcome("{ key.description: null }", &empty), Outcome::Fail);
    assert_eq!(outcome("{ key.state: null }", &empty), Outcome::Fail);
    assert_eq!(
        outcome("{ key.description: [null, ''] }", &json!({ "key": { "description": "" } })),
        Outcome::Fail
    );
    assert_eq!(
        outcome("{ key.description: [null, ''] }", &json!({ "key": { "description": "x" } })),
        Outcome::Pass
    );
    assert_eq!(outcome("{ key.description: '' }", &json!({ "key": { "description": "x" } })), Outcome::Pass);
}

#[test]
fn whether_an_unknown_exists_is_unknown() {
    for selection in ["{ boundary.outside|exists: true }", "{ boundary.outside|exists: false }"] {
        let rules = posture("key_set", &format!("    selection: {selection}\n    condition: selection\n"));
        let root = Fact::map([("boundary", Fact::map([("outside", Fact::Unknown("x denied".to_owned()))]))]);
        assert_eq!(
            rules.judge(&facts(SubjectKind::KeySet, root))[0].outcome,
            Outcome::Unknown,
            "{selection}"
        );
    }
}

#[test]
fn tags_are_named_as_they_are() {
    let tagged = json!({ "tags": { "data-class": "Personal-EU", "team.owner": "kms" } });
    assert_eq!(outcome("{ tags.data-class: personal-eu }", &tagged), Outcome::Fail);
    assert_eq!(outcome("{ tags.data-class|cased: personal-eu }", &tagged), Outcome::Pass);
    assert_eq!(outcome("{ tags.team.owner: kms }", &tagged), Outcome::Fail);
}

#[test]
fn fields_refer_to_other_fields() {
    let key = json!({ "key": { "account": "111122223333", "arn": "arn:aws:kms:eu:111122223333:key/1" } });
    assert_eq!(outcome("{ key.arn|fieldref|contains: key.account }", &key), Outcome::Fail);
    assert_eq!(outcome("{ key.arn|fieldref|endswith: key.account }", &key), Outcome::Pass);
    assert_eq!(outcome("{ key.account|fieldref: key.account }", &key), Outcome::Fail);
    assert_eq!(
        outcome("{ key.account|fieldref: key.id }", &key),
        Outcome::Pass,
        "nothing equals what is missing"
    );
    let unknown = Fact::map([(
        "key",
        Fact::map([("account", Fact::from("1")), ("id", Fact::Unknown("x denied".to_owned()))]),
    )]);
    let rules = posture("key", "    s: { key.account|fieldref: key.id }\n    condition: s\n");
    let verdict = on_key(&rules, unknown);
    assert_eq!((verdict.outcome, verdict.reasons), (Outcome::Unknown, vec!["x denied".to_owned()]));
}

#[test]
fn a_text_is_looked_for_in_a_whole_object_unless_a_part_is_not_known() {
    let rules = posture("key", "    s: { tags|contains: personal }\n    condition: s\n");
    let with = |class: Fact| on_key(&rules, Fact::map([("tags", Fact::map([("class", class)]))]));
    assert_eq!(with(Fact::from("Personal-EU")).outcome, Outcome::Fail);
    assert_eq!(with(Fact::from("public")).outcome, Outcome::Pass);
    assert_eq!(with(Fact::Unknown("not personal, but denied".to_owned())).outcome, Outcome::Unknown);
}

#[test]
fn some_of_several_selections() {
    let rules = posture(
        "key",
        "    s_1: { key.enabled: true }\n    s_2: { key.multi_region: true }\n    s_3: { policy.public: true }\n    condition: 2 of s_*\n",
    );
    let root = |two: bool| {
        Fact::map([
            ("key", Fact::map([("enabled", Fact::Bool(true)), ("multi_region", Fact::Bool(two))])),
            ("policy", Fact::Unknown("kms:GetKeyPolicy denied".to_owned())),
        ])
    };
    assert_eq!(on_key(&rules, root(true)).outcome, Outcome::Fail);
    assert_eq!(on_key(&rules, root(false)).outcome, Outcome::Unknown);
}
