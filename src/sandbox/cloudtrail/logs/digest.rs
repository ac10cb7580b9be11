//! Digests: what says, signed and chained, which log files were delivered.

use std::collections::BTreeMap;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::{folder, note, put, stamp};
use crate::model::{AccountId, Region};
use crate::sandbox::World;
use crate::sandbox::cloudtrail::trails::TrailKey;
use crate::sandbox::ids::hex_of;

/// How many digests are made up for at once when the clock has leapt; the first of them covers the rest.
const MOST: i32 = 24;

/// What a digest says of a log file.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LogFile {
    pub(super) s3_bucket: String,
    pub(super) s3_object: String,
    pub(super) hash_value: String,
    pub(super) hash_algorithm: &'static str,
    pub(super) newest_event_time: Option<String>,
    pub(super) oldest_event_time: Option<String>,
    #[serde(skip)]
    pub(super) delivered: DateTime<Utc>,
}

/// What a digest says of the one before it.
#[derive(Debug, Clone)]
struct Previous {
    bucket: String,
    key: String,
    hash: String,
    signature: String,
}

/// The digests of one trail for one account's Region.
#[derive(Debug, Clone)]
pub(super) struct Chain {
    /// When the last digest ended, and the next one begins.
    end: DateTime<Utc>,
    files: Vec<LogFile>,
    previous: Option<Previous>,
}

impl Chain {
    pub(super) fn new(begun: DateTime<Utc>) -> Self {
        Self { end: begun.trunc_subsecs(0), files: Vec::new(), previous: None }
    }

    pub(super) fn add(&mut self, file: LogFile) {
        self.files.push(file);
    }
}

/// A digest file's content, in AWS's order.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Digest<'a> {
    aws_account_id: &'a str,
    digest_start_time: String,
    digest_end_time: String,
    digest_s3_bucket: &'a str,
    digest_s3_object: &'a str,
    digest_public_key_fingerprint: &'a str,
    digest_signature_algorithm: &'static str,
    newest_event_time: Option<&'a str>,
    oldest_event_time: Option<&'a str>,
    previous_digest_s3_bucket: Option<&'a str>,
    previous_digest_s3_object: Option<&'a str>,
    previous_digest_hash_value: Option<&'a str>,
    previous_digest_hash_algorithm: Option<&'static str>,
    previous_digest_signature: Option<&'a str>,
    log_files: &'a [LogFile],
}

/// Delivers the digests that are due.
pub(super) fn deliver_due(world: &mut World, now: DateTime<Utc>) {
    let interval = world.cloudtrail.logs.digest_interval.max(TimeDelta::seconds(1));
    let due = |chain: &Chain| chain.end + interval <= now;
    if !world.cloudtrail.trails.values().any(|trail| trail.shipping.chains.values().any(due)) {
        return;
    }
    for (key, at, mut end) in chains(world) {
        if now - end > interval * MOST {
            let whole = (now - end).num_seconds() / interval.num_seconds();
            let skipped = i32::try_from(whole).unwrap_or(i32::MAX).saturating_sub(MOST);
            end += interval * skipped;
        }
        while end + interval <= now {
            end += interval;
            deliver(world, &key, &at, end);
        }
    }
}

/// Delivers a digest of every chain, up to now; gives their keys.
pub fn digest_now(world: &mut World) -> Vec<String> {
    let now = world.now();
    let chains = chains(world);
    chains.iter().filter_map(|(key, at, _)| deliver(world, key, at, now)).collect()
}

/// Ends a trail's chains with a last digest each.
pub(super) fn end(world: &mut World, key: &TrailKey, now: DateTime<Utc>) {
    for (_, at, _) in chains(world).into_iter().filter(|(of, ..)| of == key) {
        deliver(world, key, &at, now);
    }
    if let Some(trail) = world.cloudtrail.trails.get_mut(key) {
        trail.shipping.chains.clear();
    }
}

/// Every chain with the end of its last digest.
fn chains(world: &World) -> Vec<(TrailKey, (Region, AccountId), DateTime<Utc>)> {
    let trails = world.cloudtrail.trails.iter();
    let chains = trails.flat_map(|(key, trail)| {
        trail.shipping.chains.iter().map(move |(at, chain)| (key.clone(), at.clone(), chain.end))
    });
    chains.collect()
}

/// Delivers the digest of what was delivered until a time, after the one before it.
fn deliver(
    world: &mut World,
    key: &TrailKey,
    at: &(Region, AccountId),
    until: DateTime<Utc>,
) -> Option<String> {
    let signer = world.cloudtrail.keys.signer(&at.0, world.clock.now())?;
    let trail = world.cloudtrail.trails.get(key).filter(|trail| trail.delivery_error.is_none())?;
    let chain = trail.shipping.chains.get(at)?;
    let mut end = until.trunc_subsecs(0);
    if chain.previous.is_some() {
        // Each has a name of its own, by the second.
        end = end.max(chain.end + TimeDelta::seconds(1));
    }
    let files: Vec<LogFile> = chain.files.iter().filter(|file| file.delivered <= until).cloned().collect();
    let (region, account) = at;
    let object = format!(
        "{}CloudTrail-Digest/{region}/{}/{account}_CloudTrail-Digest_{region}_{}_{}_{}.json.gz",
        folder(world, key, trail, account),
        end.format("%Y/%m/%d"),
        trail.name,
        trail.home,
        end.format("%Y%m%dT%H%M%SZ"),
    );
    let previous = chain.previous.as_ref();
    let bucket = trail.bucket().to_owned();
    let digest = Digest {
        aws_account_id: account.as_str(),
        digest_start_time: stamp(chain.end),
        digest_end_time: stamp(end),
        digest_s3_bucket: &bucket,
        digest_s3_object: &object,
        digest_public_key_fingerprint: signer.fingerprint(),
        digest_signature_algorithm: "SHA256withRSA",
        newest_event_time: files.iter().filter_map(|file| file.newest_event_time.as_deref()).max(),
        oldest_event_time: files.iter().filter_map(|file| file.oldest_event_time.as_deref()).min(),
        previous_digest_s3_bucket: previous.map(|previous| previous.bucket.as_str()),
        previous_digest_s3_object: previous.map(|previous| previous.key.as_str()),
        previous_digest_hash_value: previous.map(|previous| previous.hash.as_str()),
        previous_digest_hash_algorithm: previous.map(|_| "SHA-256"),
        previous_digest_signature: previous.map(|previous| previous.signature.as_str()),
        log_files: &files,
    };
    let text = serde_json::to_string(&digest).ok()?;
    let hash = hex_of(&Sha256::digest(&text));
    let before = previous.map_or("null", |previous| previous.signature.as_str());
    let signed = format!("{}\n{bucket}/{object}\n{hash}\n{before}", stamp(end));
    let signature = hex_of(&signer.sign(signed.as_bytes())?);
    let metadata = BTreeMap::from([
        ("signature".to_owned(), signature.clone()),
        ("signature-algorithm".to_owned(), "SHA256withRSA".to_owned()),
    ]);
    if !put(world, &bucket, &object, &text, metadata) {
        return None;
    }
    let previous = Previous { bucket, key: object.clone(), hash, signature };
    let chain = world.cloudtrail.trails.get_mut(key)?.shipping.chains.get_mut(at)?;
    chain.files.retain(|file| file.delivered > until);
    (chain.end, chain.previous) = (end, Some(previous));
    let now = world.now();
    note(world, key, |latest| latest.digest = Some(now));
    Some(object)
}
