//! One rule file becomes one rule, or all that is wrong with it.

use rsigma_parser::{Severity, Status, lint_yaml_str, parse_sigma_yaml};

use super::checks::FactCheck;
use super::detection::Detection;
use super::error::Problem;
use super::keyward::{Block, sigma_exemplars, text_of, texts_of};
use super::message::{LABELS, Message};
use super::rule::{Program, Rule};
use super::yaml::{self, Node, Value};
use crate::model::{Level, SubjectKind};

/// The kinds of posture rules, as `logsource.category` names them.
const POSTURE: [SubjectKind; 4] =
    [SubjectKind::Key, SubjectKind::KeySet, SubjectKind::Trail, SubjectKind::AccountRegion];

const STATUSES: [&str; 5] = ["stable", "test", "experimental", "deprecated", "unsupported"];

/// The level of a rule from elsewhere that has none.
const DEFAULT_LEVEL: Level = Level::Medium;

/// Loads the text of a rule file.
pub(super) fn load(path: &str, text: &str) -> Result<Rule, Vec<Problem>> {
    let name = name_of(path).map_err(|problem| vec![problem])?;
    let document = only_document(text).map_err(|problem| vec![problem])?;
    let mut problems = Vec::new();
    let rule = read(name, path, &document, &mut problems);
    if problems.is_empty() {
        problems.extend(sigma_problems(text, &document));
    }
    match rule {
        Some(rule) if problems.is_empty() => Ok(rule),
        _ if problems.is_empty() => Err(vec![Problem::new(1, "the rule cannot be compiled")]),
        _ => {
            problems.sort_by_key(|problem| problem.line);
            Err(problems)
        }
    }
}

fn name_of(path: &str) -> Result<&str, Problem> {
    let file = path.rsplit(['/', '\\']).next().unwrap_or(path);
    file.strip_suffix(".yml").filter(|name| !name.is_empty()).ok_or_else(|| {
        Problem::with_help(0, format!("`{file}` is no name of a rule file"), "rule files end in `.yml`")
    })
}

fn only_document(text: &str) -> Result<Node, Problem> {
    let mut documents = yaml::documents(text)
        .map_err(|error| Problem::new(error.line, format!("this is no YAML: {}", error.message)))?;
    documents.retain(|document| document.value != Value::Null);
    let second = documents.get(1).map(|document| document.line);
    if let Some(line) = second {
        return Err(Problem::with_help(
            line,
            "the file holds more than one document",
            "put each rule in its own file",
        ));
    }
    let document = documents.pop().ok_or_else(|| Problem::new(1, "the file is empty"))?;
    if !matches!(document.value, Value::Map(_)) {
        return Err(Problem::new(
            document.line,
            format!("a rule is a mapping, and this is {}", document.kind()),
        ));
    }
    for (key, what) in [
        ("correlation", "Sigma correlations are"),
        ("filter", "Sigma filters are"),
        ("action", "Sigma 1 collections are"),
    ] {
        if let Some(entry) = document.entry(key) {
            let message = format!("{what} not evaluated yet");
            return Err(Problem::with_help(
                entry.line,
                message,
                "leave the file out of the rule directories",
            ));
        }
    }
    Ok(document)
}

/// What the Sigma parser itself says, and for rules of ours its linter too.
fn sigma_problems(text: &str, document: &Node) -> Vec<Problem> {
    let parsed = match parse_sigma_yaml(text) {
        Ok(collection) => collection.errors,
        Err(error) => vec![error.to_string()],
    };
    let mut problems: Vec<Problem> = parsed.into_iter().map(|error| Problem::new(1, error)).collect();
    if problems.is_empty() && document.get("keyward").is_some() {
        problems.extend(lint(text, document, Severity::Error));
    }
    problems
}

/// What the linter of the Sigma tools says with this severity.
fn lint(text: &str, document: &Node, severity: Severity) -> Vec<Problem> {
    lint_yaml_str(text)
        .into_iter()
        .filter(|warning| warning.severity == severity)
        .map(|warning| {
            let line = document.line_at(&warning.path);
            Problem::new(line, format!("{} ({})", warning.message, warning.rule))
        })
        .collect()
}

