use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::fixtures::{World, key as single_key, key_set, show};
use super::*;
use crate::facts::AccountScope;
use crate::model::{KeySnapshot, Observed};

const KEY: &str = "arn:aws:kms:eu-central-1:111122223333:key/mrk-1";

fn record(change: impl Fn(&mut Value)) -> EventRecord {
    let mut value = json!({
        "eventVersion": "1.11",
        "userIdentity": {
            "type": "AssumedRole", "principalId": "AROAEXAMPLE:anna", "accountId": "111122223333",
            "arn": "arn:aws:sts::111122223333:assumed-role/Admin/anna",
            "sessionContext": {"sessionIssuer": {"type": "Role", "accountId": "111122223333",
                "arn": "arn:aws:iam::111122223333:role/people/Admin"}}
        },
        "eventTime": "2026-03-01T11:00:00Z", "eventSource": "kms.amazonaws.com", "eventName": "Decrypt",
        "awsRegion": "eu-central-1", "sourceIPAddress": "192.0.2.1", "userAgent": "aws-cli/2",
        "requestParameters": {"keyId": KEY}, "responseElements": null, "eventID": "e1", "readOnly": true,
        "resources": [{"accountId": "111122223333", "type": "AWS::KMS::Key", "ARN": KEY}],
        "eventType": "AwsApiCall", "recipientAccountId": "111122223333"
    });
    change(&mut value);
    EventRecord::new(value).unwrap()
}

fn estate(keys: Vec<KeySnapshot>) -> Estate {
    let mut estate = Estate::default();
    for key in keys {
        estate.put_key(key);
    }
    estate
}

fn judge(change: impl Fn(&mut Value)) -> Facts {
    let world = World::new();
    event(&record(change), &estate(key_set(&["eu-central-1", "eu-west-1"])), &world.context())
}

fn eea() -> World {
    World::assigned("[[residency]]\nboundary = 'eea'\nhome = ['DE', 'IE']")
}

fn judge_in(world: &World, keys: Vec<KeySnapshot>, change: impl Fn(&mut Value)) -> Facts {
    event(&record(change), &estate(keys), &world.context())
}

fn set(name: &'static str, request: &Value) -> impl Fn(&mut Value) {
    let request = request.clone();
    move |value| {
        value["eventName"] = name.into();
        value["requestParameters"] = request.clone();
        value["readOnly"] = false.into();
    }
}

#[test]
fn the_record_keeps_its_own_fields_beside_what_is_added() {
    let facts = judge(|_| {});
    assert_eq!(show(&facts, "eventName"), "Decrypt");
    assert_eq!(show(&facts, "userIdentity.type"), "AssumedRole");
    assert_eq!(show(&facts, "event.cryptographic"), "true");
    let world = World::new();
    let alone = event_enrichment(&record(|_| {}), &Estate::default(), &world.context());
    assert_eq!(show(&alone, "eventName"), "-");
    assert_eq!(show(&alone, "event.cryptographic"), "true");
    assert_eq!(facts.subject.id, "e1");
    assert_eq!(facts.subject.key.as_ref().unwrap().to_string(), KEY);
    assert_eq!(facts.subject.boundary.as_deref(), Some("eea"));
}

#[test]
fn the_key_is_found_wherever_the_record_names_it() {
    let id = "1234abcd-12ab-34cd-56ef-1234567890ab";
    let full = format!("arn:aws:kms:eu-west-1:111122223333:key/{id}");
    let alias = "arn:aws:kms:eu-west-1:111122223333:alias/app";
    let cases: [Value; 8] = [
        json!({"resources": [{"ARN": full}]}),
        json!({"resources": [{"type": "AWS::KMS::Key", "ARN": alias}, {"type": "AWS::KMS::Key", "ARN": full}]}),
        json!({"responseElements": {"keyId": full}}),
        json!({"responseElements": {"keyMetadata": {"arn": full}}}),
        json!({"requestParameters": {"keyId": id}}),
        json!({"requestParameters": {"keyId": full}}),
        json!({"requestParameters": {"aliasName": "alias/new", "targetKeyId": id}}),
        json!({"requestParameters": null, "serviceEventDetails": {"keyId": id}}),
    ];
    for case in cases {
        let facts = judge(|value| {
            for name in ["resources", "requestParameters", "responseElements"] {
                value[name] = Value::Null;
            }
            value["awsRegion"] = "eu-west-1".into();
            for (name, field) in case.as_object().unwrap() {
                value[name] = field.clone();
            }
        });
        assert_eq!(show(&facts, "event.key_arn"), full, "{case}");
    }
}

