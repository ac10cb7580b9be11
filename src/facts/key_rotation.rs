//! Facts about the rotation of a key: what AWS can rotate, what it does, and what was done.

use super::Context;
use super::key::{Role, count, metadata, role};
use super::sheet::{Known, Sheet, is_longer_than, observed, time};
use crate::model::{KeyMetadata, KeyRotation, KeySnapshot, RotationKind, RotationStatus};

/// What AWS can rotate automatically: customer managed, symmetric, with material that AWS KMS made.
pub(super) fn is_eligible(metadata: &KeyMetadata) -> bool {
    is_customer_symmetric(metadata) && metadata.origin == "AWS_KMS"
}

/// What can be rotated on demand: imported material too, and still nothing in a custom key store.
pub(super) fn is_eligible_on_demand(metadata: &KeyMetadata) -> bool {
    is_customer_symmetric(metadata) && matches!(metadata.origin.as_str(), "AWS_KMS" | "EXTERNAL")
}

fn is_customer_symmetric(metadata: &KeyMetadata) -> bool {
    metadata.manager == "CUSTOMER" && metadata.spec == "SYMMETRIC_DEFAULT"
}

/// Writes the facts about rotation.
pub(super) fn put(sheet: &mut Sheet, key: &KeySnapshot, context: &Context<'_>) {
    sheet.put("rotation.max_period_days", context.policy.max_rotation_period_days);
    match metadata(key) {
        Ok(metadata) => {
            sheet.put("rotation.eligible", is_eligible(metadata));
            sheet.put("rotation.on_demand_eligible", is_eligible_on_demand(metadata));
            sheet.put_known("rotation.judged", is_judged(key, metadata));
            // While a key is pending deletion its status reads false, whatever the setting is that a
            // cancellation brings back.
            if !metadata.state.starts_with("Pending") {
                status(sheet, key, context);
            }
        }
        Err(reason) => {
            const PATHS: [&str; 4] =
                ["rotation.eligible", "rotation.on_demand_eligible", "rotation.judged", "rotation.enabled"];
            sheet.put_unknown(&PATHS, &reason);
        }
    }
    history(sheet, key, context);
}

/// Rotation is judged where AWS rotates: not while the key is disabled or pending anything, and not on replicas,
/// which mirror their primary.
fn is_judged(key: &KeySnapshot, metadata: &KeyMetadata) -> Known<bool> {
    if !is_eligible(metadata) || metadata.state != "Enabled" {
        return Ok(false);
    }
    role(key).map(|role| role != Role::Replica)
}

fn status(sheet: &mut Sheet, key: &KeySnapshot, context: &Context<'_>) {
    const DETAILS: [&str; 4] =
        ["rotation.period_days", "rotation.period_too_long", "rotation.next", "rotation.overdue"];
    match observed(&key.rotation) {
        None => {}
        Some(Err(reason)) => {
            sheet.put_unknown(&["rotation.enabled"], &reason);
            sheet.put_unknown(&DETAILS, &reason);
        }
        Some(Ok(rotation)) => {
            sheet.put("rotation.enabled", rotation.enabled);
            if rotation.enabled {
                schedule(sheet, rotation, context);
            }
        }
    }
}

fn schedule(sheet: &mut Sheet, rotation: &RotationStatus, context: &Context<'_>) {
    match rotation.period_days {
        Some(days) => {
            sheet.put("rotation.period_days", days);
            sheet.put("rotation.period_too_long", days > context.policy.max_rotation_period_days);
        }
        None => sheet.put_unknown(
            &["rotation.period_days", "rotation.period_too_long"],
            "kms:GetKeyRotationStatus gave no period",
        ),
    }
    match rotation.next {
        Some(next) => {
            sheet.put("rotation.next", time(&next));
            let grace = context.policy.rotation_grace_days;
            sheet.put("rotation.overdue", is_longer_than(next, context.now, grace));
        }
        None => sheet.put_unknown(
            &["rotation.next", "rotation.overdue"],
            "kms:GetKeyRotationStatus gave no next date",
        ),
    }
}

/// The last rotation of any kind; none if there was none.
pub(super) fn last(rotations: &[KeyRotation]) -> Option<chrono::DateTime<chrono::Utc>> {
    rotations.iter().filter_map(|rotation| rotation.at).max()
}

