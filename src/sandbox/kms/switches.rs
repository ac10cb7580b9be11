//! `EnableKey`, `DisableKey`, `UpdateKeyDescription`.

use serde_json::json;

use super::input::required;
use super::key::Status;
use super::turn::{Naming, Turn};
use crate::sandbox::call::Answer;

pub(super) fn enable_key(turn: &mut Turn<'_>) -> Answer {
    let spot = turn.open(Naming::Own)?;
    turn.require_customer(&spot)?;
    turn.require_state(&spot, &["Enabled", "Disabled"])?;
    turn.key_mut(&spot)?.status = Status::Enabled;
    turn.state.catch_up_rotation(&spot, turn.now);
    Ok(json!({}))
}

pub(super) fn disable_key(turn: &mut Turn<'_>) -> Answer {
    let spot = turn.open(Naming::Own)?;
    turn.require_customer(&spot)?;
    turn.require_state(&spot, &["Enabled", "Disabled"])?;
    turn.key_mut(&spot)?.status = Status::Disabled;
    Ok(json!({}))
}

pub(super) fn update_key_description(turn: &mut Turn<'_>) -> Answer {
    let spot = turn.open(Naming::Own)?;
    turn.require_customer(&spot)?;
    turn.require_state(&spot, &["Enabled", "Disabled", "PendingImport", "Unavailable"])?;
    let description = required(&turn.call.input, "Description")?.to_owned();
    turn.key_mut(&spot)?.description = description;
    Ok(json!({}))
}
