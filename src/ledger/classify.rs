//! What a record says of the use of keys.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::context;
use crate::model::kms;
use crate::model::{KeyArn, Network, Region, Unattributed, Usage, UsageOutcome};
use crate::records::{Envelope, Field, Raw};

/// What one record says of the use of keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uses {
    /// A line for each key: ReEncrypt has two.
    pub keys: Vec<Usage>,
    /// What is counted because a key could not be told: it is named by an alias, or not at all.
    pub unattributed: Option<Unattributed>,
}

/// The uses of keys that a record tells of, refused and failed ones among them, if [`kms::is_use`] holds of it.
pub(super) fn uses(envelope: &Envelope<'_>) -> Uses {
    let (network, context) = (network(envelope), context::kind_of(envelope));
    let text = |path: &[&str]| envelope.at(path)?.text();
    let operation = envelope.text(Field::EventName).unwrap_or_default();
    let outcome = outcome(envelope.text(Field::ErrorCode).as_deref());
    let hour = hour(envelope);
    let principal = kms::principal(text).unwrap_or(Cow::Borrowed("(unknown)"));
    let account = kms::caller_account(text).ok().flatten().map_or_else(String::new, String::from);
    let Keys { named, is_whole } = keys(envelope);
    let usage = |key: KeyArn| Usage {
        hour,
        key: key.to_string(),
        principal: principal.clone().into_owned(),
        operation: operation.clone().into_owned(),
        outcome,
        account: account.clone(),
        network,
        context: context.to_owned(),
    };
    let unattributed = || Unattributed {
        hour,
        account: kms::recorded_in(text).map_or_else(String::new, String::from),
        region: envelope.text(Field::AwsRegion).unwrap_or_default().into_owned(),
        operation: operation.clone().into_owned(),
        outcome,
    };
    Uses { unattributed: (!is_whole).then(unattributed), keys: named.into_iter().map(usage).collect() }
}

/// The hour of a record, since 1970.
#[inline]
pub(super) fn hour(envelope: &Envelope<'_>) -> i64 {
    envelope.seconds().div_euclid(3_600)
}

fn outcome(code: Option<&str>) -> UsageOutcome {
    match code.filter(|code| !code.is_empty()) {
        None => UsageOutcome::Success,
        Some(code) if kms::is_dry_run(code) => UsageOutcome::DryRun,
        Some(code) if kms::is_refusal(code) => UsageOutcome::Denied,
        Some(_) => UsageOutcome::Error,
    }
}

/// The keys that a record names, and whether there is none besides.
#[derive(Debug)]
struct Keys {
    named: Vec<KeyArn>,
    is_whole: bool,
}

/// Where a call names its one key if its `resources` do not, the surest first.
const ONE: [&[&str]; 2] = [&["responseElements", "keyId"], &["requestParameters", "keyId"]];
/// As the facts about events have it, but for aliases, which only the estate could resolve.
fn keys(envelope: &Envelope<'_>) -> Keys {
    let mut named: Vec<KeyArn> = Vec::new();
    for arn in listed(envelope) {
        if !named.contains(&arn) {
            named.push(arn);
        }
    }
    if !named.is_empty() {
        return Keys { named, is_whole: true };
    }
    let resolved = |path: &&[&str]| resolve(&envelope.at(path)?.text()?, envelope);
    if envelope.text(Field::EventName).is_some_and(|name| name == "ReEncrypt") {
        named.extend(kms::REENCRYPTED.iter().filter_map(resolved));
        let is_whole = named.len() == kms::REENCRYPTED.len();
        named.dedup();
        return Keys { named, is_whole };
    }
    named.extend(ONE.iter().find_map(resolved));
    Keys { is_whole: !named.is_empty(), named }
}

/// The keys among the resources of a record.
fn listed(envelope: &Envelope<'_>) -> impl Iterator<Item = KeyArn> {
    let resources = envelope.field(Field::Resources).into_iter().flat_map(Raw::items);
    resources.filter_map(|resource| {
        ["ARN", "arn"].iter().find_map(|name| resource.get(name)?.text())?.parse().ok()
    })
}

/// Whether a key is among the resources of a record.
pub(super) fn lists_a_key(envelope: &Envelope<'_>) -> bool {
    listed(envelope).next().is_some()
}

/// The ARN of a key that is named by it or by its id. An id is one of the account and Region that the call was made in.
fn resolve(text: &str, envelope: &Envelope<'_>) -> Option<KeyArn> {
    if let Ok(arn) = text.parse() {
        return Some(arn);
    }
    // Aliases have a slash, and so do not parse as an id.
    let region: Region = envelope.text(Field::AwsRegion)?.parse().ok()?;
    let account = kms::recorded_in(|path| envelope.at(path)?.text())?;
    let partition = kms::partition_of(&region);
    format!("arn:{partition}:kms:{region}:{account}:key/{text}").parse().ok()
}

/// Where a call came from.
fn network(envelope: &Envelope<'_>) -> Network {
    let invoked_by =
        envelope.field(Field::UserIdentity).and_then(|identity| identity.get("invokedBy")?.text());
    network_of(
        invoked_by.as_deref(),
        envelope.text(Field::SourceIpAddress).as_deref(),
        envelope.text(Field::VpcEndpointId).is_some_and(|id| !id.is_empty()),
    )
}

/// What AWS calls itself where it calls for nobody.
const INTERNAL: &str = "AWS Internal";

/// The class of a network: what calls for somebody else comes first, then how the call came in, then from where.
pub(super) fn network_of(invoked_by: Option<&str>, source: Option<&str>, by_endpoint: bool) -> Network {
    let source = source.unwrap_or_default();
    let address: Option<IpAddr> = source.parse().ok();
    match (invoked_by.filter(|by| !by.is_empty()), address) {
        (Some(INTERNAL), _) => Network::Internal,
        (Some(_), _) => Network::Service,
        (None, None) if source == INTERNAL => Network::Internal,
        (None, None) if is_service(source) => Network::Service,
        (None, _) if by_endpoint => Network::VpcEndpoint,
        (None, Some(IpAddr::V4(address))) => of_v4(address),
        (None, Some(IpAddr::V6(address))) => of_v6(address),
        (None, None) => Network::Unknown,
    }
}

/// `s3.amazonaws.com`, `ec2.amazonaws.com.cn`, …
fn is_service(source: &str) -> bool {
    source.contains(".amazonaws.") || source.contains(".aws.") || source.ends_with(".amazonwebservices.eu")
}

fn of_v4(address: Ipv4Addr) -> Network {
    let is_shared = matches!(address.octets(), [100, 64..=127, _, _]);
    if address.is_unspecified() {
        Network::Unknown
    } else if address.is_private() || address.is_loopback() || address.is_link_local() || is_shared {
        Network::Private
    } else {
        Network::Public
    }
}

fn of_v6(address: Ipv6Addr) -> Network {
    if let Some(address) = address.to_ipv4_mapped() {
        return of_v4(address);
    }
    if address.is_unspecified() {
        Network::Unknown
    } else if address.is_unique_local() || address.is_loopback() || address.is_unicast_link_local() {
        Network::Private
    } else {
        Network::Public
    }
}
