//! How fast AWS may be called: one pace for each account, Region and operation, under the published quotas.
//!
//! A caller waits for its turn before the first attempt, and the HTTP layer ([`super::http`]) waits for
//! another turn before every retry of the SDK. So each request that leaves the process has had a turn of
//! its own, and retries cannot break the pace.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::api::{Api, Quota};

/// A pace may fall behind and catch up by this much: timers have a grain of a millisecond, and without
/// some slack two thousand a second could never be reached.
const SLACK: Duration = Duration::from_millis(20);

/// Hands out turns that are an interval apart.
#[derive(Debug)]
struct Pace {
    interval: Duration,
    slack: Duration,
    next: Mutex<Option<Instant>>,
}

impl Pace {
    fn new(quota: Quota, quota_percent: u8) -> Self {
        let (per_second, slack) = match quota {
            Quota::Shared(quota) => {
                (f64::from(quota) * f64::from(quota_percent.clamp(1, 100)) / 100.0, SLACK)
            }
            Quota::Strict(quota) => (f64::from(quota) * 0.9, Duration::ZERO),
        };
        Self { interval: Duration::from_secs_f64(1.0 / per_second), slack, next: Mutex::new(None) }
    }

    /// Takes the next turn and says when it is.
    fn take(&self, now: Instant) -> Instant {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let earliest = now.checked_sub(self.slack).unwrap_or(now);
        let turn = next.map_or(now, |next| next.max(earliest));
        *next = Some(turn + self.interval);
        turn.max(now)
    }
}

/// The paces of one account in one Region.
#[derive(Debug)]
pub(crate) struct Paces {
    quota_percent: Option<u8>,
    by_operation: Mutex<BTreeMap<&'static str, Arc<Pace>>>,
}

impl Paces {
    /// Paces that take this share of the quotas, in percent (1 to 100).
    pub(crate) fn new(quota_percent: u8) -> Self {
        Self { quota_percent: Some(quota_percent), by_operation: Mutex::default() }
    }

    /// No pace at all, for a test whose AWS has no quotas.
    #[cfg(test)]
    pub(crate) fn unlimited() -> Self {
        Self { quota_percent: None, by_operation: Mutex::default() }
    }

    /// Waits until an operation may be called.
    pub(crate) async fn turn(&self, api: Api) {
        let Some(quota_percent) = self.quota_percent else { return };
        let pace = {
            let mut paces = self.by_operation.lock().unwrap_or_else(PoisonError::into_inner);
            let pace = paces.entry(api.operation());
            Arc::clone(pace.or_insert_with(|| Arc::new(Pace::new(api.quota, quota_percent))))
        };
        wait(&pace).await;
    }

    /// Waits until an operation that has been called before may be called again.
    pub(crate) async fn another_turn(&self, operation: &str) {
        let pace = {
            let paces = self.by_operation.lock().unwrap_or_else(PoisonError::into_inner);
            paces.get(operation).map(Arc::clone)
        };
        if let Some(pace) = pace {
            wait(&pace).await;
        }
    }
}

async fn wait(pace: &Pace) {
    let now = Instant::now();
    let turn = pace.take(now);
    if turn > now {
        sleep_until(turn).await;
    }
}

#[cfg(test)]
mod tests {
    use super::super::api::{DESCRIBE_KEY, GET_KEY_LAST_USAGE, LIST_GRANTS, LOOKUP_EVENTS};
    use super::*;

    /// The most turns that fall into any one second.
    fn busiest_second(turns: &[Instant]) -> usize {
        let within = |from: &Instant| {
            turns.iter().filter(|turn| *turn >= from && **turn < *from + Duration::from_secs(1)).count()
        };
        turns.iter().map(within).max().unwrap_or(0)
    }

    async fn turns(paces: &Paces, api: Api, count: usize) -> Vec<Instant> {
        let mut turns = Vec::new();
        for _ in 0..count {
            paces.turn(api).await;
            turns.push(Instant::now());
        }
        turns
    }

    #[tokio::test(start_paused = true)]
    async fn look_ups_never_exceed_two_in_any_second_whatever_the_share() {
        let turns = turns(&Paces::new(100), LOOKUP_EVENTS, 20).await;
        assert_eq!(busiest_second(&turns), 2);
        assert!(turns[19] - turns[0] < Duration::from_secs(11), "and they use nearly all of the quota");
    }

    #[tokio::test(start_paused = true)]
    async fn a_share_of_the_quota_is_kept_and_used() {
        let paces = Paces::new(50);
        let turns = turns(&paces, LIST_GRANTS, 200).await;
        assert!(busiest_second(&turns) <= 52, "{}", busiest_second(&turns));
        let taken = turns[199] - turns[0];
        assert!(taken > Duration::from_millis(3900) && taken < Duration::from_millis(4100), "{taken:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_fast_pace_is_reached_though_timers_are_coarse() {
        let turns = turns(&Paces::new(100), DESCRIBE_KEY, 4000).await;
        let taken = turns[3999] - turns[0];
        assert!(taken < Duration::from_millis(2200), "{taken:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_saves_up_no_burst() {
        let paces = Paces::new(100);
        paces.turn(GET_KEY_LAST_USAGE).await;
        tokio::time::sleep(Duration::from_mins(1)).await;
        assert!(busiest_second(&turns(&paces, GET_KEY_LAST_USAGE, 20).await) <= 6);
    }

    #[tokio::test(start_paused = true)]
    async fn a_retry_takes_a_turn_of_its_own() {
        let paces = Paces::new(100);
        paces.turn(LOOKUP_EVENTS).await;
        let before = Instant::now();
        paces.another_turn("LookupEvents").await;
        assert!(before.elapsed() >= Duration::from_millis(500));
        paces.another_turn("NeverCalled").await;
    }

    #[tokio::test(start_paused = true)]
    async fn callers_at_the_same_time_share_one_pace() {
        let paces = Paces::new(100);
        let started = Instant::now();
        futures::future::join_all((0..11).map(|_| paces.turn(LOOKUP_EVENTS))).await;
        assert!(started.elapsed() >= Duration::from_millis(5500));
    }
}
