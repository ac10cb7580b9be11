//! AWS query's forms: `Tags.member.1.Key=a` as nested members.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::super::call::ApiError;

/// Deeper names than any service uses are refused.
const DEEPEST: usize = 12;

#[derive(Debug, Default)]
struct Node {
    text: Option<String>,
    below: BTreeMap<String, Node>,
}

/// Reads a form. Values stay texts; `member` lists become arrays, `entry` maps become objects.
pub(super) fn read(form: &[u8]) -> Result<Map<String, Value>, ApiError> {
    let mut root = Node::default();
    for (name, value) in form_urlencoded::parse(form) {
        let path: Vec<&str> = name.split('.').collect();
        if path.len() > DEEPEST {
            return Err(ApiError::client("MalformedQueryString", "a parameter's name has too many parts"));
        }
        let mut node = &mut root;
        for part in path {
            node = node.below.entry(part.to_owned()).or_default();
        }
        node.text = Some(value.into_owned());
    }
    Ok(root.below.into_iter().map(|(name, node)| (name, node.into_value())).collect())
}

impl Node {
    fn into_value(mut self) -> Value {
        if self.below.len() == 1 {
            if let Some(list) = self.below.remove("member") {
                return list.into_items().map(Self::into_value).collect();
            }
            if let Some(map) = self.below.remove("entry") {
                return Value::Object(map.into_items().filter_map(Self::into_entry).collect());
            }
        }
        match self.text {
            Some(text) if self.below.is_empty() => Value::String(text),
            _ => {
                Value::Object(self.below.into_iter().map(|(name, node)| (name, node.into_value())).collect())
            }
        }
    }

    /// The numbered nodes below, by number.
    fn into_items(self) -> impl Iterator<Item = Self> {
        let numbered =
            self.below.into_iter().filter_map(|(name, node)| Some((name.parse::<u32>().ok()?, node)));
        numbered.collect::<BTreeMap<u32, Self>>().into_values()
    }

    /// A map's entry. Services differ in how they write `key` and `value`.
    fn into_entry(mut self) -> Option<(String, Value)> {
        let key = self.below.remove("key").or_else(|| self.below.remove("Name"))?.text?;
        let value = self.below.remove("value").or_else(|| self.below.remove("Value"))?;
        Some((key, value.into_value()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lists_and_maps_take_their_shape() {
        let form = "Action=Publish&Message=a%20b&MessageAttributes.entry.1.Name=level\
            &MessageAttributes.entry.1.Value.DataType=String&MessageAttributes.entry.1.Value.StringValue=high\
            &Ids.member.2=two&Ids.member.10=ten&Ids.member.1=one&Attributes.entry.1.key=FifoTopic\
            &Attributes.entry.1.value=true";
        assert_eq!(
            Value::Object(read(form.as_bytes()).unwrap()),
            json!({
                "Action": "Publish", "Message": "a b", "Ids": ["one", "two", "ten"],
                "MessageAttributes": { "level": { "DataType": "String", "StringValue": "high" } },
                "Attributes": { "FifoTopic": "true" },
            })
        );
    }

    #[test]
    fn a_name_without_end_is_refused() {
        assert!(read("a.".repeat(100_000).as_bytes()).is_err());
        assert_eq!(read(b"").unwrap(), Map::new());
    }

    proptest::proptest! {
        #[test]
        fn no_form_is_too_strange(form: Vec<u8>) {
            // Whatever comes is read or refused.
            if let Ok(members) = read(&form) {
                proptest::prop_assert!(members.len() <= form.len());
            }
        }

        #[test]
        fn texts_arrive_as_they_were_sent(name in "[A-Za-z]{1,8}", text: String) {
            let form = form_urlencoded::Serializer::new(String::new()).append_pair(&name, &text).finish();
            proptest::prop_assert_eq!(&read(form.as_bytes()).unwrap()[&name], &Value::String(text));
        }
    }
}
