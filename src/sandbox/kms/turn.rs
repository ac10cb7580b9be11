//! One call's turn: finding its key, and asking whether the caller may.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::input::{required, text};
use super::key::{Grant, Key, Shared, Status};
use super::policy::{Policy, Question, Ruling};
use super::state::{Spot, State};
use crate::model::{AccountId, KeyArn, Region};
use crate::sandbox::call::{ApiError, Call, Principal};

/// What a call has to go by.
pub(super) struct Turn<'a> {
    pub(super) state: &'a mut State,
    pub(super) call: &'a Call,
    pub(super) now: DateTime<Utc>,
    pub(super) around: &'a Surroundings<'a>,
}

/// What KMS asks the rest of AWS about a call.
pub struct Surroundings<'a> {
    /// Whether IAM allows the call; an explicit denial never comes this far.
    pub iam_allows: bool,
    /// Whether the caller's account has a Region.
    pub region_enabled: &'a dyn Fn(&Region) -> bool,
    /// The organization that the caller's account is in.
    pub organization: Option<String>,
}

impl std::fmt::Debug for Surroundings<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Surroundings").field("iam_allows", &self.iam_allows).finish_non_exhaustive()
    }
}

/// How an operation may name its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Naming {
    /// By key id or key ARN, in the caller's own account.
    Own,
    /// By key id or key ARN, in any account.
    AnyAccount,
    /// By key id, key ARN, alias name or alias ARN, in any account.
    WithAliases,
}

