//! `keyward replay`: log files judged, counted, and kept if a store is named.

use std::io::{BufWriter, IsTerminal, Write, stderr, stdout};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio_util::sync::CancellationToken;

use super::setup::{self, ConfigArgs};
use super::{Exit, UsageError, run};
use crate::audit::Auditor;
use crate::metrics::Metrics;
use crate::model::Level;
use crate::notify::Notifier;
use crate::pipeline::{DetectedEvent, Pipeline, kept, kept_scope};
use crate::records::Limits;
use crate::replay::{Options, Summary, Watcher, find_inputs, replay};
use crate::report::replay::{Detection, Detections};
use crate::store::Store;
use crate::{clock, collect};

/// Options of `keyward replay`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Log files, folders of them, or s3://BUCKET/PREFIX
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<String>,
    #[command(flatten)]
    config: ConfigArgs,
    /// How detections are printed: as a table at the end, or as JSON, one a line, as they are found
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// A folder of Sigma rules beside the built-in ones; may be given several times
    #[arg(long, value_name = "DIR")]
    rules: Vec<PathBuf>,
    /// Keep what is found in a store, such as the daemon's; what it has taken already is skipped
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    /// How many files are read at the same time; as many as there are processors if it is not given
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    /// Exit with 1 if something is detected at this level or above
    #[arg(long, value_name = "LEVEL")]
    fail_on: Option<Level>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
}

pub(super) async fn run(args: Args) -> anyhow::Result<Exit> {
    let mut config = args.config.read()?;
    config.rules.dirs.extend(args.rules.iter().cloned());
    let standards = setup::standards(&config)?;
    let (inputs, errors) = find_inputs(&args.paths, collect::sdk_config).await;
    if inputs.is_empty() && errors.is_empty() {
        let paths = args.paths.join(", ");
        return Err(UsageError(format!(
            "{paths}: there are no files; name log files or a folder that has some"
        ))
        .into());
    }
    let store = Store::connect(args.store.as_deref().unwrap_or("sqlite::memory:")).await?;
    let mut auditor = Auditor::new(standards, kept_scope(&store).await?);
    auditor.restore(kept(&store).await?, clock::now());
    // What is long past is no alert; what still stands is told by the daemon whose store it is.
    let pipeline =
        Arc::new(Pipeline::new(auditor, store.clone(), Arc::new(Metrics::new()?), Notifier::default()));
    let total = inputs.iter().map(|input| input.size).sum();
    let printer = Arc::new(Printer::new(args.format, Arc::clone(&pipeline), total));
    let shutdown = CancellationToken::new();
    tokio::spawn(run::cancel_on_signal(shutdown.clone()));
    let options =
        Options { jobs: args.jobs.map_or_else(processors, NonZeroUsize::get), limits: Limits::default() };
    let watcher: Arc<dyn Watcher> = Arc::<Printer>::clone(&printer);
    let mut summary = replay(pipeline, inputs, &options, watcher, shutdown).await?;
    summary.unreadable.extend(errors);
    printer.finish(&summary)?;
    store.close().await;
    // The process ends. To give back piece by piece what it knows takes longer than for the system to take it all.
    std::mem::forget(printer);
    Ok(exit(&summary, args.fail_on))
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn exit(summary: &Summary, fail_on: Option<Level>) -> Exit {
    if fail_on.is_some_and(|level| summary.worst >= Some(level)) {
        Exit::Findings
    } else if summary.is_complete() {
        Exit::Fine
    } else {
        Exit::Incomplete
    }
}

/// Prints detections and the progress.
struct Printer {
    format: Format,
    pipeline: Arc<Pipeline>,
    bar: ProgressBar,
    events: std::sync::atomic::AtomicU64,
    found: Mutex<Detections>,
}

impl Printer {
    fn new(format: Format, pipeline: Arc<Pipeline>, total: u64) -> Self {
        let bar = ProgressBar::with_draw_target(Some(total), draw_target());
        let style = "{bar:30} {bytes}/{total_bytes} {msg} {eta} left";
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        Self { format, pipeline, bar, events: std::sync::atomic::AtomicU64::new(0), found: Mutex::default() }
    }

    /// Prints what is left to print: the table, and what it all came to.
    fn finish(&self, summary: &Summary) -> anyhow::Result<()> {
        self.bar.finish_and_clear();
        let mut out = BufWriter::new(super::stdout());
        match self.format {
            Format::Json => writeln!(out, "{}", summary.document())?,
            Format::Table => {
                let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
                let width =
                    stdout().is_terminal().then(comfy_table::Table::new).and_then(|table| table.width());
                found.write_table(&mut out, width)?;
                crate::report::replay::write_summary(summary, &mut out)?;
            }
        }
        Ok(out.flush()?)
    }
}

fn draw_target() -> ProgressDrawTarget {
    if stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() }
}

impl Watcher for Printer {
    fn went_on(&self, events: u64, bytes: u64) {
        use std::sync::atomic::Ordering::Relaxed;
        self.bar.inc(bytes);
        if events > 0 {
            let events = self.events.fetch_add(events, Relaxed) + events;
            let seconds = self.bar.elapsed().as_secs().max(1);
            self.bar.set_message(format!("{events} events, {}/s", events / seconds));
        }
    }

    fn detected(&self, detected: &[DetectedEvent]) -> anyhow::Result<()> {
        let now = clock::now();
        let auditor = self.pipeline.auditor();
        let detections = detected.iter().map(|detected| Detection::new(detected, &auditor, now));
        match self.format {
            Format::Json => {
                let mut out = BufWriter::new(super::stdout());
                for detection in detections {
                    writeln!(out, "{}", serde_json::to_string(&detection)?)?;
                }
                out.flush()?;
            }
            Format::Table => {
                let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
                detections.for_each(|detection| found.add(detection));
            }
        }
        Ok(())
    }
}
