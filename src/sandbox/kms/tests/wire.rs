//! The same over the wire, with the unchanged SDK.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use aws_credential_types::Credentials;
use aws_sdk_cloudtrail::types::{LookupAttribute, LookupAttributeKey};
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::{IncludeKeyMaterial, KeyState, MultiRegionKeyType, RotationType, Tag};
use aws_smithy_types::DateTime;
use chrono::TimeDelta;
use serde_json::Value;

use crate::sandbox::testing::{account, code, other_account, root, sdk, start, world};
use crate::sandbox::{Sandbox, World};

fn kms(sandbox: &Sandbox, region: &str) -> aws_sdk_kms::Client {
    aws_sdk_kms::Client::new(&sdk(sandbox, region, root(&account())))
}

fn trail(sandbox: &Sandbox, region: &str, credentials: Credentials) -> aws_sdk_cloudtrail::Client {
    aws_sdk_cloudtrail::Client::new(&sdk(sandbox, region, credentials))
}

fn change(sandbox: &Sandbox, act: impl FnOnce(&mut World)) {
    act(&mut sandbox.world().lock().unwrap_or_else(PoisonError::into_inner));
}

async fn key_set(sandbox: &Sandbox, replicas: &[&str]) -> String {
    let kms = kms(sandbox, "eu-central-1");
    let key = kms.create_key().multi_region(true).send().await.unwrap().key_metadata.unwrap().key_id;
    for region in replicas {
        kms.replicate_key().key_id(&key).replica_region(*region).send().await.unwrap();
    }
    key
}

#[tokio::test]
async fn a_multi_region_key_lives_and_dies() {
    let sandbox = start(world()).await;
    let (frankfurt, ireland) = (kms(&sandbox, "eu-central-1"), kms(&sandbox, "eu-west-1"));
    let key = key_set(&sandbox, &["eu-west-1"]).await;
    let described = ireland.describe_key().key_id(&key).send().await.unwrap().key_metadata.unwrap();
    let configuration = described.multi_region_configuration.unwrap();
    assert_eq!(configuration.multi_region_key_type, Some(MultiRegionKeyType::Replica));
    assert_eq!(configuration.primary_key.unwrap().region.as_deref(), Some("eu-central-1"));
    frankfurt.update_primary_region().key_id(&key).primary_region("eu-west-1").send().await.unwrap();
    ireland.schedule_key_deletion().key_id(&key).pending_window_in_days(7).send().await.unwrap();
    let waiting = ireland.describe_key().key_id(&key).send().await.unwrap().key_metadata.unwrap();
    assert_eq!(waiting.key_state, Some(KeyState::PendingReplicaDeletion));
    assert_eq!((waiting.pending_deletion_window_in_days, waiting.deletion_date), (Some(7), None));
    frankfurt.schedule_key_deletion().key_id(&key).pending_window_in_days(7).send().await.unwrap();
    change(&sandbox, |world| world.clock.advance(TimeDelta::days(7)));
    assert_eq!(code(frankfurt.describe_key().key_id(&key).send().await), "NotFoundException");
    let waiting = ireland.describe_key().key_id(&key).send().await.unwrap().key_metadata.unwrap();
    assert_eq!(waiting.key_state, Some(KeyState::PendingDeletion));
    change(&sandbox, |world| world.clock.advance(TimeDelta::days(7)));
    assert_eq!(code(ireland.describe_key().key_id(&key).send().await), "NotFoundException");
    sandbox.shutdown().await;
}

