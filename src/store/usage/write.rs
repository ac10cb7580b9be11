//! Adding to the ledger.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{Any, Transaction};

use super::{WHAT, set_and_region};
use crate::model::{OTHERS, Unattributed, Usage, UsageCount, UsageOutcome};
use crate::store::Result;
use crate::store::sql::{About, Statement, column, count, micros, rows_of_placeholders, statement, uncount};

/// How many lines a key may have in an hour unless asked otherwise, before principals are put together.
pub const LINES_A_KEY: usize = 1_000;

/// How many lines go into one statement. SQLite finds a parameter's number by walking over all of them, so that a
/// statement costs the square of its parameters: 7 µs a line at 120 parameters, 120 µs at 6,000.
const LINES: usize = 10;
/// The same for what has fewer parameters.
const PLACES: usize = 40;

/// A key in an hour, as the table has it: hour, key set, Region.
type Place = (i64, String, String);

/// Principal, operation, outcome, account, network, context.
type Line = [String; 6];

/// Adds to the ledger. `deltas` has each line once; no key gets more than `bound` lines in an hour, and what exceeds
/// them is put together: counted with [`OTHERS`], so that no total changes. Gives how many calls were.
pub(in crate::store) async fn write(
    transaction: &mut Transaction<'_, Any>,
    deltas: &[(Usage, UsageCount)],
    bound: usize,
) -> Result<u64> {
    let mut folded = 0;
    let mut by_place: BTreeMap<Place, Vec<(&Usage, UsageCount)>> = BTreeMap::new();
    for (usage, added) in deltas {
        let (key_set, region) = set_and_region(&usage.key);
        by_place.entry((usage.hour, key_set, region)).or_default().push((usage, *added));
    }
    let places: Vec<(Place, Vec<(&Usage, UsageCount)>)> = by_place.into_iter().collect();
    for chunk in places.chunks(PLACES) {
        let held = lines_held(transaction, chunk).await?;
        let mut rows = Vec::new();
        for (place, lines) in chunk {
            let free = bound.saturating_sub(held.get(place).copied().unwrap_or_default());
            if lines.len() <= free {
                rows.extend(lines.iter().map(|(usage, added)| (place, line(usage), *added)));
            } else {
                let kept = keep(transaction, place, lines, free, &mut folded).await?;
                rows.extend(kept.into_iter().map(|(line, added)| (place, line, added)));
            }
        }
        upsert(transaction, &rows).await?;
    }
    write_last_use(transaction, &places).await?;
    Ok(folded)
}

fn line(usage: &Usage) -> Line {
    [
        usage.principal.clone(),
        usage.operation.clone(),
        usage.outcome.as_str().to_owned(),
        usage.account.clone(),
        usage.network.as_str().to_owned(),
        usage.context.clone(),
    ]
}

/// How many lines each key has in its hour, without what was put together.
async fn lines_held<T>(
    transaction: &mut Transaction<'_, Any>,
    places: &[(Place, T)],
) -> Result<BTreeMap<Place, usize>> {
    let mut query = statement(format!(
        "WITH wanted (hour, key_set, region) AS (VALUES {})
         SELECT usage.hour, usage.key_set, usage.region, COUNT(*) FROM wanted JOIN usage
         ON usage.hour = wanted.hour AND usage.key_set = wanted.key_set AND usage.region = wanted.region
         WHERE usage.principal <> '{OTHERS}' GROUP BY usage.hour, usage.key_set, usage.region",
        rows_of_placeholders(places.len(), 3)
    ));
    for ((hour, key_set, region), _) in places {
        query = query.bind(*hour).bind(key_set.clone()).bind(region.clone());
    }
    let rows = query.fetch_all(&mut **transaction).await.about(WHAT)?;
    rows.iter()
        .map(|row| {
            let place = (column(row, 0, WHAT)?, column(row, 1, WHAT)?, column(row, 2, WHAT)?);
            let lines: i64 = column(row, 3, WHAT)?;
            Ok((place, usize::try_from(uncount(lines)).unwrap_or(usize::MAX)))
        })
        .collect()
}

/// The lines of a key that has too many: those that are there already, the most frequent of the others as far as
/// there is room, and the rest put together.
async fn keep(
    transaction: &mut Transaction<'_, Any>,
    place: &Place,
    lines: &[(&Usage, UsageCount)],
    free: usize,
    folded: &mut u64,
) -> Result<BTreeMap<Line, UsageCount>> {
    let there = lines_there(transaction, place).await?;
    let mut new = Vec::new();
    let mut kept: BTreeMap<Line, UsageCount> = BTreeMap::new();
    let mut add = |line: Line, added: UsageCount| {
        kept.entry(line).and_modify(|count| count.add(added)).or_insert(added);
    };
    for (usage, added) in lines {
        let line = line(usage);
        if there.contains(&line) || usage.is_folded() {
            add(line, *added);
        } else {
            new.push((usage, line, *added));
        }
    }
    new.sort_by(|(_, one, fewer), (_, other, more)| {
        more.count.cmp(&fewer.count).then_with(|| one.cmp(other))
    });
    for (number, (usage, own, added)) in new.into_iter().enumerate() {
        if number < free {
            add(own, added);
        } else {
            *folded += added.count;
            add(line(&usage.folded()), added);
        }
    }
    Ok(kept)
}

