//! A key policy as AWS reads it: statements, principals, actions, resources.

use serde_json::{Map, Value};
use thiserror::Error;

use super::condition::Condition;
use super::pattern;
use super::principal::Principal;
use crate::model::KeyArn;

/// The most that AWS KMS takes as a key policy, in bytes.
const LONGEST: usize = 32 * 1024;

/// Why a key policy could not be understood; whatever rests on it is unknown for this reason.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PolicyError {
    /// It is longer than AWS KMS takes.
    #[error("the key policy is {0} bytes long; AWS KMS takes at most {LONGEST}")]
    TooLong(usize),
    /// It is not JSON.
    #[error("the key policy is not JSON: {0}")]
    NotJson(String),
    /// It is JSON, and not a policy.
    #[error("the key policy has no `Statement` with objects in it")]
    NoStatements,
    /// One statement is not what a statement has to be.
    #[error("statement {label} of the key policy {wrong}")]
    Statement {
        /// The statement's id, or `#n`.
        label: String,
        /// What is wrong with it.
        wrong: String,
    },
}

/// A parsed key policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// `2012-10-17` or `2008-10-17`; only the former knows policy variables.
    pub version: Option<String>,
    /// The statements, in the policy's order.
    pub statements: Vec<Statement>,
}

/// What a statement does to the requests that it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// It allows them.
    Allow,
    /// It denies them, whatever allows them.
    Deny,
}

/// One statement of a key policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Its `Sid`, or `#n` counted from 1.
    pub label: String,
    /// Allow or Deny.
    pub effect: Effect,
    /// Who it is about.
    pub principals: Listed<Principal>,
    /// Which calls it is about; patterns. None: AWS KMS stores such a statement, and it has no effect.
    pub actions: Option<Listed<String>>,
    /// Which resources it is about; patterns, where `*` is the key that the policy belongs to. None: as above.
    pub resources: Option<Listed<String>>,
    /// All of them have to hold.
    pub conditions: Vec<Condition>,
}

/// An element of a statement, or its `Not…` form.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Listed<T> {
    /// These.
    These(Vec<T>),
    /// Everything but these.
    AllBut(Vec<T>),
}

impl<T> Listed<T> {
    /// What is listed, whichever way round it counts.
    pub fn items(&self) -> &[T] {
        match self {
            Self::These(items) | Self::AllBut(items) => items,
        }
    }

    fn matches(&self, is_match: impl Fn(&T) -> bool) -> bool {
        match self {
            Self::These(items) => items.iter().any(is_match),
            Self::AllBut(items) => !items.iter().any(is_match),
        }
    }
}

impl Policy {
    /// Parses a key policy's JSON text.
    ///
    /// Fails with what is wrong and where; never panics, and never takes a statement that it did not understand
    /// for one that allows nothing.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        if text.len() > LONGEST {
            return Err(PolicyError::TooLong(text.len()));
        }
        let value: Value =
            serde_json::from_str(text).map_err(|error| PolicyError::NotJson(error.to_string()))?;
        let statements = match value.get("Statement") {
            Some(Value::Array(items)) => items.iter().collect(),
            Some(item @ Value::Object(_)) => vec![item],
            _ => return Err(PolicyError::NoStatements),
        };
        let statements = statements
            .into_iter()
            .enumerate()
            .map(|(at, value)| Statement::parse(at + 1, value))
            .collect::<Result<_, _>>()?;
        let version = value.get("Version").and_then(Value::as_str).map(str::to_owned);
        Ok(Self { version, statements })
    }

    /// The statements with this effect that have any effect on this key; none: any key.
    pub fn effective<'a>(
        &'a self,
        effect: Effect,
        key: Option<&'a KeyArn>,
    ) -> impl Iterator<Item = &'a Statement> {
        self.statements.iter().filter(move |statement| statement.effect == effect && statement.concerns(key))
    }
}

