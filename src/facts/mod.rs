//! Observations become facts documents for the rules.

pub mod catalogue;
