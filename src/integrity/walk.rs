//! The walk along a chain of digests, from the newest to the oldest.

use chrono::{DateTime, TimeDelta, Utc};

use super::digest::{Digest, ListedLog, Previous};
use super::names::{DigestName, below_logs};
use super::report::{LogOutcome, Report, uri};
use super::signature::{PublicKeys, SignatureProblem};
use crate::model::{LogIssueKind as Kind, TrailSnapshot};

/// Log files of the last minutes of a time are digested in the next hour: names are listed so much further.
const SLACK: TimeDelta = TimeDelta::hours(1);
/// How much younger CloudTrail's last delivery of a digest may be than the newest that is there.
const DELIVERY_SLACK: TimeDelta = TimeDelta::hours(2);

/// What came of reading a digest file.
#[derive(Debug)]
pub enum Fetched {
    /// It was read.
    Digest(Box<Digest>, Signature),
    /// It is there, and is no digest; what is wrong with it.
    Malformed(String),
    /// It is not there.
    Missing,
    /// It could not be read, and why.
    Unread(String),
}

/// The signature that came with a digest file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signature {
    /// This, in hexadecimal.
    Given(String),
    /// None, where there has to be one: in the metadata of the object.
    Absent,
    /// None, since copies on disk have none. The next digest still tells it, but for the newest.
    NotKept,
}

/// What is known of the trail that delivers to the chain.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TrailState {
    /// It was not asked.
    #[default]
    Unknown,
    /// It logs, and has delivered its last digest at this time.
    Logging(Option<DateTime<Utc>>),
    /// It was stopped at this time.
    Stopped(Option<DateTime<Utc>>),
}

impl TrailState {
    /// What a trail says of itself.
    pub fn of(trail: &TrailSnapshot) -> Self {
        match trail.status.known() {
            None => Self::Unknown,
            Some(status) if status.logging => Self::Logging(status.latest_digest),
            Some(status) => Self::Stopped(status.stopped),
        }
    }
}

/// Which part of a chain is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Digests that end at this time or later.
    pub start: DateTime<Utc>,
    /// Digests that end by this time, and an hour more.
    pub end: DateTime<Utc>,
    /// Log files are read, and digests are counted, of digests that end after this time only: the others were
    /// looked at before.
    pub logs_after: Option<DateTime<Utc>>,
    /// The same of digests that end by this time only.
    pub logs_until: Option<DateTime<Utc>>,
    /// The time at which the newest digest has to end at least; none if none is due.
    pub due: Option<DateTime<Utc>>,
    /// The trail that delivers.
    pub trail: TrailState,
}

impl Window {
    /// A window in which everything is looked at.
    pub fn new(start: DateTime<Utc>, end: DateTime<Utc>) -> Self {
        Self { start, end, logs_after: None, logs_until: None, due: None, trail: TrailState::Unknown }
    }

    /// A window in which something stood in the way before.
    pub fn again(start: DateTime<Utc>, end: DateTime<Utc>) -> Self {
        Self { logs_until: Some(end), ..Self::new(start, end) }
    }

    /// Whether a digest's log files are read.
    fn is_new(&self, end: DateTime<Utc>) -> bool {
        self.logs_after.is_none_or(|after| end > after) && self.logs_until.is_none_or(|until| end <= until)
    }

    fn has(&self, end: DateTime<Utc>) -> bool {
        end >= self.start && self.end.checked_add_signed(SLACK).is_none_or(|limit| end <= limit)
    }
}

/// What the digest after one says of it.
#[derive(Debug)]
struct Expected {
    previous: Previous,
    start: DateTime<Utc>,
    by: String,
}

#[derive(Debug)]
struct Next {
    name: DigestName,
    key: String,
    expected: Option<Expected>,
}

/// A walk along one chain. Ask for the [next digest](Self::next), read it, [give](Self::give) what came of it,
/// read the log files that this names, and say what [came of them](Self::log); until there is no next one.
#[derive(Debug)]
pub struct Walk {
    window: Window,
    /// The bucket; none for a copy on disk, which may be of any.
    bucket: Option<String>,
    /// What is left of the listing, the newest last.
    listed: Vec<(DigestName, String)>,
    next: Option<Next>,
    relist: Option<(String, DigestName)>,
    report: Report,
}

impl Walk {
    /// A walk along the digests that a listing shows. Of the keys, those of one chain are given: one account,
    /// Region and trail, and either backfill or not. Without a bucket, it is a copy on disk.
    pub fn new(bucket: Option<String>, keys: Vec<String>, window: Window, report: Report) -> Self {
        let mut walk = Self { window, bucket, listed: Vec::new(), next: None, relist: None, report };
        walk.list(keys);
        walk.report.newest = walk.listed.last().map(|(name, _)| name.end);
        walk.look_at_the_end();
        walk.go_to_listed(None);
        walk
    }

    /// The bucket and key of the digest that is wanted next.
    pub fn next(&self) -> Option<(Option<&str>, &str)> {
        self.next.as_ref().map(|next| (self.bucket.as_deref(), next.key.as_str()))
    }

