//! What is counted of events and remembered of them: who used which key, and which events were seen.

mod cache;
mod fingerprint;
mod prints;
mod tally;

pub(crate) use cache::merge;
pub use cache::{DEFAULT_PRINTS, SeenCache};
pub use fingerprint::{Block, fingerprint};
pub use tally::Tally;
pub use prints::{PrintsError, decode, encode};
