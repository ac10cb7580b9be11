//! A YAML document in which every key and value knows its line, so that errors can name it.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

/// Nesting beyond this is no rule, and would be walked by recursion.
const MAX_DEPTH: usize = 48;

/// More nodes than this in one file are an alias bomb, not a rule.
const MAX_NODES: usize = 50_000;

/// A value and the line on which it begins, from 1.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub(super) line: u64,
    pub(super) value: Value,
}

/// What a YAML node holds.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// One key of a mapping and what it holds.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) line: u64,
    pub(super) node: Node,
}

/// Why a text is not YAML, and where.
#[derive(Debug)]
pub(super) struct YamlError {
    pub(super) line: u64,
    pub(super) message: String,
}

/// Reads every document of a YAML text.
pub(super) fn documents(text: &str) -> Result<Vec<Node>, YamlError> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_depth: MAX_DEPTH, max_nodes: MAX_NODES },
        strict_booleans: true,
        with_snippet: false,
    };
    serde_saphyr::from_multiple_with_options::<Spanned<Raw>>(text, options)
        .map(|documents| documents.into_iter().map(|document| located(document, text)).collect())
        .map_err(|error| YamlError {
            line: error.location().map_or(1, |location| location.line()),
            message: first_line(&error.without_snippet().to_string()),
        })
}

fn first_line(message: &str) -> String {
    message.lines().next().unwrap_or_default().to_owned()
}

impl Node {
    /// The entries of a mapping; none of anything else.
    pub(super) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// What a mapping holds under a key.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        self.entry(key).map(|entry| &entry.node)
    }

    /// The entry of a mapping under a key.
    pub(super) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    /// The text, if it is one.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The items of a list; a single value counts as a list of itself, as Sigma has it; null is empty.
    pub(super) fn items(&self) -> &[Self] {
        match &self.value {
            Value::List(items) => items,
            Value::Null => &[],
            _ => std::slice::from_ref(self),
        }
    }

    /// The line of what a JSON pointer leads to, or of the last thing on the way that is there.
    pub(super) fn line_at(&self, pointer: &str) -> u64 {
        let (mut node, mut line) = (self, self.line);
        for step in pointer.split('/').filter(|step| !step.is_empty()) {
            let below = match step.parse::<usize>() {
                Ok(index) => node.items().get(index).map(|item| (item, item.line)),
                Err(_) => node.entry(step).map(|entry| (&entry.node, entry.line)),
            };
            let Some(below) = below else { break };
            (node, line) = below;
        }
        line
    }

    /// The same value as JSON, without the lines.
    pub(super) fn json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(value) => (*value).into(),
            Value::Int(value) => (*value).into(),
            Value::Float(value) => (*value).into(),
            Value::Text(text) => text.as_str().into(),
            Value::List(items) => items.iter().map(Self::json).collect(),
            Value::Map(entries) => {
                entries.iter().map(|entry| (entry.key.clone(), entry.node.json())).collect()
            }
        }
    }

    /// What kind of thing it is, for error messages.
    pub(super) fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "true or false",
            Value::Int(_) | Value::Float(_) => "a number",
            Value::Text(_) => "a text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }
}

