//! One object of S3 as a stream for a blocking thread, and what it means that there is none.

use std::io::{self, Read};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_sdk_s3::operation::get_object::{GetObjectError, GetObjectOutput};
use aws_sdk_s3::primitives::ByteStream;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use tokio::sync::mpsc;
use tokio_util::bytes::{Buf, Bytes};
use tokio_util::task::AbortOnDropHandle;

use super::super::api::GET_ANNOUNCED_OBJECT;
use super::super::outcome::Failure;
use super::clients::QueueClients;
use super::envelope::{ObjectRef, bare};
use crate::model::ReadingResult;

/// Pieces of an object that wait to be read; one is some ten kilobytes.
const PIECES: usize = 16;
/// How long the next piece may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why an object was not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unread {
    pub(super) kind: UnreadKind,
    pub(super) failure: Failure,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UnreadKind {
    /// There is none: deleted by now, or not to be seen yet.
    Missing,
    /// AWS refuses, or the key that it is encrypted with does.
    Denied,
    /// AWS is too busy.
    Throttled,
    /// No answer, or one that broke off.
    Unreachable,
}

impl UnreadKind {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Denied => "denied",
            Self::Throttled => "throttled",
            Self::Unreachable => "unreachable",
        }
    }
}

/// An object that arrives. Dropping it ends the transfer.
pub(super) struct Fetched {
    /// Names the object and its content.
    pub(super) mark: String,
    pub(super) stream: Pieces,
    broken: Arc<OnceLock<String>>,
    _pump: AbortOnDropHandle<()>,
}

impl Fetched {
    /// Lets the stream be read, and says afterwards whether it was all there.
    pub(super) async fn read_with<T, F: Future<Output = T>>(
        self,
        read: impl FnOnce(String, Box<dyn Read + Send>) -> F,
    ) -> Result<T, Unread> {
        let value = read(self.mark, Box::new(self.stream)).await;
        match self.broken.get() {
            None => Ok(value),
            Some(detail) => Err(Unread {
                kind: UnreadKind::Unreachable,
                failure: Failure::unusable(GET_ANNOUNCED_OBJECT, detail, None),
            }),
        }
    }
}

/// The name under which an object is taken in: the same content is the same, whoever announces it and however often.
pub fn mark_of(bucket: &str, key: &str, etag: &str) -> String {
    format!("s3/{bucket}/{key}@{}", bare(etag))
}

/// Begins to fetch an object.
pub(super) async fn fetch(aws: &QueueClients, object: &ObjectRef) -> Result<Fetched, Unread> {
    let mut answer = get(aws, object).await;
    if let Err(error) = &answer
        && let Some(region) = elsewhere(error)
        && aws.moved(&object.bucket, &region)
    {
        answer = get(aws, object).await;
    }
    let answer = answer.map_err(|error| explain(object, &error))?;
    let etag = answer.e_tag.as_deref().or(object.etag.as_deref()).unwrap_or_default();
    let mark = mark_of(&object.bucket, &object.key, etag);
    let (sender, pieces) = mpsc::channel(PIECES);
    let broken = Arc::new(OnceLock::new());
    let pump = tokio::spawn(pump(answer.body, sender, Arc::clone(&broken)));
    let stream = Pieces { source: pieces, piece: Bytes::new(), ended: false };
    Ok(Fetched { mark, stream, broken, _pump: AbortOnDropHandle::new(pump) })
}

async fn get(
    aws: &QueueClients,
    object: &ObjectRef,
) -> Result<GetObjectOutput, SdkError<GetObjectError, HttpResponse>> {
    let s3 = aws.s3(&object.bucket, object.region.as_deref());
    let request = s3.get_object().bucket(&object.bucket).key(&object.key);
    request.set_version_id(object.version.clone()).send().await
}

/// The Region that S3 says a bucket is in, when it was asked in another one.
fn elsewhere(error: &SdkError<GetObjectError, HttpResponse>) -> Option<String> {
    let response = error.raw_response()?;
    let is_moved = matches!(response.status().as_u16(), 301 | 307 | 400);
    response.headers().get("x-amz-bucket-region").filter(|_| is_moved).map(str::to_owned)
}

fn explain(object: &ObjectRef, error: &SdkError<GetObjectError, HttpResponse>) -> Unread {
    let mut failure = Failure::of(GET_ANNOUNCED_OBJECT, error);
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code).unwrap_or_default();
    // S3 answers a key that cannot be used with its own 400: `KMS.DisabledException`, `KMS.NotFoundException`, …
    let kind = match code {
        "NoSuchKey" | "NoSuchVersion" | "NoSuchBucket" => UnreadKind::Missing,
        code if code.starts_with("KMS.") => {
            failure.result = ReadingResult::Denied;
            UnreadKind::Denied
        }
        _ => match failure.result {
            ReadingResult::Denied => UnreadKind::Denied,
            ReadingResult::Throttled => UnreadKind::Throttled,
            ReadingResult::Ok | ReadingResult::Unreachable => UnreadKind::Unreachable,
        },
    };
    failure.detail = format!("{} (s3://{}/{})", failure.detail, object.bucket, object.key);
    Unread { kind, failure }
}

/// What the pump gives to the reader.
enum Piece {
    Bytes(Bytes),
    Broken(String),
    End,
}

/// Moves an object from the network to the reader, at the reader's pace.
async fn pump(mut body: ByteStream, sender: mpsc::Sender<Piece>, broken: Arc<OnceLock<String>>) {
    loop {
        let piece = match tokio::time::timeout(PATIENCE, body.next()).await {
            Ok(Some(Ok(bytes))) => Piece::Bytes(bytes),
            Ok(Some(Err(error))) => Piece::Broken(super::super::outcome::chain_text(&error)),
            Ok(None) => Piece::End,
            Err(_) => {
                Piece::Broken(format!("the object stopped arriving for {} seconds", PATIENCE.as_secs()))
            }
        };
        let is_last = !matches!(piece, Piece::Bytes(_));
        if let Piece::Broken(detail) = &piece {
            // Set once, before the reader can know.
            broken.get_or_init(|| detail.clone());
        }
        if sender.send(piece).await.is_err() || is_last {
            return;
        }
    }
}

/// An object's bytes, for a blocking thread.
pub(super) struct Pieces {
    source: mpsc::Receiver<Piece>,
    piece: Bytes,
    ended: bool,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() && !self.ended {
            match self.source.blocking_recv() {
                Some(Piece::Bytes(bytes)) => self.piece = bytes,
                Some(Piece::End) => self.ended = true,
                Some(Piece::Broken(detail)) => return Err(io::Error::other(detail)),
                None => return Err(io::Error::other("the transfer was given up")),
            }
        }
        let length = buffer.len().min(self.piece.len());
        if let Some(target) = buffer.get_mut(..length) {
            self.piece.copy_to_slice(target);
        }
        Ok(length)
    }
}
