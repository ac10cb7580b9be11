//! What is where, and what belongs to what on a day.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use super::files::{self, AtlasError};
use crate::model::{Country, Region};

/// The name of the membership that `together` means by the EEA.
const EEA: &str = "eea";
/// The name of the membership that `together` means by an adequacy decision.
const EU_ADEQUATE: &str = "eu-adequate";

/// Whether an account has to opt in to a Region before it can use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OptIn {
    /// Every account of the partition has the Region.
    NotRequired,
    /// An account has the Region only once it has opted in.
    Required,
    /// The partition knows no opting in.
    NotApplicable,
}

/// One AWS Region.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RegionInfo {
    /// Its name.
    pub region: Region,
    /// Its partition, as in ARNs.
    pub partition: String,
    /// Its country; none where AWS does not state it.
    pub country: Option<Country>,
    /// AWS's own name for the place.
    pub location: String,
    /// Whether an account has to opt in.
    pub opt_in: OptIn,
    /// The key of the source that says so, see [`Atlas::source`].
    pub source: String,
}

/// A group of countries, with its history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Membership {
    /// Its name, such as `eea`.
    pub name: String,
    /// Its title for people.
    pub title: String,
    /// Who has belonged to it and when, sorted by country and time; entries of one country do not overlap.
    pub entries: Vec<MembershipEntry>,
}

impl Membership {
    /// The entry that makes a country a member on a day.
    pub fn entry(&self, country: &Country, on: NaiveDate) -> Option<&MembershipEntry> {
        self.entries.iter().find(|entry| entry.country == *country && entry.holds(on))
    }
}

/// The time during which a country belongs to a group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct MembershipEntry {
    /// The country.
    pub country: Country,
    /// The first day.
    pub valid_from: NaiveDate,
    /// The last day; none: it still belongs.
    pub valid_to: Option<NaiveDate>,
    /// For whom this holds, where it does not hold for everybody.
    pub condition: Option<String>,
    /// The key of the act that this rests on, see [`Atlas::source`].
    pub source: String,
}

impl MembershipEntry {
    fn holds(&self, on: NaiveDate) -> bool {
        self.valid_from <= on && self.valid_to.is_none_or(|last| on <= last)
    }
}

/// Where key sets may exist and be used, and on what basis.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Boundary {
    /// Its name, as the configuration assigns it.
    pub name: String,
    /// Its title for people.
    pub title: String,
    /// The law, contract or decision that it rests on.
    pub basis: String,
    /// Countries that are in it whatever the day.
    pub countries: BTreeSet<Country>,
    /// Groups whose members of the day are in it.
    pub memberships: Vec<String>,
    /// Only Regions of these partitions are in it. Empty: of any.
    pub partitions: BTreeSet<String>,
    /// Whether it is for single-Region keys only.
    pub single_region_only: bool,
}

/// A document that an entry rests on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Its title.
    pub title: String,
    /// Where it can be read.
    #[serde(default)]
    pub url: Option<String>,
    /// When it was read, for a document that changes.
    #[serde(default)]
    pub read: Option<NaiveDate>,
}

/// Regions, memberships and boundaries, checked against each other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Atlas {
    pub(super) regions: BTreeMap<Region, RegionInfo>,
    pub(super) memberships: BTreeMap<String, Membership>,
    pub(super) boundaries: BTreeMap<String, Boundary>,
    pub(super) sources: BTreeMap<String, Source>,
}

impl Atlas {
    /// The atlas that Keyward ships, from `rules/jurisdictions/`.
    ///
    /// # Errors
    /// If the shipped files are wrong, which the tests rule out.
    pub fn builtin() -> Result<Self, AtlasError> {
        Self::load(&files::builtin_files())
    }

    /// An atlas from files, each a path for messages and a YAML text. To add boundaries to the shipped
    /// ones, put the files behind those of [`files::builtin_files`].
    ///
    /// # Errors
    /// With every problem of every file, each with its place.
    pub fn load(files: &[(String, String)]) -> Result<Self, AtlasError> {
        files::load(files)
    }

    /// What is known of a Region; none if it is newer than the atlas.
    pub fn region(&self, region: &Region) -> Option<&RegionInfo> {
        self.regions.get(region)
    }

