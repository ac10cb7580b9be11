//! Every fact that a rule may name, with its type and meaning.
//!
//! `docs/facts.md` is generated from this table, `keyward rules check` checks rules against it, and a test
//! holds the documents that are built to it.

mod markdown;

use crate::model::SubjectKind;

pub use markdown::markdown;

/// What values a fact takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FactType {
    /// True or false.
    Bool,
    /// A whole number.
    Int,
    /// A text.
    Text,
    /// An RFC 3339 time in UTC.
    Time,
    /// A list of texts; missing rather than empty, so that `|exists` asks whether there is any.
    Texts,
    /// An object with names that are not fixed, such as tags: anything below it may be named.
    Open,
}

/// One fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FactSpec {
    /// The kind of subject that has it.
    pub kind: SubjectKind,
    /// Its dotted path.
    pub path: &'static str,
    /// What values it takes.
    pub fact_type: FactType,
    /// What it means, in one sentence.
    pub meaning: &'static str,
}

const fn fact(kind: SubjectKind, path: &'static str, fact_type: FactType, meaning: &'static str) -> FactSpec {
    FactSpec { kind, path, fact_type, meaning }
}

use FactType::{Bool, Int, Open, Text, Texts, Time};
use SubjectKind::{AccountRegion, Event, Key, KeySet, Trail};

