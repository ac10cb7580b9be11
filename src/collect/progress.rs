//! How far long work has come, for whoever watches.

use crate::model::{AccountId, Region};

/// Is told how far sweeps have come. Called from many tasks at once, so it has to be quick.
pub trait Progress: Send + Sync + std::fmt::Debug {
    /// A sweep knows how many keys it has to read.
    fn sweep_started(&self, account: &AccountId, region: &Region, keys: u64) {
        let _ = (account, region, keys);
    }

    /// One more of them was read.
    fn key_read(&self, account: &AccountId, region: &Region) {
        let _ = (account, region);
    }

    /// The sweep is over.
    fn sweep_finished(&self, account: &AccountId, region: &Region) {
        let _ = (account, region);
    }
}

/// Nobody watches.
#[derive(Debug, Clone, Copy)]
pub struct Unwatched;

impl Progress for Unwatched {}
