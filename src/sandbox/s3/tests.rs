//! S3 as the SDK sees it.

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    BucketLocationConstraint, CreateBucketConfiguration, Event, FilterRule, FilterRuleName,
    NotificationConfiguration, NotificationConfigurationFilter, QueueConfiguration, S3KeyFilter,
    TopicConfiguration,
};
use serde_json::{Value, json};

use crate::sandbox::Sandbox;
use crate::sandbox::faults::Effect;
use crate::sandbox::identity::Permissions;
use crate::sandbox::testing::{account, ask, code, fault, other_account, root, sdk, start, world};

const BUCKET: &str = "logs";
const QUEUE: &str = "arn:aws:sqs:eu-central-1:111122223333:notices";

fn client(sandbox: &Sandbox, region: &str, credentials: aws_credential_types::Credentials) -> Client {
    let config = aws_sdk_s3::config::Builder::from(&sdk(sandbox, region, credentials));
    Client::from_conf(config.force_path_style(true).build())
}

/// A sandbox with a bucket in Frankfurt, and its owner's client.
async fn stage() -> (Sandbox, Client) {
    let sandbox = start(world()).await;
    let s3 = client(&sandbox, "eu-central-1", root(&account()));
    let constraint = CreateBucketConfiguration::builder()
        .location_constraint(BucketLocationConstraint::EuCentral1)
        .build();
    s3.create_bucket().bucket(BUCKET).create_bucket_configuration(constraint).send().await.unwrap();
    (sandbox, s3)
}

async fn put(s3: &Client, key: &str, body: &[u8]) -> String {
    let put = s3.put_object().bucket(BUCKET).key(key).body(ByteStream::from(body.to_vec()));
    put.send().await.unwrap().e_tag.unwrap()
}

#[tokio::test]
async fn an_object_comes_back_as_it_was_put() {
    let (_sandbox, s3) = stage().await;
    // Large enough to come in several chunks, and with names that need escaping.
    let body: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
    let key = "AWSLogs/a b+c/ü&<>=.json.gz";
    let put = s3
        .put_object()
        .bucket(BUCKET)
        .key(key)
        .body(ByteStream::from(body.clone()))
        .content_type("application/json")
        .content_encoding("gzip")
        .metadata("signature", "00ff")
        .send()
        .await
        .unwrap();
    let got = s3
        .get_object()
        .bucket(BUCKET)
        .key(key)
        .checksum_mode(aws_sdk_s3::types::ChecksumMode::Enabled)
        .send()
        .await
        .unwrap();
    assert_eq!(got.metadata().unwrap()["signature"], "00ff");
    assert_eq!((got.content_type(), got.content_encoding()), (Some("application/json"), Some("gzip")));
    assert_eq!(got.e_tag, put.e_tag);
    assert_eq!(got.last_modified().unwrap().secs(), 1_795_435_200);
    assert_eq!(got.body.collect().await.unwrap().to_vec(), body);
    let head = s3.head_object().bucket(BUCKET).key(key).send().await.unwrap();
    assert_eq!((head.content_length(), head.e_tag), (Some(800_000), put.e_tag));
    let part = s3.get_object().bucket(BUCKET).key(key).range("bytes=4-7").send().await.unwrap();
    assert_eq!(part.content_range(), Some("bytes 4-7/800000"));
    assert_eq!(part.body.collect().await.unwrap().to_vec(), 1_u32.to_le_bytes());
}

#[tokio::test]
async fn the_etag_is_the_md5_and_deleting_is_final() {
    let (_sandbox, s3) = stage().await;
    assert_eq!(put(&s3, "a", b"abc").await, "\"900150983cd24fb0d6963f7d28e17f72\"");
    assert_eq!(put(&s3, "empty", b"").await, "\"d41d8cd98f00b204e9800998ecf8427e\"");
    s3.delete_object().bucket(BUCKET).key("a").send().await.unwrap();
    s3.delete_object().bucket(BUCKET).key("a").send().await.unwrap();
    let gone = s3.get_object().bucket(BUCKET).key("a").send().await.unwrap_err();
    assert!(gone.as_service_error().unwrap().is_no_such_key(), "{gone:?}");
    let gone = s3.head_object().bucket(BUCKET).key("a").send().await.unwrap_err();
    assert!(gone.as_service_error().unwrap().is_not_found(), "{gone:?}");
    let nowhere = s3.get_object().bucket("nowhere").key("a").send().await;
    assert_eq!(code(nowhere), "NoSuchBucket");
    assert_eq!(code(s3.delete_bucket().bucket(BUCKET).send().await), "BucketNotEmpty");
}

