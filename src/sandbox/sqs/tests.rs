//! SQS as the SDK sees it.

use std::time::{Duration, Instant};

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{
    DeleteMessageBatchRequestEntry, Message as Received, MessageAttributeValue, MessageSystemAttributeName,
    QueueAttributeName, SendMessageBatchRequestEntry,
};

use super::*;
use crate::sandbox::Sandbox;
use crate::sandbox::faults::Effect;
use crate::sandbox::testing::{account, ask, code, fault, other_account, root, sdk, start, world};

struct Stage {
    sandbox: Sandbox,
    sqs: Client,
    url: String,
}

/// A sandbox with a queue that hides messages for half a minute.
async fn stage() -> Stage {
    let sandbox = start(world()).await;
    let sqs = Client::new(&sdk(&sandbox, "eu-central-1", root(&account())));
    let url = sqs.create_queue().queue_name("work").send().await.unwrap().queue_url.unwrap();
    Stage { sandbox, sqs, url }
}

impl Stage {
    async fn send(&self, body: &str) -> String {
        let sent = self.sqs.send_message().queue_url(&self.url).message_body(body).send().await.unwrap();
        sent.message_id.unwrap()
    }

    async fn receive(&self, most: i32) -> Vec<Received> {
        self.receive_from(&self.url, most).await
    }

    async fn receive_from(&self, url: &str, most: i32) -> Vec<Received> {
        let request = self.sqs.receive_message().queue_url(url).max_number_of_messages(most);
        let names = request.message_system_attribute_names(MessageSystemAttributeName::All);
        names.send().await.unwrap().messages.unwrap_or_default()
    }

    async fn delete(&self, message: &Received) {
        let delete = self.sqs.delete_message().queue_url(&self.url);
        delete.receipt_handle(message.receipt_handle().unwrap()).send().await.unwrap();
    }

    async fn counts(&self) -> (String, String) {
        let attributes = self.sqs.get_queue_attributes().queue_url(&self.url);
        let attributes = attributes.attribute_names(QueueAttributeName::All).send().await.unwrap();
        let attributes = attributes.attributes.unwrap();
        (
            attributes[&QueueAttributeName::ApproximateNumberOfMessages].clone(),
            attributes[&QueueAttributeName::ApproximateNumberOfMessagesNotVisible].clone(),
        )
    }

    fn advance(&self, seconds: i64) {
        self.sandbox.world().lock().unwrap().clock.advance(TimeDelta::seconds(seconds));
    }
}

fn attribute(message: &Received, name: MessageSystemAttributeName) -> &str {
    &message.attributes.as_ref().unwrap()[&name]
}

#[tokio::test]
async fn a_message_is_hidden_while_in_flight_and_comes_again() {
    let stage = stage().await;
    let id = stage.send("one").await;
    let first = stage.receive(10).await;
    assert_eq!((first.len(), first[0].message_id(), first[0].body()), (1, Some(id.as_str()), Some("one")));
    assert_eq!(first[0].md5_of_body(), Some("f97c5d29941bfb1b2fdab0874906ab82"));
    assert_eq!(stage.counts().await, ("0".to_owned(), "1".to_owned()));
    stage.advance(29);
    assert!(stage.receive(10).await.is_empty());
    stage.advance(1);
    let again = stage.receive(10).await;
    assert_eq!(attribute(&again[0], MessageSystemAttributeName::ApproximateReceiveCount), "2");
    assert_eq!(attribute(&again[0], MessageSystemAttributeName::SentTimestamp), "1795435200000");
    let first_time = MessageSystemAttributeName::ApproximateFirstReceiveTimestamp;
    assert_eq!(attribute(&again[0], first_time), "1795435200000");

    stage.delete(&first[0]).await;
    assert_eq!(stage.counts().await.1, "1", "an old handle succeeds and deletes nothing");
    stage.delete(&again[0]).await;
    assert_eq!(stage.counts().await, ("0".to_owned(), "0".to_owned()));
    stage.delete(&again[0]).await;
}

#[tokio::test]
async fn a_message_is_kept_hidden_or_let_go_of() {
    let stage = stage().await;
    stage.send("one").await;
    let message = stage.receive(1).await.remove(0);
    let change = async |seconds: i32| {
        let change = stage.sqs.change_message_visibility().queue_url(&stage.url);
        change.receipt_handle(message.receipt_handle().unwrap()).visibility_timeout(seconds).send().await
    };
    change(300).await.unwrap();
    stage.advance(299);
    assert!(stage.receive(1).await.is_empty());
    assert_eq!(code(change(43_000).await), "InvalidParameterValue", "twelve hours in all");
    change(0).await.unwrap();
    let error = change(60).await.unwrap_err();
    assert!(error.as_service_error().unwrap().is_message_not_inflight(), "{error:?}");
    assert_eq!(code(Err::<(), _>(error)), "AWS.SimpleQueueService.MessageNotInflight");
    assert_eq!(stage.receive(1).await.len(), 1);
    assert_eq!(code(change(60).await), "InvalidParameterValue", "by a handle that is not the last");
}

