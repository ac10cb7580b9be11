//! The documents of a rule file: one rule mostly, several behind `---`, or a Sigma 1 collection.

use super::error::Problem;
use super::yaml::{self, Entry, Node, Value};

/// Reads the documents of a file that are rules, with what `action` asks for done.
///
/// `action: global` is laid under every document that follows, until the next one or `action: reset`;
/// `action: repeat` is laid over the document before.
pub(super) fn documents(text: &str) -> Result<Vec<Node>, Problem> {
    let mut documents = yaml::documents(text)
        .map_err(|error| Problem::new(error.line, format!("this is no YAML: {}", error.message)))?;
    documents.retain(|document| document.value != Value::Null);
    if documents.is_empty() {
        return Err(Problem::new(1, "the file is empty"));
    }
    let mut rules: Vec<Node> = Vec::new();
    let mut global: Option<Node> = None;
    for document in documents {
        if !matches!(document.value, Value::Map(_)) {
            let message = format!("a rule is a mapping, and this is {}", document.kind());
            return Err(Problem::new(document.line, message));
        }
        let (action, document) = without_action(document);
        let rule = match action {
            None => document,
            Some((word, _)) if word == "global" => {
                global = Some(document);
                continue;
            }
            Some((word, _)) if word == "reset" => {
                global = None;
                continue;
            }
            Some((word, line)) if word == "repeat" => match rules.last() {
                Some(before) => laid_over(before, document),
                None => return Err(Problem::new(line, "`action: repeat` has no document before it")),
            },
            Some((word, line)) => {
                let message = format!("unknown action `{word}`");
                return Err(Problem::unknown_word(line, message, &word, ["global", "repeat", "reset"]));
            }
        };
        rules.push(global.as_ref().map_or_else(|| rule.clone(), |global| laid_over(global, rule.clone())));
    }
    if rules.is_empty() {
        return Err(Problem::new(1, "the file has a global part and no rule"));
    }
    Ok(rules)
}

fn without_action(document: Node) -> (Option<(String, u64)>, Node) {
    let Node { line, value } = document;
    let Value::Map(entries) = value else { return (None, Node { line, value }) };
    let (actions, rest): (Vec<Entry>, Vec<Entry>) =
        entries.into_iter().partition(|entry| entry.key == "action");
    let action = actions.first().map(|entry| {
        let word = entry.node.text().map_or_else(|| entry.node.kind().to_owned(), str::to_owned);
        (word, entry.line)
    });
    (action, Node { line, value: Value::Map(rest) })
}

/// Mappings are merged key by key; of anything else the upper one counts.
fn laid_over(lower: &Node, upper: Node) -> Node {
    let (Value::Map(below), true) = (&lower.value, matches!(upper.value, Value::Map(_))) else {
        return upper;
    };
    let Node { line, value: Value::Map(above) } = upper else { return lower.clone() };
    let mut merged: Vec<Entry> = below.clone();
    for entry in above {
        match merged.iter_mut().find(|known| known.key == entry.key) {
            Some(known) => {
                known.node = laid_over(&known.node, entry.node);
                known.line = entry.line;
            }
            None => merged.push(entry),
        }
    }
    Node { line, value: Value::Map(merged) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Vec<serde_json::Value> {
        documents(text).unwrap().iter().map(Node::json).collect()
    }

    #[test]
    fn a_global_part_is_laid_under_what_follows() {
        let text = "action: global\ntitle: T\ndetection: { s: { a: 1 }, condition: s }\n---\n\
                    logsource: { service: x }\n---\ntitle: U\ndetection: { s: { a: 2, b: 3 } }\n---\n\
                    action: reset\n---\ntitle: V\n";
        assert_eq!(
            read(text),
            [
                json!({"title": "T", "detection": {"s": {"a": 1}, "condition": "s"}, "logsource": {"service": "x"}}),
                json!({"title": "U", "detection": {"s": {"a": 2, "b": 3}, "condition": "s"}}),
                json!({"title": "V"}),
            ]
        );
    }

    #[test]
    fn a_repetition_is_laid_over_what_was_before() {
        let text = "title: T\nlevel: low\n---\naction: repeat\nlevel: high\n";
        assert_eq!(read(text)[1], json!({"title": "T", "level": "high"}));
    }

    #[test]
    fn what_makes_no_sense_names_its_line() {
        for (text, line, what) in [
            ("action: repeat\n", 1, "no document before"),
            ("title: T\n---\naction: gobal\n", 3, "unknown action `gobal`"),
            ("action: global\ntitle: T\n", 1, "no rule"),
            ("title: T\n---\n- a\n", 3, "a rule is a mapping"),
        ] {
            let problem = documents(text).unwrap_err();
            assert_eq!((problem.line, problem.message.contains(what)), (line, true), "{problem:?}");
        }
    }
}
