//! What is in a bucket.

use aws_sdk_s3::operation::list_objects_v2::{ListObjectsV2Error, ListObjectsV2Output};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;

use super::super::api::LIST_BUCKET;
use super::super::outcome::Failure;
use super::{BucketClients, where_it_is};

/// An object as a listing tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListedObject {
    pub(crate) key: String,
    pub(crate) etag: String,
    pub(crate) size: u64,
}

/// One page of the objects below a prefix, after a key if there is one.
pub(crate) async fn list_page(
    aws: &BucketClients,
    bucket: &str,
    prefix: &str,
    after: Option<&str>,
    token: Option<String>,
) -> Result<ListObjectsV2Output, SdkError<ListObjectsV2Error, HttpResponse>> {
    where_it_is(aws, bucket, None, |client| {
        let request = client.list_objects_v2().bucket(bucket).prefix(prefix);
        request.set_start_after(after.map(str::to_owned)).set_continuation_token(token.clone()).send()
    })
    .await
}

/// All objects below a prefix that are wanted, in the order of their keys.
pub(crate) async fn list(
    aws: &BucketClients,
    bucket: &str,
    prefix: &str,
    wanted: impl Fn(&str) -> bool + Send,
) -> Result<Vec<ListedObject>, Failure> {
    let (mut objects, mut token) = (Vec::new(), None::<String>);
    loop {
        let page = list_page(aws, bucket, prefix, None, token).await;
        let page = page.map_err(|error| Failure::of(LIST_BUCKET, &error))?;
        for object in page.contents() {
            let Some(key) = object.key().filter(|key| wanted(key)) else { continue };
            let size = object.size().and_then(|size| u64::try_from(size).ok()).unwrap_or_default();
            let etag = object.e_tag().unwrap_or_default().to_owned();
            objects.push(ListedObject { key: key.to_owned(), etag, size });
        }
        token = page.next_continuation_token().map(str::to_owned);
        if token.is_none() {
            return Ok(objects);
        }
    }
}
