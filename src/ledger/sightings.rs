//! The fingerprints of a batch's events, sorted into their blocks.

use std::borrow::Cow;
use std::hash::{BuildHasher, Hasher};

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::classify::hour;
use super::{Block, fingerprint};
use crate::records::{Envelope, Field};

/// The fingerprints of a batch's events. An event is named by the number that the batch gives it.
#[derive(Debug, Default)]
pub struct Sightings {
    seed: RandomState,
    by_block: HashTable<u32>,
    blocks: Vec<(Block, Vec<(u64, u32)>)>,
    /// The block of the event before, which most events share.
    last: u32,
}

/// The blocks of a batch, ready for the store.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Sighted {
    /// The fingerprints of each block, strictly ascending.
    pub blocks: Vec<(Block, Vec<u64>)>,
    /// For each block, the events that the fingerprints are of.
    pub events: Vec<Vec<u32>>,
    /// The events that came more than once in the batch, but for the first of each.
    pub repeated: Vec<u32>,
}

impl Sightings {
    /// Adds an event.
    #[inline]
    pub fn add(&mut self, envelope: &Envelope<'_>, event: u32) {
        let Some(id) = envelope.text(Field::EventId) else { return };
        let region = envelope.text(Field::AwsRegion).unwrap_or_default();
        let account = account(envelope);
        let number = self.block(&account, &region, hour(envelope));
        if let Some((_, prints)) = self.blocks.get_mut(number as usize) {
            prints.push((fingerprint(&id), event));
        }
    }

    #[inline]
    fn block(&mut self, account: &str, region: &str, hour: i64) -> u32 {
        let is_it = |block: &Block| block.hour == hour && block.account == account && block.region == region;
        if self.blocks.get(self.last as usize).is_some_and(|(block, _)| is_it(block)) {
            return self.last;
        }
        let hash = hash(&self.seed, account, region, hour);
        let blocks = &self.blocks;
        let is_same = |number: &u32| blocks.get(*number as usize).is_some_and(|(block, _)| is_it(block));
        let number = match self.by_block.find(hash, is_same) {
            Some(number) => *number,
            None => self.new_block(hash, account, region, hour),
        };
        self.last = number;
        number
    }

    fn new_block(&mut self, own: u64, account: &str, region: &str, hour: i64) -> u32 {
        let number = u32::try_from(self.blocks.len()).unwrap_or(u32::MAX);
        let (seed, blocks) = (&self.seed, &self.blocks);
        self.by_block.insert_unique(own, number, |number| {
            let block = blocks.get(*number as usize).map(|(block, _)| block);
            block.map_or(0, |block| hash(seed, &block.account, &block.region, block.hour))
        });
        let block = Block { account: account.to_owned(), region: region.to_owned(), hour };
        self.blocks.push((block, Vec::new()));
        number
    }

    /// The blocks in order, each event once.
    pub fn finish(self) -> Sighted {
        let mut blocks = self.blocks;
        blocks.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        let mut sighted = Sighted::default();
        for (block, mut sightings) in blocks {
            sightings.sort_unstable();
            let mut prints: Vec<u64> = Vec::with_capacity(sightings.len());
            let mut events = Vec::with_capacity(sightings.len());
            for (print, event) in sightings {
                if prints.last() == Some(&print) {
                    sighted.repeated.push(event);
                } else {
                    prints.push(print);
                    events.push(event);
                }
            }
            sighted.blocks.push((block, prints));
            sighted.events.push(events);
        }
        sighted
    }
}

/// The account whose log a record is in.
#[inline]
fn account<'a>(envelope: &Envelope<'a>) -> Cow<'a, str> {
    let own = envelope.text(Field::RecipientAccountId).filter(|account| !account.is_empty());
    let of_caller = || envelope.field(Field::UserIdentity)?.get("accountId")?.text();
    own.or_else(of_caller).unwrap_or_default()
}

#[inline]
fn hash(seed: &RandomState, account: &str, region: &str, hour: i64) -> u64 {
    let mut hasher = seed.build_hasher();
    hasher.write_usize(account.len());
    hasher.write(account.as_bytes());
    hasher.write(region.as_bytes());
    hasher.write_i64(hour);
    hasher.finish()
}
