//! Facts about one Region of one account.

use super::Context;
use super::estate::Estate;
use super::key::{count, metadata};
use super::residency::country;
use super::sheet::{Known, Sheet, joined, observed};
use crate::model::{
    AccountRegionSnapshot, ConfigPosture, Country, Facts, Observed, Region, Selectors, Subject, SubjectKind,
    TrailSnapshot,
};

/// Whether a Region's name stands for an account as a whole: `aws-global`, `aws-cn-global`.
pub fn is_whole_account(region: &Region) -> bool {
    region.as_str().ends_with("-global")
}

/// The facts about one Region of one account.
pub fn account_region(place: &AccountRegionSnapshot, estate: &Estate, context: &Context<'_>) -> Facts {
    let mut sheet = Sheet::default();
    sheet.put("account_region.account", place.account.as_str());
    sheet.put("account_region.region", place.region.as_str());
    if !is_whole_account(&place.region) {
        let country = country(&place.region, context).map(Country::as_str);
        sheet.put_known("account_region.country", country);
    }
    sheet.put_texts("account_region.gaps", &place.gaps);
    keys(&mut sheet, place, estate);
    config(&mut sheet, &place.config);
    trails(&mut sheet, place);
    let subject = Subject {
        kind: SubjectKind::AccountRegion,
        id: format!("{}/{}", place.account, place.region),
        account: place.account.clone(),
        region: Some(place.region.clone()),
        key_set: None,
        key: None,
        boundary: None,
    };
    Facts { subject, root: sheet.finish() }
}

fn keys(sheet: &mut Sheet, place: &AccountRegionSnapshot, estate: &Estate) {
    sheet.put("account_region.readable", place.keys.known().is_some());
    let number = place.keys.fact(|number| i64::try_from(*number).unwrap_or(i64::MAX).into());
    sheet.put_some("account_region.keys", number);
    match observed(&place.keys) {
        Some(Ok(_)) => sheet.put_known("account_region.customer_keys", customer_keys(place, estate)),
        Some(Err(reason)) => sheet.put_unknown(&["account_region.customer_keys"], &reason),
        None => {}
    }
}

fn customer_keys(place: &AccountRegionSnapshot, estate: &Estate) -> Known<i64> {
    let keys = || estate.keys_in(&place.account, &place.region);
    if let Some(reason) = joined(keys().filter_map(|key| metadata(key).err())) {
        return Err(reason);
    }
    let customer = keys().filter(|key| metadata(key).is_ok_and(|metadata| metadata.manager == "CUSTOMER"));
    Ok(count(customer.count()))
}

fn config(sheet: &mut Sheet, posture: &Observed<ConfigPosture>) {
    sheet.put_some("config.recorder", posture.fact(|posture| posture.recorder.into()));
    sheet.put_some("config.recording", posture.fact(|posture| posture.recording.into()));
    sheet.put_some("config.records_kms", posture.fact(|posture| posture.records_kms.into()));
    match observed(posture) {
        Some(Ok(posture)) => sheet.put_some("config.delivering", posture.delivering),
        Some(Err(reason)) => sheet.put_unknown(&["config.delivering"], &reason),
        None => {}
    }
}

fn trails(sheet: &mut Sheet, place: &AccountRegionSnapshot) {
    let trails = match observed(&place.trails) {
        None => return,
        Some(Ok(trails)) => trails,
        Some(Err(reason)) => {
            const PATHS: [&str; 5] = [
                "trails.count",
                "trails.kms_writes_logged",
                "trails.kms_reads_logged",
                "trails.excluding_kms",
                "trails.not_logging",
            ];
            return sheet.put_unknown(&PATHS, &reason);
        }
    };
    sheet.put("trails.count", count(trails.len()));
    sheet.put_known("trails.kms_writes_logged", any_logs(trails, |selectors| selectors.kms_writes));
    sheet.put_known("trails.kms_reads_logged", any_logs(trails, |selectors| selectors.kms_reads));
    let excluding = named(trails, |trail| Some(observed(&trail.selectors)?.map(|found| found.kms_excluded)));
    sheet.put_known_texts("trails.excluding_kms", excluding);
    let stopped = named(trails, |trail| Some(observed(&trail.status)?.map(|status| !status.logging)));
    sheet.put_known_texts("trails.not_logging", stopped);
}

