//! What happens in the demo's estate while one watches: ordinary use, a series of violations, one repair.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::call::{ApiError, Principal};
use super::estate::{
    ANALYTICS, APAC, CLASSIFICATION_TAG, CUSTOMERS, KeyRef, PAYMENTS, PAYMENTS_TRAIL, policies,
};
use super::{Actor, World};

/// A key set that is replicated out of the EEA.
pub const REPLICATED: KeyRef =
    KeyRef { account: CUSTOMERS, region: "eu-central-1", name: "alias/customer-profile" };
/// A key whose rotation is turned off, and on again.
pub const UNROTATED: KeyRef =
    KeyRef { account: PAYMENTS, region: "eu-central-1", name: "alias/settlement-files" };
/// A key that is scheduled for deletion.
pub const DELETED: KeyRef =
    KeyRef { account: ANALYTICS, region: "us-west-2", name: "alias/analytics-archive" };
/// A key whose policy is made public.
pub const PUBLISHED: KeyRef = KeyRef { account: APAC, region: "ap-southeast-1", name: "alias/sg-documents" };
/// A key that a stranger tries.
pub const TRIED: KeyRef = KeyRef { account: PAYMENTS, region: "eu-west-1", name: "alias/fraud-scores" };

/// Where [`REPLICATED`] gets its replica.
const ABROAD: &str = "us-east-1";

/// One thing that happens.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// When, in seconds from the start.
    pub at_secs: u64,
    /// What happens, in a few words.
    pub name: &'static str,
    /// The key it happens to, if it is one.
    pub key: Option<KeyRef>,
    /// The rules that are violated from then on: posture, and detections.
    pub violates: &'static [&'static str],
    /// The posture rules that hold again from then on.
    pub resolves: &'static [&'static str],
    action: fn(&mut World) -> Result<(), ApiError>,
}

impl Step {
    /// Makes it happen.
    ///
    /// # Errors
    ///
    /// The error of the call that failed. In an estate as it was built none does.
    pub fn run(&self, world: &mut World) -> Result<(), ApiError> {
        (self.action)(world)
    }
}

/// Steps in their order.
#[derive(Debug, Clone)]
pub struct Scenario {
    steps: Vec<Step>,
}

/// How often ordinary use happens, and until when, in seconds.
const USE_EVERY: usize = 4;
const LENGTH: u64 = 100;
/// How much slower or faster than written a scenario can be played.
const SPEEDS: std::ops::RangeInclusive<f64> = 0.001..=1_000_000.0;

impl Scenario {
    /// The names of the scenarios.
    pub const NAMES: [&str; 2] = ["incidents", "quiet"];

    /// The scenario of a name.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "incidents" => Some(Self::incidents()),
            "quiet" => Some(Self::quiet()),
            _ => None,
        }
    }

    /// Ordinary use of keys, and nothing else.
    pub fn quiet() -> Self {
        let steps = (0..=LENGTH).step_by(USE_EVERY).map(|at_secs| Step { at_secs, ..ORDINARY_USE });
        Self { steps: steps.collect() }
    }

    /// Ordinary use, and everything in [`INCIDENTS`].
    pub fn incidents() -> Self {
        let mut steps = Self::quiet().steps;
        steps.extend(INCIDENTS);
        steps.sort_by_key(|step| step.at_secs);
        Self { steps }
    }

    /// The steps, by time.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Runs the steps at their times, `speed` times as fast (a thousandth to a million; anything else is
    /// once), until the last one or until cancelled; tells of each as it is done.
    pub async fn play(
        &self,
        world: Arc<Mutex<World>>,
        speed: f64,
        cancelled: CancellationToken,
        mut done: impl FnMut(&Step, Result<(), ApiError>),
    ) {
        let speed = if SPEEDS.contains(&speed) { speed } else { 1.0 };
        let start = tokio::time::Instant::now();
        for step in &self.steps {
            let at = start + Duration::from_secs(step.at_secs).div_f64(speed);
            tokio::select! {
                () = tokio::time::sleep_until(at) => {}
                () = cancelled.cancelled() => return,
            }
            let result = step.run(&mut world.lock().unwrap_or_else(PoisonError::into_inner));
            done(step, result);
        }
    }
}

const ORDINARY_USE: Step = Step {
    at_secs: 0,
    name: "applications use their keys",
    key: None,
    violates: &[],
    resolves: &[],
    action: use_keys,
};