#[test]
fn an_alias_is_resolved_by_the_inventory_or_stays_unknown() {
    let mut key = single_key("arn:aws:kms:eu-central-1:111122223333:key/single");
    key.aliases = Observed::Known(vec!["alias/app".to_owned()]);
    let with = |alias: &str| {
        judge_in(&World::new(), vec![key.clone()], |value| {
            value["resources"] = Value::Null;
            value["requestParameters"] = json!({"keyId": alias});
        })
    };
    assert_eq!(show(&with("alias/app"), "event.key_arn"), key.arn.to_string());
    assert_eq!(
        show(&with("arn:aws:kms:eu-central-1:111122223333:alias/app"), "event.key_arn"),
        key.arn.to_string()
    );
    let other = with("alias/other");
    assert_eq!(show(&other, "event.key_arn"), "?which key `alias/other` is could not be told");
    assert_eq!(show(&other, "boundary.use_outside"), "?which key `alias/other` is could not be told");
    assert_eq!(other.subject.key, None);
}

#[test]
fn a_call_of_another_service_with_the_same_name_is_not_about_a_kms_key() {
    let facts = judge(|value| value["eventSource"] = "payment-cryptography.amazonaws.com".into());
    assert_eq!(show(&facts, "event.cryptographic"), "false");
    assert_eq!(show(&facts, "event.changed_key"), "false");
    assert_eq!(show(&facts, "event.key_arn"), "-");
}

#[test]
fn the_region_is_that_of_the_arn() {
    let facts = judge_in(&eea(), key_set(&["eu-central-1", "us-east-1"]), |value| {
        value["resources"][0]["ARN"] = KEY.replace("eu-central-1", "us-east-1").into();
    });
    assert_eq!(show(&facts, "awsRegion"), "eu-central-1");
    assert_eq!(show(&facts, "event.key_region"), "us-east-1");
    assert_eq!(show(&facts, "boundary.use_outside"), "true");
    assert_eq!(facts.subject.region.unwrap().as_str(), "us-east-1");
}

#[test]
fn only_a_use_that_succeeded_is_a_use() {
    let outside = |change: &dyn Fn(&mut Value)| {
        let facts = judge_in(&eea(), key_set(&["us-east-1", "eu-west-1"]), |value| {
            value["resources"][0]["ARN"] = KEY.replace("eu-central-1", "us-east-1").into();
            change(value);
        });
        show(&facts, "boundary.use_outside")
    };
    assert_eq!(outside(&|_| {}), "true");
    assert_eq!(outside(&|value| value["errorCode"] = "AccessDenied".into()), "-");
    assert_eq!(outside(&|value| value["eventName"] = "DescribeKey".into()), "-");
}

#[test]
fn either_key_of_a_reencryption_may_be_outside() {
    let facts = judge_in(&eea(), key_set(&["eu-central-1", "us-east-1"]), |value| {
        value["eventName"] = "ReEncrypt".into();
        value["resources"] = json!([{"ARN": KEY}, {"ARN": KEY.replace("eu-central-1", "us-east-1")}]);
    });
    assert_eq!(show(&facts, "event.key_region"), "eu-central-1");
    assert_eq!(show(&facts, "boundary.use_outside"), "true");
}

#[test]
fn a_key_that_is_not_in_the_inventory_has_no_known_boundary() {
    let facts = judge_in(&eea(), vec![], |_| {});
    for path in ["boundary.name", "boundary.declared", "boundary.use_outside"] {
        assert_eq!(show(&facts, path), "?key not in the inventory", "{path}");
    }
    assert_eq!(show(&facts, "event.key_arn"), KEY);
}

