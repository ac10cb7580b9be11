//! Whom a statement's conditions let through: named parties, anybody, or who cannot be told.

use std::collections::BTreeSet;

use super::condition::{Condition, Quantifier, Test};
use super::pattern;
use crate::model::AccountId;

/// A party that a condition names by a fixed value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Party {
    /// An account.
    Account(AccountId),
    /// An organization, by its id.
    Organization(String),
    /// The key owner's own organization (`${aws:ResourceOrgID}`).
    OwnOrganization,
    /// The key owner's own account (`${aws:ResourceAccount}`).
    OwnAccount,
    /// Something fixed whose account is not in the policy: a VPC, a VPC endpoint, a unique id.
    Fixed(String),
}

/// Whom a condition, or several, let through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reach {
    /// These, and nobody else.
    Parties(BTreeSet<Party>),
    /// Anybody can meet it: it limits how, where or when, and not who.
    Anybody,
    /// It cannot be told, and why.
    Unclear(String),
}

/// Whom one condition of an Allow statement lets through.
pub(super) fn allowed(condition: &Condition) -> Reach {
    let operator = &condition.operator;
    match operator.test {
        Test::Equals | Test::EqualsIgnoreCase | Test::Like | Test::Arn => {
            let reach = named(condition);
            let open = operator.passes_without_key() && !is_always_present(&condition.key);
            if open && matches!(reach, Reach::Parties(_)) { Reach::Anybody } else { reach }
        }
        Test::NotEquals | Test::NotLike | Test::NotArn | Test::NotAddress | Test::Null | Test::Measure(_) => {
            Reach::Anybody
        }
        Test::Bool => boolean(condition),
        Test::Address => addresses(condition),
    }
}

/// Whom one condition of a Deny statement spares: a statement spares who is spared by any of its conditions.
pub(super) fn spared(condition: &Condition) -> Reach {
    let operator = &condition.operator;
    match operator.test {
        Test::NotEquals | Test::NotLike | Test::NotArn => {
            let reach = named(condition);
            // A request without the key is not denied, so it takes no more than not to have the key.
            let open = !operator.passes_without_key() && !is_always_present(&condition.key);
            if open && matches!(reach, Reach::Parties(_)) { Reach::Anybody } else { reach }
        }
        Test::NotAddress => addresses(condition),
        Test::Bool => boolean(condition),
        Test::Like | Test::Arn if condition.values.iter().any(|value| value == "*") => {
            Reach::Unclear(format!("a Deny depends on `{}` being there at all", condition.key))
        }
        Test::Equals
        | Test::EqualsIgnoreCase
        | Test::Like
        | Test::Arn
        | Test::Address
        | Test::Null
        | Test::Measure(_) => Reach::Anybody,
    }
}

/// Whom all conditions of an Allow statement let through, by the narrowest of them.
pub(super) fn allowed_by_all(conditions: &[Condition]) -> Reach {
    let mut result = Reach::Anybody;
    for condition in conditions {
        match (allowed(condition), &result) {
            (Reach::Parties(new), Reach::Parties(old)) if new.len() >= old.len() => {}
            (reach @ Reach::Parties(_), _) | (reach @ Reach::Unclear(_), Reach::Anybody) => result = reach,
            _ => {}
        }
    }
    result
}

/// Keys that every signed request carries, so that nobody passes by leaving them out.
fn is_always_present(key: &str) -> bool {
    matches!(key, "aws:principalaccount" | "kms:calleraccount" | "aws:principalarn")
}

/// The parties that a condition's values name; any open value opens all, since one match is enough.
fn named(condition: &Condition) -> Reach {
    let key = condition.key.as_str();
    if condition.operator.quantifier != Quantifier::Plain && !has_several_values(key) {
        // AWS warns of both prefixes on keys with one value; what they then do is not documented.
        if condition.operator.quantifier == Quantifier::AllValues && !is_always_present(key) {
            return Reach::Anybody;
        }
    }
    if condition.values.is_empty() {
        return Reach::Unclear(format!("a condition on `{key}` has no values"));
    }
    let mut parties = BTreeSet::new();
    let mut unclear = None;
    for value in &condition.values {
        match party(key, value, &condition.operator.test) {
            Reach::Parties(more) => parties.extend(more),
            Reach::Anybody => return Reach::Anybody,
            Reach::Unclear(reason) => unclear = unclear.or(Some(reason)),
        }
    }
    unclear.map_or(Reach::Parties(parties), Reach::Unclear)
}

