//! What the classification of a record depends on, hashed as it stands in the record.

use std::hash::{BuildHasher, Hasher};
use std::net::IpAddr;

use foldhash::quality::RandomState;
use memchr::memmem::Finder;

use super::classify::{hour, lists_a_key, network_of};
use super::context;
use crate::records::{Envelope, Field};

/// What is looked for in the parameters of a request.
#[derive(Debug)]
pub(super) struct Form {
    /// The beginning of a context that has keys, in any request but ReEncrypt's.
    context: Finder<'static>,
    /// What every form of it has.
    any_context: Finder<'static>,
}

impl Form {
    pub(super) fn new() -> Self {
        Self {
            context: Finder::new(b"\"encryptionContext\":{\""),
            any_context: Finder::new(b"ncryptionContext\""),
        }
    }

    /// The hash of everything that [`uses`](super::classify::uses) looks at.
    #[inline]
    pub(super) fn hash(&self, envelope: &Envelope<'_>, seed: &RandomState) -> u64 {
        let mut hasher = seed.build_hasher();
        let bytes = |field| envelope.field(field).map_or(&[][..], |raw| raw.bytes());
        let identity = bytes(Field::UserIdentity);
        let resources = bytes(Field::Resources);
        let parameters = bytes(Field::RequestParameters);
        add(&mut hasher, identity);
        add(&mut hasher, resources);
        add(&mut hasher, bytes(Field::EventName));
        add(&mut hasher, bytes(Field::ErrorCode));
        add_source(&mut hasher, envelope, identity);
        hasher.write_u8(u8::from(bytes(Field::VpcEndpointId).len() > b"\"\"".len()));
        hasher.write_i64(hour(envelope));
        if lists_resources(resources) {
            self.add_context(&mut hasher, envelope, parameters);
        } else {
            // Then they may name the key.
            let others = [Field::ResponseElements, Field::AwsRegion, Field::RecipientAccountId];
            add(&mut hasher, parameters);
            for field in others {
                add(&mut hasher, bytes(field));
            }
        }
        hasher.finish()
    }

    /// The keys of the encryption context; its values name each object that is encrypted.
    #[inline]
    fn add_context(&self, hasher: &mut impl Hasher, envelope: &Envelope<'_>, parameters: &[u8]) {
        // A key within a text would have its quotes escaped, and one of an object within this one has another
        // bracket before it.
        let plain = self.context.find(parameters).filter(|at| {
            let before = parameters.get(1..*at).unwrap_or_default();
            memchr::memchr(b'{', before).is_none()
        });
        let keys = plain.and_then(|at| parameters.get(at + self.context.needle().len()..));
        if let Some(keys) = keys
            && add_keys(hasher, keys).is_some()
        {
            return;
        }
        if self.any_context.find(parameters).is_some() {
            add(hasher, context::kind_of(envelope).as_bytes());
        }
    }
}

/// Whether there are resources, which mostly are the keys; then nothing else is asked for them.
#[inline]
fn lists_resources(resources: &[u8]) -> bool {
    resources.starts_with(b"[{")
}

/// Whether two records of one form are of the same use. If resources are listed and none of them is a key, the key is
/// elsewhere in the record, which the form does not look at.
pub(super) fn is_told_by_form(envelope: &Envelope<'_>) -> bool {
    let resources = envelope.field(Field::Resources).map_or(&[][..], |raw| raw.bytes());
    !lists_resources(resources) || lists_a_key(envelope)
}

/// A text with its length, so that two that follow each other cannot be taken for two others.
#[inline]
fn add(hasher: &mut impl Hasher, bytes: &[u8]) {
    hasher.write(bytes);
    hasher.write_usize(bytes.len());
}

/// Where the call came from: the class of an address, or the name of a service.
#[inline]
fn add_source(hasher: &mut impl Hasher, envelope: &Envelope<'_>, identity: &[u8]) {
    let source = envelope.text(Field::SourceIpAddress).unwrap_or_default();
    // A person or a role is never called by its address.
    let has_own_name =
        identity.starts_with(b"{\"type\":\"") && !identity.starts_with(b"{\"type\":\"AWSService\"");
    if has_own_name && source.parse::<IpAddr>().is_ok() {
        hasher.write_u8(network_of(None, Some(&source), false) as u8);
    } else {
        add(hasher, source.as_bytes());
    }
}

/// Adds the keys of an object, given from within the first of them; none if it is not as plain as CloudTrail
/// writes it.
#[inline]
fn add_keys(hasher: &mut impl Hasher, mut rest: &[u8]) -> Option<()> {
    loop {
        let (key, tail) = quoted(rest)?;
        add(hasher, key);
        let (_, tail) = quoted(tail.strip_prefix(b":\"")?)?;
        match tail {
            [b',', b'"', next @ ..] => rest = next,
            [b'}', ..] => return Some(()),
            _ => return None,
        }
    }
}

/// What is before the next quote, and what is after it; none if there are escapes.
#[inline]
fn quoted(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr2(b'"', b'\\', text)?;
    let (inner, rest) = text.split_at_checked(end)?;
    Some((inner, rest.strip_prefix(b"\"")?))
}
