//! The unit in which everything arrives and is committed.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{AccountId, AccountRegionSnapshot, EventRecord, KeySnapshot, Reading, Region};

/// Which source a batch came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceKind {
    /// The list of accounts and the roles in them.
    Accounts,
    /// The list of Regions.
    Regions,
    /// The sweep of keys, trails and AWS Config.
    Inventory,
    /// CloudTrail `LookupEvents`.
    Lookup,
    /// Log files that an SQS queue announces, and events that it carries itself.
    Queue,
    /// Log files on disk or in a bucket.
    Files,
}

impl SourceKind {
    /// Every source.
    pub const ALL: [Self; 6] =
        [Self::Accounts, Self::Regions, Self::Inventory, Self::Lookup, Self::Queue, Self::Files];

    /// The source's name, as in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accounts => "accounts",
            Self::Regions => "regions",
            Self::Inventory => "inventory",
            Self::Lookup => "lookup",
            Self::Queue => "queue",
            Self::Files => "files",
        }
    }
}

impl fmt::Display for SourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What one source brought in one go; written in one database transaction, or not at all.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Where it came from.
    pub source: SourceKind,
    /// Names the input, so that the same input twice changes nothing: a sweep's start, a look-up window.
    pub id: String,
    /// The account that it is about; none if it is about several.
    pub account: Option<AccountId>,
    /// The Region that it is about; none if it is about several.
    pub region: Option<Region>,
    /// When the reading ended; this is the `now` of everything that is concluded from the batch.
    pub read_at: DateTime<Utc>,
    /// What was seen of keys and Regions.
    pub snapshots: Vec<Snapshot>,
    /// What happened.
    pub events: Vec<EventRecord>,
    /// What was attempted.
    pub readings: Vec<Reading>,
    /// Where to go on after this batch.
    pub cursor: Option<Cursor>,
    /// Whether all keys of the account-Region are in it: only then has a key that is not in it vanished.
    pub complete: bool,
}

/// One thing as it was read at one time.
#[derive(Debug, Clone)]
pub enum Snapshot {
    /// A key in a Region.
    Key(Box<KeySnapshot>),
    /// A Region of an account.
    AccountRegion(Box<AccountRegionSnapshot>),
}

/// How far a source has come; opaque to everything but the source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// Whose: `lookup/111122223333/eu-central-1/mutations`.
    pub key: String,
    /// How far.
    pub value: String,
}
