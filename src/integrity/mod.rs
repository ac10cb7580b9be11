//! Whether CloudTrail's log files are all there, and unchanged: digest files, their chain and their signatures.
//!
//! Every hour CloudTrail signs a digest of the log files that it delivered, which names the digest before it. A
//! [`Walk`] goes back along that chain and names what is wrong. Nothing is read from here: the walk says which
//! file it wants next, and is given what came of reading it.

mod digest;
mod hash;
mod names;
mod ongoing;
mod report;
mod signature;
#[cfg(test)]
pub(crate) mod tests;
mod walk;

pub use digest::{Digest, ListedLog, MAX_DIGEST, Previous};
pub use hash::{Inflated, Inflater, Sha256};
pub use names::{DigestName, LogName, NO_EVENTS, below_logs, is_beside_events, list_from};
pub use ongoing::{Checked, fold, logs_after, nothing_known, spans_to_recheck};
pub use report::{LogOutcome, Report};
pub use signature::{PublicKeys, SignatureProblem};
pub use walk::{Fetched, Signature, TrailState, Walk, Window};
