//! `CreateKey`.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};

use super::describe;
use super::input::{flag, invalid, one_of, owned, required, text};
use super::key::{Key, Material, Related, Rotation, Shared, Status};
use super::policies;
use super::spec::{Origin, SYMMETRIC, Spec};
use super::state::State;
use super::tags;
use super::turn::{Turn, not_found, unsupported};
use crate::model::KeyArn;
use crate::sandbox::call::{Answer, ApiError};

pub(super) fn create_key(turn: &mut Turn<'_>) -> Answer {
    super::aws_managed::require_iam(turn)?;
    let input = &turn.call.input;
    let spec = spec(input)?;
    let origin = one_of(input, "Origin", "AWS_KMS", &Origin::NAMES)?;
    let origin = Origin::named(origin).unwrap_or(Origin::AwsKms);
    let usage = usage(input, spec)?;
    let multi_region = flag(input, "MultiRegion");
    let store = custom_store(turn, origin, spec, multi_region)?;
    if spec.name == "SM2" && turn.call.partition != "aws-cn" {
        return Err(unsupported("SM2 keys are supported in the China Regions only"));
    }
    let policy = policies::from_input(turn)?;
    let tags = tags::from_input(&turn.call.input)?;
    let id = turn.state.new_key_id(multi_region);
    let spot = turn.here(&id);
    let arn = KeyArn {
        partition: turn.call.partition.clone(),
        region: spot.region.clone(),
        account: spot.account.clone(),
        id: id.clone(),
    };
    let related = multi_region.then(|| Related { primary: spot.region.clone(), replicas: BTreeSet::new() });
    let mut shared = Shared {
        spec,
        usage,
        origin,
        related,
        rotation: Rotation::default(),
        materials: Vec::new(),
        current: None,
    };
    turn.state.add_first_material(&mut shared);
    let mut key = Key::new(arn, turn.now, Arc::new(policy));
    key.description = owned(&turn.call.input, "Description");
    key.tags = tags;
    key.custom_store = store;
    key.external_id = text(&turn.call.input, "XksKeyId").map(str::to_owned);
    if origin == Origin::External {
        key.status = Status::PendingImport;
    }
    turn.state.insert(key, shared);
    turn.touch(&spot);
    Ok(json!({ "KeyMetadata": describe::metadata(turn.state, &spot) }))
}

impl State {
    pub(super) fn new_key_id(&mut self, multi_region: bool) -> String {
        if multi_region { format!("mrk-{}", self.ids.hex(32)) } else { self.ids.uuid() }
    }

    /// Gives a key that AWS makes the material of its first one.
    pub(super) fn add_first_material(&mut self, shared: &mut Shared) {
        if shared.rotates_automatically() {
            let id = self.ids.hex(64);
            shared.current = Some(id.clone());
            shared.materials.push(Material { id, rotated: None, rotation_type: None, description: None });
        }
    }
}

fn spec(input: &Value) -> Result<&'static Spec, ApiError> {
    let (new, old) = (text(input, "KeySpec"), text(input, "CustomerMasterKeySpec"));
    if new.is_some() && old.is_some() && new != old {
        return Err(ApiError::client(
            "ValidationException",
            "You cannot specify KeySpec and CustomerMasterKeySpec in the same request.",
        ));
    }
    let Some(name) = new.or(old) else { return Ok(SYMMETRIC) };
    Spec::named(name).ok_or_else(|| {
        invalid(&format!(
            "Value '{name}' at 'keySpec' failed to satisfy constraint: Member must satisfy enum value set"
        ))
    })
}

fn usage(input: &Value, spec: &'static Spec) -> Result<&'static str, ApiError> {
    let wrong = |message: String| ApiError::client("ValidationException", message);
    match (text(input, "KeyUsage"), spec.is_symmetric()) {
        (None, true) => Ok("ENCRYPT_DECRYPT"),
        (None, false) => Err(wrong(
            "You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys."
                .to_owned(),
        )),
        (Some(usage), _) => spec
            .usage(usage)
            .ok_or_else(|| wrong(format!("KeyUsage {usage} is not compatible with KeySpec {}", spec.name))),
    }
}

/// Checks that the key store, if one is named, can take such a key.
fn custom_store(
    turn: &Turn<'_>,
    origin: Origin,
    spec: &Spec,
    multi_region: bool,
) -> Result<Option<String>, ApiError> {
    let input = &turn.call.input;
    let named = text(input, "CustomKeyStoreId");
    let wants_store = matches!(origin, Origin::AwsCloudHsm | Origin::ExternalKeyStore);
    let Some(id) = named else {
        return if wants_store {
            Err(ApiError::client(
                "ValidationException",
                format!("CustomKeyStoreId is required for Origin {}", origin.as_str()),
            ))
        } else {
            Ok(None)
        };
    };
    if multi_region || !spec.is_symmetric() {
        return Err(unsupported("A custom key store holds only single-Region symmetric encryption keys"));
    }
    let place = turn.state.place(&turn.call.account, &turn.call.region);
    let store = place.and_then(|place| place.stores.get(id));
    let store = store.ok_or_else(|| ApiError {
        code: "CustomKeyStoreNotFoundException".to_owned(),
        ..not_found(format!("Custom key store {id} does not exist"))
    })?;
    if store.origin() != origin {
        return Err(ApiError::client("ValidationException", "The key store type does not match the Origin"));
    }
    if !store.is_connected() {
        return Err(ApiError::client(
            "CustomKeyStoreInvalidStateException",
            format!("Custom key store {id} is not connected"),
        ));
    }
    if origin == Origin::ExternalKeyStore {
        let external = required(input, "XksKeyId")?;
        let taken = place.is_some_and(|place| {
            place.keys.values().any(|key| {
                key.custom_store.as_deref() == Some(id) && key.external_id.as_deref() == Some(external)
            })
        });
        if taken {
            return Err(ApiError::client(
                "XksKeyAlreadyInUseException",
                format!("{external} is already in use"),
            ));
        }
    }
    Ok(Some(id.to_owned()))
}
