//! The shape of the file: which keys it has, and whether each value is of its field's kind.
//!
//! What is wrong is reported with its line and left out, so that the rest can still be checked.

use serde::Deserialize;
use toml::de::{DeTable, DeValue, ValueDeserializer};
use toml::{Spanned, Table, Value};

use super::fields::{self, Field, Node};
use super::problem::{Place, Report};
use crate::jurisdiction::did_you_mean;

/// Reads the file's text into a table that holds only what is right.
pub(super) fn read_file(text: &str, report: &mut Report) -> Table {
    match DeTable::parse(text) {
        Ok(table) => {
            let place = |offset| Place::Line(line_of(text, offset));
            Walk { report, place: &place }.table(table.get_ref(), "", "")
        }
        Err(error) => {
            let line = error.span().map_or(1, |span| line_of(text, span.start));
            let message = error.message().lines().collect::<Vec<_>>().join(", ");
            report.error_at(Place::Line(line), "", format!("not TOML: {message}"));
            Table::new()
        }
    }
}

/// Reads one value that stands for the setting at a path; none if it is wrong.
pub(super) fn read_value(
    value: &Spanned<DeValue<'_>>,
    path: &str,
    place: &Place,
    report: &mut Report,
) -> Option<Value> {
    let node = fields::node(path)?;
    Walk { report, place: &|_| place.clone() }.value(value, node, path, path)
}

/// The line of a byte offset, from 1.
fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

struct Walk<'a> {
    report: &'a mut Report,
    place: &'a dyn Fn(usize) -> Place,
}

impl Walk<'_> {
    /// A table, whose fields are declared under `pattern` (`residency[]`) and which is `path`
    /// (`residency[0]`) in this file.
    fn table(&mut self, table: &DeTable<'_>, pattern: &str, path: &str) -> Table {
        let mut clean = Table::new();
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            let (child_pattern, child_path) = (join(pattern, name), join(path, name));
            let place = (self.place)(key.span().start);
            let Some(node) = fields::node(&child_pattern) else {
                self.unknown_key(place, pattern, name, path);
                continue;
            };
            self.report.given(&child_path, place);
            if let Some(value) = self.value(value, node, &child_pattern, &child_path) {
                clean.insert(name.to_owned(), value);
            }
        }
        clean
    }

    fn unknown_key(&mut self, place: Place, pattern: &str, name: &str, path: &str) {
        let known = fields::children(pattern);
        let hint = did_you_mean(name, known.iter().copied());
        // What was meant has been spoken of: that it is missing is not a second problem.
        if let Some(meant) = crate::jurisdiction::nearest(name, known.iter().copied()) {
            self.report.blame(&join(path, meant));
        }
        let hint = if hint.is_empty() { format!("; there are: {}", known.join(", ")) } else { hint };
        self.report.error_at(place, &join(path, name), format!("there is no such setting{hint}"));
    }

    fn value(
        &mut self,
        value: &Spanned<DeValue<'_>>,
        node: Node,
        pattern: &str,
        path: &str,
    ) -> Option<Value> {
        let place = (self.place)(value.span().start);
        match (node, value.get_ref()) {
            (Node::Section, DeValue::Table(table)) => Some(Value::Table(self.table(table, pattern, path))),
            (Node::Section, _) => {
                self.report.error_at(place, path, "this is a section; give it fields".to_owned());
                None
            }
            (Node::Tables, DeValue::Array(items)) => {
                let pattern = format!("{pattern}[]");
                let tables = items.iter().enumerate();
                let tables = tables.map(|(at, item)| self.item(item, &pattern, &format!("{path}[{at}]")));
                Some(Value::Array(tables.collect()))
            }
            (Node::Tables, _) => {
                let message = format!("this is a list of sections; write it as `[[{path}]]`");
                self.report.error_at(place, path, message);
                None
            }
            (Node::Field(field), _) => self.field(value, field, place, path),
        }
    }

    /// One of a list of tables. A required field that is missing or wrong is filled in, blamed, so that the
    /// others keep their places in the list.
    fn item(&mut self, item: &Spanned<DeValue<'_>>, pattern: &str, path: &str) -> Value {
        let place = (self.place)(item.span().start);
        self.report.given(path, place.clone());
        let mut clean = if let DeValue::Table(table) = item.get_ref() {
            self.table(table, pattern, path)
        } else {
            self.report.error_at(place.clone(), path, "this has to be a table".to_owned());
            Table::new()
        };
        for field in fields::required(pattern) {
            let name = field.name();
            let field_path = join(path, name);
            if !clean.contains_key(name) {
                if item.get_ref().is_table() {
                    self.report.error_at(place.clone(), &field_path, "this has to be given".to_owned());
                }
                self.report.blame(&field_path);
                clean.insert(name.to_owned(), Value::String(String::new()));
            }
        }
        Value::Table(clean)
    }

    fn field(
        &mut self,
        value: &Spanned<DeValue<'_>>,
        field: &Field,
        place: Place,
        path: &str,
    ) -> Option<Value> {
        let plain = Value::deserialize(ValueDeserializer::from(value.clone()));
        let checked = plain
            .map_err(|error| error.message().to_owned())
            .and_then(|plain| field.kind.check(&plain).map(|()| plain));
        checked.map_err(|message| self.report.error_at(place, path, message)).ok()
    }
}

fn join(prefix: &str, name: &str) -> String {
    if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") }
}
