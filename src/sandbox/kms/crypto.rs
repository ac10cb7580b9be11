//! The cryptographic operations, as far as they show who used which key.
//!
//! A ciphertext names its key and holds its plaintext: nothing here keeps a secret.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::grants::refuse_dry_run;
use super::input::{blob, encode, required, text, text_map};
use super::key::LastUsage;
use super::spec::algorithms_member;
use super::state::Spot;
use super::turn::{Naming, Turn, unsupported};
use crate::model::KeyArn;
use crate::sandbox::call::{Answer, ApiError};

/// Opens a key for a use, and remembers the use if it comes to one.
pub(super) fn open_for(turn: &mut Turn<'_>, usage: &str) -> Result<Spot, ApiError> {
    let reference = required(&turn.call.input, "KeyId")?.to_owned();
    let action = turn.call.operation.clone();
    open_reference_for(turn, &reference, &action, usage)
}

pub(super) fn open_reference_for(
    turn: &mut Turn<'_>,
    reference: &str,
    action: &str,
    usage: &str,
) -> Result<Spot, ApiError> {
    let spot = turn.open_as(reference, Naming::WithAliases, action)?;
    // The passing state of a key set whose primary moves does not keep anybody from using it.
    turn.require_state(&spot, &["Enabled", "Updating"])?;
    let shared = turn.shared(&spot)?;
    if shared.usage != usage {
        let message = format!(
            "{} key usage is {} which is not valid for {}.",
            turn.arn_text(&spot),
            shared.usage,
            turn.call.operation
        );
        return Err(ApiError::client("InvalidKeyUsageException", message));
    }
    Ok(spot)
}

/// Remembers a successful use.
pub(super) fn used(turn: &mut Turn<'_>, spot: &Spot, operation: &str) -> Result<(), ApiError> {
    refuse_dry_run(turn)?;
    let event_id = turn.state.trace.event_id.clone().unwrap_or_default();
    let (at, request_id) = (turn.now, turn.call.request_id.clone());
    let operation = operation.to_owned();
    if let Some(material) = turn.shared(spot)?.current.clone() {
        turn.state.trace.additional = Some(json!({ "keyMaterialId": material }));
    }
    turn.key_mut(spot)?.last_usage = Some(LastUsage { operation, at, event_id, request_id });
    Ok(())
}

/// The ciphertext of the sandbox.
pub(super) fn seal(turn: &Turn<'_>, spot: &Spot, plaintext: &[u8], context: &Map<String, Value>) -> String {
    encode(
        json!({ "key": turn.arn_text(spot), "plaintext": encode(plaintext), "context": context }).to_string(),
    )
}

struct Sealed {
    key: KeyArn,
    plaintext: String,
    context: Map<String, Value>,
}

fn unseal(turn: &Turn<'_>) -> Result<Sealed, ApiError> {
    let bytes = blob(&turn.call.input, "CiphertextBlob")?;
    let invalid = || ApiError::client("InvalidCiphertextException", "");
    let value: Value = serde_json::from_slice(&bytes).map_err(|_| invalid())?;
    let key = text(&value, "key").and_then(|key| key.parse().ok()).ok_or_else(invalid)?;
    let plaintext = text(&value, "plaintext").ok_or_else(invalid)?.to_owned();
    Ok(Sealed { key, plaintext, context: text_map(&value, "context") })
}

/// Finds the key of a ciphertext, which a related multi-Region key of this Region can stand in for.
fn open_sealed(turn: &mut Turn<'_>, sealed: &Sealed, member: &str, action: &str) -> Result<Spot, ApiError> {
    let own = if sealed.key.is_multi_region() {
        sealed.key.in_region(turn.call.region.clone())
    } else {
        sealed.key.clone()
    };
    let reference = text(&turn.call.input, member).map_or_else(|| own.to_string(), str::to_owned);
    let spot = open_reference_for(turn, &reference, action, "ENCRYPT_DECRYPT")?;
    if spot.id != sealed.key.id || spot.account != sealed.key.account {
        let message = "The key ID in the request does not identify a CMK that can perform this operation.";
        return Err(ApiError::client("IncorrectKeyException", message));
    }
    Ok(spot)
}

fn check_context(turn: &Turn<'_>, sealed: &Sealed, member: &str) -> Result<(), ApiError> {
    if text_map(&turn.call.input, member) == sealed.context {
        return Ok(());
    }
    Err(ApiError::client("InvalidCiphertextException", ""))
}

pub(super) fn encrypt(turn: &mut Turn<'_>) -> Answer {
    let spot = open_for(turn, "ENCRYPT_DECRYPT")?;
    let plaintext = blob(&turn.call.input, "Plaintext")?;
    used(turn, &spot, "Encrypt")?;
    let ciphertext = seal(turn, &spot, &plaintext, &text_map(&turn.call.input, "EncryptionContext"));
    let algorithm = algorithm(turn, &spot, "EncryptionAlgorithm")?;
    Ok(
        json!({ "CiphertextBlob": ciphertext, "KeyId": turn.arn_text(&spot), "EncryptionAlgorithm": algorithm }),
    )
}

pub(super) fn decrypt(turn: &mut Turn<'_>) -> Answer {
    let sealed = unseal(turn)?;
    let spot = open_sealed(turn, &sealed, "KeyId", "Decrypt")?;
    check_context(turn, &sealed, "EncryptionContext")?;
    used(turn, &spot, "Decrypt")?;
    let algorithm = algorithm(turn, &spot, "EncryptionAlgorithm")?;
    Ok(
        json!({ "Plaintext": sealed.plaintext, "KeyId": turn.arn_text(&spot), "EncryptionAlgorithm": algorithm }),
    )
}

