//! Facts about one key in one Region.

use std::collections::BTreeSet;

use super::Context;
use super::estate::Estate;
use super::policy::{self, Policy, Principal, Viewpoint};
use super::residency::{self, Residency};
use super::shape::Shape;
use super::sheet::{Known, Sheet, days_between, joined, observed, time};
use super::{key_material, key_rotation};
use crate::model::{
    Country, Fact, Facts, Gap, KeyMetadata, KeySnapshot, MultiRegionRole, Observed, ReadingResult, Subject,
    SubjectKind,
};

/// What a key is to its set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Single,
    Primary,
    Replica,
}

/// The facts about a key.
pub fn key(key: &KeySnapshot, estate: &Estate, context: &Context<'_>) -> Facts {
    let mut sheet = Sheet::default();
    identity(&mut sheet, key, context);
    description(&mut sheet, key, context);
    tags_and_aliases(&mut sheet, key);
    let set = key.arn.key_set();
    // A key that is judged before it is in the estate is a set of its own as far as is known.
    let alone;
    let shape = if let Some(shape) = Shape::of(&set, estate) {
        Some(shape)
    } else {
        let mut only = Estate::default();
        only.put_key(key.clone());
        alone = only;
        Shape::of(&set, &alone)
    };
    let boundary = shape.as_ref().and_then(|shape| {
        let residency = Residency::of(shape, context);
        boundary(&mut sheet, &residency, key, context);
        residency.name(context).ok()
    });
    key_rotation::put(&mut sheet, key, context);
    key_material::put(&mut sheet, key, shape.as_ref(), context);
    policy_facts(&mut sheet, key, context);
    grants(&mut sheet, key, context);
    let subject = Subject {
        kind: SubjectKind::Key,
        id: key.arn.to_string(),
        account: key.arn.account.clone(),
        region: Some(key.arn.region.clone()),
        key_set: Some(set),
        key: Some(key.arn.clone()),
        boundary,
    };
    Facts { subject, root: sheet.finish() }
}

/// The key's metadata, or why it is not known.
pub(super) fn metadata(key: &KeySnapshot) -> Known<&KeyMetadata> {
    observed(&key.metadata).unwrap_or_else(|| Err("kms:DescribeKey was not asked".to_owned()))
}

/// What the key is to its set.
pub(super) fn role(key: &KeySnapshot) -> Known<Role> {
    if !key.arn.is_multi_region() {
        return Ok(Role::Single);
    }
    match metadata(key)?.multi_region.as_ref().map(|related| related.role) {
        Some(MultiRegionRole::Primary) => Ok(Role::Primary),
        Some(MultiRegionRole::Replica) => Ok(Role::Replica),
        None => Err("kms:DescribeKey did not tell whether the key is a primary or a replica".to_owned()),
    }
}

fn identity(sheet: &mut Sheet, key: &KeySnapshot, context: &Context<'_>) {
    let arn = &key.arn;
    sheet.put("key.arn", arn.to_string());
    sheet.put("key.id", arn.id.as_str());
    sheet.put("key.account", arn.account.as_str());
    sheet.put("key.region", arn.region.as_str());
    sheet.put_known("key.country", residency::country(&arn.region, context).map(Country::as_str));
    sheet.put("key.multi_region", arn.is_multi_region());
    let role = role(key).map(|role| match role {
        Role::Single => "single",
        Role::Primary => "primary",
        Role::Replica => "replica",
    });
    sheet.put_known("key.role", role);
    let approved = &context.policy.approved_regions;
    if !approved.is_empty() {
        sheet.put("key.region_approved", approved.contains(&arn.region));
    }
    sheet.put_texts("key.denied", denied(key));
}

/// The calls about this very key that AWS refused. `ListAliases` is asked of a whole Region, and says nothing
/// about one key.
fn denied(key: &KeySnapshot) -> BTreeSet<String> {
    let gaps: [Option<&Gap>; 7] = [
        key.metadata.gap(),
        key.policy.gap(),
        key.rotation.gap(),
        key.rotations.gap(),
        key.grants.gap(),
        key.tags.gap(),
        key.last_usage.gap(),
    ];
    let refused = gaps.into_iter().flatten().filter(|gap| gap.result == ReadingResult::Denied);
    refused.map(|gap| gap.api.clone()).collect()
}

