//! Key policies: their validation, and what they say about a call.

use serde_json::{Value, json};

use super::conditions;
use crate::model::AccountId;
use crate::sandbox::call::ApiError;

/// A key policy, parsed.
#[derive(Debug, Clone)]
pub(super) struct Policy {
    /// As it was given.
    pub(super) text: String,
    statements: Vec<Statement>,
}

#[derive(Debug, Clone)]
struct Statement {
    allow: bool,
    principals: Principals,
    actions: Names,
    conditions: Value,
}

#[derive(Debug, Clone)]
enum Principals {
    Of(Vec<PrincipalPattern>),
    AllBut(Vec<PrincipalPattern>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum PrincipalPattern {
    Anyone,
    Account(String),
    Arn(String),
    Service(String),
}

#[derive(Debug, Clone)]
enum Names {
    Of(Vec<String>),
    AllBut(Vec<String>),
}

/// What a policy is asked about.
pub(super) struct Question<'a> {
    /// The caller's account.
    pub(super) account: &'a AccountId,
    /// All the ARNs that name the caller: its session, and the role behind it.
    pub(super) arns: &'a [String],
    /// The service that calls, if it is one.
    pub(super) service: Option<&'a str>,
    /// Such as `kms:DescribeKey`.
    pub(super) action: &'a str,
    /// The condition keys of the request.
    pub(super) context: &'a dyn Fn(&str) -> Option<Vec<String>>,
}

/// What a policy answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ruling {
    /// A statement denies it.
    Denied,
    /// A statement allows it to the caller itself.
    Allowed,
    /// A statement leaves it to the caller's account, and so to IAM.
    LeftToAccount,
    /// No statement speaks of it.
    Silent,
}

impl Policy {
    /// Takes a policy document.
    pub(super) fn parse(text: &str) -> Result<Self, ApiError> {
        let document: Value =
            serde_json::from_str(text).map_err(|_| malformed("Policy document is not valid JSON"))?;
        let statements = match document.get("Statement") {
            Some(Value::Array(statements)) if !statements.is_empty() => statements.iter().collect(),
            Some(statement @ Value::Object(_)) => vec![statement],
            _ => return Err(malformed("Policy document has no statement")),
        };
        let statements = statements.into_iter().map(statement).collect::<Result<_, _>>()?;
        Ok(Self { text: text.to_owned(), statements })
    }

    /// The policy that AWS gives a key that was created without one.
    pub(super) fn default_of(partition: &str, account: &AccountId) -> Self {
        let principal = format!("arn:{partition}:iam::{account}:root");
        let document = json!({
            "Version": "2012-10-17",
            "Id": "key-default-1",
            "Statement": [{
                "Sid": "Enable IAM User Permissions",
                "Effect": "Allow",
                "Principal": { "AWS": principal },
                "Action": "kms:*",
                "Resource": "*",
            }],
        });
        Self {
            text: format!("{document:#}"),
            statements: vec![Statement {
                allow: true,
                principals: Principals::Of(vec![PrincipalPattern::Account(account.to_string())]),
                actions: Names::Of(vec!["kms:*".to_owned()]),
                conditions: Value::Null,
            }],
        }
    }

    /// What the policy says.
    pub(super) fn rule(&self, question: &Question<'_>) -> Ruling {
        let mut ruling = Ruling::Silent;
        for statement in &self.statements {
            let Some(direct) = statement.matches(question) else { continue };
            ruling = match (statement.allow, direct, ruling) {
                (false, ..) => return Ruling::Denied,
                (true, true, _) | (true, false, Ruling::Allowed) => Ruling::Allowed,
                (true, false, _) => Ruling::LeftToAccount,
            };
        }
        ruling
    }
}

impl Statement {
    /// Whether it speaks of the call, and if so, whether it names the caller rather than its account.
    fn matches(&self, question: &Question<'_>) -> Option<bool> {
        if !self.actions.cover(question.action) {
            return None;
        }
        let direct = self.principals.cover(question)?;
        let doubtful = !self.allow;
        conditions::hold(&self.conditions, question.context, doubtful).then_some(direct)
    }
}

impl Principals {
    fn cover(&self, question: &Question<'_>) -> Option<bool> {
        match self {
            Self::Of(patterns) => {
                let hits: Vec<bool> = patterns.iter().filter_map(|pattern| pattern.names(question)).collect();
                (!hits.is_empty()).then(|| hits.contains(&true))
            }
            Self::AllBut(patterns) => {
                patterns.iter().all(|pattern| pattern.names(question).is_none()).then_some(true)
            }
        }
    }
}