/// What does not keep a rule from loading, and is worth a look.
pub(super) fn warnings(text: &str) -> Vec<Problem> {
    // The linter reads YAML without the limits that a rule is held to.
    only_document(text).map(|document| lint(text, &document, Severity::Warning)).unwrap_or_default()
}

fn read(name: &str, path: &str, document: &Node, problems: &mut Vec<Problem>) -> Option<Rule> {
    let own = document.entry("keyward");
    let text = |key: &str, problems: &mut Vec<Problem>| {
        document.entry(key).and_then(|entry| text_of(entry, problems))
    };
    let texts = |key: &str, problems: &mut Vec<Problem>| {
        document.entry(key).map(|entry| texts_of(entry, problems)).unwrap_or_default()
    };
    let title = required_title(document, problems);
    let level = level(document, own.is_some(), problems);
    let status = status(document, problems);
    check_name(document, name, own.is_some(), problems);
    check_id(document, own.is_some(), problems);
    check_version(document, problems);
    let kind = kind(document, problems)?;
    let block = own.map(|block| {
        let block_read = Block::read(block, kind, problems);
        block_read.require(block.line, problems);
        block_read
    });
    let description = text("description", problems);
    if own.is_some() && description.is_none() {
        problems.push(Problem::with_help(1, "the rule has no `description`", "say why it matters"));
    }
    let mut block = block.unwrap_or_default();
    if let Some(entry) = document.entry("rsigma.exemplars") {
        block.exemplars.extend(sigma_exemplars(entry, problems));
    }
    let check =
        if own.is_some() || kind != SubjectKind::Event { FactCheck::Catalogue(kind) } else { FactCheck::Off };
    let detection = detection(document, check, problems)?;
    let applies = applies(&block, &detection, problems);
    let message = message(&block, title.as_deref().unwrap_or(name), kind, problems);
    let program = Program::new(applies, detection.condition?, message, &block.group_by);
    let title = title?;
    Some(Rule {
        name: name.to_owned(),
        id: text("id", problems),
        level,
        status,
        description: description.unwrap_or_default(),
        kind,
        message: block.message.map_or_else(|| title.clone(), |(message, _)| message),
        title,
        remediation: block.remediation.unwrap_or_default(),
        controls: block.controls,
        references: texts("references", problems),
        falsepositives: texts("falsepositives", problems),
        group_by: block.group_by,
        exemplars: block.exemplars,
        path: path.to_owned(),
        applies: block.applies.map(|(applies, _)| applies),
        condition: detection.condition_text,
        selections: detection.shown,
        program,
    })
}

fn required_title(document: &Node, problems: &mut Vec<Problem>) -> Option<String> {
    let title = document.entry("title").and_then(|entry| text_of(entry, problems));
    if title.is_none() {
        problems.push(Problem::with_help(1, "the rule has no `title`", "say what a violation is called"));
    }
    title
}

fn level(document: &Node, required: bool, problems: &mut Vec<Problem>) -> Level {
    let Some(entry) = document.entry("level") else {
        if required {
            problems.push(Problem::with_help(
                1,
                "the rule has no `level`",
                "say how much a violation matters",
            ));
        }
        return DEFAULT_LEVEL;
    };
    let word = entry.node.text().unwrap_or_default();
    word.parse().unwrap_or_else(|_| {
        let known = Level::ALL.map(Level::as_str);
        problems.push(Problem::unknown_word(entry.line, format!("unknown level `{word}`"), word, known));
        DEFAULT_LEVEL
    })
}

fn status(document: &Node, problems: &mut Vec<Problem>) -> Option<String> {
    let entry = document.entry("status")?;
    let word = entry.node.text().unwrap_or_default();
    if word.parse::<Status>().is_err() {
        problems.push(Problem::unknown_word(entry.line, format!("unknown status `{word}`"), word, STATUSES));
    }
    Some(word.to_owned())
}

fn check_name(document: &Node, name: &str, own: bool, problems: &mut Vec<Problem>) {
    let Some(entry) = document.entry("name").filter(|_| own) else { return };
    if entry.node.text() != Some(name) {
        problems.push(Problem::with_help(
            entry.line,
            format!("`name` differs from the file's, which is `{name}`"),
            "a rule is called like its file",
        ));
    }
}

