//! What the audit shows to those who look at it.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::{Auditor, Judged, Standards, is_judged, position};
use crate::facts::{self, AccountScope, Estate};
use crate::model::{
    AccountId, EventRecord, Facts, Finding, FindingState, KeyArn, KeySetId, Outcome, Region, SubjectKind,
};

impl Auditor {
    /// What it judges by.
    pub fn standards(&self) -> &Standards {
        &self.standards
    }

    /// A number that changes with everything that facts about events hang on: estate, standards, scope.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Whether a key is not known, and may become so: its Region of its account is audited.
    pub fn may_become_known(&self, arn: &KeyArn) -> bool {
        self.estate.key(arn).is_none() && self.estate.region(&arn.account, &arn.region).is_some()
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

    /// Which of some Regions are outside of a key set's boundary, whether or not it has members there.
    ///
    /// # Errors
    /// Why it cannot be told.
    pub fn outside(
        &self,
        id: &KeySetId,
        regions: &BTreeSet<Region>,
        now: DateTime<Utc>,
    ) -> Result<BTreeSet<Region>, String> {
        facts::outside(id, regions, &self.estate, &self.context(now))
    }

    /// The facts about a key.
    pub fn key_facts(&self, arn: &KeyArn, now: DateTime<Utc>) -> Option<Facts> {
        self.estate.key(arn).map(|key| facts::key(key, &self.estate, &self.context(now)))
    }

    /// The customer keys of a Region of an account.
    pub fn customer_keys_in(&self, account: &AccountId, region: &Region) -> Vec<KeyArn> {
        self.estate.keys_in(account, region).filter(|key| is_judged(key)).map(|key| key.arn.clone()).collect()
    }

    /// What Keyward knows about an event beyond the record itself.
    pub fn event_facts(&self, event: &EventRecord, now: DateTime<Utc>) -> Facts {
        facts::event_enrichment(event, &self.estate, &self.context(now))
    }

    /// The account-Regions that are known.
    pub fn regions(&self) -> impl Iterator<Item = (&AccountId, &Region)> {
        self.estate.regions().map(|region| (&region.account, &region.region))
    }
}
