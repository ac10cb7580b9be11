//! What a key policy means, freed of how it is written, so that two can be compared.

use std::collections::{BTreeMap, BTreeSet};

use super::condition::{Condition, Operator, Test};
use super::document::{Effect, Listed, Policy, Statement};
use super::principal::Principal;
use crate::model::Region;

/// What stands in place of a Region inside an ARN or the name of a service.
const PLACEHOLDER: &str = "REGION";

/// A key policy's meaning. Equal for policies that differ in the order of statements, actions, principals or
/// values, in one value against a list of one, in statement ids, in an account's id against its root ARN, or in
/// the Region inside an ARN or a service's name (which a replica's policy rightly has its own of).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NormalPolicy(BTreeSet<NormalStatement>);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct NormalStatement {
    effect: Effect,
    principals: Side,
    actions: Side,
    resources: Side,
    conditions: BTreeMap<(Operator, String), BTreeSet<String>>,
    /// Policy variables are variables from version 2012-10-17 on, and plain text before.
    has_variables: bool,
}

/// An element's values, and whether it is the `Not…` form.
type Side = (bool, BTreeSet<String>);

/// The meaning of a policy.
pub fn normalise(policy: &Policy) -> NormalPolicy {
    let knows_variables = policy.version.as_deref() == Some("2012-10-17");
    let statements = policy.statements.iter().filter(|statement| statement.has_effect());
    NormalPolicy(statements.map(|statement| normal_statement(statement, knows_variables)).collect())
}

fn normal_statement(statement: &Statement, knows_variables: bool) -> NormalStatement {
    let mut conditions: BTreeMap<_, BTreeSet<String>> = BTreeMap::new();
    for condition in &statement.conditions {
        let values = condition.values.iter().map(|value| normal_value(condition, value));
        conditions.entry((condition.operator.clone(), condition.key.clone())).or_default().extend(values);
    }
    let has_variables = knows_variables
        && statement
            .conditions
            .iter()
            .flat_map(|condition| &condition.values)
            .any(|value| value.contains("${"));
    NormalStatement {
        effect: statement.effect,
        principals: side(Some(&statement.principals), principal),
        actions: side(statement.actions.as_ref(), |action| action.to_ascii_lowercase()),
        resources: side(statement.resources.as_ref(), |resource| regionless(resource)),
        conditions,
        has_variables,
    }
}

fn side<T>(listed: Option<&Listed<T>>, normal: impl Fn(&T) -> String) -> Side {
    let Some(listed) = listed else { return (false, BTreeSet::new()) };
    (matches!(listed, Listed::AllBut(_)), listed.items().iter().map(normal).collect())
}

/// The kind goes into the name, lest a service and a web identity of one name be taken for each other.
fn principal(principal: &Principal) -> String {
    let kind = match principal {
        Principal::Anyone => "anyone",
        Principal::Account(_) => "account",
        Principal::Identity { .. } => "identity",
        Principal::UniqueId(_) => "unique id",
        Principal::Service(_) => "service",
        Principal::WebIdentity(_) => "web identity",
        Principal::Party(_) => "party",
        Principal::Unclear(_) => "unclear",
    };
    format!("{kind} {}", regionless(&principal.name()))
}

fn normal_value(condition: &Condition, value: &str) -> String {
    match condition.operator.test {
        Test::EqualsIgnoreCase | Test::Bool | Test::Null => regionless(value).to_ascii_lowercase(),
        _ => regionless(value),
    }
}

/// The text with the Region inside an ARN, or inside a service's name such as `s3.eu-west-1.amazonaws.com`,
/// replaced. A Region that stands alone stays: there it says something (`kms:ReplicaRegion`).
fn regionless(text: &str) -> String {
    if text.starts_with("arn:") {
        let mut parts: Vec<&str> = text.splitn(6, ':').collect();
        if let Some(region) = parts.get_mut(3).filter(|region| is_region(region)) {
            *region = PLACEHOLDER;
        }
        return parts.join(":");
    }
    if text.contains(".amazonaws.") || text.contains(".amazon") {
        let labels = text.split('.').map(|label| if is_region(label) { PLACEHOLDER } else { label });
        return labels.collect::<Vec<_>>().join(".");
    }
    text.to_owned()
}

