//! The daemon: wires everything and runs until it is cancelled.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use aws_config::SdkConfig;
use chrono::TimeDelta;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::audit::{Auditor, Standards};
use crate::clock;
use crate::cli::setup::region_table;
use crate::collect::{Collector, Unwatched};
use crate::config::Config;
use crate::metrics::{self, Metrics};
use crate::model::OutboxRow;
use crate::notify::{Delivery, Notifier, Outbox, OutboxSettings, SnsPublisher};
use crate::pipeline::{Pipeline, kept, kept_scope};
use crate::rounds::{Ground, Rounds};
use crate::store::{Retention, Store};
use crate::web::{self, Web};

/// How long running work may take to end once shutdown is asked for.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(20);
/// How often time alone is judged: ageing, reminders, ends of exceptions.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(60);

/// How long the ids of events are remembered; an event that comes again later counts again. CloudTrail's event
/// history goes back 90 days, so that even a first look-up of all of it finds what was taken before.
const EVENT_MEMORY: TimeDelta = TimeDelta::days(91);

/// Reads the configuration anew.
pub type Reload = Box<dyn Fn() -> anyhow::Result<Standards> + Send + Sync>;

/// What the daemon is given by the process that it runs in.
pub struct Deps {
    /// The connection to AWS.
    pub sdk: SdkConfig,
    /// Where HTTP is served.
    pub listener: TcpListener,
    /// Reads the configuration anew.
    pub reload: Reload,
}

impl std::fmt::Debug for Deps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Deps").field("listener", &self.listener).finish_non_exhaustive()
    }
}

/// Runs until `shutdown`, then lets running transactions end.
///
/// It is one straight line on purpose: nearly every step needs what earlier ones made.
///
/// # Errors
///
/// The store cannot be opened, or the listener fails.
pub async fn run(
    config: Config,
    standards: Standards,
    deps: Deps,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let address = deps.listener.local_addr()?;
    let metrics = Arc::new(Metrics::new()?);
    let store = Store::connect(&config.store.url).await?;
    let regions = region_table(&standards.atlas);
    let collector = Arc::new(Collector::new(&config, deps.sdk.clone(), regions, Arc::new(Unwatched)));

    let mut auditor = Auditor::new(standards, kept_scope(&store).await?);
    auditor.restore(kept(&store).await?, clock::now());
    let link_base = config.http.external_url.clone().unwrap_or_else(|| format!("http://{address}"));
    let notifier =
        Notifier { topics: config.sns.clone(), alerts: config.alerts.clone(), external_url: Some(link_base) };
    let pipeline = Arc::new(Pipeline::new(auditor, store.clone(), Arc::clone(&metrics), notifier));

    let ready = Arc::new(AtomicBool::new(false));
    let (ground_in, ground) = watch::channel(Ground::default());
    let (reload, reloads) = mpsc::channel(4);
    let tasks = TaskTracker::new();
    let rounds = Rounds {
        collector,
        pipeline: Arc::clone(&pipeline),
        metrics: Arc::clone(&metrics),
        config: Arc::new(config.clone()),
        shutdown: shutdown.clone(),
    };

    let web = Web { pipeline: Arc::clone(&pipeline), metrics: Arc::clone(&metrics), ready: Arc::clone(&ready), reload };
    let server = tasks.spawn(web::serve(web, deps.listener, shutdown.clone()));
    let outbox = Outbox::new(store.clone(), SnsPublisher::new(deps.sdk), OutboxSettings::default());
    tasks.spawn(publish(outbox, Arc::clone(&metrics), shutdown.clone()));
    tasks.spawn(rounds.clone().inventory(ground_in, ready));
    tasks.spawn(rounds.clone().last_usage(ground.clone()));
    tasks.spawn(rounds.lookups(ground));
    tasks.spawn(upkeep(Arc::clone(&pipeline), config.store.retention_days, shutdown.clone()));
    tasks.spawn(reload_on_request(Arc::clone(&pipeline), deps.reload, reloads, Arc::clone(&metrics), shutdown.clone()));
    tracing::info!(%address, store = store.place(), "keyward is running");

    tokio::select! {
        () = shutdown.cancelled() => {}
        served = server => served??,
    }
    shutdown.cancel();
    tasks.close();
    if tokio::time::timeout(SHUTDOWN_GRACE, tasks.wait()).await.is_err() {
        tracing::warn!("some work did not end in time and was given up");
    }
    store.close().await;
    tracing::info!("keyward has stopped");
    Ok(())
}

/// Publishes what the outbox holds.
async fn publish(outbox: Outbox<SnsPublisher>, metrics: Arc<Metrics>, shutdown: CancellationToken) {
    let count = |row: &OutboxRow, delivery: Delivery| {
        metrics.add(&metrics::NOTIFICATIONS, &[&row.reason, delivery.as_str()], 1);
    };
    outbox.run(&shutdown, count).await;
}

/// What time alone brings.
async fn upkeep(pipeline: Arc<Pipeline>, retention_days: u32, shutdown: CancellationToken) {
    let mut ticks = tokio::time::interval(UPKEEP_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = shutdown.cancelled() => return,
        }
        let now = clock::now();
        if let Err(error) = pipeline.tick(now).await {
            tracing::error!(error = format!("{error:#}"), "upkeep failed");
        }
        let retention =
            Retention { history: TimeDelta::days(i64::from(retention_days)), events: EVENT_MEMORY };
        if let Err(error) = pipeline.store().prune(now, retention).await {
            tracing::error!(%error, "old rows could not be removed");
        }
    }
}

type ReloadRequests = mpsc::Receiver<tokio::sync::oneshot::Sender<Result<(), String>>>;

/// `POST /-/reload` and SIGHUP share this one path; a configuration that does not load leaves the old one.
async fn reload_on_request(
    pipeline: Arc<Pipeline>,
    reload: Reload,
    mut requests: ReloadRequests,
    metrics: Arc<Metrics>,
    shutdown: CancellationToken,
) {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut hang_ups) = signal(SignalKind::hangup()) else { return };
    loop {
        let answer = tokio::select! {
            Some(answer) = requests.recv() => Some(answer),
            Some(()) = hang_ups.recv() => None,
            () = shutdown.cancelled() => return,
        };
        let reloaded = match reload() {
            Ok(standards) => pipeline.replace_standards(standards, clock::now()).await,
            Err(error) => Err(error),
        };
        metrics.set(&metrics::CONFIG_RELOAD, &[], if reloaded.is_ok() { 1.0 } else { 0.0 });
        match &reloaded {
            Ok(()) => tracing::info!("rules, residency and exceptions were read anew"),
            Err(error) => tracing::error!(error = format!("{error:#}"), "the old configuration stays in force"),
        }
        if let Some(answer) = answer {
            // Whoever asked may have gone away meanwhile.
            let _ = answer.send(reloaded.map_err(|error| format!("{error:#}")));
        }
    }
}
