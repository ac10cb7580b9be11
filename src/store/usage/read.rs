//! What the ledger tells.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::any::AnyRow;

use super::{WHAT, member};
use crate::model::{KeySetId, Network, Region, Usage, UsageCount, UsageOutcome};
use crate::store::sql::{About, column, from_name, rows_of_placeholders, statement, time, uncount};
use crate::store::{Result, Store};

/// The newest use of a key with one outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LastUse {
    /// The key's ARN; of a set, that of the member that was used.
    pub key: String,
    /// What came of it.
    pub outcome: UsageOutcome,
    /// When.
    pub at: DateTime<Utc>,
    /// Who.
    pub principal: String,
    /// What for.
    pub operation: String,
    /// From which account; empty for AWS services that call for themselves.
    pub account: String,
    /// From where.
    pub network: Network,
    /// The kind of the encryption context.
    pub context: String,
}

/// One line of the ledger.
pub type KeyUsage = (Usage, UsageCount);

/// For which time the ledger can speak of an account-Region.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Heard {
    /// The account.
    pub account: String,
    /// The Region.
    pub region: String,
    /// The beginning of the first hour of which a record was taken.
    pub first: DateTime<Utc>,
    /// The end of the last hour of which a record was taken.
    pub last: DateTime<Utc>,
    /// Of how many hours between records were taken.
    pub hours: u64,
    /// How many records were taken, each counted once.
    pub records: u64,
}

/// How many ids are asked for by one statement; see `write` for why they are few.
const IDS: usize = 50;

const LINE: &str =
    "usage.hour, usage.key_set, usage.region, principal, operation, outcome, account, network, context,
     count, first, last";
const LAST_USE: &str =
    "last_use.key_set, last_use.region, outcome, at, principal, operation, account, network, context";

impl Store {
    /// The newest uses of every key there ever was one of, refused and failed ones too: by key set, in the order of
    /// keys and outcomes.
    pub async fn all_last_uses(&self) -> Result<BTreeMap<String, Vec<LastUse>>> {
        let rows =
            statement(format!("SELECT {LAST_USE} FROM last_use")).fetch_all(&self.pool).await.about(WHAT)?;
        let mut found: BTreeMap<String, Vec<LastUse>> = BTreeMap::new();
        for row in &rows {
            found.entry(column(row, 0, WHAT)?).or_default().push(last_use(row)?);
        }
        for uses in found.values_mut() {
            uses.sort_by(|one, other| (&one.key, one.outcome).cmp(&(&other.key, other.outcome)));
        }
        Ok(found)
    }

    /// The lines of members of key sets in certain Regions up to an hour, by the sets, in order: what was done outside
    /// of a boundary.
    pub async fn usage_in_regions(
        &self,
        places: &[(KeySetId, Region)],
        to: i64,
    ) -> Result<BTreeMap<String, Vec<KeyUsage>>> {
        let mut found: BTreeMap<String, Vec<KeyUsage>> = BTreeMap::new();
        for chunk in places.chunks(IDS) {
            let last = chunk.len() * 2 + 1;
            let mut query = statement(format!(
                "WITH wanted (key_set, region) AS (VALUES {})
                 SELECT {LINE} FROM wanted JOIN usage
                 ON usage.key_set = wanted.key_set AND usage.region = wanted.region AND usage.hour <= ${last}",
                rows_of_placeholders(chunk.len(), 2)
            ));
            for (set, region) in chunk {
                query = query.bind(set.as_str().to_owned()).bind(region.as_str().to_owned());
            }
            for row in &query.bind(to).fetch_all(&self.pool).await.about(WHAT)? {
                found.entry(column(row, 1, WHAT)?).or_default().push(usage(row)?);
            }
        }
        for lines in found.values_mut() {
            lines.sort_by(|(one, _), (other, _)| one.cmp(other));
        }
        Ok(found)
    }

    /// For which time the ledger can speak, by account and Region. An account-Region that is not in it has not been
    /// heard of at all.
    pub async fn heard(&self) -> Result<Vec<Heard>> {
        self.heard_until(i64::MAX).await
    }