#[tokio::test]
async fn what_is_received_too_often_becomes_a_dead_letter() {
    let stage = stage().await;
    let letters = stage.sqs.create_queue().queue_name("letters").send().await.unwrap().queue_url.unwrap();
    let policy =
        r#"{"deadLetterTargetArn":"arn:aws:sqs:eu-central-1:111122223333:letters","maxReceiveCount":"2"}"#;
    let set = stage.sqs.set_queue_attributes().queue_url(&stage.url);
    set.attributes(QueueAttributeName::RedrivePolicy, policy).send().await.unwrap();
    let id = stage.send("poison").await;
    for _ in 0..2 {
        assert_eq!(stage.receive(1).await.len(), 1);
        assert!(stage.receive_from(&letters, 1).await.is_empty());
        stage.advance(30);
    }
    assert!(stage.receive(1).await.is_empty());
    let letter = stage.receive_from(&letters, 1).await.remove(0);
    assert_eq!((letter.message_id(), letter.body()), (Some(id.as_str()), Some("poison")));
    assert_eq!(attribute(&letter, MessageSystemAttributeName::ApproximateReceiveCount), "3");
    assert_eq!(
        attribute(&letter, MessageSystemAttributeName::DeadLetterQueueSourceArn),
        "arn:aws:sqs:eu-central-1:111122223333:work"
    );
    let nowhere = policy.replace("letters", "nowhere");
    let set = stage.sqs.set_queue_attributes().queue_url(&stage.url);
    let refused = set.attributes(QueueAttributeName::RedrivePolicy, nowhere).send().await;
    assert_eq!(code(refused), "InvalidParameterValue");
}

#[tokio::test]
async fn a_long_poll_wakes_when_a_message_arrives_and_else_lasts() {
    let stage = stage().await;
    let poll = async |seconds: i32| {
        let begun = Instant::now();
        let request = stage.sqs.receive_message().queue_url(&stage.url).wait_time_seconds(seconds);
        let messages = request.send().await.unwrap().messages.unwrap_or_default();
        (messages.len(), begun.elapsed())
    };
    let (received, waited) = poll(1).await;
    assert!(received == 0 && waited >= Duration::from_secs(1), "{waited:?}");
    let later = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        stage.send("one").await;
    };
    // Two wait, and one message comes: the other goes on waiting.
    let (one, other, ()) = tokio::join!(poll(2), poll(2), later);
    let (first, last) = if one.0 == 1 { (one, other) } else { (other, one) };
    assert!(first.0 == 1 && first.1 < Duration::from_millis(1500), "{first:?}");
    assert!(last.0 == 0 && last.1 >= Duration::from_secs(2), "{last:?}");
    // A message becomes visible because the clock is moved.
    let later = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        stage.advance(60);
    };
    let (again, ()) = tokio::join!(poll(10), later);
    assert!(again.0 == 1 && again.1 < Duration::from_secs(5), "{again:?}");
}

#[tokio::test]
async fn a_poll_that_fails_does_not_wait_for_it_and_a_shutdown_ends_one() {
    let stage = stage().await;
    let world = stage.sandbox.world();
    let request = || stage.sqs.receive_message().queue_url(&stage.url).wait_time_seconds(20).send();
    world.lock().unwrap().faults.add(fault("sqs", "ReceiveMessage", Effect::Throttle));
    let begun = Instant::now();
    assert_eq!(code(request().await), "RequestThrottled");
    world.lock().unwrap().faults.clear();
    let (answer, ()) = tokio::join!(request(), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        world.lock().unwrap().sqs.stop_waiting();
    });
    assert!(answer.unwrap().messages.is_none() && begun.elapsed() < Duration::from_secs(10));
    assert_eq!(world.lock().unwrap().tally.calls("sqs", "ReceiveMessage"), 2);
}

#[tokio::test]
async fn batches_tell_what_became_of_each_entry() {
    let stage = stage().await;
    let entry = |id: usize| {
        let entry =
            SendMessageBatchRequestEntry::builder().id(format!("m{id}")).message_body(format!("{id}"));
        entry.build().unwrap()
    };
    let send = |most: usize| {
        let request = stage.sqs.send_message_batch().queue_url(&stage.url);
        request.set_entries(Some((0..most).map(entry).collect())).send()
    };
    assert_eq!(send(10).await.unwrap().successful().len(), 10);
    assert_eq!(code(send(11).await), "AWS.SimpleQueueService.TooManyEntriesInBatchRequest");
    let received = stage.receive(10).await;
    assert_eq!(
        received.iter().filter_map(Received::body).collect::<Vec<_>>(),
        ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]
    );
    let delete = |(id, handle): (usize, &str)| {
        let entry = DeleteMessageBatchRequestEntry::builder().id(id.to_string()).receipt_handle(handle);
        entry.build().unwrap()
    };
    let handles = received.iter().filter_map(Received::receipt_handle).take(4).chain(["nonsense"]);
    let deleted = stage
        .sqs
        .delete_message_batch()
        .queue_url(&stage.url)
        .set_entries(Some(handles.enumerate().map(delete).collect()))
        .send()
        .await
        .unwrap();
    assert_eq!((deleted.successful().len(), deleted.failed()[0].code()), (4, "ReceiptHandleIsInvalid"));
    assert_eq!(stage.counts().await.1, "6");
    stage.sqs.purge_queue().queue_url(&stage.url).send().await.unwrap();
    assert_eq!(stage.counts().await.1, "0");
}

