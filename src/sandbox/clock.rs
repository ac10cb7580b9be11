//! The sandbox's clock: the wall clock and an offset, so that a test can make weeks pass.

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};

/// Tells the time.
#[derive(Clone)]
pub struct Clock {
    base: Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>,
    offset: TimeDelta,
}

impl Default for Clock {
    fn default() -> Self {
        Self::on(crate::clock::now)
    }
}

impl Clock {
    /// A clock that runs with the given one.
    pub fn on(base: impl Fn() -> DateTime<Utc> + Send + Sync + 'static) -> Self {
        Self { base: Arc::new(base), offset: TimeDelta::zero() }
    }

    /// A clock that stands still until it is moved.
    pub fn standing(at: DateTime<Utc>) -> Self {
        Self::on(move || at)
    }

    /// The time now, to the millisecond.
    pub fn now(&self) -> DateTime<Utc> {
        let base = (self.base)();
        base.checked_add_signed(self.offset).unwrap_or(base).trunc_subsecs(3)
    }

    /// Moves the clock, forward or back; it runs on from there. A move beyond what dates can say is none.
    pub fn advance(&mut self, by: TimeDelta) {
        self.offset = self.offset.checked_add(&by).unwrap_or(self.offset);
    }

    /// Moves the clock so that it reads the given time now; it runs on from there.
    pub fn set(&mut self, to: DateTime<Utc>) {
        self.offset = to - (self.base)();
    }

    /// Puts the clock right again.
    pub fn reset(&mut self) {
        self.offset = TimeDelta::zero();
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock").field("offset", &self.offset).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noon() -> DateTime<Utc> {
        "2026-11-23T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn a_moved_clock_runs_on_from_where_it_was_moved_to() {
        let mut clock = Clock::standing(noon());
        clock.advance(TimeDelta::days(7));
        assert_eq!(clock.now(), noon() + TimeDelta::days(7));
        clock.advance(TimeDelta::seconds(-1));
        assert_eq!(clock.now(), noon() + TimeDelta::days(7) - TimeDelta::seconds(1));
        clock.set(noon() - TimeDelta::days(400));
        assert_eq!(clock.now(), noon() - TimeDelta::days(400));
        clock.reset();
        assert_eq!(clock.now(), noon());
    }

    #[test]
    fn a_move_out_of_the_calendar_is_none() {
        let mut clock = Clock::standing(noon());
        clock.advance(TimeDelta::MAX);
        assert_eq!(clock.now(), noon());
    }
}
