//! How things stood at a past time, from what the store has kept.
//!
//! Findings are taken from the record of their steps: what stood then shows as it did, whatever became of it
//! since. The estate is judged anew by the standards in force now, on the snapshots of then.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::audit::Kept;
use crate::findings::{EVENT_IDS, RECORDS};
use crate::model::{AccountRegionSnapshot, Finding, FindingKind, FindingState, Reading, Transition};
use crate::store::{FindingFilter, HistoryEntry, Store, StoreError};

/// What the store knows of a past time.
///
/// # Errors
///
/// The store failed.
pub async fn kept(store: &Store, at: DateTime<Utc>) -> Result<Kept, StoreError> {
    let mut histories = store.histories_until(at).await?;
    let findings = store.findings(&FindingFilter::default()).await?;
    let stood = |finding: Finding| {
        let steps = histories.remove(&finding.id)?;
        as_it_stood(finding, &steps, at)
    };
    Ok(Kept {
        keys: store.key_snapshots_as_of(at).await?,
        regions: store.region_snapshots_as_of(at).await?,
        findings: findings.into_iter().filter_map(stood).collect(),
    })
}

/// A finding as it stood at a past time, by its steps up to then; none if it was not there yet.
fn as_it_stood(finding: Finding, steps: &[HistoryEntry], at: DateTime<Utc>) -> Option<Finding> {
    let last = steps.last()?;
    let opened =
        steps.iter().rev().find(|step| matches!(step.transition, Transition::Opened | Transition::Excepted));
    let is_resolved = last.state == FindingState::Resolved;
    let first_seen =
        if finding.first_seen <= at { finding.first_seen } else { opened.map_or(last.at, |step| step.at) };
    Some(Finding {
        state: last.state,
        level: last.level,
        message: last.message.clone(),
        exception: last.exception.clone(),
        first_seen,
        last_seen: if is_resolved { last.at.min(finding.last_seen) } else { finding.last_seen.min(at) },
        resolved_at: is_resolved.then_some(last.at),
        stale: last.transition == Transition::Staled,
        evidence: evidence_until(&finding, at),
        ..finding
    })
}

/// Of a detection that has seen events since, only the events of then. A state's evidence comes of judging the
/// snapshot of then.
fn evidence_until(finding: &Finding, at: DateTime<Utc>) -> Value {
    if finding.kind == FindingKind::Posture || finding.last_seen <= at {
        return finding.evidence.clone();
    }
    let records = finding.evidence.get(RECORDS).and_then(Value::as_array).cloned().unwrap_or_default();
    let is_older = |record: &&Value| {
        let time = record.get("at").and_then(Value::as_str);
        time.and_then(|time| DateTime::parse_from_rfc3339(time).ok()).is_some_and(|time| time <= at)
    };
    let ids: Vec<&Value> = records.iter().filter(is_older).filter_map(|record| record.get("id")).collect();
    json!({ EVENT_IDS: ids })
}

/// What could not be read at a past time, as the snapshots of then have it: the readings themselves are kept for
/// now only. How many calls there were is not on record (0 attempts).
pub fn gaps(regions: &[AccountRegionSnapshot]) -> Vec<Reading> {
    let mut gaps: BTreeMap<(String, String, String), Reading> = BTreeMap::new();
    for place in regions {
        for gap in &place.gaps {
            let key = (place.account.to_string(), place.region.to_string(), gap.api.clone());
            let reading = Reading {
                account: place.account.clone(),
                region: Some(place.region.clone()),
                api: gap.api.clone(),
                result: gap.result,
                at: place.read_at,
                attempts: 0,
                failed: 0,
                detail: None,
            };
            gaps.entry(key).or_insert(reading);
        }
    }
    gaps.into_values().collect()
}
