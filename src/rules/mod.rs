//! Sigma rules: loading, compiling, and three-valued evaluation.
//!
//! A rule file ([`RuleFile`]) is read with the line of every key, checked against Sigma and the facts catalogue, and
//! compiled into a closed tree. A [`RuleSet`] judges [`Facts`](crate::model::Facts) and detects in CloudTrail records;
//! what could not be read makes a verdict unknown with its reasons, never a pass.

mod assemble;
mod builtin;
mod checks;
mod collection;
mod correlation;
mod describe;
mod detection;
mod document;
mod error;
mod eval;
mod exemplar;
mod filter;
mod guard;
mod index;
mod keyward;
mod load;
mod matcher;
mod message;
mod modifier;
mod pattern;
mod rule;
mod screen;
mod set;
mod source;
#[cfg(test)]
mod tests;
mod values;
mod yaml;

pub use builtin::builtin_files;
pub use correlation::{Correlated, LATENESS, MAX_MATCHES, Match};
pub use document::{Document, EventDocument, Items, Members, Node, Scalar, is_enrichment};
pub use error::{RuleError, RuleErrors};
pub use exemplar::ExemplarResult;
pub use rule::{Exemplar, Rule};
pub use screen::{Candidates, NOT_LOOKED_AT, Screened};
pub use set::{ForeignRule, Found, RuleFile, RuleSet};
