//! What is said about rules that are wrong.

use super::*;

fn shown(text: &str) -> Vec<String> {
    errors(text).iter().map(ToString::to_string).collect()
}

const HEAD: &str = "title: Test\nlogsource: { product: aws, service: kms, category: key_set }\ndetection:\n";

#[test]
fn a_misspelt_fact_is_answered_with_the_nearest_one() {
    assert_eq!(
        shown(&format!(
            "{HEAD}    s:\n        boundary.declared: true\n        boundary.ouside|exists: true\n    condition: s\n"
        )),
        ["kms/test.yml:6: `boundary.ouside` is no fact of a key_set; did you mean `boundary.outside`?"]
    );
    let other_kind = shown(&format!("{HEAD}    s: {{ policy.public: true }}\n    condition: s\n"));
    assert!(
        other_kind[0].contains("it is one of a key; `logsource.category` says `key_set`"),
        "{other_kind:?}"
    );
}

#[test]
fn a_misspelt_operator_is_answered_with_the_nearest_one() {
    assert_eq!(
        shown(&format!("{HEAD}    s:\n        boundary.outside|exist: true\n    condition: s\n")),
        ["kms/test.yml:5: unknown modifier `exist` in `boundary.outside|exist`; did you mean `exists`?"]
    );
}

#[test]
fn a_misspelt_selection_is_answered_with_the_nearest_one() {
    assert_eq!(
        shown(&format!("{HEAD}    selection: {{ boundary.declared: true }}\n    condition: selecton\n")),
        ["kms/test.yml:5: the condition names `selecton`, which is no selection; did you mean `selection`?"]
    );
    let none =
        shown(&format!("{HEAD}    selection: {{ boundary.declared: true }}\n    condition: 1 of filter_*\n"));
    assert_eq!(
        none,
        ["kms/test.yml:5: no selection is called `filter_*`, as the condition has it; known are selection"]
    );
}

#[test]
fn every_mistake_of_a_file_is_told_at_once_by_line() {
    let text = format!(
        "{HEAD}    a: {{ boundary.ouside: x }}\n    b: {{ key_set.id|re: '(open' }}\n    c: {{ key_set.member_count|lt: many }}\n    condition: a and b and d\nlevel: hihg\nstatus: stabel\n"
    );
    let shown = shown(&text);
    let lines: Vec<&str> = shown.iter().map(|error| error.split(": ").next().unwrap()).collect();
    assert_eq!(
        lines,
        [
            "kms/test.yml:4",
            "kms/test.yml:5",
            "kms/test.yml:6",
            "kms/test.yml:7",
            "kms/test.yml:8",
            "kms/test.yml:9"
        ],
        "{shown:#?}"
    );
    assert!(shown[1].contains("unclosed group"), "{shown:#?}");
    assert!(shown[4].ends_with("did you mean `high`?"));
    assert!(shown[5].ends_with("did you mean `stable`?"));
}

#[test]
fn comparisons_that_never_hold_are_refused() {
    for (selection, what) in [
        ("boundary.declared: 'yes'", "is true or false"),
        ("boundary.declared|contains: t", "is no text to look into"),
        ("boundary.declared|re: t", "no other comparison"),
        ("key_set.member_count: many", "is a whole number"),
        ("boundary.name|gt: 3", "not compared by size"),
        ("boundary.outside: true", "neither true nor false"),
        ("boundary.name|hour: 3", "is no time"),
    ] {
        let shown = shown(&format!("{HEAD}    s: {{ {selection} }}\n    condition: s\n"));
        assert!(shown[0].contains(what), "{selection}: {shown:?}");
    }
}

#[test]
fn what_is_not_supported_says_why() {
    for (text, what) in [
        (format!("{HEAD}    s: {{ key_set.id: a }}\n    condition: s | count() > 5\n"), "belong to Sigma 1"),
        (
            format!("{HEAD}    s: {{ key_set.id: a }}\n    timeframe: 5m\n    condition: s\n"),
            "belongs to Sigma 1",
        ),
        (format!("{HEAD}    s: {{ key_set.id|expand: '%a%' }}\n    condition: s\n"), "placeholders"),
        (format!("{HEAD}    s: {{ key_set.id|re: '(?<!x)y' }}\n    condition: s\n"), "look-around"),
        (format!("sigma-version: 3\n{HEAD}    s: {{ key_set.id: a }}\n    condition: s\n"), "Sigma 2"),
        (format!("{HEAD}    s: {{ tags: {{ a: b }} }}\n    condition: s\n"), "with dots"),
        (format!("{HEAD}    s: {{ key_set.id|cidr: 10.0.0/8 }}\n    condition: s\n"), "is no network"),
        (format!("{HEAD}    s: {{ key_set.id: [] }}\n    condition: s\n"), "list of values is empty"),
        (format!("{HEAD}    s: {{}}\n    condition: s\n"), "selection is empty"),
        (format!("{HEAD}    s: {{ key_set.id: a }}\n    condition: s and (\n"), "cannot be read"),
        (format!("{HEAD}    s: {{ key_set.id: a }}\n"), "no `condition`"),
        ("title: [\n".to_owned(), "no YAML"),
        ("- a\n".to_owned(), "a rule is a mapping"),
        (String::new(), "empty"),
    ] {
        let shown = shown(&text);
        assert!(shown.iter().any(|error| error.contains(what)), "{what}: {shown:?}");
    }
}

