//! Chains that CloudTrail would deliver, signed for real, and what becomes of them in a bucket.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::OnceLock;

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use chrono::{DateTime, TimeDelta, Utc};
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::model::{LogCheck, LogIssue, LogIssueKind as Kind, LogIssueNature};

const BUCKET: &str = "logs";
const FINGERPRINT: &str = "0123456789abcdef0123456789abcdef";

fn key_pair() -> &'static KeyPair {
    static KEY: OnceLock<KeyPair> = OnceLock::new();
    KEY.get_or_init(|| KeyPair::generate(KeySize::Rsa2048).unwrap())
}

pub(crate) fn public_key() -> Vec<u8> {
    key_pair().public_key().as_ref().to_vec()
}

fn keys() -> PublicKeys {
    let mut keys = PublicKeys::default();
    keys.insert(FINGERPRINT.to_owned(), &public_key()).unwrap();
    keys
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// The hour of 1 March 2026.
fn hour(hour: i64) -> DateTime<Utc> {
    at("2026-03-01T00:00:00Z") + TimeDelta::hours(hour)
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn inflate(bytes: &[u8]) -> Result<Inflated, String> {
    let mut inflater = Inflater::keeping(MAX_DIGEST);
    // In pieces, as they come from a bucket.
    bytes.chunks(7).try_for_each(|piece| inflater.push(piece))?;
    inflater.finish()
}

/// An object of the bucket.
#[derive(Debug, Clone)]
pub(crate) struct Object {
    pub(crate) bytes: Vec<u8>,
    pub(crate) signature: Option<String>,
}

/// A trail that delivers into a bucket.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    pub(crate) objects: BTreeMap<String, Object>,
    pub(crate) root: String,
    previous: Option<(String, String, Sha256, String)>,
    backfill: bool,
}

impl Delivery {
    pub(crate) fn new() -> Self {
        Self { objects: BTreeMap::new(), root: "AWSLogs/".to_owned(), previous: None, backfill: false }
    }

    pub(crate) fn name(&self, end: DateTime<Utc>) -> String {
        let name = DigestName {
            root: self.root.clone(),
            account: "111122223333".parse().unwrap(),
            region: "eu-west-1".parse().unwrap(),
            trail: "main".to_owned(),
            home: "eu-central-1".parse().unwrap(),
            end,
            backfill: self.backfill,
        };
        name.key()
    }

    pub(crate) fn log_name(&self, delivered: DateTime<Utc>, number: usize) -> String {
        format!(
            "{}111122223333/CloudTrail/eu-west-1/{}/111122223333_CloudTrail_eu-west-1_{}_{number:016}.json.gz",
            self.root,
            delivered.format("%Y/%m/%d"),
            delivered.format("%Y%m%dT%H%MZ")
        )
    }

    /// An hour with so many log files, and its digest.
    pub(crate) fn hour(&mut self, start: DateTime<Utc>, logs: usize) -> String {
        let end = start + TimeDelta::hours(1);
        let key = self.name(end);
        let mut listed = Vec::new();
        for number in 0..logs {
            let content = json!({ "Records": [{ "eventID": format!("{start}-{number}") }] }).to_string();
            let object = self.log_name(start + TimeDelta::minutes(5), number);
            listed.push(json!({
                "s3Bucket": BUCKET, "s3Object": object, "hashAlgorithm": "SHA-256",
                "hashValue": Sha256::of(content.as_bytes()).to_string(),
                "newestEventTime": start, "oldestEventTime": start,
            }));
            self.objects.insert(object, Object { bytes: gzip(content.as_bytes()), signature: None });
        }
        let (bucket, object, hash, signature) = match &self.previous {
            Some((bucket, object, hash, signature)) => {
                (json!(bucket), json!(object), json!(hash.to_string()), json!(signature))
            }
            None => (Value::Null, Value::Null, Value::Null, Value::Null),
        };
        let text = |time: DateTime<Utc>| time.format("%Y-%m-%dT%H:%M:%SZ").to_string();
        let content = json!({
            "awsAccountId": "111122223333", "digestStartTime": text(start), "digestEndTime": text(end),
            "digestS3Bucket": BUCKET, "digestS3Object": key, "digestPublicKeyFingerprint": FINGERPRINT,
            "digestSignatureAlgorithm": "SHA256withRSA", "newestEventTime": null, "oldestEventTime": null,
            "previousDigestS3Bucket": bucket, "previousDigestS3Object": object,
            "previousDigestHashValue": hash, "previousDigestHashAlgorithm": "SHA-256",
            "previousDigestSignature": signature, "logFiles": listed,
        });
        self.put_digest(&key, content.to_string().as_bytes());
        key
    }

    /// Signs a digest as CloudTrail does, and puts it.
    fn put_digest(&mut self, key: &str, content: &[u8]) {
        let digest = Digest::parse(content).unwrap();
        let mut signature = vec![0; key_pair().public_modulus_len()];
        let message = digest.signed.as_bytes();
        key_pair().sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).unwrap();
        let signature = hex::encode(signature);
        self.previous = Some((digest.bucket, digest.object, digest.hash, signature.clone()));
        self.objects.insert(key.to_owned(), Object { bytes: gzip(content), signature: Some(signature) });
    }

    /// The trail is stopped: what is delivered next begins a chain.
    pub(crate) fn stop(&mut self) {
        self.previous = None;
    }

    fn fetch(&self, key: &str, is_copy: bool) -> Fetched {
        let Some(object) = self.objects.get(key) else { return Fetched::Missing };
        let signature = match (&object.signature, is_copy) {
            (_, true) => Signature::NotKept,
            (Some(signature), false) => Signature::Given(signature.clone()),
            (None, false) => Signature::Absent,
        };
        let digest = inflate(&object.bytes).and_then(|inflated| Digest::parse(&inflated.content));
        digest.map_or_else(Fetched::Malformed, |digest| Fetched::Digest(Box::new(digest), signature))
    }

    fn outcome(&self, log: &ListedLog) -> LogOutcome {
        let Some(object) = self.objects.get(&log.object) else { return LogOutcome::Missing };
        inflate(&object.bytes).map_or_else(LogOutcome::Malformed, |inflated| LogOutcome::Read(inflated.hash))
    }

    fn walk_with(
        &self,
        bucket: Option<&str>,
        window: Window,
        keys: &PublicKeys,
        mut read: impl FnMut(&str, Fetched) -> Fetched,
    ) -> Report {
        let is_digest =
            |key: &String| DigestName::parse(key).is_some_and(|name| name.backfill == self.backfill);
        let listed = self.objects.keys().filter(|key| is_digest(key)).cloned().collect();
        let report = Report::new("111122223333".parse().unwrap(), "eu-west-1".parse().unwrap());
        let mut walk = Walk::new(bucket.map(str::to_owned), listed, window, report);
        while let Some((_, key)) = walk.next() {
            let key = key.to_owned();
            let fetched = read(&key, self.fetch(&key, bucket.is_none()));
            for log in walk.give(keys, fetched) {
                walk.log(&log, self.outcome(&log));
            }
        }
        walk.finish()
    }

    fn walk_in(&self, window: Window) -> Report {
        self.walk_with(Some(BUCKET), window, &keys(), |_, fetched| fetched)
    }

    fn walk(&self) -> Report {
        self.walk_in(Window::new(hour(0), hour(48)))
    }
}

