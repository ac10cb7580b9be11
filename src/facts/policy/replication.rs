//! Who may call ReplicateKey, and for which Regions.
//!
//! `kms:ReplicaRegion` is the only condition that bounds where a copy of the key may go, and every ReplicateKey
//! request carries it. AWS KMS has no ReplicateKey across accounts, so principals of other accounts do not count.

use std::collections::BTreeSet;

use super::Viewpoint;
use super::condition::{Condition, Quantifier, Test};
use super::document::{Effect, Listed, Policy, Statement};
use super::principal::Principal;
use super::reach::{self, Party, Reach};

const ACTION: &str = "kms:ReplicateKey";
const REPLICA_REGION: &str = "kms:replicaregion";

/// Who may replicate the key, and where to. An `Err` is why it cannot be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replication {
    /// The principals that may call ReplicateKey for any Region, sorted; empty: none.
    pub unrestricted: Result<BTreeSet<String>, String>,
    /// The Regions (or patterns) that conditions allow, sorted.
    pub regions: BTreeSet<String>,
}

/// Judges who may replicate the key.
pub fn replication(policy: &Policy, view: &Viewpoint<'_>) -> Replication {
    let mut judged = Judged::default();
    for statement in policy.effective(Effect::Allow, view.key) {
        if statement.covers_action(ACTION) {
            judged.allow(statement, policy, view);
        }
    }
    for statement in policy.effective(Effect::Deny, view.key).filter(|deny| deny.covers_action(ACTION)) {
        if let Denial::Bounded(regions) = denial(statement) {
            judged.regions.extend(regions);
        }
    }
    judged.finish(view)
}

#[derive(Default)]
struct Judged {
    unrestricted: BTreeSet<String>,
    unclear: BTreeSet<String>,
    is_left_to_iam: bool,
    regions: BTreeSet<String>,
}

impl Judged {
    fn allow(&mut self, statement: &Statement, policy: &Policy, view: &Viewpoint<'_>) {
        if is_for_others_only(statement, view) {
            return;
        }
        if let Some(regions) = statement.conditions.iter().find_map(allowed_regions) {
            self.regions.extend(regions);
            return;
        }
        let doubt = statement
            .conditions
            .iter()
            .any(|condition| condition.key == "kms:viaservice" && !condition.operator.test.is_negated());
        let everybody = [Principal::Anyone];
        let principals = match &statement.principals {
            Listed::These(principals) => principals.as_slice(),
            Listed::AllBut(_) => &everybody,
        };
        for principal in principals {
            match bounded(principal, policy, view) {
                Some(true) => {}
                _ if doubt => {
                    self.doubt(
                        statement,
                        "only through a service; whether that replicates keys is not known",
                    );
                }
                None => self.doubt(statement, "whether a Deny statement bounds it cannot be told"),
                Some(false) => self.unbounded(statement, principal, view),
            }
        }
    }

    fn unbounded(&mut self, statement: &Statement, principal: &Principal, view: &Viewpoint<'_>) {
        match principal {
            Principal::Account(account) if view.owner == Some(account) => self.is_left_to_iam = true,
            Principal::Account(account) | Principal::Identity { account, .. }
                if view.owner.is_some_and(|owner| owner != account) => {}
            // Deleted principals and canonical users cannot call AWS KMS.
            Principal::UniqueId(_) | Principal::Party(_) => {}
            Principal::WebIdentity(name) | Principal::Unclear(name) => {
                self.doubt(statement, &format!("who `{name}` is cannot be told"));
            }
            Principal::Anyone
            | Principal::Account(_)
            | Principal::Identity { .. }
            | Principal::Service(_) => _ = self.unrestricted.insert(principal.name()),
        }
    }

    fn doubt(&mut self, statement: &Statement, why: &str) {
        self.unclear.insert(format!("statement {} allows ReplicateKey: {why}", statement.label));
    }

    fn finish(self, view: &Viewpoint<'_>) -> Replication {
        let Self { unrestricted, mut unclear, is_left_to_iam, regions } = self;
        if is_left_to_iam {
            let account = view.owner.map_or_else(|| "the owning account".to_owned(), ToString::to_string);
            unclear.insert(format!("the IAM policies of {account} are not read"));
        }
        let unrestricted = if unrestricted.is_empty() && !unclear.is_empty() {
            Err(unclear.into_iter().collect::<Vec<_>>().join("; "))
        } else {
            Ok(unrestricted)
        };
        Replication { unrestricted, regions }
    }
}

/// Whether a statement's conditions name accounts, and the owner's is not among them.
fn is_for_others_only(statement: &Statement, view: &Viewpoint<'_>) -> bool {
    let Some(owner) = view.owner else { return false };
    statement.conditions.iter().any(|condition| match reach::allowed(condition) {
        Reach::Parties(parties) => {
            parties.iter().all(|party| matches!(party, Party::Account(account) if account != owner))
        }
        Reach::Anybody | Reach::Unclear(_) => false,
    })
}

