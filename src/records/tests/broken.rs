//! Broken files and records: each is named for what it is, and the rest is read.

use std::io::{Read, Write as _};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use super::super::container::Reader;
use super::super::{Field, Limits, Problem};
use super::{Outcome, gzip, read_all, read_in, record, records};

fn told(index: u64, problem: &str) -> (u64, String) {
    (index, problem.to_owned())
}

/// An array with a broken element between two good ones.
fn between(element: &[u8]) -> Vec<u8> {
    let (first, last) = (record("first").to_string(), record("last").to_string());
    [b"{\"Records\":[", first.as_bytes(), b",", element, b",", last.as_bytes(), b"]}"].concat()
}

/// Asserts that an element costs only itself, and what is said of it.
#[track_caller]
fn costs_only_itself(element: impl AsRef<[u8]>, problem: &str) {
    let outcome = read_all(between(element.as_ref()));
    assert_eq!(outcome.problems(), [told(1, problem)]);
    assert_eq!(outcome.ids(), ["first", "last"]);
    let at = record("first").to_string().len() as u64 + 13;
    assert_eq!(outcome.malformed[0].place.offset, at);
}

/// A record with one field more, written last.
fn with(field: &str, value: &str) -> String {
    let record = record("broken").to_string();
    format!("{},\"{field}\":{value}}}", record.trim_end_matches('}'))
}

