//! Facts about a key set: where its material is, whether that is allowed, and whether its members are alike.

use std::collections::BTreeSet;

use super::Context;
use super::drift;
use super::estate::Estate;
use super::key::count;
use super::residency::{self, Residency, country, together};
use super::shape::Shape;
use super::sheet::{Known, Sheet, joined};
use crate::model::{Country, Fact, Facts, KeySetId, Region, Subject, SubjectKind};

/// The facts about a key set; none if no member of it was read.
pub fn key_set(set: &KeySetId, estate: &Estate, context: &Context<'_>) -> Option<Facts> {
    let shape = Shape::of(set, estate)?;
    let residency = Residency::of(&shape, context);
    let mut sheet = Sheet::default();
    sheet.put("key_set.id", set.as_str());
    members(&mut sheet, &shape, context);
    home(&mut sheet, &shape, &residency, context);
    boundary(&mut sheet, &shape, &residency, context);
    jurisdictions(&mut sheet, &shape, context);
    multi_region(&mut sheet, &shape, &residency, context);
    sheet.put_known_texts("drift.policy", drift::policy(&shape));
    sheet.put_known_texts("drift.tags", drift::tags(&shape));
    sheet.put_known_texts("drift.aliases", drift::aliases(&shape));
    sheet.put_known_texts("drift.state", drift::state(&shape));
    let subject = Subject {
        kind: SubjectKind::KeySet,
        id: set.to_string(),
        account: shape.arn.account.clone(),
        region: shape.primary.clone().ok().cloned(),
        key_set: Some(set.clone()),
        key: shape.primary.clone().ok().map(|region| shape.arn.in_region(region.clone())),
        boundary: residency.name(context).ok(),
    };
    Some(Facts { subject, root: sheet.finish() })
}

fn members(sheet: &mut Sheet, shape: &Shape<'_>, context: &Context<'_>) {
    sheet.put("key_set.account", shape.arn.account.as_str());
    sheet.put("key_set.multi_region", shape.is_multi_region());
    sheet.put("key_set.transient", shape.is_transient);
    sheet.put_known("key_set.customer", is_customer(shape));
    sheet.put_known_texts("key_set.regions", shape.regions());
    sheet.put_known_texts("key_set.countries", countries(shape, context));
    sheet.put_texts("key_set.unread_regions", shape.unread());
    sheet.put_known("key_set.member_count", shape.regions().map(|regions| count(regions.len())));
    let replicas = shape.regions().and_then(|regions| {
        let primary = shape.primary.clone()?;
        Ok(count(regions.iter().filter(|region| **region != primary).count()))
    });
    sheet.put_known("key_set.replica_count", replicas);
    let (aliases, missing) = residency::set_aliases(shape);
    sheet.put_known_texts("key_set.aliases", missing.map_or(Ok(aliases), Err));
    match shape.primary_key() {
        Ok(primary) => {
            let tags = primary
                .tags
                .fact(|tags| Fact::map(tags.iter().map(|(name, value)| (name.clone(), Fact::text(value)))));
            sheet.put_some("tags", tags);
        }
        Err(reason) => sheet.put_unknown(&["tags"], &reason),
    }
}

/// Multi-Region keys are always customer managed.
fn is_customer(shape: &Shape<'_>) -> Known<bool> {
    if shape.is_multi_region() {
        return Ok(true);
    }
    let key = shape.read.values().next().ok_or_else(|| "the key was not read".to_owned())?;
    super::key::metadata(key).map(|metadata| metadata.manager == "CUSTOMER")
}

fn countries(shape: &Shape<'_>, context: &Context<'_>) -> Known<BTreeSet<String>> {
    let regions = shape.regions()?;
    let all: Vec<_> = regions.iter().map(|region| country(region, context)).collect();
    match joined(all.iter().filter_map(|country| country.clone().err())) {
        Some(reason) => Err(reason),
        None => Ok(all.into_iter().flatten().map(ToString::to_string).collect()),
    }
}

