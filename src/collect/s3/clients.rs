//! The clients of buckets, one for each Region.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use aws_config::SdkConfig;
use aws_smithy_runtime::client::retries::RetryPartition;

use super::super::count::CountRequests;
use super::super::readings::RequestCounts;
use crate::model::Region;

/// Buckets whose Region is remembered; more than one trail's are rare.
const BUCKETS: usize = 1000;

/// The clients of buckets, with the same credentials.
pub(crate) struct BucketClients {
    base: SdkConfig,
    counts: Arc<RequestCounts>,
    retries: Option<RetryPartition>,
    by_region: Mutex<BTreeMap<String, aws_sdk_s3::Client>>,
    /// Where buckets turned out to be.
    regions: Mutex<BTreeMap<String, String>>,
}

impl fmt::Debug for BucketClients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BucketClients").field("regions", &self.regions).finish_non_exhaustive()
    }
}

impl BucketClients {
    /// Clients with the credentials of `base`. `counts` is told of every request.
    pub(crate) fn new(base: SdkConfig, counts: Arc<RequestCounts>) -> Self {
        let (by_region, regions) = (Mutex::default(), Mutex::default());
        Self { base, counts, retries: None, by_region, regions }
    }

    /// The same with a budget of retries of their own.
    pub(crate) fn with_retries(self, partition: RetryPartition) -> Self {
        Self { retries: Some(partition), ..self }
    }

    /// A client for the Region that a bucket is in, as far as anybody told.
    pub(crate) fn client(&self, bucket: &str, told: Option<&str>) -> aws_sdk_s3::Client {
        let found = self.regions.lock().unwrap_or_else(PoisonError::into_inner).get(bucket).cloned();
        // A message can name any Region; what is no name of one never becomes the host of a request.
        let told = told.filter(|region| region.parse::<Region>().is_ok()).map(str::to_owned);
        let region =
            found.or(told).or_else(|| self.base.region().map(ToString::to_string)).unwrap_or_default();
        let mut clients = self.by_region.lock().unwrap_or_else(PoisonError::into_inner);
        if clients.len() > BUCKETS {
            clients.clear();
        }
        clients.entry(region.clone()).or_insert_with(|| self.new_client(region)).clone()
    }

    fn new_client(&self, region: String) -> aws_sdk_s3::Client {
        let mut config = aws_sdk_s3::config::Builder::from(&self.base)
            .region(aws_config::Region::new(region))
            // An endpoint of one's own seldom has a name for each bucket.
            .force_path_style(self.base.endpoint_url().is_some())
            .interceptor(CountRequests::new(Arc::clone(&self.counts)));
        config.set_retry_partition(self.retries.clone());
        aws_sdk_s3::Client::from_conf(config.build())
    }

    /// Remembers where a bucket is; false if there is no such Region.
    pub(super) fn moved(&self, bucket: &str, region: &str) -> bool {
        if region.parse::<Region>().is_err() {
            return false;
        }
        let mut regions = self.regions.lock().unwrap_or_else(PoisonError::into_inner);
        if regions.len() > BUCKETS {
            regions.clear();
        }
        regions.insert(bucket.to_owned(), region.to_owned());
        true
    }
}