impl Turn<'_> {
    /// Finds the key that `KeyId` names, notes it for CloudTrail, and checks the permission that has the call's name.
    pub(super) fn open(&mut self, naming: Naming) -> Result<Spot, ApiError> {
        let reference = required(&self.call.input, "KeyId")?;
        let action = self.call.operation.as_str();
        self.open_as(reference, naming, action)
    }

    /// The same for another reference and another permission.
    pub(super) fn open_as(
        &mut self,
        reference: &str,
        naming: Naming,
        action: &str,
    ) -> Result<Spot, ApiError> {
        let spot = self.locate(reference, naming, action)?;
        self.touch(&spot);
        self.authorize(&spot, action)?;
        Ok(spot)
    }

    /// Notes a key for CloudTrail.
    pub(super) fn touch(&mut self, spot: &Spot) {
        let Some(key) = self.state.key(spot) else { return };
        let arn = key.arn.to_string();
        self.state.trace.owner = Some(spot.account.clone());
        if !self.state.trace.resources.contains(&arn) {
            self.state.trace.resources.push(arn);
        }
    }

    pub(super) fn key(&self, spot: &Spot) -> Result<&Key, ApiError> {
        self.state.key(spot).ok_or_else(|| missing(&self.arn_text(spot)))
    }

    pub(super) fn key_mut(&mut self, spot: &Spot) -> Result<&mut Key, ApiError> {
        let arn = self.arn_text(spot);
        self.state.key_mut(spot).ok_or_else(|| missing(&arn))
    }

    pub(super) fn shared(&self, spot: &Spot) -> Result<&Shared, ApiError> {
        self.state.shared(spot).ok_or_else(|| missing(&self.arn_text(spot)))
    }

    pub(super) fn shared_mut(&mut self, spot: &Spot) -> Result<&mut Shared, ApiError> {
        let arn = self.arn_text(spot);
        self.state.shared_mut(spot).ok_or_else(|| missing(&arn))
    }

    pub(super) fn arn_text(&self, spot: &Spot) -> String {
        let Spot { account, region, id } = spot;
        format!("arn:{}:kms:{region}:{account}:key/{id}", self.call.partition)
    }

    /// The place of a key of the caller's account in the call's Region.
    pub(super) fn here(&self, id: &str) -> Spot {
        Spot { account: self.call.account.clone(), region: self.call.region.clone(), id: id.to_owned() }
    }

    fn locate(&self, reference: &str, naming: Naming, action: &str) -> Result<Spot, ApiError> {
        if reference.starts_with("arn:") {
            return self.locate_arn(reference, naming, action);
        }
        if reference.starts_with("alias/") {
            if naming != Naming::WithAliases {
                return Err(not_found(format!("Invalid keyId '{reference}'")));
            }
            return self.locate_alias(&self.call.account.clone(), reference);
        }
        let spot = self.here(reference);
        if self.state.key(&spot).is_some() {
            return Ok(spot);
        }
        let well_formed = reference.starts_with("mrk-") || uuid::Uuid::parse_str(reference).is_ok();
        let arn = self.arn_text(&spot);
        Err(if well_formed { missing(&arn) } else { not_found(format!("Invalid keyId '{reference}'")) })
    }

    fn locate_arn(&self, reference: &str, naming: Naming, action: &str) -> Result<Spot, ApiError> {
        let invalid = || ApiError::client("InvalidArnException", format!("Invalid arn {reference}"));
        let parts: Vec<&str> = reference.splitn(6, ':').collect();
        let ["arn", partition, "kms", region, account, resource] = parts.as_slice() else {
            return Err(invalid());
        };
        let account: AccountId = account.parse().map_err(|_| invalid())?;
        if *partition != self.call.partition || *region != self.call.region.as_str() {
            return Err(not_found(format!("Invalid arn {region}")));
        }
        if account != self.call.account && naming == Naming::Own {
            return Err(self.foreign_denial(action));
        }
        if resource.starts_with("alias/") && naming == Naming::WithAliases {
            return self.locate_alias(&account, resource);
        }
        let arn: KeyArn = reference.parse().map_err(|_| invalid())?;
        let spot = Spot { account, region: arn.region, id: arn.id };
        match self.state.key(&spot) {
            Some(_) => Ok(spot),
            // Whether a foreign key exists is not the caller's business.
            None if spot.account != self.call.account => Err(self.foreign_denial(action)),
            None => Err(missing(reference)),
        }
    }

    fn locate_alias(&self, account: &AccountId, name: &str) -> Result<Spot, ApiError> {
        let region = &self.call.region;
        let alias = self.state.place(account, region).and_then(|place| place.aliases.get(name));
        match alias.and_then(|alias| alias.target.clone()) {
            Some(id) => Ok(Spot { account: account.clone(), region: region.clone(), id }),
            None if *account != self.call.account => Err(self.foreign_denial(&self.call.operation)),
            None => Err(not_found(format!(
                "Alias arn:{}:kms:{region}:{account}:{name} is not found.",
                self.call.partition
            ))),
        }
    }

    /// Whether the caller may, by the key's policy, its grants, and IAM where the policy leaves it to the account.
    pub(super) fn authorize(&self, spot: &Spot, action: &str) -> Result<(), ApiError> {
        let (key, shared) = (self.key(spot)?, self.shared(spot)?);
        let foreign = spot.account != self.call.account;
        let ruling = self.ask(&key.policy, Some((key, shared)), action);
        let granted = || key.grants.values().any(|grant| self.grants_it(grant, action));
        let iam = self.around.iam_allows;
        match ruling {
            Ruling::Allowed if !foreign || iam => Ok(()),
            Ruling::LeftToAccount if iam => Ok(()),
            Ruling::Denied if foreign => Err(self.foreign_denial(action)),
            Ruling::Denied => {
                Err(self.denied(action, spot, "with an explicit deny in a resource-based policy"))
            }
            _ if granted() => Ok(()),
            _ if foreign => Err(self.foreign_denial(action)),
            Ruling::LeftToAccount => {
                let why = format!("because no identity-based policy allows the kms:{action} action");
                Err(self.denied(action, spot, &why))
            }
            _ => {
                let why = format!("because no resource-based policy allows the kms:{action} action");
                Err(self.denied(action, spot, &why))
            }
        }
    }

    /// Whether a policy would let the caller do something to a key that has it.
    pub(super) fn allowed_by(&self, policy: &Policy, action: &str) -> bool {
        match self.ask(policy, None, action) {
            Ruling::Allowed => true,
            Ruling::LeftToAccount => self.around.iam_allows,
            Ruling::Denied | Ruling::Silent => false,
        }
    }

    fn ask(&self, policy: &Policy, key: Option<(&Key, &Shared)>, action: &str) -> Ruling {
        let mut arns = vec![self.call.principal_arn()];
        arns.extend(self.call.role_arn());
        let service = match &self.call.principal {
            Principal::Service { name } => Some(name.as_str()),
            _ => None,
        };
        policy.rule(&Question {
            account: &self.call.account,
            arns: &arns,
            service,
            action: &format!("kms:{action}"),
            context: &|name| self.context(name, key, service),
        })
    }

    fn grants_it(&self, grant: &Grant, action: &str) -> bool {
        let named = |grantee: &Option<String>| {
            grantee.as_ref().is_some_and(|grantee| {
                *grantee == self.call.principal_arn() || self.call.role_arn().as_ref() == Some(grantee)
            })
        };
        let by_service = match &self.call.principal {
            Principal::Service { name } => grant.grantee_service.as_ref() == Some(name),
            _ => false,
        };
        (named(&grant.grantee) || by_service)
            && grant.operations.iter().any(|operation| operation == action)
            && super::grants::constraints_hold(&grant.constraints, &self.call.input)
    }

    /// A condition key of the request.
    fn context(
        &self,
        name: &str,
        key: Option<(&Key, &Shared)>,
        service: Option<&str>,
    ) -> Option<Vec<String>> {
        let input = &self.call.input;
        let one = |value: String| Some(vec![value]);
        match name {
            "aws:PrincipalArn" => one(self.call.role_arn().unwrap_or_else(|| self.call.principal_arn())),
            "aws:PrincipalAccount" | "kms:CallerAccount" => one(self.call.account.to_string()),
            "aws:PrincipalOrgID" => self.around.organization.clone().and_then(one),
            "aws:PrincipalIsAWSService" => one(service.is_some().to_string()),
            "aws:PrincipalType" => one(principal_type(&self.call.principal).to_owned()),
            "aws:SecureTransport" => one("true".to_owned()),
            "aws:RequestedRegion" => one(self.call.region.to_string()),
            "aws:SourceIp" => one(self.call.source_ip.to_string()),
            "kms:ViaService" => {
                let short = service?.split('.').next()?;
                one(format!("{short}.{}.amazonaws.com", self.call.region))
            }
            "kms:ReplicaRegion" => text(input, "ReplicaRegion").map(str::to_owned).and_then(one),
            "kms:PrimaryRegion" => text(input, "PrimaryRegion").map(str::to_owned).and_then(one),
            "kms:RotationPeriodInDays" => number_of(input, "RotationPeriodInDays"),
            "kms:ScheduleKeyDeletionPendingWindowInDays" => number_of(input, "PendingWindowInDays"),
            "kms:BypassPolicyLockoutSafetyCheck" => {
                let bypass = input.get("BypassPolicyLockoutSafetyCheck").and_then(Value::as_bool)?;
                one(bypass.to_string())
            }
            "kms:EncryptionContextKeys" => {
                let context = input.get("EncryptionContext")?.as_object()?;
                Some(context.keys().cloned().collect())
            }
            _ => self.key_context(name, key?),
        }
    }

    fn key_context(&self, name: &str, (key, shared): (&Key, &Shared)) -> Option<Vec<String>> {
        let one = |value: String| Some(vec![value]);
        match name {
            "kms:KeySpec" => one(shared.spec.name.to_owned()),
            "kms:KeyUsage" => one(shared.usage.to_owned()),
            "kms:KeyOrigin" => one(shared.origin.as_str().to_owned()),
            "kms:MultiRegion" => one(shared.related.is_some().to_string()),
            "kms:MultiRegionKeyType" => {
                shared.related.as_ref()?;
                one(if shared.is_replica(&key.arn.region) { "REPLICA" } else { "PRIMARY" }.to_owned())
            }
            "kms:ResourceAliases" => Some(key.aliases.iter().cloned().collect()),
            _ => {
                if let Some(tag) = name.strip_prefix("aws:ResourceTag/") {
                    return key.tags.get(tag).cloned().and_then(one);
                }
                let wanted = name.strip_prefix("kms:EncryptionContext:")?;
                let context = self.call.input.get("EncryptionContext")?;
                context.get(wanted)?.as_str().map(str::to_owned).and_then(one)
            }
        }
    }

    fn denied(&self, action: &str, spot: &Spot, why: &str) -> ApiError {
        let (user, resource) = (self.call.principal_arn(), self.arn_text(spot));
        let message =
            format!("User: {user} is not authorized to perform: kms:{action} on resource: {resource} {why}");
        ApiError::client("AccessDeniedException", message)
    }

    /// What KMS says of another account's key, whether there is one or not.
    fn foreign_denial(&self, action: &str) -> ApiError {
        let user = self.call.principal_arn();
        ApiError::client(
            "AccessDeniedException",
            format!(
                "User: {user} is not authorized to perform: kms:{action} on this resource because the resource does not \
                 exist in this Region, no resource-based policies allow access, or a resource-based policy explicitly \
                 denies access"
            ),
        )
    }

    /// The state as `DescribeKey` tells it.
    pub(super) fn state_of(&self, spot: &Spot) -> Result<&'static str, ApiError> {
        Ok(self.state.state_of(self.key(spot)?))
    }

    /// Refuses a key that is in none of the given states, with the error that AWS has for the state it is in.
    pub(super) fn require_state(&self, spot: &Spot, states: &[&str]) -> Result<(), ApiError> {
        let state = self.state_of(spot)?;
        if states.contains(&state) {
            return Ok(());
        }
        let arn = self.arn_text(spot);
        if states.contains(&"PendingDeletion") {
            return Err(invalid_state(format!("{arn} is not pending deletion.")));
        }
        Err(match state {
            "Disabled" => ApiError::client("DisabledException", format!("{arn} is disabled.")),
            "PendingDeletion" => invalid_state(format!("{arn} is pending deletion.")),
            "PendingReplicaDeletion" => invalid_state(format!("{arn} is pending replica deletion.")),
            "PendingImport" => invalid_state(format!("{arn} is pending import.")),
            "Creating" => invalid_state(format!("{arn} is creating.")),
            "Updating" => invalid_state(format!("{arn} is updating.")),
            _ => invalid_state(format!("{arn} is unavailable.")),
        })
    }

    /// Refuses the keys that AWS manages for its services.
    pub(super) fn require_customer(&self, spot: &Spot) -> Result<(), ApiError> {
        if !self.key(spot)?.aws_managed {
            return Ok(());
        }
        let (user, action, arn) = (self.call.principal_arn(), &self.call.operation, self.arn_text(spot));
        let message = format!("User: {user} is not authorized to perform: kms:{action} on resource: {arn}");
        Err(ApiError::client("AccessDeniedException", message))
    }
}