#[test]
fn sessions_are_folded_to_their_role() {
    let principal = |identity: Value| {
        let facts = judge(|value| value["userIdentity"] = identity.clone());
        (
            show(&facts, "event.principal"),
            show(&facts, "event.principal_account"),
            show(&facts, "event.by_service"),
        )
    };
    let all = |a: &str, b: &str, c: &str| (a.to_owned(), b.to_owned(), c.to_owned());
    let account = "111122223333";
    assert_eq!(
        principal(
            json!({"type": "AssumedRole", "arn": "arn:aws-cn:sts::111122223333:assumed-role/Admin/anna"})
        ),
        all("arn:aws-cn:iam::111122223333:role/Admin", account, "false")
    );
    let user = "arn:aws:iam::111122223333:user/Alice";
    assert_eq!(
        principal(
            json!({"type": "IAMUser", "arn": user, "accountId": account, "invokedBy": "kms.amazonaws.com"})
        ),
        all(user, account, "true")
    );
    assert_eq!(
        principal(json!({"type": "AWSService", "invokedBy": "s3.amazonaws.com"})),
        all("s3.amazonaws.com", "-", "true")
    );
    assert_eq!(
        principal(json!({"accountId": account, "invokedBy": "AWS Internal"})),
        all("AWS Internal", account, "true")
    );
    assert_eq!(
        principal(
            json!({"type": "AWSAccount", "principalId": "AROAEXAMPLE:session", "accountId": "999999999999"})
        ),
        all("AROAEXAMPLE", "999999999999", "false")
    );
    let unknown = principal(json!({"type": "Unknown", "accountId": "ANONYMOUS_PRINCIPAL"}));
    assert_eq!(unknown.0, "ANONYMOUS_PRINCIPAL");
    assert!(unknown.1.starts_with('?'));
    assert!(principal(Value::Null).1.starts_with('?'));
    assert_eq!(show(&judge(|_| {}), "event.principal"), "arn:aws:iam::111122223333:role/people/Admin");
}

#[test]
fn a_caller_of_a_foreign_account_is_foreign() {
    let foreign = |account: &str| {
        show(
            &judge(|value| value["userIdentity"] = json!({"type": "AWSAccount", "accountId": account})),
            "event.foreign_caller",
        )
    };
    assert_eq!(foreign("999999999999"), "true");
    assert_eq!(foreign("111122223333"), "false");
    let service =
        judge(|value| value["userIdentity"] = json!({"type": "AWSService", "invokedBy": "s3.amazonaws.com"}));
    assert_eq!(show(&service, "event.foreign_caller"), "false");
}

#[test]
fn keyward_knows_its_own_reads_and_nothing_else_passes_for_them() {
    let mut world = World::new();
    world.own.role = Some("arn:aws:iam::111122223333:role/audit/KeywardReader".to_owned());
    let own = |change: &dyn Fn(&mut Value)| {
        let facts = judge_in(&world, vec![], |value| {
            value["eventName"] = "GetKeyPolicy".into();
            change(value);
        });
        show(&facts, "event.own")
    };
    let by_role = |value: &mut Value| {
        value["userIdentity"]["arn"] = "arn:aws:sts::111122223333:assumed-role/KeywardReader/keyward".into();
    };
    let by_agent = |value: &mut Value| value["userAgent"] = "aws-sdk-rust/1.3 app/keyward os/linux".into();
    assert_eq!(own(&|_| {}), "false");
    assert_eq!(own(&by_role), "true");
    assert_eq!(own(&by_agent), "true");
    assert_eq!(
        own(&|value| {
            by_role(value);
            value["userIdentity"]["arn"] = "arn:aws:sts::111122223333:assumed-role/KeywardReader/anna".into();
        }),
        "false"
    );
    assert_eq!(
        own(&|value| {
            by_agent(value);
            value["eventName"] = "Decrypt".into();
        }),
        "false",
        "Keyward never decrypts"
    );
    assert_eq!(
        own(&|value| {
            by_agent(value);
            value["readOnly"] = false.into();
        }),
        "false"
    );
    assert_eq!(
        own(&|value| {
            by_agent(value);
            value["userIdentity"]["accountId"] = "999999999999".into();
        }),
        "false"
    );
}

#[test]
fn a_refusal_is_told_from_other_failures_and_from_dry_runs() {
    let outcome = |code: &str| {
        let facts = judge(|value| value["errorCode"] = code.into());
        ["event.succeeded", "event.denied", "event.dry_run"].map(|path| show(&facts, path) == "true")
    };
    assert_eq!(outcome(""), [true, false, false]);
    for code in ["AccessDenied", "AccessDeniedException", "Client.UnauthorizedOperation"] {
        assert_eq!(outcome(code), [false, true, false], "{code}");
    }
    assert_eq!(outcome("DryRunOperationException"), [false, false, true]);
    for code in ["DisabledException", "KMSInvalidStateException", "ThrottlingException", "NotFoundException"]
    {
        assert_eq!(outcome(code), [false, false, false], "{code}");
    }
}

