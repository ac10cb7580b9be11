//! One key: at most six calls, of which each may fail without the others.

use std::collections::BTreeMap;

use aws_sdk_kms::types::IncludeKeyMaterial;
use chrono::{DateTime, Utc};

use super::super::api::{
    Api, DESCRIBE_KEY, GET_KEY_POLICY, GET_KEY_ROTATION_STATUS, LIST_GRANTS, LIST_KEY_ROTATIONS,
    LIST_RESOURCE_TAGS,
};
use super::super::clients::RegionClients;
use super::super::outcome::{Failure, observed};
use super::super::readings::Readings;
use super::convert;
use super::listing::{Aliases, next_marker};
use crate::clock;
use crate::model::{
    Gap, Grant, KeyArn, KeyMetadata, KeyRotation, KeySnapshot, MultiRegionRole, Observed, RotationStatus,
};

/// Reads keys of one Region.
#[derive(Debug)]
pub(super) struct KeyReader<'a> {
    pub(super) clients: &'a RegionClients,
    pub(super) readings: &'a Readings,
}

impl KeyReader<'_> {
    /// Everything that the rules read of a key; none if the key is gone.
    pub(super) async fn read(&self, arn: KeyArn, aliases: &Observed<Aliases>) -> Option<KeySnapshot> {
        let mut metadata = match self.describe(&arn).await {
            Err(failure) if failure.absent => return None,
            described => observed(described),
        };
        let aliases = aliases_of(&arn, aliases);
        let mut snapshot = if is_aws_managed(&metadata, &aliases) {
            bare_snapshot(arn)
        } else {
            let (snapshot, earliest_expiry) = Box::pin(self.read_customer_key(arn, &metadata)).await;
            if let Observed::Known(metadata) = &mut metadata {
                metadata.valid_to = earliest(metadata.valid_to, earliest_expiry);
            }
            snapshot
        };
        snapshot.metadata = metadata;
        snapshot.aliases = aliases;
        snapshot.read_at = clock::now();
        Some(snapshot)
    }

    async fn read_customer_key(
        &self,
        arn: KeyArn,
        metadata: &Observed<KeyMetadata>,
    ) -> (KeySnapshot, Option<DateTime<Utc>>) {
        let (policy, (rotation, rotations, earliest_expiry), grants, tags) = tokio::join!(
            self.policy(&arn),
            self.rotation(&arn, metadata),
            self.grants(&arn),
            self.tags(&arn)
        );
        let snapshot = KeySnapshot {
            policy: observed(policy),
            rotation,
            rotations,
            grants: observed(grants),
            tags: observed(tags),
            ..bare_snapshot(arn)
        };
        (snapshot, earliest_expiry)
    }

    async fn describe(&self, arn: &KeyArn) -> Result<KeyMetadata, Failure> {
        let request = self.clients.kms.describe_key().key_id(arn.to_string()).send();
        let output = self.clients.call(self.readings, DESCRIBE_KEY, request).await?;
        let metadata = output.key_metadata().ok_or("KeyMetadata").and_then(convert::metadata);
        metadata.map_err(|missing| self.missing(DESCRIBE_KEY, missing))
    }

    async fn policy(&self, arn: &KeyArn) -> Result<String, Failure> {
        let request = self.clients.kms.get_key_policy().key_id(arn.to_string()).policy_name("default").send();
        let output = self.clients.call(self.readings, GET_KEY_POLICY, request).await?;
        output.policy.ok_or_else(|| self.missing(GET_KEY_POLICY, "Policy"))
    }

    /// Rotation status, past rotations, and the earliest expiry of imported materials.
    async fn rotation(
        &self,
        arn: &KeyArn,
        metadata: &Observed<KeyMetadata>,
    ) -> (Observed<RotationStatus>, Observed<Vec<KeyRotation>>, Option<DateTime<Utc>>) {
        let metadata = match metadata {
            Observed::Known(metadata) => metadata,
            Observed::Unknown(gap) => {
                return (Observed::Unknown(gap.clone()), Observed::Unknown(gap.clone()), None);
            }
            Observed::NotApplicable => return (Observed::NotApplicable, Observed::NotApplicable, None),
        };
        let status = if rotates_here(metadata) {
            observed(self.rotation_status(arn).await)
        } else {
            Observed::NotApplicable
        };
        match wanted_rotations(metadata, &status) {
            Wanted::No => (status, Observed::NotApplicable, None),
            Wanted::NotKnown(gap) => (status, Observed::Unknown(gap), None),
            Wanted::Yes(materials) => match self.rotations(arn, materials).await {
                Ok((rotations, earliest_expiry)) => (status, Observed::Known(rotations), earliest_expiry),
                Err(failure) => (status, observed(Err(failure)), None),
            },
        }
    }

    async fn rotation_status(&self, arn: &KeyArn) -> Result<RotationStatus, Failure> {
        let request = self.clients.kms.get_key_rotation_status().key_id(arn.to_string()).send();
        let output = self.clients.call(self.readings, GET_KEY_ROTATION_STATUS, request).await?;
        Ok(convert::rotation_status(&output))
    }

    async fn rotations(
        &self,
        arn: &KeyArn,
        materials: IncludeKeyMaterial,
    ) -> Result<(Vec<KeyRotation>, Option<DateTime<Utc>>), Failure> {
        let (mut rotations, mut expiry, mut marker) = (Vec::new(), None, None);
        loop {
            let request = self.clients.kms.list_key_rotations().key_id(arn.to_string()).limit(1000);
            let request = request.include_key_material(materials.clone()).set_marker(marker.clone());
            let page = self.clients.call(self.readings, LIST_KEY_ROTATIONS, request.send()).await?;
            rotations.extend(page.rotations().iter().filter_map(convert::rotation));
            expiry = page.rotations().iter().map(convert::material_valid_to).fold(expiry, earliest);
            marker = self.next(LIST_KEY_ROTATIONS, page.truncated(), page.next_marker, marker.as_deref())?;
            if marker.is_none() {
                rotations.sort_by_key(|rotation| rotation.at);
                return Ok((rotations, expiry));
            }
        }
    }

    async fn grants(&self, arn: &KeyArn) -> Result<Vec<Grant>, Failure> {
        let (mut grants, mut marker) = (Vec::new(), None);
        loop {
            let request = self.clients.kms.list_grants().key_id(arn.to_string()).limit(100);
            let request = request.set_marker(marker.clone()).send();
            let page = self.clients.call(self.readings, LIST_GRANTS, request).await?;
            grants.extend(page.grants().iter().filter_map(convert::grant));
            marker = self.next(LIST_GRANTS, page.truncated(), page.next_marker, marker.as_deref())?;
            if marker.is_none() {
                grants.sort_by(|one, other| one.id.cmp(&other.id));
                return Ok(grants);
            }
        }
    }

    async fn tags(&self, arn: &KeyArn) -> Result<BTreeMap<String, String>, Failure> {
        let (mut tags, mut marker) = (BTreeMap::new(), None);
        loop {
            let request = self.clients.kms.list_resource_tags().key_id(arn.to_string()).limit(50);
            let request = request.set_marker(marker.clone()).send();
            let page = self.clients.call(self.readings, LIST_RESOURCE_TAGS, request).await?;
            tags.extend(page.tags().iter().map(|tag| (tag.tag_key.clone(), tag.tag_value.clone())));
            marker = self.next(LIST_RESOURCE_TAGS, page.truncated(), page.next_marker, marker.as_deref())?;
            if marker.is_none() {
                return Ok(tags);
            }
        }
    }

    fn next(
        &self,
        api: Api,
        truncated: bool,
        next: Option<String>,
        previous: Option<&str>,
    ) -> Result<Option<String>, Failure> {
        next_marker(truncated, next, previous)
            .map_err(|detail| self.clients.unusable(self.readings, api, detail))
    }

    fn missing(&self, api: Api, member: &str) -> Failure {
        self.clients.unusable(self.readings, api, &format!("the answer has no `{member}`"))
    }
}

