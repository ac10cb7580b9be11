//! What the tests of this room share: a key, a Region, a batch, a context.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::{AccountScope, Context, OwnIdentity};
use crate::config::{AuditPolicy, ResidencyAssignment};
use crate::jurisdiction::{Assignments, Atlas};
use crate::model::{
    AccountRegionSnapshot, Batch, Fact, Facts, Gap, KeyMetadata, KeySnapshot, MultiRegionRole, Observed,
    ReadingResult, Region, RelatedKeys, RotationStatus, Snapshot, SourceKind,
};

pub(crate) const NOON: &str = "2026-03-01T12:00:00Z";

pub(crate) fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

pub(crate) fn gap<T>(api: &str) -> Observed<T> {
    Observed::Unknown(Gap { api: api.to_owned(), result: ReadingResult::Denied })
}

pub(crate) fn metadata() -> KeyMetadata {
    KeyMetadata {
        manager: "CUSTOMER".to_owned(),
        state: "Enabled".to_owned(),
        spec: "SYMMETRIC_DEFAULT".to_owned(),
        usage: "ENCRYPT_DECRYPT".to_owned(),
        origin: "AWS_KMS".to_owned(),
        description: String::new(),
        created: Some(at("2025-01-01T00:00:00Z")),
        deletion_date: None,
        pending_window_days: None,
        valid_to: None,
        custom_key_store: None,
        material_id: None,
        multi_region: None,
    }
}

/// The policy that AWS gives a key that is created without one.
pub(crate) const DEFAULT_POLICY: &str = r#"{"Version": "2012-10-17", "Statement": [{"Sid": "Enable IAM User Permissions",
    "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::111122223333:root"}, "Action": "kms:*", "Resource": "*"}]}"#;

/// An enabled symmetric customer key that rotates yearly, last read at noon.
pub(crate) fn key(arn: &str) -> KeySnapshot {
    KeySnapshot {
        arn: arn.parse().unwrap(),
        read_at: at(NOON),
        metadata: Observed::Known(metadata()),
        policy: Observed::Known(DEFAULT_POLICY.to_owned()),
        rotation: Observed::Known(RotationStatus {
            enabled: true,
            period_days: Some(365),
            next: Some(at("2026-12-31T00:00:00Z")),
            on_demand_started: None,
        }),
        rotations: Observed::NotApplicable,
        aliases: Observed::Known(Vec::new()),
        grants: Observed::Known(Vec::new()),
        tags: Observed::Known(BTreeMap::new()),
        last_usage: Observed::NotApplicable,
    }
}

/// A key whose metadata was changed.
pub(crate) fn key_with(arn: &str, change: impl Fn(&mut KeyMetadata)) -> KeySnapshot {
    let mut key = key(arn);
    let mut metadata = metadata();
    change(&mut metadata);
    key.metadata = Observed::Known(metadata);
    key
}

/// The members of a key set, the primary first: `eu-central-1`, `eu-west-1`, … of `key/mrk-1`.
pub(crate) fn key_set(regions: &[&str]) -> Vec<KeySnapshot> {
    let all: Vec<Region> = regions.iter().map(|region| region.parse().unwrap()).collect();
    let member = |region: &Region| {
        let is_primary = Some(region) == all.first();
        let arn = format!("arn:aws:kms:{region}:111122223333:key/mrk-1");
        let mut key = key_with(&arn, |metadata| {
            let mut replicas = all[1..].to_vec();
            replicas.sort();
            metadata.multi_region = Some(RelatedKeys {
                role: if is_primary { MultiRegionRole::Primary } else { MultiRegionRole::Replica },
                primary: all.first().cloned(),
                replicas,
            });
        });
        if !is_primary {
            key.rotation = Observed::NotApplicable;
        }
        key
    };
    all.iter().map(member).collect()
}

pub(crate) fn region_of(region: &str) -> AccountRegionSnapshot {
    AccountRegionSnapshot {
        account: "111122223333".parse().unwrap(),
        region: region.parse().unwrap(),
        partition: "aws".to_owned(),
        read_at: at(NOON),
        keys: Observed::Known(0),
        custom_key_stores: Observed::Known(Vec::new()),
        trails: Observed::Known(Vec::new()),
        config: Observed::NotApplicable,
        opinions: Observed::NotApplicable,
        log_checks: BTreeMap::new(),
        gaps: Vec::new(),
    }
}

/// A complete sweep of one Region of the account 111122223333.
pub(crate) fn batch(region: &str, keys: Vec<KeySnapshot>) -> Batch {
    Batch {
        source: SourceKind::Inventory,
        id: "sweep".to_owned(),
        account: Some("111122223333".parse().unwrap()),
        region: Some(region.parse().unwrap()),
        read_at: at(NOON),
        snapshots: keys.into_iter().map(|key| Snapshot::Key(Box::new(key))).collect(),
        events: Vec::new(),
        readings: Vec::new(),
        cursor: None,
        complete: true,
    }
}

/// Everything that a context borrows; tests change what they are about.
pub(crate) struct World {
    pub(crate) atlas: Atlas,
    pub(crate) assignments: Assignments,
    pub(crate) policy: AuditPolicy,
    pub(crate) accounts: AccountScope,
    pub(crate) own: OwnIdentity,
    pub(crate) now: DateTime<Utc>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            atlas: Atlas::builtin().unwrap(),
            assignments: Assignments::default(),
            policy: AuditPolicy::default(),
            accounts: AccountScope {
                audited: ["111122223333".parse().unwrap()].into(),
                ..AccountScope::default()
            },
            own: OwnIdentity::default(),
            now: at(NOON),
        }
    }

    /// Assigns boundaries by the text of `[[residency]]` tables.
    pub(crate) fn assigned(toml: &str) -> Self {
        #[derive(serde::Deserialize)]
        struct File {
            residency: Vec<ResidencyAssignment>,
        }
        let mut world = Self::new();
        let file: File = toml::from_str(toml).unwrap();
        world.assignments = Assignments::compile(&file.residency, &world.atlas).unwrap();
        world
    }

    pub(crate) fn context(&self) -> Context<'_> {
        Context {
            atlas: &self.atlas,
            assignments: &self.assignments,
            policy: &self.policy,
            accounts: &self.accounts,
            own: &self.own,
            now: self.now,
        }
    }
}

/// The value at a path as a text that reads well in a failed assertion: `-` is missing, `?…` unknown.
pub(crate) fn show(facts: &Facts, path: &str) -> String {
    show_fact(facts.root.at(path))
}

fn show_fact(fact: Option<&Fact>) -> String {
    match fact {
        None => "-".to_owned(),
        Some(Fact::Null) => "null".to_owned(),
        Some(Fact::Bool(value)) => value.to_string(),
        Some(Fact::Int(value)) => value.to_string(),
        Some(Fact::Float(value)) => value.to_string(),
        Some(Fact::Text(text)) => text.clone(),
        Some(Fact::List(items)) => {
            items.iter().map(|item| show_fact(Some(item))).collect::<Vec<_>>().join(" ")
        }
        Some(Fact::Map(map)) => format!("{map:?}"),
        Some(Fact::Unknown(reason)) => format!("?{reason}"),
    }
}
