//! Which accounts are audited, and what is known of the organization around them.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_organizations::types::{Account, AccountState, AccountStatus};

use super::api::{Api, GET_CALLER_IDENTITY, LIST_ACCOUNTS, LIST_PARENTS};
use super::clients::Clients;
use super::outcome::Failure;
use super::readings::Readings;
use crate::config;
use crate::model::{AccountId, Observed, Region};

/// The deepest nesting of organizational units is five; anything beyond is a loop in the answers.
const MAX_OU_DEPTH: usize = 10;

/// Who Keyward is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The account of Keyward's own credentials.
    pub account: AccountId,
    /// The partition, as in ARNs.
    pub partition: String,
    /// The ARN of the caller.
    pub arn: String,
    /// The name of the role, if the caller is a role's session.
    pub role: Option<String>,
    /// The pseudo-Region that stands for an account as a whole: `aws-global`. An account whose role cannot
    /// be assumed is reported under it; what was stored under it has to go once the account has targets.
    pub global_region: Region,
}

/// An account that is to be audited.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct AuditedAccount {
    /// Its id.
    pub id: AccountId,
    /// Its name in the organization.
    pub name: Option<String>,
}

/// The accounts, and what the organization tells of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AccountList {
    pub(crate) audited: Vec<AuditedAccount>,
    /// Every account of the organization, whatever its state; not applicable unless it was asked for.
    pub(crate) organization: Observed<BTreeSet<AccountId>>,
    /// The organization's id, `o-…`, as the ARNs of its accounts have it.
    pub(crate) organization_id: Option<String>,
    /// The organizational units above each account, at any depth.
    pub(crate) ous: BTreeMap<AccountId, Vec<String>>,
}

/// Asks STS who Keyward is.
pub(crate) async fn caller(clients: &Clients, readings: &Readings) -> Result<Caller, Failure> {
    let api = GET_CALLER_IDENTITY;
    let answer = clients.sts().get_caller_identity().send().await;
    let answer = answer.map_err(|error| Failure::of(api, &error))?;
    let caller = parse_caller(answer.account(), answer.arn())
        .ok_or_else(|| Failure::unusable(api, "the answer has no account id or no ARN", None))?;
    readings.record(&caller.account, None, api, None);
    Ok(caller)
}

fn parse_caller(account: Option<&str>, arn: Option<&str>) -> Option<Caller> {
    let (account, arn) = (account?.parse().ok()?, arn?);
    let partition = arn.strip_prefix("arn:")?.split(':').next()?.to_owned();
    let role = arn.split_once(":assumed-role/").and_then(|(_, rest)| rest.split('/').next());
    let global_region = format!("{partition}-global").parse().ok()?;
    Some(Caller { account, partition, role: role.map(str::to_owned), arn: arn.to_owned(), global_region })
}

/// The accounts that the configuration names: the static ones, those of the organization, or the caller's.
pub(crate) async fn list(
    clients: &Clients,
    caller: &Caller,
    config: &config::Accounts,
    with_ous: bool,
    readings: &Readings,
) -> AccountList {
    let mut audited: BTreeMap<AccountId, Option<String>> =
        config.fixed.iter().map(|account| (account.clone(), None)).collect();
    let mut organization = Observed::NotApplicable;
    let mut ous = BTreeMap::new();
    let mut organization_id = None;
    if config.organization {
        let members = Organization { clients, caller, readings };
        let (accounts, failure) = members.accounts().await;
        for account in accounts.iter().filter(|account| is_active(account)) {
            if let Some(id) = id_of(account) {
                audited.insert(id, account.name().map(str::to_owned));
            }
        }
        organization_id = accounts.iter().find_map(|account| organization_in_arn(account.arn()?));
        if with_ous {
            ous = members.ous(&accounts).await;
        }
        organization = match failure {
            Some(failure) => Observed::Unknown(failure.gap()),
            None => Observed::Known(accounts.iter().filter_map(id_of).collect()),
        };
    }
    if audited.is_empty() {
        audited.insert(caller.account.clone(), None);
    }
    let audited = audited.into_iter().map(|(id, name)| AuditedAccount { id, name }).collect();
    AccountList { audited, organization, organization_id, ous }
}

/// The organization's id in an account's ARN: `arn:aws:organizations::111122223333:account/o-abc/444455556666`.
fn organization_in_arn(arn: &str) -> Option<String> {
    let (_, path) = arn.split_once(":account/")?;
    path.split('/').next().filter(|id| id.starts_with("o-")).map(str::to_owned)
}

