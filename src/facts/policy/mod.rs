//! Key policies: parsed as AWS reads them, judged for whom they let in, compared by what they mean.
//!
//! Nothing here guesses. A policy, statement or condition that is not understood gives an unknown with the
//! statement's name in it, never "allows nothing".

mod condition;
mod document;
mod exposure;
mod normalise;
mod pattern;
mod principal;
mod reach;
mod replication;
mod shield;

pub use document::{Policy, PolicyError};
pub use exposure::{Exposure, exposure};
pub use normalise::{NormalPolicy, normalise};
pub use principal::Principal;
pub use replication::{Replication, replication};

/// Whom a policy is judged for.
#[derive(Debug, Clone, Copy)]
pub struct Viewpoint<'a> {
    /// The key that the policy belongs to; none: not known, every statement is taken to be about it.
    pub key: Option<&'a crate::model::KeyArn>,
    /// The account that owns the key.
    pub owner: Option<&'a crate::model::AccountId>,
    /// Which accounts are known.
    pub accounts: &'a super::AccountScope,
}

impl Viewpoint<'_> {
    fn is_foreign(&self, account: &crate::model::AccountId) -> bool {
        self.owner != Some(account) && self.accounts.is_foreign(account)
    }
}