/// Six hours of two log files each.
fn six_hours() -> Delivery {
    let mut delivery = Delivery::new();
    (0..6).for_each(|number| drop(delivery.hour(hour(number), 2)));
    delivery
}

/// What was found, but for the start of the chain.
fn found(report: &Report) -> Vec<(Kind, &str)> {
    let issues = report.issues.iter().filter(|issue| issue.kind != Kind::ChainStart);
    issues.map(|issue| (issue.kind, issue.object.as_str())).collect()
}

fn only(report: &Report) -> &LogIssue {
    let mut issues = report.issues.iter().filter(|issue| issue.kind != Kind::ChainStart);
    let only = issues.next().unwrap_or_else(|| panic!("nothing was found: {report:?}"));
    assert!(issues.next().is_none(), "{report:?}");
    only
}

#[test]
fn a_chain_that_nobody_touched_is_verified_to_its_start() {
    let report = six_hours().walk();
    assert_eq!(found(&report), []);
    assert_eq!((report.digests, report.logs), (6, 12));
    assert_eq!((report.from, report.to), (Some(hour(0)), Some(hour(6))));
    assert_eq!(report.issues[0].kind, Kind::ChainStart);
}

#[test]
fn hours_without_log_files_are_verified_too() {
    let mut delivery = Delivery::new();
    (0..3).for_each(|number| drop(delivery.hour(hour(number), 0)));
    let report = delivery.walk();
    assert_eq!((found(&report), report.digests, report.logs), (vec![], 3, 0));
}