fn id_of(account: &Account) -> Option<AccountId> {
    account.id()?.parse().ok()
}

/// Whether an account can be used. `Status` was retired in September 2026 in favour of `State`; where an
/// older stand-in gives only the former, that counts.
fn is_active(account: &Account) -> bool {
    match (account.state(), account.status()) {
        (Some(state), _) => *state == AccountState::Active,
        (None, Some(status)) => *status == AccountStatus::Active,
        (None, None) => false,
    }
}

/// The organization that the caller may list.
struct Organization<'a> {
    clients: &'a Clients,
    caller: &'a Caller,
    readings: &'a Readings,
}

impl Organization<'_> {
    /// Every account, and why the list ends early if it does.
    async fn accounts(&self) -> (Vec<Account>, Option<Failure>) {
        let client = self.clients.organizations(&self.caller.partition);
        let (mut accounts, mut token) = (Vec::new(), None);
        loop {
            let page = client.list_accounts().set_next_token(token.take()).send().await;
            let page = page.map_err(|error| Failure::of(LIST_ACCOUNTS, &error));
            self.record(LIST_ACCOUNTS, page.as_ref().err());
            let page = match page {
                Ok(page) => page,
                Err(failure) => return (accounts, Some(failure)),
            };
            accounts.extend(page.accounts.unwrap_or_default());
            // A page may be empty and still have a token.
            token = page.next_token.filter(|token| !token.is_empty());
            if token.is_none() {
                return (accounts, None);
            }
        }
    }

    /// The organizational units above each account: from the list itself where it tells, else asked for
    /// upwards one by one.
    async fn ous(&self, accounts: &[Account]) -> BTreeMap<AccountId, Vec<String>> {
        let client = self.clients.organizations(&self.caller.partition);
        let mut parents = BTreeMap::new();
        let mut ous = BTreeMap::new();
        for account in accounts {
            let Some(id) = id_of(account) else { continue };
            let told = ous_in_paths(account.paths());
            let above =
                if told.is_empty() { self.climb(&client, &id, &mut parents).await } else { Some(told) };
            if let Some(above) = above {
                ous.insert(id, above);
            }
        }
        ous
    }

    async fn climb(
        &self,
        client: &aws_sdk_organizations::Client,
        account: &AccountId,
        parents: &mut BTreeMap<String, String>,
    ) -> Option<Vec<String>> {
        let mut above = Vec::new();
        let mut child = account.to_string();
        while above.len() < MAX_OU_DEPTH {
            let parent = match parents.get(&child) {
                Some(parent) => parent.clone(),
                None => self.parent(client, &child).await?,
            };
            parents.insert(child, parent.clone());
            if !parent.starts_with("ou-") {
                break;
            }
            above.push(parent.clone());
            child = parent;
        }
        Some(above)
    }

    async fn parent(&self, client: &aws_sdk_organizations::Client, child: &str) -> Option<String> {
        let answer = client.list_parents().child_id(child).send().await;
        let answer = answer.map_err(|error| Failure::of(LIST_PARENTS, &error));
        self.record(LIST_PARENTS, answer.as_ref().err());
        answer.ok()?.parents().first()?.id().map(str::to_owned)
    }

    fn record(&self, api: Api, failure: Option<&Failure>) {
        self.readings.record(&self.caller.account, None, api, failure);
    }
}