    /// The Regions of a partition, by name.
    pub fn regions(&self, partition: &str) -> impl Iterator<Item = &RegionInfo> {
        self.regions.values().filter(move |info| info.partition == partition)
    }

    /// Every Region, by name.
    pub fn all_regions(&self) -> impl Iterator<Item = &RegionInfo> {
        self.regions.values()
    }

    /// The country of a Region; none where AWS does not state it or the Region is not known.
    pub fn country(&self, region: &Region) -> Option<&Country> {
        self.region(region)?.country.as_ref()
    }

    /// A group of countries by name.
    pub fn membership(&self, name: &str) -> Option<&Membership> {
        self.memberships.get(name)
    }

    /// Whether a country belongs to a group on a day; a group that does not exist has no members.
    pub fn is_member(&self, country: &Country, membership: &str, on: NaiveDate) -> bool {
        self.membership(membership).is_some_and(|membership| membership.entry(country, on).is_some())
    }

    /// What a country belongs to on a day, by group, with the entries that say so: what a report cites.
    pub fn memberships_of(
        &self,
        country: &Country,
        on: NaiveDate,
    ) -> impl Iterator<Item = (&Membership, &MembershipEntry)> {
        self.memberships
            .values()
            .filter_map(move |membership| Some((membership, membership.entry(country, on)?)))
    }

    /// A boundary by name.
    pub fn boundary(&self, name: &str) -> Option<&Boundary> {
        self.boundaries.get(name)
    }

    /// The names of all boundaries, sorted.
    pub fn boundary_names(&self) -> impl Iterator<Item = &str> {
        self.boundaries.keys().map(String::as_str)
    }

    /// The countries of a boundary on a day.
    pub fn boundary_countries(&self, boundary: &Boundary, on: NaiveDate) -> BTreeSet<Country> {
        let members = self.boundary_entries(boundary).filter(|entry| entry.holds(on));
        members.map(|entry| entry.country.clone()).chain(boundary.countries.iter().cloned()).collect()
    }

    /// The countries that have been, are, or are known to become part of a boundary.
    pub fn boundary_countries_ever(&self, boundary: &Boundary) -> BTreeSet<Country> {
        let members = self.boundary_entries(boundary);
        members.map(|entry| entry.country.clone()).chain(boundary.countries.iter().cloned()).collect()
    }

    fn boundary_entries<'a>(&'a self, boundary: &'a Boundary) -> impl Iterator<Item = &'a MembershipEntry> {
        boundary.memberships.iter().filter_map(|name| self.membership(name)).flat_map(|group| &group.entries)
    }

    /// Whether a Region is inside a boundary on a day.
    ///
    /// A Region that the atlas does not know, or whose country AWS does not state, is outside.
    pub fn is_inside(&self, region: &Region, boundary: &Boundary, on: NaiveDate) -> bool {
        let Some(info) = self.region(region) else { return false };
        let Some(country) = &info.country else { return false };
        let partition_fits = boundary.partitions.is_empty() || boundary.partitions.contains(&info.partition);
        let country_fits = boundary.countries.contains(country)
            || boundary.memberships.iter().any(|membership| self.is_member(country, membership, on));
        partition_fits && country_fits
    }

    /// Whether two Regions go together where no boundary is declared: one Region, one country, or both in
    /// the EEA; and, where `adequacy_counts`, one in the EEA and the other in a country with an adequacy
    /// decision (two such countries do not vouch for each other).
    pub fn together(&self, home: &Region, other: &Region, adequacy_counts: bool, on: NaiveDate) -> bool {
        if home == other {
            return true;
        }
        let (Some(home), Some(other)) = (self.country(home), self.country(other)) else { return false };
        if home == other {
            return true;
        }
        let in_eea = |country| self.is_member(country, EEA, on);
        let adequate = |country| adequacy_counts && self.is_member(country, EU_ADEQUATE, on);
        match (in_eea(home), in_eea(other)) {
            (true, true) => true,
            (true, false) => adequate(other),
            (false, true) => adequate(home),
            (false, false) => false,
        }
    }

