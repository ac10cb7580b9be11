//! What the sandbox's KMS does, as AWS documents it.

mod aliases;
mod imports;
mod keys;
mod lab;
mod multi_region;
mod paging;
mod permissions;
mod rotation;
mod seeds;
mod stores;
mod usage;
mod wire;

pub(in crate::sandbox) use lab::{Lab, role};
