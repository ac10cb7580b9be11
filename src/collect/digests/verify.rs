//! The loop that reads what a walk along a chain asks for.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use futures::{StreamExt, stream};

use super::Shelf;
use super::keys::KeyRing;
use crate::collect::outcome::Failure;
use crate::integrity::{
    DigestName, Fetched, ListedLog, LogName, LogOutcome, Report, Walk, Window, below_logs, list_from,
};
use crate::model::{AccountId, LogIssueKind, Region};

/// Log files that are read at the same time.
const LOGS_AT_ONCE: usize = 8;
/// After so many files that could not be read, the rest is not tried.
const PATIENCE: usize = 150;
/// What was delivered so near to the end of a digest may be listed by the one next to it.
const EDGE: TimeDelta = TimeDelta::hours(1);

/// Which digests belong together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Chain {
    /// Everything of the keys before the account, such as `prefix/AWSLogs/o-abc/`.
    pub root: String,
    /// Whose log files.
    pub account: AccountId,
    /// Where they were logged.
    pub region: Region,
    /// The trail.
    pub trail: String,
    /// Where it is managed.
    pub home: Region,
}

impl Chain {
    fn of(name: DigestName) -> Self {
        let DigestName { root, account, region, trail, home, .. } = name;
        Self { root, account, region, trail, home }
    }

    fn has(&self, name: &DigestName) -> bool {
        let Self { root: _, account, region, trail, home } = self;
        name.account == *account && name.region == *region && name.trail == *trail && name.home == *home
    }
}

/// Told how a verification goes on.
pub trait Watch: Send + Sync {
    /// A digest was taken.
    fn digest(&self) {}
    /// A log file was taken.
    fn log(&self, _key: &str) {}
}

/// Nobody watches.
impl Watch for () {}

/// The chains that there are below a prefix, found by its folders and the first digests in them.
pub(super) async fn chains(shelf: &Shelf, prefix: &str) -> Result<Vec<Chain>, Failure> {
    let logs = format!("{prefix}AWSLogs/");
    let mut roots = Vec::new();
    for folder in shelf.folders(&logs).await? {
        let name = last(&folder).to_owned();
        if name.starts_with("o-") {
            roots.extend(shelf.folders(&folder).await?);
        } else {
            roots.push(folder);
        }
    }
    let mut found = BTreeSet::new();
    for account in roots.iter().filter(|folder| last(folder).parse::<AccountId>().is_ok()) {
        for region in shelf.folders(&format!("{account}CloudTrail-Digest/")).await? {
            found.extend(chains_of(shelf, &region).await?);
        }
    }
    Ok(found.into_iter().collect())
}

/// The chains of one account and Region: those of the newest day that has any, since a trail delivers hourly.
async fn chains_of(shelf: &Shelf, region: &str) -> Result<BTreeSet<Chain>, Failure> {
    let mut folders = vec![region.to_owned()];
    // Year, month, day: the newest of each first; an empty one on the way gives way to the next.
    for _ in 0..3 {
        let mut below = Vec::new();
        for folder in &folders {
            below.extend(shelf.folders(folder).await?);
        }
        below.sort();
        folders = below.split_off(below.len().saturating_sub(2));
    }
    let mut chains = BTreeSet::new();
    for folder in folders {
        let keys = shelf.list(shelf.bucket_name(), &folder, "", |_| true).await?;
        chains.extend(keys.iter().filter_map(|key| DigestName::parse(key)).map(Chain::of));
    }
    Ok(chains)
}

fn last(folder: &str) -> &str {
    folder.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
}

/// One look at one chain.
pub(super) struct Verifier<'a> {
    pub(super) shelf: &'a Shelf,
    pub(super) chain: &'a Chain,
    pub(super) watch: &'a dyn Watch,
    /// The log files that digests listed.
    listed: BTreeSet<String>,
}

impl<'a> Verifier<'a> {
    pub(super) fn new(shelf: &'a Shelf, chain: &'a Chain, watch: &'a dyn Watch) -> Self {
        Self { shelf, chain, watch, listed: BTreeSet::new() }
    }

