//! The built-in rules find in the estate what [`STANDING`] lists and nothing else, and after the scenario
//! what its incidents name.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use super::*;
use crate::collect::{Collector, Unwatched, sdk_config_for};
use crate::config::{Accounts, AuditPolicy, Config};
use crate::facts::{self, AccountScope, Context, Estate, OwnIdentity};
use crate::jurisdiction::{Assignments, Atlas};
use crate::model::{Outcome, Verdict};
use crate::rules::{RuleSet, builtin_files};
use crate::sandbox::Sandbox;
use crate::sandbox::scenario::{INCIDENTS, Scenario};

fn config() -> Config {
    Config {
        accounts: Accounts {
            organization: true,
            role: Some(ROLE.to_owned()),
            external_id: Some(EXTERNAL_ID.to_owned()),
            ..Accounts::default()
        },
        policy: AuditPolicy {
            approved_regions: REGIONS.map(|name| name.parse().unwrap()).to_vec(),
            classification_tag: Some(CLASSIFICATION_TAG.to_owned()),
            ..AuditPolicy::default()
        },
        residency: residency(),
        ..Config::default()
    }
}

/// Everything that one sweep reads.
async fn sweep(sandbox: &Sandbox) -> Estate {
    let home = "eu-central-1".parse().unwrap();
    let sdk = sdk_config_for(&sandbox.endpoint_url(), MANAGEMENT, "test", &home).await;
    let collector = Collector::new(&config(), sdk, BTreeMap::new(), Arc::new(Unwatched));
    let mut estate = Estate::default();
    let targets = collector.discover().await.unwrap().targets;
    for batch in futures::future::join_all(targets.iter().map(|target| collector.sweep(target))).await {
        estate.apply(&batch);
    }
    estate
}

fn judge(estate: &Estate) -> Vec<Verdict> {
    let (config, atlas) = (config(), Atlas::builtin().unwrap());
    let assignments = Assignments::compile(&config.residency, &atlas).unwrap();
    let ids: BTreeSet<AccountId> = ACCOUNTS.iter().map(|(id, _)| id.parse().unwrap()).collect();
    let accounts = AccountScope { audited: ids.clone(), organization: ids, ..AccountScope::default() };
    let context = Context {
        atlas: &atlas,
        assignments: &assignments,
        policy: &config.policy,
        accounts: &accounts,
        own: &OwnIdentity { role: Some(ROLE.to_owned()), ..OwnIdentity::default() },
        now: crate::clock::now(),
    };
    let keys = estate.keys().map(|key| facts::key(key, estate, &context));
    let sets = estate.key_sets().filter_map(|set| facts::key_set(set, estate, &context));
    let places = estate.regions().map(|place| facts::account_region(place, estate, &context));
    let rules = RuleSet::compile(&builtin_files(), &[]).unwrap();
    keys.chain(sets).chain(places).flat_map(|facts| rules.judge(&facts)).collect()
}

/// The rule, and the end of the subject's id, of each verdict of an outcome.
fn of(verdicts: &[Verdict], outcome: Outcome) -> BTreeSet<(String, String)> {
    let subject = |verdict: &Verdict| verdict.subject.id.rsplit('/').next().unwrap().to_owned();
    let wanted = verdicts.iter().filter(|verdict| verdict.outcome == outcome);
    wanted.map(|verdict| (verdict.rule.clone(), subject(verdict))).collect()
}

fn id_of(world: &World, key: KeyRef) -> String {
    let (account, region) = (key.account.parse().unwrap(), key.region.parse().unwrap());
    world.kms.key_id_of_alias(&account, &region, key.name).unwrap_or_else(|| key.name.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rules_find_what_is_listed_and_nothing_else() {
    let world = demo(Clock::default()).unwrap();
    let mut expected: BTreeSet<(String, String)> =
        STANDING.iter().map(|violation| (violation.rule.to_owned(), id_of(&world, violation.key))).collect();
    let unreadable = STANDING.iter().find(|violation| violation.rule == "key-unreadable").unwrap();
    let vault = id_of(&world, unreadable.key);
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let sandbox = Sandbox::start(listener, world).unwrap();
    let found = judge(&sweep(&sandbox).await);
    assert_eq!(of(&found, Outcome::Fail), expected);
    let unknown = of(&found, Outcome::Unknown);
    assert!(!unknown.is_empty() && unknown.iter().all(|(_, key)| *key == vault), "{unknown:?}");

    let world = sandbox.world();
    for step in Scenario::incidents().steps() {
        step.run(&mut world.lock().unwrap()).unwrap();
    }
    let resolved: BTreeSet<&str> = INCIDENTS.iter().flat_map(|step| step.resolves).copied().collect();
    for step in INCIDENTS {
        let posture = step.violates.iter().filter(|rule| found.iter().any(|other| other.rule == **rule));
        for rule in posture.filter(|rule| !resolved.contains(**rule)) {
            let key = id_of(&world.lock().unwrap(), step.key.unwrap());
            expected.insert(((*rule).to_owned(), key));
        }
    }
    assert_eq!(of(&judge(&sweep(&sandbox).await), Outcome::Fail), expected);
}
