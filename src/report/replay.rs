//! What a replay prints: detections as lines or as a table, and what it all came to.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

use super::{counted, table};
use crate::audit::Auditor;
use crate::model::{Fact, Level};
use crate::pipeline::DetectedEvent;
use crate::replay::Summary;

/// How many lines a table of detections has at most; like detections share one.
const LINES: usize = 1_000;
/// How many places of what could not be read are printed.
const PLACES: usize = 20;

/// One detection, as `replay --format json` prints it.
#[derive(Debug, Clone, Serialize)]
pub struct Detection {
    rule: String,
    level: Level,
    event_id: String,
    event_name: String,
    event_time: String,
    account: String,
    region: Option<String>,
    key: Option<String>,
    principal: Option<String>,
    message: String,
}

impl Detection {
    /// What is printed of a detection.
    pub fn new(detected: &DetectedEvent, auditor: &Auditor, now: DateTime<Utc>) -> Self {
        let DetectedEvent { verdict, event, level } = detected;
        let facts = auditor.event_facts(event, now);
        let principal = match facts.root.at("event.principal") {
            Some(Fact::Text(principal)) => Some(principal.clone()),
            _ => None,
        };
        Self {
            rule: verdict.rule.clone(),
            level: *level,
            event_id: event.id().to_owned(),
            event_name: event.name().to_owned(),
            event_time: event.time().to_rfc3339_opts(SecondsFormat::AutoSi, true),
            account: verdict.subject.account.to_string(),
            region: verdict.subject.region.as_ref().map(ToString::to_string),
            key: verdict.subject.key.as_ref().map(ToString::to_string),
            principal,
            message: verdict.message.clone(),
        }
    }
}

/// Detections for a table: those that say the same share a line.
#[derive(Debug, Default)]
pub struct Detections {
    lines: BTreeMap<Line, Times>,
    /// Detections that found no line any more.
    beyond: u64,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Line {
    level: Reverse<Level>,
    rule: String,
    account: String,
    region: String,
    message: String,
}

#[derive(Debug)]
struct Times {
    count: u64,
    first: String,
    last: String,
}

impl Detections {
    /// Takes a detection in.
    pub fn add(&mut self, detection: Detection) {
        let line = Line {
            level: Reverse(detection.level),
            rule: detection.rule,
            account: detection.account,
            region: detection.region.unwrap_or_else(|| "-".to_owned()),
            message: detection.message,
        };
        let is_full = self.lines.len() >= LINES && !self.lines.contains_key(&line);
        if is_full {
            self.beyond += 1;
            return;
        }
        let time = detection.event_time;
        let times = self.lines.entry(line).or_insert_with(|| Times {
            count: 0,
            first: time.clone(),
            last: time.clone(),
        });
        times.count += 1;
        if time < times.first {
            times.first.clone_from(&time);
        }
        if time > times.last {
            times.last = time;
        }
    }

    /// Writes the table. `width` is the terminal's; none: as wide as it gets.
    ///
    /// # Errors
    /// The writer failed.
    pub fn write_table(&self, out: &mut dyn io::Write, width: Option<u16>) -> io::Result<()> {
        if self.lines.is_empty() {
            return writeln!(out, "Nothing was detected.");
        }
        let header = ["LEVEL", "RULE", "ACCOUNT", "REGION", "TIMES", "FIRST", "LAST", "WHAT"];
        let mut table = table::table(header, width);
        for (line, times) in &self.lines {
            table.add_row([
                table::level(line.level.0),
                line.rule.clone(),
                line.account.clone(),
                line.region.clone(),
                times.count.to_string(),
                times.first.clone(),
                times.last.clone(),
                line.message.clone(),
            ]);
        }
        writeln!(out, "{table}")?;
        if self.beyond > 0 {
            writeln!(out, "… and {} more; --format json prints each.", self.beyond)?;
        }
        Ok(())
    }
}

/// Writes what a replay came to, for people.
///
/// # Errors
/// The writer failed.
pub fn write_summary(summary: &Summary, out: &mut dyn io::Write) -> io::Result<()> {
    let counts = &summary.counts;
    writeln!(
        out,
        "\n{} in {}: {} of KMS, {}, {} malformed; {}. {:.1} s, {:.0} events/s.",
        counted(counts.events, "event"),
        counted(summary.files, "file"),
        counts.kms_events,
        counted(counts.duplicates, "duplicate"),
        counts.malformed,
        counted(summary.detections, "detection"),
        summary.seconds,
        summary.speed(),
    )?;
    if let Some((first, last)) = counts.span {
        let (accounts, regions) = (summary.accounts().len(), summary.regions().len());
        let time = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Secs, true);
        let (accounts, regions) = (counted(accounts, "account"), counted(regions, "Region"));
        writeln!(out, "From {} to {}, {accounts}, {regions}.", time(first), time(last))?;
    }
    if summary.files_replayed_before > 0 {
        writeln!(out, "{} had been taken before.", counted(summary.files_replayed_before, "file"))?;
    }
    if !summary.files_skipped.is_empty() {
        let count = summary.files_skipped.len();
        writeln!(out, "{} without JSON passed over.", counted(count, "file"))?;
    }
    for (rule, events) in &counts.undecided {
        writeln!(
            out,
            "Whether {events} events violate {rule} could not be told: not enough is known of the keys."
        )?;
    }
    write_gaps(summary, out)
}

fn write_gaps(summary: &Summary, out: &mut dyn io::Write) -> io::Result<()> {
    if summary.is_complete() {
        return Ok(());
    }
    writeln!(out, "\nNot everything could be read:")?;
    for error in &summary.unreadable {
        writeln!(out, "  {error}")?;
    }
    for broken in summary.broken.iter().take(PLACES) {
        let place = broken.malformed.place;
        let (input, problem) = (&broken.input, &broken.malformed.problem);
        writeln!(out, "  {input}: record {}, byte {}: {problem}", place.index, place.offset)?;
    }
    let shown = u64::try_from(summary.broken.len().min(PLACES)).unwrap_or(u64::MAX);
    if summary.counts.malformed > shown {
        writeln!(out, "  … and {} more places; --format json names them.", summary.counts.malformed - shown)?;
    }
    if summary.interrupted {
        writeln!(out, "  It was ended before its time; with --store, the same command goes on from here.")?;
    }
    Ok(())
}
