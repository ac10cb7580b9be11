//! What all statements have in common.

use std::fmt::Write;

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, AssertSqlSafe, ColumnIndex, Decode, Row, Type};

use super::{Result, StoreError};

/// How many parameters go into one statement, about: enough for the round trips not to matter. SQLite finds the place
/// of each by going through all, so that a statement costs the square of them.
const PARAMETERS: usize = 150;

/// How many values go into one statement.
pub(super) const ROWS: usize = PARAMETERS;

/// How many rows of so many columns go into one statement.
pub(super) const fn rows_of(columns: usize) -> usize {
    if columns < PARAMETERS { PARAMETERS / columns } else { 1 }
}

/// A statement with its parameters.
pub(super) type Statement = Query<'static, Any, AnyArguments>;

/// A statement that is put together at run time. Its parts are this module's own texts and placeholders:
/// values are always bound.
pub(super) fn statement(sql: String) -> Statement {
    sqlx::query(AssertSqlSafe(sql))
}

/// `($1,$2),($3,$4)` for two rows of two columns.
pub(super) fn rows_of_placeholders(rows: usize, columns: usize) -> String {
    let mut text = String::with_capacity(rows * columns * 5);
    for row in 0..rows {
        text.push_str(if row == 0 { "(" } else { ",(" });
        for column in 1..=columns {
            let comma = if column == 1 { "" } else { "," };
            // Writing to a string cannot fail.
            let _infallible = write!(text, "{comma}${}", row * columns + column);
        }
        text.push(')');
    }
    text
}

/// `$3,$4,$5` for a list of three that begins at the third parameter.
pub(super) fn placeholders(first: usize, count: usize) -> String {
    (first..first + count).map(|number| format!("${number}")).collect::<Vec<_>>().join(",")
}

/// Microseconds since 1970 in UTC.
pub(super) fn micros(time: DateTime<Utc>) -> i64 {
    time.timestamp_micros()
}

/// The time of microseconds since 1970.
pub(super) fn time(micros: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(micros).unwrap_or_default()
}

/// A count as databases keep it.
pub(super) fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A count as databases gave it.
pub(super) fn uncount(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

/// Names what a failed statement was about.
pub(super) trait About<T> {
    /// Names it.
    fn about(self, what: &'static str) -> Result<T>;
}

impl<T> About<T> for std::result::Result<T, sqlx::Error> {
    fn about(self, what: &'static str) -> Result<T> {
        self.map_err(|source| StoreError::Query { what, source })
    }
}

/// One column of a row.
pub(super) fn column<'r, T, I>(row: &'r AnyRow, index: I, what: &'static str) -> Result<T>
where
    T: Decode<'r, Any> + Type<Any>,
    I: ColumnIndex<AnyRow>,
{
    row.try_get(index).about(what)
}

/// JSON for a text column. Everything that is stored can be written as JSON, so a failure is a bug that the
/// caller's error shows.
pub(super) fn json<T: serde::Serialize>(value: &T, what: &'static str) -> Result<String> {
    serde_json::to_string(value).map_err(|error| StoreError::Corrupt { what, problem: error.to_string() })
}

/// A value from a JSON column.
pub(super) fn from_json<T: DeserializeOwned>(text: &str, what: &'static str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| StoreError::Corrupt { what, problem: error.to_string() })
}

/// A value whose JSON form is a plain text, such as a level or a state.
pub(super) fn from_name<T: DeserializeOwned>(name: String, what: &'static str) -> Result<T> {
    serde_json::from_value(serde_json::Value::String(name))
        .map_err(|error| StoreError::Corrupt { what, problem: error.to_string() })
}

/// The plain text that is a value's JSON form.
pub(super) fn name_of<T: serde::Serialize>(value: &T, what: &'static str) -> Result<String> {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => Ok(name),
        other => Err(StoreError::Corrupt { what, problem: format!("{other:?} is no name") }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_count_on_over_rows() {
        assert_eq!(rows_of_placeholders(2, 3), "($1,$2,$3),($4,$5,$6)");
        assert_eq!(placeholders(3, 2), "$3,$4");
    }

    #[test]
    fn times_survive_to_the_microsecond() {
        let now = DateTime::from_timestamp_micros(1_763_900_000_123_456).unwrap();
        assert_eq!(time(micros(now)), now);
    }
}
