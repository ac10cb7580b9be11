//! AWS STS: `GetCallerIdentity` and `AssumeRole`.

use chrono::{SecondsFormat, TimeDelta};
use serde_json::{Value, json};

use super::super::World;
use super::super::call::{Answer, ApiError, Call, Principal};
use super::super::world::unknown_operation;
use super::{Decision, Role, Session};
use crate::model::AccountId;

/// AWS's default and bounds for the length of a session, in seconds.
const DEFAULT_SESSION_SECS: i64 = 3600;
const SESSION_SECS: std::ops::RangeInclusive<i64> = 900..=43_200;
/// A session that was begun from another session lasts an hour at most.
const CHAINED_SESSION_SECS: i64 = 3600;

/// Answers a call to STS.
///
/// # Errors
///
/// As AWS: `AccessDenied` (403) if the role is not there or does not trust the caller, `ValidationError`.
pub fn handle(world: &mut World, call: &Call) -> Answer {
    match call.operation.as_str() {
        "GetCallerIdentity" => Ok(caller_identity(call)),
        "AssumeRole" => assume_role(world, call),
        _ => Err(unknown_operation(call)),
    }
}

fn caller_identity(call: &Call) -> Value {
    let user_id = match &call.principal {
        Principal::Root | Principal::Service { .. } => call.account.to_string(),
        Principal::User { name } => unique_id("AIDA", &call.account, name),
        Principal::AssumedRole { role, session } => {
            format!("{}:{session}", unique_id("AROA", &call.account, role))
        }
    };
    json!({ "UserId": user_id, "Account": call.account.as_str(), "Arn": call.principal_arn() })
}

/// The unique id of a user (`AIDA…`) or a role (`AROA…`).
pub(in crate::sandbox) fn unique_id(prefix: &str, account: &AccountId, name: &str) -> String {
    let mut ids = super::super::ids::Ids::new(&format!("{prefix} {account} {name}"));
    format!("{prefix}{}", ids.upper(17))
}

fn assume_role(world: &mut World, call: &Call) -> Answer {
    let role_arn = call.text("RoleArn").unwrap_or_default();
    let session_name = call.text("RoleSessionName").unwrap_or_default();
    validate(call, role_arn, session_name)?;
    let not_allowed = || {
        let denied = super::denied(call, Decision::NotAllowed, Some(role_arn));
        let message = denied.message.split(" because ").next().unwrap_or_default().to_owned();
        ApiError { message, ..denied }
    };
    let (account, name) = parse_role_arn(&call.partition, role_arn).ok_or_else(not_allowed)?;
    let role = world.identity.roles.get(&(account.clone(), name)).ok_or_else(not_allowed)?;
    if !trusts(role, call) {
        return Err(not_allowed());
    }
    let seconds = call.integer("DurationSeconds").unwrap_or(DEFAULT_SESSION_SECS);
    check_length(role, call, seconds)?;
    let role_name = role.name.clone();
    Ok(begin_session(world, call, account, role_name, session_name.to_owned(), seconds))
}

fn validate(call: &Call, role_arn: &str, session_name: &str) -> Result<(), ApiError> {
    let invalid = |what: &str| Err(ApiError::client("ValidationError", what));
    if role_arn.len() < 20 {
        return invalid(
            "1 validation error detected: Value at 'roleArn' failed to satisfy constraint: Member must have length greater than or equal to 20",
        );
    }
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
    if !(2..=64).contains(&session_name.len()) || !session_name.chars().all(is_plain) {
        return invalid(
            "1 validation error detected: Value at 'roleSessionName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\\w+=,.@-]*",
        );
    }
    if call.text("ExternalId").is_some_and(|id| !(2..=1224).contains(&id.len())) {
        return invalid(
            "1 validation error detected: Value at 'externalId' failed to satisfy constraint: Member must have length between 2 and 1224",
        );
    }
    Ok(())
}

/// The account and the name (without path) in a role's ARN of this partition.
fn parse_role_arn(partition: &str, arn: &str) -> Option<(AccountId, String)> {
    let rest = arn.strip_prefix("arn:")?.strip_prefix(partition)?.strip_prefix(":iam::")?;
    let (account, resource) = rest.split_once(':')?;
    let path = resource.strip_prefix("role/")?;
    let name = path.rsplit('/').next()?;
    Some((account.parse().ok()?, name.to_owned()))
}

fn trusts(role: &Role, call: &Call) -> bool {
    let arn = call.principal_arn();
    let role_arn = call.role_arn();
    let is_caller = |trusted: &String| {
        *trusted == call.account.as_str() || *trusted == arn || role_arn.as_ref() == Some(trusted)
    };
    let id_fits = role.external_id.as_deref().is_none_or(|wanted| call.text("ExternalId") == Some(wanted));
    role.trusted.iter().any(is_caller) && id_fits
}

fn check_length(role: &Role, call: &Call, seconds: i64) -> Result<(), ApiError> {
    let invalid = |what: &str| Err(ApiError::client("ValidationError", what));
    if !SESSION_SECS.contains(&seconds) {
        return invalid(
            "1 validation error detected: Value at 'durationSeconds' failed to satisfy constraint: Member must have value between 900 and 43200",
        );
    }
    let chained = matches!(call.principal, Principal::AssumedRole { .. });
    if chained && seconds > CHAINED_SESSION_SECS {
        return invalid(
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining",
        );
    }
    if seconds > role.max_session_secs {
        return invalid("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.");
    }
    Ok(())
}

fn begin_session(
    world: &mut World,
    call: &Call,
    account: AccountId,
    role: String,
    name: String,
    seconds: i64,
) -> Value {
    let now = world.now();
    let expires = now + TimeDelta::seconds(seconds);
    let access_key = format!("ASIA{}", world.ids.upper(16));
    let (secret, token) = (world.ids.hex(40), format!("{}{}", world.ids.hex(64), world.ids.hex(64)));
    let assumed_id = format!("{}:{name}", unique_id("AROA", &account, &role));
    let assumed_arn = format!("arn:{}:sts::{account}:assumed-role/{role}/{name}", call.partition);
    // What ended a day ago is forgotten, so that a long run does not grow.
    world.identity.sessions.retain(|_, session| session.expires + TimeDelta::days(1) > now);
    let session = Session { account, role, session: name, created: now, expires, token: token.clone() };
    world.identity.sessions.insert(access_key.clone(), session);
    json!({
        "Credentials": {
            "AccessKeyId": access_key, "SecretAccessKey": secret, "SessionToken": token,
            "Expiration": expires.to_rfc3339_opts(SecondsFormat::Secs, true),
        },
        "AssumedRoleUser": { "AssumedRoleId": assumed_id, "Arn": assumed_arn },
    })
}