fn has_several_values(key: &str) -> bool {
    matches!(key, "aws:principalorgpaths" | "aws:sourceorgpaths" | "aws:vpceorgpaths")
}

fn party(key: &str, value: &str, test: &Test) -> Reach {
    if value.contains("${") {
        return variable(key, value);
    }
    let is_literal = matches!(test, Test::Equals | Test::EqualsIgnoreCase | Test::NotEquals);
    if is_literal && pattern::is_wild(value) && names_parties(key) {
        return Reach::Unclear(format!(
            "`{key}` is compared with `{value}`, in which AWS takes the wildcard as text"
        ));
    }
    match key {
        "kms:calleraccount"
        | "aws:principalaccount"
        | "aws:sourceaccount"
        | "aws:sourceowner"
        | "aws:vpceaccount" => account(key, value),
        "aws:principalorgid" | "aws:sourceorgid" | "aws:vpceorgid" => organization(key, value),
        "aws:principalorgpaths" | "aws:sourceorgpaths" | "aws:vpceorgpaths" => {
            organization(key, value.split('/').next().unwrap_or_default())
        }
        "aws:principalarn" | "aws:sourcearn" => arn(key, value, test),
        "aws:sourcevpc" | "aws:sourcevpce" | "aws:sourcevpcarn" => fixed(value),
        "aws:userid" => user_id(value),
        _ if limits_nobody(key) => Reach::Anybody,
        _ => Reach::Unclear(format!("whom a condition on `{key}` lets in is not known here")),
    }
}

fn names_parties(key: &str) -> bool {
    !limits_nobody(key)
}

/// Policy variables: two of them stand for the key's owner, some for the caller, who always equals himself.
fn variable(key: &str, value: &str) -> Reach {
    match value.to_ascii_lowercase().as_str() {
        "${aws:resourceaccount}" => one(Party::OwnAccount),
        "${aws:resourceorgid}" => one(Party::OwnOrganization),
        lower if lower.contains("${aws:principal") || lower.contains("${aws:userid") => Reach::Anybody,
        _ => Reach::Unclear(format!("`{key}` is compared with the variable `{value}`")),
    }
}

fn one(party: Party) -> Reach {
    Reach::Parties(BTreeSet::from([party]))
}

fn fixed(value: &str) -> Reach {
    if pattern::is_wild(value) { Reach::Anybody } else { one(Party::Fixed(value.to_owned())) }
}

fn account(key: &str, value: &str) -> Reach {
    match value.parse() {
        Ok(account) => one(Party::Account(account)),
        Err(_) if pattern::is_wild(value) => Reach::Anybody,
        Err(_) => Reach::Unclear(format!("`{key}` is compared with `{value}`, which is no account id")),
    }
}

fn organization(key: &str, value: &str) -> Reach {
    if pattern::is_wild(value) || value.is_empty() {
        Reach::Anybody
    } else if value.starts_with("o-") {
        one(Party::Organization(value.to_owned()))
    } else {
        Reach::Unclear(format!("`{key}` is compared with `{value}`, which is no organization id"))
    }
}

/// An ARN confines to its account where the account is fixed and no wildcard before it can swallow it:
/// `ArnLike` keeps each wildcard within its part of the ARN, `StringLike` does not.
fn arn(key: &str, value: &str, test: &Test) -> Reach {
    let parts: Vec<&str> = value.splitn(6, ':').collect();
    let [prefix, partition, service, region, account, _] = parts.as_slice() else {
        return if value.starts_with('*') || *value == *"arn:*" {
            Reach::Anybody
        } else {
            Reach::Unclear(format!("`{key}` is compared with `{value}`, which names no account"))
        };
    };
    let swallows = [prefix, partition, service, region].iter().any(|part| pattern::is_wild(part));
    match account.parse() {
        Ok(account) if !swallows || matches!(test, Test::Arn | Test::NotArn) => one(Party::Account(account)),
        Ok(_) => Reach::Unclear(format!(
            "`{key}` is compared with `{value}`, whose wildcards may span its account"
        )),
        Err(_) if pattern::is_wild(account) => Reach::Anybody,
        Err(_) => Reach::Unclear(format!("`{key}` is compared with `{value}`, which names no account")),
    }
}

/// `AROA…:session` and the like name one principal by its unique id.
fn user_id(value: &str) -> Reach {
    let id = value.split(':').next().unwrap_or_default();
    let is_unique =
        id.len() >= 16 && id.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
    if is_unique {
        one(Party::Fixed(id.to_owned()))
    } else {
        value.parse().map_or(Reach::Anybody, |account| one(Party::Account(account)))
    }
}

