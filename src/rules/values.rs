//! The values of a selection's fields, compiled.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rsigma_parser::SigmaString;

use super::document::Path;
use super::error::Problem;
use super::eval::{Expr, Relation, RelationKind, Test};
use super::matcher::{Matcher, Network, Number};
use super::modifier::{Encoding, Modifiers, Operator};
use super::pattern::{Pattern, Piece, TextTest, checked_regex};
use super::yaml::{Node, Value};

/// Compiles the values of a field, or of keywords where there is none.
pub(super) fn compile(path: Option<&str>, modifiers: &Modifiers, values: &Node) -> Result<Expr, Problem> {
    let items = match &values.value {
        Value::List(items) if items.is_empty() => {
            return Err(Problem::with_help(
                values.line,
                "the list of values is empty and matches nothing",
                "give at least one value",
            ));
        }
        Value::List(items) => items.as_slice(),
        _ => std::slice::from_ref(values),
    };
    let Some(path) = path.map(Path::new) else {
        return keywords(modifiers, items);
    };
    let expr = match modifiers.operator {
        Operator::Exists => return exists(path, values),
        Operator::Reference => join(
            modifiers.all,
            items.iter().map(|item| reference(&path, modifiers, item)).collect::<Result<_, _>>()?,
        ),
        _ => tests(&path, modifiers, items)?,
    };
    if modifiers.negated {
        let is_there = Expr::Field(path, Test::Exists);
        return Ok(Expr::All([is_there, Expr::Not(Box::new(expr))].into()));
    }
    Ok(expr)
}

fn join(all: bool, mut parts: Vec<Expr>) -> Expr {
    if parts.len() == 1 {
        return parts.remove(0);
    }
    if all { Expr::All(parts.into()) } else { Expr::Any(parts.into()) }
}

fn exists(path: Path, value: &Node) -> Result<Expr, Problem> {
    let test = Expr::Field(path, Test::Present);
    match &value.value {
        Value::Bool(true) => Ok(test),
        Value::Bool(false) => Ok(Expr::Not(Box::new(test))),
        _ => Err(Problem::with_help(
            value.line,
            format!("`exists` is given {}", value.kind()),
            "give it true or false",
        )),
    }
}

fn reference(path: &Path, modifiers: &Modifiers, value: &Node) -> Result<Expr, Problem> {
    let other = value.text().ok_or_else(|| {
        Problem::with_help(
            value.line,
            format!("`fieldref` is given {}", value.kind()),
            "give it the name of a field",
        )
    })?;
    let relation = Relation { kind: modifiers.relation, cased: modifiers.cased };
    Ok(Expr::Field(path.clone(), Test::Reference(Path::new(other), relation)))
}

fn tests(path: &Path, modifiers: &Modifiers, items: &[Node]) -> Result<Expr, Problem> {
    let is = |matcher| Expr::Field(path.clone(), Test::Is(matcher));
    let is_null = || Expr::Not(Box::new(Expr::Field(path.clone(), Test::Exists)));
    if modifiers.all {
        let parts = items.iter().map(|item| match form(modifiers, item)? {
            Form::Null => Ok(is_null()),
            form => Ok(is(matcher(vec![form], item.line)?)),
        });
        return Ok(join(true, parts.collect::<Result<_, Problem>>()?));
    }
    let mut forms = items.iter().map(|item| form(modifiers, item)).collect::<Result<Vec<_>, _>>()?;
    let count = forms.len();
    forms.retain(|form| !matches!(form, Form::Null));
    let mut parts = Vec::new();
    if forms.len() < count {
        parts.push(is_null());
    }
    if !forms.is_empty() {
        parts.push(is(matcher(forms, items.first().map_or(0, |item| item.line))?));
    }
    Ok(join(false, parts))
}