fn check_id(document: &Node, own: bool, problems: &mut Vec<Problem>) {
    let help = "give the rule a random one, as `uuidgen` makes";
    match document.entry("id").filter(|_| own) {
        Some(entry) => {
            let id = entry.node.text().unwrap_or_default();
            if uuid::Uuid::try_parse(id).is_err() {
                problems.push(Problem::with_help(entry.line, format!("`{id}` is no UUID"), help));
            }
        }
        None if own => problems.push(Problem::with_help(1, "the rule has no `id`", help)),
        None => {}
    }
}

fn check_version(document: &Node, problems: &mut Vec<Problem>) {
    let Some(entry) = document.entry("sigma-version") else { return };
    let version = entry.node.json().to_string();
    if !version.trim_start_matches('"').starts_with(['1', '2']) {
        problems.push(Problem::with_help(
            entry.line,
            format!("`sigma-version` is {version}"),
            "rules are those of Sigma 2; array selectors in brackets are not evaluated",
        ));
    }
}

/// What a rule is about, by its log source.
fn kind(document: &Node, problems: &mut Vec<Problem>) -> Option<SubjectKind> {
    let Some(entry) = document.entry("logsource") else {
        problems.push(Problem::with_help(
            1,
            "the rule has no `logsource`",
            "give `product: aws` and `service: cloudtrail`, or `service: kms` with a `category`",
        ));
        return None;
    };
    let part =
        |key: &str| entry.node.entry(key).map(|part| (part.node.text().unwrap_or_default(), part.line));
    let (product, service, category) = (part("product"), part("service"), part("category"));
    if let Some((other, line)) = product.filter(|(product, _)| *product != "aws") {
        problems.push(Problem::with_help(line, format!("`product` is `{other}`"), "only `aws` is read here"));
        return None;
    }
    match (service, category) {
        (Some(("cloudtrail", _)), _) => Some(SubjectKind::Event),
        (Some(("kms", _)), Some((word, line))) => {
            let found = POSTURE.into_iter().find(|kind| kind.as_str() == word);
            if found.is_none() {
                let known = POSTURE.map(SubjectKind::as_str);
                problems.push(Problem::unknown_word(line, format!("unknown category `{word}`"), word, known));
            }
            found
        }
        (Some(("kms", line)), None) => {
            let known = POSTURE.map(SubjectKind::as_str).join(", ");
            let message = "the log source `kms` has no `category`";
            problems.push(Problem::with_help(line, message, format!("give one of {known}")));
            None
        }
        (Some((word, line)), _) => {
            let message = format!("nothing is read from the service `{word}`");
            problems.push(Problem::unknown_word(line, message, word, ["cloudtrail", "kms"]));
            None
        }
        (None, _) => {
            let message = "the log source has no `service`";
            problems.push(Problem::with_help(entry.line, message, "give `cloudtrail` or `kms`"));
            None
        }
    }
}

fn detection(document: &Node, check: FactCheck, problems: &mut Vec<Problem>) -> Option<Detection> {
    let Some(entry) = document.entry("detection") else {
        problems.push(Problem::with_help(
            1,
            "the rule has no `detection`",
            "say what a violation looks like",
        ));
        return None;
    };
    Some(Detection::compile(entry, check, problems))
}

fn applies(block: &Block, detection: &Detection, problems: &mut Vec<Problem>) -> Option<super::eval::Expr> {
    let (text, line) = block.applies.as_ref()?;
    detection.expression(text, *line).unwrap_or_else(|problem| {
        problems.push(problem);
        None
    })
}

fn message(block: &Block, title: &str, kind: SubjectKind, problems: &mut Vec<Problem>) -> Message {
    let Some((template, line)) = &block.message else { return Message::verbatim(title) };
    match Message::parse(template) {
        Ok((message, paths)) => {
            for path in paths {
                FactCheck::Catalogue(kind).path(&path, *line, problems);
            }
            message
        }
        Err(reason) => {
            let help = format!("name a fact such as {{key.id}}, or one of {}", LABELS.join(", "));
            problems.push(Problem::with_help(*line, reason, help));
            Message::default()
        }
    }
}
