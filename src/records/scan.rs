//! The structure of JSON text, 64 bytes at a time: where strings begin and end, where brackets open and close.
//!
//! Each block of 64 bytes becomes a few masks of 64 bits, with a bit per byte. Quotes that a backslash escapes are
//! taken out, and brackets within strings. All that follows hops from bit to bit and never looks at what is between.

use wide::u8x16;

/// How many bytes are looked at in one step.
pub(super) const BLOCK: usize = 64;

/// Every second bit, beginning with the lowest.
const EVEN: u64 = 0x5555_5555_5555_5555;

/// Where a bracket closes, or that it does not within the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Close {
    /// The place of the closing bracket.
    pub(super) at: usize,
    /// How many levels were open at most, with the bracket itself.
    pub(super) deepest: usize,
}

/// How far a text has been looked at, and the masks of the block that it stands in.
///
/// It begins outside of a string and only goes forward. The text is given to each call, since it is moved when
/// more of it comes; an index is then begun anew.
#[derive(Debug, Clone, Copy)]
pub(super) struct Index {
    /// Where the next block begins.
    next: usize,
    /// Quotes of this block that begin or end a string and were not taken yet.
    quotes: u64,
    /// Brackets of this block outside of strings.
    brackets: u64,
    /// All ones if the next block begins within a string.
    in_string: u64,
    /// One if the next block begins behind a backslash that escapes.
    escaped: u64,
    /// Whether this block has backslashes or bytes beyond ASCII.
    rare_block: bool,
    /// Whether any block since the last [`Self::forget_rare`] has.
    rare: bool,
}

impl Index {
    /// An index that begins at a place outside of a string.
    pub(super) fn new(at: usize) -> Self {
        Self { next: at, quotes: 0, brackets: 0, in_string: 0, escaped: 0, rare_block: false, rare: false }
    }

    /// Whether there may be backslashes or bytes beyond ASCII in what was looked at since [`Self::forget_rare`].
    pub(super) fn has_rare(&self) -> bool {
        self.rare
    }

    /// Begins to look for such bytes anew, with the block at hand.
    pub(super) fn forget_rare(&mut self) {
        self.rare = self.rare_block;
    }

    /// Takes the next quote that begins or ends a string.
    #[inline]
    fn quote(&mut self, text: &[u8]) -> Option<usize> {
        while self.quotes == 0 {
            if !self.advance(text) {
                return None;
            }
        }
        let bit = self.quotes.trailing_zeros() as usize;
        self.quotes &= self.quotes - 1;
        Some(self.base() + bit)
    }

    /// The end of the string that begins at a place, where the next quote that was not taken is.
    #[inline]
    pub(super) fn string(&mut self, text: &[u8], start: usize) -> Option<usize> {
        let opening = self.quote(text)?;
        debug_assert_eq!(opening, start, "a string begins with the next quote");
        self.quote(text).map(|closing| closing + 1)
    }

    /// Finds where the bracket closes that is open at a place, and passes by all that is within.
    #[inline]
    pub(super) fn close(&mut self, text: &[u8], inside: usize) -> Option<Close> {
        let mut depth = 1_usize;
        let mut deepest = 1_usize;
        while self.next <= inside {
            if !self.advance(text) {
                return None;
            }
        }
        let mut wanted = u64::MAX << (inside.saturating_sub(self.base()) % BLOCK);
        loop {
            let mut brackets = self.brackets & wanted;
            while brackets != 0 {
                let at = self.base() + brackets.trailing_zeros() as usize;
                match text.get(at) {
                    Some(b'{' | b'[') => {
                        depth += 1;
                        deepest = deepest.max(depth);
                    }
                    Some(b'}' | b']') if depth > 1 => depth -= 1,
                    Some(b'}' | b']') => {
                        // Quotes up to here were within.
                        self.quotes &= !(brackets ^ (brackets - 1));
                        return Some(Close { at, deepest });
                    }
                    _ => {}
                }
                brackets &= brackets - 1;
            }
            if !self.advance(text) {
                return None;
            }
            wanted = u64::MAX;
        }
    }

