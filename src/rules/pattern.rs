//! Texts with wildcards, and how many of them are tested at once.

use regex::{Regex, RegexBuilder};
use rsigma_parser::{SigmaString, SpecialChar, StringPart};

/// From this many exact values on, they are looked up by length instead of one after the other.
const MANY_EXACT: usize = 8;

/// Up to this many prefixes, suffixes and the like are tested one after the other; beyond, by one regex.
const FEW_SIMPLE: usize = 3;

/// Up to this many texts are kept a second time, to be looked for with those of other rules.
const MANY_NEEDED: usize = 64;

/// What a pattern is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    Text(String),
    /// `*`
    Many,
    /// `?`
    One,
    /// Any of the characters that Windows takes for a dash.
    Dash,
}

/// A text with wildcards, compared as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    pub(super) pieces: Vec<Piece>,
    pub(super) cased: bool,
}

impl Pattern {
    pub(super) fn from_sigma(text: &SigmaString, cased: bool) -> Self {
        let pieces = text
            .parts
            .iter()
            .map(|part| match part {
                StringPart::Plain(text) => Piece::Text(text.clone()),
                StringPart::Special(SpecialChar::WildcardMulti) => Piece::Many,
                StringPart::Special(SpecialChar::WildcardSingle) => Piece::One,
            })
            .collect();
        Self { pieces, cased }
    }

    pub(super) fn plain(text: &str, cased: bool) -> Self {
        Self { pieces: vec![Piece::Text(text.to_owned())], cased }
    }

    /// Anything may stand before it.
    pub(super) fn open_start(mut self) -> Self {
        if self.pieces.first() != Some(&Piece::Many) {
            self.pieces.insert(0, Piece::Many);
        }
        self
    }

    /// Anything may stand after it.
    pub(super) fn open_end(mut self) -> Self {
        if self.pieces.last() != Some(&Piece::Many) {
            self.pieces.push(Piece::Many);
        }
        self
    }

    /// Every `-` and `/` that begins a word stands for any kind of dash.
    pub(super) fn with_any_dash(self) -> Self {
        let mut pieces = Vec::new();
        for piece in self.pieces {
            match piece {
                Piece::Text(text) => split_dashes(&text, &mut pieces),
                other => pieces.push(other),
            }
        }
        Self { pieces, ..self }
    }

    fn simple(&self) -> Option<Simple> {
        let (anywhere_before, anywhere_after, text) = match self.pieces.as_slice() {
            [] => (false, false, ""),
            [Piece::Text(text)] => (false, false, text.as_str()),
            [Piece::Many] => (true, true, ""),
            [Piece::Many, Piece::Text(text)] => (true, false, text.as_str()),
            [Piece::Text(text), Piece::Many] => (false, true, text.as_str()),
            [Piece::Many, Piece::Text(text), Piece::Many] => (true, true, text.as_str()),
            _ => return None,
        };
        // Beyond ASCII, upper and lower case are more than one byte against another.
        if !self.cased && !text.is_ascii() {
            return None;
        }
        let shape = match (anywhere_before, anywhere_after) {
            (false, false) => Shape::Exact,
            (false, true) => Shape::Prefix,
            (true, false) => Shape::Suffix,
            (true, true) => Shape::Within,
        };
        Some(Simple { shape, text: text.as_bytes().into(), cased: self.cased })
    }

    /// The longest text in ASCII that a text has to hold to match.
    fn needed(&self) -> Option<&str> {
        let texts = self.pieces.iter().filter_map(|piece| match piece {
            Piece::Text(text) if text.is_ascii() && !text.is_empty() => Some(text.as_str()),
            _ => None,
        });
        texts.max_by_key(|text| text.len())
    }

    fn regex_source(&self) -> String {
        let mut source = String::from(if self.cased { "(?s:" } else { "(?si:" });
        let opens = self.pieces.first() == Some(&Piece::Many);
        let closes = self.pieces.last() == Some(&Piece::Many);
        if !opens {
            source.push_str(r"\A");
        }
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => source.push_str(&regex::escape(text)),
                Piece::Many => source.push_str(".*"),
                Piece::One => source.push('.'),
                Piece::Dash => source.push_str("[-/–—―]"),
            }
        }
        if !closes {
            source.push_str(r"\z");
        }
        source.push(')');
        source
    }
}

fn split_dashes(text: &str, pieces: &mut Vec<Piece>) {
    let is_word = |character: char| character.is_alphanumeric() || character == '_';
    let mut plain = String::new();
    let mut before = None;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let begins_word =
            before.is_none_or(|before| !is_word(before)) && characters.peek().copied().is_some_and(is_word);
        if matches!(character, '-' | '/') && begins_word {
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
            }
            pieces.push(Piece::Dash);
        } else {
            plain.push(character);
        }
        before = Some(character);
    }
    if !plain.is_empty() {
        pieces.push(Piece::Text(plain));
    }
}

/// Flags of a `|re` value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct RegexFlags {
    pub(super) ignore_case: bool,
    pub(super) multi_line: bool,
    pub(super) dot_all: bool,
}