fn home(sheet: &mut Sheet, shape: &Shape<'_>, residency: &Residency<'_>, context: &Context<'_>) {
    let primary = shape.primary.clone();
    sheet.put_known("home.region", primary.clone().map(Region::as_str));
    let home_country = primary.clone().and_then(|region| country(region, context));
    sheet.put_known("home.country", home_country.map(Country::as_str));
    let declared = match residency {
        Residency::Declared { home, .. } => Ok(*home),
        Residency::Inferred { .. } => Ok(&[] as &[_]),
        Residency::Unknown(reason) => Err(reason.clone()),
    };
    sheet.put_known("home.declared", declared.clone().map(|home| !home.is_empty()));
    sheet.put_known_texts("home.allowed", declared);
    let outside = match primary {
        Ok(region) => residency.is_outside_home(region, context),
        Err(reason) => match residency {
            Residency::Inferred { .. } | Residency::Declared { home: [], .. } => None,
            Residency::Declared { .. } | Residency::Unknown(_) => Some(Err(reason)),
        },
    };
    if let Some(outside) = outside {
        sheet.put_known("home.outside", outside);
    }
}

fn boundary(sheet: &mut Sheet, shape: &Shape<'_>, residency: &Residency<'_>, context: &Context<'_>) {
    sheet.put_known("boundary.name", residency.name(context));
    sheet.put_known("boundary.declared", residency.is_declared());
    sheet.put_known("boundary.basis", residency.basis());
    sheet.put_known_texts("boundary.countries", residency.countries(context));
    let mut inside = Vec::new();
    let mut outside = Vec::new();
    let mut unknown: Vec<String> = shape.blind.iter().cloned().collect();
    for region in &shape.named {
        match residency.holds(region, context) {
            Ok(true) => inside.push(*region),
            Ok(false) => outside.push(*region),
            Err(reason) => unknown.push(reason),
        }
    }
    let doubt = joined(unknown);
    let residency_word = match &doubt {
        _ if !outside.is_empty() => Ok("outside"),
        Some(reason) => Err(reason.clone()),
        None => Ok("inside"),
    };
    sheet.put_known("residency", residency_word);
    // What is known to be outside stands, however much else is not known.
    let unless = |found: Vec<&Region>| match &doubt {
        Some(reason) if found.is_empty() => Err(reason.clone()),
        _ => Ok(found.into_iter().cloned().collect::<Vec<_>>()),
    };
    sheet.put_known_texts("boundary.inside", unless(inside));
    sheet.put_known_texts("boundary.outside", unless(outside));
}

fn jurisdictions(sheet: &mut Sheet, shape: &Shape<'_>, context: &Context<'_>) {
    let home = match shape.primary.clone() {
        Ok(home) => home,
        Err(reason) => return sheet.put_unknown(&["jurisdictions.together", "jurisdictions.apart"], &reason),
    };
    let apart: Vec<&Region> =
        shape.named.iter().copied().filter(|region| !together(home, region, context)).collect();
    match &shape.blind {
        Some(reason) if apart.is_empty() => {
            sheet.put_unknown(&["jurisdictions.together", "jurisdictions.apart"], reason);
        }
        _ => {
            sheet.put("jurisdictions.together", apart.is_empty());
            sheet.put_texts("jurisdictions.apart", apart);
        }
    }
}

