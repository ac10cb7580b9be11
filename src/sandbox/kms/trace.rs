//! What CloudTrail has to know of a call beyond its input and output.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::state::State;
use crate::model::{AccountId, Region};

/// What one call touched.
#[derive(Debug, Clone, Default)]
pub(in crate::sandbox) struct Trace {
    /// The ARNs of the keys and aliases, in the order of the record's `resources`.
    pub(in crate::sandbox) resources: Vec<String>,
    /// The account that owns the key, if a key was found.
    pub(in crate::sandbox) owner: Option<AccountId>,
    /// `additionalEventData`.
    pub(in crate::sandbox) additional: Option<Value>,
    /// The id of the record in the owner's account; the key's last usage names it.
    pub(in crate::sandbox) event_id: Option<String>,
    /// Further records of the same call: `UpdatePrimaryRegion` in the new primary's Region, `CreateKey` in a replica's.
    pub(in crate::sandbox) companions: Vec<Companion>,
}

/// A further record that a call leaves in another Region.
#[derive(Debug, Clone)]
pub(in crate::sandbox) struct Companion {
    pub(in crate::sandbox) region: Region,
    pub(in crate::sandbox) name: &'static str,
    /// The input, with the member names of the API.
    pub(in crate::sandbox) request: Value,
    /// The output, with the member names of the API.
    pub(in crate::sandbox) response: Value,
    pub(in crate::sandbox) resources: Vec<String>,
}

/// Something that KMS did of itself, without anybody's call.
#[derive(Debug, Clone)]
pub(in crate::sandbox) struct ServiceEvent {
    pub(in crate::sandbox) at: DateTime<Utc>,
    pub(in crate::sandbox) account: AccountId,
    pub(in crate::sandbox) region: Region,
    pub(in crate::sandbox) name: &'static str,
    pub(in crate::sandbox) key_arn: String,
    pub(in crate::sandbox) details: Option<Value>,
}

impl State {
    /// What the last call touched.
    pub(in crate::sandbox) fn take_trace(&mut self) -> Trace {
        std::mem::take(&mut self.trace)
    }

    /// What happened by itself since the last time.
    pub(in crate::sandbox) fn take_events(&mut self) -> Vec<ServiceEvent> {
        std::mem::take(&mut self.events)
    }
}
