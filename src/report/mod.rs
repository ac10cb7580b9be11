//! One report model and its renderings.
//!
//! A report says, for one framework and one point in time: what was in scope and what of it could *not* be
//! read, which controls the rules support and what they found, where every key set is, and what stands open.

pub mod as_of;
mod build;
pub mod framework;
pub mod html;
pub mod logs;
mod model;
pub mod ocsf;
mod opinions;
pub mod proof;
pub mod replay;
pub mod residency;
pub mod scan;
mod table;
#[cfg(test)]
mod tests;
mod words;

pub use build::{Material, build};
pub use model::{
    ControlReport, ControlStatus, CoverageGap, FindingRow, Opinion, Report, RuleReport, Scope, SubjectRow,
};
pub use words::counted;
