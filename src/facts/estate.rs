//! The estate as it was last read: what facts about one subject need to know of the others.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use crate::model::{
    AccountId, AccountRegionSnapshot, Batch, KeyArn, KeySetId, KeySnapshot, Region, Snapshot, SourceKind,
};

/// One Region of one account.
pub type Place = (AccountId, Region);

/// The last reading of every key and Region; one snapshot each, whatever their history.
#[derive(Debug, Default, Clone)]
pub struct Estate {
    keys: BTreeMap<KeyArn, KeySnapshot>,
    sets: BTreeMap<KeySetId, BTreeSet<KeyArn>>,
    places: BTreeMap<Place, BTreeSet<KeyArn>>,
    aliases: BTreeMap<Place, BTreeMap<String, KeyArn>>,
    regions: BTreeMap<Place, AccountRegionSnapshot>,
}

/// What a batch touched, and hence what has to be judged again.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Touched {
    /// Keys that were read, and the other members of their sets.
    pub keys: BTreeSet<KeyArn>,
    /// The sets of those keys, and of vanished ones. A set whose last member vanished has no facts any more.
    pub key_sets: BTreeSet<KeySetId>,
    /// Account-Regions that were read, or whose keys were.
    pub regions: BTreeSet<Place>,
    /// Keys that a complete reading no longer names.
    pub vanished: BTreeSet<KeyArn>,
}

impl Estate {
    /// Takes a reading of a key. An older reading than the one that is held changes nothing; gives whether it
    /// was taken.
    pub fn put_key(&mut self, key: KeySnapshot) -> bool {
        if self.keys.get(&key.arn).is_some_and(|held| held.read_at > key.read_at) {
            return false;
        }
        let place = (key.arn.account.clone(), key.arn.region.clone());
        self.forget_aliases(&key.arn);
        if let Some(names) = key.aliases.known() {
            let aliases = self.aliases.entry(place.clone()).or_default();
            aliases.extend(names.iter().map(|name| (name.clone(), key.arn.clone())));
        }
        self.sets.entry(key.arn.key_set()).or_default().insert(key.arn.clone());
        self.places.entry(place).or_default().insert(key.arn.clone());
        self.keys.insert(key.arn.clone(), key);
        true
    }

    /// Forgets a key.
    pub fn remove_key(&mut self, arn: &KeyArn) {
        self.forget_aliases(arn);
        self.keys.remove(arn);
        drop_member(&mut self.sets, &arn.key_set(), arn);
        drop_member(&mut self.places, &(arn.account.clone(), arn.region.clone()), arn);
    }

    fn forget_aliases(&mut self, arn: &KeyArn) {
        let Some(names) = self.keys.get(arn).and_then(|held| held.aliases.known()) else { return };
        let Some(aliases) = self.aliases.get_mut(&(arn.account.clone(), arn.region.clone())) else { return };
        for name in names {
            // Another key may carry the alias by now.
            if aliases.get(name) == Some(arn) {
                aliases.remove(name);
            }
        }
    }

    /// Takes a reading of a Region of an account; an older one than the one that is held changes nothing.
    pub fn put_region(&mut self, region: AccountRegionSnapshot) -> bool {
        let place = (region.account.clone(), region.region.clone());
        if self.regions.get(&place).is_some_and(|held| held.read_at > region.read_at) {
            return false;
        }
        self.regions.insert(place, region);
        true
    }

    /// The last reading of a key.
    pub fn key(&self, arn: &KeyArn) -> Option<&KeySnapshot> {
        self.keys.get(arn)
    }

    /// Every key, by ARN.
    pub fn keys(&self) -> impl Iterator<Item = &KeySnapshot> {
        self.keys.values()
    }

    /// The key sets that have a member that was read.
    pub fn key_sets(&self) -> impl Iterator<Item = &KeySetId> {
        self.sets.keys()
    }

    /// The members of a set that were read, by ARN.
    pub fn members(&self, set: &KeySetId) -> Vec<&KeySnapshot> {
        self.sets.get(set).into_iter().flatten().filter_map(|arn| self.keys.get(arn)).collect()
    }

    /// The keys of one Region of one account, by ARN.
    pub fn keys_in(&self, account: &AccountId, region: &Region) -> impl Iterator<Item = &KeySnapshot> {
        let place = (account.clone(), region.clone());
        self.places.get(&place).into_iter().flatten().filter_map(|arn| self.keys.get(arn))
    }

