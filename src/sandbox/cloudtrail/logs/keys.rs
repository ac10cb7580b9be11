//! The keys that digests are signed with: one for each Region, until it is rotated.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, TimeDelta, Utc};
use md5::{Digest, Md5};
use serde_json::{Value, json};

use crate::model::Region;
use crate::sandbox::call::{Answer, ApiError, Call};
use crate::sandbox::ids::hex_of;
use crate::sandbox::kms::{epoch, time};
use crate::sandbox::paging;

/// How long a key is said to be good for.
const VALID_DAYS: i64 = 90;
/// AWS's page of keys.
const PAGE: usize = 50;

/// A key, and when it is good.
#[derive(Clone)]
pub(super) struct Signer {
    pair: Arc<KeyPair>,
    fingerprint: String,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}

impl Signer {
    fn new(pair: Arc<KeyPair>, now: DateTime<Utc>) -> Self {
        let fingerprint = hex_of(&Md5::digest(pair.public_key().as_ref()));
        // Before it is first used, so that a look-up of the hours around a digest finds it.
        let from = now - TimeDelta::days(1);
        Self { pair, fingerprint, from, until: from + TimeDelta::days(VALID_DAYS) }
    }

    /// The MD5 of the public key, in hexadecimal digits.
    pub(super) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    pub(super) fn sign(&self, text: &[u8]) -> Option<Vec<u8>> {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text, &mut signature).ok()?;
        Some(signature)
    }

    fn to_json(&self) -> Value {
        json!({
            "Value": STANDARD.encode(self.pair.public_key().as_ref()),
            "ValidityStartTime": epoch(self.from),
            "ValidityEndTime": epoch(self.until),
            "Fingerprint": self.fingerprint,
        })
    }
}

/// Every Region's keys, the one in use last.
#[derive(Debug, Default)]
pub struct PublicKeys {
    of: BTreeMap<Region, Vec<Signer>>,
}

impl PublicKeys {
    /// The key that a Region's digests are signed with at a time. None if this machine cannot make one.
    pub(super) fn signer(&mut self, region: &Region, now: DateTime<Utc>) -> Option<Signer> {
        let signers = self.of.entry(region.clone()).or_default();
        match signers.last().filter(|signer| now < signer.until) {
            Some(signer) => Some(signer.clone()),
            None => {
                let signer = Signer::new(generated(region, signers.len())?, now);
                signers.push(signer.clone());
                Some(signer)
            }
        }
    }

    /// Every Region's next digest is signed with another key. The old ones stay listed.
    pub fn rotate(&mut self, now: DateTime<Utc>) {
        let latest = self.of.values_mut().filter_map(|signers| signers.last_mut());
        latest.for_each(|signer| signer.until = signer.until.min(now));
    }

    /// `ListPublicKeys`: those that were good at some time in a range.
    pub(in crate::sandbox::cloudtrail) fn list(&self, call: &Call, now: DateTime<Utc>) -> Answer {
        let moment = |member: &str| time(&call.input, member);
        let end = moment("EndTime").unwrap_or(now);
        let start = moment("StartTime").unwrap_or(end);
        if start > end {
            let message = "The start time must be before the end time.";
            return Err(ApiError::client("InvalidTimeRangeException", message));
        }
        let signers = self.of.get(&call.region).into_iter().flatten();
        let good = signers.filter(|signer| signer.from <= end && signer.until >= start);
        let keys: Vec<Value> = good.map(Signer::to_json).collect();
        let list = format!("{} public keys", call.region);
        let page = paging::page(&list, keys, call.text("NextToken"), PAGE);
        let page = page.map_err(|_| ApiError::client("InvalidTokenException", "The token is not valid."))?;
        Ok(json!({ "PublicKeyList": page.items, "NextToken": page.next }))
    }
}

/// A Region's key of a number. Making one takes long, so the worlds of one process share them.
fn generated(region: &Region, number: usize) -> Option<Arc<KeyPair>> {
    static MADE: Mutex<BTreeMap<(Region, usize), Arc<KeyPair>>> = Mutex::new(BTreeMap::new());
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(pair) = made.get(&(region.clone(), number)) {
        return Some(Arc::clone(pair));
    }
    let pair = Arc::new(KeyPair::generate(KeySize::Rsa2048).ok()?);
    made.insert((region.clone(), number), Arc::clone(&pair));
    Some(pair)
}
