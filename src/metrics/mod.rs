//! Every metric, declared once.
//!
//! Two kinds are kept apart: counters and histograms that the process adds to as it works, and gauges that
//! are derived from the audited state at every scrape ([`Metrics::show`]). A series that was shown once is
//! shown for as long as the process lives, with 0 when nothing is left of it: a series that vanishes would
//! keep an alert from resolving.

mod state;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use prometheus::{
    Encoder, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry, TextEncoder,
    core::Collector,
};

/// What kind of series a metric has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows while the process lives.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts in buckets, in seconds.
    Histogram,
}

/// The declaration of one metric.
#[derive(Debug, Clone, Copy)]
pub struct MetricSpec {
    /// Its name.
    pub name: &'static str,
    /// What kind of series it has.
    pub kind: MetricKind,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// What it says, in one sentence.
    pub help: &'static str,
    /// What bounds the number of its series.
    pub bound: &'static str,
}

macro_rules! specs {
    ($($id:ident: $kind:ident $name:literal [$($label:literal),*] $help:literal; $bound:literal)*) => {
        $(
            #[doc = $help]
            pub const $id: MetricSpec = MetricSpec {
                name: $name, kind: MetricKind::$kind, labels: &[$($label),*], help: $help, bound: $bound,
            };
        )*
        /// Every metric.
        pub const METRICS: &[&MetricSpec] = &[$(&$id),*];
    };
}

specs! {
    BUILD_INFO: Gauge "keyward_build_info" ["version"]
        "Always 1; the version that runs is in the label."; "1"
    KEYS: Gauge "keyward_keys" ["account", "region", "country", "manager", "state", "multi_region"]
        "Keys in the inventory."; "accounts × Regions × managers (2) × states (8) × 2"
    KEY_SETS: Gauge "keyward_key_sets" ["account", "boundary", "residency"]
        "Key sets by boundary and by whether all their members are inside it (inside, outside, unknown)."; "accounts × boundaries × 3"
    FINDINGS: Gauge "keyward_findings" ["rule", "level", "account", "boundary", "state"]
        "Findings, of states and of events."; "rules × accounts × boundaries × states (3)"
    VERDICTS: Gauge "keyward_verdicts" ["framework", "verdict"]
        "Verdicts of the rules that support a control of the framework."; "frameworks × 4"
    READINGS: Gauge "keyward_readings" ["account", "region", "api", "result"]
        "Calls in the latest reading of each API, by what came of them."; "accounts × Regions × APIs (about 20) × results (4)"
    READING_AGE: Gauge "keyward_reading_age_seconds" ["account", "region", "source"]
        "Seconds since the last complete reading, or for the source `queue` since the newest event of the place that came; since the start where there was none."; "accounts × Regions × sources (6)"
    EVENTS: Counter "keyward_events_total" ["source"]
        "CloudTrail records taken in, without duplicates."; "sources (6)"
    EVENTS_DUPLICATE: Counter "keyward_events_duplicate_total" []
        "CloudTrail records that had been taken in before."; "1"
    EVENTS_MALFORMED: Counter "keyward_events_malformed_total" []
        "CloudTrail records that could not be read, each logged with its place."; "1"
    EVENT_LAG: Histogram "keyward_event_lag_seconds" []
        "Seconds from the newest call of each input, by account and Region, to its evaluation."; "1"
    DETECTIONS: Counter "keyward_detections_total" ["rule", "level"]
        "Events that a rule found to be a violation."; "event rules"
    KEY_REQUESTS: Counter "keyward_key_requests_total" ["operation", "outcome"]
        "Uses of keys seen in CloudTrail, by operation and outcome (success, denied, error, dry_run)."; "cryptographic operations (14) × 4"
    LEDGER_FOLDED: Counter "keyward_ledger_folded_total" []
        "Uses of keys whose caller the ledger did not keep, because a key had too many callers in an hour."; "1"
    CORRELATION_DROPPED: Counter "keyward_correlation_dropped_total" []
        "Events and groups of events that correlation rules have forgotten because there were too many."; "1"
    NOTIFICATIONS: Counter "keyward_notifications_total" ["reason", "result"]
        "Attempts to publish an alert (sent, sent_to_fallback, retried, dead)."; "reasons (6) × 4"
    OUTBOX_PENDING: Gauge "keyward_outbox_pending" []
        "Alerts that wait to be published."; "1"
    OUTBOX_OLDEST_AGE: Gauge "keyward_outbox_oldest_age_seconds" []
        "Seconds that the oldest of them has waited."; "1"
    AWS_REQUESTS: Counter "keyward_aws_requests_total" ["service", "operation", "result"]
        "Calls to AWS by what came of them (ok, denied, throttled, unreachable)."; "about 30 operations × 4"
    BATCH_SECONDS: Histogram "keyward_batch_seconds" ["source"]
        "Seconds to judge and commit one batch."; "sources (6)"
    QUEUE_DEPTH: Gauge "keyward_queue_messages" ["queue", "state"]
        "Messages in the queue, as SQS estimates them: visible, or in flight (received by somebody and not deleted)."; "queues × 2"
    QUEUE_MESSAGES: Counter "keyward_queue_messages_total" ["queue", "result"]
        "Messages received: deleted (after the commit), ignored (deleted, held no events), retried (given back), poison (left to the redrive policy)."; "queues × 4"
    QUEUE_PROBLEMS: Counter "keyward_queue_problems_total" ["queue", "reason"]
        "Messages that were given back or left, by reason; not_json, unknown_shape, incomplete, nested and unconfirmed are poison."; "queues × 11"
    RULES_LOADED: Gauge "keyward_rules_loaded" []
        "Rules in force."; "1"
    RULES_LEFT_OUT: Gauge "keyward_rules_left_out" []
        "Rules that are not in force because their files hold mistakes."; "1"
    CONFIG_RELOAD: Gauge "keyward_config_last_reload_successful" []
        "1 if the configuration in force is the one on disk as last read; 0 if reading it anew failed."; "1"
    SOURCE_UP: Gauge "keyward_source_up" ["source"]
        "1 if the source's last round brought anything, 0 if all of it failed; the readings tell of parts."; "sources (6)"
}

