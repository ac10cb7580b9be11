//! What differs between the members of a key set that should be alike.
//!
//! Key policy, tags, aliases and state are each member's own: nothing in AWS keeps them alike. Every other member
//! is compared with the primary.

use std::collections::BTreeMap;

use super::policy::{Policy, normalise};
use super::shape::Shape;
use super::sheet::{Known, joined, observed};
use crate::model::{KeySnapshot, Observed, Region};

/// The Regions whose member differs from the primary. Where one is known to differ, that stands; where none is
/// and some could not be compared, it is unknown why.
pub(super) type Drift<'a> = Known<Vec<&'a Region>>;

/// Members whose key policy means something else.
pub(super) fn policy<'a>(shape: &Shape<'a>) -> Drift<'a> {
    compare(shape, |key| {
        let text = read(&key.policy, "kms:GetKeyPolicy")?;
        let policy = Policy::parse(text).map_err(|error| format!("{}: {error}", key.arn.region))?;
        Ok(Some(normalise(&policy)))
    })
}

/// Members whose tags differ. AWS's own (`aws:…`) are left out: CloudFormation names a stack in each Region.
pub(super) fn tags<'a>(shape: &Shape<'a>) -> Drift<'a> {
    compare(shape, |key| {
        let mut tags: BTreeMap<String, String> = read(&key.tags, "kms:ListResourceTags")?.clone();
        tags.retain(|name, _| !name.starts_with("aws:"));
        Ok(Some(tags))
    })
}

/// Members whose aliases differ.
pub(super) fn aliases<'a>(shape: &Shape<'a>) -> Drift<'a> {
    compare(shape, |key| Ok(Some(read(&key.aliases, "kms:ListAliases")?.clone())))
}

/// Members that can be used while the primary cannot, or the other way round.
pub(super) fn state<'a>(shape: &Shape<'a>) -> Drift<'a> {
    compare(shape, |key| {
        let metadata = super::key::metadata(key)?;
        Ok((!metadata.is_transient()).then(|| metadata.state == "Enabled"))
    })
}

fn read<'a, T>(leaf: &'a Observed<T>, api: &str) -> Known<&'a T> {
    observed(leaf).unwrap_or_else(|| Err(format!("{api} was not asked")))
}

/// Compares every other member with the primary by one of its properties; a member without it differs from none.
fn compare<'a, T: PartialEq>(
    shape: &Shape<'a>,
    property: impl Fn(&KeySnapshot) -> Known<Option<T>>,
) -> Drift<'a> {
    if shape.named.len() < 2 && shape.blind.is_none() {
        return Ok(Vec::new());
    }
    let primary = shape.primary_key()?;
    let expected = property(primary)?;
    let mut differing = Vec::new();
    let mut unknown: Vec<String> = shape.blind.iter().cloned().collect();
    unknown.extend(shape.unread().map(|region| format!("the member in {region} was not read")));
    for (region, key) in shape.read.iter().filter(|(_, key)| key.arn != primary.arn) {
        match property(key) {
            Ok(found) if found.is_some() && expected.is_some() && found != expected => {
                differing.push(*region);
            }
            Ok(_) => {}
            Err(reason) => unknown.push(reason),
        }
    }
    match joined(unknown) {
        Some(reason) if differing.is_empty() => Err(reason),
        _ => Ok(differing),
    }
}

#[cfg(test)]
mod tests {
    use super::super::estate::Estate;
    use super::super::fixtures::{gap, key, key_set};
    use super::*;

