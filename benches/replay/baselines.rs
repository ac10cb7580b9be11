//! What `replay` is measured beside: decompression alone, and decompression with a typed parse of the whole file by
//! the best crates, each of the same files in the same process.
//!
//! Each of these takes the files as they are stored, and gives the time of the processor that it took.

use std::borrow::Cow;
use std::hint::black_box;
use std::io::{Error, Read, Result};
use std::time::{Duration, Instant};

use serde::Deserialize;

/// How much is decompressed at a time where that is done in a stream.
const BUFFER: usize = 256 * 1024;

/// What something cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    /// How many events the files had.
    pub(crate) events: u64,
    /// What the files inflated to.
    pub(crate) bytes: u64,
    /// The time of the processor that this thread took.
    pub(crate) time: Duration,
}

impl Cost {
    /// How much text is made of the files, in MB of 10^6 bytes a second.
    pub(crate) fn megabytes_per_second(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a number of bytes is far below 2^52")]
        let bytes = self.bytes as f64;
        bytes / 1e6 / self.time.as_secs_f64()
    }

    /// Microseconds an event.
    pub(crate) fn micros_per_event(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a number of events is far below 2^52")]
        let events = self.events.max(1) as f64;
        self.time.as_secs_f64() * 1e6 / events
    }
}

/// What decompresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Inflater {
    /// zlib-rs, in Rust, as Keyward uses it.
    ZlibRs,
    /// libdeflate, in C, which needs the whole file and a buffer for all that it inflates to.
    LibDeflate,
}

/// What parses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parser {
    /// sonic-rs.
    Sonic,
    /// serde_json.
    Serde,
}

/// The time of the processor that this thread took so far; the wall clock's where the system does not tell.
pub(crate) fn thread_time(since: Instant) -> Duration {
    std::fs::read_to_string("/proc/thread-self/schedstat")
        .ok()
        .and_then(|text| text.split(' ').next()?.parse().ok())
        .map_or_else(|| since.elapsed(), Duration::from_nanos)
}

/// Decompression alone: with zlib-rs in a stream, of which nothing is kept; with libdeflate of whole files.
pub(crate) fn inflate(files: &[Vec<u8>], events: u64, with: Inflater) -> Result<Cost> {
    let mut buffer = vec![0; BUFFER];
    measured(events, || {
        files.iter().try_fold(0, |sum, file| {
            let length = match with {
                Inflater::ZlibRs => stream(file, &mut buffer)?,
                Inflater::LibDeflate => whole(file, with, &mut buffer)?,
            };
            black_box(&buffer);
            Ok(sum + length as u64)
        })
    })
}

/// Decompression of whole files, and parsing of each into typed records that borrow from its text.
pub(crate) fn parse(files: &[Vec<u8>], with: Inflater, by: Parser) -> Result<Cost> {
    let mut buffer = Vec::new();
    let mut events = 0;
    let cost = measured(0, || {
        files.iter().try_fold(0, |sum, file| {
            let length = whole(file, with, &mut buffer)?;
            let text = buffer.get(..length).unwrap_or_default();
            let file: LogFile<'_> = match by {
                Parser::Sonic => sonic_rs::from_slice(text).map_err(Error::other)?,
                Parser::Serde => serde_json::from_slice(text).map_err(Error::other)?,
            };
            events += black_box(&file).records.len() as u64;
            Ok(sum + length as u64)
        })
    })?;
    Ok(Cost { events, ..cost })
}

fn measured(events: u64, work: impl FnOnce() -> Result<u64>) -> Result<Cost> {
    let begun = Instant::now();
    let before = thread_time(begun);
    let bytes = work()?;
    Ok(Cost { events, bytes, time: thread_time(begun).saturating_sub(before) })
}

fn stream(file: &[u8], buffer: &mut [u8]) -> Result<usize> {
    let mut decoder = flate2::bufread::GzDecoder::new(file);
    let mut length = 0;
    loop {
        match decoder.read(buffer)? {
            0 => return Ok(length),
            count => length += count,
        }
    }
}

/// Decompresses a file of one member, whose last four bytes say how long its text is, into the beginning of a
/// buffer.
fn whole(file: &[u8], with: Inflater, buffer: &mut Vec<u8>) -> Result<usize> {
    let length = file.last_chunk::<4>().map_or(0, |bytes| u32::from_le_bytes(*bytes) as usize);
    if buffer.len() < length {
        buffer.resize(length, 0);
    }
    let out = buffer.get_mut(..length).unwrap_or_default();
    match with {
        Inflater::ZlibRs => flate2::bufread::GzDecoder::new(file).read_exact(out).map(|()| length),
        Inflater::LibDeflate => {
            libdeflater::Decompressor::new().gzip_decompress(file, out).map_err(Error::other)
        }
    }
}

/// A text that is borrowed unless it has escapes.
#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "what counts is that they are parsed")]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Debug, Deserialize)]
struct LogFile<'a> {
    #[serde(borrow, rename = "Records")]
    records: Vec<Record<'a>>,
}

/// The fields that every consumer of CloudTrail needs; the others are passed by.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "what counts is that they are parsed")]
struct Record<'a> {
    #[serde(borrow)]
    user_identity: Option<Identity<'a>>,
    #[serde(borrow)]
    event_time: Text<'a>,
    #[serde(borrow)]
    event_source: Text<'a>,
    #[serde(borrow)]
    event_name: Text<'a>,
    #[serde(borrow)]
    aws_region: Option<Text<'a>>,
    #[serde(borrow, rename = "sourceIPAddress")]
    source_ip_address: Option<Text<'a>>,
    #[serde(borrow)]
    user_agent: Option<Text<'a>>,
    #[serde(borrow)]
    error_code: Option<Text<'a>>,
    #[serde(borrow, rename = "eventID")]
    event_id: Text<'a>,
    read_only: Option<bool>,
    #[serde(borrow, default)]
    resources: Vec<Resource<'a>>,
    #[serde(borrow)]
    event_type: Option<Text<'a>>,
    #[serde(borrow)]
    recipient_account_id: Option<Text<'a>>,
    #[serde(borrow)]
    vpc_endpoint_id: Option<Text<'a>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "what counts is that they are parsed")]
struct Identity<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Text<'a>>,
    #[serde(borrow)]
    arn: Option<Text<'a>>,
    #[serde(borrow)]
    account_id: Option<Text<'a>>,
    #[serde(borrow)]
    invoked_by: Option<Text<'a>>,
}

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "what counts is that they are parsed")]
struct Resource<'a> {
    #[serde(borrow, rename = "ARN")]
    arn: Option<Text<'a>>,
    #[serde(borrow, rename = "accountId")]
    account_id: Option<Text<'a>>,
}
