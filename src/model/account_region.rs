//! What a reading of one Region of one account tells, beside its keys.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{AccountId, Gap, LogCheck, Observed, Region, TrailSnapshot};

/// One Region of one account as it was read at one time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountRegionSnapshot {
    /// The account.
    pub account: AccountId,
    /// The Region.
    pub region: Region,
    /// The partition, as in ARNs.
    pub partition: String,
    /// When the reading ended.
    pub read_at: DateTime<Utc>,
    /// How many keys `ListKeys` named, AWS managed ones included; unknown if the Region could not be listed.
    pub keys: Observed<u64>,
    /// `DescribeCustomKeyStores`.
    pub custom_key_stores: Observed<Vec<CustomKeyStore>>,
    /// The trails that show in this Region, sorted by ARN.
    pub trails: Observed<Vec<TrailSnapshot>>,
    /// AWS Config's recorder and delivery channel.
    pub config: Observed<ConfigPosture>,
    /// What AWS Config's own KMS rules say, shown beside our verdicts.
    pub opinions: Observed<Vec<ConfigOpinion>>,
    /// Whether the log files of the trails that are managed here are all there and unchanged, by the trails' ARNs.
    /// They are verified apart from the sweeps, and what was found is kept over them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub log_checks: BTreeMap<String, LogCheck>,
    /// Every call that did not succeed in this sweep of the Region, sorted.
    pub gaps: Vec<Gap>,
}

/// AWS Config's recorder and delivery channel in one account-Region.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigPosture {
    /// Whether a recorder exists.
    pub recorder: bool,
    /// Whether a recorder is running.
    pub recording: bool,
    /// Whether what it records includes `AWS::KMS::Key`.
    pub records_kms: bool,
    /// The last status of the recorder: `Success`, `Failure`, `Pending`.
    pub last_status: Option<String>,
    /// Whether the last delivery to the channel succeeded; none if there was none yet.
    pub delivering: Option<bool>,
}

/// What one AWS Config rule says about one key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ConfigOpinion {
    /// The name of the Config rule in this account.
    pub rule: String,
    /// The managed rule's identifier, such as `CMK_BACKING_KEY_ROTATION_ENABLED`.
    pub identifier: String,
    /// The key's id.
    pub key_id: String,
    /// `COMPLIANT`, `NON_COMPLIANT`, `NOT_APPLICABLE`.
    pub compliance: String,
    /// Why, in Config's words.
    pub annotation: Option<String>,
}

/// One custom key store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CustomKeyStore {
    /// Its id, `cks-…`.
    pub id: String,
    /// Its name.
    pub name: String,
    /// `AWS_CLOUDHSM` or `EXTERNAL_KEY_STORE`.
    pub kind: String,
    /// `CONNECTED`, `DISCONNECTED`, `FAILED`, …
    pub connection: String,
}
