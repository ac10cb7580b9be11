//! Every AWS call that this room makes: its name, its quota, and which errors only say "there is none".

/// One AWS operation that Keyward calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Api {
    /// As IAM names it: `kms:ListKeys`.
    pub(crate) name: &'static str,
    /// The published quota, in requests a second for each account and Region.
    pub(crate) quota: Quota,
    /// Error codes that are an answer rather than a failure: there is no such thing here.
    pub(crate) absent: &'static [&'static str],
}

/// A request quota, in requests a second for each account and Region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quota {
    /// Keyward takes `inventory.quota_percent` of it, since everyone in the account shares it.
    Shared(u32),
    /// A few requests a second that are published as they stand: Keyward keeps to one request a slot,
    /// with no burst, and leaves a tenth.
    Strict(u32),
}

impl Api {
    const fn new(name: &'static str, quota: Quota) -> Self {
        Self { name, quota, absent: &[] }
    }

    const fn absent(self, absent: &'static [&'static str]) -> Self {
        Self { absent, ..self }
    }

    /// The service as IAM prefixes it: `kms`.
    pub(crate) fn service(&self) -> &'static str {
        self.name.split_once(':').map_or(self.name, |(service, _)| service)
    }

    /// The operation: `ListKeys`.
    pub(crate) fn operation(&self) -> &'static str {
        self.name.split_once(':').map_or(self.name, |(_, operation)| operation)
    }
}

/// A key that is deleted while a sweep runs is gone, which is no failure of the sweep. Only where nothing
/// else of the key was read yet: a key that was just described has a policy, tags and grants.
const KEY_GONE: &[&str] = &["NotFoundException"];
/// Asymmetric, HMAC and custom-key-store keys have no rotation to tell about, and some Regions no custom
/// key stores.
const NOT_SUPPORTED: &[&str] = &["UnsupportedOperationException"];
/// Both, where it is the only call about a key.
const GONE_OR_NOT_SUPPORTED: &[&str] = &["NotFoundException", "UnsupportedOperationException"];

// KMS: the quotas of "Request quotas" in the KMS developer guide.
pub(crate) const LIST_KEYS: Api = Api::new("kms:ListKeys", Quota::Shared(500));
pub(crate) const LIST_ALIASES: Api = Api::new("kms:ListAliases", Quota::Shared(500));
pub(crate) const DESCRIBE_CUSTOM_KEY_STORES: Api =
    Api::new("kms:DescribeCustomKeyStores", Quota::Shared(5)).absent(NOT_SUPPORTED);
pub(crate) const DESCRIBE_KEY: Api = Api::new("kms:DescribeKey", Quota::Shared(2000)).absent(KEY_GONE);
pub(crate) const GET_KEY_POLICY: Api = Api::new("kms:GetKeyPolicy", Quota::Shared(1000));
pub(crate) const GET_KEY_ROTATION_STATUS: Api =
    Api::new("kms:GetKeyRotationStatus", Quota::Shared(1000)).absent(NOT_SUPPORTED);
pub(crate) const LIST_KEY_ROTATIONS: Api =
    Api::new("kms:ListKeyRotations", Quota::Shared(100)).absent(NOT_SUPPORTED);
pub(crate) const LIST_GRANTS: Api = Api::new("kms:ListGrants", Quota::Shared(100));
pub(crate) const LIST_RESOURCE_TAGS: Api = Api::new("kms:ListResourceTags", Quota::Shared(2000));
pub(crate) const GET_KEY_LAST_USAGE: Api =
    Api::new("kms:GetKeyLastUsage", Quota::Shared(5)).absent(GONE_OR_NOT_SUPPORTED);

// CloudTrail: LookupEvents has its own quota of two; Get, Describe and List operations have ten.
pub(crate) const LOOKUP_EVENTS: Api = Api::new("cloudtrail:LookupEvents", Quota::Strict(2));
pub(crate) const DESCRIBE_TRAILS: Api = Api::new("cloudtrail:DescribeTrails", Quota::Shared(10));
pub(crate) const GET_TRAIL_STATUS: Api = Api::new("cloudtrail:GetTrailStatus", Quota::Shared(10));
pub(crate) const GET_EVENT_SELECTORS: Api = Api::new("cloudtrail:GetEventSelectors", Quota::Shared(10));
pub(crate) const LIST_PUBLIC_KEYS: Api = Api::new("cloudtrail:ListPublicKeys", Quota::Shared(10));

// S3 takes thousands a second a prefix: these are not paced.
pub(crate) const LIST_BUCKET: Api = Api::new("s3:ListBucket", Quota::Shared(5500));
pub(crate) const GET_OBJECT: Api = Api::new("s3:GetObject", Quota::Shared(5500)).absent(&["NoSuchKey"]);

// AWS Config publishes no quotas for these; ten a second is conservative.
pub(crate) const DESCRIBE_RECORDERS: Api =
    Api::new("config:DescribeConfigurationRecorders", Quota::Shared(10));
pub(crate) const DESCRIBE_RECORDER_STATUS: Api =
    Api::new("config:DescribeConfigurationRecorderStatus", Quota::Shared(10));
pub(crate) const DESCRIBE_DELIVERY_CHANNEL_STATUS: Api =
    Api::new("config:DescribeDeliveryChannelStatus", Quota::Shared(10));
pub(crate) const DESCRIBE_CONFIG_RULES: Api = Api::new("config:DescribeConfigRules", Quota::Shared(10));
pub(crate) const GET_COMPLIANCE_DETAILS: Api =
    Api::new("config:GetComplianceDetailsByConfigRule", Quota::Shared(10))
        .absent(&["NoSuchConfigRuleException"]);

// Once an account or once an organization; none of them publishes a quota that these could meet.
pub(crate) const GET_CALLER_IDENTITY: Api = Api::new("sts:GetCallerIdentity", Quota::Shared(100));
pub(crate) const ASSUME_ROLE: Api = Api::new("sts:AssumeRole", Quota::Shared(100));
pub(crate) const LIST_ACCOUNTS: Api = Api::new("organizations:ListAccounts", Quota::Shared(10));
pub(crate) const LIST_PARENTS: Api = Api::new("organizations:ListParents", Quota::Shared(10));
pub(crate) const LIST_REGIONS: Api = Api::new("account:ListRegions", Quota::Shared(10));

// Of queues: none has a quota that one consumer could meet. An object that is announced and not there is missed.
pub(crate) const GET_ANNOUNCED_OBJECT: Api = Api::new("s3:GetObject", Quota::Shared(5500));
pub(crate) const RECEIVE_MESSAGE: Api = Api::new("sqs:ReceiveMessage", Quota::Shared(3000));
pub(crate) const DELETE_MESSAGE: Api = Api::new("sqs:DeleteMessage", Quota::Shared(3000));
pub(crate) const CHANGE_VISIBILITY: Api = Api::new("sqs:ChangeMessageVisibility", Quota::Shared(3000));
pub(crate) const GET_QUEUE_ATTRIBUTES: Api = Api::new("sqs:GetQueueAttributes", Quota::Shared(3000));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_splits_into_service_and_operation() {
        assert_eq!((LIST_KEYS.service(), LIST_KEYS.operation()), ("kms", "ListKeys"));
        assert_eq!(LOOKUP_EVENTS.service(), "cloudtrail");
    }
}
