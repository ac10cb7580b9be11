//! XML documents as nested members.

use quick_xml::Reader;
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::{BytesStart, Event};
use serde_json::{Map, Value};

/// Deeper documents than any operation takes are refused.
const DEEPEST: usize = 12;

/// An element that is open: its name, its members so far, its text so far.
#[derive(Default)]
struct Element {
    name: String,
    members: Map<String, Value>,
    text: String,
}

impl Element {
    fn named(start: &BytesStart<'_>) -> Self {
        Self { name: start.local_name().as_ref().to_owned(), ..Self::default() }
    }

    /// Into the element around it; gives the document if there is none.
    fn close(self, around: Option<&mut Element>) -> Option<Value> {
        let Self { name, members, text } = self;
        let Some(around) = around else { return Some(Value::Object(members)) };
        let value = if members.is_empty() { Value::String(text) } else { Value::Object(members) };
        add(&mut around.members, name, value);
        None
    }
}

/// Reads a document: elements with elements in them become objects, repeated ones lists, others texts.
/// Attributes and the root's name are left out. None if it is not well-formed.
pub(super) fn read(document: &[u8]) -> Option<Value> {
    let mut reader = Reader::from_str(std::str::from_utf8(document).ok()?);
    let mut open: Vec<Element> = Vec::new();
    loop {
        match reader.read_event().ok()? {
            Event::Start(start) if open.len() < DEEPEST => open.push(Element::named(&start)),
            Event::Empty(empty) => {
                if let Some(document) = Element::named(&empty).close(open.last_mut()) {
                    return Some(document);
                }
            }
            Event::Text(text) => {
                if let Some(element) = open.last_mut() {
                    element.text.push_str(&text);
                }
            }
            Event::GeneralRef(reference) => {
                let element = open.last_mut()?;
                match reference.resolve_char_ref().ok()? {
                    Some(character) => element.text.push(character),
                    None => element.text.push_str(resolve_xml_entity(&reference)?),
                }
            }
            Event::End(_) => {
                let element = open.pop()?;
                if let Some(document) = element.close(open.last_mut()) {
                    return Some(document);
                }
            }
            Event::Start(_) | Event::Eof => return None,
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
