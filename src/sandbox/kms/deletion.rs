//! `ScheduleKeyDeletion` and `CancelKeyDeletion`.

use serde_json::json;

use super::input::{epoch, number_within, object};
use super::key::Status;
use super::spec::Origin;
use super::state::Due;
use super::turn::{Naming, Turn};
use crate::sandbox::call::Answer;

pub(super) fn schedule_key_deletion(turn: &mut Turn<'_>) -> Answer {
    let spot = turn.open(Naming::Own)?;
    turn.require_customer(&spot)?;
    let days = number_within(&turn.call.input, "PendingWindowInDays", 30, (7, 30))?;
    turn.require_state(&spot, &["Enabled", "Disabled", "PendingImport", "Unavailable"])?;
    let shared = turn.shared(&spot)?;
    let waits = !shared.is_replica(&spot.region) && !shared.replicas().is_empty();
    let now = turn.now;
    let key = turn.key_mut(&spot)?;
    // A primary outlives its replicas: its waiting period begins when the last of them is deleted.
    let end = if waits {
        key.status = Status::PendingReplicaDeletion;
        key.pending_window = Some(days);
        None
    } else {
        Some(key.begin_waiting(now, days))
    };
    if let Some(end) = end {
        turn.state.agenda.add(end, spot.clone(), Due::Deletion);
    }
    let state = turn.state_of(&spot)?;
    Ok(object([
        ("KeyId", Some(json!(turn.arn_text(&spot)))),
        ("DeletionDate", end.map(epoch)),
        ("KeyState", Some(json!(state))),
        ("PendingWindowInDays", Some(json!(days))),
    ]))
}

pub(super) fn cancel_key_deletion(turn: &mut Turn<'_>) -> Answer {
    let spot = turn.open(Naming::Own)?;
    turn.require_state(&spot, &["PendingDeletion", "PendingReplicaDeletion"])?;
    let origin = turn.shared(&spot)?.origin;
    let key = turn.key_mut(&spot)?;
    let empty = origin == Origin::External && key.imported.is_empty();
    key.status = if empty { Status::PendingImport } else { Status::Disabled };
    key.deletion = None;
    key.pending_window = None;
    Ok(json!({ "KeyId": turn.arn_text(&spot) }))
}