#[test]
fn a_removed_log_file_is_missing() {
    let mut delivery = six_hours();
    let gone = delivery.log_name(hour(3) + TimeDelta::minutes(5), 1);
    delivery.objects.remove(&gone).unwrap();
    let report = delivery.walk();
    let issue = only(&report);
    assert_eq!((issue.kind, &issue.object), (Kind::LogMissing, &format!("s3://{BUCKET}/{gone}")));
    assert_eq!((issue.at, report.logs), (hour(4), 11));
}

#[test]
fn an_altered_log_file_is_altered_however_it_was_done() {
    let content = |delivery: &Delivery, name: &str| inflate(&delivery.objects[name].bytes).unwrap().content;
    let changes: [fn(Vec<u8>) -> Vec<u8>; 5] = [
        |mut content| {
            content[20] ^= 1;
            gzip(&content)
        },
        |content| gzip(&content[1..]),
        |content| [gzip(&content), gzip(b"{}")].concat(),
        |content| [gzip(&content), b"rest".to_vec()].concat(),
        |content| content,
    ];
    for change in changes {
        let mut delivery = six_hours();
        let name = delivery.log_name(hour(3) + TimeDelta::minutes(5), 0);
        let altered = change(content(&delivery, &name));
        delivery.objects.get_mut(&name).unwrap().bytes = altered;
        let report = delivery.walk();
        assert_eq!(only(&report).kind, Kind::LogAltered);
    }
}

#[test]
fn a_removed_digest_is_missing_and_what_is_older_is_still_verified() {
    let mut delivery = six_hours();
    let gone = delivery.name(hour(4));
    delivery.objects.remove(&gone).unwrap();
    let report = delivery.walk();
    let issue = only(&report);
    assert_eq!((issue.kind, &issue.object), (Kind::DigestMissing, &format!("s3://{BUCKET}/{gone}")));
    assert_eq!((issue.at, report.digests, report.logs), (hour(4), 5, 10));
}

#[test]
fn the_newest_digests_are_missed_by_what_cloudtrail_says_it_delivered() {
    let mut delivery = six_hours();
    for end in [5, 6] {
        delivery.objects.remove(&delivery.name(hour(end))).unwrap();
    }
    let window = |trail| Window { due: Some(hour(6)), trail, ..Window::new(hour(0), hour(8)) };
    for (trail, kind) in [
        (TrailState::Logging(Some(hour(7))), Kind::DigestMissing),
        (TrailState::Logging(None), Kind::ChainEnded),
        (TrailState::Unknown, Kind::ChainEnded),
        (TrailState::Stopped(Some(hour(4))), Kind::ChainStopped),
    ] {
        let report = delivery.walk_in(window(trail));
        assert_eq!((only(&report).kind, only(&report).at), (kind, hour(4)), "{trail:?}");
    }
    let whole = six_hours().walk_in(window(TrailState::Logging(Some(hour(7)))));
    assert_eq!(found(&whole), []);
}

#[test]
fn a_forged_signature_is_forged() {
    let mut delivery = six_hours();
    let key = delivery.name(hour(4));
    let forged = delivery.objects[&delivery.name(hour(5))].signature.clone();
    for signature in [forged, Some("00".to_owned()), Some("no hex".to_owned())] {
        delivery.objects.get_mut(&key).unwrap().signature = signature;
        let report = delivery.walk();
        assert_eq!(found(&report), [(Kind::DigestForged, format!("s3://{BUCKET}/{key}").as_str())]);
        assert_eq!(report.digests, 5, "its log files prove nothing, and the others are verified");
    }
}

#[test]
fn a_signature_that_was_removed_is_told_by_the_next_digest() {
    let mut delivery = six_hours();
    for end in [4, 6] {
        let key = delivery.name(hour(end));
        delivery.objects.get_mut(&key).unwrap().signature = None;
    }
    let report = delivery.walk();
    assert_eq!((only(&report).kind, only(&report).at), (Kind::DigestForged, hour(6)));
}

