//! How a store has to behave, on each database that it can be.

mod correlations;
mod estate;
mod events;
mod judgements;
mod outbox;
mod transactions;

use std::collections::BTreeSet;
use std::io::Write;
use std::task::Poll;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::Connection;

use super::*;
use crate::findings::fixtures::{at, key, key_subject, rules, verdict};
use crate::findings::{Exceptions, settle, vanish};
use crate::ledger::{Block, SeenCache};
use crate::model::{
    AccountRegionSnapshot, Batch, Changes, Cursor, FindingState, KeySnapshot, LastUsage, Level, Observed,
    OutboxRow, Outcome, Reading, ReadingResult, Snapshot, SourceKind, SubjectKind, SubjectVerdicts,
    Transition, Usage, UsageCount,
};

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Commit {
    Fresh,
    Repeated,
}

impl Store {
    /// Writes a batch and what follows from it, as the pipeline does.
    async fn commit(&self, batch: &Batch, changes: &Changes) -> Result<Commit> {
        let mut writing = self.begin().await?;
        if !writing.mark(&mark_of(batch), batch.source, batch.read_at).await? {
            return Ok(Commit::Repeated);
        }
        write(&mut writing, batch, changes).await?;
        writing.commit().await?;
        Ok(Commit::Fresh)
    }

    /// Does something to the database behind the store's back, so that a test can make it fail.
    pub(crate) async fn meddle(&self, sql: &str) {
        sql::statement(sql.to_owned()).execute(&self.pool).await.unwrap();
    }

    /// Adds to the usage ledger, and takes one event of a block, as a batch would.
    pub(crate) async fn use_keys(&self, uses: &[(Usage, UsageCount)], block: Block) {
        let mut transaction = self.begin().await.unwrap().into_transaction();
        usage::write(&mut transaction, uses, LINES_A_KEY).await.unwrap();
        let taken = seen::take(&mut transaction, &mut SeenCache::default(), &[(block, vec![1])], at(0)).await;
        transaction.commit().await.unwrap();
        assert_eq!(taken.unwrap().duplicates.len(), 1);
    }
}

impl Store {
    /// Removes what is old.
    async fn prune(&self, now: DateTime<Utc>, retention: Retention) -> Result<Pruned> {
        let mut writing = self.begin().await?;
        let pruned = writing.prune(now, retention).await?;
        writing.commit().await?;
        Ok(pruned)
    }

    /// Writes what follows from time alone.
    pub(crate) async fn apply(&self, changes: &Changes, now: DateTime<Utc>) -> Result<()> {
        let mut writing = self.begin().await?;
        writing.changes(changes, now).await?;
        writing.commit().await
    }
}

/// Everything of a batch but its mark.
async fn write(writing: &mut Writing, batch: &Batch, changes: &Changes) -> Result<()> {
    writing.snapshots(&batch.snapshots).await?;
    writing.changes(changes, batch.read_at).await?;
    writing.coverage(&batch.readings, batch.cursor.as_ref()).await
}

/// A database that one test has for itself.
struct Bench {
    url: String,
    _folder: Option<tempfile::TempDir>,
}

impl Bench {
    fn memory() -> Self {
        Self { url: "sqlite::memory:".to_owned(), _folder: None }
    }

    fn file() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("keyward.db").display());
        Self { url, _folder: Some(folder) }
    }

    /// A schema of its own on the server that `KEYWARD_TEST_POSTGRES` names; none if it names none.
    async fn postgres(test: &str) -> Option<Self> {
        #[expect(clippy::disallowed_methods, reason = "the one place where a test asks for its server")]
        let Ok(server) = std::env::var("KEYWARD_TEST_POSTGRES") else {
            static SAID: std::sync::Once = std::sync::Once::new();
            // Straight to stderr, past the capturing of the test runner.
            SAID.call_once(|| {
                let notice = b"LEFT OUT: the store on PostgreSQL, since KEYWARD_TEST_POSTGRES is not set\n";
                std::io::stderr().write_all(notice).unwrap();
            });
            return None;
        };
        sqlx::any::install_default_drivers();
        let mut admin = sqlx::AnyConnection::connect(&server).await.unwrap();
        for sql in [format!("DROP SCHEMA IF EXISTS {test} CASCADE"), format!("CREATE SCHEMA {test}")] {
            sql::statement(sql).execute(&mut admin).await.unwrap();
        }
        admin.close().await.unwrap();
        let separator = if server.contains('?') { '&' } else { '?' };
        Some(Self { url: format!("{server}{separator}options[search_path]={test}"), _folder: None })
    }

    async fn store(&self) -> Store {
        Store::connect(&self.url).await.unwrap()
    }
}

