//! Rotation: its settings, its history, and rotation on demand.

use chrono::TimeDelta;
use serde_json::{Map, Value, json};

use super::input::{epoch, number_within, object, one_of};
use super::key::{Key, Material, Shared};
use super::page::{Bounds, Page};
use super::spec::Origin;
use super::state::{Due, Spot};
use super::turn::{Naming, Turn, invalid_state, unsupported};
use crate::sandbox::call::{Answer, ApiError};

/// How often a key can be rotated on demand.
const MOST_ON_DEMAND: u32 = 25;

/// Whether rotation reads as enabled: while its deletion is pending a key does not rotate.
pub(super) fn reads_enabled(key: &Key, shared: &Shared) -> bool {
    shared.rotation.enabled && !key.status.is_pending_deletion()
}

pub(super) fn get_key_rotation_status(turn: &mut Turn<'_>) -> Answer {
    let spot = turn.open(Naming::AnyAccount)?;
    let (key, shared) = (turn.key(&spot)?, turn.shared(&spot)?);
    if !shared.rotates_automatically() {
        return Err(not_rotatable(turn, &spot));
    }
    let enabled = reads_enabled(key, shared);
    let rotation = &shared.rotation;
    Ok(object([
        ("KeyId", Some(json!(key.arn.to_string()))),
        ("KeyRotationEnabled", Some(json!(enabled))),
        ("RotationPeriodInDays", enabled.then(|| json!(rotation.period_days))),
        ("NextRotationDate", rotation.next.filter(|_| enabled).map(epoch)),
    ]))
}

pub(super) fn enable_key_rotation(turn: &mut Turn<'_>) -> Answer {
    let spot = turn.open(Naming::Own)?;
    require_changeable(turn, &spot)?;
    let period = number_within(&turn.call.input, "RotationPeriodInDays", 365, (90, 2_560))?;
    let next = turn.now + TimeDelta::days(period);
    let rotation = &mut turn.shared_mut(&spot)?.rotation;
    rotation.enabled = true;
    rotation.period_days = period;
    rotation.next = Some(next);
    turn.state.agenda.add(next, spot.clone(), Due::Rotation);
    turn.state.synchronize(&spot, turn.now);
    Ok(json!({}))
}

pub(super) fn disable_key_rotation(turn: &mut Turn<'_>) -> Answer {
    let spot = turn.open(Naming::Own)?;
    require_changeable(turn, &spot)?;
    let rotation = &mut turn.shared_mut(&spot)?.rotation;
    rotation.enabled = false;
    rotation.next = None;
    turn.state.synchronize(&spot, turn.now);
    Ok(json!({}))
}

/// Refuses the keys whose rotation cannot be set here.
fn require_changeable(turn: &Turn<'_>, spot: &Spot) -> Result<(), ApiError> {
    turn.require_customer(spot)?;
    let shared = turn.shared(spot)?;
    if !shared.rotates_automatically() {
        return Err(not_rotatable(turn, spot));
    }
    if shared.is_replica(&spot.region) {
        return Err(unsupported(format!(
            "{} is a replica key; set its rotation on the primary key.",
            turn.arn_text(spot)
        )));
    }
    turn.require_state(spot, &["Enabled"])
}

fn not_rotatable(turn: &Turn<'_>, spot: &Spot) -> ApiError {
    let arn = turn.arn_text(spot);
    unsupported(format!(
        "You cannot perform this operation on {arn}: its material does not rotate automatically."
    ))
}

pub(super) fn rotate_key_on_demand(turn: &mut Turn<'_>) -> Answer {
    let spot = turn.open(Naming::Own)?;
    turn.require_customer(&spot)?;
    let shared = turn.shared(&spot)?;
    let rotatable = shared.has_material_ids();
    if !rotatable || shared.is_replica(&spot.region) {
        return Err(unsupported(format!("{} cannot be rotated on demand.", turn.arn_text(&spot))));
    }
    turn.require_state(&spot, &["Enabled"])?;
    let shared = turn.shared(&spot)?;
    if shared.rotation.on_demand >= MOST_ON_DEMAND {
        return Err(ApiError::client(
            "LimitExceededException",
            format!("{MOST_ON_DEMAND} on-demand rotations per key are allowed"),
        ));
    }
    let waiting = match shared.origin {
        Origin::External => Some(waiting_material(turn, &spot)?),
        _ => None,
    };
    turn.shared_mut(&spot)?.rotation.on_demand += 1;
    turn.state.rotate(&spot, turn.now, "ON_DEMAND", waiting);
    Ok(json!({ "KeyId": turn.arn_text(&spot) }))
}

