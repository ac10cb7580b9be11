//! The audit itself: holds what is known of the estate, and turns a batch into what changes.
//!
//! Everything here is a function of the batches taken so far and of the time that each of them bears; the
//! same batches in the same order give the same changes. Nothing is read, written or sent from here.

mod partial;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::config::AuditPolicy;
use crate::facts::{self, AccountScope, Context, Estate, OwnIdentity, Touched};
use crate::findings::{self, Detection, Exceptions, RuleBook, RuleInfo};
use crate::jurisdiction::{Assignments, Atlas};
use crate::model::{
    AccountId, AccountRegionSnapshot, Batch, Changes, EventRecord, Facts, Finding, FindingChange, FindingState, KeyArn, KeySetId, KeySnapshot, Outcome, Region,
    Subject, SubjectKind, SubjectVerdicts, Verdict,
};
use crate::rules::RuleSet;

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
    pub rules: RuleSet,
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
    /// Ids of posture findings that are not resolved, by the subject that they are about.
    by_subject: BTreeMap<(SubjectKind, String), BTreeSet<String>>,
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
        }
    }

    /// Takes up what a store has kept, and judges it anew as of `now` without changing any finding.
    pub fn restore(&mut self, kept: Kept, now: DateTime<Utc>) {
        for key in kept.keys {
            self.estate.put_key(key);
        }
        for region in kept.regions {
            self.estate.put_region(region);
        }
        for finding in kept.findings {
            self.keep_finding(finding);
        }
        for (subject, verdicts) in self.judge(&self.everything(), now) {
            self.keep_verdicts(&subject, &verdicts);
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

    /// Replaces what is judged by, and judges everything anew: what a reload of the configuration does.
    pub fn replace_standards(&mut self, standards: Standards, now: DateTime<Utc>) -> Changes {
        self.standards = standards;
        self.judged.clear();
        let touched = self.everything();
        self.settle(&touched, now)
    }

    /// Sets which accounts are one's own.
    pub fn set_scope(&mut self, scope: AccountScope) {
        self.scope = scope;
    }

    /// What follows from a batch. Its events have to be free of those taken before.
    pub fn take(&mut self, batch: &Batch) -> Changes {
        let touched = self.estate.apply(batch);
        let mut changes = self.settle(&touched, batch.read_at);
        changes.findings.extend(self.take_events(&batch.events, batch.read_at));
        changes
    }

    /// What follows from time alone: detections that age out, exceptions that end.
    pub fn tick(&mut self, now: DateTime<Utc>, detection_max_age: chrono::Duration) -> Changes {
        let mut changes = findings::age_out(self.findings.values(), now, detection_max_age);
        changes.extend(findings::reconsider(self.findings.values(), &self.standards.exceptions, now));
        for change in &changes {
            self.keep_finding(change.finding.clone());
        }
        Changes { findings: changes, ..Changes::default() }
    }

    /// What Keyward knows about an event beyond the record itself.
    pub fn event_facts(&self, event: &EventRecord, now: DateTime<Utc>) -> Facts {
        facts::event_enrichment(event, &self.estate, &self.context(now))
    }

    fn take_events(&mut self, events: &[EventRecord], now: DateTime<Utc>) -> Vec<FindingChange> {
        let rules = &self.standards.rules;
        let mut detected: Vec<(Verdict, &EventRecord)> = Vec::new();
        for event in events.iter().filter(|event| rules.wants(event.source(), event.name())) {
            let verdicts = rules.detect(&self.event_facts(event, now), event);
            let failed = verdicts.into_iter().filter(|verdict| verdict.outcome == Outcome::Fail);
            detected.extend(failed.map(|verdict| (verdict, event)));
        }
        let detections: Vec<Detection<'_>> =
            detected.iter().map(|(verdict, event)| Detection { verdict, event }).collect();
        let ids: BTreeSet<String> = detected.iter().map(|(verdict, _)| findings::id_of(verdict)).collect();
        let previous: Vec<Finding> = ids.iter().filter_map(|id| self.findings.get(id)).cloned().collect();
        let changes =
            findings::detect(&detections, &self.standards.rules, &previous, &self.standards.exceptions, now);
        for change in &changes {
            self.keep_finding(change.finding.clone());
        }
        changes
    }

    fn settle(&mut self, touched: &Touched, now: DateTime<Utc>) -> Changes {
        let mut changes = Changes::default();
        for (subject, verdicts) in self.judge(touched, now) {
            let previous = self.findings_of(subject.kind, &subject.id);
            let settled =
                findings::settle(&verdicts, &self.standards.rules, &previous, &self.standards.exceptions, now);
            for change in settled {
                self.keep_finding(change.finding.clone());
                changes.findings.push(change);
            }
            self.keep_verdicts(&subject, &verdicts);
            changes.verdicts.push(SubjectVerdicts { subject, verdicts });
        }
        for (kind, id) in self.gone(touched) {
            let previous = self.findings_of(kind, &id);
            for change in findings::vanish(kind, &id, &previous, now) {
                self.keep_finding(change.finding.clone());
                changes.findings.push(change);
            }
            self.judged.remove(&(kind, id.clone()));
            changes.gone.push((kind, id));
        }
        changes
    }

    /// Judges what was touched. A subject without a rule of its kind is left out.
    fn judge(&self, touched: &Touched, now: DateTime<Utc>) -> Vec<(Subject, Vec<Verdict>)> {
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
        for (account, region) in &touched.regions {
            let Some(snapshot) = self.estate.region(account, region) else { continue };
            documents.push(facts::account_region(snapshot, &self.estate, &context));
            for trail in snapshot.trails.known().into_iter().flatten() {
                documents.push(facts::trail(trail, snapshot, &context));
            }
        }
        documents
            .into_iter()
            .map(|facts| (self.standards.rules.judge(&facts), facts.subject))
            .filter(|(verdicts, _)| !verdicts.is_empty())
            .map(|(verdicts, subject)| (subject, verdicts))
            .collect()
    }

    fn context(&self, now: DateTime<Utc>) -> Context<'_> {
        Context {
            atlas: &self.standards.atlas,
            assignments: &self.standards.assignments,
            policy: &self.standards.policy,
            accounts: &self.scope,
            own: &self.standards.own,
            now,
        }
    }

    fn everything(&self) -> Touched {
        let mut touched = Touched::default();
        for key in self.estate.keys() {
            touched.keys.insert(key.arn.clone());
            touched.key_sets.insert(key.arn.key_set());
        }
        for region in self.estate.regions() {
            touched.regions.insert((region.account.clone(), region.region.clone()));
        }
        touched
    }

    /// The subjects that a complete reading no longer shows.
    fn gone(&self, touched: &Touched) -> Vec<(SubjectKind, String)> {
        let keys = touched.vanished.iter().map(|arn| (SubjectKind::Key, arn.to_string()));
        let sets: BTreeSet<KeySetId> = touched.vanished.iter().map(KeyArn::key_set).collect();
        let sets = sets
            .into_iter()
            .filter(|set| self.estate.members(set).is_empty())
            .map(|set| (SubjectKind::KeySet, set.to_string()));
        keys.chain(sets).collect()
    }

    fn findings_of(&self, kind: SubjectKind, id: &str) -> Vec<Finding> {
        let ids = self.by_subject.get(&(kind, id.to_owned()));
        ids.into_iter().flatten().filter_map(|id| self.findings.get(id)).cloned().collect()
    }

    fn keep_finding(&mut self, finding: Finding) {
        let subject = (finding.subject.kind, finding.subject.id.clone());
        self.by_subject.entry(subject).or_default().insert(finding.id.clone());
        self.findings.insert(finding.id.clone(), finding);
    }

    fn keep_verdicts(&mut self, subject: &Subject, verdicts: &[Verdict]) {
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

    /// What it judges by.
    pub fn standards(&self) -> &Standards {
        &self.standards
    }

    /// What is known of the estate.
    pub fn estate(&self) -> &Estate {
        &self.estate
    }

    /// Which accounts are one's own.
    pub fn scope(&self) -> &AccountScope {
        &self.scope
    }

    /// The answers on every subject, ordered by kind and identity.
    pub fn judged(&self) -> impl Iterator<Item = &Judged> {
        self.judged.values()
    }

    /// The answer of one rule on one subject.
    pub fn outcome(&self, kind: SubjectKind, subject: &str, rule: &str) -> Option<Outcome> {
        let at = position(&self.standards.rules, rule)?;
        let judged = self.judged.get(&(kind, subject.to_owned()))?;
        judged.judgements.iter().find(|judgement| judgement.rule == at).map(|judgement| judgement.outcome)
    }

    /// All findings, of any state, by id.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.findings.values()
    }

    /// The findings that are open.
    pub fn open_findings(&self) -> impl Iterator<Item = &Finding> {
        self.findings.values().filter(|finding| finding.state == FindingState::Open)
    }

    /// One finding.
    pub fn finding(&self, id: &str) -> Option<&Finding> {
        self.findings.get(id)
    }

    /// Marks a detection as seen to.
    pub fn acknowledge(&mut self, id: &str, now: DateTime<Utc>) -> Option<FindingChange> {
        let change = findings::acknowledge(self.findings.get(id)?, now)?;
        self.keep_finding(change.finding.clone());
        Some(change)
    }

    /// The key sets of customer keys, with their accounts.
    pub fn customer_key_sets(&self) -> impl Iterator<Item = (KeySetId, AccountId)> {
        let sets: BTreeMap<KeySetId, AccountId> = self
            .estate
            .keys()
            .filter(|key| is_judged(key))
            .map(|key| (key.arn.key_set(), key.arn.account.clone()))
            .collect();
        sets.into_iter()
    }

    /// The facts about a key set.
    pub fn key_set_facts(&self, id: &KeySetId, now: DateTime<Utc>) -> Option<Facts> {
        facts::key_set(id, &self.estate, &self.context(now))
    }

    /// The facts about a key.
    pub fn key_facts(&self, arn: &KeyArn, now: DateTime<Utc>) -> Option<Facts> {
        self.estate.key(arn).map(|key| facts::key(key, &self.estate, &self.context(now)))
    }

    /// The customer keys of a Region of an account.
    pub fn customer_keys_in(&self, account: &AccountId, region: &Region) -> Vec<KeyArn> {
        self.estate.keys_in(account, region).filter(|key| is_judged(key)).map(|key| key.arn.clone()).collect()
    }

    /// The account-Regions that are known.
    pub fn regions(&self) -> impl Iterator<Item = (&AccountId, &Region)> {
        self.estate.regions().map(|region| (&region.account, &region.region))
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
}

/// The position of a rule in the set, which is sorted by name.
fn position(rules: &RuleSet, name: &str) -> Option<usize> {
    rules.rules().binary_search_by(|rule| rule.name.as_str().cmp(name)).ok()
}
