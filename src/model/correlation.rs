//! What is remembered of events that count together.

use serde::{Deserialize, Serialize};

/// Which events count together: those of one correlation rule and one group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CorrelationKey {
    /// The correlation rule's name.
    pub rule: String,
    /// A hash of the group's values and of what the rule counts, so that a changed rule starts anew.
    pub group: String,
}

/// The events of one group that are remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorrelationState {
    /// Which they are.
    pub key: CorrelationKey,
    /// The newest arrival among them, in microseconds since 1970: groups are forgotten from the oldest on.
    pub touched_at: i64,
    /// When nothing of it has to be remembered any more, in microseconds since 1970.
    pub expires_at: i64,
    /// The events, by time and id.
    pub matches: Vec<Remembered>,
}

/// One event, as far as it is remembered. The names are short since there are many of them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Remembered {
    /// When the call was made, in microseconds since 1970; first, so that events sort by it.
    #[serde(rename = "t")]
    pub at: i64,
    /// The event's id.
    #[serde(rename = "e")]
    pub event: String,
    /// What the records of one call have in common.
    #[serde(rename = "c")]
    pub call: String,
    /// Which of the correlated rules it matched, by their places.
    #[serde(rename = "r")]
    pub rules: Vec<u16>,
    /// The values that are counted.
    #[serde(rename = "v", default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
    /// The account that recorded it.
    #[serde(rename = "a")]
    pub account: String,
    /// The Region that recorded it.
    #[serde(rename = "g", default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// When it arrived, in microseconds since 1970.
    #[serde(rename = "n")]
    pub arrived: i64,
    /// Whether it was told as part of a detection.
    #[serde(rename = "s", default, skip_serializing_if = "std::ops::Not::not")]
    pub told: bool,
    /// Whether it was handed on to the correlations that name its own.
    #[serde(rename = "d", default, skip_serializing_if = "std::ops::Not::not")]
    pub ended: bool,
    /// What it is for the correlations that name its own.
    #[serde(rename = "l", default, skip_serializing_if = "Vec::is_empty")]
    pub lifts: Vec<Lift>,
}

/// What an event becomes for a correlation of correlations, once its own is met.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Lift {
    /// That correlation's name.
    #[serde(rename = "k")]
    pub rule: String,
    /// The hash of its group.
    #[serde(rename = "h")]
    pub group: String,
    /// The values of its group.
    #[serde(rename = "w")]
    pub group_values: Vec<String>,
    /// The place of the event's own correlation among its rules.
    #[serde(rename = "r")]
    pub rules: Vec<u16>,
    /// The values that it counts.
    #[serde(rename = "v", default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
    /// What it is for the correlations that name that one.
    #[serde(rename = "l", default, skip_serializing_if = "Vec::is_empty")]
    pub lifts: Vec<Lift>,
}
