//! SQL: one transaction per batch.
//!
//! SQLite by default, PostgreSQL by URL; the same statements run on both, and one behavioural suite holds
//! them to it. A batch and everything that follows from it are written together or not at all, and the same
//! batch a second time changes nothing. What is written is described in `migrations/`.

mod commit;
mod connect;
mod correlations;
mod coverage;
mod findings;
mod outbox;
mod prune;
mod seen;
mod snapshots;
mod sql;
#[cfg(test)]
mod suite;
mod usage;
mod verdicts;

use std::sync::Arc;

use sqlx::AnyPool;
use thiserror::Error;
use tokio::sync::Notify;

pub use commit::{Order, Writing, mark_of};
pub use coverage::StoredReading;
pub use findings::{FindingFilter, HistoryEntry};
pub use outbox::{Claimed, LastSaid, OutboxStats};
pub use prune::{Pruned, Retention};
pub use seen::Taken as Seen;
pub use usage::{Heard, KeyUsage, LINES_A_KEY, LastUse};
pub use verdicts::{Judged, RuleOutcome, VerdictCount, VerdictFilter};

/// Why the store could not do what it was asked for.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The URL names no database that Keyward can use.
    #[error("the store's URL has to begin with `sqlite:` or `postgres://`, not with `{0}`")]
    Scheme(String),
    /// The database could not be opened. The place is shown without user and password.
    #[error("the store {place} could not be opened")]
    Open {
        /// Where it is.
        place: String,
        /// What the driver says.
        source: sqlx::Error,
    },
    /// The tables could not be brought up to this version.
    #[error("the store {place} could not be brought up to this version of Keyward")]
    Migrate {
        /// Where it is.
        place: String,
        /// What is in the way.
        source: sqlx::migrate::MigrateError,
    },
    /// A statement failed; nothing of its transaction was kept.
    #[error("the store did not take or give {what}")]
    Query {
        /// What was to be written or read.
        what: &'static str,
        /// What the driver says.
        source: sqlx::Error,
    },
    /// What is stored cannot be understood, as after a downgrade.
    #[error("the store holds {what} that cannot be understood: {problem}")]
    Corrupt {
        /// What was to be read.
        what: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

/// Who may work with a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// This process alone, over one connection.
    Process,
    /// This machine: a file.
    Machine,
    /// Any number of instances: a server.
    Server,
}

/// What the store answers.
pub type Result<T> = std::result::Result<T, StoreError>;

/// The database. Cheap to clone; clones share one pool of connections.
#[derive(Clone)]
pub struct Store {
    pool: AnyPool,
    place: String,
    /// Who may work with it.
    reach: Reach,
    /// Rung when this process has put messages into the outbox.
    bell: Arc<Notify>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Store {
    /// Where the database is, without user and password.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Who may work with it.
    pub fn reach(&self) -> Reach {
        self.reach
    }
}
