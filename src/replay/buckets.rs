//! Log files in buckets.

use std::io::Read;
use std::sync::Arc;

use aws_config::SdkConfig;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::ENDED;
use super::inputs::{Input, InputError, InputPlace};
use crate::collect::queue::{ObjectRef, mark_of};
use crate::collect::s3::{BucketClients, ListedObject, fetch, list};
use crate::integrity::is_beside_events;

/// The buckets that the caller's credentials reach.
pub(super) struct Buckets(Arc<BucketClients>);

/// An object of a bucket, and how it is had.
#[derive(Debug, Clone)]
pub(super) struct BucketObject {
    aws: Arc<BucketClients>,
    object: ObjectRef,
    runtime: Handle,
}

impl Buckets {
    pub(super) fn new(sdk: &SdkConfig) -> Self {
        Self(Arc::new(BucketClients::new(sdk.clone(), Arc::default())))
    }

    /// The log files at `BUCKET/PREFIX`, in the order of their keys. They are marked as the queue marks them, so
    /// that what the daemon took is not taken again.
    pub(super) async fn find(&self, place: &str) -> Result<Vec<Input>, InputError> {
        let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
        let failed = |problem: String| InputError { input: format!("s3://{place}"), problem };
        if bucket.is_empty() {
            return Err(failed("no bucket is named; write s3://BUCKET/PREFIX".to_owned()));
        }
        let listed = list(&self.0, bucket, prefix, may_hold_events).await;
        let listed = listed.map_err(|failure| failed(format!("{} ({})", failure.gap(), failure.detail)))?;
        if listed.is_empty() {
            return Err(failed("there are no log files below it; is the prefix spelt right?".to_owned()));
        }
        let runtime = Handle::current();
        let input = |object: ListedObject| Input {
            name: format!("s3://{bucket}/{}", object.key),
            mark: mark_of(bucket, &object.key, &object.etag),
            size: object.size,
            was_found: object.key != prefix,
            place: InputPlace::Bucket(BucketObject {
                aws: Arc::clone(&self.0),
                object: ObjectRef {
                    bucket: bucket.to_owned(),
                    key: object.key,
                    region: None,
                    version: None,
                    etag: Some(object.etag),
                    size: Some(object.size),
                },
                runtime: runtime.clone(),
            }),
        };
        Ok(listed.into_iter().map(input).collect())
    }
}

impl BucketObject {
    /// Begins to fetch it. It blocks, as the reads do, but not beyond `shutdown`: AWS may take a minute to answer.
    pub(super) fn open(
        &self,
        mark: &str,
        shutdown: &CancellationToken,
    ) -> Result<Box<dyn Read + Send>, String> {
        let fetching = shutdown.run_until_cancelled(fetch(&self.aws, &self.object, shutdown));
        let fetched = self.runtime.block_on(fetching).ok_or(ENDED)?;
        let fetched =
            fetched.map_err(|unread| format!("{}: {}", unread.kind.as_str(), unread.failure.detail))?;
        if fetched.mark != mark {
            return Err("it was replaced after it was listed; replay it again".to_owned());
        }
        Ok(Box::new(fetched))
    }
}

/// Whether an object may be a log: no folder's marker, and in none of the folders that hold other things.
fn may_hold_events(key: &str) -> bool {
    !key.ends_with('/') && !is_beside_events(key)
}