    /// The standard digests of the chain and its backfill digests, both along their own links.
    pub(super) async fn verify(&mut self, keys: &mut KeyRing<'_>, window: Window) -> Result<Report, Failure> {
        let bucket = self.shelf.bucket_name().map(str::to_owned);
        let is_backfill = |key: &String| DigestName::parse(key).is_some_and(|name| name.backfill);
        let all = self.list(bucket.as_deref(), &self.chain.root, window).await?;
        let (backfill, standard): (Vec<String>, Vec<String>) = all.into_iter().partition(is_backfill);
        let new_walk = |keys, window| {
            let report = Report::new(self.chain.account.clone(), self.chain.region.clone());
            Walk::new(bucket.clone(), keys, window, report)
        };
        let (first, second) = (new_walk(standard, window), Window { due: None, ..window });
        let second = (!backfill.is_empty()).then(|| new_walk(backfill, second));
        let mut report = self.walk(keys, window, first).await?;
        if let Some(second) = second {
            report.absorb(self.walk(keys, window, second).await?);
        }
        Ok(report.sorted())
    }

    /// Adds to a report the log files in its time that no digest lists, which its verification went through. What
    /// was delivered near the ends may be another digest's.
    pub(super) async fn add_unlisted(&self, report: &mut Report) -> Result<(), Failure> {
        let (Some(from), Some(to)) = (report.from, report.to) else { return Ok(()) };
        let (from, to) = (from + EDGE, to - EDGE);
        let bucket = self.shelf.bucket_name();
        for key in log_keys(self.shelf, self.chain, from, to).await? {
            if !self.listed.contains(below_logs(&key)) {
                let at = LogName::parse(&key).map_or(from, |name| name.delivered);
                let object = bucket.map_or_else(|| key.clone(), |bucket| format!("s3://{bucket}/{key}"));
                report.push(LogIssueKind::LogUnlisted, &object, at, "");
            }
        }
        Ok(())
    }

    async fn list(&self, bucket: Option<&str>, root: &str, window: Window) -> Result<Vec<String>, Failure> {
        let Chain { account, region, .. } = self.chain;
        let folder = DigestName::folder(root, account, region);
        let after = list_from(root, account, region, window.start);
        // Keys come in the order of days; of one day, those of other trails may come between.
        let limit = list_from(root, account, region, window.end + TimeDelta::days(2));
        let mut keys = self.shelf.list(bucket, &folder, &after, |key| key < limit.as_str()).await?;
        keys.retain(|key| DigestName::parse(key).is_some_and(|name| self.chain.has(&name)));
        Ok(keys)
    }

    async fn walk(
        &mut self,
        keys: &mut KeyRing<'_>,
        window: Window,
        mut walk: Walk,
    ) -> Result<Report, Failure> {
        while let Some((bucket, key)) = walk.next() {
            let (bucket, key) = (bucket.map(str::to_owned), key.to_owned());
            let read = self.shelf.digest(bucket.as_deref(), &key).await;
            if let (Fetched::Digest(digest, _), Some(made)) = (&read.fetched, read.generated) {
                keys.read_around(&digest.fingerprint, made).await;
            }
            let logs = walk.give(keys.keys(), read.fetched);
            self.watch.digest();
            self.listed.extend(logs.iter().map(|log| below_logs(&log.object).to_owned()));
            self.read_logs(logs, &mut walk).await;
            if let Some((bucket, name)) = walk.wants_listing() {
                walk.list(self.list(Some(&bucket), &name.root, window).await?);
            }
            if walk.report().unread() > PATIENCE {
                walk.give_up("too many files before it could not be read, and this was not tried");
            }
        }
        Ok(walk.finish())
    }

    async fn read_logs(&self, logs: Vec<ListedLog>, walk: &mut Walk) {
        let read: Vec<_> = logs.into_iter().map(|log| self.read_log(log)).collect();
        let mut read = stream::iter(read).buffer_unordered(LOGS_AT_ONCE);
        while let Some((log, outcome)) = read.next().await {
            walk.log(&log, outcome);
        }
    }

    async fn read_log(&self, log: ListedLog) -> (ListedLog, LogOutcome) {
        let outcome = self.shelf.log(&log).await;
        self.watch.log(&log.object);
        (log, outcome)
    }
}

/// The log files of a time, by the times in their names.
async fn log_keys(
    shelf: &Shelf,
    chain: &Chain,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> Result<Vec<String>, Failure> {
    let folder = format!("{}{}/CloudTrail/{}/", chain.root, chain.account, chain.region);
    let after = format!("{folder}{}", from.format("%Y/%m/%d"));
    let limit = format!("{folder}{}", (to + TimeDelta::days(1)).format("%Y/%m/%d"));
    let mut keys = shelf.list(shelf.bucket_name(), &folder, &after, |key| key < limit.as_str()).await?;
    let is_within = |name: LogName| name.delivered >= from && name.delivered <= to;
    keys.retain(|key| LogName::parse(key).is_some_and(is_within));
    Ok(keys)
}
