//! Readings, summed up while calls go on, and the count of requests for the metrics.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Utc};

use super::api::Api;
use super::outcome::Failure;
use crate::model::{AccountId, Gap, Reading, ReadingResult, Region};

/// Sums calls up to one reading for each (account, Region, API). Any task may record into it.
#[derive(Debug, Default)]
pub(crate) struct Readings(Mutex<BTreeMap<Subject, Sum>>);

/// What was read: whose account, where, and by which call.
type Subject = (AccountId, Option<Region>, &'static str);

#[derive(Debug, Default)]
struct Sum {
    attempts: u64,
    failed: u64,
    worst: Option<ReadingResult>,
    detail: Option<String>,
}

impl Readings {
    /// Records one call. An error that is an answer ("there is none") is a success.
    pub(crate) fn record(
        &self,
        account: &AccountId,
        region: Option<&Region>,
        api: Api,
        failure: Option<&Failure>,
    ) {
        let mut sums = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sum = sums.entry((account.clone(), region.cloned(), api.name)).or_default();
        sum.attempts += 1;
        if let Some(failure) = failure.filter(|failure| !failure.absent) {
            sum.failed += 1;
            sum.worst = sum.worst.max(Some(failure.result));
            sum.detail.get_or_insert_with(|| failure.detail.clone());
        }
    }

    /// The readings so far, sorted by account, Region and API.
    pub(crate) fn finish(&self, at: DateTime<Utc>) -> Vec<Reading> {
        let sums = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let reading = |((account, region, api), sum): (&Subject, &Sum)| Reading {
            account: account.clone(),
            region: region.clone(),
            api: (*api).to_owned(),
            result: sum.worst.unwrap_or(ReadingResult::Ok),
            at,
            attempts: sum.attempts,
            failed: sum.failed,
            detail: sum.detail.clone(),
        };
        sums.iter().map(reading).collect()
    }
}

/// The gaps that readings tell of, sorted, each once.
pub(crate) fn gaps(readings: &[Reading]) -> Vec<Gap> {
    let failed = readings.iter().filter(|reading| reading.result != ReadingResult::Ok);
    let mut gaps: Vec<Gap> =
        failed.map(|reading| Gap { api: reading.api.clone(), result: reading.result }).collect();
    gaps.sort();
    gaps.dedup();
    gaps
}

/// How many requests went out, by service, operation and result; the SDK's retries are counted too.
#[derive(Debug, Default)]
pub struct RequestCounts(Mutex<BTreeMap<(String, String, ReadingResult), u64>>);

impl RequestCounts {
    /// Counts one request.
    pub(crate) fn count(&self, service: &str, operation: &str, result: ReadingResult) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry((service.to_owned(), operation.to_owned(), result)).or_default() += 1;
    }

    /// The counts since the start of the process, as (service, operation, result, count), sorted.
    pub fn snapshot(&self) -> Vec<(String, String, ReadingResult, u64)> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts
            .iter()
            .map(|((service, operation, result), count)| {
                (service.clone(), operation.clone(), *result, *count)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::api::{DESCRIBE_KEY, LIST_KEYS};
    use super::*;

    fn failure(result: ReadingResult, absent: bool, detail: &str) -> Failure {
        Failure { api: DESCRIBE_KEY.name, result, absent, not_enabled: false, detail: detail.to_owned() }
    }

    #[test]
    fn calls_are_summed_up_with_the_worst_result_and_the_first_error() {
        let account: AccountId = "111122223333".parse().unwrap();
        let region: Region = "eu-central-1".parse().unwrap();
        let readings = Readings::default();
        let record = |api, failure: Option<&Failure>| readings.record(&account, Some(&region), api, failure);
        record(LIST_KEYS, None);
        record(DESCRIBE_KEY, None);
        record(DESCRIBE_KEY, Some(&failure(ReadingResult::Denied, false, "first")));
        record(DESCRIBE_KEY, Some(&failure(ReadingResult::Throttled, false, "second")));
        record(DESCRIBE_KEY, Some(&failure(ReadingResult::Unreachable, true, "an answer")));
        let at = DateTime::UNIX_EPOCH;
        let finished = readings.finish(at);
        assert_eq!(finished.len(), 2);
        let describe = &finished[0];
        assert_eq!((describe.attempts, describe.failed), (4, 2));
        assert_eq!(describe.result, ReadingResult::Throttled);
        assert_eq!(describe.detail.as_deref(), Some("first"));
        assert_eq!((finished[1].result, finished[1].failed), (ReadingResult::Ok, 0));
        let gap = Gap { api: "kms:DescribeKey".to_owned(), result: ReadingResult::Throttled };
        assert_eq!(gaps(&finished), [gap]);
    }

    #[test]
    fn requests_are_counted_by_result() {
        let counts = RequestCounts::default();
        counts.count("kms", "ListKeys", ReadingResult::Ok);
        counts.count("kms", "ListKeys", ReadingResult::Ok);
        counts.count("kms", "ListKeys", ReadingResult::Throttled);
        let ok = ("kms".to_owned(), "ListKeys".to_owned(), ReadingResult::Ok, 2);
        assert_eq!(counts.snapshot()[0], ok);
        assert_eq!(counts.snapshot().len(), 2);
    }
}