#[test]
fn log_sources_are_those_that_are_read() {
    let with = |logsource: &str| {
        shown(&format!("title: T\nlogsource: {logsource}\ndetection:\n    s: {{ a: b }}\n    condition: s\n"))
    };
    assert!(with("{ product: awss, service: cloudtrail }")[0].contains("did you mean `aws`?"));
    assert!(with("{ product: aws, service: cloudtrial }")[0].contains("did you mean `cloudtrail`?"));
    assert!(with("{ product: aws, service: kms, category: keyset }")[0].contains("did you mean `key_set`?"));
    assert!(with("{ product: aws, service: kms }")[0].contains("key, key_set, trail, account_region"));
    assert!(with("{ product: aws }")[0].contains("no `service`"));
}

const BLOCK: &str = "description: Why.\nlevel: low\nkeyward:\n    aplies: s\n    mesage: x\n    message: '{boundary.nam} and {'\n    remediation: Do.\n    controls: [a]\n    group_by: [boundary.nam]\n    exemplars:\n        - { name: a, expect: failed, facts: {} }\n        - { name: b, expect: pass, facts: { boundary: { ouside: [x] } }, unknown: [drift.polcy] }\n        - { name: c, expect: pass, event: { eventName: x }, fact: 1 }\n";

#[test]
fn the_block_of_ours_is_checked_key_by_key() {
    let shown = shown(&format!("{HEAD}    s: {{ key_set.id: a }}\n    condition: s\n{BLOCK}"));
    for what in [
        ":9: unknown key `aplies` in `keyward`; did you mean `applies`?",
        ":10: unknown key `mesage` in `keyward`; did you mean `message`?",
        ":11: the message has a `{`",
        ":13: `controls` is a list",
        ":14: `boundary.nam` is no fact of a key_set; did you mean `boundary.name`?",
        ":16: `expect` is `failed`, which is no outcome; did you mean `fail`?",
        ":17: `boundary.ouside` is no fact",
        ":17: `drift.polcy` is no fact of a key_set; did you mean `drift.policy`?",
        ":18: unknown key `fact` in `exemplars`; did you mean `facts`?",
        ":18: an exemplar of a posture rule has an `event`",
        ":8: the `keyward` block has no `controls`",
        ":8: the `keyward` block has no exemplar with `expect: fail`",
    ] {
        assert!(shown.iter().any(|error| error.contains(what)), "{what} is not in {shown:#?}");
    }
    let message = BLOCK.replace(" and {'", "'");
    let shown: Vec<String> =
        errors(&format!("{HEAD}    s: {{ key_set.id: a }}\n    condition: s\n{message}"))
            .iter()
            .map(ToString::to_string)
            .collect();
    assert!(shown.iter().any(|error| error.contains(":11: `boundary.nam` is no fact")), "{shown:#?}");
}

#[test]
fn a_bad_file_costs_only_itself() {
    let good = event_rule("good", "    s: { eventName: X }\n    condition: s");
    let bad = event_rule("bad", "    s: { eventName|contain: X }\n    condition: t");
    let (rules, errors) = RuleSet::load(&[bad.clone(), good.clone()], &[]);
    assert_eq!(rules.rules().len(), 1);
    assert_eq!(errors.iter().count(), 2);
    assert!(errors.iter().all(|error| error.path == "kms/bad.yml"));
    assert!(RuleSet::compile(&[bad, good], &[]).is_err());
}

#[test]
fn names_and_ids_are_taken_once_and_disabled_rules_exist() {
    let one = event_rule("one", "    s: { eventName: X }\n    condition: s");
    let again = RuleFile { path: "other/one.yml".to_owned(), ..one.clone() };
    let (rules, errors) = RuleSet::load(&[one.clone(), again], &[]);
    assert_eq!(rules.rules()[0].path, "kms/one.yml");
    assert!(errors.to_string().contains("other/one.yml: there is a rule `one` already, in kms/one.yml"));

    let (rules, errors) = RuleSet::load(std::slice::from_ref(&one), &["one".to_owned()]);
    assert!(rules.rules().is_empty() && errors.is_empty());
    let (_, errors) = RuleSet::load(&[one], &["onee".to_owned()]);
    assert_eq!(errors.to_string(), "rules.disable: `onee` is no rule; did you mean `one`?");
    let named = RuleFile { path: "a.yaml".to_owned(), text: String::new() };
    assert!(RuleSet::load(&[named], &[]).1.to_string().contains("`.yml`"));
}

#[test]
fn our_rules_pass_the_linter_of_the_sigma_tools() {
    let text = |id: &str, false_positive: &str| {
        format!(
            "title: Test\nid: {id}\nstatus: stable\ndescription: Why.\nfalsepositives: [{false_positive}]\nlogsource: {{ product: aws, service: kms, category: key }}\ndetection:\n    s: {{ key.enabled: true }}\n    condition: s\nlevel: low\nkeyward:\n    message: m\n    remediation: r\n    controls: {{ a: [b] }}\n    exemplars:\n        - {{ expect: fail, facts: {{ key: {{ enabled: true }} }} }}\n        - {{ expect: pass }}\n"
        )
    };
    let id = "5e2f64ce-93ac-4d5e-8a55-0b4f3a4f7c55";
    assert!(RuleSet::compile(&[file("test", &text(id, "A drill"))], &[]).is_ok());
    assert_eq!(
        shown(&text("not-a-uuid", "A drill")),
        ["kms/test.yml:2: `not-a-uuid` is no UUID; give the rule a random one, as `uuidgen` makes"]
    );
    let warnings = file("test", &text(id, "x")).warnings();
    assert_eq!(warnings.len(), 1);
    assert_eq!(
        (warnings[0].line, warnings[0].message.contains("falsepositive_too_short")),
        (5, true),
        "{warnings:?}"
    );
}
