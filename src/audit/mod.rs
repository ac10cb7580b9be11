//! The audit itself: holds what is known of the estate, and turns a batch into what changes.
//!
//! Everything here is a function of the batches taken so far and of the time that each of them bears; the
//! same batches in the same order give the same changes. Nothing is read, written or sent from here.

mod correlate;
mod events;
mod judge;
mod logs;
mod settle;
mod trails;
mod usage;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use crate::config::AuditPolicy;
use crate::facts::{AccountScope, Estate, OwnIdentity, Place};
use crate::findings::{self, Exceptions, RuleBook, RuleInfo};
use crate::jurisdiction::{Assignments, Atlas};
use crate::model::{
    AccountRegionSnapshot, Batch, Changes, EventRecord, Fact, Finding, FindingChange, FindingKind,
    FindingState, KeyArn, KeySnapshot, Outcome, Subject, SubjectKind, Transition,
};
use crate::rules::RuleSet;
pub use correlate::Correlations;
pub use events::Detected;
use settle::{GONE, NO_LONGER_AUDITED};

/// What the audit judges by; replaced as a whole when the configuration is read anew.
#[derive(Debug)]
pub struct Standards {
    /// Dated facts about Regions and countries.
    pub atlas: Arc<Atlas>,
    /// Which boundary a key set has to stay in.
    pub assignments: Assignments,
    /// What the organization has decided.
    pub policy: AuditPolicy,
    /// The rules in force.
    pub rules: Arc<RuleSet>,
    /// Who may violate which rule, until when.
    pub exceptions: Exceptions,
    /// How Keyward's own calls are told from others.
    pub own: OwnIdentity,
}

/// One rule's answer on one subject, kept small: there are some hundred thousand of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// The position of the rule in the rule set.
    pub rule: usize,
    /// The answer.
    pub outcome: Outcome,
    /// Why it is unknown.
    pub reasons: Vec<String>,
}

/// All answers on one subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// The subject.
    pub subject: Subject,
    /// The answers, by rule.
    pub judgements: Vec<Judgement>,
}

/// The audit of one estate.
#[derive(Debug)]
pub struct Auditor {
    standards: Standards,
    scope: AccountScope,
    estate: Estate,
    judged: BTreeMap<(SubjectKind, String), Judged>,
    findings: BTreeMap<String, Finding>,
    /// Ids of posture findings, of any state, by the subject that they are about. Detections are not among
    /// them: their subject is the newest event, and nothing is settled against it.
    by_subject: BTreeMap<(SubjectKind, String), BTreeSet<String>>,
    version: u64,
}

impl Auditor {
    /// An audit of an estate of which nothing is known yet.
    pub fn new(standards: Standards, scope: AccountScope) -> Self {
        Self {
            standards,
            scope,
            estate: Estate::default(),
            judged: BTreeMap::new(),
            findings: BTreeMap::new(),
            by_subject: BTreeMap::new(),
            version: 0,
        }
    }

    /// Takes up what a store has kept, and judges it anew as of `now` without changing any finding.
    pub fn restore(&mut self, kept: Kept, now: DateTime<Utc>) {
        self.take_up(kept);
        for target in self.targets(&self.everything()) {
            if let Some((subject, verdicts)) = self.judge(&target, now) {
                self.keep_verdicts(&subject, &verdicts);
            }
        }
    }

    /// Forgets everything and takes up what a store has kept: what is right after a commit failed.
    pub fn go_back(&mut self, kept: Kept, now: DateTime<Utc>) {
        self.estate = Estate::default();
        self.judged.clear();
        self.findings.clear();
        self.by_subject.clear();
        self.restore(kept, now);
    }

