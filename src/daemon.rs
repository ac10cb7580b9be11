//! The daemon: wires everything and runs until it is cancelled.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context as _;
use aws_config::SdkConfig;
use chrono::TimeDelta;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::audit::{Auditor, Standards};
use crate::cli::setup::region_table;
use crate::clock;
use crate::collect::{Collector, Unwatched, queue};
use crate::config::Config;
use crate::metrics::{self, Metrics};
use crate::model::OutboxRow;
use crate::notify::{Delivery, Notifier, Outbox, OutboxSettings, SnsPublisher};
use crate::pipeline::{Pipeline, kept, kept_scope};
use crate::rounds::{QueueIntake, Rounds};
use crate::store::{Retention, Store};
use crate::web::{self, Web};

/// How long running work may take to end once shutdown is asked for.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(20);
/// How often time alone is judged: ageing, reminders, ends of exceptions.
const UPKEEP_INTERVAL: Duration = Duration::from_mins(1);

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
    let link_base = config.http.external_url.clone().or_else(|| Some(format!("http://{address}")));
    let notifier =
        Notifier { topics: config.sns.clone(), alerts: config.alerts.clone(), external_url: link_base };
    let pipeline = Arc::new(Pipeline::new(auditor, store.clone(), Arc::clone(&metrics), notifier));

    let (swept_in, swept) = watch::channel(false);
    let (targets_in, targets) = watch::channel(Vec::new());
    let (reload, reloads) = mpsc::channel(4);
    let tasks = TaskTracker::new();
    let rounds = Rounds {
        collector: Arc::clone(&collector),
        pipeline: Arc::clone(&pipeline),
        metrics: Arc::clone(&metrics),
        config: Arc::new(config.clone()),
        tasks: tasks.clone(),
        answering: Arc::new(Mutex::new(BTreeMap::new())),
        shutdown: shutdown.clone(),
    };

    let mut work = Work { tasks: &tasks, running: FuturesUnordered::new() };
    let web =
        Web { pipeline: Arc::clone(&pipeline), metrics: Arc::clone(&metrics), swept: swept.clone(), reload };
    let server = web::serve(web, deps.listener, shutdown.clone());
    work.start("the web server", async { server.await.context("the web server failed") });
    let outbox = Outbox::new(store.clone(), SnsPublisher::new(deps.sdk.clone()), OutboxSettings::default());
    work.start("the outbox", ok(publish(outbox, Arc::clone(&metrics), shutdown.clone())));
    work.start("the inventory", ok(rounds.clone().inventory(targets_in, swept_in)));
    work.start("the sampling of last use", ok(rounds.clone().last_usage(targets.clone(), swept.clone())));
    work.start("the verification of logs", ok(rounds.clone().verify_logs(targets.clone(), swept)));
    let intake = Arc::new(QueueIntake::new(rounds.clone(), targets.clone()));
    let told = queue::Told { requests: Arc::clone(collector.requests()), metrics: Arc::clone(&metrics) };
    work.start("the queues", queue::consume(config.queue.clone(), deps.sdk, intake, told, shutdown.clone()));
    work.start("the look-ups", ok(rounds.lookups(targets)));
    let history = TimeDelta::days(i64::from(config.store.retention_days));
    let events = TimeDelta::days(i64::from(config.store.event_memory_days));
    let retention = Retention { history, events, usage: history };
    work.start("the upkeep", ok(upkeep(Arc::clone(&pipeline), retention, shutdown.clone())));
    work.start(
        "the reload",
        ok(reload_on_request(pipeline, deps.reload, reloads, metrics, shutdown.clone())),
    );
    tracing::info!(%address, store = store.place(), "keyward is running");

    let ended = work.until(&shutdown).await;
    shutdown.cancel();
    tasks.close();
    if tokio::time::timeout(SHUTDOWN_GRACE, tasks.wait()).await.is_err() {
        tracing::warn!("some work did not end in time and was given up");
    }
    store.close().await;
    tracing::info!("keyward has stopped");
    ended
}

/// The parts of the daemon, each a task of its own.
struct Work<'a> {
    tasks: &'a TaskTracker,
    running: FuturesUnordered<BoxFuture<'static, anyhow::Result<()>>>,
}

impl Work<'_> {
    fn start(&mut self, name: &'static str, part: impl Future<Output = anyhow::Result<()>> + Send + 'static) {
        let task = self.tasks.spawn(part);
        self.running
            .push(Box::pin(async move { task.await.with_context(|| format!("{name} ended unexpectedly"))? }));
    }

    /// Until shutdown, or until a part failed: a daemon of which a part is dead must not look alive. A part
    /// that has nothing to do may end before.
    async fn until(mut self, shutdown: &CancellationToken) -> anyhow::Result<()> {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                Some(ended) = self.running.next() => ended?,
                else => return Ok(()),
            }
        }
    }
}

async fn ok(part: impl Future<Output = ()>) -> anyhow::Result<()> {
    part.await;
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
async fn upkeep(pipeline: Arc<Pipeline>, retention: Retention, shutdown: CancellationToken) {
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
        if let Err(error) = pipeline.prune(now, retention).await {
            tracing::error!(error = format!("{error:#}"), "old rows could not be removed");
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
            Err(error) => {
                tracing::error!(error = format!("{error:#}"), "the old configuration stays in force");
            }
        }
        if let Some(answer) = answer {
            // Whoever asked may have gone away meanwhile.
            drop(answer.send(reloaded.map_err(|error| format!("{error:#}"))));
        }
    }
}
