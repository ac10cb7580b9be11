//! Whether there is something to say, and why. Pure.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};

use crate::config::Alerts;
use crate::findings::Exception;
use crate::model::{Finding, FindingState, Level, Transition};
use crate::store::LastSaid;

/// Why something is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// A violation is new, has come back, or is no longer excepted.
    Opened,
    /// Its rule's level has risen.
    Escalated,
    /// It still stands.
    Reminder,
    /// It stands no more.
    Resolved,
    /// The exception that permits it is about to end.
    ExceptionExpiring,
    /// A part of the audit can no longer be read.
    CoverageLost,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 6] = [
        Self::Opened,
        Self::Escalated,
        Self::Reminder,
        Self::Resolved,
        Self::ExceptionExpiring,
        Self::CoverageLost,
    ];

    /// The reason's name, as in messages and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Escalated => "escalated",
            Self::Reminder => "reminder",
            Self::Resolved => "resolved",
            Self::ExceptionExpiring => "exception_expiring",
            Self::CoverageLost => "coverage_lost",
        }
    }

    fn of(entry: &LastSaid) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == entry.reason)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A finding about which something may have to be said.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    /// The finding as it is now.
    pub finding: &'a Finding,
    /// What has just happened to it; none if only time has passed.
    pub transition: Option<Transition>,
    /// The exception that permits it.
    pub exception: Option<&'a Exception>,
}

/// Whether a topic has to be told, and why. `said` is what was said to this topic about this finding.
///
/// - A topic is told of an open finding at or above its level, whether it has just opened or the topic is
///   new; then of every rise of its level, and again every `reminder_hours`.
/// - That it is resolved is said to those who believe that it stands, whatever its level is by now.
/// - An excepted finding is silent, but for the notice before its exception ends.
pub fn decide(
    case: &Case<'_>,
    said: &[&LastSaid],
    min_level: Level,
    now: DateTime<Utc>,
    alerts: &Alerts,
) -> Option<Reason> {
    let believed = believed_open_since(said);
    match case.finding.state {
        FindingState::Resolved => believed.map(|_| Reason::Resolved),
        FindingState::Excepted => (case.finding.level >= min_level && notice_is_due(case, said, now, alerts))
            .then_some(Reason::ExceptionExpiring),
        FindingState::Open if case.finding.level < min_level => None,
        FindingState::Open => match (case.transition, believed) {
            (Some(Transition::Opened | Transition::ExceptionEnded), _) | (_, None) => Some(Reason::Opened),
            (Some(Transition::Escalated), Some(_)) => Some(Reason::Escalated),
            (_, Some(last)) => reminder_is_due(last, now, alerts).then_some(Reason::Reminder),
        },
    }
}

/// When the topic was last told that the finding stands; none if it was not told, or told that it is resolved.
fn believed_open_since(said: &[&LastSaid]) -> Option<DateTime<Utc>> {
    let last = said
        .iter()
        .filter_map(|entry| Some((entry.at, Reason::of(entry)?)))
        .filter(|(_, reason)| !matches!(reason, Reason::ExceptionExpiring | Reason::CoverageLost))
        .max_by_key(|(at, _)| *at)?;
    (last.1 != Reason::Resolved).then_some(last.0)
}

fn reminder_is_due(last: DateTime<Utc>, now: DateTime<Utc>, alerts: &Alerts) -> bool {
    alerts.reminder_hours > 0 && now - last >= hours(alerts.reminder_hours)
}

/// Once for each end of an exception: one that was prolonged is announced again before its new end.
fn notice_is_due(case: &Case<'_>, said: &[&LastSaid], now: DateTime<Utc>, alerts: &Alerts) -> bool {
    let Some(exception) = case.exception else { return false };
    let notice_from = exception.expires - hours(alerts.exception_notice_days.saturating_mul(24));
    let was_said = said
        .iter()
        .any(|entry| Reason::of(entry) == Some(Reason::ExceptionExpiring) && entry.at >= notice_from);
    (notice_from..exception.expires).contains(&now) && !was_said
}

