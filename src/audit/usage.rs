//! When keys were last used: asked for apart from the sweeps, and kept over them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::Auditor;
use crate::model::{
    AccountId, Batch, KeyArn, KeySnapshot, LastUsage, Observed, Region, Snapshot, SourceKind,
};

impl Auditor {
    /// A batch of the keys as they are known, with when they were last used.
    pub fn with_last_usage(
        &self,
        account: &AccountId,
        region: &Region,
        usage: &BTreeMap<KeyArn, Observed<LastUsage>>,
        now: DateTime<Utc>,
    ) -> Batch {
        let snapshot = |(arn, usage): (&KeyArn, &Observed<LastUsage>)| {
            let key = self.estate.key(arn)?;
            Some(Snapshot::Key(Box::new(KeySnapshot { last_usage: usage.clone(), ..key.clone() })))
        };
        let first = usage.keys().next().map_or(String::new(), ToString::to_string);
        Batch {
            source: SourceKind::Inventory,
            id: format!("inventory/usage/{}/{first}", now.timestamp_micros()),
            account: Some(account.clone()),
            region: Some(region.clone()),
            read_at: now,
            snapshots: usage.iter().filter_map(snapshot).collect(),
            events: Vec::new(),
            readings: Vec::new(),
            cursor: None,
            complete: false,
        }
    }

    /// A sweep asks neither when a key was last used nor whether log files are whole: what is known of that stays.
    pub fn carry_last_usage(&self, batch: &mut Batch) {
        self.carry_log_checks(batch);
        for snapshot in &mut batch.snapshots {
            let Snapshot::Key(key) = snapshot else { continue };
            if key.last_usage == Observed::NotApplicable
                && let Some(known) = self.estate.key(&key.arn)
            {
                key.last_usage = known.last_usage.clone();
            }
        }
    }
}