    /// A bucket that the chain has led to, and the digest in it: its listing is wanted before the next digest.
    pub fn wants_listing(&mut self) -> Option<(String, DigestName)> {
        self.relist.take()
    }

    /// Takes a listing of digests, in any order.
    pub fn list(&mut self, keys: Vec<String>) {
        let parsed = keys.into_iter().filter_map(|key| DigestName::parse(&key).map(|name| (name, key)));
        self.listed = parsed.filter(|(name, _)| self.window.has(name.end)).collect();
        self.listed.sort_by(|one, other| (one.0.end, &one.1).cmp(&(other.0.end, &other.1)));
    }

    /// What was found so far.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Takes what came of reading the next digest, and gives the log files that are to be read.
    pub fn give(&mut self, keys: &PublicKeys, fetched: Fetched) -> Vec<ListedLog> {
        let Some(next) = self.next.take() else { return Vec::new() };
        let object = uri(self.bucket.as_deref(), &next.key);
        let at = next.name.end;
        let problem = match fetched {
            Fetched::Digest(digest, signature) => match self.judge(keys, &next, &digest, &signature) {
                Ok(()) => return self.go_back(&next, *digest),
                Err((kind, why)) if signature == Signature::NotKept && next.expected.is_none() => {
                    // It vouches for nothing. The signature that it tells of the digest before it still verifies
                    // by itself, or does not.
                    self.report.push(kind, &object, at, why);
                    self.follow(&next, &digest, &object);
                    return Vec::new();
                }
                Err(problem) => problem,
            },
            Fetched::Malformed(why) => (Kind::DigestAltered, why),
            Fetched::Missing => (Kind::DigestMissing, missing(next.expected.as_ref())),
            Fetched::Unread(why) => (Kind::Unread, why),
        };
        self.go_to_listed(Some(at));
        let (kind, mut detail) = problem;
        if let Some(older) = self.next.as_ref().filter(|_| kind == Kind::DigestMissing) {
            // Of several that are gone in a row, the next one names only the newest.
            detail = format!("{detail}; the next older one that is there ends at {}", older.name.end);
        }
        self.report.push(kind, &object, at, detail);
        Vec::new()
    }

    /// Takes what came of reading a log file.
    pub fn log(&mut self, log: &ListedLog, outcome: LogOutcome) {
        let object = uri(self.bucket.as_ref().map(|_| log.bucket.as_str()), &log.object);
        let (kind, detail) = match outcome {
            LogOutcome::Read(hash) if hash == log.hash => {
                self.report.logs += 1;
                return;
            }
            LogOutcome::Read(hash) => {
                (Kind::LogAltered, format!("its SHA-256 is {hash}, and its digest says {}", log.hash))
            }
            LogOutcome::Malformed(why) => (Kind::LogAltered, why),
            LogOutcome::Missing => (Kind::LogMissing, String::new()),
            LogOutcome::Unread(why) => (Kind::Unread, why),
        };
        self.report.push(kind, &object, log.digest_end, detail);
    }

    /// Ends the walk before the start of its window is reached.
    pub fn give_up(&mut self, why: &str) {
        let Some(next) = self.next.take() else { return };
        let object = uri(self.bucket.as_deref(), &next.key);
        let span = (self.window.start.min(next.name.end), Some(next.name.end));
        self.report.push_span(Kind::Unread, &object, span, why);
    }

    /// What was found, once there is no next digest.
    pub fn finish(self) -> Report {
        self.report.sorted()
    }

    fn judge(
        &self,
        keys: &PublicKeys,
        next: &Next,
        digest: &Digest,
        signature: &Signature,
    ) -> Result<(), (Kind, String)> {
        let is_here = match &self.bucket {
            Some(bucket) => digest.bucket == *bucket && digest.object == next.key,
            None => below_logs(&digest.object) == below_logs(&next.key),
        };
        if !is_here {
            let there = uri(Some(&digest.bucket), &digest.object);
            return Err((Kind::DigestMoved, format!("it was delivered to {there}")));
        }
        let expected = next.expected.as_ref();
        if let Some(Expected { previous, by, .. }) = expected.filter(|next| next.previous.hash != digest.hash)
        {
            let detail = format!("its SHA-256 is {}, and {by} says {}", digest.hash, previous.hash);
            return Err((Kind::DigestAltered, detail));
        }
        let told = expected.map(|expected| expected.previous.signature.as_str());
        let signature = match (signature, told) {
            (Signature::Given(given), _) => given,
            (Signature::Absent | Signature::NotKept, Some(told)) => told,
            (Signature::Absent, None) => {
                return Err((Kind::DigestForged, "the object bears no signature".to_owned()));
            }
            (Signature::NotKept, None) => {
                let why = "a copy has no signature, and no digest after it tells it";
                return Err((Kind::Unread, why.to_owned()));
            }
        };
        keys.verify(digest, signature).map_err(|problem| match problem {
            SignatureProblem::Forged => {
                (Kind::DigestForged, format!("it does not verify by the key {}", digest.fingerprint))
            }
            SignatureProblem::UnknownKey => {
                let region = &next.name.region;
                (Kind::DigestKeyUnknown, format!("{region} has no key {}", digest.fingerprint))
            }
            SignatureProblem::KeysUnread(why) => (Kind::Unread, why),
        })?;
        if told.is_some_and(|told| !told.eq_ignore_ascii_case(signature)) {
            return Err((Kind::DigestAltered, "its signature is not what the next digest says".to_owned()));
        }
        Ok(())
    }

