//! AWS CloudTrail: the record of every call, the event history, and trails.

mod caller;
mod history;
mod logs;
mod lookup;
mod parameters;
mod record;
mod selectors;
mod status;
#[cfg(test)]
mod tests;
mod trails;

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::World;
use super::call::{Answer, Call};
use super::ids::Ids;
use crate::model::{AccountId, Region};
use history::History;
use trails::Trail;

pub use logs::{Logs, PublicKeys, deliver_due, deliver_now, digest_now};

/// Every account's trails and event history.
#[derive(Debug)]
pub struct State {
    histories: BTreeMap<(AccountId, Region), History>,
    /// By the owner's account, home Region and name.
    trails: BTreeMap<(AccountId, Region, String), Trail>,
    ids: Ids,
    /// How records reach the event history.
    pub delivery: Delivery,
    /// How many records an account's history in one Region holds at most; the oldest give way.
    /// None at all are written if it is zero.
    pub most_records: usize,
    /// How trails deliver to their buckets.
    pub logs: Logs,
    /// What digests are signed with.
    pub keys: PublicKeys,
    /// Records that the trails have not seen yet.
    written: Vec<Written>,
}

/// A record that was just written.
#[derive(Debug, Clone)]
pub(super) struct Written {
    /// Whose history it is in.
    pub(super) account: AccountId,
    /// Of which Region.
    pub(super) region: Region,
    /// When it happened, to the second.
    pub(super) time: DateTime<Utc>,
    /// Whether it only reads.
    pub(super) read_only: bool,
    /// The record as JSON text.
    pub(super) record: Arc<str>,
    id: Arc<str>,
    source: Arc<str>,
}

/// How records reach the event history. On AWS it takes about five minutes on average, sometimes hours.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Delivery {
    /// How long a record takes at least, by the sandbox's clock.
    pub delay: TimeDelta,
    /// How much longer it may take; by that, records come late and out of their order.
    pub jitter: TimeDelta,
    /// Which share of the records, from 0 to 1, is listed twice under the same event id.
    pub duplicates: f64,
}

impl Default for Delivery {
    fn default() -> Self {
        Self { delay: TimeDelta::zero(), jitter: TimeDelta::zero(), duplicates: 0.0 }
    }
}

impl Default for State {
    fn default() -> Self {
        Self {
            histories: BTreeMap::new(),
            trails: BTreeMap::new(),
            ids: Ids::new("cloudtrail"),
            delivery: Delivery::default(),
            most_records: 200_000,
            logs: Logs::default(),
            keys: PublicKeys::default(),
            written: Vec::new(),
        }
    }
}

/// An account's place in an organization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// The organization's id.
    pub id: String,
    /// Its management account.
    pub management: AccountId,
}

impl State {
    /// Goes on with ids that no other world has.
    pub fn reseed_at_random(&mut self) {
        self.ids.reseed_at_random();
    }

    /// Answers one call at one time.
    ///
    /// # Errors
    ///
    /// The error that AWS CloudTrail gives.
    pub fn answer(&mut self, call: &Call, now: DateTime<Utc>, membership: Option<&Membership>) -> Answer {
        if call.operation == "LookupEvents" {
            return lookup::lookup_events(self, call, now);
        }
        if call.operation == "ListPublicKeys" {
            return self.keys.list(call, now);
        }
        let mut desk = trails::Desk { state: self, call, now, membership };
        match call.operation.as_str() {
            "CreateTrail" => desk.create_trail(),
            "UpdateTrail" => desk.update_trail(),
            "DeleteTrail" => desk.delete_trail(),
            "DescribeTrails" => Ok(desk.describe_trails()),
            "GetTrail" => desk.get_trail(),
            "ListTrails" => Ok(desk.list_trails()),
            "GetTrailStatus" => status::get_trail_status(&desk),
            "StartLogging" => status::start_logging(&mut desk),
            "StopLogging" => status::stop_logging(&mut desk),
            "GetEventSelectors" => selectors::get_event_selectors(&desk),
            "PutEventSelectors" => selectors::put_event_selectors(&mut desk),
            _ => Err(super::world::unknown_operation(call)),
        }
    }
}

/// Answers a call.
pub fn handle(world: &mut World, call: &Call) -> Answer {
    // Whatever KMS did of itself meanwhile is in the history before it is looked at.
    let events = world.kms.take_events();
    world.cloudtrail.take_service_events(events);
    let (now, membership) = (world.now(), world.membership(&call.account));
    let answer = world.cloudtrail.answer(call, now, membership.as_ref());
    logs::refresh(world);
    answer
}

/// Leaves the records of a call.
pub fn record(world: &mut World, call: &Call, answer: &Answer) {
    let (trace, events) = (world.kms.take_trace(), world.kms.take_events());
    world.cloudtrail.take_service_events(events);
    let now = world.now();
    let session = call.access_key.as_ref().and_then(|key| world.identity.session(key));
    let began = session.map_or(now, |session| session.created);
    world.cloudtrail.record_call(call, answer, &trace, (now, began));
    logs::distribute(world);
}
