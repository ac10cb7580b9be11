//! The server as the real SDK sees it.

use std::time::{Duration, Instant};

use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::sandbox::faults::{Effect, Fault};
use crate::sandbox::identity::Permissions;
use crate::sandbox::testing::{account, code, fault, root, sdk, start, world};
use aws_credential_types::Credentials;

/// Sends one plain HTTP request; gives the status line's code and the body.
async fn http(addr: SocketAddr, method: &str, path: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    // A server that refuses a body does not read it to its end.
    let sent = stream.write_all(format!("{head}{body}").as_bytes()).await;
    let mut answer = Vec::new();
    let received = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(!answer.is_empty(), "sent {sent:?}, received {received:?}");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body.to_owned())
}

#[tokio::test]
async fn the_access_key_says_who_calls() {
    let mut world = world();
    let key = world.identity.put_user(&account(), "ana", Permissions::default());
    let sandbox = start(world).await;
    let arn = async |credentials: Credentials| {
        let sts = aws_sdk_sts::Client::new(&sdk(&sandbox, "eu-central-1", credentials));
        sts.get_caller_identity().send().await.map(|identity| identity.arn.unwrap())
    };
    assert_eq!(arn(root(&account())).await.unwrap(), "arn:aws:iam::111122223333:root");
    let user = Credentials::new(key, "any", None, None, "tests");
    assert_eq!(arn(user).await.unwrap(), "arn:aws:iam::111122223333:user/ana");
    let stranger = || Credentials::new("AKIAIOSFODNN7EXAMPLE", "any", None, None, "tests");
    assert_eq!(code(arn(stranger()).await), "InvalidClientTokenId");
    let kms = aws_sdk_kms::Client::new(&sdk(&sandbox, "eu-central-1", stranger()));
    assert_eq!(code(kms.list_keys().send().await), "UnrecognizedClientException");
}

#[tokio::test]
async fn throttling_and_failures_are_errors_that_the_sdk_retries() {
    let mut world = world();
    world.faults.add(Fault { times: Some(1), ..fault("kms", "ListKeys", Effect::Throttle) });
    world.faults.add(Fault { times: Some(1), ..fault("kms", "ListKeys", Effect::Error(503)) });
    let sandbox = start(world).await;
    let config = sdk(&sandbox, "eu-central-1", root(&account()));
    let retries = RetryConfig::standard().with_initial_backoff(Duration::from_millis(1));
    let kms = aws_sdk_kms::Client::new(&config.to_builder().retry_config(retries).build());
    kms.list_keys().send().await.unwrap();
    let world = sandbox.world();
    let world = lock(&world);
    assert_eq!((world.tally.calls("kms", "ListKeys"), world.tally.throttled()), (3, 1));
}

#[tokio::test]
async fn a_denied_operation_is_denied_in_the_service_s_own_words() {
    let mut world = world();
    world.faults.add(Fault::every(Effect::Deny));
    let sandbox = start(world).await;
    let config = sdk(&sandbox, "us-east-1", root(&account()));
    let kms = aws_sdk_kms::Client::new(&config);
    assert_eq!(code(kms.list_keys().send().await), "AccessDeniedException");
    let sns = aws_sdk_sns::Client::new(&config);
    assert_eq!(code(sns.list_topics().send().await), "AuthorizationError");
    let accounts = aws_sdk_account::Client::new(&config);
    assert_eq!(code(accounts.list_regions().send().await), "AccessDeniedException");
    let recorders = aws_sdk_config::Client::new(&config);
    assert_eq!(code(recorders.describe_configuration_recorders().send().await), "AccessDeniedException");
}

#[tokio::test]
async fn a_broken_connection_is_no_answer_and_the_next_call_goes_through() {
    let mut world = world();
    world.faults.add(Fault { times: Some(1), ..fault("kms", "ListKeys", Effect::Reset) });
    let sandbox = start(world).await;
    let kms = aws_sdk_kms::Client::new(&sdk(&sandbox, "eu-central-1", root(&account())));
    let error = kms.list_keys().send().await.unwrap_err();
    assert!(matches!(error, aws_sdk_kms::error::SdkError::DispatchFailure(_)), "{error:?}");
    kms.list_keys().send().await.unwrap();
    assert_eq!(lock(&sandbox.world()).tally.calls("kms", "ListKeys"), 1);
}

#[tokio::test]
async fn a_delayed_answer_comes_late_and_holds_nobody_else_up() {
    let mut world = world();
    world.faults.add(fault("kms", "ListKeys", Effect::DelayMs(1500)));
    let sandbox = start(world).await;
    let config = sdk(&sandbox, "eu-central-1", root(&account()));
    let timeouts = TimeoutConfig::builder().operation_timeout(Duration::from_millis(300)).build();
    let kms = aws_sdk_kms::Client::new(&config.to_builder().timeout_config(timeouts).build());
    let sns = aws_sdk_sns::Client::new(&config);
    let begun = Instant::now();
    let (keys, topics) = tokio::join!(kms.list_keys().send(), sns.list_topics().send());
    assert!(matches!(keys.unwrap_err(), aws_sdk_kms::error::SdkError::TimeoutError(_)));
    assert!(topics.is_ok() && begun.elapsed() < Duration::from_millis(1400));
}