fn keywords(modifiers: &Modifiers, items: &[Node]) -> Result<Expr, Problem> {
    let line = items.first().map_or(0, |item| item.line);
    if !matches!(modifiers.operator, Operator::Plain | Operator::Regex(_)) {
        return Err(Problem::with_help(
            line,
            "values without a field can only be looked for",
            "name a field",
        ));
    }
    let relation = match modifiers.operator {
        Operator::Plain => RelationKind::Contains,
        _ => RelationKind::Equals,
    };
    let anywhere = Modifiers { relation, ..modifiers.clone() };
    let keyword = |item: &Node| match form(&anywhere, item)? {
        Form::Null => Err(Problem::with_help(item.line, "an empty keyword", "give a text to look for")),
        form => Ok(form),
    };
    if modifiers.all {
        let parts = items.iter().map(|item| Ok(Expr::Keyword(matcher(vec![keyword(item)?], item.line)?)));
        return Ok(join(true, parts.collect::<Result<_, Problem>>()?));
    }
    let forms = items.iter().map(keyword).collect::<Result<_, _>>()?;
    Ok(Expr::Keyword(matcher(forms, line)?))
}

/// What one value of a rule becomes.
enum Form {
    Null,
    Patterns(Vec<Pattern>),
    Regex(String),
    Other(Matcher),
}

fn matcher(forms: Vec<Form>, line: u64) -> Result<Matcher, Problem> {
    let (mut patterns, mut regexes, mut others) = (Vec::new(), Vec::new(), Vec::new());
    for form in forms {
        match form {
            Form::Null => {}
            Form::Patterns(more) => patterns.extend(more),
            Form::Regex(source) => regexes.push(source),
            Form::Other(matcher) => others.push(matcher),
        }
    }
    if !patterns.is_empty() || !regexes.is_empty() {
        let test = TextTest::new(&patterns, &regexes)
            .map_err(|reason| Problem::new(line, format!("the values do not compile together: {reason}")))?;
        others.push(Matcher::Text(test));
    }
    Ok(if others.len() == 1 { others.remove(0) } else { Matcher::Any(others.into()) })
}

fn form(modifiers: &Modifiers, value: &Node) -> Result<Form, Problem> {
    let problem = |message: String, help: &str| Problem::with_help(value.line, message, help);
    if matches!(value.value, Value::List(_) | Value::Map(_)) {
        return Err(problem(
            format!("{} is no value", value.kind()),
            "name fields inside others with dots, such as `userIdentity.type`",
        ));
    }
    match modifiers.operator {
        Operator::Compare(comparison) => match &value.value {
            Value::Int(number) => Ok(Form::Other(Matcher::Compare(comparison, Number::Int(*number)))),
            Value::Float(number) => Ok(Form::Other(Matcher::Compare(comparison, Number::Float(*number)))),
            _ => Err(problem(format!("{} cannot be compared by size", value.kind()), "give a number")),
        },
        Operator::TimePart(part, comparison) => match &value.value {
            Value::Int(number) => Ok(Form::Other(Matcher::TimePart(part, comparison, *number))),
            _ => Err(problem(format!("{} is no part of a time", value.kind()), "give a whole number")),
        },
        Operator::Network => {
            let text = scalar_text(value).unwrap_or_default();
            Network::parse(&text).map(|network| Form::Other(Matcher::Network(network))).ok_or_else(|| {
                problem(format!("`{text}` is no network"), "write it like `10.0.0.0/8` or `fd00::/8`")
            })
        }
        Operator::Regex(flags) => {
            let source = scalar_text(value).unwrap_or_default();
            checked_regex(&source, flags).map(Form::Regex).map_err(|reason| {
                problem(
                    format!("`{source}` is no regular expression: {reason}"),
                    "the syntax is that of the Rust regex crate, which has no look-around and no backreferences",
                )
            })
        }
        Operator::Plain | Operator::Exists | Operator::Reference => plain(modifiers, value),
    }
}