/// A snapshot of which nothing but the ARN is known, and in which nothing was asked for.
pub(super) fn bare_snapshot(arn: KeyArn) -> KeySnapshot {
    KeySnapshot {
        arn,
        read_at: DateTime::UNIX_EPOCH,
        metadata: Observed::NotApplicable,
        policy: Observed::NotApplicable,
        rotation: Observed::NotApplicable,
        rotations: Observed::NotApplicable,
        aliases: Observed::NotApplicable,
        grants: Observed::NotApplicable,
        tags: Observed::NotApplicable,
        last_usage: Observed::NotApplicable,
    }
}

fn aliases_of(arn: &KeyArn, aliases: &Observed<Aliases>) -> Observed<Vec<String>> {
    match aliases {
        Observed::Known(aliases) => Observed::Known(aliases.get(&arn.id).cloned().unwrap_or_default()),
        Observed::Unknown(gap) => Observed::Unknown(gap.clone()),
        Observed::NotApplicable => Observed::NotApplicable,
    }
}

/// AWS managed keys are listed and not judged: nothing more is asked about them. Where a key may not be
/// described, its alias tells, since nobody else can create one below `alias/aws/`.
fn is_aws_managed(metadata: &Observed<KeyMetadata>, aliases: &Observed<Vec<String>>) -> bool {
    metadata.known().map_or_else(
        || aliases.known().is_some_and(|names| names.iter().any(|name| name.starts_with("alias/aws/"))),
        |metadata| metadata.manager == "AWS",
    )
}

fn earliest(one: Option<DateTime<Utc>>, other: Option<DateTime<Utc>>) -> Option<DateTime<Utc>> {
    one.into_iter().chain(other).min()
}

fn is_replica(metadata: &KeyMetadata) -> bool {
    metadata.multi_region.as_ref().is_some_and(|related| related.role == MultiRegionRole::Replica)
}

/// AWS can rotate this kind of key by itself, and this member of its set is where that is set.
fn rotates_here(metadata: &KeyMetadata) -> bool {
    metadata.spec == "SYMMETRIC_DEFAULT" && metadata.origin == "AWS_KMS" && !is_replica(metadata)
}

/// Whether past rotations tell the rules anything.
enum Wanted {
    Yes(IncludeKeyMaterial),
    No,
    NotKnown(Gap),
}

/// Imported material is rotated on demand only, so its rotations are its whole story, with every material
/// and its expiry. A key that AWS could rotate and that is set not to may be rotated on demand instead.
fn wanted_rotations(metadata: &KeyMetadata, status: &Observed<RotationStatus>) -> Wanted {
    if metadata.spec == "SYMMETRIC_DEFAULT" && metadata.origin == "EXTERNAL" {
        return Wanted::Yes(IncludeKeyMaterial::AllKeyMaterial);
    }
    if !rotates_here(metadata) || metadata.state != "Enabled" {
        return Wanted::No;
    }
    match status {
        Observed::Known(status) if !status.enabled => Wanted::Yes(IncludeKeyMaterial::RotationsOnly),
        Observed::Unknown(gap) => Wanted::NotKnown(gap.clone()),
        Observed::Known(_) | Observed::NotApplicable => Wanted::No,
    }
}