/// The Regions that an Allow condition bounds replication to; none: it is no such bound.
fn allowed_regions(condition: &Condition) -> Option<Vec<String>> {
    let names = matches!(condition.operator.test, Test::Equals | Test::EqualsIgnoreCase | Test::Like);
    (names && bounds(condition)).then(|| condition.values.clone())
}

fn bounds(condition: &Condition) -> bool {
    condition.key == REPLICA_REGION
        && condition
            .values
            .iter()
            .all(|value| value.contains(|letter: char| letter != '*') && !value.contains("${"))
}

enum Denial {
    /// ReplicateKey is denied altogether.
    Whole,
    /// It is denied but for these Regions.
    Bounded(Vec<String>),
    /// It bounds nothing.
    Irrelevant,
    /// Some are exempt, and who that is cannot be told.
    Unclear,
}

/// What a Deny statement does to ReplicateKey by those that it is about.
fn denial(statement: &Statement) -> Denial {
    let mut regions: Option<Vec<String>> = None;
    let mut is_narrowed = false;
    for condition in &statement.conditions {
        let is_negated = matches!(condition.operator.test, Test::NotEquals | Test::NotLike);
        if condition.key == REPLICA_REGION {
            let plain = condition.operator.quantifier != Quantifier::AnyValue || condition.values.len() == 1;
            if !is_negated || !bounds(condition) || !plain {
                return Denial::Irrelevant;
            }
            regions = Some(condition.values.clone());
        } else if matches!(reach::spared(condition), Reach::Anybody) {
            return Denial::Irrelevant;
        } else {
            is_narrowed = true;
        }
    }
    match regions {
        _ if is_narrowed => Denial::Unclear,
        Some(regions) => Denial::Bounded(regions),
        None => Denial::Whole,
    }
}

/// Whether Deny statements bound where a principal may replicate to; none: it cannot be told.
fn bounded(principal: &Principal, policy: &Policy, view: &Viewpoint<'_>) -> Option<bool> {
    let mut result = Some(false);
    for deny in policy.effective(Effect::Deny, view.key).filter(|deny| deny.covers_action(ACTION)) {
        match (is_about(deny, principal), denial(deny)) {
            (Some(false), _) | (_, Denial::Irrelevant) => {}
            (Some(true), Denial::Whole | Denial::Bounded(_)) => return Some(true),
            (None, _) | (_, Denial::Unclear) => result = None,
        }
    }
    result
}

