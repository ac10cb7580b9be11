//! The nouns of Keyward: plain data with no I/O, no clock and no SDK.
//!
//! Everything that flows through Keyward is declared here: who is audited ([`AccountId`], [`Region`],
//! [`KeyArn`], [`KeySetId`]), what was read about it ([`KeySnapshot`], [`AccountRegionSnapshot`],
//! [`EventRecord`], [`Reading`]), in which unit it arrives ([`Batch`]), how the rules see it
//! ([`Fact`], [`Facts`]) and what they say ([`Verdict`], [`Finding`]).

mod account_region;
mod arn;
mod batch;
mod changes;
mod correlation;
mod event;
mod fact;
mod finding;
mod ids;
mod key;
pub mod kms;
mod log_check;
mod observed;
mod reading;
mod trail;
mod usage;
mod verdict;

pub use account_region::{AccountRegionSnapshot, ConfigOpinion, ConfigPosture, CustomKeyStore};
pub use arn::{ArnError, KeyArn, KeySetId};
pub use batch::{Batch, Cursor, Snapshot, SourceKind};
pub use changes::{Changes, FindingChange, OutboxRow, SubjectVerdicts, Transition};
pub use correlation::{CorrelationKey, CorrelationState, Lift, Remembered};
pub use event::EventRecord;
pub use fact::{Fact, FactMap, Facts};
pub use finding::{Finding, FindingKind, FindingState};
pub use ids::{AccountId, Country, IdError, Level, Region};
pub use key::{
    Grant, KeyMetadata, KeyRotation, KeySnapshot, LastUsage, MultiRegionRole, RelatedKeys, RotationKind,
    RotationStatus,
};
pub use log_check::{LogCheck, LogIssue, LogIssueKind, LogIssueNature};
pub use observed::{Gap, Observed};
pub use reading::{Reading, ReadingResult};
pub use trail::{Selectors, TrailSnapshot, TrailStatus};
pub use usage::{Network, OTHERS, SEVERAL, Unattributed, Usage, UsageCount, UsageOutcome};
pub use verdict::{Outcome, Subject, SubjectKind, Verdict};