#[test]
fn a_change_that_succeeded_changes_the_key() {
    let changed = |change: &dyn Fn(&mut Value)| show(&judge(change), "event.changed_key");
    assert_eq!(changed(&|_| {}), "false");
    assert_eq!(changed(&set("DisableKey", &json!({"keyId": KEY}))), "true");
    assert_eq!(
        changed(&|value| {
            value["eventName"] = "DisableKey".into();
            value["errorCode"] = "AccessDenied".into();
        }),
        "false"
    );
    assert_eq!(
        changed(&|value| {
            value["eventName"] = "RotateKey".into();
            value["eventType"] = "AwsServiceEvent".into();
            value["userIdentity"] = json!({"accountId": "111122223333", "invokedBy": "AWS Internal"});
            value["requestParameters"] = Value::Null;
        }),
        "true"
    );
}

#[test]
fn a_replica_outside_the_boundary_is_told_by_its_target_even_if_it_was_refused() {
    let outside = |world: &World, region: &str, error: Option<&str>| {
        let facts = judge_in(world, key_set(&["eu-central-1", "eu-west-1"]), |value| {
            set("ReplicateKey", &json!({"keyId": KEY, "replicaRegion": region}))(value);
            value["errorCode"] = error.into();
        });
        [show(&facts, "target.region"), show(&facts, "target.country"), show(&facts, "target.outside")]
    };
    assert_eq!(outside(&eea(), "eu-west-2", None), ["eu-west-2", "GB", "true"]);
    assert_eq!(outside(&eea(), "eu-west-2", Some("AccessDenied")), ["eu-west-2", "GB", "true"]);
    assert_eq!(outside(&eea(), "eu-south-1", None), ["eu-south-1", "IT", "false"], "a replica needs no home");
    assert_eq!(outside(&World::new(), "us-east-1", None)[2], "true", "by the inferred boundary");
    assert_eq!(outside(&World::new(), "eu-south-1", None)[2], "false");
    let odd = outside(&eea(), "Nowhere", None);
    assert!(odd[2].starts_with('?'));
    let unknown = outside(&eea(), "xx-new-1", None);
    assert!(unknown[1].starts_with('?'));
    assert_eq!(unknown[2], "true", "a Region that nobody knows is outside");
}

#[test]
fn a_primary_that_moves_has_to_stay_in_its_home_as_well() {
    let outside = |world: &World, keys: Vec<KeySnapshot>, region: &str, arn: &str| {
        let facts = judge_in(world, keys, |value| {
            set("UpdatePrimaryRegion", &json!({"keyId": KEY, "primaryRegion": region}))(value);
            value["resources"] = json!([{"ARN": arn}]);
        });
        show(&facts, "target.outside")
    };
    let before = || key_set(&["eu-central-1", "eu-west-1"]);
    assert_eq!(outside(&eea(), before(), "eu-west-1", KEY), "false");
    assert_eq!(outside(&eea(), before(), "eu-south-1", KEY), "true");
    assert_eq!(outside(&eea(), before(), "us-east-1", KEY), "true");
    // Undeclared: the record of the old Region tells, the one of the new Region does not once the set was re-read.
    let after = || key_set(&["us-east-1", "eu-central-1"]);
    let there = KEY.replace("eu-central-1", "us-east-1");
    assert_eq!(outside(&World::new(), after(), "us-east-1", KEY), "true");
    assert_eq!(outside(&World::new(), before(), "us-east-1", &there), "true");
    assert!(outside(&World::new(), after(), "us-east-1", &there).starts_with('?'));
}

