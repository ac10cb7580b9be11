//! Inputs become parts, beside the commits of others.

use std::io::{self, Read};
use std::sync::{Arc, PoisonError};

use super::Pipeline;
use crate::clock;
use crate::harvest::{self, Looked, Memo, Part, Tools, Version};
use crate::model::{EventRecord, Fact};
use crate::records::Limits;
use crate::rules::RuleSet;

impl Pipeline {
    /// Reads an input that `mark` names, and hands over its parts as they are full; nothing is stored. It keeps
    /// a processor busy, and several may be read at the same time.
    ///
    /// # Errors
    /// When the input itself fails; the part that it fails in is not handed over.
    pub fn harvest(
        &self,
        mark: &str,
        input: impl Read,
        limits: Limits,
        mut emit: impl FnMut(Part),
    ) -> io::Result<()> {
        self.with_tools(limits, |tools, memo| harvest::harvest(Some(mark), input, tools, memo, &mut emit))
    }

    /// The parts of events that came one by one.
    pub fn harvest_values(&self, mark: &str, values: &[serde_json::Value]) -> Vec<Part> {
        let mut parts = Vec::new();
        self.with_tools(Limits::default(), |tools, memo| {
            harvest::harvest_values(Some(mark), values, tools, memo, &mut |part| parts.push(part));
        });
        parts
    }

    /// The one part of a batch's events.
    pub(super) fn harvest_events(&self, events: &[EventRecord]) -> Part {
        let values: Vec<serde_json::Value> = events.iter().map(|event| event.record().clone()).collect();
        let mut whole = Part::default();
        if !values.is_empty() {
            self.with_tools(Limits::default(), |tools, memo| {
                harvest::harvest_values(None, &values, tools, memo, &mut |part| whole = part);
            });
        }
        whole
    }

    fn with_tools<T>(&self, limits: Limits, work: impl FnOnce(Tools<'_>, &mut Memo) -> T) -> T {
        let now = clock::now();
        let (rules, audit): (Arc<RuleSet>, u64) = {
            let auditor = self.auditor();
            (Arc::clone(&auditor.standards().rules), auditor.version())
        };
        let look = |record: &EventRecord| {
            let auditor = self.auditor();
            let facts = auditor.event_facts(record, now).root;
            let key = match facts.at("event.key_arn") {
                Some(Fact::Text(arn)) => arn.parse().ok(),
                _ => None,
            };
            let may_become_known = key.is_some_and(|key| auditor.may_become_known(&key));
            Looked { facts, may_become_known }
        };
        let mut memo = self.memos().pop().unwrap_or_default();
        memo.as_of(Version { audit, day: now.date_naive() });
        let done = work(Tools { rules: &rules, look: &look, limits }, &mut memo);
        self.memos().push(memo);
        done
    }

    /// What workers have found out about the estate, to be taken along to the next input.
    fn memos(&self) -> std::sync::MutexGuard<'_, Vec<Memo>> {
        self.memos.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