/// More hours than a century are as good as for ever, and do not overflow.
fn hours(hours: u64) -> TimeDelta {
    TimeDelta::hours(i64::try_from(hours.min(876_600)).unwrap_or(876_600))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::Scope;
    use crate::findings::fixtures::{at, key_subject};
    use crate::model::FindingKind;

    fn finding(state: FindingState) -> Finding {
        Finding {
            id: "f1".to_owned(),
            rule: "r".to_owned(),
            kind: FindingKind::Posture,
            state,
            level: Level::High,
            title: "A Title".to_owned(),
            message: "it is wrong".to_owned(),
            subject: key_subject(1),
            controls: [].into(),
            first_seen: at(0),
            last_seen: at(0),
            resolved_at: None,
            stale: false,
            opened_count: 1,
            event_count: 1,
            evidence: serde_json::json!({}),
            remediation: "mend it".to_owned(),
            exception: None,
        }
    }

    fn said(reason: Reason, seconds: i64) -> LastSaid {
        let (topic, about) = ("t".to_owned(), "f1".to_owned());
        LastSaid { topic, about, reason: reason.as_str().to_owned(), at: at(seconds) }
    }

    /// What is decided at `seconds` about a finding in a state, after a step, with what was said.
    fn decided(
        state: FindingState,
        transition: Option<Transition>,
        said: &[LastSaid],
        seconds: i64,
    ) -> Option<Reason> {
        let finding = finding(state);
        let case = Case { finding: &finding, transition, exception: None };
        let said: Vec<&LastSaid> = said.iter().collect();
        decide(&case, &said, Level::Medium, at(seconds), &Alerts::default())
    }

    const DAY: i64 = 86_400;

    #[test]
    fn an_open_finding_is_told_once() {
        use FindingState::Open;
        assert_eq!(decided(Open, Some(Transition::Opened), &[], 0), Some(Reason::Opened));
        let told = [said(Reason::Opened, 0)];
        for transition in [None, Some(Transition::Refreshed), Some(Transition::Staled)] {
            assert_eq!(decided(Open, transition, &told, 60), None, "{transition:?}");
        }
        assert_eq!(decided(Open, Some(Transition::Refreshed), &[], 60), Some(Reason::Opened), "a new topic");
    }

    #[test]
    fn a_rise_is_told_to_those_who_know_and_opens_for_the_others() {
        let told = [said(Reason::Opened, 0)];
        let step = Some(Transition::Escalated);
        assert_eq!(decided(FindingState::Open, step, &told, 60), Some(Reason::Escalated));
        assert_eq!(decided(FindingState::Open, step, &[], 60), Some(Reason::Opened));
    }

    #[test]
    fn reminders_count_from_the_last_word() {
        use FindingState::Open;
        let told = [said(Reason::Opened, 0), said(Reason::Escalated, 3_600)];
        assert_eq!(decided(Open, None, &told, DAY + 3_599), None);
        assert_eq!(decided(Open, None, &told, DAY + 3_600), Some(Reason::Reminder));
        let reminded = [said(Reason::Opened, 0), said(Reason::Reminder, DAY)];
        assert_eq!(decided(Open, Some(Transition::Refreshed), &reminded, DAY + 60), None);
        let finding = finding(Open);
        let case = Case { finding: &finding, transition: None, exception: None };
        let never = Alerts { reminder_hours: 0, ..Alerts::default() };
        assert_eq!(decide(&case, &[&told[0]], Level::Low, at(DAY * 99), &never), None);
        let absurd = Alerts { reminder_hours: u64::MAX, ..Alerts::default() };
        assert_eq!(decide(&case, &[&told[0]], Level::Low, at(DAY * 99), &absurd), None);
    }

    #[test]
    fn only_who_was_told_hears_of_the_end() {
        use FindingState::Resolved;
        let step = Some(Transition::Resolved);
        assert_eq!(decided(Resolved, step, &[], 60), None);
        assert_eq!(decided(Resolved, step, &[said(Reason::Opened, 0)], 60), Some(Reason::Resolved));
        assert_eq!(decided(Resolved, step, &[said(Reason::Reminder, 0)], 60), Some(Reason::Resolved));
        let over = [said(Reason::Opened, 0), said(Reason::Resolved, 30)];
        assert_eq!(decided(Resolved, step, &over, 60), None, "and only once");
        assert_eq!(decided(Resolved, step, &[said(Reason::ExceptionExpiring, 0)], 60), None);
        assert_eq!(decided(FindingState::Open, Some(Transition::Opened), &over, 90), Some(Reason::Opened));
    }

    #[test]
    fn a_topic_hears_nothing_below_its_level_but_the_end_of_what_it_knows() {
        let (open, resolved) = (finding(FindingState::Open), finding(FindingState::Resolved));
        let opened = said(Reason::Opened, 0);
        let case = |finding, transition| Case { finding, transition: Some(transition), exception: None };
        let alerts = Alerts::default();
        let opening = case(&open, Transition::Opened);
        assert_eq!(decide(&opening, &[], Level::Critical, at(0), &alerts), None);
        assert_eq!(decide(&opening, &[], Level::High, at(0), &alerts), Some(Reason::Opened));
        let ending = case(&resolved, Transition::Resolved);
        assert_eq!(decide(&ending, &[&opened], Level::Critical, at(9), &alerts), Some(Reason::Resolved));
    }

    #[test]
    fn an_excepted_finding_is_silent_until_its_exception_is_about_to_end() {
        let finding = finding(FindingState::Excepted);
        let exception = Exception {
            id: "E1".to_owned(),
            rule: "r".to_owned(),
            scope: Scope::default(),
            owner: String::new(),
            reason: String::new(),
            legal_basis: String::new(),
            approver: String::new(),
            expires: at(30 * DAY),
        };
        let decided = |said: &[&LastSaid], seconds, exception| {
            let case = Case { finding: &finding, transition: Some(Transition::Refreshed), exception };
            decide(&case, said, Level::Medium, at(seconds), &Alerts::default())
        };
        let opened = said(Reason::Opened, 0);
        assert_eq!(decided(&[&opened], 10 * DAY, Some(&exception)), None);
        assert_eq!(decided(&[&opened], 16 * DAY, Some(&exception)), Some(Reason::ExceptionExpiring));
        assert_eq!(decided(&[], 30 * DAY, Some(&exception)), None, "by then it has ended");
        assert_eq!(decided(&[], 20 * DAY, None), None);
        let announced = said(Reason::ExceptionExpiring, 16 * DAY);
        assert_eq!(decided(&[&announced], 17 * DAY, Some(&exception)), None);
        let prolonged = Exception { expires: at(100 * DAY), ..exception.clone() };
        assert_eq!(decided(&[&announced], 90 * DAY, Some(&prolonged)), Some(Reason::ExceptionExpiring));
    }

    #[test]
    fn the_end_of_an_exception_is_told_even_to_those_who_heard_of_the_beginning() {
        let told = [said(Reason::Opened, 0)];
        let step = Some(Transition::ExceptionEnded);
        assert_eq!(decided(FindingState::Open, step, &told, 60), Some(Reason::Opened));
    }
}
