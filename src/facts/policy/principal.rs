//! Who a statement of a key policy is about.

use crate::model::AccountId;

/// Who a statement is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Principal {
    /// `*`: everybody, in every account.
    Anyone,
    /// An account as a whole, by its id or its root ARN: its own IAM policies decide who in it.
    Account(AccountId),
    /// A user, role or session, by ARN.
    Identity {
        /// The ARN as written.
        arn: String,
        /// The account in it.
        account: AccountId,
    },
    /// `AROA…`, `AIDA…`: what AWS leaves in a policy when the principal has been deleted.
    UniqueId(String),
    /// An AWS service, such as `logs.eu-central-1.amazonaws.com`.
    Service(String),
    /// A web identity provider that anybody may have an account with, such as `accounts.google.com`.
    WebIdentity(String),
    /// A party that is no AWS account: a canonical user, a CloudFront origin access identity.
    Party(String),
    /// What is none of these.
    Unclear(String),
}

impl Principal {
    /// The account that the principal is, or is in.
    pub fn account(&self) -> Option<&AccountId> {
        match self {
            Self::Account(account) | Self::Identity { account, .. } => Some(account),
            _ => None,
        }
    }

    /// How the principal is named in facts and messages.
    pub fn name(&self) -> String {
        match self {
            Self::Anyone => "*".to_owned(),
            Self::Account(account) => account.to_string(),
            Self::Identity { arn: name, .. }
            | Self::UniqueId(name)
            | Self::Service(name)
            | Self::WebIdentity(name)
            | Self::Party(name)
            | Self::Unclear(name) => name.clone(),
        }
    }

    /// The principal that a text under `AWS` names; also the form of a grant's grantee.
    pub fn from_aws(text: &str) -> Self {
        if text == "*" {
            return Self::Anyone;
        }
        if let Ok(account) = text.parse() {
            return Self::Account(account);
        }
        if is_unique_id(text) {
            return Self::UniqueId(text.to_owned());
        }
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        let [prefix, _, service, _, account, resource] = parts.as_slice() else {
            return Self::Unclear(text.to_owned());
        };
        if *prefix != "arn" {
            return Self::Unclear(text.to_owned());
        }
        if *service == "iam" && *account == "cloudfront" {
            return Self::Party(text.to_owned());
        }
        match account.parse() {
            Ok(account) if *resource == "root" => Self::Account(account),
            Ok(account) => Self::Identity { arn: text.to_owned(), account },
            Err(_) => Self::Unclear(text.to_owned()),
        }
    }

    /// The principal that a text under an element such as `AWS` or `Service` names; none: no such element.
    pub(super) fn from_element(element: &str, text: &str) -> Option<Self> {
        let wild = text.contains('*');
        match element {
            "AWS" => Some(Self::from_aws(text)),
            "Service" if wild => Some(Self::Unclear(text.to_owned())),
            "Service" => Some(Self::Service(text.to_owned())),
            "Federated" if text.starts_with("arn:") => Some(Self::from_aws(text)),
            "Federated" if wild => Some(Self::Unclear(text.to_owned())),
            "Federated" => Some(Self::WebIdentity(text.to_owned())),
            "CanonicalUser" => Some(Self::Party(text.to_owned())),
            _ => None,
        }
    }
}

fn is_unique_id(text: &str) -> bool {
    const PREFIXES: [&str; 7] = ["AROA", "AIDA", "AGPA", "AIPA", "ANPA", "ANVA", "ASCA"];
    text.len() >= 16
        && PREFIXES.iter().any(|prefix| text.starts_with(prefix))
        && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
}
