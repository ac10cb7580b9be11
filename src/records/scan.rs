//! The structure of JSON text, 64 bytes at a time: where strings begin and end, where brackets open and close.
//!
//! Each block of 64 bytes becomes a few masks of 64 bits, with a bit per byte. Quotes that a backslash escapes are
//! taken out, and brackets within strings. All that follows hops from bit to bit and never looks at what is between.
//! Masks are made of a page of blocks at a time, without a branch, and kept as long as the text is, so that what is
//! nested in a record is found by them as well.

use std::num::NonZero;

use fearless_simd::Simd;

use super::lanes::{Chunk, Processor, backslashes, masks};

/// How many bytes are looked at in one step.
pub(super) const BLOCK: usize = 64;

/// How many blocks are looked at at a time: as many as a mask has bits.
const PAGE: usize = 64;

/// Every second bit, beginning with the lowest.
const EVEN: u64 = 0x5555_5555_5555_5555;

/// What is known of a block.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block {
    /// Opening brackets outside of strings.
    opens: u64,
    /// Closing brackets outside of strings.
    closes: u64,
    /// How many brackets are open where it begins.
    depth: i64,
    /// How many are open within it at least. It may be less than there ever are.
    low: i64,
}

impl Block {
    /// Stands behind the last one.
    const NONE: Self = Self { opens: 0, closes: 0, depth: 0, low: i64::MAX };
}

/// What a block has to be told of all that is before it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct State {
    /// All ones if it begins within a string.
    in_string: u64,
    /// One if it begins behind a backslash that escapes.
    escaped: u64,
    /// How many brackets are open.
    depth: i64,
    /// All bits of all depths at which blocks began: no less than any of them, and huge if one was below zero.
    depths: u64,
}

/// How far a text has been looked at, and what was found.
///
/// It begins outside of a string. The text is given to each call, since it is moved when more of it comes; an index
/// then begins anew. What is beyond the part that was looked at is not found: then [`Self::more`] is to be called.
#[derive(Debug)]
pub(super) struct Index {
    processor: Processor,
    /// Where the first block begins.
    origin: usize,
    /// Those that were looked at, one that is none, and what is left of former ones.
    blocks: Vec<Block>,
    /// Of each of them the quotes that begin or end a string.
    quotes: Vec<u64>,
    /// How many were looked at.
    count: usize,
    /// Which blocks have backslashes or bytes beyond ASCII, a page each.
    rare: Vec<u64>,
    state: State,
}

impl Index {
    /// An index that begins at the beginning of a text.
    pub(super) fn new() -> Self {
        let mut index = Self {
            processor: Processor::found(),
            origin: 0,
            blocks: Vec::new(),
            quotes: Vec::new(),
            count: 0,
            rare: Vec::new(),
            state: State::default(),
        };
        index.restart(0);
        index
    }

    /// Begins anew at a place outside of a string.
    pub(super) fn restart(&mut self, origin: usize) {
        self.origin = origin;
        self.count = 0;
        self.state = State::default();
        self.rare.clear();
        self.quotes.clear();
        self.quotes.push(0);
        self.blocks.clear();
        self.blocks.push(Block::NONE);
    }

    /// Whether a place was not looked at yet.
    #[inline]
    pub(super) fn is_at_end(&self, at: usize) -> bool {
        at.wrapping_sub(self.origin) / BLOCK >= self.count
    }

    /// Looks on, and at as much as was looked at since a place, so that looking again at what began there costs no
    /// more than the first time; false at the end of the text.
    #[cold]
    pub(super) fn more(&mut self, text: &[u8], since: usize) -> bool {
        let before = self.count;
        let seen = (self.origin + self.count * BLOCK).saturating_sub(since);
        for _ in 0..=seen / (BLOCK * PAGE) {
            self.page(text);
        }
        self.count > before
    }

