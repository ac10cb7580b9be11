//! What Deny statements take away from what an Allow statement gives.

use std::collections::BTreeSet;

use super::Viewpoint;
use super::document::{Effect, Listed, Policy, Statement};
use super::principal::Principal;
use super::reach::{self, Party, Reach};
use crate::model::AccountId;

/// How much of what one statement allows the Deny statements leave over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Shield {
    /// Nothing is denied that matters here.
    Open,
    /// Whether it is denied cannot be told.
    Unclear,
    /// It is denied.
    Shut,
}

/// Whom a shield is asked for.
pub(super) enum Caller<'a> {
    /// Anybody at all: somebody in an account that nobody knows.
    Stranger,
    /// A principal that an Allow statement names.
    Named(&'a Principal),
    /// A party that an Allow statement's condition names.
    Party(&'a Party),
}

/// What the Deny statements leave of one action for one caller.
pub(super) fn shield(policy: &Policy, view: &Viewpoint<'_>, action: &str, caller: &Caller<'_>) -> Shield {
    policy
        .effective(Effect::Deny, view.key)
        .filter(|deny| deny.covers_action(action))
        .map(|deny| denies(deny, view, caller))
        .max()
        .unwrap_or(Shield::Open)
}

fn denies(deny: &Statement, view: &Viewpoint<'_>, caller: &Caller<'_>) -> Shield {
    if !is_about(&deny.principals, caller) {
        return Shield::Open;
    }
    let mut result = Shield::Shut;
    for condition in &deny.conditions {
        let spares = match reach::spared(condition) {
            Reach::Anybody => Shield::Open,
            Reach::Unclear(_) => Shield::Unclear,
            Reach::Parties(parties) => spares(&parties, view, caller),
        };
        result = result.min(spares);
    }
    result
}

/// Whether a Deny statement's principals include the caller, for certain.
fn is_about(principals: &Listed<Principal>, caller: &Caller<'_>) -> bool {
    let account = match caller {
        Caller::Named(principal) => principal.account(),
        Caller::Party(Party::Account(account)) => Some(account),
        Caller::Stranger | Caller::Party(_) => None,
    };
    match principals {
        Listed::These(listed) => listed.iter().any(|principal| match (principal, caller) {
            (Principal::Anyone, _) => true,
            (Principal::Account(denied), _) => Some(denied) == account,
            (principal, Caller::Named(named)) => principal == *named,
            _ => false,
        }),
        Listed::AllBut(spared) => spared.iter().all(|principal| match principal {
            Principal::Anyone | Principal::Unclear(_) | Principal::WebIdentity(_) => false,
            principal => principal.account().is_none() || principal.account() != account,
        }),
    }
}

/// What a Deny that spares these parties does to the caller.
fn spares(parties: &BTreeSet<Party>, view: &Viewpoint<'_>, caller: &Caller<'_>) -> Shield {
    let account = match caller {
        Caller::Stranger => return Shield::Shut,
        Caller::Party(party) if parties.contains(party) => return Shield::Open,
        Caller::Party(Party::Account(account)) => account,
        Caller::Party(_) => return Shield::Unclear,
        Caller::Named(principal) => match principal.account() {
            Some(account) => account,
            None => return Shield::Unclear,
        },
    };
    included(parties, account, view)
}

/// Whether an account is among the parties: open if it is, shut if it is not.
pub(super) fn included(parties: &BTreeSet<Party>, account: &AccountId, view: &Viewpoint<'_>) -> Shield {
    let decided = |is_member: bool| if is_member { Shield::Open } else { Shield::Shut };
    let by_party = parties.iter().map(|party| match party {
        Party::Account(named) => decided(named == account),
        Party::OwnAccount => decided(view.owner == Some(account)),
        Party::OwnOrganization => decided(view.accounts.organization.contains(account)),
        Party::Organization(id) if view.accounts.organization_id.as_ref() == Some(id) => {
            decided(view.accounts.organization.contains(account))
        }
        Party::Organization(_) | Party::Fixed(_) => Shield::Unclear,
    });
    by_party.min().unwrap_or(Shield::Shut)
}

/// The weakest shield over all that a statement allows.
pub(super) fn weakest(
    statement: &Statement,
    policy: &Policy,
    view: &Viewpoint<'_>,
    caller: &Caller<'_>,
) -> Shield {
    let shields = statement.kms_actions();
    shields.iter().map(|action| shield(policy, view, action, caller)).min().unwrap_or(Shield::Shut)
}
