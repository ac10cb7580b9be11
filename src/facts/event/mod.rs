//! Facts about a CloudTrail record: the record itself, and what it means for the keys.

mod caller;
mod change;
#[cfg(test)]
mod documented_tests;
mod named;
mod trail_change;

use std::borrow::Cow;

use super::Context;
use super::estate::Estate;
use super::key::either;
use super::residency::{Residency, country, together};
use super::shape::Shape;
use super::sheet::{Known, Sheet};
use crate::model::kms::{self, KMS};
use crate::model::{
    AccountId, Country, EventRecord, Fact, FactMap, Facts, KeyArn, Region, Subject, SubjectKind,
};
use caller::Caller;
use named::Named;
pub use named::names_keys_in_resources;
pub use trail_change::{ChangedTrail, changed_trail, may_change_a_trail};

/// Calls, and acts of AWS KMS itself, after which a key is no longer as it was read.
const CHANGING: [&str; 26] = [
    "CancelKeyDeletion",
    "CreateAlias",
    "CreateGrant",
    "CreateKey",
    "DeleteAlias",
    "DeleteExpiredKeyMaterial",
    "DeleteImportedKeyMaterial",
    "DeleteKey",
    "DisableKey",
    "DisableKeyRotation",
    "EnableKey",
    "EnableKeyRotation",
    "ImportKeyMaterial",
    "PutKeyPolicy",
    "ReplicateKey",
    "RetireGrant",
    "RevokeGrant",
    "RotateKey",
    "RotateKeyOnDemand",
    "ScheduleKeyDeletion",
    "SynchronizeMultiRegionKey",
    "TagResource",
    "UntagResource",
    "UpdateAlias",
    "UpdateKeyDescription",
    "UpdatePrimaryRegion",
];

/// Why nothing is known of the boundary of a key.
const NOT_IN_INVENTORY: &str = "key not in the inventory";

/// The facts about a CloudTrail record: its own fields under their own names, and what [`event_enrichment`] adds.
pub fn event(record: &EventRecord, estate: &Estate, context: &Context<'_>) -> Facts {
    let Facts { subject, root } = event_enrichment(record, estate, context);
    let mut fields = match Fact::from(record.record()) {
        Fact::Map(fields) => fields,
        _ => FactMap::new(),
    };
    if let Fact::Map(enrichment) = root {
        fields.extend(enrichment);
    }
    Facts { subject, root: Fact::Map(fields) }
}

/// Whether an event of a source and name may tell of a change of a key.
pub fn may_change_a_key(source: &str, name: &str) -> bool {
    source == KMS && CHANGING.contains(&name)
}

/// What a CloudTrail record means for the keys, without the record's own fields.
pub fn event_enrichment(record: &EventRecord, estate: &Estate, context: &Context<'_>) -> Facts {
    let mut sheet = Sheet::default();
    let is_kms = record.source() == KMS;
    let named = if is_kms { named::keys(record, estate, context) } else { Named::default() };
    let outcome = Outcome::of(record);
    let is_cryptographic = kms::is_use(record.source(), record.name());
    keys(&mut sheet, &named);
    Caller::of(record).put(&mut sheet, record, is_cryptographic, context);
    outcome.put(&mut sheet);
    sheet.put("event.cryptographic", is_cryptographic);
    let is_change = is_kms && outcome.succeeded && CHANGING.contains(&record.name());
    sheet.put("event.changed_key", is_change && named.first().is_some());
    let boundary = boundary(&mut sheet, &named, is_cryptographic && outcome.succeeded, estate, context);
    if is_kms {
        target(&mut sheet, record, &named, estate, context);
        change::new_policy(&mut sheet, record, named.first(), context);
        change::grant(&mut sheet, record, named.first(), context);
    }
    trail_change::put(&mut sheet, record);
    Facts { subject: subject(record, &named, boundary), root: sheet.finish() }
}

/// What came of a call.
struct Outcome {
    succeeded: bool,
    denied: bool,
    dry_run: bool,
}

impl Outcome {
    fn of(record: &EventRecord) -> Self {
        let code = record.text(&["errorCode"]).filter(|code| !code.is_empty());
        let is_dry_run_code = code.is_some_and(kms::is_dry_run);
        let asked_dry = is_true(record, &["requestParameters", "dryRun"]);
        Self {
            succeeded: code.is_none(),
            denied: code.is_some_and(kms::is_refusal),
            dry_run: is_dry_run_code || asked_dry,
        }
    }

    fn put(&self, sheet: &mut Sheet) {
        sheet.put("event.succeeded", self.succeeded);
        sheet.put("event.denied", self.denied);
        sheet.put("event.dry_run", self.dry_run);
    }
}

/// Whether a field is true; some records write it as text.
fn is_true(record: &EventRecord, path: &[&str]) -> bool {
    let value = path.iter().try_fold(record.record(), |value, step| value.get(step));
    value.is_some_and(|value| value.as_bool() == Some(true) || value.as_str() == Some("true"))
}

