//! How often what was called, and with what result.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use super::call::{Answer, Call};

/// One row of the tally.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Row {
    service: String,
    operation: String,
    account: String,
    region: String,
    /// `ok`, or the error's code.
    result: String,
}

/// Counts calls.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    rows: BTreeMap<Row, u64>,
}

impl Tally {
    /// Counts one call.
    pub fn count(&mut self, call: &Call, answer: &Answer) {
        let row = Row {
            service: call.service.clone(),
            operation: call.operation.clone(),
            account: call.account.to_string(),
            region: call.region.to_string(),
            result: answer.as_ref().map_or_else(|error| error.code.clone(), |_| "ok".to_owned()),
        };
        *self.rows.entry(row).or_default() += 1;
    }

    /// How many calls of an operation there were, whatever came of them.
    pub fn calls(&self, service: &str, operation: &str) -> u64 {
        let wanted = |row: &Row| row.service == service && row.operation == operation;
        self.rows.iter().filter(|(row, _)| wanted(row)).map(|(_, count)| count).sum()
    }

    /// How many calls were throttled.
    pub fn throttled(&self) -> u64 {
        self.rows.iter().filter(|(row, _)| is_throttling(&row.result)).map(|(_, count)| count).sum()
    }

    /// The tally as JSON: `{total, throttled, calls: [{service, operation, account, region, result, count}]}`.
    pub fn to_json(&self) -> Value {
        let total: u64 = self.rows.values().sum();
        let calls: Vec<Value> = self
            .rows
            .iter()
            .map(|(row, count)| {
                json!({
                    "service": row.service, "operation": row.operation, "account": row.account,
                    "region": row.region, "result": row.result, "count": count,
                })
            })
            .collect();
        json!({ "total": total, "throttled": self.throttled(), "calls": calls })
    }

    /// Begins again at nought.
    pub fn clear(&mut self) {
        self.rows.clear();
    }
}

/// Whether an error code means that the call came too soon.
fn is_throttling(code: &str) -> bool {
    code.starts_with("Throttl")
        || matches!(code, "TooManyRequestsException" | "RequestThrottled" | "SlowDown")
}
