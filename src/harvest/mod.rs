//! The hot loop: what a log file holds becomes what is to be judged and counted, or is dropped before anything
//! is allocated for it.
//!
//! Nothing is decided here that the rules would not decide: an event is dropped only where every rule that could
//! be about it is proven not to hold. What it takes to judge the rest, and to know events again, is gathered
//! into [`Part`]s, which are committed as wholes.

mod blocks;
mod interests;
mod memo;
mod part;
#[cfg(test)]
mod tests;
mod when;

use std::collections::BTreeMap;
use std::io::{self, Read};

use serde_json::Value;

use crate::ledger::{LINES_A_BATCH, Tally, fingerprint};
use crate::model::EventRecord;
use crate::records::{self, Envelope, Field, Limits, Malformed, Place, Problem, Sink};
use crate::rules::RuleSet;
use blocks::Blocks;
use interests::{Interest, Interests};
pub use memo::{Look, Looked, Memo, Version};
use part::Sighting;
pub use part::{Counts, MALFORMED_NAMED, Part};
use when::When;

/// How many records make a part: a larger input is taken in several, so that memory is bounded. Those that cannot be
/// read count as well, or other rules, which look into other records, would have the same input in other parts.
const PART_RECORDS: u64 = 200_000;

/// What an input is harvested with.
#[derive(Clone)]
pub struct Tools<'a> {
    /// The rules in force.
    pub rules: &'a RuleSet,
    /// Looks at a record as only who knows the estate can.
    pub look: Look<'a>,
    /// What the reader bears with.
    pub limits: Limits,
}

impl std::fmt::Debug for Tools<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tools").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// Reads an input to its end and hands over its parts. `mark` names it; none where a batch as a whole is marked,
/// and then there is one part however many events there are.
///
/// # Errors
/// When the input itself fails, as a connection does. The part that it fails in is not handed over: its name
/// stands for all of its events. Bytes that are no log are no failure but malformed.
pub fn harvest(
    mark: Option<&str>,
    input: impl Read,
    tools: Tools<'_>,
    memo: &mut Memo,
    emit: &mut dyn FnMut(Part),
) -> io::Result<()> {
    let mut failure = None;
    let limits = tools.limits.clone();
    let mut harvest = Harvest::new(mark, tools, memo, emit);
    let summary = records::read(Tapped { input, failure: &mut failure }, &limits, &mut harvest);
    if let Some(failure) = failure {
        return Err(failure);
    }
    harvest.part.counts.inflated += summary.inflated;
    harvest.hand_over(true);
    Ok(())
}

/// The same of events that came one by one.
pub fn harvest_values(
    mark: Option<&str>,
    values: &[Value],
    tools: Tools<'_>,
    memo: &mut Memo,
    emit: &mut dyn FnMut(Part),
) {
    let lines: Vec<String> = values.iter().map(Value::to_string).collect();
    let _memory_does_not_fail = harvest(mark, lines.join("\n").as_bytes(), tools, memo, emit);
}

/// Tells an input that fails from one that ends too early.
struct Tapped<'a, R> {
    input: R,
    failure: &'a mut Option<io::Error>,
}

impl<R: Read> Read for Tapped<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer);
        if let Err(error) = &read
            && error.kind() != io::ErrorKind::Interrupted
        {
            *self.failure = Some(io::Error::new(error.kind(), error.to_string()));
        }
        read
    }
}

struct Harvest<'a> {
    mark: Option<&'a str>,
    parts: usize,
    tools: Tools<'a>,
    memo: &'a mut Memo,
    interests: Interests<'a>,
    emit: &'a mut dyn FnMut(Part),
    part: Part,
    blocks: Blocks,
    /// Of how many events it is certain that it cannot be told whether they violate a rule, by its place.
    undecided: BTreeMap<usize, u64>,
}

