//! Where new ids come from: repeatable for the same seed, so that an estate has the same keys every time.

use sha2::{Digest, Sha256};
use uuid::Uuid;

/// A sequence of ids.
#[derive(Debug, Clone)]
pub struct Ids {
    seed: String,
    drawn: u64,
}

impl Ids {
    /// The sequence of a seed.
    pub fn new(seed: &str) -> Self {
        Self { seed: seed.to_owned(), drawn: 0 }
    }

    /// Goes on with a sequence that no other world has: ids of calls must not repeat over restarts.
    pub fn reseed_at_random(&mut self) {
        *self = Self::new(&Uuid::new_v4().to_string());
    }

    /// The next 32 bytes.
    pub fn bytes(&mut self) -> [u8; 32] {
        self.drawn += 1;
        let mut hash = Sha256::new();
        hash.update(self.seed.as_bytes());
        hash.update(self.drawn.to_be_bytes());
        hash.finalize().into()
    }

    /// A UUID in lower case, as AWS writes them.
    pub fn uuid(&mut self) -> String {
        let mut id = [0; 16];
        for (to, from) in id.iter_mut().zip(self.bytes()) {
            *to = from;
        }
        uuid::Builder::from_random_bytes(id).into_uuid().to_string()
    }

    /// Hexadecimal digits, at most 64.
    pub fn hex(&mut self, digits: usize) -> String {
        hex_of(&self.bytes()).chars().take(digits).collect()
    }

    /// Upper-case letters and digits, at most 32, as in access keys and unique ids.
    pub fn upper(&mut self, characters: usize) -> String {
        const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
        let pick = |byte: &u8| ALPHABET.get(usize::from(byte % 32)).map(|letter| char::from(*letter));
        self.bytes().iter().filter_map(pick).take(characters).collect()
    }
}

/// Bytes as hexadecimal digits.
pub(super) fn hex_of(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.filter_map(|digit| char::from_digit(u32::from(digit), 16)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_ids_and_no_id_twice() {
        let (mut one, mut other) = (Ids::new("demo"), Ids::new("demo"));
        let first: Vec<String> = (0..100).map(|_| one.uuid()).collect();
        assert_eq!(first, (0..100).map(|_| other.uuid()).collect::<Vec<_>>());
        let distinct: std::collections::BTreeSet<_> = first.iter().collect();
        assert_eq!(distinct.len(), 100);
        other.reseed_at_random();
        assert_ne!(one.uuid(), other.uuid());
    }

    #[test]
    fn ids_have_the_shape_that_aws_gives_them() {
        let mut ids = Ids::new("demo");
        assert!(Uuid::parse_str(&ids.uuid()).is_ok());
        assert_eq!(ids.hex(32).len(), 32);
        let key = ids.upper(16);
        assert!(key.len() == 16 && key.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit()));
    }
}
