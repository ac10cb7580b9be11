//! What is remembered of an event: 64 bits of its id, in the block of its account, Region and hour.

use sha2::{Digest, Sha256};

/// Where an event's fingerprint is kept. An event that is delivered again is in the same block again, since all
/// three are in the record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Block {
    /// The account whose log the record is in; empty if the record names none.
    pub account: String,
    /// `awsRegion`; empty if the record names none.
    pub region: String,
    /// The hour of `eventTime`, in hours since 1970 in UTC.
    pub hour: i64,
}

/// 64 bits of an event's id, the same for ever: they are stored, and another version has to find them again.
///
/// An id in the form of a UUID, as all of CloudTrail's are, counts by its value, in whatever case it is written:
/// `fmix64(fmix64(high half) ^ low half)`, where `fmix64` is MurmurHash3's finalizer. Of any other id it is the
/// first eight bytes of its SHA-256, the highest first.
///
/// Two different events of one block are taken for one with a probability of one in 2⁶⁴ for each pair: among a
/// million events of one account, Region and hour about one in 37 million hours.
pub fn fingerprint(event_id: &str) -> u64 {
    if let Some((high, low)) = uuid(event_id) {
        return mix(mix(high) ^ low);
    }
    let digest = Sha256::digest(event_id.as_bytes());
    digest.first_chunk::<8>().map_or(0, |first| u64::from_be_bytes(*first))
}

/// MurmurHash3's 64-bit finalizer: a bijection in which each bit of the input changes half of the output's.
fn mix(mut bits: u64) -> u64 {
    bits ^= bits >> 33;
    bits = bits.wrapping_mul(0xff51_afd7_ed55_8ccd);
    bits ^= bits >> 33;
    bits = bits.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    bits ^ (bits >> 33)
}

/// The halves of a UUID in its usual form.
fn uuid(text: &str) -> Option<(u64, u64)> {
    let bytes: &[u8; 36] = text.as_bytes().try_into().ok()?;
    let [head @ .., _, _, _, _, _, _, _, _, _, _, _, _] = bytes;
    let tail: &[u8; 12] = bytes.last_chunk()?;
    let [a @ .., b'-', _, _, _, _, b'-', _, _, _, _, b'-', _, _, _, _, b'-'] = head else { return None };
    let [.., b0, b1, b2, b3, _, c0, c1, c2, c3, _, d0, d1, d2, d3, _] = head;
    let high = [*b0, *b1, *b2, *b3, *c0, *c1, *c2, *c3];
    let [t0, t1, t2, t3, rest @ ..] = tail;
    let middle = [*d0, *d1, *d2, *d3, *t0, *t1, *t2, *t3];
    Some((
        (u64::from(eight(*a)?) << 32) | u64::from(eight(high)?),
        (u64::from(eight(middle)?) << 32) | u64::from(eight(*rest)?),
    ))
}

/// Eight hex digits.
fn eight(digits: [u8; 8]) -> Option<u32> {
    let mut number = 0_u32;
    let mut bad = 0_u8;
    for digit in digits {
        let value = HEX.get(usize::from(digit)).copied().unwrap_or(NO_DIGIT);
        bad |= value;
        number = (number << 4) | u32::from(value & 0xf);
    }
    (bad & NO_DIGIT == 0).then_some(number)
}

/// Marks what is no hex digit.
const NO_DIGIT: u8 = 0x80;

/// The value of each hex digit.
static HEX: [u8; 256] = {
    let mut table = [NO_DIGIT; 256];
    let digits = b"0123456789abcdef";
    let mut value = 0_u8;
    while value < 16 {
        #[expect(
            clippy::indexing_slicing,
            reason = "in a constant an index out of range is an error at compile time"
        )]
        {
            let digit = digits[value as usize];
            table[digit as usize] = value;
            table[digit.to_ascii_uppercase() as usize] = value;
        }
        value += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    /// These never change: they are in stores.
    #[test]
    fn the_fingerprints_of_the_first_version_stand() {
        for (id, expected) in [
            ("00000000-0000-0000-0000-000000000000", 0x0000_0000_0000_0000),
            ("ffffffff-ffff-ffff-ffff-ffffffffffff", 0x3b8d_08f7_c738_fb7a),
            ("00000000-0000-0000-0000-000000000001", 0xb456_bcfc_34c2_cb2c),
            ("8f5a9c1e-2b3d-4e6f-8a7b-1c2d3e4f5a6b", 0x5673_b1ea_3141_9b31),
            ("8F5A9C1E-2B3D-4E6F-8A7B-1C2D3E4F5A6B", 0x5673_b1ea_3141_9b31),
            ("8f5a9c1e2b3d4e6f8a7b1c2d3e4f5a6b", 0xb670_74f0_2f91_6b5e),
            ("EXAMPLE8-9621-4d00-b913-beca2EXAMPLE", 0x4401_c7c7_3385_a23b),
            ("", 0xe3b0_c442_98fc_1c14),
            ("ä", 0x33e6_d73f_ee82_904c),
        ] {
            assert_eq!(fingerprint(id), expected, "{id}");
        }
    }

    #[test]
    fn each_bit_of_a_uuid_counts() {
        let base = 0x8f5a_9c1e_2b3d_4e6f_8a7b_1c2d_3e4f_5a6b_u128;
        let print = |number: u128| fingerprint(&uuid::Uuid::from_u128(number).to_string());
        for bit in 0..128 {
            let changed = (print(base) ^ print(base ^ (1 << bit))).count_ones();
            assert!((12..=52).contains(&changed), "bit {bit} changes {changed} bits");
        }
    }

    #[test]
    fn what_only_looks_like_a_uuid_is_hashed_whole() {
        let prints = [
            "8f5a9c1e-2b3d-4e6f-8a7b-1c2d3e4f5a6b",
            "8f5a9c1e-2b3d-4e6f-8a7b_1c2d3e4f5a6b",
            "8f5a9c1e-2b3d-4e6f-8a7b-1c2d3e4f5a6g",
            "8f5a9c1e-2b3d-4e6f-8a7b-1c2d3e4f5a6b ",
        ]
        .map(fingerprint);
        let distinct: std::collections::BTreeSet<u64> = prints.into();
        assert_eq!(distinct.len(), 4);
    }
}
