//! A digest file, read strictly.

use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::hash::Sha256;

/// The largest digest file that is read, uncompressed. An hour's digest has some hundred bytes a log file.
pub const MAX_DIGEST: u64 = 32 << 20;

/// How much of what is wrong with a digest file is told.
const LONGEST_PROBLEM: usize = 200;

/// What a digest file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digest {
    /// The beginning of the time in which its log files were delivered.
    pub start: DateTime<Utc>,
    /// The end of that time.
    pub end: DateTime<Utc>,
    /// The bucket that it was delivered to.
    pub bucket: String,
    /// The key that it was delivered under.
    pub object: String,
    /// The fingerprint of the public key that verifies its signature.
    pub fingerprint: String,
    /// The digest before it; none at the start of a chain.
    pub previous: Option<Previous>,
    /// The log files that were delivered.
    pub logs: Vec<ListedLog>,
    /// The hash of the file's uncompressed content.
    pub hash: Sha256,
    /// What its signature is over.
    pub signed: String,
}

/// What a digest says of the one before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Previous {
    /// The bucket that it was delivered to.
    pub bucket: String,
    /// The key that it was delivered under.
    pub object: String,
    /// The hash of its uncompressed content.
    pub hash: Sha256,
    /// Its signature, in hexadecimal.
    pub signature: String,
}

/// A log file as its digest lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedLog {
    /// The bucket that it was delivered to.
    pub bucket: String,
    /// The key that it was delivered under.
    pub object: String,
    /// The hash of its uncompressed content.
    pub hash: Sha256,
    /// The end of the digest that lists it.
    pub digest_end: DateTime<Utc>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    digest_start_time: String,
    digest_end_time: String,
    #[serde(rename = "digestS3Bucket")]
    bucket: String,
    #[serde(rename = "digestS3Object")]
    object: String,
    digest_public_key_fingerprint: String,
    digest_signature_algorithm: Option<String>,
    #[serde(rename = "previousDigestS3Bucket")]
    previous_bucket: Option<String>,
    #[serde(rename = "previousDigestS3Object")]
    previous_object: Option<String>,
    previous_digest_hash_value: Option<String>,
    previous_digest_hash_algorithm: Option<String>,
    previous_digest_signature: Option<String>,
    log_files: Vec<RawLog>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawLog {
    #[serde(rename = "s3Bucket")]
    bucket: String,
    #[serde(rename = "s3Object")]
    object: String,
    hash_value: String,
    hash_algorithm: String,
}

impl Digest {
    /// Reads the uncompressed content of a digest file.
    ///
    /// # Errors
    /// With what is wrong and where: no JSON, a member that is missing or of another type, a hash that is none.
    pub fn parse(content: &[u8]) -> Result<Self, String> {
        let raw: Raw = serde_json::from_slice(content).map_err(|error| no_digest(&error))?;
        let (start, end) =
            (time("digestStartTime", &raw.digest_start_time)?, time("digestEndTime", &raw.digest_end_time)?);
        if start > end {
            return Err(format!("`digestStartTime` {start} is after `digestEndTime` {end}"));
        }
        let algorithm = raw.digest_signature_algorithm.as_deref();
        expect("digestSignatureAlgorithm", algorithm, "SHA256withRSA")?;
        let hash = Sha256::of(content);
        let signed = format!(
            "{}\n{}/{}\n{hash}\n{}",
            raw.digest_end_time,
            raw.bucket,
            raw.object,
            raw.previous_digest_signature.as_deref().unwrap_or("null")
        );
        let logs = raw
            .log_files
            .iter()
            .enumerate()
            .map(|(at, log)| log.listed(at, end))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            start,
            end,
            previous: raw.previous()?,
            bucket: raw.bucket,
            object: raw.object,
            fingerprint: raw.digest_public_key_fingerprint,
            logs,
            hash,
            signed,
        })
    }
}

impl Raw {
    /// All of it, or nothing: half a reference is neither a link nor a start.
    fn previous(&self) -> Result<Option<Previous>, String> {
        let parts = (
            self.previous_bucket.as_ref(),
            self.previous_object.as_ref(),
            self.previous_digest_hash_value.as_ref(),
            self.previous_digest_signature.as_ref(),
        );
        match parts {
            (None, None, None, None) => Ok(None),
            (Some(bucket), Some(object), Some(hash), Some(signature)) => {
                let algorithm = self.previous_digest_hash_algorithm.as_deref();
                expect("previousDigestHashAlgorithm", algorithm, "SHA-256")?;
                Ok(Some(Previous {
                    bucket: bucket.clone(),
                    object: object.clone(),
                    hash: parse_hash("previousDigestHashValue", hash)?,
                    signature: signature.clone(),
                }))
            }
            _ => Err("some of `previousDigest…` are null and some are not".to_owned()),
        }
    }
}

impl RawLog {
    fn listed(&self, at: usize, digest_end: DateTime<Utc>) -> Result<ListedLog, String> {
        expect(&format!("logFiles[{at}].hashAlgorithm"), Some(&self.hash_algorithm), "SHA-256")?;
        Ok(ListedLog {
            bucket: self.bucket.clone(),
            object: self.object.clone(),
            hash: parse_hash(&format!("logFiles[{at}].hashValue"), &self.hash_value)?,
            digest_end,
        })
    }
}

/// The error may repeat a text of any length that stands where none is expected.
fn no_digest(error: &serde_json::Error) -> String {
    let text = error.to_string();
    if text.chars().count() <= LONGEST_PROBLEM {
        return text;
    }
    let begin: String = text.chars().take(LONGEST_PROBLEM).collect();
    format!("{begin}… at line {} column {}", error.line(), error.column())
}

fn time(place: &str, text: &str) -> Result<DateTime<Utc>, String> {
    text.parse().map_err(|_| format!("`{place}` is `{}`, which is no time", shorten(text)))
}

fn parse_hash(place: &str, text: &str) -> Result<Sha256, String> {
    Sha256::from_hex(text).ok_or_else(|| format!("`{place}` is `{}`, which is no SHA-256", shorten(text)))
}

/// The algorithms are the ones that CloudTrail uses, or are left to them.
fn expect(place: &str, found: Option<&str>, expected: &str) -> Result<(), String> {
    match found {
        Some(other) if other != expected => {
            Err(format!("`{place}` is `{}`, and `{expected}` is expected", shorten(other)))
        }
        _ => Ok(()),
    }
}

fn shorten(text: &str) -> String {
    text.chars().take(80).collect()
}
