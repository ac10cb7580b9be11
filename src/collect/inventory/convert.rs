//! From the SDK's types to the model's.

use aws_sdk_kms::types as sdk;
use aws_smithy_types::DateTime as SdkTime;
use chrono::{DateTime, SubsecRound, Utc};

use crate::model::{
    CustomKeyStore, Grant, KeyMetadata, KeyRotation, LastUsage, MultiRegionRole, Region, RelatedKeys,
    RotationKind, RotationStatus,
};

/// An SDK time, to the microsecond that the store keeps.
pub(crate) fn time(time: &SdkTime) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(time.secs(), time.subsec_nanos()).map(|time| time.trunc_subsecs(6))
}

/// `DescribeKey`'s metadata; gives the name of a member that AWS always sends and that is missing.
pub(super) fn metadata(key: &sdk::KeyMetadata) -> Result<KeyMetadata, &'static str> {
    Ok(KeyMetadata {
        manager: key.key_manager().ok_or("KeyManager")?.as_str().to_owned(),
        state: key.key_state().ok_or("KeyState")?.as_str().to_owned(),
        spec: key.key_spec().ok_or("KeySpec")?.as_str().to_owned(),
        usage: key.key_usage().ok_or("KeyUsage")?.as_str().to_owned(),
        origin: key.origin().ok_or("Origin")?.as_str().to_owned(),
        description: key.description().unwrap_or_default().to_owned(),
        created: key.creation_date().and_then(time),
        deletion_date: key.deletion_date().and_then(time),
        pending_window_days: key.pending_deletion_window_in_days().map(i64::from),
        valid_to: key.valid_to().and_then(time),
        custom_key_store: key.custom_key_store_id().map(str::to_owned),
        material_id: key.current_key_material_id().map(str::to_owned),
        multi_region: key.multi_region_configuration().map(related_keys).transpose()?,
    })
}

fn related_keys(config: &sdk::MultiRegionConfiguration) -> Result<RelatedKeys, &'static str> {
    let region_of = |key: &sdk::MultiRegionKey| key.region()?.parse::<Region>().ok();
    let mut replicas: Vec<Region> = config.replica_keys().iter().filter_map(region_of).collect();
    replicas.sort();
    replicas.dedup();
    let role = match config.multi_region_key_type() {
        Some(sdk::MultiRegionKeyType::Primary) => MultiRegionRole::Primary,
        Some(sdk::MultiRegionKeyType::Replica) => MultiRegionRole::Replica,
        _ => return Err("MultiRegionKeyType"),
    };
    Ok(RelatedKeys { role, primary: config.primary_key().and_then(region_of), replicas })
}

/// `GetKeyRotationStatus`.
pub(super) fn rotation_status(
    status: &aws_sdk_kms::operation::get_key_rotation_status::GetKeyRotationStatusOutput,
) -> RotationStatus {
    RotationStatus {
        enabled: status.key_rotation_enabled(),
        period_days: status.rotation_period_in_days().map(i64::from),
        next: status.next_rotation_date().and_then(time),
        on_demand_started: status.on_demand_rotation_start_date().and_then(time),
    }
}

/// One entry of `ListKeyRotations`; none for material that was imported and has not become current yet.
pub(super) fn rotation(entry: &sdk::RotationsListEntry) -> Option<KeyRotation> {
    let pending = matches!(
        entry.key_material_state(),
        Some(
            sdk::KeyMaterialState::PendingRotation
                | sdk::KeyMaterialState::PendingMultiRegionImportAndRotation
        )
    );
    let kind = match entry.rotation_type() {
        Some(sdk::RotationType::Automatic) => Some(RotationKind::Automatic),
        Some(sdk::RotationType::OnDemand) => Some(RotationKind::OnDemand),
        _ => None,
    };
    let at = entry.rotation_date().and_then(time);
    (!pending).then(|| KeyRotation { material_id: entry.key_material_id().map(str::to_owned), at, kind })
}

/// When the material of an entry expires, if it is there and expires.
pub(super) fn material_valid_to(entry: &sdk::RotationsListEntry) -> Option<DateTime<Utc>> {
    let present = !matches!(entry.import_state(), Some(sdk::ImportState::PendingImport));
    entry.valid_to().filter(|_| present).and_then(time)
}

/// One entry of `ListGrants`; none without an id.
pub(super) fn grant(entry: &sdk::GrantListEntry) -> Option<Grant> {
    let mut operations: Vec<String> =
        entry.operations().iter().map(|operation| operation.as_str().to_owned()).collect();
    operations.sort();
    let constrained = entry.constraints().is_some_and(|constraints| {
        constraints.encryption_context_equals().is_some_and(|context| !context.is_empty())
            || constraints.encryption_context_subset().is_some_and(|context| !context.is_empty())
            || constraints.source_arn().is_some()
    });
    Some(Grant {
        id: entry.grant_id()?.to_owned(),
        name: entry.name().filter(|name| !name.is_empty()).map(str::to_owned),
        created: entry.creation_date().and_then(time),
        grantee: entry.grantee_principal().or(entry.grantee_service_principal()).map(str::to_owned),
        retiring: entry.retiring_principal().or(entry.retiring_service_principal()).map(str::to_owned),
        issuing_account: entry.issuing_account().map(str::to_owned),
        operations,
        constrained,
    })
}

