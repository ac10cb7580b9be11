//! What the pipeline counts of what it has committed.

use std::time::Duration;

use super::Pipeline;
use crate::clock;
use crate::harvest::Counts;
use crate::ledger::{self, Deltas};
use crate::metrics::{self, as_f64};
use crate::model::kms::CRYPTOGRAPHIC;
use crate::model::{Changes, SourceKind, SubjectKind, UsageOutcome};
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
        for source in [SourceKind::Lookup, SourceKind::Queue] {
            self.metrics.add(&metrics::EVENTS, &[source.as_str()], 0);
        }
        for operation in CRYPTOGRAPHIC {
            for outcome in UsageOutcome::ALL {
                self.metrics.add(&metrics::KEY_REQUESTS, &[operation, outcome.as_str()], 0);
            }
        }
        for reason in Reason::ALL {
            for delivery in Delivery::ALL {
                self.metrics.add(&metrics::NOTIFICATIONS, &[reason.as_str(), delivery.as_str()], 0);
            }
        }
    }

    /// Counts what was committed of some inputs; `uses` are without duplicates.
    pub(super) fn count(&self, source: SourceKind, counts: &Counts, uses: &Deltas) {
        let fresh = counts.events.saturating_sub(counts.duplicates);
        self.metrics.add(&metrics::EVENTS, &[source.as_str()], fresh);
        self.metrics.add(&metrics::EVENTS_DUPLICATE, &[], counts.duplicates);
        self.metrics.add(&metrics::EVENTS_MALFORMED, &[], counts.malformed);
        let now = clock::now();
        for newest in counts.places.values() {
            let lag = usize::try_from((now - *newest).num_milliseconds()).unwrap_or(0);
            self.metrics.observe(&metrics::EVENT_LAG, &[], as_f64(lag) / 1000.0);
        }
        for ((operation, outcome), count) in ledger::requests(&uses.usage) {
            self.metrics.add(&metrics::KEY_REQUESTS, &[operation, outcome], count);
        }
    }

    pub(super) fn observe_batch(&self, source: SourceKind, took: Duration) {
        self.metrics.observe(&metrics::BATCH_SECONDS, &[source.as_str()], took.as_secs_f64());
    }

    pub(super) fn count_detections(&self, changes: &Changes) {
        for ((rule, level), calls) in &changes.detected {
            self.metrics.add(&metrics::DETECTIONS, &[rule, level.as_str()], *calls);
        }
    }
}
