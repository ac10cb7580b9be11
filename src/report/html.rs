//! The report as one HTML page that stands alone: no scripts, no other files, fit to be printed.

use askama::Template;

use super::model::{ControlStatus, Report};
use super::proof::Standing;
use super::residency::Cell;

#[derive(Template)]
#[template(path = "report.html")]
struct Page<'a> {
    report: &'a Report,
}

const ALL: [ControlStatus; 5] = [
    ControlStatus::Violated,
    ControlStatus::Undetermined,
    ControlStatus::Excepted,
    ControlStatus::Upheld,
    ControlStatus::NotApplicable,
];

/// Renders the report.
///
/// # Errors
///
/// The template could not be written, which only a lack of memory explains.
pub fn render(report: &Report) -> Result<String, askama::Error> {
    Page { report }.render()
}

impl Page<'_> {
    fn standing(&self, standing: Standing) -> usize {
        self.report.proof.sets.iter().filter(|set| set.standing == standing).count()
    }

    fn used(&self) -> usize {
        self.standing(Standing::Used)
    }

    fn tried(&self) -> usize {
        self.standing(Standing::Tried)
    }

    fn unknown(&self) -> usize {
        self.standing(Standing::Unknown)
    }

    /// How many controls stand how, in the order of concern.
    fn control_counts(&self) -> Vec<(&'static str, &'static str, usize)> {
        ALL.into_iter()
            .map(|status| {
                let count = self.report.controls.iter().filter(|control| control.status == status).count();
                (status.as_str(), status_class(status), count)
            })
            .collect()
    }
}

fn time(time: &chrono::DateTime<chrono::Utc>) -> String {
    time.format("%-d %B %Y, %H:%M:%S UTC").to_string()
}

fn short_time(time: &chrono::DateTime<chrono::Utc>) -> String {
    time.format("%Y-%m-%d %H:%M").to_string()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "templates pass references")]
fn class(status: &ControlStatus) -> &'static str {
    status_class(*status)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "templates pass references")]
fn cell(cell: &Cell) -> &'static str {
    match cell {
        Cell::None => "",
        Cell::Home => "●",
        Cell::Replica => "○",
        Cell::Outside => "✖",
        Cell::Unread => "?",
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "templates pass references")]
fn cell_class(cell: &Cell) -> &'static str {
    match cell {
        Cell::None => "none",
        Cell::Home | Cell::Replica => "inside",
        Cell::Outside => "outside",
        Cell::Unread => "unread",
    }
}

fn evidence(evidence: &serde_json::Value) -> String {
    let Some(facts) = evidence.as_object() else { return evidence.to_string() };
    facts.iter().map(|(name, value)| format!("{name} = {value}")).collect::<Vec<_>>().join("; ")
}

/// A key set's or key's name without what the table says elsewhere.
fn short(id: &str) -> String {
    id.rsplit_once('/').map_or(id, |(_, last)| last).to_owned()
}

fn status_class(status: ControlStatus) -> &'static str {
    match status {
        ControlStatus::Violated => "violated",
        ControlStatus::Undetermined | ControlStatus::Excepted => "undetermined",
        ControlStatus::Upheld => "upheld",
        ControlStatus::NotApplicable => "na",
    }
}
