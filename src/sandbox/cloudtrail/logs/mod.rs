//! What trails deliver to their buckets: log files, notices of them, and digests that prove them.
//!
//! A trail whose bucket the sandbox does not have delivers nowhere, and says that all goes well.

mod digest;
mod keys;

use std::collections::{BTreeMap, VecDeque};
use std::io::Write;
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, SubsecRound, TimeDelta, Utc};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::trails::{Trail, TrailKey};
use super::{Membership, State, Written};
use crate::model::{AccountId, Region};
use crate::sandbox::ids::hex_of;
use crate::sandbox::s3::{self, Object};
use crate::sandbox::{World, events, sns};
use digest::{Chain, LogFile};

pub use digest::digest_now;
pub use keys::PublicKeys;

/// How trails deliver.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Logs {
    /// How often log files are delivered, by the sandbox's clock; about every five minutes on AWS.
    pub interval: TimeDelta,
    /// How often digests are; every hour on AWS.
    pub digest_interval: TimeDelta,
    /// Which share of the records, from 0 to 1, comes again in a later file under the same event id.
    pub repeats: f64,
    /// How many records a trail holds until it delivers them; the oldest of an account's Region give way.
    pub most_pending: usize,
}

impl Default for Logs {
    fn default() -> Self {
        Self {
            interval: TimeDelta::minutes(5),
            digest_interval: TimeDelta::hours(1),
            repeats: 0.0,
            most_pending: 200_000,
        }
    }
}

/// A record that is to be delivered.
#[derive(Debug, Clone)]
struct Pending {
    time: DateTime<Utc>,
    id: Arc<str>,
    record: Arc<str>,
    /// Whether it was delivered before.
    again: bool,
}

/// What a trail has to deliver, and has delivered.
#[derive(Debug, Clone, Default)]
pub(super) struct Shipping {
    /// Whether there is a bucket to deliver to.
    pub(super) real: bool,
    pending: BTreeMap<(Region, AccountId), VecDeque<Pending>>,
    chains: BTreeMap<(Region, AccountId), Chain>,
    /// The number of the interval that log files were last delivered in.
    interval: Option<i64>,
    pub(super) latest: Latest,
}

/// When something was last delivered, and what went wrong.
#[derive(Debug, Clone, Default)]
pub(super) struct Latest {
    pub(super) delivery: Option<DateTime<Utc>>,
    pub(super) error: Option<&'static str>,
    pub(super) notification: Option<DateTime<Utc>>,
    pub(super) notification_error: Option<&'static str>,
    pub(super) digest: Option<DateTime<Utc>>,
}

impl State {
    /// Whether records may have somewhere to go beside the event histories.
    pub(super) fn ships(&self) -> bool {
        self.trails.values().any(|trail| trail.logging)
    }

    /// As if the trails of an account had delivered everything until now: what is pending is dropped.
    pub fn settle(&mut self, account: &AccountId, now: DateTime<Utc>) {
        for ((owner, ..), trail) in &mut self.trails {
            if owner == account {
                (trail.shipping.interval, trail.shipping.real) = (None, false);
                trail.shipping.pending.clear();
                trail.shipping.latest.delivery = Some(now);
                trail.shipping.latest.digest = Some(now).filter(|_| trail.validation);
            }
        }
    }
}

/// Gives the records that were just written to the trails that log them, and to EventBridge where one does.
pub(super) fn distribute(world: &mut World) {
    for written in std::mem::take(&mut world.cloudtrail.written) {
        let membership = world.membership(&written.account);
        let most = world.cloudtrail.logs.most_pending;
        let mut logged = false;
        for (key, trail) in &mut world.cloudtrail.trails {
            if !trail.logging || !covers(key, trail, &written, membership.as_ref()) {
                continue;
            }
            logged = true;
            if trail.shipping.real && trail.selectors.admit(&written) {
                let at = (written.region.clone(), written.account.clone());
                let pending = trail.shipping.pending.entry(at).or_default();
                if pending.len() >= most {
                    pending.pop_front();
                }
                pending.push_back(Pending::of(&written));
            }
        }
        if logged {
            events::send(world, &written);
        }
    }
}