    /// Looks at one more page.
    fn page(&mut self, text: &[u8]) {
        let rest = text.get(self.origin + self.count * BLOCK..).unwrap_or_default();
        let part = rest.get(..BLOCK * PAGE).unwrap_or(rest);
        if part.is_empty() {
            return;
        }
        // What is none gives way.
        self.blocks.truncate(self.count);
        self.quotes.truncate(self.count);
        let (whole, tail) = part.as_chunks();
        let mut rare = self.look(whole);
        if !tail.is_empty() {
            rare |= self.look(&[padded(tail)]) << (whole.len() % PAGE);
        }
        self.rare.push(rare);
        self.count = self.blocks.len();
        self.blocks.push(Block { depth: self.state.depth, ..Block::NONE });
        self.quotes.push(0);
    }

    /// Looks at blocks, and tells which of them have rare bytes.
    fn look(&mut self, text: &[Chunk]) -> u64 {
        let before = self.blocks.len();
        self.blocks.resize(before + text.len(), Block::NONE);
        self.quotes.resize(before + text.len(), 0);
        let blocks = self.blocks.get_mut(before..).unwrap_or_default();
        let quotes = self.quotes.get_mut(before..).unwrap_or_default();
        self.processor.look(text, &mut self.state, blocks, quotes)
    }

    /// The blocks from that of a place on, with one behind them that is none, and the bit of the place in the first.
    #[inline]
    fn from(&self, at: usize) -> Option<(&[Block], usize)> {
        let at = at.wrapping_sub(self.origin);
        Some((self.blocks.get(at / BLOCK..)?, at % BLOCK))
    }

    /// The end of the string whose quote is at a place.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "it is what reading a record consists of, and short")]
    pub(super) fn string(&self, start: usize) -> Option<usize> {
        let inside = start + 1;
        let at = inside.wrapping_sub(self.origin);
        let bit = at % BLOCK;
        let rest = self.quotes.get(at / BLOCK..)?;
        let [first, second] = rest.first_chunk()?;
        // The 64 bytes from there on, which are more than most strings have.
        match NonZero::new((first >> bit) | ((second << 1) << (63 - bit))) {
            Some(quotes) => Some(inside + quotes.trailing_zeros() as usize + 1),
            None => Some(inside - bit + far(rest)? + 1),
        }
    }

    /// Where, from a place on, so many brackets are open for the first time again, of which there is one more at
    /// the place: the place of the bracket that closes.
    #[inline]
    pub(super) fn close(&self, inside: usize, level: i64) -> Option<usize> {
        let (blocks, bit) = self.from(inside)?;
        let (first, rest) = blocks.split_first()?;
        let mut base = inside - bit;
        let wanted = u64::MAX << bit;
        if first.low <= level
            && let Some(bit) = closing(first.opens & wanted, first.closes & wanted, 1)
        {
            return Some(base + bit);
        }
        for block in rest {
            base += BLOCK;
            if block.low <= level
                && let Some(bit) = closing(block.opens, block.closes, block.depth - level)
            {
                return Some(base + bit);
            }
        }
        None
    }

    /// How many brackets are open at a place.
    #[inline]
    pub(super) fn level(&self, at: usize) -> i64 {
        let Some(([block, ..], bit)) = self.from(at) else { return 0 };
        let before = !(u64::MAX << bit);
        block.depth + i64::from((block.opens & before).count_ones())
            - i64::from((block.closes & before).count_ones())
    }

    /// Whether more than so many brackets are open at once in what is open from a place on until it closes.
    #[inline]
    pub(super) fn is_deeper(&self, start: usize, limit: usize) -> bool {
        // A block opens no more than it has bytes.
        let bound = self.state.depths.saturating_add(BLOCK as u64);
        bound > limit as u64 && self.depth(start) > limit
    }

