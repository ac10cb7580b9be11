//! The names under which CloudTrail delivers digest and log files.

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};

use crate::model::{AccountId, Region};

/// The folders of what CloudTrail keeps beside the logs of events: digests of them, and insights into them.
pub const NO_EVENTS: [&str; 3] = ["CloudTrail-Digest", "CloudTrail-Insight", "CloudTrail-Aggregated"];

/// How times are written in the names of digest files.
const DIGEST_TIME: &str = "%Y%m%dT%H%M%SZ";

/// What the key of a digest file says:
/// `[prefix/]AWSLogs/[o-…/]ACCOUNT/CloudTrail-Digest/REGION/Y/M/D/ACCOUNT_CloudTrail-Digest_REGION_TRAIL_HOME_TIME[_backfill].json.gz`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DigestName {
    /// Everything before the account, such as `prefix/AWSLogs/o-abc/`.
    pub root: String,
    /// Whose log files it digests.
    pub account: AccountId,
    /// Where they were logged.
    pub region: Region,
    /// The trail.
    pub trail: String,
    /// Where the trail is managed.
    pub home: Region,
    /// The end of what it digests.
    pub end: DateTime<Utc>,
    /// Whether it was made later, for log files that had none; these are chains of their own.
    pub backfill: bool,
}

impl DigestName {
    /// What a key says; none if it is no digest file's.
    pub fn parse(key: &str) -> Option<Self> {
        let place = Place::parse(key, "CloudTrail-Digest")?;
        let name = place.file.strip_suffix(".json.gz")?;
        let (name, backfill) =
            name.strip_suffix("_backfill").map_or((name, false), |without| (without, true));
        let (name, end) = name.rsplit_once('_')?;
        let (name, home) = name.rsplit_once('_')?;
        let beginning = format!("{}_CloudTrail-Digest_{}_", place.account, place.region);
        let trail = name.strip_prefix(&beginning).filter(|trail| !trail.is_empty())?;
        Some(Self {
            trail: trail.to_owned(),
            home: home.parse().ok()?,
            end: NaiveDateTime::parse_from_str(end, DIGEST_TIME).ok()?.and_utc(),
            backfill,
            root: place.root.to_owned(),
            account: place.account,
            region: place.region,
        })
    }

    /// Where the digest files of an account and Region are.
    pub fn folder(root: &str, account: &AccountId, region: &Region) -> String {
        format!("{root}{account}/CloudTrail-Digest/{region}/")
    }

    /// The key that it has.
    pub fn key(&self) -> String {
        let Self { account, region, trail, home, end, .. } = self;
        let folder = Self::folder(&self.root, account, region);
        let (day, time) = (end.format("%Y/%m/%d"), end.format(DIGEST_TIME));
        let suffix = if self.backfill { "_backfill" } else { "" };
        format!("{folder}{day}/{account}_CloudTrail-Digest_{region}_{trail}_{home}_{time}{suffix}.json.gz")
    }
}

/// The key after which a listing begins that has to show every digest file from a time on, in the order of S3:
/// by day. A minute of slack makes the time inclusive.
pub fn list_from(root: &str, account: &AccountId, region: &Region, start: DateTime<Utc>) -> String {
    let from = start.checked_sub_signed(TimeDelta::minutes(1)).unwrap_or(start);
    format!("{}{}", DigestName::folder(root, account, region), from.format("%Y/%m/%d"))
}

/// What the key of a log file says:
/// `[prefix/]AWSLogs/[o-…/]ACCOUNT/CloudTrail/REGION/Y/M/D/ACCOUNT_CloudTrail_REGION_TIME_RANDOM.json.gz`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogName {
    /// Whose calls are in it.
    pub account: AccountId,
    /// Where they were logged.
    pub region: Region,
    /// About when it was delivered.
    pub delivered: DateTime<Utc>,
}

impl LogName {
    /// What a key says; none if it is no log file's.
    pub fn parse(key: &str) -> Option<Self> {
        let place = Place::parse(key, "CloudTrail")?;
        let name = place.file.strip_suffix(".json.gz")?;
        let (name, random) = name.rsplit_once('_')?;
        let (name, time) = name.rsplit_once('_')?;
        let is_log = name == format!("{}_CloudTrail_{}", place.account, place.region) && !random.is_empty();
        let delivered = NaiveDateTime::parse_from_str(time, "%Y%m%dT%H%MZ").ok()?.and_utc();
        is_log.then_some(Self { account: place.account, region: place.region, delivered })
    }
}

/// The folders of a key.
struct Place<'a> {
    root: &'a str,
    account: AccountId,
    region: Region,
    file: &'a str,
}

