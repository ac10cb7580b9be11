//! The one wall clock of the program; everything else takes `now` as a parameter.

use chrono::{DateTime, SubsecRound, Utc};

/// The time now, to the microsecond that the store keeps.
#[expect(clippy::disallowed_methods, reason = "this is the one wall clock")]
pub fn now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(6)
}
