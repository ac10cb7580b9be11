//! Facts about one CloudTrail trail.

use chrono::SecondsFormat;

use super::Context;
use super::sheet::{Sheet, joined, time};
use crate::model::{
    AccountId, AccountRegionSnapshot, Fact, Facts, LogCheck, LogIssue, LogIssueKind, LogIssueNature,
    Observed, Region, Subject, SubjectKind, TrailSnapshot, TrailStatus,
};

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
    sheet.put_some("trail.delivery_age_secs", delivery_age(&trail.status));
    sheet.put_some("trail.kms_writes", trail.selectors.fact(|selectors| selectors.kms_writes.into()));
    sheet.put_some("trail.kms_reads", trail.selectors.fact(|selectors| selectors.kms_reads.into()));
    sheet.put_some("trail.kms_excluded", trail.selectors.fact(|selectors| selectors.kms_excluded.into()));
    if let Some(check) = seen_in.log_checks.get(&trail.arn) {
        logs(&mut sheet, check);
    }
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

/// How old the last delivery was when the trail was asked: between two readings it does not age.
fn delivery_age(status: &Observed<TrailStatus>) -> Option<Fact> {
    let Some(status) = status.known() else { return status.fact(|_| false.into()) };
    let age = status.asked_at? - status.latest_delivery?;
    Some(age.num_seconds().into())
}

/// Whether the log files are all there and unchanged. What could not be read may be missing or altered, too.
fn logs(sheet: &mut Sheet, check: &LogCheck) {
    sheet.put("trail.logs.checked", true);
    sheet.put("trail.logs.checked_at", time(&check.at));
    sheet.put_some("trail.logs.verified_to", check.to.as_ref().map(time));
    sheet.put("trail.logs.verified", count(check.logs));
    sheet.put("trail.digest_chain.verified", count(check.digests));
    let of = |is_one: fn(LogIssueKind) -> bool| check.issues.iter().filter(move |issue| is_one(issue.kind));
    let unread = of(|kind| kind == LogIssueKind::Unread).map(|issue| issue.detail.clone());
    let more = format!("{} more files are not verified", check.left_out);
    let unknown = joined(unread.chain((check.left_out > 0).then_some(more)));
    let mut put = |path: &str, found: Vec<String>| match (&unknown, found.is_empty()) {
        (Some(reason), true) => sheet.put_unknown(&[path], reason),
        _ => sheet.put_texts(path, found),
    };
    let objects = |is_one| of(is_one).map(|issue| issue.object.clone()).collect();
    put("trail.logs.missing", objects(|kind| kind == LogIssueKind::LogMissing));
    put("trail.logs.altered", objects(|kind| kind == LogIssueKind::LogAltered));
    let named = |issue: &LogIssue| format!("{} {}", issue.kind.as_str(), issue.object);
    put("trail.digest_chain.broken", of(is_broken).map(named).collect());
    let uncovered = |issue: &LogIssue| {
        let until = issue.until.unwrap_or(issue.at).to_rfc3339_opts(SecondsFormat::Secs, true);
        let from = issue.at.to_rfc3339_opts(SecondsFormat::Secs, true);
        format!("{} {} {}: {from} to {until}", issue.kind.as_str(), issue.account, issue.region)
    };
    let is_uncovered = |kind: LogIssueKind| kind.nature() == LogIssueNature::Uncovered;
    put("trail.digest_chain.uncovered", of(is_uncovered).map(uncovered).collect());
    sheet.put_texts("trail.logs.unread", of(|kind| kind == LogIssueKind::Unread).map(|issue| &issue.object));
}

fn is_broken(kind: LogIssueKind) -> bool {
    kind.nature() == LogIssueNature::Defect
        && !matches!(kind, LogIssueKind::LogMissing | LogIssueKind::LogAltered)
}

fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// An organization's trail belongs to the management account, wherever it shows.
fn owner(trail: &TrailSnapshot) -> Option<AccountId> {
    trail.arn.split(':').nth(4)?.parse().ok()
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::fixtures::{NOON, World, at, gap, region_of, show};
    use super::*;
    use crate::model::Selectors;

    /// What a look at a trail's logs found.
    pub(in super::super) fn check(found: &[(LogIssueKind, &str, &str)]) -> LogCheck {
        let issue = |(kind, object, detail): &(LogIssueKind, &str, &str)| LogIssue {
            at: at("2026-03-01T10:00:00Z"),
            kind: *kind,
            object: (*object).to_owned(),
            account: "111122223333".parse().unwrap(),
            region: "eu-west-1".parse().unwrap(),
            until: Some(at("2026-03-01T11:00:00Z")),
            detail: (*detail).to_owned(),
        };
        LogCheck {
            at: at(NOON),
            digests: 24,
            logs: 80,
            from: None,
            to: Some(at("2026-03-01T11:00:00Z")),
            issues: found.iter().map(issue).collect(),
            left_out: 0,
        }
    }

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

    fn checked(check: Option<LogCheck>) -> Facts {
        let world = World::new();
        let trail_there = running("all");
        let mut home = region_of("eu-central-1");
        home.log_checks.extend(check.map(|check| (trail_there.arn.clone(), check)));
        trail(&trail_there, &home, &world.context())
    }

    #[test]
    fn what_was_found_in_the_logs_is_told_apart() {
        use LogIssueKind::{ChainStopped, DigestForged, LogAltered, LogMissing, Unread};
        let facts = checked(Some(check(&[
            (LogMissing, "s3://b/1", ""),
            (DigestForged, "s3://b/2", ""),
            (ChainStopped, "s3://b/3", ""),
        ])));
        for (path, value) in [
            ("trail.logs.checked", "true"),
            ("trail.logs.missing", "s3://b/1"),
            ("trail.logs.altered", "-"),
            ("trail.digest_chain.broken", "digest-forged s3://b/2"),
            (
                "trail.digest_chain.uncovered",
                "chain-stopped 111122223333 eu-west-1: 2026-03-01T10:00:00Z to 2026-03-01T11:00:00Z",
            ),
            ("trail.delivery_age_secs", "300"),
        ] {
            assert_eq!(show(&facts, path), value, "{path}");
        }
        let denied = (Unread, "s3://b/4", "s3:GetObject denied");
        let facts = checked(Some(check(&[(LogAltered, "s3://b/1", ""), denied])));
        assert_eq!(show(&facts, "trail.logs.altered"), "s3://b/1", "what is known is known");
        assert_eq!(show(&facts, "trail.logs.missing"), "?s3:GetObject denied");
        assert_eq!(show(&facts, "trail.digest_chain.broken"), "?s3:GetObject denied");
        let more = LogCheck { left_out: 7, ..check(&[]) };
        assert_eq!(show(&checked(Some(more)), "trail.logs.missing"), "?7 more files are not verified");
        assert_eq!(show(&checked(None), "trail.logs.checked"), "-", "nobody looked");
    }
}
