//! The trails that show in a Region: whether they run, and what they record of KMS.

use aws_sdk_cloudtrail::operation::get_event_selectors::GetEventSelectorsOutput;
use aws_sdk_cloudtrail::types::{
    AdvancedEventSelector, AdvancedFieldSelector, EventSelector, ReadWriteType, Trail,
};
use futures::{StreamExt, stream};

use super::api::{DESCRIBE_TRAILS, GET_EVENT_SELECTORS, GET_TRAIL_STATUS};
use super::clients::RegionClients;
use super::inventory::time;
use super::outcome::{Failure, observed};
use super::readings::Readings;
use crate::clock;
use crate::model::{Selectors, TrailSnapshot, TrailStatus};

/// KMS as CloudTrail names it.
const KMS: &str = "kms.amazonaws.com";

/// Changes to keys that a trail must not leave out by name.
const WRITES: &[&str] = &[
    "CreateGrant",
    "CreateKey",
    "DeleteImportedKeyMaterial",
    "DisableKey",
    "DisableKeyRotation",
    "PutKeyPolicy",
    "ReplicateKey",
    "ScheduleKeyDeletion",
    "UpdatePrimaryRegion",
];

/// Uses of keys that a trail must not leave out by name.
const READS: &[&str] = &[
    "Decrypt",
    "Encrypt",
    "GenerateDataKey",
    "GenerateDataKeyWithoutPlaintext",
    "GenerateMac",
    "ReEncrypt",
    "Sign",
    "Verify",
    "VerifyMac",
];

/// Trails that are asked about at the same time. A Region has at most five of its own, and shadows.
const TRAILS_AT_ONCE: usize = 4;

/// The trails that show in a Region, shadows of other Regions' and of the organization's included, sorted
/// by ARN. One whose status or selectors are refused (an organization's trail seen from a member account)
/// is there with unknown leaves.
pub(crate) async fn trails(
    clients: &RegionClients,
    readings: &Readings,
) -> Result<Vec<TrailSnapshot>, Failure> {
    let request = clients.cloudtrail.describe_trails().include_shadow_trails(true).send();
    let output = clients.call(readings, DESCRIBE_TRAILS, request).await?;
    let listed = output.trail_list.unwrap_or_default();
    let read = stream::iter(listed).map(|trail| read_trail(clients, readings, trail));
    let mut trails: Vec<TrailSnapshot> =
        read.buffer_unordered(TRAILS_AT_ONCE).filter_map(|trail| async move { trail }).collect().await;
    trails.sort_by(|one, other| one.arn.cmp(&other.arn));
    Ok(trails)
}

async fn read_trail(clients: &RegionClients, readings: &Readings, trail: Trail) -> Option<TrailSnapshot> {
    let Some(arn) = trail.trail_arn().map(str::to_owned) else {
        clients.unusable(readings, DESCRIBE_TRAILS, "a listed trail has no ARN");
        return None;
    };
    let (status, selectors) =
        tokio::join!(status(clients, readings, &arn), selectors(clients, readings, &arn));
    Some(TrailSnapshot {
        name: trail.name().unwrap_or_default().to_owned(),
        home_region: trail.home_region().and_then(|region| region.parse().ok()),
        multi_region: trail.is_multi_region_trail().unwrap_or(false),
        organization: trail.is_organization_trail().unwrap_or(false),
        log_file_validation: trail.log_file_validation_enabled().unwrap_or(false),
        bucket: trail.s3_bucket_name().map(str::to_owned),
        key_prefix: trail.s3_key_prefix().filter(|prefix| !prefix.is_empty()).map(str::to_owned),
        kms_key: trail.kms_key_id().map(str::to_owned),
        status: observed(status),
        selectors: observed(selectors),
        arn,
    })
}

async fn status(clients: &RegionClients, readings: &Readings, arn: &str) -> Result<TrailStatus, Failure> {
    let request = clients.cloudtrail.get_trail_status().name(arn).send();
    let status = clients.call(readings, GET_TRAIL_STATUS, request).await?;
    let logging = status.is_logging();
    Ok(TrailStatus {
        logging: logging
            .ok_or_else(|| clients.unusable(readings, GET_TRAIL_STATUS, "the answer has no `IsLogging`"))?,
        latest_delivery: status.latest_delivery_time().and_then(time),
        asked_at: Some(clock::now()),
        started: status.start_logging_time().and_then(time),
        stopped: status.stop_logging_time().and_then(time),
        latest_digest: status.latest_digest_delivery_time().and_then(time),
        delivery_error: status.latest_delivery_error().filter(|error| !error.is_empty()).map(str::to_owned),
    })
}

