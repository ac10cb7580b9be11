//! What the pipeline counts of what it has committed.

use std::collections::BTreeMap;

use super::Pipeline;
use crate::clock;
use crate::metrics::{self, as_f64};
use crate::model::{Batch, Changes};

impl Pipeline {
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
