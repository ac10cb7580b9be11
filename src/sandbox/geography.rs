//! The Regions of every partition, and which accounts have enabled which.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{AccountId, Region};

/// The Regions by partition: those that every account has, and those that it has to enable.
const PARTITIONS: &[(&str, &[&str], &[&str])] = &[
    (
        "aws",
        &[
            "ap-northeast-1",
            "ap-northeast-2",
            "ap-northeast-3",
            "ap-south-1",
            "ap-southeast-1",
            "ap-southeast-2",
            "ca-central-1",
            "eu-central-1",
            "eu-north-1",
            "eu-west-1",
            "eu-west-2",
            "eu-west-3",
            "sa-east-1",
            "us-east-1",
            "us-east-2",
            "us-west-1",
            "us-west-2",
        ],
        &[
            "af-south-1",
            "ap-east-1",
            "ap-east-2",
            "ap-south-2",
            "ap-southeast-3",
            "ap-southeast-4",
            "ap-southeast-5",
            "ap-southeast-6",
            "ap-southeast-7",
            "ca-west-1",
            "eu-central-2",
            "eu-south-1",
            "eu-south-2",
            "il-central-1",
            "me-central-1",
            "me-south-1",
            "mx-central-1",
        ],
    ),
    ("aws-cn", &["cn-north-1", "cn-northwest-1"], &[]),
    ("aws-us-gov", &["us-gov-east-1", "us-gov-west-1"], &[]),
    ("aws-eusc", &["eusc-de-east-1"], &[]),
    ("aws-iso", &["us-iso-east-1", "us-iso-west-1"], &[]),
    ("aws-iso-b", &["us-isob-east-1", "us-isob-west-1"], &[]),
    ("aws-iso-e", &["eu-isoe-west-1"], &[]),
    ("aws-iso-f", &["us-isof-east-1", "us-isof-south-1"], &[]),
];

/// The partition of a Region, as in ARNs, by the pattern of its name.
pub fn partition_of(region: &Region) -> &'static str {
    const PREFIXES: &[(&str, &str)] = &[
        ("cn-", "aws-cn"),
        ("us-gov-", "aws-us-gov"),
        ("eusc-", "aws-eusc"),
        ("us-isob-", "aws-iso-b"),
        ("us-isof-", "aws-iso-f"),
        ("us-iso-", "aws-iso"),
        ("eu-isoe-", "aws-iso-e"),
    ];
    let name = region.as_str();
    PREFIXES.iter().find(|(prefix, _)| name.starts_with(prefix)).map_or("aws", |(_, partition)| partition)
}

/// Whether a Region is open to an account, as `account:ListRegions` calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OptIn {
    /// Every account has it.
    EnabledByDefault,
    /// The account enabled it.
    Enabled,
    /// The account has not enabled it.
    Disabled,
}

impl OptIn {
    /// The status as the API writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EnabledByDefault => "ENABLED_BY_DEFAULT",
            Self::Enabled => "ENABLED",
            Self::Disabled => "DISABLED",
        }
    }
}

/// Which accounts have enabled which Regions.
#[derive(Debug, Clone, Default)]
pub struct Geography {
    enabled: BTreeMap<AccountId, BTreeSet<Region>>,
}

impl Geography {
    /// Enables a Region that has to be enabled.
    pub fn enable(&mut self, account: &AccountId, region: &Region) {
        self.enabled.entry(account.clone()).or_default().insert(region.clone());
    }

    /// Disables it again.
    pub fn disable(&mut self, account: &AccountId, region: &Region) {
        if let Some(regions) = self.enabled.get_mut(account) {
            regions.remove(region);
        }
    }

    /// Whether a Region is open to an account; none for a Region that there is not.
    pub fn status(&self, account: &AccountId, region: &Region) -> Option<OptIn> {
        let partition = partition_of(region);
        let (_, default, opt_in) = PARTITIONS.iter().find(|(name, ..)| *name == partition)?;
        if default.contains(&region.as_str()) {
            return Some(OptIn::EnabledByDefault);
        }
        if !opt_in.contains(&region.as_str()) {
            return None;
        }
        let enabled = self.enabled.get(account).is_some_and(|regions| regions.contains(region));
        Some(if enabled { OptIn::Enabled } else { OptIn::Disabled })
    }

    /// Whether an account can use a Region.
    pub fn is_enabled(&self, account: &AccountId, region: &Region) -> bool {
        self.status(account, region).is_some_and(|status| status != OptIn::Disabled)
    }

    /// Every Region of a partition with its status, by name.
    pub fn regions(&self, account: &AccountId, partition: &str) -> Vec<(Region, OptIn)> {
        let names = PARTITIONS.iter().filter(|(name, ..)| *name == partition);
        let mut regions: Vec<(Region, OptIn)> = names
            .flat_map(|(_, default, opt_in)| default.iter().chain(*opt_in))
            .filter_map(|name| name.parse::<Region>().ok())
            .filter_map(|region| self.status(account, &region).map(|status| (region, status)))
            .collect();
        regions.sort();
        regions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account() -> AccountId {
        "111122223333".parse().unwrap()
    }

    #[test]
    fn every_region_is_in_the_partition_that_its_name_says() {
        for (partition, default, opt_in) in PARTITIONS {
            for name in default.iter().chain(*opt_in) {
                assert_eq!(partition_of(&name.parse().unwrap()), *partition, "{name}");
            }
        }
    }

    #[test]
    fn the_commercial_partition_has_17_regions_of_each_sort() {
        let regions = Geography::default().regions(&account(), "aws");
        assert_eq!(regions.len(), 34);
        assert_eq!(regions.iter().filter(|(_, status)| *status == OptIn::Disabled).count(), 17);
        assert!(regions.is_sorted());
    }

    #[test]
    fn a_region_is_opened_for_one_account_only() {
        let (cape_town, other): (Region, AccountId) =
            ("af-south-1".parse().unwrap(), "222233334444".parse().unwrap());
        let mut geography = Geography::default();
        assert!(!geography.is_enabled(&account(), &cape_town));
        geography.enable(&account(), &cape_town);
        assert_eq!(geography.status(&account(), &cape_town), Some(OptIn::Enabled));
        assert!(!geography.is_enabled(&other, &cape_town));
        geography.disable(&account(), &cape_town);
        assert!(!geography.is_enabled(&account(), &cape_town));
        assert_eq!(geography.status(&account(), &"eu-nowhere-9".parse().unwrap()), None);
    }
}
