//! What is wrong with rule files, where, and what to do about it.

use std::fmt;

/// One mistake in one rule file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error("{}: {message}{}", Place(path, *line), Remedy(help.as_deref()))]
pub struct RuleError {
    /// The file.
    pub path: String,
    /// The line, from 1; 0 where the mistake is in no particular line.
    pub line: u64,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

struct Place<'a>(&'a str, u64);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self(path, 0) => f.write_str(path),
            Self(path, line) => write!(f, "{path}:{line}"),
        }
    }
}

struct Remedy<'a>(Option<&'a str>);

impl fmt::Display for Remedy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(help) => write!(f, "; {help}"),
            None => Ok(()),
        }
    }
}

/// Every mistake of every rule file, by file and line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RuleErrors(pub Vec<RuleError>);

impl RuleErrors {
    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The mistakes, by file and line.
    pub fn iter(&self) -> std::slice::Iter<'_, RuleError> {
        self.0.iter()
    }
}

impl fmt::Display for RuleErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, error) in self.0.iter().enumerate() {
            let separator = if at == 0 { "" } else { "\n" };
            write!(f, "{separator}{error}")?;
        }
        Ok(())
    }
}

impl<'e> IntoIterator for &'e RuleErrors {
    type Item = &'e RuleError;
    type IntoIter = std::slice::Iter<'e, RuleError>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl std::error::Error for RuleErrors {}

/// A mistake before it is known which file it is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) line: u64,
    pub(super) message: String,
    pub(super) help: Option<String>,
}

impl Problem {
    /// A mistake that says by itself what to do.
    pub(super) fn new(line: u64, message: impl Into<String>) -> Self {
        Self { line, message: message.into(), help: None }
    }

    /// A mistake and what to do about it.
    pub(super) fn with_help(line: u64, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..Self::new(line, message) }
    }

    /// A word that is not one of the known ones: the nearest of them is suggested, else all are named.
    pub(super) fn unknown_word<'a>(
        line: u64,
        message: impl Into<String>,
        word: &str,
        known: impl IntoIterator<Item = &'a str> + Clone,
    ) -> Self {
        let help = nearest(word, known.clone()).map_or_else(
            || format!("known are {}", known.into_iter().collect::<Vec<_>>().join(", ")),
            |nearest| format!("did you mean `{nearest}`?"),
        );
        Self::with_help(line, message, help)
    }

    pub(super) fn in_file(self, path: &str) -> RuleError {
        RuleError { path: path.to_owned(), line: self.line, message: self.message, help: self.help }
    }
}

/// The known word that is nearest to a misspelt one, if one is near enough to be meant.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_lowercase();
    let last_step = format!(".{lower}");
    known
        .into_iter()
        .map(|candidate| {
            let candidate_lower = candidate.to_lowercase();
            // `outside` for `boundary.outside` is no misspelling, and yet this is what is meant.
            let distance = if candidate_lower.ends_with(&last_step) {
                1
            } else {
                strsim::damerau_levenshtein(&lower, &candidate_lower)
            };
            (distance, candidate)
        })
        .filter(|(distance, _)| *distance <= (lower.chars().count() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_place_and_the_remedy() {
        let problem = Problem::unknown_word(7, "unknown level `hihg`", "hihg", ["high", "low"]);
        assert_eq!(
            problem.in_file("kms/a.yml").to_string(),
            "kms/a.yml:7: unknown level `hihg`; did you mean `high`?"
        );
        let problem = Problem::unknown_word(0, "unknown level `urgent`", "urgent", ["high", "low"]);
        assert_eq!(
            problem.in_file("kms/a.yml").to_string(),
            "kms/a.yml: unknown level `urgent`; known are high, low"
        );
    }

    #[test]
    fn the_nearest_word_is_one_that_is_near() {
        let facts = ["boundary.outside", "boundary.inside", "key.state"];
        assert_eq!(nearest("boundary.ouside", facts), Some("boundary.outside"));
        assert_eq!(nearest("outside", facts), Some("boundary.outside"));
        assert_eq!(nearest("Key.State", facts), Some("key.state"));
        assert_eq!(nearest("rotation", facts), None);
    }

    #[test]
    fn all_errors_are_shown_one_a_line() {
        let one = Problem::new(1, "first").in_file("a.yml");
        let two = Problem::new(2, "second").in_file("b.yml");
        assert_eq!(RuleErrors(vec![one, two]).to_string(), "a.yml:1: first\nb.yml:2: second");
        assert!(RuleErrors::default().is_empty());
    }
}
