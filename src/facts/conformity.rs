//! Holds the documents that are built to the catalogue: each fact is declared with its type, and each declared
//! fact is built by some document.

use std::collections::{BTreeMap, BTreeSet};

use chrono::DateTime;
use serde_json::json;

use super::catalogue::{CATALOGUE, FactType, find};
use super::fixtures::{DEFAULT_POLICY, World, at, gap, key, key_set, key_with, region_of};
use super::trail::tests::{check as log_check, running};
use super::{Estate, account_region, event, key as key_facts, key_set as key_set_facts, trail};
use crate::model::{
    ConfigPosture, EventRecord, Fact, Facts, Gap, Grant, KeyMetadata, KeyRotation, KeySnapshot, LogIssueKind,
    Observed, ReadingResult, RotationKind, Selectors, SubjectKind, TrailStatus,
};

const SINGLE: &str = "arn:aws:kms:eu-central-1:111122223333:key/single";

fn world() -> World {
    let mut world = World::assigned(
        "[[residency]]\nboundary = 'eea-single-region'\nhome = ['DE']\nmatch = { aliases = '^eu' }",
    );
    world.policy.classification_tag = Some("class".to_owned());
    world.policy.approved_regions = vec!["eu-central-1".parse().unwrap()];
    world
}

fn exposed_policy() -> String {
    json!({ "Statement": [
        {"Effect": "Allow", "Principal": "*", "Action": "kms:*", "Resource": "*"},
        {"Effect": "Allow", "Principal": {"AWS": ["999999999999", "AROAJQABLZS4A3QDU576Q"]}, "Action": "kms:*",
         "Resource": "*"},
        {"Effect": "Allow", "Principal": {"AWS": "111122223333"}, "Action": "kms:ReplicateKey", "Resource": "*",
         "Condition": {"StringEquals": {"kms:ReplicaRegion": "eu-west-1"}}}
    ]})
    .to_string()
}

/// A key of which everything is known that can be.
fn rich(arn: &str, change: impl Fn(&mut KeyMetadata)) -> KeySnapshot {
    let mut key = key_with(arn, |metadata| {
        metadata.origin = "EXTERNAL".to_owned();
        metadata.valid_to = Some(at("2026-03-05T00:00:00Z"));
        metadata.deletion_date = Some(at("2026-03-08T00:00:00Z"));
        change(metadata);
    });
    key.policy = Observed::Known(exposed_policy());
    let rotation = KeyRotation {
        material_id: None,
        at: Some(at("2026-01-01T00:00:00Z")),
        kind: Some(RotationKind::OnDemand),
    };
    key.rotations = Observed::Known(vec![rotation]);
    key.aliases = Observed::Known(vec!["alias/eu-app".to_owned()]);
    key.tags = Observed::Known(BTreeMap::from([("team".to_owned(), "x".to_owned())]));
    key.grants = Observed::Known(vec![Grant {
        id: "g".to_owned(),
        name: None,
        created: None,
        grantee: Some("arn:aws:iam::999999999999:role/x".to_owned()),
        retiring: None,
        issuing_account: None,
        operations: Vec::new(),
        constrained: false,
    }]);
    key.last_usage = gap("kms:GetKeyLastUsage");
    key
}

/// A key of which nothing is known but its ARN.
fn blind(arn: &str) -> KeySnapshot {
    let mut key = key(arn);
    key.metadata = gap("kms:DescribeKey");
    key.policy = gap("kms:GetKeyPolicy");
    key.rotation = gap("kms:GetKeyRotationStatus");
    key.rotations = gap("kms:ListKeyRotations");
    key.aliases = gap("kms:ListAliases");
    key.grants = gap("kms:ListGrants");
    key.tags = gap("kms:ListResourceTags");
    key
}

fn documents_about_keys(world: &World) -> Vec<Facts> {
    let mut drifted = key_set(&["eu-west-1", "us-east-1", "eu-west-2"]);
    drifted.pop();
    drifted[0].aliases = Observed::Known(vec!["alias/eu-app".to_owned()]);
    drifted[0].tags = Observed::Known(BTreeMap::from([("team".to_owned(), "x".to_owned())]));
    drifted[0].policy = Observed::Known(exposed_policy());
    if let Observed::Known(metadata) = &mut drifted[0].metadata {
        metadata.state = "Disabled".to_owned();
    }
    let estates = [
        vec![rich(SINGLE, |_| {})],
        vec![blind(SINGLE)],
        vec![key(SINGLE)],
        vec![blind("arn:aws:kms:eu-central-1:111122223333:key/mrk-2")],
        key_set(&["eu-central-1", "us-east-1"]),
        drifted,
    ];
    let mut documents = Vec::new();
    for keys in estates {
        let mut estate = Estate::default();
        for key in keys {
            estate.put_key(key);
        }
        documents.extend(estate.keys().map(|key| key_facts(key, &estate, &world.context())));
        documents.extend(estate.key_sets().filter_map(|set| key_set_facts(set, &estate, &world.context())));
    }
    documents
}