async fn lines_there(transaction: &mut Transaction<'_, Any>, place: &Place) -> Result<BTreeSet<Line>> {
    let (hour, key_set, region) = place;
    let rows = sqlx::query(
        "SELECT principal, operation, outcome, account, network, context FROM usage
         WHERE hour = $1 AND key_set = $2 AND region = $3",
    )
    .bind(*hour)
    .bind(key_set.clone())
    .bind(region.clone())
    .fetch_all(&mut **transaction)
    .await
    .about(WHAT)?;
    rows.iter()
        .map(|row| {
            let mut line = Line::default();
            for (index, field) in line.iter_mut().enumerate() {
                *field = column(row, index, WHAT)?;
            }
            Ok(line)
        })
        .collect()
}

async fn upsert(transaction: &mut Transaction<'_, Any>, rows: &[(&Place, Line, UsageCount)]) -> Result<()> {
    for chunk in rows.chunks(LINES) {
        let mut query = statement(format!(
            "INSERT INTO usage (hour, key_set, region, principal, operation, outcome, account, network, context,
             count, first, last) VALUES {}
             ON CONFLICT (hour, key_set, region, principal, operation, outcome, account, network, context)
             DO UPDATE SET count = usage.count + excluded.count,
             first = CASE WHEN excluded.first < usage.first THEN excluded.first ELSE usage.first END,
             last = CASE WHEN excluded.last > usage.last THEN excluded.last ELSE usage.last END",
            rows_of_placeholders(chunk.len(), 12)
        ));
        for ((hour, key_set, region), line, added) in chunk {
            query = query.bind(*hour).bind(key_set.clone()).bind(region.clone());
            for field in line {
                query = query.bind(field.clone());
            }
            query = bind_count(query, added);
        }
        query.execute(&mut **transaction).await.about(WHAT)?;
    }
    Ok(())
}

fn bind_count(query: Statement, added: &UsageCount) -> Statement {
    query.bind(count(added.count)).bind(micros(added.first)).bind(micros(added.last))
}

/// Keeps the newest use of each key with each outcome. Of several at the same time the first that came stays.
async fn write_last_use(
    transaction: &mut Transaction<'_, Any>,
    places: &[(Place, Vec<(&Usage, UsageCount)>)],
) -> Result<()> {
    let mut newest: BTreeMap<(&str, &str, UsageOutcome), (&Usage, UsageCount)> = BTreeMap::new();
    for ((_, key_set, region), lines) in places {
        for &(usage, added) in lines {
            let known = newest.entry((key_set, region, usage.outcome)).or_insert((usage, added));
            if (known.1.last, known.0) < (added.last, usage) {
                *known = (usage, added);
            }
        }
    }
    let newest: Vec<_> = newest.into_iter().collect();
    for chunk in newest.chunks(LINES) {
        let mut query = statement(format!(
            "INSERT INTO last_use (key_set, region, outcome, at, principal, operation, account, network, context)
             VALUES {} ON CONFLICT (key_set, region, outcome) DO UPDATE SET at = excluded.at,
             principal = excluded.principal, operation = excluded.operation, account = excluded.account,
             network = excluded.network, context = excluded.context WHERE excluded.at > last_use.at",
            rows_of_placeholders(chunk.len(), 9)
        ));
        for ((key_set, region, outcome), (usage, added)) in chunk {
            query = query
                .bind((*key_set).to_owned())
                .bind((*region).to_owned())
                .bind(outcome.as_str())
                .bind(micros(added.last))
                .bind(usage.principal.clone())
                .bind(usage.operation.clone())
                .bind(usage.account.clone())
                .bind(usage.network.as_str())
                .bind(usage.context.clone());
        }
        query.execute(&mut **transaction).await.about(WHAT)?;
    }
    Ok(())
}

/// Adds uses of keys that are not known by their ARN; each once in `deltas`.
pub(in crate::store) async fn write_unattributed(
    transaction: &mut Transaction<'_, Any>,
    deltas: &[(Unattributed, UsageCount)],
) -> Result<()> {
    for chunk in deltas.chunks(LINES) {
        let mut query = statement(format!(
            "INSERT INTO unattributed (hour, account, region, operation, outcome, count, first, last) VALUES {}
             ON CONFLICT (hour, account, region, operation, outcome)
             DO UPDATE SET count = unattributed.count + excluded.count,
             first = CASE WHEN excluded.first < unattributed.first THEN excluded.first ELSE unattributed.first END,
             last = CASE WHEN excluded.last > unattributed.last THEN excluded.last ELSE unattributed.last END",
            rows_of_placeholders(chunk.len(), 8)
        ));
        for (of, added) in chunk {
            query = query
                .bind(of.hour)
                .bind(of.account.clone())
                .bind(of.region.clone())
                .bind(of.operation.clone())
                .bind(of.outcome.as_str());
            query = bind_count(query, added);
        }
        query.execute(&mut **transaction).await.about(WHAT)?;
    }
    Ok(())
}