    /// From a digest that verified to the one before it.
    fn go_back(&mut self, next: &Next, digest: Digest) -> Vec<ListedLog> {
        let object = uri(self.bucket.as_deref(), &next.key);
        let is_new = self.window.is_new(next.name.end);
        if is_new {
            self.report.verified(digest.start, digest.end);
        }
        if let Some(after) = next.expected.as_ref().filter(|after| after.start > digest.end) {
            let span = (digest.end, Some(after.start));
            self.report.push_span(Kind::ChainGap, &object, span, format!("{} begins later", after.by));
        }
        self.follow(next, &digest, &object);
        if is_new { digest.logs } else { Vec::new() }
    }

    fn follow(&mut self, next: &Next, digest: &Digest, object: &str) {
        if digest.start < self.window.start {
            return;
        }
        match digest.previous.clone() {
            Some(previous) => self.go_to(previous, &digest.object, digest.start, next),
            None => self.start_of_chain(next, object, digest.start),
        }
    }

    fn go_to(&mut self, previous: Previous, by: &str, start: DateTime<Utc>, from: &Next) {
        let Some(name) = DigestName::parse(&previous.object).filter(|name| name.end < from.name.end) else {
            let object = uri(self.bucket.as_deref(), &from.key);
            let detail = format!("it names {} as the digest before it", previous.object);
            self.report.push(Kind::DigestAltered, &object, from.name.end, detail);
            return self.go_to_listed(Some(from.name.end));
        };
        if self.bucket.as_ref().is_some_and(|bucket| *bucket != previous.bucket) {
            self.bucket = Some(previous.bucket.clone());
            self.listed.clear();
            self.relist = Some((previous.bucket.clone(), name.clone()));
        }
        let key = previous.object.clone();
        self.pass_over(from, &name, &key);
        self.next = Some(Next { name, key, expected: Some(Expected { previous, start, by: by.to_owned() }) });
    }

    /// Digests between two that the chain joins belong to no chain.
    fn pass_over(&mut self, from: &Next, to: &DigestName, linked: &str) {
        while let Some((name, key)) = self.listed.pop_if(|(name, _)| name.end >= to.end) {
            let is_linked = below_logs(&key) == below_logs(linked);
            if !is_linked && name.end < from.name.end {
                let object = uri(self.bucket.as_deref(), &key);
                self.report.push(Kind::DigestUnlinked, &object, name.end, "");
            }
        }
    }

    fn start_of_chain(&mut self, next: &Next, object: &str, start: DateTime<Utc>) {
        self.go_to_listed(Some(next.name.end));
        let older = self.next.as_ref().map(|older| older.name.end);
        match older {
            None => self.report.push(Kind::ChainStart, object, start, ""),
            Some(older) => {
                let detail = "a new chain begins here; the one before it ended";
                self.report.push_span(Kind::ChainStopped, object, (older.min(start), Some(start)), detail);
            }
        }
    }

    /// To the newest listed digest that ends before a time.
    fn go_to_listed(&mut self, before: Option<DateTime<Utc>>) {
        while let Some((name, key)) = self.listed.pop() {
            if before.is_none_or(|before| name.end < before) {
                self.next = Some(Next { name, key, expected: None });
                return;
            }
        }
    }

    /// Whether the newest digest is as young as it should be. One that is missing at the end of a chain is named
    /// by no other; only the trail itself can tell of it.
    fn look_at_the_end(&mut self) {
        let (start, newest) = (self.window.start, self.listed.last());
        let end = newest.map_or(start, |(name, _)| name.end);
        let Some(due) = self.window.due.filter(|due| end < *due) else { return };
        let last = newest.map_or("no digest file", |(_, key)| key.as_str());
        let object = uri(self.bucket.as_deref(), last);
        let (kind, detail) = match self.window.trail {
            TrailState::Stopped(at) => (
                Kind::ChainStopped,
                at.map_or("the trail is stopped".to_owned(), |at| format!("the trail was stopped at {at}")),
            ),
            TrailState::Logging(Some(delivered)) if delivered - end > DELIVERY_SLACK => {
                (Kind::DigestMissing, format!("CloudTrail delivered one at {delivered}, and it is not there"))
            }
            TrailState::Logging(_) | TrailState::Unknown => {
                (Kind::ChainEnded, format!("a digest was due that ends at {due} or later"))
            }
        };
        self.report.push_span(kind, &object, (end, Some(self.window.end)), detail);
    }
}

fn missing(expected: Option<&Expected>) -> String {
    expected.map_or("it was listed, and is gone".to_owned(), |expected| format!("{} names it", expected.by))
}
