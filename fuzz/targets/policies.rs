//! Key policies of any text.

use keyward::facts::AccountScope;
use keyward::facts::policy::{Policy, PolicyError, Viewpoint, exposure, normalise, replication};
use keyward::model::{AccountId, KeyArn};

const KEY: &str = "arn:aws:kms:eu-central-1:111122223333:key/11111111-2222-3333-4444-555555555555";

pub(super) fn check(input: &[u8]) {
    let text = &*String::from_utf8_lossy(input);
    let policy = match Policy::parse(text) {
        Ok(policy) => policy,
        Err(problem) => {
            assert!(!problem.to_string().is_empty());
            return;
        }
    };
    let (key, owner): (KeyArn, AccountId) = (KEY.parse().unwrap(), "111122223333".parse().unwrap());
    let accounts = AccountScope::default();
    for (key, owner) in [(Some(&key), Some(&owner)), (None, None)] {
        let view = Viewpoint { key, owner, accounts: &accounts };
        let turned = turned(&policy);
        let (one, other) = (exposure(&policy, &view), exposure(&turned, &view));
        assert_eq!(one.delegates_to_iam, other.delegates_to_iam, "the order of statements means nothing");
        assert_eq!((one.public.is_ok(), one.deleted), (other.public.is_ok(), other.deleted));
        _ = replication(&policy, &view);
    }
    assert_eq!(normalise(&turned(&policy)), normalise(&policy), "the order of statements means nothing");
    check_spacing(text, &policy);
}

fn turned(policy: &Policy) -> Policy {
    let statements = policy.statements.iter().rev().cloned().collect();
    Policy { statements, ..policy.clone() }
}

/// White space, escapes and the order of keys mean nothing.
fn check_spacing(text: &str, policy: &Policy) {
    let value: serde_json::Value = serde_json::from_str(text).expect("a policy is JSON");
    let spaced = format!("{value:#}");
    // Numbers with a fraction are not always written as they were read.
    if serde_json::from_str::<serde_json::Value>(&spaced).ok().as_ref() != Some(&value) {
        return;
    }
    match Policy::parse(&spaced) {
        Ok(again) => assert_eq!(again, *policy, "{value}"),
        Err(problem) => assert!(matches!(problem, PolicyError::TooLong(_)), "{problem}: {value:#}"),
    }
}