fn keys(sheet: &mut Sheet, named: &Named) {
    if let Some(arn) = named.first() {
        sheet.put("event.key_arn", arn.to_string());
        sheet.put("event.key_set", arn.key_set().to_string());
        sheet.put("event.key_region", arn.region.as_str());
        sheet.put("event.key_account", arn.account.as_str());
    } else if let Some(reason) = &named.unresolved {
        const PATHS: [&str; 4] = ["event.key_arn", "event.key_set", "event.key_region", "event.key_account"];
        sheet.put_unknown(&PATHS, reason);
    }
}

/// Writes the boundary of the key's set, and gives its name.
fn boundary(
    sheet: &mut Sheet,
    named: &Named,
    is_use: bool,
    estate: &Estate,
    context: &Context<'_>,
) -> Option<String> {
    let Some(arn) = named.first() else {
        if let Some(reason) = &named.unresolved {
            sheet.put_unknown(&["boundary.name", "boundary.declared"], reason);
            if is_use {
                sheet.put_unknown(&["boundary.use_outside"], reason);
            }
        }
        return None;
    };
    if is_use {
        // By the Region in the ARN: `awsRegion` may be another one.
        let outside = named.keys.iter().map(|arn| is_outside(arn, estate, context));
        let untold = named.unresolved.iter().map(|reason| Err(reason.clone()));
        sheet.put_known("boundary.use_outside", outside.chain(untold).fold(Ok(false), either));
    }
    let residency = residency(arn, estate, context);
    sheet.put_known(
        "boundary.declared",
        residency.as_ref().map_err(Clone::clone).and_then(Residency::is_declared),
    );
    let name = residency.and_then(|residency| residency.name(context));
    sheet.put_known("boundary.name", name.clone());
    name.ok()
}

fn residency<'a>(arn: &KeyArn, estate: &'a Estate, context: &Context<'a>) -> Known<Residency<'a>> {
    let shape = Shape::of(&arn.key_set(), estate).ok_or_else(|| NOT_IN_INVENTORY.to_owned())?;
    Ok(Residency::of(&shape, context))
}

fn is_outside(arn: &KeyArn, estate: &Estate, context: &Context<'_>) -> Known<bool> {
    residency(arn, estate, context)?.holds(&arn.region, context).map(|inside| !inside)
}

/// Where ReplicateKey and UpdatePrimaryRegion go to, whether or not they were let.
fn target(sheet: &mut Sheet, record: &EventRecord, named: &Named, estate: &Estate, context: &Context<'_>) {
    let moves_primary = record.name() == "UpdatePrimaryRegion";
    let field = match record.name() {
        "ReplicateKey" => "replicaRegion",
        "UpdatePrimaryRegion" => "primaryRegion",
        _ => return,
    };
    let Some(text) = record.text(&["requestParameters", field]) else {
        let reason = format!("the record names no `{field}`");
        return sheet.put_unknown(&["target.region", "target.country", "target.outside"], &reason);
    };
    sheet.put("target.region", text);
    let Ok(region) = text.parse::<Region>() else {
        let reason = format!("`{text}` is not the name of a Region");
        return sheet.put_unknown(&["target.country", "target.outside"], &reason);
    };
    sheet.put_known("target.country", country(&region, context).map(Country::as_str));
    let outside = match named.first() {
        Some(arn) => is_target_outside(arn, &region, moves_primary, estate, context),
        None => Err(named.unresolved.clone().unwrap_or_else(|| "the record names no key".to_owned())),
    };
    sheet.put_known("target.outside", outside);
}

fn is_target_outside(
    arn: &KeyArn,
    target: &Region,
    moves_primary: bool,
    estate: &Estate,
    context: &Context<'_>,
) -> Known<bool> {
    match residency(arn, estate, context)? {
        // Both calls are made on the primary, so the key's own Region is the home; but a move leaves a second
        // record in the new Region, and by the time of judging the estate may know the new primary already.
        Residency::Inferred { .. } if arn.region != *target => Ok(!together(&arn.region, target, context)),
        Residency::Inferred { home } => match home? {
            home if home != target => Ok(!together(home, target, context)),
            _ => Err("the record does not tell where the primary was before".to_owned()),
        },
        residency => {
            let outside = residency.holds(target, context).map(|inside| !inside);
            let outside_home = residency.is_outside_home(target, context).filter(|_| moves_primary);
            either(outside, outside_home.unwrap_or(Ok(false)))
        }
    }
}

fn subject(record: &EventRecord, named: &Named, boundary: Option<String>) -> Subject {
    let key = named.first().cloned();
    let own_region = record.text(&["awsRegion"]).and_then(|text| text.parse().ok());
    Subject {
        kind: SubjectKind::Event,
        id: record.id().to_owned(),
        account: recorded_in(record)
            .or_else(|| key.as_ref().map(|arn| arn.account.clone()))
            .unwrap_or_else(nobody),
        region: key.as_ref().map(|arn| arn.region.clone()).or(own_region),
        key_set: key.as_ref().map(KeyArn::key_set),
        key,
        boundary,
    }
}

/// The account whose log the record is in.
fn recorded_in(record: &EventRecord) -> Option<AccountId> {
    kms::recorded_in(|path| record.text(path).map(Cow::Borrowed))
}

/// The account of a record that names none: the twelve digits that no account has.
fn nobody() -> AccountId {
    const NOBODY: &str = "000000000000";
    NOBODY.parse().unwrap_or_else(|_| unreachable!("twelve digits are an account id"))
}

#[cfg(test)]
mod tests;
