//! Whom a key policy lets in: anybody, foreign accounts, the account's own IAM policies.

use std::collections::BTreeSet;

use super::Viewpoint;
use super::document::{Effect, Listed, Policy, Statement};
use super::principal::Principal;
use super::reach::{self, Party, Reach};
use super::shield::{Caller, Shield, included, shield, weakest};
use crate::model::AccountId;

/// Whom a key policy lets in. An `Err` is why it cannot be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exposure {
    /// The statements that let anybody act, by label; empty: nobody but named parties can.
    pub public: Result<Vec<String>, String>,
    /// The foreign accounts (or organizations) that it lets in, sorted.
    pub foreign: Result<BTreeSet<String>, String>,
    /// Whether the owning account's IAM policies decide about it too.
    pub delegates_to_iam: bool,
    /// Unique ids of deleted principals, sorted; they let nobody in.
    pub deleted: BTreeSet<String>,
}

/// Judges whom a policy lets in.
pub fn exposure(policy: &Policy, view: &Viewpoint<'_>) -> Exposure {
    Exposure {
        public: public(policy, view),
        foreign: foreign(policy, view),
        delegates_to_iam: delegates(policy, view),
        deleted: deleted(policy),
    }
}

fn public(policy: &Policy, view: &Viewpoint<'_>) -> Result<Vec<String>, String> {
    let mut open = Vec::new();
    let mut unclear = Vec::new();
    for statement in policy.effective(Effect::Allow, view.key) {
        match openness(statement, policy, view) {
            Openness::Closed => {}
            Openness::Open => open.push(statement.label.clone()),
            Openness::Unclear(reason) => unclear.push(format!("statement {}: {reason}", statement.label)),
        }
    }
    if open.is_empty() && !unclear.is_empty() { Err(unclear.join("; ")) } else { Ok(open) }
}

enum Openness {
    Closed,
    Open,
    Unclear(String),
}

fn openness(statement: &Statement, policy: &Policy, view: &Viewpoint<'_>) -> Openness {
    let doubt = match (reach::allowed_by_all(&statement.conditions), crowd(&statement.principals)) {
        (Reach::Parties(_), _) | (_, Crowd::Known) => return Openness::Closed,
        (Reach::Unclear(reason), _) | (Reach::Anybody, Crowd::Doubtful(reason)) => Some(reason),
        (Reach::Anybody, Crowd::Anybody) => None,
    };
    let actions = statement.kms_actions();
    if actions.is_empty() {
        return Openness::Closed;
    }
    let shields: Vec<Shield> =
        actions.iter().map(|action| shield(policy, view, action, &Caller::Stranger)).collect();
    if shields.iter().all(|shield| *shield == Shield::Shut) {
        return Openness::Closed;
    }
    match doubt {
        Some(reason) => Openness::Unclear(reason),
        None if shields.contains(&Shield::Open) => Openness::Open,
        None => Openness::Unclear("whether a Deny statement keeps strangers out cannot be told".to_owned()),
    }
}

/// Who may be among the principals of a statement.
enum Crowd {
    /// Known parties only.
    Known,
    /// Anybody.
    Anybody,
    /// It cannot be told, and why.
    Doubtful(String),
}

fn crowd(principals: &Listed<Principal>) -> Crowd {
    let Listed::These(principals) = principals else { return Crowd::Anybody };
    if principals.contains(&Principal::Anyone) {
        return Crowd::Anybody;
    }
    let doubt = principals.iter().find_map(|principal| match principal {
        Principal::WebIdentity(name) => {
            Some(format!("who has an identity at `{name}` cannot be told from the policy"))
        }
        Principal::Unclear(name) => Some(format!("`{name}` is no principal that is known here")),
        _ => None,
    });
    doubt.map_or(Crowd::Known, Crowd::Doubtful)
}

