//! Keyward audits AWS KMS: where each key, and every copy of it, can be used, by whom, whether it has been,
//! and whether that was allowed.
//!
//! Data flows one way: [`collect`] → [`facts`] → [`rules`] → [`findings`] → [`store`] → [`notify`],
//! [`metrics`], [`report`], [`web`]. The pure rooms ([`model`], [`jurisdiction`], [`facts`], [`rules`],
//! [`findings`], [`records`], [`ledger`]) see no clock, no I/O and no SDK. `docs/ARCHITECTURE.md` tells why.

pub mod audit;
pub mod cli;
pub mod clock;
pub mod collect;
pub mod config;
pub mod daemon;
pub mod facts;
pub mod findings;
pub mod harvest;
pub mod integrity;
pub mod jurisdiction;
pub mod ledger;
pub mod metrics;
pub mod model;
pub mod notify;
pub mod pipeline;
pub mod records;
pub mod replay;
pub mod report;
pub mod rounds;
pub mod rules;
#[cfg(feature = "sandbox")]
pub mod sandbox;
pub mod scan;
pub mod store;
pub mod web;
