//! Facts about one CloudTrail trail.

use super::Context;
use super::sheet::Sheet;
use crate::model::{AccountId, AccountRegionSnapshot, Facts, Region, Subject, SubjectKind, TrailSnapshot};

/// The facts about a trail as one account-Region shows it.
pub fn trail(trail: &TrailSnapshot, seen_in: &AccountRegionSnapshot, _context: &Context<'_>) -> Facts {
    let mut sheet = Sheet::default();
    sheet.put("trail.arn", trail.arn.as_str());
    sheet.put("trail.name", trail.name.as_str());
    sheet.put_some("trail.home_region", trail.home_region.as_ref().map(Region::as_str));
    sheet.put("trail.multi_region", trail.multi_region);
    sheet.put("trail.organization", trail.organization);
    sheet.put("trail.validation", trail.log_file_validation);
    sheet.put("trail.encrypted", trail.kms_key.is_some());
    sheet.put_some("trail.logging", trail.status.fact(|status| status.logging.into()));
    match trail.status.known() {
        Some(status) => sheet.put_some("trail.delivery_error", status.delivery_error.as_deref()),
        None => sheet.put_some("trail.delivery_error", trail.status.fact(|_| false.into())),
    }
    sheet.put_some("trail.kms_writes", trail.selectors.fact(|selectors| selectors.kms_writes.into()));
    sheet.put_some("trail.kms_reads", trail.selectors.fact(|selectors| selectors.kms_reads.into()));
    sheet.put_some("trail.kms_excluded", trail.selectors.fact(|selectors| selectors.kms_excluded.into()));
    let subject = Subject {
        kind: SubjectKind::Trail,
        id: trail.arn.clone(),
        account: owner(trail).unwrap_or_else(|| seen_in.account.clone()),
        region: trail.home_region.clone().or_else(|| Some(seen_in.region.clone())),
        key_set: None,
        key: None,
        boundary: None,
    };
    Facts { subject, root: sheet.finish() }
}

/// An organization's trail belongs to the management account, wherever it shows.
fn owner(trail: &TrailSnapshot) -> Option<AccountId> {
    trail.arn.split(':').nth(4)?.parse().ok()
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::fixtures::{World, at, gap, region_of, show};
    use super::*;
    use crate::model::{Observed, Selectors, TrailStatus};

    /// A running trail that records all of KMS.
    pub(in super::super) fn running(name: &str) -> TrailSnapshot {
        TrailSnapshot {
            arn: format!("arn:aws:cloudtrail:eu-central-1:999988887777:trail/{name}"),
            name: name.to_owned(),
            home_region: Some("eu-central-1".parse().unwrap()),
            multi_region: true,
            organization: true,
            log_file_validation: true,
            bucket: Some("logs".to_owned()),
            key_prefix: None,
            kms_key: None,
            logs: None,
            status: Observed::Known(TrailStatus {
                latest_delivery: Some(at("2026-03-01T11:55:00Z")),
                asked_at: Some(at("2026-03-01T12:00:00Z")),
                ..TrailStatus::new(true)
            }),
            selectors: Observed::Known(Selectors { kms_writes: true, kms_reads: true, kms_excluded: false }),
        }
    }

    #[test]
    fn a_trail_is_its_owner_s_wherever_it_shows() {
        let world = World::new();
        let facts = trail(&running("all"), &region_of("eu-west-1"), &world.context());
        assert_eq!(facts.subject.account.as_str(), "999988887777");
        assert_eq!(facts.subject.region.as_ref().unwrap().as_str(), "eu-central-1");
        for (path, value) in [
            ("trail.logging", "true"),
            ("trail.kms_writes", "true"),
            ("trail.encrypted", "false"),
            ("trail.delivery_error", "-"),
        ] {
            assert_eq!(show(&facts, path), value, "{path}");
        }
    }

    #[test]
    fn what_could_not_be_read_is_unknown() {
        let world = World::new();
        let mut blind = running("all");
        blind.status = gap("cloudtrail:GetTrailStatus");
        blind.selectors = gap("cloudtrail:GetEventSelectors");
        let facts = trail(&blind, &region_of("eu-west-1"), &world.context());
        assert_eq!(show(&facts, "trail.logging"), "?cloudtrail:GetTrailStatus denied");
        assert_eq!(show(&facts, "trail.delivery_error"), "?cloudtrail:GetTrailStatus denied");
        assert_eq!(show(&facts, "trail.kms_excluded"), "?cloudtrail:GetEventSelectors denied");
    }
}
