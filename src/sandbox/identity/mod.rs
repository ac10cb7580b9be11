//! Users, roles and sessions: IAM as far as STS and permissions need it.
//!
//! Policies are lists of action patterns; resources and conditions are not modelled. A principal that was
//! not seeded may do everything that its account may.

mod permissions;
mod sts;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

pub use permissions::{Decision, Permissions};
pub use sts::handle;

use super::call::{ApiError, Call, Principal};
use crate::model::AccountId;

/// The secret of every account's root credentials, whose access key is the account id.
pub const ROOT_SECRET: &str = "test";

/// A role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// Its name.
    pub name: String,
    /// Who may assume it: account ids, or principals' ARNs.
    pub trusted: Vec<String>,
    /// The external id that its trust policy asks for.
    pub external_id: Option<String>,
    /// What its sessions may do.
    pub permissions: Permissions,
    /// The longest session, in seconds.
    pub max_session_secs: i64,
}

impl Role {
    /// A role that an account may assume for an hour, and that may do everything.
    pub fn new(name: &str, trusted: &AccountId) -> Self {
        Self {
            name: name.to_owned(),
            trusted: vec![trusted.to_string()],
            external_id: None,
            permissions: Permissions::default(),
            max_session_secs: 3600,
        }
    }
}

/// A user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// What the user may do.
    pub permissions: Permissions,
    /// The access key's id, `AKIA…`.
    pub access_key: String,
}

/// A session of a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The role's account.
    pub account: AccountId,
    /// The role's name.
    pub role: String,
    /// The session's name.
    pub session: String,
    /// When it began.
    pub created: DateTime<Utc>,
    /// When it ends.
    pub expires: DateTime<Utc>,
    /// The token that has to come with the access key.
    pub token: String,
}

/// Every account's users and roles, and the sessions.
#[derive(Debug, Default)]
pub struct State {
    roles: BTreeMap<(AccountId, String), Role>,
    users: BTreeMap<(AccountId, String), User>,
    sessions: BTreeMap<String, Session>,
}

/// Why credentials are not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthError {
    /// There is no such access key, or the token does not belong to it.
    Unknown,
    /// The session is over.
    Expired,
}

impl State {
    /// Creates or replaces a role.
    pub fn put_role(&mut self, account: &AccountId, role: Role) {
        self.roles.insert((account.clone(), role.name.clone()), role);
    }

    /// A role, to be changed.
    pub fn role_mut(&mut self, account: &AccountId, name: &str) -> Option<&mut Role> {
        self.roles.get_mut(&(account.clone(), name.to_owned()))
    }

    /// Creates or replaces a user; gives its access key's id, which begins with `AKIA`. Any secret will do.
    pub fn put_user(&mut self, account: &AccountId, name: &str, permissions: Permissions) -> String {
        let mut ids = super::ids::Ids::new(&format!("user {account} {name}"));
        let access_key = format!("AKIA{}", ids.upper(16));
        let user = User { permissions, access_key: access_key.clone() };
        self.users.insert((account.clone(), name.to_owned()), user);
        access_key
    }

    /// The session of an access key.
    pub fn session(&self, access_key: &str) -> Option<&Session> {
        self.sessions.get(access_key)
    }

    /// Who an access key stands for.
    ///
    /// # Errors
    ///
    /// If there is no such key, or its session is over.
    pub fn authenticate(
        &self,
        access_key: &str,
        token: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<(AccountId, Principal), AuthError> {
        if let Ok(account) = access_key.parse::<AccountId>() {
            return Ok((account, Principal::Root));
        }
        if let Some(session) = self.sessions.get(access_key) {
            if token != Some(session.token.as_str()) {
                return Err(AuthError::Unknown);
            }
            if session.expires <= now {
                return Err(AuthError::Expired);
            }
            let (role, name) = (session.role.clone(), session.session.clone());
            return Ok((session.account.clone(), Principal::AssumedRole { role, session: name }));
        }
        self.users
            .iter()
            .find(|(_, user)| user.access_key == access_key)
            .map(|((account, name), _)| (account.clone(), Principal::User { name: name.clone() }))
            .ok_or(AuthError::Unknown)
    }

    /// What the caller's own permissions say about a call.
    pub fn decision(&self, call: &Call) -> Decision {
        // AWS: no permissions are needed for it, and none can be taken away.
        if call.service == "sts" && call.operation == "GetCallerIdentity" {
            return Decision::Allowed;
        }
        let key = |name: &String| (call.account.clone(), name.clone());
        let permissions = match &call.principal {
            Principal::Root | Principal::Service { .. } => None,
            Principal::User { name } => self.users.get(&key(name)).map(|user| &user.permissions),
            Principal::AssumedRole { role, .. } => self.roles.get(&key(role)).map(|role| &role.permissions),
        };
        permissions.map_or(Decision::Allowed, |permissions| permissions.decide(&call.action()))
    }
}

/// The error of a caller who may not, as the call's service writes it.
pub fn denied(call: &Call, decision: Decision, resource: Option<&str>) -> ApiError {
    let (status, code) = match call.service.as_str() {
        "sts" | "s3" => (403, "AccessDenied"),
        "sns" => (403, "AuthorizationError"),
        "account" => (403, "AccessDeniedException"),
        _ => (400, "AccessDeniedException"),
    };
    let on = resource.map(|resource| format!(" on resource: {resource}")).unwrap_or_default();
    let why = if decision == Decision::Denied {
        "with an explicit deny in an identity-based policy".to_owned()
    } else {
        format!("because no identity-based policy allows the {} action", call.action())
    };
    let message =
        format!("User: {} is not authorized to perform: {}{on} {why}", call.principal_arn(), call.action());
    ApiError { status, code: code.to_owned(), message }
}

#[cfg(test)]
mod tests;
