//! An in-memory AWS over the real wire protocols, for the demo and the tests.
//!
//! A [`World`] is the whole of it: what [`World::call`] answers is what AWS would answer, and every call
//! leaves the CloudTrail record that AWS would leave. [`kms`], [`cloudtrail`], [`identity`] (STS),
//! [`organizations`], [`account`], [`sns`], [`sqs`], [`s3`], [`events`] and [`config`] are its services. The code that talks to it is
//! the unchanged AWS SDK, pointed to it by endpoint URL.
//!
//! It is no place for secrets: requests are taken at the word of their access key and signatures are not
//! verified, so it only ever listens on loopback addresses.

pub mod account;
pub mod call;
pub mod clock;
pub mod cloudtrail;
pub mod config;
pub mod estate;
pub mod events;
pub mod faults;
pub mod geography;
pub mod identity;
pub mod ids;
pub mod kms;
pub mod organizations;
pub mod paging;
pub mod quotas;
pub mod s3;
pub mod scenario;
pub mod sns;
pub mod sqs;
pub mod tally;
#[cfg(test)]
pub(crate) mod testing;
mod wire;
mod world;

pub use wire::Sandbox;
pub use world::{Actor, World};
