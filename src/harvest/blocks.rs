//! The events of a part by the block in which they are known again.

use std::collections::BTreeMap;

use chrono::DateTime;
use hashbrown::HashMap;

use super::part::{Part, Sighting};
use super::when::When;
use crate::ledger::Block;
use crate::records::{Envelope, Field, Raw};

/// The events of a part, by block.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    held: Vec<Held>,
    by_name: HashMap<Block, usize>,
    /// The block of the last event, as most files have few, and how it stands in the record.
    last: usize,
    last_hour: i64,
    last_account: Vec<u8>,
    last_region: Vec<u8>,
}

#[derive(Debug)]
struct Held {
    block: Block,
    oldest: i64,
    newest: i64,
    events: Vec<Sighting>,
}

impl Blocks {
    /// Notes an event.
    pub(super) fn note(&mut self, envelope: &Envelope<'_>, time: When, sighting: Sighting) {
        let at = self.block(envelope, time);
        let Some(held) = self.held.get_mut(at) else { return };
        held.oldest = held.oldest.min(time.micros);
        held.newest = held.newest.max(time.micros);
        held.events.push(sighting);
    }

    /// The block of an event. That of the last one is told by how both stand in their records.
    fn block(&mut self, envelope: &Envelope<'_>, time: When) -> usize {
        let bytes = |field| envelope.field(field).map_or(&[][..], Raw::bytes);
        let (account, region) = (bytes(Field::RecipientAccountId), bytes(Field::AwsRegion));
        let is_the_last = account.len() > b"\"\"".len()
            && self.last_hour == time.hour
            && self.last_account == account
            && self.last_region == region;
        if !is_the_last {
            self.last = self.find(envelope, time);
            self.last_hour = time.hour;
            self.last_account.clear();
            self.last_account.extend_from_slice(account);
            self.last_region.clear();
            self.last_region.extend_from_slice(region);
        }
        self.last
    }

    fn find(&mut self, envelope: &Envelope<'_>, time: When) -> usize {
        let account = envelope
            .text(Field::RecipientAccountId)
            .filter(|account| !account.is_empty())
            .or_else(|| envelope.at(&["userIdentity", "accountId"]).and_then(Raw::text))
            .unwrap_or_default();
        let region = envelope.text(Field::AwsRegion).unwrap_or_default();
        let block = Block { account: account.into_owned(), region: region.into_owned(), hour: time.hour };
        *self.by_name.entry(block.clone()).or_insert_with(|| {
            let (oldest, newest) = (time.micros, time.micros);
            self.held.push(Held { block, oldest, newest, events: Vec::new() });
            self.held.len() - 1
        })
    }

    /// Gives everything to the part that it is about, and begins anew.
    pub(super) fn pour_into(&mut self, part: &mut Part) {
        let blocks = std::mem::take(self).held;
        let mut places = BTreeMap::new();
        for held in blocks {
            let (Some(oldest), Some(newest)) =
                (DateTime::from_timestamp_micros(held.oldest), DateTime::from_timestamp_micros(held.newest))
            else {
                continue;
            };
            let span = part.counts.span.get_or_insert((oldest, newest));
            *span = (span.0.min(oldest), span.1.max(newest));
            let place = (held.block.account.clone(), held.block.region.clone());
            let known = places.entry(place).or_insert(newest);
            *known = newest.max(*known);
            part.put(held.block, held.events);
        }
        part.counts.places = places;
    }
}