    type Look = for<'a> fn(&Shape<'a>) -> Drift<'a>;

    fn drift(look: Look, keys: &[KeySnapshot]) -> Known<Vec<String>> {
        let mut estate = Estate::default();
        for key in keys {
            estate.put_key(key.clone());
        }
        let shape = Shape::of(estate.key_sets().next().unwrap(), &estate).unwrap();
        look(&shape).map(|regions| regions.into_iter().map(ToString::to_string).collect())
    }

    fn members() -> Vec<KeySnapshot> {
        key_set(&["eu-central-1", "eu-west-1", "eu-west-3"])
    }

    fn set_state(key: &mut KeySnapshot, state: &str) {
        let Observed::Known(metadata) = &mut key.metadata else { unreachable!() };
        metadata.state = state.to_owned();
    }

    #[test]
    fn like_members_do_not_drift_and_neither_does_a_single_key() {
        for look in [policy as Look, tags, aliases, state] {
            assert_eq!(drift(look, &members()), Ok(vec![]));
            let mut single = key("arn:aws:kms:eu-central-1:111122223333:key/single");
            single.policy = gap("kms:GetKeyPolicy");
            assert_eq!(drift(look, &[single]), Ok(vec![]));
        }
    }

    #[test]
    fn a_policy_drifts_by_its_meaning_only() {
        let text = |service: &str, action: &str| {
            format!(
                r#"{{"Statement": [{{"Effect": "Allow", "Principal": {{"AWS": "111122223333"}}, "Action": ["{action}"],
                "Resource": "*", "Condition": {{"StringEquals": {{"kms:ViaService": "{service}"}}}}}}]}}"#
            )
        };
        let mut members = members();
        members[0].policy = Observed::Known(text("s3.eu-central-1.amazonaws.com", "kms:*"));
        members[1].policy = Observed::Known(text("s3.eu-west-1.amazonaws.com", "kms:*"));
        members[2].policy = Observed::Known(text("s3.eu-west-3.amazonaws.com", "kms:Decrypt"));
        assert_eq!(drift(policy, &members).unwrap(), ["eu-west-3"]);
    }

    #[test]
    fn what_could_not_be_compared_is_unknown_unless_something_differs() {
        let mut members = members();
        members[1].policy = gap("kms:GetKeyPolicy");
        assert_eq!(drift(policy, &members), Err("kms:GetKeyPolicy denied".to_owned()));
        members[2].policy = Observed::Known(r#"{"Statement": []}"#.to_owned());
        assert_eq!(drift(policy, &members).unwrap(), ["eu-west-3"]);
        members[2].policy = Observed::Known("{".to_owned());
        assert!(drift(policy, &members).unwrap_err().contains("eu-west-3: the key policy is not JSON"));
        members[0].policy = gap("kms:GetKeyPolicy");
        assert_eq!(drift(policy, &members), Err("kms:GetKeyPolicy denied".to_owned()));
    }

    #[test]
    fn an_unread_member_or_primary_is_unknown() {
        let members = members();
        assert_eq!(drift(tags, &members[..2]), Err("the member in eu-west-3 was not read".to_owned()));
        assert_eq!(drift(tags, &members[1..]), Err("the primary in eu-central-1 was not read".to_owned()));
    }

    #[test]
    fn tags_differ_but_for_those_of_aws() {
        let tagged =
            |name: &str, value: &str| Observed::Known(BTreeMap::from([(name.to_owned(), value.to_owned())]));
        let mut members = members();
        members[1].tags = tagged("aws:cloudformation:stack-name", "west");
        assert_eq!(drift(tags, &members), Ok(vec![]));
        members[1].tags = tagged("class", "eu");
        assert_eq!(drift(tags, &members).unwrap(), ["eu-west-1"]);
    }

    #[test]
    fn aliases_differ() {
        let mut members = members();
        members[0].aliases = Observed::Known(vec!["alias/app".to_owned()]);
        members[2].aliases = members[0].aliases.clone();
        assert_eq!(drift(aliases, &members).unwrap(), ["eu-west-1"]);
    }

    #[test]
    fn a_state_differs_by_whether_the_key_can_be_used() {
        let mut members = members();
        set_state(&mut members[1], "Disabled");
        set_state(&mut members[2], "Creating");
        assert_eq!(drift(state, &members).unwrap(), ["eu-west-1"]);
        set_state(&mut members[0], "PendingReplicaDeletion");
        assert_eq!(
            drift(state, &members),
            Ok(vec![]),
            "both cannot be used; one in the making is not judged"
        );
        members[1].metadata = gap("kms:DescribeKey");
        assert_eq!(drift(state, &members), Err("kms:DescribeKey denied".to_owned()));
    }
}
