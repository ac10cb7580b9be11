//! Who made a call.

use std::borrow::Cow;

use crate::facts::Context;
use crate::facts::sheet::{Known, Sheet};
use crate::model::kms::{self, assumed_role};
use crate::model::{AccountId, EventRecord};

/// Who made a call, as `userIdentity` tells. Acts of AWS KMS itself have one with no `type` and no `arn`.
#[derive(Debug)]
pub(super) struct Caller<'a> {
    kind: Option<&'a str>,
    arn: Option<&'a str>,
    invoked_by: Option<&'a str>,
    principal: Option<Cow<'a, str>>,
    account: Known<Option<AccountId>>,
}

impl<'a> Caller<'a> {
    /// The caller of a record.
    pub(super) fn of(record: &'a EventRecord) -> Self {
        let field = |name| record.text(&["userIdentity", name]).filter(|text| !text.is_empty());
        let text = |path: &[&str]| record.text(path).map(Cow::Borrowed);
        let kind = field("type");
        Self {
            kind,
            arn: field("arn"),
            invoked_by: field("invokedBy"),
            principal: kms::principal(text),
            account: kms::caller_account(text),
        }
    }

    /// Writes the facts about the caller.
    pub(super) fn put(
        &self,
        sheet: &mut Sheet,
        record: &EventRecord,
        is_cryptographic: bool,
        context: &Context<'_>,
    ) {
        sheet.put_some("event.principal", self.principal.as_deref());
        sheet.put("event.by_service", self.is_service() || self.invoked_by.is_some());
        match &self.account {
            Ok(account) => {
                sheet.put_some("event.principal_account", account.as_ref().map(AccountId::as_str));
                let is_foreign = account.as_ref().is_some_and(|account| context.accounts.is_foreign(account));
                sheet.put("event.foreign_caller", is_foreign);
            }
            Err(reason) => {
                sheet.put_unknown(&["event.principal_account", "event.foreign_caller"], reason);
            }
        }
        sheet.put("event.own", !is_cryptographic && self.is_own(record, context));
    }

    fn is_service(&self) -> bool {
        self.kind == Some("AWSService") || self.kind.is_none() && self.invoked_by.is_some()
    }

    /// Whether Keyward called. Names and user agents can be borrowed, so the claim holds for the only calls that
    /// Keyward makes on keys: reads, from an account that is known.
    fn is_own(&self, record: &EventRecord, context: &Context<'_>) -> bool {
        let known_account =
            matches!(&self.account, Ok(Some(account)) if !context.accounts.is_foreign(account));
        if !known_account || !super::is_true(record, &["readOnly"]) {
            return false;
        }
        let own = context.own;
        let by_role = own.role.as_deref().is_some_and(|role| {
            let role = role.rsplit('/').next().unwrap_or(role);
            self.arn
                .and_then(assumed_role)
                .is_some_and(|(name, session)| name == role && session == own.session)
        });
        let by_agent = !own.user_agent.is_empty()
            && record.text(&["userAgent"]).is_some_and(|agent| agent.contains(&own.user_agent));
        by_role || by_agent
    }
}
