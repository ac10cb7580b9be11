//! AWS Config as the SDK sees it.

use aws_sdk_config::Client;
use aws_sdk_config::types::{ComplianceType, DeliveryStatus, RecorderStatus};

use super::super::kms::KeyView;
use super::*;
use crate::sandbox::Sandbox;
use crate::sandbox::testing::{account, ask, code, root, sdk, start, world};

fn frankfurt() -> Region {
    "eu-central-1".parse().unwrap()
}

fn world_with_config() -> World {
    let mut world = world();
    let now = world.now();
    *world.config.setup_mut(&account(), &frankfurt()) = Setup::complete(now);
    world
}

fn client(sandbox: &Sandbox, region: &str) -> Client {
    Client::new(&sdk(sandbox, region, root(&account())))
}

fn key() -> KeyView {
    KeyView {
        id: "1234abcd".to_owned(),
        arn: "arn:aws:kms:eu-central-1:111122223333:key/1234abcd".to_owned(),
        manager: "CUSTOMER".to_owned(),
        state: "Enabled".to_owned(),
        spec: "SYMMETRIC_DEFAULT".to_owned(),
        origin: "AWS_KMS".to_owned(),
        replica: false,
        rotation_enabled: true,
        policy: r#"{"Statement":[]}"#.to_owned(),
    }
}

#[tokio::test]
async fn a_recorder_and_its_channel_say_how_they_are() {
    let sandbox = start(world_with_config()).await;
    let config = client(&sandbox, "eu-central-1");
    let recorders = config.describe_configuration_recorders().send().await.unwrap();
    let group = recorders.configuration_recorders()[0].recording_group().unwrap();
    assert!(group.all_supported());
    let status = config.describe_configuration_recorder_status().send().await.unwrap();
    let status = &status.configuration_recorders_status()[0];
    assert!(status.recording());
    assert_eq!(status.last_status(), Some(&RecorderStatus::Success));
    assert_eq!(status.last_start_time().unwrap().secs(), 1_795_435_200);
    let channels = config.describe_delivery_channel_status().send().await.unwrap();
    let history = channels.delivery_channels_status()[0].config_history_delivery_info().unwrap();
    assert_eq!(history.last_status(), Some(&DeliveryStatus::Success));
}

#[tokio::test]
async fn a_stopped_recorder_and_a_failing_channel_say_so() {
    let mut world = world_with_config();
    let setup = world.config.setup_mut(&account(), &frankfurt());
    if let Some(recorder) = setup.recorder.as_mut() {
        recorder.recording = false;
        recorder.resource_types = Some(vec!["AWS::S3::Bucket".to_owned()]);
    }
    if let Some(delivery) = setup.delivery.as_mut() {
        delivery.error = Some("AccessDenied".to_owned());
    }
    let sandbox = start(world).await;
    let config = client(&sandbox, "eu-central-1");
    let recorders = config.describe_configuration_recorders().send().await.unwrap();
    let group = recorders.configuration_recorders()[0].recording_group().unwrap();
    assert_eq!(group.resource_types()[0].as_str(), "AWS::S3::Bucket");
    let status = config.describe_configuration_recorder_status().send().await.unwrap();
    assert!(!status.configuration_recorders_status()[0].recording());
    let channels = config.describe_delivery_channel_status().send().await.unwrap();
    let stream = channels.delivery_channels_status()[0].config_stream_delivery_info().unwrap();
    assert_eq!(stream.last_error_code(), Some("AccessDenied"));
}

#[tokio::test]
async fn a_region_without_config_has_nothing_and_names_are_checked() {
    let sandbox = start(world_with_config()).await;
    let config = client(&sandbox, "eu-west-1");
    assert!(
        config.describe_configuration_recorders().send().await.unwrap().configuration_recorders().is_empty()
    );
    assert!(config.describe_config_rules().send().await.unwrap().config_rules().is_empty());
    let named = config.describe_configuration_recorders().configuration_recorder_names("default");
    assert_eq!(code(named.send().await), "NoSuchConfigurationRecorderException");
    let named = config.describe_delivery_channel_status().delivery_channel_names("default");
    assert_eq!(code(named.send().await), "NoSuchDeliveryChannelException");
    let details = config.get_compliance_details_by_config_rule().config_rule_name("none");
    assert_eq!(code(details.send().await), "NoSuchConfigRuleException");
}