/// One entry of `DescribeCustomKeyStores`.
pub(super) fn custom_key_store(entry: &sdk::CustomKeyStoresListEntry) -> CustomKeyStore {
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    CustomKeyStore {
        id: text(entry.custom_key_store_id()),
        name: text(entry.custom_key_store_name()),
        kind: text(entry.custom_key_store_type().map(sdk::CustomKeyStoreType::as_str)),
        connection: text(entry.connection_state().map(sdk::ConnectionStateType::as_str)),
    }
}

/// `GetKeyLastUsage`.
pub(super) fn last_usage(
    output: &aws_sdk_kms::operation::get_key_last_usage::GetKeyLastUsageOutput,
) -> LastUsage {
    let usage = output.key_last_usage();
    LastUsage {
        operation: usage.and_then(|usage| usage.operation()).map(|operation| operation.as_str().to_owned()),
        at: usage.and_then(|usage| usage.timestamp()).and_then(time),
        event_id: usage.and_then(|usage| usage.cloud_trail_event_id()).map(str::to_owned),
        tracking_since: output.tracking_start_date().and_then(time),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described() -> sdk::builders::KeyMetadataBuilder {
        sdk::KeyMetadata::builder()
            .key_id("1234")
            .key_manager(sdk::KeyManagerType::Customer)
            .key_state(sdk::KeyState::Enabled)
            .key_spec(sdk::KeySpec::SymmetricDefault)
            .key_usage(sdk::KeyUsageType::EncryptDecrypt)
            .origin(sdk::OriginType::AwsKms)
    }

    #[test]
    fn what_aws_leaves_out_is_named_rather_than_guessed() {
        let whole = described().build().unwrap();
        assert_eq!(metadata(&whole).unwrap().spec, "SYMMETRIC_DEFAULT");
        let without = described().set_key_manager(None).build().unwrap();
        assert_eq!(metadata(&without), Err("KeyManager"));
    }

    #[test]
    fn a_new_kind_of_key_keeps_awss_own_name_for_it() {
        let key = described().key_spec(sdk::KeySpec::from("ML_FUTURE_1")).build().unwrap();
        assert_eq!(metadata(&key).unwrap().spec, "ML_FUTURE_1");
    }

    #[test]
    fn related_keys_are_sorted_and_the_moving_primary_may_be_named_twice() {
        let replica = |region: &str| sdk::MultiRegionKey::builder().region(region).build();
        let config = sdk::MultiRegionConfiguration::builder()
            .multi_region_key_type(sdk::MultiRegionKeyType::Replica)
            .primary_key(replica("us-east-1"))
            .replica_keys(replica("us-east-1"))
            .replica_keys(replica("eu-west-1"))
            .replica_keys(replica("eu-west-1"))
            .build();
        let key = described().multi_region_configuration(config).build().unwrap();
        let related = metadata(&key).unwrap().multi_region.unwrap();
        assert_eq!(related.role, MultiRegionRole::Replica);
        let replicas: Vec<_> = related.replicas.iter().map(Region::as_str).collect();
        assert_eq!(replicas, ["eu-west-1", "us-east-1"]);
    }

    #[test]
    fn material_that_waits_for_its_rotation_is_not_a_rotation_but_may_expire() {
        let entry = sdk::RotationsListEntry::builder()
            .key_material_state(sdk::KeyMaterialState::PendingRotation)
            .import_state(sdk::ImportState::Imported)
            .valid_to(SdkTime::from_secs(1_800_000_000))
            .build();
        assert_eq!(rotation(&entry), None);
        assert!(material_valid_to(&entry).is_some());
        let awaited = sdk::RotationsListEntry::builder()
            .import_state(sdk::ImportState::PendingImport)
            .valid_to(SdkTime::from_secs(1_800_000_000))
            .build();
        assert_eq!(material_valid_to(&awaited), None);
    }

    #[test]
    fn a_grant_to_a_service_names_the_service() {
        let entry = sdk::GrantListEntry::builder()
            .grant_id("g")
            .grantee_service_principal("dynamodb.amazonaws.com")
            .operations(sdk::GrantOperation::GenerateDataKey)
            .operations(sdk::GrantOperation::Decrypt)
            .constraints(sdk::GrantConstraints::builder().source_arn("arn:aws:s3:::b").build())
            .build();
        let grant = grant(&entry).unwrap();
        assert_eq!(grant.grantee.as_deref(), Some("dynamodb.amazonaws.com"));
        assert_eq!(grant.operations, ["Decrypt", "GenerateDataKey"]);
        assert!(grant.constrained);
    }
}
