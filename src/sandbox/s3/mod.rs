//! Amazon S3: buckets, objects, and notifications of what is put into them.
//!
//! Every bucket is its owner's and of those accounts that its policy names; AWS's services are let in always.

mod buckets;
mod list;
mod notify;
mod objects;

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use md5::{Digest, Md5};
use serde_json::Value;
use tokio_util::bytes::Bytes;

use super::World;
use super::call::{Answer, ApiError, Call};
use super::ids::hex_of;
use super::world::unknown_operation;
use crate::model::{AccountId, Region};

/// A bucket.
#[derive(Debug, Clone)]
struct Bucket {
    account: AccountId,
    region: Region,
    created: DateTime<Utc>,
    objects: BTreeMap<String, Object>,
    policy: Option<String>,
    /// `NotificationConfiguration` as it was put, ids filled in.
    notifications: Value,
}

/// An object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    body: Bytes,
    /// Of the content, in hexadecimal digits; kept, so that a listing costs no hashing.
    md5: String,
    /// When it was put.
    pub modified: DateTime<Utc>,
    /// `x-amz-meta-…` without that prefix.
    pub metadata: BTreeMap<String, String>,
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// `Content-Encoding`.
    pub content_encoding: Option<String>,
}

impl Object {
    /// An object without metadata, put at a time.
    pub fn new(body: impl Into<Bytes>, modified: DateTime<Utc>) -> Self {
        let body = body.into();
        Self {
            md5: hex_of(&Md5::digest(&body)),
            body,
            modified,
            metadata: BTreeMap::new(),
            content_type: None,
            content_encoding: None,
        }
    }

    /// The same with what is known of its content.
    pub(super) fn with(
        self,
        metadata: BTreeMap<String, String>,
        kind: Option<&str>,
        encoding: Option<&str>,
    ) -> Self {
        let (content_type, content_encoding) = (kind.map(str::to_owned), encoding.map(str::to_owned));
        Self { metadata, content_type, content_encoding, ..self }
    }

    /// Its content.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The MD5 of the content, quoted.
    pub fn etag(&self) -> String {
        format!("\"{}\"", self.md5)
    }
}

/// Every bucket.
#[derive(Debug, Default)]
pub struct State {
    buckets: BTreeMap<String, Bucket>,
    /// After how long the objects that AWS's services deliver are gone again, if they are not kept for ever.
    pub kept: Option<TimeDelta>,
    /// The content that goes with the last answer.
    body: Bytes,
}

impl State {
    /// Creates a bucket, or leaves the one of that name as it is.
    pub fn put_bucket(&mut self, account: &AccountId, region: &Region, name: &str, now: DateTime<Utc>) {
        self.buckets.entry(name.to_owned()).or_insert_with(|| Bucket {
            account: account.clone(),
            region: region.clone(),
            created: now,
            objects: BTreeMap::new(),
            policy: None,
            notifications: Value::Null,
        });
    }

    /// The Region of a bucket.
    pub fn region_of(&self, bucket: &str) -> Option<&Region> {
        self.buckets.get(bucket).map(|bucket| &bucket.region)
    }

    /// An object.
    pub fn object(&self, bucket: &str, key: &str) -> Option<&Object> {
        self.buckets.get(bucket)?.objects.get(key)
    }

    /// Gives an object another content, as somebody who tampers with it would; nobody is notified. Whether
    /// there is such an object.
    pub fn alter(&mut self, bucket: &str, key: &str, body: impl Into<Bytes>) -> bool {
        let found = self.buckets.get_mut(bucket).and_then(|bucket| bucket.objects.get_mut(key));
        let Some(object) = found else { return false };
        let altered = Object::new(body, object.modified);
        (object.body, object.md5) = (altered.body, altered.md5);
        true
    }

    /// Takes an object out of a bucket.
    pub fn remove(&mut self, bucket: &str, key: &str) -> Option<Object> {
        self.buckets.get_mut(bucket)?.objects.remove(key)
    }

    /// The keys of a bucket's objects, in their order.
    pub fn keys(&self, bucket: &str) -> Vec<String> {
        self.buckets.get(bucket).map(|bucket| bucket.objects.keys().cloned().collect()).unwrap_or_default()
    }

