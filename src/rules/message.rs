//! The message of a rule, with the facts filled in.

use super::document::{Document, Path};
use crate::model::{Fact, Subject};

/// What stands for a fact that is missing or unknown.
const NOT_KNOWN: &str = "?";

/// A compiled message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Message(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Fact(Path),
    Label(Label),
}

/// What a message may say of the subject itself, whatever its facts are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Label {
    Account,
    Boundary,
    Key,
    KeySet,
    Region,
    Subject,
}

/// The names of the labels.
pub(super) const LABELS: [&str; 6] = ["account", "boundary", "key", "key_set", "region", "subject"];

fn label(name: &str) -> Option<Label> {
    Some(match name {
        "account" => Label::Account,
        "boundary" => Label::Boundary,
        "key" => Label::Key,
        "key_set" => Label::KeySet,
        "region" => Label::Region,
        "subject" => Label::Subject,
        _ => return None,
    })
}

impl Label {
    fn of(self, subject: &Subject) -> Option<String> {
        match self {
            Self::Account => Some(subject.account.to_string()),
            Self::Boundary => subject.boundary.clone(),
            Self::Key => subject.key.as_ref().map(ToString::to_string),
            Self::KeySet => subject.key_set.as_ref().map(ToString::to_string),
            Self::Region => subject.region.as_ref().map(ToString::to_string),
            Self::Subject => Some(subject.id.clone()),
        }
    }
}

impl Message {
    /// A message that is said as it is.
    pub(super) fn verbatim(text: &str) -> Self {
        Self(vec![Piece::Text(text.to_owned())])
    }

    /// Reads a template such as `{key.id} is disabled`; `{{` and `}}` stand for braces. Gives the paths of the
    /// facts beside it, to be checked.
    pub(super) fn parse(template: &str) -> Result<(Self, Vec<String>), String> {
        let (mut pieces, mut paths, mut text) = (Vec::new(), Vec::new(), String::new());
        let mut characters = template.chars().peekable();
        while let Some(character) = characters.next() {
            match character {
                '{' | '}' if characters.peek() == Some(&character) => {
                    characters.next();
                    text.push(character);
                }
                '{' => {
                    let name = name_in_braces(&mut characters)
                        .ok_or("the message has a `{` without a fact and a `}` behind it")?;
                    pieces.push(Piece::Text(std::mem::take(&mut text)));
                    if let Some(label) = label(&name) {
                        pieces.push(Piece::Label(label));
                    } else {
                        pieces.push(Piece::Fact(Path::new(&name)));
                        paths.push(name);
                    }
                }
                '}' => return Err("the message has a `}` without a `{`".to_owned()),
                _ => text.push(character),
            }
        }
        pieces.push(Piece::Text(text));
        pieces.retain(|piece| !matches!(piece, Piece::Text(text) if text.is_empty()));
        Ok((Self(pieces), paths))
    }

    /// Fills the message in.
    pub(super) fn fill<D: Document + ?Sized>(&self, subject: Option<&Subject>, document: &D) -> String {
        self.0
            .iter()
            .map(|piece| match piece {
                Piece::Text(text) => text.clone(),
                Piece::Fact(path) => shown_at(path, document),
                Piece::Label(label) => {
                    subject.and_then(|subject| label.of(subject)).unwrap_or_else(|| NOT_KNOWN.to_owned())
                }
            })
            .collect()
    }
}

fn name_in_braces(characters: &mut impl Iterator<Item = char>) -> Option<String> {
    let mut name = String::new();
    loop {
        match characters.next()? {
            '}' => break,
            '{' => return None,
            character => name.push(character),
        }
    }
    let name = name.trim();
    (!name.is_empty()).then(|| name.to_owned())
}

/// The value at a path for people: lists joined, unknown and missing as `?`.
pub(super) fn shown_at<D: Document + ?Sized>(path: &Path, document: &D) -> String {
    path.gather(document).map_or_else(|| NOT_KNOWN.to_owned(), |fact| shown(&fact))
}

fn shown(fact: &Fact) -> String {
    match fact {
        Fact::Null | Fact::Unknown(_) => NOT_KNOWN.to_owned(),
        Fact::Bool(value) => value.to_string(),
        Fact::Int(value) => value.to_string(),
        Fact::Float(value) => value.to_string(),
        Fact::Text(text) => text.clone(),
        Fact::List(items) => items.iter().map(shown).collect::<Vec<_>>().join(", "),
        Fact::Map(map) => {
            map.iter().map(|(name, fact)| format!("{name}={}", shown(fact))).collect::<Vec<_>>().join(", ")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::SubjectKind;

    fn subject() -> Subject {
        Subject {
            kind: SubjectKind::KeySet,
            id: "the set".to_owned(),
            account: "111122223333".parse().unwrap(),
            region: "eu-central-1".parse().ok(),
            key_set: None,
            key: None,
            boundary: Some("eea".to_owned()),
        }
    }

    #[test]
    fn facts_and_labels_are_filled_in() {
        let (message, paths) =
            Message::parse("{subject} of {account} is in {boundary.outside}, outside {boundary}").unwrap();
        assert_eq!(paths, ["boundary.outside"]);
        let facts =
            Fact::map([("boundary", Fact::map([("outside", Fact::texts(["eu-west-2", "us-east-1"]))]))]);
        assert_eq!(
            message.fill(Some(&subject()), &facts),
            "the set of 111122223333 is in eu-west-2, us-east-1, outside eea"
        );
    }

    #[test]
    fn what_is_not_known_shows_as_a_question() {
        let (message, _) = Message::parse("{key}: {a.b}, {a.c}, {a.d}").unwrap();
        let facts = Fact::map([(
            "a",
            Fact::map([
                ("b", Fact::Unknown("kms:ListAliases denied".to_owned())),
                ("d", Fact::List(vec![Fact::from("x"), Fact::Unknown("y denied".to_owned())])),
            ]),
        )]);
        assert_eq!(message.fill(Some(&subject()), &facts), "?: ?, ?, x, ?");
    }

    #[test]
    fn braces_are_doubled_and_single_ones_refused() {
        let (message, paths) = Message::parse("{{{a}}}").unwrap();
        assert_eq!(paths, ["a"]);
        assert_eq!(message.fill(Some(&subject()), &Fact::map([("a", Fact::Int(1))])), "{1}");
        for wrong in ["{}", "a } b", "{a{b}", "an open {brace"] {
            assert!(Message::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_label_has_a_name() {
        assert!(LABELS.iter().all(|name| label(name).is_some()));
    }
}