impl PrincipalPattern {
    fn names(&self, question: &Question<'_>) -> Option<bool> {
        match self {
            // An account root user is named by its account's ARN, so for it the delegation is direct.
            Self::Account(account) => (account == question.account.as_str()).then(|| {
                question.arns.iter().any(|arn| arn.ends_with(":root")) || question.service.is_some()
            }),
            Self::Anyone => Some(true),
            Self::Arn(arn) => question.arns.contains(arn).then_some(true),
            Self::Service(name) => (Some(name.as_str()) == question.service).then_some(true),
        }
    }
}

impl Names {
    fn cover(&self, action: &str) -> bool {
        let any = |patterns: &[String]| {
            patterns
                .iter()
                .any(|pattern| conditions::like(&pattern.to_ascii_lowercase(), &action.to_ascii_lowercase()))
        };
        match self {
            Self::Of(patterns) => any(patterns),
            Self::AllBut(patterns) => !any(patterns),
        }
    }
}

/// `MalformedPolicyDocumentException`.
pub(super) fn malformed(why: &str) -> ApiError {
    ApiError::client("MalformedPolicyDocumentException", why)
}

fn statement(value: &Value) -> Result<Statement, ApiError> {
    let allow = match value.get("Effect").and_then(Value::as_str) {
        Some("Allow") => true,
        Some("Deny") => false,
        _ => return Err(malformed("Policy contains a statement with no or an invalid Effect")),
    };
    let principals = match (value.get("Principal"), value.get("NotPrincipal")) {
        (Some(principal), None) => Principals::Of(principals(principal)?),
        (None, Some(principal)) => Principals::AllBut(principals(principal)?),
        _ => return Err(malformed("Policy contains a statement with one or more invalid principals.")),
    };
    let actions = match (value.get("Action"), value.get("NotAction")) {
        (Some(actions), None) => Names::Of(names(actions)?),
        (None, Some(actions)) => Names::AllBut(names(actions)?),
        _ => return Err(malformed("Policy contains a statement without an Action")),
    };
    if value.get("Resource").is_none() && value.get("NotResource").is_none() {
        return Err(malformed("Policy contains a statement without a Resource"));
    }
    let conditions = value.get("Condition").cloned().unwrap_or(Value::Null);
    if !(conditions.is_null() || conditions.is_object()) {
        return Err(malformed("Policy contains a statement with an invalid Condition"));
    }
    Ok(Statement { allow, principals, actions, conditions })
}

fn names(value: &Value) -> Result<Vec<String>, ApiError> {
    let names = texts(value).ok_or_else(|| malformed("Policy contains an invalid Action"))?;
    if names.iter().all(|name| name == "*" || name.contains(':')) {
        Ok(names)
    } else {
        Err(malformed("Policy contains a statement with one or more invalid actions."))
    }
}

fn principals(value: &Value) -> Result<Vec<PrincipalPattern>, ApiError> {
    let wrong = || malformed("Policy contains a statement with one or more invalid principals.");
    if value.as_str() == Some("*") {
        return Ok(vec![PrincipalPattern::Anyone]);
    }
    let mut patterns = Vec::new();
    for (kind, names) in value.as_object().ok_or_else(wrong)? {
        for name in texts(names).ok_or_else(wrong)? {
            patterns.push(match kind.as_str() {
                "AWS" => aws_principal(&name).ok_or_else(wrong)?,
                "Service" if name.contains('.') => PrincipalPattern::Service(name),
                "Federated" | "CanonicalUser" => PrincipalPattern::Arn(name),
                _ => return Err(wrong()),
            });
        }
    }
    if patterns.is_empty() { Err(wrong()) } else { Ok(patterns) }
}

fn aws_principal(name: &str) -> Option<PrincipalPattern> {
    if name == "*" {
        return Some(PrincipalPattern::Anyone);
    }
    if name.parse::<AccountId>().is_ok() {
        return Some(PrincipalPattern::Account(name.to_owned()));
    }
    let parts: Vec<&str> = name.splitn(6, ':').collect();
    let ["arn", _, "iam" | "sts", "", account, resource] = parts.as_slice() else {
        // AWS shows the unique id of a principal that was deleted since.
        return (name.starts_with("AIDA") || name.starts_with("AROA"))
            .then(|| PrincipalPattern::Arn(name.to_owned()));
    };
    account.parse::<AccountId>().ok()?;
    if *resource == "root" {
        return Some(PrincipalPattern::Account((*account).to_owned()));
    }
    // Key policies take no wildcards inside a principal's ARN.
    (resource.contains('/') && !resource.contains('*')).then(|| PrincipalPattern::Arn(name.to_owned()))
}

/// One text or a list of texts.
fn texts(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(text) => Some(vec![text.clone()]),
        Value::Array(items) => items.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
        _ => None,
    }
}
