//! The clients of one queue and of the buckets that it announces.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use aws_config::SdkConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_types::timeout::TimeoutConfig;

use super::super::clients::SESSION_NAME;
use super::super::count::CountRequests;
use super::super::readings::RequestCounts;
use crate::config::{Queue, QueueUrl};
use crate::model::{AccountId, Region};

/// Buckets whose Region is remembered; more than one trail's are rare.
const BUCKETS: usize = 1000;

/// The clients of one queue, with the credentials that it is read with.
pub(super) struct QueueClients {
    /// The account and Region that the queue is in, and its name.
    pub(super) account: AccountId,
    pub(super) region: Region,
    pub(super) name: String,
    base: SdkConfig,
    counts: Arc<RequestCounts>,
    pub(super) sqs: aws_sdk_sqs::Client,
    s3: Mutex<BTreeMap<String, aws_sdk_s3::Client>>,
    /// Where buckets turned out to be.
    regions: Mutex<BTreeMap<String, String>>,
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
        Ok(Self { account, region, name, base, counts, sqs, s3: Mutex::default(), regions: Mutex::default() })
    }

    /// A client for the Region that a bucket is in, as far as anybody told.
    pub(super) fn s3(&self, bucket: &str, told: Option<&str>) -> aws_sdk_s3::Client {
        let found = self.regions.lock().unwrap_or_else(PoisonError::into_inner).get(bucket).cloned();
        // A message can name any Region; what is no name of one never becomes the host of a request.
        let told = told.filter(|region| region.parse::<Region>().is_ok()).map(str::to_owned);
        let region =
            found.or(told).or_else(|| self.base.region().map(ToString::to_string)).unwrap_or_default();
        let mut clients = self.s3.lock().unwrap_or_else(PoisonError::into_inner);
        if clients.len() > BUCKETS {
            clients.clear();
        }
        clients.entry(region.clone()).or_insert_with(|| self.new_s3(region)).clone()
    }

    fn new_s3(&self, region: String) -> aws_sdk_s3::Client {
        let config = aws_sdk_s3::config::Builder::from(&self.base)
            .region(aws_config::Region::new(region))
            // An endpoint of one's own seldom has a name for each bucket.
            .force_path_style(self.base.endpoint_url().is_some())
            .interceptor(CountRequests::new(Arc::clone(&self.counts)))
            .build();
        aws_sdk_s3::Client::from_conf(config)
    }

    /// Remembers where a bucket is; false if that was known.
    pub(super) fn moved(&self, bucket: &str, region: &str) -> bool {
        if region.parse::<Region>().is_err() {
            return false;
        }
        let mut regions = self.regions.lock().unwrap_or_else(PoisonError::into_inner);
        if regions.len() > BUCKETS {
            regions.clear();
        }
        regions.insert(bucket.to_owned(), region.to_owned()).as_deref() != Some(region)
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
