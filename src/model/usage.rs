//! Who used which key, from where, and what came of it.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// One line of the usage ledger, without its count: what is counted together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Usage {
    /// In hours since 1970 in UTC.
    pub hour: i64,
    /// The ARN of the key.
    pub key: String,
    /// Who called, with sessions folded to their role; [`OTHERS`] for what exceeds the bound of a key's lines.
    pub principal: String,
    /// `Decrypt`, `GenerateDataKey`, …
    pub operation: String,
    /// What came of it.
    pub outcome: UsageOutcome,
    /// The account of the caller; empty for AWS services that call for themselves and where the record names none.
    pub account: String,
    /// Where the call came from.
    pub network: Network,
    /// The kind of the encryption context: `none`, `s3`, `ebs`, …, `aws` for other services', `custom`.
    pub context: String,
}

/// The principal of what exceeds the bound of a key's lines. Such lines have no account, no one network and the
/// context [`SEVERAL`].
pub const OTHERS: &str = "(other principals)";

/// The context of lines that were put together.
pub const SEVERAL: &str = "several";

impl Usage {
    /// The line that this one is put into when a key has too many in an hour. Key, operation and outcome are never
    /// put together, so that no total of them changes.
    #[must_use]
    pub fn folded(&self) -> Self {
        Self {
            principal: OTHERS.to_owned(),
            account: String::new(),
            network: Network::Several,
            context: SEVERAL.to_owned(),
            ..self.clone()
        }
    }

    /// Whether it stands for several that were put together.
    pub fn is_folded(&self) -> bool {
        self.principal == OTHERS
    }
}

/// How often something was, and when first and last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageCount {
    /// How many calls.
    pub count: u64,
    /// The first of them.
    pub first: DateTime<Utc>,
    /// The last of them.
    pub last: DateTime<Utc>,
}

impl UsageCount {
    /// Puts another count of the same in.
    pub fn add(&mut self, other: Self) {
        self.count += other.count;
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
    }
}

/// Uses of keys that the record names by an alias or not at all: counted, since what is not known must not look like
/// what was not.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Unattributed {
    /// In hours since 1970 in UTC.
    pub hour: i64,
    /// The account whose log the record is in.
    pub account: String,
    /// The Region of the call.
    pub region: String,
    /// `Decrypt`, …
    pub operation: String,
    /// What came of it.
    pub outcome: UsageOutcome,
}

macro_rules! names {
    ($(#[$doc:meta])* $type:ident { $($(#[$variant_doc:meta])* $variant:ident = $name:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $type {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $type {
            /// Each of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Its name, as in documents, metrics and the store.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

names! {
    /// What came of a use of a key.
    UsageOutcome {
        /// It was done.
        Success = "success",
        /// AWS refused for want of permission.
        Denied = "denied",
        /// It failed for another reason: a disabled key, a wrong ciphertext, throttling.
        Error = "error",
        /// It was only asked whether it would be permitted, and it would have been.
        DryRun = "dry_run",
    }
}

names! {
    /// Where a call came from.
    Network {
        /// An AWS service, for somebody or for itself.
        Service = "service",
        /// Within AWS, as KMS itself.
        Internal = "internal",
        /// A VPC endpoint.
        VpcEndpoint = "vpc_endpoint",
        /// A private address.
        Private = "private",
        /// A public address.
        Public = "public",
        /// The record does not tell.
        Unknown = "unknown",
        /// Several that were put together.
        Several = "several",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_documents_agree() {
        let as_json = |value: serde_json::Value| value.as_str().unwrap().to_owned();
        for outcome in UsageOutcome::ALL {
            assert_eq!(as_json(serde_json::to_value(outcome).unwrap()), outcome.as_str());
        }
        for network in Network::ALL {
            assert_eq!(as_json(serde_json::to_value(network).unwrap()), network.as_str());
        }
    }
}
