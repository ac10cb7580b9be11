//! The shape of a key set: its members, read or only named by another, and which of them is the primary.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::estate::Estate;
use super::sheet::{Known, joined, observed};
use crate::model::{KeyArn, KeyMetadata, KeySetId, KeySnapshot, MultiRegionRole, Region};

/// For how long members that name different primaries are taken to be in the middle of a move. AWS settles one
/// within seconds; readings of different Regions may lie as far apart as a sweep is long.
const SETTLING: TimeDelta = TimeDelta::hours(1);

/// A key set as its members tell.
#[derive(Debug)]
pub(super) struct Shape<'a> {
    /// Any read member's ARN; account and partition are common to all.
    pub(super) arn: &'a KeyArn,
    /// The members that were read, by Region.
    pub(super) read: BTreeMap<&'a Region, &'a KeySnapshot>,
    /// The Regions of all members, as far as they are known.
    pub(super) named: BTreeSet<&'a Region>,
    /// Why there may be more members than are named; none: there are not.
    pub(super) blind: Option<String>,
    /// The primary's Region; a single-Region key is its own primary.
    pub(super) primary: Known<&'a Region>,
    /// A member is being created, or the primary is being moved.
    pub(super) is_transient: bool,
}

impl<'a> Shape<'a> {
    /// The shape of a set; none if no member of it was read.
    pub(super) fn of(set: &KeySetId, estate: &'a Estate) -> Option<Self> {
        let members = estate.members(set);
        let arn = &members.first()?.arn;
        let read: BTreeMap<&Region, &KeySnapshot> =
            members.iter().map(|member| (&member.arn.region, *member)).collect();
        if !arn.is_multi_region() {
            return Some(Self {
                arn,
                named: read.keys().copied().collect(),
                is_transient: read.values().any(|key| is_changing(key)),
                read,
                blind: None,
                primary: Ok(&arn.region),
            });
        }
        let mut named: BTreeSet<&Region> = read.keys().copied().collect();
        for key in read.values() {
            let related = key.metadata.known().and_then(|metadata| metadata.multi_region.as_ref());
            named.extend(related.iter().flat_map(|related| related.primary.iter().chain(&related.replicas)));
        }
        let (primary, is_moving) = primary(&read);
        let is_transient = is_moving || read.values().any(|key| is_changing(key));
        Some(Self { arn, blind: blind(&read), read, named, primary, is_transient })
    }

    /// Whether the set is made of multi-Region keys.
    pub(super) fn is_multi_region(&self) -> bool {
        self.arn.is_multi_region()
    }

    /// The Regions of all members, where they are known to be all.
    pub(super) fn regions(&self) -> Known<&BTreeSet<&'a Region>> {
        self.blind.clone().map_or(Ok(&self.named), Err)
    }

    /// The Regions of members that were not read.
    pub(super) fn unread(&self) -> impl Iterator<Item = &'a Region> {
        self.named.iter().copied().filter(|region| !self.read.contains_key(region))
    }

    /// The primary, if it was read; else why it cannot be looked at.
    pub(super) fn primary_key(&self) -> Known<&'a KeySnapshot> {
        let region = self.primary.clone()?;
        self.read.get(region).copied().ok_or_else(|| format!("the primary in {region} was not read"))
    }
}

/// Why a set may have more members than are named: no member that was read tells who the others are.
fn blind(read: &BTreeMap<&Region, &KeySnapshot>) -> Option<String> {
    let tells =
        |key: &KeySnapshot| key.metadata.known().is_some_and(|metadata| metadata.multi_region.is_some());
    if read.values().any(|key| tells(key)) {
        return None;
    }
    let reasons = read.values().map(|key| why_no_relations(key));
    joined(reasons)
}

fn why_no_relations(key: &KeySnapshot) -> String {
    match observed(&key.metadata) {
        Some(Err(reason)) => reason,
        _ => format!("kms:DescribeKey did not tell the members of the set in {}", key.arn.region),
    }
}

fn is_changing(key: &KeySnapshot) -> bool {
    key.metadata.known().is_some_and(KeyMetadata::is_transient)
}

/// The primary's Region, and whether it is being moved.
fn primary<'a>(read: &BTreeMap<&'a Region, &'a KeySnapshot>) -> (Known<&'a Region>, bool) {
    let mut claims: BTreeMap<&Region, DateTime<Utc>> = BTreeMap::new();
    for key in read.values() {
        let Some(related) = key.metadata.known().and_then(|metadata| metadata.multi_region.as_ref()) else {
            continue;
        };
        let own = (related.role == MultiRegionRole::Primary).then_some(&key.arn.region);
        for region in own.into_iter().chain(&related.primary) {
            let newest = claims.entry(region).or_insert(key.read_at);
            *newest = key.read_at.max(*newest);
        }
    }
    let newest = claims.iter().max_by_key(|(_, at)| **at);
    let Some((region, at)) = newest else {
        // All members say that they are replicas: AWS shows that while the primary is being moved.
        let is_moving = blind(read).is_none();
        let reason = blind(read).unwrap_or_else(|| "the primary is being moved".to_owned());
        return (Err(reason), is_moving);
    };
    let is_disputed = claims.iter().any(|(other, other_at)| other != region && *at - *other_at < SETTLING);
    if is_disputed { (Err("the primary is being moved".to_owned()), true) } else { (Ok(region), false) }
}