async fn selectors(clients: &RegionClients, readings: &Readings, arn: &str) -> Result<Selectors, Failure> {
    let request = clients.cloudtrail.get_event_selectors().trail_name(arn).send();
    let output = clients.call(readings, GET_EVENT_SELECTORS, request).await?;
    Ok(reduce(&output))
}

/// What of KMS a trail records. An event is recorded if any selector lets it through. A trail without any
/// selector records all management events, which is how a trail begins.
fn reduce(output: &GetEventSelectorsOutput) -> Selectors {
    let (classic, advanced) = (output.event_selectors(), output.advanced_event_selectors());
    if classic.is_empty() && advanced.is_empty() {
        return Selectors { kms_writes: true, kms_reads: true, kms_excluded: false };
    }
    let classic = classic.iter().map(through_classic);
    let through: Vec<Through> = classic.chain(advanced.iter().map(through_advanced)).collect();
    let any = |lets: fn(&Through) -> bool| through.iter().any(lets);
    let (kms_writes, kms_reads) = (any(|through| through.writes), any(|through| through.reads));
    // Excluded by name only as long as no other selector lets the same events through.
    let kms_excluded = any(|through| through.excluded) && !(kms_writes && kms_reads);
    Selectors { kms_writes, kms_reads, kms_excluded }
}

/// What one selector lets through of KMS's management events.
struct Through {
    writes: bool,
    reads: bool,
    /// It takes management events, and leaves out KMS by name.
    excluded: bool,
}

fn through_classic(selector: &EventSelector) -> Through {
    // Both are what an absent member means: all management events, reads and writes.
    let management = selector.include_management_events().unwrap_or(true);
    let kind = selector.read_write_type();
    let excluded = selector.exclude_management_event_sources().iter().any(|source| source == KMS);
    let lets = management && !excluded;
    Through {
        writes: lets && kind != Some(&ReadWriteType::ReadOnly),
        reads: lets && kind != Some(&ReadWriteType::WriteOnly),
        excluded: management && excluded,
    }
}

/// All fields of an advanced selector have to match. KMS's management events have the category
/// `Management`, the source `kms.amazonaws.com`, either value of `readOnly`, and any name.
fn through_advanced(selector: &AdvancedEventSelector) -> Through {
    let fields = selector.field_selectors();
    let matching = |field: &str, value: &str| {
        fields.iter().filter(|selector| selector.field() == field).all(|selector| matches(selector, value))
    };
    let management = fields.iter().any(|selector| selector.field() == "eventCategory")
        && matching("eventCategory", "Management");
    let source = matching("eventSource", KMS);
    // What only some callers have (`userIdentity.arn`, …) leaves out others: a trail that records some of
    // KMS's events does not record KMS. The same goes for names, kind by kind.
    let whole = fields.iter().all(|selector| {
        let field = selector.field();
        matches!(field, "eventCategory" | "eventSource" | "eventName" | "readOnly" | "eventType")
    });
    let lets = management && source && whole && matching("eventType", "AwsApiCall");
    let names = |names: &[&str]| names.iter().all(|name| matching("eventName", name));
    Through {
        writes: lets && matching("readOnly", "false") && names(WRITES),
        reads: lets && matching("readOnly", "true") && names(READS),
        excluded: management && !source,
    }
}

