//! Which Regions of an account are audited.

use aws_sdk_account::types::RegionOptStatus;
use futures::{StreamExt, stream};

use super::accounts::Caller;
use super::api::{LIST_KEYS, LIST_REGIONS};
use super::clients::Clients;
use super::outcome::Failure;
use super::readings::Readings;
use crate::model::{AccountId, Region};

/// Regions that are probed at the same time.
const PROBES_AT_ONCE: usize = 8;

/// Lists the Regions of accounts.
#[derive(Debug)]
pub(crate) struct Regions<'a> {
    pub(crate) clients: &'a Clients,
    pub(crate) caller: &'a Caller,
    /// The configured Regions; empty: all that are enabled.
    pub(crate) include: &'a [Region],
    /// The Regions that the caller's partition is known to have.
    pub(crate) table: &'a [Region],
    pub(crate) readings: &'a Readings,
}

impl Regions<'_> {
    /// The Regions of one account, sorted: the configured ones, else those that Account Management lists,
    /// else those of the partition's table that answer.
    pub(crate) async fn of(&self, account: &AccountId) -> Vec<Region> {
        let mut regions = if self.include.is_empty() {
            match self.listed(account).await {
                Some(regions) => regions,
                None => self.probed(account).await,
            }
        } else {
            self.include.to_vec()
        };
        regions.sort();
        regions.dedup();
        regions
    }

    /// `account:ListRegions`, which has endpoints in two partitions only; none if it tells nothing usable.
    async fn listed(&self, account: &AccountId) -> Option<Vec<Region>> {
        if !matches!(self.caller.partition.as_str(), "aws" | "aws-cn") {
            return None;
        }
        let client = self.clients.account(account, &self.caller.partition);
        let mut regions = Vec::new();
        let mut token = None;
        loop {
            let page = client
                .list_regions()
                .max_results(50)
                .region_opt_status_contains(RegionOptStatus::Enabled)
                .region_opt_status_contains(RegionOptStatus::EnabledByDefault)
                .set_next_token(token.take())
                .send()
                .await
                .map_err(|error| Failure::of(LIST_REGIONS, &error));
            self.readings.record(account, None, LIST_REGIONS, page.as_ref().err());
            let page = page.ok()?;
            let enabled = page.regions().iter().filter(|region| is_enabled(region.region_opt_status()));
            regions.extend(enabled.filter_map(|region| region.region_name()?.parse::<Region>().ok()));
            token = page.next_token.filter(|token| !token.is_empty());
            if token.is_none() {
                break;
            }
        }
        // Every account has Regions that are enabled by default: an empty list is no list.
        (!regions.is_empty()).then_some(regions)
    }

    /// The partition's Regions without those that say they are not enabled. A Region that refuses for
    /// another reason, or does not answer, stays: its sweep will say what could not be read.
    async fn probed(&self, account: &AccountId) -> Vec<Region> {
        let probes = stream::iter(self.table.iter().cloned())
            .map(|region| async move { self.is_usable(account, &region).await.then_some(region) });
        probes.buffer_unordered(PROBES_AT_ONCE).filter_map(|region| async move { region }).collect().await
    }

    async fn is_usable(&self, account: &AccountId, region: &Region) -> bool {
        let Ok(clients) = self.clients.region(account, region) else { return true };
        // Its readings are dropped: the sweep of the Region makes the same call and records it.
        let readings = Readings::default();
        let probe = clients.kms.list_keys().limit(1).send();
        match clients.call(&readings, LIST_KEYS, probe).await {
            Ok(_) => true,
            Err(failure) => !failure.not_enabled,
        }
    }
}

fn is_enabled(status: Option<&RegionOptStatus>) -> bool {
    matches!(status, Some(RegionOptStatus::Enabled | RegionOptStatus::EnabledByDefault))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{FakeAws, WireCall, ok};
    use super::*;
    use crate::model::ReadingResult;

    fn regions(names: &[&str]) -> Vec<Region> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    async fn regions_of(
        aws: &FakeAws,
        partition: &str,
        include: &[Region],
        readings: &Readings,
    ) -> Vec<Region> {
        let table = regions(&["eu-central-1", "eu-west-1", "me-south-1", "us-east-1"]);
        let account: AccountId = "111122223333".parse().unwrap();
        let caller = Caller {
            account: account.clone(),
            partition: partition.to_owned(),
            arn: String::new(),
            role: None,
            global_region: "aws-global".parse().unwrap(),
        };
        let clients = aws.clients().await;
        let finder = Regions { clients: &clients, caller: &caller, include, table: &table, readings };
        finder.of(&account).await
    }

    #[tokio::test]
    async fn configured_regions_are_taken_as_they_are() {
        let aws = FakeAws::start(WireCall::unexpected).await;
        let include = regions(&["us-east-1", "eu-central-1", "us-east-1"]);
        let found = regions_of(&aws, "aws", &include, &Readings::default()).await;
        assert_eq!(found, regions(&["eu-central-1", "us-east-1"]));
    }

    #[tokio::test]
    async fn enabled_regions_are_listed_page_by_page_also_those_no_table_knows() {
        let aws = FakeAws::start(|call| match call.token() {
            None => ok(&json!({ "NextToken": "2", "Regions": [
                { "RegionName": "xx-new-1", "RegionOptStatus": "ENABLED" },
                { "RegionName": "me-south-1", "RegionOptStatus": "DISABLED" },
            ]})),
            Some(_) => ok(&json!({ "Regions": [
                { "RegionName": "eu-central-1", "RegionOptStatus": "ENABLED_BY_DEFAULT" },
                { "RegionName": "af-south-1", "RegionOptStatus": "ENABLING" },
            ]})),
        })
        .await;
        let found = regions_of(&aws, "aws", &[], &Readings::default()).await;
        assert_eq!(found, regions(&["eu-central-1", "xx-new-1"]));
    }

    #[tokio::test]
    async fn where_the_list_is_refused_the_table_is_probed_and_the_refusal_is_a_reading() {
        let aws = FakeAws::start(|call| match (call.operation.as_str(), call.region.as_str()) {
            ("ListRegions", _) => call.error(403, "AccessDeniedException"),
            ("ListKeys", "me-south-1") => call.error(400, "UnrecognizedClientException"),
            ("ListKeys", "eu-west-1") => call.error(400, "AccessDeniedException"),
            ("ListKeys", _) => ok(&json!({ "Keys": [], "Truncated": false })),
            _ => call.unexpected(),
        })
        .await;
        let readings = Readings::default();
        let found = regions_of(&aws, "aws", &[], &readings).await;
        assert_eq!(found, regions(&["eu-central-1", "eu-west-1", "us-east-1"]));
        let readings = readings.finish(crate::clock::now());
        assert_eq!(readings.len(), 1);
        assert_eq!(
            (readings[0].api.as_str(), readings[0].result),
            ("account:ListRegions", ReadingResult::Denied)
        );
    }

    #[tokio::test]
    async fn a_partition_without_account_management_is_probed_without_a_word() {
        let aws = FakeAws::start(|_| ok(&json!({ "Keys": [], "Truncated": false }))).await;
        let readings = Readings::default();
        assert_eq!(regions_of(&aws, "aws-eusc", &[], &readings).await.len(), 4);
        assert_eq!(aws.calls("ListRegions"), 0);
        assert!(readings.finish(crate::clock::now()).is_empty());
    }
}