fn plain(modifiers: &Modifiers, value: &Node) -> Result<Form, Problem> {
    let as_is = modifiers.relation == RelationKind::Equals && modifiers.encodings.is_empty();
    let text = match &value.value {
        Value::Null => return Ok(Form::Null),
        Value::Bool(expected) if as_is => return Ok(Form::Other(Matcher::Bool(*expected))),
        Value::Int(number) if as_is => return Ok(Form::Other(Matcher::Number(Number::Int(*number)))),
        Value::Float(number) if as_is => return Ok(Form::Other(Matcher::Number(Number::Float(*number)))),
        _ => scalar_text(value).unwrap_or_default(),
    };
    let pattern = Pattern::from_sigma(&SigmaString::new(&text), modifiers.cased);
    let patterns = encoded(pattern, modifiers).map_err(|reason| {
        Problem::with_help(value.line, format!("`{text}` cannot be encoded: {reason}"), "give a plain text")
    })?;
    let patterns = patterns.into_iter().map(|pattern| {
        let pattern = if modifiers.any_dash { pattern.with_any_dash() } else { pattern };
        match modifiers.relation {
            RelationKind::Equals => pattern,
            RelationKind::StartsWith => pattern.open_end(),
            RelationKind::EndsWith => pattern.open_start(),
            RelationKind::Contains => pattern.open_start().open_end(),
        }
    });
    Ok(Form::Patterns(patterns.collect()))
}

fn scalar_text(value: &Node) -> Option<String> {
    match &value.value {
        Value::Bool(value) => Some(value.to_string()),
        Value::Int(value) => Some(value.to_string()),
        Value::Float(value) => Some(value.to_string()),
        Value::Text(text) => Some(text.clone()),
        Value::Null | Value::List(_) | Value::Map(_) => None,
    }
}

fn encoded(pattern: Pattern, modifiers: &Modifiers) -> Result<Vec<Pattern>, &'static str> {
    if modifiers.encodings.is_empty() {
        return Ok(vec![pattern]);
    }
    let text = match pattern.pieces.as_slice() {
        [] => "",
        [Piece::Text(text)] => text,
        _ => return Err("it has wildcards"),
    };
    let mut forms = vec![text.as_bytes().to_vec()];
    // Base64 is of one case, whatever the text inside is.
    let mut cased = pattern.cased;
    for encoding in &modifiers.encodings {
        cased |= matches!(encoding, Encoding::Base64 | Encoding::Base64Offset);
        forms = forms.iter().map(|bytes| encode(*encoding, bytes)).collect::<Result<Vec<_>, _>>()?.concat();
    }
    forms
        .into_iter()
        .map(|bytes| {
            let text = String::from_utf8(bytes).map_err(|_| "what comes out is no text; add `base64`")?;
            Ok(Pattern::plain(&text, cased))
        })
        .collect()
}

fn encode(encoding: Encoding, bytes: &[u8]) -> Result<Vec<Vec<u8>>, &'static str> {
    let wide = |to_bytes: fn(u16) -> [u8; 2]| {
        std::str::from_utf8(bytes)
            .map(|text| text.encode_utf16().flat_map(to_bytes).collect::<Vec<u8>>())
            .map_err(|_| "it is encoded twice")
    };
    Ok(match encoding {
        Encoding::Utf16Le => vec![wide(u16::to_le_bytes)?],
        Encoding::Utf16Be => vec![wide(u16::to_be_bytes)?],
        Encoding::Utf16 => vec![[vec![0xFF, 0xFE], wide(u16::to_le_bytes)?].concat()],
        Encoding::Base64 => vec![BASE64.encode(bytes).into_bytes()],
        Encoding::Base64Offset => (0..3).map(|offset| base64_inside(bytes, offset)).collect(),
    })
}

/// The characters of a base64 text that hang on these bytes alone when `offset` bytes stand before them.
fn base64_inside(bytes: &[u8], offset: usize) -> Vec<u8> {
    let padded = [vec![b' '; offset], bytes.to_vec()].concat();
    let encoded = BASE64.encode(&padded).into_bytes();
    let from = [0, 2, 3].get(offset).copied().unwrap_or(0);
    let cut = [0, 3, 2].get(padded.len() % 3).copied().unwrap_or(0);
    let to = encoded.len().saturating_sub(cut);
    encoded.get(from..to).unwrap_or_default().to_vec()
}