/// Keys that anybody can meet with credentials of their own: they limit how, when, through what or on what.
fn limits_nobody(key: &str) -> bool {
    const KEYS: [&str; 21] = [
        "aws:calledvia",
        "aws:calledviafirst",
        "aws:calledvialast",
        "aws:currenttime",
        "aws:epochtime",
        "aws:multifactorauthage",
        "aws:multifactorauthpresent",
        "aws:principaltype",
        "aws:referer",
        "aws:requestedregion",
        "aws:resourceaccount",
        "aws:resourceorgid",
        "aws:resourceorgpaths",
        "aws:securetransport",
        "aws:sourceidentity",
        "aws:tagkeys",
        "aws:tokenissuetime",
        "aws:useragent",
        "aws:username",
        "aws:viaawsservice",
        "aws:assumedroot",
    ];
    const PREFIXES: [&str; 3] = ["aws:principaltag/", "aws:requesttag/", "aws:resourcetag/"];
    if key.starts_with("kms:") {
        return key != "kms:calleraccount" && !key.starts_with("kms:recipientattestation:");
    }
    KEYS.contains(&key) || PREFIXES.iter().any(|prefix| key.starts_with(prefix))
}

fn boolean(condition: &Condition) -> Reach {
    let key = condition.key.as_str();
    if limits_nobody(key) {
        Reach::Anybody
    } else {
        Reach::Unclear(format!("whom a condition on `{key}` lets in is not known here"))
    }
}

