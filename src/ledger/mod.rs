//! What is counted of events and remembered of them: who used which key, and which events were seen.

mod cache;
mod classify;
mod context;
mod fingerprint;
mod form;
mod prints;
mod tally;
#[cfg(test)]
mod tests;

pub(crate) use cache::merge;
pub use cache::{DEFAULT_PRINTS, SeenCache};
pub use classify::Uses;
pub use fingerprint::{Block, fingerprint};
pub use prints::{PrintsError, decode, encode};
pub use tally::{Classified, Deltas, LINES_A_BATCH, Tallied, Tally, requests};