impl Pending {
    fn of(written: &Written) -> Self {
        let (id, record) = (Arc::clone(&written.id), Arc::clone(&written.record));
        Self { time: written.time, id, record, again: false }
    }
}

/// Whether a trail is there for what happens in an account's Region.
fn covers(
    (owner, home, _): &TrailKey,
    trail: &Trail,
    Written { account, region, .. }: &Written,
    membership: Option<&Membership>,
) -> bool {
    let by_organization =
        trail.scope.organization && membership.is_some_and(|membership| membership.management == *owner);
    (owner == account || by_organization) && (trail.scope.multi_region || home == region)
}

/// Delivers what is due by the sandbox's clock.
pub fn deliver_due(world: &mut World) {
    let now = world.now();
    refresh(world);
    let settings = world.cloudtrail.logs;
    let length = settings.interval.num_milliseconds().max(1);
    let number = now.timestamp_millis().div_euclid(length);
    let mut due = Vec::new();
    for (key, trail) in &mut world.cloudtrail.trails {
        let last = trail.shipping.interval.replace(number);
        if last.is_some_and(|last| last < number) && !trail.shipping.pending.is_empty() {
            due.push(key.clone());
        }
    }
    for key in due {
        deliver(world, &key, now);
    }
    digest::deliver_due(world, now);
}

/// Finds out which trails have a bucket, and ends what trails that log no more had begun.
pub(super) fn refresh(world: &mut World) {
    let mut ended = Vec::new();
    for (key, trail) in &mut world.cloudtrail.trails {
        trail.shipping.real |= world.s3.region_of(trail.bucket()).is_some();
        let open = !trail.shipping.chains.is_empty();
        if open && !(trail.logging && trail.validation)
            || !trail.logging && !trail.shipping.pending.is_empty()
        {
            ended.push(key.clone());
        }
    }
    let now = world.now();
    for key in ended {
        deliver(world, &key, now);
        digest::end(world, &key, now);
    }
}

/// Delivers everything that is pending; gives the keys of the log files.
pub fn deliver_now(world: &mut World) -> Vec<String> {
    refresh(world);
    let now = world.now();
    let trails: Vec<TrailKey> = world.cloudtrail.trails.keys().cloned().collect();
    trails.iter().flat_map(|key| deliver(world, key, now)).collect()
}

/// Delivers what is pending of one trail: a file for each account's Region, and a notice for each Region.
fn deliver(world: &mut World, key: &TrailKey, now: DateTime<Utc>) -> Vec<String> {
    let repeats = world.cloudtrail.logs.repeats;
    let Some(trail) = world.cloudtrail.trails.get_mut(key).filter(|trail| trail.delivery_error.is_none())
    else {
        return Vec::new();
    };
    let (bucket, topic) = (trail.bucket().to_owned(), trail.topic().map(str::to_owned));
    if world.s3.region_of(&bucket).is_none() {
        trail.shipping.latest.error = Some("NoSuchBucket").filter(|_| trail.shipping.real);
        return Vec::new();
    }
    let pending = std::mem::take(&mut trail.shipping.pending);
    let mut delivered: BTreeMap<Region, Vec<String>> = BTreeMap::new();
    for ((region, account), records) in pending {
        let object_key = object_key(world, key, &account, &region, now);
        let Some(file) = put_log(world, &bucket, &object_key, &records, now) else { continue };
        let again = records.into_iter().filter(|record| !record.again && comes_again(record, repeats));
        let again: VecDeque<Pending> = again.map(|record| Pending { again: true, ..record }).collect();
        if let Some(trail) = world.cloudtrail.trails.get_mut(key) {
            let at = (region.clone(), account);
            if trail.validation {
                let begun = trail.started.unwrap_or(now).max(now - world.cloudtrail.logs.digest_interval);
                trail.shipping.chains.entry(at.clone()).or_insert_with(|| Chain::new(begun)).add(file);
            }
            if !again.is_empty() {
                trail.shipping.pending.insert(at, again);
            }
        }
        delivered.entry(region).or_default().push(object_key);
    }
    if !delivered.is_empty() {
        note(world, key, |latest| (latest.delivery, latest.error) = (Some(now), None));
    }
    for keys in delivered.values().filter(|_| topic.is_some()) {
        notify(
            world,
            key,
            topic.as_deref().unwrap_or_default(),
            &json!({ "s3Bucket": bucket, "s3ObjectKey": keys }),
        );
    }
    delivered.into_values().flatten().collect()
}

