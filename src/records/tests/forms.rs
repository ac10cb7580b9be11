//! The forms in which records come, and what holds none.

use serde_json::{Value, json};

use super::{gzip, read_all, record, records};

#[test]
fn all_forms_give_all_records() {
    let lines =
        |records: &[Value], between| records.iter().map(Value::to_string).collect::<Vec<_>>().join(between);
    let event = |record: &Value| json!({"version": "0", "detail-type": "AWS API Call via CloudTrail", "detail": record});
    let events: Vec<Value> = records(3).iter().map(event).collect();
    let pretty: Vec<String> = records(3).iter().map(|r| serde_json::to_string_pretty(r).unwrap()).collect();
    for text in [
        json!({"Records": records(3)}).to_string(),
        format!("\u{feff}\n{}", json!({"Records": records(3)})),
        format!("{{\"logGroup\":[1],\"x\":{{}},\"Records\":[{}],\"y\":\"]}}\"}}", lines(&records(3), ",")),
        serde_json::to_string_pretty(&json!({"Records": records(3)})).unwrap(),
        json!(records(3)).to_string(),
        lines(&records(3), "\n"),
        lines(&records(3), "\r\n") + "\r\n",
        lines(&records(3), ""),
        pretty.concat(),
        pretty.join("\n"),
        json!(events).to_string(),
        lines(&events, "\n"),
        format!("{}\n[{}]{}", json!({"Records": [record("0")]}), record("1"), record("2")),
    ] {
        for bytes in [text.clone().into_bytes(), gzip(&text)] {
            let outcome = read_all(bytes);
            assert_eq!(outcome.ids(), ["0", "1", "2"], "{text}");
            assert_eq!(outcome.malformed, [], "{text}");
        }
    }
}

#[test]
fn places_say_where_records_are_in_the_text() {
    let text = format!(" [ {},\n{} ]", record("a"), record("b"));
    let outcome = read_all(&text);
    let [(first, _), (second, _)] = &outcome.records[..] else { panic!("{outcome:?}") };
    assert_eq!((first.index, second.index), (0, 1));
    assert_eq!((first.offset, second.offset), (3, text.find('\n').unwrap() as u64 + 1));
}

#[test]
fn members_of_gzip_and_frames_of_zstd_are_read_on() {
    let half = |id: &str| json!({"Records": [record(id)]}).to_string();
    let mut zipped = gzip(half("0"));
    zipped.extend(gzip(""));
    zipped.extend(gzip(half("1")));
    assert_eq!(read_all(&zipped).ids(), ["0", "1"]);
    zipped.extend([0; 700]);
    assert_eq!(read_all(&zipped).malformed, [], "padding with zeros is usual");

    let frame = |text: String| {
        ruzstd::encoding::compress_to_vec(text.as_bytes(), ruzstd::encoding::CompressionLevel::Fastest)
    };
    let mut frames = frame(half("0"));
    frames.extend(b"\x50\x2a\x4d\x18\x03\x00\x00\x00abc");
    frames.extend(frame(half("1")));
    let outcome = read_all(&frames);
    assert_eq!((outcome.ids(), outcome.problems()), (vec!["0", "1"], vec![]));
}

#[test]
fn no_records_are_no_problem() {
    for text in ["[]", "{\"Records\":[]}", "{\"a\":1,\"Records\":[ ] }\n"] {
        let outcome = read_all(text);
        assert_eq!((outcome.records.len(), outcome.problems()), (0, vec![]), "{text}");
        assert_eq!(read_all(gzip(text)).malformed, [], "{text}");
    }
}

#[test]
fn json_without_records_says_so() {
    let digest =
        json!({"awsAccountId": "111122223333", "digestStartTime": "2026-11-25T03:00:00Z", "logFiles": []});
    let test_event = json!({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "b"});
    for text in [
        "",
        " \n",
        "{}",
        "{\"Records\":null}",
        "{\"Records\":{}}",
        "{\"Records\":\"[]\"}",
        "\"[]\"",
        "12",
        "null",
    ]
    .map(str::to_owned)
    .into_iter()
    .chain([digest.to_string(), test_event.to_string()])
    {
        assert_eq!(read_all(&text).problems(), [(0, "the file holds no records".into())], "{text}");
    }
    let mut changed = gzip("null");
    let sum = changed.len() - 6;
    changed[sum] ^= 1;
    let kinds = |bytes: &[u8]| -> Vec<&str> {
        read_all(bytes).malformed.iter().map(|malformed| malformed.problem.kind()).collect()
    };
    assert_eq!(kinds(&changed), ["no_records", "checksum"]);
    assert_eq!(
        kinds(format!("\"{}\"", "x".repeat(2_000)).as_bytes()),
        ["not_json"],
        "whatever is held of it"
    );
}