/// The imported material that waits to become current: it has to be in every member of the set.
fn waiting_material(turn: &Turn<'_>, spot: &Spot) -> Result<String, ApiError> {
    let shared = turn.shared(spot)?;
    let arn = turn.arn_text(spot);
    let waiting = shared.materials.iter().find(|material| is_waiting(shared, material));
    let id = waiting
        .ok_or_else(|| invalid_state(format!("{arn} has no key material that is pending rotation.")))?;
    let everywhere = shared.replicas().into_iter().all(|region| {
        let member = Spot { region, ..spot.clone() };
        turn.state.key(&member).is_none_or(|key| key.imported.contains_key(&id.id))
    });
    if everywhere {
        Ok(id.id.clone())
    } else {
        Err(invalid_state(format!("The new key material of {arn} is not imported into every replica key.")))
    }
}

/// Whether an imported material was never current.
fn is_waiting(shared: &Shared, material: &Material) -> bool {
    let first = shared.materials.first().is_some_and(|first| first.id == material.id);
    shared.origin == Origin::External && !first && material.rotated.is_none()
}

pub(super) fn list_key_rotations(turn: &mut Turn<'_>) -> Answer {
    let spot = turn.open(Naming::Own)?;
    let kinds = ["ALL_KEY_MATERIAL", "ROTATIONS_ONLY"];
    let which = one_of(&turn.call.input, "IncludeKeyMaterial", "ROTATIONS_ONLY", &kinds)?;
    let all = which == "ALL_KEY_MATERIAL";
    let (key, shared) = (turn.key(&spot)?, turn.shared(&spot)?);
    if !shared.has_material_ids() {
        return Err(not_rotatable(turn, &spot));
    }
    let page = Page::of(turn.call, &format!("{}/{which}", spot.id), Bounds { default: 100, most: 1_000 })?;
    let numbered =
        shared.materials.iter().enumerate().map(|(number, material)| (format!("{number:06}"), material));
    let wanted = numbered.filter(|(number, material)| {
        (all || material.rotated.is_some()) && page.after().is_none_or(|after| number.as_str() > after)
    });
    Ok(page.cut("Rotations", wanted.map(|(number, material)| (number, entry(key, shared, material)))))
}

fn entry(key: &Key, shared: &Shared, material: &Material) -> Value {
    let current = shared.current.as_ref() == Some(&material.id);
    let state = if current {
        "CURRENT"
    } else if is_waiting(shared, material) && shared.related.is_some() {
        "PENDING_MULTI_REGION_IMPORT_AND_ROTATION"
    } else if is_waiting(shared, material) {
        "PENDING_ROTATION"
    } else {
        "NON_CURRENT"
    };
    let mut entry = object([
        ("KeyId", Some(json!(key.arn.to_string()))),
        ("KeyMaterialId", Some(json!(material.id))),
        ("KeyMaterialState", Some(json!(state))),
        ("RotationDate", material.rotated.map(epoch)),
        ("RotationType", material.rotation_type.map(|kind| json!(kind))),
    ]);
    if let (Origin::External, Some(entry)) = (shared.origin, entry.as_object_mut()) {
        imported(key, material, entry);
    }
    entry
}

fn imported(key: &Key, material: &Material, entry: &mut Map<String, Value>) {
    if let Some(description) = &material.description {
        entry.insert("KeyMaterialDescription".to_owned(), json!(description));
    }
    let Some(expiry) = key.imported.get(&material.id) else {
        entry.insert("ImportState".to_owned(), json!("PENDING_IMPORT"));
        return;
    };
    entry.insert("ImportState".to_owned(), json!("IMPORTED"));
    let model = if expiry.is_some() { "KEY_MATERIAL_EXPIRES" } else { "KEY_MATERIAL_DOES_NOT_EXPIRE" };
    entry.insert("ExpirationModel".to_owned(), json!(model));
    if let Some(expiry) = expiry {
        entry.insert("ValidTo".to_owned(), epoch(*expiry));
    }
}
