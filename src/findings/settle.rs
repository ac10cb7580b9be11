//! Posture: the life of a state that is wrong.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::{Exceptions, RuleBook, evidence_of, posture_id, resolved};
use crate::model::{
    Finding, FindingChange, FindingKind, FindingState, Level, Outcome, SubjectKind, Transition, Verdict,
};

/// What the verdicts on one subject change, in the order of the rules' names.
///
/// - `fail` opens a finding, refreshes an open one, and reopens a resolved one under its old id.
/// - `pass` resolves. So does `not_applicable`: the rule is then *known* not to be about the subject as it
///   is now (a rotation rule on a key that came to await deletion), so what was alleged is no longer true
///   of it. What cannot be known is `unknown`, never `not_applicable`.
/// - `unknown` leaves a finding open and marks it stale.
/// - A finding whose rule is no longer loaded resolves; one whose rule is loaded and gave no verdict is stale.
///
/// `verdicts` are all those on one subject; findings of other subjects in `previous` are left alone.
/// A reading that is older than what a finding already rests on changes nothing.
pub fn settle(
    verdicts: &[Verdict],
    rules: &impl RuleBook,
    previous: &[Finding],
    exceptions: &Exceptions,
    now: DateTime<Utc>,
) -> Vec<FindingChange> {
    let Some(subject) = verdicts.first().map(|verdict| &verdict.subject) else { return Vec::new() };
    let mut before: BTreeMap<&str, &Finding> = findings_of(subject.kind, &subject.id, previous)
        .map(|finding| (finding.rule.as_str(), finding))
        .collect();
    let mut changes = Vec::new();
    for verdict in verdicts {
        let finding = before.remove(verdict.rule.as_str());
        if finding.is_some_and(|finding| now < last_word(finding)) {
            continue;
        }
        changes.extend(after_verdict(verdict, rules, finding, exceptions, now));
    }
    for (rule, finding) in before {
        if finding.state == FindingState::Resolved || now < last_word(finding) {
            continue;
        }
        changes.extend(if rules.rule_info(rule).is_none() && !rules.is_left_out(rule) {
            Some(resolved(finding, "the rule is no longer loaded", now))
        } else {
            left_in_doubt(finding, exceptions, now)
        });
    }
    changes.sort_by(|one, other| one.finding.rule.cmp(&other.finding.rule));
    changes
}

/// Resolves the findings of a subject that is no more. Call it after a complete reading only.
pub fn vanish(
    kind: SubjectKind,
    subject: &str,
    previous: &[Finding],
    now: DateTime<Utc>,
) -> Vec<FindingChange> {
    release(kind, subject, previous, "the subject is gone", now)
}

/// Resolves the findings of a subject that is judged no more, with the reason.
pub fn release(
    kind: SubjectKind,
    subject: &str,
    previous: &[Finding],
    because: &str,
    now: DateTime<Utc>,
) -> Vec<FindingChange> {
    findings_of(kind, subject, previous)
        .filter(|finding| finding.state != FindingState::Resolved && now >= last_word(finding))
        .map(|finding| resolved(finding, because, now))
        .collect()
}

/// Applies the exceptions to findings about which nothing new was read: an exception that expired or was
/// withdrawn reopens its findings, a new one takes effect. Run it regularly and after a reload.
pub fn reconsider<'a>(
    findings: impl IntoIterator<Item = &'a Finding>,
    exceptions: &Exceptions,
    now: DateTime<Utc>,
) -> Vec<FindingChange> {
    findings
        .into_iter()
        .filter(|finding| finding.state != FindingState::Resolved)
        .filter_map(|finding| {
            let mut finding = finding.clone();
            let transition = apply_exceptions(&mut finding, exceptions, now)?;
            Some(FindingChange { finding, transition })
        })
        .collect()
}

/// Sets the state by the exceptions; tells the step if there was one.
pub(super) fn apply_exceptions(
    finding: &mut Finding,
    exceptions: &Exceptions,
    now: DateTime<Utc>,
) -> Option<Transition> {
    let permit = exceptions.permitting(&finding.rule, &finding.subject, now);
    let was = finding.state;
    finding.exception = permit.map(|exception| exception.id.clone());
    match (was, permit.is_some()) {
        (FindingState::Open, true) => {
            finding.state = FindingState::Excepted;
            Some(Transition::Excepted)
        }
        (FindingState::Excepted, false) => {
            finding.state = FindingState::Open;
            finding.opened_count += 1;
            Some(Transition::ExceptionEnded)
        }
        _ => None,
    }
}

