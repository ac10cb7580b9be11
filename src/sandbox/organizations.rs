//! AWS Organizations: accounts and organizational units, as the management account sees them.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::World;
use super::call::{Answer, ApiError, Call};
use super::paging;
use super::world::unknown_operation;
use crate::model::AccountId;

/// AWS's largest page.
const PAGE: usize = 20;

/// An organization.
#[derive(Debug, Clone)]
pub struct Organization {
    /// Its id, `o-…`.
    pub id: String,
    /// The account that manages it, which is one of the members.
    pub management: AccountId,
    /// Accounts that may read it beside the management account.
    pub delegated: BTreeSet<AccountId>,
    members: BTreeMap<AccountId, Member>,
    units: BTreeMap<String, Unit>,
}

#[derive(Debug, Clone)]
struct Member {
    name: String,
    state: String,
    joined: DateTime<Utc>,
    parent: String,
}

#[derive(Debug, Clone)]
struct Unit {
    name: String,
    parent: String,
}

impl Organization {
    /// An organization of one account.
    pub fn new(id: &str, management: &AccountId, name: &str, now: DateTime<Utc>) -> Self {
        let mut organization = Self {
            id: id.to_owned(),
            management: management.clone(),
            delegated: BTreeSet::new(),
            members: BTreeMap::new(),
            units: BTreeMap::new(),
        };
        let root = organization.root_id();
        organization.add_account(management, name, &root, now);
        organization
    }

    /// The id of its root.
    pub fn root_id(&self) -> String {
        format!("r-{}", self.short())
    }

    fn short(&self) -> String {
        self.id.trim_start_matches("o-").chars().take(4).collect()
    }

    /// Adds an organizational unit below the root or another unit; gives its id, `ou-…`.
    pub fn add_unit(&mut self, name: &str, parent: &str) -> String {
        let id = format!("ou-{}-{:08}", self.short(), self.units.len() + 1);
        self.units.insert(id.clone(), Unit { name: name.to_owned(), parent: parent.to_owned() });
        id
    }

    /// Adds an active account below the root or a unit.
    pub fn add_account(&mut self, account: &AccountId, name: &str, parent: &str, now: DateTime<Utc>) {
        let member = Member {
            name: name.to_owned(),
            state: "ACTIVE".to_owned(),
            joined: now,
            parent: parent.to_owned(),
        };
        self.members.insert(account.clone(), member);
    }

    /// Sets an account's state: `ACTIVE`, `SUSPENDED`, `PENDING_CLOSURE`, `CLOSED`, `PENDING_ACTIVATION`.
    pub fn set_state(&mut self, account: &AccountId, state: &str) {
        if let Some(member) = self.members.get_mut(account) {
            state.clone_into(&mut member.state);
        }
    }

    fn arn(&self, partition: &str, resource: &str) -> String {
        format!("arn:{partition}:organizations::{}:{resource}", self.management)
    }

    fn account_json(&self, partition: &str, id: &AccountId, member: &Member) -> Value {
        // `Status` is the older field and knows fewer states.
        let status = match member.state.as_str() {
            "ACTIVE" | "PENDING_CLOSURE" => member.state.as_str(),
            _ => "SUSPENDED",
        };
        json!({
            "Id": id.as_str(),
            "Arn": self.arn(partition, &format!("account/{}/{id}", self.id)),
            "Email": email(&member.name),
            "Name": member.name,
            "Status": status,
            "State": member.state,
            "JoinedMethod": if *id == self.management { "INVITED" } else { "CREATED" },
            "JoinedTimestamp": member.joined.timestamp(),
        })
    }

    fn describe(&self, partition: &str) -> Value {
        let management = &self.management;
        json!({ "Organization": {
            "Id": self.id,
            "Arn": self.arn(partition, &format!("organization/{}", self.id)),
            "FeatureSet": "ALL",
            "MasterAccountArn": self.arn(partition, &format!("account/{}/{management}", self.id)),
            "MasterAccountId": management.as_str(),
            "MasterAccountEmail": self.members.get(management).map(|member| email(&member.name)),
            "AvailablePolicyTypes": [],
        }})
    }

    fn accounts(&self, partition: &str, parent: Option<&str>) -> Vec<Value> {
        let wanted = |member: &Member| parent.is_none_or(|parent| member.parent == parent);
        let members = self.members.iter().filter(|(_, member)| wanted(member));
        members.map(|(id, member)| self.account_json(partition, id, member)).collect()
    }

    fn units(&self, partition: &str, parent: &str) -> Vec<Value> {
        let children = self.units.iter().filter(|(_, unit)| unit.parent == parent);
        let to_json = |(id, unit): (&String, &Unit)| json!({ "Id": id, "Arn": self.arn(partition, &format!("ou/{}/{id}", self.id)), "Name": unit.name });
        children.map(to_json).collect()
    }

