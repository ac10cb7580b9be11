//! What AWS Config records, and whether it delivers.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::super::call::{Answer, ApiError, Call};
use super::{Setup, names};

/// A configuration recorder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorder {
    /// Its name; `default` unless the user chose another.
    pub name: String,
    /// Whether it records.
    pub recording: bool,
    /// The resource types that it records; none: every type.
    pub resource_types: Option<Vec<String>>,
    /// When it was last started or stopped.
    pub changed: DateTime<Utc>,
    /// Why recording fails, if it does.
    pub error: Option<String>,
}

impl Recorder {
    /// A recorder of everything since a time.
    pub fn everything(since: DateTime<Utc>) -> Self {
        let name = "default".to_owned();
        Self { name, recording: true, resource_types: None, changed: since, error: None }
    }

    /// Whether KMS keys are recorded.
    pub(super) fn records_keys(&self) -> bool {
        let named = |types: &Vec<String>| types.iter().any(|name| name == "AWS::KMS::Key");
        self.recording && self.resource_types.as_ref().is_none_or(named)
    }

    pub(super) fn to_json(&self, call: &Call) -> Value {
        let strategy = if self.resource_types.is_none() {
            "ALL_SUPPORTED_RESOURCE_TYPES"
        } else {
            "INCLUSION_BY_RESOURCE_TYPES"
        };
        let (partition, account) = (&call.partition, &call.account);
        json!({
            "name": self.name,
            "roleARN": format!("arn:{partition}:iam::{account}:role/aws-service-role/config.amazonaws.com/AWSServiceRoleForConfig"),
            "recordingGroup": {
                "allSupported": self.resource_types.is_none(),
                "includeGlobalResourceTypes": self.resource_types.is_none(),
                "resourceTypes": self.resource_types.clone().unwrap_or_default(),
                "recordingStrategy": { "useOnly": strategy },
            },
            "recordingMode": { "recordingFrequency": "CONTINUOUS" },
        })
    }

    pub(super) fn status_json(&self) -> Value {
        let last_status = match (self.recording, &self.error) {
            (_, Some(_)) => "Failure",
            (true, None) => "Success",
            (false, None) => "Pending",
        };
        let changed = self.changed.timestamp();
        let (started, stopped) = if self.recording { (Some(changed), None) } else { (None, Some(changed)) };
        json!({
            "name": self.name,
            "recording": self.recording,
            "lastStatus": last_status,
            "lastStartTime": started,
            "lastStopTime": stopped,
            "lastStatusChangeTime": changed,
            "lastErrorCode": self.error,
            "lastErrorMessage": self.error,
        })
    }
}

/// A delivery channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Its name.
    pub name: String,
    /// When something was last delivered, or failed to be.
    pub last: DateTime<Utc>,
    /// The error code, if the last delivery failed: `AccessDenied`.
    pub error: Option<String>,
}

impl Delivery {
    /// A channel that works.
    pub fn healthy(last: DateTime<Utc>) -> Self {
        Self { name: "default".to_owned(), last, error: None }
    }

    fn to_json(&self) -> Value {
        let status = if self.error.is_some() { "Failure" } else { "Success" };
        let last = self.last.timestamp();
        let info = json!({
            "lastStatus": status, "lastErrorCode": self.error, "lastErrorMessage": self.error,
            "lastAttemptTime": last,
            "lastSuccessfulTime": if self.error.is_none() { Some(last) } else { None },
        });
        json!({
            "name": self.name,
            "configHistoryDeliveryInfo": info,
            "configSnapshotDeliveryInfo": info,
            "configStreamDeliveryInfo": {
                "lastStatus": status, "lastErrorCode": self.error, "lastErrorMessage": self.error,
                "lastStatusChangeTime": last,
            },
        })
    }
}

/// The recorders that a call asks for, each as the caller wants it.
pub(super) fn list(setup: &Setup, call: &Call, member: &str, to_json: impl Fn(&Recorder) -> Value) -> Answer {
    let asked = names(call, "ConfigurationRecorderNames");
    let recorder = setup.recorder.as_ref();
    if let Some(missing) = asked.iter().find(|name| recorder.is_none_or(|there| there.name != **name)) {
        let message = format!("Cannot find configuration recorder with the specified name '{missing}'.");
        return Err(ApiError::client("NoSuchConfigurationRecorderException", message));
    }
    Ok(json!({ member: recorder.map(to_json).into_iter().collect::<Vec<_>>() }))
}

/// The delivery channel's status.
pub(super) fn delivery_status(setup: &Setup, call: &Call) -> Answer {
    let asked = names(call, "DeliveryChannelNames");
    let delivery = setup.delivery.as_ref();
    if let Some(missing) = asked.iter().find(|name| delivery.is_none_or(|there| there.name != **name)) {
        let message = format!("Cannot find delivery channel with specified name '{missing}'.");
        return Err(ApiError::client("NoSuchDeliveryChannelException", message));
    }
    Ok(json!({ "DeliveryChannelsStatus": delivery.map(Delivery::to_json).into_iter().collect::<Vec<_>>() }))
}
