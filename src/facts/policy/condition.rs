//! A statement's conditions as AWS reads them.

use serde_json::Value;

/// One test of one condition key; all of a statement's tests have to hold.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Condition {
    /// How the request's value is compared.
    pub operator: Operator,
    /// The condition key in lower case: IAM does not tell `kms:CallerAccount` from `KMS:calleraccount`.
    pub key: String,
    /// Any one of them has to match (of a negated test: none may). JSON booleans and numbers as text.
    pub values: Vec<String>,
}

/// A condition operator with its prefix and suffix.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Operator {
    /// `ForAnyValue:` or `ForAllValues:`.
    pub quantifier: Quantifier,
    /// The comparison.
    pub test: Test,
    /// `…IfExists`: a request without the key passes.
    pub if_exists: bool,
}

/// How a key with several values is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quantifier {
    /// No prefix.
    Plain,
    /// One value has to match; a request without the key does not pass.
    AnyValue,
    /// Every value has to match; a request without the key passes.
    AllValues,
}

/// What is compared, and how.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Test {
    /// `StringEquals`: no wildcards.
    Equals,
    /// `StringEqualsIgnoreCase`.
    EqualsIgnoreCase,
    /// `StringLike`: wildcards.
    Like,
    /// `ArnEquals` and `ArnLike`, which are the same: wildcards within each part of an ARN.
    Arn,
    /// `StringNotEquals` and `StringNotEqualsIgnoreCase`.
    NotEquals,
    /// `StringNotLike`.
    NotLike,
    /// `ArnNotEquals` and `ArnNotLike`.
    NotArn,
    /// `IpAddress`.
    Address,
    /// `NotIpAddress`.
    NotAddress,
    /// `Null`: `true` asks that the key is absent, `false` that it is there.
    Null,
    /// `Bool`.
    Bool,
    /// A comparison of numbers, times or bytes, by its name.
    Measure(String),
}

impl Operator {
    fn parse(element: &str) -> Option<Self> {
        let lower = element.to_ascii_lowercase();
        let (quantifier, rest) = match lower.split_once(':') {
            None => (Quantifier::Plain, lower.as_str()),
            Some(("foranyvalue", rest)) => (Quantifier::AnyValue, rest),
            Some(("forallvalues", rest)) => (Quantifier::AllValues, rest),
            Some(_) => return None,
        };
        let (name, if_exists) = rest.strip_suffix("ifexists").map_or((rest, false), |name| (name, true));
        let test = match name {
            "stringequals" => Test::Equals,
            "stringequalsignorecase" => Test::EqualsIgnoreCase,
            "stringlike" => Test::Like,
            "arnequals" | "arnlike" => Test::Arn,
            "stringnotequals" | "stringnotequalsignorecase" => Test::NotEquals,
            "stringnotlike" => Test::NotLike,
            "arnnotequals" | "arnnotlike" => Test::NotArn,
            "ipaddress" => Test::Address,
            "notipaddress" => Test::NotAddress,
            "null" if !if_exists => Test::Null,
            "bool" => Test::Bool,
            "binaryequals" => Test::Measure(name.to_owned()),
            _ if name.starts_with("numeric") || name.starts_with("date") => Test::Measure(name.to_owned()),
            _ => return None,
        };
        Some(Self { quantifier, test, if_exists })
    }

    /// Whether a request passes that does not carry the key at all. Negated tests pass then.
    pub fn passes_without_key(&self) -> bool {
        match self.quantifier {
            Quantifier::AllValues => true,
            Quantifier::AnyValue => self.if_exists,
            Quantifier::Plain => self.if_exists || self.test.is_negated(),
        }
    }
}

impl Test {
    /// Whether the values are those that must not match.
    pub fn is_negated(&self) -> bool {
        matches!(self, Self::NotEquals | Self::NotLike | Self::NotArn | Self::NotAddress)
    }
}

impl Condition {
    /// Parses a `Condition` element; gives what is wrong with it otherwise.
    pub(super) fn parse_all(value: &Value) -> Result<Vec<Self>, String> {
        let blocks = value.as_object().ok_or("has a `Condition` that is no object")?;
        let mut conditions = Vec::new();
        for (name, tests) in blocks {
            let operator = Operator::parse(name)
                .ok_or_else(|| format!("has a condition operator `{name}` that is not known here"))?;
            let tests =
                tests.as_object().ok_or_else(|| format!("has a condition `{name}` that is no object"))?;
            for (key, values) in tests {
                let values = condition_values(values)
                    .ok_or_else(|| format!("has a condition on `{key}` whose values are no texts"))?;
                conditions.push(Self { operator: operator.clone(), key: key.to_ascii_lowercase(), values });
            }
        }
        Ok(conditions)
    }
}

fn condition_values(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::Array(items) => items.iter().map(scalar).collect(),
        scalar_value => scalar(scalar_value).map(|text| vec![text]),
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operator(text: &str) -> Operator {
        Operator::parse(text).unwrap()
    }

    #[test]
    fn prefixes_and_suffixes_are_read() {
        let all = operator("ForAllValues:StringLikeIfExists");
        assert_eq!((all.quantifier, all.test, all.if_exists), (Quantifier::AllValues, Test::Like, true));
        assert_eq!(operator("forAnyValue:stringequals").quantifier, Quantifier::AnyValue);
        assert_eq!(operator("ArnEquals").test, operator("ArnLike").test);
        assert_eq!(operator("NumericLessThan").test, Test::Measure("numericlessthan".to_owned()));
        for text in ["StringEqual", "ForSomeValues:StringEquals", "NullIfExists", ""] {
            assert_eq!(Operator::parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_an_absent_key_means_depends_on_the_whole_operator() {
        for (text, passes) in [
            ("StringEquals", false),
            ("StringEqualsIfExists", true),
            ("StringNotEquals", true),
            ("ForAnyValue:StringEquals", false),
            ("ForAnyValue:StringNotEquals", false),
            ("ForAllValues:StringEquals", true),
        ] {
            assert_eq!(operator(text).passes_without_key(), passes, "{text}");
        }
    }

    #[test]
    fn keys_are_lowered_and_values_made_texts() {
        let json = serde_json::json!({ "Bool": { "aws:SecureTransport": false },
            "StringEquals": { "KMS:CallerAccount": ["1", "2"] } });
        let conditions = Condition::parse_all(&json).unwrap();
        assert_eq!(conditions[0].key, "aws:securetransport");
        assert_eq!(conditions[0].values, ["false"]);
        assert_eq!((conditions[1].key.as_str(), conditions[1].values.len()), ("kms:calleraccount", 2));
    }

    #[test]
    fn what_is_no_condition_is_refused() {
        for json in [
            serde_json::json!([]),
            serde_json::json!({ "StringEquals": 1 }),
            serde_json::json!({ "StringEquals": { "a": {} } }),
            serde_json::json!({ "StringResembles": { "a": "b" } }),
        ] {
            assert!(Condition::parse_all(&json).is_err(), "{json}");
        }
    }
}