/// The source of a `|re` value with its flags inside, checked by itself so that the error names it alone.
pub(super) fn checked_regex(source: &str, flags: RegexFlags) -> Result<String, String> {
    let mut set = String::new();
    for (on, flag) in [(flags.ignore_case, 'i'), (flags.multi_line, 'm'), (flags.dot_all, 's')] {
        if on {
            set.push(flag);
        }
    }
    let with_flags = format!("(?{set}:{source})");
    compile(&with_flags).map(|_| with_flags)
}

fn compile(source: &str) -> Result<Regex, String> {
    RegexBuilder::new(source).build().map_err(|error| match error {
        regex::Error::Syntax(text) => {
            let reason = text.lines().last().unwrap_or_default();
            reason.strip_prefix("error: ").unwrap_or(reason).to_owned()
        }
        other => other.to_string(),
    })
}

/// Tests a text against any of some patterns.
#[derive(Debug, Clone)]
pub(super) struct TextTest {
    exact: Exact,
    simple: Box<[Simple]>,
    regex: Option<Regex>,
    needed: Option<Box<[Box<str>]>>,
}

#[derive(Debug, Clone)]
enum Exact {
    Few(Box<[Simple]>),
    /// ASCII values without regard to case, by length.
    ByLength(Box<[Simple]>),
}

#[derive(Debug, Clone)]
struct Simple {
    shape: Shape,
    text: Box<[u8]>,
    cased: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Exact,
    Prefix,
    Suffix,
    Within,
}

impl TextTest {
    /// Compiles patterns and checked regexes into one test.
    pub(super) fn new(patterns: &[Pattern], regexes: &[String]) -> Result<Self, String> {
        let mut exact = Vec::new();
        let mut simple = Vec::new();
        let mut sources: Vec<String> = regexes.to_vec();
        for pattern in patterns {
            match pattern.simple() {
                Some(one) if one.shape == Shape::Exact => exact.push(one),
                Some(one) => simple.push((one, pattern)),
                None => sources.push(pattern.regex_source()),
            }
        }
        if simple.len() > FEW_SIMPLE || (!sources.is_empty() && !simple.is_empty()) {
            sources.extend(simple.drain(..).map(|(_, pattern)| pattern.regex_source()));
        }
        let regex = if sources.is_empty() { None } else { Some(compile(&sources.join("|"))?) };
        let simple = simple.into_iter().map(|(one, _)| one).collect();
        let texts = || patterns.iter().map(|pattern| Some(pattern.needed()?.into())).collect();
        let needed = if regexes.is_empty() && patterns.len() <= MANY_NEEDED { texts() } else { None };
        Ok(Self { exact: Exact::new(exact), simple, regex, needed })
    }

    /// Whether any of the patterns matches.
    pub(super) fn matches(&self, text: &str) -> bool {
        self.exact.matches(text.as_bytes())
            || self.simple.iter().any(|simple| simple.matches(text.as_bytes()))
            || self.regex.as_ref().is_some_and(|regex| regex.is_match(text))
    }

    /// ASCII texts of which any text that passes holds one, whatever the case of its letters; none if that cannot
    /// be told, or there are very many.
    pub(super) fn needed(&self) -> Option<&[Box<str>]> {
        self.needed.as_deref()
    }

    /// The values in lower case, where the test is for equality with ASCII values and nothing else.
    pub(super) fn only_values(&self) -> Option<Vec<String>> {
        if !self.simple.is_empty() || self.regex.is_some() {
            return None;
        }
        let (Exact::Few(values) | Exact::ByLength(values)) = &self.exact;
        values
            .iter()
            .map(|value| {
                std::str::from_utf8(&value.text)
                    .ok()
                    .filter(|text| text.is_ascii())
                    .map(str::to_ascii_lowercase)
            })
            .collect()
    }
}

impl Exact {
    fn new(mut values: Vec<Simple>) -> Self {
        if values.len() < MANY_EXACT || values.iter().any(|value| value.cased) {
            return Self::Few(values.into());
        }
        values.sort_by_key(|value| value.text.len());
        Self::ByLength(values.into())
    }

    fn matches(&self, text: &[u8]) -> bool {
        match self {
            Self::Few(values) => values.iter().any(|value| value.matches(text)),
            Self::ByLength(values) => {
                let from = values.partition_point(|value| value.text.len() < text.len());
                values
                    .iter()
                    .skip(from)
                    .take_while(|value| value.text.len() == text.len())
                    .any(|value| value.text.eq_ignore_ascii_case(text))
            }
        }
    }
}

impl Simple {
    fn matches(&self, text: &[u8]) -> bool {
        let len = self.text.len();
        match self.shape {
            Shape::Exact => self.same(text),
            Shape::Prefix => text.get(..len).is_some_and(|start| self.same(start)),
            Shape::Suffix => text
                .len()
                .checked_sub(len)
                .and_then(|from| text.get(from..))
                .is_some_and(|end| self.same(end)),
            Shape::Within => self.is_within(text),
        }
    }

    fn same(&self, text: &[u8]) -> bool {
        if self.cased { *self.text == *text } else { self.text.eq_ignore_ascii_case(text) }
    }

