//! The collector over the wire against the sandbox, with the published quotas in force.

use std::net::Ipv4Addr;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::*;
use crate::model::{AccountId, AccountRegionSnapshot, Gap, KeySnapshot, MultiRegionRole, ReadingResult};
use crate::sandbox::call::Principal;
use crate::sandbox::clock::Clock;
use crate::sandbox::cloudtrail::Delivery;
use crate::sandbox::faults::{Effect, Fault};
use crate::sandbox::identity::Role;
use crate::sandbox::kms::seed::{KeySeed, MemberSeed};
use crate::sandbox::organizations::Organization;
use crate::sandbox::{Actor, Sandbox, World};

const OWN: &str = "111122223333";
const MEMBER: &str = "222233334444";
const CLOSED: &str = "333344445555";

fn account(id: &str) -> AccountId {
    id.parse().unwrap()
}

fn region(name: &str) -> Region {
    name.parse().unwrap()
}

async fn start(world: World) -> Sandbox {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    Sandbox::start(listener, world).unwrap()
}

/// A collector that runs in the sandbox's management account.
async fn collector(sandbox: &Sandbox, config: &str) -> Collector {
    let sdk = sdk_config_for(&sandbox.endpoint_url(), OWN, "test", &region("eu-central-1")).await;
    Collector::new(&toml::from_str(config).unwrap(), sdk, BTreeMap::new(), Arc::new(Unwatched))
}

fn keys(batch: &Batch) -> Vec<&KeySnapshot> {
    let mut keys = Vec::new();
    for snapshot in &batch.snapshots {
        if let Snapshot::Key(key) = snapshot {
            keys.push(key.as_ref());
        }
    }
    keys
}

fn place(batch: &Batch) -> &AccountRegionSnapshot {
    match batch.snapshots.last().unwrap() {
        Snapshot::AccountRegion(place) => place,
        Snapshot::Key(_) => panic!("the Region comes last"),
    }
}

fn root(id: &str) -> Actor {
    Actor::new(&account(id), Principal::Root)
}

/// An organization of three accounts, of which one has no role for the auditor.
fn organization() -> World {
    let mut world = World::new(Clock::default());
    let now = world.now();
    let mut organization = Organization::new("o-acme000000", &account(OWN), "management", now);
    let unit = organization.add_unit("workloads", &organization.root_id());
    organization.add_account(&account(MEMBER), "payments", &unit, now);
    organization.add_account(&account(CLOSED), "closed", &unit, now);
    world.organizations.add(organization);
    let role = Role { external_id: Some("e-1".to_owned()), ..Role::new("KeywardReader", &account(OWN)) };
    world.identity.put_role(&account(MEMBER), role);
    world
}

const ORGANIZATION: &str = "
    accounts = { organization = true, role = 'KeywardReader', external_id = 'e-1' }
    residency = [{ boundary = 'eea', match = { ous = ['ou-x'] } }]
";

#[tokio::test]
async fn an_organization_is_found_with_its_regions_units_and_refusals() {
    let mut world = organization();
    world.geography.enable(&account(MEMBER), &region("me-central-1"));
    let sandbox = start(world).await;
    let found = collector(&sandbox, ORGANIZATION).await.discover().await.unwrap();
    let regions_of = |id: &str| found.targets.iter().filter(|target| target.account == account(id)).count();
    assert!(regions_of(OWN) >= 17);
    assert_eq!(regions_of(MEMBER), regions_of(OWN) + 1, "a Region that was enabled there");
    assert_eq!(regions_of(CLOSED), 0);
    assert_eq!(found.accounts[1].name.as_deref(), Some("payments"));
    assert_eq!(found.ous[&account(MEMBER)].len(), 1);
    assert_eq!(found.organization.known().unwrap().len(), 3);
    let closed = place(&found.batches[0]);
    let gap = Gap { api: "sts:AssumeRole".to_owned(), result: ReadingResult::Denied };
    assert_eq!((closed.account.as_str(), closed.keys.gap()), (CLOSED, Some(&gap)));
}