impl Statement {
    fn parse(number: usize, value: &Value) -> Result<Self, PolicyError> {
        let sid = value.get("Sid").and_then(Value::as_str).filter(|sid| !sid.is_empty());
        let label = sid.map_or_else(|| format!("#{number}"), str::to_owned);
        let wrong = |wrong: String| PolicyError::Statement { label: label.clone(), wrong };
        let map = value.as_object().ok_or_else(|| wrong("is no object".to_owned()))?;
        let effect = match map.get("Effect").and_then(Value::as_str) {
            Some("Allow") => Effect::Allow,
            Some("Deny") => Effect::Deny,
            _ => return Err(wrong("has no `Effect` of Allow or Deny".to_owned())),
        };
        let principals = element(map, "Principal", "NotPrincipal", principals)
            .map_err(wrong)?
            .ok_or_else(|| wrong("has no `Principal`".to_owned()))?;
        let actions = element(map, "Action", "NotAction", texts).map_err(wrong)?;
        let resources = element(map, "Resource", "NotResource", texts).map_err(wrong)?;
        let conditions = map.get("Condition").map_or(Ok(Vec::new()), Condition::parse_all).map_err(wrong)?;
        Ok(Self { label, effect, principals, actions, resources, conditions })
    }

    /// Whether the statement is about a call, such as `kms:Decrypt`.
    pub fn covers_action(&self, action: &str) -> bool {
        let Some(actions) = &self.actions else { return false };
        let action = action.to_ascii_lowercase();
        actions.matches(|pattern| pattern::matches(&pattern.to_ascii_lowercase(), &action))
    }

    /// The KMS calls that the statement is about. An action that is not on the list of known ones, because it
    /// is newer, counts under its own name.
    pub fn kms_actions(&self) -> Vec<&str> {
        let known = KMS_ACTIONS.into_iter().filter(|action| self.covers_action(action));
        let listed = match &self.actions {
            Some(Listed::These(actions)) => actions.as_slice(),
            Some(Listed::AllBut(_)) | None => &[],
        };
        let newer = listed.iter().map(String::as_str).filter(|action| {
            action.get(..4).is_some_and(|prefix| prefix.eq_ignore_ascii_case("kms:"))
                && !KMS_ACTIONS
                    .iter()
                    .any(|known| pattern::matches(&action.to_ascii_lowercase(), &known.to_ascii_lowercase()))
        });
        known.chain(newer).collect()
    }

    /// Whether the statement has all the elements without which AWS KMS ignores it.
    pub fn has_effect(&self) -> bool {
        self.actions.is_some() && self.resources.is_some()
    }

    fn concerns(&self, key: Option<&KeyArn>) -> bool {
        let Some(resources) = self.resources.as_ref().filter(|_| self.has_effect()) else { return false };
        let Some(key) = key else { return true };
        let arn = key.to_string();
        resources.matches(|pattern| pattern::matches(pattern, &arn))
    }
}

type Parsed<T> = Result<T, String>;

fn element<T>(
    map: &Map<String, Value>,
    name: &str,
    negated: &str,
    parse: impl Fn(&str, &Value) -> Parsed<Vec<T>>,
) -> Parsed<Option<Listed<T>>> {
    match (map.get(name), map.get(negated)) {
        (Some(_), Some(_)) => Err(format!("has both `{name}` and `{negated}`")),
        (Some(value), None) => parse(name, value).map(Listed::These).map(Some),
        (None, Some(value)) => parse(negated, value).map(Listed::AllBut).map(Some),
        (None, None) => Ok(None),
    }
}