/// Makes each behaviour a test on every database; what needs several connections cannot run in memory.
macro_rules! on_every_database {
    ($($module:ident { everywhere: [$($name:ident),* $(,)?], several: [$($several:ident),* $(,)?] })*) => {
        mod memory {
            $($(#[tokio::test]
            async fn $name() {
                super::$module::$name(&super::Bench::memory()).await;
            })*)*
        }
        mod file {
            $($(#[tokio::test]
            async fn $name() {
                super::$module::$name(&super::Bench::file()).await;
            })*
            $(#[tokio::test]
            async fn $several() {
                super::$module::$several(&super::Bench::file()).await;
            })*)*
        }
        mod postgres {
            $($(#[tokio::test]
            async fn $name() {
                if let Some(bench) = super::Bench::postgres(stringify!($name)).await {
                    super::$module::$name(&bench).await;
                }
            })*
            $(#[tokio::test]
            async fn $several() {
                if let Some(bench) = super::Bench::postgres(stringify!($several)).await {
                    super::$module::$several(&bench).await;
                }
            })*)*
        }
    };
}

on_every_database! {
    transactions {
        everywhere: [
            what_was_committed_is_there,
            a_batch_twice_changes_nothing,
            batches_of_two_regions_may_share_a_name,
            what_is_old_is_pruned_and_nothing_else,
        ],
        several: [
            a_dropped_transaction_writes_all_or_nothing,
            everything_is_there_after_a_restart,
            of_two_writers_of_one_batch_one_writes,
            many_writers_do_not_fail,
        ]
    }
    correlations {
        everywhere: [
            what_is_remembered_comes_back_and_expires,
            groups_are_forgotten_from_the_oldest_on,
        ],
        several: [
            what_is_remembered_outlives_a_restart,
        ]
    }
    estate {
        everywhere: [
            snapshots_keep_the_time_in_which_they_held,
            usage_and_deliveries_are_no_change,
            an_older_snapshot_does_not_replace_a_newer_one,
            a_key_that_vanished_is_gone_now_and_there_in_the_past,
            readings_know_since_when,
        ],
        several: [
            twenty_thousand_keys_are_affordable,
        ]
    }
    events {
        everywhere: [
            an_event_is_new_once_in_its_block,
            what_was_not_committed_was_not_seen,
            many_runs_become_few_and_nothing_is_lost,
            a_block_that_was_forgotten_begins_anew_for_everybody,
            totals_are_true_in_any_order_and_batches,
            a_set_is_asked_for_in_all_its_regions,
            old_lines_are_pruned_and_the_last_use_stays,
        ],
        several: [
            of_many_writers_one_has_each_event,
        ]
    }
    judgements {
        everywhere: [
            verdicts_are_replaced_and_counted,
            verdicts_come_in_pages,
            findings_are_kept_with_their_history,
            findings_are_filtered,
        ],
        several: []
    }
    outbox {
        everywhere: [
            a_message_is_put_into_the_outbox_once,
            messages_about_one_thing_go_out_in_order,
            a_claimed_message_comes_back_when_the_claim_ends,
            a_dead_message_is_kept_and_blocks_nothing,
            what_was_last_said_is_known,
        ],
        several: [
            no_message_is_claimed_twice,
        ]
    }
}

fn batch(id: &str, read_at: DateTime<Utc>) -> Batch {
    Batch {
        source: SourceKind::Inventory,
        id: id.to_owned(),
        account: Some("111122223333".parse().unwrap()),
        region: Some("eu-central-1".parse().unwrap()),
        read_at,
        snapshots: Vec::new(),
        events: Vec::new(),
        readings: Vec::new(),
        cursor: None,
        complete: true,
    }
}

