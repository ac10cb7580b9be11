//! What to say and why, the outbox, and SNS.
//!
//! [`Notifier`] decides and words purely; its rows are written in the transaction of what they tell of.
//! [`Outbox`] drains them to a [`Publisher`], which is SNS ([`SnsPublisher`]) everywhere but in tests.

mod coverage;
mod decide;
mod message;
mod outbox;
mod sns;
mod text;

use chrono::{DateTime, Utc};

use crate::config::{Alerts, SnsTopic};
use crate::findings::{Exceptions, hash_of};
use crate::model::{Finding, FindingChange, OutboxRow, Reading, Transition};
use crate::store::{LastSaid, StoredReading};

pub use decide::{Case, Reason, decide};
pub use message::finding_fields;
pub(crate) use message::shown_evidence;
pub use outbox::{Delivery, Failure, Outbox, OutboxSettings, PublishError, Publisher};
pub use sns::SnsPublisher;

/// What decides on messages, and words them.
#[derive(Debug, Clone, Default)]
pub struct Notifier {
    /// Where alerts go.
    pub topics: Vec<SnsTopic>,
    /// When they are repeated.
    pub alerts: Alerts,
    /// What the links in messages begin with.
    pub external_url: Option<String>,
}

impl Notifier {
    /// What has to be said about changes. `said` is what was said before about their findings
    /// ([`crate::store::Store::last_said`] of their ids).
    pub fn about_changes(
        &self,
        changes: &[FindingChange],
        exceptions: &Exceptions,
        said: &[LastSaid],
        now: DateTime<Utc>,
    ) -> Vec<OutboxRow> {
        changes
            .iter()
            .flat_map(|change| self.about(&change.finding, Some(change.transition), exceptions, said, now))
            .collect()
    }

    /// What has to be said because time has passed: reminders, and exceptions that are about to end.
    /// `findings` are those that stand.
    pub fn about_standing(
        &self,
        findings: &[Finding],
        exceptions: &Exceptions,
        said: &[LastSaid],
        now: DateTime<Utc>,
    ) -> Vec<OutboxRow> {
        findings.iter().flat_map(|finding| self.about(finding, None, exceptions, said, now)).collect()
    }

    /// What has to be said when parts of the audit can no longer be read. `before` are the readings as they
    /// were stored before the new `readings`; `said` is asked for with [`Notifier::coverage_subjects`].
    pub fn about_coverage(
        &self,
        before: &[StoredReading],
        readings: &[Reading],
        said: &[LastSaid],
        now: DateTime<Utc>,
    ) -> Vec<OutboxRow> {
        let losses = coverage::losses(before, readings);
        let mut rows = Vec::new();
        for loss in &losses {
            for topic in self.topics.iter().filter(|topic| coverage::LEVEL >= topic.min_level) {
                let said = said_to(said, &topic.topic, &loss.about());
                if !coverage::said_lately(&said, now) {
                    let id = hash_of([&*topic.topic, &loss.about(), &now.timestamp_micros().to_string()]);
                    rows.push(message::of_loss(loss, topic, &id, now));
                }
            }
        }
        rows
    }

    /// Under which subjects what was said about the coverage of these readings is kept.
    pub fn coverage_subjects(readings: &[Reading]) -> Vec<String> {
        readings.iter().map(coverage::about).collect::<std::collections::BTreeSet<_>>().into_iter().collect()
    }

    fn about(
        &self,
        finding: &Finding,
        transition: Option<Transition>,
        exceptions: &Exceptions,
        said: &[LastSaid],
        now: DateTime<Utc>,
    ) -> Vec<OutboxRow> {
        let exception = finding.exception.as_deref().and_then(|id| exceptions.get(id));
        let case = Case { finding, transition, exception };
        let mut rows = Vec::new();
        for topic in &self.topics {
            let said = said_to(said, &topic.topic, &finding.id);
            if let Some(reason) = decide(&case, &said, topic.min_level, now, &self.alerts) {
                let id = row_id(&case, reason, &topic.topic, &said);
                rows.push(message::of_finding(&case, reason, topic, &id, self.external_url.as_deref()));
            }
        }
        rows
    }
}

fn said_to<'a>(said: &'a [LastSaid], topic: &str, about: &str) -> Vec<&'a LastSaid> {
    said.iter().filter(|entry| entry.topic == topic && entry.about == about).collect()
}

/// The id of a message: the same decision on the same store is the same message, whoever takes it and however
/// often.
fn row_id(case: &Case<'_>, reason: Reason, topic: &str, said: &[&LastSaid]) -> String {
    let occasion = match reason {
        Reason::Opened | Reason::Resolved | Reason::CoverageLost => String::new(),
        Reason::ExceptionExpiring => {
            case.exception.map(|exception| exception.expires.to_rfc3339()).unwrap_or_default()
        }
        Reason::Escalated | Reason::Reminder => {
            let last = said.iter().map(|entry| entry.at).max();
            last.map(|at| at.timestamp_micros().to_string()).unwrap_or_default()
        }
    };
    let life = case.finding.opened_count.to_string();
    hash_of([topic, &case.finding.id, reason.as_str(), &life, &occasion])
}