#[test]
fn elements_that_are_no_records_cost_only_themselves() {
    for element in ["1", "null", "\"text ]}\"", "[[{}]]", "garbage"] {
        costs_only_itself(element, "not a record: an object is expected");
    }
    costs_only_itself("{}", "`eventID` is missing");
    costs_only_itself(r#"{"eventID" 1}"#, "not JSON: expected `:`");
    costs_only_itself(r#"{"eventID":"1",,"x":{"y":[1]}}"#, "not JSON: expected a key");
    costs_only_itself(r#"{"eventID":,"x":{"y":[1]}}"#, "not JSON: expected a value");
    costs_only_itself(r#"{"eventID":nul}"#, "not JSON: expected a value");
    costs_only_itself(r#"{"x":1 "y":[2]}"#, "not JSON: expected `,` or the end");
}

#[test]
fn bytes_that_are_no_text_cost_only_their_record() {
    let mut broken = with("userAgent", "\"x?\"").into_bytes();
    let at = broken.iter().position(|byte| *byte == b'?').unwrap();
    broken[at] = 0xff;
    costs_only_itself(&broken, "the record is not UTF-8");
}

#[test]
fn a_key_that_comes_twice_costs_only_its_record() {
    costs_only_itself(with("eventName", "\"Encrypt\""), "duplicate key `eventName`");
    costs_only_itself(with("event\\u004eame", "\"Encrypt\""), "duplicate key `eventName`");
    costs_only_itself(with("x\":1,\"y\":2,\"\\u0078", "3"), "duplicate key `x`");
    let many = (0..100).map(|at| format!("k{at}\":1,\"")).collect::<Vec<_>>().concat();
    costs_only_itself(with(&format!("{many}k57"), "1"), "duplicate key `k57`");
    let once = (0..100).map(|at| format!("k{at}\":1,\"")).collect::<Vec<_>>().concat();
    assert_eq!(read_all(between(with(&format!("{once}k"), "1").as_bytes())).malformed, []);
}

#[test]
fn nesting_is_bounded() {
    let nested = |levels: usize| with("x", &format!("{}{}", "[".repeat(levels), "]".repeat(levels)));
    costs_only_itself(nested(100_000), "the record nests deeper than 128 levels");
    costs_only_itself(nested(128), "the record nests deeper than 128 levels");
    assert_eq!(read_all(between(nested(127).as_bytes())).malformed, []);
    // Nor does what never closes do harm.
    let open = [b"{\"Records\":[".as_slice(), &b"{\"a\":[".repeat(50_000)].concat();
    assert_eq!(read_all(&open).problems(), [told(0, "the file ends too early; fetch it again")]);
}

#[test]
fn wrong_types_are_named_where_every_record_has_the_field() {
    let needed = [Field::EventId, Field::EventName, Field::EventSource, Field::EventTime];
    let values = [json!(null), json!(1), json!(true), json!([]), json!({}), json!(["text"]), json!("")];
    for field in Field::ALL {
        for value in &values {
            let mut broken = record("broken");
            broken[field.name()] = value.clone();
            if needed.contains(&field) {
                costs_only_itself(broken.to_string(), &format!("`{}` is malformed", field.name()));
            } else {
                let outcome = read_all(between(broken.to_string().as_bytes()));
                assert_eq!((outcome.ids(), outcome.problems()), (vec!["first", "broken", "last"], vec![]));
            }
        }
    }
    for field in needed {
        let mut broken = record("broken");
        broken.as_object_mut().unwrap().remove(field.name());
        costs_only_itself(broken.to_string(), &format!("`{}` is missing", field.name()));
    }
    costs_only_itself(with("x", "1").replace("Decrypt", "\\x"), "`eventName` is malformed");
    costs_only_itself(with("x", "1").replace("2026-11-25T", "yesterday "), "`eventTime` is malformed");
}

#[test]
fn a_record_that_is_too_large_is_skipped_without_being_held() {
    let limits = Limits { max_record: 1_000, ..Limits::default() };
    let large = with("x", &format!("[\"{}\"]", "\\\"]}".repeat(80_000)));
    for bytes in [between(large.as_bytes()), format!("{}{large}\n{}", record("first"), record("last")).into()]
    {
        for (window, piece) in [(64, 100), (1 << 20, usize::MAX)] {
            let outcome = read_in(&bytes, &limits, window, piece);
            assert_eq!(outcome.problems(), [told(1, "the record is larger than 1000 bytes")]);
            assert_eq!(outcome.ids(), ["first", "last"]);
        }
    }
}

#[test]
fn a_line_that_ends_with_a_backslash_does_not_take_the_next_one_in() {
    let whole = record("0").to_string();
    let cut = whole.replace('}', ",\"x\":[{\"y\":\"\\");
    let text = format!("{cut}\n{}\n{}", record("}]}"), record("last"));
    let outcome = read_all(&text);
    assert_eq!(outcome.ids(), ["}]}", "last"]);
    assert_eq!(outcome.problems(), [told(0, "not JSON: expected `\"` before the line's end")]);
}

#[test]
fn how_much_is_held_does_not_tell_where_a_broken_record_ends() {
    let limits = Limits { max_record: 1_000, ..Limits::default() };
    let long = "x".repeat(1_200);
    let lines = |broken: &str| format!("{broken}\n{}\n{}", record("first"), record("last"));
    for (text, ids) in [
        // A line without its end, of which none is found by brackets or quotes.
        (lines(&format!("{{\"a\":{{\"{long}\":\"")), &["first", "last"][..]),
        // A backslash outside of a string.
        (format!("{{\"Records\":[{{\"a\":\\\"{long}}},{}]}}", record("last")), &["last"]),
        // Broken behind what a record may have, and what would be a container before that.
        (lines(&format!("{{\"a\":\"{long}\",,}}")), &["first", "last"]),
        (lines(&format!("{{\"a\":\"{long}\",\"Records\":[{}]}}", record("inner"))), &["first", "last"]),
    ] {
        for (window, piece) in [(16, 1), (64, 100), (1 << 20, usize::MAX)] {
            let outcome = read_in(text.as_bytes(), &limits, window, piece);
            assert_eq!(outcome.ids(), ids, "{window}: {text}");
            assert_eq!(outcome.problems(), [(0, "the record is larger than 1000 bytes".to_owned())]);
        }
    }
}

#[test]
fn a_long_file_is_read_in_a_small_window() {
    struct Endless(u64);
    impl Read for Endless {
        fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
            let line = format!("{}\n", record("0"));
            self.0 = self.0.saturating_sub(1);
            if self.0 == 0 {
                return Ok(0);
            }
            out[..line.len()].copy_from_slice(line.as_bytes());
            Ok(line.len())
        }
    }
    struct Counting;
    impl super::Sink for Counting {
        fn record(&mut self, _: &super::Envelope<'_>, _: super::Place) {}
        fn malformed(&mut self, malformed: super::Malformed) {
            panic!("{malformed:?}");
        }
    }
    let limits = Limits::default();
    let summary = Reader::new(Endless(20_001), &limits, &mut Counting, 1 << 12).run();
    assert_eq!((summary.records, summary.malformed), (20_000, 0));
}

#[test]
fn a_bomb_is_stopped() {
    let limits = Limits { max_inflated: 100_000, ..Limits::default() };
    let mut text = json!(records(3)).to_string().into_bytes();
    text.pop();
    text.resize(3_000_000, b' ');
    let outcome = read_in(&gzip(&text), &limits, 1 << 12, usize::MAX);
    assert_eq!(outcome.ids(), ["0", "1", "2"]);
    assert_eq!(outcome.problems(), [told(3, "the file inflates to more than 100000 bytes")]);
    assert_eq!(outcome.summary.inflated, 100_000);

    // No matter how much is allowed: nothing is so much like itself but what was made for it.
    let mut member = GzEncoder::new(Vec::new(), Compression::best());
    member.write_all(&vec![b' '; 1 << 20]).unwrap();
    let bomb = [gzip(&text), member.finish().unwrap().repeat(70)].concat();
    let outcome = read_in(&bomb, &Limits::default(), 1 << 16, usize::MAX);
    assert_eq!(outcome.ids(), ["0", "1", "2"]);
    assert_eq!(
        outcome.problems(),
        [told(3, "the file inflates to more than 200 times its size, as no log does")]
    );

    let exact = Limits { max_inflated: text.len() as u64, ..Limits::default() };
    text.pop();
    text.push(b']');
    assert_eq!(read_in(&gzip(&text), &exact, 1 << 12, usize::MAX).malformed, []);
}

#[test]
fn of_a_truncated_file_all_that_is_whole_is_read() {
    let ids: Vec<String> = (0..200).map(|id| id.to_string()).collect();
    let text = json!({"Records": records(200)}).to_string();
    let zipped = gzip(&text);
    for cut in (3..zipped.len()).step_by(37).chain([zipped.len() - 1, zipped.len() - 8]) {
        let outcome = read_in(&zipped[..cut], &Limits::default(), 512, 100);
        let count = outcome.records.len();
        assert_eq!(outcome.ids(), ids[..count], "cut at {cut}");
        assert_eq!(outcome.problems(), [told(count as u64, "the file ends too early; fetch it again")]);
        let inflated = usize::try_from(outcome.summary.inflated).unwrap();
        let whole = text.get(..inflated).unwrap().matches('}').count();
        assert_eq!(count, whole.min(200), "cut at {cut}");
    }
    for cut in [1, 5, 12, 13, 100, text.len() - 2, text.len() - 1] {
        let outcome = read_all(text.get(..cut).unwrap());
        assert_eq!(outcome.malformed.len(), 1, "cut at {cut}");
        assert_eq!(outcome.malformed[0].problem, Problem::Truncated);
    }
}

#[test]
fn what_is_wrong_with_the_compression_is_told_apart() {
    let whole = gzip(json!({"Records": records(50)}).to_string());
    let problems = |bytes: &[u8]| {
        let outcome = read_all(bytes);
        let kinds: Vec<&str> = outcome.malformed.iter().map(|malformed| malformed.problem.kind()).collect();
        (outcome.records.len(), kinds.join(" "))
    };
    let changed = |from_end: usize| {
        let mut bytes = whole.clone();
        let at = bytes.len() - from_end;
        bytes[at] ^= 0x55;
        bytes
    };
    assert_eq!(problems(&changed(6)), (50, "checksum".into()));
    assert_eq!(problems(&changed(2)), (50, "checksum".into()));
    assert_eq!(problems(&[&whole[..], b"more"].concat()), (50, "trailing".into()));
    assert_eq!(problems(&[&whole[..], b"\0\0\x1f\x8b"].concat()), (50, "truncated".into()));
    // A block of the type that there is none of.
    assert_eq!(problems(&[&whole[..10], b"\x07"].concat()), (0, "damaged".into()));
    for at in (10..whole.len()).step_by(11) {
        assert_ne!(problems(&changed(whole.len() - at)).1, "", "changed at {at}");
    }
    assert_eq!(problems(b"\x1f\x8b\x09\x00"), (0, "damaged".into()));

    let text = json!({"Records": records(50)}).to_string();
    let level = ruzstd::encoding::CompressionLevel::Fastest;
    let frame = ruzstd::encoding::compress_to_vec(text.as_bytes(), level);
    assert_eq!(problems(&frame), (50, String::new()));
    assert_eq!(problems(&frame[..frame.len() - 30]).1, "truncated");
    assert_eq!(problems(b"\x28\xb5\x2f\xfd\x00\xf8\x00\x00").1, "window");
    let mut wrong = frame.clone();
    *wrong.last_mut().unwrap() ^= 1;
    assert_eq!(problems(&wrong), (50, "checksum".into()));
}

#[test]
fn an_error_of_the_input_is_repeated() {
    struct Failing<'t>(&'t [u8]);
    impl Read for Failing<'_> {
        fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
            match self.0.read(out)? {
                0 => Err(std::io::Error::other("connection reset")),
                count => Ok(count),
            }
        }
    }
    let text = json!(records(2)).to_string();
    for bytes in [text.as_bytes()[..text.len() - 1].to_vec(), gzip(&text)] {
        let mut outcome = Outcome::default();
        Reader::new(Failing(&bytes), &Limits::default(), &mut outcome, 64).run();
        assert_eq!(outcome.ids(), ["0", "1"]);
        assert_eq!(outcome.problems(), [told(2, "the file could not be read further: connection reset")]);
    }
}

#[test]
fn between_records_reading_goes_on_where_it_can() {
    let texts = records(3).iter().map(Value::to_string).collect::<Vec<_>>();
    let [a, b, c] = &texts[..] else { panic!() };
    for (text, ids, count) in [
        (format!("[{a} {b},{c}]"), 3, 1),
        (format!("[{a},,{b},{c}]"), 3, 1),
        (format!("[{a},x y,{b},{c}]"), 3, 3),
        (format!("{a}\ngarbage\n{b}\n{c}"), 3, 1),
        (format!("# a comment\n{a}\n{b}\n\n{c}"), 3, 1),
        (format!("{a}\n{{\"x\":{{\n{b}\n{c}"), 3, 1),
        (format!("{a}\n{{\"x\":\"\n{b}\n{c}"), 3, 1),
        (format!("{a}{{\"x\" 1}}{b}{c}"), 3, 1),
        (format!("{a}\ngarbage"), 1, 1),
        (format!("{{\"Records\":[{a}],\"Records\":[{b}]}}{c}"), 2, 1),
        (format!("{{\"Records\":[{a}] x [ }}"), 1, 1),
        ("plain text".to_owned(), 0, 1),
    ] {
        let outcome = read_all(&text);
        assert_eq!((outcome.records.len(), outcome.malformed.len()), (ids, count), "{text}\n{outcome:?}");
    }
}
