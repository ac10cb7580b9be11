//! An in-memory AWS over the real wire protocols, for the demo and the tests.

pub mod call;
