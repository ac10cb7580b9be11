//! What a consumer tells about itself: its readings, how deep its queue is, whether it works at all.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_sqs::types::QueueAttributeName;
use tokio::time::MissedTickBehavior;

use super::super::api::{Api, GET_QUEUE_ATTRIBUTES};
use super::super::outcome::Failure;
use super::consumer::Consumer;
use super::intake::Intake;
use crate::clock;
use crate::metrics::{self, Metrics};
use crate::model::{Region, SourceKind};

/// Which queues can be received from. The source is up while any of them can.
#[derive(Debug, Default)]
pub(super) struct Health(Mutex<BTreeMap<String, bool>>);

impl Health {
    pub(super) fn set(&self, metrics: &Metrics, queue: &str, up: bool) {
        let mut queues = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        queues.insert(queue.to_owned(), up);
        let any = queues.values().any(|up| *up);
        metrics.set(&metrics::SOURCE_UP, &[SourceKind::Queue.as_str()], if any { 1.0 } else { 0.0 });
    }
}

impl<I: Intake> Consumer<I> {
    /// Records a call; of a bucket, with the bucket's Region.
    pub(super) fn record(&self, region: Option<&Region>, api: Api, failure: Option<&Failure>) {
        let region = region.unwrap_or(&self.aws.region);
        let readings = self.readings.lock().unwrap_or_else(PoisonError::into_inner);
        readings.record(&self.aws.account, Some(region), api, failure);
    }

    /// Looks after the queue until shutdown.
    pub(super) async fn upkeep(&self, every: Duration) {
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return,
                _ = ticks.tick() => {}
            }
            tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return,
                () = self.measure() => {}
            }
            // A commit is never broken off.
            self.tell().await;
        }
    }

    /// Asks how many messages there are.
    async fn measure(&self) {
        let states = [
            (QueueAttributeName::ApproximateNumberOfMessages, "visible"),
            (QueueAttributeName::ApproximateNumberOfMessagesNotVisible, "in_flight"),
        ];
        let request = self.aws.sqs.get_queue_attributes().queue_url(&self.queue.url);
        let names = states.iter().map(|(name, _)| name.clone()).collect();
        let answer = request.set_attribute_names(Some(names)).send().await;
        let failure = answer.as_ref().err().map(|error| Failure::of(GET_QUEUE_ATTRIBUTES, error));
        self.record(None, GET_QUEUE_ATTRIBUTES, failure.as_ref());
        let Ok(answer) = answer else { return };
        let attributes = answer.attributes.unwrap_or_default();
        for (name, state) in states {
            if let Some(count) = attributes.get(&name).and_then(|count| count.parse::<f64>().ok()) {
                self.metrics.set(&metrics::QUEUE_DEPTH, &[&self.aws.name, state], count);
            }
        }
    }

    /// Hands over what was attempted since the last time. Summed up over a while, so that one object that could be
    /// read does not hide at once that another could not.
    async fn tell(&self) {
        let readings = std::mem::take(&mut *self.readings.lock().unwrap_or_else(PoisonError::into_inner));
        let readings = readings.finish(clock::now());
        if let Err(error) = self.intake.commit(SourceKind::Queue, Vec::new(), readings).await {
            tracing::error!(
                queue = self.aws.name,
                error = format!("{error:#}"),
                "readings could not be stored"
            );
        }
    }
}
