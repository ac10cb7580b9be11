//! The clients of one queue and of the buckets that it announces.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use aws_config::SdkConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_types::timeout::TimeoutConfig;

use super::super::clients::SESSION_NAME;
use super::super::count::CountRequests;
use super::super::readings::RequestCounts;
use super::super::s3::BucketClients;
use crate::config::{Queue, QueueUrl};
use crate::model::{AccountId, Region};

/// The clients of one queue, with the credentials that it is read with.
pub(super) struct QueueClients {
    /// The account and Region that the queue is in, and its name.
    pub(super) account: AccountId,
    pub(super) region: Region,
    pub(super) name: String,
    pub(super) sqs: aws_sdk_sqs::Client,
    pub(super) s3: BucketClients,
}

impl fmt::Debug for QueueClients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueClients").field("sqs", &self.sqs).finish_non_exhaustive()
    }
}

impl QueueClients {
    /// Clients for a queue, with the queue's role if it has one. `counts` is told of every request.
    pub(super) async fn new(
        sdk: &SdkConfig,
        queue: &Queue,
        counts: Arc<RequestCounts>,
    ) -> anyhow::Result<Self> {
        let QueueUrl { account, name, region } = QueueUrl::parse(&queue.url).map_err(anyhow::Error::msg)?;
        let region = queue.region.clone().or(region).context("the queue's Region is not known")?;
        let mut base = sdk.clone().into_builder().region(aws_config::Region::new(region.to_string()));
        if let Some(role) = &queue.role {
            let mut provider = AssumeRoleProvider::builder(role).session_name(SESSION_NAME).configure(sdk);
            if let Some(external_id) = &queue.external_id {
                provider = provider.external_id(external_id);
            }
            base = base.credentials_provider(SharedCredentialsProvider::new(provider.build().await));
        }
        let base = base.build();
        let sqs = aws_sdk_sqs::config::Builder::from(&base)
            .timeout_config(patient())
            .interceptor(CountRequests::new(Arc::clone(&counts)))
            .build();
        let sqs = aws_sdk_sqs::Client::from_conf(sqs);
        Ok(Self { account, region, name, sqs, s3: BucketClients::new(base, counts) })
    }
}

/// A long poll takes 20 seconds, as long as the usual time-out of one attempt.
fn patient() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(Duration::from_millis(3100))
        .operation_attempt_timeout(Duration::from_secs(30))
        .operation_timeout(Duration::from_mins(1))
        .build()
}
