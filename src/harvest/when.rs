//! When an event took place, as the ledger needs it.

use crate::records::Envelope;

const MICROS_A_SECOND: i64 = 1_000_000;
const SECONDS_AN_HOUR: i64 = 3_600;

/// A time, as the ledger needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct When {
    /// Hours since 1970 in UTC.
    pub(super) hour: i64,
    /// Microseconds since 1970 in UTC.
    pub(super) micros: i64,
}

impl When {
    /// When an event took place; CloudTrail tells whole seconds.
    pub(super) fn of(envelope: &Envelope<'_>) -> Self {
        let seconds = envelope.seconds();
        Self { hour: seconds.div_euclid(SECONDS_AN_HOUR), micros: seconds.saturating_mul(MICROS_A_SECOND) }
    }
}
