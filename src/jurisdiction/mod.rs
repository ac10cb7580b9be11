//! Region → country → memberships at a date; boundaries; which boundary a key set has to stay in.
//!
//! The [`Atlas`] is dated data with sources, read from `rules/jurisdictions/` and never code: which country
//! AWS says a Region is in, which countries belong to what on which day, and which of them a [`Boundary`]
//! holds. [`Assignments`] say which boundary the configuration declares for a key set. A Region whose
//! country AWS does not state, or that the atlas does not know, is outside every boundary.

mod assignments;
mod atlas;
mod files;
mod suggest;

pub use assignments::{
    Assigned, AssignmentInput, AssignmentProblem, Assignments, AssignmentsError, ResidencyAssignment,
    ResidencyMatch,
};
pub use atlas::{Atlas, Boundary, Membership, MembershipEntry, OptIn, RegionInfo, Source};
pub use files::{AtlasError, AtlasProblem, builtin_files};
pub use suggest::{did_you_mean, nearest};