#[tokio::test]
async fn faults_and_the_clock_are_set_over_http() {
    let sandbox = start(world()).await;
    let addr = sandbox.addr();
    let list = r#"[{"service":"kms","effect":"throttle","times":1}]"#;
    assert_eq!(http(addr, "POST", "/_sandbox/faults", list).await.0, 204);
    let (_, faults) = http(addr, "GET", "/_sandbox/faults", "").await;
    let faults: Value = serde_json::from_str(&faults).unwrap();
    assert_eq!(faults, json!([{ "service": "kms", "effect": "throttle", "times": 1 }]));
    let kms = aws_sdk_kms::Client::new(&sdk(&sandbox, "eu-central-1", root(&account())));
    assert_eq!(code(kms.list_keys().send().await), "ThrottlingException");
    let (status, text) = http(addr, "POST", "/_sandbox/faults", r#"[{"efect":"throttle"}]"#).await;
    assert!(status == 400 && text.contains("efect"), "{status} {text}");

    let (_, moved) = http(addr, "POST", "/_sandbox/clock", r#"{"advance_secs": 604800}"#).await;
    assert_eq!(moved, r#"{"now":"2026-11-30T12:00:00+00:00"}"#);
    let (_, health) = http(addr, "GET", "/_sandbox/health", "").await;
    assert!(health.contains(r#""now":"2026-11-30T12:00:00+00:00""#), "{health}");
    assert_eq!(http(addr, "POST", "/_sandbox/clock", "{}").await.0, 400);

    let (_, calls) = http(addr, "GET", "/_sandbox/calls", "").await;
    let calls: Value = serde_json::from_str(&calls).unwrap();
    assert_eq!((&calls["total"], &calls["throttled"]), (&json!(1), &json!(1)));
    assert_eq!(calls["calls"][0]["operation"], "ListKeys");
}

#[tokio::test]
async fn log_files_are_delivered_over_http() {
    let mut world = world();
    let (region, now) = ("eu-central-1".parse().unwrap(), world.now());
    world.s3.put_bucket(&account(), &region, "logs", now);
    let trail = json!({ "Name": "main", "S3BucketName": "logs", "EnableLogFileValidation": true });
    for call in ["cloudtrail:CreateTrail", "cloudtrail:StartLogging", "kms:ListKeys"] {
        crate::sandbox::testing::ask(&mut world, call, trail.clone()).unwrap();
    }
    let sandbox = start(world).await;
    let (_, delivered) = http(sandbox.addr(), "POST", "/_sandbox/deliver", r#"{"digests":true}"#).await;
    let delivered: Value = serde_json::from_str(&delivered).unwrap();
    let count = |member: &str| delivered[member].as_array().unwrap().len();
    assert_eq!((count("log_files"), count("digests")), (1, 1));
    let (_, nothing) = http(sandbox.addr(), "POST", "/_sandbox/deliver", "").await;
    assert_eq!(nothing, r#"{"digests":[],"log_files":[]}"#);
    assert_eq!(http(sandbox.addr(), "POST", "/_sandbox/deliver", "{\"digest\":1}").await.0, 400);
}

#[tokio::test]
async fn what_is_no_request_gets_one_clear_error() {
    let sandbox = start(world()).await;
    let (status, text) = http(sandbox.addr(), "POST", "/", "hello").await;
    assert!(status == 400 && text.contains("<Code>MissingAction</Code>"), "{status} {text}");
    let (status, text) = http(sandbox.addr(), "POST", "/", "Action=Publish").await;
    assert!(status == 403 && text.contains("<Code>MissingAuthenticationToken</Code>"), "{status} {text}");
    let (status, _) = http(sandbox.addr(), "POST", "/", &"x".repeat(LARGEST_BODY + 1)).await;
    assert_eq!(status, 413);
}

#[test]
fn it_listens_on_loopback_only() {
    assert!(check_address("127.0.0.1:4600".parse().unwrap()).is_ok());
    assert!(check_address("[::1]:4600".parse().unwrap()).is_ok());
    let error = check_address("0.0.0.0:4600".parse().unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "the sandbox listens on loopback addresses only, not on 0.0.0.0:4600");
}

#[tokio::test]
async fn it_stops_when_told_to() {
    let sandbox = start(world()).await;
    let addr = sandbox.addr();
    http(addr, "GET", "/_sandbox/health", "").await;
    sandbox.shutdown().await;
    assert!(TcpStream::connect(addr).await.is_err());
}