fn texts(name: &str, value: &Value) -> Parsed<Vec<String>> {
    let wrong = || format!("has a `{name}` that is neither a text nor a list of texts");
    match value {
        Value::String(text) => Ok(vec![text.clone()]),
        Value::Array(items) => {
            items.iter().map(|item| item.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
        }
        _ => Err(wrong()),
    }
}

fn principals(name: &str, value: &Value) -> Parsed<Vec<Principal>> {
    match value {
        Value::String(text) if text == "*" => Ok(vec![Principal::Anyone]),
        Value::Object(map) => {
            let mut all = Vec::new();
            for (element, value) in map {
                for text in texts(name, value)? {
                    let principal = Principal::from_element(element, &text)
                        .ok_or_else(|| format!("has a `{name}` of unknown kind `{element}`"))?;
                    all.push(principal);
                }
            }
            Ok(all)
        }
        _ => Err(format!("has a `{name}` that is neither `*` nor an object")),
    }
}

/// The calls of AWS KMS that a key policy can allow or deny on a key.
#[rustfmt::skip]
pub(super) const KMS_ACTIONS: [&str; 49] = [
    "kms:CancelKeyDeletion", "kms:CreateAlias", "kms:CreateGrant", "kms:Decapsulate", "kms:Decrypt",
    "kms:DeleteAlias", "kms:DeleteImportedKeyMaterial", "kms:DeriveSharedSecret", "kms:DescribeKey",
    "kms:DisableKey", "kms:DisableKeyRotation", "kms:EnableKey", "kms:EnableKeyRotation", "kms:Encapsulate",
    "kms:Encrypt", "kms:GenerateDataKey", "kms:GenerateDataKeyPair", "kms:GenerateDataKeyPairWithoutPlaintext",
    "kms:GenerateDataKeyWithoutPlaintext", "kms:GenerateMac", "kms:GetKeyLastUsage", "kms:GetKeyPolicy",
    "kms:GetKeyRotationStatus", "kms:GetParametersForImport", "kms:GetPublicKey", "kms:ImportKeyMaterial",
    "kms:ListGrants", "kms:ListKeyPolicies", "kms:ListKeyRotations", "kms:ListResourceTags", "kms:PutKeyPolicy",
    "kms:ReEncryptFrom", "kms:ReEncryptTo", "kms:ReplicateKey", "kms:RetireGrant", "kms:RevokeGrant",
    "kms:RotateKeyOnDemand", "kms:ScheduleKeyDeletion", "kms:Sign", "kms:SynchronizeMultiRegionKey",
    "kms:TagResource", "kms:UntagResource", "kms:UpdateAlias", "kms:UpdateKeyDescription",
    "kms:UpdatePrimaryRegion", "kms:Verify", "kms:VerifyMac", "kms:ListRetirableGrants", "kms:ListAliases",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::AccountId;

    fn one(statement: &str) -> Result<Statement, PolicyError> {
        Policy::parse(&format!(r#"{{"Version": "2012-10-17", "Statement": {statement}}}"#))
            .map(|policy| policy.statements[0].clone())
    }

    fn principal(json: &str) -> Vec<Principal> {
        let text =
            format!(r#"{{"Effect": "Allow", "Principal": {json}, "Action": "kms:*", "Resource": "*"}}"#);
        one(&text).unwrap().principals.items().to_vec()
    }

    #[test]
    fn principals_are_told_apart_in_all_their_forms() {
        let account: AccountId = "111122223333".parse().unwrap();
        assert_eq!(principal(r#""*""#), [Principal::Anyone]);
        assert_eq!(principal(r#"{"AWS": "*"}"#), [Principal::Anyone]);
        assert_eq!(
            principal(r#"{"AWS": ["111122223333", "arn:aws-cn:iam::111122223333:root", "*"]}"#),
            [Principal::Account(account.clone()), Principal::Account(account.clone()), Principal::Anyone]
        );
        let role = "arn:aws:iam::111122223333:role/path/Admin";
        let identity = Principal::Identity { arn: role.to_owned(), account: account.clone() };
        assert_eq!(principal(&format!(r#"{{"AWS": "{role}"}}"#)), [identity]);
        assert_eq!(
            principal(r#"{"AWS": "AROAJQABLZS4A3QDU576Q"}"#),
            [Principal::UniqueId("AROAJQABLZS4A3QDU576Q".to_owned())]
        );
        assert_eq!(
            principal(r#"{"Service": ["sns.amazonaws.com"], "CanonicalUser": "79a59d"}"#),
            [Principal::Party("79a59d".to_owned()), Principal::Service("sns.amazonaws.com".to_owned())]
        );
        assert_eq!(
            principal(r#"{"Federated": "accounts.google.com"}"#),
            [Principal::WebIdentity("accounts.google.com".to_owned())]
        );
        let saml = principal(r#"{"Federated": "arn:aws:iam::111122223333:saml-provider/x"}"#);
        assert_eq!(saml[0].account(), Some(&account));
        let oai = "arn:aws:iam::cloudfront:user/CloudFront Origin Access Identity E1";
        assert_eq!(principal(&format!(r#"{{"AWS": "{oai}"}}"#)), [Principal::Party(oai.to_owned())]);
        let wild = "arn:aws:iam::*:role/Admin";
        assert_eq!(principal(&format!(r#"{{"AWS": "{wild}"}}"#)), [Principal::Unclear(wild.to_owned())]);
    }

    #[test]
    fn a_single_statement_needs_no_list_and_is_labelled_by_its_place() {
        let text = r#"{"Sid": "", "Effect": "Deny", "NotPrincipal": {"AWS": "111122223333"}, "NotAction": ["kms:Get*"],
            "Resource": "*"}"#;
        let statement = one(text).unwrap();
        assert_eq!((statement.label.as_str(), statement.effect), ("#1", Effect::Deny));
        assert!(matches!(statement.principals, Listed::AllBut(_)));
        assert!(statement.covers_action("kms:Decrypt"));
        assert!(!statement.covers_action("kms:getkeypolicy"));
    }

    #[test]
    fn what_is_no_policy_is_refused_with_the_place() {
        let long = format!(r#"{{"Statement": [], "Id": "{}"}}"#, "x".repeat(LONGEST));
        assert!(matches!(Policy::parse(&long), Err(PolicyError::TooLong(_))));
        assert!(matches!(Policy::parse("{"), Err(PolicyError::NotJson(_))));
        for text in ["[]", "{}", "null", r#"{"Statement": "x"}"#] {
            assert_eq!(Policy::parse(text), Err(PolicyError::NoStatements), "{text}");
        }
        for statement in [
            "[7]",
            r#"{"Effect": "allow", "Principal": "*", "Action": "kms:*", "Resource": "*"}"#,
            r#"{"Effect": "Allow", "Action": "kms:*", "Resource": "*"}"#,
            r#"{"Effect": "Allow", "Principal": "everyone", "Action": "kms:*", "Resource": "*"}"#,
            r#"{"Effect": "Allow", "Principal": {"Foo": "x"}, "Action": "kms:*", "Resource": "*"}"#,
            r#"{"Effect": "Allow", "Principal": "*", "Action": 7, "Resource": "*"}"#,
            r#"{"Effect": "Allow", "Principal": "*", "NotPrincipal": "*", "Action": "kms:*", "Resource": "*"}"#,
            r#"{"Effect": "Allow", "Principal": "*", "Action": "kms:*", "Resource": "*", "Condition": 3}"#,
        ] {
            let error = one(statement).unwrap_err();
            assert!(error.to_string().starts_with("statement #1 of the key policy "), "{error}");
        }
    }

    #[test]
    fn actions_match_by_wildcards_whatever_their_case() {
        let text = r#"{"Effect": "Allow", "Principal": "*", "Action": ["KMS:replicate*", "s3:*", "kms:BrandNew"],
            "Resource": "*"}"#;
        assert_eq!(one(text).unwrap().kms_actions(), ["kms:ReplicateKey", "kms:BrandNew"]);
    }

    #[test]
    fn a_statement_about_no_resource_or_another_key_has_no_effect() {
        let key: KeyArn = "arn:aws:kms:eu-central-1:111122223333:key/abc".parse().unwrap();
        let with = |resource: &str| {
            let text = format!(
                r#"{{"Statement": {{"Effect": "Allow", "Principal": "*", "Action": "kms:*" {resource}}}}}"#
            );
            Policy::parse(&text).unwrap().effective(Effect::Allow, Some(&key)).count()
        };
        assert_eq!(with(r#", "Resource": "*""#), 1);
        assert_eq!(with(r#", "Resource": "arn:aws:kms:*:111122223333:key/abc""#), 1);
        assert_eq!(with(r#", "Resource": "arn:aws:kms:*:111122223333:key/other""#), 0);
        assert_eq!(with(r#", "NotResource": "arn:aws:kms:*:111122223333:key/abc""#), 0);
        assert_eq!(with(""), 0);
        let actionless = r#"{"Effect": "Allow", "Principal": "*", "Resource": "*"}"#;
        assert!(one(actionless).unwrap().kms_actions().is_empty());
    }
}
