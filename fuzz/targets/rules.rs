//! Rule files of any text.

use keyward::model::{EventRecord, Fact, Facts, Subject, SubjectKind};
use keyward::rules::{RuleFile, RuleSet};
use serde_json::json;

pub(super) fn check(input: &[u8]) {
    let file =
        RuleFile { path: "rules/fuzzed.yml".to_owned(), text: String::from_utf8_lossy(input).into_owned() };
    let files = [file];
    let (rules, errors) = RuleSet::load(&files, &[]);
    // YAML ends lines with carriage returns too.
    let lines = files[0].text.matches(['\n', '\r']).count() as u64 + 1;
    for error in &errors.0 {
        assert!(!error.message.is_empty() && error.path == files[0].path, "{error:?}");
        assert!(error.line <= lines, "{error:?} of {lines} lines");
    }
    let warnings = files[0].warnings();
    assert!(warnings.iter().all(|warning| warning.line <= lines), "{warnings:?} of {lines} lines");
    assert_eq!(RuleSet::compile(&files, &[]).is_ok(), errors.is_empty());
    judge(&rules);
}

/// Whatever loads can be asked.
fn judge(rules: &RuleSet) {
    let record = json!({
        "eventID": "1", "eventName": "Decrypt", "eventSource": "kms.amazonaws.com",
        "eventTime": "2026-03-01T10:00:00Z", "userAgent": "ana's é", "readOnly": true,
        "requestParameters": { "keyId": "k", "numbers": [1, null, { "a": "b" }] },
    });
    let event = EventRecord::new(record).expect("a whole record");
    let subject = |kind| Subject {
        kind,
        id: "k".to_owned(),
        account: "111122223333".parse().expect("an account"),
        region: None,
        key_set: None,
        key: None,
        boundary: None,
    };
    let facts = Facts { subject: subject(SubjectKind::Event), root: empty() };
    for verdict in rules.find(&facts, &event).verdicts {
        assert!(rules.rule(&verdict.rule).is_some(), "{verdict:?}");
    }
    for rule in rules.rules() {
        assert_eq!(rules.rule(&rule.name).map(|found| &found.name), Some(&rule.name));
        for result in RuleSet::run_exemplars(rule) {
            assert!(!result.hidden_by_index, "{result:?}");
        }
        let root = Fact::map([("key", Fact::Unknown("denied".to_owned())), ("tags", empty())]);
        rules.judge(&Facts { subject: subject(rule.kind), root });
    }
}

fn empty() -> Fact {
    Fact::Map([].into())
}
