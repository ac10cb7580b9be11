//! Grants.

use std::ops::Bound;

use serde_json::{Map, Value, json};

use super::aws_managed::require_iam;
use super::input::{epoch, flag, invalid, object, required, text, texts};
use super::key::{Grant, Key};
use super::page::{Bounds, Page};
use super::spec::GRANT_OPERATIONS;
use super::state::Spot;
use super::turn::{Naming, Turn, not_found};
use crate::sandbox::call::{Answer, ApiError};

const BOUNDS: Bounds = Bounds { default: 50, most: 100 };

pub(super) fn create_grant(turn: &mut Turn<'_>) -> Answer {
    let spot = turn.open(Naming::AnyAccount)?;
    turn.require_state(&spot, &["Enabled"])?;
    let mut grant = from_input(turn)?;
    refuse_dry_run(turn)?;
    let key = turn.key(&spot)?;
    // With a name the request is idempotent: the same grant is not made twice.
    let same = key.grants.values().find(|other| grant.name.is_some() && is_same(other, &grant)).cloned();
    if let Some(same) = same {
        return Ok(json!({ "GrantId": same.id, "GrantToken": same.token }));
    }
    grant.id = turn.state.ids.hex(64);
    grant.token = super::input::encode(turn.state.ids.bytes());
    let answer = json!({ "GrantId": grant.id, "GrantToken": grant.token });
    turn.key_mut(&spot)?.grants.insert(grant.id.clone(), grant);
    Ok(answer)
}

fn is_same(one: &Grant, other: &Grant) -> bool {
    let plain = |grant: &Grant| Grant {
        id: String::new(),
        token: String::new(),
        created: other.created,
        ..grant.clone()
    };
    plain(one) == plain(other)
}

fn from_input(turn: &Turn<'_>) -> Result<Grant, ApiError> {
    let input = &turn.call.input;
    let operations = texts(input, "Operations");
    if operations.is_empty()
        || operations.iter().any(|operation| !GRANT_OPERATIONS.contains(&operation.as_str()))
    {
        return Err(invalid(
            "Value at 'operations' failed to satisfy constraint: Member must satisfy enum value set",
        ));
    }
    let own = |member: &str| text(input, member).map(str::to_owned);
    let (grantee, grantee_service) = (own("GranteePrincipal"), own("GranteeServicePrincipal"));
    if grantee.is_some() == grantee_service.is_some() {
        return Err(ApiError::client(
            "ValidationException",
            "Specify either GranteePrincipal or GranteeServicePrincipal",
        ));
    }
    let retiring = own("RetiringPrincipal");
    for arn in grantee.iter().chain(&retiring) {
        if !arn.starts_with("arn:") {
            return Err(ApiError::client("InvalidArnException", format!("Invalid principal ARN {arn}")));
        }
    }
    Ok(Grant {
        id: String::new(),
        token: String::new(),
        name: own("Name"),
        created: turn.now,
        grantee,
        grantee_service,
        retiring,
        retiring_service: own("RetiringServicePrincipal"),
        issuing_account: format!("arn:{}:iam::{}:root", turn.call.partition, turn.call.account),
        operations,
        constraints: super::input::text_map(input, "Constraints"),
    })
}

/// Whether a call meets a grant's constraints on its encryption context.
pub(super) fn constraints_hold(constraints: &Map<String, Value>, input: &Value) -> bool {
    let given = super::input::text_map(input, "EncryptionContext");
    let equals = constraints.get("EncryptionContextEquals").and_then(Value::as_object);
    let subset = constraints.get("EncryptionContextSubset").and_then(Value::as_object);
    equals.is_none_or(|wanted| *wanted == given)
        && subset.is_none_or(|wanted| wanted.iter().all(|(name, value)| given.get(name) == Some(value)))
}

pub(super) fn list_grants(turn: &mut Turn<'_>) -> Answer {
    let spot = turn.open(Naming::AnyAccount)?;
    let input = &turn.call.input;
    let (id, grantee) = (text(input, "GrantId"), text(input, "GranteePrincipal"));
    let service = text(input, "GranteeServicePrincipal");
    let subject =
        format!("{}/{}/{}", spot.id, id.unwrap_or_default(), grantee.or(service).unwrap_or_default());
    let page = Page::of(turn.call, &subject, BOUNDS)?;
    let key = turn.key(&spot)?;
    let start = page.after().map_or(Bound::Unbounded, Bound::Excluded);
    let grants = key.grants.range::<str, _>((start, Bound::Unbounded)).filter(|(_, grant)| {
        id.is_none_or(|id| grant.id == id)
            && grantee.is_none_or(|grantee| grant.grantee.as_deref() == Some(grantee))
            && service.is_none_or(|service| grant.grantee_service.as_deref() == Some(service))
    });
    Ok(page.cut("Grants", grants.map(|(id, grant)| (id.clone(), entry(key, grant)))))
}

