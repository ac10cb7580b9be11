//! Where every key set is: a matrix of key sets and Regions.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::audit::Auditor;
use crate::model::{AccountId, Fact, KeySetId, Region};

/// The matrix. Sets that need no look of their own are summed up in [`Residency::tallies`].
#[derive(Debug, Clone, Default, Serialize)]
pub struct Residency {
    /// The Regions that hold a key, in the order of their countries.
    pub regions: Vec<RegionColumn>,
    /// The key sets in more than one Region, outside their boundary, or not determined; worst first.
    pub sets: Vec<KeySetRow>,
    /// All key sets, counted by boundary.
    pub tallies: Vec<BoundaryTally>,
}

/// One Region.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct RegionColumn {
    /// ISO 3166-1 alpha-2, or `??` where AWS does not state it.
    pub country: String,
    /// The Region.
    pub region: Region,
    /// AWS's name for the place.
    pub location: String,
    /// How many customer keys are there.
    pub keys: u64,
}

/// What a key set has in a Region.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cell {
    /// Nothing.
    None,
    /// The primary, or the single-Region key, inside the boundary.
    Home,
    /// A replica inside the boundary.
    Replica,
    /// A member outside the boundary.
    Outside,
    /// A member that could not be read itself, inside the boundary.
    Unread,
}

/// One key set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeySetRow {
    /// Its identity.
    pub id: String,
    /// The aliases of its members.
    pub aliases: Vec<String>,
    /// The account that owns it.
    pub account: AccountId,
    /// Its boundary.
    pub boundary: String,
    /// Whether the boundary was assigned, or inferred from the primary.
    pub declared: bool,
    /// `inside`, `outside`, or why it is unknown.
    pub residency: String,
    /// One cell for each of [`Residency::regions`].
    pub cells: Vec<Cell>,
}

/// How many key sets have which boundary, and how they stand to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BoundaryTally {
    /// The boundary.
    pub boundary: String,
    /// Whether it was assigned, or inferred.
    pub declared: bool,
    /// Sets with all members inside.
    pub inside: u64,
    /// Sets with a member outside.
    pub outside: u64,
    /// Sets of which that could not be told.
    pub unknown: u64,
}

/// The texts of a list at a path; empty if it is missing or unknown.
pub(crate) fn texts(root: &Fact, path: &str) -> Vec<String> {
    match root.at(path) {
        Some(Fact::List(items)) => items.iter().filter_map(as_text).map(str::to_owned).collect(),
        Some(Fact::Text(text)) => vec![text.clone()],
        _ => Vec::new(),
    }
}

/// The text at a path; the reason where it is unknown.
pub(crate) fn text_or_reason(root: &Fact, path: &str) -> Option<String> {
    match root.at(path)? {
        Fact::Text(text) => Some(text.clone()),
        Fact::Unknown(reason) => Some(format!("unknown: {reason}")),
        _ => None,
    }
}

fn as_text(fact: &Fact) -> Option<&str> {
    match fact {
        Fact::Text(text) => Some(text),
        _ => None,
    }
}

/// How a residency text is counted: `inside`, `outside` or `unknown`.
pub(crate) fn residency_class(residency: &str) -> &'static str {
    match residency {
        "inside" => "inside",
        "outside" => "outside",
        _ => "unknown",
    }
}

struct Placed {
    row: KeySetRow,
    home: Option<String>,
    members: BTreeSet<String>,
    outside: BTreeSet<String>,
    unread: BTreeSet<String>,
}

impl Placed {
    fn read(id: &KeySetId, account: AccountId, root: &Fact) -> Self {
        let set = |path| texts(root, path).into_iter().collect::<BTreeSet<_>>();
        Self {
            row: KeySetRow {
                id: id.to_string(),
                aliases: texts(root, "key_set.aliases"),
                account,
                boundary: text_or_reason(root, "boundary.name").unwrap_or_else(|| "none".to_owned()),
                declared: matches!(root.at("boundary.declared"), Some(Fact::Bool(true))),
                residency: text_or_reason(root, "residency").unwrap_or_else(|| "unknown".to_owned()),
                cells: Vec::new(),
            },
            home: text_or_reason(root, "home.region"),
            members: set("key_set.regions"),
            outside: set("boundary.outside"),
            unread: set("key_set.unread_regions"),
        }
    }

    fn cell(&self, region: &str) -> Cell {
        if !self.members.contains(region) {
            Cell::None
        } else if self.outside.contains(region) {
            Cell::Outside
        } else if self.unread.contains(region) {
            Cell::Unread
        } else if self.home.as_deref() == Some(region) {
            Cell::Home
        } else {
            Cell::Replica
        }
    }

    /// Worth a row of its own: several members, or not plainly inside.
    fn is_notable(&self) -> bool {
        self.members.len() > 1 || self.row.residency != "inside"
    }

    fn badness(&self) -> u8 {
        match residency_class(&self.row.residency) {
            "outside" => 0,
            "unknown" => 1,
            _ => 2,
        }
    }
}

/// Places every customer key set of an estate.
pub fn residency(auditor: &Auditor, now: DateTime<Utc>) -> Residency {
    let placed: Vec<Placed> = auditor
        .customer_key_sets()
        .filter_map(|(id, account)| {
            auditor.key_set_facts(&id, now).map(|facts| Placed::read(&id, account, &facts.root))
        })
        .collect();
    let regions = columns(auditor, &placed);
    let tallies = tallies(&placed);
    let mut notable: Vec<Placed> = placed.into_iter().filter(Placed::is_notable).collect();
    notable.sort_by(|a, b| {
        (a.badness(), &a.row.boundary, &a.row.id).cmp(&(b.badness(), &b.row.boundary, &b.row.id))
    });
    let sets = notable
        .into_iter()
        .map(|set| KeySetRow {
            cells: regions.iter().map(|column| set.cell(column.region.as_str())).collect(),
            ..set.row
        })
        .collect();
    Residency { regions, sets, tallies }
}

fn columns(auditor: &Auditor, placed: &[Placed]) -> Vec<RegionColumn> {
    let mut keys: BTreeMap<String, u64> = BTreeMap::new();
    for region in placed.iter().flat_map(|set| &set.members) {
        *keys.entry(region.clone()).or_default() += 1;
    }
    let atlas = &auditor.standards().atlas;
    let mut columns: Vec<RegionColumn> = keys
        .into_iter()
        .filter_map(|(name, keys)| {
            let region: Region = name.parse().ok()?;
            let country = atlas.country(&region).map_or_else(|| "??".to_owned(), ToString::to_string);
            let location = atlas.region(&region).map_or_else(String::new, |info| info.location.clone());
            Some(RegionColumn { country, region, location, keys })
        })
        .collect();
    columns.sort();
    columns
}

fn tallies(placed: &[Placed]) -> Vec<BoundaryTally> {
    let mut tallies: BTreeMap<(bool, String), BoundaryTally> = BTreeMap::new();
    for set in placed {
        let declared = set.row.declared;
        let tally = tallies.entry((!declared, set.row.boundary.clone())).or_insert_with(|| BoundaryTally {
            boundary: set.row.boundary.clone(),
            declared,
            inside: 0,
            outside: 0,
            unknown: 0,
        });
        match residency_class(&set.row.residency) {
            "inside" => tally.inside += 1,
            "outside" => tally.outside += 1,
            _ => tally.unknown += 1,
        }
    }
    tallies.into_values().collect()
}
