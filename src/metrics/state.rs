//! The gauges that are derived from the audited state at every scrape.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::{
    FINDINGS, KEY_SETS, KEYS, Metrics, OUTBOX_OLDEST_AGE, OUTBOX_PENDING, READING_AGE, READINGS,
    RULES_LEFT_OUT, RULES_LOADED, Series, VERDICTS,
};
use crate::audit::Auditor;
use crate::model::{AccountId, Fact, KeySnapshot, Reading, Region, SourceKind};
use crate::report::residency::{residency_class, text_or_reason};
use crate::store::OutboxStats;

type Tally = BTreeMap<Vec<String>, f64>;

fn count(tally: &mut Tally, labels: Vec<String>) {
    *tally.entry(labels).or_insert(0.0) += 1.0;
}

fn series(tally: Tally) -> Series {
    tally.into_iter().collect()
}

/// Shows the state of an audit, and of the latest readings, at `now`.
pub fn show_state(metrics: &Metrics, auditor: &Auditor, readings: &[Reading], now: DateTime<Utc>) {
    metrics.show(&KEYS, &keys(auditor));
    metrics.show(&KEY_SETS, &key_sets(auditor, now));
    metrics.show(&FINDINGS, &findings(auditor));
    metrics.show(&VERDICTS, &verdicts(auditor));
    metrics.show(&READINGS, &read(readings));
    let rules = &auditor.standards().rules;
    metrics.set(&RULES_LOADED, &[], as_f64(rules.rules().len()));
    metrics.set(&RULES_LEFT_OUT, &[], as_f64(rules.left_out().len()));
}

/// Shows how the outbox stands.
pub fn show_outbox(metrics: &Metrics, stats: &OutboxStats) {
    let pending = usize::try_from(stats.pending).unwrap_or(usize::MAX);
    metrics.set(&OUTBOX_PENDING, &[], as_f64(pending));
    let oldest = stats.oldest_age.and_then(|age| age.to_std().ok()).unwrap_or_default();
    metrics.set(&OUTBOX_OLDEST_AGE, &[], oldest.as_secs_f64());
}

/// Shows how old the last full reading of each place is.
pub fn show_reading_ages(metrics: &Metrics, ages: &BTreeMap<(AccountId, Region, SourceKind), i64>) {
    let row = |((account, region, source), seconds): (&(AccountId, Region, SourceKind), &i64)| {
        let labels = vec![account.to_string(), region.to_string(), source.to_string()];
        (labels, as_f64(usize::try_from(*seconds).unwrap_or(0)))
    };
    metrics.show(&READING_AGE, &ages.iter().map(row).collect());
}

fn keys(auditor: &Auditor) -> Series {
    let mut tally = Tally::new();
    for key in auditor.estate().keys() {
        let country = auditor.standards().atlas.country(&key.arn.region);
        let (manager, state) = manager_and_state(key);
        count(
            &mut tally,
            vec![
                key.arn.account.to_string(),
                key.arn.region.to_string(),
                country.map_or_else(|| "unknown".to_owned(), ToString::to_string),
                manager,
                state,
                key.arn.is_multi_region().to_string(),
            ],
        );
    }
    series(tally)
}

fn manager_and_state(key: &KeySnapshot) -> (String, String) {
    key.metadata.known().map_or_else(
        || ("unknown".to_owned(), "unknown".to_owned()),
        |metadata| (metadata.manager.clone(), metadata.state.clone()),
    )
}

fn key_sets(auditor: &Auditor, now: DateTime<Utc>) -> Series {
    let mut tally = Tally::new();
    for (id, account) in auditor.customer_key_sets() {
        let Some(facts) = auditor.key_set_facts(&id, now) else { continue };
        let boundary = match facts.root.at("boundary.name") {
            Some(Fact::Text(name)) => name.clone(),
            _ => "unknown".to_owned(),
        };
        let residency = text_or_reason(&facts.root, "residency").unwrap_or_default();
        count(&mut tally, vec![account.to_string(), boundary, residency_class(&residency).to_owned()]);
    }
    series(tally)
}

fn findings(auditor: &Auditor) -> Series {
    let mut tally = Tally::new();
    for finding in auditor.findings() {
        count(
            &mut tally,
            vec![
                finding.rule.clone(),
                finding.level.to_string(),
                finding.subject.account.to_string(),
                finding.subject.boundary.clone().unwrap_or_else(|| "none".to_owned()),
                finding.state.to_string(),
            ],
        );
    }
    series(tally)
}

fn verdicts(auditor: &Auditor) -> Series {
    let rules = auditor.standards().rules.rules();
    let mut by_rule: BTreeMap<(usize, &'static str), f64> = BTreeMap::new();
    for judgement in auditor.judged().flat_map(|judged| &judged.judgements) {
        *by_rule.entry((judgement.rule, judgement.outcome.as_str())).or_insert(0.0) += 1.0;
    }
    let mut tally = Tally::new();
    for ((rule, outcome), value) in by_rule {
        let frameworks = rules.get(rule).into_iter().flat_map(|rule| rule.controls.keys());
        for framework in frameworks {
            *tally.entry(vec![framework.clone(), outcome.to_owned()]).or_insert(0.0) += value;
        }
    }
    series(tally)
}

/// Calls that succeeded count as `ok` beside those that did not, so that a share can be computed.
fn read(readings: &[Reading]) -> Series {
    let mut tally = Tally::new();
    for reading in readings {
        let region = reading.region.as_ref().map_or("global", |region| region.as_str());
        let labels = |result: &str| {
            vec![reading.account.to_string(), region.to_owned(), reading.api.clone(), result.to_owned()]
        };
        let succeeded = reading.attempts.saturating_sub(reading.failed);
        if succeeded > 0 {
            *tally.entry(labels("ok")).or_insert(0.0) +=
                as_f64(usize::try_from(succeeded).unwrap_or(usize::MAX));
        }
        if reading.failed > 0 {
            *tally.entry(labels(reading.result.as_str())).or_insert(0.0) +=
                as_f64(usize::try_from(reading.failed).unwrap_or(usize::MAX));
        }
    }
    series(tally)
}

/// Counts stay far below 2^53, up to which the conversion is exact.
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
pub(crate) fn as_f64(count: usize) -> f64 {
    count as f64
}