    /// The key that an alias, with its `alias/`, stands for.
    pub fn key_of_alias(&self, account: &AccountId, region: &Region, alias: &str) -> Option<&KeyArn> {
        self.aliases.get(&(account.clone(), region.clone()))?.get(alias)
    }

    /// Every account-Region, by account and Region.
    pub fn regions(&self) -> impl Iterator<Item = &AccountRegionSnapshot> {
        self.regions.values()
    }

    /// The last reading of one Region of one account.
    pub fn region(&self, account: &AccountId, region: &Region) -> Option<&AccountRegionSnapshot> {
        self.regions.get(&(account.clone(), region.clone()))
    }

    /// Takes a batch in, and tells what it touched.
    ///
    /// After a complete batch of an account-Region its keys that are not in the batch are gone, but for those
    /// that were read after the listing: they are newer than it.
    pub fn apply(&mut self, batch: &Batch) -> Touched {
        let mut touched = Touched::default();
        let mut listed = BTreeSet::new();
        let mut listed_by = batch.read_at;
        for snapshot in &batch.snapshots {
            match snapshot {
                Snapshot::Key(key) => {
                    listed.insert(key.arn.clone());
                    listed_by = listed_by.min(key.read_at);
                    if self.put_key(KeySnapshot::clone(key)) {
                        touched.keys.insert(key.arn.clone());
                    }
                }
                Snapshot::AccountRegion(region) => {
                    if self.put_region(AccountRegionSnapshot::clone(region)) {
                        touched.regions.insert((region.account.clone(), region.region.clone()));
                    }
                }
            }
        }
        self.drop_vanished(batch, &listed, listed_by, &mut touched);
        self.spread(&mut touched);
        touched
    }

    /// Forgets account-Regions with all of their keys, and tells what that touches. The keys count as vanished.
    pub fn forget(&mut self, places: &BTreeSet<Place>) -> Touched {
        let mut touched = Touched::default();
        for place in places {
            touched.vanished.extend(self.places.get(place).into_iter().flatten().cloned());
            self.regions.remove(place);
        }
        for arn in &touched.vanished {
            self.remove_key(arn);
        }
        self.spread(&mut touched);
        touched
    }

    fn drop_vanished(
        &mut self,
        batch: &Batch,
        listed: &BTreeSet<KeyArn>,
        listed_by: DateTime<Utc>,
        touched: &mut Touched,
    ) {
        let (Some(account), Some(region)) = (&batch.account, &batch.region) else { return };
        if !batch.complete || batch.source != SourceKind::Inventory {
            return;
        }
        let gone: Vec<KeyArn> = self
            .keys_in(account, region)
            .filter(|key| !listed.contains(&key.arn) && key.read_at <= listed_by)
            .map(|key| key.arn.clone())
            .collect();
        for arn in gone {
            self.remove_key(&arn);
            touched.vanished.insert(arn);
        }
    }

    /// What is known of a key depends on the other members of its set, and of a Region on its keys.
    fn spread(&self, touched: &mut Touched) {
        for arn in touched.keys.iter().chain(&touched.vanished) {
            touched.key_sets.insert(arn.key_set());
            let place = (arn.account.clone(), arn.region.clone());
            if self.regions.contains_key(&place) {
                touched.regions.insert(place);
            }
        }
        for set in &touched.key_sets {
            touched.keys.extend(self.sets.get(set).into_iter().flatten().cloned());
        }
    }
}

