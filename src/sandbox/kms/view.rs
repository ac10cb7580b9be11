//! What the other services of the sandbox see of keys.

use super::key::Key;
use super::rotation;
use super::state::State;
use crate::model::{AccountId, Region};

/// What the other services see of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyView {
    /// The key's id.
    pub id: String,
    /// Its ARN.
    pub arn: String,
    /// `AWS` or `CUSTOMER`.
    pub manager: String,
    /// AWS's key state.
    pub state: String,
    /// AWS's key spec.
    pub spec: String,
    /// AWS's key origin.
    pub origin: String,
    /// Whether it is a replica.
    pub replica: bool,
    /// As `GetKeyRotationStatus` says.
    pub rotation_enabled: bool,
    /// The `default` policy.
    pub policy: String,
}

impl State {
    /// The keys of an account in a Region, by key id.
    pub fn views(&self, account: &AccountId, region: &Region) -> Vec<KeyView> {
        let keys = self.place(account, region).into_iter().flat_map(|place| place.keys.values());
        keys.filter_map(|key| self.view(key)).collect()
    }

    /// The key that an alias (with its `alias/` prefix) names.
    pub fn key_id_of_alias(&self, account: &AccountId, region: &Region, alias: &str) -> Option<String> {
        self.place(account, region)?.aliases.get(alias)?.target.clone()
    }

    fn view(&self, key: &Key) -> Option<KeyView> {
        let shared = self.accounts.get(&key.arn.account)?.shared.get(&key.arn.id)?;
        Some(KeyView {
            id: key.arn.id.clone(),
            arn: key.arn.to_string(),
            manager: if key.aws_managed { "AWS" } else { "CUSTOMER" }.to_owned(),
            state: self.state_of(key).to_owned(),
            spec: shared.spec.name.to_owned(),
            origin: shared.origin.as_str().to_owned(),
            replica: shared.is_replica(&key.arn.region),
            rotation_enabled: rotation::reads_enabled(key, shared),
            policy: key.policy.text.clone(),
        })
    }
}
