//! What `keyward replay` costs an event, beside what reading the same files costs at all.
//!
//! `cargo bench --bench replay` makes log files of realistic records, and ends with exit code 1 where a limit is broken:
//!
//! - `bar`: the whole of `replay` (every built-in rule, deduplication, the ledger, the commit) as a process of its own on one
//!   core, beside decompression alone and beside decompression with a typed parse by the best crate; its peak of
//!   memory; and two cores beside one;
//! - `rules`: how it grows with 10, 100 and 1,000 more rules;
//! - `share`: how it grows with the share of events that are of AWS KMS.
//!
//! `-- bar`, `-- rules` or `-- share` measures one of them alone; `KEYWARD_BENCH_FILES` says how many files of 25,000
//! events there are (60). CPU times and memory are read from `/proc`, and cores are given by `taskset`, so it needs Linux.

#![expect(
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a bench prints what it measures, a field that JSON lacks reads as null, and it has one setting"
)]

mod baselines;
mod generate;
#[path = "../support/limits.rs"]
mod limits;
#[path = "../support/parts.rs"]
mod parts;
#[path = "../support/used.rs"]
mod used;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use baselines::{Cost, Inflater, Parser};
use limits::Limits;
use parts::Parts;
use tokio::process::Command;
use used::{Used, run};

/// Events in each file.
const EVENTS_A_FILE: usize = 25_000;
/// How many percent of the events are of AWS KMS, unless that is what is measured.
const KMS_PERCENT: u64 = 50;
/// How often each thing is measured; the least counts, since other work only ever adds.
const TIMES: usize = 5;
/// The least share of the speed of decompression alone.
const SHARE_OF_INFLATION: f64 = 0.65;
/// The least gain of a second core.
const GAIN_OF_TWO: f64 = 1.8;
/// The most memory, in MB.
const PEAK_MB: f64 = 150.0;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<ExitCode> {
    let Some(parts) = Parts::asked_for() else { return Ok(ExitCode::SUCCESS) };
    let files = std::env::var("KEYWARD_BENCH_FILES").ok().and_then(|text| text.parse().ok()).unwrap_or(60);
    let mut limits = Limits::default();
    if parts.has("bar") {
        bar(files, &mut limits).await?;
    }
    if parts.has("rules") {
        rules(files.div_ceil(10)).await?;
    }
    if parts.has("share") {
        share(files.div_ceil(10)).await?;
    }
    println!("\n{limits}");
    Ok(if limits.all_hold() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Log files on disk.
struct Logs {
    folder: tempfile::TempDir,
    paths: Vec<PathBuf>,
    events: u64,
}

impl Logs {
    fn new(files: usize, kms_percent: u64) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let paths = generate::write_files(folder.path(), files, EVENTS_A_FILE, 7, kms_percent)?;
        let events = (files * EVENTS_A_FILE) as u64;
        Ok(Self { folder, paths, events })
    }

    fn micros(&self, seconds: f64) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a number of events is far below 2^52")]
        let events = self.events as f64;
        seconds * 1e6 / events
    }
}

async fn bar(files: usize, limits: &mut Limits) -> anyhow::Result<()> {
    let logs = Logs::new(files, KMS_PERCENT)?;
    println!("{} events in {files} files; CPU microseconds an event, the least of {TIMES}", logs.events);
    let stored: Vec<Vec<u8>> = logs.paths.iter().map(std::fs::read).collect::<Result<_, _>>()?;
    let inflation =
        baseline("inflate, zlib-rs", || baselines::inflate(&stored, logs.events, Inflater::ZlibRs))?;
    baseline("inflate, libdeflate (whole buffers)", || {
        baselines::inflate(&stored, logs.events, Inflater::LibDeflate)
    })?;
    let mut typed = f64::INFINITY;
    for (name, parser) in [("sonic-rs", Parser::Sonic), ("serde_json", Parser::Serde)] {
        let parse = |inflater| move |stored: &[Vec<u8>]| baselines::parse(stored, inflater, parser);
        let (rust, c) = (parse(Inflater::ZlibRs), parse(Inflater::LibDeflate));
        typed = typed.min(baseline(&format!("zlib-rs and a typed parse by {name}"), || rust(&stored))?);
        baseline(&format!("libdeflate and a typed parse by {name}"), || c(&stored))?;
    }
    drop(stored);
    let (one, wall_of_one) = replay("keyward replay, one core", &logs, 1, None).await?;
    let (_, wall_of_two) = replay("keyward replay, two cores", &logs, 2, None).await?;
    let micros = logs.micros(one.cpu_secs);
    limits.hold("µs an event, against inflation / 0.65", micros, inflation / SHARE_OF_INFLATION);
    limits.hold("µs an event, against a typed parse", micros, typed);
    limits.hold("seconds on two cores, against one / 1.8", wall_of_two, wall_of_one / GAIN_OF_TWO);
    limits.hold("peak MB", one.peak_mb, PEAK_MB);
    Ok(())
}

