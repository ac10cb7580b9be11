//! Fingerprints as they are stored: sorted, and only the distances written down.
//!
//! Fingerprints are spread evenly, so the distances in a run of `n` are about 2⁶⁴⁄n and a Rice code comes within
//! a bit of what can be had at all: 6.4 bytes for each of 25,000, 5.7 for each of a million.

use thiserror::Error;

/// The first byte of a run, so that another code can be told from this one.
const FORMAT: u8 = 1;
/// Format, width of the remainders, and how many there are.
const HEADER: usize = 6;

/// Why bytes are no run of fingerprints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PrintsError {
    /// It was written by another version.
    #[error("a run of fingerprints begins with the unknown format {0}")]
    Format(u8),
    /// It ends too early, or says of itself what cannot be.
    #[error("a run of fingerprints is cut short or damaged")]
    Damaged,
    /// It is not sorted, or holds what no 64 bits hold.
    #[error("a run of fingerprints is out of order")]
    Order,
}

/// The bytes of a run. `prints` has to be strictly ascending; what is not ascending is left out.
pub fn encode(prints: &[u64]) -> Vec<u8> {
    let sorted = || {
        let mut previous = None;
        prints.iter().copied().filter(move |print| {
            let is_next = previous.is_none_or(|previous| previous < *print);
            previous = if is_next { Some(*print) } else { previous };
            is_next
        })
    };
    let count = u32::try_from(sorted().count()).unwrap_or(u32::MAX);
    let width = width(count);
    let mut bytes = Vec::with_capacity(HEADER + prints.len() * (usize::from(width) + 3) / 8 + 8);
    bytes.extend([FORMAT, width]);
    bytes.extend(count.to_le_bytes());
    let mut bits = BitWriter { bytes, pending: 0, held: 0 };
    let mut previous = 0;
    for print in sorted().take(count as usize) {
        bits.distance(print - previous, width);
        previous = print;
    }
    bits.finish()
}

/// The fingerprints of a run, strictly ascending.
///
/// # Errors
/// When the bytes are none that [`encode`] gave.
pub fn decode(bytes: &[u8]) -> Result<Vec<u64>, PrintsError> {
    let (&[format, width, one, two, three, four], body) =
        bytes.split_first_chunk::<HEADER>().ok_or(PrintsError::Damaged)?;
    if format != FORMAT {
        return Err(PrintsError::Format(format));
    }
    let count = u32::from_le_bytes([one, two, three, four]) as usize;
    // Each takes more bits than its remainder, so a damaged count cannot ask for more memory than this.
    if width > 63 || count.saturating_mul(usize::from(width) + 1) > body.len().saturating_mul(8) {
        return Err(PrintsError::Damaged);
    }
    let mut bits = BitReader { bytes: body, at: 0 };
    let mut prints = Vec::with_capacity(count);
    let mut previous: Option<u64> = None;
    for _ in 0..count {
        let distance = bits.distance(width)?;
        let print = match previous {
            None => distance,
            Some(_) if distance == 0 => return Err(PrintsError::Order),
            Some(previous) => previous.checked_add(distance).ok_or(PrintsError::Order)?,
        };
        prints.push(print);
        previous = Some(print);
    }
    Ok(prints)
}

/// How many low bits of each distance are written as they are: about as many as the mean distance has.
fn width(count: u32) -> u8 {
    let bits = 32 - count.leading_zeros();
    u8::try_from(64 - bits.max(1)).unwrap_or(63)
}

struct BitWriter {
    bytes: Vec<u8>,
    pending: u128,
    held: u32,
}

impl BitWriter {
    /// The high part as that many ones and a zero, then the low part as it is; lowest bits first.
    fn distance(&mut self, distance: u64, width: u8) {
        let mut high = distance >> width;
        while high >= 32 {
            self.put(u64::from(u32::MAX), 32);
            high -= 32;
        }
        let ones = u32::try_from(high).unwrap_or_default();
        self.put((1_u64 << ones) - 1, ones + 1);
        self.put(distance & ((1_u64 << width) - 1), u32::from(width));
    }

    fn put(&mut self, bits: u64, count: u32) {
        self.pending |= u128::from(bits) << self.held;
        self.held += count;
        while self.held >= 32 {
            let low = u32::try_from(self.pending & u128::from(u32::MAX)).unwrap_or_default();
            self.bytes.extend(low.to_le_bytes());
            self.pending >>= 32;
            self.held -= 32;
        }
    }

