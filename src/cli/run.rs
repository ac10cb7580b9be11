//! `keyward run`: the daemon.

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use anyhow::Context as _;

use super::Exit;
use super::setup::{self, ConfigArgs};
use crate::collect;
use crate::daemon::{self, Deps};

/// Options of `keyward run`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) async fn run(args: Args) -> anyhow::Result<Exit> {
    let config = args.config.read()?;
    let standards = setup::standards(&config)?;
    let listener = TcpListener::bind(config.http.listen)
        .await
        .with_context(|| format!("cannot listen on {} (http.listen)", config.http.listen))?;
    let shutdown = CancellationToken::new();
    tokio::spawn(cancel_on_signal(shutdown.clone()));
    let reload = args.config.clone();
    let deps = Deps {
        sdk: collect::sdk_config().await,
        listener,
        reload: Box::new(move || {
            let config = reload.read()?;
            setup::standards_without_mistakes(&config)
        }),
    };
    daemon::run(config, standards, deps, shutdown).await?;
    Ok(Exit::Fine)
}

/// Cancels on the first SIGINT or SIGTERM.
pub(super) async fn cancel_on_signal(shutdown: CancellationToken) {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
        () = shutdown.cancelled() => return,
    }
    tracing::info!("shutting down");
    shutdown.cancel();
}
