//! Every shape of a message, as AWS documents it, and what is broken in some way.

use proptest::prelude::*;
use serde_json::json;

use super::*;

const LOG: &str = "AWSLogs/111122223333/CloudTrail/eu-central-1/2026/11/23/a.json.gz";

fn s3_event(name: &str, key: &str) -> Value {
    json!({
        "eventVersion": "2.1", "eventSource": "aws:s3", "awsRegion": "eu-west-1", "eventName": name,
        "eventTime": "2026-11-23T12:00:00.000Z",
        "s3": {
            "s3SchemaVersion": "1.0", "bucket": { "name": "logs", "arn": "arn:aws:s3:::logs" },
            "object": { "key": key, "size": 7, "eTag": "\"0f\"", "versionId": "v1", "sequencer": "00" },
        },
    })
}

fn sns(message: &str) -> String {
    let topic = "arn:aws:sns:eu-central-1:111122223333:trail";
    json!({ "Type": "Notification", "MessageId": "m", "TopicArn": topic, "Message": message }).to_string()
}

fn bus(source: &str, kind: &str, detail: &Value) -> String {
    json!({
        "version": "0", "id": "e", "detail-type": kind, "source": source, "account": "111122223333",
        "time": "2026-11-23T12:00:00Z", "region": "eu-central-1", "resources": [], "detail": detail,
    })
    .to_string()
}

fn keys(body: &str) -> Vec<String> {
    match recognise(body).unwrap() {
        Announcement::Objects(objects) => objects.into_iter().map(|object| object.key).collect(),
        other => panic!("{other:?}"),
    }
}

fn reason(body: &str) -> Reason {
    match recognise(body).unwrap() {
        Announcement::Nothing(reason) => reason,
        other => panic!("{other:?}"),
    }
}

fn kind(body: &str) -> &'static str {
    let kind = recognise(body).unwrap_err().kind();
    assert!(Unrecognised::KINDS.contains(&kind), "{kind} is not counted from the start");
    kind
}

#[test]
fn an_s3_notification_gives_the_decoded_key_and_all_that_it_tells() {
    let body = json!({ "Records": [s3_event("ObjectCreated:Put", "a+b%2Bc/%C3%BC%26.json.gz")] }).to_string();
    let object = ObjectRef {
        bucket: "logs".to_owned(),
        key: "a b+c/ü&.json.gz".to_owned(),
        region: Some("eu-west-1".to_owned()),
        version: Some("v1".to_owned()),
        etag: Some("0f".to_owned()),
        size: Some(7),
    };
    let expected = Announcement::Objects(vec![object]);
    // Plain, within SNS, within SNS within SNS, and as raw delivery that is text once more.
    let once = sns(&body);
    for message in [body.clone(), once.clone(), sns(&once), json!(body).to_string()] {
        assert_eq!(recognise(&message).unwrap(), expected, "{message}");
    }
}

#[test]
fn only_what_was_created_and_holds_events_is_read() {
    let digest = LOG.replace("/CloudTrail/", "/CloudTrail-Digest/");
    let insight = LOG.replace("/CloudTrail/", "/CloudTrail-Insight/");
    let records = [
        s3_event("ObjectRemoved:Delete", LOG),
        s3_event("s3:ObjectCreated:CompleteMultipartUpload", LOG),
        s3_event("ObjectCreated:Put", &digest),
        s3_event("ObjectCreated:Put", "AWSLogs/111122223333/"),
    ];
    assert_eq!(keys(&json!({ "Records": records }).to_string()), [LOG]);
    let removed = json!({ "Records": [s3_event("ObjectRemoved:Delete", LOG)] }).to_string();
    assert_eq!(reason(&removed), Reason::NotCreated("ObjectRemoved:Delete".to_owned()));
    for key in [digest, insight, "CloudTrail-Digest/x".to_owned()] {
        let body = json!({ "Records": [s3_event("ObjectCreated:Put", &key)] }).to_string();
        assert_eq!(reason(&body), Reason::NoEvents, "{key}");
    }
}

#[test]
fn an_event_of_eventbridge_has_its_key_as_it_is() {
    let detail =
        json!({ "bucket": { "name": "logs" }, "object": { "key": "a+b%2B.gz", "etag": "0f", "size": 7 } });
    assert_eq!(keys(&bus("aws.s3", "Object Created", &detail)), ["a+b%2B.gz"]);
    assert_eq!(
        reason(&bus("aws.s3", "Object Deleted", &detail)),
        Reason::NotCreated("Object Deleted".to_owned())
    );
    let rotation = bus("aws.kms", "KMS CMK Rotation", &json!({ "key-id": "k" }));
    assert_eq!(reason(&rotation), Reason::OfKms("KMS CMK Rotation".to_owned()));
    assert!(matches!(reason(&bus("aws.ec2", "EC2 Spot", &json!({}))), Reason::OtherEvent(_)));
}

