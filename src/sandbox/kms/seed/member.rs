//! What is each member's own.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

/// What one member of a key set has for itself.
#[derive(Debug, Clone, Default)]
pub struct MemberSeed {
    pub(super) created: Option<DateTime<Utc>>,
    pub(super) description: String,
    pub(super) policy: Option<String>,
    pub(super) tags: Vec<(String, String)>,
    pub(super) aliases: Vec<String>,
    pub(super) grants: Vec<GrantSeed>,
    pub(super) disabled: bool,
    pub(super) deletion: Option<DateTime<Utc>>,
    pub(super) deletion_wanted: Option<i64>,
    pub(super) without_material: bool,
    pub(super) material_expires: Option<DateTime<Utc>>,
    pub(super) last_use: Option<(String, DateTime<Utc>)>,
    pub(super) custom_store: Option<String>,
}

impl MemberSeed {
    /// When this member was created, if not with the primary.
    #[must_use]
    pub fn created(self, at: DateTime<Utc>) -> Self {
        Self { created: Some(at), ..self }
    }

    /// Its description.
    #[must_use]
    pub fn description(self, text: &str) -> Self {
        Self { description: text.to_owned(), ..self }
    }

    /// Its key policy as JSON text, in place of the default one.
    #[must_use]
    pub fn policy(self, document: &str) -> Self {
        Self { policy: Some(document.to_owned()), ..self }
    }

    /// Adds a tag.
    #[must_use]
    pub fn tag(mut self, name: &str, value: &str) -> Self {
        self.tags.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds an alias, with its `alias/` prefix.
    #[must_use]
    pub fn alias(mut self, name: &str) -> Self {
        self.aliases.push(name.to_owned());
        self
    }

    /// Adds a grant.
    #[must_use]
    pub fn grant(mut self, grant: GrantSeed) -> Self {
        self.grants.push(grant);
        self
    }

    /// Disables it.
    #[must_use]
    pub fn disabled(self) -> Self {
        Self { disabled: true, ..self }
    }

    /// Schedules its deletion for a time.
    #[must_use]
    pub fn pending_deletion(self, at: DateTime<Utc>) -> Self {
        Self { deletion: Some(at), ..self }
    }

    /// Makes it a primary that waits for its replicas to be deleted, then for this many days.
    #[must_use]
    pub fn pending_replica_deletion(self, days: i64) -> Self {
        Self { deletion_wanted: Some(days), ..self }
    }

    /// Leaves it without its imported material.
    #[must_use]
    pub fn without_material(self) -> Self {
        Self { without_material: true, ..self }
    }

    /// When its imported material expires.
    #[must_use]
    pub fn material_expires(self, at: DateTime<Utc>) -> Self {
        Self { material_expires: Some(at), ..self }
    }

    /// Its last use.
    #[must_use]
    pub fn last_use(self, operation: &str, at: DateTime<Utc>) -> Self {
        Self { last_use: Some((operation.to_owned(), at)), ..self }
    }

    /// The id of the custom key store that it lives in.
    #[must_use]
    pub fn custom_store(self, id: &str) -> Self {
        Self { custom_store: Some(id.to_owned()), ..self }
    }
}

/// A grant to put into place.
#[derive(Debug, Clone)]
pub struct GrantSeed {
    /// The ARN, or the service principal, that may use it.
    pub grantee: String,
    /// Who may retire it.
    pub retiring: Option<String>,
    /// What it allows.
    pub operations: Vec<String>,
    /// `EncryptionContextSubset`, `EncryptionContextEquals`, `SourceArn`.
    pub constraints: Map<String, Value>,
}