#[tokio::test]
async fn the_sdk_s_paginators_see_every_item() {
    let sandbox = start(world()).await;
    let kms = kms(&sandbox, "eu-central-1");
    let mut keys = Vec::new();
    for number in 0..23 {
        let tag = |name: String| Tag::builder().tag_key(name).tag_value("v").build().unwrap();
        let created =
            kms.create_key().set_tags(Some((0..7).map(|tag_number| tag(format!("t{tag_number}"))).collect()));
        let key = created.send().await.unwrap().key_metadata.unwrap().key_id;
        kms.create_alias().alias_name(format!("alias/k{number}")).target_key_id(&key).send().await.unwrap();
        keys.push(key);
    }
    keys.sort();
    let listed = kms
        .list_keys()
        .limit(4)
        .into_paginator()
        .items()
        .send()
        .collect::<Result<Vec<_>, _>>()
        .await
        .unwrap();
    assert_eq!(listed.into_iter().map(|key| key.key_id.unwrap()).collect::<Vec<_>>(), keys);
    let aliases = kms
        .list_aliases()
        .limit(4)
        .into_paginator()
        .items()
        .send()
        .collect::<Result<Vec<_>, _>>()
        .await
        .unwrap();
    assert_eq!(aliases.iter().filter(|alias| alias.target_key_id.is_some()).count(), 23);
    let tags = kms
        .list_resource_tags()
        .key_id(&keys[0])
        .limit(2)
        .into_paginator()
        .items()
        .send()
        .collect::<Result<Vec<_>, _>>()
        .await
        .unwrap();
    assert_eq!(tags.len(), 7);
    assert_eq!(code(kms.list_keys().marker("bogus").send().await), "InvalidMarkerException");
}

#[tokio::test]
async fn rotation_follows_the_moved_clock() {
    let sandbox = start(world()).await;
    let key = key_set(&sandbox, &["eu-west-1"]).await;
    let (frankfurt, ireland) = (kms(&sandbox, "eu-central-1"), kms(&sandbox, "eu-west-1"));
    frankfurt.enable_key_rotation().key_id(&key).rotation_period_in_days(90).send().await.unwrap();
    change(&sandbox, |world| world.clock.advance(TimeDelta::days(91)));
    frankfurt.rotate_key_on_demand().key_id(&key).send().await.unwrap();
    let status = ireland.get_key_rotation_status().key_id(&key).send().await.unwrap();
    assert!(status.key_rotation_enabled);
    assert_eq!(status.rotation_period_in_days, Some(90));
    assert_eq!(status.next_rotation_date, Some(DateTime::from_secs(1_795_435_200 + 180 * 86_400)));
    let all =
        ireland.list_key_rotations().key_id(&key).include_key_material(IncludeKeyMaterial::AllKeyMaterial);
    let kinds: Vec<_> =
        all.send().await.unwrap().rotations.unwrap().into_iter().map(|one| one.rotation_type).collect();
    assert_eq!(kinds, [None, Some(RotationType::Automatic), Some(RotationType::OnDemand)]);
}

#[tokio::test]
async fn data_comes_back_and_the_use_is_known() {
    let sandbox = start(world()).await;
    let kms = kms(&sandbox, "eu-central-1");
    let key = key_set(&sandbox, &[]).await;
    let unused = kms.get_key_last_usage().key_id(&key).send().await.unwrap();
    assert!(unused.key_last_usage.unwrap().operation.is_none());
    let sealed = kms
        .encrypt()
        .key_id(&key)
        .plaintext(Blob::new("secret"))
        .encryption_context("a", "1")
        .send()
        .await
        .unwrap();
    let opened = kms
        .decrypt()
        .ciphertext_blob(sealed.ciphertext_blob.unwrap())
        .encryption_context("a", "1")
        .send()
        .await
        .unwrap();
    assert_eq!(opened.plaintext.unwrap().as_ref(), b"secret");
    let usage = kms.get_key_last_usage().key_id(&key).send().await.unwrap().key_last_usage.unwrap();
    assert_eq!(usage.operation.unwrap().as_str(), "Decrypt");
    let by_id = LookupAttribute::builder()
        .attribute_key(LookupAttributeKey::EventId)
        .attribute_value(usage.cloud_trail_event_id.unwrap());
    let found = trail(&sandbox, "eu-central-1", root(&account()))
        .lookup_events()
        .lookup_attributes(by_id.build().unwrap())
        .send()
        .await
        .unwrap();
    assert_eq!(found.events.unwrap()[0].event_name.as_deref(), Some("Decrypt"));
}

