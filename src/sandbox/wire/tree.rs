//! XML documents as nested members.

use quick_xml::Reader;
use quick_xml::events::Event;
use serde_json::{Map, Value};

/// Deeper documents than any operation takes are refused.
const DEEPEST: usize = 12;

/// Reads a document: elements with elements in them become objects, repeated ones lists, others texts.
/// Attributes and the root's name are left out. None if it is not well-formed.
pub(super) fn read(document: &[u8]) -> Option<Value> {
    let document = std::str::from_utf8(document).ok()?;
    let mut reader = Reader::from_str(document);
    // Open elements: their names, members so far, text so far.
    let mut open: Vec<(String, Map<String, Value>, String)> = Vec::new();
    loop {
        match reader.read_event().ok()? {
            Event::Start(start) if open.len() < DEEPEST => {
                let name = start.local_name().as_ref().to_owned();
                open.push((name, Map::new(), String::new()));
            }
            Event::Start(_) => return None,
            Event::Empty(empty) => {
                let name = empty.local_name().as_ref().to_owned();
                match open.last_mut() {
                    Some((_, members, _)) => add(members, name, Value::String(String::new())),
                    None => return Some(Value::Object(Map::new())),
                }
            }
            Event::Text(text) => {
                if let Some((.., so_far)) = open.last_mut() {
                    so_far.push_str(&text);
                }
            }
            Event::GeneralRef(reference) => {
                let (.., so_far) = open.last_mut()?;
                match reference.resolve_char_ref().ok()? {
                    Some(character) => so_far.push(character),
                    None => so_far.push_str(quick_xml::escape::resolve_xml_entity(&reference)?),
                }
            }
            Event::End(_) => {
                let (name, members, text) = open.pop()?;
                let value = if members.is_empty() { Value::String(text) } else { Value::Object(members) };
                match open.last_mut() {
                    Some((_, above, _)) => add(above, name, value),
                    None if value.is_object() => return Some(value),
                    None => return Some(Value::Object(Map::new())),
                }
            }
            Event::Eof => return None,
            _ => {}
        }
    }
}

fn add(members: &mut Map<String, Value>, name: String, value: Value) {
    match members.get_mut(&name) {
        None => {
            members.insert(name, value);
        }
        Some(Value::Array(items)) => items.push(value),
        Some(first) => {
            let earlier = std::mem::take(first);
            *first = Value::Array(vec![earlier, value]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn elements_take_their_shape() {
        let document =
            "<?xml version=\"1.0\"?><C xmlns=\"urn:x\"><A><B>1 &amp; 2</B><B>&lt;</B></A><D/><E>e</E></C>";
        assert_eq!(
            read(document.as_bytes()),
            Some(json!({ "A": { "B": ["1 & 2", "<"] }, "D": "", "E": "e" }))
        );
        assert_eq!(read(b"<C></C>"), Some(json!({})));
        assert_eq!(read(b"<C/>"), Some(json!({})));
    }

    #[test]
    fn what_is_no_document_is_none() {
        for broken in ["", "text", "<A>", "<A></B>", "<A>&nbsp;</A>"] {
            assert_eq!(read(broken.as_bytes()), None, "{broken}");
        }
        assert_eq!(read("<A>".repeat(10_000).as_bytes()), None);
    }

    proptest::proptest! {
        #[test]
        fn no_document_is_too_strange(bytes: Vec<u8>) {
            if let Some(value) = read(&bytes) {
                proptest::prop_assert!(value.is_object());
            }
        }
    }
}
