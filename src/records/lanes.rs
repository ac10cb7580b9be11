//! What a processor finds in a block of 64 bytes at once, with the widest registers that it has.
//!
//! Compilers make programs for the oldest processors of a kind, unless told otherwise. Those that are rented out for
//! servers have registers of 32 or 64 bytes, and ways to count bits, which is found out once for each file.

use fearless_simd::prelude::*;
use fearless_simd::{Level, dispatch, i8x64, u8x64};

use super::scan::{BLOCK, Block, State};

/// The bytes of a block.
pub(super) type Chunk = [u8; BLOCK];

/// Where bytes that matter are in a block: a bit per byte.
#[derive(Clone, Copy)]
pub(super) struct Masks {
    /// Quotes, escaped ones with them.
    pub(super) quotes: u64,
    /// `{` and `[`, those within strings with them.
    pub(super) opens: u64,
    /// `}` and `]`, those within strings with them.
    pub(super) closes: u64,
    /// Whether there are backslashes or bytes beyond ASCII.
    pub(super) has_rare: bool,
}

/// The widest registers that are here.
#[derive(Debug, Clone, Copy)]
pub(super) struct Processor(Level);

impl Processor {
    /// Finds out what is here.
    pub(super) fn found() -> Self {
        Self(Level::new())
    }

    /// Looks at blocks that follow each other, and tells which of them have rare bytes: a bit per block, of which
    /// there are 64 at most.
    pub(super) fn look(
        self,
        text: &[Chunk],
        state: &mut State,
        out: &mut [Block],
        quotes: &mut [u64],
    ) -> u64 {
        dispatch!(self.0, simd => state.look(simd, text, out, quotes))
    }
}

/// Where the bytes that matter are.
#[inline(always)]
#[expect(clippy::inline_always, reason = "what is not in one piece is compiled for the oldest processors")]
pub(super) fn masks<S: Simd>(simd: S, block: &Chunk) -> Masks {
    let bytes = u8x64::simd_from(simd, *block);
    // Of each kind of brackets, the square and the curly one differ in this bit.
    let alike = bytes | (b'{' ^ b'[');
    let signed: i8x64<S> = bytes.bitcast();
    Masks {
        quotes: bytes.simd_eq(b'"').to_bitmask(),
        opens: alike.simd_eq(b'{').to_bitmask(),
        closes: alike.simd_eq(b'}').to_bitmask(),
        has_rare: (bytes.simd_eq(b'\\') | signed.simd_lt(0)).any_true(),
    }
}

/// Where backslashes are.
#[inline(always)]
#[expect(clippy::inline_always, reason = "what is not in one piece is compiled for the oldest processors")]
pub(super) fn backslashes<S: Simd>(simd: S, block: &Chunk) -> u64 {
    u8x64::simd_from(simd, *block).simd_eq(b'\\').to_bitmask()
}