fn description(sheet: &mut Sheet, key: &KeySnapshot, context: &Context<'_>) {
    const PATHS: [&str; 11] = [
        "key.manager",
        "key.state",
        "key.enabled",
        "key.transient",
        "key.spec",
        "key.usage",
        "key.origin",
        "key.description",
        "key.created",
        "key.age_days",
        "deletion.scheduled",
    ];
    let metadata = match metadata(key) {
        Ok(metadata) => metadata,
        Err(reason) => {
            sheet.put_unknown(&PATHS, &reason);
            return sheet.put_unknown(&["deletion.waits_for_replicas"], &reason);
        }
    };
    sheet.put("key.manager", metadata.manager.as_str());
    sheet.put("key.state", metadata.state.as_str());
    sheet.put("key.enabled", metadata.state == "Enabled");
    sheet.put("key.transient", metadata.is_transient());
    sheet.put("key.spec", metadata.spec.as_str());
    sheet.put("key.usage", metadata.usage.as_str());
    sheet.put("key.origin", metadata.origin.as_str());
    sheet.put("key.description", metadata.description.as_str());
    sheet.put_some("key.created", metadata.created.as_ref().map(time));
    sheet.put_some("key.age_days", metadata.created.map(|created| days_between(created, context.now)));
    deletion(sheet, metadata, context);
}

fn deletion(sheet: &mut Sheet, metadata: &KeyMetadata, context: &Context<'_>) {
    let waits = metadata.state == "PendingReplicaDeletion";
    sheet.put("deletion.scheduled", waits || metadata.state == "PendingDeletion");
    sheet.put("deletion.waits_for_replicas", waits);
    sheet.put_some("deletion.date", metadata.deletion_date.as_ref().map(time));
    let days_left = metadata.deletion_date.map(|date| days_between(context.now, date));
    sheet.put_some("deletion.days_left", days_left);
}

fn tags_and_aliases(sheet: &mut Sheet, key: &KeySnapshot) {
    let tags = key.tags.fact(|tags| Fact::map(tags.iter().map(|(name, value)| (name, Fact::text(value)))));
    sheet.put_some("tags", tags);
    match observed(&key.aliases) {
        Some(Ok(names)) => {
            sheet.put_texts("aliases.names", names);
            sheet.put("aliases.count", count(names.len()));
        }
        Some(Err(reason)) => sheet.put_unknown(&["aliases.names", "aliases.count"], &reason),
        None => {}
    }
}

/// A number of things as facts give it.
pub(super) fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn boundary(sheet: &mut Sheet, residency: &Residency<'_>, key: &KeySnapshot, context: &Context<'_>) {
    sheet.put_known("boundary.name", residency.name(context));
    sheet.put_known("boundary.declared", residency.is_declared());
    let tag = context.policy.classification_tag.as_deref();
    sheet.put("classification.required", tag.is_some() || !context.assignments.is_empty());
    sheet.put_some("classification.tag", tag);
    let by_tag = tag.map_or(Ok(false), |tag| match observed(&key.tags) {
        Some(tags) => tags.map(|tags| tags.get(tag).is_some_and(|value| !value.trim().is_empty())),
        None => Ok(false),
    });
    sheet.put_known("classification.present", either(residency.is_declared(), by_tag));
}

/// Kleene's or.
pub(super) fn either(one: Known<bool>, other: Known<bool>) -> Known<bool> {
    match (one, other) {
        (Ok(true), _) | (_, Ok(true)) => Ok(true),
        (Ok(false), Ok(false)) => Ok(false),
        (one, other) => Err(joined(one.err().into_iter().chain(other.err())).unwrap_or_default()),
    }
}

fn policy_facts(sheet: &mut Sheet, key: &KeySnapshot, context: &Context<'_>) {
    const PATHS: [&str; 7] = [
        "policy.public",
        "policy.public_statements",
        "policy.foreign_accounts",
        "policy.delegates_to_iam",
        "policy.replication_unrestricted",
        "policy.replication_principals",
        "policy.replica_regions",
    ];
    let parsed = match observed(&key.policy) {
        None => return,
        Some(text) => text.and_then(|text| Policy::parse(text).map_err(|error| error.to_string())),
    };
    let policy = match parsed {
        Ok(policy) => policy,
        Err(reason) => return sheet.put_unknown(&PATHS, &reason),
    };
    let view = Viewpoint { key: Some(&key.arn), owner: Some(&key.arn.account), accounts: context.accounts };
    let exposure = policy::exposure(&policy, &view);
    sheet.put_known(
        "policy.public",
        exposure.public.as_ref().map(|found| !found.is_empty()).map_err(Clone::clone),
    );
    sheet.put_known_texts("policy.public_statements", exposure.public);
    sheet.put_known_texts("policy.foreign_accounts", exposure.foreign);
    sheet.put("policy.delegates_to_iam", exposure.delegates_to_iam);
    sheet.put_texts("policy.deleted_principals", exposure.deleted);
    let policy::Replication { unrestricted, regions } = policy::replication(&policy, &view);
    let is_unrestricted = unrestricted.as_ref().map(|found| !found.is_empty()).map_err(Clone::clone);
    sheet.put_known("policy.replication_unrestricted", is_unrestricted);
    sheet.put_known_texts("policy.replication_principals", unrestricted);
    sheet.put_texts("policy.replica_regions", regions);
}

