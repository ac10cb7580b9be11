//! The words for people. Pure.

use std::fmt::Write;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::Value;

use super::coverage::Loss;
use super::{Case, Reason};
use crate::findings::RESOLUTION;
use crate::model::{Finding, FindingKind};

/// How long one value may be in the text for people, in characters.
pub(super) const MAX_VALUE: usize = 200;
/// How many lines of evidence the text for people shows.
pub(super) const MAX_LINES: usize = 40;

/// The finding's message, with what the reason adds to it.
pub(super) fn spoken(case: &Case<'_>, reason: Reason) -> String {
    let message = &case.finding.message;
    match (reason, case.exception) {
        (Reason::ExceptionExpiring, Some(exception)) => format!(
            "the exception {} of {} ends on {}; from then on this counts as a violation again: {message}",
            exception.id,
            exception.owner,
            for_people(exception.expires)
        ),
        (Reason::Resolved, _) => match case.finding.evidence.get(RESOLUTION).and_then(Value::as_str) {
            Some(because) => format!("resolved, since {}; it was: {message}", resolution_words(because)),
            None => format!("resolved; it was: {message}"),
        },
        _ => message.clone(),
    }
}

fn resolution_words(because: &str) -> &str {
    match because {
        "acknowledged" => "it was acknowledged",
        "aged out" => "nothing like it has happened for a long time",
        other => other,
    }
}

pub(super) fn reason_words(reason: Reason) -> &'static str {
    match reason {
        Reason::Opened => "New",
        Reason::Escalated => "Escalated",
        Reason::Reminder => "Still open",
        Reason::Resolved => "Resolved",
        Reason::ExceptionExpiring => "Exception ends soon",
        Reason::CoverageLost => "Coverage lost",
    }
}

/// The text for people: what, where, why, what to do, and where to look.
pub(super) fn of_finding(finding: &Finding, reason: Reason, place: &str, link: Option<&str>) -> String {
    let mut text = format!("{}: {}\n\n{}\n", reason_words(reason), finding.title, finding.message);
    if !finding.remediation.is_empty() && reason != Reason::Resolved {
        let _infallible =
            write!(text, "\nWhat to do\n  {}\n", finding.remediation.trim().replace('\n', "\n  "));
    }
    text.push('\n');
    line(&mut text, "Level", finding.level.as_str());
    line(&mut text, "Rule", &finding.rule);
    line(&mut text, "Where", place);
    write_subject(&mut text, finding);
    line(&mut text, "First seen", &for_people(finding.first_seen));
    line(&mut text, "Last seen", &for_people(finding.last_seen));
    if finding.kind == FindingKind::Detection {
        line(&mut text, "Events", &finding.event_count.to_string());
    }
    if finding.stale {
        line(&mut text, "Mind", "the last reading could not tell whether this still is so");
    }
    write_evidence(&mut text, &finding.evidence);
    write_controls(&mut text, finding);
    let _infallible = write!(text, "\nFinding {}\n", finding.id);
    if let Some(link) = link {
        let _infallible = writeln!(text, "{link}");
    }
    text
}

/// The text for people about a part of the audit that can no longer be read.
pub(super) fn of_loss(loss: &Loss, message: &str, remediation: &str) -> String {
    let mut text = format!("{message}.\n\nWhat AWS answered\n");
    for reading in loss.readings.iter().take(MAX_LINES) {
        let detail = reading.detail.as_deref().unwrap_or("no further detail");
        line(&mut text, &format!("  {} {}", reading.api, reading.result), detail);
    }
    let _infallible = write!(text, "\nWhat to do\n  {remediation}\n");
    text
}

/// The key set, the key and the boundary; a key that is a set of its own is named once.
fn write_subject(text: &mut String, finding: &Finding) {
    let subject = &finding.subject;
    let key = subject.key.as_ref().map(ToString::to_string);
    let set = subject.key_set.as_ref().map(ToString::to_string).filter(|set| Some(set) != key.as_ref());
    for (name, value) in [("Key set", set), ("Key", key), ("Boundary", subject.boundary.clone())] {
        if let Some(value) = value {
            line(text, name, &value);
        }
    }
}

fn write_controls(text: &mut String, finding: &Finding) {
    if finding.controls.is_empty() {
        return;
    }
    text.push_str("\nControls concerned\n");
    for (framework, controls) in &finding.controls {
        line(text, &format!("  {framework}"), &controls.join(", "));
    }
}

fn write_evidence(text: &mut String, evidence: &Value) {
    let Value::Object(evidence) = evidence else { return };
    if evidence.is_empty() {
        return;
    }
    text.push_str("\nWhat it rests on\n");
    for (name, value) in evidence.iter().take(MAX_LINES) {
        line(text, &format!("  {name}"), &plain(value));
    }
    if evidence.len() > MAX_LINES {
        let _infallible = writeln!(text, "  and {} more", evidence.len() - MAX_LINES);
    }
}

/// A value as people read it: texts without quotes, lists with commas.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

fn line(text: &mut String, name: &str, value: &str) {
    let one_line = value.replace(['\n', '\r'], " ");
    let _infallible = writeln!(text, "{name}: {}", shortened(&one_line, MAX_VALUE));
}

/// The text in at most so many characters, with a mark where it was cut.
pub(super) fn shortened(text: &str, characters: usize) -> String {
    if text.chars().count() <= characters {
        return text.to_owned();
    }
    text.chars().take(characters.saturating_sub(1)).chain(['…']).collect()
}

/// A time to the second, as people read it.
fn for_people(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

pub(super) fn rfc3339(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}