impl<'a> Place<'a> {
    fn parse(key: &'a str, kind: &str) -> Option<Self> {
        let mut parts = key.rsplit('/');
        let file = parts.next()?;
        for _ in 0..3 {
            let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            parts.next().filter(|part| is_number(part))?;
        }
        let region: Region = parts.next()?.parse().ok()?;
        parts.next().filter(|part| *part == kind)?;
        let account_text = parts.next()?;
        let account: AccountId = account_text.parse().ok()?;
        let marker = parts.next()?;
        if marker != "AWSLogs" && (!marker.starts_with("o-") || parts.next()? != "AWSLogs") {
            return None;
        }
        let root = key.get(..key.rfind(&format!("/{account_text}/{kind}/{region}/"))? + 1)?;
        Some(Self { root, account, region, file })
    }
}

/// Whether an object is in one of the folders that hold no events.
pub fn is_beside_events(key: &str) -> bool {
    let (folders, _) = key.rsplit_once('/').unwrap_or_default();
    folders.split('/').any(|folder| NO_EVENTS.contains(&folder))
}

/// A key without what comes before `AWSLogs/`: what a copy of a bucket may have lost, or be put below.
pub fn below_logs(key: &str) -> &str {
    let at = if key.starts_with("AWSLogs/") { Some(0) } else { key.find("/AWSLogs/").map(|at| at + 1) };
    at.and_then(|at| key.get(at..)).unwrap_or(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = "AWSLogs/111122223333/CloudTrail-Digest/eu-west-1/2026/03/01/\
        111122223333_CloudTrail-Digest_eu-west-1_main_eu-central-1_20260301T120000Z.json.gz";

    #[test]
    fn a_digest_s_key_tells_whose_it_is_and_back() {
        for (prefix, trail, suffix, backfill) in [
            ("AWSLogs/", "main", "", false),
            ("a/b/AWSLogs/o-abc123/", "with_under_score", "_backfill", true),
        ] {
            let key = format!(
                "{prefix}111122223333/CloudTrail-Digest/eu-west-1/2026/03/01/\
                 111122223333_CloudTrail-Digest_eu-west-1_{trail}_eu-central-1_20260301T120000Z{suffix}.json.gz"
            );
            let name = DigestName::parse(&key).unwrap();
            assert_eq!((name.root.as_str(), name.trail.as_str(), name.backfill), (prefix, trail, backfill));
            assert_eq!(name.end, "2026-03-01T12:00:00Z".parse::<DateTime<Utc>>().unwrap());
            assert_eq!((name.region.as_str(), name.home.as_str()), ("eu-west-1", "eu-central-1"));
            assert_eq!(name.key(), key);
        }
    }

    #[test]
    fn a_prefix_may_look_like_the_folders_behind_it() {
        let key = format!("copies/AWSLogs/111122223333/CloudTrail-Digest/eu-west-1/{PLAIN}");
        let name = DigestName::parse(&key).unwrap();
        assert_eq!(name.root, "copies/AWSLogs/111122223333/CloudTrail-Digest/eu-west-1/AWSLogs/");
        assert_eq!(name.key(), key);
    }

    #[test]
    fn what_is_no_digest_file_is_none() {
        assert!(DigestName::parse(PLAIN).is_some());
        for (from, to) in [
            ("AWSLogs", "Logs"),
            ("CloudTrail-Digest/", "CloudTrail/"),
            ("/111122223333/", "/999922223333/"),
            ("T120000Z", "T1200Z"),
            ("_main_", "__"),
            (".json.gz", ".json"),
            ("2026/03/01", "2026/03"),
        ] {
            assert_eq!(DigestName::parse(&PLAIN.replace(from, to)), None, "{to}");
        }
        assert_eq!(DigestName::parse(""), None);
    }

    #[test]
    fn a_log_s_key_tells_when_it_was_delivered() {
        let key = "p/AWSLogs/o-a/111122223333/CloudTrail/eu-west-1/2026/03/01/\
                   111122223333_CloudTrail_eu-west-1_20260301T1155Z_AbCdEfGhIjKlMnOp.json.gz";
        let name = LogName::parse(key).unwrap();
        assert_eq!(name.delivered, "2026-03-01T11:55:00Z".parse::<DateTime<Utc>>().unwrap());
        assert_eq!(LogName::parse(PLAIN), None);
        assert_eq!(below_logs(key).split('/').next(), Some("AWSLogs"));
        assert_eq!(below_logs(PLAIN), PLAIN);
    }

    #[test]
    fn a_listing_begins_before_the_first_digest_that_counts() {
        let first = DigestName::parse(PLAIN).unwrap();
        let from = list_from(&first.root, &first.account, &first.region, first.end);
        assert!(from.as_str() < PLAIN && PLAIN.starts_with(&from), "{from}");
        let midnight = "2026-03-01T00:00:30Z".parse().unwrap();
        let from = list_from(&first.root, &first.account, &first.region, midnight);
        assert!(from.ends_with("/2026/02/28"), "{from}");
    }
}
