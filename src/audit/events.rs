//! From events to what becomes of detections.
//!
//! Unlike posture, detections are taken further from what the store holds and not from what is in memory:
//! several instances may detect at the same time.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::Auditor;
use crate::findings::{self, Detection};
use crate::model::{Changes, EventRecord, Finding, FindingChange, FindingKind, Outcome, Verdict};
use crate::rules::Match;

/// What the rules say of some events.
#[derive(Debug, Default)]
pub struct Detected<'e> {
    /// The violations, in the order of the events and then of the rules' names.
    pub found: Vec<(Verdict, &'e EventRecord)>,
    /// What counts for correlations.
    pub matches: Vec<Match>,
    /// Of how many events each rule could not tell whether they violate it.
    pub undecided: BTreeMap<String, u64>,
}

impl Detected<'_> {
    /// The ids of the findings that the violations belong to.
    pub fn finding_ids(&self) -> Vec<String> {
        let ids: BTreeSet<String> = self.found.iter().map(|(verdict, _)| findings::id_of(verdict)).collect();
        ids.into_iter().collect()
    }
}

impl Auditor {
    /// What the rules say of events.
    pub fn detect<'e>(&self, events: &'e [EventRecord], now: DateTime<Utc>) -> Detected<'e> {
        let rules = &self.standards.rules;
        let mut detected = Detected::default();
        for event in events.iter().filter(|event| rules.wants(event.source(), event.name())) {
            let found = rules.find(&self.event_facts(event, now), event);
            detected.matches.extend(found.matches);
            for verdict in found.verdicts {
                match verdict.outcome {
                    Outcome::Fail => detected.found.push((verdict, event)),
                    Outcome::Unknown => {
                        tracing::debug!(
                            rule = verdict.rule,
                            event = event.id(),
                            reasons = verdict.reasons.join("; "),
                            "it could not be told whether an event is a violation"
                        );
                        *detected.undecided.entry(verdict.rule).or_default() += 1;
                    }
                    Outcome::Pass | Outcome::NotApplicable => {}
                }
            }
        }
        detected
    }

    /// What becomes of detections. `previous` are the findings that there are of [`Detected::finding_ids`].
    pub fn detections(&self, detected: &Detected<'_>, previous: &[Finding], now: DateTime<Utc>) -> Changes {
        let detections: Vec<Detection<'_>> =
            detected.found.iter().map(|(verdict, event)| Detection { verdict, event }).collect();
        self.settle_detections(&detections, previous, now)
    }

    pub(super) fn settle_detections(
        &self,
        detections: &[Detection<'_>],
        previous: &[Finding],
        now: DateTime<Utc>,
    ) -> Changes {
        let standards = &self.standards;
        let found = findings::detect(detections, &*standards.rules, previous, &standards.exceptions, now);
        let before: BTreeMap<&str, u64> =
            previous.iter().map(|finding| (finding.id.as_str(), finding.event_count)).collect();
        let mut changes = Changes::default();
        for FindingChange { finding, .. } in &found {
            let calls = changes.detected.entry((finding.rule.clone(), finding.level)).or_default();
            let counted = before.get(finding.id.as_str()).copied().unwrap_or_default();
            *calls += finding.event_count.saturating_sub(counted);
        }
        changes.findings = found;
        changes
    }

    /// Takes up what became of findings elsewhere: in the store.
    pub fn keep(&mut self, changes: &[FindingChange]) {
        self.keep_changed(changes);
    }

    /// Takes up the detections that a store has, in place of those that are known.
    pub fn take_up_detections(&mut self, detections: Vec<Finding>) {
        self.findings.retain(|_, finding| finding.kind != FindingKind::Detection);
        for detection in detections {
            self.keep_finding(detection);
        }
    }

    /// What follows from events, as far as this audit alone knows of findings.
    pub(super) fn take_events(&mut self, events: &[EventRecord], now: DateTime<Utc>, changes: &mut Changes) {
        let detected = self.detect(events, now);
        let ids = detected.finding_ids();
        let previous: Vec<Finding> = ids.iter().filter_map(|id| self.findings.get(id)).cloned().collect();
        let found = self.detections(&detected, &previous, now);
        self.keep_changed(&found.findings);
        changes.findings.extend(found.findings);
        changes.detected.extend(found.detected);
    }
}
