//! The exposition of a small fixed state.

use super::*;
use crate::audit::tests::{auditor, disabling, look_up, minutes, rotating, sweep};
use crate::facts::fixtures::{gap, key, key_set};
use crate::model::{KeySnapshot, Reading, ReadingResult, SourceKind};
use crate::store::OutboxStats;

#[test]
fn the_exposition_of_a_small_estate() {
    let metrics = Metrics::new().unwrap();
    let mut auditor = auditor();
    let mut keys = key_set(&["eu-central-1", "us-east-1"]);
    keys.truncate(1);
    keys.push(rotating(false));
    keys.push(KeySnapshot {
        metadata: gap("kms:DescribeKey"),
        ..key("arn:aws:kms:eu-central-1:111122223333:key/hidden")
    });
    auditor.take(&sweep(keys, 0));
    auditor.take(&look_up(vec![disabling("e1", 1)], 2));
    let reading = Reading {
        account: "111122223333".parse().unwrap(),
        region: None,
        api: "kms:DescribeKey".to_owned(),
        result: ReadingResult::Denied,
        at: minutes(0),
        attempts: 3,
        failed: 1,
        detail: None,
    };
    show_state(&metrics, &auditor, &[reading], minutes(3));
    let oldest_age = Some(chrono::TimeDelta::milliseconds(1500));
    show_outbox(&metrics, &OutboxStats { pending: 2, oldest_age, ..OutboxStats::default() });
    let place = ("111122223333".parse().unwrap(), "eu-central-1".parse().unwrap(), SourceKind::Inventory);
    show_reading_ages(&metrics, &BTreeMap::from([(place, 60)]));
    metrics.observe(&EVENT_LAG, &[], 61.5);
    let text = metrics.exposition().unwrap().replace(env!("CARGO_PKG_VERSION"), "VERSION");
    insta::assert_snapshot!(text);
}

#[test]
fn no_series_passes_through_zero_while_it_is_shown_anew() {
    let metrics = std::sync::Arc::new(Metrics::new().unwrap());
    let series: Series = vec![(["a", "b", "inside"].map(str::to_owned).to_vec(), 3.0)];
    metrics.show(&KEY_SETS, &series);
    let shower = std::sync::Arc::clone(&metrics);
    let shown = series.clone();
    let showing = std::thread::spawn(move || (0..2_000).for_each(|_| shower.show(&KEY_SETS, &shown)));
    while !showing.is_finished() {
        assert!(metrics.exposition().unwrap().contains(r#"residency="inside"} 3"#));
    }
    showing.join().unwrap();
}

#[test]
fn a_counter_is_raised_once_by_many() {
    let metrics = Metrics::new().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..500).for_each(|total| metrics.raise_to(&EVENTS, &["lookup"], total)));
        }
    });
    assert!(metrics.exposition().unwrap().contains(r#"keyward_events_total{source="lookup"} 499"#));
}

#[test]
fn every_metric_follows_the_naming_rules() {
    for spec in METRICS {
        assert!(spec.name.starts_with("keyward_"), "{}", spec.name);
        assert_eq!(spec.kind == MetricKind::Counter, spec.name.ends_with("_total"), "{}", spec.name);
        assert!(!spec.help.is_empty() && !spec.bound.is_empty(), "{}", spec.name);
    }
}

#[test]
fn a_drained_series_shows_zero_and_does_not_vanish() {
    let metrics = Metrics::new().unwrap();
    let labels = ["a", "b", "c"].map(str::to_owned).to_vec();
    metrics.show(&KEY_SETS, &vec![(labels, 3.0)]);
    metrics.show(&KEY_SETS, &Vec::new());
    let text = metrics.exposition().unwrap();
    assert!(text.contains(r#"keyward_key_sets{account="a",boundary="b",residency="c"} 0"#), "{text}");
}

#[test]
fn every_metric_without_labels_is_there_from_the_start() {
    let text = Metrics::new().unwrap().exposition().unwrap();
    for spec in METRICS.iter().filter(|spec| spec.labels.is_empty()) {
        assert!(text.contains(spec.name), "{} is missing", spec.name);
    }
    assert!(text.contains("keyward_config_last_reload_successful 1"));
}

#[test]
fn a_counter_raised_to_a_total_never_falls() {
    let metrics = Metrics::new().unwrap();
    metrics.raise_to(&EVENTS, &["lookup"], 5);
    metrics.raise_to(&EVENTS, &["lookup"], 3);
    assert!(metrics.exposition().unwrap().contains(r#"keyward_events_total{source="lookup"} 5"#));
}