/// The catalogue, by kind of subject.
pub const CATALOGUE: &[FactSpec] = &[
    // ---- key: one customer key in one Region ------------------------------------------------------
    fact(Key, "key.arn", Text, "The key's ARN."),
    fact(Key, "key.id", Text, "The key's id."),
    fact(Key, "key.account", Text, "The account that owns the key."),
    fact(Key, "key.region", Text, "The Region that the key lives in."),
    fact(Key, "key.country", Text, "The country of that Region; unknown where AWS does not state it."),
    fact(Key, "key.manager", Text, "`CUSTOMER` or `AWS`; rules judge customer keys only."),
    fact(Key, "key.state", Text, "AWS's key state, such as `Enabled`."),
    fact(Key, "key.enabled", Bool, "The state is `Enabled`."),
    fact(Key, "key.transient", Bool, "The state is `Creating` or `Updating`: too early to judge."),
    fact(Key, "key.spec", Text, "AWS's key spec, such as `SYMMETRIC_DEFAULT`."),
    fact(Key, "key.usage", Text, "AWS's key usage, such as `ENCRYPT_DECRYPT`."),
    fact(Key, "key.origin", Text, "`AWS_KMS`, `EXTERNAL`, `AWS_CLOUDHSM` or `EXTERNAL_KEY_STORE`."),
    fact(Key, "key.multi_region", Bool, "The key is a multi-Region key."),
    fact(Key, "key.role", Text, "`single`, `primary` or `replica`."),
    fact(Key, "key.description", Text, "The key's description."),
    fact(Key, "key.created", Time, "When the key was created."),
    fact(Key, "key.age_days", Int, "Whole days since then."),
    fact(Key, "key.denied", Texts, "The calls about this key that AWS refused, such as `kms:GetKeyPolicy`."),
    fact(
        Key,
        "key.region_approved",
        Bool,
        "The Region is one of `policy.approved_regions`; missing where none are configured.",
    ),
    fact(Key, "tags", Open, "The key's tags by name."),
    fact(Key, "aliases.names", Texts, "The key's aliases, with `alias/`."),
    fact(Key, "aliases.count", Int, "How many aliases the key has."),
    fact(
        Key,
        "classification.required",
        Bool,
        "A classification tag or any residency assignment is configured.",
    ),
    fact(
        Key,
        "classification.present",
        Bool,
        "The key set has a declared boundary, or the key carries the classification tag.",
    ),
    fact(Key, "classification.tag", Text, "The name of the configured classification tag."),
    fact(Key, "boundary.name", Text, "The boundary of the key's set, declared or inferred."),
    fact(Key, "boundary.declared", Bool, "The boundary is assigned by the configuration."),
    fact(
        Key,
        "rotation.eligible",
        Bool,
        "AWS can rotate this kind of key automatically: customer managed, symmetric, material made by KMS.",
    ),
    fact(
        Key,
        "rotation.on_demand_eligible",
        Bool,
        "This kind of key can be rotated on demand: symmetric, material made by KMS or imported.",
    ),
    fact(
        Key,
        "rotation.judged",
        Bool,
        "Rotation is to be judged here: eligible, enabled, and the primary or a single-Region key (replicas mirror their primary).",
    ),
    fact(Key, "rotation.enabled", Bool, "Automatic rotation is on."),
    fact(Key, "rotation.period_days", Int, "The rotation period."),
    fact(Key, "rotation.max_period_days", Int, "The longest period that the configuration allows."),
    fact(Key, "rotation.period_too_long", Bool, "The period is longer than that."),
    fact(Key, "rotation.next", Time, "When the next automatic rotation is due."),
    fact(Key, "rotation.overdue", Bool, "That time has passed by more than the configured grace."),
    fact(Key, "rotation.last", Time, "When the key was last rotated, where that was asked for."),
    fact(
        Key,
        "rotation.recent",
        Bool,
        "The key was rotated, by whatever way, within the longest period allowed.",
    ),
    fact(
        Key,
        "rotation.on_demand_count",
        Int,
        "How many on-demand rotations the key has had, of 25 that AWS allows.",
    ),
    fact(Key, "material.imported", Bool, "The key material was imported."),
    fact(Key, "material.expires", Time, "When imported material expires (the earliest one)."),
    fact(Key, "material.expires_in_days", Int, "Whole days until then; negative once it has passed."),
    fact(Key, "material.expiring", Bool, "That is within `policy.expiry_warning_days`."),
    fact(
        Key,
        "material.age_days",
        Int,
        "Whole days since the current imported material came: the last rotation, else the key's creation.",
    ),
    fact(
        Key,
        "material.rotation_overdue",
        Bool,
        "Imported symmetric material, enabled, older than `policy.imported_material_max_age_days`.",
    ),
    fact(Key, "deletion.scheduled", Bool, "The state is `PendingDeletion` or `PendingReplicaDeletion`."),
    fact(
        Key,
        "deletion.date",
        Time,
        "When the key will be deleted; missing while it waits for its replicas.",
    ),
    fact(Key, "deletion.days_left", Int, "Whole days until then."),
    fact(Key, "deletion.waits_for_replicas", Bool, "The primary is deleted once its last replica is."),
    fact(
        Key,
        "policy.public",
        Bool,
        "An Allow statement lets anybody act, with no condition that limits it to known accounts or an organization.",
    ),
    fact(Key, "policy.public_statements", Texts, "The ids (or `#n`) of those statements."),
    fact(
        Key,
        "policy.foreign_accounts",
        Texts,
        "Accounts outside the audited ones, their organization and `accounts.trusted` that the policy lets in.",
    ),
    fact(
        Key,
        "policy.delegates_to_iam",
        Bool,
        "The policy lets the owning account's IAM policies decide (a statement for the account root).",
    ),
    fact(
        Key,
        "policy.replication_unrestricted",
        Bool,
        "A named principal may call ReplicateKey with no `kms:ReplicaRegion` condition; unknown where only IAM, which is not read, can tell.",
    ),
    fact(Key, "policy.replication_principals", Texts, "Those principals."),
    fact(Key, "policy.replica_regions", Texts, "The Regions that `kms:ReplicaRegion` conditions allow."),
    fact(
        Key,
        "policy.deleted_principals",
        Texts,
        "Unique ids (`AROA…`, `AIDA…`) that AWS left in the policy when their principals were deleted; they let nobody in.",
    ),
    fact(Key, "grants.count", Int, "How many grants the key has."),
    fact(Key, "grants.foreign_accounts", Texts, "Foreign accounts that are grantees."),
    // ---- key_set: a primary and its replicas, or a single-Region key ------------------------------
    fact(
        KeySet,
        "key_set.id",
        Text,
        "The set's identity: the key's ARN, with `*` for the Region if it is a multi-Region key.",
    ),
    fact(KeySet, "key_set.account", Text, "The account that owns the set."),
    fact(KeySet, "key_set.multi_region", Bool, "The set is made of multi-Region keys."),
    fact(
        KeySet,
        "key_set.transient",
        Bool,
        "A member is being created or the primary is being moved: too early to judge the set's shape.",
    ),
    fact(KeySet, "key_set.customer", Bool, "The keys are customer managed."),
    fact(
        KeySet,
        "key_set.regions",
        Texts,
        "The Regions of all members, read or only named by another member.",
    ),
    fact(KeySet, "key_set.countries", Texts, "The countries of those Regions."),
    fact(
        KeySet,
        "key_set.unread_regions",
        Texts,
        "Members that another member names and that were not read themselves.",
    ),
    fact(KeySet, "key_set.member_count", Int, "How many members the set has."),
    fact(KeySet, "key_set.replica_count", Int, "How many of them are replicas."),
    fact(KeySet, "key_set.aliases", Texts, "The aliases of all members."),
    fact(KeySet, "tags", Open, "The primary's tags by name."),
    fact(KeySet, "home.region", Text, "The primary's Region."),
    fact(KeySet, "home.country", Text, "The primary's country."),
    fact(KeySet, "home.declared", Bool, "The configuration says in which countries the primary has to be."),
    fact(KeySet, "home.allowed", Texts, "Those countries."),
    fact(KeySet, "home.outside", Bool, "The primary is in none of them."),
    fact(KeySet, "boundary.name", Text, "The boundary, declared or inferred."),
    fact(
        KeySet,
        "boundary.declared",
        Bool,
        "The boundary is assigned by the configuration; otherwise it is inferred from the primary's own jurisdiction.",
    ),
    fact(KeySet, "boundary.basis", Text, "The boundary's legal basis."),
    fact(KeySet, "boundary.countries", Texts, "The boundary's countries today."),
    fact(KeySet, "boundary.inside", Texts, "Members' Regions inside the boundary."),
    fact(
        KeySet,
        "boundary.outside",
        Texts,
        "Members' Regions outside the boundary; a Region whose country AWS does not state is outside.",
    ),
    fact(KeySet, "residency", Text, "`inside`, `outside`, or unknown."),
    fact(
        KeySet,
        "jurisdictions.together",
        Bool,
        "All members are in one country, or all in the EEA (or adequate, where the configuration counts that).",
    ),
    fact(
        KeySet,
        "jurisdictions.apart",
        Texts,
        "The members' Regions that do not go together with the primary's.",
    ),
    fact(
        KeySet,
        "multi_region.allowed",
        Bool,
        "Neither the boundary nor the account is for single-Region keys only.",
    ),
    fact(KeySet, "multi_region.forbidden_by", Text, "What forbids it: the boundary's or the account's name."),
    fact(
        KeySet,
        "drift.policy",
        Texts,
        "Regions whose key policy means something else than the primary's; a Region name inside does not count.",
    ),
    fact(KeySet, "drift.tags", Texts, "Regions whose tags differ from the primary's."),
    fact(KeySet, "drift.aliases", Texts, "Regions whose aliases differ from the primary's."),
    fact(
        KeySet,
        "drift.state",
        Texts,
        "Regions whose key can be used while the primary cannot, or the other way round.",
    ),
    // ---- trail: one CloudTrail trail --------------------------------------------------------------
    fact(Trail, "trail.arn", Text, "The trail's ARN."),
    fact(Trail, "trail.name", Text, "Its name."),
    fact(Trail, "trail.home_region", Text, "Where it is managed."),
    fact(Trail, "trail.multi_region", Bool, "It logs every Region."),
    fact(Trail, "trail.organization", Bool, "It is the organization's."),
    fact(Trail, "trail.logging", Bool, "It is logging."),
    fact(Trail, "trail.validation", Bool, "Log file validation is on."),
    fact(Trail, "trail.encrypted", Bool, "Its log files are encrypted with a KMS key."),
    fact(Trail, "trail.kms_writes", Bool, "It records changes to keys."),
    fact(Trail, "trail.kms_reads", Bool, "It records uses of keys."),
    fact(Trail, "trail.kms_excluded", Bool, "It leaves out KMS by name."),
    fact(Trail, "trail.delivery_error", Text, "Why its last delivery failed."),
    fact(
        Trail,
        "trail.delivery_age_secs",
        Int,
        "How old its last delivery was when the trail was asked, in seconds; missing before the first one.",
    ),
    fact(
        Trail,
        "trail.logs.checked",
        Bool,
        "Its log files are verified by Keyward; missing where they are not (yet).",
    ),
    fact(Trail, "trail.logs.checked_at", Time, "When they were looked at last."),
    fact(Trail, "trail.logs.verified", Int, "How many log files were verified."),
    fact(Trail, "trail.logs.verified_to", Time, "The end of the newest digest file that was verified."),
    fact(Trail, "trail.logs.missing", Texts, "Log files that a signed digest file lists and that are gone."),
    fact(Trail, "trail.logs.altered", Texts, "Log files that are not what a signed digest file says."),
    fact(Trail, "trail.logs.unread", Texts, "Digest and log files that could not be read."),
    fact(Trail, "trail.digest_chain.verified", Int, "How many digest files were verified."),
    fact(
        Trail,
        "trail.digest_chain.broken",
        Texts,
        "Digest files that are gone, altered, forged or moved, and how.",
    ),
    fact(
        Trail,
        "trail.digest_chain.uncovered",
        Texts,
        "Times for which no digest file vouches, since the trail was stopped or for no known reason.",
    ),
    // ---- account_region: a Region of an account ---------------------------------------------------
    fact(AccountRegion, "account_region.account", Text, "The account."),
    fact(
        AccountRegion,
        "account_region.region",
        Text,
        "The Region; `aws-global` where the account as a whole is meant.",
    ),
    fact(AccountRegion, "account_region.country", Text, "The Region's country."),
    fact(AccountRegion, "account_region.readable", Bool, "The keys of the Region could be listed."),
    fact(
        AccountRegion,
        "account_region.gaps",
        Texts,
        "The calls that did not succeed in the last sweep, with why.",
    ),
    fact(AccountRegion, "account_region.keys", Int, "How many keys it has, AWS managed ones included."),
    fact(AccountRegion, "account_region.customer_keys", Int, "How many customer keys it has."),
    fact(AccountRegion, "config.recorder", Bool, "AWS Config has a recorder here."),
    fact(AccountRegion, "config.recording", Bool, "It is recording."),
    fact(AccountRegion, "config.records_kms", Bool, "What it records includes KMS keys."),
    fact(AccountRegion, "config.delivering", Bool, "Its last delivery succeeded."),
    fact(AccountRegion, "trails.count", Int, "How many trails show here."),
    fact(
        AccountRegion,
        "trails.kms_writes_logged",
        Bool,
        "At least one running trail records changes to keys here.",
    ),
    fact(
        AccountRegion,
        "trails.kms_reads_logged",
        Bool,
        "At least one running trail records uses of keys here.",
    ),
    fact(AccountRegion, "trails.excluding_kms", Texts, "Trails that leave out KMS by name."),
    fact(AccountRegion, "trails.not_logging", Texts, "Trails that are stopped."),
    // ---- event: a CloudTrail record; its own fields keep CloudTrail's names ------------------------
    fact(Event, "eventVersion", Text, "CloudTrail: version of the record format."),
    fact(Event, "eventTime", Time, "CloudTrail: when the call was made."),
    fact(Event, "eventSource", Text, "CloudTrail: the service, such as `kms.amazonaws.com`."),
    fact(Event, "eventName", Text, "CloudTrail: the call, such as `ReplicateKey`."),
    fact(Event, "eventType", Text, "CloudTrail: `AwsApiCall`, `AwsServiceEvent`, …"),
    fact(Event, "eventCategory", Text, "CloudTrail: `Management` or `Data`."),
    fact(Event, "eventID", Text, "CloudTrail: the record's id."),
    fact(Event, "sharedEventID", Text, "CloudTrail: joins the two records of a cross-account call."),
    fact(Event, "requestID", Text, "CloudTrail: the call's id."),
    fact(Event, "awsRegion", Text, "CloudTrail: the Region that logged the call."),
    fact(Event, "sourceIPAddress", Text, "CloudTrail: where the call came from, an address or a service."),
    fact(Event, "userAgent", Text, "CloudTrail: the caller's software."),
    fact(Event, "errorCode", Text, "CloudTrail: the error, if the call failed."),
    fact(Event, "errorMessage", Text, "CloudTrail: its text."),
    fact(Event, "readOnly", Bool, "CloudTrail: the call changes nothing."),
    fact(Event, "managementEvent", Bool, "CloudTrail: it is a management event."),
    fact(Event, "recipientAccountId", Text, "CloudTrail: the account that the record was delivered to."),
    fact(Event, "vpcEndpointId", Text, "CloudTrail: the VPC endpoint that the call came through."),
    fact(Event, "apiVersion", Text, "CloudTrail: the API's version."),
    fact(Event, "userIdentity", Open, "CloudTrail: who called."),
    fact(Event, "requestParameters", Open, "CloudTrail: the request."),
    fact(Event, "responseElements", Open, "CloudTrail: the answer."),
    fact(Event, "additionalEventData", Open, "CloudTrail: more about the call."),
    fact(Event, "serviceEventDetails", Open, "CloudTrail: what a service did by itself."),
    fact(Event, "resources", Open, "CloudTrail: the resources concerned."),
    fact(Event, "tlsDetails", Open, "CloudTrail: the connection's TLS."),
    fact(Event, "addendum", Open, "CloudTrail: why the record came late or was corrected."),
    fact(
        Event,
        "event.key_arn",
        Text,
        "The ARN of the key concerned, from `resources`, else resolved from the request.",
    ),
    fact(Event, "event.key_set", Text, "The identity of its key set."),
    fact(Event, "event.key_region", Text, "The Region in that ARN, which may differ from `awsRegion`."),
    fact(Event, "event.key_account", Text, "The account that owns the key."),
    fact(
        Event,
        "event.principal",
        Text,
        "Who called, with sessions folded to their role; a service by its name.",
    ),
    fact(Event, "event.principal_account", Text, "The caller's account."),
    fact(Event, "event.by_service", Bool, "An AWS service called, for itself or on behalf of somebody."),
    fact(Event, "event.foreign_caller", Bool, "The caller's account is a foreign one."),
    fact(Event, "event.own", Bool, "Keyward itself called."),
    fact(Event, "event.succeeded", Bool, "The call succeeded."),
    fact(
        Event,
        "event.denied",
        Bool,
        "The call was refused for want of permission; a dry run is not a refusal.",
    ),
    fact(Event, "event.dry_run", Bool, "The call was a dry run."),
    fact(
        Event,
        "event.cryptographic",
        Bool,
        "The call uses key material (Decrypt, GenerateDataKey, Sign, …).",
    ),
    fact(Event, "event.changed_key", Bool, "The call changed a key, which is then read again."),
    fact(Event, "boundary.name", Text, "The boundary of the key's set, declared or inferred."),
    fact(Event, "boundary.declared", Bool, "The boundary is assigned by the configuration."),
    fact(
        Event,
        "boundary.use_outside",
        Bool,
        "The key was used in a Region outside the boundary of its set.",
    ),
    fact(Event, "target.region", Text, "Where ReplicateKey or UpdatePrimaryRegion goes to."),
    fact(Event, "target.country", Text, "That Region's country."),
    fact(
        Event,
        "target.outside",
        Bool,
        "That Region is outside the boundary of the key's set, or outside its home where the primary is moved.",
    ),
    fact(Event, "new_policy.public", Bool, "The policy that the call sets lets anybody act."),
    fact(Event, "new_policy.public_statements", Texts, "The ids (or `#n`) of the statements that do."),
    fact(Event, "new_policy.foreign_accounts", Texts, "The foreign accounts that the policy lets in."),
    fact(
        Event,
        "new_policy.lockout_check_bypassed",
        Bool,
        "The call switched off AWS's check that the caller can still change the policy.",
    ),
    fact(Event, "grant.grantee", Text, "The grant's grantee."),
    fact(Event, "grant.operations", Texts, "What the grant allows."),
    fact(Event, "grant.foreign", Bool, "The grantee is in a foreign account."),
    fact(Event, "trail_change.trail", Text, "The trail that a CloudTrail call concerns."),
    fact(
        Event,
        "trail_change.kms_excluded",
        Bool,
        "PutEventSelectors leaves out changes to keys: by name, by recording no management events, or only reads.",
    ),
    fact(
        Event,
        "trail_change.kms_writes_only",
        Bool,
        "PutEventSelectors keeps changes to keys and drops their uses.",
    ),
];

/// The fact that a path names, for a kind of subject: the fact itself, or the open object above it.
pub fn find(kind: SubjectKind, path: &str) -> Option<&'static FactSpec> {
    CATALOGUE.iter().filter(|spec| spec.kind == kind).find(|spec| {
        path == spec.path
            || (spec.fact_type == Open
                && path.strip_prefix(spec.path).is_some_and(|rest| rest.starts_with('.')))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_fact_is_declared_twice_and_every_one_is_found() {
        for (at, spec) in CATALOGUE.iter().enumerate() {
            let rest = CATALOGUE.iter().skip(at + 1);
            assert!(
                !rest.clone().any(|other| (other.kind, other.path) == (spec.kind, spec.path)),
                "{}",
                spec.path
            );
            assert_eq!(find(spec.kind, spec.path), Some(spec));
        }
    }

    #[test]
    fn what_is_below_an_open_fact_may_be_named() {
        assert_eq!(find(Key, "tags.data-class").map(|spec| spec.path), Some("tags"));
        assert_eq!(find(Key, "tagsdata"), None);
        assert_eq!(find(Key, "eventName"), None);
    }
}
