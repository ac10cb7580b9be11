//! AWS Account Management: `ListRegions`. The service exists in the partitions `aws` and `aws-cn` only.

use serde_json::{Value, json};

use super::World;
use super::call::{Answer, ApiError, Call};
use super::identity::{self, Decision};
use super::paging;
use super::world::unknown_operation;
use crate::model::AccountId;

/// AWS's largest page.
const PAGE: usize = 50;

/// Answers a call to Account Management.
///
/// # Errors
///
/// As AWS: `AccessDeniedException` for another account's Regions without being its organization's management
/// account, `ValidationException`; any call in a partition without the service.
pub fn handle(world: &mut World, call: &Call) -> Answer {
    if !matches!(call.partition.as_str(), "aws" | "aws-cn") || call.operation != "ListRegions" {
        return Err(unknown_operation(call));
    }
    let account = wanted_account(world, call)?;
    let wanted = |status: &str| {
        let filter = call.input.get("RegionOptStatusContains").and_then(Value::as_array);
        filter.is_none_or(|statuses| statuses.iter().any(|wanted| wanted == status))
    };
    let regions = world.geography.regions(&account, &call.partition);
    let rows: Vec<Value> = regions
        .iter()
        .filter(|(_, status)| wanted(status.as_str()))
        .map(|(name, status)| json!({ "RegionName": name.as_str(), "RegionOptStatus": status.as_str() }))
        .collect();
    let size = match call.integer("MaxResults") {
        None => PAGE,
        Some(size) => usize::try_from(size)
            .ok()
            .filter(|size| (1..=PAGE).contains(size))
            .ok_or_else(|| ApiError::client("ValidationException", "MaxResults must be between 1 and 50"))?,
    };
    let page = paging::page(&format!("{account} regions"), rows, call.text("NextToken"), size)
        .map_err(|_| ApiError::client("ValidationException", "the NextToken is not valid"))?;
    Ok(json!({ "Regions": page.items, "NextToken": page.next }))
}

/// The account that is asked about: the caller's own, or a member of the organization that the caller manages.
fn wanted_account(world: &World, call: &Call) -> Result<AccountId, ApiError> {
    let Some(wanted) = call.text("AccountId") else { return Ok(call.account.clone()) };
    let denied = || identity::denied(call, Decision::NotAllowed, None);
    let account: AccountId = wanted
        .parse()
        .map_err(|_| ApiError::client("ValidationException", "AccountId must have 12 digits"))?;
    let organization = world.organizations.of(&account).ok_or_else(denied)?;
    // AWS: the management account must not pass its own id.
    let may = organization.management == call.account || organization.delegated.contains(&call.account);
    if may && account != organization.management { Ok(account) } else { Err(denied()) }
}

#[cfg(test)]
mod tests {
    use aws_sdk_account::Client;
    use aws_sdk_account::types::RegionOptStatus;

    use super::*;
    use crate::sandbox::organizations::Organization;
    use crate::sandbox::testing::{account, code, other_account, root, sdk, start, world};

    #[tokio::test]
    async fn regions_come_in_pages_with_their_status() {
        let mut world = world();
        world.geography.enable(&account(), &"eu-south-2".parse().unwrap());
        let sandbox = start(world).await;
        let client = Client::new(&sdk(&sandbox, "us-east-1", root(&account())));
        let mut pages = client.list_regions().max_results(10).into_paginator().send();
        let (mut sizes, mut regions) = (Vec::new(), Vec::new());
        while let Some(page) = pages.next().await {
            let page = page.unwrap();
            sizes.push(page.regions().len());
            regions.extend(page.regions().to_vec());
        }
        assert_eq!(sizes, [10, 10, 10, 4]);
        let status = |name: &str| {
            let region = regions.iter().find(|region| region.region_name() == Some(name)).unwrap();
            region.region_opt_status().cloned().unwrap()
        };
        assert_eq!(status("eu-south-2"), RegionOptStatus::Enabled);
        assert_eq!(status("eu-south-1"), RegionOptStatus::Disabled);
        assert_eq!(status("us-east-1"), RegionOptStatus::EnabledByDefault);
    }

    #[tokio::test]
    async fn regions_are_filtered_by_status() {
        let sandbox = start(world()).await;
        let client = Client::new(&sdk(&sandbox, "us-east-1", root(&account())));
        let list = client
            .list_regions()
            .region_opt_status_contains(RegionOptStatus::Enabled)
            .region_opt_status_contains(RegionOptStatus::EnabledByDefault);
        assert_eq!(list.send().await.unwrap().regions().len(), 17);
    }

    #[tokio::test]
    async fn the_management_account_asks_for_members_and_nobody_else_does() {
        let mut world = world();
        let now = world.now();
        let mut organization = Organization::new("o-demo123456", &account(), "management", now);
        let root_id = organization.root_id();
        organization.add_account(&other_account(), "member", &root_id, now);
        world.organizations.add(organization);
        world.geography.enable(&other_account(), &"af-south-1".parse().unwrap());
        let sandbox = start(world).await;
        let list = async |caller: &AccountId, about: &AccountId| {
            let client = Client::new(&sdk(&sandbox, "us-east-1", root(caller)));
            client.list_regions().account_id(about.as_str()).send().await
        };
        let regions = list(&account(), &other_account()).await.unwrap();
        let opened = regions.regions().iter().find(|r| r.region_name() == Some("af-south-1")).unwrap();
        assert_eq!(opened.region_opt_status(), Some(&RegionOptStatus::Enabled));
        assert_eq!(code(list(&other_account(), &account()).await), "AccessDeniedException");
        assert_eq!(code(list(&account(), &account()).await), "AccessDeniedException");
    }

    #[tokio::test]
    async fn most_partitions_do_not_have_the_service() {
        let sandbox = start(world()).await;
        for (region, there) in [("cn-north-1", true), ("us-gov-west-1", false), ("eusc-de-east-1", false)] {
            let client = Client::new(&sdk(&sandbox, region, root(&account())));
            assert_eq!(client.list_regions().send().await.is_ok(), there, "{region}");
        }
    }
}
