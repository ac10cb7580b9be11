//! Putting keys of any shape into place at once, without calls and without records.

mod member;

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use thiserror::Error;

pub use member::{GrantSeed, MemberSeed};

use super::import::material_id;
use super::key::{Grant, Key, LastUsage, Material, Related, Rotation, Shared, Status};
use super::policy::Policy;
use super::spec::{Origin, Spec};
use super::state::{Due, Spot, State};
use crate::model::{AccountId, KeyArn, Region};
use crate::sandbox::geography;

/// Why a key cannot be put into place.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SeedError {
    /// AWS has no such key spec.
    #[error("`{0}` is not a key spec of AWS KMS; one looks like `SYMMETRIC_DEFAULT`")]
    Spec(String),
    /// A key of the spec cannot have the usage.
    #[error("a key of spec {spec} cannot have the usage `{usage}`")]
    Usage {
        /// The spec.
        spec: &'static str,
        /// The usage.
        usage: String,
    },
    /// A policy is not one.
    #[error("the key policy in {region} is malformed: {why}")]
    Policy {
        /// Where.
        region: Region,
        /// What is wrong.
        why: String,
    },
}

/// A key, or a set of related multi-Region keys, to put into place with [`State::plant`].
#[derive(Debug, Clone)]
pub struct KeySeed {
    account: AccountId,
    region: Region,
    id: Option<String>,
    created: DateTime<Utc>,
    spec: String,
    usage: Option<String>,
    origin: Origin,
    multi_region: bool,
    rotation_days: Option<i64>,
    rotated: Vec<(DateTime<Utc>, &'static str)>,
    aws_service: Option<String>,
    member: MemberSeed,
    replicas: Vec<(Region, MemberSeed)>,
}

impl KeySeed {
    /// An enabled symmetric single-Region key with the default policy, created at a time.
    pub fn new(account: &AccountId, region: &Region, created: DateTime<Utc>) -> Self {
        Self {
            account: account.clone(),
            region: region.clone(),
            id: None,
            created,
            spec: "SYMMETRIC_DEFAULT".to_owned(),
            usage: None,
            origin: Origin::AwsKms,
            multi_region: false,
            rotation_days: None,
            rotated: Vec::new(),
            aws_service: None,
            member: MemberSeed::default(),
            replicas: Vec::new(),
        }
    }

    /// Gives it an id of the caller's choice; a multi-Region key's begins with `mrk-`.
    #[must_use]
    pub fn id(self, id: &str) -> Self {
        Self { id: Some(id.to_owned()), ..self }
    }

    /// Gives it a spec and, where the spec leaves a choice, a usage.
    #[must_use]
    pub fn spec(self, spec: &str, usage: Option<&str>) -> Self {
        Self { spec: spec.to_owned(), usage: usage.map(str::to_owned), ..self }
    }

    /// Gives it an origin. Imported material is in place unless the member says otherwise.
    #[must_use]
    pub fn origin(self, origin: Origin) -> Self {
        Self { origin, ..self }
    }

    /// Makes it the primary of a multi-Region key.
    #[must_use]
    pub fn multi_region(self) -> Self {
        Self { multi_region: true, ..self }
    }

    /// Turns automatic rotation on with a period in days; the next is due a period after the last, or after the creation.
    #[must_use]
    pub fn rotation(self, days: i64) -> Self {
        Self { rotation_days: Some(days), ..self }
    }

    /// Adds a past rotation; oldest first.
    #[must_use]
    pub fn rotated(mut self, at: DateTime<Utc>, on_demand: bool) -> Self {
        self.rotated.push((at, if on_demand { "ON_DEMAND" } else { "AUTOMATIC" }));
        self
    }

    /// Makes it the AWS managed key of a service: `s3` for `alias/aws/s3`. Nothing else of the seed but its account,
    /// Region and creation counts then.
    #[must_use]
    pub fn aws_managed(self, service: &str) -> Self {
        Self { aws_service: Some(service.to_owned()), ..self }
    }

    /// What the key has for itself.
    #[must_use]
    pub fn member(self, member: MemberSeed) -> Self {
        Self { member, ..self }
    }

    /// Adds a replica, and makes the key a multi-Region key.
    #[must_use]
    pub fn replica(mut self, region: &Region, member: MemberSeed) -> Self {
        self.replicas.push((region.clone(), member));
        self.multi_region()
    }
}

impl State {
    /// Puts a key, with its replicas, into place. Gives its id.
    ///
    /// # Errors
    ///
    /// [`SeedError`] if AWS would never have such a key; nothing is in place then.
    pub fn plant(&mut self, seed: &KeySeed) -> Result<String, SeedError> {
        let partition = geography::partition_of(&seed.region).to_owned();
        if let Some(service) = &seed.aws_service {
            let alias = format!("alias/aws/{service}");
            return Ok(self.ensure_aws_managed(
                &partition,
                &seed.account,
                &seed.region,
                &alias,
                seed.created,
            ));
        }
        let multi_region = seed.multi_region;
        let id = seed.id.clone().unwrap_or_else(|| self.new_key_id(multi_region));
        let shared = self.shared_of(seed, &id)?;
        let arn =
            KeyArn { partition, region: seed.region.clone(), account: seed.account.clone(), id: id.clone() };
        let mut keys = vec![self.key_of(arn.clone(), seed, &seed.member, &shared)?];
        for (region, member) in &seed.replicas {
            keys.push(self.key_of(arn.in_region(region.clone()), seed, member, &shared)?);
        }
        if let Some(next) = shared.rotation.next {
            let spot = Spot { account: seed.account.clone(), region: seed.region.clone(), id: id.clone() };
            self.agenda.add(next, spot, Due::Rotation);
        }
        for key in keys {
            self.schedule(&key);
            self.insert(key, shared.clone());
        }
        Ok(id)
    }