pub(super) fn list_retirable_grants(turn: &mut Turn<'_>) -> Answer {
    require_iam(turn)?;
    let input = &turn.call.input;
    let (principal, service) = (text(input, "RetiringPrincipal"), text(input, "RetiringServicePrincipal"));
    if principal.is_some() == service.is_some() {
        return Err(ApiError::client(
            "ValidationException",
            "Specify either RetiringPrincipal or RetiringServicePrincipal",
        ));
    }
    let page = Page::of(turn.call, principal.or(service).unwrap_or_default(), BOUNDS)?;
    let keys = turn
        .state
        .place(&turn.call.account, &turn.call.region)
        .into_iter()
        .flat_map(|place| place.keys.values());
    let grants = keys.flat_map(|key| key.grants.values().map(move |grant| (key, grant)));
    let wanted = grants.filter(|(_, grant)| {
        principal.is_none_or(|principal| grant.retiring.as_deref() == Some(principal))
            && service.is_none_or(|service| grant.retiring_service.as_deref() == Some(service))
    });
    let named = wanted.map(|(key, grant)| (format!("{}/{}", key.arn.id, grant.id), entry(key, grant)));
    let rest = named.filter(|(identity, _)| page.after().is_none_or(|after| identity.as_str() > after));
    Ok(page.cut("Grants", rest))
}

fn entry(key: &Key, grant: &Grant) -> Value {
    let some = |value: &Option<String>| value.as_ref().map(|value| json!(value));
    object([
        ("KeyId", Some(json!(key.arn.to_string()))),
        ("GrantId", Some(json!(grant.id))),
        ("Name", some(&grant.name)),
        ("CreationDate", Some(epoch(grant.created))),
        ("GranteePrincipal", some(&grant.grantee)),
        ("GranteeServicePrincipal", some(&grant.grantee_service)),
        ("RetiringPrincipal", some(&grant.retiring)),
        ("RetiringServicePrincipal", some(&grant.retiring_service)),
        ("IssuingAccount", Some(json!(grant.issuing_account))),
        ("Operations", Some(json!(grant.operations))),
        ("Constraints", (!grant.constraints.is_empty()).then(|| json!(grant.constraints))),
    ])
}

pub(super) fn revoke_grant(turn: &mut Turn<'_>) -> Answer {
    let spot = turn.open(Naming::AnyAccount)?;
    let id = required(&turn.call.input, "GrantId")?.to_owned();
    remove(turn, &spot, &id)
}

pub(super) fn retire_grant(turn: &mut Turn<'_>) -> Answer {
    let input = &turn.call.input;
    let (spot, id) = if let Some(token) = text(input, "GrantToken") {
        by_token(turn, token)?
    } else {
        let id = required(input, "GrantId")?.to_owned();
        (retired_key(turn, required(input, "KeyId")?)?, id)
    };
    turn.touch(&spot);
    turn.state.trace.additional = Some(json!({ "grantId": id }));
    let grant =
        turn.key(&spot)?.grants.get(&id).ok_or_else(|| not_found(format!("Grant {id} is not found")))?;
    let (caller, role) = (turn.call.principal_arn(), turn.call.role_arn());
    let is_caller = |arn: &String| *arn == caller || role.as_ref() == Some(arn);
    let may_retire = grant.retiring.as_ref().is_some_and(is_caller)
        || (grant.grantee.as_ref().is_some_and(is_caller)
            && grant.operations.iter().any(|name| name == "RetireGrant"));
    if !may_retire {
        turn.authorize(&spot, "RetireGrant")?;
    }
    remove(turn, &spot, &id)
}

/// `RetireGrant` takes a key ARN, and its caller is named by the grant rather than by the key's policy.
fn retired_key(turn: &Turn<'_>, reference: &str) -> Result<Spot, ApiError> {
    let id = match reference.parse::<crate::model::KeyArn>() {
        Ok(arn) => Spot { account: arn.account, region: arn.region, id: arn.id },
        Err(_) => turn.here(reference),
    };
    turn.key(&id).map(|_| id.clone())
}

fn by_token(turn: &Turn<'_>, token: &str) -> Result<(Spot, String), ApiError> {
    let places = turn
        .state
        .accounts
        .iter()
        .filter_map(|(account, held)| Some((account, held.places.get(&turn.call.region)?)));
    for (account, place) in places {
        for key in place.keys.values() {
            if let Some(grant) = key.grants.values().find(|grant| grant.token == token) {
                let (region, id) = (turn.call.region.clone(), key.arn.id.clone());
                return Ok((Spot { account: account.clone(), region, id }, grant.id.clone()));
            }
        }
    }
    Err(ApiError::client("InvalidGrantTokenException", "The grant token is not valid"))
}

fn remove(turn: &mut Turn<'_>, spot: &Spot, id: &str) -> Answer {
    if !turn.key(spot)?.grants.contains_key(id) {
        return Err(not_found(format!("Grant {id} is not found")));
    }
    refuse_dry_run(turn)?;
    turn.key_mut(spot)?.grants.remove(id);
    Ok(json!({}))
}

/// A dry run that would have succeeded says so by an error.
pub(super) fn refuse_dry_run(turn: &Turn<'_>) -> Result<(), ApiError> {
    if flag(&turn.call.input, "DryRun") {
        let message = "The request would have succeeded, but the DryRun option is set.";
        return Err(ApiError { status: 412, ..ApiError::client("DryRunOperationException", message) });
    }
    Ok(())
}
