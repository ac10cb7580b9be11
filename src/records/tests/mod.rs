//! Tests of the room as a whole, with what they share.

mod broken;
mod forms;

use std::io::{Read, Write as _};

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::container::Reader;
use super::{Envelope, Field, Limits, Malformed, Place, Raw, Sink, Summary};

/// What came of reading a file.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Outcome {
    records: Vec<(Place, Value)>,
    malformed: Vec<Malformed>,
    summary: Summary,
}

impl Sink for Outcome {
    fn record(&mut self, envelope: &Envelope<'_>, place: Place) {
        let record = serde_json::from_str(envelope.json()).unwrap_or(Value::Null);
        self.records.push((place, record));
    }

    fn malformed(&mut self, malformed: Malformed) {
        self.malformed.push(malformed);
    }
}

impl Outcome {
    /// The event ids in the order in which they came.
    pub(super) fn ids(&self) -> Vec<&str> {
        self.records.iter().map(|(_, record)| record["eventID"].as_str().unwrap_or("?")).collect()
    }

    /// What was wrong, with how many were before it.
    pub(super) fn problems(&self) -> Vec<(u64, String)> {
        let told = |malformed: &Malformed| (malformed.place.index, malformed.problem.to_string());
        self.malformed.iter().map(told).collect()
    }
}

/// Gives so many bytes at a time.
struct Pieces<'t>(&'t [u8], usize);

impl Read for Pieces<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let count = self.1.min(out.len());
        self.0.read(&mut out[..count])
    }
}

pub(super) fn read_in(bytes: &[u8], limits: &Limits, window: usize, piece: usize) -> Outcome {
    let mut outcome = Outcome::default();
    outcome.summary = Reader::new(Pieces(bytes, piece), limits, &mut outcome, window).run();
    assert_eq!(outcome.summary.records, outcome.records.len() as u64);
    assert_eq!(outcome.summary.malformed, outcome.malformed.len() as u64);
    outcome
}

/// Reads a file in one piece, and again in the smallest ones, of which the same has to come.
pub(super) fn read_all(bytes: impl AsRef<[u8]>) -> Outcome {
    let limits = Limits::default();
    let whole = read_in(bytes.as_ref(), &limits, 1 << 16, usize::MAX);
    assert_eq!(read_in(bytes.as_ref(), &limits, 16, 1), whole);
    whole
}

pub(super) fn gzip(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes.as_ref()).unwrap();
    encoder.finish().unwrap()
}

/// A record with only what every record has.
pub(super) fn record(id: &str) -> Value {
    json!({
        "eventID": id, "eventName": "Decrypt", "eventSource": "kms.amazonaws.com",
        "eventTime": "2026-11-25T03:45:00Z",
    })
}

/// So many records, with the ids `0`, `1`, ….
pub(super) fn records(count: usize) -> Vec<Value> {
    (0..count).map(|id| record(&id.to_string())).collect()
}

pub(super) fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<i32>().prop_map(|eighths| Value::from(f64::from(eighths) / 8.0)),
        any::<String>().prop_map(Value::from),
        r#"["\\\{\}\[\]_yY,: \n\t\x00é😀]{0,90}"#.prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((r#"[a"\\é]{0,8}"#, inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// A record with some fields that AWS documents and some others, of any types.
fn any_record() -> impl Strategy<Value = Value> {
    let known = prop::sample::select(Field::ALL.as_slice()).prop_map(|field| field.name().to_owned());
    let name = prop_oneof![3 => known, 1 => r#"[a-z"\\é]{1,12}"#];
    let fields = prop::collection::vec((name, any_json()), 0..12);
    (fields, "[0-9a-f\"\\\\é]{1,36}", 0..4_000_000_000_i64).prop_map(|(fields, id, time)| {
        let time = chrono::DateTime::from_timestamp(time, 0).unwrap().format("%Y-%m-%dT%H:%M:%SZ");
        let mut all: Map<String, Value> = fields.into_iter().filter(|(name, _)| name != "detail").collect();
        all.extend(record(&id).as_object().unwrap().clone());
        all.insert("eventTime".into(), time.to_string().into());
        Value::Object(all)
    })
}

/// Writes JSON with white space and needless escapes wherever the bits say so.
fn write_loosely(value: &Value, bits: &mut u64, out: &mut String) {
    blank(bits, out);
    match value {
        Value::Object(members) => {
            out.push('{');
            for (at, (key, value)) in members.iter().enumerate() {
                out.push_str(if at > 0 { "," } else { "" });
                blank(bits, out);
                out.push_str(&loose_text(key, *bits));
                blank(bits, out);
                out.push(':');
                write_loosely(value, bits, out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                out.push_str(if at > 0 { "," } else { "" });
                write_loosely(item, bits, out);
            }
            out.push(']');
        }
        Value::String(text) => out.push_str(&loose_text(text, *bits)),
        other => out.push_str(&other.to_string()),
    }
    out.push_str(if *bits & 1 == 0 { "" } else { " " });
}

fn blank(bits: &mut u64, out: &mut String) {
    *bits = bits.rotate_left(7).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    out.push_str(["", "", "", "", " ", "\r\n", "\t", "  \n"][(*bits >> 61) as usize]);
}

fn loose_text(text: &str, bits: u64) -> String {
    if bits & 0x30 != 0 {
        return Value::from(text).to_string();
    }
    let units = text.encode_utf16().map(|unit| format!("\\u{unit:04X}")).collect::<Vec<_>>().concat();
    format!("\"{units}\"")
}

/// Compares all that is read of a record with what serde reads.
struct Comparing<'v>(std::slice::Iter<'v, Value>, Option<Malformed>);

impl Sink for Comparing<'_> {
    fn record(&mut self, envelope: &Envelope<'_>, _: Place) {
        let wanted = self.0.next().unwrap();
        assert_eq!(&super::parse(envelope.json()).unwrap(), wanted);
        for field in Field::ALL {
            assert_eq!(envelope.field(field).map(value_of).as_ref(), wanted.get(field.name()));
            assert_eq!(envelope.text(field).as_deref(), wanted.get(field.name()).and_then(Value::as_str));
        }
        for (name, value) in wanted.as_object().unwrap() {
            assert_eq!(&value_of(envelope.other(name).unwrap()), value, "{name}");
        }
        assert!(envelope.other("no such field").is_none());
        let time = chrono::DateTime::parse_from_rfc3339(wanted["eventTime"].as_str().unwrap()).unwrap();
        assert_eq!(envelope.seconds(), time.timestamp());
    }

    fn malformed(&mut self, malformed: Malformed) {
        self.1 = Some(malformed);
    }
}

