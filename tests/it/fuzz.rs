//! The targets of `fuzz/` without libFuzzer: the same checks on inputs made from the same seeds, for a while, on
//! any compiler. The inputs are the same in every run, as far as the time goes.

#[path = "../../fuzz/targets/mod.rs"]
mod targets;

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a target is run unless `KEYWARD_TEST_FUZZ_SECS` says otherwise.
const SECONDS: f64 = 1.5;
/// Inputs do not grow beyond this, so that many of them are tried.
const LONGEST: usize = 4_096;
/// An input of that size that takes longer costs more than it may.
const PATIENCE: Duration = Duration::from_secs(4);
/// How often an input is changed at most.
const CHANGES: usize = 6;

#[test]
fn records_of_any_bytes() {
    drive("records");
}

#[test]
fn messages_of_any_text() {
    drive("envelopes");
}

#[test]
fn rules_of_any_text() {
    drive("rules");
}

#[test]
fn policies_of_any_text() {
    drive("policies");
}

#[test]
fn digests_of_any_bytes() {
    drive("digests");
}

/// Runs a target on its seeds, and then on what becomes of them.
fn drive(target: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let seeds = seeds(&folder.join("corpus").join(target));
    let words = dictionary(&folder.join("dictionaries").join(format!("{target}.dict")));
    let trial = Trial::new(target);
    for seed in &seeds {
        trial.run(seed);
    }
    let (mut mutator, started) = (Mutator { seeds, words, random: Random(1) }, Instant::now());
    let mut tried = 0_u64;
    while started.elapsed() < time() {
        trial.run(&mutator.next());
        tried += 1;
    }
    std::fs::remove_file(&trial.path).unwrap();
    assert!(tried > 20, "only {tried} inputs were tried in {:?}", time());
    println!("{target}: {tried} inputs in {:?}", started.elapsed());
}

#[expect(clippy::disallowed_methods, reason = "the one place where this test asks what it is to do")]
fn time() -> Duration {
    let asked = std::env::var("KEYWARD_TEST_FUZZ_SECS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs_f64(asked.unwrap_or(SECONDS))
}

/// The runs of one target, whose input stands in a file meanwhile: a stack that overflows tells nothing.
struct Trial<'t> {
    target: &'t str,
    path: PathBuf,
    file: File,
}

impl<'t> Trial<'t> {
    fn new(target: &'t str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        std::fs::create_dir_all(folder).unwrap();
        let path = folder.join(format!("fuzz-{target}-{}.input", std::process::id()));
        Self { target, file: File::create(&path).unwrap(), path }
    }

    fn run(&self, input: &[u8]) {
        self.file.set_len(input.len() as u64).unwrap();
        self.file.write_all_at(input, 0).unwrap();
        let started = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| targets::run(self.target, input)));
        let (took, place) = (started.elapsed(), self.path.display());
        assert!(outcome.is_ok(), "what has to hold of {} does not hold of {place}", self.target);
        assert!(took < PATIENCE, "{} takes {took:?} for {place}", self.target);
    }
}

fn seeds(folder: &Path) -> Vec<Vec<u8>> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> = entries.collect();
    paths.sort();
    assert!(!paths.is_empty(), "no seeds in {}", folder.display());
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// The words of one of libFuzzer's dictionaries: one a line, in quotes.
fn dictionary(path: &Path) -> Vec<Vec<u8>> {
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| word(line.strip_prefix('"').unwrap().strip_suffix('"').unwrap())).collect()
}

fn word(quoted: &str) -> Vec<u8> {
    let mut word = Vec::new();
    let mut rest = quoted.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        match (first, after) {
            (b'\\', [b'x', digits @ ..]) => {
                word.extend(hex::decode(&digits[..2]).unwrap());
                rest = &digits[2..];
            }
            (b'\\', [escaped, behind @ ..]) => {
                word.push(*escaped);
                rest = behind;
            }
            _ => word.push(*first),
        }
    }
    word
}

/// Makes inputs out of seeds.
struct Mutator {
    seeds: Vec<Vec<u8>>,
    words: Vec<Vec<u8>>,
    random: Random,
}

impl Mutator {
    fn next(&mut self) -> Vec<u8> {
        let mut input = self.seed();
        for _ in 0..=self.random.below(CHANGES) {
            self.change(&mut input);
            input.truncate(LONGEST);
        }
        input
    }

    fn seed(&mut self) -> Vec<u8> {
        self.seeds[self.random.below(self.seeds.len())].clone()
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let at = self.random.below(input.len() + 1);
        let length = self.random.length().min(input.len() - at);
        match self.random.below(10) {
            0 => input.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << self.random.below(8)),
            1 => input.iter_mut().skip(at).take(1).for_each(|byte| *byte = self.random.byte()),
            2 => input.truncate(at),
            3 => _ = input.drain(at..at + length),
            // Again, in another place.
            4 => {
                let (part, to) = (input[at..at + length].to_vec(), self.random.below(input.len() + 1));
                input.splice(to..to, part);
            }
            // The end of another one.
            5 => {
                let other = self.seed();
                let from = self.random.below(other.len());
                input.truncate(at);
                input.extend(&other[from..]);
            }
            6 => {
                let byte = self.random.byte();
                input.splice(at..at, [byte]);
            }
            // Nested, or repeated without end.
            7 => {
                let (word, times) = (self.word(), 1 << self.random.below(11));
                input.splice(at..at, word.repeat(times));
            }
            8 => {
                let word = self.word();
                input.splice(at..(at + word.len()).min(input.len()), word);
            }
            _ => {
                let word = self.word();
                input.splice(at..at, word);
            }
        }
    }

    fn word(&mut self) -> Vec<u8> {
        self.words[self.random.below(self.words.len())].clone()
    }
}

/// SplitMix64: the same numbers in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below a bound; 0 if that is 0.
    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % (bound.max(1) as u64)).unwrap()
    }

    /// Mostly short, at times long.
    fn length(&mut self) -> usize {
        let bits = self.below(10);
        self.below(1 << bits) + 1
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }
}
