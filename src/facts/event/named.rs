//! Which key a record is about.

use super::recorded_in;
use crate::facts::Context;
use crate::facts::estate::Estate;
use crate::model::kms::{self, partition_of};
use crate::model::{AccountId, EventRecord, KeyArn, Region};

/// The keys that a record is about.
#[derive(Debug, Default)]
pub(super) struct Named {
    /// In the record's order; ReEncrypt has two.
    pub(super) keys: Vec<KeyArn>,
    /// Why a key that the record is about is not among them.
    pub(super) unresolved: Option<String>,
}

impl Named {
    /// The key that the record is about first of all.
    pub(super) fn first(&self) -> Option<&KeyArn> {
        self.keys.first()
    }
}

/// Where a record names its key when its `resources` do not, the surest first. `responseElements.keyId` is an ARN
/// since December 2022; what is requested may be an id, an alias or an ARN of either.
const FIELDS: [&[&str]; 6] = [
    &["responseElements", "keyId"],
    &["responseElements", "keyMetadata", "arn"],
    &["requestParameters", "keyId"],
    &["requestParameters", "targetKeyId"],
    &["requestParameters", "aliasName"],
    &["serviceEventDetails", "keyId"],
];

/// The keys that a record of AWS KMS is about.
pub(super) fn keys(record: &EventRecord, estate: &Estate, context: &Context<'_>) -> Named {
    let keys = in_resources(record);
    if !keys.is_empty() {
        return Named { keys, unresolved: None };
    }
    if record.name() == "ReEncrypt" {
        return both(record, estate, context);
    }
    let mut unresolved = None;
    for text in FIELDS.iter().filter_map(|path| record.text(path)) {
        if let Some(arn) = resolve(text, record, estate, context) {
            return Named { keys: vec![arn], unresolved: None };
        }
        unresolved = unresolved.or_else(|| Some(untold(text)));
    }
    Named { keys: Vec::new(), unresolved }
}

/// The two keys of a ReEncrypt: that of the ciphertext that it reads need not be named.
fn both(record: &EventRecord, estate: &Estate, context: &Context<'_>) -> Named {
    let mut named = Named::default();
    let texts = kms::REENCRYPTED.map(|path| record.text(path));
    if texts.iter().all(Option::is_none) {
        return named;
    }
    for text in texts {
        match text.and_then(|text| resolve(text, record, estate, context)) {
            Some(arn) if named.keys.contains(&arn) => {}
            Some(arn) => named.keys.push(arn),
            None => {
                let reason = text.map_or_else(|| "the record names one of two keys".to_owned(), untold);
                named.unresolved.get_or_insert(reason);
            }
        }
    }
    named
}

fn untold(text: &str) -> String {
    format!("which key `{text}` is could not be told")
}

/// Whether a record lists the keys that it is about, so that nothing else in it is asked which they are.
pub fn names_keys_in_resources(record: &EventRecord) -> bool {
    !in_resources(record).is_empty()
}

/// The key ARNs in `resources`. Old records give no type, and alias events list the alias beside the key under the
/// same type, so the form of the ARN decides.
fn in_resources(record: &EventRecord) -> Vec<KeyArn> {
    let resources = record.record().get("resources").and_then(|value| value.as_array());
    let mut keys: Vec<KeyArn> = Vec::new();
    for resource in resources.into_iter().flatten() {
        let text = ["ARN", "arn"].iter().find_map(|name| resource.get(name)?.as_str());
        if let Some(arn) = text.and_then(|text| text.parse().ok())
            && !keys.contains(&arn)
        {
            keys.push(arn);
        }
    }
    keys
}

fn resolve(text: &str, record: &EventRecord, estate: &Estate, context: &Context<'_>) -> Option<KeyArn> {
    if let Ok(arn) = text.parse() {
        return Some(arn);
    }
    if let Some((account, region, alias)) = alias_arn(text) {
        return estate.key_of_alias(&account, &region, alias).cloned();
    }
    let region: Region = record.text(&["awsRegion"])?.parse().ok()?;
    let account = recorded_in(record)?;
    if text.starts_with("alias/") {
        return estate.key_of_alias(&account, &region, text).cloned();
    }
    // The atlas knows the partition of every Region that is not newer than itself.
    let partition =
        context.atlas.region(&region).map_or_else(|| partition_of(&region), |info| &info.partition);
    format!("arn:{partition}:kms:{region}:{account}:key/{text}").parse().ok()
}

fn alias_arn(text: &str) -> Option<(AccountId, Region, &str)> {
    let mut parts = text.splitn(6, ':');
    let (prefix, _, service) = (parts.next()?, parts.next()?, parts.next()?);
    let (region, account, alias) = (parts.next()?, parts.next()?, parts.next()?);
    (prefix == "arn" && service == "kms" && alias.starts_with("alias/")).then_some((
        account.parse().ok()?,
        region.parse().ok()?,
        alias,
    ))
}
