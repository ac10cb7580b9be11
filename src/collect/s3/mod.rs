//! Buckets: a client for the Region that each is in, what is in them, and their objects as streams.

mod clients;
mod fetch;
mod list;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;

pub(crate) use self::clients::BucketClients;
pub use self::fetch::mark_of;
pub(crate) use self::fetch::{Unread, UnreadKind, fetch};
pub(crate) use self::list::{ListedObject, list, list_page};

/// The header in which S3 tells where a bucket is, even as it refuses.
const BUCKET_REGION: &str = "x-amz-bucket-region";

/// The Region that an answer says a bucket is in.
pub(crate) fn told_region<E>(error: &SdkError<E, HttpResponse>) -> Option<String> {
    error.raw_response()?.headers().get(BUCKET_REGION).map(str::to_owned)
}

/// Asks for something of a bucket, and once more where S3 says that the bucket is elsewhere.
async fn where_it_is<T, E, F: Future<Output = Result<T, SdkError<E, HttpResponse>>>>(
    aws: &BucketClients,
    bucket: &str,
    ask: impl Fn() -> F,
) -> Result<T, SdkError<E, HttpResponse>> {
    let answer = ask().await;
    match answer.as_ref().err().and_then(elsewhere) {
        Some(region) if aws.moved(bucket, &region) => ask().await,
        _ => answer,
    }
}

/// The Region that S3 says a bucket is in, when it was asked in another one.
fn elsewhere<E>(error: &SdkError<E, HttpResponse>) -> Option<String> {
    let is_moved = matches!(error.raw_response()?.status().as_u16(), 301 | 307 | 400);
    told_region(error).filter(|_| is_moved)
}
