//! Trails that were read again beside the full sweeps, laid over what is known.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use super::Auditor;
use crate::facts;
use crate::model::{
    AccountId, AccountRegionSnapshot, Batch, EventRecord, Gap, Observed, Reading, ReadingResult, Region,
    Snapshot, SourceKind, TrailSnapshot,
};

impl Auditor {
    /// A batch of a Region as it is known, with its trails as they were read again; none of a Region that was
    /// never swept, since its sweep is still to come.
    pub fn with_trails(
        &self,
        account: &AccountId,
        region: &Region,
        trails: Observed<Vec<TrailSnapshot>>,
        readings: Vec<Reading>,
        now: DateTime<Utc>,
    ) -> Option<Batch> {
        let known = self.estate.region(account, region)?;
        let failed = readings.iter().filter(|reading| reading.result != ReadingResult::Ok);
        let new_gaps = failed.map(|reading| Gap { api: reading.api.clone(), result: reading.result });
        let was_asked = |gap: &Gap| readings.iter().any(|reading| reading.api == gap.api);
        let old_gaps = known.gaps.iter().filter(|gap| !was_asked(gap)).cloned();
        let gaps: BTreeSet<Gap> = old_gaps.chain(new_gaps).collect();
        let region_now =
            AccountRegionSnapshot { trails, gaps: gaps.into_iter().collect(), read_at: now, ..known.clone() };
        Some(Batch {
            source: SourceKind::Inventory,
            id: format!("inventory/trails/{}", now.timestamp_micros()),
            account: Some(account.clone()),
            region: Some(region.clone()),
            read_at: now,
            snapshots: vec![Snapshot::AccountRegion(Box::new(region_now))],
            events: Vec::new(),
            readings,
            cursor: None,
            complete: false,
        })
    }

    /// The accounts whose trails an event changes: its own, or every one if it is the organization's trail.
    pub fn accounts_of_changed_trail(&self, event: &EventRecord) -> BTreeSet<AccountId> {
        let Some(changed) = facts::changed_trail(event) else { return BTreeSet::new() };
        let is_meant =
            |trail: &TrailSnapshot| changed.trail.is_none_or(|name| trail.arn == name || trail.name == name);
        let known = self.estate.regions().filter(|place| place.account == changed.account);
        let mut known = known.flat_map(|place| place.trails.known().into_iter().flatten());
        if changed.organization || known.any(|trail| trail.organization && is_meant(trail)) {
            return self.estate.regions().map(|place| place.account.clone()).collect();
        }
        [changed.account].into()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::cli::setup::standards;
    use crate::config::Config;
    use crate::facts::AccountScope;

    const MANAGEMENT: &str = "111122223333";
    const MEMBER: &str = "222233334444";

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn trail(name: &str, organization: bool) -> TrailSnapshot {
        TrailSnapshot {
            arn: format!("arn:aws:cloudtrail:eu-central-1:{MANAGEMENT}:trail/{name}"),
            name: name.to_owned(),
            home_region: None,
            multi_region: true,
            organization,
            log_file_validation: true,
            bucket: None,
            key_prefix: None,
            kms_key: None,
            status: Observed::NotApplicable,
            selectors: Observed::NotApplicable,
        }
    }

    fn place(account: &str, region: &str) -> AccountRegionSnapshot {
        AccountRegionSnapshot {
            account: account.parse().unwrap(),
            region: region.parse().unwrap(),
            partition: "aws".to_owned(),
            read_at: at("2026-03-01T12:00:00Z"),
            keys: Observed::Known(3),
            custom_key_stores: Observed::NotApplicable,
            trails: Observed::Known(vec![trail("organization", true), trail("own", false)]),
            config: Observed::NotApplicable,
            opinions: Observed::NotApplicable,
            log_checks: std::collections::BTreeMap::new(),
            gaps: vec![gap("kms:ListGrants"), gap("cloudtrail:DescribeTrails")],
        }
    }

    fn gap(api: &str) -> Gap {
        Gap { api: api.to_owned(), result: ReadingResult::Denied }
    }

    fn auditor(places: Vec<AccountRegionSnapshot>) -> Auditor {
        let mut auditor = Auditor::new(standards(&Config::default()).unwrap(), AccountScope::default());
        let kept = super::super::Kept { regions: places, ..super::super::Kept::default() };
        auditor.restore(kept, at("2026-03-01T12:00:00Z"));
        auditor
    }

    fn event(name: &str, request: &Value, error: Option<&str>) -> EventRecord {
        EventRecord::new(json!({
            "eventID": "1", "eventName": name, "eventSource": "cloudtrail.amazonaws.com",
            "eventTime": "2026-03-01T12:00:00Z", "recipientAccountId": MANAGEMENT,
            "requestParameters": request, "errorCode": error,
        }))
        .unwrap()
    }

    #[test]
    fn a_change_of_the_organizations_trail_concerns_every_account() {
        let auditor = auditor(vec![place(MANAGEMENT, "eu-central-1"), place(MEMBER, "eu-central-1")]);
        let accounts = |name, request, error| {
            let accounts = auditor.accounts_of_changed_trail(&event(name, &request, error));
            accounts.into_iter().map(|account| account.to_string()).collect::<Vec<_>>()
        };
        let arn = trail("organization", true).arn;
        assert_eq!(accounts("StopLogging", json!({ "name": arn }), None), [MANAGEMENT, MEMBER]);
        assert_eq!(
            accounts("PutEventSelectors", json!({ "trailName": "organization" }), None),
            [MANAGEMENT, MEMBER]
        );
        assert_eq!(accounts("StopLogging", json!({ "name": "own" }), None), [MANAGEMENT]);
        let founded = json!({ "name": "new", "isOrganizationTrail": true });
        assert_eq!(accounts("CreateTrail", founded, None), [MANAGEMENT, MEMBER]);
        assert_eq!(accounts("StopLogging", json!({ "name": arn }), Some("AccessDenied")), [""; 0]);
        assert_eq!(accounts("LookupEvents", json!({}), None), [""; 0]);
    }

    #[test]
    fn trails_that_were_read_again_replace_the_trails_and_their_gaps_only() {
        let auditor = auditor(vec![place(MEMBER, "eu-central-1")]);
        let (account, region) = (MEMBER.parse().unwrap(), "eu-central-1".parse().unwrap());
        let now = at("2026-03-01T13:00:00Z");
        let reading = |api: &str, result| Reading {
            account: MEMBER.parse().unwrap(),
            region: Some("eu-central-1".parse().unwrap()),
            api: api.to_owned(),
            result,
            at: now,
            attempts: 1,
            failed: 0,
            detail: None,
        };
        let readings = vec![
            reading("cloudtrail:DescribeTrails", ReadingResult::Ok),
            reading("cloudtrail:GetTrailStatus", ReadingResult::Denied),
        ];
        let trails = Observed::Known(vec![trail("new", false)]);
        let batch = auditor.with_trails(&account, &region, trails.clone(), readings, now).unwrap();
        assert!(!batch.complete, "it says nothing of keys");
        let Snapshot::AccountRegion(snapshot) = &batch.snapshots[0] else { panic!("a key") };
        assert_eq!((&snapshot.trails, snapshot.read_at, &snapshot.keys), (&trails, now, &Observed::Known(3)));
        assert_eq!(snapshot.gaps, [gap("cloudtrail:GetTrailStatus"), gap("kms:ListGrants")]);
        let elsewhere = "us-east-1".parse().unwrap();
        assert!(auditor.with_trails(&account, &elsewhere, trails, Vec::new(), now).is_none());
    }
}