    fn shared_of(&mut self, seed: &KeySeed, id: &str) -> Result<Shared, SeedError> {
        let spec = Spec::named(&seed.spec).ok_or_else(|| SeedError::Spec(seed.spec.clone()))?;
        let wanted = seed.usage.clone().or_else(|| spec.usages.first().map(|usage| (*usage).to_owned()));
        let wanted = wanted.unwrap_or_default();
        let usage = spec.usage(&wanted).ok_or(SeedError::Usage { spec: spec.name, usage: wanted })?;
        let related = seed.multi_region.then(|| Related {
            primary: seed.region.clone(),
            replicas: seed.replicas.iter().map(|(region, _)| region.clone()).collect(),
        });
        let materials = Vec::new();
        let mut shared = Shared {
            spec,
            usage,
            origin: seed.origin,
            related,
            rotation: Rotation::default(),
            materials,
            current: None,
        };
        self.add_first_material(&mut shared);
        if seed.origin == Origin::External {
            let first = material_id(id, b"seed");
            shared.current = Some(first.clone());
            shared.materials.push(Material {
                id: first,
                rotated: None,
                rotation_type: None,
                description: None,
            });
        }
        for (number, (at, kind)) in seed.rotated.iter().enumerate() {
            shared.rotate(material_id(id, &number.to_be_bytes()), *at, kind);
            shared.rotation.on_demand += u32::from(*kind == "ON_DEMAND");
        }
        if let (Some(days), true) = (seed.rotation_days, shared.rotates_automatically()) {
            let last = seed.rotated.last().map_or(seed.created, |(at, _)| *at);
            shared.rotation.enabled = true;
            shared.rotation.period_days = days;
            shared.rotation.next = Some(last + TimeDelta::days(days));
        }
        Ok(shared)
    }

    fn key_of(
        &mut self,
        arn: KeyArn,
        seed: &KeySeed,
        member: &MemberSeed,
        shared: &Shared,
    ) -> Result<Key, SeedError> {
        let policy = match &member.policy {
            None => Policy::default_of(&arn.partition, &arn.account),
            Some(text) => Policy::parse(text)
                .map_err(|error| SeedError::Policy { region: arn.region.clone(), why: error.message })?,
        };
        let mut key = Key::new(arn, member.created.unwrap_or(seed.created), Arc::new(policy));
        key.description.clone_from(&member.description);
        key.tags = member.tags.iter().cloned().collect();
        key.aliases = member.aliases.iter().cloned().collect();
        key.custom_store.clone_from(&member.custom_store);
        if seed.origin == Origin::External && !member.without_material {
            let materials =
                shared.materials.iter().map(|material| (material.id.clone(), member.material_expires));
            key.imported = materials.collect();
        }
        key.status = status_of(seed, member);
        key.deletion = member.deletion;
        key.pending_window = member.deletion_wanted;
        for grant in &member.grants {
            let grant = self.grant_of(grant, &key);
            key.grants.insert(grant.id.clone(), grant);
        }
        key.last_usage = member.last_use.as_ref().map(|(operation, at)| LastUsage {
            operation: operation.clone(),
            at: *at,
            event_id: self.ids.uuid(),
            request_id: self.ids.uuid(),
        });
        Ok(key)
    }

    fn grant_of(&mut self, seed: &GrantSeed, key: &Key) -> Grant {
        let is_arn = seed.grantee.starts_with("arn:");
        let (grantee, service) =
            if is_arn { (Some(&seed.grantee), None) } else { (None, Some(&seed.grantee)) };
        Grant {
            id: self.ids.hex(64),
            token: self.ids.hex(64),
            name: None,
            created: key.created,
            grantee: grantee.cloned(),
            grantee_service: service.cloned(),
            retiring: seed.retiring.clone(),
            retiring_service: None,
            issuing_account: format!("arn:{}:iam::{}:root", key.arn.partition, key.arn.account),
            operations: seed.operations.clone(),
            constraints: seed.constraints.clone(),
        }
    }

    /// Puts what will happen to a key on the agenda.
    fn schedule(&mut self, key: &Key) {
        let KeyArn { account, region, id, .. } = key.arn.clone();
        let spot = Spot { account, region, id };
        if let Some(at) = key.deletion {
            self.agenda.add(at, spot.clone(), Due::Deletion);
        }
        for (material, expiry) in &key.imported {
            if let Some(at) = expiry {
                self.agenda.add(*at, spot.clone(), Due::Expiry(material.clone()));
            }
        }
    }
}

fn status_of(seed: &KeySeed, member: &MemberSeed) -> Status {
    if member.deletion_wanted.is_some() {
        Status::PendingReplicaDeletion
    } else if member.deletion.is_some() {
        Status::PendingDeletion
    } else if seed.origin == Origin::External && member.without_material {
        Status::PendingImport
    } else if member.disabled {
        Status::Disabled
    } else {
        Status::Enabled
    }
}