    /// How many brackets are open at once at most in what the bracket at a place opens.
    #[cold]
    fn depth(&self, start: usize) -> usize {
        let Some((blocks, bit)) = self.from(start) else { return 0 };
        let mut wanted = u64::MAX << bit;
        let (mut depth, mut deepest) = (0_usize, 0);
        for block in blocks {
            let mut brackets = (block.opens | block.closes) & std::mem::replace(&mut wanted, u64::MAX);
            while brackets != 0 {
                let lowest = brackets & brackets.wrapping_neg();
                depth = if block.opens & lowest != 0 { depth + 1 } else { depth.saturating_sub(1) };
                if depth == 0 {
                    return deepest;
                }
                deepest = deepest.max(depth);
                brackets ^= lowest;
            }
        }
        deepest
    }

    /// Whether there may be backslashes or bytes beyond ASCII in a part of the text.
    #[inline]
    pub(super) fn has_rare(&self, start: usize, end: usize) -> bool {
        let first = start.wrapping_sub(self.origin) / BLOCK;
        let last = end.wrapping_sub(self.origin + 1) / BLOCK;
        let from = u64::MAX << (first % PAGE);
        let to = u64::MAX >> (PAGE - 1 - last % PAGE);
        match self.rare.get(first / PAGE..=last / PAGE) {
            Some([page]) => page & from & to != 0,
            Some([page, between @ .., end]) => {
                page & from != 0 || end & to != 0 || between.iter().any(|page| *page != 0)
            }
            _ => true,
        }
    }
}

/// Where the next quote is, which is not in the first block.
#[inline(never)]
fn far(blocks: &[u64]) -> Option<usize> {
    let (number, quotes) = blocks.iter().enumerate().skip(1).find(|(_, quotes)| **quotes != 0)?;
    Some(number * BLOCK + quotes.trailing_zeros() as usize)
}

/// The bracket at which none of so many that are open before these remains.
#[inline]
fn closing(mut opens: u64, mut closes: u64, mut depth: i64) -> Option<usize> {
    while closes != 0 {
        let before = closes ^ (closes - 1);
        // What closes first closes what opened since, or else what was open before.
        if opens & before != 0 {
            opens &= opens - 1;
        } else if depth == 1 {
            return Some(closes.trailing_zeros() as usize);
        } else {
            depth -= 1;
        }
        closes &= closes - 1;
    }
    None
}

impl State {
    /// Looks at blocks that follow each other, and tells which of them have rare bytes: a bit per block.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "it is compiled for several processors")]
    pub(super) fn look<S: Simd>(
        &mut self,
        simd: S,
        text: &[Chunk],
        out: &mut [Block],
        quotes: &mut [u64],
    ) -> u64 {
        let mut state = *self;
        let mut rare = 0;
        for (number, ((block, out), out_quotes)) in text.iter().zip(out).zip(quotes).enumerate() {
            let masks = masks(simd, block);
            let mut quotes = masks.quotes;
            if masks.has_rare || state.escaped != 0 {
                rare |= 1 << (number % PAGE);
                quotes &= !state.escape(backslashes(simd, block));
            }
            *out_quotes = quotes;
            *out = state.block(quotes, masks.opens, masks.closes);
        }
        *self = state;
        rare
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "it is compiled for several processors")]
    fn block(&mut self, quotes: u64, opens: u64, closes: u64) -> Block {
        let in_string = prefix_xor(quotes) ^ self.in_string;
        // All ones if the highest bit is one.
        self.in_string = 0_u64.wrapping_sub(in_string >> 63);
        let (opens, closes) = (opens & !in_string, closes & !in_string);
        let depth = self.depth;
        let low = depth - i64::from(closes.count_ones());
        let high = depth + i64::from(opens.count_ones());
        self.depth = high + low - depth;
        self.depths |= depth.cast_unsigned();
        Block { opens, closes, depth, low }
    }

    /// Which bytes are escaped by a backslash before them: those behind an odd number of backslashes.
    ///
    /// As in simdjson: adding the backslashes to the odd beginnings of their runs carries over the end of the run,
    /// which tells whether the run's length is even or odd.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "it is compiled for several processors")]
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
#[inline(always)]
#[expect(clippy::inline_always, reason = "it is compiled for several processors")]
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
fn padded(rest: &[u8]) -> Chunk {
    let mut block = [b' '; BLOCK];
    block.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    block
}