fn grants(sheet: &mut Sheet, key: &KeySnapshot, context: &Context<'_>) {
    let grants = match &key.grants {
        Observed::Known(grants) => grants,
        Observed::Unknown(gap) => {
            return sheet.put_unknown(&["grants.count", "grants.foreign_accounts"], &gap.to_string());
        }
        Observed::NotApplicable => return,
    };
    sheet.put("grants.count", count(grants.len()));
    let accounts = grants
        .iter()
        .filter_map(|grant| Principal::from_aws(grant.grantee.as_deref()?).account().cloned())
        .filter(|account| *account != key.arn.account && context.accounts.is_foreign(account));
    sheet.put_texts("grants.foreign_accounts", accounts.collect::<BTreeSet<_>>());
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::fixtures::{World, at, gap, key as snapshot, key_set, key_with, show};
    use super::*;
    use crate::model::Grant;

    const ARN: &str = "arn:aws:kms:eu-central-1:111122223333:key/single";

    fn judge(world: &World, snapshot: &KeySnapshot) -> Facts {
        key(snapshot, &Estate::default(), &world.context())
    }

    fn assert_facts(facts: &Facts, expected: &[(&str, &str)]) {
        for (path, value) in expected {
            assert_eq!(show(facts, path), *value, "{path}");
        }
    }

    #[test]
    fn a_plain_key_is_described() {
        let facts = judge(&World::new(), &snapshot(ARN));
        assert_facts(
            &facts,
            &[
                ("key.arn", ARN),
                ("key.country", "DE"),
                ("key.manager", "CUSTOMER"),
                ("key.role", "single"),
                ("key.enabled", "true"),
                ("key.age_days", "424"),
                ("key.created", "2025-01-01T00:00:00Z"),
                ("key.denied", "-"),
                ("key.region_approved", "-"),
                ("aliases.count", "0"),
                ("aliases.names", "-"),
                ("boundary.name", "eea"),
                ("boundary.declared", "false"),
                ("classification.required", "false"),
                ("deletion.scheduled", "false"),
                ("policy.public", "false"),
                ("policy.delegates_to_iam", "true"),
                ("policy.replication_unrestricted", "?the IAM policies of 111122223333 are not read"),
                ("grants.count", "0"),
            ],
        );
        assert_eq!(facts.subject.id, ARN);
        assert_eq!(facts.subject.boundary.as_deref(), Some("eea"));
    }

    #[test]
    fn a_key_that_denies_everything_is_unknown_leaf_by_leaf() {
        let mut snapshot = snapshot(ARN);
        snapshot.metadata = gap("kms:DescribeKey");
        snapshot.policy = gap("kms:GetKeyPolicy");
        snapshot.grants = gap("kms:ListGrants");
        snapshot.tags = gap("kms:ListResourceTags");
        snapshot.aliases = gap("kms:ListAliases");
        let facts = judge(&World::new(), &snapshot);
        assert_facts(
            &facts,
            &[
                ("key.manager", "?kms:DescribeKey denied"),
                ("key.role", "single"),
                ("key.denied", "kms:DescribeKey kms:GetKeyPolicy kms:ListGrants kms:ListResourceTags"),
                ("rotation.judged", "?kms:DescribeKey denied"),
                ("material.rotation_overdue", "?kms:DescribeKey denied"),
                ("deletion.scheduled", "?kms:DescribeKey denied"),
                ("policy.public", "?kms:GetKeyPolicy denied"),
                ("grants.foreign_accounts", "?kms:ListGrants denied"),
                ("tags.class", "?kms:ListResourceTags denied"),
                ("aliases.count", "?kms:ListAliases denied"),
                ("boundary.name", "eea"),
            ],
        );
    }

    #[test]
    fn a_call_that_was_throttled_is_unknown_and_was_not_refused() {
        let mut snapshot = snapshot(ARN);
        let gap = Gap { api: "kms:GetKeyPolicy".to_owned(), result: ReadingResult::Throttled };
        snapshot.policy = Observed::Unknown(gap);
        let facts = judge(&World::new(), &snapshot);
        assert_facts(&facts, &[("key.denied", "-"), ("policy.public", "?kms:GetKeyPolicy throttled")]);
    }

    #[test]
    fn an_aws_managed_key_has_no_policy_facts() {
        let mut snapshot = key_with(ARN, |metadata| metadata.manager = "AWS".to_owned());
        snapshot.policy = Observed::NotApplicable;
        snapshot.grants = Observed::NotApplicable;
        snapshot.tags = Observed::NotApplicable;
        let facts = judge(&World::new(), &snapshot);
        assert_facts(&facts, &[("key.manager", "AWS"), ("policy", "-"), ("grants", "-"), ("tags", "-")]);
    }

    #[test]
    fn a_deletion_waits_for_its_day_or_for_the_replicas() {
        let scheduled = judge(
            &World::new(),
            &key_with(ARN, |metadata| {
                metadata.state = "PendingDeletion".to_owned();
                metadata.deletion_date = Some(at("2026-03-08T13:00:00Z"));
            }),
        );
        assert_facts(
            &scheduled,
            &[
                ("deletion.scheduled", "true"),
                ("deletion.days_left", "7"),
                ("deletion.waits_for_replicas", "false"),
            ],
        );
        let mut members = key_set(&["eu-central-1", "eu-west-1"]);
        let Observed::Known(metadata) = &mut members[0].metadata else { unreachable!() };
        metadata.state = "PendingReplicaDeletion".to_owned();
        let waiting = judge(&World::new(), &members[0]);
        assert_facts(
            &waiting,
            &[
                ("deletion.scheduled", "true"),
                ("deletion.date", "-"),
                ("deletion.days_left", "-"),
                ("deletion.waits_for_replicas", "true"),
            ],
        );
    }

    #[test]
    fn a_class_comes_by_tag_or_by_a_declared_boundary_of_the_set() {
        let mut world = World::assigned("[[residency]]\nboundary = 'eea'\nmatch = { aliases = '^eu/' }");
        world.policy.classification_tag = Some("class".to_owned());
        let present = |snapshot: &KeySnapshot| show(&judge(&world, snapshot), "classification.present");
        let mut key = snapshot(ARN);
        assert_eq!(present(&key), "false");
        key.tags = Observed::Known(BTreeMap::from([("class".to_owned(), " ".to_owned())]));
        assert_eq!(present(&key), "false", "an empty class is none");
        key.tags = Observed::Known(BTreeMap::from([("class".to_owned(), "public".to_owned())]));
        assert_eq!(present(&key), "true");
        key.tags = gap("kms:ListResourceTags");
        assert_eq!(present(&key), "?kms:ListResourceTags denied");
        key.aliases = Observed::Known(vec!["alias/eu/app".to_owned()]);
        assert_eq!(present(&key), "true");
        assert_eq!(show(&judge(&world, &key), "classification.required"), "true");
    }

    #[test]
    fn a_region_is_approved_only_where_such_a_decision_exists() {
        let mut world = World::new();
        world.policy.approved_regions = vec!["eu-west-1".parse().unwrap()];
        assert_facts(&judge(&world, &snapshot(ARN)), &[("key.region_approved", "false")]);
    }

    #[test]
    fn grantees_of_foreign_accounts_are_found() {
        let grant = |grantee: &str| Grant {
            id: grantee.to_owned(),
            name: None,
            created: None,
            grantee: Some(grantee.to_owned()),
            retiring: None,
            issuing_account: None,
            operations: vec!["Decrypt".to_owned()],
            constrained: false,
        };
        let mut key = snapshot(ARN);
        key.grants = Observed::Known(vec![
            grant("arn:aws:iam::999999999999:role/x"),
            grant("arn:aws:iam::111122223333:role/y"),
            grant("rds.amazonaws.com"),
            grant("AROAJQABLZS4A3QDU576Q"),
        ]);
        let facts = judge(&World::new(), &key);
        assert_facts(&facts, &[("grants.count", "4"), ("grants.foreign_accounts", "999999999999")]);
    }

    #[test]
    fn a_policy_that_is_not_understood_is_unknown_in_all_its_facts() {
        let mut key = snapshot(ARN);
        key.policy = Observed::Known("not json".to_owned());
        let facts = judge(&World::new(), &key);
        for path in ["policy.public", "policy.foreign_accounts", "policy.replication_unrestricted"] {
            assert!(show(&facts, path).starts_with("?the key policy is not JSON"), "{path}");
        }
    }

    #[test]
    fn or_is_true_as_soon_as_one_side_is() {
        let unknown = || Err("x".to_owned());
        assert_eq!(either(unknown(), Ok(true)), Ok(true));
        assert_eq!(either(Ok(false), unknown()), unknown());
        assert_eq!(either(Ok(false), Ok(false)), Ok(false));
    }
}