#[test]
fn a_policy_that_a_call_sets_is_judged() {
    let open = json!({"Statement": [{"Sid": "open", "Effect": "Allow", "Principal": "*", "Action": "kms:*",
        "Resource": "*"}]})
    .to_string();
    let public = |change: &dyn Fn(&mut Value)| {
        let facts = judge(change);
        (show(&facts, "new_policy.public"), show(&facts, "new_policy.public_statements"))
    };
    let named = ("true".to_owned(), "open".to_owned());
    assert_eq!(public(&set("PutKeyPolicy", &json!({"keyId": KEY, "policy": open}))), named);
    assert_eq!(public(&set("CreateKey", &json!({"policy": open}))), named);
    assert_eq!(
        public(&|value| {
            set("ReplicateKey", &json!({"keyId": KEY, "replicaRegion": "eu-west-1"}))(value);
            value["responseElements"] = json!({"replicaPolicy": open});
        }),
        named
    );
    assert_eq!(public(&set("CreateKey", &json!({}))), ("-".to_owned(), "-".to_owned()));
    assert!(public(&set("PutKeyPolicy", &json!({"keyId": KEY}))).0.starts_with('?'));
    assert!(public(&set("PutKeyPolicy", &json!({"keyId": KEY, "policy": "{"}))).0.starts_with('?'));
    let foreign =
        json!({"Statement": {"Effect": "Allow", "Principal": {"AWS": "999999999999"}, "Action": "kms:*",
        "Resource": "*"}})
        .to_string();
    let facts =
        judge(set("PutKeyPolicy", &json!({"policy": foreign, "bypassPolicyLockoutSafetyCheck": true})));
    assert_eq!(show(&facts, "new_policy.public"), "false");
    assert_eq!(show(&facts, "new_policy.foreign_accounts"), "999999999999");
    assert_eq!(show(&facts, "new_policy.lockout_check_bypassed"), "true");
}

#[test]
fn a_request_that_the_record_leaves_out_is_not_one_without_a_policy() {
    for name in ["PutKeyPolicy", "CreateKey", "ReplicateKey"] {
        for left_out in [Value::Null, json!({"omitted": true})] {
            let facts = judge(set(name, &left_out));
            for path in ["new_policy.public", "new_policy.lockout_check_bypassed"] {
                assert!(show(&facts, path).starts_with('?'), "{name} {path}");
            }
        }
        assert_eq!(show(&judge(set(name, &json!({}))), "new_policy.lockout_check_bypassed"), "false");
    }
}

#[test]
fn a_grantee_is_foreign_known_or_cannot_be_told() {
    let foreign = |request: Value| {
        let facts = judge(set("CreateGrant", &request));
        show(&facts, "grant.foreign")
    };
    let grantee = |name: &str| foreign(json!({"granteePrincipal": name, "operations": ["Decrypt"]}));
    assert_eq!(grantee("arn:aws:iam::999999999999:role/x"), "true");
    assert_eq!(grantee("arn:aws:iam::111122223333:role/x"), "false");
    assert_eq!(grantee("dynamodb.eu-central-1.amazonaws.com"), "false");
    assert_eq!(foreign(json!({"granteeServicePrincipal": "backup.amazonaws.com"})), "false");
    assert!(grantee("AROAJQABLZS4A3QDU576Q").starts_with('?'));
    assert!(foreign(Value::Null).starts_with('?'));
    let facts =
        judge(set("CreateGrant", &json!({"granteePrincipal": "x", "operations": ["Decrypt", "Encrypt"]})));
    assert_eq!(show(&facts, "grant.operations"), "Decrypt Encrypt");
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[ -~]{0,12}".prop_map(Value::from),
        prop::sample::select(vec![KEY, "111122223333", "alias/x", "*", "true"]).prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        let names = vec![
            "keyId",
            "arn",
            "ARN",
            "policy",
            "operations",
            "accountId",
            "type",
            "sessionContext",
            "eventSelectors",
            "fieldSelectors",
            "advancedEventSelectors",
            "granteePrincipal",
            "replicaRegion",
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(prop::sample::select(names), inner, 0..4)
                .prop_map(|map| map.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()),
        ]
    })
}

proptest! {
    #[test]
    fn any_record_is_taken_without_a_panic(
        name in prop::sample::select(vec!["Decrypt", "PutKeyPolicy", "CreateGrant", "ReplicateKey",
            "UpdatePrimaryRegion", "PutEventSelectors", "ReEncrypt"]),
        source in prop::sample::select(vec!["kms.amazonaws.com", "cloudtrail.amazonaws.com"]),
        fields in prop::collection::btree_map(
            prop::sample::select(vec!["userIdentity", "requestParameters", "responseElements", "resources",
                "awsRegion", "errorCode", "recipientAccountId", "event", "boundary", "readOnly"]),
            any_json(), 0..8),
    ) {
        let mut value = json!({"eventID": "e", "eventName": name, "eventSource": source,
            "eventTime": "2026-03-01T11:00:00Z"});
        for (field, content) in fields {
            value[field] = content;
        }
        let world = World { accounts: AccountScope::default(), ..World::new() };
        let facts = event(&EventRecord::new(value).unwrap(), &Estate::default(), &world.context());
        prop_assert_eq!(&facts.subject.id, "e");
    }
}
