//! What a rule is about, by its log source.

use super::error::{Problem, nearest};
use super::yaml::{Entry, Node};
use crate::model::SubjectKind;

/// The kinds of posture rules, as `logsource.category` names them.
const POSTURE: [SubjectKind; 4] =
    [SubjectKind::Key, SubjectKind::KeySet, SubjectKind::Trail, SubjectKind::AccountRegion];

/// What is read here.
const SERVICES: [&str; 2] = ["cloudtrail", "kms"];

/// Whom a rule is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// Subjects of a kind.
    Kind(SubjectKind),
    /// A product or service that is not read here, and why it is known to be.
    Foreign(String, u64),
}

/// What a rule is about.
pub(super) fn source(document: &Node) -> Result<Source, Problem> {
    let Some(entry) = document.entry("logsource") else {
        return Err(Problem::with_help(
            1,
            "the rule has no `logsource`",
            "give `product: aws` and `service: cloudtrail`, or `service: kms` with a `category`",
        ));
    };
    let part =
        |key: &str| entry.node.entry(key).map(|part| (part.node.text().unwrap_or_default(), part.line));
    let (product, service, category) = (part("product"), part("service"), part("category"));
    if let Some((other, line)) = product.filter(|(product, _)| *product != "aws") {
        return foreign_word("product", other, ["aws"], line);
    }
    match (service, category) {
        (Some(("cloudtrail", _)), _) => Ok(Source::Kind(SubjectKind::Event)),
        (Some(("kms", line)), category) => posture(category, line),
        (Some((word, line)), _) => foreign_word("service", word, SERVICES, line),
        (None, Some((word, line))) if product.is_none() => {
            Ok(Source::Foreign(format!("it is for the category `{word}` of any product"), line))
        }
        (None, _) => Err(no_service(entry)),
    }
}

fn no_service(entry: &Entry) -> Problem {
    Problem::with_help(entry.line, "the log source has no `service`", "give `cloudtrail` or `kms`")
}

/// A word that is nearly one of ours is a mistake, and any other one somebody else's.
fn foreign_word<const N: usize>(
    key: &str,
    word: &str,
    known: [&'static str; N],
    line: u64,
) -> Result<Source, Problem> {
    if nearest(word, known).is_some() {
        let message = format!("nothing is read from the {key} `{word}`");
        return Err(Problem::unknown_word(line, message, word, known));
    }
    Ok(Source::Foreign(format!("it is for the {key} `{word}`"), line))
}

fn posture(category: Option<(&str, u64)>, line: u64) -> Result<Source, Problem> {
    let known = POSTURE.map(SubjectKind::as_str);
    let Some((word, line)) = category else {
        let message = "the log source `kms` has no `category`";
        return Err(Problem::with_help(line, message, format!("give one of {}", known.join(", "))));
    };
    let found = POSTURE.into_iter().find(|kind| kind.as_str() == word);
    found
        .map(Source::Kind)
        .ok_or_else(|| Problem::unknown_word(line, format!("unknown category `{word}`"), word, known))
}
