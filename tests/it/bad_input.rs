//! Bad input of every kind: one clear error that names the place, the right exit code, and nothing else lost.

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use keyward::model::{AccountId, Region};
use keyward::sandbox::call::Principal;
use keyward::sandbox::clock::Clock;
use keyward::sandbox::kms::seed::{KeySeed, MemberSeed};
use keyward::sandbox::{Actor, World, estate};
use serde_json::{Value, json};

use crate::lab::{Lab, Ran};
use crate::support::{Running, get, wait_for};
use crate::tamper::Tampered;

/// A rule that finds every enabled key whose tags say so, in lines whose numbers the tests know.
const RULE: &str = "title: Key Marked
id: 0f4a7c1e-5d1b-4a59-9a68-0a8b4d9c1e11
status: test
description: Marked.
logsource: { product: aws, service: kms, category: key }
detection:
    marked: { tags.mark|contains: yes }
    enabled: { key.enabled: true }
    condition: marked and enabled
level: high
keyward:
    message: \"{key.id} is marked\"
    remediation: Unmark it.
    controls: { iso27001: [A.8.24] }
    exemplars:
        - { name: marked, expect: fail, facts: { key: { id: k, enabled: true }, tags: { mark: 'yes' } } }
        - { name: not, expect: pass, facts: { key: { enabled: true }, tags: {} } }
";

/// What is typed wrong, the line that is named, and what is said of it.
const MISTAKES: [(&str, &str, &str, u32, &str); 8] = [
    ("fact", "key.enabled: true }\n", "key.enabld: true }\n", 8, "did you mean `key.enabled`?"),
    ("operator", "tags.mark|contains", "tags.mark|contain", 7, "did you mean `contains`?"),
    (
        "selection",
        "condition: marked and enabled",
        "condition: marked and enabeld",
        9,
        "did you mean `enabled`?",
    ),
    ("yaml", "logsource: {", "logsource: [", 5, "YAML"),
    ("level", "level: high", "level: hihg", 10, "did you mean `high`?"),
    ("regex", "tags.mark|contains: yes", "tags.mark|re: '(yes'", 7, "(yes"),
    ("exemplars", "expect: pass", "expect: fail", 11, "pass"),
    ("block", "    remediation:", "    remedy:", 13, "remediation"),
];

fn lone_region() -> Region {
    "eu-central-1".parse().unwrap()
}

fn management() -> AccountId {
    estate::MANAGEMENT.parse().unwrap()
}

/// Three keys that are in order but for the AWS Config and trail that they lack, in one Region.
fn small_world() -> World {
    let mut world = World::new(Clock::default());
    for number in 0..3 {
        let member = MemberSeed::default().alias(&format!("alias/app-{number}")).tag("mark", "yes");
        let seed = KeySeed::new(&management(), &lone_region(), world.now() - chrono::TimeDelta::days(10));
        world.kms.plant(&seed.id(&id(number)).rotation(365).member(member)).unwrap();
    }
    world
}

fn id(number: usize) -> String {
    format!("0000000{number}-0000-4000-8000-000000000000")
}

const SMALL: &str = "regions.include = ['eu-central-1']\nstore.url = 'sqlite:small.db'\n";

fn small_lab() -> Lab {
    let lab = Lab::of(small_world());
    lab.write("small.toml", SMALL);
    lab
}

fn scan(lab: &Lab, config: &str) -> Ran {
    lab.run(&["--log", "error", "scan", "--format", "json", "--config", config])
}

/// The verdicts on a key, as `RULE VERDICT`.
fn verdicts(scan: &Value, key: usize) -> Vec<String> {
    let rows = scan["verdicts"].as_array().unwrap().iter();
    let of_key = rows.filter(|row| row["subject"].as_str().unwrap().ends_with(&id(key)));
    of_key
        .map(|row| format!("{} {}", row["rule"].as_str().unwrap(), row["verdict"].as_str().unwrap()))
        .collect()
}

