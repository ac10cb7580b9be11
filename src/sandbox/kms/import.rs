//! Imported key material.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::input::{blob, encode, epoch, invalid, one_of, required, text, time};
use super::key::{Material, Status};
use super::spec::Origin;
use super::state::{Due, Spot};
use super::turn::{Naming, Turn, not_found, unsupported};
use crate::sandbox::call::{Answer, ApiError};
use crate::sandbox::ids::Ids;

pub(super) fn get_parameters_for_import(turn: &mut Turn<'_>) -> Answer {
    let spot = turn.open(Naming::Own)?;
    require_external(turn, &spot)?;
    turn.require_state(&spot, &["PendingImport", "Enabled", "Disabled"])?;
    required(&turn.call.input, "WrappingAlgorithm")?;
    required(&turn.call.input, "WrappingKeySpec")?;
    let until = turn.now + TimeDelta::days(1);
    let token = token(&spot, until);
    let wrapping_key = turn.state.ids.bytes();
    Ok(json!({
        "KeyId": turn.arn_text(&spot),
        "ImportToken": encode(token),
        "PublicKey": encode(wrapping_key),
        "ParametersValidTo": epoch(until),
    }))
}

/// The token tells for which key it is and until when.
fn token(spot: &Spot, until: DateTime<Utc>) -> String {
    format!("{}/{}/{}/{}", spot.account, spot.region, spot.id, until.timestamp_millis())
}

fn require_external(turn: &Turn<'_>, spot: &Spot) -> Result<(), ApiError> {
    if turn.shared(spot)?.origin == Origin::External {
        return Ok(());
    }
    Err(unsupported(format!("{} origin is not EXTERNAL", turn.arn_text(spot))))
}

pub(super) fn import_key_material(turn: &mut Turn<'_>) -> Answer {
    let spot = turn.open(Naming::Own)?;
    require_external(turn, &spot)?;
    turn.require_state(&spot, &["PendingImport", "Enabled", "Disabled"])?;
    check_token(turn, &spot)?;
    let expiry = expiry(turn)?;
    // In the sandbox the wrapped bytes stand for the material itself.
    let bytes = blob(&turn.call.input, "EncryptedKeyMaterial")?;
    let id = material_id(&spot.id, &bytes);
    admit(turn, &spot, &id)?;
    let description = text(&turn.call.input, "KeyMaterialDescription").map(str::to_owned);
    let shared = turn.shared_mut(&spot)?;
    match shared.materials.iter_mut().find(|material| material.id == id) {
        Some(material) => material.description = description.or_else(|| material.description.take()),
        None => shared.materials.push(Material {
            id: id.clone(),
            rotated: None,
            rotation_type: None,
            description,
        }),
    }
    shared.current.get_or_insert_with(|| id.clone());
    let needed = shared.used_materials();
    let key = turn.key_mut(&spot)?;
    key.imported.insert(id.clone(), expiry);
    let complete = needed.iter().all(|material| key.imported.contains_key(material));
    if complete && key.status == Status::PendingImport {
        key.status = Status::Enabled;
    }
    if let Some(expiry) = expiry {
        turn.state.agenda.add(expiry, spot.clone(), Due::Expiry(id.clone()));
    }
    Ok(json!({ "KeyId": turn.arn_text(&spot), "KeyMaterialId": id }))
}

/// The id that the same material always has with the same key, in every Region.
pub(super) fn material_id(key: &str, bytes: &[u8]) -> String {
    Ids::new(&format!("material {} of {key}", encode(bytes))).hex(64)
}

fn check_token(turn: &Turn<'_>, spot: &Spot) -> Result<(), ApiError> {
    let bytes = blob(&turn.call.input, "ImportToken")?;
    let wrong =
        || ApiError::client("InvalidImportTokenException", "The import token is not valid for this key");
    let given = String::from_utf8(bytes).map_err(|_| wrong())?;
    let until = given.rsplit('/').next().and_then(|millis| millis.parse().ok());
    let until = until.and_then(DateTime::from_timestamp_millis).ok_or_else(wrong)?;
    if given != token(spot, until) {
        return Err(wrong());
    }
    if until < turn.now {
        return Err(ApiError::client("ExpiredImportTokenException", "The import token has expired"));
    }
    Ok(())
}

fn expiry(turn: &Turn<'_>) -> Result<Option<DateTime<Utc>>, ApiError> {
    let input = &turn.call.input;
    let expiry = time(input, "ValidTo");
    let models = ["KEY_MATERIAL_EXPIRES", "KEY_MATERIAL_DOES_NOT_EXPIRE"];
    match one_of(input, "ExpirationModel", "KEY_MATERIAL_EXPIRES", &models)? {
        "KEY_MATERIAL_EXPIRES" => match expiry {
            Some(expiry) if expiry > turn.now && expiry <= turn.now + TimeDelta::days(365) => {
                Ok(Some(expiry))
            }
            Some(_) => Err(invalid("Value at 'validTo' has to be in the future, at most 365 days")),
            None => {
                Err(invalid("Value null at 'validTo' failed to satisfy constraint: Member must not be null"))
            }
        },
        _ if expiry.is_none() => Ok(None),
        _ => Err(invalid("Value at 'validTo' must be null for KEY_MATERIAL_DOES_NOT_EXPIRE")),
    }
}

/// Whether a key may take this material: its first, one that it had before, or a new one where that is announced.
fn admit(turn: &Turn<'_>, spot: &Spot, id: &str) -> Result<(), ApiError> {
    let shared = turn.shared(spot)?;
    let known = shared.materials.iter().any(|material| material.id == id);
    let wrong = || {
        ApiError::client(
            "IncorrectKeyMaterialException",
            "The key material is not the one that the key had before",
        )
    };
    if let Some(expected) = text(&turn.call.input, "KeyMaterialId")
        && expected != id
    {
        return Err(wrong());
    }
    let announced_new = text(&turn.call.input, "ImportType") == Some("NEW_KEY_MATERIAL");
    if known || shared.materials.is_empty() {
        return if announced_new && known { Err(wrong()) } else { Ok(()) };
    }
    // New material goes to the primary first, and only kinds that can rotate take any.
    if announced_new && shared.spec.is_symmetric() && !shared.is_replica(&spot.region) {
        Ok(())
    } else {
        Err(wrong())
    }
}

pub(super) fn delete_imported_key_material(turn: &mut Turn<'_>) -> Answer {
    let spot = turn.open(Naming::Own)?;
    require_external(turn, &spot)?;
    turn.require_state(&spot, &["Enabled", "Disabled", "PendingImport"])?;
    let named = text(&turn.call.input, "KeyMaterialId").map(str::to_owned);
    let shared = turn.shared(&spot)?;
    if let Some(named) = &named
        && !shared.materials.iter().any(|material| material.id == *named)
    {
        return Err(not_found(format!("Key material {named} does not exist")));
    }
    let id = named.or_else(|| shared.current.clone());
    if let Some(id) = &id
        && turn.key(&spot)?.imported.contains_key(id)
    {
        turn.state.forget_material(&spot, id);
    }
    Ok(super::input::object([
        ("KeyId", Some(json!(turn.arn_text(&spot)))),
        ("KeyMaterialId", id.map(|id| json!(id))),
    ]))
}