fn snapshot(number: u32, policy: &str, read_at: DateTime<Utc>) -> KeySnapshot {
    KeySnapshot {
        arn: key(number),
        read_at,
        metadata: Observed::NotApplicable,
        policy: Observed::Known(policy.to_owned()),
        rotation: Observed::NotApplicable,
        rotations: Observed::NotApplicable,
        aliases: Observed::Known(vec!["alias/app".to_owned()]),
        grants: Observed::Known(Vec::new()),
        tags: Observed::Known([("data-class".to_owned(), "personal-eu".to_owned())].into()),
        last_usage: Observed::NotApplicable,
    }
}

fn region(read_at: DateTime<Utc>) -> AccountRegionSnapshot {
    AccountRegionSnapshot {
        account: "111122223333".parse().unwrap(),
        region: "eu-central-1".parse().unwrap(),
        partition: "aws".to_owned(),
        read_at,
        keys: Observed::Known(3),
        custom_key_stores: Observed::NotApplicable,
        trails: Observed::Known(Vec::new()),
        config: Observed::NotApplicable,
        opinions: Observed::NotApplicable,
        log_checks: std::collections::BTreeMap::new(),
        gaps: Vec::new(),
    }
}

fn with_keys(id: &str, read_at: DateTime<Utc>, keys: impl IntoIterator<Item = KeySnapshot>) -> Batch {
    let snapshots = keys.into_iter().map(|key| Snapshot::Key(Box::new(key))).collect();
    Batch { snapshots, ..batch(id, read_at) }
}

fn reading(api: &str, result: ReadingResult, seconds: i64) -> Reading {
    Reading {
        account: "111122223333".parse().unwrap(),
        region: Some("eu-central-1".parse().unwrap()),
        api: api.to_owned(),
        result,
        at: at(seconds),
        attempts: 4,
        failed: u64::from(result != ReadingResult::Ok),
        detail: None,
    }
}

fn message(id: &str, finding: &str, reason: &str) -> OutboxRow {
    OutboxRow {
        id: id.to_owned(),
        topic: "arn:aws:sns:eu-central-1:111122223333:alerts.fifo".to_owned(),
        fallback: None,
        finding: Some(finding.to_owned()),
        reason: reason.to_owned(),
        subject: "a subject".to_owned(),
        document: "{}".to_owned(),
        text: "a text".to_owned(),
        attributes: [("level".to_owned(), "high".to_owned())].into(),
    }
}

fn judged(number: u32, outcomes: &[(&str, Outcome)], seconds: i64) -> Changes {
    let subject = key_subject(number);
    let verdicts: Vec<_> = outcomes
        .iter()
        .map(|&(rule, outcome)| crate::model::Verdict { subject: subject.clone(), ..verdict(rule, outcome) })
        .collect();
    let rules = rules(&[("r1", Level::High), ("r2", Level::Low)]);
    let findings = settle(&verdicts, &rules, &[], &Exceptions::default(), at(seconds));
    Changes { verdicts: vec![SubjectVerdicts { subject, verdicts }], findings, ..Changes::default() }
}

/// A batch with one of everything, and what follows from it.
fn everything() -> (Batch, Changes) {
    let mut batch = with_keys("sweep-1", at(0), [snapshot(1, "p", at(0)), snapshot(2, "p", at(0))]);
    batch.snapshots.push(Snapshot::AccountRegion(Box::new(region(at(0)))));
    batch.readings.push(reading("kms:ListKeys", ReadingResult::Ok, 0));
    batch.cursor = Some(Cursor { key: "lookup/x".to_owned(), value: "7".to_owned() });
    let mut changes = judged(1, &[("r1", Outcome::Fail), ("r2", Outcome::Pass)], 0);
    changes.outbox.push(message("m1", &changes.findings[0].finding.id, "opened"));
    (batch, changes)
}

/// Everything that the store would tell, to compare before and after.
async fn whole(store: &Store) -> String {
    let said = store.last_said(&["f".to_owned(), "f1".to_owned()]).await.unwrap();
    format!(
        "{:?}\n{:?}\n{:?}\n{:?}\n{:?}\n{:?}\n{said:?}",
        store.load_estate().await.unwrap(),
        store.verdict_rows(&VerdictFilter::default()).await.unwrap(),
        store.findings(&FindingFilter::default()).await.unwrap(),
        store.readings().await.unwrap(),
        store.outbox_stats(at(100)).await.unwrap(),
        store.cursor("lookup/x").await.unwrap(),
    )
}

fn saying(messages: &[OutboxRow]) -> Changes {
    Changes { outbox: messages.to_vec(), ..Changes::default() }
}
