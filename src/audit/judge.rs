//! From what was touched to verdicts.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::{Auditor, Judged, Judgement, is_judged, position};
use crate::facts::{self, Context, Place, Touched};
use crate::model::{AccountRegionSnapshot, Facts, KeyArn, KeySetId, Subject, TrailSnapshot, Verdict};

/// A subject that has to be judged.
#[derive(Debug)]
pub(super) enum Target {
    Key(KeyArn),
    KeySet(KeySetId),
    Region(Place),
    /// A trail, and a place that shows it.
    Trail(String, Place),
}

impl Auditor {
    /// The subjects that have to be judged, in order, trails once each. Their facts are made one by one, when it
    /// is their turn: together they are many times the size of what they are made from.
    pub(super) fn targets(&self, touched: &Touched) -> Vec<Target> {
        let is_judged_key = |arn: &&KeyArn| self.estate.key(arn).is_some_and(is_judged);
        let keys = touched.keys.iter().filter(is_judged_key).cloned().map(Target::Key);
        let is_judged_set = |set: &&KeySetId| self.estate.members(set).into_iter().any(is_judged);
        let sets = touched.key_sets.iter().filter(is_judged_set).cloned().map(Target::KeySet);
        let regions = touched.regions.iter().cloned().map(Target::Region);
        let mut trails: BTreeMap<String, Place> = BTreeMap::new();
        for place in &touched.regions {
            let snapshot = self.estate.region(&place.0, &place.1);
            for trail in snapshot.and_then(|snapshot| snapshot.trails.known()).into_iter().flatten() {
                trails.entry(trail.arn.clone()).or_insert_with(|| place.clone());
            }
        }
        let trails = trails.into_iter().map(|(arn, place)| Target::Trail(arn, place));
        keys.chain(sets).chain(regions).chain(trails).collect()
    }

    /// Judges one subject; none if there is no rule of its kind.
    pub(super) fn judge(&self, target: &Target, now: DateTime<Utc>) -> Option<(Subject, Vec<Verdict>)> {
        let facts = self.facts_of(target, now)?;
        let verdicts = self.standards.rules.judge(&facts);
        (!verdicts.is_empty()).then_some((facts.subject, verdicts))
    }

    fn facts_of(&self, target: &Target, now: DateTime<Utc>) -> Option<Facts> {
        let context = self.context(now);
        let region = |place: &Place| self.estate.region(&place.0, &place.1);
        match target {
            Target::Key(arn) => Some(facts::key(self.estate.key(arn)?, &self.estate, &context)),
            Target::KeySet(set) => facts::key_set(set, &self.estate, &context),
            Target::Region(place) => Some(facts::account_region(region(place)?, &self.estate, &context)),
            Target::Trail(arn, place) => {
                let seen_in = region(place)?;
                let (trail, seen_in) = self.at_home(shown_trail(seen_in, arn)?, seen_in);
                Some(facts::trail(trail, seen_in, &context))
            }
        }
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
