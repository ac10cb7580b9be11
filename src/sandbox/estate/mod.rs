//! The demo's estate: an organization of five accounts whose keys are nearly all in order.
//!
//! It is the same every time, but that times count back from the moment it is built. [`STANDING`] lists the
//! violations that it has from the start; every other rule of the built-in pack finds nothing in it under
//! [`residency`] and with `data-class` as the classification tag.

mod keys;
pub(in crate::sandbox) mod policies;
mod services;

use crate::config::{ResidencyAssignment, ResidencyMatch};
use crate::model::{AccountId, IdError, Region};

use super::World;
use super::call::ApiError;
use super::clock::Clock;
use super::kms::seed::SeedError;

/// The account that manages the organization; Keyward runs with its root credentials in the demo.
pub const MANAGEMENT: &str = "111122223333";
/// Payments.
pub const PAYMENTS: &str = "222233334444";
/// Customer data.
pub const CUSTOMERS: &str = "333344445555";
/// Analytics.
pub const ANALYTICS: &str = "444455556666";
/// The services for Asia and the Pacific.
pub const APAC: &str = "555566667777";
/// A partner's account outside the organization.
pub const PARTNER: &str = "999988887777";

/// The organization's accounts with their names.
pub const ACCOUNTS: [(&str, &str); 5] = [
    (MANAGEMENT, "management"),
    (PAYMENTS, "payments-prod"),
    (CUSTOMERS, "customer-data-prod"),
    (ANALYTICS, "analytics"),
    (APAC, "apac-services"),
];

/// The Regions that hold keys: ten, on five continents. Cape Town had to be enabled.
pub const REGIONS: [&str; 10] = [
    "af-south-1",
    "ap-northeast-1",
    "ap-southeast-1",
    "eu-central-1",
    "eu-north-1",
    "eu-west-1",
    "eu-west-2",
    "sa-east-1",
    "us-east-1",
    "us-west-2",
];

/// The role that the audit assumes in every member account.
pub const ROLE: &str = "KeywardReader";
/// The external id that it asks for.
pub const EXTERNAL_ID: &str = "keyward-demo";
/// The tag that states a key's data class.
pub const CLASSIFICATION_TAG: &str = "data-class";
/// The topic for alerts, in the management account.
pub const TOPIC: &str = "arn:aws:sns:eu-central-1:111122223333:keyward-alerts.fifo";
/// A second one, of the standard kind.
pub const STANDARD_TOPIC: &str = "arn:aws:sns:eu-central-1:111122223333:keyward-alerts";
/// The bucket that the organization's trail delivers to, in the management account.
pub const LOG_BUCKET: &str = "keyward-demo-logs-111122223333";
/// The queue that hears of what is put into it, by ARN.
pub const LOG_QUEUE: &str = "arn:aws:sqs:eu-central-1:111122223333:keyward-logs";
/// The same queue by its URL.
pub const LOG_QUEUE_URL: &str = "https://sqs.eu-central-1.amazonaws.com/111122223333/keyward-logs";
/// Where that queue's messages go that were received five times.
pub const LOG_LETTERS: &str = "arn:aws:sqs:eu-central-1:111122223333:keyward-logs-dead-letters";
/// The trail of the payments account alone, beside the organization's.
pub const PAYMENTS_TRAIL: &str = "payments-audit";

/// Which boundary each data class has to stay in: the demo's `[[residency]]`, as tag value and boundary.
pub const BOUNDARIES: [(&str, &str); 3] =
    [("personal-eu", "eea"), ("personal-eu-shared", "eea-and-adequate"), ("personal-sg", "sg")];

/// The demo's `[[residency]]`.
pub fn residency() -> Vec<ResidencyAssignment> {
    let assignment = |(class, boundary): &(&str, &str)| ResidencyAssignment {
        boundary: (*boundary).to_owned(),
        home: Vec::new(),
        matches: ResidencyMatch {
            tags: [(CLASSIFICATION_TAG.to_owned(), (*class).to_owned())].into(),
            ..ResidencyMatch::default()
        },
    };
    BOUNDARIES.iter().map(assignment).collect()
}

/// A key of the estate: by its alias, or by its id if it has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyRef {
    /// The account.
    pub account: &'static str,
    /// The Region; a primary's for a multi-Region key.
    pub region: &'static str,
    /// The alias with its prefix, or the key id.
    pub name: &'static str,
}

/// A rule and a key that violates it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Violation {
    /// The rule's name.
    pub rule: &'static str,
    /// The key.
    pub key: KeyRef,
}

const fn violation(
    rule: &'static str,
    account: &'static str,
    region: &'static str,
    name: &'static str,
) -> Violation {
    Violation { rule, key: KeyRef { account, region, name } }
}

/// The id of the key that has no alias.
pub const NAMELESS: &str = "7c1d9a52-3f0e-4b6a-9d27-51f8c0aa9e04";

/// What the estate violates from the start, and nothing else.
///
/// What depends on the policy or the grants of `hr-vault` is unknown: that is its violation.
pub const STANDING: [Violation; 6] = [
    violation("imported-material-expiring", APAC, "ap-southeast-1", "alias/partner-import"),
    violation("key-policy-cross-account", APAC, "ap-northeast-1", "alias/partner-exchange"),
    violation("key-unreadable", CUSTOMERS, "eu-north-1", "alias/hr-vault"),
    violation("key-without-alias", PAYMENTS, "eu-west-1", NAMELESS),
    violation("rotation-disabled", ANALYTICS, "us-east-1", "alias/legacy-reports"),
    violation("rotation-period-too-long", PAYMENTS, "us-east-1", "alias/billing-exports"),
];

/// Why the estate could not be built. It always can, unless the sandbox is broken.
#[derive(Debug, thiserror::Error)]
pub enum EstateError {
    /// A name in it is not one.
    #[error("the demo's estate names something that is not well-formed")]
    Name(#[from] IdError),
    /// A key in it is not one.
    #[error("the demo's estate has a key that AWS would not have")]
    Key(#[from] SeedError),
    /// A call that builds it failed.
    #[error("{call} failed while the demo's estate was built: {code}: {message}")]
    Call {
        /// The call, as IAM names its permission.
        call: &'static str,
        /// The error's code.
        code: String,
        /// Its message.
        message: String,
    },
}

impl EstateError {
    fn of_call(call: &'static str, error: ApiError) -> Self {
        Self::Call { call, code: error.code, message: error.message }
    }
}

/// A world with the demo's estate in it.
///
/// # Errors
///
/// [`EstateError`], which no run of a sandbox that passes its tests gives.
pub fn demo(clock: Clock) -> Result<World, EstateError> {
    let mut world = World::new(clock);
    services::build(&mut world)?;
    keys::build(&mut world)?;
    services::build_archive(&mut world)?;
    world.tally.clear();
    Ok(world)
}

fn account(id: &str) -> Result<AccountId, IdError> {
    id.parse()
}

fn region(name: &str) -> Result<Region, IdError> {
    name.parse()
}

#[cfg(test)]
mod judged;
#[cfg(test)]
mod tests;