/// An address is no identity: a narrow range keeps most people out and names nobody, a wide one not even that.
fn addresses(condition: &Condition) -> Reach {
    let is_wide = |value: &String| {
        let Some((address, length)) = value.split_once('/') else { return false };
        let narrowest = if address.contains(':') { 32 } else { 8 };
        length.parse::<u8>().is_ok_and(|length| length < narrowest)
    };
    if condition.values.iter().any(is_wide) {
        Reach::Anybody
    } else {
        Reach::Unclear(format!("`{}` limits the network, and names no account", condition.key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(operator: &str, key: &str, value: &serde_json::Value) -> Condition {
        let json = serde_json::json!({ operator: { key: value } });
        Condition::parse_all(&json).unwrap().remove(0)
    }

    fn allow(operator: &str, key: &str, value: &str) -> Reach {
        allowed(&condition(operator, key, &value.into()))
    }

    fn account_of(text: &str) -> Reach {
        one(Party::Account(text.parse().unwrap()))
    }

    #[test]
    fn fixed_accounts_and_organizations_confine() {
        let account = account_of("111122223333");
        for (operator, key, value) in [
            ("StringEquals", "kms:CallerAccount", "111122223333"),
            ("StringEquals", "KMS:CALLERACCOUNT", "111122223333"),
            ("StringLike", "aws:PrincipalAccount", "111122223333"),
            ("StringEqualsIfExists", "aws:PrincipalAccount", "111122223333"),
            ("StringEquals", "aws:SourceAccount", "111122223333"),
            ("ArnLike", "aws:SourceArn", "arn:aws:sns:*:111122223333:*"),
            ("StringLike", "aws:PrincipalArn", "arn:aws:iam::111122223333:role/*"),
            ("ArnEquals", "aws:PrincipalArn", "arn:*:iam::111122223333:role/Admin"),
        ] {
            assert_eq!(allow(operator, key, value), account, "{operator} {key} {value}");
        }
        let organization = one(Party::Organization("o-a1b2c3d4e5".to_owned()));
        assert_eq!(allow("StringEquals", "aws:PrincipalOrgID", "o-a1b2c3d4e5"), organization);
        let path = "o-a1b2c3d4e5/r-ab12/ou-ab12-11111111/*";
        assert_eq!(allow("ForAnyValue:StringLike", "aws:PrincipalOrgPaths", path), organization);
        assert_eq!(
            allow("StringEquals", "aws:PrincipalOrgID", "${aws:ResourceOrgID}"),
            one(Party::OwnOrganization)
        );
        assert!(matches!(allow("StringEquals", "aws:SourceVpce", "vpce-1a2b"), Reach::Parties(_)));
    }

    #[test]
    fn what_names_nobody_lets_anybody_through() {
        for (operator, key, value) in [
            ("StringEquals", "kms:ViaService", "s3.eu-central-1.amazonaws.com"),
            ("StringEquals", "kms:EncryptionContext:app", "x"),
            ("StringLike", "kms:CallerAccount", "*"),
            ("StringLike", "kms:CallerAccount", "1111*"),
            ("StringLike", "aws:PrincipalOrgID", "o-*"),
            ("StringNotEquals", "aws:PrincipalAccount", "111122223333"),
            ("StringEqualsIfExists", "aws:PrincipalOrgID", "o-a1b2c3d4e5"),
            ("StringEqualsIfExists", "aws:SourceArn", "arn:aws:sns:eu-west-1:111122223333:x"),
            ("ForAllValues:StringLike", "aws:PrincipalOrgPaths", "o-a1b2c3d4e5/*"),
            ("ArnLike", "aws:SourceArn", "arn:aws:sns:*:*:*"),
            ("ArnLike", "aws:PrincipalArn", "*"),
            ("StringEquals", "aws:PrincipalAccount", "${aws:PrincipalAccount}"),
            ("StringEquals", "aws:PrincipalTag/team", "x"),
            ("IpAddress", "aws:SourceIp", "0.0.0.0/0"),
            ("Null", "aws:PrincipalOrgID", "false"),
            ("Bool", "aws:SecureTransport", "true"),
            ("NumericLessThan", "aws:MultiFactorAuthAge", "3600"),
        ] {
            assert_eq!(allow(operator, key, value), Reach::Anybody, "{operator} {key} {value}");
        }
    }

    #[test]
    fn what_cannot_be_told_is_unclear_and_not_guessed() {
        for (operator, key, value) in [
            ("StringEquals", "kms:CallerAccount", "*"),
            ("StringEquals", "kms:CallerAccount", "not-an-account"),
            ("IpAddress", "aws:SourceIp", "192.0.2.0/24"),
            ("ArnLike", "aws:SourceArn", "arn:aws:s3:::bucket"),
            ("StringLike", "aws:PrincipalArn", "arn:*:iam::111122223333:role/x"),
            ("StringEquals", "aws:SomethingNew", "x"),
            ("Bool", "aws:PrincipalIsAWSService", "true"),
            ("StringEqualsIgnoreCase", "kms:RecipientAttestation:PCR8", "abc"),
        ] {
            assert!(matches!(allow(operator, key, value), Reach::Unclear(_)), "{operator} {key} {value}");
        }
    }

    #[test]
    fn one_open_value_opens_a_condition_and_one_narrow_condition_closes_a_statement() {
        let mixed = condition("StringLike", "kms:CallerAccount", &serde_json::json!(["111122223333", "*"]));
        assert_eq!(allowed(&mixed), Reach::Anybody);
        let narrow = condition("StringEquals", "kms:CallerAccount", &"111122223333".into());
        let via = condition("StringEquals", "kms:ViaService", &"s3.eu-central-1.amazonaws.com".into());
        let unclear = condition("StringEquals", "aws:SomethingNew", &"x".into());
        assert_eq!(allowed_by_all(&[via.clone(), narrow, unclear.clone()]), account_of("111122223333"));
        assert!(matches!(allowed_by_all(&[via.clone(), unclear]), Reach::Unclear(_)));
        assert_eq!(allowed_by_all(&[via]), Reach::Anybody);
    }

    #[test]
    fn a_deny_spares_whom_its_negated_test_names() {
        let deny = |operator: &str, key: &str, value: &str| spared(&condition(operator, key, &value.into()));
        let organization = one(Party::Organization("o-a1b2c3d4e5".to_owned()));
        assert_eq!(deny("StringNotEquals", "aws:PrincipalOrgID", "o-a1b2c3d4e5"), organization);
        assert_eq!(deny("StringNotEqualsIfExists", "aws:PrincipalOrgID", "o-a1b2c3d4e5"), organization);
        assert_eq!(
            deny("ForAnyValue:StringNotLike", "aws:PrincipalOrgPaths", "o-a1b2c3d4e5/*"),
            Reach::Anybody
        );
        assert_eq!(
            deny("ForAllValues:StringNotLike", "aws:PrincipalOrgPaths", "o-a1b2c3d4e5/*"),
            organization
        );
        assert_eq!(deny("StringEquals", "aws:PrincipalOrgID", "o-a1b2c3d4e5"), Reach::Anybody);
        assert_eq!(deny("Bool", "aws:SecureTransport", "false"), Reach::Anybody);
        assert!(matches!(deny("BoolIfExists", "aws:PrincipalIsAWSService", "false"), Reach::Unclear(_)));
        assert!(matches!(deny("NotIpAddress", "aws:SourceIp", "192.0.2.0/24"), Reach::Unclear(_)));
        assert!(matches!(deny("StringLike", "aws:PrincipalArn", "*"), Reach::Unclear(_)));
    }
}
