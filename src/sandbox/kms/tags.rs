//! Tags.

use std::collections::BTreeMap;
use std::ops::Bound;

use serde_json::{Value, json};

use super::input::{required, text, texts};
use super::page::{Bounds, Page};
use super::turn::{Naming, Turn};
use crate::sandbox::call::{Answer, ApiError};

/// How many tags a key may have.
const MOST: usize = 50;

pub(super) fn tag_resource(turn: &mut Turn<'_>) -> Answer {
    let spot = turn.open(Naming::Own)?;
    turn.require_customer(&spot)?;
    turn.require_state(&spot, &["Enabled", "Disabled", "PendingImport", "Unavailable"])?;
    let new = from_input(&turn.call.input)?;
    let mut tags = turn.key(&spot)?.tags.clone();
    tags.extend(new);
    if tags.len() > MOST {
        return Err(ApiError::client("LimitExceededException", format!("A key has at most {MOST} tags")));
    }
    turn.key_mut(&spot)?.tags = tags;
    Ok(json!({}))
}

pub(super) fn untag_resource(turn: &mut Turn<'_>) -> Answer {
    let spot = turn.open(Naming::Own)?;
    turn.require_customer(&spot)?;
    turn.require_state(&spot, &["Enabled", "Disabled", "PendingImport", "Unavailable"])?;
    let names = texts(&turn.call.input, "TagKeys");
    turn.key_mut(&spot)?.tags.retain(|name, _| !names.contains(name));
    Ok(json!({}))
}

pub(super) fn list_resource_tags(turn: &mut Turn<'_>) -> Answer {
    let spot = turn.open(Naming::Own)?;
    let page = Page::of(turn.call, &spot.id, Bounds { default: 50, most: 50 })?;
    let start = page.after().map_or(Bound::Unbounded, Bound::Excluded);
    let tags = turn.key(&spot)?.tags.range::<str, _>((start, Bound::Unbounded));
    Ok(page
        .cut("Tags", tags.map(|(name, value)| (name.clone(), json!({ "TagKey": name, "TagValue": value })))))
}

/// The `Tags` of an input.
pub(super) fn from_input(input: &Value) -> Result<BTreeMap<String, String>, ApiError> {
    let mut tags = BTreeMap::new();
    for tag in input.get("Tags").and_then(Value::as_array).into_iter().flatten() {
        let name = required(tag, "TagKey")?;
        let value = text(tag, "TagValue").unwrap_or_default();
        let too_long = name.is_empty() || name.chars().count() > 128 || value.chars().count() > 256;
        if too_long || name.starts_with("aws:") {
            return Err(ApiError::client(
                "TagException",
                format!("The tag key `{name}` or its value is not valid"),
            ));
        }
        if tags.insert(name.to_owned(), value.to_owned()).is_some() {
            return Err(ApiError::client("TagException", format!("The tag key `{name}` is given twice")));
        }
    }
    Ok(tags)
}