fn foreign(policy: &Policy, view: &Viewpoint<'_>) -> Result<BTreeSet<String>, String> {
    let mut strangers = Strangers::default();
    for statement in policy.effective(Effect::Allow, view.key) {
        for principal in statement_principals(statement) {
            if let Some(account) = principal.account().filter(|account| view.is_foreign(account)) {
                let denied = weakest(statement, policy, view, &Caller::Named(principal));
                strangers.add(statement, account.to_string(), denied.max(excluded(statement, account, view)));
            } else if let Principal::Unclear(name) = principal {
                strangers.doubt(statement, &format!("`{name}` is no principal that is known here"));
            }
        }
        let Reach::Parties(parties) = opened_by_condition(statement) else { continue };
        for party in &parties {
            match foreign_name(party, view) {
                Some(Ok(name)) => {
                    strangers.add(statement, name, weakest(statement, policy, view, &Caller::Party(party)));
                }
                Some(Err(reason)) => strangers.doubt(statement, &reason),
                None => {}
            }
        }
    }
    strangers.finish()
}

/// The foreign parties that were found so far, and those that cannot be told.
#[derive(Default)]
struct Strangers {
    found: BTreeSet<String>,
    unclear: BTreeSet<String>,
}

impl Strangers {
    fn add(&mut self, statement: &Statement, name: String, shield: Shield) {
        match shield {
            Shield::Open => _ = self.found.insert(name),
            Shield::Unclear => {
                self.doubt(
                    statement,
                    &format!("whether it lets {name} in after all conditions cannot be told"),
                );
            }
            Shield::Shut => {}
        }
    }

    fn doubt(&mut self, statement: &Statement, why: &str) {
        self.unclear.insert(format!("statement {}: {why}", statement.label));
    }

    fn finish(self) -> Result<BTreeSet<String>, String> {
        if self.found.is_empty() && !self.unclear.is_empty() {
            Err(self.unclear.into_iter().collect::<Vec<_>>().join("; "))
        } else {
            Ok(self.found)
        }
    }
}

/// The principals that a statement names; everybody but some names nobody.
fn statement_principals(statement: &Statement) -> &[Principal] {
    match &statement.principals {
        Listed::These(principals) => principals,
        Listed::AllBut(_) => &[],
    }
}

/// The parties that a statement lets in by its conditions, where its principals alone would not name them.
fn opened_by_condition(statement: &Statement) -> Reach {
    let by_condition = !matches!(crowd(&statement.principals), Crowd::Known)
        || statement_principals(statement).iter().any(|principal| matches!(principal, Principal::Service(_)));
    if by_condition { reach::allowed_by_all(&statement.conditions) } else { Reach::Anybody }
}

/// Whether a condition of the statement keeps an account out that its principals name.
fn excluded(statement: &Statement, account: &AccountId, view: &Viewpoint<'_>) -> Shield {
    let by_condition = statement.conditions.iter().map(|condition| match reach::allowed(condition) {
        Reach::Parties(parties) => included(&parties, account, view),
        Reach::Anybody | Reach::Unclear(_) => Shield::Open,
    });
    by_condition.max().unwrap_or(Shield::Open)
}

fn foreign_name(party: &Party, view: &Viewpoint<'_>) -> Option<Result<String, String>> {
    match party {
        Party::Account(account) => view.is_foreign(account).then(|| Ok(account.to_string())),
        Party::Organization(id) => match &view.accounts.organization_id {
            Some(own) if own == id => None,
            Some(_) => Some(Ok(id.clone())),
            None => {
                Some(Err(format!("whether `{id}` is the organization of the audited accounts is not known")))
            }
        },
        Party::OwnAccount | Party::OwnOrganization | Party::Fixed(_) => None,
    }
}

fn delegates(policy: &Policy, view: &Viewpoint<'_>) -> bool {
    policy.effective(Effect::Allow, view.key).any(|statement| {
        let is_owner = |principal: &Principal| {
            matches!(principal, Principal::Account(account) if view.owner == Some(account))
        };
        statement_principals(statement).iter().any(is_owner) && !statement.kms_actions().is_empty()
    })
}

