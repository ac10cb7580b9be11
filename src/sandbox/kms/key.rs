//! What KMS keeps of a key: what the members of a key set share, and what each has for itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value};

use super::policy::Policy;
use super::spec::{Origin, Spec};
use crate::model::{KeyArn, Region};

/// What all related multi-Region keys have in common; a single-Region key shares it with nobody.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    pub(super) spec: &'static Spec,
    pub(super) usage: &'static str,
    pub(super) origin: Origin,
    /// Where the members are, if it is a multi-Region key.
    pub(super) related: Option<Related>,
    pub(super) rotation: Rotation,
    /// Every material that the key ever had, oldest first, and one that waits for its rotation.
    pub(super) materials: Vec<Material>,
    /// Which of them is current.
    pub(super) current: Option<String>,
}

/// The members of a multi-Region key.
#[derive(Debug, Clone)]
pub(super) struct Related {
    pub(super) primary: Region,
    pub(super) replicas: BTreeSet<Region>,
}

/// How a key's material rotates.
#[derive(Debug, Clone)]
pub(super) struct Rotation {
    pub(super) enabled: bool,
    pub(super) period_days: i64,
    pub(super) next: Option<DateTime<Utc>>,
    /// How often it was rotated on demand.
    pub(super) on_demand: u32,
}

impl Default for Rotation {
    fn default() -> Self {
        Self { enabled: false, period_days: 365, next: None, on_demand: 0 }
    }
}

/// One key material of a key.
#[derive(Debug, Clone)]
pub(super) struct Material {
    pub(super) id: String,
    /// When it became current by a rotation; the first material has no such date.
    pub(super) rotated: Option<DateTime<Utc>>,
    /// `AUTOMATIC` or `ON_DEMAND`.
    pub(super) rotation_type: Option<&'static str>,
    /// What the importer said of it.
    pub(super) description: Option<String>,
}

impl Shared {
    /// Whether AWS rotates such material by schedule.
    pub(super) fn rotates_automatically(&self) -> bool {
        self.spec.is_symmetric() && self.origin == Origin::AwsKms
    }

    /// Whether AWS tells the ids of the key's materials.
    pub(super) fn has_material_ids(&self) -> bool {
        self.spec.is_symmetric() && matches!(self.origin, Origin::AwsKms | Origin::External)
    }

    /// Whether the key in this Region is a replica.
    pub(super) fn is_replica(&self, region: &Region) -> bool {
        self.related.as_ref().is_some_and(|related| related.primary != *region)
    }

    /// The Regions of the replicas.
    pub(super) fn replicas(&self) -> Vec<Region> {
        self.related.iter().flat_map(|related| related.replicas.iter().cloned()).collect()
    }

    /// The materials without which the key cannot be used: all that are or were current.
    pub(super) fn used_materials(&self) -> Vec<String> {
        let used =
            |material: &&Material| material.rotated.is_some() || self.current.as_ref() == Some(&material.id);
        let first = self.materials.iter().take(1);
        let later = self.materials.iter().skip(1).filter(used);
        first.chain(later).map(|material| material.id.clone()).collect()
    }

    /// Makes a new material current.
    pub(super) fn rotate(&mut self, id: String, at: DateTime<Utc>, kind: &'static str) {
        self.current = Some(id.clone());
        match self.materials.iter_mut().find(|material| material.id == id) {
            Some(material) => {
                material.rotated = Some(at);
                material.rotation_type = Some(kind);
            }
            None => self.materials.push(Material {
                id,
                rotated: Some(at),
                rotation_type: Some(kind),
                description: None,
            }),
        }
    }
}

/// One key in one Region.
#[derive(Debug, Clone)]
pub(super) struct Key {
    pub(super) arn: KeyArn,
    pub(super) created: DateTime<Utc>,
    pub(super) aws_managed: bool,
    pub(super) description: String,
    pub(super) policy: Arc<Policy>,
    pub(super) status: Status,
    /// While it is being created or updated.
    pub(super) transit: Option<Transit>,
    pub(super) deletion: Option<DateTime<Utc>>,
    /// The waiting period of a primary that waits for its replicas.
    pub(super) pending_window: Option<i64>,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) aliases: BTreeSet<String>,
    pub(super) grants: BTreeMap<String, Grant>,
    pub(super) last_usage: Option<LastUsage>,
    pub(super) custom_store: Option<String>,
    pub(super) external_id: Option<String>,
    /// The materials that are imported here, with their expiries.
    pub(super) imported: BTreeMap<String, Option<DateTime<Utc>>>,
}

impl Key {
    /// A new enabled key.
    pub(super) fn new(arn: KeyArn, created: DateTime<Utc>, policy: Arc<Policy>) -> Self {
        Self {
            arn,
            created,
            aws_managed: false,
            description: String::new(),
            policy,
            status: Status::Enabled,
            transit: None,
            deletion: None,
            pending_window: None,
            tags: BTreeMap::new(),
            aliases: BTreeSet::new(),
            grants: BTreeMap::new(),
            last_usage: None,
            custom_store: None,
            external_id: None,
            imported: BTreeMap::new(),
        }
    }

    /// Starts the waiting period before deletion.
    pub(super) fn begin_waiting(&mut self, from: DateTime<Utc>, days: i64) -> DateTime<Utc> {
        let end = from + TimeDelta::days(days);
        self.status = Status::PendingDeletion;
        self.pending_window = None;
        self.deletion = Some(end);
        end
    }
}

/// What a key's owner or its material last made of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Enabled,
    Disabled,
    PendingImport,
    PendingDeletion,
    PendingReplicaDeletion,
}

impl Status {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Enabled => "Enabled",
            Self::Disabled => "Disabled",
            Self::PendingImport => "PendingImport",
            Self::PendingDeletion => "PendingDeletion",
            Self::PendingReplicaDeletion => "PendingReplicaDeletion",
        }
    }

    /// Whether its deletion is scheduled.
    pub(super) fn is_pending_deletion(self) -> bool {
        matches!(self, Self::PendingDeletion | Self::PendingReplicaDeletion)
    }
}

/// A passing state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transit {
    Creating,
    Updating,
}

impl Transit {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "Creating",
            Self::Updating => "Updating",
        }
    }
}

/// A grant.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Grant {
    pub(super) id: String,
    pub(super) token: String,
    pub(super) name: Option<String>,
    pub(super) created: DateTime<Utc>,
    pub(super) grantee: Option<String>,
    pub(super) grantee_service: Option<String>,
    pub(super) retiring: Option<String>,
    pub(super) retiring_service: Option<String>,
    pub(super) issuing_account: String,
    pub(super) operations: Vec<String>,
    pub(super) constraints: Map<String, Value>,
}

/// The last successful cryptographic operation.
#[derive(Debug, Clone)]
pub(super) struct LastUsage {
    pub(super) operation: String,
    pub(super) at: DateTime<Utc>,
    pub(super) event_id: String,
    pub(super) request_id: String,
}
