//! The `queue` source: log files that SQS messages announce, and events that they carry.
//!
//! [`consume`] takes messages until it is told to stop. What they tell is read by an [`Intake`] and committed by it;
//! only then are they deleted. Nothing here assumes to be alone: any number of instances may take from one queue, and
//! any may die at any time, after which its messages show again.

mod clients;
mod consumer;
mod envelope;
mod intake;
mod messages;
#[cfg(test)]
#[cfg(feature = "sandbox")]
mod tests;
mod upkeep;

use std::sync::Arc;

use aws_config::SdkConfig;
use futures::future::try_join_all;
use tokio_util::sync::CancellationToken;

pub(super) use self::envelope::bare;
pub use self::envelope::{Announcement, ObjectRef, Reason, Unrecognised, recognise};
pub use self::intake::Intake;

use self::clients::QueueClients;
use self::consumer::{Consumer, Pace};
use self::upkeep::Health;
use super::readings::RequestCounts;
pub use super::s3::mark_of;
use crate::config::Queue;
use crate::metrics::Metrics;

/// Who is told how it goes.
#[derive(Debug, Clone)]
pub struct Told {
    /// Counts every request that goes out.
    pub requests: Arc<RequestCounts>,
    /// The metrics of queues.
    pub metrics: Arc<Metrics>,
}

/// Takes from all queues until `shutdown`; with none it is over at once. A batch that is being committed then is
/// finished, all others are given back.
///
/// # Errors
/// When the URL of a queue is none, which the check of the configuration rules out.
pub async fn consume<I: Intake>(
    queues: Vec<Queue>,
    sdk: SdkConfig,
    intake: Arc<I>,
    told: Told,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let health = Arc::new(Health::default());
    let consumers = queues.iter().map(async |queue| {
        let aws = QueueClients::new(&sdk, queue, Arc::clone(&told.requests)).await?;
        let (intake, metrics) = (Arc::clone(&intake), Arc::clone(&told.metrics));
        let consumer = Consumer::new(queue, aws, intake, metrics, Arc::clone(&health), shutdown.clone());
        Box::pin(consumer.run(Pace::default())).await;
        Ok(())
    });
    try_join_all(consumers).await.map(drop)
}
