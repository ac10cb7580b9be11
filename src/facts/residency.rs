//! Which boundary a key set has to stay in, declared or inferred, and what is outside of it.

use std::collections::{BTreeMap, BTreeSet};

use super::context::Context;
use super::estate::Estate;
use super::shape::Shape;
use super::sheet::{Known, joined, observed};
use crate::jurisdiction::{Assigned, AssignmentInput, Boundary};
use crate::model::{Country, KeySetId, KeySnapshot, Region};

/// The membership, and the boundary, of a set whose home is in the European Economic Area.
const EEA: &str = "eea";
/// The boundary of such a set where the configuration counts adequacy decisions.
const EEA_AND_ADEQUATE: &str = "eea-and-adequate";

/// Where a key set has to be.
#[derive(Debug)]
pub(super) enum Residency<'a> {
    /// The configuration assigns a boundary.
    Declared {
        /// The boundary.
        boundary: &'a Boundary,
        /// The countries in which the primary has to be; empty: anywhere within the boundary.
        home: &'a [Country],
    },
    /// It assigns none; the primary's own jurisdiction stands in.
    Inferred {
        /// The primary's Region.
        home: Known<&'a Region>,
    },
    /// Whether it assigns one depends on what is not known.
    Unknown(String),
}

impl<'a> Residency<'a> {
    /// The residency of a key set.
    pub(super) fn of(shape: &Shape<'a>, context: &Context<'a>) -> Self {
        match assigned(shape, context) {
            Assigned::Declared { boundary, home } => match context.atlas.boundary(boundary) {
                Some(boundary) => Self::Declared { boundary, home },
                None => Self::Unknown(format!("boundary `{boundary}` is not in the atlas")),
            },
            Assigned::Undeclared => Self::Inferred { home: shape.primary.clone() },
            Assigned::Unknown(reason) => Self::Unknown(reason),
        }
    }

    /// Whether the configuration assigns the boundary.
    pub(super) fn is_declared(&self) -> Known<bool> {
        match self {
            Self::Declared { .. } => Ok(true),
            Self::Inferred { .. } => Ok(false),
            Self::Unknown(reason) => Err(reason.clone()),
        }
    }

    /// The boundary's name; an inferred one's is `eea`, or the country's code in lower case.
    pub(super) fn name(&self, context: &Context<'_>) -> Known<String> {
        match self {
            Self::Declared { boundary, .. } => Ok(boundary.name.clone()),
            Self::Inferred { home } => inferred_name(home.clone()?, context),
            Self::Unknown(reason) => Err(reason.clone()),
        }
    }

    /// The boundary's legal basis.
    pub(super) fn basis(&self) -> Known<&str> {
        match self {
            Self::Declared { boundary, .. } => Ok(&boundary.basis),
            Self::Inferred { .. } => Ok("inferred from the primary's own jurisdiction; none is declared"),
            Self::Unknown(reason) => Err(reason.clone()),
        }
    }

    /// The boundary's countries today.
    pub(super) fn countries(&self, context: &Context<'_>) -> Known<BTreeSet<Country>> {
        let today = context.today();
        match self {
            Self::Declared { boundary, .. } => Ok(context.atlas.boundary_countries(boundary, today)),
            Self::Inferred { home } => {
                let country = country(home.clone()?, context)?;
                let name = inferred_name(home.clone()?, context)?;
                let group = context.atlas.boundary(&name).filter(|_| is_group(&name));
                Ok(group.map_or_else(
                    || BTreeSet::from([country.clone()]),
                    |boundary| context.atlas.boundary_countries(boundary, today),
                ))
            }
            Self::Unknown(reason) => Err(reason.clone()),
        }
    }

    /// Whether a Region is inside. One whose country AWS does not state is outside of any declared boundary.
    pub(super) fn holds(&self, region: &Region, context: &Context<'_>) -> Known<bool> {
        match self {
            Self::Declared { boundary, .. } => Ok(context.atlas.is_inside(region, boundary, context.today())),
            Self::Inferred { home } => Ok(together(home.clone()?, region, context)),
            Self::Unknown(reason) => Err(reason.clone()),
        }
    }

    /// Whether a Region is none that the primary may be in, by the declared home; none: no home is declared.
    pub(super) fn is_outside_home(&self, region: &Region, context: &Context<'_>) -> Option<Known<bool>> {
        match self {
            Self::Declared { home: [], .. } | Self::Inferred { .. } => None,
            Self::Declared { home, .. } => {
                Some(Ok(context.atlas.country(region).is_none_or(|country| !home.contains(country))))
            }
            Self::Unknown(reason) => Some(Err(reason.clone())),
        }
    }
}

/// Which of some Regions are outside of a key set's boundary, whether or not it has members there.
///
/// # Errors
/// Why it cannot be told: the set is not in the inventory, or its boundary is not known.
pub fn outside(
    id: &KeySetId,
    regions: &BTreeSet<Region>,
    estate: &Estate,
    context: &Context<'_>,
) -> Result<BTreeSet<Region>, String> {
    let shape = Shape::of(id, estate).ok_or_else(|| "the key set is not in the inventory".to_owned())?;
    let residency = Residency::of(&shape, context);
    let mut outside = BTreeSet::new();
    for region in regions {
        if !residency.holds(region, context)? {
            outside.insert(region.clone());
        }
    }
    Ok(outside)
}

