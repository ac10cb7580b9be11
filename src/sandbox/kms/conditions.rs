//! The condition block of a policy statement.

use serde_json::Value;

/// Whether all conditions hold. What the sandbox cannot judge counts as `doubtful`: true for a denial,
/// false for a permission, so that an unknown operator never opens a key.
pub(super) fn hold(block: &Value, context: &dyn Fn(&str) -> Option<Vec<String>>, doubtful: bool) -> bool {
    let Some(operators) = block.as_object() else { return true };
    operators.iter().all(|(operator, pairs)| {
        pairs.as_object().is_some_and(|pairs| {
            pairs.iter().all(|(key, wanted)| {
                one(operator, &values(wanted), context(key).as_deref()).unwrap_or(doubtful)
            })
        })
    })
}

/// One operator on one key; none if the operator is not known.
fn one(operator: &str, wanted: &[String], actual: Option<&[String]>) -> Option<bool> {
    let (set, operator) = operator.split_once(':').map_or((None, operator), |(set, rest)| (Some(set), rest));
    let (operator, if_exists) =
        operator.strip_suffix("IfExists").map_or((operator, false), |operator| (operator, true));
    if operator == "Null" {
        return Some(wanted.iter().any(|value| (value == "true") == actual.is_none()));
    }
    let Some(actual) = actual else {
        let negated = operator.contains("Not");
        return Some(if_exists || negated || set == Some("ForAllValues"));
    };
    let test = |value: &String| compare(operator, value, wanted);
    match set {
        None | Some("ForAnyValue") => {
            let results = actual.iter().map(test).collect::<Option<Vec<bool>>>()?;
            Some(results.contains(&true))
        }
        Some("ForAllValues") => {
            let results = actual.iter().map(test).collect::<Option<Vec<bool>>>()?;
            Some(!results.contains(&false))
        }
        Some(_) => None,
    }
}

fn compare(operator: &str, actual: &str, wanted: &[String]) -> Option<bool> {
    let any = |test: &dyn Fn(&str) -> bool| wanted.iter().any(|value| test(value));
    let number = |test: &dyn Fn(f64, f64) -> bool| {
        let actual: f64 = actual.parse().ok()?;
        Some(wanted.iter().filter_map(|value| value.parse().ok()).any(|value| test(actual, value)))
    };
    Some(match operator {
        "StringEquals" => any(&|value| value == actual),
        "StringNotEquals" => !any(&|value| value == actual),
        "StringEqualsIgnoreCase" | "Bool" => any(&|value| value.eq_ignore_ascii_case(actual)),
        "StringNotEqualsIgnoreCase" => !any(&|value| value.eq_ignore_ascii_case(actual)),
        "StringLike" | "ArnLike" | "ArnEquals" => any(&|value| like(value, actual)),
        "StringNotLike" | "ArnNotLike" | "ArnNotEquals" => !any(&|value| like(value, actual)),
        "NumericEquals" => number(&|actual, value| (actual - value).abs() < f64::EPSILON)?,
        "NumericLessThan" => number(&|actual, value| actual < value)?,
        "NumericLessThanEquals" => number(&|actual, value| actual <= value)?,
        "NumericGreaterThan" => number(&|actual, value| actual > value)?,
        "NumericGreaterThanEquals" => number(&|actual, value| actual >= value)?,
        _ => return None,
    })
}

fn values(value: &Value) -> Vec<String> {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match value {
        Value::Array(items) => items.iter().map(text).collect(),
        other => vec![text(other)],
    }
}

/// Whether a text matches a pattern with `*` and `?`.
pub(super) fn like(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut at, mut from) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while let Some(letter) = text.get(from) {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, from));
                at += 1;
            }
            Some(wanted) if wanted == letter || *wanted == '?' => {
                at += 1;
                from += 1;
            }
            _ => match star {
                // Let the last star take one letter more.
                Some((star_at, taken)) => {
                    star = Some((star_at, taken + 1));
                    at = star_at + 1;
                    from = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(at).all(|letter| *letter == '*')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn context(key: &str) -> Option<Vec<String>> {
        match key {
            "kms:ReplicaRegion" => Some(vec!["eu-west-1".to_owned()]),
            "kms:EncryptionContextKeys" => Some(vec!["a".to_owned(), "b".to_owned()]),
            "kms:RotationPeriodInDays" => Some(vec!["365".to_owned()]),
            "kms:MultiRegion" => Some(vec!["true".to_owned()]),
            _ => None,
        }
    }

    fn holds(block: &Value) -> bool {
        hold(block, &context, false)
    }

    #[test]
    fn operators_judge_as_iam_does() {
        for (block, expected) in [
            (json!({ "StringEquals": { "kms:ReplicaRegion": ["eu-west-1", "eu-west-3"] } }), true),
            (json!({ "StringEquals": { "kms:ReplicaRegion": "us-east-1" } }), false),
            (json!({ "StringNotEquals": { "kms:ReplicaRegion": ["eu-west-1", "eu-west-3"] } }), false),
            (json!({ "StringLike": { "kms:ReplicaRegion": "eu-*" } }), true),
            (json!({ "StringNotLike": { "kms:ReplicaRegion": "eu-*" } }), false),
            (json!({ "StringEquals": { "kms:ViaService": "s3" } }), false),
            (json!({ "StringNotEquals": { "kms:ViaService": "s3" } }), true),
            (json!({ "StringEqualsIfExists": { "kms:ViaService": "s3" } }), true),
            (json!({ "Bool": { "kms:MultiRegion": true } }), true),
            (json!({ "Null": { "kms:ViaService": "true" } }), true),
            (json!({ "Null": { "kms:ReplicaRegion": true } }), false),
            (json!({ "NumericGreaterThan": { "kms:RotationPeriodInDays": "180" } }), true),
            (json!({ "ForAllValues:StringEquals": { "kms:EncryptionContextKeys": ["a"] } }), false),
            (json!({ "ForAllValues:StringEquals": { "kms:Nothing": ["a"] } }), true),
            (json!({ "ForAnyValue:StringEquals": { "kms:EncryptionContextKeys": ["a"] } }), true),
            (
                json!({ "StringLike": { "kms:ReplicaRegion": "eu-*" }, "Bool": { "kms:MultiRegion": "false" } }),
                false,
            ),
        ] {
            assert_eq!(holds(&block), expected, "{block}");
        }
    }

    #[test]
    fn an_unknown_operator_denies_and_does_not_allow() {
        let block = json!({ "IpAddressWithMagic": { "kms:ReplicaRegion": "10.0.0.0/8" } });
        assert!(hold(&block, &context, true));
        assert!(!hold(&block, &context, false));
    }

    proptest! {
        #[test]
        fn patterns_mean_what_the_same_regular_expression_means(pattern in "[ab*?]{0,8}", text in "[abc]{0,10}") {
            let expression = format!("^{}$", pattern.replace('*', ".*").replace('?', "."));
            prop_assert_eq!(like(&pattern, &text), regex::Regex::new(&expression).unwrap().is_match(&text));
        }
    }

    #[test]
    fn patterns_match_as_globs() {
        for (pattern, text, expected) in [
            ("kms:*", "kms:describekey", true),
            ("kms:describe*", "kms:describekey", true),
            ("kms:d*y", "kms:describekey", true),
            ("kms:d?y", "kms:describekey", false),
            ("*", "", true),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxbyy", false),
            ("abc", "abcd", false),
        ] {
            assert_eq!(like(pattern, text), expected, "{pattern} {text}");
        }
    }
}