impl State {
    pub(super) fn state_of(&self, key: &Key) -> &'static str {
        if let Some(transit) = key.transit {
            return transit.as_str();
        }
        let store = key
            .custom_store
            .as_ref()
            .and_then(|id| self.place(&key.arn.account, &key.arn.region)?.stores.get(id));
        let reachable = key.custom_store.is_none() || store.is_some_and(super::stores::Store::is_connected);
        if reachable || key.status.is_pending_deletion() || key.status == Status::Disabled {
            key.status.as_str()
        } else {
            "Unavailable"
        }
    }
}

fn principal_type(principal: &Principal) -> &'static str {
    match principal {
        Principal::Root => "Account",
        Principal::User { .. } => "User",
        Principal::AssumedRole { .. } => "AssumedRole",
        Principal::Service { .. } => "Service",
    }
}

fn number_of(input: &Value, member: &str) -> Option<Vec<String>> {
    input.get(member).and_then(Value::as_i64).map(|number| vec![number.to_string()])
}

/// `NotFoundException`.
pub(super) fn not_found(message: String) -> ApiError {
    ApiError::client("NotFoundException", message)
}

fn missing(arn: &str) -> ApiError {
    not_found(format!("Key '{arn}' does not exist"))
}

/// `KMSInvalidStateException`.
pub(super) fn invalid_state(message: String) -> ApiError {
    ApiError::client("KMSInvalidStateException", message)
}

/// `UnsupportedOperationException`.
pub(super) fn unsupported(message: impl Into<String>) -> ApiError {
    ApiError::client("UnsupportedOperationException", message)
}
