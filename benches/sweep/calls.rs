//! Which calls a sweep makes, as the built-in AWS counts them.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use keyward::audit::Standards;
use keyward::collect::{self, Unwatched};
use keyward::config::{Accounts, Config, Regions};
use keyward::facts::OwnIdentity;
use keyward::findings::Exceptions;
use keyward::jurisdiction::{Assignments, Atlas};
use keyward::model::{AccountId, Outcome, ReadingResult};
use keyward::rules::{RuleSet, builtin_files};
use keyward::sandbox::Sandbox;
use keyward::scan;
use serde_json::Value;
use tokio::net::TcpListener;

use crate::estate::{self, REGIONS, ROLE};
use crate::limits::Limits;

const ACCOUNTS: [&str; 5] = ["111122223333", "222233334444", "333344445555", "444455556666", "555566667777"];
/// Keys in each Region of each account.
const KEYS: usize = 1000;
/// Calls that are made once for each key.
const PER_KEY: [&str; 6] = [
    "DescribeKey",
    "GetKeyPolicy",
    "GetKeyRotationStatus",
    "ListGrants",
    "ListKeyRotations",
    "ListResourceTags",
];

/// Sweeps the estate, prints which calls went out, and holds them to their limits.
pub(crate) async fn measure(limits: &mut Limits) -> anyhow::Result<()> {
    let accounts = ACCOUNTS.iter().map(|id| id.parse()).collect::<Result<Vec<AccountId>, _>>()?;
    let sandbox = Sandbox::start(TcpListener::bind("127.0.0.1:0").await?, estate::world(&accounts, KEYS)?)?;
    let home = "eu-central-1".parse()?;
    let sdk = collect::sdk_config_for(&sandbox.endpoint_url(), ACCOUNTS[0], "test", &home).await;
    let config = config(&accounts)?;
    let started = Instant::now();
    let (auditor, readings) = scan::once(&config, standards(&config)?, sdk, Arc::new(Unwatched)).await?;
    println!("  took {:.0} s, half of the quotas used", started.elapsed().as_secs_f64());

    let keys = auditor.estate().keys().count();
    let places = accounts.len() * REGIONS.len();
    anyhow::ensure!(keys == KEYS * places, "{keys} keys were read, not {}", KEYS * places);
    let unread = readings.iter().filter(|reading| reading.result != ReadingResult::Ok).count();
    let judgements = auditor.judged().flat_map(|judged| &judged.judgements);
    let unknown: Vec<_> = judgements.filter(|judgement| judgement.outcome == Outcome::Unknown).collect();
    if let Some(first) = unknown.first() {
        let rule = auditor.standards().rules.rules().get(first.rule).map(|rule| rule.name.as_str());
        println!("  {} verdicts are unknown; the first is {rule:?}: {:?}", unknown.len(), first.reasons);
    }
    let calls = Calls::of(&sandbox);
    sandbox.shutdown().await;
    calls.print(keys, places);
    limits.hold("KMS calls a key, each", calls.per_key(keys, places), 6.0);
    limits.hold("KMS calls a Region, each", calls.per_region(keys, places), 3.0);
    let allowed = 6.0 * count(keys) + 3.0 * count(places);
    limits.hold("calls to all services, in all", calls.all(keys, places), allowed);
    limits.hold("throttled calls", calls.throttled, 0.0);
    limits.hold("readings that are not ok", count(unread), 0.0);
    limits.hold("verdicts that are unknown", count(unknown.len()), 0.0);
    Ok(())
}

fn config(accounts: &[AccountId]) -> anyhow::Result<Config> {
    let include = REGIONS.iter().map(|region| region.parse()).collect::<Result<_, _>>()?;
    Ok(Config {
        accounts: Accounts { fixed: accounts.to_vec(), role: Some(ROLE.to_owned()), ..Accounts::default() },
        regions: Regions { include },
        ..Config::default()
    })
}

fn standards(config: &Config) -> anyhow::Result<Standards> {
    let atlas = Arc::new(Atlas::builtin()?);
    Ok(Standards {
        assignments: Assignments::compile(&config.residency, &atlas)?,
        atlas,
        policy: config.policy.clone(),
        rules: Arc::new(RuleSet::compile(&builtin_files(), &[])?),
        exceptions: Exceptions::default(),
        own: OwnIdentity {
            role: config.accounts.role.clone(),
            session: collect::SESSION_NAME.to_owned(),
            user_agent: collect::USER_AGENT_MARK.to_owned(),
        },
    })
}

/// How often which operation was called.
struct Calls {
    by_operation: BTreeMap<(String, String), f64>,
    throttled: f64,
}

impl Calls {
    fn of(sandbox: &Sandbox) -> Self {
        let world = sandbox.world();
        let tally = world.lock().unwrap_or_else(PoisonError::into_inner).tally.to_json();
        let mut by_operation = BTreeMap::new();
        for row in tally["calls"].as_array().into_iter().flatten() {
            let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
            *by_operation.entry((text("service"), text("operation"))).or_default() += number(&row["count"]);
        }
        Self { by_operation, throttled: number(&tally["throttled"]) }
    }

    /// Each operation's calls, and how many of them were further pages of a list.
    fn print(&self, keys: usize, places: usize) {
        println!("  {:<52} {:>8} {:>10} {:>10}", "call", "calls", "once each", "for pages");
        for ((service, operation), calls) in &self.by_operation {
            let pages = pages(service, operation, *calls, keys, places);
            let name = format!("{service}:{operation}");
            println!("  {name:<52} {calls:>8} {:>10} {pages:>10}", calls - pages);
        }
    }

    /// KMS calls a key, without the further pages of lists.
    fn per_key(&self, keys: usize, places: usize) -> f64 {
        self.without_pages(
            |service, operation| service == "kms" && PER_KEY.contains(&operation),
            keys,
            places,
        ) / count(keys)
    }

    /// KMS calls a Region, without the further pages of lists. Whatever is not called for each key counts here.
    fn per_region(&self, keys: usize, places: usize) -> f64 {
        self.without_pages(
            |service, operation| service == "kms" && !PER_KEY.contains(&operation),
            keys,
            places,
        ) / count(places)
    }

    /// All calls to all services, without the further pages of lists.
    fn all(&self, keys: usize, places: usize) -> f64 {
        self.without_pages(|_, _| true, keys, places)
    }

    fn without_pages(&self, counts: impl Fn(&str, &str) -> bool, keys: usize, places: usize) -> f64 {
        let counted = self.by_operation.iter().filter(|((service, operation), _)| counts(service, operation));
        counted
            .map(|((service, operation), calls)| calls - pages(service, operation, *calls, keys, places))
            .sum()
    }
}

/// How many calls of an operation asked for a further page. Only KMS's lists come in pages here; what else is
/// called more often than once is called too often.
fn pages(service: &str, operation: &str, calls: f64, keys: usize, places: usize) -> f64 {
    if service != "kms" || !operation.starts_with("List") {
        return 0.0;
    }
    let once = count(if PER_KEY.contains(&operation) { keys } else { places });
    (calls - once).max(0.0)
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(f64::NAN)
}

fn count(number: usize) -> f64 {
    u32::try_from(number).map_or(f64::INFINITY, f64::from)
}
