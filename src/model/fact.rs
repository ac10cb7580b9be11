//! How the rules see a subject: a JSON-like document whose leaves may be unknown.

use std::collections::BTreeMap;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::{Gap, Observed, Subject};

/// An object of facts, ordered by name.
pub type FactMap = BTreeMap<String, Fact>;

/// A value in a facts document.
#[derive(Debug, Clone, PartialEq)]
pub enum Fact {
    /// Present and null.
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// Text. Times are RFC 3339 in UTC.
    Text(String),
    /// Several values; in a Sigma selection a list matches if one of its elements does.
    List(Vec<Fact>),
    /// An object.
    Map(FactMap),
    /// It could not be read, and why. A leaf that is missing is something else: it is simply not there.
    Unknown(String),
}

impl Fact {
    /// An object from names and values.
    pub fn map<K: Into<String>>(entries: impl IntoIterator<Item = (K, Self)>) -> Self {
        Self::Map(entries.into_iter().map(|(name, fact)| (name.into(), fact)).collect())
    }

    /// A list of texts.
    pub fn texts<T: ToString>(items: impl IntoIterator<Item = T>) -> Self {
        Self::List(items.into_iter().map(|item| Self::Text(item.to_string())).collect())
    }

    /// A text.
    pub fn text(text: &(impl ToString + ?Sized)) -> Self {
        Self::Text(text.to_string())
    }

    /// What could not be read.
    pub fn unknown(gap: &Gap) -> Self {
        Self::Unknown(gap.to_string())
    }

    /// The value at a dotted path, walking objects only; an unknown on the way is the answer.
    pub fn at(&self, path: &str) -> Option<&Self> {
        path.split('.').try_fold(self, |fact, step| match fact {
            Self::Map(map) => map.get(step),
            Self::Unknown(_) => Some(fact),
            _ => None,
        })
    }
}

impl From<bool> for Fact {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Fact {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<&str> for Fact {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for Fact {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<&serde_json::Value> for Fact {
    fn from(value: &serde_json::Value) -> Self {
        use serde_json::Value;
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(*value),
            Value::Number(number) => {
                number.as_i64().map_or_else(|| Self::Float(number.as_f64().unwrap_or(f64::NAN)), Self::Int)
            }
            Value::String(text) => Self::Text(text.clone()),
            Value::Array(items) => Self::List(items.iter().map(Self::from).collect()),
            Value::Object(map) => {
                Self::Map(map.iter().map(|(name, value)| (name.clone(), Self::from(value))).collect())
            }
        }
    }
}

/// An unknown leaf shows as `{"unknown": "kms:GetKeyPolicy denied"}`, so that no reader takes it for a value.
impl Serialize for Fact {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Int(value) => serializer.serialize_i64(*value),
            Self::Float(value) => serializer.serialize_f64(*value),
            Self::Text(text) => serializer.serialize_str(text),
            Self::List(items) => items.serialize(serializer),
            Self::Map(map) => map.serialize(serializer),
            Self::Unknown(reason) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("unknown", reason)?;
                map.end()
            }
        }
    }
}

impl<T> Observed<T> {
    /// The fact of a known value, an unknown leaf for a gap, nothing where it does not apply.
    pub fn fact(&self, convert: impl FnOnce(&T) -> Fact) -> Option<Fact> {
        match self {
            Self::Known(value) => Some(convert(value)),
            Self::Unknown(gap) => Some(Fact::unknown(gap)),
            Self::NotApplicable => None,
        }
    }
}

/// One subject and what is known about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// Whom the facts are about.
    pub subject: Subject,
    /// What is known; the names are declared in the facts catalogue.
    pub root: Fact,
}
