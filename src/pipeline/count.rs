//! What the pipeline counts of what it has committed.

use std::collections::BTreeMap;

use super::Pipeline;
use crate::clock;
use crate::metrics::{self, as_f64};
use crate::model::{Batch, Changes, SubjectKind};
use crate::notify::{Delivery, Reason};

impl Pipeline {
    /// Shows the counters of what has not happened yet with 0: Prometheus sees no increase in a series that
    /// begins with 1, and the first detection of a rule is the one that matters.
    pub(super) fn show_counters(&self) {
        for rule in
            self.auditor().standards().rules.rules().iter().filter(|rule| rule.kind == SubjectKind::Event)
        {
            self.metrics.add(&metrics::DETECTIONS, &[&rule.name, rule.level.as_str()], 0);
        }
        for reason in Reason::ALL {
            for delivery in Delivery::ALL {
                self.metrics.add(&metrics::NOTIFICATIONS, &[reason.as_str(), delivery.as_str()], 0);
            }
        }
    }

    pub(super) fn count_batch(&self, batch: &Batch, duplicates: usize, seconds: f64) {
        let source = batch.source.as_str();
        self.metrics.observe(&metrics::BATCH_SECONDS, &[source], seconds);
        self.metrics.add(&metrics::EVENTS, &[source], batch.events.len() as u64);
        self.metrics.add(&metrics::EVENTS_DUPLICATE, &[], duplicates as u64);
        let now = clock::now();
        for event in &batch.events {
            let lag = usize::try_from((now - event.time()).num_milliseconds()).unwrap_or(0);
            self.metrics.observe(&metrics::EVENT_LAG, &[], as_f64(lag) / 1000.0);
        }
        self.count_key_requests(batch);
    }

    fn count_key_requests(&self, batch: &Batch) {
        let mut requests: BTreeMap<(&str, &'static str), u64> = BTreeMap::new();
        for event in batch.events.iter().filter(|event| crate::facts::is_cryptographic(event)) {
            let outcome = match event.text(&["errorCode"]) {
                None => "success",
                Some(code) if code.starts_with("AccessDenied") => "denied",
                Some(_) => "error",
            };
            *requests.entry((event.name(), outcome)).or_default() += 1;
        }
        for ((operation, outcome), count) in requests {
            self.metrics.add(&metrics::KEY_REQUESTS, &[operation, outcome], count);
        }
    }

    pub(super) fn count_detections(&self, changes: &Changes) {
        for ((rule, level), calls) in &changes.detected {
            self.metrics.add(&metrics::DETECTIONS, &[rule, level.as_str()], *calls);
        }
    }
}