/// What goes wrong, and what is put right.
pub const INCIDENTS: [Step; 8] = [
    Step {
        at_secs: 14,
        name: "rotation is turned off",
        key: Some(UNROTATED),
        violates: &["rotation-turned-off", "rotation-disabled"],
        resolves: &[],
        action: |world| administer(world, UNROTATED, "kms:DisableKeyRotation", json!({})),
    },
    Step {
        at_secs: 24,
        name: "a key for personal data of the EEA is replicated to the United States",
        key: Some(REPLICATED),
        violates: &["key-replicated-outside-boundary", "key-set-outside-boundary"],
        resolves: &[],
        action: replicate_abroad,
    },
    Step {
        at_secs: 34,
        name: "a key is scheduled for deletion",
        key: Some(DELETED),
        violates: &["key-deletion-scheduled", "key-pending-deletion"],
        resolves: &[],
        action: |world| {
            administer(world, DELETED, "kms:ScheduleKeyDeletion", json!({ "PendingWindowInDays": 7 }))
        },
    },
    Step {
        at_secs: 44,
        name: "a key policy lets everybody decrypt",
        key: Some(PUBLISHED),
        violates: &["key-policy-made-public", "key-policy-public"],
        resolves: &[],
        action: |world| {
            let policy = policies::public(PUBLISHED.account);
            administer(
                world,
                PUBLISHED,
                "kms:PutKeyPolicy",
                json!({ "PolicyName": "default", "Policy": policy }),
            )
        },
    },
    Step {
        at_secs: 54,
        name: "a trail stops recording KMS",
        key: None,
        violates: &["kms-logging-excluded"],
        resolves: &[],
        action: exclude_kms,
    },
    Step {
        at_secs: 62,
        name: "somebody without permission tries to decrypt",
        key: Some(TRIED),
        violates: &["unauthorized-key-access"],
        resolves: &[],
        action: try_to_decrypt,
    },
    Step {
        at_secs: 70,
        name: "data is decrypted with the replica in the United States",
        key: Some(REPLICATED),
        violates: &["key-used-outside-boundary"],
        resolves: &[],
        action: decrypt_abroad,
    },
    Step {
        at_secs: 84,
        name: "rotation is turned on again",
        key: Some(UNROTATED),
        violates: &[],
        resolves: &["rotation-disabled"],
        action: |world| {
            administer(world, UNROTATED, "kms:EnableKeyRotation", json!({ "RotationPeriodInDays": 365 }))
        },
    },
];

/// An application of an account.
fn application(key: KeyRef) -> Result<Actor, ApiError> {
    session(key, "Application", "i-0d8a4f2b7c91e6350")
}

fn session(key: KeyRef, role: &str, name: &str) -> Result<Actor, ApiError> {
    let principal = Principal::AssumedRole { role: role.to_owned(), session: name.to_owned() };
    Ok(Actor::new(&parse(key.account)?, principal))
}

fn parse<T: std::str::FromStr>(text: &str) -> Result<T, ApiError> {
    text.parse().map_err(|_| ApiError::client("ValidationException", format!("`{text}` is not well-formed")))
}

fn act(world: &mut World, actor: &Actor, region: &str, call: &str, input: Value) -> Result<Value, ApiError> {
    world.act(actor, &parse(region)?, call, input)
}

/// The id behind a key's alias: most management operations do not take an alias.
fn id_of(world: &World, key: KeyRef) -> Result<String, ApiError> {
    let id = world.kms.key_id_of_alias(&parse(key.account)?, &parse(key.region)?, key.name);
    id.ok_or_else(|| ApiError::client("NotFoundException", format!("there is no {} here", key.name)))
}

/// A call about a key by its administrators.
fn administer(world: &mut World, key: KeyRef, call: &str, mut input: Value) -> Result<(), ApiError> {
    let id = id_of(world, key)?;
    if let Some(input) = input.as_object_mut() {
        input.insert("KeyId".to_owned(), id.into());
    }
    let administrator = session(key, "KeyAdministrator", "j.doe")?;
    act(world, &administrator, key.region, call, input).map(|_| ())
}

