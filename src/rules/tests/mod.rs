//! The rules room as a whole: files in, verdicts out.

mod builtin;
mod correlations;
mod errors;
mod events;
mod laws;
mod posture;
mod public;

use serde_json::{Value as Json, json};

use super::{EventDocument, ExemplarResult, RuleErrors, RuleFile, RuleSet};
use crate::model::{EventRecord, Fact, Facts, Outcome, Subject, SubjectKind, Verdict};

/// A posture rule without a `keyward` block, with this detection.
fn posture(kind: &str, detection: &str) -> RuleSet {
    let text = format!(
        "title: Test\nlogsource: {{ product: aws, service: kms, category: {kind} }}\ndetection:\n{detection}"
    );
    RuleSet::compile(&[file("test", &text)], &[]).unwrap()
}

/// A CloudTrail rule without a `keyward` block, with this detection.
fn event_rule(name: &str, detection: &str) -> RuleFile {
    file(
        name,
        &format!(
            "title: {name}\nlogsource: {{ product: aws, service: cloudtrail }}\ndetection:\n{detection}\nlevel: high\n"
        ),
    )
}

fn file(name: &str, text: &str) -> RuleFile {
    RuleFile { path: format!("kms/{name}.yml"), text: text.to_owned() }
}

fn errors(text: &str) -> RuleErrors {
    RuleSet::compile(&[file("test", text)], &[]).unwrap_err()
}

fn subject(kind: SubjectKind) -> Subject {
    Subject {
        kind,
        id: "the subject".to_owned(),
        account: "111122223333".parse().unwrap(),
        region: "eu-central-1".parse().ok(),
        key_set: None,
        key: None,
        boundary: None,
    }
}

fn facts(kind: SubjectKind, root: Fact) -> Facts {
    Facts { subject: subject(kind), root }
}

/// The verdict of the only rule on a key.
fn on_key(rules: &RuleSet, root: Fact) -> Verdict {
    let mut verdicts = rules.judge(&facts(SubjectKind::Key, root));
    assert_eq!(verdicts.len(), 1);
    verdicts.remove(0)
}

/// The outcome of a selection on a key with these facts.
fn outcome(selection: &str, root: &Json) -> Outcome {
    let rules = posture("key", &format!("    selection: {selection}\n    condition: selection\n"));
    on_key(&rules, Fact::from(root)).outcome
}

fn record(name: &str, more: &Json) -> EventRecord {
    let mut record = json!({
        "eventVersion": "1.11",
        "eventID": "4d4f1b9c-0000-4000-8000-000000000001",
        "eventTime": "2026-11-23T22:15:00Z",
        "eventSource": "kms.amazonaws.com",
        "eventName": name,
        "awsRegion": "eu-central-1",
        "sourceIPAddress": "198.51.100.7",
        "userAgent": "aws-cli/2.31 md/command#kms.replicate-key",
        "userIdentity": { "type": "AssumedRole", "accountId": "111122223333" },
    });
    for (field, value) in more.as_object().unwrap() {
        record[field] = value.clone();
    }
    EventRecord::new(record).unwrap()
}