#[tokio::test]
async fn a_listing_has_all_keys_once_in_pages_of_any_size() {
    let (_sandbox, s3) = stage().await;
    let mut keys: Vec<String> = (0..7).map(|n| format!("a/{n}")).collect();
    keys.extend(["b", "c/1", "c/2/x", "d e+f&"].map(str::to_owned));
    for key in &keys {
        put(&s3, key, b"x").await;
    }
    for size in [1, 2, 3, 100] {
        let pages = s3.list_objects_v2().bucket(BUCKET).max_keys(size).into_paginator().send();
        let pages: Vec<_> = pages.collect::<Result<Vec<_>, _>>().await.unwrap();
        assert!(pages.iter().all(|page| page.key_count() == i32::try_from(page.contents().len()).ok()));
        let found: Vec<&str> =
            pages.iter().flat_map(|page| page.contents()).filter_map(|object| object.key()).collect();
        assert_eq!(found, keys, "{size}");
        // With a delimiter, what is below is one common prefix, wherever the page ends.
        let pages = s3.list_objects_v2().bucket(BUCKET).delimiter("/").max_keys(size).into_paginator().send();
        let pages: Vec<_> = pages.collect::<Result<Vec<_>, _>>().await.unwrap();
        let mut found: Vec<&str> =
            pages.iter().flat_map(|page| page.contents()).filter_map(|object| object.key()).collect();
        found.extend(
            pages.iter().flat_map(|page| page.common_prefixes()).filter_map(|prefix| prefix.prefix()),
        );
        found.sort_unstable();
        assert_eq!(found, ["a/", "b", "c/", "d e+f&"], "{size}");
    }
    let below = s3.list_objects_v2().bucket(BUCKET).prefix("a/").start_after("a/4").send().await.unwrap();
    let below: Vec<&str> = below.contents().iter().filter_map(|object| object.key()).collect();
    assert_eq!(below, ["a/5", "a/6"]);
    let encoded =
        s3.list_objects_v2().bucket(BUCKET).prefix("d").encoding_type("url".into()).send().await.unwrap();
    assert_eq!(encoded.contents()[0].key(), Some("d+e%2Bf%26"));
    let wrong = s3.list_objects_v2().bucket(BUCKET).continuation_token("%").send().await;
    assert_eq!(code(wrong), "InvalidArgument");
}

#[tokio::test]
async fn a_bucket_is_in_one_region_and_its_owner_s() {
    let (sandbox, s3) = stage().await;
    put(&s3, "a", b"abc").await;
    let elsewhere = client(&sandbox, "eu-west-1", root(&account()));
    let moved = elsewhere.get_object().bucket(BUCKET).key("a").send().await.unwrap_err();
    assert_eq!(moved.raw_response().unwrap().headers().get("x-amz-bucket-region"), Some("eu-central-1"));
    assert_eq!(code(Err::<(), _>(moved)), "PermanentRedirect");
    let location = elsewhere.get_bucket_location().bucket(BUCKET).send().await.unwrap();
    assert_eq!(location.location_constraint(), Some(&BucketLocationConstraint::EuCentral1));
    let head = s3.head_bucket().bucket(BUCKET).send().await.unwrap();
    assert_eq!(head.bucket_region(), Some("eu-central-1"));

    let stranger = client(&sandbox, "eu-central-1", root(&other_account()));
    let refused = stranger.get_object().bucket(BUCKET).key("a").send().await;
    assert_eq!(code(refused), "AccessDenied");
    let policy = json!({ "Statement": [{ "Principal": { "AWS": "arn:aws:iam::222233334444:root" } }] });
    s3.put_bucket_policy().bucket(BUCKET).policy(policy.to_string()).send().await.unwrap();
    assert!(stranger.get_object().bucket(BUCKET).key("a").send().await.is_ok());
    let buckets = s3.list_buckets().send().await.unwrap();
    assert_eq!(buckets.buckets()[0].name(), Some(BUCKET));
    assert!(stranger.list_buckets().send().await.unwrap().buckets().is_empty());
}

