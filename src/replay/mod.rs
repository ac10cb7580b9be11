//! Log files from disk or a bucket, read on every core and committed one parcel after the other.

mod buckets;
mod inputs;
mod summary;
mod workers;

use std::sync::Arc;

use anyhow::Context as _;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::harvest::Part;
use crate::model::SourceKind;
use crate::pipeline::{DetectedEvent, Parcel, Pipeline};
use crate::records::Limits;
pub use inputs::{Input, InputError, find_inputs};
pub use summary::{Broken, Summary};
use workers::{Read, Workers};

/// How many records are committed together, unless a single part has more. The last commit is waited for with nothing
/// left to read, so that many more would be dearer than what writing less often saves.
const RECORDS_A_COMMIT: u64 = 50_000;
/// Why an input was not read on.
const ENDED: &str = "the replay was ended";
/// How many parts may wait for the store. Each holds what its events are known again by, so few are enough.
const PARTS_WAITING: usize = 4;

/// How a replay is done.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many inputs are read at the same time.
    pub jobs: usize,
    /// What the reader bears with.
    pub limits: Limits,
}

/// Who is told how a replay goes on.
pub trait Watcher: Send + Sync {
    /// So many more events were read, and so many bytes of input, as they lie on the disk.
    fn went_on(&self, events: u64, bytes: u64);
    /// Something was detected.
    ///
    /// # Errors
    /// When whoever reads the output has gone away; the replay ends then.
    fn detected(&self, detected: &[DetectedEvent]) -> anyhow::Result<()>;
}

/// Reads inputs to their end and commits what is in them; those that were committed before are skipped.
///
/// # Errors
/// When the store fails, or whoever watches does. What was committed until then stays, and another replay goes on
/// from there.
pub async fn replay(
    pipeline: Arc<Pipeline>,
    inputs: Vec<Input>,
    options: &Options,
    watcher: Arc<dyn Watcher>,
    shutdown: CancellationToken,
) -> anyhow::Result<Summary> {
    let started = std::time::Instant::now();
    let mut summary = Summary { files: inputs.len() as u64, ..Summary::default() };
    let inputs = skip_processed(&pipeline, inputs, &mut summary).await?;
    let (out, mut parts) = mpsc::channel(PARTS_WAITING);
    let workers = Workers::start(&pipeline, inputs, options, &out, &watcher, &shutdown);
    // The workers have their own; when the last of them ends, so do the parts.
    drop(out);
    while let Some(first) = parts.recv().await {
        let parcel = gather(first, &mut parts, &workers, &mut summary).await;
        commit(&pipeline, parcel, &*watcher, &mut summary).await?;
    }
    workers.join().await?;
    summary.interrupted = shutdown.is_cancelled();
    summary.seconds = started.elapsed().as_secs_f64();
    Ok(summary)
}

async fn skip_processed(
    pipeline: &Pipeline,
    inputs: Vec<Input>,
    summary: &mut Summary,
) -> anyhow::Result<Vec<Input>> {
    let marks: Vec<String> = inputs.iter().map(|input| input.mark.clone()).collect();
    let done = pipeline.store().processed(&marks).await.context("what was replayed before is not known")?;
    let (skipped, left): (Vec<_>, Vec<_>) = inputs.into_iter().partition(|input| done.contains(&input.mark));
    summary.files_replayed_before = skipped.len() as u64;
    Ok(left)
}

/// Takes along what comes next, up to what is committed together: the more it is, the less there is to write. While the
/// last inputs are read nothing is waited for, so that less is left to commit when they are.
async fn gather(
    first: Read,
    more: &mut mpsc::Receiver<Read>,
    workers: &Workers,
    summary: &mut Summary,
) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut records = 0;
    let mut next = Some(first);
    while let Some(read) = next {
        match read {
            Read::Part { input, part } => {
                // A part without any takes its room too.
                records += part.counts.records().max(1);
                summary.note(&input, &part);
                parts.push(*part);
            }
            Read::Skipped { input } => summary.files_skipped.push(input),
            Read::Failed(error) => summary.unreadable.push(error),
        }
        next = match records < RECORDS_A_COMMIT {
            true if workers.are_at_the_last() => more.try_recv().ok(),
            true => more.recv().await,
            false => None,
        };
    }
    parts
}

async fn commit(
    pipeline: &Pipeline,
    parts: Vec<Part>,
    watcher: &dyn Watcher,
    summary: &mut Summary,
) -> anyhow::Result<()> {
    if parts.is_empty() {
        return Ok(());
    }
    let parcel = Parcel { source: SourceKind::Files, parts, readings: Vec::new(), read_at: clock::now() };
    let taken = pipeline.take_parcel(parcel).await?;
    summary.detections += taken.detected.len() as u64;
    summary.worst = summary.worst.max(taken.worst());
    summary.add(taken.counts);
    watcher.detected(&taken.detected)
}
