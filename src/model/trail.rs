//! What a reading of a CloudTrail trail tells.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Observed, Region};

/// One trail as seen from one account-Region (a multi-Region trail shows in every Region as a shadow).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrailSnapshot {
    /// The trail's ARN, in its home Region.
    pub arn: String,
    /// Its name.
    pub name: String,
    /// Where it is managed.
    pub home_region: Option<Region>,
    /// Whether it logs every Region.
    pub multi_region: bool,
    /// Whether it is the organization's.
    pub organization: bool,
    /// Whether digest files are delivered.
    pub log_file_validation: bool,
    /// The bucket that takes the log files.
    pub bucket: Option<String>,
    /// What the keys of its objects begin with, before `AWSLogs/`.
    #[serde(default)]
    pub key_prefix: Option<String>,
    /// The key that encrypts log files, if any.
    pub kms_key: Option<String>,
    /// `GetTrailStatus`.
    pub status: Observed<TrailStatus>,
    /// `GetEventSelectors`.
    pub selectors: Observed<Selectors>,
}

/// `GetTrailStatus`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrailStatus {
    /// Whether the trail records anything at all.
    pub logging: bool,
    /// The last delivery to the bucket.
    pub latest_delivery: Option<DateTime<Utc>>,
    /// Why the last delivery failed, if it did.
    pub delivery_error: Option<String>,
    /// When it was asked; the age of the last delivery is as of then.
    #[serde(default)]
    pub asked_at: Option<DateTime<Utc>>,
    /// Since when it logs.
    #[serde(default)]
    pub started: Option<DateTime<Utc>>,
    /// When it was stopped last.
    #[serde(default)]
    pub stopped: Option<DateTime<Utc>>,
    /// The last delivery of a digest file.
    #[serde(default)]
    pub latest_digest: Option<DateTime<Utc>>,
}

impl TrailStatus {
    /// A status that tells no times.
    pub fn new(logging: bool) -> Self {
        Self {
            logging,
            latest_delivery: None,
            delivery_error: None,
            asked_at: None,
            started: None,
            stopped: None,
            latest_digest: None,
        }
    }
}

/// What a trail's event selectors let through, reduced to what concerns KMS.
///
/// All KMS calls are management events; encrypt, decrypt and the like count as reads, changes as writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selectors {
    /// Whether KMS's write events (changes to keys) are recorded.
    pub kms_writes: bool,
    /// Whether KMS's read events (uses of keys) are recorded.
    pub kms_reads: bool,
    /// Whether KMS is excluded by name, rather than by recording no management events at all.
    pub kms_excluded: bool,
}
