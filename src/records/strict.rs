//! The strict reading of a record that is wanted: what is no JSON is refused, and so is a key that comes twice.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::Problem;

/// Reads a whole record, and refuses what is no JSON and every key that comes twice in its object, at any depth,
/// since readers differ in which of the two they take.
pub fn parse(json: &str) -> Result<Value, Problem> {
    let duplicate = RefCell::new(None);
    let mut text = serde_json::Deserializer::from_str(json);
    let value = Strict(&duplicate).deserialize(&mut text).and_then(|value| text.end().map(|()| value));
    value.map_err(|error| match duplicate.take() {
        Some(key) => Problem::duplicate(&key),
        None => Problem::NotJson(error.to_string()),
    })
}

/// Makes a value, and keeps the key that comes twice.
#[derive(Clone, Copy)]
struct Strict<'k>(&'k RefCell<Option<String>>);

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = items.next_element_seed(self)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = members.next_key::<String>()? {
            if object.contains_key(&key) {
                self.0.replace(Some(key));
                return Err(A::Error::custom("duplicate key"));
            }
            object.insert(key, members.next_value_seed(self)?);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::any_json;
    use super::*;

    #[test]
    fn a_key_that_comes_twice_is_refused_at_any_depth() {
        let refused = |json: &str| parse(json).unwrap_err().to_string();
        assert_eq!(refused(r#"{"a":1,"b":2,"a":1}"#), "duplicate key `a`");
        assert_eq!(refused(r#"{"a":[{"b":{"c":1,"\u0063":2}}]}"#), "duplicate key `c`");
        assert!(parse(r#"{"a":{"a":{"a":1}},"b":{"a":1}}"#).is_ok());
    }

    #[test]
    fn what_is_no_json_is_refused() {
        let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
        for json in ["", "nul", "{", r#"{"a" 1}"#, "{}{}", "[1,]", "01", "\"\\ud800\"", "\"\n\"", &deep] {
            assert!(matches!(parse(json), Err(Problem::NotJson(_))), "{json:.20}");
        }
    }

    proptest! {
        #[test]
        fn all_json_reads_as_serde_reads_it(value in any_json()) {
            prop_assert_eq!(parse(&value.to_string()).unwrap(), value);
        }
    }
}
