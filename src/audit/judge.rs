//! From what was touched to verdicts.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::{Auditor, Judged, Judgement, is_judged, position};
use crate::facts::{self, Context, Touched};
use crate::model::{AccountRegionSnapshot, Facts, KeyArn, Subject, TrailSnapshot, Verdict};

impl Auditor {
    /// Judges what was touched. A subject without a rule of its kind is left out.
    pub(super) fn judge(&self, touched: &Touched, now: DateTime<Utc>) -> Vec<(Subject, Vec<Verdict>)> {
        let context = self.context(now);
        let mut documents: Vec<Facts> = Vec::new();
        for key in touched.keys.iter().filter_map(|arn| self.estate.key(arn)) {
            if is_judged(key) {
                documents.push(facts::key(key, &self.estate, &context));
            }
        }
        for set in &touched.key_sets {
            if self.estate.members(set).into_iter().any(is_judged) {
                documents.extend(facts::key_set(set, &self.estate, &context));
            }
        }
        let mut trails: BTreeMap<&str, Facts> = BTreeMap::new();
        for (account, region) in &touched.regions {
            let Some(snapshot) = self.estate.region(account, region) else { continue };
            documents.push(facts::account_region(snapshot, &self.estate, &context));
            for trail in snapshot.trails.known().into_iter().flatten() {
                let (trail, seen_in) = self.at_home(trail, snapshot);
                trails.entry(&trail.arn).or_insert_with(|| facts::trail(trail, seen_in, &context));
            }
        }
        documents.extend(trails.into_values());
        documents
            .into_iter()
            .map(|facts| (self.standards.rules.judge(&facts), facts.subject))
            .filter(|(verdicts, _)| !verdicts.is_empty())
            .map(|(verdicts, subject)| (subject, verdicts))
            .collect()
    }

    /// A trail as its home Region shows it, if that is audited and was read: a trail shows in many places, and
    /// not everywhere may its status be asked for. What is said of it must not depend on which came last.
    fn at_home<'a>(
        &'a self,
        trail: &'a TrailSnapshot,
        seen_in: &'a AccountRegionSnapshot,
    ) -> (&'a TrailSnapshot, &'a AccountRegionSnapshot) {
        let home = self.home_of_trail(&trail.arn);
        let shown = home.and_then(|home| Some((shown_trail(home, &trail.arn)?, home)));
        shown.unwrap_or((trail, seen_in))
    }

    /// The home Region of a trail, if it is audited. `arn:PARTITION:cloudtrail:REGION:ACCOUNT:trail/NAME`
    pub(super) fn home_of_trail(&self, arn: &str) -> Option<&AccountRegionSnapshot> {
        let mut parts = arn.split(':').skip(3);
        let region = parts.next()?.parse().ok()?;
        let account = parts.next()?.parse().ok()?;
        self.estate.region(&account, &region)
    }

    pub(super) fn context(&self, now: DateTime<Utc>) -> Context<'_> {
        Context {
            atlas: &self.standards.atlas,
            assignments: &self.standards.assignments,
            policy: &self.standards.policy,
            accounts: &self.scope,
            own: &self.standards.own,
            now,
        }
    }

    pub(super) fn everything(&self) -> Touched {
        let keys = || self.estate.keys().map(|key| key.arn.clone());
        Touched {
            keys: keys().collect(),
            key_sets: keys().map(|arn: KeyArn| arn.key_set()).collect(),
            regions: self.regions().map(|(account, region)| (account.clone(), region.clone())).collect(),
            vanished: std::collections::BTreeSet::new(),
        }
    }

    pub(super) fn keep_verdicts(&mut self, subject: &Subject, verdicts: &[Verdict]) {
        let rules = &self.standards.rules;
        let judgements = verdicts
            .iter()
            .filter_map(|verdict| {
                let rule = position(rules, &verdict.rule)?;
                Some(Judgement { rule, outcome: verdict.outcome, reasons: verdict.reasons.clone() })
            })
            .collect();
        let key = (subject.kind, subject.id.clone());
        self.judged.insert(key, Judged { subject: subject.clone(), judgements });
    }
}

/// The trail of that ARN, as a place shows it.
pub(super) fn shown_trail<'a>(place: &'a AccountRegionSnapshot, arn: &str) -> Option<&'a TrailSnapshot> {
    place.trails.known().into_iter().flatten().find(|trail| trail.arn == arn)
}