pub(crate) use state::as_f64;
pub use state::{show_outbox, show_reading_ages, show_state};

/// A derived gauge's series: label values, in the order of the declaration, and the value.
pub type Series = Vec<(Vec<String>, f64)>;

/// The metrics of one process, with a registry of their own.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    counters: BTreeMap<&'static str, IntCounterVec>,
    gauges: BTreeMap<&'static str, GaugeVec>,
    histograms: BTreeMap<&'static str, HistogramVec>,
    /// Label sets that a gauge has ever shown.
    shown: Mutex<BTreeMap<&'static str, BTreeSet<Vec<String>>>>,
    /// Held while a counter is raised to a total, which reads before it adds.
    raising: Mutex<()>,
}

const LAG_BUCKETS: [f64; 12] =
    [1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0, 7200.0, 86_400.0];
const BATCH_BUCKETS: [f64; 10] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0];

impl Metrics {
    /// Declares every metric of [`METRICS`].
    ///
    /// # Errors
    ///
    /// A declaration is malformed or stands twice, which the tests rule out.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let mut metrics = Self {
            registry,
            counters: BTreeMap::new(),
            gauges: BTreeMap::new(),
            histograms: BTreeMap::new(),
            shown: Mutex::default(),
            raising: Mutex::default(),
        };
        for spec in METRICS {
            metrics.declare(spec)?;
        }
        metrics.set(&BUILD_INFO, &[env!("CARGO_PKG_VERSION")], 1.0);
        metrics.set(&CONFIG_RELOAD, &[], 1.0);
        Ok(metrics)
    }

    fn declare(&mut self, spec: &MetricSpec) -> Result<(), prometheus::Error> {
        let collector: Box<dyn Collector> = match spec.kind {
            MetricKind::Counter => {
                let counter = IntCounterVec::new(Opts::new(spec.name, spec.help), spec.labels)?;
                if spec.labels.is_empty() {
                    counter.with_label_values::<&str>(&[]);
                }
                self.counters.insert(spec.name, counter.clone());
                Box::new(counter)
            }
            MetricKind::Gauge => {
                let gauge = GaugeVec::new(Opts::new(spec.name, spec.help), spec.labels)?;
                if spec.labels.is_empty() {
                    gauge.with_label_values::<&str>(&[]);
                }
                self.gauges.insert(spec.name, gauge.clone());
                Box::new(gauge)
            }
            MetricKind::Histogram => {
                let buckets =
                    if spec.name == EVENT_LAG.name { LAG_BUCKETS.to_vec() } else { BATCH_BUCKETS.to_vec() };
                let options = HistogramOpts::new(spec.name, spec.help).buckets(buckets);
                let histogram = HistogramVec::new(options, spec.labels)?;
                if spec.labels.is_empty() {
                    histogram.with_label_values::<&str>(&[]);
                }
                self.histograms.insert(spec.name, histogram.clone());
                Box::new(histogram)
            }
        };
        self.registry.register(collector)
    }

    /// Adds to a counter. A call with the wrong number of labels is a mistake of ours and counts nothing.
    pub fn add(&self, spec: &MetricSpec, labels: &[&str], by: u64) {
        let series = self.counters.get(spec.name).map(|vec| vec.get_metric_with_label_values(labels));
        debug_assert!(matches!(series, Some(Ok(_))), "{} has no labels {labels:?}", spec.name);
        if let Some(Ok(counter)) = series {
            counter.inc_by(by);
        }
    }

    /// Raises a counter to a total that is counted elsewhere.
    pub fn raise_to(&self, spec: &MetricSpec, labels: &[&str], total: u64) {
        let series = self.counters.get(spec.name).map(|vec| vec.get_metric_with_label_values(labels));
        debug_assert!(matches!(series, Some(Ok(_))), "{} has no labels {labels:?}", spec.name);
        let _raising = self.raising.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Ok(counter)) = series {
            counter.inc_by(total.saturating_sub(counter.get()));
        }
    }

    /// Sets one series of a gauge.
    pub fn set(&self, spec: &MetricSpec, labels: &[&str], value: f64) {
        let series = self.gauges.get(spec.name).map(|vec| vec.get_metric_with_label_values(labels));
        debug_assert!(matches!(series, Some(Ok(_))), "{} has no labels {labels:?}", spec.name);
        if let Some(Ok(gauge)) = series {
            gauge.set(value);
        }
    }

    /// Records one value of a histogram, in seconds.
    pub fn observe(&self, spec: &MetricSpec, labels: &[&str], seconds: f64) {
        let series = self.histograms.get(spec.name).map(|vec| vec.get_metric_with_label_values(labels));
        debug_assert!(matches!(series, Some(Ok(_))), "{} has no labels {labels:?}", spec.name);
        if let Some(Ok(histogram)) = series {
            histogram.observe(seconds);
        }
    }

    /// Shows all series of a derived gauge; what was shown before and is not in them falls to 0. No series
    /// passes through a value that is not true, whoever looks meanwhile.
    pub fn show(&self, spec: &MetricSpec, series: &Series) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let known = shown.entry(spec.name).or_default();
        let set = |labels: &[String], value| {
            self.set(spec, &labels.iter().map(String::as_str).collect::<Vec<_>>(), value);
        };
        let present: BTreeSet<&Vec<String>> = series.iter().map(|(labels, _)| labels).collect();
        known.iter().filter(|labels| !present.contains(labels)).for_each(|labels| set(labels, 0.0));
        for (labels, value) in series {
            set(labels, *value);
            known.insert(labels.clone());
        }
    }

    /// The exposition in Prometheus' text format.
    ///
    /// # Errors
    ///
    /// A series could not be written as text.
    pub fn exposition(&self) -> Result<String, prometheus::Error> {
        // While another scrape shows its series they pass through 0, and that is nobody's business.
        let families = {
            let _shown = self.shown.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            self.registry.gather()
        };
        let mut text = Vec::new();
        TextEncoder::new().encode(&families, &mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

/// The page `docs/metrics.md`.
pub fn markdown() -> String {
    let mut page = String::from(
        "# Metrics\n\nGenerated from the declarations in `src/metrics/mod.rs`. `/metrics` serves them in Prometheus' text format.\n\
         A series that was shown once stays, with 0 when nothing is left of it, for as long as the process lives.\n\n\
         | metric | kind | labels | meaning | series at most |\n| --- | --- | --- | --- | --- |\n",
    );
    for spec in METRICS {
        let kind = format!("{:?}", spec.kind).to_lowercase();
        let labels = spec.labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
        page.extend([format!("| `{}` | {kind} | {labels} | {} | {} |\n", spec.name, spec.help, spec.bound)]);
    }
    page
}