fn note(world: &mut World, key: &TrailKey, what: impl FnOnce(&mut Latest)) {
    if let Some(trail) = world.cloudtrail.trails.get_mut(key) {
        what(&mut trail.shipping.latest);
    }
}

/// CloudTrail's own notice of log files.
fn notify(world: &mut World, key: &TrailKey, topic: &str, message: &Value) {
    let now = world.now();
    if sns::deliver(world, topic, None, message.to_string()) {
        note(world, key, |latest| (latest.notification, latest.notification_error) = (Some(now), None));
    } else {
        note(world, key, |latest| latest.notification_error = Some("NotFound"));
    }
}

/// `[prefix/]AWSLogs/[o-id/]ACCOUNT/`: where a trail keeps what is an account's.
fn folder(world: &World, (owner, ..): &TrailKey, trail: &Trail, account: &AccountId) -> String {
    let prefix = trail.prefix().map(|prefix| format!("{prefix}/")).unwrap_or_default();
    let organization = world.membership(owner).filter(|_| trail.scope.organization);
    let organization = organization.map(|membership| format!("{}/", membership.id)).unwrap_or_default();
    format!("{prefix}AWSLogs/{organization}{account}/")
}

fn object_key(
    world: &mut World,
    key: &TrailKey,
    account: &AccountId,
    region: &Region,
    now: DateTime<Utc>,
) -> String {
    let folder = match world.cloudtrail.trails.get(key) {
        Some(trail) => folder(world, key, trail, account),
        None => String::new(),
    };
    let (day, minute) = (now.format("%Y/%m/%d"), now.format("%Y%m%dT%H%MZ"));
    let random = world.cloudtrail.ids.upper(16);
    format!("{folder}CloudTrail/{region}/{day}/{account}_CloudTrail_{region}_{minute}_{random}.json.gz")
}

/// Puts a log file; gives what its digest says of it.
fn put_log(
    world: &mut World,
    bucket: &str,
    key: &str,
    records: &VecDeque<Pending>,
    now: DateTime<Utc>,
) -> Option<LogFile> {
    let texts: Vec<&str> = records.iter().map(|pending| &*pending.record).collect();
    let text = format!("{{\"Records\":[{}]}}", texts.join(","));
    let time = |time: Option<DateTime<Utc>>| time.map(stamp);
    let file = LogFile {
        s3_bucket: bucket.to_owned(),
        s3_object: key.to_owned(),
        hash_value: hex_of(&Sha256::digest(&text)),
        hash_algorithm: "SHA-256",
        newest_event_time: time(records.iter().map(|pending| pending.time).max()),
        oldest_event_time: time(records.iter().map(|pending| pending.time).min()),
        delivered: now,
    };
    put(world, bucket, key, &text, BTreeMap::new()).then_some(file)
}

/// Puts a compressed document into a bucket.
fn put(world: &mut World, bucket: &str, key: &str, text: &str, metadata: BTreeMap<String, String>) -> bool {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let compressed = encoder.write_all(text.as_bytes()).and_then(|()| encoder.finish());
    let Ok(compressed) = compressed else { return false };
    let object = Object::new(compressed, world.now());
    let object = object.with(metadata, Some("application/json"), Some("gzip"));
    s3::deliver(world, bucket, key, object)
}

/// A time to the second, as records and digests have it.
fn stamp(time: DateTime<Utc>) -> String {
    time.trunc_subsecs(0).to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn comes_again(pending: &Pending, share: f64) -> bool {
    let hash = Sha256::digest(format!("again {}", pending.id));
    let [first, second] = [0, 1].map(|at| hash.get(at).copied().map_or(0, u32::from));
    f64::from(first * 256 + second) / 65_536.0 < share
}
