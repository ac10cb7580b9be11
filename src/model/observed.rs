//! What is known about one attribute: its value, that it does not apply, or why it is not known.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::ReadingResult;

/// Why something is not known: the call that would have told, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Gap {
    /// The call as IAM names it, such as `kms:GetKeyPolicy`.
    pub api: String,
    /// Never [`ReadingResult::Ok`].
    pub result: ReadingResult,
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.api, self.result)
    }
}

/// An attribute that had to be read, and may not have been.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Observed<T> {
    /// It was read.
    Known(T),
    /// It was asked for and not read. Absence is never compliance.
    Unknown(Gap),
    /// AWS has no such attribute here (the rotation status of an RSA key), or it was rightly not asked for.
    NotApplicable,
}

impl<T> Observed<T> {
    /// The value, where it is known.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Unknown(_) | Self::NotApplicable => None,
        }
    }

    /// The gap, where there is one.
    pub fn gap(&self) -> Option<&Gap> {
        match self {
            Self::Unknown(gap) => Some(gap),
            Self::Known(_) | Self::NotApplicable => None,
        }
    }
}