/// The least that something cost of several times, in microseconds an event.
fn baseline(what: &str, measure: impl Fn() -> std::io::Result<Cost>) -> anyhow::Result<f64> {
    let mut least = f64::INFINITY;
    let mut speed: f64 = 0.0;
    for _ in 0..TIMES {
        let cost = measure()?;
        least = least.min(cost.micros_per_event());
        speed = speed.max(cost.megabytes_per_second());
    }
    println!("  {what:<48} {least:>8.3}   {speed:>6.0} MB/s of text");
    Ok(least)
}

/// Runs `keyward replay` several times; gives the least CPU time with what else that run used, and the least time
/// on the clock.
async fn replay(what: &str, logs: &Logs, jobs: usize, rules: Option<&Path>) -> anyhow::Result<(Used, f64)> {
    let mut best: Option<Used> = None;
    let mut clock = f64::INFINITY;
    for _ in 0..TIMES {
        // With one reader the commits still run beside it, so that one core has to be one core.
        let mut command = Command::new("taskset");
        let cores: Vec<String> = (0..jobs).map(|core| core.to_string()).collect();
        command.args(["--cpu-list", &cores.join(","), env!("CARGO_BIN_EXE_keyward")]);
        command.args(["--log", "error", "replay", "--format", "json", "--jobs", &jobs.to_string()]);
        command.arg(logs.folder.path()).env_clear().env("AWS_REGION", "eu-central-1");
        if jobs == 1 {
            command.env("TOKIO_WORKER_THREADS", "1");
        }
        if let Some(rules) = rules {
            command.arg("--rules").arg(rules);
        }
        let (printed, exit, used) = run(&mut command).await?;
        anyhow::ensure!(exit == Some(0), "the replay ended with {exit:?}");
        check(&printed, logs)?;
        clock = clock.min(used.seconds);
        if best.is_none_or(|best| used.cpu_secs < best.cpu_secs) {
            best = Some(used);
        }
    }
    let best = best.context("nothing was measured")?;
    println!("  {what:<48} {:>8.3}   {clock:>6.2} s {:>7.1} MB", logs.micros(best.cpu_secs), best.peak_mb);
    Ok((best, clock))
}

/// A replay that did less than its work would be cheap.
fn check(printed: &[u8], logs: &Logs) -> anyhow::Result<()> {
    let last = printed.trim_ascii_end().rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    let summary: serde_json::Value = serde_json::from_slice(last).context("the replay printed no summary")?;
    let summary = &summary["summary"];
    anyhow::ensure!(summary["events"] == logs.events, "not all events were read: {summary}");
    anyhow::ensure!(summary["malformed"] == 0, "events were malformed: {summary}");
    Ok(())
}

async fn rules(files: usize) -> anyhow::Result<()> {
    let logs = Logs::new(files, KMS_PERCENT)?;
    println!(
        "{} events, with more rules: each about one of the calls that there are, and some field of it",
        logs.events
    );
    for more in [0, 10, 100, 1_000] {
        let folder = tempfile::tempdir()?;
        for number in 0..more {
            std::fs::write(folder.path().join(format!("made-up-{number:04}.yml")), rule(number))?;
        }
        replay(&format!("the built-in rules and {more} others"), &logs, 1, Some(folder.path())).await?;
    }
    Ok(())
}

/// A rule as the public collections have them, about one of the calls in the files.
fn rule(number: usize) -> String {
    const CALLS: [(&str, &str); 8] = [
        ("kms.amazonaws.com", "Decrypt"),
        ("kms.amazonaws.com", "GenerateDataKey"),
        ("kms.amazonaws.com", "CreateGrant"),
        ("sts.amazonaws.com", "AssumeRole"),
        ("s3.amazonaws.com", "GetBucketPolicy"),
        ("ec2.amazonaws.com", "DescribeInstances"),
        ("iam.amazonaws.com", "CreateUser"),
        ("lambda.amazonaws.com", "UpdateFunctionCode"),
    ];
    let (source, name) = CALLS[number % CALLS.len()];
    format!(
        "title: Made Up {number}\nid: 00000000-0000-4000-8000-{number:012}\nstatus: test\nlevel: low\n\
         logsource: {{ product: aws, service: cloudtrail }}\n\
         detection:\n  call: {{ eventSource: {source}, eventName: {name} }}\n  \
         who: {{ 'userIdentity.arn|contains': 'nobody-{number}', 'userAgent|endswith': '/{number}' }}\n  \
         condition: call and who\n"
    )
}

async fn share(files: usize) -> anyhow::Result<()> {
    println!("{} events, with more of AWS KMS among them", files * EVENTS_A_FILE);
    for percent in [1, 50, 100] {
        let logs = Logs::new(files, percent)?;
        replay(&format!("{percent} % of KMS"), &logs, 1, None).await?;
    }
    Ok(())
}