    /// The content that goes with the answer that was just given.
    pub fn take_body(&mut self) -> Bytes {
        std::mem::take(&mut self.body)
    }
}

/// How IAM names the permission for an operation.
pub(super) fn permission(operation: &str) -> &str {
    match operation {
        "HeadObject" => "GetObject",
        "HeadBucket" | "ListObjects" | "ListObjectsV2" => "ListBucket",
        "ListBuckets" => "ListAllMyBuckets",
        "GetBucketNotificationConfiguration" => "GetBucketNotification",
        "PutBucketNotificationConfiguration" => "PutBucketNotification",
        other => other,
    }
}

/// Answers a call to S3.
///
/// # Errors
///
/// As AWS: `NoSuchBucket`, `NoSuchKey`, `AccessDenied`, `PermanentRedirect` in a Region that is not the
/// bucket's, `InvalidArgument`, `InvalidRange` and its like.
pub fn handle(world: &mut World, call: &Call) -> Answer {
    match call.operation.as_str() {
        "ListBuckets" => return Ok(buckets::list(world, call)),
        "CreateBucket" => return buckets::create(world, call),
        _ => check(world, call)?,
    }
    match call.operation.as_str() {
        "DeleteBucket" => buckets::delete(world, call),
        "HeadBucket" => buckets::head(world, call),
        "GetBucketLocation" => buckets::location(world, call),
        "GetBucketPolicy" => buckets::policy(world, call),
        "PutBucketPolicy" => buckets::set_policy(world, call),
        "GetBucketNotificationConfiguration" => notify::configuration(world, call),
        "PutBucketNotificationConfiguration" => notify::configure(world, call),
        "PutObject" => objects::put(world, call),
        "GetObject" | "HeadObject" => objects::get(world, call),
        "DeleteObject" => objects::delete(world, call),
        "ListObjects" | "ListObjectsV2" => list::list(world, call),
        _ => Err(unknown_operation(call)),
    }
}

/// Puts an object as an AWS service does, and notifies whoever asked for it. Whether there is such a bucket.
pub fn deliver(world: &mut World, bucket: &str, key: &str, object: Object) -> bool {
    let kept = world.s3.kept;
    let Some(found) = world.s3.buckets.get_mut(bucket) else { return false };
    if let Some(kept) = kept {
        found.objects.retain(|_, known| object.modified - known.modified <= kept);
    }
    found.objects.insert(key.to_owned(), object);
    notify::created(world, bucket, key, "AWS:cloudtrail.amazonaws.com");
    true
}

/// Whether the caller comes to a bucket that there is, in its Region, and is let in.
fn check(world: &World, call: &Call) -> Result<(), ApiError> {
    let bucket = find(world, call)?;
    // AWS tells everybody where a bucket is, by an old custom from one Region.
    let tells_where = call.operation == "GetBucketLocation";
    if bucket.region != call.region && !tells_where {
        let message = "The bucket you are attempting to access must be addressed using the specified \
             endpoint. Please send all future requests to this endpoint.";
        return Err(ApiError { status: 301, ..error("PermanentRedirect", message) });
    }
    let lets_in = |policy: &String| policy.contains(call.account.as_str()) || policy.contains("\"*\"");
    if bucket.account == call.account || bucket.policy.as_ref().is_some_and(lets_in) {
        return Ok(());
    }
    Err(ApiError { status: 403, ..error("AccessDenied", "Access Denied") })
}

fn find<'a>(world: &'a World, call: &Call) -> Result<&'a Bucket, ApiError> {
    world.s3.buckets.get(name(call)).ok_or_else(no_such_bucket)
}

fn find_mut<'a>(world: &'a mut World, call: &Call) -> Result<&'a mut Bucket, ApiError> {
    world.s3.buckets.get_mut(name(call)).ok_or_else(no_such_bucket)
}

fn name(call: &Call) -> &str {
    call.text("Bucket").unwrap_or_default()
}

fn no_such_bucket() -> ApiError {
    ApiError { status: 404, ..error("NoSuchBucket", "The specified bucket does not exist") }
}

fn error(code: &str, message: &str) -> ApiError {
    ApiError::client(code, message)
}

#[cfg(test)]
mod tests;
