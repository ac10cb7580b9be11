//! Log files of any bytes.

use std::io::Read;

use keyward::ledger::Tally;
use keyward::model::EventRecord;
use keyward::model::kms::is_use;
use keyward::records::{self, Envelope, Field, Limits, Malformed, Place, Problem, Raw, Sink, Summary};

/// Small enough that a small input breaks them.
const SMALL: Limits = Limits { max_inflated: 1 << 16, max_record: 1 << 10, max_depth: 12 };

/// Windows, and how many bytes the input gives at a time.
const WAYS: [(usize, usize); 3] = [(16, 1), (64, 7), (1 << 12, usize::MAX)];

/// What came of a file.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    records: Vec<(Place, String)>,
    malformed: Vec<Malformed>,
    summary: Summary,
    limits: Limits,
}

impl Outcome {
    fn next(&self) -> u64 {
        (self.records.len() + self.malformed.len()) as u64
    }

    /// Every place is behind those before it: later in the text or, of what is wrong with one thing, the same.
    fn check_place(&self, place: Place) {
        assert_eq!(place.index, self.next(), "each is counted once, in order");
        let last = self.records.last().map(|(place, _)| *place);
        let last = last.max(self.malformed.last().map(|malformed| malformed.place));
        assert!(last.is_none_or(|last| last.offset <= place.offset), "{last:?} before {place:?}");
    }
}

impl Sink for Outcome {
    fn record(&mut self, envelope: &Envelope<'_>, place: Place) {
        self.check_place(place);
        assert!(self.records.last().is_none_or(|(last, _)| last.offset < place.offset), "a record twice");
        check_record(envelope, &self.limits);
        self.records.push((place, envelope.json().to_owned()));
    }

    fn malformed(&mut self, malformed: Malformed) {
        self.check_place(malformed.place);
        assert!(malformed.problem.to_string().len() < 500, "{malformed:?}");
        self.malformed.push(malformed);
    }
}

/// Counts uses of keys, as the ledger does.
struct Counted(Tally);

impl Sink for Counted {
    fn record(&mut self, envelope: &Envelope<'_>, _: Place) {
        let text = |field| envelope.text(field).unwrap_or_default();
        if is_use(&text(Field::EventSource), &text(Field::EventName)) {
            self.0.add(envelope);
        }
    }

    fn malformed(&mut self, _: Malformed) {}
}

/// Gives so many bytes at a time.
struct Pieces<'t>(&'t [u8], usize);

impl Read for Pieces<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let count = self.1.min(out.len());
        let (now, _) = out.split_at_mut(count);
        self.0.read(now)
    }
}

pub(super) fn check(input: &[u8]) {
    let whole = read(input, &SMALL, 1 << 17, usize::MAX);
    for (window, piece) in WAYS {
        let other = read(input, &SMALL, window, piece);
        assert_eq!(other, whole, "a window of {window}, {piece} bytes at a time");
    }
    let mut counted = Counted(Tally::new(8));
    let summary = records::read(input, &Limits { max_inflated: 1 << 24, ..Limits::default() }, &mut counted);
    let uses: u64 = counted.0.finish().usage.iter().map(|(_, count)| count.count).sum();
    assert!(uses <= summary.records, "{uses} uses in {summary:?}");
}

fn read(input: &[u8], limits: &Limits, window: usize, piece: usize) -> Outcome {
    let mut outcome = Outcome { limits: limits.clone(), ..Outcome::default() };
    let summary = records::read_with_window(Pieces(input, piece), limits, &mut outcome, window);
    assert_eq!(summary.records, outcome.records.len() as u64);
    assert_eq!(summary.malformed, outcome.malformed.len() as u64);
    assert!(summary.inflated <= limits.max_inflated, "{summary:?}");
    // What is wrong with the compression is told beside what is wrong with the text.
    assert!(summary.records + summary.malformed <= 2 * summary.inflated + 2, "{summary:?}");
    let of_file = outcome.malformed.iter().filter(|malformed| malformed.problem.is_of_file());
    assert!(of_file.count() <= 1, "{:?}", outcome.malformed);
    outcome.summary = summary;
    outcome
}

fn check_record(envelope: &Envelope<'_>, limits: &Limits) {
    let json = envelope.json();
    assert!(json.len() <= limits.max_record && json.starts_with('{') && json.ends_with('}'), "{json}");
    for field in [Field::EventId, Field::EventName, Field::EventSource, Field::EventTime] {
        assert!(envelope.text(field).is_some_and(|text| !text.is_empty()), "{field:?} of {json}");
    }
    walk(envelope.at(&["userIdentity", "sessionContext", "sessionIssuer"]), 0, limits);
    match records::parse(json) {
        Ok(record) => check_alike(envelope, record),
        Err(problem) => {
            assert!(matches!(problem, Problem::NotJson(_) | Problem::DuplicateKey(_)), "{problem:?}");
        }
    }
    for field in Field::ALL {
        walk(envelope.field(field), 0, limits);
    }
}

/// What is read of a record as it stands is what a reader of the whole of it finds.
fn check_alike(envelope: &Envelope<'_>, record: serde_json::Value) {
    for field in Field::ALL {
        let name = field.name();
        let found = envelope.field(field);
        let value = found.map(|raw| records::parse(raw.json()).expect("a part of JSON is JSON"));
        assert_eq!(value.as_ref(), record.get(name), "{name} of {}", envelope.json());
        let text = record.get(name).and_then(serde_json::Value::as_str);
        assert_eq!(envelope.text(field).as_deref(), text, "{name} of {}", envelope.json());
        assert_eq!(envelope.other(name).map(Raw::json), found.map(Raw::json), "{name}");
    }
    let seconds = envelope.seconds();
    let event = EventRecord::new(record).expect("what is handed on has what every record has");
    assert_eq!(event.time().timestamp(), seconds);
}

/// Goes over a value, which may be no JSON within.
fn walk(value: Option<Raw<'_>>, depth: usize, limits: &Limits) {
    let Some(value) = value else { return };
    assert!(depth <= limits.max_depth, "deeper than allowed: {}", value.json());
    _ = (value.text(), value.bool(), value.is_null(), value.get("arn").map(Raw::json));
    value.items().for_each(|item| walk(Some(item), depth + 1, limits));
    value.members().for_each(|(_, member)| walk(Some(member), depth + 1, limits));
}