fn findings_of<'a>(
    kind: SubjectKind,
    subject: &'a str,
    findings: &'a [Finding],
) -> impl Iterator<Item = &'a Finding> {
    findings.iter().filter(move |finding| {
        finding.kind == FindingKind::Posture && finding.subject.kind == kind && finding.subject.id == subject
    })
}

/// When the finding was last decided by a reading.
fn last_word(finding: &Finding) -> DateTime<Utc> {
    finding.resolved_at.map_or(finding.last_seen, |at| at.max(finding.last_seen))
}

fn after_verdict(
    verdict: &Verdict,
    rules: &impl RuleBook,
    previous: Option<&Finding>,
    exceptions: &Exceptions,
    now: DateTime<Utc>,
) -> Option<FindingChange> {
    let standing = previous.filter(|finding| finding.state != FindingState::Resolved);
    match verdict.outcome {
        Outcome::Fail => Some(failed(verdict, rules, previous, exceptions, now)),
        Outcome::Pass => standing.map(|finding| resolved(finding, "the rule passes", now)),
        Outcome::NotApplicable => {
            standing.map(|finding| resolved(finding, "the rule no longer applies to the subject", now))
        }
        Outcome::Unknown => standing.and_then(|finding| left_in_doubt(finding, exceptions, now)),
    }
}

fn failed(
    verdict: &Verdict,
    rules: &impl RuleBook,
    previous: Option<&Finding>,
    exceptions: &Exceptions,
    now: DateTime<Utc>,
) -> FindingChange {
    let standing = previous.filter(|finding| finding.state != FindingState::Resolved);
    let opened_before = previous.map_or(0, |finding| finding.opened_count);
    let mut finding = from_verdict(verdict, rules, FindingKind::Posture);
    finding.id = posture_id(&verdict.rule, verdict.subject.kind, &verdict.subject.id);
    finding.state = standing.map_or(FindingState::Open, |finding| finding.state);
    finding.first_seen = standing.map_or(now, |finding| finding.first_seen);
    finding.last_seen = now;
    finding.opened_count = opened_before + u64::from(standing.is_none());
    let excepted = apply_exceptions(&mut finding, exceptions, now);
    let transition = excepted.unwrap_or(match standing {
        None => Transition::Opened,
        Some(before) if finding.state == FindingState::Open && before.level < finding.level => {
            Transition::Escalated
        }
        Some(_) => Transition::Refreshed,
    });
    FindingChange { finding, transition }
}

/// A finding as its verdict has it; whoever calls it sets the id, the times and the counts.
///
/// A verdict of a rule that is not loaded any more still makes a finding: a violation is not dropped for
/// want of its title.
pub(super) fn from_verdict(verdict: &Verdict, rules: &impl RuleBook, kind: FindingKind) -> Finding {
    let info = rules.rule_info(&verdict.rule);
    Finding {
        id: String::new(),
        rule: verdict.rule.clone(),
        kind,
        state: FindingState::Open,
        level: info.map_or(Level::Medium, |info| info.level),
        title: info.map_or_else(|| verdict.rule.clone(), |info| info.title.to_owned()),
        message: verdict.message.clone(),
        subject: verdict.subject.clone(),
        controls: info.map(|info| info.controls.clone()).unwrap_or_default(),
        first_seen: DateTime::UNIX_EPOCH,
        last_seen: DateTime::UNIX_EPOCH,
        resolved_at: None,
        stale: false,
        opened_count: 1,
        event_count: 1,
        evidence: evidence_of(&verdict.evidence),
        remediation: info.map(|info| info.remediation.to_owned()).unwrap_or_default(),
        exception: None,
    }
}

