//! Which events were seen: sorted runs of fingerprints, a few bytes each, written with the batch that brought them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use sqlx::any::AnyRow;
use sqlx::{Any, Row, Transaction};

use super::sql::{About, column, count, micros, placeholders, rows_of_placeholders, statement, uncount};
use super::{Result, StoreError};
use crate::ledger::{self, Block, SeenCache};

const WHAT: &str = "seen events";
/// How many blocks are read or written by one statement. They are in memory together, so they are few; a log file has
/// two.
const BLOCKS: usize = 16;
/// How many runs a block may have before the smaller ones are merged.
const RUNS: usize = 16;

/// What became of a batch's fingerprints in a transaction that is not committed yet.
#[derive(Debug)]
#[must_use = "the cache has to be told after the commit"]
pub struct Taken {
    /// For each block that was given, in that order, the places of the fingerprints that were seen before.
    pub duplicates: Vec<Vec<usize>>,
    run: i64,
    fresh: Vec<(Block, Vec<u64>)>,
}

impl Taken {
    /// Tells the cache what was written. To be called once the transaction is committed, and not if it failed.
    pub fn committed(self, cache: &mut SeenCache) {
        for (block, prints) in &self.fresh {
            // A block that was forgotten meanwhile is read again as a whole.
            if cache.last_run(block).is_some() {
                cache.learn(block, self.run, prints);
            }
        }
        cache.trim();
    }
}

/// Tells which fingerprints of a batch were seen, and writes the others. Each block comes once, its fingerprints
/// strictly ascending.
pub(super) async fn take(
    transaction: &mut Transaction<'_, Any>,
    cache: &mut SeenCache,
    blocks: &[(Block, Vec<u64>)],
    at: DateTime<Utc>,
) -> Result<Taken> {
    let mut duplicates = Vec::with_capacity(blocks.len());
    let mut fresh = Vec::new();
    for chunk in blocks.chunks(BLOCKS) {
        cache.trim();
        let wanted: Vec<_> = chunk.iter().map(|(block, _)| (block, cache.last_run(block))).collect();
        for (block, run, prints) in runs_after(transaction, &wanted).await? {
            cache.learn(&block, run, &prints);
        }
        for (block, prints) in chunk {
            let places = cache.duplicates(block, prints);
            let new = without(prints, &places);
            if cache.last_run(block).is_none() {
                cache.learn(block, 0, &[]);
            }
            if !new.is_empty() {
                fresh.push((block.clone(), new));
            }
            duplicates.push(places);
        }
    }
    let run = write_runs(transaction, &fresh, at).await?;
    Ok(Taken { duplicates, run, fresh })
}

fn without(prints: &[u64], places: &[usize]) -> Vec<u64> {
    let mut known = places.iter().peekable();
    let is_new = |(place, _): &(usize, &u64)| known.next_if_eq(&place).is_none();
    prints.iter().enumerate().filter(is_new).map(|(_, print)| *print).collect()
}

/// The runs of each block that were written after the one that was read last, in the order of block and run.
pub(super) async fn runs_after(
    transaction: &mut Transaction<'_, Any>,
    wanted: &[(&Block, Option<i64>)],
) -> Result<Vec<(Block, i64, Vec<u64>)>> {
    let mut runs = Vec::new();
    for chunk in wanted.chunks(BLOCKS) {
        let mut query = statement(format!(
            "WITH wanted (account, region, hour, run) AS (VALUES {})
             SELECT seen.account, seen.region, seen.hour, seen.run, seen.prints FROM wanted JOIN seen
             ON seen.account = wanted.account AND seen.region = wanted.region AND seen.hour = wanted.hour
             AND seen.run > wanted.run ORDER BY seen.account, seen.region, seen.hour, seen.run",
            rows_of_placeholders(chunk.len(), 4)
        ));
        for (block, run) in chunk {
            query = query
                .bind(block.account.clone())
                .bind(block.region.clone())
                .bind(block.hour)
                .bind(run.unwrap_or(-1));
        }
        let mut rows = query.fetch(&mut **transaction);
        while let Some(row) = rows.try_next().await.about(WHAT)? {
            runs.push((block(&row)?, column(&row, 3, WHAT)?, prints(&row, 4)?));
        }
    }
    Ok(runs)
}

/// The block that the first three columns name.
fn block(row: &AnyRow) -> Result<Block> {
    Ok(Block { account: column(row, 0, WHAT)?, region: column(row, 1, WHAT)?, hour: column(row, 2, WHAT)? })
}

fn prints(row: &AnyRow, index: usize) -> Result<Vec<u64>> {
    let bytes: &[u8] = row.try_get(index).about(WHAT)?;
    ledger::decode(bytes).map_err(|error| StoreError::Corrupt { what: WHAT, problem: error.to_string() })
}

/// Writes one run for each block, and that its hour was heard of; gives the number of the runs. To be called once in
/// a transaction: its turn is the number.
pub(super) async fn write_runs(
    transaction: &mut Transaction<'_, Any>,
    blocks: &[(Block, Vec<u64>)],
    at: DateTime<Utc>,
) -> Result<i64> {
    let run: i64 = sqlx::query_scalar("SELECT turn FROM writer WHERE id = 1")
        .fetch_one(&mut **transaction)
        .await
        .about(WHAT)?;
    for chunk in blocks.chunks(BLOCKS) {
        insert(transaction, chunk, run, at).await?;
        hear(transaction, chunk).await?;
        for block in crowded(transaction, chunk).await? {
            compact(transaction, &block, at).await?;
        }
    }
    Ok(run)
}

