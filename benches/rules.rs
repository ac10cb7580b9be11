//! What a rule costs: per predicate, per event, per key, each beside the bound that it is held to.
//!
//! A run under `cargo bench` first holds the bounds (see [`BOUNDS`]) and fails where one is broken.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a bench ends where its input is wrong, and prints what it measures"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use divan::Bencher;
use keyward::model::{EventRecord, Fact, Facts, Subject, SubjectKind};
use keyward::rules::{EventDocument, RuleFile, RuleSet, builtin_files};
use serde_json::{Value, json};

fn main() {
    if std::env::args().any(|argument| argument == "--bench") {
        hold_bounds();
    }
    divan::main();
}

/// How many rules of other people stand beside ours, as from the public collection.
const OTHER_RULES: usize = 200;

fn rule(name: &str, logsource: &str, detection: &str) -> RuleFile {
    RuleFile {
        path: format!("{name}.yml"),
        text: format!(
            "title: {name}\nlogsource: {{ product: aws, {logsource} }}\ndetection:\n{detection}\n    condition: s\n"
        ),
    }
}

fn one(logsource: &str, selection: &str) -> RuleSet {
    RuleSet::compile(&[rule("one", logsource, &format!("    s: {selection}"))], &[])
        .expect("the rule compiles")
}

fn pack() -> RuleSet {
    let mut files = builtin_files();
    files.extend((0..OTHER_RULES).map(|at| {
        let selection = format!(
            "    s:\n        eventSource: service{}.amazonaws.com\n        eventName: [Create{at}, Delete{at}, Update{at}]\n        userAgent|contains: [boto, kali]",
            at % 20
        );
        rule(&format!("other-{at}"), "service: cloudtrail", &selection)
    }));
    RuleSet::compile(&files, &[]).expect("the pack compiles")
}

fn record() -> Value {
    json!({
        "eventVersion": "1.11",
        "userIdentity": {
            "type": "AssumedRole",
            "principalId": "AROAEXAMPLE:session",
            "arn": "arn:aws:sts::111122223333:assumed-role/app/session",
            "accountId": "111122223333",
            "accessKeyId": "ASIAEXAMPLE",
            "sessionContext": {
                "sessionIssuer": { "type": "Role", "principalId": "AROAEXAMPLE", "arn": "arn:aws:iam::111122223333:role/app", "accountId": "111122223333", "userName": "app" },
                "attributes": { "creationDate": "2026-11-23T18:00:00Z", "mfaAuthenticated": "false" }
            }
        },
        "eventTime": "2026-11-23T19:00:00Z",
        "eventSource": "kms.amazonaws.com",
        "eventName": "Decrypt",
        "awsRegion": "eu-central-1",
        "sourceIPAddress": "198.51.100.7",
        "userAgent": "aws-sdk-rust/1.8.8 os/linux lang/rust/1.95.0 md/http#hyper",
        "requestParameters": { "encryptionAlgorithm": "SYMMETRIC_DEFAULT", "encryptionContext": { "aws:s3:arn": "arn:aws:s3:::bucket/object" } },
        "responseElements": null,
        "requestID": "b0d8a8a1-0000-4000-8000-000000000001",
        "eventID": "b0d8a8a1-0000-4000-8000-000000000002",
        "readOnly": true,
        "resources": [{ "accountId": "111122223333", "type": "AWS::KMS::Key", "ARN": "arn:aws:kms:eu-central-1:111122223333:key/mrk-0123456789abcdef0123456789abcdef" }],
        "eventType": "AwsApiCall",
        "managementEvent": true,
        "recipientAccountId": "111122223333",
        "eventCategory": "Management",
        "tlsDetails": { "tlsVersion": "TLSv1.3", "cipherSuite": "TLS_AES_128_GCM_SHA256", "clientProvidedHostHeader": "kms.eu-central-1.amazonaws.com" }
    })
}

fn event() -> EventRecord {
    EventRecord::new(record()).expect("the record is whole")
}

fn enrichment() -> Facts {
    let root = Fact::from(&json!({
        "event": { "succeeded": true, "denied": false, "dry_run": false, "own": false, "by_service": false, "foreign_caller": false, "cryptographic": true },
        "boundary": { "name": "eea", "declared": true, "use_outside": false },
    }));
    Facts { subject: subject(SubjectKind::Event), root }
}

fn subject(kind: SubjectKind) -> Subject {
    Subject {
        kind,
        id: "arn:aws:kms:eu-central-1:111122223333:key/mrk-0123456789abcdef0123456789abcdef".to_owned(),
        account: "111122223333".parse().expect("an account"),
        region: "eu-central-1".parse().ok(),
        key_set: None,
        key: None,
        boundary: Some("eea".to_owned()),
    }
}

