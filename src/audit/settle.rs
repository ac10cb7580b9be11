//! From verdicts to what becomes of findings.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use super::Auditor;
use super::judge::shown_trail;
use crate::facts::Touched;
use crate::findings;
use crate::model::{Changes, FindingState, KeyArn, KeySetId, Observed, SubjectKind, SubjectVerdicts};

/// Why the findings of a subject end that a complete reading does not show.
pub(super) const GONE: &str = "the subject is gone";
/// Why the findings of a place end that is not in scope any more.
pub(super) const NO_LONGER_AUDITED: &str = "it is no longer audited";
/// Why the findings of a subject end that is there and no rule is about: a key that turned out to be AWS's.
const NO_LONGER_JUDGED: &str = "no rule is about the subject any more";

impl Auditor {
    /// Settles what was touched. `because` is why findings of vanished subjects end.
    pub(super) fn settle(&mut self, touched: &Touched, because: &str, now: DateTime<Utc>) -> Changes {
        let mut changes = Changes::default();
        let mut judged = BTreeSet::new();
        for target in self.targets(touched) {
            let Some((subject, verdicts)) = self.judge(&target, now) else { continue };
            let previous = self.findings_of(subject.kind, &subject.id);
            let standards = &self.standards;
            let settled =
                findings::settle(&verdicts, &*standards.rules, &previous, &standards.exceptions, now);
            self.keep_changed(&settled);
            changes.findings.extend(settled);
            self.keep_verdicts(&subject, &verdicts);
            judged.insert((subject.kind, subject.id.clone()));
            changes.verdicts.push(SubjectVerdicts { subject, verdicts });
        }
        for (kind, id) in self.gone(touched) {
            self.end(kind, id, because, now, &mut changes);
        }
        for (kind, id) in subjects_of(touched).filter(|subject| !judged.contains(subject)) {
            self.stop_judging(kind, &id, now, &mut changes);
        }
        changes
    }

    /// Ends everything about a subject that is no more.
    pub(super) fn end(
        &mut self,
        kind: SubjectKind,
        id: String,
        because: &str,
        now: DateTime<Utc>,
        changes: &mut Changes,
    ) {
        let previous = self.findings_of(kind, &id);
        let released = findings::release(kind, &id, &previous, because, now);
        self.keep_changed(&released);
        changes.findings.extend(released);
        self.judged.remove(&(kind, id.clone()));
        changes.gone.push((kind, id));
    }

    /// Ends what was said of a subject that is there and is judged no more. Its snapshot stays.
    pub(super) fn stop_judging(
        &mut self,
        kind: SubjectKind,
        id: &str,
        now: DateTime<Utc>,
        changes: &mut Changes,
    ) {
        let previous = self.findings_of(kind, id);
        let judged = self.judged.remove(&(kind, id.to_owned())).map(|judged| judged.subject);
        let standing = previous.iter().find(|finding| finding.state != FindingState::Resolved);
        let Some(subject) = judged.or_else(|| standing.map(|finding| finding.subject.clone())) else {
            return;
        };
        let released = findings::release(kind, id, &previous, NO_LONGER_JUDGED, now);
        self.keep_changed(&released);
        changes.findings.extend(released);
        changes.verdicts.push(SubjectVerdicts { subject, verdicts: Vec::new() });
    }

    /// The subjects that a complete reading no longer shows.
    fn gone(&self, touched: &Touched) -> Vec<(SubjectKind, String)> {
        let keys = touched.vanished.iter().map(|arn| (SubjectKind::Key, arn.to_string()));
        let sets: BTreeSet<KeySetId> = touched.vanished.iter().map(KeyArn::key_set).collect();
        let sets = sets
            .into_iter()
            .filter(|set| self.estate.members(set).is_empty())
            .map(|set| (SubjectKind::KeySet, set.to_string()));
        let trails = self.known_trails().into_iter().filter(|arn| self.is_trail_gone(arn));
        let trails = trails.map(|arn| (SubjectKind::Trail, arn));
        keys.chain(sets).chain(trails).collect()
    }

    fn known_trails(&self) -> BTreeSet<String> {
        let first = (SubjectKind::Trail, String::new());
        let judged = self.judged.range(first.clone()..).map(|(subject, _)| subject);
        let found = self.by_subject.range(first..).map(|(subject, _)| subject);
        let is_trail = |subject: &&(SubjectKind, String)| subject.0 == SubjectKind::Trail;
        judged.take_while(is_trail).chain(found.take_while(is_trail)).map(|(_, arn)| arn.clone()).collect()
    }

    /// Nothing shows it, and nothing that could not be read might: its home Region decides; where that is not
    /// audited, every place has to have been read.
    fn is_trail_gone(&self, arn: &str) -> bool {
        if self.estate.regions().any(|place| shown_trail(place, arn).is_some()) {
            return false;
        }
        let is_read = |trails: &Observed<_>| !matches!(trails, Observed::Unknown(_));
        match self.home_of_trail(arn) {
            Some(home) => is_read(&home.trails),
            None => self.estate.regions().all(|place| is_read(&place.trails)),
        }
    }
}

/// The subjects that were touched and are still there.
fn subjects_of(touched: &Touched) -> impl Iterator<Item = (SubjectKind, String)> + '_ {
    let keys = touched.keys.iter().map(|arn| (SubjectKind::Key, arn.to_string()));
    let sets = touched.key_sets.iter().map(|set| (SubjectKind::KeySet, set.to_string()));
    let places = touched.regions.iter();
    keys.chain(sets)
        .chain(places.map(|(account, region)| (SubjectKind::AccountRegion, format!("{account}/{region}"))))
}