    fn base(&self) -> usize {
        self.next.wrapping_sub(BLOCK)
    }

    /// Looks at the next block; false at the end of the text.
    #[inline]
    fn advance(&mut self, text: &[u8]) -> bool {
        let rest = text.get(self.next..).unwrap_or_default();
        let bytes = match rest.first_chunk::<BLOCK>() {
            Some(block) => Bytes::of(block),
            None if rest.is_empty() => return false,
            None => Bytes::of(&padded(rest)),
        };
        let mut quotes = bytes.equal(b'"');
        self.rare_block = bytes.has_rare();
        if self.rare_block || self.escaped != 0 {
            self.rare = true;
            quotes &= !self.escape(bytes.equal(b'\\'));
        }
        let in_string = prefix_xor(quotes) ^ self.in_string;
        // All ones if the highest bit is one.
        self.in_string = 0_u64.wrapping_sub(in_string >> 63);
        self.brackets = bytes.brackets() & !in_string;
        self.quotes = quotes;
        self.next += BLOCK;
        true
    }

    /// Which bytes are escaped by a backslash before them: those behind an odd number of backslashes.
    ///
    /// As in simdjson: adding the backslashes to the odd beginnings of their runs carries over the end of the run,
    /// which tells whether the run's length is even or odd.
    #[inline]
    fn escape(&mut self, backslashes: u64) -> u64 {
        let backslashes = backslashes & !self.escaped;
        let follows = (backslashes << 1) | self.escaped;
        let odd_starts = backslashes & !EVEN & !follows;
        let (even_runs, carried) = odd_starts.overflowing_add(backslashes);
        self.escaped = u64::from(carried);
        (EVEN ^ (even_runs << 1)) & follows
    }
}

/// Bit n of the result is the parity of the bits up to n: between an odd quote and the next one is a string.
#[inline]
fn prefix_xor(mut bits: u64) -> u64 {
    bits ^= bits << 1;
    bits ^= bits << 2;
    bits ^= bits << 4;
    bits ^= bits << 8;
    bits ^= bits << 16;
    bits ^ (bits << 32)
}

/// The last bytes of a text as a block, filled up with blanks.
#[cold]
fn padded(rest: &[u8]) -> [u8; BLOCK] {
    let mut block = [b' '; BLOCK];
    block.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    block
}

/// A block in four registers.
#[derive(Clone, Copy)]
struct Bytes([u8x16; 4]);

impl Bytes {
    #[inline]
    fn of(block: &[u8; BLOCK]) -> Self {
        let (quarters, _) = block.as_chunks::<16>();
        match *quarters {
            [a, b, c, d] => Self([u8x16::new(a), u8x16::new(b), u8x16::new(c), u8x16::new(d)]),
            _ => Self([u8x16::ZERO; 4]),
        }
    }

    /// Where a byte is.
    #[inline]
    fn equal(self, byte: u8) -> u64 {
        let wanted = u8x16::splat(byte);
        mask(self.0.map(|quarter| quarter.simd_eq(wanted)))
    }

    /// Where a bracket is, or one of `Y`, `_`, `y` and DEL, which are not outside of strings.
    ///
    /// Brackets are the bytes `01x1_1011` and `01x1_1101`. Setting the bits in which they differ makes one of them.
    #[inline]
    fn brackets(self) -> u64 {
        let differ = u8x16::splat(0b0010_0110);
        let wanted = u8x16::splat(0b0111_1111);
        mask(self.0.map(|quarter| (quarter | differ).simd_eq(wanted)))
    }

    /// Whether there is a backslash or a byte beyond ASCII.
    #[inline]
    fn has_rare(self) -> bool {
        let backslash = u8x16::splat(b'\\');
        let [a, b, c, d] = self.0.map(|quarter| quarter | quarter.simd_eq(backslash));
        ((a | b) | (c | d)).to_bitmask() != 0
    }
}

/// The highest bits of 64 bytes.
#[inline]
fn mask(quarters: [u8x16; 4]) -> u64 {
    let [a, b, c, d] = quarters.map(|quarter| u64::from(quarter.to_bitmask()));
    a | (b << 16) | (c << 32) | (d << 48)
}