#[test]
fn an_altered_digest_is_altered() {
    let mut delivery = six_hours();
    let key = delivery.name(hour(4));
    let content = inflate(&delivery.objects[&key].bytes).unwrap().content;
    let mut value: Value = serde_json::from_slice(&content).unwrap();
    value["logFiles"] = json!([]);
    for bytes in [gzip(value.to_string().as_bytes()), gzip(b"{}"), content, Vec::new()] {
        delivery.objects.get_mut(&key).unwrap().bytes = bytes;
        let report = delivery.walk();
        assert_eq!((only(&report).kind, only(&report).at), (Kind::DigestAltered, hour(4)));
    }
}

#[test]
fn a_stopped_trail_is_told_from_a_removed_digest() {
    let mut delivery = six_hours();
    delivery.stop();
    (9..12).for_each(|number| drop(delivery.hour(hour(number), 1)));
    let report = delivery.walk();
    let issue = only(&report);
    assert_eq!((issue.kind, issue.at, issue.until), (Kind::ChainStopped, hour(6), Some(hour(9))));
    assert_eq!(issue.kind.nature(), LogIssueNature::Uncovered);
    assert_eq!((report.digests, report.logs), (9, 15), "both chains are verified");
}

#[test]
fn time_between_two_joined_digests_is_a_gap() {
    let mut delivery = six_hours();
    delivery.hour(hour(8), 1);
    let report = delivery.walk();
    assert_eq!((only(&report).kind, only(&report).at), (Kind::ChainGap, hour(6)));
    assert_eq!(only(&report).until, Some(hour(8)));
}

#[test]
fn a_key_that_cloudtrail_does_not_have_is_unknown_unless_the_keys_were_not_read() {
    let mut none = PublicKeys::default();
    let walk = |keys: &PublicKeys| {
        let window = Window::new(hour(0), hour(48));
        let report = six_hours().walk_with(Some(BUCKET), window, keys, |_, fetched| fetched);
        assert_eq!((report.digests, report.logs, report.issues.len()), (0, 0, 6));
        report.issues[0].kind
    };
    assert_eq!(walk(&none), Kind::DigestKeyUnknown);
    none.set_gap("cloudtrail:ListPublicKeys denied".to_owned());
    assert_eq!(walk(&none), Kind::Unread);
}

#[test]
fn both_encodings_of_a_key_are_taken_and_nothing_else() {
    let spki = key_pair().public_key().as_der().unwrap();
    let mut keys = PublicKeys::default();
    keys.insert(FINGERPRINT.to_owned(), spki.as_ref()).unwrap();
    let report = six_hours().walk_with(Some(BUCKET), Window::new(hour(0), hour(48)), &keys, |_, found| found);
    assert_eq!(report.digests, 6);
    assert!(keys.insert("a".to_owned(), b"no key").is_err());
}

#[test]
fn a_digest_that_lies_elsewhere_was_moved() {
    let mut delivery = six_hours();
    let object = delivery.objects[&delivery.name(hour(6))].clone();
    let elsewhere = delivery.name(hour(7));
    delivery.objects.insert(elsewhere.clone(), object);
    let report = delivery.walk();
    assert_eq!(found(&report), [(Kind::DigestMoved, format!("s3://{BUCKET}/{elsewhere}").as_str())]);
    let other =
        six_hours().walk_with(Some("other"), Window::new(hour(0), hour(48)), &keys(), |_, fetched| fetched);
    assert!(other.issues.iter().all(|issue| issue.kind == Kind::DigestMoved));
}

#[test]
fn backfill_digests_are_a_chain_of_their_own() {
    let mut delivery = six_hours();
    delivery.stop();
    delivery.backfill = true;
    (0..3).for_each(|number| drop(delivery.hour(hour(number), 1)));
    let report = delivery.walk();
    assert_eq!((found(&report), report.digests), (vec![], 3));
    delivery.backfill = false;
    let report = delivery.walk();
    assert_eq!((found(&report), report.digests), (vec![], 6));
}