#[tokio::test]
async fn a_multi_region_estate_is_read_in_the_accounts_own_name() {
    let mut world = organization();
    let (frankfurt, ireland) = (region("eu-central-1"), region("eu-west-1"));
    let tagged = MemberSeed::default().tag("data-class", "personal-eu").alias("alias/eu/app");
    let seed = KeySeed::new(&account(MEMBER), &frankfurt, world.now() - TimeDelta::days(400))
        .multi_region()
        .rotation(180)
        .member(tagged)
        .replica(&ireland, MemberSeed::default().disabled());
    world.kms.plant(&seed).unwrap();
    let sandbox = start(world).await;
    let config = format!("{ORGANIZATION}\nregions.include = ['eu-central-1', 'eu-west-1']");
    let collector = collector(&sandbox, &config).await;
    let found = collector.discover().await.unwrap();
    let target = |region: &Region| {
        found.targets.iter().find(|t| t.account == account(MEMBER) && t.region == *region).unwrap()
    };
    let (primary, replica) =
        tokio::join!(collector.sweep(target(&frankfurt)), collector.sweep(target(&ireland)));
    assert!(primary.complete && replica.complete);
    let (primary, replica) = (keys(&primary)[0].clone(), keys(&replica)[0].clone());
    assert_eq!(primary.arn.key_set(), replica.arn.key_set());
    assert_eq!(primary.tags.known().unwrap()["data-class"], "personal-eu");
    assert_eq!(primary.aliases.known().unwrap(), &["alias/eu/app"]);
    assert_eq!(primary.rotation.known().unwrap().period_days, Some(180));
    let related = replica.metadata.known().unwrap().multi_region.clone().unwrap();
    assert_eq!((related.role, related.primary), (MultiRegionRole::Replica, Some(frankfurt.clone())));
    assert_eq!(replica.metadata.known().unwrap().state, "Disabled");
    assert_eq!(replica.rotation, Observed::NotApplicable);

    // Another replica appears: reading the primary again brings all members.
    let london = region("eu-west-2");
    let input = json!({ "KeyId": primary.arn.to_string(), "ReplicaRegion": london.as_str() });
    let world = sandbox.world();
    world.lock().unwrap().act(&root(MEMBER), &frankfurt, "kms:ReplicateKey", input).unwrap();
    let mut targets = found.targets.clone();
    targets.push(Target { region: london.clone(), ..target(&frankfurt).clone() });
    let batch = collector.reread(&BTreeSet::from([primary.arn.clone()]), &targets).await;
    let read: Vec<_> = keys(&batch).iter().map(|key| key.arn.region.as_str()).collect();
    assert_eq!(read, ["eu-central-1", "eu-west-1", "eu-west-2"]);
}

#[tokio::test]
async fn more_than_a_thousand_keys_take_six_calls_a_key_at_most_and_are_never_throttled() {
    let mut world = World::new(Clock::default());
    let frankfurt = region("eu-central-1");
    let created = world.now() - TimeDelta::days(100);
    for n in 0..1020 {
        let seed = KeySeed::new(&account(OWN), &frankfurt, created);
        let seed = if n % 100 == 0 { seed.aws_managed(&format!("service{n}")) } else { seed.rotation(365) };
        world.kms.plant(&seed).unwrap();
    }
    let sandbox = start(world).await;
    // All of the quota, since ListGrants at half of it would take twenty seconds.
    let config = "inventory.quota_percent = 100\nregions.include = ['eu-central-1']";
    let collector = collector(&sandbox, config).await;
    let found = collector.discover().await.unwrap();
    let batch = collector.sweep(&found.targets[0]).await;
    assert!(batch.complete);
    assert_eq!(keys(&batch).len(), 1020);
    assert_eq!(place(&batch).keys, Observed::Known(1020));
    assert!(batch.readings.iter().all(|reading| reading.result == ReadingResult::Ok), "{:?}", batch.readings);
    let world = sandbox.world();
    let world = world.lock().unwrap();
    assert_eq!(world.tally.throttled(), 0);
    assert_eq!(world.tally.calls("kms", "ListKeys"), 2);
    let a_key = ["DescribeKey", "GetKeyPolicy", "GetKeyRotationStatus", "ListGrants", "ListResourceTags"];
    let calls: u64 = a_key.iter().map(|operation| world.tally.calls("kms", operation)).sum();
    assert_eq!(calls, 1009 * 5 + 11, "five for a rotating customer key, one for an AWS managed key");
}

#[tokio::test]
async fn a_key_that_shuts_the_auditor_out_and_a_region_that_is_down_cost_only_themselves() {
    let mut world = organization();
    let (frankfurt, ireland) = (region("eu-central-1"), region("eu-west-1"));
    let created = world.now() - TimeDelta::days(10);
    let only_admin = json!({ "Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Action": "kms:*", "Resource": "*",
        "Principal": { "AWS": format!("arn:aws:iam::{MEMBER}:role/Admin") },
    }]});
    let shut = MemberSeed::default().policy(&only_admin.to_string());
    world.kms.plant(&KeySeed::new(&account(MEMBER), &frankfurt, created).id("shut").member(shut)).unwrap();
    world.kms.plant(&KeySeed::new(&account(MEMBER), &frankfurt, created).id("open")).unwrap();
    world.faults.add(Fault { region: Some(ireland.clone()), ..Fault::every(Effect::Error(503)) });
    let sandbox = start(world).await;
    let config = format!("{ORGANIZATION}\nregions.include = ['eu-central-1', 'eu-west-1']");
    let collector = collector(&sandbox, &config).await;
    let found = collector.discover().await.unwrap();
    let targets: Vec<_> = found.targets.iter().filter(|t| t.account == account(MEMBER)).collect();
    let (here, there) = tokio::join!(collector.sweep(targets[0]), collector.sweep(targets[1]));
    assert!(here.complete && !there.complete);
    let (open, shut) = (keys(&here)[0], keys(&here)[1]);
    assert!(open.policy.known().is_some());
    for gap in [shut.metadata.gap(), shut.policy.gap(), shut.grants.gap(), shut.tags.gap()] {
        assert_eq!(gap.unwrap().result, ReadingResult::Denied);
    }
    let gap = Gap { api: "kms:ListKeys".to_owned(), result: ReadingResult::Unreachable };
    assert_eq!(place(&there).keys, Observed::Unknown(gap));
    assert!(there.readings.iter().all(|reading| reading.result == ReadingResult::Unreachable));
}