#[test]
fn records_come_from_eventbridge_whole_and_insights_do_not() {
    let record = json!({
        "eventID": "e-1", "eventName": "Decrypt", "eventSource": "kms.amazonaws.com",
        "eventTime": "2026-11-23T12:00:00Z", "requestParameters": { "encryptionContext": { "Records": [] } },
    });
    let expected = Announcement::Records(vec![record.clone()]);
    for kind in [
        "AWS API Call via CloudTrail",
        "AWS Service Event via CloudTrail",
        "AWS Console Sign In via CloudTrail",
    ] {
        assert_eq!(recognise(&bus("aws.kms", kind, &record)).unwrap(), expected);
        assert_eq!(recognise(&sns(&bus("aws.kms", kind, &record))).unwrap(), expected);
    }
    // A rule with an input path of `$.detail`.
    assert_eq!(recognise(&record.to_string()).unwrap(), expected);
    assert_eq!(reason(&bus("aws.cloudtrail", "AWS Insight via CloudTrail", &json!({}))), Reason::NoEvents);
    assert_eq!(kind(&bus("aws.kms", "AWS API Call via CloudTrail", &json!("text"))), "incomplete");
}

#[test]
fn the_notice_of_a_trail_may_name_many_objects() {
    let digest = LOG.replace("/CloudTrail/", "/CloudTrail-Digest/");
    let notice = json!({ "s3Bucket": "logs", "s3ObjectKey": [LOG, "x+y%20.json.gz", digest] }).to_string();
    for body in [notice.clone(), sns(&notice)] {
        assert_eq!(keys(&body), [LOG, "x+y%20.json.gz"]);
    }
    assert_eq!(keys(&json!({ "s3Bucket": "logs", "s3ObjectKey": LOG }).to_string()), [LOG]);
    assert_eq!(reason(&sns("CloudTrail validation message.")), Reason::Test);
    assert_eq!(kind(&json!({ "s3ObjectKey": [LOG] }).to_string()), "incomplete");
    assert_eq!(kind(&json!({ "s3Bucket": "logs", "s3ObjectKey": [7] }).to_string()), "incomplete");
}

#[test]
fn tests_and_news_of_subscriptions_are_told_from_what_is_broken() {
    let test = json!({ "Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "logs" }).to_string();
    assert_eq!(reason(&test), Reason::Test);
    assert_eq!(reason(&sns(&test)), Reason::Test);
    let news = |of: &str| json!({ "Type": of, "TopicArn": "t", "Message": "m" }).to_string();
    assert_eq!(kind(&news("SubscriptionConfirmation")), "unconfirmed");
    assert_eq!(reason(&news("UnsubscribeConfirmation")), Reason::Unsubscribed);
    let mut deep = test;
    for _ in 0..9 {
        deep = sns(&deep);
    }
    assert_eq!(kind(&deep), "nested");
}

#[test]
fn what_is_broken_is_named() {
    for body in ["", "hello", "{", "[".repeat(10_000).as_str()] {
        assert_eq!(kind(body), "not_json", "{body:.20}");
    }
    for body in ["{}", "[]", "null", "7", r#"{"Records":[{}]}"#, r#"{"Records":7}"#] {
        assert_eq!(kind(body), "unknown_shape", "{body}");
    }
    for pointer in ["/eventName", "/s3/bucket/name", "/s3/object/key"] {
        let mut record = s3_event("ObjectCreated:Put", LOG);
        *record.pointer_mut(pointer).unwrap() = json!(7);
        assert_eq!(kind(&json!({ "Records": [record] }).to_string()), "incomplete", "{pointer}");
    }
    let invalid = json!({ "Records": [s3_event("ObjectCreated:Put", "%FF")] }).to_string();
    assert!(recognise(&invalid).unwrap_err().to_string().contains("UTF-8"));
    assert_eq!(kind(&json!({ "Type": "Notification", "TopicArn": "t" }).to_string()), "incomplete");
}

/// JSON made of the words of the shapes, so that arbitrary values come near to them.
fn near() -> impl Strategy<Value = Value> {
    let names = prop::sample::select(vec![
        "Records",
        "s3",
        "bucket",
        "name",
        "object",
        "key",
        "eventName",
        "Type",
        "TopicArn",
        "Message",
        "detail",
        "detail-type",
        "source",
        "s3Bucket",
        "s3ObjectKey",
        "Event",
        "eventID",
    ]);
    let words = prop::sample::select(vec![
        "Notification",
        "ObjectCreated:Put",
        "aws.s3",
        "Object Created",
        "AWS API Call via CloudTrail",
        "{}",
        "%2",
        "",
    ]);
    let leaf = prop_oneof![
        words.prop_map(|word| json!(word)),
        any::<i64>().prop_map(|n| json!(n)),
        Just(Value::Null)
    ];
    leaf.prop_recursive(5, 64, 6, move |inner| {
        let members = prop::collection::vec((names.clone(), inner.clone()), 0..6);
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(Value::Array),
            members.prop_map(|members| members
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect()),
        ]
    })
}

proptest! {
    #[test]
    fn no_text_and_no_json_panics(text in "\\PC{0,200}", value in near()) {
        drop(recognise(&text));
        drop(recognise(&value.to_string()));
        drop(recognise(&sns(&value.to_string())));
    }

    #[test]
    fn every_key_survives_its_encoding(key in "[ -~äß€𝄞]{1,40}") {
        let encoded: String = form_urlencoded::byte_serialize(key.as_bytes()).collect();
        prop_assert_eq!(decode(&encoded), Some(key));
    }
}