fn documents_about_places(world: &World) -> Vec<Facts> {
    let mut stopped = running("stopped");
    stopped.status = Observed::Known(TrailStatus {
        delivery_error: Some("AccessDenied".to_owned()),
        ..TrailStatus::new(false)
    });
    let selectors = Selectors { kms_writes: false, kms_reads: false, kms_excluded: true };
    stopped.selectors = Observed::Known(selectors);
    let mut unreadable = running("unreadable");
    unreadable.status = gap("cloudtrail:GetTrailStatus");
    unreadable.selectors = gap("cloudtrail:GetEventSelectors");
    let mut full = region_of("eu-central-1");
    let found = [LogIssueKind::LogMissing, LogIssueKind::LogAltered, LogIssueKind::DigestMissing]
        .into_iter()
        .chain([LogIssueKind::ChainGap, LogIssueKind::Unread]);
    let found: Vec<_> = found.map(|kind| (kind, "s3://b/k", "s3:GetObject denied")).collect();
    full.log_checks = BTreeMap::from([(running("all").arn, log_check(&found))]);
    full.trails = Observed::Known(vec![running("all"), stopped.clone()]);
    full.gaps = vec![Gap { api: "kms:ListAliases".to_owned(), result: ReadingResult::Denied }];
    full.config = Observed::Known(ConfigPosture {
        recorder: true,
        recording: true,
        records_kms: true,
        last_status: None,
        delivering: Some(true),
    });
    let mut dark = region_of("eu-west-1");
    dark.keys = gap("kms:ListKeys");
    dark.trails = gap("cloudtrail:DescribeTrails");
    dark.config = gap("config:DescribeConfigurationRecorders");
    let estate = Estate::default();
    let mut documents: Vec<Facts> =
        [&full, &dark].map(|place| account_region(place, &estate, &world.context())).into();
    for seen in [running("all"), stopped, unreadable] {
        documents.push(trail(&seen, &full, &world.context()));
    }
    documents
}

fn documents_about_events(world: &World) -> Vec<Facts> {
    let arn = "arn:aws:kms:eu-central-1:111122223333:key/mrk-1";
    let kms = "kms.amazonaws.com";
    let records = [
        (kms, "Decrypt", json!({"keyId": arn})),
        (kms, "Decrypt", json!({"keyId": "alias/nobody-knows"})),
        (
            kms,
            "ReplicateKey",
            json!({"keyId": arn, "replicaRegion": "us-east-1", "policy": exposed_policy()}),
        ),
        (kms, "UpdatePrimaryRegion", json!({"keyId": arn, "primaryRegion": "us-east-1"})),
        (kms, "PutKeyPolicy", json!({"keyId": arn, "policy": DEFAULT_POLICY})),
        (kms, "PutKeyPolicy", json!({"keyId": arn})),
        (
            kms,
            "CreateGrant",
            json!({"keyId": arn, "granteePrincipal": "arn:aws:iam::999999999999:role/x", "operations": ["Decrypt"]}),
        ),
        (
            "cloudtrail.amazonaws.com",
            "PutEventSelectors",
            json!({"trailName": "t", "eventSelectors": [{"includeManagementEvents": false}]}),
        ),
    ];
    let mut estate = Estate::default();
    for key in key_set(&["eu-central-1", "us-east-1"]) {
        estate.put_key(key);
    }
    let records = records.into_iter().map(|(source, name, request)| {
        EventRecord::new(json!({"eventID": "e", "eventName": name, "eventSource": source, "readOnly": false,
            "eventTime": "2026-03-01T11:00:00Z", "awsRegion": "eu-central-1", "requestParameters": request,
            "recipientAccountId": "111122223333", "resources": [], "sourceIPAddress": "192.0.2.1",
            "userIdentity": {"type": "AWSAccount", "accountId": "999999999999", "principalId": "AROAX"}}))
        .unwrap()
    });
    records.map(|record| event(&record, &estate, &world.context())).collect()
}

fn has_type(fact: &Fact, fact_type: FactType) -> bool {
    match (fact, fact_type) {
        // An unknown may stand for any type, and CloudTrail writes null where it has nothing to say.
        (Fact::Unknown(_), _)
        | (_, FactType::Open)
        | (Fact::Bool(_), FactType::Bool)
        | (Fact::Int(_), FactType::Int)
        | (Fact::Text(_), FactType::Text) => true,
        (Fact::Text(text), FactType::Time) => DateTime::parse_from_rfc3339(text).is_ok(),
        (Fact::List(items), FactType::Texts) => {
            !items.is_empty() && items.iter().all(|item| matches!(item, Fact::Text(_)))
        }
        _ => false,
    }
}

fn check(kind: SubjectKind, path: &str, fact: &Fact, seen: &mut BTreeSet<(SubjectKind, String)>) {
    match (find(kind, path), fact) {
        (Some(spec), fact) => {
            assert!(
                has_type(fact, spec.fact_type),
                "{kind} {path} is declared {:?}, and is {fact:?}",
                spec.fact_type
            );
            if !matches!(fact, Fact::Unknown(_)) {
                seen.insert((kind, spec.path.to_owned()));
            }
        }
        (None, Fact::Map(map)) => {
            for (name, below) in map {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                check(kind, &path, below, seen);
            }
        }
        (None, fact) => panic!("{kind} {path} is not declared, and is {fact:?}"),
    }
}

#[test]
fn every_document_says_what_the_catalogue_declares_and_no_more() {
    let world = world();
    let mut seen = BTreeSet::new();
    let documents = [
        documents_about_keys(&world),
        documents_about_keys(&World::new()),
        documents_about_places(&world),
        documents_about_events(&world),
    ];
    for facts in documents.iter().flatten() {
        check(facts.subject.kind, "", &facts.root, &mut seen);
    }
    let own_of_cloudtrail = |path: &str| {
        let first = path.split('.').next().unwrap();
        !["event", "boundary", "target", "new_policy", "grant", "trail_change"].contains(&first)
    };
    let unbuilt: Vec<_> = CATALOGUE
        .iter()
        .filter(|spec| spec.kind != SubjectKind::Event || !own_of_cloudtrail(spec.path))
        .filter(|spec| !seen.contains(&(spec.kind, spec.path.to_owned())))
        .map(|spec| (spec.kind, spec.path))
        .collect();
    assert!(unbuilt.is_empty(), "declared, and in no document with a value: {unbuilt:?}");
}
