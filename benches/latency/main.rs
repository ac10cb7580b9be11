//! How long it takes from an object's notification in the queue to the publication of what is found in the object.
//!
//! `cargo bench --bench latency` runs `keyward run` as a process of its own on SQLite, beside the built-in AWS, and
//! delivers log files to a bucket whose queue it reads: `quiet`, with nothing else in them, `busy`, with 5,000 events a
//! second, and `flood`, with 50,000. Each file holds one call that has to be alerted of, and the time is taken
//! from the delivery of the file to the publication of that alert. It ends with exit code 1 where a limit is broken.
//!
//! `-- quiet`, `-- busy` or `-- flood` measures one of them alone; `KEYWARD_BENCH_SECONDS` says how long each load
//! lasts (30).

#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a bench prints what it measures, waits on the clock, and has one setting"
)]

mod daemon;
#[expect(dead_code, reason = "log files are written to disk by another bench")]
#[path = "../replay/generate.rs"]
mod generate;
#[path = "../support/limits.rs"]
mod limits;
#[path = "../support/parts.rs"]
mod parts;

use std::process::ExitCode;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::json;

use daemon::Lab;
use generate::{Generator, gzip};
use limits::Limits;
use parts::Parts;

/// How many files there are a second, one after the other: AWS delivers those of many accounts and Regions at any time.
const FILES_A_SECOND: u32 = 4;
/// How many of the events are calls of AWS KMS, in percent.
const KMS_PERCENT: u64 = 50;
/// How many events a second there are beside those that are alerted of.
const LOADS: [(&str, u32); 3] = [("quiet", 0), ("busy", 5_000), ("flood", 50_000)];
/// The most that half of the alerts may take, in milliseconds.
const MEDIAN: f64 = 500.0;
/// The most that all but one of a hundred may take, in milliseconds.
const P99: f64 = 1_500.0;

fn main() -> anyhow::Result<ExitCode> {
    let Some(parts) = Parts::asked_for() else { return Ok(ExitCode::SUCCESS) };
    let seconds =
        std::env::var("KEYWARD_BENCH_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(30);
    let mut limits = Limits::default();
    println!(
        "{:<24} {:>9} {:>9} {:>9} {:>9}",
        "milliseconds to an alert", "alerts", "median", "p99", "longest"
    );
    for (name, load) in LOADS.into_iter().filter(|(name, _)| parts.has(name)) {
        let taken = measure(load, FILES_A_SECOND * seconds)?;
        let [median, p99, longest] = [0.5, 0.99, 1.0].map(|share| quantile(&taken, share));
        let name = format!("{name}, {load} events/s");
        println!("{name:<24} {:>9} {median:>9.0} {p99:>9.0} {longest:>9.0}", taken.len());
        limits.hold(&format!("median ms, {name}"), median, MEDIAN);
        limits.hold(&format!("p99 ms, {name}"), p99, P99);
    }
    println!("\n{limits}");
    Ok(if limits.all_hold() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// How long each alert took, in milliseconds, the shortest first.
fn measure(load: u32, files: u32) -> anyhow::Result<Vec<f64>> {
    let lab = Lab::start()?;
    let mut generator = Generator::new(load.into(), KMS_PERCENT);
    let events = load / FILES_A_SECOND;
    // All of it before the first is delivered, since the machine is to be the daemon's then.
    let logs = (0..files).map(|number| log(number, &mut generator, events)).collect::<Result<Vec<_>, _>>()?;
    let mut delivered = Vec::new();
    for (number, log) in (0..).zip(logs) {
        delivered.push((key_arn(number), lab.deliver(number, log)?));
        std::thread::sleep(Duration::from_secs(1) / FILES_A_SECOND);
    }
    let published = lab.published(delivered.len())?;
    let mut taken = Vec::with_capacity(delivered.len());
    for (key, delivered) in delivered {
        let at = published.get(&key).ok_or_else(|| anyhow::anyhow!("nothing was published of {key}"))?;
        taken.push((*at - delivered).as_seconds_f64() * 1e3);
    }
    taken.sort_by(f64::total_cmp);
    Ok(taken)
}

/// A log file with so many events that nobody is alerted of, and one behind them that somebody is.
fn log(number: u32, generator: &mut Generator, events: u32) -> std::io::Result<Vec<u8>> {
    let mut text = "{\"Records\":[".to_owned();
    for _ in 0..events {
        generator.record(&mut text);
        text.push(',');
    }
    text.push_str(&alarming(number, &key_arn(number), Utc::now()).to_string());
    text.push_str("]}");
    gzip(&text)
}

fn key_arn(number: u32) -> String {
    format!("arn:aws:kms:eu-central-1:111122223333:key/{number:08x}-0000-4000-8000-000000000000")
}

/// A call that has to be alerted of.
fn alarming(number: u32, key: &str, at: DateTime<Utc>) -> serde_json::Value {
    let caller = "arn:aws:iam::111122223333:user/somebody";
    json!({
        "eventVersion": "1.11", "eventName": "ScheduleKeyDeletion", "eventSource": "kms.amazonaws.com",
        "eventID": format!("{number:08x}-1111-4000-8000-000000000000"), "awsRegion": "eu-central-1",
        "eventTime": at.to_rfc3339_opts(SecondsFormat::Secs, true), "eventType": "AwsApiCall",
        "readOnly": false, "recipientAccountId": "111122223333", "sourceIPAddress": "198.51.100.7",
        "managementEvent": true, "eventCategory": "Management",
        "userIdentity": { "type": "IAMUser", "accountId": "111122223333", "arn": caller },
        "requestParameters": { "keyId": key, "pendingWindowInDays": 7 },
        "responseElements": { "keyId": key, "keyState": "PendingDeletion" },
        "resources": [{ "ARN": key, "accountId": "111122223333", "type": "AWS::KMS::Key" }],
    })
}

/// What a share of sorted times is at most.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "a share of a number of alerts"
    )]
    let at = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(at.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}
