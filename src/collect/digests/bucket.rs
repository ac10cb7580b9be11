//! Digest and log files in a bucket.

use std::sync::Arc;

use aws_sdk_s3::Client;
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use super::{MAX_LOG, Read, why};
use crate::collect::api::{Api, GET_OBJECT, LIST_BUCKET};
use crate::collect::clients::Clients;
use crate::collect::outcome::Failure;
use crate::collect::readings::Readings;
use crate::collect::s3::{BucketClients, list_page, where_it_is};
use crate::integrity::{
    Digest, DigestName, Fetched, Inflated, Inflater, ListedLog, LogOutcome, MAX_DIGEST, Signature,
};
use crate::model::{AccountId, Region};

/// The pieces in which a file is decompressed, so that other tasks get their turn.
const PIECE: usize = 16 << 10;

/// A bucket, and others that its chains lead to.
#[derive(Debug)]
pub(crate) struct Bucket {
    account: AccountId,
    /// Where a bucket is asked for first.
    asked_in: Region,
    name: String,
    clients: BucketClients,
    readings: Arc<Readings>,
}

impl Bucket {
    pub(super) fn new(
        clients: &Clients,
        (account, asked_in): (AccountId, Region),
        name: &str,
        readings: Arc<Readings>,
    ) -> Result<Self, Failure> {
        let clients = clients.buckets(&account, &asked_in)?;
        Ok(Self { account, asked_in, name: name.to_owned(), clients, readings })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    fn record<T, E>(&self, api: Api, outcome: Result<T, SdkError<E, HttpResponse>>) -> Result<T, Failure>
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let outcome = outcome.map_err(|error| Failure::of(api, &error));
        self.readings.record(&self.account, Some(&self.asked_in), api, outcome.as_ref().err());
        outcome
    }

    pub(super) async fn list(
        &self,
        bucket: Option<&str>,
        prefix: &str,
        after: &str,
        wanted: impl Fn(&str) -> bool + Send,
    ) -> Result<Vec<String>, Failure> {
        let bucket = bucket.unwrap_or(&self.name);
        let mut keys = Vec::new();
        let mut token = None;
        loop {
            let page = list_page(&self.clients, bucket, prefix, Some(after), token).await;
            let page = self.record(LIST_BUCKET, page)?;
            let found = page.contents().iter().filter_map(|object| object.key());
            let before = keys.len();
            keys.extend(found.take_while(|key| wanted(key)).map(str::to_owned));
            let is_over = keys.len() - before < page.contents().len();
            token = page.next_continuation_token().map(str::to_owned);
            if is_over || token.is_none() {
                return Ok(keys);
            }
        }
    }

    pub(super) async fn folders(&self, prefix: &str) -> Result<Vec<String>, Failure> {
        let mut folders = Vec::new();
        let mut token = None;
        loop {
            let ask = |client: Client| {
                let request = client.list_objects_v2().bucket(&self.name).prefix(prefix).delimiter("/");
                request.set_continuation_token(token.clone()).send()
            };
            let page = where_it_is(&self.clients, &self.name, None, ask).await;
            let page = self.record(LIST_BUCKET, page)?;
            let found = page.common_prefixes().iter().filter_map(|common| common.prefix());
            folders.extend(found.map(str::to_owned));
            token = page.next_continuation_token().map(str::to_owned);
            if token.is_none() {
                return Ok(folders);
            }
        }
    }

    pub(super) async fn digest(&self, bucket: Option<&str>, key: &str) -> Read {
        let object = match self.get(bucket.unwrap_or(&self.name), key).await {
            Ok(object) => object,
            Err(failure) if failure.absent => return Read { fetched: Fetched::Missing, generated: None },
            Err(failure) => return Read { fetched: Fetched::Unread(why(&failure)), generated: None },
        };
        let told = |name: &str| object.metadata().and_then(|metadata| metadata.get(name)).cloned();
        let signature = told("signature").map_or(Signature::Absent, Signature::Given);
        let generated = told("backfill-generation-timestamp");
        let is_backfill = DigestName::parse(key).is_some_and(|name| name.backfill);
        let generated = generated.and_then(|text| text.parse().ok());
        if is_backfill && generated.is_none() {
            let what = "its object does not say when it was made (`backfill-generation-timestamp`)";
            return Read { fetched: Fetched::Malformed(what.to_owned()), generated: None };
        }
        let fetched = match self.inflate(object, Inflater::keeping(MAX_DIGEST)).await {
            Ok(Ok(inflated)) => Digest::parse(&inflated.content)
                .map_or_else(Fetched::Malformed, |digest| Fetched::Digest(Box::new(digest), signature)),
            Ok(Err(problem)) => Fetched::Malformed(problem),
            Err(failure) => Fetched::Unread(why(&failure)),
        };
        Read { fetched, generated }
    }

    pub(super) async fn log(&self, log: &ListedLog) -> LogOutcome {
        let object = match self.get(&log.bucket, &log.object).await {
            Ok(object) => object,
            Err(failure) if failure.absent => return LogOutcome::Missing,
            Err(failure) => return LogOutcome::Unread(why(&failure)),
        };
        match self.inflate(object, Inflater::hashing(MAX_LOG)).await {
            Ok(Ok(inflated)) => LogOutcome::Read(inflated.hash),
            Ok(Err(problem)) => LogOutcome::Malformed(problem),
            Err(failure) => LogOutcome::Unread(why(&failure)),
        }
    }

    async fn get(&self, bucket: &str, key: &str) -> Result<GetObjectOutput, Failure> {
        let ask = |client: Client| client.get_object().bucket(bucket).key(key).send();
        self.record(GET_OBJECT, where_it_is(&self.clients, bucket, None, ask).await)
    }

    /// What an object holds, as it comes: a failure is a connection that broke, a problem the object's own.
    async fn inflate(
        &self,
        object: GetObjectOutput,
        mut inflater: Inflater,
    ) -> Result<Result<Inflated, String>, Failure> {
        let mut body = object.body;
        loop {
            let next = body.try_next().await.map_err(|error| {
                let failure = Failure::unusable(GET_OBJECT, &error.to_string(), None);
                self.readings.record(&self.account, Some(&self.asked_in), GET_OBJECT, Some(&failure));
                failure
            })?;
            let Some(bytes) = next else { return Ok(inflater.finish()) };
            for piece in bytes.chunks(PIECE) {
                if let Err(problem) = inflater.push(piece) {
                    return Ok(Err(problem));
                }
                tokio::task::yield_now().await;
            }
        }
    }
}