/// How many findings each rule has, by the rules' names.
fn rules_found(scan: &Value) -> std::collections::BTreeMap<String, usize> {
    let mut found = std::collections::BTreeMap::new();
    for finding in scan["findings"].as_array().unwrap() {
        *found.entry(finding["rule"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    found
}

#[test]
fn the_check_names_the_line_of_every_mistake_in_a_rule_and_suggests() {
    let lab = small_lab();
    lab.write("good/key-marked.yml", RULE);
    lab.run(&["rules", "check", "good"]).says(0, &["1 rule in order, 0 errors, 0 warnings"]);
    for (name, right, wrong, line, said) in MISTAKES {
        assert!(RULE.contains(right), "{name}");
        lab.write(&format!("{name}/key-marked.yml"), &RULE.replacen(right, wrong, 1));
        let ran = lab.run(&["rules", "check", name]);
        ran.says(2, &[&format!("error: {name}/key-marked.yml:{line}: "), said, "0 rules in order"]);
    }
}

#[test]
fn the_check_refuses_a_second_rule_of_a_name_and_a_folder_that_is_not_there() {
    let lab = small_lab();
    for folder in ["one", "two"] {
        lab.write(&format!("both/{folder}/key-marked.yml"), RULE);
    }
    let ran = lab.run(&["rules", "check", "both"]);
    ran.says(
        2,
        &["both/two/key-marked.yml: there is a rule `key-marked` already, in both/one/key-marked.yml"],
    );
    lab.run(&["rules", "check", "nowhere"]).says(2, &["cannot read the rules at nowhere"]);
}

#[test]
fn a_broken_rule_of_one_s_own_costs_only_itself() {
    let lab = small_lab();
    let before = scan(&lab, "small.toml");
    assert_eq!(before.code, 0, "{before:?}");
    let text = RULE.replace("0f4a7c1e", "1f4a7c1e").replace("key.enabled: true }\n", "key.enabld: true }\n");
    lab.write("own/key-marked.yml", RULE);
    lab.write("own/key-misspelt.yml", &text);
    lab.write("own.toml", &format!("{SMALL}rules.dirs = ['own']\n"));

    let ran = scan(&lab, "own.toml");
    ran.says(
        3,
        &[
            "a rule is left out: own/key-misspelt.yml:8: `key.enabld` is no fact",
            "did you mean `key.enabled`?",
        ],
    );
    let after = ran.json();
    assert_eq!(after["rules_left_out"], json!(["key-misspelt"]));
    let mut expected = rules_found(&before.json());
    expected.insert("key-marked".to_owned(), 3);
    assert_eq!(rules_found(&after), expected);
    lab.run(&["scan", "--config", "own.toml"])
        .says(3, &["because of mistakes in their files: key-misspelt."]);
}

#[test]
fn a_broken_rule_resolves_nothing_and_is_counted() {
    let lab = small_lab();
    lab.write("own/key-marked.yml", RULE);
    lab.write("own.toml", &format!("{SMALL}rules.dirs = ['own']\n[inventory]\ninterval_secs = 1\n"));
    let open = |port| {
        let (_, body) = get(port, "/api/v1/findings?rule=key-marked")?;
        let text = body.matches("\"open\"").count();
        (text == 3).then_some(())
    };
    let (daemon, port) = lab.daemon("own.toml");
    wait_for("three findings", PATIENCE, || open(port));

    // The rules in force stay in force when they are read anew with a mistake in them.
    lab.write("own/key-marked.yml", &RULE.replace("tags.mark|contains", "tags.mark|contain"));
    let (status, answer) = post(port, "/-/reload");
    assert!(status >= 400 && answer.contains("did you mean `contains`?"), "{status} {answer}");
    metric(port, "keyward_config_last_reload_successful", 0);
    metric(port, "keyward_rules_left_out", 0);
    drop(daemon);

    // A start goes on without the rule, and its findings stay.
    let (_daemon, port) = lab.daemon("own.toml");
    metric(port, "keyward_rules_left_out", 1);
    std::thread::sleep(Duration::from_secs(3));
    assert!(open(port).is_some(), "{:?}", get(port, "/api/v1/findings"));
}

const PATIENCE: Duration = Duration::from_mins(1);

/// Waits until a metric without labels has a value.
fn metric(port: u16, name: &str, value: u64) {
    let line = format!("{name} {value}");
    wait_for(&line, PATIENCE, || {
        let (_, text) = get(port, "/metrics")?;
        text.lines().any(|other| other == line).then_some(())
    });
}

/// A POST on loopback: status and body.
fn post(port: u16, path: &str) -> (u16, String) {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    write!(stream, "POST {path} HTTP/1.0\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

#[test]
fn a_configuration_that_is_wrong_is_refused_with_its_line_by_every_command() {
    let lab = small_lab();
    let cases = [
        (
            "[http]\nlisen = '127.0.0.1:1'\n",
            "bad.toml:2: `http.lisen`: there is no such setting; did you mean `listen`?",
        ),
        ("[inventory]\n\ninterval_secs = 'hourly'\n", "bad.toml:3: `inventory.interval_secs`: "),
        ("[regions\ninclude = []\n", "bad.toml:1: "),
        ("store.url = 'mysql://db/keyward'\n", "bad.toml:1: `store.url`: "),
        ("[[residency]]\nboundary = 'eaa'\n", "did you mean `eea`?"),
    ];
    for (text, said) in cases {
        lab.write("bad.toml", text);
        for command in [&["scan"][..], &["run"], &["report", "--framework", "gdpr"], &["config", "check"]] {
            lab.run(&[command, &["--config", "bad.toml"]].concat()).says(2, &[said]);
        }
    }
    lab.run(&["scan", "--config", "nowhere.toml"]).says(2, &["nowhere.toml", "cannot be read"]);
}

#[test]
fn an_environment_variable_that_is_wrong_is_refused_by_its_name() {
    let lab = small_lab();
    let with = |name: &str, value: &str| Ran::of(lab.keyward(&["config", "check"]).env(name, value));
    with("KEYWARD__HTTP__LISEN", "127.0.0.1:1")
        .says(2, &["KEYWARD__HTTP__LISEN: ", "did you mean `KEYWARD__HTTP__LISTEN`?"]);
    with("KEYWARD__INVENTORY__INTERVAL_SECS", "hourly").says(2, &["KEYWARD__INVENTORY__INTERVAL_SECS: "]);
    with("KEYWARD__HTTP__LISTEN", "127.0.0.1:1").says(0, &["fine"]);
}

#[test]
fn an_exception_without_an_expiry_or_for_no_rule_does_not_load() {
    let lab = small_lab();
    lab.write("excepting.toml", &format!("{SMALL}rules.exceptions = 'exceptions.yaml'\n"));
    let exception = |expires: &str, rule: &str| {
        format!(
            "exceptions:\n  - id: E1\n    rule: {rule}\n    scope: {{ regions: [eu-central-1] }}\n    owner: o\n    \
             reason: r\n    legal_basis: l\n    approver: a\n{expires}"
        )
    };
    for (text, said) in [
        (exception("", "config-not-recording"), "exceptions.yaml:2: "),
        (
            exception("    expires: 2099-01-01\n", "config-not-recoding"),
            "did you mean `config-not-recording`?",
        ),
    ] {
        lab.write("exceptions.yaml", &text);
        scan(&lab, "excepting.toml").says(2, &[said]);
    }
    lab.write("exceptions.yaml", &exception("    expires: 2099-01-01\n", "config-not-recording"));
    let ran = scan(&lab, "excepting.toml");
    ran.says(0, &[]);
    assert!(!rules_found(&ran.json()).contains_key("config-not-recording"));
    std::fs::remove_file(lab.write("exceptions.yaml", "")).unwrap();
    scan(&lab, "excepting.toml").says(2, &["cannot read exceptions.yaml"]);
}

#[test]
fn what_is_asked_for_and_does_not_exist_is_refused_with_what_does() {
    let lab = small_lab();
    lab.run(&["report", "--framework", "gdpt"]).says(2, &["gdpt", "gdpr"]);
    lab.run(&["report", "--framework", "gdpr", "--format", "pdf"]).says(2, &["pdf", "html"]);
    lab.run(&["report", "--framework", "gdpr", "--as-of", "last week"]).says(2, &["--as-of", "last week"]);
    lab.run(&["report", "--framework", "gdpr", "--as-of", "2999-01-01T00:00:00Z"])
        .says(2, &["is in the future"]);
    lab.run(&["scan", "--format", "xml"]).says(2, &["xml", "ocsf"]);
    lab.run(&["scan", "--fail-on", "severe"]).says(2, &["severe"]);
    lab.run(&["rules", "explain", "key-unreadble"]).says(2, &["did you mean `key-unreadable`?"]);
    lab.run(&["demo", "--scenario", "flood"]).says(2, &["flood", "incidents"]);
    lab.run(&["--log", "loud=very", "rules", "list"]).says(2, &["--log loud=very"]);
    lab.run(&["scna"]).says(2, &["scan"]);
}

#[test]
fn a_store_that_is_none_is_named_and_left_as_it_is() {
    let lab = small_lab();
    let notes = lab.write("notes.db", "these are notes, and no database at all\n");
    let open = |command: &[&str]| Ran::of(lab.keyward(command).env("KEYWARD__STORE__URL", "sqlite:notes.db"));
    for command in [&["run"][..], &["report", "--framework", "gdpr"]] {
        open(command).says(4, &["sqlite:notes.db", "not a database"]);
    }
    assert_eq!(std::fs::read_to_string(notes).unwrap(), "these are notes, and no database at all\n");
    let empty = lab.run(&["report", "--framework", "gdpr", "--config", "small.toml"]);
    empty.says(4, &["sqlite:small.db holds no reading"]);
}

#[test]
fn a_port_that_is_taken_is_named_with_its_setting() {
    let lab = small_lab();
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ran = Ran::of(lab.keyward(&["run", "--config", "small.toml"]).env("KEYWARD__HTTP__LISTEN", &address));
    ran.says(4, &[&format!("cannot listen on {address} (http.listen)")]);
    lab.run(&["demo", "--listen", &address, "--sandbox-listen", "127.0.0.1:0"])
        .says(4, &[&address, "--listen"]);
}

#[test]
fn an_aws_that_does_not_answer_ends_the_scan_with_what_to_look_at() {
    let lab = small_lab();
    let closed = format!("http://127.0.0.1:{}", crate::support::free_port());
    let ran = Ran::of(lab.keyward(&["scan", "--config", "small.toml"]).env("AWS_ENDPOINT_URL", closed));
    ran.says(4, &["AWS does not say who Keyward is", "Connection refused", "check its credentials"]);
}

#[test]
fn a_policy_that_cannot_be_understood_leaves_that_key_in_doubt_and_the_others_judged() {
    let lab = small_lab();
    let whole = scan(&lab, "small.toml").json();
    let lab = lab.tampered(|operation, request, _| {
        let broken =
            json!({ "Policy": "{\"Version\": \"2012-10-17\", \"Statement\": [", "PolicyName": "default" });
        (operation == "GetKeyPolicy" && request.contains(&id(1))).then(|| Tampered::Body(broken.to_string()))
    });
    let ran = scan(&lab, "small.toml");
    let broken = ran.json();
    assert!(
        verdicts(&broken, 1).contains(&"key-policy-public unknown".to_owned()),
        "{:?}",
        verdicts(&broken, 1)
    );
    assert!(verdicts(&broken, 1).contains(&"rotation-disabled pass".to_owned()));
    for other in [0, 2] {
        assert_eq!(verdicts(&broken, other), verdicts(&whole, other));
    }
    let row =
        broken["verdicts"].as_array().unwrap().iter().find(|row| {
            row["rule"] == "key-policy-public" && row["subject"].as_str().unwrap().ends_with(&id(1))
        });
    assert!(row.unwrap()["reasons"][0].as_str().unwrap().contains("policy"), "{row:?}");
}

#[test]
fn answers_that_are_cut_off_or_no_json_are_readings_and_the_rest_is_judged() {
    let lab = small_lab().tampered(|operation, request, _| match operation {
        "DescribeKey" if request.contains(&id(1)) => Some(Tampered::Truncated),
        "ListResourceTags" if request.contains(&id(2)) => Some(Tampered::Body("<html>".to_owned())),
        _ => None,
    });
    let ran = scan(&lab, "small.toml");
    assert_eq!(ran.code, 3, "{ran:?}");
    let scan = ran.json();
    let reading = |api: &str| {
        let readings = scan["readings"].as_array().unwrap();
        readings.iter().find(|reading| reading["api"] == api).unwrap().clone()
    };
    assert_eq!(
        (&reading("kms:DescribeKey")["result"], &reading("kms:DescribeKey")["failed"]),
        (&json!("unreachable"), &json!(1))
    );
    assert_eq!(
        (&reading("kms:ListResourceTags")["failed"], &reading("kms:GetKeyPolicy")["failed"]),
        (&json!(1), &json!(0))
    );
    assert!(verdicts(&scan, 1).contains(&"rotation-disabled unknown".to_owned()), "{:?}", verdicts(&scan, 1));
    assert!(verdicts(&scan, 0).contains(&"rotation-disabled pass".to_owned()));
    assert!(verdicts(&scan, 2).contains(&"rotation-disabled pass".to_owned()));
}

#[test]
fn records_that_are_malformed_are_counted_and_those_beside_them_are_judged() {
    let lab = small_lab();
    lab.write("small.toml", &format!("{SMALL}lookup = {{ interval_secs = 1, first_secs = 3600 }}\n"));
    let actor = Actor::new(&management(), Principal::User { name: "ana".to_owned() });
    lab.change(|world| {
        for number in [0, 1] {
            let input = json!({ "KeyId": id(number), "PendingWindowInDays": 7 });
            world.act(&actor, &lone_region(), "kms:ScheduleKeyDeletion", input).unwrap();
        }
    });
    // The record about the first key says nothing that can be read.
    let lab = lab.tampered(|operation, _, answer| {
        let mut page: Value = serde_json::from_str(answer).ok().filter(|_| operation == "LookupEvents")?;
        for event in page["Events"].as_array_mut()? {
            if event["CloudTrailEvent"].as_str()?.contains(&id(0)) {
                event["CloudTrailEvent"] = json!("{\"eventVersion\": \"1.11\", \"userIdentity\"");
            }
        }
        Some(Tampered::Body(page.to_string()))
    });
    let (_daemon, port): (Running, u16) = lab.daemon("small.toml");
    let detected = wait_for("a detection", PATIENCE, || {
        let (_, body) = get(port, "/api/v1/findings?rule=key-deletion-scheduled")?;
        body.contains(&id(1)).then_some(body)
    });
    assert!(!detected.contains(&id(0)));
    wait_for("the malformed record is counted", PATIENCE, || {
        let (_, text) = get(port, "/metrics")?;
        let line = text.lines().find(|line| line.starts_with("keyward_events_malformed_total"))?;
        (line != "keyward_events_malformed_total 0").then_some(())
    });
}
