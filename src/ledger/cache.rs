//! The fingerprints that were read from the store already, so that a batch asks only for what is new since.

use std::collections::BTreeMap;

use super::Block;

/// How many fingerprints are kept unless asked otherwise: 64 MiB.
pub const DEFAULT_PRINTS: usize = 8 << 20;

/// What is known of the blocks that were used last.
///
/// It may know less than the store, never more: what a batch brings is told to it only after the commit. Its
/// numbers of runs are the store's; a block is known up to the last run that was read of it.
#[derive(Debug)]
pub struct SeenCache {
    limit: usize,
    held: usize,
    uses: u64,
    blocks: BTreeMap<Block, Known>,
}

/// A block. New prints are gathered in the smaller of two sorted lists, since merging a batch into a million
/// moves the million.
#[derive(Debug, Default)]
struct Known {
    run: Option<i64>,
    many: Vec<u64>,
    recent: Vec<u64>,
    used: u64,
}

/// How many times smaller than the others the recent ones stay.
const RECENT_SHARE: usize = 8;

impl SeenCache {
    /// A cache of at most so many fingerprints, and of whatever the batch under way needs beyond.
    pub fn new(limit: usize) -> Self {
        Self { limit, held: 0, uses: 0, blocks: BTreeMap::new() }
    }

    /// The last run of a block that was read; none if nothing is known of it.
    pub fn last_run(&self, block: &Block) -> Option<i64> {
        self.blocks.get(block).and_then(|known| known.run)
    }

    /// How many fingerprints are held.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Takes in a run that is committed; `prints` is ascending. A block of which there is no run is known too.
    pub fn learn(&mut self, block: &Block, run: i64, prints: &[u64]) {
        self.uses += 1;
        let known = match self.blocks.get_mut(block) {
            Some(known) => known,
            None => self.blocks.entry(block.clone()).or_default(),
        };
        known.used = self.uses;
        known.run = known.run.max(Some(run));
        self.held -= known.len();
        known.add(prints);
        self.held += known.len();
    }

    /// Which of the prints were seen, as their places in `new`, which is ascending.
    pub fn duplicates(&mut self, block: &Block, new: &[u64]) -> Vec<usize> {
        self.uses += 1;
        let Some(known) = self.blocks.get_mut(block) else { return Vec::new() };
        known.used = self.uses;
        let mut places = common(&known.many, new);
        let recent = common(&known.recent, new);
        if !recent.is_empty() {
            places.extend(recent);
            places.sort_unstable();
            places.dedup();
        }
        places
    }

    /// Forgets the blocks that were used longest ago until the limit holds. To be called between batches: a block
    /// of which only the newest runs were read would not be whole without the ones before.
    pub fn trim(&mut self) {
        if self.held <= self.limit {
            return;
        }
        let mut oldest: Vec<(u64, Block)> =
            self.blocks.iter().map(|(block, known)| (known.used, block.clone())).collect();
        oldest.sort_unstable();
        for (_, block) in oldest {
            if self.held <= self.limit {
                break;
            }
            self.held -= self.blocks.remove(&block).map_or(0, |known| known.len());
        }
    }
}

impl Default for SeenCache {
    fn default() -> Self {
        Self::new(DEFAULT_PRINTS)
    }
}

impl Known {
    fn len(&self) -> usize {
        self.many.len() + self.recent.len()
    }

    /// A run that others have merged holds what was read before; what is in both lists is found twice, and once
    /// when they are merged.
    fn add(&mut self, prints: &[u64]) {
        merge(&mut self.recent, prints);
        if self.recent.len() > self.many.len() / RECENT_SHARE {
            merge(&mut self.many, &self.recent);
            self.recent.clear();
        }
    }
}

/// The places in `new` of what is in `sorted` too.
///
/// Fingerprints are spread evenly, so the next one is looked for where it should be, counted from the one before: in a
/// block of a million that is off by a few, and most of the block is never touched.
fn common(sorted: &[u64], new: &[u64]) -> Vec<usize> {
    let mut found = Vec::new();
    let (mut from, mut previous) = (0, 0);
    for (place, &print) in new.iter().enumerate() {
        let ahead = (u128::from(print - previous) * sorted.len() as u128) >> 64;
        let guess = from + usize::try_from(ahead).unwrap_or(usize::MAX - from);
        from = lower_bound(sorted, from, guess, print);
        previous = print;
        match sorted.get(from) {
            None => break,
            Some(first) if *first == print => found.push(place),
            Some(_) => {}
        }
    }
    found
}

