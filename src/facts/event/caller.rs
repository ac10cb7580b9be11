//! Who made a call.

use crate::facts::Context;
use crate::facts::sheet::{Known, Sheet};
use crate::model::{AccountId, EventRecord};

/// Who made a call, as `userIdentity` tells. Acts of AWS KMS itself have one with no `type` and no `arn`.
#[derive(Debug)]
pub(super) struct Caller<'a> {
    kind: Option<&'a str>,
    arn: Option<&'a str>,
    invoked_by: Option<&'a str>,
    principal: Option<String>,
    account: Known<Option<AccountId>>,
}

impl<'a> Caller<'a> {
    /// The caller of a record.
    pub(super) fn of(record: &'a EventRecord) -> Self {
        let field = |name| record.text(&["userIdentity", name]).filter(|text| !text.is_empty());
        let kind = field("type");
        Self {
            kind,
            arn: field("arn"),
            invoked_by: field("invokedBy"),
            principal: principal(record),
            account: account(record, kind),
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

/// Role name and session name of `arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION`.
fn assumed_role(arn: &str) -> Option<(&str, &str)> {
    arn.splitn(6, ':').nth(5)?.strip_prefix("assumed-role/")?.split_once('/')
}

/// Who called, with sessions folded to their role, so that one role is one principal.
fn principal(record: &EventRecord) -> Option<String> {
    let field = |name| record.text(&["userIdentity", name]).filter(|text| !text.is_empty());
    if field("type") == Some("AWSService") {
        return field("invokedBy").or_else(|| record.text(&["sourceIPAddress"])).map(str::to_owned);
    }
    if let Some(arn) = field("arn") {
        return Some(folded(arn, record));
    }
    // In the key owner's log a caller of another account may have no more than a unique id and a session.
    let by_id = field("principalId").map(|id| id.split(':').next().unwrap_or(id));
    by_id.or(field("userName")).or(field("invokedBy")).or(field("accountId")).map(str::to_owned)
}

fn folded(arn: &str, record: &EventRecord) -> String {
    let Some((role, _)) = assumed_role(arn) else { return arn.to_owned() };
    // The issuer's ARN has the role's path, which the session's lacks.
    if let Some(issuer) = record.text(&["userIdentity", "sessionContext", "sessionIssuer", "arn"])
        && issuer.contains(":role/")
    {
        return issuer.to_owned();
    }
    let mut parts = arn.split(':');
    let partition = parts.nth(1).unwrap_or("aws");
    let account = parts.nth(2).unwrap_or_default();
    format!("arn:{partition}:iam::{account}:role/{role}")
}

/// The caller's account; an AWS service that calls for itself has none.
fn account(record: &EventRecord, kind: Option<&str>) -> Known<Option<AccountId>> {
    if kind == Some("AWSService") {
        return Ok(None);
    }
    let direct = record.text(&["userIdentity", "accountId"]);
    let issuer = record.text(&["userIdentity", "sessionContext", "sessionIssuer", "accountId"]);
    let in_arn = record.text(&["userIdentity", "arn"]).and_then(|arn| arn.split(':').nth(4));
    let found = [direct, in_arn, issuer].into_iter().flatten().find_map(|text| text.parse().ok());
    found.map(Some).ok_or_else(|| "the record names no account of the caller".to_owned())
}
