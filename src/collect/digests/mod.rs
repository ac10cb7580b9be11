//! CloudTrail's digest and log files, read and verified: from a bucket, or from a copy of it on disk.

mod bucket;
mod disk;
mod keys;
mod verify;

use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};

use self::bucket::Bucket;
use self::disk::Disk;
use self::keys::KeyRing;
pub use self::keys::public_keys_in;
use self::verify::Verifier;
pub use self::verify::{Chain, Watch};
use super::Collector;
use super::outcome::Failure;
use super::readings::Readings;
use crate::clock;
use crate::integrity::{Fetched, ListedLog, LogOutcome, PublicKeys, Report, Window};
use crate::model::{AccountId, LogIssueKind, Reading, Region, TrailSnapshot};

/// The most that is read of a log file, uncompressed. CloudTrail's are 50 MB compressed at most.
const MAX_LOG: u64 = 16 << 30;
/// How old the newest digest may be at most: an hour that it covers, and two in which it is delivered.
const DUE_AFTER: TimeDelta = TimeDelta::hours(3);

/// Where digest and log files are.
#[derive(Debug)]
pub(crate) enum Shelf {
    Bucket(Box<Bucket>),
    Disk(Disk),
}

/// A digest file as it was read, and when it was made if that is long after what it digests.
pub(crate) struct Read {
    fetched: Fetched,
    generated: Option<DateTime<Utc>>,
}

impl Shelf {
    /// The bucket that the keys are of; none for a copy.
    fn bucket_name(&self) -> Option<&str> {
        match self {
            Self::Bucket(bucket) => Some(bucket.name()),
            Self::Disk(_) => None,
        }
    }

    /// The keys below a prefix, after a key, in order; as long as they are wanted.
    async fn list(
        &self,
        bucket: Option<&str>,
        prefix: &str,
        after: &str,
        wanted: impl Fn(&str) -> bool + Send,
    ) -> Result<Vec<String>, Failure> {
        match self {
            Self::Bucket(in_s3) => in_s3.list(bucket, prefix, after, wanted).await,
            Self::Disk(disk) => disk.list(prefix, after),
        }
    }

    /// The folders right below a prefix, each with its `/`.
    async fn folders(&self, prefix: &str) -> Result<Vec<String>, Failure> {
        match self {
            Self::Bucket(in_s3) => in_s3.folders(prefix).await,
            Self::Disk(disk) => disk.folders(prefix),
        }
    }

    async fn digest(&self, bucket: Option<&str>, key: &str) -> Read {
        match self {
            Self::Bucket(in_s3) => in_s3.digest(bucket, key).await,
            Self::Disk(disk) => Read { fetched: disk.digest(key).await, generated: None },
        }
    }

    async fn log(&self, log: &ListedLog) -> LogOutcome {
        match self {
            Self::Bucket(bucket) => bucket.log(log).await,
            Self::Disk(disk) => disk.log(log).await,
        }
    }
}

/// Where the files are that are to be verified.
#[derive(Debug, Clone, Copy)]
pub enum LogSource<'a> {
    /// A bucket, read with the credentials of an account, and its Region if nothing else is known.
    Bucket {
        /// Whose credentials.
        account: &'a AccountId,
        /// Where to ask first.
        region: &'a Region,
        /// The bucket.
        name: &'a str,
    },
    /// A copy of a bucket on disk.
    Disk(&'a Path),
}

/// Reads the logs of one source.
#[derive(Debug)]
pub struct LogReader<'a> {
    collector: &'a Collector,
    account: Option<AccountId>,
    shelf: Shelf,
    readings: std::sync::Arc<Readings>,
    given_keys: Option<PublicKeys>,
}

impl Collector {
    /// A reader of logs. Public keys that are given stand in for those of CloudTrail.
    ///
    /// # Errors
    /// If there are no credentials of the account.
    pub fn logs<'a>(
        &'a self,
        source: LogSource<'_>,
        given_keys: Option<PublicKeys>,
        own: Option<&AccountId>,
    ) -> Result<LogReader<'a>, String> {
        let readings = std::sync::Arc::new(Readings::default());
        let (files, account) = match source {
            LogSource::Bucket { account, region, name } => {
                let place = (account.clone(), region.clone());
                let in_s3 = Bucket::new(&self.clients, place, name, std::sync::Arc::clone(&readings));
                (Shelf::Bucket(Box::new(in_s3.map_err(|failure| why(&failure))?)), Some(account.clone()))
            }
            LogSource::Disk(path) => (Shelf::Disk(Disk::new(path)), own.cloned()),
        };
        Ok(LogReader { collector: self, account, shelf: files, readings, given_keys })
    }
}

impl LogReader<'_> {
    /// The chains below a prefix: one for each account, Region and trail. The prefix ends before `AWSLogs/`.
    ///
    /// # Errors
    /// If it could not be listed, and why.
    pub async fn chains(&self, prefix: &str) -> Result<Vec<Chain>, String> {
        verify::chains(&self.shelf, prefix).await.map_err(|failure| why(&failure))
    }

    /// Verifies what a window shows of a chain, its backfill digests too. On demand, the log files are listed as
    /// well, and those that no digest lists are named.
    ///
    /// # Errors
    /// If it could not be listed, and why.
    pub async fn verify(
        &self,
        chain: &Chain,
        window: Window,
        with_unlisted: bool,
        watch: &dyn Watch,
    ) -> Result<Report, String> {
        let mut keys = KeyRing::new(&self.collector.clients, self.account.as_ref(), chain, &self.readings);
        match &self.given_keys {
            Some(given) => keys.take(given.clone()),
            None => keys.read(window.start, window.end + TimeDelta::hours(2)).await,
        }
        let mut verifier = Verifier::new(&self.shelf, chain, watch);
        let mut report = verifier.verify(&mut keys, window).await.map_err(|failure| why(&failure))?;
        if with_unlisted && let Err(failure) = verifier.add_unlisted(&mut report).await {
            let object = format!("{}{}/CloudTrail/{}/", chain.root, chain.account, chain.region);
            report.push(LogIssueKind::Unread, &object, window.start, why(&failure));
        }
        Ok(report)
    }

    /// What was attempted so far.
    pub fn readings(&self) -> Vec<Reading> {
        self.readings.finish(clock::now())
    }
}

/// The time at which the newest digest has to end at least, so that none is overdue; none if none is due yet.
pub fn due(trail: Option<&TrailSnapshot>, end: DateTime<Utc>, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let due = (end - TimeDelta::hours(1)).min(now - DUE_AFTER);
    let started = trail.and_then(|trail| trail.status.known()).and_then(|status| status.started);
    started.is_none_or(|started| started + TimeDelta::hours(1) <= due).then_some(due)
}

/// A failure as the reason of what is not known.
fn why(failure: &Failure) -> String {
    format!("{} ({})", failure.gap(), failure.detail)
}