    /// A source by its key.
    pub fn source(&self, key: &str) -> Option<&Source> {
        self.sources.get(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn atlas() -> Atlas {
        Atlas::builtin().unwrap()
    }

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn region(name: &str) -> Region {
        name.parse().unwrap()
    }

    fn country(code: &str) -> Country {
        code.parse().unwrap()
    }

    fn inside(boundary: &str, on: &str) -> Vec<String> {
        let atlas = atlas();
        let boundary = atlas.boundary(boundary).unwrap();
        let all = atlas.all_regions().filter(|info| atlas.is_inside(&info.region, boundary, day(on)));
        all.map(|info| info.region.to_string()).collect()
    }

    #[test]
    fn every_partition_has_the_regions_that_aws_lists() {
        let atlas = atlas();
        let count = |partition| atlas.regions(partition).count();
        assert_eq!(
            ["aws", "aws-cn", "aws-us-gov", "aws-eusc", "aws-iso", "aws-iso-b", "aws-iso-e", "aws-iso-f"]
                .map(count),
            [34, 2, 2, 1, 2, 2, 1, 2]
        );
        assert_eq!(atlas.all_regions().count(), 46);
        assert_eq!(atlas.regions("aws").filter(|info| info.opt_in == OptIn::Required).count(), 17);
        assert_eq!(atlas.regions("nowhere").count(), 0);
    }

    #[test]
    fn the_eea_is_seven_regions_and_a_name_with_eu_is_none_of_its_marks() {
        let eea = inside("eea", "2026-06-01");
        assert_eq!(
            eea,
            [
                "eu-central-1",
                "eu-north-1",
                "eu-south-1",
                "eu-south-2",
                "eu-west-1",
                "eu-west-3",
                "eusc-de-east-1"
            ]
        );
        assert_eq!(inside("eu", "2026-06-01"), eea);
    }

    #[test]
    fn a_country_that_aws_does_not_state_is_outside_every_boundary() {
        let atlas = atlas();
        for name in ["eu-isoe-west-1", "us-iso-east-1", "us-isof-south-1", "xx-future-1"] {
            let unknown = region(name);
            assert_eq!(atlas.country(&unknown), None, "{name}");
            for boundary in atlas.boundary_names() {
                let boundary = atlas.boundary(boundary).unwrap();
                assert!(!atlas.is_inside(&unknown, boundary, day("2026-06-01")), "{name} {}", boundary.name);
            }
        }
        assert!(atlas.region(&region("eu-isoe-west-1")).is_some());
        assert!(atlas.region(&region("xx-future-1")).is_none());
    }

    #[test]
    fn every_region_with_a_country_is_inside_a_boundary_of_that_country_alone() {
        let atlas = atlas();
        for info in atlas.all_regions() {
            let Some(home) = &info.country else { continue };
            let own = atlas
                .boundary_names()
                .filter_map(|name| atlas.boundary(name))
                .filter(|boundary| boundary.memberships.is_empty() && boundary.partitions.is_empty())
                .find(|boundary| boundary.countries.len() == 1 && boundary.countries.contains(home));
            assert!(own.is_some() || home.as_str() == "CN", "{} has no boundary of its own", info.region);
        }
    }

    #[test]
    fn the_eea_has_all_its_members_and_not_only_those_with_regions() {
        let atlas = atlas();
        let eea = atlas.boundary_countries(atlas.boundary("eea").unwrap(), day("2026-06-01"));
        assert_eq!(eea.len(), 30);
        for code in ["NO", "IS", "LI", "HR", "GR"] {
            assert!(eea.contains(&country(code)), "{code}");
        }
        let eu = atlas.boundary_countries(atlas.boundary("eu").unwrap(), day("2026-06-01"));
        assert_eq!(eu.len(), 27);
        assert!(!eu.contains(&country("NO")));
    }

    #[test]
    fn brazil_became_adequate_on_26_january_2026() {
        assert!(!inside("eea-and-adequate", "2026-01-25").contains(&"sa-east-1".to_owned()));
        assert!(inside("eea-and-adequate", "2026-01-26").contains(&"sa-east-1".to_owned()));
        assert!(!inside("eea", "2026-01-26").contains(&"sa-east-1".to_owned()));
    }

    #[test]
    fn the_united_kingdom_went_from_member_to_gap_to_adequate() {
        let london = "eu-west-2".to_owned();
        for (on, in_eea, adequate) in [
            ("2019-06-01", true, true),
            ("2020-12-31", true, true),
            ("2021-01-01", false, false),
            ("2021-06-28", false, true),
            ("2025-12-18", false, true),
            ("2025-12-19", false, true),
            ("2031-12-27", false, true),
            ("2031-12-28", false, false),
        ] {
            assert_eq!(inside("eea", on).contains(&london), in_eea, "eea on {on}");
            assert_eq!(inside("eea-and-adequate", on).contains(&london), adequate, "adequate on {on}");
        }
    }

    #[test]
    fn the_united_states_count_only_where_the_conditional_decisions_are_named() {
        assert!(!inside("eea-and-adequate", "2026-06-01").contains(&"us-east-1".to_owned()));
        assert!(inside("eea-and-adequate-conditional", "2026-06-01").contains(&"us-east-1".to_owned()));
        assert!(!inside("eea-and-adequate-conditional", "2021-06-01").contains(&"us-east-1".to_owned()));
    }

    #[test]
    fn what_a_country_belongs_to_comes_with_its_condition_and_source() {
        let atlas = atlas();
        let canada = country("CA");
        let memberships: Vec<_> = atlas.memberships_of(&canada, day("2026-06-01")).collect();
        assert_eq!(memberships.len(), 1);
        let (group, entry) = memberships[0];
        assert_eq!(group.name, "eu-adequate");
        assert!(entry.condition.as_deref().unwrap().contains("PIPEDA"));
        assert_eq!(atlas.source(&entry.source).unwrap().title, "Commission Decision 2002/2/EC");
    }

    #[test]
    fn a_boundary_can_be_bound_to_a_partition() {
        assert_eq!(inside("eu-sovereign", "2026-06-01"), ["eusc-de-east-1"]);
        assert_eq!(inside("us-gov", "2026-06-01"), ["us-gov-east-1", "us-gov-west-1"]);
        assert!(inside("us", "2026-06-01").contains(&"us-gov-west-1".to_owned()));
        assert!(inside("de", "2026-06-01").contains(&"eusc-de-east-1".to_owned()));
    }

    #[test]
    fn single_region_only_is_said_by_the_boundary() {
        let atlas = atlas();
        assert!(atlas.boundary("eea-single-region").unwrap().single_region_only);
        assert!(!atlas.boundary("eea").unwrap().single_region_only);
    }

    #[test]
    fn regions_go_together_in_one_country_or_in_the_eea() {
        let atlas = atlas();
        let together = |a, b, adequacy| atlas.together(&region(a), &region(b), adequacy, day("2026-06-01"));
        assert!(together("us-east-1", "us-west-2", false));
        assert!(together("us-east-1", "us-isob-east-1", false), "one country in two partitions");
        assert!(together("eu-central-1", "eu-west-1", false));
        assert!(together("eu-central-1", "eusc-de-east-1", false));
        assert!(!together("eu-central-1", "eu-west-2", false));
        assert!(!together("eu-central-1", "us-east-1", true), "conditional adequacy does not count");
        assert!(!together("ap-southeast-1", "ap-southeast-3", false));
    }

    #[test]
    fn adequacy_counts_towards_the_eea_only_and_only_where_asked() {
        let atlas = atlas();
        let together = |a, b| atlas.together(&region(a), &region(b), true, day("2026-06-01"));
        assert!(together("eu-central-1", "eu-west-2"));
        assert!(together("eu-west-2", "eu-central-1"));
        assert!(!together("eu-west-2", "ap-northeast-1"), "two adequate countries");
        assert!(!atlas.together(&region("eu-west-1"), &region("sa-east-1"), true, day("2026-01-25")));
    }

    #[test]
    fn what_is_not_stated_goes_together_with_itself_only() {
        let atlas = atlas();
        let together = |a, b| atlas.together(&region(a), &region(b), true, day("2026-06-01"));
        assert!(together("eu-isoe-west-1", "eu-isoe-west-1"));
        assert!(!together("us-iso-east-1", "us-iso-west-1"));
        assert!(!together("eu-central-1", "eu-isoe-west-1"));
    }

    #[test]
    fn the_countries_of_all_times_hold_those_of_any_day() {
        let atlas = atlas();
        for boundary in atlas.boundary_names().filter_map(|name| atlas.boundary(name)) {
            let ever = atlas.boundary_countries_ever(boundary);
            for on in ["1990-01-01", "2020-06-01", "2026-06-01", "2040-01-01"] {
                assert!(atlas.boundary_countries(boundary, day(on)).is_subset(&ever), "{}", boundary.name);
            }
        }
    }
}