fn history(sheet: &mut Sheet, key: &KeySnapshot, context: &Context<'_>) {
    match observed(&key.rotations) {
        None => {}
        Some(Err(reason)) => {
            sheet.put_unknown(&["rotation.last", "rotation.recent", "rotation.on_demand_count"], &reason);
        }
        Some(Ok(rotations)) => {
            let last = last(rotations);
            sheet.put_some("rotation.last", last.as_ref().map(time));
            let longest = context.policy.max_rotation_period_days;
            let is_recent = last.is_some_and(|last| !is_longer_than(last, context.now, longest));
            sheet.put("rotation.recent", is_recent);
            let on_demand = rotations.iter().filter(|entry| entry.kind == Some(RotationKind::OnDemand));
            sheet.put("rotation.on_demand_count", count(on_demand.count()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::estate::Estate;
    use super::super::fixtures::{World, at, gap, key, key_set, key_with, show};
    use super::*;
    use crate::model::{Facts, Observed};

    const ARN: &str = "arn:aws:kms:eu-central-1:111122223333:key/single";

    fn judge(world: &World, snapshot: &KeySnapshot) -> Facts {
        super::super::key(snapshot, &Estate::default(), &world.context())
    }

    #[test]
    fn only_symmetric_customer_keys_with_aws_material_are_eligible() {
        for (manager, spec, origin, automatic, on_demand) in [
            ("CUSTOMER", "SYMMETRIC_DEFAULT", "AWS_KMS", true, true),
            ("CUSTOMER", "SYMMETRIC_DEFAULT", "EXTERNAL", false, true),
            ("CUSTOMER", "SYMMETRIC_DEFAULT", "AWS_CLOUDHSM", false, false),
            ("CUSTOMER", "SYMMETRIC_DEFAULT", "EXTERNAL_KEY_STORE", false, false),
            ("CUSTOMER", "RSA_2048", "AWS_KMS", false, false),
            ("CUSTOMER", "HMAC_256", "AWS_KMS", false, false),
            ("AWS", "SYMMETRIC_DEFAULT", "AWS_KMS", false, false),
        ] {
            let snapshot = key_with(ARN, |metadata| {
                metadata.manager = manager.to_owned();
                metadata.spec = spec.to_owned();
                metadata.origin = origin.to_owned();
            });
            let facts = judge(&World::new(), &snapshot);
            let what = format!("{manager} {spec} {origin}");
            assert_eq!(show(&facts, "rotation.eligible"), automatic.to_string(), "{what}");
            assert_eq!(show(&facts, "rotation.on_demand_eligible"), on_demand.to_string(), "{what}");
            assert_eq!(show(&facts, "rotation.judged"), automatic.to_string(), "{what}");
        }
    }

    #[test]
    fn rotation_is_judged_only_while_the_key_is_enabled() {
        for (state, judged, status) in [
            ("Enabled", "true", "true"),
            ("Disabled", "false", "true"),
            ("PendingDeletion", "false", "-"),
            ("PendingReplicaDeletion", "false", "-"),
            ("Creating", "false", "true"),
        ] {
            let facts = judge(&World::new(), &key_with(ARN, |metadata| metadata.state = state.to_owned()));
            assert_eq!(show(&facts, "rotation.judged"), judged, "{state}");
            assert_eq!(show(&facts, "rotation.enabled"), status, "{state}");
        }
    }

    #[test]
    fn a_replica_is_not_judged_apart_from_its_primary() {
        let members = key_set(&["eu-central-1", "eu-west-1"]);
        assert_eq!(show(&judge(&World::new(), &members[0]), "rotation.judged"), "true");
        assert_eq!(show(&judge(&World::new(), &members[1]), "rotation.judged"), "false");
        assert_eq!(show(&judge(&World::new(), &members[1]), "rotation.enabled"), "-");
    }

    #[test]
    fn period_and_next_date_are_held_to_the_configuration() {
        let with = |period: Option<i64>, next: Option<&str>| {
            let mut snapshot = key(ARN);
            snapshot.rotation = Observed::Known(RotationStatus {
                enabled: true,
                period_days: period,
                next: next.map(at),
                on_demand_started: None,
            });
            judge(&World::new(), &snapshot)
        };
        assert_eq!(show(&with(Some(365), None), "rotation.period_too_long"), "false");
        assert_eq!(show(&with(Some(366), None), "rotation.period_too_long"), "true");
        assert!(show(&with(None, None), "rotation.period_too_long").starts_with('?'));
        assert!(show(&with(None, None), "rotation.overdue").starts_with('?'));
        assert_eq!(show(&with(None, Some("2026-02-26T12:00:00Z")), "rotation.overdue"), "false");
        assert_eq!(show(&with(None, Some("2026-02-26T11:59:59Z")), "rotation.overdue"), "true");
    }

    #[test]
    fn what_could_not_be_read_is_unknown() {
        let mut snapshot = key(ARN);
        snapshot.rotation = gap("kms:GetKeyRotationStatus");
        snapshot.rotations = gap("kms:ListKeyRotations");
        let facts = judge(&World::new(), &snapshot);
        assert_eq!(show(&facts, "rotation.enabled"), "?kms:GetKeyRotationStatus denied");
        assert_eq!(show(&facts, "rotation.overdue"), "?kms:GetKeyRotationStatus denied");
        assert_eq!(show(&facts, "rotation.recent"), "?kms:ListKeyRotations denied");
    }

    #[test]
    fn a_rotation_of_any_kind_within_the_period_is_recent() {
        let with = |rotations: &[(&str, RotationKind)]| {
            let mut snapshot = key(ARN);
            let entry = |(when, kind): &(&str, RotationKind)| KeyRotation {
                material_id: None,
                at: Some(at(when)),
                kind: Some(*kind),
            };
            snapshot.rotations = Observed::Known(rotations.iter().map(entry).collect());
            judge(&World::new(), &snapshot)
        };
        let none = with(&[]);
        assert_eq!(
            (show(&none, "rotation.recent"), show(&none, "rotation.last")),
            ("false".into(), "-".into())
        );
        let two = with(&[
            ("2024-01-01T00:00:00Z", RotationKind::Automatic),
            ("2025-09-01T00:00:00Z", RotationKind::OnDemand),
        ]);
        assert_eq!(show(&two, "rotation.recent"), "true");
        assert_eq!(show(&two, "rotation.last"), "2025-09-01T00:00:00Z");
        assert_eq!(show(&two, "rotation.on_demand_count"), "1");
        let old = with(&[("2025-02-28T12:00:00Z", RotationKind::Automatic)]);
        assert_eq!(show(&old, "rotation.recent"), "false");
    }
}