/// The place of the first that is not less than `print`, which is at `low` or after it and probably near `guess`.
fn lower_bound(sorted: &[u64], low: usize, guess: usize, print: u64) -> usize {
    let is_less = |place: usize| sorted.get(place).is_some_and(|other| *other < print);
    let mut step = 4;
    let (mut first, mut last) = (guess.min(sorted.len()), guess.min(sorted.len()));
    if is_less(last) {
        while is_less(last) {
            first = last + 1;
            last += step;
            step *= 2;
        }
    } else {
        while first > low && !is_less(first) {
            last = first;
            first = first.saturating_sub(step).max(low);
            step *= 2;
        }
    }
    let window = sorted.get(first..last.min(sorted.len())).unwrap_or_default();
    first + window.partition_point(|other| *other < print)
}

/// The union of two ascending lists, in the first: from the back and in place, since the larger one may have millions.
pub(crate) fn merge(into: &mut Vec<u64>, new: &[u64]) {
    if into.last() < new.first() {
        return into.extend_from_slice(new);
    }
    let (mut left, mut right) = (into.len(), new.len());
    into.resize(left + right, 0);
    let mut to = into.len();
    // Without a branch that could be guessed wrong: which of two even spreads comes next cannot be guessed.
    while let (Some(one), Some(other)) = (before(into, left), before(new, right)) {
        to -= 1;
        if let Some(place) = into.get_mut(to) {
            *place = one.max(other);
        }
        left -= usize::from(one >= other);
        right -= usize::from(other >= one);
    }
    if let Some(rest) = new.get(..right) {
        to -= right;
        if let Some(place) = into.get_mut(to..to + right) {
            place.copy_from_slice(rest);
        }
    }
    // What was in both leaves a gap.
    into.drain(left..to);
}

fn before(list: &[u64], end: usize) -> Option<u64> {
    list.get(end.wrapping_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn block(hour: i64) -> Block {
        Block { account: "111122223333".to_owned(), region: "eu-central-1".to_owned(), hour }
    }

    #[test]
    fn only_what_was_learned_is_known() {
        let mut cache = SeenCache::new(100);
        assert_eq!(cache.last_run(&block(1)), None);
        assert_eq!(cache.duplicates(&block(1), &[1, 2, 3]), Vec::<usize>::new());
        cache.learn(&block(1), 7, &[2, 9]);
        assert_eq!(cache.last_run(&block(1)), Some(7));
        assert_eq!(cache.duplicates(&block(1), &[1, 2, 3, 9, 10]), [1, 3]);
        assert_eq!(cache.duplicates(&block(2), &[2]), Vec::<usize>::new(), "another hour is another block");
        // A merged run comes with what was known, and counts it once.
        cache.learn(&block(1), 9, &[1, 2, 3, 9]);
        assert_eq!((cache.held(), cache.last_run(&block(1))), (4, Some(9)));
        cache.learn(&block(1), 8, &[]);
        assert_eq!(cache.last_run(&block(1)), Some(9));
    }

    #[test]
    fn the_limit_holds_and_the_last_used_stay() {
        let mut cache = SeenCache::new(10);
        for hour in 0..4 {
            cache.learn(&block(hour), 1, &[1, 2, 3, 4]);
        }
        assert_eq!(cache.held(), 16, "nothing is forgotten within a batch");
        cache.duplicates(&block(0), &[1]);
        cache.trim();
        assert_eq!(cache.held(), 8);
        let kept: Vec<i64> = (0..4).filter(|hour| cache.last_run(&block(*hour)).is_some()).collect();
        assert_eq!(kept, [0, 3]);
    }

    proptest! {
        #[test]
        fn it_knows_exactly_what_a_set_would(
            runs in proptest::collection::vec(proptest::collection::btree_set(0_u64..500, 0..60), 1..12),
        ) {
            let mut cache = SeenCache::new(1_000_000);
            let mut truth = BTreeSet::new();
            for (run, prints) in (0_i64..).zip(runs) {
                let new: Vec<u64> = prints.iter().copied().collect();
                let expected: Vec<usize> =
                    (0..new.len()).filter(|place| truth.contains(&new[*place])).collect();
                prop_assert_eq!(cache.duplicates(&block(0), &new), expected);
                cache.learn(&block(0), run, &new);
                truth.extend(prints);
                prop_assert!(cache.held() >= truth.len() && cache.held() <= 2 * truth.len());
            }
        }
    }
}
