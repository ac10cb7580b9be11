//! Environment variables over the file: `KEYWARD__SECTION__FIELD`.

use std::collections::BTreeMap;

use toml::de::DeValue;
use toml::{Table, Value};

use super::fields::{self, Node};
use super::problem::{Place, Report};
use super::shape;
use crate::jurisdiction::did_you_mean;

/// What the name of every override begins with.
pub(super) const PREFIX: &str = "KEYWARD__";

/// The name of the variable that overrides a setting.
pub(super) fn variable(path: &str) -> String {
    format!("{PREFIX}{}", path.to_uppercase().replace('.', "__"))
}

/// Puts the overrides among some variables over a table. Other variables are passed over; one whose name
/// begins like an override and is none is a problem.
pub(super) fn apply(environment: &BTreeMap<String, String>, table: &mut Table, report: &mut Report) {
    for (name, text) in environment {
        let Some(rest) = name.strip_prefix(PREFIX) else { continue };
        let path = rest.to_lowercase().replace("__", ".");
        let place = Place::Variable(name.clone());
        match fields::node(&path) {
            Some(Node::Field(_) | Node::Tables) if !path.contains("[]") => {
                report.forget(&path);
                report.given(&path, place.clone());
                if let Some(value) = value(text, &path, &place, report) {
                    put(table, &path, value);
                }
            }
            Some(Node::Section) => {
                let fields: Vec<_> =
                    fields::children(&path).iter().map(|field| field.to_uppercase()).collect();
                let message = format!("this is a section; name one of its fields: {}", fields.join(", "));
                report.error_at(place, "", message);
            }
            _ => {
                let known = fields::overridable().map(variable).collect::<Vec<_>>();
                let hint = did_you_mean(name, known.iter().map(String::as_str));
                report.error_at(place, "", format!("there is no such setting{hint}"));
            }
        }
    }
}

/// A variable's value: a text as it is, anything else as TOML.
fn value(text: &str, path: &str, place: &Place, report: &mut Report) -> Option<Value> {
    if let Some(Node::Field(field)) = fields::node(path)
        && field.kind.is_text()
    {
        let value = Value::String(text.to_owned());
        return field
            .kind
            .check(&value)
            .map(|()| value)
            .map_err(|message| report.error_at(place.clone(), path, message))
            .ok();
    }
    match DeValue::parse(text) {
        Ok(parsed) => shape::read_value(&parsed, path, place, report),
        Err(error) => {
            let reason = error.message().lines().collect::<Vec<_>>().join(", ");
            let message = format!("not a TOML value, such as `7`, `true` or `[\"a\", \"b\"]`: {reason}");
            report.error_at(place.clone(), path, message);
            None
        }
    }
}

fn put(table: &mut Table, path: &str, value: Value) {
    let Some((section, rest)) = path.split_once('.') else {
        table.insert(path.to_owned(), value);
        return;
    };
    let inner = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
    if let Value::Table(inner) = inner {
        put(inner, rest, value);
    }
}