fn deleted(policy: &Policy) -> BTreeSet<String> {
    let principals = policy.statements.iter().flat_map(|statement| statement.principals.items());
    principals
        .filter_map(|principal| match principal {
            Principal::UniqueId(id) => Some(id.clone()),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::super::AccountScope;
    use super::*;
    use crate::model::KeyArn;

    const ORGANIZATION: &str = "o-a1b2c3d4e5";

    fn scope() -> AccountScope {
        let id = |text: &str| text.parse::<AccountId>().unwrap();
        AccountScope {
            audited: BTreeSet::from([id("111122223333")]),
            organization: BTreeSet::from([id("111122223333"), id("222222222222")]),
            organization_id: Some(ORGANIZATION.to_owned()),
            trusted: BTreeSet::from([id("333333333333")]),
            ..AccountScope::default()
        }
    }

    fn judge_in(scope: &AccountScope, statements: &Value) -> Exposure {
        let key: KeyArn = "arn:aws:kms:eu-central-1:111122223333:key/abc".parse().unwrap();
        let text = json!({ "Version": "2012-10-17", "Statement": statements }).to_string();
        let view = Viewpoint { key: Some(&key), owner: Some(&key.account), accounts: scope };
        exposure(&Policy::parse(&text).unwrap(), &view)
    }

    fn judge(statements: &Value) -> Exposure {
        judge_in(&scope(), statements)
    }

    fn allow(principal: &Value, action: &Value, condition: &Value) -> Value {
        json!({ "Effect": "Allow", "Principal": principal, "Action": action, "Resource": "*", "Condition": condition })
    }

    fn deny(principal: &Value, action: &Value, condition: &Value) -> Value {
        let mut statement = allow(principal, action, condition);
        statement["Effect"] = "Deny".into();
        statement
    }

    fn public(statements: &Value) -> Result<bool, String> {
        judge(statements).public.map(|statements| !statements.is_empty())
    }

    fn foreign(statements: &Value) -> Result<Vec<String>, String> {
        judge(statements).foreign.map(|found| found.into_iter().collect())
    }

    #[test]
    fn anybody_is_public_in_every_spelling_and_for_any_action() {
        for principal in
            [json!("*"), json!({"AWS": "*"}), json!({"AWS": ["arn:aws:iam::111122223333:root", "*"]})]
        {
            assert_eq!(public(&json!([allow(&principal, &json!("kms:DescribeKey"), &json!({}))])), Ok(true));
        }
        let not = json!({ "Effect": "Allow", "NotPrincipal": {"AWS": "111122223333"}, "Action": "kms:*", "Resource": "*" });
        assert_eq!(public(&json!([not])), Ok(true));
        let not_action =
            json!({ "Effect": "Allow", "Principal": "*", "NotAction": "kms:PutKeyPolicy", "Resource": "*" });
        assert_eq!(public(&json!(not_action)), Ok(true));
        assert_eq!(public(&json!([allow(&json!("*"), &json!("s3:GetObject"), &json!({}))])), Ok(false));
        assert_eq!(
            public(&json!([allow(&json!({"AWS": "111122223333"}), &json!("kms:*"), &json!({}))])),
            Ok(false)
        );
    }

    #[test]
    fn via_service_alone_does_not_limit_who_calls() {
        let via = json!({"StringEquals": {"kms:ViaService": "s3.eu-central-1.amazonaws.com"}});
        assert_eq!(public(&json!([allow(&json!("*"), &json!("kms:Decrypt"), &via)])), Ok(true));
        let both = json!({"StringEquals": {"kms:ViaService": "s3.eu-central-1.amazonaws.com",
            "kms:CallerAccount": "111122223333"}});
        assert_eq!(public(&json!([allow(&json!("*"), &json!("kms:Decrypt"), &both)])), Ok(false));
    }

    #[test]
    fn the_public_statements_are_named() {
        let mut named = allow(&json!("*"), &json!("kms:*"), &json!({}));
        named["Sid"] = "Allow all".into();
        let unnamed = allow(&json!("*"), &json!("kms:*"), &json!({}));
        assert_eq!(judge(&json!([named, unnamed])).public.unwrap(), ["Allow all", "#2"]);
    }

    #[test]
    fn what_is_not_understood_is_unknown() {
        let odd = json!({"StringEquals": {"aws:SomethingNew": "x"}});
        assert!(
            public(&json!([allow(&json!("*"), &json!("kms:*"), &odd)]))
                .unwrap_err()
                .contains("aws:somethingnew")
        );
        let web = json!({"Federated": "accounts.google.com"});
        assert!(public(&json!([allow(&web, &json!("kms:*"), &json!({}))])).is_err());
        let wild = json!({"AWS": "arn:aws:iam::*:role/x"});
        assert!(public(&json!([allow(&wild, &json!("kms:*"), &json!({}))])).is_err());
        assert!(foreign(&json!([allow(&wild, &json!("kms:*"), &json!({}))])).is_err());
    }

    #[test]
    fn a_deny_that_provably_shuts_strangers_out_makes_a_policy_private() {
        let open = allow(&json!("*"), &json!("kms:*"), &json!({}));
        let outside = json!({"StringNotEquals": {"aws:PrincipalOrgID": ORGANIZATION}});
        let shut = deny(&json!({"AWS": "*"}), &json!("kms:*"), &outside);
        assert_eq!(public(&json!([open, shut])), Ok(false));
        assert_eq!(public(&json!([open, deny(&json!("*"), &json!("*"), &json!({}))])), Ok(false));
        let others = json!({ "Effect": "Deny", "NotPrincipal": {"AWS": "111122223333"}, "Action": "kms:*", "Resource": "*" });
        assert_eq!(public(&json!([open, others])), Ok(false));
    }

    #[test]
    fn a_deny_that_leaves_something_over_does_not() {
        let open = allow(&json!("*"), &json!("kms:*"), &json!({}));
        let outside = json!({"StringNotEquals": {"aws:PrincipalOrgID": ORGANIZATION}});
        for deny in [
            deny(&json!("*"), &json!("kms:Decrypt"), &outside),
            deny(&json!({"AWS": "arn:aws:iam::111122223333:role/x"}), &json!("kms:*"), &json!({})),
            deny(&json!("*"), &json!("kms:*"), &json!({"Bool": {"aws:SecureTransport": "false"}})),
            deny(
                &json!("*"),
                &json!("kms:*"),
                &json!({"StringEquals": {"aws:PrincipalOrgID": ORGANIZATION}}),
            ),
            deny(
                &json!("*"),
                &json!("kms:*"),
                &json!({"StringNotEquals": {"aws:PrincipalOrgID": ORGANIZATION, "kms:ViaService": "s3.x.amazonaws.com"}}),
            ),
        ] {
            assert_eq!(public(&json!([open, deny])), Ok(true), "{deny}");
        }
    }

    #[test]
    fn a_deny_whose_effect_cannot_be_told_makes_it_unknown_and_never_a_pass() {
        let open = allow(&json!("*"), &json!("kms:*"), &json!({}));
        let services = json!({"StringNotEquals": {"aws:PrincipalOrgID": ORGANIZATION},
            "Bool": {"aws:PrincipalIsAWSService": "false"}});
        assert!(public(&json!([open, deny(&json!("*"), &json!("kms:*"), &services)])).is_err());
    }

    #[test]
    fn foreign_accounts_are_found_and_known_ones_are_not() {
        let principals = json!({"AWS": ["111122223333", "222222222222", "arn:aws:iam::333333333333:root",
            "arn:aws:iam::999999999999:role/x", "AROAJQABLZS4A3QDU576Q"],
            "Service": "logs.eu-central-1.amazonaws.com", "CanonicalUser": "79a59d"});
        let exposure = judge(&json!([allow(&principals, &json!("kms:Decrypt"), &json!({}))]));
        assert_eq!(exposure.foreign.unwrap(), BTreeSet::from(["999999999999".to_owned()]));
        assert_eq!(exposure.deleted, BTreeSet::from(["AROAJQABLZS4A3QDU576Q".to_owned()]));
        assert_eq!(exposure.public, Ok(vec![]));
        assert!(exposure.delegates_to_iam);
    }

    #[test]
    fn conditions_let_foreign_accounts_in_and_keep_them_out() {
        let caller = |account: &str| json!({"StringEquals": {"kms:CallerAccount": account}});
        let decrypt = json!("kms:Decrypt");
        assert_eq!(
            foreign(&json!([allow(&json!("*"), &decrypt, &caller("999999999999"))])).unwrap(),
            ["999999999999"]
        );
        assert!(foreign(&json!([allow(&json!("*"), &decrypt, &caller("111122223333"))])).unwrap().is_empty());
        let theirs = json!({"AWS": "999999999999"});
        let organization = json!({"StringEquals": {"aws:PrincipalOrgID": ORGANIZATION}});
        assert!(foreign(&json!([allow(&theirs, &decrypt, &organization)])).unwrap().is_empty());
        assert_eq!(foreign(&json!([allow(&theirs, &decrypt, &json!({}))])).unwrap(), ["999999999999"]);
        let service = json!({"Service": "sns.amazonaws.com"});
        let source = json!({"StringEquals": {"aws:SourceAccount": "999999999999"}});
        assert_eq!(foreign(&json!([allow(&service, &decrypt, &source)])).unwrap(), ["999999999999"]);
        assert!(foreign(&json!([allow(&service, &decrypt, &json!({}))])).unwrap().is_empty());
    }

    #[test]
    fn a_deny_keeps_a_foreign_account_out_only_where_that_is_certain() {
        let theirs =
            allow(&json!({"AWS": "arn:aws:iam::999999999999:role/x"}), &json!("kms:Decrypt"), &json!({}));
        let outside = json!({"StringNotEquals": {"aws:PrincipalOrgID": ORGANIZATION}});
        assert!(foreign(&json!([theirs, deny(&json!("*"), &json!("kms:*"), &outside)])).unwrap().is_empty());
        assert!(
            foreign(&json!([theirs, deny(&json!({"AWS": "999999999999"}), &json!("kms:*"), &json!({}))]))
                .unwrap()
                .is_empty()
        );
        let spared = json!({"StringNotEquals": {"aws:PrincipalAccount": ["999999999999", "111122223333"]}});
        assert_eq!(
            foreign(&json!([theirs, deny(&json!("*"), &json!("kms:*"), &spared)])).unwrap(),
            ["999999999999"]
        );
        let services = json!({"Bool": {"aws:PrincipalIsAWSService": "false"}});
        assert!(foreign(&json!([theirs, deny(&json!("*"), &json!("kms:*"), &services)])).is_err());
    }

    #[test]
    fn an_organization_is_foreign_known_or_not_to_be_told() {
        let statement = |id: &str| {
            json!([allow(
                &json!("*"),
                &json!("kms:Decrypt"),
                &json!({"StringEquals": {"aws:PrincipalOrgID": id}})
            )])
        };
        assert!(foreign(&statement(ORGANIZATION)).unwrap().is_empty());
        assert_eq!(foreign(&statement("o-zzzzzzzzzz")).unwrap(), ["o-zzzzzzzzzz"]);
        let unknown = AccountScope { organization_id: None, ..scope() };
        let exposure = judge_in(&unknown, &statement(ORGANIZATION));
        assert_eq!(exposure.public, Ok(vec![]));
        assert!(exposure.foreign.unwrap_err().contains(ORGANIZATION));
    }

    #[test]
    fn only_the_owning_account_as_a_whole_delegates_to_iam() {
        let delegates = |principal: Value| {
            judge(&json!([allow(&principal, &json!("kms:*"), &json!({}))])).delegates_to_iam
        };
        assert!(delegates(json!({"AWS": "arn:aws:iam::111122223333:root"})));
        assert!(!delegates(json!({"AWS": "arn:aws:iam::111122223333:role/Admin"})));
        assert!(!delegates(json!({"AWS": "arn:aws:iam::222222222222:root"})));
    }
}
