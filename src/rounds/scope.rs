//! What one finding-out of accounts and Regions says about which are one's own, and which are audited no more.

use std::collections::BTreeSet;

use crate::collect::Discovery;
use crate::config::Config;
use crate::facts::{AccountScope, Place};
use crate::model::{AccountId, Observed, ReadingResult, Region};

/// Which accounts are one's own. Where the organization could not be listed this time, what was known of it
/// before still holds: a failed call must not turn one's own accounts into foreign ones.
pub(crate) fn scope_of(found: &Discovery, config: &Config, before: &AccountScope) -> AccountScope {
    let organization = match &found.organization {
        Observed::Known(accounts) => accounts.clone(),
        Observed::Unknown(_) => before.organization.clone(),
        Observed::NotApplicable => BTreeSet::new(),
    };
    AccountScope {
        audited: found.accounts.iter().map(|account| account.id.clone()).collect(),
        organization,
        organization_id: found.organization_id.clone().or_else(|| before.organization_id.clone()),
        trusted: config.accounts.trusted.iter().cloned().collect(),
        ous: found.ous.clone(),
    }
}

/// The known places that are certainly audited no more: their account has left, or its list of Regions was read
/// and they are not on it. What could not be found out this time stays.
pub(crate) fn left_out<'a>(
    found: &Discovery,
    known: impl Iterator<Item = (&'a AccountId, &'a Region)>,
) -> BTreeSet<Place> {
    let is_target = |account: &AccountId, region: &Region| {
        found.targets.iter().any(|target| target.account == *account && target.region == *region)
    };
    known
        .filter(|(account, region)| !is_target(account, region) && is_left_out(found, account, region))
        .map(|(account, region)| (account.clone(), region.clone()))
        .collect()
}

fn is_left_out(found: &Discovery, account: &AccountId, region: &Region) -> bool {
    if found.accounts.iter().all(|audited| audited.id != *account) {
        return !matches!(found.organization, Observed::Unknown(_));
    }
    if found.targets.iter().all(|target| target.account != *account) {
        // Its role could not be assumed: nothing is known of its Regions, and one place stands for all of them.
        return false;
    }
    // What stood for the account as a whole while its role could not be assumed.
    *region == found.caller.global_region || regions_were_listed(found, account)
}

fn regions_were_listed(found: &Discovery, account: &AccountId) -> bool {
    let mut readings = found.batches.iter().flat_map(|batch| &batch.readings);
    readings.all(|reading| {
        reading.account != *account
            || reading.api != "account:ListRegions"
            || reading.result == ReadingResult::Ok
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::collect::{AuditedAccount, Caller, Target};
    use crate::facts::fixtures::{at, batch};
    use crate::model::{Gap, Reading, SourceKind};

    pub(in super::super) fn target(account: &str, region: &str) -> Target {
        Target {
            account: account.parse().unwrap(),
            region: region.parse().unwrap(),
            partition: "aws".to_owned(),
        }
    }

    pub(in super::super) fn discovery(accounts: &[&str], targets: &[&Target]) -> Discovery {
        let audited = |id: &&str| AuditedAccount { id: id.parse().unwrap(), name: None };
        Discovery {
            caller: Caller {
                account: "111122223333".parse().unwrap(),
                partition: "aws".to_owned(),
                arn: String::new(),
                role: None,
                global_region: "aws-global".parse().unwrap(),
            },
            accounts: accounts.iter().map(audited).collect(),
            organization: Observed::NotApplicable,
            organization_id: None,
            ous: std::collections::BTreeMap::new(),
            targets: targets.iter().map(|target| (*target).clone()).collect(),
            batches: Vec::new(),
        }
    }

    const OWN: &str = "111122223333";
    const OTHER: &str = "222233334444";

    /// What is left out of some places, as `ACCOUNT/REGION`.
    fn left(found: &Discovery, known: &[(&str, &str)]) -> Vec<String> {
        let known: Vec<Place> = known
            .iter()
            .map(|(account, region)| (account.parse().unwrap(), region.parse().unwrap()))
            .collect();
        let left = left_out(found, known.iter().map(|(account, region)| (account, region)));
        left.iter().map(|(account, region)| format!("{account}/{region}")).collect()
    }

    #[test]
    fn what_is_no_target_any_more_is_left_out() {
        let here = target(OWN, "eu-central-1");
        let found = discovery(&[OWN], &[&here]);
        let known = [(OWN, "eu-central-1"), (OWN, "us-east-1"), (OTHER, "eu-central-1")];
        assert_eq!(left(&found, &known), ["111122223333/us-east-1", "222233334444/eu-central-1"]);
    }

    #[test]
    fn what_could_not_be_found_out_stays() {
        let here = target(OWN, "eu-central-1");
        let gap = Gap { api: "organizations:ListAccounts".to_owned(), result: ReadingResult::Denied };
        let unlisted = Discovery { organization: Observed::Unknown(gap), ..discovery(&[OWN], &[&here]) };
        assert!(left(&unlisted, &[(OTHER, "eu-central-1")]).is_empty(), "it may still be a member");

        let not_assumed = discovery(&[OWN, OTHER], &[&here]);
        let known = [(OTHER, "eu-central-1"), (OTHER, "aws-global")];
        assert!(left(&not_assumed, &known).is_empty(), "its Regions are not known");

        let mut probed = discovery(&[OWN], &[&here]);
        let mut regions = batch("eu-central-1", Vec::new());
        regions.source = SourceKind::Regions;
        regions.readings = vec![Reading {
            account: OWN.parse().unwrap(),
            region: None,
            api: "account:ListRegions".to_owned(),
            result: ReadingResult::Denied,
            at: at("2026-03-01T12:00:00Z"),
            attempts: 1,
            failed: 1,
            detail: None,
        }];
        probed.batches = vec![regions];
        assert!(left(&probed, &[(OWN, "us-east-1")]).is_empty(), "the list was not read");
        assert_eq!(
            left(&probed, &[(OWN, "aws-global")]),
            ["111122223333/aws-global"],
            "its role is assumed now"
        );
    }
}