    fn is_within(&self, text: &[u8]) -> bool {
        let Some(first) = self.text.first() else { return true };
        let (lower, upper) = if self.cased {
            (*first, *first)
        } else {
            (first.to_ascii_lowercase(), first.to_ascii_uppercase())
        };
        text.windows(self.text.len()).any(|window| {
            window.first().is_some_and(|byte| *byte == lower || *byte == upper) && self.same(window)
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn test(values: &[&str]) -> TextTest {
        let patterns: Vec<Pattern> =
            values.iter().map(|value| Pattern::from_sigma(&SigmaString::new(value), false)).collect();
        TextTest::new(&patterns, &[]).unwrap()
    }

    #[test]
    fn wildcards_stand_at_any_place() {
        assert!(test(&["Put*"]).matches("putkeypolicy"));
        assert!(test(&["*Policy"]).matches("PutKeyPolicy"));
        assert!(test(&["*key*"]).matches("PutKeyPolicy"));
        assert!(test(&["put*pol?cy"]).matches("PutKeyPolicy"));
        assert!(!test(&["put?policy"]).matches("PutKeyPolicy"));
        assert!(!test(&["Key"]).matches("PutKeyPolicy"));
        assert!(test(&["*"]).matches(""));
        assert!(test(&["a*b"]).matches("a\nb"));
    }

    #[test]
    fn an_escaped_wildcard_is_itself() {
        assert!(test(&[r"kms:\*"]).matches("kms:*"));
        assert!(!test(&[r"kms:\*"]).matches("kms:Decrypt"));
        assert!(test(&[r"C:\\*"]).matches(r"C:\anything"));
        assert!(test(&[r"Windows\Temp"]).matches(r"windows\temp"));
    }

    #[test]
    fn case_counts_only_where_asked_for() {
        let cased = TextTest::new(&[Pattern::plain("Root", true)], &[]).unwrap();
        assert!(cased.matches("Root"));
        assert!(!cased.matches("root"));
        assert!(test(&["ÜBER*"]).matches("überall"));
    }

    #[test]
    fn many_values_are_any_of_them() {
        let names: Vec<String> =
            (0..40).map(|at| format!("Name{}", "x".repeat(at % 7) + &at.to_string())).collect();
        let many = test(&names.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(names.iter().all(|name| many.matches(&name.to_uppercase())));
        assert!(!many.matches("Name"));
        assert_eq!(many.only_values().unwrap().len(), 40);
        assert_eq!(many.needed().unwrap().len(), 40);
        let very_many: Vec<String> = (0..=MANY_NEEDED).map(|at| at.to_string()).collect();
        assert_eq!(test(&very_many.iter().map(String::as_str).collect::<Vec<_>>()).needed(), None);

        let mixed = test(&["exact", "pre*", "*post", "*in*", "a?c", "*other*"]);
        for text in ["EXACT", "prefix", "the post", "a in b", "abc", "some other"] {
            assert!(mixed.matches(text), "{text}");
        }
        assert!(!mixed.matches("exactly"));
        assert_eq!(mixed.only_values(), None);
    }

    #[test]
    fn a_regex_is_unanchored_and_cased_by_default() {
        let flags = RegexFlags::default();
        let regex = TextTest::new(&[], &[checked_regex("^arn:.*:root$", flags).unwrap()]).unwrap();
        assert!(regex.matches("arn:aws:iam::111122223333:root"));
        assert!(!regex.matches("ARN:aws:iam::111122223333:root"));
        let flags = RegexFlags { ignore_case: true, ..flags };
        let regex = TextTest::new(&[], &[checked_regex("user", flags).unwrap()]).unwrap();
        assert!(regex.matches("IAMUser"));
        assert!(checked_regex("(unclosed", flags).unwrap_err().contains("unclosed group"));
        assert!(checked_regex("(?=ahead)", flags).unwrap_err().contains("look-around"));
    }

    #[test]
    fn any_dash_stands_for_a_dash_that_begins_a_word() {
        let pattern = Pattern::plain("cmd -enc some-thing", false).with_any_dash();
        let dashed = TextTest::new(&[pattern], &[]).unwrap();
        for dash in ["-", "/", "–", "—", "―"] {
            assert!(dashed.matches(&format!("cmd {dash}enc some-thing")), "{dash}");
        }
        assert!(!dashed.matches("cmd -enc some/thing"));
    }

    proptest! {
        /// The fast ways and the regex agree about every shape of pattern.
        #[test]
        fn shapes_and_regex_agree(
            text in "[aAbB*.]{0,6}",
            needle in "[aAb.]{0,3}",
            open_start: bool,
            open_end: bool,
            cased: bool,
        ) {
            let mut pattern = Pattern::plain(&needle, cased);
            if open_start { pattern = pattern.open_start(); }
            if open_end { pattern = pattern.open_end(); }
            let simple = pattern.simple().unwrap();
            let regex = compile(&pattern.regex_source()).unwrap();
            prop_assert_eq!(simple.matches(text.as_bytes()), regex.is_match(&text));
        }
    }
}
