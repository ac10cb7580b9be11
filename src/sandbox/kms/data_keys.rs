//! Data keys and random bytes.

use serde_json::{Value, json};

use super::aws_managed::require_iam;
use super::crypto::{open_for, seal, used};
use super::input::{encode, number, number_within, text, text_map};
use super::turn::Turn;
use crate::sandbox::call::{Answer, ApiError};

pub(super) fn generate_data_key(turn: &mut Turn<'_>) -> Answer {
    let (plaintext, mut answer) = data_key(turn)?;
    if let Some(answer) = answer.as_object_mut() {
        answer.insert("Plaintext".to_owned(), json!(encode(plaintext)));
    }
    Ok(answer)
}

pub(super) fn generate_data_key_without_plaintext(turn: &mut Turn<'_>) -> Answer {
    data_key(turn).map(|(_, answer)| answer)
}

fn data_key(turn: &mut Turn<'_>) -> Result<(Vec<u8>, Value), ApiError> {
    let spot = open_for(turn, "ENCRYPT_DECRYPT")?;
    let input = &turn.call.input;
    let length = match (text(input, "KeySpec"), number(input, "NumberOfBytes")) {
        (Some("AES_256"), None) => 32,
        (Some("AES_128"), None) => 16,
        (None, Some(_)) => length(input)?,
        _ => {
            return Err(ApiError::client(
                "ValidationException",
                "Please specify either number of bytes or key spec.",
            ));
        }
    };
    let operation = turn.call.operation.clone();
    used(turn, &spot, &operation)?;
    let plaintext = random(turn, length);
    let ciphertext = seal(turn, &spot, &plaintext, &text_map(&turn.call.input, "EncryptionContext"));
    let mut answer = json!({ "KeyId": turn.arn_text(&spot), "CiphertextBlob": ciphertext });
    if let (Some(answer), Some(material)) = (answer.as_object_mut(), turn.shared(&spot)?.current.as_ref()) {
        answer.insert("KeyMaterialId".to_owned(), json!(material));
    }
    Ok((plaintext, answer))
}

pub(super) fn generate_random(turn: &mut Turn<'_>) -> Answer {
    require_iam(turn)?;
    let length = length(&turn.call.input)?;
    Ok(json!({ "Plaintext": encode(random(turn, length)) }))
}

/// `NumberOfBytes`, from 1 to 1024.
fn length(input: &Value) -> Result<usize, ApiError> {
    let bytes = number_within(input, "NumberOfBytes", 0, (1, 1_024))?;
    Ok(usize::try_from(bytes).unwrap_or_default())
}

fn random(turn: &mut Turn<'_>, length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length + 32);
    while bytes.len() < length {
        bytes.extend(turn.state.ids.bytes());
    }
    bytes.truncate(length);
    bytes
}
