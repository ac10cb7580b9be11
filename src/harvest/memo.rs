//! What the estate says of an event, asked for once for all events that differ in nothing that it hangs on.

use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use chrono::NaiveDate;
use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::Tools;
use super::interests::Interest;
use crate::facts::{self, CATALOGUE};
use crate::ledger::Classified;
use crate::model::{EventRecord, Fact, FactMap, SubjectKind};
use crate::records::{self, Envelope, Field, Raw};
use crate::rules::{NOT_LOOKED_AT, Screened, is_enrichment};

/// How many answers are remembered; when there are more, all are forgotten.
const REMEMBERED: usize = 20_000;

/// The fields of a record that an answer hangs on, and that so may differ in nothing.
pub(super) const ASKED_BY: [&str; 4] = ["eventSource", "eventName", "awsRegion", "errorCode"];

/// What hangs on the call's name and outcome alone.
const OF_THE_OUTCOME: [&str; 3] = ["event.succeeded", "event.denied", "event.cryptographic"];
/// What hangs on the keys among the record's `resources` too, where there are any.
const OF_THE_KEY: [&str; 7] = [
    "event.key_arn",
    "event.key_set",
    "event.key_region",
    "event.key_account",
    "boundary.name",
    "boundary.declared",
    "boundary.use_outside",
];

/// As of what answers hold: another estate, or another day, may answer otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    /// The number of the estate, the rules and the scope, which changes with each change of them.
    pub audit: u64,
    /// The day of judgement.
    pub day: NaiveDate,
}

/// What who knows the estate says of a record.
#[derive(Debug, Clone, PartialEq)]
pub struct Looked {
    /// The facts beyond the record's own fields.
    pub facts: Fact,
    /// Whether what is not known of the key may yet be read before the event is judged.
    pub may_become_known: bool,
}

/// Asks who knows the estate.
pub type Look<'a> = &'a dyn Fn(&EventRecord) -> Looked;

/// What is known of an event without looking at it further; the rest says [`NOT_LOOKED_AT`].
#[derive(Debug)]
pub(super) struct Insight {
    /// The facts beyond the record's own fields, as far as there are rules that are yet to be asked.
    pub facts: Fact,
    /// Whether what is not known of the key may yet be read before the event is judged.
    pub may_become_known: bool,
    /// What a look tells of the rules of which it tells the same each time.
    pub screened: Screened,
}

/// Remembered answers; to be kept from one input to the next.
#[derive(Debug, Default)]
pub struct Memo {
    version: Option<Version>,
    known: HashTable<Entry>,
    hasher: RandomState,
    /// What the ledger has found out.
    pub(super) classified: Classified,
}

#[derive(Debug)]
struct Entry {
    hash: u64,
    /// What it hangs on, in one piece: it is compared with each record, and to fetch it is what that costs.
    question: Box<[u8]>,
    insight: Arc<Insight>,
}

/// What an answer hangs on, as it stands in a record.
struct Question<'r>([&'r [u8]; 5]);

impl Memo {
    /// Forgets what held as of another version.
    pub fn as_of(&mut self, version: Version) {
        if self.version != Some(version) {
            self.known.clear();
            self.version = Some(version);
        }
    }

    pub(super) fn insight(
        &mut self,
        envelope: &Envelope<'_>,
        interest: &Interest,
        tools: &Tools<'_>,
    ) -> Arc<Insight> {
        let question = Question::of(envelope, interest);
        let hash = question.hash(&self.hasher);
        if let Some(entry) = self.known.find(hash, |entry| question.is_that_of(entry)) {
            return Arc::clone(&entry.insight);
        }
        let mut insight = ask(envelope, tools.look);
        insight.screened = tools.rules.screen(&interest.screened_once, envelope, &insight.facts);
        if interest.screened_each.is_empty() {
            // They were asked for the last time.
            insight.facts = not_looked_at();
        }
        let insight = Arc::new(insight);
        if self.known.len() >= REMEMBERED {
            self.known.clear();
        }
        let entry = Entry { hash, question: question.in_one_piece(), insight: Arc::clone(&insight) };
        self.known.insert_unique(hash, entry, |entry| entry.hash);
        insight
    }
}

impl<'r> Question<'r> {
    fn of(envelope: &Envelope<'r>, interest: &'r Interest) -> Self {
        let raw = |field| envelope.field(field).map_or(&[][..], Raw::bytes);
        // Only calls of AWS KMS are about keys.
        let resources = if interest.is_kms { raw(Field::Resources) } else { &[] };
        Self([
            interest.name.as_bytes(),
            interest.source.as_bytes(),
            raw(Field::AwsRegion),
            raw(Field::ErrorCode),
            resources,
        ])
    }

    fn hash(&self, hasher: &RandomState) -> u64 {
        let mut state = hasher.build_hasher();
        for part in self.0 {
            state.write(part);
        }
        state.finish()
    }

    /// The parts one behind the other, each with an end that is in none of them: they are texts, or stand in JSON.
    fn in_one_piece(&self) -> Box<[u8]> {
        self.0.iter().flat_map(|part| part.iter().copied().chain([PART_END])).collect()
    }

    fn is_that_of(&self, entry: &Entry) -> bool {
        let mut rest = &*entry.question;
        for part in self.0 {
            match rest.strip_prefix(part) {
                Some([PART_END, after @ ..]) => rest = after,
                _ => return false,
            }
        }
        rest.is_empty()
    }
}

/// In no text: it is no UTF-8.
const PART_END: u8 = 0xff;

/// Looks at a record as a whole, and keeps what holds for all that differ from it in nothing of the question.
fn ask(envelope: &Envelope<'_>, look: Look<'_>) -> Insight {
    let record = records::parse(envelope.json()).ok().and_then(|record| EventRecord::new(record).ok());
    let Some(record) = record else {
        return Insight { facts: not_looked_at(), may_become_known: false, screened: Screened::default() };
    };
    let looked = look(&record);
    let by_resources = facts::names_keys_in_resources(&record);
    let holds = |path: &str| OF_THE_OUTCOME.contains(&path) || (by_resources && OF_THE_KEY.contains(&path));
    let mut kept = FactMap::new();
    for path in CATALOGUE.iter().filter(|spec| spec.kind == SubjectKind::Event).map(|spec| spec.path) {
        let Some((above, leaf)) = path.split_once('.').filter(|_| is_enrichment(path)) else { continue };
        let fact = if holds(path) { looked.facts.at(path).cloned() } else { Some(not_looked_at()) };
        let above = kept.entry(above.to_owned()).or_insert_with(|| Fact::Map(FactMap::new()));
        if let (Fact::Map(map), Some(fact)) = (above, fact) {
            map.insert(leaf.to_owned(), fact);
        }
    }
    Insight {
        facts: Fact::Map(kept),
        may_become_known: looked.may_become_known,
        screened: Screened::default(),
    }
}

fn not_looked_at() -> Fact {
    Fact::Unknown(NOT_LOOKED_AT.to_owned())
}