    /// The same up to an hour; the whole day that it is in counts.
    pub async fn heard_until(&self, hour: i64) -> Result<Vec<Heard>> {
        let rows = sqlx::query(
            "SELECT account, region, day, hours, records FROM heard WHERE day <= $1
             ORDER BY account, region, day",
        )
        .bind(hour.div_euclid(24))
        .fetch_all(&self.pool)
        .await
        .about(WHAT)?;
        let mut found: BTreeMap<(String, String), Heard> = BTreeMap::new();
        for row in &rows {
            let (account, region): (String, String) = (column(row, 0, WHAT)?, column(row, 1, WHAT)?);
            let (day, hours): (i64, i64) = (column(row, 2, WHAT)?, column(row, 3, WHAT)?);
            let day = Heard {
                account: account.clone(),
                region: region.clone(),
                first: hour_start(day * 24 + i64::from(hours.trailing_zeros())),
                last: hour_start(day * 24 + 64 - i64::from(hours.leading_zeros())),
                hours: u64::from(hours.count_ones()),
                records: uncount(column(row, 4, WHAT)?),
            };
            match found.entry((account, region)) {
                std::collections::btree_map::Entry::Vacant(entry) => {
                    entry.insert(day);
                }
                std::collections::btree_map::Entry::Occupied(mut entry) => {
                    let heard = entry.get_mut();
                    heard.first = heard.first.min(day.first);
                    heard.last = heard.last.max(day.last);
                    heard.hours += day.hours;
                    heard.records += day.records;
                }
            }
        }
        Ok(found.into_values().collect())
    }

    /// How many uses could not be attributed to a key, by account and Region, up to an hour.
    pub async fn unattributed(&self, to: i64) -> Result<BTreeMap<(String, String), u64>> {
        // Summed here: a sum of BIGINT is NUMERIC on PostgreSQL.
        let rows = sqlx::query("SELECT account, region, count FROM unattributed WHERE hour <= $1")
            .bind(to)
            .fetch_all(&self.pool)
            .await
            .about(WHAT)?;
        let mut found = BTreeMap::new();
        for row in &rows {
            let place = (column(row, 0, WHAT)?, column(row, 1, WHAT)?);
            *found.entry(place).or_default() += uncount(column(row, 2, WHAT)?);
        }
        Ok(found)
    }
}

/// The beginning of an hour since 1970.
fn hour_start(hour: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(hour * 3_600, 0).unwrap_or_default()
}

fn usage(row: &AnyRow) -> Result<KeyUsage> {
    let (key_set, region): (&str, &str) = (column(row, 1, WHAT)?, column(row, 2, WHAT)?);
    let usage = Usage {
        hour: column(row, 0, WHAT)?,
        key: member(key_set, region),
        principal: column(row, 3, WHAT)?,
        operation: column(row, 4, WHAT)?,
        outcome: from_name(column(row, 5, WHAT)?, WHAT)?,
        account: column(row, 6, WHAT)?,
        network: from_name(column(row, 7, WHAT)?, WHAT)?,
        context: column(row, 8, WHAT)?,
    };
    let count = UsageCount {
        count: uncount(column(row, 9, WHAT)?),
        first: time(column(row, 10, WHAT)?),
        last: time(column(row, 11, WHAT)?),
    };
    Ok((usage, count))
}

fn last_use(row: &AnyRow) -> Result<LastUse> {
    Ok(LastUse {
        key: member(column(row, 0, WHAT)?, column(row, 1, WHAT)?),
        outcome: from_name(column(row, 2, WHAT)?, WHAT)?,
        at: time(column(row, 3, WHAT)?),
        principal: column(row, 4, WHAT)?,
        operation: column(row, 5, WHAT)?,
        account: column(row, 6, WHAT)?,
        network: from_name(column(row, 7, WHAT)?, WHAT)?,
        context: column(row, 8, WHAT)?,
    })
}