    fn parent_of(&self, child: &str) -> Option<&str> {
        let of_account = child.parse().ok().and_then(|id: AccountId| self.members.get(&id));
        let of_unit = || self.units.get(child).map(|unit| unit.parent.as_str());
        of_account.map(|member| member.parent.as_str()).or_else(of_unit)
    }
}

/// Every organization.
#[derive(Debug, Default)]
pub struct State {
    organizations: Vec<Organization>,
}

impl State {
    /// Adds an organization.
    pub fn add(&mut self, organization: Organization) {
        self.organizations.push(organization);
    }

    /// The organization that an account is in.
    pub fn of(&self, account: &AccountId) -> Option<&Organization> {
        self.organizations.iter().find(|organization| organization.members.contains_key(account))
    }

    /// The same, to be changed.
    pub fn of_mut(&mut self, account: &AccountId) -> Option<&mut Organization> {
        self.organizations.iter_mut().find(|organization| organization.members.contains_key(account))
    }
}

/// Answers a call to Organizations.
///
/// # Errors
///
/// As AWS: `AWSOrganizationsNotInUseException` outside an organization, `AccessDeniedException` from member
/// accounts (all but `DescribeOrganization`), `InvalidInputException`, `ParentNotFoundException`,
/// `ChildNotFoundException`.
pub fn handle(world: &mut World, call: &Call) -> Answer {
    let Some(organization) = world.organizations.of(&call.account) else {
        let message = "Your account is not a member of an organization.";
        return Err(ApiError::client("AWSOrganizationsNotInUseException", message));
    };
    if call.operation == "DescribeOrganization" {
        return Ok(organization.describe(&call.partition));
    }
    if call.account != organization.management && !organization.delegated.contains(&call.account) {
        let message = "You don't have permissions to access this resource.";
        return Err(ApiError::client("AccessDeniedException", message));
    }
    match call.operation.as_str() {
        "ListAccounts" => paged(call, "Accounts", organization.accounts(&call.partition, None)),
        "ListAccountsForParent" => {
            let parent = known_parent(organization, call)?;
            paged(call, "Accounts", organization.accounts(&call.partition, Some(parent)))
        }
        "ListOrganizationalUnitsForParent" => {
            let parent = known_parent(organization, call)?;
            paged(call, "OrganizationalUnits", organization.units(&call.partition, parent))
        }
        "ListRoots" => {
            let id = organization.root_id();
            let arn = organization.arn(&call.partition, &format!("root/{}/{id}", organization.id));
            let root = json!({ "Id": id, "Arn": arn, "Name": "Root", "PolicyTypes": [] });
            paged(call, "Roots", vec![root])
        }
        "ListParents" => list_parents(organization, call),
        _ => Err(unknown_operation(call)),
    }
}

fn list_parents(organization: &Organization, call: &Call) -> Answer {
    let child = call.text("ChildId").unwrap_or_default();
    let parent = organization.parent_of(child).ok_or_else(|| {
        ApiError::client("ChildNotFoundException", "You specified a child that doesn't exist.")
    })?;
    let kind = if parent == organization.root_id() { "ROOT" } else { "ORGANIZATIONAL_UNIT" };
    paged(call, "Parents", vec![json!({ "Id": parent, "Type": kind })])
}

fn known_parent<'a>(organization: &Organization, call: &'a Call) -> Result<&'a str, ApiError> {
    let parent = call.text("ParentId").unwrap_or_default();
    if parent == organization.root_id() || organization.units.contains_key(parent) {
        return Ok(parent);
    }
    Err(ApiError::client("ParentNotFoundException", "You specified parent that doesn't exist."))
}

fn paged(call: &Call, member: &str, items: Vec<Value>) -> Answer {
    let invalid = |message: &str| ApiError::client("InvalidInputException", message);
    let size = match call.integer("MaxResults") {
        None => PAGE,
        Some(size) => usize::try_from(size)
            .ok()
            .filter(|size| (1..=PAGE).contains(size))
            .ok_or_else(|| invalid("You specified an invalid value."))?,
    };
    let list = format!("{} {} {:?}", call.account, call.operation, call.text("ParentId"));
    let page = paging::page(&list, items, call.text("NextToken"), size)
        .map_err(|_| invalid("You specified an invalid value."))?;
    Ok(json!({ member: page.items, "NextToken": page.next }))
}

fn email(account_name: &str) -> String {
    format!("aws+{account_name}@example.com")
}

#[cfg(test)]
mod tests {
    use aws_sdk_organizations::Client;
    use aws_sdk_organizations::types::{AccountState, AccountStatus, ParentType};

    use super::*;
    use crate::sandbox::Sandbox;
    use crate::sandbox::testing::{account, code, other_account, root, sdk, start, world};

    fn member(number: u64) -> AccountId {
        format!("{:012}", 300_000_000_000 + number).parse().unwrap()
    }