/// Encrypts and decrypts in Europe, Asia and America.
fn use_keys(world: &mut World) -> Result<(), ApiError> {
    const USED: [KeyRef; 4] = [
        KeyRef { account: PAYMENTS, region: "eu-central-1", name: "alias/payments-ledger" },
        KeyRef { account: CUSTOMERS, region: "eu-west-1", name: "alias/marketing-segments" },
        KeyRef { account: ANALYTICS, region: "us-east-1", name: "alias/event-stream" },
        KeyRef { account: APAC, region: "ap-southeast-1", name: "alias/sg-accounts" },
    ];
    for key in USED {
        let application = application(key)?;
        let input = json!({ "KeyId": key.name, "KeySpec": "AES_256" });
        let data_key = act(world, &application, key.region, "kms:GenerateDataKey", input)?;
        let sealed = data_key.get("CiphertextBlob").cloned().unwrap_or_default();
        act(world, &application, key.region, "kms:Decrypt", json!({ "CiphertextBlob": sealed }))?;
    }
    Ok(())
}

/// Replicates a key as its owners would: with the same policy, tags and alias, in the wrong place.
fn replicate_abroad(world: &mut World) -> Result<(), ApiError> {
    let id = id_of(world, REPLICATED)?;
    let administrator = session(REPLICATED, "KeyAdministrator", "j.doe")?;
    let region = REPLICATED.region;
    let policy = act(
        world,
        &administrator,
        region,
        "kms:GetKeyPolicy",
        json!({ "KeyId": id, "PolicyName": "default" }),
    )?;
    let replicate = json!({
        "KeyId": id,
        "ReplicaRegion": ABROAD,
        "Description": "customer profile",
        "Policy": policy.get("Policy"),
        "Tags": [
            { "TagKey": CLASSIFICATION_TAG, "TagValue": "personal-eu" },
            { "TagKey": "managed-by", "TagValue": "terraform" },
        ],
    });
    act(world, &administrator, region, "kms:ReplicateKey", replicate)?;
    let alias = json!({ "AliasName": REPLICATED.name, "TargetKeyId": id });
    act(world, &administrator, ABROAD, "kms:CreateAlias", alias).map(|_| ())
}

/// Seals something at home and opens it abroad.
fn decrypt_abroad(world: &mut World) -> Result<(), ApiError> {
    let application = application(REPLICATED)?;
    let input = json!({ "KeyId": REPLICATED.name, "Plaintext": "cGVyc29uYWw=" });
    let sealed = act(world, &application, REPLICATED.region, "kms:Encrypt", input)?;
    let input = json!({ "CiphertextBlob": sealed.get("CiphertextBlob"), "KeyId": REPLICATED.name });
    act(world, &application, ABROAD, "kms:Decrypt", input).map(|_| ())
}

/// A contractor of the account tries a key, and is refused.
fn try_to_decrypt(world: &mut World) -> Result<(), ApiError> {
    let application = application(TRIED)?;
    let input = json!({ "KeyId": TRIED.name, "Plaintext": "c2NvcmU=" });
    let sealed = act(world, &application, TRIED.region, "kms:Encrypt", input)?;
    let contractor = Actor::new(&parse(TRIED.account)?, Principal::User { name: "contractor".to_owned() });
    let input = json!({ "CiphertextBlob": sealed.get("CiphertextBlob"), "KeyId": TRIED.name });
    match act(world, &contractor, TRIED.region, "kms:Decrypt", input) {
        Err(error) if super::call::is_denial(&error.code) => Ok(()),
        Err(error) => Err(error),
        Ok(_) => Err(ApiError::client("InvalidStateException", "the contractor was let in")),
    }
}

/// Sets the payments account's own trail to leave out KMS.
fn exclude_kms(world: &mut World) -> Result<(), ApiError> {
    let payments = KeyRef { account: PAYMENTS, region: "eu-central-1", name: PAYMENTS_TRAIL };
    let administrator = session(payments, "KeyAdministrator", "j.doe")?;
    let input = json!({
        "TrailName": PAYMENTS_TRAIL,
        "EventSelectors": [{
            "ReadWriteType": "All",
            "IncludeManagementEvents": true,
            "DataResources": [],
            "ExcludeManagementEventSources": ["kms.amazonaws.com"],
        }],
    });
    act(world, &administrator, payments.region, "cloudtrail:PutEventSelectors", input).map(|_| ())
}

#[cfg(test)]
mod tests;