/// An open finding that could not be judged: it stays, marked; nothing to write if it already was.
fn left_in_doubt(finding: &Finding, exceptions: &Exceptions, now: DateTime<Utc>) -> Option<FindingChange> {
    let mut after = finding.clone();
    after.stale = true;
    let transition = apply_exceptions(&mut after, exceptions, now)
        .or_else(|| (!finding.stale).then_some(Transition::Staled))?;
    Some(FindingChange { finding: after, transition })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::RESOLUTION;
    use crate::findings::fixtures::{BROKEN, at, key_subject, rules, verdict};

    /// Settles one verdict of `r` after another, and tells what the finding is and how it got there.
    struct Life {
        level: Level,
        exceptions: Exceptions,
        finding: Option<Finding>,
    }

    impl Life {
        fn new() -> Self {
            Self { level: Level::Medium, exceptions: Exceptions::default(), finding: None }
        }

        fn then(&mut self, outcome: Outcome, seconds: i64) -> Option<Transition> {
            let previous: Vec<Finding> = self.finding.iter().cloned().collect();
            let changes = settle(
                &[verdict("r", outcome)],
                &rules(&[("r", self.level)]),
                &previous,
                &self.exceptions,
                at(seconds),
            );
            assert!(changes.len() <= 1);
            let change = changes.into_iter().next()?;
            self.finding = Some(change.finding);
            Some(change.transition)
        }

        fn finding(&self) -> &Finding {
            self.finding.as_ref().unwrap()
        }
    }

    fn exceptions(expires: &str) -> Exceptions {
        let text = format!(
            "exceptions:\n- {{id: E1, rule: r, scope: {{boundary: eea}}, owner: o, reason: w, legal_basis: l, \
             approver: a, expires: '{expires}'}}\n"
        );
        Exceptions::parse("x.yaml", &text, &["r".to_owned()].into()).unwrap()
    }

    #[test]
    fn a_failure_opens_and_later_ones_refresh() {
        let mut life = Life::new();
        assert_eq!(life.then(Outcome::Fail, 0), Some(Transition::Opened));
        let first = life.finding().clone();
        assert_eq!(first.id, posture_id("r", SubjectKind::Key, &key_subject(1).id));
        assert_eq!((first.title.as_str(), first.message.as_str()), ("A Title", "it is wrong"));
        assert_eq!(first.evidence["key.state"], "Enabled");
        assert_eq!(life.then(Outcome::Fail, 60), Some(Transition::Refreshed));
        let expected = Finding { last_seen: at(60), ..first };
        assert_eq!(*life.finding(), expected);
    }

    #[test]
    fn what_was_never_wrong_is_no_finding() {
        for outcome in [Outcome::Pass, Outcome::NotApplicable, Outcome::Unknown] {
            assert_eq!(Life::new().then(outcome, 0), None);
        }
    }

    #[test]
    fn it_resolves_when_it_passes_or_no_longer_applies_and_says_which() {
        for (outcome, because) in [
            (Outcome::Pass, "the rule passes"),
            (Outcome::NotApplicable, "the rule no longer applies to the subject"),
        ] {
            let mut life = Life::new();
            life.then(Outcome::Fail, 0);
            assert_eq!(life.then(outcome, 60), Some(Transition::Resolved));
            let finding = life.finding();
            assert_eq!((finding.state, finding.resolved_at), (FindingState::Resolved, Some(at(60))));
            assert_eq!(finding.evidence[RESOLUTION], because);
            assert_eq!(life.then(outcome, 120), None, "and only once");
        }
    }

    #[test]
    fn doubt_neither_resolves_nor_refreshes() {
        let mut life = Life::new();
        life.then(Outcome::Fail, 0);
        assert_eq!(life.then(Outcome::Unknown, 60), Some(Transition::Staled));
        let finding = life.finding();
        assert!(finding.stale && finding.state == FindingState::Open && finding.last_seen == at(0));
        assert_eq!(life.then(Outcome::Unknown, 120), None, "nothing new to write");
        assert_eq!(life.then(Outcome::Fail, 180), Some(Transition::Refreshed));
        assert!(!life.finding().stale);
    }

    #[test]
    fn it_comes_back_under_its_id_with_its_counts() {
        let mut life = Life::new();
        life.then(Outcome::Fail, 0);
        let id = life.finding().id.clone();
        life.then(Outcome::Pass, 60);
        assert_eq!(life.then(Outcome::Fail, 120), Some(Transition::Opened));
        let finding = life.finding();
        assert_eq!((&finding.id, finding.opened_count, finding.first_seen), (&id, 2, at(120)));
        assert_eq!((finding.resolved_at, finding.evidence.get(RESOLUTION)), (None, None));
    }

    #[test]
    fn a_risen_level_escalates_and_a_fallen_one_does_not() {
        let mut life = Life::new();
        life.then(Outcome::Fail, 0);
        life.level = Level::Critical;
        assert_eq!(life.then(Outcome::Fail, 60), Some(Transition::Escalated));
        life.level = Level::Low;
        assert_eq!(life.then(Outcome::Fail, 120), Some(Transition::Refreshed));
        assert_eq!(life.finding().level, Level::Low);
    }

    #[test]
    fn a_rule_that_is_gone_resolves_and_one_that_a_mistake_keeps_out_does_not() {
        for (rule, transition) in [("gone", Transition::Resolved), (BROKEN, Transition::Staled)] {
            let opened = settle(
                &[verdict(rule, Outcome::Fail)],
                &rules(&[(rule, Level::High)]),
                &[],
                &Exceptions::default(),
                at(0),
            );
            let finding = opened[0].finding.clone();
            let others = [verdict("r", Outcome::Pass)];
            let rest = rules(&[("r", Level::High)]);
            let changes = settle(&others, &rest, &[finding], &Exceptions::default(), at(60));
            assert_eq!(changes.iter().map(|change| change.transition).collect::<Vec<_>>(), [transition]);
        }
    }

    #[test]
    fn an_older_reading_changes_nothing() {
        let mut life = Life::new();
        life.then(Outcome::Fail, 60);
        assert_eq!(life.then(Outcome::Pass, 30), None);
        life.then(Outcome::Pass, 90);
        assert_eq!(life.then(Outcome::Fail, 80), None);
        assert_eq!(life.finding().state, FindingState::Resolved);
    }

    #[test]
    fn an_exception_permits_until_it_ends() {
        let mut life = Life::new();
        life.exceptions = exceptions(&at(100).to_rfc3339());
        assert_eq!(life.then(Outcome::Fail, 0), Some(Transition::Excepted));
        assert_eq!(life.finding().exception.as_deref(), Some("E1"));
        assert_eq!(life.then(Outcome::Fail, 99), Some(Transition::Refreshed));
        assert_eq!(life.finding().state, FindingState::Excepted);
        assert_eq!(life.then(Outcome::Fail, 100), Some(Transition::ExceptionEnded));
        let finding = life.finding();
        assert_eq!((finding.state, finding.first_seen, finding.opened_count), (FindingState::Open, at(0), 2));
        assert_eq!(finding.exception, None);
    }

    #[test]
    fn an_exception_ends_though_nothing_can_be_read() {
        let mut life = Life::new();
        life.exceptions = exceptions(&at(100).to_rfc3339());
        life.then(Outcome::Fail, 0);
        assert_eq!(life.then(Outcome::Unknown, 100), Some(Transition::ExceptionEnded));
        assert!(life.finding().stale);
    }

    #[test]
    fn exceptions_are_reconsidered_without_a_reading() {
        let mut life = Life::new();
        life.then(Outcome::Fail, 0);
        let open = life.finding().clone();
        assert_eq!(reconsider([&open], &Exceptions::default(), at(1)), []);
        let granted = reconsider([&open], &exceptions(&at(100).to_rfc3339()), at(1));
        assert_eq!(granted[0].transition, Transition::Excepted);
        let ended = reconsider([&granted[0].finding], &exceptions(&at(100).to_rfc3339()), at(200));
        assert_eq!(ended[0].transition, Transition::ExceptionEnded);
        let withdrawn = reconsider([&granted[0].finding], &Exceptions::default(), at(2));
        assert_eq!(withdrawn[0].transition, Transition::ExceptionEnded);
    }

    #[test]
    fn a_vanished_subject_resolves_its_own_findings_only() {
        let mut life = Life::new();
        life.then(Outcome::Fail, 0);
        let own = life.finding().clone();
        let mut foreign = own.clone();
        foreign.subject = key_subject(2);
        let mut detection = own.clone();
        detection.kind = FindingKind::Detection;
        let changes = vanish(SubjectKind::Key, &own.subject.id, &[own.clone(), foreign, detection], at(60));
        assert_eq!(changes.len(), 1);
        assert_eq!((changes[0].transition, &changes[0].finding.id), (Transition::Resolved, &own.id));
        assert_eq!(vanish(SubjectKind::Key, &own.subject.id, &[changes[0].finding.clone()], at(90)), []);
    }

    #[test]
    fn a_rule_that_is_gone_resolves_and_one_that_kept_silent_does_not() {
        let both = rules(&[("r", Level::Medium), ("other", Level::Medium)]);
        let verdicts = [verdict("other", Outcome::Fail), verdict("r", Outcome::Fail)];
        let opened = settle(&verdicts, &both, &[], &Exceptions::default(), at(0));
        assert_eq!(opened.iter().map(|change| &*change.finding.rule).collect::<Vec<_>>(), ["other", "r"]);
        let previous: Vec<Finding> = opened.into_iter().map(|change| change.finding).collect();
        let later = |rules: &BTreeMap<String, _>| {
            settle(&[verdict("other", Outcome::Fail)], rules, &previous, &Exceptions::default(), at(60))
        };
        assert_eq!(later(&rules(&[("other", Level::Medium)]))[1].transition, Transition::Resolved);
        assert_eq!(later(&both)[1].transition, Transition::Staled);
    }
}
