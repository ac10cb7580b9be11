//! The estate is what its documentation says.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::*;
use crate::sandbox::Actor;
use crate::sandbox::call::{Answer, Principal};
use crate::sandbox::kms::KeyView;

fn now() -> DateTime<Utc> {
    "2026-11-23T12:00:00Z".parse().unwrap()
}

fn world() -> World {
    demo(Clock::standing(now())).unwrap()
}

/// A call by the audit, as Keyward would make it.
fn audit(world: &mut World, of: &str, at: &str, call: &str, input: Value) -> Answer {
    let principal = if of == MANAGEMENT {
        Principal::Root
    } else {
        Principal::AssumedRole { role: ROLE.to_owned(), session: "keyward".to_owned() }
    };
    let actor = Actor::new(&of.parse().unwrap(), principal);
    world.act(&actor, &at.parse().unwrap(), call, input)
}

/// Every customer key by ARN.
fn customer_keys(world: &World) -> BTreeMap<String, KeyView> {
    let mut keys = BTreeMap::new();
    for (account, _) in ACCOUNTS {
        let account: AccountId = account.parse().unwrap();
        for (region, _) in world.geography.regions(&account, "aws") {
            let views = world.kms.views(&account, &region);
            keys.extend(
                views.into_iter().filter(|key| key.manager == "CUSTOMER").map(|key| (key.arn.clone(), key)),
            );
        }
    }
    keys
}

fn describe(world: &mut World, arn: &str) -> Value {
    let parts: Vec<&str> = arn.split(':').collect();
    let answer = audit(world, parts[4], parts[3], "kms:DescribeKey", json!({ "KeyId": arn })).unwrap();
    answer["KeyMetadata"].clone()
}