    /// Takes up what was known at a past time, and judges it as of then by today's standards.
    ///
    /// What was on record stays as it stood, with the message and the evidence of then where the rule still
    /// fails. What fails and was on no record, since the rule is younger, is a finding from then on.
    pub fn restore_past(&mut self, kept: Kept, then: DateTime<Utc>) {
        self.take_up(kept);
        for target in self.targets(&self.everything()) {
            let Some((subject, verdicts)) = self.judge(&target, then) else { continue };
            let recorded = self.findings_of(subject.kind, &subject.id);
            let standards = &self.standards;
            let settled =
                findings::settle(&verdicts, &*standards.rules, &recorded, &standards.exceptions, then);
            for change in settled {
                self.settle_past(change);
            }
            self.keep_verdicts(&subject, &verdicts);
        }
    }

    fn settle_past(&mut self, change: FindingChange) {
        let recorded = self.findings.get(&change.finding.id);
        let standing = recorded.filter(|finding| finding.state != FindingState::Resolved);
        let finding = match (standing, change.transition) {
            (_, Transition::Resolved) => return,
            (Some(standing), Transition::Staled) => Finding { stale: true, ..standing.clone() },
            (Some(standing), _) => {
                Finding { state: standing.state, exception: standing.exception.clone(), ..change.finding }
            }
            (None, _) => change.finding,
        };
        self.keep_finding(finding);
    }

    fn take_up(&mut self, kept: Kept) {
        self.version += 1;
        for key in kept.keys {
            self.estate.put_key(key);
        }
        for region in kept.regions {
            self.estate.put_region(region);
        }
        for finding in kept.findings {
            self.keep_finding(finding);
        }
    }

    /// Replaces what is judged by, and judges everything anew: what a reload of the configuration does. Gives
    /// the old standards back beside what changes, for whoever cannot store that.
    pub fn replace_standards(&mut self, standards: Standards, now: DateTime<Utc>) -> (Standards, Changes) {
        let old = std::mem::replace(&mut self.standards, standards);
        self.version += 1;
        let before = std::mem::take(&mut self.judged);
        let mut changes = self.settle(&self.everything(), GONE, now);
        let not_judged = before.into_iter().filter(|(subject, _)| !self.judged.contains_key(subject));
        for (subject, judged) in not_judged.collect::<Vec<_>>() {
            self.judged.insert(subject.clone(), judged);
            self.stop_judging(subject.0, &subject.1, now, &mut changes);
        }
        (old, changes)
    }

    /// Puts standards in force without judging by them; [`Self::go_back`] has to follow.
    pub fn set_standards(&mut self, standards: Standards) {
        self.version += 1;
        self.standards = standards;
    }

    /// Sets which accounts are one's own.
    pub fn set_scope(&mut self, scope: AccountScope) {
        self.version += 1;
        self.scope = scope;
    }

    /// What follows from a batch. Its events have to be free of those taken before.
    pub fn take(&mut self, batch: &Batch) -> Changes {
        let mut changes = self.take_snapshots(batch);
        self.take_events(&batch.events, batch.read_at, &mut changes);
        changes
    }

    /// What follows from what a batch has seen of keys and Regions.
    pub fn take_snapshots(&mut self, batch: &Batch) -> Changes {
        self.version += 1;
        let touched = self.estate.apply(batch);
        self.settle(&touched, GONE, batch.read_at)
    }

    /// What follows when account-Regions are audited no more: their keys leave the estate, and what was found
    /// there ends.
    pub fn forget_places(&mut self, places: &BTreeSet<Place>, now: DateTime<Utc>) -> Changes {
        self.version += 1;
        let touched = self.estate.forget(places);
        let mut changes = self.settle(&touched, NO_LONGER_AUDITED, now);
        for (account, region) in places {
            let id = format!("{account}/{region}");
            self.end(SubjectKind::AccountRegion, id, NO_LONGER_AUDITED, now, &mut changes);
        }
        changes
    }

