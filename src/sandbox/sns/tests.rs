//! SNS as the SDK sees it.

use aws_sdk_sns::Client;
use aws_sdk_sns::types::{MessageAttributeValue, PublishBatchRequestEntry};
use chrono::TimeDelta;

use super::*;
use crate::sandbox::Sandbox;
use crate::sandbox::testing::{account, code, other_account, root, sdk, start, world};

struct Stage {
    sandbox: Sandbox,
    sns: Client,
    standard: String,
    fifo: String,
}

/// A sandbox with a topic of each kind.
async fn stage() -> Stage {
    let sandbox = start(world()).await;
    let sns = Client::new(&sdk(&sandbox, "eu-central-1", root(&account())));
    let standard = sns.create_topic().name("alerts").send().await.unwrap().topic_arn.unwrap();
    let fifo = sns.create_topic().name("alerts.fifo").attributes("FifoTopic", "true").send().await.unwrap();
    Stage { sandbox, sns, standard, fifo: fifo.topic_arn.unwrap() }
}

impl Stage {
    /// What was published, as `GET /_sandbox/sns` gives it.
    fn published(&self) -> Value {
        self.sandbox.world().lock().unwrap().sns.to_json()
    }

    fn advance(&self, by: TimeDelta) {
        self.sandbox.world().lock().unwrap().clock.advance(by);
    }

    fn suppressed(&self) -> u64 {
        self.sandbox.world().lock().unwrap().sns.suppressed()
    }
}

fn attribute(data_type: &str, value: &str) -> MessageAttributeValue {
    MessageAttributeValue::builder().data_type(data_type).string_value(value).build().unwrap()
}

