//! Whether log files are whole: verified apart from the sweeps, and kept over them.

use chrono::{DateTime, Utc};

use super::Auditor;
use super::judge::shown_trail;
use crate::facts::Place;
use crate::model::{
    AccountId, AccountRegionSnapshot, Batch, Cursor, LogCheck, Reading, Region, Snapshot, SourceKind,
    TrailSnapshot,
};

impl Auditor {
    /// The trails that deliver digest files to a bucket, each with its home; those whose home is not audited are
    /// looked after by whoever audits that.
    pub fn trails_to_verify(&self) -> Vec<(Place, TrailSnapshot)> {
        let is_home = |place: &AccountRegionSnapshot, trail: &TrailSnapshot| {
            let home = self.home_of_trail(&trail.arn);
            home.is_some_and(|home| home.account == place.account && home.region == place.region)
        };
        let mut found = Vec::new();
        for place in self.estate.regions() {
            for trail in place.trails.known().into_iter().flatten() {
                if trail.log_file_validation && trail.bucket.is_some() && is_home(place, trail) {
                    found.push(((place.account.clone(), place.region.clone()), trail.clone()));
                }
            }
        }
        found
    }

    /// A trail as one Region shows it.
    pub fn trail_in(&self, account: &AccountId, region: &Region, arn: &str) -> Option<&TrailSnapshot> {
        shown_trail(self.estate.region(account, region)?, arn)
    }

    /// What is known of a trail's logs.
    pub fn log_check(&self, home: &Place, arn: &str) -> Option<&LogCheck> {
        self.estate.region(&home.0, &home.1)?.log_checks.get(arn)
    }

    /// A batch of a trail's home as it is known, with what was found in the trail's logs.
    pub fn with_log_check(
        &self,
        home: &Place,
        arn: &str,
        check: LogCheck,
        cursor: Option<Cursor>,
        readings: Vec<Reading>,
    ) -> Option<Batch> {
        let (account, region) = home;
        let mut place = self.estate.region(account, region)?.clone();
        let now: DateTime<Utc> = check.at;
        place.read_at = now;
        place.log_checks.insert(arn.to_owned(), check);
        Some(Batch {
            source: SourceKind::Inventory,
            id: format!("inventory/logs/{arn}/{}", now.timestamp_micros()),
            account: Some(account.clone()),
            region: Some(region.clone()),
            read_at: now,
            snapshots: vec![Snapshot::AccountRegion(Box::new(place))],
            events: Vec::new(),
            readings,
            cursor,
            complete: false,
        })
    }

    /// What is known of logs stays over a reading that does not ask; of a trail that is certainly gone, it goes.
    pub(super) fn carry_log_checks(&self, batch: &mut Batch) {
        for snapshot in &mut batch.snapshots {
            let Snapshot::AccountRegion(place) = snapshot else { continue };
            let Some(known) = self.estate.region(&place.account, &place.region) else { continue };
            for (arn, check) in &known.log_checks {
                let is_gone = place.trails.known().is_some_and(|_| shown_trail(place, arn).is_none());
                if !is_gone {
                    place.log_checks.entry(arn.clone()).or_insert_with(|| check.clone());
                }
            }
        }
    }
}