#[tokio::test]
async fn permissions_and_faults_hold_for_objects_too() {
    let mut world = world();
    let only = Permissions::only(&["s3:ListBucket"]);
    let key = world.identity.put_user(&account(), "ana", only);
    world.s3.put_bucket(&account(), &"eu-central-1".parse().unwrap(), BUCKET, world.clock.now());
    world.faults.add(fault("s3", "ListBuckets", Effect::Throttle));
    let sandbox = start(world).await;
    let credentials = aws_credential_types::Credentials::new(key, "any", None, None, "tests");
    let ana = client(&sandbox, "eu-central-1", credentials);
    assert!(ana.list_objects_v2().bucket(BUCKET).send().await.is_ok());
    assert_eq!(code(ana.get_object().bucket(BUCKET).key("a").send().await), "AccessDenied");
    let owner = client(&sandbox, "eu-central-1", root(&account()));
    assert_eq!(code(owner.list_buckets().send().await), "SlowDown");
    let world = sandbox.world();
    let world = world.lock().unwrap();
    assert_eq!((world.tally.calls("s3", "GetObject"), world.tally.throttled()), (1, 1));
}

#[tokio::test]
async fn queues_and_topics_are_told_of_new_objects() {
    let (sandbox, s3) = stage().await;
    let world = sandbox.world();
    for call in ["notices", "others"] {
        ask(&mut world.lock().unwrap(), "sqs:CreateQueue", json!({ "QueueName": call })).unwrap();
    }
    let topic = ask(&mut world.lock().unwrap(), "sns:CreateTopic", json!({ "Name": "t" })).unwrap();
    let topic = topic["TopicArn"].as_str().unwrap();
    let event = Event::from("s3:ObjectCreated:*");
    let rule = FilterRule::builder().name(FilterRuleName::Prefix).value("AWSLogs/").build();
    let filter = NotificationConfigurationFilter::builder()
        .key(S3KeyFilter::builder().filter_rules(rule).build())
        .build();
    let queue = QueueConfiguration::builder().queue_arn(QUEUE).events(event.clone()).id("q").filter(filter);
    let topic = TopicConfiguration::builder().topic_arn(topic).events(event.clone());
    let configuration = NotificationConfiguration::builder()
        .queue_configurations(queue.build().unwrap())
        .topic_configurations(topic.build().unwrap())
        .build();
    let put_configuration = s3.put_bucket_notification_configuration().bucket(BUCKET);
    put_configuration.notification_configuration(configuration).send().await.unwrap();
    let kept = s3.get_bucket_notification_configuration().bucket(BUCKET).send().await.unwrap();
    assert_eq!(kept.queue_configurations()[0].queue_arn(), QUEUE);
    assert_eq!(kept.topic_configurations()[0].events(), std::slice::from_ref(&event));

    put(&s3, "AWSLogs/a b/ü=1.json.gz", b"abc").await;
    put(&s3, "elsewhere", b"abc").await;
    let world = world.lock().unwrap();
    let bodies: Vec<Value> =
        world.sqs.bodies(QUEUE).iter().map(|body| serde_json::from_str(body).unwrap()).collect();
    assert_eq!(bodies.len(), 2);
    assert_eq!((&bodies[0]["Event"], &bodies[0]["Bucket"]), (&json!("s3:TestEvent"), &json!(BUCKET)));
    let record = &bodies[1]["Records"][0];
    assert_eq!((&record["eventVersion"], &record["eventName"]), (&json!("2.1"), &json!("ObjectCreated:Put")));
    assert_eq!(record["awsRegion"], "eu-central-1");
    assert_eq!(record["s3"]["configurationId"], "q");
    assert_eq!(record["s3"]["bucket"]["arn"], "arn:aws:s3:::logs");
    assert_eq!(record["s3"]["object"]["key"], "AWSLogs/a+b/%C3%BC%3D1.json.gz");
    assert_eq!(record["s3"]["object"]["size"], 3);
    assert_eq!(record["s3"]["object"]["eTag"], "900150983cd24fb0d6963f7d28e17f72");
    let published: Vec<_> = world.sns.published().collect();
    assert_eq!(published.len(), 3, "a test and two objects");
    assert_eq!(published[1].subject.as_deref(), Some("Amazon S3 Notification"));
}

#[tokio::test]
async fn a_notification_to_nowhere_is_refused() {
    let (_sandbox, s3) = stage().await;
    let queue = QueueConfiguration::builder().queue_arn(QUEUE).events(Event::from("s3:ObjectCreated:*"));
    let configuration =
        NotificationConfiguration::builder().queue_configurations(queue.build().unwrap()).build();
    let put = s3.put_bucket_notification_configuration().bucket(BUCKET);
    assert_eq!(code(put.notification_configuration(configuration).send().await), "InvalidArgument");
    let upload = s3.create_multipart_upload().bucket(BUCKET).key("a").send().await;
    assert_eq!(code(upload), "NotImplemented");
}
