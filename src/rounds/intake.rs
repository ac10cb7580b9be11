//! What queues bring becomes parts and commits, and what it asks for is read.

use std::collections::BTreeSet;
use std::io::Read;
use std::sync::Arc;

use anyhow::Context as _;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Rounds;
use crate::clock;
use crate::collect::Target;
use crate::collect::queue::Intake;
use crate::harvest::Part;
use crate::model::{KeyArn, Reading, SourceKind};
use crate::pipeline::{Parcel, Taken};
use crate::records::Limits;

/// The most that a log file may inflate to. CloudTrail's own are 50 MB at most, and inflate to some 2 GB.
const MAX_INFLATED: u64 = 8 << 30;

/// How many places of one input that cannot be read are logged; all are counted.
const PROBLEMS_LOGGED: usize = 20;

/// Takes in what queues bring.
#[derive(Debug, Clone)]
pub struct QueueIntake {
    rounds: Rounds,
    targets: watch::Receiver<Vec<Target>>,
}

impl QueueIntake {
    /// Takes in for `rounds`; what events change is read again where it is among the targets.
    pub fn new(rounds: Rounds, targets: watch::Receiver<Vec<Target>>) -> Self {
        Self { rounds, targets }
    }

    /// A key that was made since the last sweep is read first: an event about a key that is not known cannot be
    /// judged, and does not come again.
    async fn read_unknown_keys(&self, parts: &[Part]) {
        let unknown: BTreeSet<KeyArn> = {
            let auditor = self.rounds.pipeline.auditor();
            let of = |part: &Part| auditor.unknown_keys(&part.events, clock::now());
            parts.iter().flat_map(of).filter(|key| auditor.may_become_known(key)).collect()
        };
        self.rounds.read_again(unknown, &self.targets).await;
    }

    /// Reads what events have changed, beside what comes next: the messages need not wait for it.
    fn follow(&self, taken: Taken) {
        if taken.changed_keys.is_empty() && taken.changed_trails.is_empty() {
            return;
        }
        let intake = self.clone();
        self.rounds.tasks.spawn(async move {
            let shutdown = intake.rounds.shutdown.clone();
            let reading = async {
                let mut changed = taken.changed_keys;
                for _ in 0..SETTLING {
                    changed = intake.rounds.read_again(changed, &intake.targets).await;
                    if changed.is_empty() {
                        break;
                    }
                    tokio::time::sleep(SETTLING_PAUSE).await;
                }
                intake.rounds.read_trails_again(&taken.changed_trails, &intake.targets).await;
            };
            // What is cut short here, the next sweep reads.
            let _cut_short = shutdown.run_until_cancelled(reading).await;
        });
    }
}

/// What was read of an input. If reading it panicked, its message is left to the queue's redrive policy, from where it
/// comes back once the mistake is mended.
async fn read_of(reading: JoinHandle<Vec<Part>>) -> Result<Vec<Part>, String> {
    reading.await.map_err(|error| {
        format!("the events cannot be read because of a mistake in Keyward, please report it: {error}")
    })
}

/// How often a key is read again that is on its way from one state to another; the next sweep reads it anyway.
const SETTLING: u32 = 5;
/// How long it is given each time.
const SETTLING_PAUSE: std::time::Duration = std::time::Duration::from_secs(5);

impl Intake for QueueIntake {
    type Part = Vec<Part>;

    async fn harvest(&self, mark: String, object: Box<dyn Read + Send>) -> Result<Vec<Part>, String> {
        let pipeline = Arc::clone(&self.rounds.pipeline);
        let limits = Limits { max_inflated: MAX_INFLATED, ..Limits::default() };
        let reading = tokio::task::spawn_blocking(move || {
            let mut parts = Vec::new();
            // An object that breaks off is fetched again; whoever fetched it knows.
            let _broken_off = pipeline.harvest(&mark, object, limits, |part| parts.push(part));
            for problem in parts.iter().flat_map(|part| &part.counts.problems).take(PROBLEMS_LOGGED) {
                let place = problem.place;
                tracing::warn!(
                    input = mark,
                    record = place.index,
                    offset = place.offset,
                    problem = %problem.problem,
                    "a part of a log file cannot be read"
                );
            }
            parts
        });
        read_of(reading).await
    }

    async fn harvest_records(&self, mark: String, records: Vec<Value>) -> Result<Vec<Part>, String> {
        let pipeline = Arc::clone(&self.rounds.pipeline);
        read_of(tokio::task::spawn_blocking(move || pipeline.harvest_values(&mark, &records))).await
    }

    async fn commit(
        &self,
        source: SourceKind,
        parts: Vec<Vec<Part>>,
        readings: Vec<Reading>,
    ) -> anyhow::Result<()> {
        let parts: Vec<Part> = parts.into_iter().flatten().collect();
        self.read_unknown_keys(&parts).await;
        let parcel = Parcel { source, parts, readings, read_at: clock::now() };
        let pipeline = Arc::clone(&self.rounds.pipeline);
        // As a task of its own: a consumer that ends meanwhile does not cut a transaction short.
        let task = self.rounds.tasks.spawn(async move { pipeline.take_parcel(parcel).await });
        let taken = task.await.context("judging it panicked")??;
        self.follow(taken);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_input_whose_reading_panics_is_not_taken_in() {
        let reading = tokio::task::spawn_blocking(|| panic!("a mistake"));
        let reason = read_of(reading).await.unwrap_err();
        assert!(reason.contains("please report it") && reason.contains("a mistake"), "{reason}");
    }
}
