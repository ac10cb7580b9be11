//! Answers as AWS query writes them.

use quick_xml::escape::escape;
use serde_json::Value;

/// Members that are maps; every other object is a structure.
const MAPS: &[&str] = &["Attributes"];

/// A successful answer.
pub(super) fn output(namespace: &str, operation: &str, output: &Value, request_id: &str) -> String {
    let mut members = String::new();
    write_members(&mut members, output);
    let id = escape(request_id);
    format!(
        "<{operation}Response xmlns=\"{namespace}\"><{operation}Result>{members}</{operation}Result><ResponseMetadata><RequestId>{id}</RequestId></ResponseMetadata></{operation}Response>"
    )
}

/// An error.
pub(super) fn error(namespace: &str, code: &str, message: &str, by_sender: bool, request_id: &str) -> String {
    let kind = if by_sender { "Sender" } else { "Receiver" };
    let (code, message, id) = (escape(code), escape(message), escape(request_id));
    format!(
        "<ErrorResponse xmlns=\"{namespace}\"><Error><Type>{kind}</Type><Code>{code}</Code><Message>{message}</Message></Error><RequestId>{id}</RequestId></ErrorResponse>"
    )
}

/// An error of S3, which has a form of its own.
pub(super) fn s3_error(code: &str, message: &str, request_id: &str) -> String {
    let (code, message, id) = (escape(code), escape(message), escape(request_id));
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{message}</Message><RequestId>{id}</RequestId><HostId>sandbox</HostId></Error>"
    )
}

/// A document of S3: lists stand without an element of their own around them.
pub(super) fn s3_document(root: &str, content: &Value) -> String {
    let mut xml = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_owned();
    write_flat(&mut xml, root, " xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"", content);
    xml
}

fn write_flat(xml: &mut String, name: &str, attributes: &str, value: &Value) {
    let content = match value {
        Value::Null => return,
        Value::Array(items) => return items.iter().for_each(|item| write_flat(xml, name, attributes, item)),
        Value::Object(members) => {
            let mut content = String::new();
            members.iter().for_each(|(name, member)| write_flat(&mut content, name, "", member));
            content
        }
        Value::String(text) => escape(text.as_str()).into_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    };
    xml.extend(["<", name, attributes, ">", &content, "</", name, ">"]);
}

fn write_members(xml: &mut String, structure: &Value) {
    for (name, value) in structure.as_object().into_iter().flatten() {
        write_element(xml, name, value);
    }
}

fn write_element(xml: &mut String, name: &str, value: &Value) {
    if value.is_null() {
        return;
    }
    xml.push('<');
    xml.push_str(name);
    xml.push('>');
    match value {
        Value::Array(items) => items.iter().for_each(|item| write_element(xml, "member", item)),
        Value::Object(entries) if MAPS.contains(&name) => {
            for (key, value) in entries {
                xml.push_str("<entry>");
                write_element(xml, "key", &Value::from(key.as_str()));
                write_element(xml, "value", value);
                xml.push_str("</entry>");
            }
        }
        Value::Object(_) => write_members(xml, value),
        Value::String(text) => xml.push_str(&escape(text.as_str())),
        Value::Bool(_) | Value::Number(_) => xml.push_str(&value.to_string()),
        Value::Null => {}
    }
    xml.push_str("</");
    xml.push_str(name);
    xml.push('>');
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn texts_are_escaped_and_absent_members_left_out() {
        let xml = output("urn:x", "Op", &json!({ "A": "<&>", "B": null, "C": [1, true] }), "id");
        assert_eq!(
            xml,
            "<OpResponse xmlns=\"urn:x\"><OpResult><A>&lt;&amp;&gt;</A><C><member>1</member><member>true</member></C></OpResult><ResponseMetadata><RequestId>id</RequestId></ResponseMetadata></OpResponse>"
        );
    }

    #[test]
    fn a_map_is_written_as_entries() {
        let xml = output("urn:x", "Op", &json!({ "Attributes": { "Owner": "1" } }), "id");
        assert!(xml.contains("<Attributes><entry><key>Owner</key><value>1</value></entry></Attributes>"));
    }
}
