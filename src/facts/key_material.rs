//! Facts about imported key material: when it expires, and how old it is.

use chrono::{DateTime, Utc};

use super::Context;
use super::key::{Role, metadata, role};
use super::key_rotation;
use super::shape::Shape;
use super::sheet::{Known, Sheet, days_between, is_longer_than, observed, time};
use crate::model::{KeyMetadata, KeySnapshot};

/// Writes the facts about key material.
pub(super) fn put(sheet: &mut Sheet, key: &KeySnapshot, shape: Option<&Shape<'_>>, context: &Context<'_>) {
    let metadata = match metadata(key) {
        Ok(metadata) => metadata,
        Err(reason) => {
            const PATHS: [&str; 4] =
                ["material.imported", "material.expiring", "material.age_days", "material.rotation_overdue"];
            return sheet.put_unknown(&PATHS, &reason);
        }
    };
    let is_imported = metadata.origin == "EXTERNAL";
    sheet.put("material.imported", is_imported);
    if !is_imported {
        return;
    }
    let warning = context.policy.expiry_warning_days;
    sheet.put(
        "material.expiring",
        metadata.valid_to.is_some_and(|end| !is_longer_than(context.now, end, warning)),
    );
    sheet.put_some("material.expires", metadata.valid_to.as_ref().map(time));
    sheet.put_some("material.expires_in_days", metadata.valid_to.map(|end| days_between(context.now, end)));
    let since = since(key, metadata, shape);
    sheet.put_known("material.age_days", since.clone().map(|since| days_between(since, context.now)));
    sheet.put_known("material.rotation_overdue", is_rotation_overdue(key, metadata, &since, context));
}

/// When the current material came: by the last rotation, else with the key. The first member of a set is as old
/// as the set; a replica that was made primary later is younger than the material it holds.
fn since(key: &KeySnapshot, metadata: &KeyMetadata, shape: Option<&Shape<'_>>) -> Known<DateTime<Utc>> {
    let rotated = match observed(&key.rotations) {
        Some(rotations) => key_rotation::last(rotations?),
        None => None,
    };
    let members = shape.into_iter().flat_map(|shape| shape.read.values());
    let created = members.filter_map(|member| member.metadata.known()?.created).chain(metadata.created).min();
    rotated.or(created).ok_or_else(|| "kms:DescribeKey gave no creation date".to_owned())
}

fn is_rotation_overdue(
    key: &KeySnapshot,
    metadata: &KeyMetadata,
    since: &Known<DateTime<Utc>>,
    context: &Context<'_>,
) -> Known<bool> {
    if !key_rotation::is_eligible_on_demand(metadata) || metadata.state != "Enabled" {
        return Ok(false);
    }
    // Rotation is asked for on the primary, and the replicas follow.
    if role(key)? == Role::Replica {
        return Ok(false);
    }
    let longest = context.policy.imported_material_max_age_days;
    since.clone().map(|since| is_longer_than(since, context.now, longest))
}

#[cfg(test)]
mod tests {
    use super::super::estate::Estate;
    use super::super::fixtures::{World, at, gap, key_set, key_with, show};
    use super::*;
    use crate::model::{Facts, KeyRotation, Observed, RotationKind};

    const ARN: &str = "arn:aws:kms:eu-central-1:111122223333:key/single";

    fn imported(change: impl Fn(&mut KeyMetadata)) -> KeySnapshot {
        let mut snapshot = key_with(ARN, |metadata| {
            metadata.origin = "EXTERNAL".to_owned();
            change(metadata);
        });
        snapshot.rotation = Observed::NotApplicable;
        snapshot.rotations = Observed::Known(Vec::new());
        snapshot
    }

    fn judge(snapshot: &KeySnapshot) -> Facts {
        super::super::key(snapshot, &Estate::default(), &World::new().context())
    }

    fn rotated(when: &str) -> Observed<Vec<KeyRotation>> {
        let entry = KeyRotation { material_id: None, at: Some(at(when)), kind: Some(RotationKind::OnDemand) };
        Observed::Known(vec![entry])
    }

    #[test]
    fn material_that_aws_made_has_no_such_facts() {
        let facts = judge(&key_with(ARN, |_| {}));
        assert_eq!(show(&facts, "material.imported"), "false");
        for path in ["material.age_days", "material.expiring", "material.rotation_overdue"] {
            assert_eq!(show(&facts, path), "-", "{path}");
        }
    }

    #[test]
    fn expiry_is_told_beforehand_and_afterwards() {
        let with = |end: Option<&str>| judge(&imported(|metadata| metadata.valid_to = end.map(at)));
        assert_eq!(show(&with(None), "material.expiring"), "false");
        let soon = with(Some("2026-03-31T12:00:00Z"));
        assert_eq!(show(&soon, "material.expiring"), "true");
        assert_eq!(show(&soon, "material.expires_in_days"), "30");
        assert_eq!(show(&with(Some("2026-04-01T12:00:00Z")), "material.expiring"), "false");
        let past = with(Some("2026-02-28T12:00:00Z"));
        assert_eq!(show(&past, "material.expiring"), "true");
        assert_eq!(show(&past, "material.expires_in_days"), "-1");
    }

    #[test]
    fn the_age_counts_from_the_last_rotation_else_from_the_creation() {
        let never = judge(&imported(|_| {}));
        assert_eq!(show(&never, "material.age_days"), "424");
        assert_eq!(show(&never, "material.rotation_overdue"), "true");
        let mut snapshot = imported(|_| {});
        snapshot.rotations = rotated("2026-02-01T12:00:00Z");
        assert_eq!(show(&judge(&snapshot), "material.age_days"), "28");
        assert_eq!(show(&judge(&snapshot), "material.rotation_overdue"), "false");
        snapshot.rotations = gap("kms:ListKeyRotations");
        assert_eq!(show(&judge(&snapshot), "material.rotation_overdue"), "?kms:ListKeyRotations denied");
    }

    #[test]
    fn only_what_can_be_rotated_on_demand_and_is_enabled_can_be_overdue() {
        for change in [
            &(|metadata: &mut KeyMetadata| metadata.spec = "RSA_2048".to_owned())
                as &dyn Fn(&mut KeyMetadata),
            &|metadata: &mut KeyMetadata| metadata.state = "PendingImport".to_owned(),
            &|metadata: &mut KeyMetadata| metadata.state = "Disabled".to_owned(),
        ] {
            assert_eq!(show(&judge(&imported(change)), "material.rotation_overdue"), "false");
        }
    }

    #[test]
    fn a_replica_made_primary_has_the_age_of_its_set() {
        let mut members = key_set(&["eu-central-1", "eu-west-1"]);
        for (member, created) in members.iter_mut().zip(["2026-02-01T00:00:00Z", "2024-03-01T12:00:00Z"]) {
            let Observed::Known(metadata) = &mut member.metadata else { unreachable!() };
            metadata.origin = "EXTERNAL".to_owned();
            metadata.created = Some(at(created));
        }
        let mut estate = Estate::default();
        for member in &members {
            estate.put_key(member.clone());
        }
        let world = World::new();
        let facts = super::super::key(&members[0], &estate, &world.context());
        assert_eq!(show(&facts, "material.age_days"), "730");
        assert_eq!(show(&facts, "material.rotation_overdue"), "true");
        let replica = super::super::key(&members[1], &estate, &world.context());
        assert_eq!(show(&replica, "material.rotation_overdue"), "false");
    }
}