pub(super) fn re_encrypt(turn: &mut Turn<'_>) -> Answer {
    let sealed = unseal(turn)?;
    let source = open_sealed(turn, &sealed, "SourceKeyId", "ReEncryptFrom")?;
    check_context(turn, &sealed, "SourceEncryptionContext")?;
    let reference = required(&turn.call.input, "DestinationKeyId")?.to_owned();
    let target = open_reference_for(turn, &reference, "ReEncryptTo", "ENCRYPT_DECRYPT")?;
    used(turn, &source, "ReEncrypt")?;
    used(turn, &target, "ReEncrypt")?;
    let context = text_map(&turn.call.input, "DestinationEncryptionContext");
    let plaintext = blob(&json!({ "Plaintext": sealed.plaintext }), "Plaintext")?;
    Ok(json!({
        "CiphertextBlob": seal(turn, &target, &plaintext, &context),
        "SourceKeyId": turn.arn_text(&source),
        "KeyId": turn.arn_text(&target),
        "SourceEncryptionAlgorithm": algorithm(turn, &source, "SourceEncryptionAlgorithm")?,
        "DestinationEncryptionAlgorithm": algorithm(turn, &target, "DestinationEncryptionAlgorithm")?,
    }))
}

/// The algorithm that the input names, if the key has it; the only one of a symmetric key otherwise.
fn algorithm(turn: &Turn<'_>, spot: &Spot, member: &str) -> Result<String, ApiError> {
    let shared = turn.shared(spot)?;
    let possible = shared.spec.algorithms(shared.usage);
    let named =
        text(&turn.call.input, member).or_else(|| shared.spec.is_symmetric().then_some("SYMMETRIC_DEFAULT"));
    match named {
        None => required(&turn.call.input, member).map(str::to_owned),
        Some(name) if possible.contains(&name) => Ok(name.to_owned()),
        Some(name) => Err(ApiError::client(
            "InvalidKeyUsageException",
            format!("Algorithm {name} is incompatible with key spec {}.", shared.spec.name),
        )),
    }
}

/// A deterministic stand-in for a signature or a MAC.
fn tag(turn: &Turn<'_>, spot: &Spot, algorithm: &str) -> Result<String, ApiError> {
    let mut hash = Sha256::new();
    hash.update(spot.id.as_bytes());
    hash.update(algorithm.as_bytes());
    hash.update(blob(&turn.call.input, "Message")?);
    Ok(encode(hash.finalize()))
}

/// What an operation with a signature or a MAC works with.
struct Tagged {
    spot: Spot,
    algorithm: String,
    tag: String,
}

fn make_tag(turn: &mut Turn<'_>, usage: &str, member: &str) -> Result<Tagged, ApiError> {
    let spot = open_for(turn, usage)?;
    let algorithm = algorithm(turn, &spot, member)?;
    let tag = tag(turn, &spot, &algorithm)?;
    Ok(Tagged { spot, algorithm, tag })
}

pub(super) fn sign(turn: &mut Turn<'_>) -> Answer {
    let Tagged { spot, algorithm, tag } = make_tag(turn, "SIGN_VERIFY", "SigningAlgorithm")?;
    used(turn, &spot, "Sign")?;
    Ok(json!({ "KeyId": turn.arn_text(&spot), "Signature": tag, "SigningAlgorithm": algorithm }))
}

pub(super) fn generate_mac(turn: &mut Turn<'_>) -> Answer {
    let Tagged { spot, algorithm, tag } = make_tag(turn, "GENERATE_VERIFY_MAC", "MacAlgorithm")?;
    used(turn, &spot, "GenerateMac")?;
    Ok(json!({ "KeyId": turn.arn_text(&spot), "Mac": tag, "MacAlgorithm": algorithm }))
}

pub(super) fn verify(turn: &mut Turn<'_>) -> Answer {
    let given = required(&turn.call.input, "Signature")?.to_owned();
    let Tagged { spot, algorithm, tag } = make_tag(turn, "SIGN_VERIFY", "SigningAlgorithm")?;
    if tag != given {
        return Err(ApiError::client("KMSInvalidSignatureException", ""));
    }
    used(turn, &spot, "Verify")?;
    Ok(json!({ "KeyId": turn.arn_text(&spot), "SignatureValid": true, "SigningAlgorithm": algorithm }))
}

pub(super) fn verify_mac(turn: &mut Turn<'_>) -> Answer {
    let given = required(&turn.call.input, "Mac")?.to_owned();
    let Tagged { spot, algorithm, tag } = make_tag(turn, "GENERATE_VERIFY_MAC", "MacAlgorithm")?;
    if tag != given {
        return Err(ApiError::client("KMSInvalidMacException", ""));
    }
    used(turn, &spot, "VerifyMac")?;
    Ok(json!({ "KeyId": turn.arn_text(&spot), "MacValid": true, "MacAlgorithm": algorithm }))
}

pub(super) fn get_public_key(turn: &mut Turn<'_>) -> Answer {
    let spot = turn.open(Naming::WithAliases)?;
    let shared = turn.shared(&spot)?;
    if !shared.spec.is_asymmetric() {
        return Err(unsupported(format!("{} is not an asymmetric key.", turn.arn_text(&spot))));
    }
    turn.require_state(&spot, &["Enabled", "Updating"])?;
    let shared = turn.shared(&spot)?;
    let mut answer = json!({
        "KeyId": turn.arn_text(&spot),
        "PublicKey": encode(Sha256::digest(spot.id.as_bytes())),
        "CustomerMasterKeySpec": shared.spec.name,
        "KeySpec": shared.spec.name,
        "KeyUsage": shared.usage,
    });
    if let Some(members) = answer.as_object_mut() {
        members
            .insert(algorithms_member(shared.usage).to_owned(), json!(shared.spec.algorithms(shared.usage)));
    }
    Ok(answer)
}