/// A value read by nothing but what [`Raw`] offers.
fn value_of(raw: Raw<'_>) -> Value {
    if let Some(text) = raw.text() {
        return Value::from(text);
    }
    if let Some(truth) = raw.bool() {
        return Value::from(truth);
    }
    match raw.json().as_bytes()[0] {
        b'[' => raw.items().map(value_of).collect(),
        b'{' => {
            let members: Map<_, _> =
                raw.members().map(|(key, value)| (key.into_owned(), value_of(value))).collect();
            for (key, value) in &members {
                assert_eq!(&value_of(raw.get(key).unwrap()), value);
            }
            Value::Object(members)
        }
        _ if raw.is_null() => Value::Null,
        _ => serde_json::from_str(raw.json()).unwrap(),
    }
}

fn joined(records: &[Value], bits: &mut u64, between: &str) -> String {
    let mut text = String::new();
    for (at, record) in records.iter().enumerate() {
        text.push_str(if at > 0 { between } else { "" });
        write_loosely(record, bits, &mut text);
    }
    text
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn every_record_is_read_as_serde_reads_it(
        records in prop::collection::vec(any_record(), 1..5),
        form in 0..5_u8,
        mut bits in any::<u64>(),
        window in 16..400_usize,
        piece in prop_oneof![Just(1_usize), 1..300_usize],
        zipped in any::<bool>(),
    ) {
        let text = match form {
            0 => format!("\u{feff} {{\"a\": [{{}}], \"Records\" :[{}], \"b\":[1]}}\n", joined(&records, &mut bits, ",")),
            1 => format!("[{}]", joined(&records, &mut bits, ",")),
            2 => joined(&records, &mut bits, ""),
            3 => joined(&records, &mut bits, "\n"),
            _ => {
                let event = |record: &Value| json!({"source": "aws.kms", "detail": record, "version": "0"});
                joined(&records.iter().map(event).collect::<Vec<_>>(), &mut bits, "\n")
            }
        };
        let bytes = if zipped { gzip(&text) } else { text.clone().into_bytes() };
        let mut sink = Comparing(records.iter(), None);
        let summary = Reader::new(Pieces(&bytes, piece), &Limits::default(), &mut sink, window).run();
        prop_assert_eq!(&sink.1, &None, "{}", text);
        prop_assert_eq!(summary.records, records.len() as u64);
        prop_assert_eq!(summary.inflated, text.len() as u64);
    }

    #[test]
    fn a_broken_line_costs_no_other_line(
        records in prop::collection::vec(any_record(), 1..6),
        which in any::<prop::sample::Index>(),
        cut in any::<prop::sample::Index>(),
        window in 16..400_usize,
    ) {
        let mut lines: Vec<String> = records.iter().map(Value::to_string).collect();
        let broken = which.index(lines.len());
        let at = cut.index(lines[broken].len());
        let mut kept = lines[broken].as_bytes()[..at.max(1)].to_vec();
        kept.extend(if at % 2 == 0 { &b""[..] } else { &b"\xff}"[..] });
        let mut bytes = Vec::new();
        for (number, line) in lines.drain(..).enumerate() {
            bytes.extend(if number == broken { &kept } else { line.as_bytes() });
            bytes.push(b'\n');
        }
        let outcome = read_in(&bytes, &Limits::default(), window, 50);
        let wanted: Vec<&Value> = records.iter().enumerate().filter(|(at, _)| *at != broken).map(|(_, r)| r).collect();
        let got: Vec<&Value> = outcome.records.iter().map(|(_, record)| record).collect();
        prop_assert_eq!(got, wanted, "{:?}", outcome.malformed);
        prop_assert_eq!(outcome.malformed.len(), 1);
    }

    #[test]
    fn any_bytes_end_and_read_the_same_in_any_pieces(
        text in prop_oneof![
            r#"(\{|\}|\[|\]|"|,|:|\\|\n| |1|"Records":\[|"detail":\{|"eventID":"a",|\{"a":1\}|é){0,60}"#.prop_map(String::into_bytes),
            prop::collection::vec(any::<u8>(), 0..80),
        ],
        magic in prop::sample::select(vec![&b""[..], b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"{\"Records\":[", b"["]),
        window in 16..100_usize,
        piece in 1..20_usize,
    ) {
        let bytes = [magic, &text].concat();
        let whole = read_in(&bytes, &Limits::default(), 1 << 12, usize::MAX);
        prop_assert_eq!(read_in(&bytes, &Limits::default(), window, piece), whole);
    }
}