/// Whether a text has the form of a Region's name: `eu-west-1`, `us-gov-west-1`.
fn is_region(text: &str) -> bool {
    text.parse::<Region>().is_ok()
        && text.split('-').count() >= 3
        && text
            .rsplit('-')
            .next()
            .is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()) && !last.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn normal(statements: &Value) -> NormalPolicy {
        let text = json!({ "Version": "2012-10-17", "Statement": statements }).to_string();
        normalise(&Policy::parse(&text).unwrap())
    }

    fn statement(change: impl Fn(&mut Value)) -> Value {
        let mut statement = json!({
            "Sid": "Use", "Effect": "Allow", "Principal": {"AWS": ["111122223333", "222222222222"]},
            "Action": ["kms:Decrypt", "kms:Encrypt"], "Resource": "*",
            "Condition": {"StringEquals": {"kms:ViaService": ["s3.eu-west-1.amazonaws.com"]}}
        });
        change(&mut statement);
        statement
    }

    #[test]
    fn how_a_policy_is_written_does_not_count() {
        let plain = normal(&json!([statement(|_| {})]));
        let written_otherwise = statement(|statement| {
            statement["Sid"] = "Other".into();
            statement["Principal"] = json!({"AWS": ["arn:aws:iam::222222222222:root", "111122223333"]});
            statement["Action"] = json!(["kms:encrypt", "KMS:Decrypt", "kms:Decrypt"]);
            statement["Resource"] = json!(["*"]);
            statement["Condition"] =
                json!({"StringEquals": {"KMS:viaservice": "s3.us-gov-west-1.amazonaws.com"}});
        });
        assert_eq!(normal(&json!([written_otherwise])), plain);
        assert_eq!(normal(&statement(|_| {})), plain);
        assert_eq!(normal(&json!([statement(|_| {}), statement(|_| {})])), plain);
    }

    #[test]
    fn a_region_inside_an_arn_does_not_count_and_one_that_stands_alone_does() {
        let with = |arn: &str, replica: &str| {
            normal(&statement(|statement| {
                statement["Condition"] = json!({"ArnLike": {"aws:SourceArn": arn},
                    "StringEquals": {"kms:ReplicaRegion": replica}});
            }))
        };
        let base = with("arn:aws:sns:eu-west-1:111122223333:topic", "eu-west-1");
        assert_eq!(with("arn:aws:sns:us-east-1:111122223333:topic", "eu-west-1"), base);
        assert_ne!(with("arn:aws:sns:us-east-1:111122223333:other", "eu-west-1"), base);
        assert_ne!(with("arn:aws:sns:*:111122223333:topic", "eu-west-1"), base);
        assert_ne!(with("arn:aws:sns:eu-west-1:111122223333:topic", "us-east-1"), base);
    }

    #[test]
    fn what_changes_the_meaning_counts() {
        let plain = normal(&statement(|_| {}));
        let changes: [&dyn Fn(&mut Value); 7] = [
            &|statement| statement["Effect"] = "Deny".into(),
            &|statement| statement["Action"] = json!(["kms:Decrypt"]),
            &|statement| statement["Principal"] = json!({"AWS": "111122223333"}),
            &|statement| statement["Principal"] = json!("*"),
            &|statement| statement["Condition"] = json!({}),
            &|statement| {
                statement["Condition"] =
                    json!({"StringLike": {"kms:ViaService": "s3.eu-west-1.amazonaws.com"}});
            },
            &|statement| {
                statement["Condition"] =
                    json!({"StringEquals": {"kms:ViaService": "sqs.eu-west-1.amazonaws.com"}});
            },
        ];
        for (at, change) in changes.into_iter().enumerate() {
            assert_ne!(normal(&statement(change)), plain, "{at}");
        }
    }

    #[test]
    fn a_region_is_told_by_its_form() {
        for (text, expected) in [
            ("eu-west-1", true),
            ("us-gov-west-1", true),
            ("eusc-de-east-1", true),
            ("s3", false),
            ("a-b-c", false),
            ("x-1", false),
        ] {
            assert_eq!(is_region(text), expected, "{text}");
        }
    }

    fn any_statement() -> impl Strategy<Value = Value> {
        let principals = prop::sample::subsequence(
            vec!["111122223333", "arn:aws:iam::222222222222:root", "arn:aws:iam::111122223333:role/x", "*"],
            1..4,
        );
        let actions =
            prop::sample::subsequence(vec!["kms:Decrypt", "kms:Encrypt", "kms:Get*", "kms:*"], 1..4);
        let values = prop::sample::subsequence(vec!["111122223333", "s3.eu-west-1.amazonaws.com", "x"], 1..3);
        (any::<bool>(), principals, actions, values).prop_map(|(allow, principals, actions, values)| {
            json!({ "Effect": if allow { "Allow" } else { "Deny" }, "Principal": {"AWS": principals},
                "Action": actions, "Resource": "*", "Condition": {"StringEquals": {"kms:ViaService": values}} })
        })
    }

    proptest! {
        #[test]
        fn the_order_of_anything_does_not_count(
            statements in prop::collection::vec(any_statement(), 1..5),
        ) {
            let mut turned = statements.clone();
            turned.reverse();
            for statement in &mut turned {
                for path in ["/Principal/AWS", "/Action", "/Condition/StringEquals/kms:ViaService"] {
                    if let Some(Value::Array(items)) = statement.pointer_mut(path) {
                        items.reverse();
                    }
                }
            }
            prop_assert_eq!(normal(&json!(turned)), normal(&json!(statements)));
        }

        #[test]
        fn normalising_a_text_again_changes_nothing(
            text in "(arn:aws:[a-z0-9]{1,4}:(eu-west-1|[a-z-]{0,6}):[0-9]{0,12}:.{0,8})|([a-z0-9.-]{0,20}\\.amazonaws\\.com)|.{0,20}",
        ) {
            prop_assert_eq!(regionless(&regionless(&text)), regionless(&text));
        }

        #[test]
        fn any_text_and_any_json_is_taken_without_a_panic(text in ".{0,200}", value in any_json()) {
            for text in [text, value.to_string(), json!({ "Statement": value }).to_string(),
                json!({ "Statement": { "Effect": "Allow", "Principal": value, "Action": value, "Resource": value,
                    "Condition": value } }).to_string()]
            {
                if let Ok(policy) = Policy::parse(&text) {
                    let scope = super::super::super::AccountScope::default();
                    let view = super::super::Viewpoint { key: None, owner: None, accounts: &scope };
                    let _: (_, _, _) = (super::super::exposure(&policy, &view),
                        super::super::replication(&policy, &view), normalise(&policy));
                }
            }
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[a-zA-Z:*?${}/0-9-]{0,12}".prop_map(Value::from),
            prop::sample::select(vec!["*", "Allow", "kms:*", "StringEquals", "111122223333"])
                .prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map(
                    prop::sample::select(vec![
                        "AWS",
                        "Service",
                        "Effect",
                        "Principal",
                        "Action",
                        "StringLike",
                        "kms:x"
                    ]),
                    inner,
                    0..5
                )
                .prop_map(|map| map.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()),
            ]
        })
    }
}
