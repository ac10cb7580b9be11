//! `docs/facts.md`, generated.

use super::{CATALOGUE, FactType};
use crate::model::SubjectKind;

const PREFACE: &str = "# Facts

What a rule can name, by kind of subject (`logsource.category`; for events `logsource.service: cloudtrail`). \
Generated from `src/facts/catalogue.rs`; `cargo run --example docs` writes this page anew.

A fact that could not be read is unknown, with the reason, and makes a rule that needs it unknown. A fact that is \
missing does not apply. A list is missing rather than empty, so that `|exists` asks whether there is any.

| type | values |
| --- | --- |
| bool | `true`, `false` |
| int | a whole number |
| text | a text |
| time | an RFC 3339 time in UTC |
| texts | a list of texts |
| open | an object whose names are not fixed: anything below it may be named |
";

impl FactType {
    /// The type's name, as in `docs/facts.md`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Text => "text",
            Self::Time => "time",
            Self::Texts => "texts",
            Self::Open => "open",
        }
    }
}

/// The catalogue as a page for people.
pub fn markdown() -> String {
    let sections = [
        (SubjectKind::Key, "`key`: one key in one Region"),
        (SubjectKind::KeySet, "`key_set`: a primary and its replicas, or a single-Region key"),
        (SubjectKind::Trail, "`trail`: one CloudTrail trail"),
        (SubjectKind::AccountRegion, "`account_region`: a Region of an account"),
        (SubjectKind::Event, "`event`: a CloudTrail record"),
    ];
    let sections = sections.into_iter().map(|(kind, title)| section(kind, title));
    std::iter::once(PREFACE.to_owned()).chain(sections).collect()
}

fn section(kind: SubjectKind, title: &str) -> String {
    let head = format!("\n## {title}\n\n| fact | type | meaning |\n| --- | --- | --- |\n");
    let rows = CATALOGUE.iter().filter(|spec| spec.kind == kind).map(|spec| {
        let meaning = spec.meaning.replace('|', "\\|");
        format!("| `{}` | {} | {meaning} |\n", spec.path, spec.fact_type.as_str())
    });
    std::iter::once(head).chain(rows).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fact_has_one_row() {
        let page = markdown();
        let rows = page.lines().filter(|line| line.starts_with("| `")).count();
        assert_eq!(rows, CATALOGUE.len());
    }
}
