//! Correlation rules: events that mean something together.
//!
//! A correlation rule counts what other rules match, by groups, within a time. What is remembered of each group
//! is a [`CorrelationState`](crate::model::CorrelationState) that the store keeps; [`RuleSet::correlate`](super::RuleSet::correlate)
//! adds a batch's [`Match`]es to it.

mod exemplar;
mod found;
mod link;
mod read;
mod state;
mod window;

use std::sync::Arc;

use super::document::Path;
use super::rule::Program;
use crate::model::{CorrelationKey, Remembered};

pub(super) use exemplar::run_one as run_exemplar;
pub(super) use link::{is_called, link};
pub(super) use read::{Draft, read};
pub(super) use state::take;
pub use state::{Correlated, LATENESS, MAX_MATCHES};
use window::Condition;

/// An event that counts for a correlation rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// Which events it counts together with.
    pub key: CorrelationKey,
    /// The values of the group.
    pub group: Vec<String>,
    /// What is remembered of it.
    pub event: Remembered,
}

/// A compiled correlation.
#[derive(Debug, Clone)]
pub(super) struct Correlation {
    pub(super) bases: Vec<Base>,
    /// The names of the group's values, as written.
    pub(super) group_by: Vec<String>,
    /// In microseconds.
    pub(super) span: i64,
    /// As written.
    pub(super) timespan: String,
    pub(super) condition: Condition,
    /// What was compiled, so that events are not counted by another meaning than that by which they came.
    pub(super) digest: String,
}

/// A rule whose matches count.
#[derive(Debug, Clone)]
pub(super) struct Base {
    pub(super) name: String,
    pub(super) counted: Counted,
    pub(super) group_by: Vec<Path>,
    /// The fields whose values are counted.
    pub(super) fields: Vec<Path>,
}

/// What a correlation counts.
#[derive(Debug, Clone)]
pub(super) enum Counted {
    /// The events that a rule matches.
    Rule(Box<Program>),
    /// The events that complete another correlation.
    Correlation(Arc<Correlation>),
}
