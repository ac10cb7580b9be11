//! Aliases.

use std::collections::BTreeMap;
use std::ops::Bound;

use serde_json::{Value, json};

use super::aws_managed::{PREDEFINED, require_iam};
use super::input::{epoch, object, required, text};
use super::page::{Bounds, Page};
use super::state::{Alias, Spot};
use super::turn::{Naming, Turn, not_found, unsupported};
use crate::sandbox::call::{Answer, ApiError};

const BOUNDS: Bounds = Bounds { default: 50, most: 100 };
/// How many aliases a key may have.
const MOST: usize = 50;

pub(super) fn create_alias(turn: &mut Turn<'_>) -> Answer {
    let name = own_name(turn)?;
    note_alias(turn, &name);
    let spot = turn.open_as(&target(turn)?, Naming::Own, "CreateAlias")?;
    turn.require_customer(&spot)?;
    turn.require_state(&spot, &["Enabled", "Disabled", "PendingImport", "Unavailable"])?;
    let place = turn.state.place_mut(&spot.account, &spot.region);
    if place.aliases.contains_key(&name) {
        let message = format!("An alias with the name {} already exists", alias_arn(turn, &name));
        return Err(ApiError::client("AlreadyExistsException", message));
    }
    if turn.key(&spot)?.aliases.len() >= MOST {
        return Err(ApiError::client("LimitExceededException", format!("A key has at most {MOST} aliases")));
    }
    let alias = Alias { target: Some(spot.id.clone()), created: turn.now, updated: turn.now };
    turn.state.place_mut(&spot.account, &spot.region).aliases.insert(name.clone(), alias);
    turn.key_mut(&spot)?.aliases.insert(name);
    Ok(json!({}))
}

pub(super) fn update_alias(turn: &mut Turn<'_>) -> Answer {
    let name = own_name(turn)?;
    note_alias(turn, &name);
    let old = holder(turn, &name)?;
    turn.authorize(&old, "UpdateAlias")?;
    let new = turn.open_as(&target(turn)?, Naming::Own, "UpdateAlias")?;
    turn.require_customer(&new)?;
    turn.require_state(&new, &["Enabled", "Disabled", "PendingImport", "Unavailable"])?;
    if turn.shared(&old)?.usage != turn.shared(&new)?.usage {
        return Err(unsupported("The current and the new KMS key must have the same key usage"));
    }
    turn.key_mut(&old)?.aliases.remove(&name);
    turn.key_mut(&new)?.aliases.insert(name.clone());
    let now = turn.now;
    if let Some(alias) = turn.state.place_mut(&new.account, &new.region).aliases.get_mut(&name) {
        alias.target = Some(new.id.clone());
        alias.updated = now;
    }
    Ok(json!({}))
}

pub(super) fn delete_alias(turn: &mut Turn<'_>) -> Answer {
    let name = own_name(turn)?;
    note_alias(turn, &name);
    let spot = holder(turn, &name)?;
    turn.touch(&spot);
    turn.authorize(&spot, "DeleteAlias")?;
    turn.key_mut(&spot)?.aliases.remove(&name);
    turn.state.place_mut(&spot.account, &spot.region).aliases.remove(&name);
    Ok(json!({}))
}

pub(super) fn list_aliases(turn: &mut Turn<'_>) -> Answer {
    require_iam(turn)?;
    let own = match text(&turn.call.input, "KeyId") {
        None => None,
        Some(_) => Some(turn.open(Naming::Own)?),
    };
    let subject = own.as_ref().map(|spot| spot.id.clone()).unwrap_or_default();
    let page = Page::of(turn.call, &subject, BOUNDS)?;
    let start = page.after().map_or(Bound::Unbounded, Bound::Excluded);
    let place = turn.state.place(&turn.call.account, &turn.call.region);
    let Some(spot) = own else {
        let none = BTreeMap::new();
        let known = place.map_or(&none, |place| &place.aliases);
        // AWS shows its own predefined aliases before they have a key.
        let idle = PREDEFINED
            .iter()
            .filter(|name| !known.contains_key(**name) && page.after().is_none_or(|after| **name > after));
        let idle = idle.map(|name| ((*name).to_owned(), entry(turn, name, None)));
        let real = known.range::<str, _>((start, Bound::Unbounded));
        let mut real = real.map(|(name, alias)| (name.clone(), entry(turn, name, Some(alias)))).peekable();
        let mut idle = idle.peekable();
        let merged = std::iter::from_fn(move || match (real.peek(), idle.peek()) {
            (Some((one, _)), Some((other, _))) if one > other => idle.next(),
            (None, _) => idle.next(),
            _ => real.next(),
        });
        return Ok(page.cut("Aliases", merged));
    };
    let names = turn.key(&spot)?.aliases.range::<str, _>((start, Bound::Unbounded));
    let entries = names.filter_map(|name| Some((name.clone(), entry(turn, name, place?.aliases.get(name)))));
    Ok(page.cut("Aliases", entries))
}

fn entry(turn: &Turn<'_>, name: &str, alias: Option<&Alias>) -> Value {
    object([
        ("AliasName", Some(json!(name))),
        ("AliasArn", Some(json!(alias_arn(turn, name)))),
        ("TargetKeyId", alias.and_then(|alias| alias.target.as_ref()).map(|id| json!(id))),
        ("CreationDate", alias.map(|alias| epoch(alias.created))),
        ("LastUpdatedDate", alias.map(|alias| epoch(alias.updated))),
    ])
}

/// The name of an alias that the caller may have.
fn own_name(turn: &Turn<'_>) -> Result<String, ApiError> {
    let name = required(&turn.call.input, "AliasName")?;
    let invalid = |message: &str| Err(ApiError::client("InvalidAliasNameException", message));
    let Some(rest) = name.strip_prefix("alias/") else {
        return invalid("Alias must start with the prefix \"alias/\"");
    };
    if rest.starts_with("aws/") {
        return Err(ApiError::client("NotAuthorizedException", "The prefix alias/aws/ is reserved"));
    }
    let plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '/' | '_' | '-');
    if rest.is_empty() || name.len() > 256 || !rest.chars().all(plain) {
        return invalid("Alias contains invalid characters");
    }
    Ok(name.to_owned())
}

fn target(turn: &Turn<'_>) -> Result<String, ApiError> {
    let target = required(&turn.call.input, "TargetKeyId")?;
    if target.contains("alias/") {
        return Err(ApiError::client("ValidationException", "Aliases must refer to keys. Not aliases"));
    }
    Ok(target.to_owned())
}

fn holder(turn: &Turn<'_>, name: &str) -> Result<Spot, ApiError> {
    let id = turn.state.key_id_of_alias(&turn.call.account, &turn.call.region, name);
    id.map(|id| turn.here(&id))
        .ok_or_else(|| not_found(format!("Alias {} is not found.", alias_arn(turn, name))))
}

fn alias_arn(turn: &Turn<'_>, name: &str) -> String {
    format!("arn:{}:kms:{}:{}:{name}", turn.call.partition, turn.call.region, turn.call.account)
}

/// CloudTrail names the alias before the key.
fn note_alias(turn: &mut Turn<'_>, name: &str) {
    let arn = alias_arn(turn, name);
    turn.state.trace.resources.push(arn);
}