/// Whether a Deny statement is about a principal; none: about some that it stands for, not about others.
fn is_about(deny: &Statement, principal: &Principal) -> Option<bool> {
    let stands_for = |listed: &Principal| match (listed, principal) {
        (listed, principal) if listed == principal => Some(true),
        (Principal::Account(denied), Principal::Identity { account, .. }) => Some(denied == account),
        (Principal::Identity { account, .. }, Principal::Account(whole)) if account == whole => None,
        (Principal::Account(_) | Principal::Identity { .. } | Principal::Service(_), Principal::Anyone) => {
            Some(false)
        }
        (Principal::Unclear(_) | Principal::WebIdentity(_), _) => None,
        _ => Some(false),
    };
    match &deny.principals {
        Listed::These(listed) if listed.contains(&Principal::Anyone) => Some(true),
        // A Deny for some of those that a wider principal stands for leaves the others.
        Listed::These(listed) => Some(listed.iter().any(|listed| stands_for(listed) == Some(true))),
        Listed::AllBut(spared) => {
            let answers: Vec<_> = spared.iter().map(stands_for).collect();
            if answers.contains(&Some(true)) {
                Some(false)
            } else if answers.contains(&None)
                || (matches!(principal, Principal::Anyone) && !spared.is_empty())
            {
                None
            } else {
                Some(true)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::super::AccountScope;
    use super::*;
    use crate::model::KeyArn;

    const ROOT: &str = "arn:aws:iam::111122223333:root";
    const ADMIN: &str = "arn:aws:iam::111122223333:role/Admin";

    fn judge(statements: &Value) -> Replication {
        let key: KeyArn = "arn:aws:kms:eu-central-1:111122223333:key/mrk-abc".parse().unwrap();
        let text = json!({ "Version": "2012-10-17", "Statement": statements }).to_string();
        let scope = AccountScope::default();
        let view = Viewpoint { key: Some(&key), owner: Some(&key.account), accounts: &scope };
        replication(&Policy::parse(&text).unwrap(), &view)
    }

    fn allow(principal: &Value, action: &str, condition: &Value) -> Value {
        json!({ "Effect": "Allow", "Principal": principal, "Action": action, "Resource": "*", "Condition": condition })
    }

    fn deny(principal: &Value, condition: &Value) -> Value {
        json!({ "Effect": "Deny", "Principal": principal, "Action": "kms:Replicate*", "Resource": "*",
            "Condition": condition })
    }

    fn unrestricted(statements: &Value) -> Result<Vec<String>, String> {
        judge(statements).unrestricted.map(|found| found.into_iter().collect())
    }

    #[test]
    fn every_spelling_of_the_action_counts() {
        for action in ["kms:*", "kms:Replicate*", "kms:ReplicateKey", "KMS:replicatekey", "*"] {
            assert_eq!(
                unrestricted(&json!([allow(&json!({"AWS": ADMIN}), action, &json!({}))])).unwrap(),
                [ADMIN]
            );
        }
        assert!(
            unrestricted(&json!([allow(&json!({"AWS": ADMIN}), "kms:Decrypt", &json!({}))]))
                .unwrap()
                .is_empty()
        );
        assert_eq!(unrestricted(&json!([allow(&json!("*"), "kms:*", &json!({}))])).unwrap(), ["*"]);
    }

    #[test]
    fn a_replica_region_condition_restricts_and_its_regions_are_told() {
        let condition = json!({"StringEquals": {"kms:ReplicaRegion": ["eu-west-1", "eu-west-3"]}});
        let judged = judge(&json!([allow(&json!({"AWS": ADMIN}), "kms:*", &condition)]));
        assert_eq!(judged.unrestricted, Ok(BTreeSet::new()));
        assert_eq!(judged.regions, BTreeSet::from(["eu-west-1".to_owned(), "eu-west-3".to_owned()]));
    }

    #[test]
    fn a_condition_that_allows_every_region_restricts_nothing() {
        for condition in [
            json!({"StringLike": {"kms:ReplicaRegion": "*"}}),
            json!({"StringNotEquals": {"kms:ReplicaRegion": "us-east-1"}}),
            json!({"StringEquals": {"aws:RequestedRegion": "eu-west-1"}}),
            json!({"Bool": {"aws:MultiFactorAuthPresent": "true"}}),
        ] {
            let found = unrestricted(&json!([allow(&json!({"AWS": ADMIN}), "kms:*", &condition)])).unwrap();
            assert_eq!(found, [ADMIN], "{condition}");
        }
    }

    #[test]
    fn the_default_policy_leaves_it_to_iam_which_is_not_read() {
        let reason = unrestricted(&json!([allow(&json!({"AWS": ROOT}), "kms:*", &json!({}))])).unwrap_err();
        assert_eq!(reason, "the IAM policies of 111122223333 are not read");
    }

    #[test]
    fn a_deny_for_everybody_outside_the_regions_restricts_iam_too() {
        let everybody = json!({"AWS": "*"});
        let outside = json!({"StringNotEquals": {"kms:ReplicaRegion": ["eu-west-1"]}});
        let statements = json!([
            allow(&json!({"AWS": ROOT}), "kms:*", &json!({})),
            allow(&json!({"AWS": ADMIN}), "kms:*", &json!({})),
            deny(&everybody, &outside)
        ]);
        let judged = judge(&statements);
        assert_eq!(judged.unrestricted, Ok(BTreeSet::new()));
        assert_eq!(judged.regions, BTreeSet::from(["eu-west-1".to_owned()]));
        let whole = json!([allow(&json!({"AWS": ROOT}), "kms:*", &json!({})), deny(&everybody, &json!({}))]);
        assert_eq!(judge(&whole).unrestricted, Ok(BTreeSet::new()));
    }

    #[test]
    fn a_deny_that_spares_somebody_does_not_prove_it() {
        let root = allow(&json!({"AWS": ROOT}), "kms:*", &json!({}));
        let admin = allow(&json!({"AWS": ADMIN}), "kms:*", &json!({}));
        let but_one =
            json!({"StringNotEquals": {"kms:ReplicaRegion": "eu-west-1", "aws:PrincipalArn": ADMIN}});
        assert!(unrestricted(&json!([root, deny(&json!("*"), &but_one)])).is_err());
        let one_only = deny(&json!({"AWS": "arn:aws:iam::111122223333:role/Other"}), &json!({}));
        assert_eq!(unrestricted(&json!([admin, one_only])).unwrap(), [ADMIN]);
        let for_admin =
            deny(&json!({"AWS": ADMIN}), &json!({"StringNotEquals": {"kms:ReplicaRegion": "eu-west-1"}}));
        assert!(unrestricted(&json!([admin, for_admin])).unwrap().is_empty());
        assert!(unrestricted(&json!([root, for_admin])).is_err());
        let one_region = json!({"StringEquals": {"kms:ReplicaRegion": "us-east-1"}});
        assert_eq!(unrestricted(&json!([admin, deny(&json!("*"), &one_region)])).unwrap(), [ADMIN]);
    }

    #[test]
    fn who_cannot_replicate_is_not_accused() {
        let others = json!({"AWS": ["arn:aws:iam::999999999999:role/x", "AROAJQABLZS4A3QDU576Q"]});
        assert!(unrestricted(&json!([allow(&others, "kms:*", &json!({}))])).unwrap().is_empty());
        let caller = json!({"StringEquals": {"kms:CallerAccount": "999999999999"}});
        assert!(unrestricted(&json!([allow(&json!("*"), "kms:*", &caller)])).unwrap().is_empty());
        let via = json!({"StringEquals": {"kms:ViaService": "s3.eu-west-1.amazonaws.com"}});
        assert!(unrestricted(&json!([allow(&json!("*"), "kms:*", &via)])).is_err());
    }
}
