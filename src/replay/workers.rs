//! The threads that read inputs.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{ENDED, Input, InputError, Options, Watcher};
use crate::harvest::Part;
use crate::pipeline::Pipeline;
use crate::records::{Limits, Problem};

/// What a worker has read.
#[derive(Debug)]
pub(super) enum Read {
    /// A part of an input.
    Part { input: String, part: Box<Part> },
    /// A file that was found in a folder and holds no JSON: a licence, a picture.
    Skipped { input: String },
    /// An input that could not be opened or read to its end.
    Failed(InputError),
}

/// The threads that read inputs, each taking the next one.
#[derive(Debug)]
pub(super) struct Workers {
    running: JoinSet<()>,
    inputs: Inputs,
}

/// Those that nobody has taken yet.
type Inputs = Arc<Mutex<VecDeque<Input>>>;

struct Worker {
    pipeline: Arc<Pipeline>,
    inputs: Inputs,
    limits: Limits,
    out: mpsc::Sender<Read>,
    watcher: Arc<dyn Watcher>,
    shutdown: CancellationToken,
}

impl Workers {
    pub(super) fn start(
        pipeline: &Arc<Pipeline>,
        inputs: Vec<Input>,
        options: &Options,
        out: &mpsc::Sender<Read>,
        watcher: &Arc<dyn Watcher>,
        shutdown: &CancellationToken,
    ) -> Self {
        let inputs = Arc::new(Mutex::new(VecDeque::from(inputs)));
        let mut running = JoinSet::new();
        for _ in 0..options.jobs.max(1) {
            let worker = Worker {
                pipeline: Arc::clone(pipeline),
                inputs: Arc::clone(&inputs),
                limits: options.limits.clone(),
                out: out.clone(),
                watcher: Arc::clone(watcher),
                shutdown: shutdown.clone(),
            };
            running.spawn_blocking(move || worker.run());
        }
        Self { running, inputs }
    }

    /// Whether the last inputs are being read.
    pub(super) fn are_at_the_last(&self) -> bool {
        self.inputs.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Waits for all of them.
    pub(super) async fn join(mut self) -> anyhow::Result<()> {
        while let Some(ended) = self.running.join_next().await {
            ended.context("a reader of log files ended unexpectedly")?;
        }
        Ok(())
    }
}

impl Worker {
    fn run(&self) {
        while let Some(input) = self.next() {
            match self.read(&input) {
                Ok(()) => {}
                // Whoever ended the replay knows that not everything was read.
                Err(_) if self.shutdown.is_cancelled() => {}
                Err(error) => self.send(Read::Failed(error)),
            }
        }
    }

    fn next(&self) -> Option<Input> {
        let is_over = self.shutdown.is_cancelled() || self.out.is_closed();
        let mut inputs = self.inputs.lock().unwrap_or_else(PoisonError::into_inner);
        if is_over { None } else { inputs.pop_front() }
    }

    fn read(&self, input: &Input) -> Result<(), InputError> {
        let reader = input.open(&self.shutdown)?;
        let counted = Counted { reader, watcher: &*self.watcher, shutdown: &self.shutdown };
        let mut is_first = true;
        let read = self.pipeline.harvest(&input.mark, counted, self.limits.clone(), |part| {
            self.watcher.went_on(part.counts.events, 0);
            let is_no_log = input.was_found && std::mem::take(&mut is_first) && is_no_log(&input.name, &part);
            let input = input.name.clone();
            self.send(if is_no_log {
                Read::Skipped { input }
            } else {
                Read::Part { input, part: Box::new(part) }
            });
        });
        read.map_err(|error| InputError { input: input.name.clone(), problem: error.to_string() })
    }

    /// Nobody may be listening any more.
    fn send(&self, read: Read) {
        let _ended = self.out.blocking_send(read);
    }
}

/// What the names of logs end with, or have before what tells the compression.
const LOG_NAMES: [&str; 3] = [".json", ".ndjson", ".jsonl"];

/// Whether a file is of another kind: it is not named as logs are, and is empty or no JSON from its first byte on.
fn is_no_log(name: &str, part: &Part) -> bool {
    let counts = &part.counts;
    let is_other = |problem: &Problem| match problem {
        Problem::OtherFormat => true,
        Problem::NoRecords => counts.inflated == 0,
        _ => false,
    };
    let stem = [".gz", ".zst"].iter().find_map(|kind| name.strip_suffix(kind)).unwrap_or(name);
    counts.events == 0
        && counts.malformed == 1
        && counts.problems.iter().all(|first| is_other(&first.problem))
        && !LOG_NAMES.iter().any(|end| stem.ends_with(end))
}

/// Counts the bytes that are read, and fails at shutdown.
struct Counted<'a> {
    reader: Box<dyn io::Read + Send>,
    watcher: &'a dyn Watcher,
    shutdown: &'a CancellationToken,
}

impl io::Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.shutdown.is_cancelled() {
            return Err(io::Error::other(ENDED));
        }
        let read = self.reader.read(buffer)?;
        self.watcher.went_on(0, read as u64);
        Ok(read)
    }
}
