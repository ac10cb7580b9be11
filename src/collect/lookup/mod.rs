//! CloudTrail `LookupEvents`, in lanes.
//!
//! CloudTrail answers two requests a second for each account and Region, fifty events each, and takes one
//! attribute a query. So what matters is asked for by name, the gravest first ([`MUTATIONS`]), and the bulk
//! (uses of keys) gets what is left of each interval. Events come late, so each window goes back beyond the
//! last one by a long overlap, and what is known already is dropped by its id. A pass that does not end
//! within its interval goes on in the next one, on the same window: its page token is good for no other.
//! If the process ends meanwhile, the pass begins anew from its cursor; nothing is skipped.

mod lanes;
mod pass;
mod round;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::mpsc;
use tokio::time::Instant;

pub use self::lanes::MUTATIONS;
pub(crate) use self::round::Passes;
use self::round::Round;
use super::clients::RegionClients;
use super::readings::Readings;
use crate::config;
use crate::model::Batch;

/// What a round of look-ups has to know.
pub struct LookupRequest<'a> {
    /// The stored cursors, by key; those of other Regions and accounts do no harm.
    pub cursors: &'a BTreeMap<String, String>,
    /// Whether an event of this id is known already; it is then dropped before it is parsed.
    pub seen: &'a (dyn Fn(&str) -> bool + Send + Sync),
    /// The end of the windows that begin in this round.
    pub now: DateTime<Utc>,
}

impl fmt::Debug for LookupRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LookupRequest").field("now", &self.now).finish_non_exhaustive()
    }
}

/// What came of a round, for the metrics. What was read is in the batches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LookupReport {
    /// New events that were given in batches.
    pub events: u64,
    /// Events that were known already.
    pub duplicates: u64,
    /// Events that could not be read.
    pub malformed: u64,
    /// Whether any request failed.
    pub failed: bool,
    /// Call names whose pages were not all read; they go on in the next round.
    pub unfinished: usize,
    /// How far behind the look-up of uses of keys is, in seconds; none if they are not looked up.
    pub usage_backlog_secs: Option<u64>,
}

/// One round over all lanes. Batches are handed over as they come, gravest first; the last one has the
/// round's readings.
pub(crate) async fn run(
    clients: &RegionClients,
    config: &config::Lookup,
    request: &LookupRequest<'_>,
    passes: &mut Passes,
    batches: &mpsc::Sender<Batch>,
) -> LookupReport {
    let round = Round {
        clients,
        config,
        request,
        batches,
        passes,
        readings: Readings::default(),
        report: LookupReport::default(),
        failures: 0,
        deadline: Instant::now() + Duration::from_secs(config.interval_secs),
    };
    round.run().await
}