#[tokio::test]
async fn message_attributes_come_if_they_are_asked_for() {
    let stage = stage().await;
    let value = MessageAttributeValue::builder().data_type("String").string_value("high").build().unwrap();
    let send = stage.sqs.send_message().queue_url(&stage.url).message_body("x");
    let sent = send.message_attributes("level", value).send().await.unwrap();
    let digest = md5(b"\x00\x00\x00\x05level\x00\x00\x00\x06String\x01\x00\x00\x00\x04high");
    assert_eq!(sent.md5_of_message_attributes(), Some(digest.as_str()));
    let request = stage.sqs.receive_message().queue_url(&stage.url).visibility_timeout(0);
    let plain = request.clone().send().await.unwrap().messages.unwrap();
    assert!(plain[0].message_attributes().is_none() && plain[0].attributes().is_none());
    let full = request.message_attribute_names("All").send().await.unwrap().messages.unwrap();
    assert_eq!(full[0].message_attributes().unwrap()["level"].string_value(), Some("high"));
    assert_eq!(full[0].md5_of_message_attributes(), Some(digest.as_str()));
}

#[tokio::test]
async fn a_standard_queue_may_deliver_twice_and_in_any_order() {
    let stage = stage().await;
    stage.sandbox.world().lock().unwrap().sqs.unrest = Unrest { duplicate_every: Some(5), shuffle: true };
    for number in 0..50 {
        stage.send(&format!("{number:02}")).await;
    }
    let mut bodies = Vec::new();
    loop {
        let received = stage.receive(10).await;
        if received.is_empty() {
            break;
        }
        for message in received {
            stage.delete(&message).await;
            bodies.push(message.body.unwrap());
        }
    }
    assert_eq!(bodies.len(), 60);
    assert!(!bodies.is_sorted());
    bodies.sort_unstable();
    bodies.dedup();
    assert_eq!(bodies.len(), 50);
}

#[tokio::test]
async fn queues_are_found_by_those_who_may() {
    let stage = stage().await;
    let found = stage.sqs.get_queue_url().queue_name("work").send().await.unwrap();
    assert_eq!(found.queue_url(), Some("https://sqs.eu-central-1.amazonaws.com/111122223333/work"));
    let missing = stage.sqs.get_queue_url().queue_name("none").send().await.unwrap_err();
    assert!(missing.as_service_error().unwrap().is_queue_does_not_exist());
    assert_eq!(code(Err::<(), _>(missing)), "AWS.SimpleQueueService.NonExistentQueue");
    assert_eq!(stage.sqs.list_queues().send().await.unwrap().queue_urls().len(), 1);
    let stranger = Client::new(&sdk(&stage.sandbox, "eu-central-1", root(&other_account())));
    let send = || stranger.send_message().queue_url(&stage.url).message_body("x").send();
    assert_eq!(code(send().await), "AccessDenied");
    let set = stage.sqs.set_queue_attributes().queue_url(&stage.url);
    let policy = r#"{"Statement":[{"Principal":{"AWS":"222233334444"}}]}"#;
    set.attributes(QueueAttributeName::Policy, policy).send().await.unwrap();
    send().await.unwrap();
    let elsewhere = Client::new(&sdk(&stage.sandbox, "eu-west-1", root(&account())));
    let receive = elsewhere.receive_message().queue_url(&stage.url).send().await;
    assert_eq!(code(receive), "AWS.SimpleQueueService.NonExistentQueue");
    assert_eq!(
        code(stage.sqs.receive_message().queue_url(&stage.url).max_number_of_messages(11).send().await),
        "InvalidParameterValue"
    );
    let fifo = stage.sqs.create_queue().queue_name("work.fifo").send().await;
    assert_eq!(code(fifo), "InvalidParameterValue");
}

#[test]
fn messages_grow_old() {
    let mut world = world();
    let url = ask(&mut world, "sqs:CreateQueue", json!({ "QueueName": "q" })).unwrap()["QueueUrl"].clone();
    ask(&mut world, "sqs:SendMessage", json!({ "QueueUrl": url, "MessageBody": "x" })).unwrap();
    let delayed = json!({ "QueueUrl": url, "MessageBody": "y", "DelaySeconds": 600 });
    ask(&mut world, "sqs:SendMessage", delayed).unwrap();
    let receive = json!({ "QueueUrl": url, "MaxNumberOfMessages": 10, "VisibilityTimeout": 0 });
    let received = |world: &mut World| {
        let answer = ask(world, "sqs:ReceiveMessage", receive.clone()).unwrap();
        answer["Messages"].as_array().map_or(0, Vec::len)
    };
    assert_eq!(received(&mut world), 1);
    world.clock.advance(TimeDelta::minutes(10));
    assert_eq!(received(&mut world), 2);
    world.clock.advance(TimeDelta::days(4));
    assert_eq!(received(&mut world), 0);
}
