//! CloudTrail's public keys: of the Region that a digest was made in, or from a file.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;

use super::{Chain, why};
use crate::collect::api::LIST_PUBLIC_KEYS;
use crate::collect::clients::Clients;
use crate::collect::outcome::Failure;
use crate::collect::readings::Readings;
use crate::integrity::PublicKeys;
use crate::model::{AccountId, Region};

/// How far before and after a digest was made later its key is looked for.
const AROUND: TimeDelta = TimeDelta::hours(1);
/// Pages of keys that are read at most: one holds years.
const MAX_PAGES: usize = 100;

/// The public keys that are known for one chain.
pub(crate) struct KeyRing<'a> {
    clients: &'a Clients,
    account: Option<&'a AccountId>,
    region: &'a Region,
    readings: &'a Readings,
    keys: PublicKeys,
    is_given: bool,
}

impl<'a> KeyRing<'a> {
    pub(super) fn new(
        clients: &'a Clients,
        account: Option<&'a AccountId>,
        chain: &'a Chain,
        readings: &'a Readings,
    ) -> Self {
        Self {
            clients,
            account,
            region: &chain.region,
            readings,
            keys: PublicKeys::default(),
            is_given: false,
        }
    }

    pub(super) fn keys(&self) -> &PublicKeys {
        &self.keys
    }

    /// Takes keys in place of those of CloudTrail.
    pub(super) fn take(&mut self, keys: PublicKeys) {
        self.keys = keys;
        self.is_given = true;
    }

    /// Reads the keys of a time. That they could not be read is noted: then no fingerprint is unknown.
    pub(super) async fn read(&mut self, from: DateTime<Utc>, to: DateTime<Utc>) {
        if let Err(failure) = self.read_pages(from, to).await {
            self.keys.set_gap(why(&failure));
        }
    }

    /// Reads the keys of the time at which a digest was made, unless its key is known.
    pub(super) async fn read_around(&mut self, fingerprint: &str, made: DateTime<Utc>) {
        if !self.is_given && !self.keys.has(fingerprint) {
            self.read(made - AROUND, made + AROUND).await;
        }
    }

    async fn read_pages(&mut self, from: DateTime<Utc>, to: DateTime<Utc>) -> Result<(), Failure> {
        let no_account = || Failure::unusable(LIST_PUBLIC_KEYS, "no account to ask with", None);
        let clients = self.clients.region(self.account.ok_or_else(no_account)?, self.region)?;
        let time = |at: DateTime<Utc>| aws_smithy_types::DateTime::from_secs(at.timestamp());
        let mut token = None;
        for _ in 0..MAX_PAGES {
            let request = clients.cloudtrail.list_public_keys();
            let request = request.start_time(time(from)).end_time(time(to)).set_next_token(token);
            let page = clients.call(self.readings, LIST_PUBLIC_KEYS, request.send()).await?;
            for key in page.public_key_list() {
                let (Some(fingerprint), Some(value)) = (key.fingerprint(), key.value()) else { continue };
                if let Err(problem) = self.keys.insert(fingerprint.to_owned(), value.as_ref()) {
                    self.keys.set_gap(problem);
                }
            }
            token = page.next_token().filter(|token| !token.is_empty()).map(str::to_owned);
            if token.is_none() {
                break;
            }
        }
        Ok(())
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct File {
    public_key_list: Vec<Key>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Key {
    fingerprint: String,
    value: String,
}

/// The public keys of a text: what `aws cloudtrail list-public-keys` prints.
///
/// # Errors
/// If it is none, or a key is none.
pub fn public_keys_in(text: &str) -> Result<PublicKeys, String> {
    let file: File = serde_json::from_str(text).map_err(|error| {
        format!("{error}; what `aws cloudtrail list-public-keys --output json` prints is expected")
    })?;
    let mut keys = PublicKeys::default();
    for key in file.public_key_list {
        let der = STANDARD.decode(&key.value);
        let der = der.map_err(|error| format!("the value of the key {}: {error}", key.fingerprint))?;
        keys.insert(key.fingerprint, &der)?;
    }
    Ok(keys)
}