#[test]
fn what_could_not_be_read_is_unknown_and_neither_a_defect_nor_fine() {
    let delivery = six_hours();
    let unread = delivery.name(hour(4));
    let window = Window::new(hour(0), hour(48));
    let report = delivery.walk_with(Some(BUCKET), window, &keys(), |key, fetched| {
        if key == unread { Fetched::Unread("s3:GetObject denied".to_owned()) } else { fetched }
    });
    assert_eq!((only(&report).kind, report.digests), (Kind::Unread, 5));
    assert!(!report.has(LogIssueNature::Defect) && report.has(LogIssueNature::Unread));
}

#[test]
fn a_copy_has_its_signatures_from_the_next_digest_and_the_newest_is_unknown() {
    let mut delivery = six_hours();
    let window = Window::new(hour(0), hour(48));
    let report = delivery.walk_with(None, window, &keys(), |_, fetched| fetched);
    assert_eq!((only(&report).kind, only(&report).at), (Kind::Unread, hour(6)));
    assert_eq!((report.digests, report.logs), (5, 10), "what it tells of the one before it is enough");
    delivery.objects.remove(&delivery.name(hour(3)));
    let report = delivery.walk_with(None, window, &keys(), |_, fetched| fetched);
    assert!(report.issues.iter().any(|issue| issue.kind == Kind::DigestMissing && issue.at == hour(3)));
}

#[test]
fn a_digest_that_the_chain_passes_over_is_shown() {
    let mut delivery = six_hours();
    let previous = delivery.previous.clone();
    let extra = delivery.hour(hour(6), 0);
    delivery.previous = previous;
    let start = hour(6) + TimeDelta::minutes(30);
    delivery.hour(start, 0);
    let report = delivery.walk();
    assert!(found(&report).contains(&(Kind::DigestUnlinked, format!("s3://{BUCKET}/{extra}").as_str())));
}

#[test]
fn what_was_verified_before_is_not_read_again_but_is_still_the_link() {
    let mut delivery = six_hours();
    let since = Window { logs_after: Some(hour(4)), ..Window::new(hour(4), hour(48)) };
    let report = delivery.walk_in(since);
    assert_eq!((found(&report), report.digests, report.logs), (vec![], 2, 4));
    delivery.objects.remove(&delivery.name(hour(4)));
    assert_eq!(only(&delivery.walk_in(since)).kind, Kind::DigestMissing);
}

#[test]
fn what_was_found_stays_until_it_verifies() {
    let (account, region) = ("111122223333".parse().unwrap(), "eu-west-1".parse().unwrap());
    let mut delivery = six_hours();
    let name = delivery.log_name(hour(2) + TimeDelta::minutes(5), 0);
    let gone = delivery.objects.remove(&name).unwrap();
    let look = |delivery: &Delivery, known: Option<&LogCheck>, from: DateTime<Utc>| {
        let again = spans_to_recheck(known, &account, &region, from);
        let rechecked =
            again.iter().flat_map(|(from, to)| delivery.walk_in(Window::again(*from, *to)).issues);
        let rechecked = rechecked.collect();
        let logs_after = known.map(|_| logs_after(known, &account, &region, from));
        let fresh = delivery.walk_in(Window { logs_after, ..Window::new(from, hour(48)) });
        let spans = again.into_iter().chain([(from, hour(48))]).collect();
        fold(known, Checked { fresh, spans, rechecked, at: hour(48) })
    };
    let (first, whole) = look(&delivery, None, hour(0));
    assert!(whole && first.issues.len() == 1, "{first:?}");
    let (at_cursor, _) = look(&delivery, Some(&first), hour(3));
    assert_eq!(at_cursor.issues, first.issues, "it is the newest that was looked at before");
    let (second, _) = look(&delivery, Some(&first), hour(6));
    assert_eq!(second.issues, first.issues, "the cursor has passed it, and it is still gone");
    assert_eq!((second.digests, second.logs), (6, 11), "nothing is counted twice");
    delivery.objects.insert(name, gone);
    let (third, _) = look(&delivery, Some(&second), hour(6));
    assert_eq!(third.issues, []);
}

#[test]
fn more_issues_than_are_kept_hold_the_cursor() {
    let mut delivery = Delivery::new();
    delivery.hour(hour(0), 300);
    delivery.objects.retain(|key, _| key.contains("Digest"));
    let fresh = delivery.walk();
    let (check, whole) =
        fold(None, Checked { fresh, spans: vec![(hour(0), hour(48))], rechecked: Vec::new(), at: hour(48) });
    assert_eq!((check.issues.len(), check.left_out, whole), (200, 100, false));
}

