//! `keyward demo`: everything on a built-in AWS.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use chrono::TimeDelta;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{Exit, UsageError, run, setup};
use crate::collect;
use crate::config::{self, Accounts, Config, Http, Lookup, SnsTopic, StoreConfig};
use crate::daemon::{self, Deps};
use crate::model::{Level, Region};
use crate::sandbox::clock::Clock;
use crate::sandbox::estate;
use crate::sandbox::scenario::Scenario;
use crate::sandbox::{Sandbox, World};

/// How long the daemon may take for its first sweep before the scenario begins.
const FIRST_SWEEP: Duration = Duration::from_secs(10);
/// How often the demo's trail delivers log files; AWS does so about every five minutes.
const LOG_INTERVAL: TimeDelta = TimeDelta::seconds(10);
/// How often it is looked what was published.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Options of `keyward demo`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where Keyward serves its pages, metrics and API
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9464")]
    listen: SocketAddr,
    /// Where the built-in AWS listens
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4600")]
    sandbox_listen: SocketAddr,
    /// End after so many seconds; without it, the demo goes on until it is interrupted
    #[arg(long = "for", value_name = "SECONDS")]
    for_secs: Option<u64>,
    /// What happens: `incidents`, or `quiet` for ordinary use only
    #[arg(long, value_name = "NAME", default_value = "incidents")]
    scenario: String,
}

pub(super) async fn run(args: Args) -> anyhow::Result<Exit> {
    let scenario = Scenario::named(&args.scenario).ok_or_else(|| {
        UsageError(format!(
            "there is no scenario `{}`; there are {}",
            args.scenario,
            Scenario::NAMES.join(", ")
        ))
    })?;
    let sandbox_listener = listen(args.sandbox_listen, "--sandbox-listen").await?;
    let listener = listen(args.listen, "--listen").await?;
    let mut world = estate::demo(Clock::default())?;
    world.cloudtrail.logs.interval = LOG_INTERVAL;
    let sandbox = Sandbox::start(sandbox_listener, world)?;
    let config = config(args.listen)?;
    let standards = setup::standards(&config)?;
    let home: Region = "eu-central-1".parse()?;
    let sdk = collect::sdk_config_for(&sandbox.endpoint_url(), estate::MANAGEMENT, "test", &home).await;

    let shutdown = CancellationToken::new();
    tokio::spawn(run::cancel_on_signal(shutdown.clone()));
    if let Some(seconds) = args.for_secs {
        let shutdown = shutdown.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            shutdown.cancel();
        });
    }
    say(&where_to_look(listener.local_addr()?, sandbox.addr()));
    let reload_config = config.clone();
    let deps = Deps { sdk, listener, reload: Box::new(move || setup::standards(&reload_config)) };
    let daemon = tokio::spawn(daemon::run(config, standards, deps, shutdown.clone()));
    let story = tokio::spawn(tell(sandbox.world(), scenario, shutdown.clone()));
    let alerts = tokio::spawn(say_alerts(sandbox.world(), shutdown.clone()));

    let ended = daemon.await?;
    shutdown.cancel();
    story.await?;
    alerts.await?;
    sandbox.shutdown().await;
    ended?;
    Ok(Exit::Fine)
}

async fn listen(address: SocketAddr, option: &str) -> anyhow::Result<TcpListener> {
    if !address.ip().is_loopback() {
        return Err(UsageError(format!("{option} {address}: the demo opens loopback ports only")).into());
    }
    TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address}; choose another address with {option}, such as 127.0.0.1:0")
    })
}

/// The configuration of the demo: that of a small organization, on shorter intervals.
fn config(listen: SocketAddr) -> anyhow::Result<Config> {
    let accounts = Accounts {
        organization: true,
        role: Some(estate::ROLE.to_owned()),
        external_id: Some(estate::EXTERNAL_ID.to_owned()),
        ..Accounts::default()
    };
    let regions = estate::REGIONS.iter().map(|region| region.parse()).collect::<Result<Vec<Region>, _>>()?;
    Ok(Config {
        accounts,
        regions: config::Regions { include: regions.clone() },
        policy: config::AuditPolicy {
            approved_regions: regions,
            classification_tag: Some(estate::CLASSIFICATION_TAG.to_owned()),
            ..config::AuditPolicy::default()
        },
        residency: estate::residency(),
        inventory: config::Inventory { interval_secs: 60, ..config::Inventory::default() },
        lookup: Lookup {
            interval_secs: 2,
            overlap_secs: 120,
            first_secs: 300,
            usage: true,
            ..Lookup::default()
        },
        queue: vec![config::Queue::new(estate::LOG_QUEUE_URL)],
        store: StoreConfig { url: "sqlite::memory:".to_owned(), ..StoreConfig::default() },
        http: Http { listen, external_url: None },
        sns: vec![SnsTopic { topic: estate::TOPIC.to_owned(), min_level: Level::Low, fallback: None }],
        ..Config::default()
    })
}

fn where_to_look(keyward: SocketAddr, sandbox: SocketAddr) -> String {
    format!(
        "Keyward audits a made-up organization of {} accounts in {} Regions, on a built-in AWS.\n\n\
         \x20 Pages      http://{keyward}/\n\
         \x20 Report     http://{keyward}/reports/gdpr\n\
         \x20 Metrics    http://{keyward}/metrics\n\
         \x20 Findings   http://{keyward}/api/v1/findings\n\
         \x20 Published  http://{sandbox}/_sandbox/sns\n\
         \x20 AWS        AWS_ENDPOINT_URL=http://{sandbox} AWS_ACCESS_KEY_ID={} AWS_SECRET_ACCESS_KEY=test\n\n\
         Things begin to happen in about {} seconds. Ctrl-C ends it.\n",
        estate::ACCOUNTS.len(),
        estate::REGIONS.len(),
        estate::MANAGEMENT,
        FIRST_SWEEP.as_secs(),
    )
}

/// Lets the scenario unfold, and says what happens.
async fn tell(world: Arc<Mutex<World>>, scenario: Scenario, shutdown: CancellationToken) {
    if shutdown.run_until_cancelled(tokio::time::sleep(FIRST_SWEEP)).await.is_none() {
        return;
    }
    scenario
        .play(world, 1.0, shutdown, |step, result| match result {
            Err(error) => say(&format!("  ({}: {}: {})", step.name, error.code, error.message)),
            Ok(()) if step.violates.is_empty() && step.resolves.is_empty() => {}
            Ok(()) => say(&format!("· {}", step.name)),
        })
        .await;
}

/// Says each alert as it goes out.
async fn say_alerts(world: Arc<Mutex<World>>, shutdown: CancellationToken) {
    let mut said = 0;
    loop {
        let ended = shutdown.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_none();
        let subjects: Vec<String> = {
            let world = world.lock().unwrap_or_else(PoisonError::into_inner);
            world.sns.published().skip(said).filter_map(|message| message.subject.clone()).collect()
        };
        said += subjects.len();
        for subject in subjects {
            say(&format!("  → {subject}"));
        }
        if ended {
            return;
        }
    }
}

/// A line for whoever watches; nobody may be watching.
fn say(line: &str) {
    let _unheard = writeln!(super::stdout(), "{line}");
}