/// The organizational units in paths such as `o-a1b2c3/r-ab12/ou-ab12-11111111/111122223333/`.
fn ous_in_paths(paths: &[String]) -> Vec<String> {
    let segments = paths.iter().flat_map(|path| path.split('/'));
    let ous: BTreeSet<&str> = segments.filter(|segment| segment.starts_with("ou-")).collect();
    ous.into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{FakeAws, WireCall, ok};
    use super::*;
    use crate::model::{Gap, ReadingResult};

    fn caller_of(account: &str) -> Caller {
        parse_caller(Some(account), Some("arn:aws:iam::111122223333:root")).unwrap()
    }

    #[test]
    fn a_caller_is_read_from_its_arn_in_any_partition() {
        let arn = "arn:aws-cn:sts::111122223333:assumed-role/Auditor/session-1";
        let caller = parse_caller(Some("111122223333"), Some(arn)).unwrap();
        assert_eq!((caller.partition.as_str(), caller.role.as_deref()), ("aws-cn", Some("Auditor")));
        assert_eq!(caller_of("111122223333").role, None);
        assert_eq!(parse_caller(Some("1"), Some(arn)), None);
    }

    #[test]
    fn the_organization_is_known_by_the_arns_of_its_accounts() {
        let arn = "arn:aws:organizations::111122223333:account/o-abc123/444455556666";
        assert_eq!(organization_in_arn(arn).as_deref(), Some("o-abc123"));
        assert_eq!(organization_in_arn("arn:aws:iam::111122223333:root"), None);
    }

    #[test]
    fn units_are_found_in_paths_once() {
        let paths = ["o-1/r-1/ou-a/ou-b/111122223333/".to_owned(), "o-1/r-1/ou-a/".to_owned()];
        assert_eq!(ous_in_paths(&paths), ["ou-a", "ou-b"]);
    }

    #[tokio::test]
    async fn an_organization_is_paged_through_and_only_active_accounts_are_audited() {
        let aws = FakeAws::start(|call| match (call.operation.as_str(), call.token()) {
            ("ListAccounts", None) => ok(&json!({ "Accounts": [], "NextToken": "2" })),
            ("ListAccounts", Some("2")) => ok(&json!({ "NextToken": "3", "Accounts": [
                { "Id": "111122223333", "Name": "audit", "State": "ACTIVE", "Status": "SUSPENDED" },
                { "Id": "222233334444", "Name": "old", "State": "SUSPENDED", "Status": "ACTIVE" },
            ]})),
            ("ListAccounts", Some("3")) => ok(&json!({ "Accounts": [
                { "Id": "333344445555", "Name": "stand-in", "Status": "ACTIVE" },
            ]})),
            ("ListParents", _) => ok(&match call.input["ChildId"].as_str().unwrap() {
                "ou-inner" => json!({ "Parents": [{ "Id": "ou-outer", "Type": "ORGANIZATIONAL_UNIT" }] }),
                "ou-outer" => json!({ "Parents": [{ "Id": "r-root", "Type": "ROOT" }] }),
                _ => json!({ "Parents": [{ "Id": "ou-inner", "Type": "ORGANIZATIONAL_UNIT" }] }),
            }),
            _ => call.unexpected(),
        })
        .await;
        let config = config::Accounts { organization: true, ..config::Accounts::default() };
        let readings = Readings::default();
        let list = list(&aws.clients().await, &caller_of("111122223333"), &config, true, &readings).await;
        let audited: Vec<_> = list.audited.iter().map(|account| account.id.as_str()).collect();
        assert_eq!(audited, ["111122223333", "333344445555"]);
        assert_eq!(list.organization.known().unwrap().len(), 3);
        assert_eq!(list.ous[&"333344445555".parse().unwrap()], ["ou-inner", "ou-outer"]);
        assert_eq!(aws.calls("ListParents"), 5, "a unit's parent is asked for once");
    }

    #[tokio::test]
    async fn an_organization_that_may_not_be_listed_leaves_the_callers_account_and_a_reading() {
        let aws = FakeAws::start(|call| call.error(400, "AccessDeniedException")).await;
        let config = config::Accounts { organization: true, ..config::Accounts::default() };
        let readings = Readings::default();
        let list = list(&aws.clients().await, &caller_of("111122223333"), &config, false, &readings).await;
        assert_eq!(list.audited, [AuditedAccount { id: "111122223333".parse().unwrap(), name: None }]);
        let gap = Gap { api: "organizations:ListAccounts".to_owned(), result: ReadingResult::Denied };
        assert_eq!(list.organization, Observed::Unknown(gap));
        let reading = &readings.finish(crate::clock::now())[0];
        assert_eq!((reading.result, reading.failed), (ReadingResult::Denied, 1));
    }

    #[tokio::test]
    async fn static_accounts_are_audited_and_nothing_else_is_asked() {
        let aws = FakeAws::start(WireCall::unexpected).await;
        let fixed = vec!["222233334444".parse().unwrap(), "111122223333".parse().unwrap()];
        let config = config::Accounts { fixed, ..config::Accounts::default() };
        let readings = Readings::default();
        let list = list(&aws.clients().await, &caller_of("111122223333"), &config, true, &readings).await;
        assert_eq!(list.audited.len(), 2);
        assert_eq!(list.organization, Observed::NotApplicable);
        assert!(aws.log().is_empty());
    }
}