impl KeyMetadata {
    /// Whether it is too early to judge the key: it is being created, or its primary is being moved.
    pub(super) fn is_transient(&self) -> bool {
        matches!(self.state.as_str(), "Creating" | "Updating")
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{at, gap, key, key_set};
    use super::*;

    fn estate(keys: Vec<KeySnapshot>) -> Estate {
        let mut estate = Estate::default();
        for key in keys {
            estate.put_key(key);
        }
        estate
    }

    fn shape(estate: &Estate) -> Shape<'_> {
        Shape::of(estate.key_sets().next().unwrap(), estate).unwrap()
    }

    fn names<'a>(regions: impl IntoIterator<Item = &'a Region>) -> Vec<&'a str> {
        regions.into_iter().map(Region::as_str).collect()
    }

    #[test]
    fn a_member_that_was_not_read_is_known_by_name() {
        let members = key_set(&["eu-central-1", "eu-west-1", "eu-west-2"]);
        let estate = estate(vec![members[1].clone()]);
        let shape = shape(&estate);
        assert_eq!(
            names(shape.regions().unwrap().iter().copied()),
            ["eu-central-1", "eu-west-1", "eu-west-2"]
        );
        assert_eq!(names(shape.unread()), ["eu-central-1", "eu-west-2"]);
        assert_eq!(shape.primary.clone().unwrap().as_str(), "eu-central-1");
        assert_eq!(shape.primary_key().unwrap_err(), "the primary in eu-central-1 was not read");
        assert!(!shape.is_transient);
    }

    #[test]
    fn members_that_cannot_be_described_leave_the_set_open() {
        let mut member = key_set(&["eu-central-1", "eu-west-1"]).remove(0);
        member.metadata = gap("kms:DescribeKey");
        let estate = estate(vec![member]);
        let shape = shape(&estate);
        assert_eq!(shape.regions(), Err("kms:DescribeKey denied".to_owned()));
        assert_eq!(shape.primary, Err("kms:DescribeKey denied".to_owned()));
        assert!(!shape.is_transient, "what is not known is not in transit");
    }

    #[test]
    fn two_primaries_or_none_are_a_move_and_no_violation() {
        let before = key_set(&["eu-central-1", "eu-west-1"]);
        let after = key_set(&["eu-west-1", "eu-central-1"]);
        let two = estate(vec![before[0].clone(), after[0].clone()]);
        assert!(shape(&two).is_transient);
        assert!(shape(&two).primary.is_err());
        let mut none = vec![before[1].clone(), after[1].clone()];
        for key in &mut none {
            if let crate::model::Observed::Known(metadata) = &mut key.metadata {
                metadata.multi_region.as_mut().unwrap().primary = None;
            }
        }
        let none = estate(none);
        assert!(shape(&none).is_transient);
        assert!(shape(&none).primary.is_err());
    }

    #[test]
    fn a_long_stale_reading_does_not_keep_a_set_in_transit() {
        let stale = key_set(&["eu-central-1", "eu-west-1"]).remove(0);
        let mut fresh = key_set(&["eu-west-1", "eu-central-1"]).remove(0);
        fresh.read_at = at("2026-03-01T14:00:00Z");
        let estate = estate(vec![stale, fresh]);
        let shape = shape(&estate);
        assert!(!shape.is_transient);
        assert_eq!(shape.primary.clone().unwrap().as_str(), "eu-west-1");
    }

    #[test]
    fn a_member_in_the_making_makes_the_set_transient() {
        let mut members = key_set(&["eu-central-1", "eu-west-1"]);
        if let crate::model::Observed::Known(metadata) = &mut members[1].metadata {
            metadata.state = "Creating".to_owned();
        }
        assert!(shape(&estate(members)).is_transient);
    }

    #[test]
    fn a_single_region_key_is_a_set_of_one() {
        let estate = estate(vec![key("arn:aws:kms:eu-central-1:111122223333:key/single")]);
        let shape = shape(&estate);
        assert_eq!(names(shape.regions().unwrap().iter().copied()), ["eu-central-1"]);
        assert!(shape.primary_key().is_ok());
    }
}
