//! What SNS asks of a message.

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::call::ApiError;
use super::Topic;
use super::topics::invalid;

/// A message as it was sent: one `Publish`, or one entry of a batch.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) text: String,
    pub(super) subject: Option<String>,
    pub(super) structured: bool,
    pub(super) group: Option<String>,
    pub(super) dedup_id: Option<String>,
    pub(super) attributes: BTreeMap<String, Value>,
    /// The attributes as they were sent.
    pub(super) sent_attributes: Value,
    pub(super) size: usize,
}

impl Message {
    /// Reads a message from the members of a request.
    pub(super) fn read(input: &Value) -> Result<Self, ApiError> {
        let text = |name: &str| input.get(name).and_then(Value::as_str).map(str::to_owned);
        let body = text("Message").filter(|body| !body.is_empty()).ok_or_else(|| invalid("Empty message"))?;
        let structured = match text("MessageStructure").as_deref() {
            None => false,
            Some("json") => true,
            Some(_) => return Err(invalid("MessageStructure")),
        };
        if structured {
            check_structure(&body)?;
        }
        let subject = text("Subject");
        if let Some(subject) = &subject {
            check_subject(subject)?;
        }
        let (attributes, attributes_size) = read_attributes(input.get("MessageAttributes"))?;
        Ok(Self {
            size: body.len() + attributes_size,
            text: body,
            subject,
            structured,
            group: text("MessageGroupId"),
            dedup_id: text("MessageDeduplicationId"),
            attributes,
            sent_attributes: input.get("MessageAttributes").cloned().unwrap_or_default(),
        })
    }

    /// Checks what depends on the topic.
    pub(super) fn check_for(&self, topic: &Topic) -> Result<(), ApiError> {
        if self.size > topic.maximum_size() {
            return Err(invalid("Message too long"));
        }
        for (name, id) in [("MessageGroupId", &self.group), ("MessageDeduplicationId", &self.dedup_id)] {
            let fits =
                |id: &String| (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic());
            if id.as_ref().is_some_and(|id| !fits(id)) {
                return Err(invalid(format!("{name} Reason: must be 1 to 128 printable characters")));
            }
        }
        if !topic.is_fifo() {
            // A message group is taken by standard topics too, for fair queues.
            return match self.dedup_id {
                None => Ok(()),
                Some(_) => Err(invalid(
                    "MessageDeduplicationId Reason: The request includes MessageDeduplicationId parameter that is not valid for this topic type",
                )),
            };
        }
        if self.group.is_none() {
            return Err(invalid("The MessageGroupId parameter is required for FIFO topics"));
        }
        if self.dedup_id.is_none() && !topic.flag("ContentBasedDeduplication") {
            return Err(invalid(
                "The topic should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly",
            ));
        }
        Ok(())
    }
}

fn check_structure(body: &str) -> Result<(), ApiError> {
    let reason = "Message Structure - JSON message body failed to parse";
    let Ok(Value::Object(by_protocol)) = serde_json::from_str(body) else { return Err(invalid(reason)) };
    match by_protocol.get("default") {
        Some(Value::String(_)) => Ok(()),
        _ => Err(invalid("Message Structure - No default entry in JSON message body")),
    }
}

fn check_subject(subject: &str) -> Result<(), ApiError> {
    let length = subject.chars().count();
    if (1..100).contains(&length) && !subject.chars().any(char::is_control) {
        return Ok(());
    }
    Err(invalid("Subject"))
}

/// The attributes' values by name, and their size as SNS counts it.
fn read_attributes(given: Option<&Value>) -> Result<(BTreeMap<String, Value>, usize), ApiError> {
    let (mut attributes, mut size) = (BTreeMap::new(), 0);
    let Some(given) = given.and_then(Value::as_object) else { return Ok((attributes, size)) };
    for (name, attribute) in given {
        check_attribute_name(name)?;
        let field = |name: &str| attribute.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let wrong = |why: &str| invalid(format!("The message attribute '{name}' {why}"));
        let data_type =
            field("DataType").ok_or_else(|| wrong("must contain non-empty message attribute type."))?;
        let is_binary = data_type == "Binary" || data_type.starts_with("Binary.");
        let text = field(if is_binary { "BinaryValue" } else { "StringValue" })
            .ok_or_else(|| wrong("must contain non-empty message attribute value."))?;
        size += name.len() + data_type.len() + text.len();
        attributes.insert(
            name.clone(),
            parse_attribute(data_type, text).ok_or_else(|| {
                wrong("has an invalid message attribute type, or a value that does not fit it.")
            })?,
        );
    }
    Ok((attributes, size))
}

fn check_attribute_name(name: &str) -> Result<(), ApiError> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-.".contains(&b);
    let dots_fit = !name.starts_with('.') && !name.ends_with('.') && !name.contains("..");
    if (1..=256).contains(&name.len()) && name.bytes().all(plain) && dots_fit {
        return Ok(());
    }
    Err(invalid(format!("The message attribute name '{name}' is not valid")))
}

/// An attribute's value, if it fits its type. A type may have a label of the publisher's: `Number.days`.
fn parse_attribute(data_type: &str, text: &str) -> Option<Value> {
    if data_type == "String.Array" {
        return serde_json::from_str(text).ok().filter(Value::is_array);
    }
    match data_type.split('.').next() {
        Some("String" | "Binary") => Some(Value::from(text)),
        Some("Number") => text.parse::<f64>().ok().map(|_| Value::from(text)),
        _ => None,
    }
}
