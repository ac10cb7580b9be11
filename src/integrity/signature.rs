//! Whether a signature is CloudTrail's.

use std::collections::BTreeMap;

use aws_lc_rs::signature::{ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256};

use super::digest::Digest;

/// CloudTrail's public keys by fingerprint, as `ListPublicKeys` gave them.
#[derive(Debug, Clone, Default)]
pub struct PublicKeys {
    keys: BTreeMap<String, ParsedPublicKey>,
    gap: Option<String>,
}

/// Why a signature says nothing, or that something is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignatureProblem {
    /// There is no key of that fingerprint.
    UnknownKey,
    /// There may be one: the keys could not be read.
    KeysUnread(String),
    /// It is not the signature of the key over the content.
    Forged,
}

impl PublicKeys {
    /// Takes a key: DER, either a PKCS#1 `RSAPublicKey`, as CloudTrail documents it, or a
    /// `SubjectPublicKeyInfo`, as it gives it too.
    ///
    /// # Errors
    /// If it is no RSA key of 2048 bits or more.
    pub fn insert(&mut self, fingerprint: String, der: &[u8]) -> Result<(), String> {
        let key = ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, der).map_err(|_| {
            format!("the public key {fingerprint} is no RSA key of 2048 bits or more, in DER")
        })?;
        self.keys.insert(fingerprint, key);
        Ok(())
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Says that some keys could not be read, and why.
    pub fn set_gap(&mut self, why: String) {
        self.gap.get_or_insert(why);
    }

    /// Whether there is a key of that fingerprint.
    pub fn has(&self, fingerprint: &str) -> bool {
        self.keys.contains_key(fingerprint)
    }

    /// Whether a signature, in hexadecimal, is the one of CloudTrail's key over a digest.
    ///
    /// # Errors
    /// If it is not, or if that cannot be told.
    pub fn verify(&self, digest: &Digest, signature: &str) -> Result<(), SignatureProblem> {
        let Some(key) = self.keys.get(&digest.fingerprint) else {
            let unread = self.gap.clone().map(SignatureProblem::KeysUnread);
            return Err(unread.unwrap_or(SignatureProblem::UnknownKey));
        };
        let signature = hex::decode(signature).map_err(|_| SignatureProblem::Forged)?;
        key.verify_sig(digest.signed.as_bytes(), &signature).map_err(|_| SignatureProblem::Forged)
    }
}
