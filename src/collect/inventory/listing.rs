//! The lists of one Region: keys, aliases, custom key stores.

use std::collections::BTreeMap;

use super::super::api::{DESCRIBE_CUSTOM_KEY_STORES, LIST_ALIASES, LIST_KEYS};
use super::super::clients::RegionClients;
use super::super::outcome::Failure;
use super::super::readings::Readings;
use super::convert;
use crate::model::{CustomKeyStore, KeyArn};

/// Alias names with `alias/`, sorted, by the id of the key that they point to.
pub(super) type Aliases = BTreeMap<String, Vec<String>>;

/// Why paging cannot go on although AWS says that there is more. Some stand-ins do this; a loop over the
/// same page, or a list that ends without a word, would be worse.
pub(super) const NO_MARKER: &str = "the answer says that there is more, and gives no marker to ask for it";

/// The marker of the next page; none at the end.
pub(super) fn next_marker(
    truncated: bool,
    next: Option<String>,
    previous: Option<&str>,
) -> Result<Option<String>, &'static str> {
    match next.filter(|marker| !marker.is_empty()) {
        _ if !truncated => Ok(None),
        Some(marker) if previous != Some(marker.as_str()) => Ok(Some(marker)),
        _ => Err(NO_MARKER),
    }
}

/// The keys of a Region, as far as they could be listed.
#[derive(Debug)]
pub(super) struct KeyList {
    pub(super) keys: Vec<KeyArn>,
    /// Why there may be more.
    pub(super) failure: Option<Failure>,
}

/// `ListKeys`, to its end or to the first page that fails.
pub(super) async fn keys(clients: &RegionClients, readings: &Readings) -> KeyList {
    let (mut keys, mut marker) = (Vec::new(), None);
    loop {
        let request = clients.kms.list_keys().limit(1000).set_marker(marker.clone()).send();
        let page = match clients.call(readings, LIST_KEYS, request).await {
            Ok(page) => page,
            Err(failure) => return KeyList { keys, failure: Some(failure) },
        };
        let mut malformed = 0_usize;
        for entry in page.keys() {
            match entry.key_arn().map(str::parse::<KeyArn>) {
                Some(Ok(arn)) => keys.push(arn),
                Some(Err(_)) | None => malformed += 1,
            }
        }
        if malformed > 0 {
            let detail = format!("{malformed} listed keys have no ARN that can be read");
            return KeyList { keys, failure: Some(clients.unusable(readings, LIST_KEYS, &detail)) };
        }
        match next_marker(page.truncated(), page.next_marker, marker.as_deref()) {
            Ok(None) => return KeyList { keys, failure: None },
            Ok(next) => marker = next,
            Err(detail) => {
                return KeyList { keys, failure: Some(clients.unusable(readings, LIST_KEYS, detail)) };
            }
        }
    }
}

/// `ListAliases`: of the whole Region in one go, or of one key. Keys are never described by alias, since
/// describing `alias/aws/…` can create the key.
pub(super) async fn aliases(
    clients: &RegionClients,
    readings: &Readings,
    of_key: Option<&KeyArn>,
) -> Result<Aliases, Failure> {
    let (mut aliases, mut marker) = (Aliases::new(), None);
    loop {
        let mut request = clients.kms.list_aliases().limit(100).set_marker(marker.clone());
        if let Some(key) = of_key {
            request = request.key_id(&key.id);
        }
        let page = clients.call(readings, LIST_ALIASES, request.send()).await?;
        for entry in page.aliases() {
            if let (Some(name), Some(key)) = (entry.alias_name(), entry.target_key_id()) {
                aliases.entry(key.to_owned()).or_default().push(name.to_owned());
            }
        }
        match next_marker(page.truncated(), page.next_marker, marker.as_deref()) {
            Ok(None) => break,
            Ok(next) => marker = next,
            Err(detail) => return Err(clients.unusable(readings, LIST_ALIASES, detail)),
        }
    }
    for names in aliases.values_mut() {
        names.sort();
    }
    Ok(aliases)
}

/// `DescribeCustomKeyStores`.
pub(super) async fn custom_key_stores(
    clients: &RegionClients,
    readings: &Readings,
) -> Result<Vec<CustomKeyStore>, Failure> {
    let (mut stores, mut marker) = (Vec::new(), None);
    loop {
        let request = clients.kms.describe_custom_key_stores().set_marker(marker.clone()).send();
        let page = clients.call(readings, DESCRIBE_CUSTOM_KEY_STORES, request).await?;
        stores.extend(page.custom_key_stores().iter().map(convert::custom_key_store));
        match next_marker(page.truncated(), page.next_marker, marker.as_deref()) {
            Ok(None) => break,
            Ok(next) => marker = next,
            Err(detail) => return Err(clients.unusable(readings, DESCRIBE_CUSTOM_KEY_STORES, detail)),
        }
    }
    stores.sort_by(|one, other| one.id.cmp(&other.id));
    Ok(stores)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paging_ends_goes_on_or_says_why_it_cannot() {
        let marker = |text: &str| Some(text.to_owned());
        assert_eq!(next_marker(false, marker("stale"), None), Ok(None));
        assert_eq!(next_marker(true, marker("2"), Some("1")), Ok(marker("2")));
        assert_eq!(next_marker(true, None, None), Err(NO_MARKER));
        assert_eq!(next_marker(true, marker(""), None), Err(NO_MARKER));
        assert_eq!(next_marker(true, marker("1"), Some("1")), Err(NO_MARKER), "the same page again");
    }
}