fn key() -> Facts {
    let root = Fact::from(&json!({
        "key": { "arn": "arn:aws:kms:eu-central-1:111122223333:key/mrk-1", "id": "mrk-1", "account": "111122223333", "region": "eu-central-1",
            "country": "DE", "manager": "CUSTOMER", "state": "Enabled", "enabled": true, "transient": false, "spec": "SYMMETRIC_DEFAULT",
            "usage": "ENCRYPT_DECRYPT", "origin": "AWS_KMS", "multi_region": true, "role": "primary", "age_days": 400 },
        "tags": { "data-class": "personal-eu", "team": "payments" },
        "aliases": { "names": ["alias/eu/payments"], "count": 1 },
        "classification": { "required": true, "present": true },
        "boundary": { "name": "eea", "declared": true },
        "rotation": { "eligible": true, "judged": true, "enabled": true, "period_days": 365, "max_period_days": 365, "period_too_long": false, "overdue": false },
        "material": { "imported": false },
        "deletion": { "scheduled": false },
        "policy": { "public": false, "delegates_to_iam": true, "replication_unrestricted": false },
        "grants": { "count": 3 },
    }));
    Facts { subject: subject(SubjectKind::Key), root }
}

/// Selections of one predicate each, none of which matches the record above.
const PREDICATES: [&str; 7] = [
    "{ eventName: ReplicateKey }",
    "{ eventName: [CreateKey, ReplicateKey, DisableKey, EnableKey] }",
    "{ userIdentity.sessionContext.sessionIssuer.userName: admin }",
    "{ userAgent|contains: boto3 }",
    "{ userAgent|startswith: [aws-cli, Boto3, terraform] }",
    "{ errorCode|exists: true }",
    "{ sourceIPAddress|re: '^10\\.' }",
];

#[divan::bench(args = PREDICATES)]
fn predicate(bencher: Bencher<'_, '_>, selection: &str) {
    let rules = one("service: cloudtrail", selection);
    let (record, nothing) = (record(), Fact::Null);
    let document = EventDocument { record: &record, enrichment: &nothing };
    let rule = &rules.rules()[0];
    bencher.bench(|| black_box(rule).outcome(black_box(&document)));
}

/// The floor of a predicate: the field found in the JSON, and compared.
#[divan::bench]
fn predicate_floor(bencher: Bencher<'_, '_>) {
    let record = record();
    bencher.bench(|| {
        black_box(&record)
            .get("eventName")
            .and_then(Value::as_str)
            .is_some_and(|name| name.eq_ignore_ascii_case(black_box("ReplicateKey")))
    });
}

#[divan::bench]
fn event_through_the_index(bencher: Bencher<'_, '_>) {
    let (rules, event, facts) = (pack(), event(), enrichment());
    bencher.bench(|| black_box(&rules).detect(black_box(&facts), black_box(&event)));
}

#[divan::bench]
fn event_wanted_by_nobody(bencher: Bencher<'_, '_>) {
    let rules = pack();
    bencher.bench(|| black_box(&rules).wants(black_box("ec2.amazonaws.com"), black_box("DescribeInstances")));
}

/// The bound of an event: what it would cost merely to turn its record into facts first.
#[divan::bench]
fn event_bound_conversion(bencher: Bencher<'_, '_>) {
    let record = record();
    bencher.bench(|| Fact::from(black_box(&record)));
}

#[divan::bench]
fn key_over_the_pack(bencher: Bencher<'_, '_>) {
    let (rules, facts) = (pack(), key());
    bencher.bench(|| black_box(&rules).judge(black_box(&facts)));
}

/// The bound of a key: what it costs merely to copy its facts.
#[divan::bench]
fn key_bound_copy(bencher: Bencher<'_, '_>) {
    let facts = key();
    bencher.bench(|| black_box(&facts).clone());
}

/// What is held, by what, and how many times the bound it may cost.
const BOUNDS: [(&str, f64); 2] = [
    // An event that meets its rules costs less than half of what converting it would.
    ("event", 0.5),
    // A key that meets all its rules costs no more than copying its facts five times; most of it is the verdicts,
    // each of which owns its subject.
    ("key", 5.0),
];

fn hold_bounds() {
    let (rules, event, facts, key, record) = (pack(), event(), enrichment(), key(), record());
    let measured = [
        (
            median(|| drop(black_box(&rules).detect(black_box(&facts), black_box(&event)))),
            median(|| drop(Fact::from(black_box(&record)))),
        ),
        (median(|| drop(black_box(&rules).judge(black_box(&key)))), median(|| drop(black_box(&key).clone()))),
    ];
    for ((name, most), (cost, bound)) in BOUNDS.into_iter().zip(measured) {
        let ratio = cost.as_secs_f64() / bound.as_secs_f64();
        println!("{name}: {cost:?} against {bound:?}, {ratio:.2} times (at most {most})");
        assert!(ratio <= most, "{name} costs {ratio:.2} times its bound, more than {most}");
    }
}

/// The median of many short runs, which noise on the machine moves little.
fn median(run: impl Fn()) -> Duration {
    const RUNS: u32 = 500;
    let mut times: Vec<Duration> = (0..101)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..RUNS {
                run();
            }
            start.elapsed() / RUNS
        })
        .collect();
    times.sort_unstable();
    times[times.len() / 2]
}
