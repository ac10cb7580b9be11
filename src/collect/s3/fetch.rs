//! One object of S3 as a stream for a blocking thread, and what it means that there is none.

use std::io::{self, Read};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::operation::get_object::{GetObjectError, GetObjectOutput};
use aws_sdk_s3::primitives::ByteStream;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use tokio::sync::mpsc;
use tokio_util::bytes::{Buf, Bytes};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::super::api::GET_ANNOUNCED_OBJECT;
use super::super::outcome::Failure;
use super::super::queue::{ObjectRef, bare};
use super::{BucketClients, where_it_is};
use crate::model::ReadingResult;

/// Pieces of an object that wait to be read; one is some ten kilobytes.
const PIECES: usize = 16;
/// How long the next piece may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why an object was not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unread {
    pub(crate) kind: UnreadKind,
    pub(crate) failure: Failure,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UnreadKind {
    /// There is none: deleted by now, or not to be seen yet.
    Missing,
    /// AWS refuses, or the key that it is encrypted with does.
    Denied,
    /// AWS is too busy.
    Throttled,
    /// No answer, or one that broke off.
    Unreachable,
    /// It is there, and a mistake in Keyward keeps it from being read.
    Unreadable,
}

impl UnreadKind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Denied => "denied",
            Self::Throttled => "throttled",
            Self::Unreachable => "unreachable",
            Self::Unreadable => "unreadable",
        }
    }
}

/// An object that arrives. Dropping it ends the transfer.
pub(crate) struct Fetched {
    /// Names the object and its content.
    pub(crate) mark: String,
    stream: Pieces,
    broken: Arc<OnceLock<String>>,
    _pump: AbortOnDropHandle<()>,
}

impl Fetched {
    /// Lets the stream be read, and says afterwards whether it was all there and could be read.
    pub(crate) async fn read_with<T, F: Future<Output = Result<T, String>>>(
        self,
        read: impl FnOnce(String, Box<dyn Read + Send>) -> F,
    ) -> Result<T, Unread> {
        let read = read(self.mark, Box::new(self.stream)).await;
        let unread = |kind, detail: &str| Unread {
            kind,
            failure: Failure::unusable(GET_ANNOUNCED_OBJECT, detail, None),
        };
        match (self.broken.get(), read) {
            (Some(detail), _) => Err(unread(UnreadKind::Unreachable, detail)),
            (None, Err(detail)) => Err(unread(UnreadKind::Unreadable, &detail)),
            (None, Ok(value)) => Ok(value),
        }
    }
}

/// Read on, it says itself where it broke off.
impl Read for Fetched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }
}

/// The name under which an object is taken in: the same content is the same, whoever announces it and however often.
pub fn mark_of(bucket: &str, key: &str, etag: &str) -> String {
    format!("s3/{bucket}/{key}@{}", bare(etag))
}

/// Begins to fetch an object; at `shutdown` it breaks off.
pub(crate) async fn fetch(
    aws: &BucketClients,
    object: &ObjectRef,
    shutdown: &CancellationToken,
) -> Result<Fetched, Unread> {
    let answer = where_it_is(aws, &object.bucket, object.region.as_deref(), |s3| get(s3, object)).await;
    let answer = answer.map_err(|error| explain(object, &error))?;
    let etag = answer.e_tag.as_deref().or(object.etag.as_deref()).unwrap_or_default();
    let mark = mark_of(&object.bucket, &object.key, etag);
    let (sender, pieces) = mpsc::channel(PIECES);
    let broken = Arc::new(OnceLock::new());
    let pump = tokio::spawn(pump(answer.body, sender, Arc::clone(&broken), shutdown.clone()));
    let stream = Pieces { source: pieces, piece: Bytes::new(), ended: false };
    Ok(Fetched { mark, stream, broken, _pump: AbortOnDropHandle::new(pump) })
}

async fn get(
    s3: Client,
    object: &ObjectRef,
) -> Result<GetObjectOutput, SdkError<GetObjectError, HttpResponse>> {
    let request = s3.get_object().bucket(&object.bucket).key(&object.key);
    request.set_version_id(object.version.clone()).send().await
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
async fn pump(
    mut body: ByteStream,
    sender: mpsc::Sender<Piece>,
    broken: Arc<OnceLock<String>>,
    shutdown: CancellationToken,
) {
    loop {
        let next = tokio::time::timeout(PATIENCE, body.next());
        let piece = match shutdown.run_until_cancelled(next).await {
            Some(Ok(Some(Ok(bytes)))) => Piece::Bytes(bytes),
            Some(Ok(Some(Err(error)))) => Piece::Broken(super::super::outcome::chain_text(&error)),
            Some(Ok(None)) => Piece::End,
            Some(Err(_)) => {
                Piece::Broken(format!("the object stopped arriving for {} seconds", PATIENCE.as_secs()))
            }
            None => Piece::Broken("the transfer was ended".to_owned()),
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
struct Pieces {
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::collect::sdk_config_for;

    /// A bucket that sends the beginning of an object, and then nothing.
    async fn stalling_bucket() -> BucketClients {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            _ = connection.read(&mut request).await.unwrap();
            let answer = "HTTP/1.1 200 OK\r\nETag: \"e\"\r\nContent-Length: 1000\r\n\r\nthe beginning";
            connection.write_all(answer.as_bytes()).await.unwrap();
            std::future::pending::<()>().await;
        });
        let region = "eu-central-1".parse().unwrap();
        let sdk = sdk_config_for(&endpoint, "key", "secret", &region).await;
        BucketClients::new(sdk, Arc::default())
    }

    #[tokio::test]
    async fn an_object_that_stops_arriving_is_not_waited_for_at_shutdown() {
        let shutdown = CancellationToken::new();
        let object = ObjectRef {
            bucket: "logs".to_owned(),
            key: "a.json.gz".to_owned(),
            region: None,
            version: None,
            etag: None,
            size: None,
        };
        let fetched = fetch(&stalling_bucket().await, &object, &shutdown).await.unwrap();
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        let reading = fetched.read_with(|mark, mut stream| async move {
            let reading = tokio::task::spawn_blocking(move || {
                let mut text = [0; 13];
                stream.read_exact(&mut text).unwrap();
                begun.send(()).unwrap();
                (text, stream.read(&mut [0; 1]).unwrap_err().to_string())
            });
            assert_eq!(mark, "s3/logs/a.json.gz@e");
            let (text, error) = reading.await.unwrap();
            assert_eq!((&text, error.as_str()), (b"the beginning", "the transfer was ended"));
            Ok(())
        });
        let ending = async {
            has_begun.await.unwrap();
            shutdown.cancel();
        };
        let unread = tokio::time::timeout(PATIENCE / 2, async { tokio::join!(reading, ending).0 }).await;
        assert_eq!(unread.unwrap().unwrap_err().kind, UnreadKind::Unreachable);
    }
}
