//! What the modifiers behind a field's name ask for.

use rsigma_parser::{FieldSpec, Modifier, SigmaParserError, parse_field_spec};

use super::error::Problem;
use super::eval::RelationKind;
use super::matcher::{Comparison, TimePart};
use super::pattern::RegexFlags;

/// Every modifier that a rule may use, as Sigma writes them.
pub(super) const MODIFIERS: [&str; 33] = [
    "all",
    "base64",
    "base64offset",
    "cased",
    "cidr",
    "contains",
    "day",
    "dotall",
    "endswith",
    "exists",
    "fieldref",
    "gt",
    "gte",
    "hour",
    "i",
    "ignorecase",
    "lt",
    "lte",
    "m",
    "minute",
    "month",
    "multiline",
    "neq",
    "re",
    "s",
    "startswith",
    "utf16",
    "utf16be",
    "utf16le",
    "week",
    "wide",
    "windash",
    "year",
];

/// What is done with the values of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "modifiers are switches that a rule sets one by one")]
pub(super) struct Modifiers {
    /// How texts are compared.
    pub(super) relation: RelationKind,
    /// What the values are, if not plain ones.
    pub(super) operator: Operator,
    /// Every value has to be there, not just one.
    pub(super) all: bool,
    pub(super) cased: bool,
    /// The field is there, and none of the values.
    pub(super) negated: bool,
    /// In the order in which they are applied.
    pub(super) encodings: Vec<Encoding>,
    pub(super) any_dash: bool,
}

/// What kind of comparison a field asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Plain,
    Exists,
    Network,
    Regex(RegexFlags),
    Reference,
    Compare(Comparison),
    TimePart(TimePart, Comparison),
}

/// How a text is written before it is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Utf16Le,
    Utf16Be,
    /// With a byte order mark.
    Utf16,
    Base64,
    /// Anywhere inside a base64 text.
    Base64Offset,
}

/// Reads a key of a selection, such as `userAgent|contains|all`.
pub(super) fn field_spec(key: &str, line: u64) -> Result<FieldSpec, Problem> {
    parse_field_spec(key).map_err(|error| match error {
        SigmaParserError::UnknownModifier(word) => {
            Problem::unknown_word(line, format!("unknown modifier `{word}` in `{key}`"), &word, MODIFIERS)
        }
        SigmaParserError::NotIsNotAModifier => Problem::with_help(
            line,
            format!("`not` in `{key}` is no modifier"),
            "use `neq`, or negate the selection in the condition",
        ),
        other => Problem::new(line, format!("`{key}` is no field: {other}")),
    })
}

impl Modifiers {
    /// Makes sense of a field's modifiers, or says why there is none.
    pub(super) fn read(spec: &FieldSpec) -> Result<Self, String> {
        let mut modifiers = Self {
            relation: RelationKind::Equals,
            operator: Operator::Plain,
            all: false,
            cased: false,
            negated: false,
            encodings: Vec::new(),
            any_dash: false,
        };
        for modifier in &spec.modifiers {
            modifiers.take(*modifier)?;
        }
        modifiers.checked()
    }

    fn take(&mut self, modifier: Modifier) -> Result<(), String> {
        match modifier {
            Modifier::Contains => self.relate(RelationKind::Contains)?,
            Modifier::StartsWith => self.relate(RelationKind::StartsWith)?,
            Modifier::EndsWith => self.relate(RelationKind::EndsWith)?,
            Modifier::All => self.all = true,
            Modifier::Cased => self.cased = true,
            Modifier::Neq => self.negated = true,
            Modifier::WindAsh => self.any_dash = true,
            Modifier::Base64 => self.encodings.push(Encoding::Base64),
            Modifier::Base64Offset => self.encodings.push(Encoding::Base64Offset),
            Modifier::Wide => self.encodings.push(Encoding::Utf16Le),
            Modifier::Utf16be => self.encodings.push(Encoding::Utf16Be),
            Modifier::Utf16 => self.encodings.push(Encoding::Utf16),
            Modifier::IgnoreCase => self.regex_flags()?.ignore_case = true,
            Modifier::Multiline => self.regex_flags()?.multi_line = true,
            Modifier::DotAll => self.regex_flags()?.dot_all = true,
            Modifier::Expand => {
                return Err(
                    "`expand` takes its placeholders from the processing pipeline of another tool, and there is none \
                     here; write the values out"
                        .to_owned()
                );
            }
            Modifier::Exists => self.operate(Operator::Exists)?,
            Modifier::Cidr => self.operate(Operator::Network)?,
            Modifier::Re => self.operate(Operator::Regex(RegexFlags::default()))?,
            Modifier::FieldRef => self.operate(Operator::Reference)?,
            Modifier::Gt => self.compare(Comparison::Greater)?,
            Modifier::Gte => self.compare(Comparison::GreaterOrEqual)?,
            Modifier::Lt => self.compare(Comparison::Less)?,
            Modifier::Lte => self.compare(Comparison::LessOrEqual)?,
            Modifier::Minute => self.time_part(TimePart::Minute)?,
            Modifier::Hour => self.time_part(TimePart::Hour)?,
            Modifier::Day => self.time_part(TimePart::Day)?,
            Modifier::Week => self.time_part(TimePart::Week)?,
            Modifier::Month => self.time_part(TimePart::Month)?,
            Modifier::Year => self.time_part(TimePart::Year)?,
        }
        Ok(())
    }

