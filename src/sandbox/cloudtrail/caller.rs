//! Who called, as records tell it.

use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use crate::sandbox::call::{Call, Principal};
use crate::sandbox::ids::Ids;

/// The caller's side of a record.
#[derive(Debug)]
pub(super) struct Caller {
    /// `userIdentity` in the caller's own account.
    pub(super) identity: Value,
    /// `userIdentity` in the account of somebody else's key: names and ARNs stay at home.
    pub(super) abroad: Value,
    pub(super) username: Option<Arc<str>>,
    pub(super) access_key: Option<Arc<str>>,
    /// `sourceIPAddress`.
    pub(super) source: String,
    /// `userAgent`.
    pub(super) agent: String,
}

impl Caller {
    /// The caller of a call; `began` is when its session began.
    pub(super) fn of(call: &Call, began: DateTime<Utc>) -> Self {
        let (account, arn) = (call.account.as_str(), call.principal_arn());
        let (source, agent) = (call.source_ip.to_string(), call.user_agent.clone());
        let (kind, principal_id, username) = match &call.principal {
            Principal::Service { name } => return Self::service(name, account),
            Principal::Root => ("Root", account.to_owned(), "root"),
            Principal::User { name } => ("IAMUser", unique_id("AIDA", &arn), name.as_str()),
            Principal::AssumedRole { session, .. } => {
                let issuer = unique_id("AROA", &call.role_arn().unwrap_or_default());
                ("AssumedRole", format!("{issuer}:{session}"), session.as_str())
            }
        };
        let access_key = call.access_key.clone().unwrap_or_else(|| made_up_access_key(kind, &arn));
        let mut identity = json!({
            "type": kind,
            "principalId": principal_id,
            "arn": arn,
            "accountId": account,
            "accessKeyId": access_key,
        });
        if let Some((name, value)) = particulars(call, began)
            && let Some(members) = identity.as_object_mut()
        {
            members.insert(name.to_owned(), value);
        }
        let abroad = json!({ "type": "AWSAccount", "principalId": principal_id, "accountId": account });
        Self {
            identity,
            abroad,
            username: Some(username.into()),
            access_key: Some(access_key.into()),
            source,
            agent,
        }
    }

    fn service(name: &str, account: &str) -> Self {
        let identity = json!({ "type": "AWSService", "invokedBy": name });
        let abroad = json!({ "type": "AWSService", "accountId": account, "invokedBy": name });
        Self {
            identity,
            abroad,
            username: None,
            access_key: None,
            source: name.to_owned(),
            agent: name.to_owned(),
        }
    }

    /// What KMS itself does elsewhere for this caller's call.
    pub(super) fn through_kms(&self) -> Self {
        const KMS: &str = "kms.amazonaws.com";
        let mut identity = self.identity.clone();
        if let Some(members) = identity.as_object_mut() {
            members.insert("invokedBy".to_owned(), json!(KMS));
        }
        Self {
            identity,
            abroad: self.abroad.clone(),
            username: self.username.clone(),
            access_key: self.access_key.clone(),
            source: KMS.to_owned(),
            agent: KMS.to_owned(),
        }
    }

    /// AWS itself, without anybody's call.
    pub(super) fn aws(account: &str) -> Self {
        const INTERNAL: &str = "AWS Internal";
        let identity = json!({ "accountId": account, "invokedBy": INTERNAL });
        Self {
            abroad: identity.clone(),
            identity,
            username: None,
            access_key: None,
            source: INTERNAL.to_owned(),
            agent: INTERNAL.to_owned(),
        }
    }
}

/// What the identity of a user or a role has besides.
fn particulars(call: &Call, began: DateTime<Utc>) -> Option<(&'static str, Value)> {
    match &call.principal {
        Principal::User { name } => Some(("userName", json!(name))),
        Principal::AssumedRole { role, .. } => {
            let arn = call.role_arn().unwrap_or_default();
            let context = json!({
                "sessionIssuer": {
                    "type": "Role",
                    "principalId": unique_id("AROA", &arn),
                    "arn": arn,
                    "accountId": call.account.as_str(),
                    "userName": role,
                },
                "attributes": {
                    "creationDate": began.to_rfc3339_opts(SecondsFormat::Secs, true),
                    "mfaAuthenticated": "false",
                },
            });
            Some(("sessionContext", context))
        }
        Principal::Root | Principal::Service { .. } => None,
    }
}

/// The access key of somebody who calls from inside the process, always the same for the same caller.
fn made_up_access_key(kind: &str, arn: &str) -> String {
    let prefix = if kind == "AssumedRole" { "ASIA" } else { "AKIA" };
    format!("{prefix}{}", Ids::new(&format!("access key of {arn}")).upper(16))
}

/// The unique id of an IAM principal, always the same for the same ARN.
fn unique_id(kind: &str, arn: &str) -> String {
    format!("{kind}{}", Ids::new(&format!("unique id of {arn}")).upper(17))
}