/// Whether at least one trail that runs records this part of KMS: true if one is known to, false if all are known
/// not to, else unknown.
fn any_logs(trails: &[TrailSnapshot], records: impl Fn(&Selectors) -> bool) -> Known<bool> {
    let mut unknown = Vec::new();
    for trail in trails {
        let runs = observed(&trail.status).map_or(Ok(false), |status| status.map(|status| status.logging));
        let records = observed(&trail.selectors).map_or(Ok(false), |selectors| selectors.map(&records));
        match (runs, records) {
            (Ok(true), Ok(true)) => return Ok(true),
            (Ok(false), _) | (_, Ok(false)) => {}
            (runs, records) => unknown.extend(runs.err().into_iter().chain(records.err())),
        }
    }
    joined(unknown).map_or(Ok(false), Err)
}

/// The names of the trails of which something is true; unknown if that is known of none, and not of all.
fn named(
    trails: &[TrailSnapshot],
    is_true: impl Fn(&TrailSnapshot) -> Option<Known<bool>>,
) -> Known<Vec<&str>> {
    let mut names = Vec::new();
    let mut unknown = Vec::new();
    for trail in trails {
        match is_true(trail) {
            Some(Ok(true)) => names.push(trail.name.as_str()),
            Some(Err(reason)) => unknown.push(reason),
            Some(Ok(false)) | None => {}
        }
    }
    match joined(unknown) {
        Some(reason) if names.is_empty() => Err(reason),
        _ => Ok(names),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{World, gap, key, key_with, region_of, show};
    use super::super::trail::tests::running;
    use super::*;
    use crate::model::{Gap, ReadingResult, TrailStatus};

    fn judge(place: &AccountRegionSnapshot) -> Facts {
        account_region(place, &Estate::default(), &World::new().context())
    }

    fn with_trails(trails: Vec<TrailSnapshot>) -> Facts {
        let mut place = region_of("eu-central-1");
        place.trails = Observed::Known(trails);
        judge(&place)
    }

    fn changed(change: impl Fn(&mut TrailSnapshot)) -> TrailSnapshot {
        let mut trail = running("trail");
        change(&mut trail);
        trail
    }

    fn stopped() -> TrailSnapshot {
        let status = TrailStatus::new(false);
        changed(|trail| trail.status = Observed::Known(status.clone()))
    }

    fn excluding() -> TrailSnapshot {
        let selectors = Selectors { kms_writes: false, kms_reads: false, kms_excluded: true };
        changed(|trail| trail.selectors = Observed::Known(selectors))
    }

    fn unreadable() -> TrailSnapshot {
        changed(|trail| trail.selectors = gap("cloudtrail:GetEventSelectors"))
    }

    #[test]
    fn one_running_trail_that_records_kms_is_enough() {
        let logged = |trails| show(&with_trails(trails), "trails.kms_writes_logged");
        assert_eq!(logged(vec![running("shadow of an organization's")]), "true");
        assert_eq!(logged(vec![unreadable(), running("all")]), "true");
        assert_eq!(logged(vec![]), "false");
        assert_eq!(logged(vec![stopped(), excluding()]), "false");
        assert_eq!(logged(vec![excluding(), unreadable()]), "?cloudtrail:GetEventSelectors denied");
        let stopped_and_unreadable = changed(|trail| {
            *trail = stopped();
            trail.selectors = gap("cloudtrail:GetEventSelectors");
        });
        assert_eq!(logged(vec![stopped_and_unreadable]), "false");
    }

    #[test]
    fn uses_are_told_apart_from_changes() {
        let selectors = Selectors { kms_writes: true, kms_reads: false, kms_excluded: false };
        let facts = with_trails(vec![changed(|trail| trail.selectors = Observed::Known(selectors))]);
        assert_eq!(show(&facts, "trails.kms_writes_logged"), "true");
        assert_eq!(show(&facts, "trails.kms_reads_logged"), "false");
    }

    #[test]
    fn trails_are_named_by_what_is_wrong_with_them() {
        let facts = with_trails(vec![stopped(), excluding()]);
        assert_eq!(show(&facts, "trails.count"), "2");
        assert_eq!(show(&facts, "trails.excluding_kms"), "trail");
        assert_eq!(show(&facts, "trails.not_logging"), "trail");
        let blind = with_trails(vec![unreadable()]);
        assert!(show(&blind, "trails.excluding_kms").starts_with('?'));
        assert_eq!(show(&blind, "trails.not_logging"), "-");
    }

    #[test]
    fn trails_that_could_not_be_listed_are_not_absent() {
        let mut place = region_of("eu-central-1");
        place.trails = gap("cloudtrail:DescribeTrails");
        assert_eq!(show(&judge(&place), "trails.kms_writes_logged"), "?cloudtrail:DescribeTrails denied");
        assert_eq!(show(&judge(&place), "trails.count"), "?cloudtrail:DescribeTrails denied");
    }

    #[test]
    fn a_region_that_could_not_be_listed_is_not_readable_and_not_empty() {
        let mut place = region_of("eu-central-1");
        place.keys = gap("kms:ListKeys");
        place.gaps = vec![Gap { api: "kms:ListKeys".to_owned(), result: ReadingResult::Denied }];
        let facts = judge(&place);
        assert_eq!(show(&facts, "account_region.readable"), "false");
        assert_eq!(show(&facts, "account_region.keys"), "?kms:ListKeys denied");
        assert_eq!(show(&facts, "account_region.customer_keys"), "?kms:ListKeys denied");
        assert_eq!(show(&facts, "account_region.gaps"), "kms:ListKeys denied");
        assert_eq!(facts.subject.id, "111122223333/eu-central-1");
    }

    #[test]
    fn customer_keys_are_counted_apart_from_those_of_aws() {
        let world = World::new();
        let mut estate = Estate::default();
        estate.put_key(key("arn:aws:kms:eu-central-1:111122223333:key/a"));
        let aws = |metadata: &mut crate::model::KeyMetadata| metadata.manager = "AWS".to_owned();
        estate.put_key(key_with("arn:aws:kms:eu-central-1:111122223333:key/b", aws));
        estate.put_key(key("arn:aws:kms:eu-west-1:111122223333:key/c"));
        let place = region_of("eu-central-1");
        let show_count = |estate: &Estate| {
            show(&account_region(&place, estate, &world.context()), "account_region.customer_keys")
        };
        assert_eq!(show_count(&estate), "1");
        let mut unreadable = key("arn:aws:kms:eu-central-1:111122223333:key/d");
        unreadable.metadata = gap("kms:DescribeKey");
        estate.put_key(unreadable);
        assert_eq!(show_count(&estate), "?kms:DescribeKey denied");
    }

    #[test]
    fn the_account_as_a_whole_has_no_country() {
        assert_eq!(show(&judge(&region_of("aws-global")), "account_region.country"), "-");
        assert_eq!(show(&judge(&region_of("eu-central-1")), "account_region.country"), "DE");
    }

    #[test]
    fn a_recorder_that_has_not_delivered_yet_is_not_accused() {
        let mut place = region_of("eu-central-1");
        let posture = |delivering| ConfigPosture {
            recorder: true,
            recording: true,
            records_kms: false,
            last_status: None,
            delivering,
        };
        place.config = Observed::Known(posture(None));
        assert_eq!(show(&judge(&place), "config.delivering"), "-");
        assert_eq!(show(&judge(&place), "config.records_kms"), "false");
        place.config = Observed::Known(posture(Some(false)));
        assert_eq!(show(&judge(&place), "config.delivering"), "false");
        place.config = gap("config:DescribeConfigurationRecorders");
        assert!(show(&judge(&place), "config.delivering").starts_with('?'));
    }
}