impl<'a> Harvest<'a> {
    fn new(
        mark: Option<&'a str>,
        tools: Tools<'a>,
        memo: &'a mut Memo,
        emit: &'a mut dyn FnMut(Part),
    ) -> Self {
        let tally = Tally::with(LINES_A_BATCH, std::mem::take(&mut memo.classified));
        Self {
            mark,
            parts: 0,
            interests: Interests::new(tools.rules),
            tools,
            memo,
            emit,
            part: Part::with(tally),
            blocks: Blocks::default(),
            undecided: BTreeMap::new(),
        }
    }

    fn take(&mut self, envelope: &Envelope<'_>) -> Result<(), Problem> {
        let time = When::of(envelope);
        let print = fingerprint(&envelope.text(Field::EventId).ok_or(Problem::WrongType("eventID"))?);
        let interest = self.interests.of(envelope);
        let event = if self.has_to_be_judged(envelope, &interest) { Some(parse(envelope)?) } else { None };
        let usage = if interest.is_usage { self.part.tally.add(envelope) } else { None };
        let event = event.map(|event| {
            self.part.events.push(event);
            place_of(&self.part.events)
        });
        self.blocks.note(envelope, time, Sighting { print, usage, event });
        self.part.counts.events += 1;
        self.part.counts.kms_events += u64::from(interest.is_kms);
        Ok(())
    }

    /// Whether any rule might hold, or the event asks for something to be read again.
    fn has_to_be_judged(&mut self, envelope: &Envelope<'_>, interest: &Interest) -> bool {
        if interest.is_change {
            return true;
        }
        if interest.screened_once.is_empty() && interest.screened_each.is_empty() {
            return false;
        }
        let insight = self.memo.insight(envelope, interest, &self.tools);
        if insight.screened.may_hold {
            return true;
        }
        let seen_now = self.tools.rules.screen(&interest.screened_each, envelope, &insight.facts);
        let mut undecided = insight.screened.undecided.iter().chain(&seen_now.undecided).peekable();
        if seen_now.may_hold || (insight.may_become_known && undecided.peek().is_some()) {
            return true;
        }
        for rule in undecided {
            *self.undecided.entry(*rule).or_default() += 1;
        }
        false
    }

    fn hand_over(&mut self, is_last: bool) {
        let classified = self.part.tally.give_back();
        let next = if is_last {
            self.memo.classified = classified;
            Part::default()
        } else {
            Part::with(Tally::with(LINES_A_BATCH, classified))
        };
        let mut part = std::mem::replace(&mut self.part, next);
        if let Some(mark) = self.mark {
            let is_only = is_last && self.parts == 0;
            if !is_only {
                part.marks.push(format!("{mark}#{}", self.parts));
            }
            if is_last {
                part.marks.push(mark.to_owned());
            }
        }
        self.parts += 1;
        self.blocks.pour_into(&mut part);
        for (rule, count) in std::mem::take(&mut self.undecided) {
            let name = self.tools.rules.name_at(rule).unwrap_or_default();
            part.counts.undecided.insert(name.to_owned(), count);
        }
        (self.emit)(part);
    }
}

fn parse(envelope: &Envelope<'_>) -> Result<EventRecord, Problem> {
    EventRecord::new(records::parse(envelope.json())?).map_err(Problem::WrongType)
}

impl Sink for Harvest<'_> {
    fn record(&mut self, envelope: &Envelope<'_>, place: Place) {
        if let Err(problem) = self.take(envelope) {
            self.malformed(Malformed { place, problem });
        }
        if self.mark.is_some() && self.part.counts.records() >= PART_RECORDS {
            self.hand_over(false);
        }
    }

    fn malformed(&mut self, malformed: Malformed) {
        let counts = &mut self.part.counts;
        counts.malformed += 1;
        if counts.problems.len() < MALFORMED_NAMED {
            counts.problems.push(malformed);
        }
    }
}

/// The place of the last of some events.
fn place_of(events: &[EventRecord]) -> u32 {
    u32::try_from(events.len().saturating_sub(1)).unwrap_or(u32::MAX)
}
