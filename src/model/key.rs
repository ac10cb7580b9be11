//! What one reading of one key tells.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{KeyArn, Observed, Region};

/// One key in one Region as it was read at one time.
///
/// A leaf that could not be read is [`Observed::Unknown`]; the other leaves stand on their own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeySnapshot {
    /// The key.
    pub arn: KeyArn,
    /// When the reading of this key ended.
    pub read_at: DateTime<Utc>,
    /// `DescribeKey`.
    pub metadata: Observed<KeyMetadata>,
    /// The `default` key policy as JSON text (`GetKeyPolicy`). Not applicable for AWS managed keys.
    pub policy: Observed<String>,
    /// `GetKeyRotationStatus`. Not applicable where AWS has no automatic rotation for the kind of key, and
    /// on replicas, which mirror their primary.
    pub rotation: Observed<RotationStatus>,
    /// `ListKeyRotations`, oldest first. Not applicable where it tells the rules nothing: it is asked for
    /// imported symmetric keys, and for keys whose automatic rotation is off.
    pub rotations: Observed<Vec<KeyRotation>>,
    /// Alias names with their `alias/` prefix, sorted (`ListAliases` of the whole Region).
    pub aliases: Observed<Vec<String>>,
    /// `ListGrants`, sorted by grant id. Not applicable for AWS managed keys.
    pub grants: Observed<Vec<Grant>>,
    /// `ListResourceTags`. Not applicable for AWS managed keys.
    pub tags: Observed<BTreeMap<String, String>>,
    /// `GetKeyLastUsage`, sampled slowly (its quota is 5 a second); not applicable until it was sampled.
    pub last_usage: Observed<LastUsage>,
}

/// `DescribeKey`'s metadata; texts are AWS's own enumeration values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyMetadata {
    /// `AWS` or `CUSTOMER`.
    pub manager: String,
    /// `Enabled`, `Disabled`, `PendingDeletion`, `PendingReplicaDeletion`, `PendingImport`, `Creating`,
    /// `Updating`, `Unavailable`.
    pub state: String,
    /// `SYMMETRIC_DEFAULT`, `RSA_2048`, …
    pub spec: String,
    /// `ENCRYPT_DECRYPT`, `SIGN_VERIFY`, …
    pub usage: String,
    /// `AWS_KMS`, `EXTERNAL`, `AWS_CLOUDHSM`, `EXTERNAL_KEY_STORE`.
    pub origin: String,
    /// Free text that the owner gave.
    pub description: String,
    /// When the key was created; for a replica, when the replica was.
    pub created: Option<DateTime<Utc>>,
    /// When it will be deleted; absent in `PendingReplicaDeletion`.
    pub deletion_date: Option<DateTime<Utc>>,
    /// The waiting period that starts when the last replica is gone (`PendingReplicaDeletion` only).
    pub pending_window_days: Option<i64>,
    /// When imported material expires; the earliest, if there are several materials.
    pub valid_to: Option<DateTime<Utc>>,
    /// The custom key store that holds the material.
    pub custom_key_store: Option<String>,
    /// The id of the current key material (symmetric keys of origin `AWS_KMS` and `EXTERNAL`).
    pub material_id: Option<String>,
    /// The key set, as any member of it tells.
    pub multi_region: Option<RelatedKeys>,
}

/// `MultiRegionConfiguration`: who the primary is, and where the replicas are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelatedKeys {
    /// What the key that was described is.
    pub role: MultiRegionRole,
    /// The primary's Region. While a primary is being moved AWS may name both as replicas.
    pub primary: Option<Region>,
    /// The Regions of the replicas, sorted.
    pub replicas: Vec<Region>,
}

/// A multi-Region key is a primary or a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MultiRegionRole {
    /// Rotation and replication are managed here.
    Primary,
    /// A full copy of the material, with its own policy, state, tags, aliases and grants.
    Replica,
}

/// `GetKeyRotationStatus`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RotationStatus {
    /// Reads false while a key is pending deletion, whatever the setting is.
    pub enabled: bool,
    /// 90 to 2560 days, where rotation is on.
    pub period_days: Option<i64>,
    /// When the next automatic rotation is due.
    pub next: Option<DateTime<Utc>>,
    /// When an on-demand rotation in progress began.
    pub on_demand_started: Option<DateTime<Utc>>,
}

/// One entry of `ListKeyRotations`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRotation {
    /// The material that the rotation made current.
    pub material_id: Option<String>,
    /// When; the first material of a key has no rotation date.
    pub at: Option<DateTime<Utc>>,
    /// Who started it.
    pub kind: Option<RotationKind>,
}

/// `RotationType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RotationKind {
    /// By the schedule.
    Automatic,
    /// By `RotateKeyOnDemand`.
    OnDemand,
}

/// One grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The grant's id.
    pub id: String,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// When it was created.
    pub created: Option<DateTime<Utc>>,
    /// The principal that may use it: an ARN, or a service principal.
    pub grantee: Option<String>,
    /// The principal that may retire it.
    pub retiring: Option<String>,
    /// The account that issued it.
    pub issuing_account: Option<String>,
    /// `Decrypt`, `GenerateDataKey`, `CreateGrant`, …, sorted.
    pub operations: Vec<String>,
    /// Whether an encryption context or a source ARN limits it.
    pub constrained: bool,
}

/// `GetKeyLastUsage`: the last successful cryptographic operation with this member of a set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastUsage {
    /// `Decrypt`, …; none if the key was not used since tracking began.
    pub operation: Option<String>,
    /// When.
    pub at: Option<DateTime<Utc>>,
    /// The CloudTrail event of that use.
    pub event_id: Option<String>,
    /// Since when AWS tracks the use of this key.
    pub tracking_since: Option<DateTime<Utc>>,
}
