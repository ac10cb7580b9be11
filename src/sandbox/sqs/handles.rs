//! What is done with a receipt handle: deleting a message, and changing how long it is hidden.

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::receive::read_handle;
use super::{Queue, invalid, queues};
use crate::sandbox::World;
use crate::sandbox::call::{Answer, ApiError, Call};

/// How long a message can be hidden in all after it was received, in seconds.
const LONGEST: i64 = 43_200;

/// The queue, and the number of the message and of the receive that a handle is of.
fn read<'a>(world: &'a mut World, call: &Call, entry: &Value) -> Result<(&'a mut Queue, u64, u32), ApiError> {
    let (arn, queue) = queues::find_mut(world, call)?;
    let handle = entry.get("ReceiptHandle").and_then(Value::as_str).unwrap_or_default();
    let (number, received) = read_handle(&arn, handle).ok_or_else(|| {
        let message = format!("The input receipt handle \"{handle}\" is not a valid receipt handle.");
        ApiError { status: 404, ..ApiError::client("ReceiptHandleIsInvalid", message) }
    })?;
    Ok((queue, number, received))
}

/// Deletes a message by the handle of its last receive. By an older one the request succeeds and the message
/// stays; it succeeds as well if the message is gone.
pub(super) fn delete(world: &mut World, call: &Call, entry: &Value) -> Answer {
    let (queue, number, received) = read(world, call, entry)?;
    if queue.messages.get(&number).is_some_and(|message| message.received == received) {
        queue.remove(number);
    }
    Ok(json!({}))
}

/// Hides a message from now on for so long, if it is in flight.
pub(super) fn change(world: &mut World, call: &Call, entry: &Value) -> Answer {
    let now = world.now();
    let timeout = entry.get("VisibilityTimeout").and_then(Value::as_i64);
    let timeout = timeout.filter(|timeout| (0..=LONGEST).contains(timeout)).ok_or_else(|| {
        invalid(format!("VisibilityTimeout must be an integer between 0 and {LONGEST}, inclusive."))
    })?;
    let (queue, number, received) = read(world, call, entry)?;
    let Some(message) = queue.messages.get(&number).filter(|message| message.received == received) else {
        return Err(invalid(
            "Value for parameter ReceiptHandle is invalid. Reason: Message does not exist or is not available for visibility timeout change.",
        ));
    };
    if message.visible <= now {
        let text = "The message referred to isn't in flight.";
        return Err(ApiError::client("MessageNotInflight", text));
    }
    let until = now + TimeDelta::seconds(timeout);
    if message.last_received.is_some_and(|received| until - received > TimeDelta::seconds(LONGEST)) {
        return Err(invalid(format!(
            "Total VisibilityTimeout for the message is beyond the limit [{LONGEST} seconds]"
        )));
    }
    queue.show_at(number, until);
    Ok(json!({}))
}
