use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, json};

use super::Lab;
use crate::sandbox::kms::Origin;
use crate::sandbox::kms::seed::{GrantSeed, KeySeed, MemberSeed, SeedError};

fn now() -> DateTime<Utc> {
    "2026-11-23T12:00:00Z".parse().unwrap()
}

fn days_ago(days: i64) -> DateTime<Utc> {
    now() - TimeDelta::days(days)
}

#[test]
fn a_seeded_set_is_as_one_that_was_made_and_leaves_no_records() {
    let mut lab = Lab::new();
    let grant = GrantSeed {
        grantee: "rds.amazonaws.com".to_owned(),
        retiring: None,
        operations: vec!["Decrypt".to_owned()],
        constraints: Map::new(),
    };
    let primary = MemberSeed::default()
        .description("orders")
        .tag("team", "a")
        .alias("alias/orders")
        .grant(grant)
        .last_use("Decrypt", days_ago(3));
    let seed = KeySeed::new(&lab.account, &lab.region(), days_ago(500))
        .rotation(365)
        .rotated(days_ago(135), false)
        .member(primary)
        .replica(&"eu-west-1".parse().unwrap(), MemberSeed::default().disabled());
    let key = lab.world.kms.plant(&seed).unwrap();
    assert!(lab.records("eu-central-1").is_empty());
    let metadata = lab.describe("alias/orders");
    assert_eq!(metadata["KeyId"], key.as_str());
    assert_eq!(metadata["MultiRegionConfiguration"]["ReplicaKeys"][0]["Region"], "eu-west-1");
    assert_eq!(lab.within("eu-west-1", |lab| lab.state_of(&key)), "Disabled");
    let status = lab.ok("GetKeyRotationStatus", json!({ "KeyId": key }));
    assert_eq!(status["NextRotationDate"], (days_ago(135) + TimeDelta::days(365)).timestamp());
    assert_eq!(lab.ok("ListKeyRotations", json!({ "KeyId": key }))["Rotations"].as_array().unwrap().len(), 1);
    assert_eq!(
        lab.ok("ListGrants", json!({ "KeyId": key }))["Grants"][0]["GranteeServicePrincipal"],
        "rds.amazonaws.com"
    );
    assert_eq!(lab.ok("GetKeyLastUsage", json!({ "KeyId": key }))["KeyLastUsage"]["Operation"], "Decrypt");
    lab.pass_days(230);
    assert_eq!(lab.ok("ListKeyRotations", json!({ "KeyId": key }))["Rotations"].as_array().unwrap().len(), 2);
}

#[test]
fn seeds_come_in_every_state() {
    let mut lab = Lab::new();
    let seed = |member: MemberSeed| {
        KeySeed::new(&crate::sandbox::testing::account(), &"eu-central-1".parse().unwrap(), days_ago(100))
            .member(member)
    };
    let deleted = seed(MemberSeed::default().pending_deletion(now() + TimeDelta::days(5)));
    let waiting = seed(MemberSeed::default().pending_replica_deletion(7))
        .replica(&"eu-west-1".parse().unwrap(), MemberSeed::default());
    let expiring =
        seed(MemberSeed::default().material_expires(now() + TimeDelta::days(5))).origin(Origin::External);
    let empty = seed(MemberSeed::default().without_material()).origin(Origin::External);
    let managed = seed(MemberSeed::default()).aws_managed("s3");
    for (seed, before, after) in [
        (deleted, "PendingDeletion", None),
        (waiting, "PendingReplicaDeletion", Some("PendingReplicaDeletion")),
        (expiring, "Enabled", Some("PendingImport")),
        (empty, "PendingImport", Some("PendingImport")),
        (managed, "Enabled", Some("Enabled")),
    ] {
        let key = lab.world.kms.plant(&seed).unwrap();
        assert_eq!(lab.state_of(&key), before);
        lab.pass_days(5);
        match after {
            Some(state) => assert_eq!(lab.state_of(&key), state),
            None => assert_eq!(lab.code("DescribeKey", json!({ "KeyId": key })), "NotFoundException"),
        }
        lab.world.clock.reset();
    }
}

#[test]
fn what_aws_could_not_have_is_not_seeded() {
    let mut lab = Lab::new();
    let seed = KeySeed::new(&lab.account, &lab.region(), now());
    assert_eq!(lab.world.kms.plant(&seed.clone().spec("DES", None)), Err(SeedError::Spec("DES".to_owned())));
    let usage = lab.world.kms.plant(&seed.clone().spec("HMAC_256", Some("SIGN_VERIFY")));
    assert_eq!(usage, Err(SeedError::Usage { spec: "HMAC_256", usage: "SIGN_VERIFY".to_owned() }));
    let policy = lab.world.kms.plant(&seed.member(MemberSeed::default().policy("{")));
    assert!(matches!(policy, Err(SeedError::Policy { .. })));
    assert_eq!(lab.ok("ListKeys", json!({}))["Keys"], json!([]));
}

#[test]
fn the_other_services_see_the_keys_of_a_region() {
    let mut lab = Lab::new();
    let seed = KeySeed::new(&lab.account, &lab.region(), days_ago(10))
        .rotation(90)
        .replica(&"eu-west-1".parse().unwrap(), MemberSeed::default());
    let key = lab.world.kms.plant(&seed).unwrap();
    let views = lab.world.kms.views(&lab.account, &"eu-west-1".parse().unwrap());
    assert_eq!(views.len(), 1);
    assert!(
        views[0].replica && views[0].rotation_enabled && views[0].id == key && views[0].state == "Enabled"
    );
    assert!(lab.world.kms.views(&lab.account, &"us-east-1".parse().unwrap()).is_empty());
}

#[test]
fn ten_thousand_keys_are_planted_and_read_quickly() {
    let mut lab = Lab::new();
    let seed = KeySeed::new(&lab.account, &lab.region(), days_ago(100)).rotation(365);
    let keys: Vec<String> = (0..10_000).map(|_| lab.world.kms.plant(&seed).unwrap()).collect();
    let began = std::time::Instant::now();
    for key in &keys {
        lab.describe(key);
    }
    assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
}