/// The value as the deserializer builds it.
enum Raw {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

fn located(raw: Spanned<Raw>, text: &str) -> Node {
    let line = raw.referenced.line();
    let value = match raw.value {
        Raw::Null => Value::Null,
        Raw::Bool(value) => Value::Bool(value),
        Raw::Int(_) | Raw::Float(_) if let Some(identifier) = leading_zero(&raw.defined, text) => {
            Value::Text(identifier.to_owned())
        }
        Raw::Int(value) => Value::Int(value),
        Raw::Float(value) => Value::Float(value),
        Raw::Text(text) => Value::Text(text),
        Raw::List(items) => Value::List(items.into_iter().map(|item| located(item, text)).collect()),
        Raw::Map(entries) => Value::Map(
            entries
                .into_iter()
                .map(|(key, value)| Entry {
                    line: key.referenced.line(),
                    key: key.value,
                    node: located(value, text),
                })
                .collect(),
        ),
    };
    Node { line, value }
}

/// An account id such as `012345678901` is a number to YAML, and loses its zero; it is meant as written.
fn leading_zero<'t>(at: &serde_saphyr::Location, text: &'t str) -> Option<&'t str> {
    let line = text.lines().nth(usize::try_from(at.line()).ok()?.checked_sub(1)?)?;
    let before = usize::try_from(at.column()).ok()?.checked_sub(1)?;
    let (start, _) = line.char_indices().nth(before)?;
    let rest = line.get(start..)?;
    let end = rest.find([',', ']', '}', ' ', '\t', '#']).unwrap_or(rest.len());
    let digits = rest.get(..end)?;
    let is_identifier =
        digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_identifier.then_some(digits)
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
        Raw::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(i64::try_from(value).map_or_else(|_| Raw::Text(value.to_string()), Raw::Int))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Float(value))
    }

    fn visit_str<E>(self, text: &str) -> Result<Raw, E> {
        Ok(Raw::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Raw, E> {
        Ok(Raw::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_and_value_knows_its_line() {
        let text = "title: One\n\ndetection:\n    selection:\n        eventName:\n            - A\n            - B\n    condition: selection\n";
        let documents = documents(text).unwrap();
        let detection = documents[0].entry("detection").unwrap();
        assert_eq!(detection.line, 3);
        let selection = detection.node.get("selection").unwrap();
        let names = selection.entry("eventName").unwrap();
        assert_eq!(names.line, 5);
        assert_eq!(names.node.items().iter().map(|item| item.line).collect::<Vec<_>>(), [6, 7]);
    }

    #[test]
    fn a_pointer_leads_to_a_line() {
        let document = &documents("a:\n  - x\n  - b:\n      c: 1\n").unwrap()[0];
        assert_eq!(document.line_at("/a/1/b/c"), 4);
        assert_eq!(document.line_at("/a/1/nothing"), 3);
        assert_eq!(document.line_at("/"), 1);
    }

    #[test]
    fn an_account_id_keeps_its_leading_zero() {
        let documents = documents("a: 012345671234\nb: [001, 7, '007']\nc: 0\nd: 01.5\n").unwrap();
        assert_eq!(documents[0].get("a").unwrap().text(), Some("012345671234"));
        assert_eq!(documents[0].get("b").unwrap().json(), serde_json::json!(["001", 7, "007"]));
        assert_eq!(documents[0].get("c").unwrap().value, Value::Int(0));
        assert_eq!(documents[0].get("d").unwrap().value, Value::Float(1.5));
    }

    #[test]
    fn words_that_look_like_booleans_stay_words() {
        let documents = documents("country: no\non: true\n").unwrap();
        assert_eq!(documents[0].get("country").unwrap().text(), Some("no"));
        assert_eq!(documents[0].get("on").unwrap().value, Value::Bool(true));
    }

    #[test]
    fn broken_yaml_names_its_line() {
        let error = documents("title: One\nlevel: [high\nstatus: x\n").unwrap_err();
        assert!((2..=4).contains(&error.line), "{error:?}");
        assert!(documents("a: 1\na: 2\n").unwrap_err().message.contains("duplicate"));
    }

    #[test]
    fn bombs_are_refused() {
        let deep = format!("a: {}{}", "[".repeat(200), "]".repeat(200));
        assert!(documents(&deep).is_err());
        let mut bomb = vec!["a0: &a0 [x, x, x, x, x, x, x, x, x]".to_owned()];
        for level in 1..9 {
            let aliases = vec![format!("*a{}", level - 1); 9].join(", ");
            bomb.push(format!("a{level}: &a{level} [{aliases}]"));
        }
        assert!(documents(&bomb.join("\n")).is_err());
    }
}
