//! The residency proof: whether a key set was used, or tried, outside its boundary, and for what the ledger can speak.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::audit::Auditor;
use crate::model::{AccountId, KeyArn, KeySetId, Network, Region, UsageOutcome};
use crate::store::{Heard, KeyUsage, LastUse, Store, StoreError};

/// The most rows that are shown of one key set; what is beyond them is summed up.
const MOST_USES: usize = 50;

/// What the ledger says of residency.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Proof {
    /// The beginning of the first hour of which any record was taken. Before, the ledger cannot speak.
    pub from: Option<DateTime<Utc>>,
    /// The end of the last hour of which any record was taken.
    pub until: Option<DateTime<Utc>>,
    /// The accounts in scope, with the Regions for which the ledger can speak, and those for which it cannot.
    pub accounts: Vec<AccountCoverage>,
    /// The key sets with a use or an attempt outside their boundary, and those of which it cannot be told; worst first.
    pub sets: Vec<SetProof>,
    /// Sets without any known use outside, where records were taken of every audited Region outside their boundary.
    pub none_known: u64,
    /// Sets without any known use outside, where no record was taken of some audited Region outside their boundary, or
    /// where no Region outside is audited at all.
    pub not_covered: u64,
}

/// For what the ledger can speak in one account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AccountCoverage {
    /// The account.
    pub account: AccountId,
    /// The Regions of which records were taken.
    pub heard: Vec<Heard>,
    /// The audited Regions of which none was: that nothing happened there cannot be told.
    pub not_covered: Vec<Region>,
    /// Uses that name their key by an alias, or not at all, and are attributed to none.
    pub unattributed: u64,
}

/// How a key set stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It was used outside its boundary.
    Used,
    /// It was tried outside its boundary, and not used as far as is known.
    Tried,
    /// It is not known what is outside.
    Unknown,
}

impl Standing {
    /// The standing in words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Used => "used outside",
            Self::Tried => "tried outside",
            Self::Unknown => "unknown",
        }
    }
}

/// What is known of one key set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SetProof {
    /// Its identity.
    pub id: String,
    /// How it stands.
    pub standing: Standing,
    /// Why it is unknown.
    pub reason: Option<String>,
    /// Who used or tried it outside, the most recent first.
    pub uses: Vec<OutsideUse>,
    /// How many calls are not among them, since there were too many kinds.
    pub further_calls: u64,
}

/// One kind of use outside the boundary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OutsideUse {
    /// The Region of the member that was used.
    pub region: String,
    /// Who.
    pub principal: String,
    /// From which account; empty for AWS services that call for themselves.
    pub account: String,
    /// What for.
    pub operation: String,
    /// What came of it.
    pub outcome: UsageOutcome,
    /// From where.
    pub network: Network,
    /// How often.
    pub count: u64,
    /// First.
    pub first: DateTime<Utc>,
    /// And last.
    pub last: DateTime<Utc>,
}

/// What is read of the ledger for a report.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    heard: Vec<Heard>,
    unattributed: BTreeMap<(String, String), u64>,
    /// By key set: the lines of its members outside.
    outside: BTreeMap<String, Vec<KeyUsage>>,
}

/// The places outside of their boundaries in which key sets were ever used or tried: what [`Ledger::read`] asks for.
pub fn places_outside(
    auditor: &Auditor,
    uses: &BTreeMap<String, Vec<LastUse>>,
    at: DateTime<Utc>,
) -> Vec<(KeySetId, Region)> {
    let mut places = Vec::new();
    for (id, _) in auditor.customer_key_sets() {
        let lines = uses.get(id.as_str()).into_iter().flatten();
        let regions: BTreeSet<Region> =
            lines.filter_map(|used| used.key.parse::<KeyArn>().ok()).map(|arn| arn.region).collect();
        let outside = auditor.outside(&id, &regions, at).unwrap_or_default();
        places.extend(outside.into_iter().map(|region| (id.clone(), region)));
    }
    places
}

impl Ledger {
    /// Reads what the ledger has up to a time.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn read(
        store: &Store,
        places: &[(KeySetId, Region)],
        at: DateTime<Utc>,
    ) -> Result<Self, StoreError> {
        let hour = at.timestamp().div_euclid(3_600);
        let heard = store.heard_until(hour).await?;
        Ok(Self {
            heard,
            unattributed: store.unattributed(hour).await?,
            outside: store.usage_in_regions(places, hour).await?,
        })
    }
}

