//! What facts are judged against: the atlas, the configuration, the known accounts, Keyward's own identity.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

use crate::config::AuditPolicy;
use crate::jurisdiction::{Assignments, Atlas};
use crate::model::AccountId;

/// Everything beside the observations that facts depend on. The same observations in the same context give
/// the same facts.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// Regions, countries, boundaries.
    pub atlas: &'a Atlas,
    /// Which key set has to stay in which boundary.
    pub assignments: &'a Assignments,
    /// What this organization has decided.
    pub policy: &'a AuditPolicy,
    /// Which accounts are known.
    pub accounts: &'a AccountScope,
    /// How Keyward itself shows in CloudTrail.
    pub own: &'a OwnIdentity,
    /// The time of the batch that is judged.
    pub now: DateTime<Utc>,
}

impl Context<'_> {
    /// The day on which memberships and boundaries are asked about.
    pub fn today(&self) -> NaiveDate {
        self.now.date_naive()
    }
}

/// Which accounts are known, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountScope {
    /// The accounts that Keyward audits.
    pub audited: BTreeSet<AccountId>,
    /// The accounts of their organization.
    pub organization: BTreeSet<AccountId>,
    /// The organization's id, `o-…`; none: not known, and then no organization in a policy can be told from
    /// a foreign one.
    pub organization_id: Option<String>,
    /// Accounts that `accounts.trusted` allows.
    pub trusted: BTreeSet<AccountId>,
    /// The organizational units of each account, at any depth; an account that is missing has none known.
    pub ous: BTreeMap<AccountId, Vec<String>>,
}

impl AccountScope {
    /// Whether an account is outside the audited ones, their organization and the trusted ones.
    pub fn is_foreign(&self, account: &AccountId) -> bool {
        !self.audited.contains(account)
            && !self.organization.contains(account)
            && !self.trusted.contains(account)
    }
}

/// How Keyward itself shows in CloudTrail records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnIdentity {
    /// The name (or ARN) of the role that it assumes, if it assumes one.
    pub role: Option<String>,
    /// The role session name that it uses.
    pub session: String,
    /// What its user agent contains.
    pub user_agent: String,
}

impl Default for OwnIdentity {
    fn default() -> Self {
        Self { role: None, session: "keyward".to_owned(), user_agent: "app/keyward".to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_that_nobody_knows_is_foreign() {
        let id = |text: &str| text.parse::<AccountId>().unwrap();
        let scope = AccountScope {
            audited: BTreeSet::from([id("111111111111")]),
            organization: BTreeSet::from([id("222222222222")]),
            trusted: BTreeSet::from([id("333333333333")]),
            ..AccountScope::default()
        };
        for known in ["111111111111", "222222222222", "333333333333"] {
            assert!(!scope.is_foreign(&id(known)), "{known}");
        }
        assert!(scope.is_foreign(&id("444444444444")));
    }
}
