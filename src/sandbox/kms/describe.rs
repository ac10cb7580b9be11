//! `DescribeKey`, and the metadata that several answers hold.

use serde_json::{Value, json};

use super::input::{epoch, object, required};
use super::key::{Key, Shared, Status};
use super::spec::{Origin, algorithms_member};
use super::state::{Spot, State};
use super::turn::{Naming, Turn};
use crate::model::Region;
use crate::sandbox::call::Answer;

pub(super) fn describe_key(turn: &mut Turn<'_>) -> Answer {
    // Describing an alias of AWS is how many of its keys come into being.
    let reference = required(&turn.call.input, "KeyId")?.to_owned();
    super::aws_managed::ensure(turn, &reference);
    let spot = turn.open(Naming::WithAliases)?;
    Ok(json!({ "KeyMetadata": metadata(turn.state, &spot) }))
}

/// `KeyMetadata`; null for a key that there is not.
pub(super) fn metadata(state: &State, spot: &Spot) -> Value {
    let (Some(key), Some(shared)) = (state.key(spot), state.shared(spot)) else { return Value::Null };
    let cluster = key
        .custom_store
        .as_ref()
        .and_then(|store| state.place(&spot.account, &spot.region)?.stores.get(store)?.cluster.clone());
    let mut metadata = object([
        ("AWSAccountId", Some(json!(key.arn.account.as_str()))),
        ("KeyId", Some(json!(key.arn.id))),
        ("Arn", Some(json!(key.arn.to_string()))),
        ("CreationDate", Some(epoch(key.created))),
        ("Enabled", Some(json!(state.state_of(key) == "Enabled"))),
        ("Description", Some(json!(key.description))),
        ("KeyUsage", Some(json!(shared.usage))),
        ("KeyState", Some(json!(state.state_of(key)))),
        ("Origin", Some(json!(shared.origin.as_str()))),
        ("KeyManager", Some(json!(if key.aws_managed { "AWS" } else { "CUSTOMER" }))),
        ("CustomerMasterKeySpec", Some(json!(shared.spec.name))),
        ("KeySpec", Some(json!(shared.spec.name))),
        ("MultiRegion", Some(json!(shared.related.is_some()))),
        ("MultiRegionConfiguration", multi_region(key, shared)),
        ("DeletionDate", key.deletion.map(epoch)),
        ("PendingDeletionWindowInDays", key.pending_window.map(|days| json!(days))),
        ("CustomKeyStoreId", key.custom_store.as_ref().map(|id| json!(id))),
        ("CloudHsmClusterId", cluster.map(|id| json!(id))),
        ("XksKeyConfiguration", key.external_id.as_ref().map(|id| json!({ "Id": id }))),
    ]);
    if let Some(members) = metadata.as_object_mut() {
        members
            .insert(algorithms_member(shared.usage).to_owned(), json!(shared.spec.algorithms(shared.usage)));
        material(key, shared, members);
    }
    metadata
}

/// What the metadata tells of the key material.
fn material(key: &Key, shared: &Shared, members: &mut serde_json::Map<String, Value>) {
    if shared.origin == Origin::External && key.status != Status::PendingImport {
        let earliest = key.imported.values().flatten().min();
        let model = if earliest.is_some() { "KEY_MATERIAL_EXPIRES" } else { "KEY_MATERIAL_DOES_NOT_EXPIRE" };
        members.insert("ExpirationModel".to_owned(), json!(model));
        if let Some(earliest) = earliest {
            members.insert("ValidTo".to_owned(), epoch(*earliest));
        }
    }
    let Some(current) = shared.current.as_ref().filter(|_| shared.has_material_ids()) else { return };
    if shared.origin == Origin::AwsKms || key.imported.contains_key(current) {
        members.insert("CurrentKeyMaterialId".to_owned(), json!(current));
    }
}

fn multi_region(key: &Key, shared: &Shared) -> Option<Value> {
    let related = shared.related.as_ref()?;
    let member = |region: &Region| json!({ "Arn": key.arn.in_region(region.clone()).to_string(), "Region": region.as_str() });
    let kind = if related.primary == key.arn.region { "PRIMARY" } else { "REPLICA" };
    let replicas: Vec<Value> = related.replicas.iter().map(member).collect();
    Some(json!({
        "MultiRegionKeyType": kind,
        "PrimaryKey": member(&related.primary),
        "ReplicaKeys": replicas,
    }))
}