    /// The management account, 40 members in a unit, and the other account in a unit below that.
    fn world_with_organization() -> (World, String, String) {
        let mut world = world();
        let now = world.now();
        let mut organization = Organization::new("o-demo123456", &account(), "management", now);
        let unit = organization.add_unit("workloads", &organization.root_id());
        let below = organization.add_unit("europe", &unit);
        for number in 0..40 {
            organization.add_account(&member(number), &format!("member-{number}"), &unit, now);
        }
        organization.add_account(&other_account(), "payments-prod", &below, now);
        organization.set_state(&member(7), "CLOSED");
        world.organizations.add(organization);
        (world, unit, below)
    }

    fn client(sandbox: &Sandbox, of: &AccountId) -> Client {
        Client::new(&sdk(sandbox, "us-east-1", root(of)))
    }

    #[tokio::test]
    async fn all_accounts_come_in_pages_of_twenty() {
        let sandbox = start(world_with_organization().0).await;
        let organizations = client(&sandbox, &account());
        let (mut sizes, mut accounts, mut token) = (Vec::new(), Vec::new(), None);
        loop {
            let page = organizations.list_accounts().set_next_token(token).send().await.unwrap();
            sizes.push(page.accounts().len());
            accounts.extend(page.accounts().to_vec());
            token = page.next_token;
            if token.is_none() {
                break;
            }
        }
        assert_eq!(sizes, [20, 20, 2]);
        let closed = accounts.iter().find(|found| found.id() == Some(member(7).as_str())).unwrap();
        assert_eq!(closed.state(), Some(&AccountState::Closed));
        assert_eq!(accounts[0].name(), Some("management"));
        assert_eq!(accounts[0].status(), Some(&AccountStatus::Active));
    }

    #[tokio::test]
    async fn a_token_belongs_to_its_list() {
        let sandbox = start(world_with_organization().0).await;
        let organizations = client(&sandbox, &account());
        let token = organizations.list_accounts().max_results(1).send().await.unwrap().next_token;
        let roots = organizations.list_roots().set_next_token(token).send().await;
        assert_eq!(code(roots), "InvalidInputException");
        assert_eq!(code(organizations.list_accounts().max_results(21).send().await), "InvalidInputException");
    }

    #[tokio::test]
    async fn units_are_found_from_both_ends() {
        let (world, unit, below) = world_with_organization();
        let sandbox = start(world).await;
        let organizations = client(&sandbox, &account());
        let parents = async |child: &str| {
            let answer = organizations.list_parents().child_id(child).send().await.unwrap();
            let parent = answer.parents()[0].clone();
            (parent.id.unwrap(), parent.r#type.unwrap())
        };
        assert_eq!(parents(other_account().as_str()).await, (below.clone(), ParentType::OrganizationalUnit));
        assert_eq!(parents(&below).await, (unit.clone(), ParentType::OrganizationalUnit));
        let (root_id, kind) = parents(&unit).await;
        assert_eq!(kind, ParentType::Root);
        let roots = organizations.list_roots().send().await.unwrap();
        assert_eq!(roots.roots()[0].id(), Some(root_id.as_str()));
        let units =
            organizations.list_organizational_units_for_parent().parent_id(root_id).send().await.unwrap();
        assert_eq!(units.organizational_units()[0].id(), Some(unit.as_str()));
        let accounts = organizations.list_accounts_for_parent().parent_id(below).send().await.unwrap();
        assert_eq!(accounts.accounts()[0].id(), Some("222233334444"));
        assert_eq!(accounts.accounts().len(), 1);
        let nowhere = organizations.list_accounts_for_parent().parent_id("ou-none-00000000").send().await;
        assert_eq!(code(nowhere), "ParentNotFoundException");
        let nobody = organizations.list_parents().child_id("999999999999").send().await;
        assert_eq!(code(nobody), "ChildNotFoundException");
    }

    #[tokio::test]
    async fn only_the_management_and_delegated_accounts_see_the_others() {
        let (mut world, ..) = world_with_organization();
        world.organizations.of_mut(&account()).unwrap().delegated.insert(member(1));
        let sandbox = start(world).await;
        let from_member = client(&sandbox, &member(2)).list_accounts().send().await;
        assert_eq!(code(from_member), "AccessDeniedException");
        assert!(client(&sandbox, &member(1)).list_accounts().send().await.is_ok());
        let described = client(&sandbox, &member(2)).describe_organization().send().await.unwrap();
        let organization = described.organization.unwrap();
        assert_eq!(organization.id(), Some("o-demo123456"));
        assert_eq!(organization.master_account_id(), Some("111122223333"));
        let outside: AccountId = "999988887777".parse().unwrap();
        let described = client(&sandbox, &outside).describe_organization().send().await;
        assert_eq!(code(described), "AWSOrganizationsNotInUseException");
    }
}