#[derive(Default)]
struct Store {
    cursors: BTreeMap<String, String>,
    seen: BTreeSet<String>,
}

/// One round of look-ups, committed; the names of the events that were new.
async fn look_up(
    collector: &Collector,
    target: &Target,
    store: &mut Store,
    now: DateTime<Utc>,
) -> (LookupReport, Vec<String>) {
    let (sender, mut receiver) = mpsc::channel(1000);
    let seen = |id: &str| store.seen.contains(id);
    let request = LookupRequest { cursors: &store.cursors, seen: &seen, now };
    let report = collector.lookup(target, &request, &sender).await;
    drop(sender);
    let mut names = Vec::new();
    while let Some(batch) = receiver.recv().await {
        names.extend(batch.events.iter().map(|event| event.name().to_owned()));
        store.seen.extend(batch.events.iter().map(|event| event.id().to_owned()));
        store.cursors.extend(batch.cursor.into_iter().map(|cursor| (cursor.key, cursor.value)));
    }
    (report, names)
}

fn act(world: &mut World, action: &str, input: serde_json::Value) -> serde_json::Value {
    world.act(&root(OWN), &region("eu-central-1"), action, input).unwrap()
}

#[tokio::test]
async fn late_and_doubled_events_are_each_found_once() {
    let mut world = World::new(Clock::standing("2026-11-23T12:00:00Z".parse().unwrap()));
    world.quotas.enabled = false;
    world.cloudtrail.delivery =
        Delivery { delay: TimeDelta::minutes(5), jitter: TimeDelta::zero(), duplicates: 1.0 };
    let key = act(&mut world, "kms:CreateKey", json!({}))["KeyMetadata"]["KeyId"].clone();
    act(&mut world, "kms:DisableKey", json!({ "KeyId": key }));
    let now = world.now();
    let sandbox = start(world).await;
    let mut collector = collector(&sandbox, "regions.include = ['eu-central-1']").await;
    collector.clients.hurry();
    let found = collector.discover().await.unwrap();
    let mut store = Store::default();
    let (_, names) = look_up(&collector, &found.targets[0], &mut store, now).await;
    assert!(names.is_empty(), "not delivered yet: {names:?}");
    assert!(!store.cursors.is_empty());
    sandbox.world().lock().unwrap().clock.advance(TimeDelta::minutes(10));
    let now = sandbox.world().lock().unwrap().now();
    let (_, names) = look_up(&collector, &found.targets[0], &mut store, now).await;
    assert_eq!(names, ["DisableKey", "CreateKey"], "the graver one first, each once");
    let (report, names) = look_up(&collector, &found.targets[0], &mut store, now).await;
    assert!(names.is_empty() && report.duplicates >= 2, "{report:?}");
}

#[tokio::test]
async fn a_paced_round_is_never_throttled_and_uses_of_keys_come_last() {
    let mut world = World::new(Clock::default());
    let key = act(&mut world, "kms:CreateKey", json!({}))["KeyMetadata"]["KeyId"].clone();
    for _ in 0..70 {
        act(&mut world, "kms:Encrypt", json!({ "KeyId": key, "Plaintext": "a2V5d2FyZA==" }));
    }
    act(&mut world, "kms:ScheduleKeyDeletion", json!({ "KeyId": key }));
    let sandbox = start(world).await;
    let config = "regions.include = ['eu-central-1']\nlookup = { usage = true, first_secs = 600 }";
    let collector = collector(&sandbox, config).await;
    let found = collector.discover().await.unwrap();
    let now = sandbox.world().lock().unwrap().now() + TimeDelta::seconds(1);
    let (report, names) = look_up(&collector, &found.targets[0], &mut Store::default(), now).await;
    assert_eq!(names[..2], ["ScheduleKeyDeletion", "CreateKey"]);
    assert_eq!(names.iter().filter(|name| *name == "Encrypt").count(), 70);
    assert_eq!((report.failed, report.usage_backlog_secs), (false, Some(0)));
    let world = sandbox.world();
    let world = world.lock().unwrap();
    assert_eq!(world.tally.throttled(), 0);
    assert!(world.tally.calls("cloudtrail", "LookupEvents") > 30);
}
