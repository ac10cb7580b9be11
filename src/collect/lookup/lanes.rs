//! What is looked up, in which order.

use crate::model::{AccountId, Region};

/// KMS as CloudTrail names it.
pub(super) const KMS: &str = "kms.amazonaws.com";
/// CloudTrail as it names itself.
const CLOUDTRAIL: &str = "cloudtrail.amazonaws.com";

/// The calls that change keys, or what is recorded of them: what cannot wait comes first, and what some
/// accounts make by the thousand (AWS services grant and retire) comes last. Each is one request a round at
/// least, so that a round over all of them takes about sixteen seconds at CloudTrail's two a second.
pub const MUTATIONS: &[&str] = &[
    "ReplicateKey",
    "UpdatePrimaryRegion",
    "ScheduleKeyDeletion",
    "PutKeyPolicy",
    "DisableKey",
    "DisableKeyRotation",
    "PutEventSelectors",
    "StopLogging",
    "DeleteTrail",
    "UpdateTrail",
    "StartLogging",
    "CreateTrail",
    "DeleteImportedKeyMaterial",
    "CreateKey",
    "CreateGrant",
    "DeleteKey",
    "DeleteExpiredKeyMaterial",
    "EnableKey",
    "EnableKeyRotation",
    "CancelKeyDeletion",
    "ImportKeyMaterial",
    "RotateKeyOnDemand",
    "RotateKey",
    "CreateAlias",
    "UpdateAlias",
    "DeleteAlias",
    "UpdateKeyDescription",
    "UntagResource",
    "TagResource",
    "RevokeGrant",
    "RetireGrant",
];

/// One thing to look up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lane {
    /// A call that changes something, by its name.
    Mutation(&'static str),
    /// Everything that happened to KMS, uses of keys above all.
    Usage,
}

impl Lane {
    /// The lane's path in cursors and batch ids: `mutations/ReplicateKey`.
    pub(super) fn path(self) -> String {
        match self {
            Self::Mutation(name) => format!("mutations/{name}"),
            Self::Usage => "usage".to_owned(),
        }
    }

    /// The key of the lane's cursor: `lookup/111122223333/eu-central-1/usage`.
    pub(super) fn cursor_key(self, account: &AccountId, region: &Region) -> String {
        format!("lookup/{account}/{region}/{}", self.path())
    }

    /// Whether the lane takes events of a source: other services have calls of the same name.
    pub(super) fn takes(self, event_source: &str) -> bool {
        event_source == KMS || (event_source == CLOUDTRAIL && self != Self::Usage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_call_is_looked_up_twice_and_the_gravest_come_first() {
        let mut sorted = MUTATIONS.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), MUTATIONS.len());
        assert_eq!(MUTATIONS[0], "ReplicateKey");
    }

    #[test]
    fn a_call_of_the_same_name_on_another_service_is_not_taken() {
        assert!(Lane::Mutation("TagResource").takes("kms.amazonaws.com"));
        assert!(Lane::Mutation("StopLogging").takes("cloudtrail.amazonaws.com"));
        assert!(!Lane::Mutation("TagResource").takes("lambda.amazonaws.com"));
        assert!(!Lane::Usage.takes("cloudtrail.amazonaws.com"));
    }
}