#[test]
fn it_is_large_and_of_every_kind() {
    let mut world = world();
    let keys = customer_keys(&world);
    assert!(keys.len() >= 64, "{} keys", keys.len());
    let (mut specs, mut origins, mut roles, mut regions) =
        (BTreeSet::new(), BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for arn in keys.keys() {
        let metadata = describe(&mut world, arn);
        specs.insert(metadata["KeySpec"].as_str().unwrap().to_owned());
        origins.insert(metadata["Origin"].as_str().unwrap().to_owned());
        roles.insert(metadata["MultiRegionConfiguration"]["MultiRegionKeyType"].as_str().map(str::to_owned));
        regions.insert(arn.split(':').nth(3).unwrap().to_owned());
        assert_eq!(metadata["KeyState"], "Enabled", "{arn}");
    }
    assert_eq!(regions, REGIONS.map(str::to_owned).into());
    assert_eq!(roles.len(), 3, "single, primary and replica");
    let all = ["AWS_CLOUDHSM", "AWS_KMS", "EXTERNAL", "EXTERNAL_KEY_STORE"].map(str::to_owned);
    assert_eq!(origins, all.into());
    for prefix in ["SYMMETRIC", "RSA_", "ECC_", "HMAC_", "ML_DSA_", "ML_KEM_"] {
        assert!(specs.iter().any(|spec| spec.starts_with(prefix)), "{prefix}");
    }
}

#[test]
fn it_is_the_same_every_time() {
    assert_eq!(customer_keys(&world()), customer_keys(&world()));
}

#[test]
fn rotation_is_on_wherever_it_can_be_but_for_the_key_that_is_listed() {
    let mut world = world();
    for (arn, key) in customer_keys(&world) {
        let eligible = key.spec == "SYMMETRIC_DEFAULT" && key.origin == "AWS_KMS";
        if !eligible {
            continue;
        }
        let parts: Vec<&str> = arn.split(':').collect();
        let (of, at) = (parts[4], parts[3]);
        let status = audit(&mut world, of, at, "kms:GetKeyRotationStatus", json!({ "KeyId": arn })).unwrap();
        let aliases = audit(&mut world, of, at, "kms:ListAliases", json!({ "KeyId": arn })).unwrap();
        let alias = aliases["Aliases"][0]["AliasName"].as_str().unwrap_or_default();
        let off = alias == "alias/legacy-reports";
        assert_eq!(status["KeyRotationEnabled"], !off, "{alias}");
        if !off {
            let (period, next) =
                (status["RotationPeriodInDays"].as_i64().unwrap(), status["NextRotationDate"].as_f64());
            assert_eq!(period > 365, alias == "alias/billing-exports", "{alias} {period}");
            assert!(next.unwrap() > 1_795_435_200.0, "{alias} is due");
        }
    }
}

#[test]
fn every_key_but_one_has_an_alias_and_all_say_their_class() {
    let mut world = world();
    let mut nameless = Vec::new();
    for (arn, key) in customer_keys(&world) {
        let parts: Vec<&str> = arn.split(':').collect();
        let (of, at) = (parts[4], parts[3]);
        let aliases = audit(&mut world, of, at, "kms:ListAliases", json!({ "KeyId": arn })).unwrap();
        if aliases["Aliases"].as_array().unwrap().is_empty() {
            nameless.push(key.id.clone());
        }
        let tags = audit(&mut world, of, at, "kms:ListResourceTags", json!({ "KeyId": arn })).unwrap();
        let tagged = tags["Tags"].as_array().unwrap().iter().any(|tag| tag["TagKey"] == CLASSIFICATION_TAG);
        assert!(tagged, "{arn}");
    }
    assert_eq!(nameless, [NAMELESS]);
}

#[test]
fn members_of_a_set_agree_and_stay_where_their_class_belongs() {
    let world = world();
    let mut sets: BTreeMap<String, Vec<KeyView>> = BTreeMap::new();
    for key in customer_keys(&world).into_values().filter(|key| key.id.starts_with("mrk-")) {
        sets.entry(key.id.clone()).or_default().push(key);
    }
    assert!(sets.len() >= 8);
    for members in sets.values() {
        assert!(members.len() >= 2 && members.iter().filter(|key| !key.replica).count() == 1);
        assert!(members.iter().all(|key| key.policy == members[0].policy && key.state == members[0].state));
        assert!(members[0].policy.contains("kms:ReplicaRegion"));
    }
}

#[test]
fn the_violations_that_are_listed_are_there() {
    let mut world = world();
    for violation in STANDING {
        let KeyRef { account, region, name } = violation.key;
        let (owner, at): (AccountId, Region) = (account.parse().unwrap(), region.parse().unwrap());
        let id = world.kms.key_id_of_alias(&owner, &at, name).unwrap_or_else(|| name.to_owned());
        assert!(world.kms.views(&owner, &at).iter().any(|key| key.id == id), "{name}");
    }
    let vault = world
        .kms
        .key_id_of_alias(&CUSTOMERS.parse().unwrap(), &"eu-north-1".parse().unwrap(), "alias/hr-vault")
        .unwrap();
    let input = json!({ "KeyId": vault, "PolicyName": "default" });
    let refused = audit(&mut world, CUSTOMERS, "eu-north-1", "kms:GetKeyPolicy", input.clone()).unwrap_err();
    assert_eq!(refused.code, "AccessDeniedException");
    assert!(audit(&mut world, CUSTOMERS, "eu-north-1", "kms:DescribeKey", json!({ "KeyId": vault })).is_ok());
}

#[test]
fn only_the_listed_policy_lets_in_a_partner_and_none_lets_in_everybody() {
    let world = world();
    let with_partner: Vec<String> = customer_keys(&world)
        .into_values()
        .filter(|key| key.policy.contains(PARTNER))
        .map(|key| key.arn)
        .collect();
    assert_eq!(with_partner.len(), 1);
    assert!(with_partner[0].contains(":ap-northeast-1:555566667777:"));
}

#[test]
fn the_trails_record_kms_and_a_first_look_up_finds_nothing_of_the_building() {
    let mut world = world();
    for (account, _) in ACCOUNTS {
        let trails =
            audit(&mut world, account, "eu-central-1", "cloudtrail:DescribeTrails", json!({})).unwrap();
        for trail in trails["trailList"].as_array().unwrap() {
            let name = json!({ "Name": trail["TrailARN"], "TrailName": trail["TrailARN"] });
            let status = "cloudtrail:GetTrailStatus";
            let status = audit(&mut world, account, "eu-central-1", status, name.clone()).unwrap();
            assert_eq!(status["IsLogging"], true);
            let selectors = "cloudtrail:GetEventSelectors";
            let selectors = audit(&mut world, account, "eu-central-1", selectors, name).unwrap();
            assert!(!selectors.to_string().contains("kms.amazonaws.com"), "{selectors}");
        }
    }
    let mut fresh = demo(Clock::standing(now())).unwrap();
    let start = (now() - chrono::TimeDelta::days(2)).timestamp();
    let look_up = json!({ "StartTime": start, "EndTime": now().timestamp() });
    for (account, _) in ACCOUNTS {
        let call = "cloudtrail:LookupEvents";
        let events = audit(&mut fresh, account, "eu-central-1", call, look_up.clone()).unwrap();
        assert_eq!(events["Events"], json!([]), "{account}");
    }
}

#[test]
fn the_organization_s_log_files_come_and_are_announced() {
    let mut world = world();
    assert!(world.s3.keys(LOG_BUCKET).is_empty());
    assert_eq!(world.sqs.url_of(LOG_QUEUE).as_deref(), Some(LOG_QUEUE_URL));
    let input = json!({ "QueueUrl": LOG_QUEUE_URL });
    let nothing = audit(&mut world, MANAGEMENT, "eu-central-1", "sqs:ReceiveMessage", input.clone()).unwrap();
    assert_eq!(nothing, json!({}), "the test event of then is long gone");
    audit(&mut world, PAYMENTS, "eu-west-1", "kms:ListKeys", json!({})).unwrap();
    world.clock.advance(chrono::TimeDelta::minutes(5));
    let received = audit(&mut world, MANAGEMENT, "eu-central-1", "sqs:ReceiveMessage", input).unwrap();
    let notice: Value = serde_json::from_str(received["Messages"][0]["Body"].as_str().unwrap()).unwrap();
    let keys = world.s3.keys(LOG_BUCKET);
    assert_eq!(notice["Records"][0]["s3"]["object"]["key"], json!(keys[0]));
    let folder = "AWSLogs/o-demo123456/222233334444/CloudTrail/eu-west-1/2026/11/23/";
    assert!(keys.len() == 1 && keys[0].starts_with(folder), "{keys:?}");
    assert_eq!(crate::sandbox::cloudtrail::digest_now(&mut world).len(), 1);
}

#[test]
fn the_audit_can_read_everything_else_everywhere() {
    let mut world = world();
    world.quotas.enabled = false;
    let regions = world.geography.regions(&MANAGEMENT.parse().unwrap(), "aws");
    let enabled = regions.iter().filter(|(region, _)| world.region_enabled(&APAC.parse().unwrap(), region));
    assert_eq!(enabled.count(), 18);
    for (account, _) in ACCOUNTS {
        for region in REGIONS {
            for call in ["kms:ListKeys", "kms:DescribeCustomKeyStores", "config:DescribeConfigRules"] {
                let answer = audit(&mut world, account, region, call, json!({}));
                assert!(answer.is_ok(), "{account} {region} {call} {answer:?}");
            }
            let status = "config:DescribeConfigurationRecorderStatus";
            let status = audit(&mut world, account, region, status, json!({})).unwrap();
            assert_eq!(status["ConfigurationRecordersStatus"][0]["recording"], true);
            let trails = audit(&mut world, account, region, "cloudtrail:DescribeTrails", json!({})).unwrap();
            let trails = trails["trailList"].as_array().unwrap().len();
            assert_eq!(trails, if account == PAYMENTS { 2 } else { 1 }, "{account} {region}");
        }
    }
    let accounts =
        audit(&mut world, MANAGEMENT, "us-east-1", "organizations:ListAccounts", json!({})).unwrap();
    assert_eq!(accounts["Accounts"].as_array().unwrap().len(), 5);
}