    fn finish(mut self) -> Vec<u8> {
        let rest = self.pending.to_le_bytes();
        self.bytes.extend(rest.into_iter().take(self.held.div_ceil(8) as usize));
        self.bytes
    }
}

struct BitReader<'a> {
    bytes: &'a [u8],
    /// In bits.
    at: usize,
}

impl BitReader<'_> {
    fn distance(&mut self, width: u8) -> Result<u64, PrintsError> {
        let mut high = 0_u64;
        loop {
            let window = self.window()?;
            let ones = window.trailing_ones().min(56);
            high += u64::from(ones);
            self.at += ones as usize;
            if ones < 56 {
                break;
            }
        }
        self.at += 1;
        let low = self.bits(width)?;
        if self.at > self.bytes.len() * 8 {
            return Err(PrintsError::Damaged);
        }
        // What does not fit was never a distance of 64 bits.
        let high = high.checked_mul(1_u64 << width).ok_or(PrintsError::Order)?;
        high.checked_add(low).ok_or(PrintsError::Order)
    }

    fn bits(&mut self, width: u8) -> Result<u64, PrintsError> {
        if width <= 56 {
            let low = self.window()? & ((1_u64 << width) - 1);
            self.at += usize::from(width);
            return Ok(low);
        }
        let low = self.bits(32)?;
        Ok(low | (self.bits(width - 32)? << 32))
    }

    /// The next 57 bits or more; zeros after the end, where the caller notices.
    fn window(&self) -> Result<u64, PrintsError> {
        let rest = self.bytes.get(self.at / 8..).ok_or(PrintsError::Damaged)?;
        let word = match rest.first_chunk::<8>() {
            Some(chunk) => u64::from_le_bytes(*chunk),
            None => rest.iter().rev().fold(0, |word, byte| (word << 8) | u64::from(*byte)),
        };
        Ok(word >> (self.at % 8))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Evenly spread numbers without a generator.
    fn spread(count: u64) -> Vec<u64> {
        let mut prints: Vec<u64> = (1..=count).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
        prints.sort_unstable();
        prints
    }

    #[test]
    fn a_run_costs_little_more_than_its_entropy() {
        for (count, tenths_each) in [(100, 80), (25_000, 65), (300_000, 60)] {
            let prints = spread(count);
            let bytes = encode(&prints);
            let tenths = bytes.len() * 10 / prints.len();
            assert!(tenths < tenths_each, "{count} take {tenths} tenths of a byte each");
            assert_eq!(decode(&bytes).unwrap(), prints);
        }
    }

    #[test]
    fn the_ends_of_the_range_and_a_crowd_survive() {
        for prints in
            [vec![], vec![0], vec![u64::MAX], vec![0, u64::MAX], vec![0, 1, 2, u64::MAX - 1, u64::MAX]]
        {
            assert_eq!(decode(&encode(&prints)).unwrap(), prints);
        }
        // The worst for a Rice code: all but one crowded, and one far away.
        let mut crowd: Vec<u64> = (0..5_000).collect();
        crowd.push(u64::MAX);
        let bytes = encode(&crowd);
        assert!(bytes.len() < crowd.len() * 9, "{}", bytes.len());
        assert_eq!(decode(&bytes).unwrap(), crowd);
    }

    #[test]
    fn what_is_stored_stays_readable() {
        // Written by the first version; never change this.
        let stored = "013e030000001e0000000000000019000000000000c0b0ffffffffffff7f";
        let bytes = encode(&[15, 40, 0xc000_0000_0000_0000]);
        assert_eq!(decode(&bytes).unwrap(), [15, 40, 0xc000_0000_0000_0000]);
        assert_eq!(hex::encode(&bytes), stored);
    }

    proptest! {
        #[test]
        fn any_set_survives(mut prints in proptest::collection::vec(any::<u64>(), 0..400)) {
            prints.sort_unstable();
            prints.dedup();
            prop_assert_eq!(decode(&encode(&prints)).unwrap(), prints);
        }

        #[test]
        fn any_bytes_are_a_run_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(prints) = decode(&bytes) {
                prop_assert!(prints.is_sorted_by(|one, next| one < next));
            }
        }

        #[test]
        fn a_damaged_run_is_ascending_or_an_error(at in 1_usize..500, bit in 0_u8..8, cut in 0_usize..500) {
            let mut bytes = encode(&spread(60));
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            bytes.truncate(bytes.len() - cut % bytes.len());
            if let Ok(prints) = decode(&bytes) {
                prop_assert!(prints.is_sorted_by(|one, next| one < next));
            }
        }
    }
}
