use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::classify::uses;
use super::*;
use crate::model::kms;
use crate::model::{Network, OTHERS, Usage, UsageOutcome};
use crate::records::{Envelope, Field, Limits, Malformed, Place, Sink, read};

const KEY: &str = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
const OTHER: &str = "arn:aws:kms:us-east-1:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab";

/// Gives each record to a function.
fn each(records: &[Value], take: impl FnMut(&Envelope<'_>)) {
    struct Each<F>(F);
    impl<F: FnMut(&Envelope<'_>)> Sink for Each<F> {
        fn record(&mut self, envelope: &Envelope<'_>, _: Place) {
            self.0(envelope);
        }

        fn malformed(&mut self, malformed: Malformed) {
            panic!("{malformed:?}");
        }
    }
    let text = json!({ "Records": records }).to_string();
    let summary = read(text.as_bytes(), &Limits::default(), &mut Each(take));
    assert_eq!(summary.records, records.len() as u64);
}

fn is_use(envelope: &Envelope<'_>) -> bool {
    let text = |field| envelope.text(field).unwrap_or_default();
    kms::is_use(&text(Field::EventSource), &text(Field::EventName))
}

fn uses_of(record: Value) -> Option<Uses> {
    let mut found = None;
    each(&[record], |envelope| found = is_use(envelope).then(|| uses(envelope)));
    found
}

/// A record as AWS documents it, changed.
fn record(changes: Value) -> Value {
    let mut record = json!({
        "eventVersion": "1.08",
        "userIdentity": {
            "type": "AssumedRole",
            "principalId": "AROA:session",
            "arn": "arn:aws:sts::111122223333:assumed-role/App/session",
            "accountId": "111122223333",
            "sessionContext": {"sessionIssuer": {
                "type": "Role", "arn": "arn:aws:iam::111122223333:role/apps/App", "accountId": "111122223333"
            }}
        },
        "eventTime": "2026-11-25T03:45:10Z",
        "eventSource": "kms.amazonaws.com",
        "eventName": "Decrypt",
        "awsRegion": "eu-central-1",
        "sourceIPAddress": "192.0.2.1",
        "requestParameters": {"encryptionContext": {"aws:s3:arn": "arn:aws:s3:::b/o"}, "keyId": KEY},
        "responseElements": null,
        "eventID": "8f5a9c1e-2b3d-4e6f-8a7b-1c2d3e4f5a6b",
        "resources": [{"accountId": "111122223333", "type": "AWS::KMS::Key", "ARN": KEY}],
        "recipientAccountId": "111122223333"
    });
    if let (Value::Object(fields), Value::Object(changes)) = (&mut record, changes) {
        fields.extend(changes);
    }
    record
}

fn line(changes: Value) -> Usage {
    let uses = uses_of(record(changes)).unwrap();
    assert_eq!((uses.keys.len(), &uses.unattributed), (1, &None));
    uses.keys.into_iter().next().unwrap()
}

#[test]
fn a_use_is_told_in_full() {
    let expected = Usage {
        hour: 1_795_578_310 / 3_600,
        key: KEY.to_owned(),
        principal: "arn:aws:iam::111122223333:role/apps/App".to_owned(),
        operation: "Decrypt".to_owned(),
        outcome: UsageOutcome::Success,
        account: "111122223333".to_owned(),
        network: Network::Public,
        context: "s3".to_owned(),
    };
    assert_eq!(line(json!({})), expected);
}

#[test]
fn only_uses_of_key_material_are_uses() {
    for changes in [
        json!({"eventName": "DescribeKey"}),
        json!({"eventName": "GenerateRandom"}),
        json!({"eventName": "decrypt"}),
        json!({"eventSource": "payment-cryptography.amazonaws.com"}),
    ] {
        assert_eq!(uses_of(record(changes)), None);
    }
}

#[test]
fn outcomes_are_those_of_the_facts() {
    for (code, outcome) in [
        (json!(null), UsageOutcome::Success),
        (json!(""), UsageOutcome::Success),
        (json!("DryRunOperationException"), UsageOutcome::DryRun),
        (json!("AccessDenied"), UsageOutcome::Denied),
        (json!("AccessDeniedException"), UsageOutcome::Denied),
        (json!("DisabledException"), UsageOutcome::Error),
        (json!("KMSInvalidStateException"), UsageOutcome::Error),
    ] {
        assert_eq!(line(json!({"errorCode": code})).outcome, outcome, "{code}");
    }
}

#[test]
fn a_reencryption_uses_two_keys() {
    let resources = json!([{"ARN": KEY}, {"ARN": OTHER}, {"ARN": KEY}]);
    let uses = uses_of(record(json!({"eventName": "ReEncrypt", "resources": resources}))).unwrap();
    let keys: Vec<&str> = uses.keys.iter().map(|usage| usage.key.as_str()).collect();
    assert_eq!((keys, uses.unattributed), (vec![KEY, OTHER], None));
    // A refused one may have no resources, and an alias for one of the two.
    let parameters = json!({"destinationKeyId": OTHER, "sourceKeyId": "alias/app"});
    let changes = json!({"eventName": "ReEncrypt", "resources": null, "requestParameters": parameters});
    let uses = uses_of(record(changes)).unwrap();
    assert_eq!((uses.keys.len(), uses.keys[0].key.as_str()), (1, OTHER));
    assert_eq!(uses.unattributed.unwrap().operation, "ReEncrypt");
}

#[test]
fn a_key_is_known_by_its_arn_or_id_and_by_no_alias() {
    let id = "1234abcd-12ab-34cd-56ef-1234567890ab";
    for (parameters, elements) in [
        (json!({"keyId": id}), json!(null)),
        (json!({"keyId": KEY}), json!(null)),
        (json!({"keyId": "alias/app"}), json!({"keyId": KEY})),
    ] {
        let changes = json!({
            "resources": [], "requestParameters": parameters, "responseElements": elements, "errorCode": "AccessDenied"
        });
        assert_eq!(line(changes).key, KEY, "{parameters}");
    }
    let china = json!({"resources": [], "requestParameters": {"keyId": id}, "awsRegion": "cn-north-1"});
    assert!(line(china).key.starts_with("arn:aws-cn:kms:cn-north-1:"));
    for parameters in [
        json!({"keyId": "alias/app"}),
        json!({"keyId": "arn:aws:kms:eu-central-1:111122223333:alias/app"}),
        json!({}),
        json!(null),
        json!({"keyId": 5}),
    ] {
        let changes = json!({"resources": [], "requestParameters": parameters, "errorCode": "AccessDenied"});
        let uses = uses_of(record(changes)).unwrap();
        assert!(uses.keys.is_empty(), "{parameters}");
        let of = uses.unattributed.unwrap();
        let expected = ("111122223333", "eu-central-1", UsageOutcome::Denied);
        assert_eq!((of.account.as_str(), of.region.as_str(), of.outcome), expected);
    }
}

#[test]
fn callers_are_told_apart() {
    let root = "arn:aws:iam::999988887777:root";
    for (identity, principal, account) in [
        (json!({"type": "AWSService", "invokedBy": "s3.amazonaws.com"}), "s3.amazonaws.com", ""),
        (json!({"accountId": "111122223333", "invokedBy": "AWS Internal"}), "AWS Internal", "111122223333"),
        (json!({"type": "Root", "arn": root}), root, "999988887777"),
        (
            json!({"type": "AWSAccount", "principalId": "AIDA:x", "accountId": "999988887777"}),
            "AIDA",
            "999988887777",
        ),
        (json!(null), "(unknown)", ""),
        (
            json!({"type": "AssumedRole", "arn": "arn:aws-cn:sts::111122223333:assumed-role/A/s"}),
            "arn:aws-cn:iam::111122223333:role/A",
            "111122223333",
        ),
    ] {
        let usage = line(json!({"userIdentity": identity}));
        assert_eq!((usage.principal.as_str(), usage.account.as_str()), (principal, account), "{identity}");
    }
}

#[test]
fn networks_are_classes() {
    let of = |source: Value, endpoint: Value, by: Value| {
        let identity = json!({"type": "IAMUser", "arn": "arn:aws:iam::111122223333:user/u", "invokedBy": by});
        line(json!({"sourceIPAddress": source, "vpcEndpointId": endpoint, "userIdentity": identity})).network
    };
    for (source, endpoint, by, network) in [
        (json!("203.0.113.9"), json!(null), json!(null), Network::Public),
        (json!("203.0.113.9"), json!("vpce-1"), json!(null), Network::VpcEndpoint),
        (json!("10.0.0.1"), json!("vpce-1"), json!("athena.amazonaws.com"), Network::Service),
        (json!("s3.amazonaws.com"), json!(null), json!(null), Network::Service),
        (json!("ec2.amazonaws.com.cn"), json!("vpce-1"), json!(null), Network::Service),
        (json!("AWS Internal"), json!(null), json!(null), Network::Internal),
        (json!("1.2.3.4"), json!(null), json!("AWS Internal"), Network::Internal),
        (json!("10.1.2.3"), json!(null), json!(null), Network::Private),
        (json!("100.64.0.1"), json!(null), json!(null), Network::Private),
        (json!("172.32.0.1"), json!(null), json!(null), Network::Public),
        (json!("::ffff:192.168.0.1"), json!(null), json!(null), Network::Private),
        (json!("fd00::1"), json!(null), json!(null), Network::Private),
        (json!("2001:db8::1"), json!(null), json!(null), Network::Public),
        (json!("0.0.0.0"), json!(null), json!(null), Network::Unknown),
        (json!(null), json!(null), json!(null), Network::Unknown),
        (json!("nonsense"), json!(""), json!(""), Network::Unknown),
    ] {
        assert_eq!(of(source.clone(), endpoint, by), network, "{source}");
    }
}

#[test]
fn contexts_are_a_few_words() {
    for (context, kind) in [
        (json!(null), "none"),
        (json!({}), "none"),
        (json!("text"), "none"),
        (json!({"aws:s3:arn": "a", "department": "b"}), "s3"),
        (json!({"aws:s3:arn": "a", "aws:cloudtrail:arn": "b"}), "cloudtrail"),
        (json!({"aws:ebs:id": "vol-1", "aws:rds:db-id": "db-1"}), "rds"),
        (json!({"SecretARN": "a", "SecretVersionId": "b"}), "secretsmanager"),
        (json!({"PARAMETER_ARN": "a"}), "ssm"),
        (json!({"aws:lambda:FunctionArn": "a"}), "lambda"),
        (json!({"aws:something-new:arn": "a", "own": "b"}), "aws"),
        (json!({"department": "b"}), "custom"),
        (json!({"aws-crypto-public-key": "b"}), "custom"),
    ] {
        let parameters = json!({"keyId": KEY, "encryptionContext": context});
        assert_eq!(line(json!({"requestParameters": parameters})).context, kind, "{parameters}");
    }
    let parameters = json!({
        "sourceEncryptionContext": {"aws:s3:arn": "a"}, "destinationEncryptionContext": {"aws:ebs:id": "b"}
    });
    assert_eq!(line(json!({"eventName": "ReEncrypt", "requestParameters": parameters})).context, "ebs");
}

/// Records of many kinds, each of them often.
fn varied(count: usize) -> Vec<Value> {
    let one = |n: usize| {
        let session = format!("arn:aws:sts::111122223333:assumed-role/App{}/s{}", n % 7, n % 31);
        let identity = match n % 3 {
            0 => json!({"type": "AssumedRole", "arn": session, "accountId": "111122223333"}),
            1 => json!({"type": "AWSService", "invokedBy": "s3.amazonaws.com"}),
            _ => json!({"type": "AWSService"}),
        };
        let name = ["Decrypt", "Encrypt", "ReEncrypt", "DescribeKey"][n % 4];
        let region = ["eu-central-1", "us-east-1"][n % 2];
        let source = format!("192.0.2.{}", n % 5);
        record(json!({
            "eventTime": format!("2026-11-25T0{}:{:02}:00Z", n % 4, n % 60),
            "eventName": name,
            "errorCode": if n.is_multiple_of(5) { json!("AccessDenied") } else { json!(null) },
            "sourceIPAddress": if n.is_multiple_of(2) { json!(source) } else { json!("AWS Internal") },
            "userIdentity": identity,
            "resources": match n % 11 {
                0 => json!([]),
                1..6 => json!([{"ARN": KEY}]),
                _ => json!([{"ARN": OTHER}, {"ARN": KEY}]),
            },
            "requestParameters": {"keyId": if n.is_multiple_of(22) { "alias/a" } else { OTHER },
                "encryptionContext": if n.is_multiple_of(6) { json!({"a": "b"}) } else { json!(null) }},
            "eventID": format!("8f5a9c1e-2b3d-4e6f-8a7b-{:012x}", n % 1_500),
            "awsRegion": region,
        }))
    };
    (0..count).map(one).collect()
}

#[test]
fn a_tally_says_what_the_records_say_one_by_one() {
    let records = varied(2_000);
    let mut tally = Tally::default();
    let mut usage: BTreeMap<Usage, u64> = BTreeMap::new();
    let mut unattributed = BTreeMap::new();
    each(&records, |envelope| {
        let uses = uses(envelope);
        assert!(tally.add(envelope).is_some());
        for key in uses.keys {
            *usage.entry(key).or_default() += 1;
        }
        if let Some(of) = uses.unattributed {
            *unattributed.entry(of).or_default() += 1;
        }
    });
    let deltas = tally.finish();
    assert!(deltas.usage.len() > 100 && !deltas.unattributed.is_empty());
    let counted = deltas.usage.iter().map(|(usage, count)| (usage.clone(), count.count));
    assert_eq!(counted.collect::<BTreeMap<_, _>>(), usage);
    let counted = deltas.unattributed.iter().map(|(of, count)| (of.clone(), count.count));
    assert_eq!(counted.collect::<BTreeMap<_, u64>>(), unattributed);
    for (usage, count) in &deltas.usage {
        assert!(count.first <= count.last && count.first.timestamp() / 3_600 == usage.hour);
    }
    let total: u64 = requests(&deltas.usage).values().sum();
    assert_eq!(total, usage.values().sum::<u64>());
}

#[test]
fn records_whose_resources_name_no_key_are_told_apart_by_what_does() {
    for resources in [json!([{}]), json!([{"ARN": "arn:aws:kms:eu-central-1:111122223333:alias/app"}])] {
        let of = |key: &str| record(json!({"resources": resources, "requestParameters": {"keyId": key}}));
        let mut tally = Tally::default();
        each(&[of(KEY), of(OTHER), of(KEY)], |envelope| assert!(tally.add(envelope).is_some()));
        let usage = tally.finish().usage;
        let counts: Vec<_> = usage.iter().map(|(usage, count)| (usage.key.as_str(), count.count)).collect();
        assert_eq!(counts, [(KEY, 2), (OTHER, 1)], "{resources}");
    }
}

#[test]
fn what_is_taken_back_is_not_counted() {
    let records = varied(500);
    let (mut whole, mut half) = (Tally::default(), Tally::default());
    each(&records, |envelope| {
        whole.add(envelope);
        half.add(envelope);
    });
    let mut once = Vec::new();
    each(&records, |envelope| once.extend(half.add(envelope)));
    for tallied in once {
        half.remove(tallied);
    }
    assert_eq!(half.finish(), whole.finish());
    let mut none = Tally::default();
    let mut all = Vec::new();
    each(&records, |envelope| all.extend(none.add(envelope)));
    for tallied in all {
        none.remove(tallied);
    }
    assert_eq!(none.finish(), Deltas::default());
}

#[test]
fn too_many_lines_are_put_together_and_no_total_changes() {
    let records = varied(2_000);
    let (mut whole, mut bounded) = (Tally::default(), Tally::new(3));
    each(&records, |envelope| {
        whole.add(envelope);
        bounded.add(envelope);
    });
    let (whole, bounded) = (whole.finish(), bounded.finish());
    assert_eq!(requests(&bounded.usage), requests(&whole.usage));
    assert_eq!(
        bounded.unattributed.iter().map(|(_, count)| count.count).sum::<u64>(),
        whole.unattributed.iter().map(|(_, count)| count.count).sum::<u64>()
    );
    let is_named = |(usage, _): &&(Usage, _)| usage.principal != OTHERS;
    assert!(bounded.usage.iter().filter(is_named).count() <= 6, "three entries of two keys at most");
    assert!(bounded.folded > 0 && whole.folded == 0);
}

#[test]
fn wrong_types_everywhere_do_no_harm() {
    for value in [json!(null), json!(5), json!("x"), json!([]), json!({}), json!([{"ARN": 5}, 5, null])] {
        for field in [
            "userIdentity",
            "resources",
            "requestParameters",
            "responseElements",
            "sourceIPAddress",
            "vpcEndpointId",
            "errorCode",
            "awsRegion",
            "recipientAccountId",
        ] {
            let mut tally = Tally::default();
            let records = [record(json!({ field: value }))];
            each(&records, |envelope| assert!(tally.add(envelope).is_some()));
            let deltas = tally.finish();
            assert_eq!(deltas.usage.len() + deltas.unattributed.len(), 1, "{field} {value}");
        }
    }
}