/// What the ledger says of an estate.
pub fn proof(auditor: &Auditor, ledger: &Ledger, at: DateTime<Utc>) -> Proof {
    let accounts = coverage(auditor, ledger);
    let mut proof = Proof {
        from: ledger.heard.iter().map(|heard| heard.first).min(),
        until: ledger.heard.iter().map(|heard| heard.last).max(),
        ..Proof::default()
    };
    for (id, account) in auditor.customer_key_sets() {
        let of_account = accounts.iter().find(|coverage| coverage.account == account);
        let lines = ledger.outside.get(id.as_str()).map_or(&[][..], Vec::as_slice);
        match is_covered(auditor, &id, of_account, at) {
            Err(reason) => proof.sets.push(unknown(&id, reason)),
            Ok(_) if !lines.is_empty() => proof.sets.push(of_set(&id, lines)),
            Ok(true) => proof.none_known += 1,
            Ok(false) => proof.not_covered += 1,
        }
    }
    proof.sets.sort_by(|one, other| (one.standing, &one.id).cmp(&(other.standing, &other.id)));
    proof.accounts = accounts;
    proof
}

/// Whether the ledger can speak for all audited Regions of the account outside of a set's boundary. If there are none,
/// nobody watches what is outside, and it cannot.
fn is_covered(
    auditor: &Auditor,
    id: &KeySetId,
    of_account: Option<&AccountCoverage>,
    at: DateTime<Utc>,
) -> Result<bool, String> {
    let coverage = of_account.into_iter();
    let heard = coverage.clone().flat_map(|coverage| &coverage.heard);
    let heard: BTreeSet<Region> = heard.filter_map(|heard| heard.region.parse().ok()).collect();
    let not_covered: BTreeSet<Region> = coverage.flat_map(|coverage| coverage.not_covered.clone()).collect();
    let is_blind = !auditor.outside(id, &not_covered, at)?.is_empty();
    Ok(!is_blind && !auditor.outside(id, &heard, at)?.is_empty())
}

fn coverage(auditor: &Auditor, ledger: &Ledger) -> Vec<AccountCoverage> {
    let mut accounts: BTreeMap<&AccountId, AccountCoverage> = BTreeMap::new();
    for (account, region) in auditor.regions() {
        let coverage = accounts.entry(account).or_insert_with(|| AccountCoverage {
            account: account.clone(),
            heard: Vec::new(),
            not_covered: Vec::new(),
            unattributed: 0,
        });
        let is_it = |heard: &&Heard| heard.account == account.as_str() && heard.region == region.as_str();
        match ledger.heard.iter().find(is_it) {
            Some(heard) => coverage.heard.push(heard.clone()),
            None => coverage.not_covered.push(region.clone()),
        }
        let place = (account.as_str().to_owned(), region.as_str().to_owned());
        coverage.unattributed += ledger.unattributed.get(&place).copied().unwrap_or_default();
    }
    accounts.into_values().collect()
}

fn unknown(id: &KeySetId, reason: String) -> SetProof {
    SetProof {
        id: id.to_string(),
        standing: Standing::Unknown,
        reason: Some(reason),
        uses: Vec::new(),
        further_calls: 0,
    }
}

fn of_set(id: &KeySetId, lines: &[KeyUsage]) -> SetProof {
    let mut kinds: BTreeMap<(String, &str, &str, &str, UsageOutcome, Network), OutsideUse> = BTreeMap::new();
    for (usage, count) in lines {
        let region = usage.key.parse::<KeyArn>().map_or_else(|_| String::new(), |arn| arn.region.to_string());
        let kind = (
            region.clone(),
            usage.principal.as_str(),
            usage.account.as_str(),
            usage.operation.as_str(),
            usage.outcome,
            usage.network,
        );
        let known = kinds.entry(kind).or_insert_with(|| OutsideUse {
            region,
            principal: usage.principal.clone(),
            account: usage.account.clone(),
            operation: usage.operation.clone(),
            outcome: usage.outcome,
            network: usage.network,
            count: 0,
            first: count.first,
            last: count.last,
        });
        known.count += count.count;
        known.first = known.first.min(count.first);
        known.last = known.last.max(count.last);
    }
    let mut uses: Vec<OutsideUse> = kinds.into_values().collect();
    let was_used = uses.iter().any(|used| used.outcome == UsageOutcome::Success);
    // What was done comes before what was tried.
    uses.sort_by(|one, other| (one.outcome, other.last).cmp(&(other.outcome, one.last)));
    let further_calls = uses.iter().skip(MOST_USES).map(|used| used.count).sum();
    uses.truncate(MOST_USES);
    SetProof {
        id: id.to_string(),
        standing: if was_used { Standing::Used } else { Standing::Tried },
        reason: None,
        uses,
        further_calls,
    }
}
