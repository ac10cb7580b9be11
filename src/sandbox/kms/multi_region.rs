//! `ReplicateKey` and `UpdatePrimaryRegion`.

use std::sync::Arc;

use serde_json::{Value, json};

use super::describe;
use super::input::{invalid, owned, required, text};
use super::key::{Key, Related, Status, Transit};
use super::policies;
use super::spec::Origin;
use super::state::{Due, Spot};
use super::tags;
use super::trace::Companion;
use super::turn::{Naming, Turn, invalid_state, unsupported};
use crate::model::Region;
use crate::sandbox::call::{Answer, ApiError};
use crate::sandbox::geography;

pub(super) fn replicate_key(turn: &mut Turn<'_>) -> Answer {
    let spot = turn.open(Naming::Own)?;
    let region = other_region(turn, "ReplicaRegion")?;
    let related = require_primary(turn, &spot)?;
    turn.require_state(&spot, &["Enabled", "PendingImport"])?;
    let replica = Spot { region: region.clone(), ..spot.clone() };
    let there = turn.key(&spot)?.arn.in_region(region.clone());
    if related.primary == region || related.replicas.contains(&region) || turn.state.key(&replica).is_some() {
        return Err(ApiError::client("AlreadyExistsException", format!("{there} already exists")));
    }
    let policy = policies::from_input(turn)?;
    let tags = tags::from_input(&turn.call.input)?;
    let (now, settled) = (turn.now, turn.now + turn.state.settling);
    let mut key = Key::new(there.clone(), now, Arc::new(policy));
    key.description = owned(&turn.call.input, "Description");
    key.tags = tags;
    key.transit = Some(Transit::Creating);
    let shared = turn.shared_mut(&spot)?;
    if let Some(related) = &mut shared.related {
        related.replicas.insert(region);
    }
    // A replica of imported material is an empty vessel until the same material is imported there too.
    if shared.origin == Origin::External {
        key.status = Status::PendingImport;
    }
    turn.state.place_mut(&replica.account, &replica.region).keys.insert(replica.id.clone(), key);
    turn.state.agenda.add(settled, replica.clone(), Due::Settled);
    let key_metadata = describe::metadata(turn.state, &replica);
    note_creation(turn, &replica, &key_metadata);
    let replica_policy = turn.key(&replica)?.policy.text.clone();
    Ok(json!({
        "ReplicaKeyMetadata": key_metadata,
        "ReplicaPolicy": replica_policy,
        "ReplicaTags": turn.call.input.get("Tags").cloned().unwrap_or_else(|| json!([])),
    }))
}

/// Notes the `CreateKey` record that replication leaves in the replica's Region.
fn note_creation(turn: &mut Turn<'_>, replica: &Spot, metadata: &Value) {
    let input = &turn.call.input;
    let mut request = json!({
        "BypassPolicyLockoutSafetyCheck": super::input::flag(input, "BypassPolicyLockoutSafetyCheck"),
        "Description": text(input, "Description").unwrap_or_default(),
        "CustomerMasterKeySpec": metadata["KeySpec"],
        "KeySpec": metadata["KeySpec"],
        "KeyUsage": metadata["KeyUsage"],
        "Origin": metadata["Origin"],
        "MultiRegion": true,
    });
    for member in ["Policy", "Tags"] {
        if let (Some(request), Some(value)) = (request.as_object_mut(), input.get(member)) {
            request.insert(member.to_owned(), value.clone());
        }
    }
    let resources = turn.state.key(replica).map(|key| key.arn.to_string()).into_iter().collect();
    turn.state.trace.companions.push(Companion {
        region: replica.region.clone(),
        name: "CreateKey",
        request,
        response: json!({ "KeyMetadata": metadata }),
        resources,
    });
}

pub(super) fn update_primary_region(turn: &mut Turn<'_>) -> Answer {
    let spot = turn.open(Naming::Own)?;
    let region = other_region(turn, "PrimaryRegion")?;
    let related = require_primary(turn, &spot)?;
    turn.require_state(&spot, &["Enabled"])?;
    let heir = Spot { region: region.clone(), ..spot.clone() };
    if !related.replicas.contains(&region) {
        let message = format!("Key '{}' has no replica in {region}", turn.arn_text(&spot));
        return Err(super::turn::not_found(message));
    }
    let heir_state = turn.state_of(&heir)?;
    if heir_state != "Enabled" {
        return Err(invalid_state(format!("{} is not enabled.", turn.arn_text(&heir))));
    }
    turn.authorize(&heir, "UpdatePrimaryRegion")?;
    if let Some(related) = &mut turn.shared_mut(&spot)?.related {
        related.replicas.remove(&region);
        related.replicas.insert(spot.region.clone());
        related.primary = region.clone();
    }
    let settled = turn.now + turn.state.settling;
    for member in [&spot, &heir] {
        turn.key_mut(member)?.transit = Some(Transit::Updating);
        turn.state.agenda.add(settled, member.clone(), Due::Settled);
    }
    let (from, to) = (turn.arn_text(&spot), turn.arn_text(&heir));
    turn.state.trace.companions.push(Companion {
        region: region.clone(),
        name: "UpdatePrimaryRegion",
        request: json!({ "KeyId": from, "PrimaryRegion": region.as_str() }),
        response: json!({ "KeyId": to }),
        resources: vec![to],
    });
    turn.state.synchronize(&heir, turn.now);
    Ok(json!({}))
}

/// The Region that the input names, if a key of this Region may have a relative there.
fn other_region(turn: &Turn<'_>, member: &str) -> Result<Region, ApiError> {
    let name = required(&turn.call.input, member)?;
    let region: Region = name.parse().map_err(|_| {
        invalid(&format!("Value '{name}' at '{}' is not a Region", super::input::lower_first(member)))
    })?;
    if geography::partition_of(&region) != turn.call.partition {
        return Err(unsupported(format!("{region} is in another partition than {}", turn.call.region)));
    }
    if !(turn.around.region_enabled)(&region) {
        return Err(unsupported(format!("{region} is not enabled for account {}", turn.call.account)));
    }
    Ok(region)
}

fn require_primary(turn: &Turn<'_>, spot: &Spot) -> Result<Related, ApiError> {
    let arn = turn.arn_text(spot);
    let related = turn.shared(spot)?.related.clone();
    let related = related.ok_or_else(|| unsupported(format!("{arn} is not a multi-Region key.")))?;
    if related.primary == spot.region {
        Ok(related)
    } else {
        Err(unsupported(format!("{arn} is not a multi-Region primary key.")))
    }
}
