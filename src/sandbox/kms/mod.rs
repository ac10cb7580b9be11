//! AWS KMS: keys and key sets, their policies, rotation, deletion, grants, aliases, tags, and their use.
//!
//! [`State`] is free of the rest of the sandbox: [`State::answer`] takes a call and the time and gives the
//! answer. What CloudTrail has to know of it is left in a trace, and what KMS does of itself when time passes
//! (deletions, rotations, expiries) in a list of events.

mod aliases;
mod aws_managed;
mod conditions;
mod create;
mod crypto;
mod data_keys;
mod deletion;
mod describe;
mod grants;
mod import;
mod input;
mod key;
mod lists;
mod multi_region;
mod page;
mod passing;
mod policies;
mod policy;
mod rotation;
pub mod seed;
mod spec;
mod state;
mod stores;
mod switches;
mod tags;
#[cfg(test)]
pub(in crate::sandbox) mod tests;
mod trace;
mod turn;
mod view;

use chrono::{DateTime, Utc};
use serde_json::Value;

pub(in crate::sandbox) use input::{epoch, lower_first, time};
pub use spec::Origin;
pub use state::State;
pub(in crate::sandbox) use trace::{Companion, ServiceEvent, Trace};
pub use turn::Surroundings;
pub use view::KeyView;

use super::World;
use super::call::{Answer, ApiError, Call};
use super::identity::Decision;
use turn::Turn;

/// Answers a call.
pub fn handle(world: &mut World, call: &Call) -> Answer {
    let now = world.now();
    let mut state = std::mem::take(&mut world.kms);
    let answer = state.answer(
        call,
        now,
        &Surroundings {
            iam_allows: world.identity.decision(call) == Decision::Allowed,
            region_enabled: &|region| world.region_enabled(&call.account, region),
            organization: world.membership(&call.account).map(|membership| membership.id),
        },
    );
    world.kms = state;
    answer
}

impl State {
    /// Answers one call at one time.
    ///
    /// # Errors
    ///
    /// The error that AWS KMS gives.
    pub fn answer(&mut self, call: &Call, now: DateTime<Utc>, around: &Surroundings<'_>) -> Answer {
        self.advance(now);
        self.trace = Trace { event_id: Some(self.ids.uuid()), ..Trace::default() };
        let mut turn = Turn { state: self, call, now, around };
        let handler =
            manage(&call.operation).or_else(|| read(&call.operation)).or_else(|| usage(&call.operation));
        match handler {
            Some(handler) => handler(&mut turn),
            None => Err(super::world::unknown_operation(call)),
        }
    }
}

type Handler = fn(&mut Turn<'_>) -> Result<Value, ApiError>;

/// The operations that change keys.
fn manage(operation: &str) -> Option<Handler> {
    Some(match operation {
        "CreateKey" => create::create_key,
        "ReplicateKey" => multi_region::replicate_key,
        "UpdatePrimaryRegion" => multi_region::update_primary_region,
        "ScheduleKeyDeletion" => deletion::schedule_key_deletion,
        "CancelKeyDeletion" => deletion::cancel_key_deletion,
        "EnableKey" => switches::enable_key,
        "DisableKey" => switches::disable_key,
        "UpdateKeyDescription" => switches::update_key_description,
        "EnableKeyRotation" => rotation::enable_key_rotation,
        "DisableKeyRotation" => rotation::disable_key_rotation,
        "RotateKeyOnDemand" => rotation::rotate_key_on_demand,
        "PutKeyPolicy" => policies::put_key_policy,
        "CreateAlias" => aliases::create_alias,
        "UpdateAlias" => aliases::update_alias,
        "DeleteAlias" => aliases::delete_alias,
        "TagResource" => tags::tag_resource,
        "UntagResource" => tags::untag_resource,
        "CreateGrant" => grants::create_grant,
        "RetireGrant" => grants::retire_grant,
        "RevokeGrant" => grants::revoke_grant,
        "ImportKeyMaterial" => import::import_key_material,
        "DeleteImportedKeyMaterial" => import::delete_imported_key_material,
        "CreateCustomKeyStore" => stores::create_custom_key_store,
        "UpdateCustomKeyStore" => stores::update_custom_key_store,
        "ConnectCustomKeyStore" => stores::connect_custom_key_store,
        "DisconnectCustomKeyStore" => stores::disconnect_custom_key_store,
        "DeleteCustomKeyStore" => stores::delete_custom_key_store,
        _ => return None,
    })
}

/// The operations that read.
fn read(operation: &str) -> Option<Handler> {
    Some(match operation {
        "DescribeKey" => describe::describe_key,
        "ListKeys" => lists::list_keys,
        "GetKeyPolicy" => policies::get_key_policy,
        "ListKeyPolicies" => policies::list_key_policies,
        "GetKeyRotationStatus" => rotation::get_key_rotation_status,
        "ListKeyRotations" => rotation::list_key_rotations,
        "ListAliases" => aliases::list_aliases,
        "ListGrants" => grants::list_grants,
        "ListRetirableGrants" => grants::list_retirable_grants,
        "ListResourceTags" => tags::list_resource_tags,
        "GetKeyLastUsage" => lists::get_key_last_usage,
        "DescribeCustomKeyStores" => stores::describe_custom_key_stores,
        "GetParametersForImport" => import::get_parameters_for_import,
        "GetPublicKey" => crypto::get_public_key,
        _ => return None,
    })
}

/// The operations that use keys.
fn usage(operation: &str) -> Option<Handler> {
    Some(match operation {
        "Encrypt" => crypto::encrypt,
        "Decrypt" => crypto::decrypt,
        "ReEncrypt" => crypto::re_encrypt,
        "Sign" => crypto::sign,
        "Verify" => crypto::verify,
        "GenerateMac" => crypto::generate_mac,
        "VerifyMac" => crypto::verify_mac,
        "GenerateDataKey" => data_keys::generate_data_key,
        "GenerateDataKeyWithoutPlaintext" => data_keys::generate_data_key_without_plaintext,
        "GenerateRandom" => data_keys::generate_random,
        _ => return None,
    })
}
