//! When keys were last used: `GetKeyLastUsage`, five a second at most, as a pass of its own.

use std::collections::BTreeMap;

use super::super::api::GET_KEY_LAST_USAGE;
use super::super::clients::RegionClients;
use super::super::outcome::observed;
use super::super::readings::Readings;
use super::convert;
use crate::model::{KeyArn, LastUsage, Observed, ReadingResult};

/// After this many failures in a row that are not about a key, the Region is left: it does not know the
/// call, or does not answer.
const FAILURES_TO_LEAVE: u32 = 5;

/// Samples keys one after the other; those that are gone or were not reached are not in the answer.
pub(crate) async fn last_usage(
    clients: &RegionClients,
    readings: &Readings,
    keys: &[KeyArn],
) -> BTreeMap<KeyArn, Observed<LastUsage>> {
    let (mut sampled, mut failures) = (BTreeMap::new(), 0);
    for key in keys {
        let request = clients.kms.get_key_last_usage().key_id(key.to_string()).send();
        let answer = clients.call(readings, GET_KEY_LAST_USAGE, request).await;
        match &answer {
            Err(failure) if failure.absent => continue,
            Err(failure) if failure.result != ReadingResult::Denied => failures += 1,
            Ok(_) | Err(_) => failures = 0,
        }
        sampled.insert(key.clone(), observed(answer.map(|output| convert::last_usage(&output))));
        if failures == FAILURES_TO_LEAVE {
            break;
        }
    }
    sampled
}