/// Whether a field selector lets a value through: it has to meet one value of each positive list, and
/// none of the negative ones.
fn matches(selector: &AdvancedFieldSelector, value: &str) -> bool {
    let one_of = |list: &[String], test: fn(&str, &str) -> bool| {
        list.is_empty() || list.iter().any(|pattern| test(value, pattern))
    };
    let none_of =
        |list: &[String], test: fn(&str, &str) -> bool| !list.iter().any(|pattern| test(value, pattern));
    let same = |value: &str, pattern: &str| value == pattern;
    let starts = |value: &str, pattern: &str| value.starts_with(pattern);
    let ends = |value: &str, pattern: &str| value.ends_with(pattern);
    one_of(selector.equals(), same)
        && one_of(selector.starts_with(), starts)
        && one_of(selector.ends_with(), ends)
        && none_of(selector.not_equals(), same)
        && none_of(selector.not_starts_with(), starts)
        && none_of(selector.not_ends_with(), ends)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{FakeAws, ok};
    use super::*;
    use crate::model::{Gap, Observed, ReadingResult};

    /// What a trail records, from the answer as it comes over the wire.
    async fn reduced(selectors: serde_json::Value) -> Selectors {
        let aws = FakeAws::start(move |call| match call.operation.as_str() {
            "DescribeTrails" => {
                let arn = "arn:aws:cloudtrail:us-east-1:111122223333:trail/t";
                ok(&json!({ "trailList": [{ "TrailARN": arn, "Name": "t", "HomeRegion": "us-east-1" }] }))
            }
            "GetTrailStatus" => ok(&json!({ "IsLogging": true })),
            "GetEventSelectors" => ok(&selectors.clone()),
            _ => call.unexpected(),
        })
        .await;
        let trails = trails_of(&aws).await;
        *trails[0].selectors.known().unwrap()
    }

    async fn trails_of(aws: &FakeAws) -> Vec<TrailSnapshot> {
        let clients = aws.clients().await;
        let account = "111122223333".parse().unwrap();
        let region = clients.region(&account, &"eu-central-1".parse().unwrap()).unwrap();
        trails(&region, &Readings::default()).await.unwrap()
    }

    fn field(field: &str, operator: &str, values: &[&str]) -> serde_json::Value {
        json!({ "Field": field, operator: values })
    }

    #[tokio::test]
    async fn classic_selectors_are_reduced_to_what_they_let_through_of_kms() {
        for (selectors, expected) in [
            (json!([]), (true, true, false)),
            (json!([{ "ReadWriteType": "All", "IncludeManagementEvents": true }]), (true, true, false)),
            (json!([{ "ReadWriteType": "WriteOnly" }]), (true, false, false)),
            (json!([{ "ReadWriteType": "ReadOnly" }]), (false, true, false)),
            (json!([{ "ReadWriteType": "All", "IncludeManagementEvents": false }]), (false, false, false)),
            (
                json!([{ "ExcludeManagementEventSources": ["rdsdata.amazonaws.com", "kms.amazonaws.com"] }]),
                (false, false, true),
            ),
            (json!([{ "ExcludeManagementEventSources": ["rdsdata.amazonaws.com"] }]), (true, true, false)),
            (
                json!([{ "ExcludeManagementEventSources": ["kms.amazonaws.com"] }, { "ReadWriteType": "WriteOnly" }]),
                (true, false, true),
            ),
            (
                json!([{ "ExcludeManagementEventSources": ["kms.amazonaws.com"] }, { "ReadWriteType": "All" }]),
                (true, true, false),
            ),
        ] {
            let text = selectors.to_string();
            let found = reduced(json!({ "EventSelectors": selectors })).await;
            assert_eq!((found.kms_writes, found.kms_reads, found.kms_excluded), expected, "{text}");
        }
    }

    #[tokio::test]
    async fn advanced_selectors_are_reduced_to_what_they_let_through_of_kms() {
        let management = || field("eventCategory", "Equals", &["Management"]);
        for (fields, expected) in [
            (vec![management()], (true, true, false)),
            (vec![management(), field("readOnly", "Equals", &["false"])], (true, false, false)),
            (vec![management(), field("readOnly", "Equals", &["true"])], (false, true, false)),
            (
                vec![management(), field("eventSource", "NotEquals", &["kms.amazonaws.com"])],
                (false, false, true),
            ),
            (
                vec![management(), field("eventSource", "NotEquals", &["rdsdata.amazonaws.com"])],
                (true, true, false),
            ),
            (vec![management(), field("eventSource", "NotStartsWith", &["kms."])], (false, false, true)),
            (vec![management(), field("eventSource", "Equals", &["kms.amazonaws.com"])], (true, true, false)),
            (vec![management(), field("eventName", "NotEquals", &["Decrypt"])], (true, false, false)),
            (vec![management(), field("eventName", "NotEquals", &["ReplicateKey"])], (false, true, false)),
            (vec![management(), field("userIdentity.arn", "NotEquals", &["arn:x"])], (false, false, false)),
            (vec![field("eventCategory", "Equals", &["Data"])], (false, false, false)),
            (vec![field("readOnly", "Equals", &["true"])], (false, false, false)),
        ] {
            let text = json!(fields).to_string();
            let found = reduced(json!({ "AdvancedEventSelectors": [{ "FieldSelectors": fields }] })).await;
            assert_eq!((found.kms_writes, found.kms_reads, found.kms_excluded), expected, "{text}");
        }
    }

    #[tokio::test]
    async fn a_trail_that_may_not_be_asked_about_is_there_with_unknown_leaves() {
        let aws = FakeAws::start(|call| match call.operation.as_str() {
            "DescribeTrails" => {
                assert_eq!(call.input["includeShadowTrails"], true);
                let arn = "arn:aws:cloudtrail:us-east-1:999900001111:trail/org";
                ok(&json!({ "trailList": [{ "TrailARN": arn, "IsOrganizationTrail": true }] }))
            }
            _ => call.error(400, "AccessDeniedException"),
        })
        .await;
        let trails = trails_of(&aws).await;
        assert!(trails[0].organization);
        let gap = Gap { api: "cloudtrail:GetTrailStatus".to_owned(), result: ReadingResult::Denied };
        assert_eq!(trails[0].status, Observed::Unknown(gap));
        assert!(trails[0].selectors.gap().is_some());
    }
}