/// Whether two Regions go together where no boundary is declared.
pub(super) fn together(home: &Region, other: &Region, context: &Context<'_>) -> bool {
    context.atlas.together(home, other, context.policy.adequacy_counts, context.today())
}

/// A Region's country, or that it is not known.
pub(super) fn country<'a>(region: &Region, context: &Context<'a>) -> Known<&'a Country> {
    context.atlas.country(region).ok_or_else(|| match context.atlas.region(region) {
        Some(_) => format!("AWS does not state the country of {region}"),
        None => format!("{region} is not among the known Regions"),
    })
}

fn is_group(name: &str) -> bool {
    name == EEA || name == EEA_AND_ADEQUATE
}

fn inferred_name(home: &Region, context: &Context<'_>) -> Known<String> {
    let country = country(home, context)?;
    if !context.atlas.is_member(country, EEA, context.today()) {
        return Ok(country.as_str().to_ascii_lowercase());
    }
    let counts = context.policy.adequacy_counts && context.atlas.boundary(EEA_AND_ADEQUATE).is_some();
    Ok(if counts { EEA_AND_ADEQUATE } else { EEA }.to_owned())
}

/// What the configuration says of the set. Tags count on the primary and on any member that could be read.
fn assigned<'a>(shape: &Shape<'a>, context: &Context<'a>) -> Assigned<'a> {
    let account = &shape.arn.account;
    let ous = context.accounts.ous.get(account).map(Vec::as_slice);
    let primary_region = shape.primary.clone().ok();
    let (tags, are_tags_complete) = set_tags(shape);
    let (aliases, missing_aliases) = set_aliases(shape);
    let aliases: Vec<String> =
        aliases.iter().map(|name| name.strip_prefix("alias/").unwrap_or(name).to_owned()).collect();
    let certain = context.assignments.assign(&AssignmentInput {
        account,
        ous,
        primary_region,
        tags: are_tags_complete.then_some(&tags),
        aliases: missing_aliases.is_none().then_some(aliases.as_slice()),
    });
    if !matches!(certain, Assigned::Unknown(_)) {
        return certain;
    }
    // What is known may be enough to match; that it does not match says nothing of what is not known.
    let input = AssignmentInput {
        account,
        ous,
        primary_region,
        tags: Some(&tags),
        aliases: Some(aliases.as_slice()),
    };
    match context.assignments.assign(&input) {
        declared @ Assigned::Declared { .. } => declared,
        Assigned::Undeclared | Assigned::Unknown(_) => certain,
    }
}

/// The tags of all members that could be read, the primary's before the others', and whether they are enough
/// to say that a tag is absent: they are once the primary's could be read.
fn set_tags(shape: &Shape<'_>) -> (BTreeMap<String, String>, bool) {
    let mut tags = BTreeMap::new();
    for member in shape.read.values() {
        tags.extend(member.tags.known().cloned().into_iter().flatten());
    }
    let of_primary = shape.primary_key().ok().and_then(|primary| match observed(&primary.tags) {
        Some(known) => known.ok().cloned(),
        None => Some(BTreeMap::new()),
    });
    let is_complete = of_primary.is_some();
    tags.extend(of_primary.into_iter().flatten());
    (tags, is_complete)
}

/// The aliases of all members that could be read, and why there may be more.
pub(super) fn set_aliases(shape: &Shape<'_>) -> (BTreeSet<String>, Option<String>) {
    let known = |key: &KeySnapshot| key.aliases.known().cloned().unwrap_or_default();
    let aliases = shape.read.values().flat_map(|key| known(key)).collect();
    let gaps = shape.read.values().filter_map(|key| observed(&key.aliases)?.err());
    let unread = shape.unread().map(|region| format!("the member in {region} was not read"));
    (aliases, joined(gaps.chain(unread).chain(shape.blind.clone())))
}

#[cfg(test)]
mod tests {
    use super::super::estate::Estate;
    use super::super::fixtures::{World, gap, key, key_set};
    use super::*;
    use crate::model::Observed;

    fn estate(keys: Vec<KeySnapshot>) -> Estate {
        let mut estate = Estate::default();
        for key in keys {
            estate.put_key(key);
        }
        estate
    }

    fn with<T>(world: &World, keys: Vec<KeySnapshot>, look: impl Fn(&Residency<'_>, &Context<'_>) -> T) -> T {
        let estate = estate(keys);
        let shape = Shape::of(estate.key_sets().next().unwrap(), &estate).unwrap();
        let context = world.context();
        look(&Residency::of(&shape, &context), &context)
    }