#[tokio::test]
async fn rules_come_in_pages_of_25() {
    let mut world = world_with_config();
    let setup = world.config.setup_mut(&account(), &frankfurt());
    for number in 0..50 {
        setup.rules.insert(format!("rotation-{number:02}"), ManagedRule::RotationEnabled);
    }
    let sandbox = start(world).await;
    let config = client(&sandbox, "eu-central-1");
    let mut pages = config.describe_config_rules().into_paginator().send();
    let (mut sizes, mut first) = (Vec::new(), None);
    while let Some(page) = pages.next().await {
        let page = page.unwrap();
        sizes.push(page.config_rules().len());
        first = first.or_else(|| page.config_rules().first().cloned());
    }
    assert_eq!(sizes, [25, 25, 3]);
    let source = first.unwrap().source.unwrap();
    assert_eq!(source.source_identifier(), Some("CMK_BACKING_KEY_ROTATION_ENABLED"));
    let wrong_token = config.describe_config_rules().next_token("none").send().await;
    assert_eq!(code(wrong_token), "InvalidNextTokenException");
}

#[tokio::test]
async fn compliance_follows_the_keys_there_are() {
    let mut world = world_with_config();
    let mut ids = Vec::new();
    for number in 0..12 {
        let key = ask(&mut world, "kms:CreateKey", json!({})).unwrap();
        let id = key["KeyMetadata"]["KeyId"].clone();
        if number % 2 == 0 {
            ask(&mut world, "kms:EnableKeyRotation", json!({ "KeyId": id })).unwrap();
        } else {
            ids.push(id.as_str().unwrap().to_owned());
        }
    }
    let sandbox = start(world).await;
    let config = client(&sandbox, "eu-central-1");
    let details = || {
        let request = config.get_compliance_details_by_config_rule();
        request.config_rule_name("cmk-backing-key-rotation-enabled")
    };
    let mut pages = details().into_paginator().send();
    let mut sizes = Vec::new();
    while let Some(page) = pages.next().await {
        sizes.push(page.unwrap().evaluation_results().len());
    }
    assert_eq!(sizes, [10, 2]);
    let failing = details().compliance_types(ComplianceType::NonCompliant).limit(100).send().await.unwrap();
    let mut found: Vec<String> = failing
        .evaluation_results()
        .iter()
        .filter_map(|row| row.evaluation_result_identifier()?.evaluation_result_qualifier()?.resource_id())
        .map(str::to_owned)
        .collect();
    found.sort();
    ids.sort();
    assert_eq!(found, ids);
    assert_eq!(code(details().limit(101).send().await), "InvalidParameterValueException");
}

#[test]
fn the_rules_look_at_the_keys_that_aws_s_rules_look_at() {
    let judge = |rule: ManagedRule, change: fn(&mut KeyView)| {
        let mut key = key();
        change(&mut key);
        rule.judge(&key)
    };
    let rotation = ManagedRule::RotationEnabled;
    assert_eq!(judge(rotation, |_| {}), Some("COMPLIANT"));
    assert_eq!(judge(rotation, |key| key.rotation_enabled = false), Some("NON_COMPLIANT"));
    assert_eq!(judge(rotation, |key| key.spec = "RSA_2048".to_owned()), None);
    assert_eq!(judge(rotation, |key| key.origin = "EXTERNAL".to_owned()), None);
    assert_eq!(judge(rotation, |key| key.state = "PendingDeletion".to_owned()), None);
    assert_eq!(judge(rotation, |key| key.manager = "AWS".to_owned()), None);
    let deletion = ManagedRule::NotScheduledForDeletion;
    assert_eq!(judge(deletion, |_| {}), Some("COMPLIANT"));
    assert_eq!(judge(deletion, |key| key.state = "PendingDeletion".to_owned()), Some("NON_COMPLIANT"));
}

#[test]
fn a_policy_is_public_if_a_statement_lets_everybody_in_without_a_fixed_condition() {
    for (principal, condition, public) in [
        (json!("*"), json!(null), true),
        (json!({ "AWS": "*" }), json!(null), true),
        (json!({ "AWS": ["arn:aws:iam::111122223333:root", "*"] }), json!(null), true),
        (json!({ "AWS": "arn:aws:iam::111122223333:root" }), json!(null), false),
        (json!("*"), json!({ "StringEquals": { "kms:CallerAccount": "111122223333" } }), false),
        (json!("*"), json!({ "StringLike": { "kms:CallerAccount": "*" } }), true),
        (json!({ "Service": "logs.amazonaws.com" }), json!(null), false),
    ] {
        let mut statement =
            json!({ "Effect": "Allow", "Action": "kms:*", "Resource": "*", "Principal": principal });
        if !condition.is_null() {
            statement["Condition"] = condition;
        }
        let policy = json!({ "Statement": statement }).to_string();
        let expected = if public { "NON_COMPLIANT" } else { "COMPLIANT" };
        let view = KeyView { policy, ..key() };
        assert_eq!(ManagedRule::NoPublicAccess.judge(&view), Some(expected), "{statement}");
    }
}