    /// The keys that events name and that are not known.
    pub fn unknown_keys(&self, events: &[EventRecord], now: DateTime<Utc>) -> BTreeSet<KeyArn> {
        let named =
            events.iter().filter_map(|event| match self.event_facts(event, now).root.at("event.key_arn") {
                Some(Fact::Text(arn)) => arn.parse::<KeyArn>().ok(),
                _ => None,
            });
        named.filter(|arn| self.estate.key(arn).is_none()).collect()
    }

    /// What follows from time alone: detections that age out, exceptions that end.
    pub fn tick(&mut self, now: DateTime<Utc>, detection_max_age: TimeDelta) -> Changes {
        let aged_out = findings::age_out(self.findings.values(), now, detection_max_age);
        self.keep_changed(&aged_out);
        let reconsidered = findings::reconsider(self.findings.values(), &self.standards.exceptions, now);
        self.keep_changed(&reconsidered);
        Changes { findings: aged_out.into_iter().chain(reconsidered).collect(), ..Changes::default() }
    }

    /// Forgets findings that were resolved before a time, as the store does.
    pub fn forget_resolved(&mut self, before: DateTime<Utc>) {
        let is_old = |finding: &Finding| {
            finding.state == FindingState::Resolved && finding.resolved_at.is_some_and(|at| at < before)
        };
        let old: Vec<Finding> = self.findings.values().filter(|finding| is_old(finding)).cloned().collect();
        for finding in old {
            self.findings.remove(&finding.id);
            let subject = (finding.subject.kind, finding.subject.id);
            if let Some(ids) = self.by_subject.get_mut(&subject) {
                ids.remove(&finding.id);
                if ids.is_empty() {
                    self.by_subject.remove(&subject);
                }
            }
        }
    }

    /// Marks a detection as seen to.
    pub fn acknowledge(&mut self, id: &str, now: DateTime<Utc>) -> Option<FindingChange> {
        let change = findings::acknowledge(self.findings.get(id)?, now)?;
        self.keep_finding(change.finding.clone());
        Some(change)
    }

    fn keep_changed(&mut self, changes: &[FindingChange]) {
        for change in changes {
            self.keep_finding(change.finding.clone());
        }
    }

    fn keep_finding(&mut self, finding: Finding) {
        if finding.kind == FindingKind::Posture {
            let subject = (finding.subject.kind, finding.subject.id.clone());
            self.by_subject.entry(subject).or_default().insert(finding.id.clone());
        }
        self.findings.insert(finding.id.clone(), finding);
    }

    fn findings_of(&self, kind: SubjectKind, id: &str) -> Vec<Finding> {
        let ids = self.by_subject.get(&(kind, id.to_owned()));
        ids.into_iter().flatten().filter_map(|id| self.findings.get(id)).cloned().collect()
    }
}

/// What a store has kept of an audit.
#[derive(Debug, Default)]
pub struct Kept {
    /// Keys as last read.
    pub keys: Vec<KeySnapshot>,
    /// Regions of accounts as last read.
    pub regions: Vec<AccountRegionSnapshot>,
    /// Findings of any state.
    pub findings: Vec<Finding>,
}

/// Customer keys are judged; so is a key of which it could not be read whose it is: absence is no compliance.
fn is_judged(key: &KeySnapshot) -> bool {
    key.metadata.known().is_none_or(|metadata| metadata.manager == "CUSTOMER")
}

impl RuleBook for RuleSet {
    fn rule_info(&self, name: &str) -> Option<RuleInfo<'_>> {
        self.rule(name).map(|rule| RuleInfo {
            level: rule.level,
            title: &rule.title,
            remediation: &rule.remediation,
            controls: &rule.controls,
        })
    }

    fn is_left_out(&self, name: &str) -> bool {
        self.left_out().contains(name)
    }
}

/// The position of a rule in the set, which is sorted by name.
fn position(rules: &RuleSet, name: &str) -> Option<usize> {
    rules.rules().binary_search_by(|rule| rule.name.as_str().cmp(name)).ok()
}

#[cfg(test)]
pub(crate) mod tests;