    #[expect(
        clippy::redundant_closure_for_method_calls,
        reason = "the method alone is not general over lifetimes"
    )]
    fn name(world: &World, region: &str) -> Known<String> {
        let arn = format!("arn:aws:kms:{region}:111122223333:key/single");
        with(world, vec![key(&arn)], |residency, context| residency.name(context))
    }

    #[test]
    fn without_an_assignment_the_primary_s_jurisdiction_stands_in() {
        let world = World::new();
        assert_eq!(name(&world, "eu-central-1").unwrap(), "eea");
        assert_eq!(name(&world, "eu-west-2").unwrap(), "gb");
        assert_eq!(name(&world, "eu-central-2").unwrap(), "ch");
        assert_eq!(name(&world, "us-east-1").unwrap(), "us");
        assert_eq!(
            name(&world, "eu-isoe-west-1"),
            Err("AWS does not state the country of eu-isoe-west-1".to_owned())
        );
        assert_eq!(name(&world, "xx-new-1"), Err("xx-new-1 is not among the known Regions".to_owned()));
        let mut adequate = World::new();
        adequate.policy.adequacy_counts = true;
        assert_eq!(name(&adequate, "eu-central-1").unwrap(), "eea-and-adequate");
        assert_eq!(name(&adequate, "us-east-1").unwrap(), "us");
    }

    #[test]
    fn a_region_that_begins_with_eu_is_not_in_the_eea_for_that() {
        let world = World::new();
        let inside = |region: &str| {
            let arn = "arn:aws:kms:eu-central-1:111122223333:key/single";
            with(&world, vec![key(arn)], |residency, context| {
                residency.holds(&region.parse().unwrap(), context).unwrap()
            })
        };
        assert!(inside("eu-west-1"));
        for region in ["eu-west-2", "eu-central-2", "eu-isoe-west-1", "us-east-1"] {
            assert!(!inside(region), "{region}");
        }
    }

    #[test]
    fn a_tag_of_any_readable_member_assigns_and_the_primary_s_comes_first() {
        let world = World::assigned("[[residency]]\nboundary = 'eea'\nmatch = { tags = { class = 'eu' } }");
        let tagged = |key: &mut KeySnapshot, class: &str| {
            key.tags = Observed::Known(BTreeMap::from([("class".to_owned(), class.to_owned())]));
        };
        let declared = |keys| with(&world, keys, |residency, _| residency.is_declared());
        let members = key_set(&["eu-central-1", "eu-west-1"]);
        assert_eq!(declared(members.clone()), Ok(false));
        let mut by_replica = members.clone();
        tagged(&mut by_replica[1], "eu");
        assert_eq!(declared(by_replica.clone()), Ok(true));
        tagged(&mut by_replica[0], "public");
        assert_eq!(declared(by_replica), Ok(false));
    }

    #[test]
    fn tags_that_could_not_be_read_leave_it_unknown_unless_what_is_known_is_enough() {
        let world = World::assigned("[[residency]]\nboundary = 'eea'\nmatch = { tags = { class = 'eu' } }");
        let declared = |keys| with(&world, keys, |residency, _| residency.is_declared());
        let mut members = key_set(&["eu-central-1", "eu-west-1"]);
        members[0].tags = gap("kms:ListResourceTags");
        assert!(declared(members.clone()).is_err());
        members[1].tags = Observed::Known(BTreeMap::from([("class".to_owned(), "eu".to_owned())]));
        assert_eq!(declared(members.clone()), Ok(true));
        assert!(
            declared(vec![key_set(&["eu-central-1", "eu-west-1"]).remove(1)]).is_err(),
            "the primary is unread"
        );
    }

    #[test]
    fn an_alias_of_an_unread_member_may_assign() {
        let world = World::assigned("[[residency]]\nboundary = 'eea'\nmatch = { aliases = '^eu/' }");
        let declared = |keys| with(&world, keys, |residency, _| residency.is_declared());
        let mut members = key_set(&["eu-central-1", "eu-west-1"]);
        assert_eq!(declared(members.clone()), Ok(false));
        let primary_alone = vec![members[0].clone()];
        assert!(declared(primary_alone).is_err());
        members[0].aliases = Observed::Known(vec!["alias/eu/app".to_owned()]);
        assert_eq!(declared(vec![members[0].clone()]), Ok(true));
    }

    #[test]
    fn a_home_is_judged_only_where_one_is_declared() {
        let world = World::assigned("[[residency]]\nboundary = 'eea'\nhome = ['DE']");
        let outside = |world: &World, region: &str| {
            let arn = "arn:aws:kms:eu-central-1:111122223333:key/single";
            with(world, vec![key(arn)], |residency, context| {
                residency.is_outside_home(&region.parse().unwrap(), context)
            })
        };
        assert_eq!(outside(&world, "eu-central-1"), Some(Ok(false)));
        assert_eq!(outside(&world, "eu-west-1"), Some(Ok(true)));
        assert_eq!(outside(&world, "eu-isoe-west-1"), Some(Ok(true)));
        assert_eq!(outside(&World::new(), "eu-west-1"), None);
    }
}