#[tokio::test]
async fn look_ups_page_throttle_and_bind_their_tokens() {
    let sandbox = start(world()).await;
    let cloudtrail = trail(&sandbox, "eu-central-1", root(&account()));
    for _ in 0..7 {
        key_set(&sandbox, &[]).await;
    }
    let mut seen = BTreeMap::new();
    let mut token = None;
    loop {
        let page = cloudtrail.lookup_events().max_results(3).set_next_token(token).send().await.unwrap();
        for event in page.events.unwrap() {
            let record: Value = serde_json::from_str(&event.cloud_trail_event.unwrap()).unwrap();
            assert_eq!(record["eventID"], event.event_id.clone().unwrap());
            seen.insert(event.event_id.unwrap(), event.event_name.unwrap());
        }
        token = page.next_token;
        change(&sandbox, |world| world.clock.advance(TimeDelta::milliseconds(1)));
        if token.is_none() {
            break;
        }
        change(&sandbox, |world| world.clock.advance(TimeDelta::milliseconds(500)));
        assert!(seen.len() < 20);
    }
    assert_eq!(seen.values().filter(|name| *name == "CreateKey").count(), 7);
    let throttled = async || loop {
        let answer = cloudtrail.lookup_events().send().await;
        if answer.is_err() {
            return code(answer);
        }
    };
    assert_eq!(throttled().await, "ThrottlingException");
    change(&sandbox, |world| world.clock.advance(TimeDelta::seconds(1)));
    let first = cloudtrail.lookup_events().max_results(2).send().await.unwrap();
    let moved = cloudtrail.lookup_events().max_results(3).set_next_token(first.next_token).send().await;
    assert_eq!(code(moved), "InvalidNextTokenException");
}

#[tokio::test]
async fn a_use_from_another_account_is_in_both_histories() {
    let sandbox = start(world()).await;
    let policy = r#"{"Statement":[
        {"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"kms:*","Resource":"*"},
        {"Effect":"Allow","Principal":{"AWS":"222233334444"},"Action":"kms:Encrypt","Resource":"*"}]}"#;
    let created = kms(&sandbox, "eu-central-1").create_key().policy(policy).send().await.unwrap();
    let arn = created.key_metadata.unwrap().arn.unwrap();
    let theirs = aws_sdk_kms::Client::new(&sdk(&sandbox, "eu-central-1", root(&other_account())));
    theirs.encrypt().key_id(&arn).plaintext(Blob::new("x")).send().await.unwrap();
    assert_eq!(code(theirs.describe_key().key_id(&arn).send().await), "AccessDeniedException");
    let record = async |credentials: Credentials, name: &str| -> Option<Value> {
        let by_name =
            LookupAttribute::builder().attribute_key(LookupAttributeKey::EventName).attribute_value(name);
        let found = trail(&sandbox, "eu-central-1", credentials)
            .lookup_events()
            .lookup_attributes(by_name.build().unwrap())
            .send()
            .await
            .unwrap();
        let event = found.events.unwrap().into_iter().next()?;
        Some(serde_json::from_str(&event.cloud_trail_event.unwrap()).unwrap())
    };
    let (used, owned) = (
        record(root(&other_account()), "Encrypt").await.unwrap(),
        record(root(&account()), "Encrypt").await.unwrap(),
    );
    assert_eq!(used["sharedEventID"], owned["sharedEventID"]);
    assert_ne!(used["eventID"], owned["eventID"]);
    change(&sandbox, |world| world.clock.advance(TimeDelta::seconds(1)));
    assert_eq!(record(root(&other_account()), "DescribeKey").await.unwrap()["errorCode"], "AccessDenied");
    assert!(record(root(&account()), "DescribeKey").await.is_none());
}