    fn relate(&mut self, relation: RelationKind) -> Result<(), String> {
        if self.relation != RelationKind::Equals {
            return Err("only one of `contains`, `startswith` and `endswith` can be meant".to_owned());
        }
        self.relation = relation;
        Ok(())
    }

    fn operate(&mut self, operator: Operator) -> Result<(), String> {
        if self.operator != Operator::Plain {
            return Err("`exists`, `cidr`, `re`, `fieldref` and comparisons cannot be combined".to_owned());
        }
        self.operator = operator;
        Ok(())
    }

    fn compare(&mut self, comparison: Comparison) -> Result<(), String> {
        if let Operator::TimePart(part, Comparison::Equal) = self.operator {
            self.operator = Operator::TimePart(part, comparison);
            return Ok(());
        }
        self.operate(Operator::Compare(comparison))
    }

    fn time_part(&mut self, part: TimePart) -> Result<(), String> {
        if let Operator::Compare(comparison) = self.operator {
            self.operator = Operator::TimePart(part, comparison);
            return Ok(());
        }
        self.operate(Operator::TimePart(part, Comparison::Equal))
    }

    fn regex_flags(&mut self) -> Result<&mut RegexFlags, String> {
        match &mut self.operator {
            Operator::Regex(flags) => Ok(flags),
            _ => Err("`i`, `m` and `s` are flags of `re`; write `re|i`".to_owned()),
        }
    }

    fn checked(self) -> Result<Self, String> {
        let encoded = !self.encodings.is_empty() || self.any_dash;
        match self.operator {
            Operator::Plain => {}
            Operator::Reference if !encoded => {}
            _ if self.relation != RelationKind::Equals || encoded => {
                return Err(
                    "`contains`, `startswith`, `endswith` and encodings are for texts; they cannot be combined with \
                     `exists`, `cidr`, `re` or comparisons"
                        .to_owned(),
                );
            }
            _ => {}
        }
        if self.operator == Operator::Exists && (self.negated || self.all) {
            return Err("`exists` takes true or false and no `neq` or `all`".to_owned());
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(key: &str) -> Result<Modifiers, String> {
        Modifiers::read(&field_spec(key, 1).unwrap())
    }

    #[test]
    fn every_listed_modifier_is_one() {
        for name in MODIFIERS {
            let key = match name {
                "i" | "m" | "s" | "ignorecase" | "multiline" | "dotall" => format!("a|re|{name}"),
                _ => format!("a|{name}"),
            };
            assert!(read(&key).is_ok(), "{name}");
        }
        assert!(read("a|windash").is_ok());
    }

    #[test]
    fn combinations_without_sense_are_refused() {
        for key in ["a|contains|endswith", "a|re|contains", "a|cidr|re", "a|i", "a|exists|neq", "a|gt|lt"] {
            assert!(read(key).is_err(), "{key}");
        }
        assert!(read("a|expand").unwrap_err().contains("placeholders"));
    }

    #[test]
    fn parts_of_times_are_compared_in_either_order() {
        let expected = Operator::TimePart(TimePart::Hour, Comparison::GreaterOrEqual);
        assert_eq!(read("a|hour|gte").unwrap().operator, expected);
        assert_eq!(read("a|gte|hour").unwrap().operator, expected);
    }

    #[test]
    fn a_misspelt_modifier_is_answered_with_the_nearest_one() {
        let problem = field_spec("userAgent|contain", 4).unwrap_err();
        assert_eq!(problem.line, 4);
        assert_eq!(problem.help.as_deref(), Some("did you mean `contains`?"));
        assert!(field_spec("a|not", 1).unwrap_err().help.unwrap().contains("neq"));
    }
}