fn drop_member<K: Ord>(groups: &mut BTreeMap<K, BTreeSet<KeyArn>>, group: &K, arn: &KeyArn) {
    if let Some(members) = groups.get_mut(group) {
        members.remove(arn);
        if members.is_empty() {
            groups.remove(group);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{at, batch, key, region_of};
    use super::*;
    use crate::model::Observed;

    const PRIMARY: &str = "arn:aws:kms:eu-central-1:111122223333:key/mrk-1";
    const REPLICA: &str = "arn:aws:kms:eu-west-1:111122223333:key/mrk-1";
    const SINGLE: &str = "arn:aws:kms:eu-central-1:111122223333:key/single";

    fn arns(keys: &BTreeSet<KeyArn>) -> Vec<String> {
        keys.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_change_of_one_member_touches_all_of_its_set() {
        let mut estate = Estate::default();
        estate.put_key(key(PRIMARY));
        estate.put_key(key(SINGLE));
        let touched = estate.apply(&batch("eu-west-1", vec![key(REPLICA)]));
        assert_eq!(arns(&touched.keys), [PRIMARY, REPLICA]);
        assert_eq!(touched.key_sets.len(), 1);
        assert_eq!(estate.members(touched.key_sets.first().unwrap()).len(), 2);
        assert!(touched.vanished.is_empty());
    }

    #[test]
    fn only_a_complete_batch_of_that_place_makes_a_key_vanish() {
        let mut estate = Estate::default();
        for arn in [PRIMARY, REPLICA, SINGLE] {
            estate.put_key(key(arn));
        }
        estate.put_region(region_of("eu-central-1"));
        let mut incomplete = batch("eu-central-1", vec![key(PRIMARY)]);
        incomplete.complete = false;
        assert!(estate.apply(&incomplete).vanished.is_empty());
        let touched = estate.apply(&batch("eu-central-1", vec![key(SINGLE)]));
        assert_eq!(arns(&touched.vanished), [PRIMARY]);
        assert_eq!(arns(&touched.keys), [SINGLE, REPLICA], "the other member is judged again");
        assert_eq!(touched.regions.len(), 1);
        assert_eq!(estate.keys().count(), 2);
        let last = estate.apply(&batch("eu-west-1", vec![]));
        assert_eq!(last.key_sets.len(), 1);
        assert!(estate.members(last.key_sets.first().unwrap()).is_empty());
    }

    #[test]
    fn a_key_that_was_read_after_the_listing_does_not_vanish_by_it() {
        let mut estate = Estate::default();
        let mut newer = key(SINGLE);
        newer.read_at = at("2026-03-01T12:30:00Z");
        estate.put_key(newer);
        let mut slow = batch("eu-central-1", vec![key(PRIMARY)]);
        slow.read_at = at("2026-03-01T13:00:00Z");
        assert!(estate.apply(&slow).vanished.is_empty());
    }

    #[test]
    fn an_older_reading_does_not_replace_a_newer_one() {
        let mut estate = Estate::default();
        let mut newer = key(SINGLE);
        newer.read_at = at("2026-03-02T00:00:00Z");
        assert!(estate.put_key(newer.clone()));
        assert!(!estate.put_key(key(SINGLE)));
        assert_eq!(estate.key(&newer.arn), Some(&newer));
        assert!(estate.apply(&batch("eu-central-1", vec![key(SINGLE)])).keys.is_empty());
    }

    #[test]
    fn a_forgotten_place_takes_its_keys_along() {
        let mut estate = Estate::default();
        for arn in [PRIMARY, REPLICA, SINGLE] {
            estate.put_key(key(arn));
        }
        estate.put_region(region_of("eu-central-1"));
        estate.put_region(region_of("eu-west-1"));
        let place = ("111122223333".parse().unwrap(), "eu-west-1".parse().unwrap());
        let touched = estate.forget(&BTreeSet::from([place]));
        assert_eq!(arns(&touched.vanished), [REPLICA]);
        assert_eq!(arns(&touched.keys), [PRIMARY], "the other member is judged again");
        assert!(touched.regions.is_empty(), "the place itself is no more");
        assert_eq!((estate.keys().count(), estate.regions().count()), (2, 1));
    }

    #[test]
    fn an_alias_leads_to_the_key_that_carries_it_now() {
        let mut estate = Estate::default();
        let with_alias = |arn: &str, name: &str| {
            let mut key = key(arn);
            key.aliases = Observed::Known(vec![name.to_owned()]);
            key
        };
        let (first, second) = (with_alias(PRIMARY, "alias/app"), with_alias(SINGLE, "alias/app"));
        let find = |estate: &Estate, name: &str| {
            estate.key_of_alias(&first.arn.account, &first.arn.region, name).cloned()
        };
        estate.put_key(first.clone());
        estate.put_key(second.clone());
        assert_eq!(find(&estate, "alias/app"), Some(second.arn.clone()));
        estate.put_key(with_alias(PRIMARY, "alias/old"));
        assert_eq!(find(&estate, "alias/app"), Some(second.arn.clone()), "the new bearer keeps it");
        assert_eq!(find(&estate, "alias/old"), Some(first.arn.clone()));
        estate.remove_key(&first.arn);
        assert_eq!(find(&estate, "alias/old"), None);
    }
}
