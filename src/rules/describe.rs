//! Selections in words, for `keyward rules explain`.

use super::yaml::{Entry, Node, Value};

/// The lines that say what a selection asks for, to be joined by "and".
pub(super) fn selection(node: &Node) -> Vec<String> {
    match &node.value {
        Value::Map(entries) => entries.iter().map(field).collect(),
        Value::List(items) if items.iter().any(|item| matches!(item.value, Value::Map(_))) => {
            let alternatives = items.iter().map(|item| format!("({})", selection(item).join(" and ")));
            vec![alternatives.collect::<Vec<_>>().join(" or ")]
        }
        _ => vec![format!("anywhere: {}", values(node, " or "))],
    }
}

fn field(entry: &Entry) -> String {
    let mut parts = entry.key.split('|');
    let name = parts.next().unwrap_or_default();
    let modifiers: Vec<&str> = parts.collect();
    let has = |modifier: &str| modifiers.contains(&modifier);
    if has("exists") {
        let verb = if entry.node.value == Value::Bool(false) { "is missing" } else { "is there" };
        return format!("{name} {verb}");
    }
    let joint = if has("all") { " and " } else { " or " };
    let verb = verb(&modifiers);
    let rest: Vec<&str> = modifiers.iter().copied().filter(|modifier| !spoken(modifier)).collect();
    let how = if rest.is_empty() { String::new() } else { format!(" ({})", rest.join(", ")) };
    format!("{name} {verb} {}{how}", values(&entry.node, joint))
}

fn verb(modifiers: &[&str]) -> &'static str {
    let has = |modifier: &str| modifiers.contains(&modifier);
    let words = [
        ("contains", "contains", "does not contain"),
        ("startswith", "begins with", "does not begin with"),
        ("endswith", "ends with", "does not end with"),
        ("re", "matches", "does not match"),
        ("cidr", "is in", "is not in"),
        ("lt", "is less than", "is not less than"),
        ("lte", "is at most", "is not at most"),
        ("gt", "is more than", "is not more than"),
        ("gte", "is at least", "is not at least"),
        ("fieldref", "equals", "does not equal"),
    ];
    let found = words.into_iter().find(|(modifier, _, _)| has(modifier));
    let (_, plain, negated) = found.unwrap_or(("", "is", "is not"));
    if has("neq") { negated } else { plain }
}

fn spoken(modifier: &str) -> bool {
    ["contains", "startswith", "endswith", "re", "cidr", "lt", "lte", "gt", "gte", "fieldref", "neq", "all"]
        .contains(&modifier)
}

fn values(node: &Node, joint: &str) -> String {
    if node.value == Value::Null {
        return "null".to_owned();
    }
    node.items().iter().map(value).collect::<Vec<_>>().join(joint)
}

fn value(node: &Node) -> String {
    match &node.value {
        Value::Text(text) if text.is_empty() => "\"\"".to_owned(),
        Value::Text(text) => text.clone(),
        _ => node.json().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::yaml::documents;

    fn described(yaml: &str) -> Vec<String> {
        selection(&documents(yaml).unwrap()[0])
    }

    #[test]
    fn fields_read_like_sentences() {
        let yaml = "boundary.outside|exists: true\nkey.state: [Enabled, Disabled]\nkey.age_days|gte: 90\n\
                    tags.a|neq: b\nuserAgent|contains|all: [x, y]\nerrorCode: null\nname|cased: Ab\n";
        assert_eq!(
            described(yaml),
            [
                "boundary.outside is there",
                "key.state is Enabled or Disabled",
                "key.age_days is at least 90",
                "tags.a is not b",
                "userAgent contains x and y",
                "errorCode is null",
                "name is Ab (cased)",
            ]
        );
    }

    #[test]
    fn alternatives_and_keywords_are_one_line() {
        assert_eq!(described("- {a: 1, b: 2}\n- {c: true}\n"), ["(a is 1 and b is 2) or (c is true)"]);
        assert_eq!(described("[one, two]"), ["anywhere: one or two"]);
    }
}