fn multi_region(sheet: &mut Sheet, shape: &Shape<'_>, residency: &Residency<'_>, context: &Context<'_>) {
    let account = &shape.arn.account;
    let by_account =
        context.policy.single_region_accounts.contains(account).then(|| format!("account {account}"));
    let by_boundary = match residency {
        Residency::Declared { boundary, .. } => {
            Ok(boundary.single_region_only.then(|| format!("boundary {}", boundary.name)))
        }
        Residency::Inferred { .. } => Ok(None),
        Residency::Unknown(reason) => Err(reason.clone()),
    };
    let forbidden_by = match (by_account, by_boundary) {
        (Some(account), _) => Ok(Some(account)),
        (None, by_boundary) => by_boundary,
    };
    sheet.put_known("multi_region.allowed", forbidden_by.clone().map(|by| by.is_none()));
    match forbidden_by {
        Ok(by) => sheet.put_some("multi_region.forbidden_by", by),
        Err(reason) => sheet.put_unknown(&["multi_region.forbidden_by"], &reason),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{World, gap, key, key_set as members_of, show};
    use super::*;
    use crate::model::{KeySnapshot, Observed};

    fn judge(world: &World, keys: &[KeySnapshot]) -> Facts {
        let mut estate = Estate::default();
        for key in keys {
            estate.put_key(key.clone());
        }
        let set = estate.key_sets().next().unwrap().clone();
        key_set(&set, &estate, &world.context()).unwrap()
    }

    #[test]
    fn a_set_that_nobody_read_has_no_facts() {
        let set = key("arn:aws:kms:eu-central-1:111122223333:key/single").arn.key_set();
        assert!(key_set(&set, &Estate::default(), &World::new().context()).is_none());
    }

    #[test]
    fn members_are_those_that_any_member_names() {
        let facts = judge(&World::new(), &members_of(&["eu-central-1", "eu-west-1", "eu-west-2"])[..2]);
        assert_eq!(show(&facts, "key_set.id"), "arn:aws:kms:*:111122223333:key/mrk-1");
        assert_eq!(show(&facts, "key_set.regions"), "eu-central-1 eu-west-1 eu-west-2");
        assert_eq!(show(&facts, "key_set.unread_regions"), "eu-west-2");
        assert_eq!(show(&facts, "key_set.countries"), "DE GB IE");
        assert_eq!(show(&facts, "key_set.member_count"), "3");
        assert_eq!(show(&facts, "key_set.replica_count"), "2");
        assert_eq!(show(&facts, "home.region"), "eu-central-1");
        assert_eq!(facts.subject.region.unwrap().as_str(), "eu-central-1");
        assert_eq!(facts.subject.key.unwrap().region.as_str(), "eu-central-1");
    }

    #[test]
    fn an_unread_member_outside_is_as_much_outside() {
        let world = World::assigned("[[residency]]\nboundary = 'eea'");
        let facts = judge(&world, &members_of(&["eu-central-1", "eu-west-1", "eu-west-2"])[..1]);
        assert_eq!(show(&facts, "boundary.name"), "eea");
        assert_eq!(show(&facts, "boundary.declared"), "true");
        assert_eq!(show(&facts, "boundary.inside"), "eu-central-1 eu-west-1");
        assert_eq!(show(&facts, "boundary.outside"), "eu-west-2");
        assert_eq!(show(&facts, "residency"), "outside");
        assert_eq!(facts.subject.boundary.as_deref(), Some("eea"));
    }

    #[test]
    fn a_single_region_key_in_the_wrong_place_is_outside_too() {
        let world = World::assigned("[[residency]]\nboundary = 'eea'");
        let facts = judge(&world, &[key("arn:aws:kms:us-east-1:111122223333:key/single")]);
        assert_eq!(show(&facts, "boundary.outside"), "us-east-1");
        assert_eq!(show(&facts, "boundary.inside"), "-");
        let unstated = judge(&world, &[key("arn:aws-iso-e:kms:eu-isoe-west-1:111122223333:key/single")]);
        assert_eq!(show(&unstated, "boundary.outside"), "eu-isoe-west-1");
        assert!(show(&unstated, "home.country").starts_with('?'));
    }

    #[test]
    fn a_set_whose_members_are_not_known_is_not_inside() {
        let world = World::assigned("[[residency]]\nboundary = 'eea'");
        let mut member = members_of(&["eu-central-1", "us-east-1"]).remove(0);
        member.metadata = gap("kms:DescribeKey");
        let facts = judge(&world, &[member.clone()]);
        for path in
            ["boundary.outside", "residency", "key_set.regions", "home.region", "jurisdictions.together"]
        {
            assert_eq!(show(&facts, path), "?kms:DescribeKey denied", "{path}");
        }
        assert_eq!(show(&facts, "boundary.inside"), "eu-central-1");
        assert_eq!(show(&facts, "key_set.transient"), "false");
        let mut outside = member;
        outside.arn = outside.arn.in_region("us-east-1".parse().unwrap());
        assert_eq!(show(&judge(&world, &[outside]), "boundary.outside"), "us-east-1");
    }

    #[test]
    fn undeclared_members_go_together_by_country_or_in_the_eea() {
        let apart = |regions: &[&str], adequacy: bool| {
            let mut world = World::new();
            world.policy.adequacy_counts = adequacy;
            let facts = judge(&world, &members_of(regions));
            assert_eq!(show(&facts, "boundary.declared"), "false");
            assert_eq!(show(&facts, "boundary.outside"), show(&facts, "jurisdictions.apart"));
            show(&facts, "jurisdictions.apart")
        };
        assert_eq!(apart(&["eu-central-1", "eu-south-2"], false), "-");
        assert_eq!(apart(&["us-east-1", "us-west-2"], false), "-");
        assert_eq!(apart(&["eu-central-1", "eu-west-2", "eu-central-2"], false), "eu-central-2 eu-west-2");
        assert_eq!(apart(&["eu-central-1", "eu-west-2", "us-east-1"], true), "us-east-1");
        assert_eq!(apart(&["ap-southeast-1", "ap-southeast-2"], false), "ap-southeast-2");
    }

    #[test]
    fn a_home_that_is_declared_is_held_against_the_primary() {
        let world = World::assigned("[[residency]]\nboundary = 'eea'\nhome = ['DE']");
        let facts = judge(&world, &members_of(&["eu-west-1", "eu-central-1"]));
        assert_eq!(show(&facts, "home.declared"), "true");
        assert_eq!(show(&facts, "home.allowed"), "DE");
        assert_eq!(show(&facts, "home.outside"), "true");
        let none = judge(&World::new(), &members_of(&["eu-west-1", "eu-central-1"]));
        assert_eq!(show(&none, "home.declared"), "false");
        assert_eq!((show(&none, "home.outside"), show(&none, "home.allowed")), ("-".into(), "-".into()));
    }

    #[test]
    fn multi_region_keys_are_forbidden_by_boundary_or_account() {
        let members = members_of(&["eu-central-1", "eu-west-1"]);
        let plain = judge(&World::new(), &members);
        assert_eq!(show(&plain, "multi_region.allowed"), "true");
        let world = World::assigned("[[residency]]\nboundary = 'eea-single-region'");
        let by_boundary = judge(&world, &members);
        assert_eq!(show(&by_boundary, "multi_region.allowed"), "false");
        assert_eq!(show(&by_boundary, "multi_region.forbidden_by"), "boundary eea-single-region");
        let mut world = World::new();
        world.policy.single_region_accounts = vec!["111122223333".parse().unwrap()];
        assert_eq!(show(&judge(&world, &members), "multi_region.forbidden_by"), "account 111122223333");
    }

    #[test]
    fn what_decides_the_boundary_and_could_not_be_read_makes_it_unknown() {
        let world = World::assigned("[[residency]]\nboundary = 'eea'\nmatch = { tags = { class = 'eu' } }");
        let mut members = members_of(&["eu-central-1", "us-east-1"]);
        members[0].tags = gap("kms:ListResourceTags");
        let facts = judge(&world, &members);
        for path in
            ["boundary.name", "boundary.declared", "boundary.outside", "residency", "multi_region.allowed"]
        {
            assert!(show(&facts, path).starts_with('?'), "{path}: {}", show(&facts, path));
        }
        assert_eq!(show(&facts, "jurisdictions.together"), "false");
        assert_eq!(show(&facts, "tags"), "?kms:ListResourceTags denied");
        assert_eq!(facts.subject.boundary, None);
    }

    #[test]
    fn an_unknown_tag_does_not_hide_in_an_unread_primary() {
        let members = members_of(&["eu-central-1", "eu-west-1"]);
        let facts = judge(&World::new(), &members[1..]);
        assert_eq!(show(&facts, "tags"), "?the primary in eu-central-1 was not read");
        assert_eq!(show(&facts, "drift.policy"), "?the primary in eu-central-1 was not read");
        assert_eq!(show(&facts, "key_set.aliases"), "?the member in eu-central-1 was not read");
        let mut aliased = members.clone();
        aliased[1].aliases = Observed::Known(vec!["alias/app".to_owned()]);
        let facts = judge(&World::new(), &aliased);
        assert_eq!(show(&facts, "key_set.aliases"), "alias/app");
        assert_eq!(show(&facts, "drift.aliases"), "eu-west-1");
    }
}