#[test]
fn a_digest_is_read_strictly() {
    let delivery = six_hours();
    let content = inflate(&delivery.objects[&delivery.name(hour(4))].bytes).unwrap().content;
    let good: Value = serde_json::from_slice(&content).unwrap();
    let names: Vec<String> = good.as_object().unwrap().keys().cloned().collect();
    for name in names {
        for wrong in [json!(7), json!([]), json!({}), json!("no")] {
            let mut bad = good.clone();
            bad[&name] = wrong;
            let parsed = Digest::parse(bad.to_string().as_bytes());
            let is_free = ["awsAccountId", "newestEventTime", "oldestEventTime"].contains(&name.as_str());
            let is_text = bad[&name].is_string()
                && [
                    "digestS3Bucket",
                    "digestS3Object",
                    "digestPublicKeyFingerprint",
                    "previousDigestS3Bucket",
                ]
                .iter()
                .chain(&["previousDigestS3Object", "previousDigestSignature"])
                .any(|text| *text == name);
            let is_list = name == "logFiles" && bad[&name].is_array();
            assert_eq!(parsed.is_ok(), is_free || is_text || is_list, "{name}: {parsed:?}");
        }
    }
    let twice = String::from_utf8(content).unwrap().replacen('{', "{\"digestS3Object\":\"x\",", 1);
    assert!(Digest::parse(twice.as_bytes()).unwrap_err().contains("duplicate field"));
    let problem = |change: fn(&mut Value)| {
        let mut bad = good.clone();
        change(&mut bad);
        Digest::parse(bad.to_string().as_bytes()).unwrap_err()
    };
    assert!(problem(|bad| bad["logFiles"][1]["hashValue"] = json!("xyz")).contains("logFiles[1].hashValue"));
    assert!(problem(|bad| bad["previousDigestHashValue"] = Value::Null).contains("some of"));
    assert!(problem(|bad| bad["digestStartTime"] = json!("2027-01-01T00:00:00Z")).contains("is after"));
    // What is told of a text is bounded, wherever it stands.
    let long = problem(|bad| bad["logFiles"] = json!("é".repeat(100_000)));
    assert!(long.len() < 500 && long.contains("at line 1 column"), "{long}");
}

#[test]
fn a_bomb_is_not_inflated_to_its_end() {
    let bomb = gzip(&vec![0; 1 << 20]);
    let mut inflater = Inflater::hashing(1000);
    let pushed = inflater.push(&bomb).and_then(|()| inflater.finish().map(drop));
    assert!(pushed.unwrap_err().contains("more than is read"));
    let whole = gzip(b"all of it");
    let mut cut = Inflater::hashing(1000);
    cut.push(&whole[..whole.len() - 1]).unwrap();
    assert!(cut.finish().is_err(), "cut short");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is changed of what files hold is found. A gzip file also holds bytes that mean nothing.
    #[test]
    fn any_single_byte_that_is_flipped_is_detected(file in any::<prop::sample::Index>(), byte in any::<prop::sample::Index>(), bit in 0..8, packed: bool) {
        static DELIVERY: OnceLock<Delivery> = OnceLock::new();
        let mut delivery = DELIVERY.get_or_init(six_hours).clone();
        let names: Vec<String> = delivery.objects.keys().cloned().collect();
        let object = delivery.objects.get_mut(&names[file.index(names.len())]).unwrap();
        let before = inflate(&object.bytes).unwrap().hash;
        let mut bytes = if packed { object.bytes.clone() } else { inflate(&object.bytes).unwrap().content };
        let at = byte.index(bytes.len());
        bytes[at] ^= 1_u8 << bit;
        object.bytes = if packed { bytes } else { gzip(&bytes) };
        let is_same = inflate(&object.bytes).is_ok_and(|inflated| inflated.hash == before);
        let report = delivery.walk();
        prop_assert_eq!(report.has(LogIssueNature::Defect), !is_same, "{:?}", report);
    }

    #[test]
    fn no_content_and_no_key_panics(content in prop::collection::vec(any::<u8>(), 0..200), key in "\\PC{0,80}") {
        _ = Digest::parse(&content);
        _ = inflate(&content);
        _ = (DigestName::parse(&key), LogName::parse(&key), below_logs(&key));
    }
}
