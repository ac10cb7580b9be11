//! Key ARNs, and the identity of a key set.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{AccountId, Region};

/// Why a text is not the ARN of a KMS key.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is not a KMS key ARN; one looks like `arn:aws:kms:REGION:ACCOUNT:key/KEY-ID`")]
pub struct ArnError(pub String);

/// The ARN of one KMS key in one Region: `arn:PARTITION:kms:REGION:ACCOUNT:key/KEY-ID`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyArn {
    /// `aws`, `aws-cn`, `aws-us-gov`, `aws-eusc`, `aws-iso`, …
    pub partition: String,
    /// The Region that the key lives in.
    pub region: Region,
    /// The account that owns the key.
    pub account: AccountId,
    /// The key id: a UUID, or `mrk-` and 32 hex digits for a multi-Region key.
    pub id: String,
}

impl KeyArn {
    /// The ARN of the related multi-Region key in another Region: the same id, account and partition.
    #[must_use]
    pub fn in_region(&self, region: Region) -> Self {
        Self { region, ..self.clone() }
    }

    /// Whether this is a multi-Region key. AWS gives those, and only those, ids that begin with `mrk-`.
    pub fn is_multi_region(&self) -> bool {
        self.id.starts_with("mrk-")
    }

    /// The key set that this key belongs to.
    pub fn key_set(&self) -> KeySetId {
        KeySetId::of(self)
    }
}

impl fmt::Display for KeyArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { partition, region, account, id } = self;
        write!(f, "arn:{partition}:kms:{region}:{account}:key/{id}")
    }
}

impl FromStr for KeyArn {
    type Err = ArnError;

    fn from_str(text: &str) -> Result<Self, ArnError> {
        let wrong = || ArnError(text.to_owned());
        let mut parts = text.splitn(6, ':');
        let mut next = || parts.next().ok_or_else(wrong);
        let (prefix, partition, service) = (next()?, next()?, next()?);
        let (region, account, resource) = (next()?, next()?, next()?);
        let id = resource.strip_prefix("key/").ok_or_else(wrong)?;
        let id_is_plain = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if prefix != "arn" || service != "kms" || partition.is_empty() || id.is_empty() || !id_is_plain {
            return Err(wrong());
        }
        Ok(Self {
            partition: partition.to_owned(),
            region: region.parse().map_err(|_| wrong())?,
            account: account.parse().map_err(|_| wrong())?,
            id: id.to_owned(),
        })
    }
}

impl TryFrom<String> for KeyArn {
    type Error = ArnError;

    fn try_from(text: String) -> Result<Self, ArnError> {
        text.parse()
    }
}

impl From<KeyArn> for String {
    fn from(arn: KeyArn) -> Self {
        arn.to_string()
    }
}

/// The identity of a key set.
///
/// For a single-Region key it is the key's ARN. For a multi-Region key it is the ARN pattern that matches
/// every member, with `*` for the Region: the primary can move, so no member's own ARN would stay true.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeySetId(String);

impl KeySetId {
    /// The set that a key belongs to.
    pub fn of(key: &KeyArn) -> Self {
        if key.is_multi_region() {
            let KeyArn { partition, account, id, .. } = key;
            Self(format!("arn:{partition}:kms:*:{account}:key/{id}"))
        } else {
            Self(key.to_string())
        }
    }

    /// The identity as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeySetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arn_survives_the_round_trip_in_every_partition() {
        for text in [
            "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
            "arn:aws-eusc:kms:eusc-de-east-1:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab",
            "arn:aws-us-gov:kms:us-gov-west-1:111122223333:key/abc",
        ] {
            assert_eq!(text.parse::<KeyArn>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_not_a_key_arn_is_refused() {
        for text in [
            "",
            "key/1234",
            "arn:aws:kms:eu-central-1:111122223333:alias/app",
            "arn:aws:s3:eu-central-1:111122223333:key/abc",
            "arn:aws:kms:eu-central-1:1111:key/abc",
            "arn:aws:kms:eu-central-1:111122223333:key/",
            "arn:aws:kms:eu-central-1:111122223333:key/*",
        ] {
            assert!(text.parse::<KeyArn>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_members_of_a_set_share_its_identity() {
        let primary: KeyArn = "arn:aws:kms:eu-central-1:111122223333:key/mrk-1234abcd".parse().unwrap();
        let replica = primary.in_region("eu-west-1".parse().unwrap());
        assert_eq!(primary.key_set(), replica.key_set());
        assert_eq!(primary.key_set().as_str(), "arn:aws:kms:*:111122223333:key/mrk-1234abcd");
        let single: KeyArn = "arn:aws:kms:eu-central-1:111122223333:key/abc".parse().unwrap();
        assert_eq!(single.key_set().as_str(), single.to_string());
    }
}