async fn insert(
    transaction: &mut Transaction<'_, Any>,
    blocks: &[(Block, Vec<u64>)],
    run: i64,
    at: DateTime<Utc>,
) -> Result<()> {
    let mut query = statement(format!(
        "INSERT INTO seen (account, region, hour, run, count, written_at, prints) VALUES {}",
        rows_of_placeholders(blocks.len(), 7)
    ));
    for (block, prints) in blocks {
        query = query
            .bind(block.account.clone())
            .bind(block.region.clone())
            .bind(block.hour)
            .bind(run)
            .bind(count(prints.len() as u64))
            .bind(micros(at))
            .bind(ledger::encode(prints));
    }
    query.execute(&mut **transaction).await.about(WHAT)?;
    Ok(())
}

/// Marks the hours of the blocks as heard of.
async fn hear(transaction: &mut Transaction<'_, Any>, blocks: &[(Block, Vec<u64>)]) -> Result<()> {
    let mut days: BTreeMap<(&str, &str, i64), (i64, u64)> = BTreeMap::new();
    for (block, prints) in blocks {
        let day = (block.account.as_str(), block.region.as_str(), block.hour.div_euclid(24));
        let (hours, records) = days.entry(day).or_default();
        *hours |= 1 << block.hour.rem_euclid(24);
        *records += prints.len() as u64;
    }
    let mut query = statement(format!(
        "INSERT INTO heard (account, region, day, hours, records) VALUES {}
         ON CONFLICT (account, region, day) DO UPDATE SET hours = heard.hours | excluded.hours,
         records = heard.records + excluded.records",
        rows_of_placeholders(days.len(), 5)
    ));
    for ((account, region, day), (hours, records)) in days {
        query =
            query.bind(account.to_owned()).bind(region.to_owned()).bind(day).bind(hours).bind(count(records));
    }
    query.execute(&mut **transaction).await.about(WHAT)?;
    Ok(())
}

/// Which of the blocks have too many runs.
async fn crowded(transaction: &mut Transaction<'_, Any>, blocks: &[(Block, Vec<u64>)]) -> Result<Vec<Block>> {
    let mut query = statement(format!(
        "WITH wanted (account, region, hour) AS (VALUES {})
         SELECT seen.account, seen.region, seen.hour FROM wanted JOIN seen
         ON seen.account = wanted.account AND seen.region = wanted.region AND seen.hour = wanted.hour
         GROUP BY seen.account, seen.region, seen.hour HAVING COUNT(*) > {RUNS}",
        rows_of_placeholders(blocks.len(), 3)
    ));
    for (block, _) in blocks {
        query = query.bind(block.account.clone()).bind(block.region.clone()).bind(block.hour);
    }
    let rows = query.fetch_all(&mut **transaction).await.about(WHAT)?;
    rows.iter().map(block).collect()
}

/// The rows of one block.
const OF_BLOCK: &str = "FROM seen WHERE account = $1 AND region = $2 AND hour = $3";

/// Merges the smaller runs of a block into one. The merged run has the highest number of those that it replaces:
/// whoever has read up to there has read all of them, and whoever has not reads it.
async fn compact(transaction: &mut Transaction<'_, Any>, block: &Block, at: DateTime<Utc>) -> Result<()> {
    let named = |query: super::sql::Statement| {
        query.bind(block.account.clone()).bind(block.region.clone()).bind(block.hour)
    };
    let rows = named(statement(format!("SELECT run, count {OF_BLOCK}")))
        .fetch_all(&mut **transaction)
        .await
        .about(WHAT)?;
    let sizes: Vec<(u64, i64)> = rows
        .iter()
        .map(|row| Ok((uncount(column(row, 1, WHAT)?), column(row, 0, WHAT)?)))
        .collect::<Result<_>>()?;
    let runs = smaller(sizes);
    let of_runs = format!("{OF_BLOCK} AND run IN ({})", placeholders(4, runs.len()));
    let bound = |query| runs.iter().fold(named(query), |query, run| query.bind(*run));
    let mut merged = Vec::new();
    let mut rows =
        bound(statement(format!("SELECT prints {of_runs} ORDER BY count"))).fetch(&mut **transaction);
    while let Some(row) = rows.try_next().await.about(WHAT)? {
        ledger::merge(&mut merged, &prints(&row, 0)?);
    }
    drop(rows);
    bound(statement(format!("DELETE {of_runs}"))).execute(&mut **transaction).await.about(WHAT)?;
    let run = runs.iter().copied().max().unwrap_or_default();
    insert(transaction, &[(block.clone(), merged)], run, at).await
}

/// The runs to merge: from the smallest on, as long as the next is not larger than twice all before it. So a print
/// is written again about as often as its block has doubled.
fn smaller(mut sizes: Vec<(u64, i64)>) -> Vec<i64> {
    sizes.sort_unstable();
    let mut sum = 0;
    let mut runs = Vec::new();
    for (size, run) in sizes {
        if runs.len() >= 2 && size > 2 * sum {
            break;
        }
        sum += size;
        runs.push(run);
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_runs_are_left_alone_until_there_is_as_much_to_merge() {
        let equal: Vec<(u64, i64)> = (1..=17).map(|run| (25_000, run)).collect();
        assert_eq!(smaller(equal.clone()).len(), 17);
        let beside_a_large_one = [equal.clone(), vec![(1_000_000, 0)]].concat();
        assert_eq!(smaller(beside_a_large_one), (1..=17).collect::<Vec<i64>>());
        let beside_a_middling_one = [equal, vec![(700_000, 0)]].concat();
        assert_eq!(smaller(beside_a_middling_one).len(), 18);
        let each_far_larger: Vec<(u64, i64)> = (0..17).map(|run| (10_u64.pow(run), i64::from(run))).collect();
        assert_eq!(smaller(each_far_larger), [0, 1], "at least two, so that they become fewer");
    }
}
