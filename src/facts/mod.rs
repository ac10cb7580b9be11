//! Observations become facts documents for the rules.
//!
//! What takes thought is computed here once and named in the [`catalogue`]; rules only combine names. A fact
//! that rests on something that could not be read is unknown, with the reason. What a fact says depends on the
//! observations and the [`Context`] alone.

mod account_region;
pub mod catalogue;
#[cfg(test)]
mod conformity;
mod context;
mod drift;
mod estate;
mod event;
#[cfg(test)]
pub(crate) mod fixtures;
mod key;
mod key_material;
mod key_rotation;
mod key_set;
pub mod policy;
mod residency;
mod shape;
mod sheet;
mod trail;

pub use account_region::{account_region, is_whole_account};
pub use catalogue::CATALOGUE;
pub use context::{AccountScope, Context, OwnIdentity};
pub use estate::{Estate, Place, Touched};
pub use event::{
    ChangedTrail, changed_trail, event, event_enrichment, may_change_a_key, may_change_a_trail,
    names_keys_in_resources,
};
pub use key::key;
pub use key_set::key_set;
pub use residency::outside;
pub use trail::trail;
