//! Opening the database.

use std::sync::Arc;
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{AnyConnection, ConnectOptions, Connection as _, Executor};
use url::Url;

use super::{Reach, Result, Store, StoreError};

/// How long a writer waits for another one. A batch takes far less; whoever waits longer is told so.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a server may take to be there; a database that starts beside Keyward needs a moment.
const SERVER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a server bears with a writer that says nothing. It keeps all others from writing, and that its machine
/// is gone would show after hours only. A batch pauses for as long as it takes to judge it, or everything where another
/// instance has changed the estate.
const SILENCE: &str = "2min";
/// Enough for the pages, the metrics and the outbox beside the one writer.
const CONNECTIONS: u32 = 8;

/// What a URL asks for.
enum Place {
    /// A private database that ends with its one connection.
    Memory,
    /// An SQLite file.
    File(String),
    /// PostgreSQL.
    Server,
}

impl Store {
    /// Opens the database of a URL and brings its tables up to this version: `sqlite:PATH` (made if it is
    /// not there), `sqlite::memory:`, `postgres://USER:PASSWORD@HOST/DATABASE`.
    ///
    /// # Errors
    /// When the URL is of another kind, the database cannot be opened, or it was made by a newer version.
    pub async fn connect(url: &str) -> Result<Self> {
        sqlx::any::install_default_drivers();
        let place = parse(url)?;
        let shown = shown(url, &place);
        let open = |source| StoreError::Open { place: shown.clone(), source };
        let target = match &place {
            Place::Memory => "sqlite::memory:".to_owned(),
            Place::File(path) => format!("sqlite:{path}?mode=rwc"),
            Place::Server => url.to_owned(),
        };
        let options: AnyConnectOptions = target.parse().map_err(open)?;
        // A statement of five hundred rows is no log line; whoever calls the store logs what failed.
        let options = options.disable_statement_logging();
        if let Place::File(_) = &place {
            // A pool would try a file that is no database again and again, for as long as a writer may take.
            try_sqlite(&options).await.map_err(open)?;
        }
        let pool = pool_options(&place).connect_with(options).await.map_err(open)?;
        sqlx::migrate!("./migrations")
            .run(&pool)
            .await
            .map_err(|source| StoreError::Migrate { place: shown.clone(), source })?;
        let reach = match place {
            Place::Memory => Reach::Process,
            Place::File(_) => Reach::Machine,
            Place::Server => Reach::Server,
        };
        Ok(Self { pool, place: shown, reach, bell: Arc::default() })
    }

    /// Waits for what is under way and closes every connection.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

fn parse(url: &str) -> Result<Place> {
    if let Some(path) = url.strip_prefix("sqlite:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        // What follows `?` are options of the driver; Keyward sets its own.
        let path = path.split_once('?').map_or(path, |(path, _)| path);
        return Ok(if path == ":memory:" { Place::Memory } else { Place::File(path.to_owned()) });
    }
    if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        return Ok(Place::Server);
    }
    let scheme = url.split_once(':').map_or("", |(scheme, _)| scheme);
    Err(StoreError::Scheme(scheme.to_owned()))
}

/// The place as it may be shown: without user, password and options.
fn shown(url: &str, place: &Place) -> String {
    match place {
        Place::Memory => "in memory".to_owned(),
        Place::File(path) => format!("sqlite:{path}"),
        Place::Server => {
            let parsed = Url::parse(url).ok();
            let host = parsed.as_ref().and_then(Url::host_str).unwrap_or("localhost");
            let port = parsed.as_ref().and_then(Url::port).map_or(String::new(), |port| format!(":{port}"));
            let database = parsed.as_ref().map_or("", Url::path);
            format!("postgres://{host}{port}{database}")
        }
    }
}

fn pool_options(place: &Place) -> AnyPoolOptions {
    let options = AnyPoolOptions::new().acquire_timeout(BUSY_TIMEOUT);
    match place {
        // A second connection would see another database, and a closed one would take this one with it.
        Place::Memory => options.min_connections(1).max_connections(1).idle_timeout(None).max_lifetime(None),
        Place::File(_) => options
            .max_connections(CONNECTIONS)
            .after_connect(|connection, _| Box::pin(async move { prepare_sqlite(connection).await })),
        Place::Server => options
            .max_connections(CONNECTIONS)
            .acquire_timeout(SERVER_TIMEOUT)
            .after_connect(|connection, _| Box::pin(async move { prepare_server(connection).await })),
    }
}

/// Opens a file once, which fails at once where it is no database.
async fn try_sqlite(options: &AnyConnectOptions) -> std::result::Result<(), sqlx::Error> {
    let mut connection = AnyConnection::connect_with(options).await?;
    prepare_sqlite(&mut connection).await?;
    connection.close().await
}

/// With WAL readers never wait for the writer. `NORMAL` may lose the last transactions when the power fails,
/// each one whole and with its cursor, so that they are read again; a killed process loses none.
async fn prepare_sqlite(connection: &mut AnyConnection) -> std::result::Result<(), sqlx::Error> {
    for statement in
        ["PRAGMA busy_timeout = 30000", "PRAGMA journal_mode = WAL", "PRAGMA synchronous = NORMAL"]
    {
        connection.execute(statement).await?;
    }
    Ok(())
}

/// Bounds how long a transaction may be silent, unless the server or the URL does.
async fn prepare_server(connection: &mut AnyConnection) -> std::result::Result<(), sqlx::Error> {
    sqlx::query(
        "SELECT set_config(name, $1, false) FROM pg_settings
         WHERE name = 'idle_in_transaction_session_timeout' AND setting = '0'",
    )
    .bind(SILENCE)
    .fetch_all(connection)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_ever_shown() {
        for url in [
            "postgres://keyward:hunter2@db.example.com:5433/audit?sslmode=require&password=hunter2",
            "postgres://keyward:hunter2@/audit?host=/run/postgresql",
        ] {
            let place = parse(url).unwrap();
            let shown = shown(url, &place);
            assert!(!shown.contains("hunter2") && !shown.contains("keyward:"), "{shown}");
            assert!(
                shown.starts_with("postgres://") && shown.ends_with("/audit") || shown.ends_with("localhost")
            );
        }
    }

    #[tokio::test]
    async fn an_unusable_url_is_refused_with_the_remedy() {
        let error = Store::connect("mysql://root:hunter2@db/audit").await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "the store's URL has to begin with `sqlite:` or `postgres://`, not with `mysql`"
        );
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_named_without_its_password() {
        let error = Store::connect("postgres://keyward:hunter2@127.0.0.1:1/audit").await.unwrap_err();
        let mut text = format!("{error} {error:?}");
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            text.push_str(&cause.to_string());
            source = cause.source();
        }
        assert!(text.contains("postgres://127.0.0.1:1/audit"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
}