#[tokio::test]
async fn what_is_published_is_shown_with_everything_that_came_along() {
    let stage = stage().await;
    let document = json!({ "schema": "keyward.alert/v1", "level": "high" }).to_string();
    let message = json!({ "default": document, "email": "for <people>", "sms": "short" }).to_string();
    let answer = stage
        .sns
        .publish()
        .topic_arn(&stage.standard)
        .message_structure("json")
        .message(&message)
        .subject("Key set outside its boundary")
        .message_attributes("level", attribute("String", "high"))
        .message_attributes("days", attribute("Number", "7"))
        .message_attributes("regions", attribute("String.Array", r#"["eu-west-1"]"#))
        .send()
        .await
        .unwrap();
    let published = stage.published();
    assert_eq!(published.as_array().unwrap().len(), 1);
    let published = &published[0];
    assert_eq!(published["message_id"], answer.message_id().unwrap());
    assert_eq!(published["topic"], "arn:aws:sns:eu-central-1:111122223333:alerts");
    assert_eq!(
        (&published["account"], &published["region"]),
        (&json!("111122223333"), &json!("eu-central-1"))
    );
    assert_eq!(published["subject"], "Key set outside its boundary");
    assert_eq!(published["attributes"], json!({ "level": "high", "days": "7", "regions": ["eu-west-1"] }));
    assert_eq!(published["message"], message);
    assert_eq!(published["document"]["level"], "high");
    assert_eq!(published["texts"], json!({ "email": "for <people>", "sms": "short" }));
    assert_eq!(published["at"], "2026-11-23T12:00:00+00:00");
    assert_eq!(published["group"], Value::Null);
}

#[tokio::test]
async fn a_fifo_topic_swallows_repetitions_for_five_minutes() {
    let stage = stage().await;
    let publish = async |id: &str, group: &str| {
        let request = stage.sns.publish().topic_arn(&stage.fifo).message("same text");
        request.message_group_id(group).message_deduplication_id(id).send().await.unwrap()
    };
    let first = publish("a", "one").await;
    assert!(first.sequence_number().is_some());
    assert_eq!(publish("a", "one").await.message_id(), first.message_id());
    assert_eq!(publish("a", "two").await.message_id(), first.message_id(), "the scope is the topic");
    assert_ne!(publish("b", "one").await.message_id(), first.message_id());
    assert_eq!((stage.published().as_array().unwrap().len(), stage.suppressed()), (2, 2));
    stage.advance(TimeDelta::seconds(299));
    assert_eq!(publish("a", "one").await.message_id(), first.message_id());
    stage.advance(TimeDelta::seconds(1));
    assert_ne!(publish("a", "one").await.message_id(), first.message_id());
    let published = stage.published();
    assert_eq!(published.as_array().unwrap().len(), 3);
    assert_eq!((&published[2]["group"], &published[2]["dedup_id"]), (&json!("one"), &json!("a")));
}

#[tokio::test]
async fn deduplication_by_content_and_by_group_are_switched_on() {
    let stage = stage().await;
    let set = async |name: &str, value: &str| {
        let request = stage.sns.set_topic_attributes().topic_arn(&stage.fifo);
        request.attribute_name(name).attribute_value(value).send().await.unwrap();
    };
    let publish = |group: &str| {
        let request = stage.sns.publish().topic_arn(&stage.fifo).message("same text");
        request.message_group_id(group).send()
    };
    assert_eq!(code(publish("one").await), "InvalidParameter");
    set("ContentBasedDeduplication", "true").await;
    set("FifoThroughputScope", "MessageGroup").await;
    publish("one").await.unwrap();
    publish("one").await.unwrap();
    publish("two").await.unwrap();
    assert_eq!((stage.published().as_array().unwrap().len(), stage.suppressed()), (2, 1));
}

#[tokio::test]
async fn each_kind_of_topic_asks_for_its_own_ids() {
    let stage = stage().await;
    let to_fifo = stage.sns.publish().topic_arn(&stage.fifo).message("m");
    assert_eq!(code(to_fifo.clone().message_deduplication_id("a").send().await), "InvalidParameter");
    assert_eq!(code(to_fifo.message_group_id("g").send().await), "InvalidParameter");
    let to_standard = stage.sns.publish().topic_arn(&stage.standard).message("m");
    assert_eq!(code(to_standard.clone().message_deduplication_id("a").send().await), "InvalidParameter");
    assert!(to_standard.message_group_id("g").send().await.is_ok());
}

#[tokio::test]
async fn a_message_that_aws_would_not_take_is_not_taken() {
    let stage = stage().await;
    let publish = || stage.sns.publish().topic_arn(&stage.standard);
    let json = || publish().message_structure("json");
    for (why, request) in [
        ("empty", publish().message("")),
        ("structure", publish().message("m").message_structure("xml")),
        ("no JSON", json().message("m")),
        ("no default", json().message(r#"{"email":"m"}"#)),
        ("default is no text", json().message(r#"{"default":{"a":1}}"#)),
        ("subject with a line break", publish().message("m").subject("a\nb")),
        ("long subject", publish().message("m").subject("x".repeat(100))),
        ("too long", publish().message("x".repeat(262_145))),
        ("attribute type", publish().message("m").message_attributes("a", attribute("Text", "v"))),
        ("attribute name", publish().message("m").message_attributes("a b", attribute("String", "v"))),
        ("number", publish().message("m").message_attributes("a", attribute("Number", "many"))),
        ("array", publish().message("m").message_attributes("a", attribute("String.Array", "v"))),
    ] {
        assert_eq!(code(request.send().await), "InvalidParameter", "{why}");
    }
    let full = publish().message("x".repeat(262_144));
    assert!(full.clone().send().await.is_ok());
    let with_attribute = full.message_attributes("a", attribute("String", "v"));
    assert_eq!(code(with_attribute.send().await), "InvalidParameter", "attributes count");
    assert_eq!(stage.published().as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_topic_can_be_told_to_take_larger_messages() {
    let stage = stage().await;
    let set = |value: &str| {
        let request = stage.sns.set_topic_attributes().topic_arn(&stage.standard);
        request.attribute_name("MaximumMessageSize").attribute_value(value).send()
    };
    assert_eq!(code(set("1048577").await), "InvalidParameter");
    set("1048576").await.unwrap();
    let publish = stage.sns.publish().topic_arn(&stage.standard).message("\u{20ac}".repeat(300_000));
    publish.send().await.unwrap();
}

#[tokio::test]
async fn entries_of_a_batch_fail_one_by_one() {
    let stage = stage().await;
    let entry = |id: &str, message: &str| {
        let builder = PublishBatchRequestEntry::builder().id(id).message(message);
        builder.message_attributes("level", attribute("String", "high")).build().unwrap()
    };
    let batch = |entries: Vec<PublishBatchRequestEntry>| {
        let request = stage.sns.publish_batch().topic_arn(&stage.standard);
        request.set_publish_batch_request_entries(Some(entries)).send()
    };
    let answer = batch(vec![entry("good", "m"), entry("bad", "")]).await.unwrap();
    assert_eq!(answer.successful()[0].id(), Some("good"));
    assert!(answer.successful()[0].message_id().is_some());
    assert_eq!((answer.failed()[0].id(), answer.failed()[0].code()), ("bad", "InvalidParameter"));
    assert!(answer.failed()[0].sender_fault());
    assert_eq!(stage.published()[0]["attributes"]["level"], "high");

    let eleven = (0..11).map(|n| entry(&n.to_string(), "m")).collect();
    assert_eq!(code(batch(eleven).await), "TooManyEntriesInBatchRequest");
    assert_eq!(code(batch(vec![]).await), "EmptyBatchRequest");
    assert_eq!(code(batch(vec![entry("a b", "m")]).await), "InvalidBatchEntryId");
    assert_eq!(code(batch(vec![entry("a", "m"), entry("a", "n")]).await), "BatchEntryIdsNotDistinct");
    let large = "x".repeat(140_000);
    assert_eq!(code(batch(vec![entry("a", &large), entry("b", &large)]).await), "BatchRequestTooLong");
}

#[tokio::test]
async fn topics_are_where_they_were_made_and_belong_to_who_made_them() {
    let stage = stage().await;
    let elsewhere = Client::new(&sdk(&stage.sandbox, "eu-west-1", root(&account())));
    let result = elsewhere.publish().topic_arn(&stage.standard).message("m").send().await;
    assert_eq!(code(result), "InvalidParameter");
    let stranger = Client::new(&sdk(&stage.sandbox, "eu-central-1", root(&other_account())));
    let result = stranger.publish().topic_arn(&stage.standard).message("m").send().await;
    assert_eq!(code(result), "AuthorizationError");
    let missing = stage.sns.publish().topic_arn(format!("{}x", stage.standard)).message("m").send().await;
    assert_eq!(code(missing), "NotFound");
    assert_eq!(stage.sns.list_topics().send().await.unwrap().topics().len(), 2);
    assert_eq!(elsewhere.list_topics().send().await.unwrap().topics().len(), 0);
}

#[tokio::test]
async fn attributes_are_kept_and_creating_again_is_no_error() {
    let stage = stage().await;
    let attributes = stage.sns.get_topic_attributes().topic_arn(&stage.fifo).send().await.unwrap();
    let attributes = attributes.attributes.unwrap();
    assert_eq!(attributes["FifoTopic"], "true");
    assert_eq!(attributes["TopicArn"], stage.fifo);
    let create = || stage.sns.create_topic().name("alerts");
    assert_eq!(create().send().await.unwrap().topic_arn.unwrap(), stage.standard);
    assert_eq!(code(create().attributes("DisplayName", "x").send().await), "InvalidParameter");
    assert_eq!(code(create().attributes("FifoTopic", "true").send().await), "InvalidParameter");
    assert_eq!(code(stage.sns.create_topic().name("a b").send().await), "InvalidParameter");
}

#[tokio::test]
async fn topics_come_in_pages_of_a_hundred() {
    let stage = stage().await;
    for number in 0..150 {
        stage.sns.create_topic().name(format!("topic-{number:03}")).send().await.unwrap();
    }
    let mut pages = stage.sns.list_topics().into_paginator().send();
    let mut sizes = Vec::new();
    while let Some(page) = pages.next().await {
        sizes.push(page.unwrap().topics().len());
    }
    assert_eq!(sizes, [100, 52]);
}

#[tokio::test]
async fn an_encrypted_topic_stops_with_its_key() {
    let stage = stage().await;
    let set_key = async |key: &str| {
        let request = stage.sns.set_topic_attributes().topic_arn(&stage.standard);
        request.attribute_name("KmsMasterKeyId").attribute_value(key).send().await.unwrap();
    };
    let publish = || stage.sns.publish().topic_arn(&stage.standard).message("m").send();
    set_key("alias/aws/sns").await;
    assert!(publish().await.is_ok());
    set_key("1234abcd-12ab-34cd-56ef-1234567890ab").await;
    assert_eq!(code(publish().await), "KMSNotFound");

    let kms = aws_sdk_kms::Client::new(&sdk(&stage.sandbox, "eu-central-1", root(&account())));
    let key = kms.create_key().send().await.unwrap().key_metadata.unwrap();
    kms.create_alias().alias_name("alias/topics").target_key_id(key.key_id()).send().await.unwrap();
    for name in [key.key_id(), key.arn().unwrap(), "alias/topics"] {
        set_key(name).await;
        assert!(publish().await.is_ok(), "{name}");
    }
    kms.disable_key().key_id(key.key_id()).send().await.unwrap();
    assert_eq!(code(publish().await), "KMSDisabled");
    kms.schedule_key_deletion().key_id(key.key_id()).send().await.unwrap();
    assert_eq!(code(publish().await), "KMSInvalidState");
}

#[tokio::test]
async fn subscribed_queues_get_what_is_published_wrapped_or_raw() {
    let stage = stage().await;
    let config = sdk(&stage.sandbox, "eu-central-1", root(&account()));
    let sqs = aws_sdk_sqs::Client::new(&config);
    let subscribe = async |name: &str, raw: bool| {
        sqs.create_queue().queue_name(name).send().await.unwrap();
        let endpoint = format!("arn:aws:sqs:eu-central-1:111122223333:{name}");
        let request = stage.sns.subscribe().topic_arn(&stage.standard).protocol("sqs").endpoint(endpoint);
        let request = if raw { request.attributes("RawMessageDelivery", "true") } else { request };
        request.send().await.unwrap().subscription_arn.unwrap()
    };
    let (wrapped, raw) = (subscribe("wrapped", false).await, subscribe("raw", true).await);
    assert_eq!(subscribe("wrapped", false).await, wrapped, "once only");
    let listed = stage.sns.list_subscriptions_by_topic().topic_arn(&stage.standard).send().await.unwrap();
    let listed: Vec<_> = listed.subscriptions().iter().filter_map(|known| known.subscription_arn()).collect();
    assert_eq!(listed, [&wrapped, &raw]);
    let publish = stage.sns.publish().topic_arn(&stage.standard).message("{\"a\":\"ü\"}").subject("hello");
    let id =
        publish.message_attributes("level", attribute("String", "high")).send().await.unwrap().message_id;
    let receive = async |name: &str| {
        let url = format!("https://sqs.eu-central-1.amazonaws.com/111122223333/{name}");
        let request = sqs.receive_message().queue_url(url).message_attribute_names("All");
        request.send().await.unwrap().messages.unwrap_or_default().pop()
    };
    let envelope: Value = serde_json::from_str(receive("wrapped").await.unwrap().body().unwrap()).unwrap();
    assert_eq!((&envelope["Type"], &envelope["MessageId"]), (&json!("Notification"), &json!(id)));
    assert_eq!((&envelope["Message"], &envelope["Subject"]), (&json!("{\"a\":\"ü\"}"), &json!("hello")));
    assert_eq!((&envelope["TopicArn"], &envelope["SignatureVersion"]), (&json!(stage.standard), &json!("1")));
    assert_eq!(envelope["Timestamp"], "2026-11-23T12:00:00.000Z");
    assert_eq!(envelope["MessageAttributes"], json!({ "level": { "Type": "String", "Value": "high" } }));
    for member in ["Signature", "SigningCertURL", "UnsubscribeURL"] {
        assert!(envelope[member].is_string(), "{member}");
    }
    let plain = receive("raw").await.unwrap();
    assert_eq!(plain.body(), Some("{\"a\":\"ü\"}"));
    assert_eq!(plain.message_attributes().unwrap()["level"].string_value(), Some("high"));

    stage.sns.unsubscribe().subscription_arn(raw).send().await.unwrap();
    let message = json!({ "default": "for all", "sqs": "for queues" }).to_string();
    let publish = stage.sns.publish().topic_arn(&stage.standard).message(message).message_structure("json");
    publish.send().await.unwrap();
    assert!(receive("raw").await.is_none());
    let envelope: Value = serde_json::from_str(receive("wrapped").await.unwrap().body().unwrap()).unwrap();
    assert_eq!(envelope["Message"], "for queues");
    let nowhere = stage.sns.subscribe().topic_arn(&stage.standard).protocol("sqs").endpoint("arn:aws:sqs:x");
    assert_eq!(code(nowhere.send().await), "InvalidParameter");
}
