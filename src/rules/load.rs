//! One rule file becomes its rules, correlations and filters, or all that is wrong with them.

use rsigma_parser::{Severity, Status, lint_yaml_str, parse_sigma_yaml};

use super::checks::FactCheck;
use super::collection::documents;
use super::correlation::{self, Draft};
use super::detection::Detection;
use super::error::Problem;
use super::filter::{self, Filter};
use super::keyward::{Block, sigma_exemplars, text_of, texts_of};
use super::message::{LABELS, Message};
use super::rule::{Program, Rule};
use super::source::{Source, source};
use super::yaml::Node;
use crate::model::{Level, SubjectKind};

const STATUSES: [&str; 5] = ["stable", "test", "experimental", "deprecated", "unsupported"];

/// The level of a rule from elsewhere that has none.
const DEFAULT_LEVEL: Level = Level::Medium;

/// One document of a rule file.
#[derive(Debug)]
pub(super) enum Part {
    /// A rule.
    Rule(Box<Rule>),
    /// A correlation, whose rules have to be found yet.
    Correlation(Box<Draft>),
    /// A filter, whose rules have to be found yet.
    Filter(Filter),
    /// A rule for something that is not read here, and why.
    Foreign(Foreign),
    /// What is wrong with it, and the rule's name if it has one.
    Broken(Option<String>, Vec<Problem>),
}

/// A document that is for something else, with the names by which others may know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Foreign {
    pub(super) name: String,
    pub(super) alias: Option<String>,
    pub(super) id: Option<String>,
    pub(super) line: u64,
    pub(super) reason: String,
}

/// Loads the text of a rule file.
pub(super) fn load(path: &str, text: &str) -> Vec<Part> {
    let stem = match name_of(path) {
        Ok(stem) => stem,
        Err(problem) => return vec![Part::Broken(None, vec![problem])],
    };
    let documents = match documents(text) {
        Ok(documents) => documents,
        Err(problem) => return vec![Part::Broken(Some(stem.to_owned()), vec![problem])],
    };
    if let [document] = documents.as_slice() {
        return vec![part(stem, path, document, text)];
    }
    let mut is_first = true;
    let named = documents.iter().enumerate().map(|(at, document)| {
        let name = match alias(document) {
            Some(name) => name,
            None if std::mem::take(&mut is_first) => stem.to_owned(),
            None => format!("{stem}-{}", at + 1),
        };
        // What `action` made of it is in no text; JSON is YAML.
        part(&name, path, document, &document.json().to_string())
    });
    named.collect()
}

/// Sigma's `name`, by which correlations may call the rule.
fn alias(document: &Node) -> Option<String> {
    document
        .get("name")
        .and_then(Node::text)
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
}

fn part(name: &str, path: &str, document: &Node, text: &str) -> Part {
    let mut problems = Vec::new();
    let mut part = if let Some(entry) = document.entry("correlation") {
        let meta = Meta::read(name, path, document, &mut problems);
        correlation::read(meta, entry, document, &mut problems)
            .map(|draft| Part::Correlation(Box::new(draft)))
    } else if let Some(entry) = document.entry("filter") {
        filter::read(name, path, entry, document, &mut problems)
    } else {
        rule(name, path, document, &mut problems)
    };
    if let Some(Part::Foreign(foreign)) = &mut part {
        foreign.alias = alias(document);
        foreign.id = document.get("id").and_then(Node::text).map(str::to_owned);
    } else if problems.is_empty() {
        problems.extend(sigma_problems(text, document));
    }
    match part {
        Some(part) if problems.is_empty() => part,
        _ => {
            if problems.is_empty() {
                problems.push(Problem::new(1, "the rule cannot be compiled"));
            }
            problems.sort_by_key(|problem| problem.line);
            Part::Broken(Some(name.to_owned()), problems)
        }
    }
}

fn name_of(path: &str) -> Result<&str, Problem> {
    let file = path.rsplit(['/', '\\']).next().unwrap_or(path);
    file.strip_suffix(".yml").filter(|name| !name.is_empty()).ok_or_else(|| {
        Problem::with_help(0, format!("`{file}` is no name of a rule file"), "rule files end in `.yml`")
    })
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
    match documents(text).unwrap_or_default().as_slice() {
        [document] => lint(text, document, Severity::Warning),
        _ => Vec::new(),
    }
}

/// What every kind of document says of itself.
#[derive(Debug)]
pub(super) struct Meta {
    pub(super) name: String,
    pub(super) path: String,
    pub(super) is_ours: bool,
    title: Option<String>,
    alias: Option<String>,
    id: Option<String>,
    level: Level,
    status: Option<String>,
    description: Option<String>,
    references: Vec<String>,
    falsepositives: Vec<String>,
}

impl Meta {
    fn read(name: &str, path: &str, document: &Node, problems: &mut Vec<Problem>) -> Self {
        let is_ours = document.entry("keyward").is_some();
        let text = |key: &str, problems: &mut Vec<Problem>| {
            document.entry(key).and_then(|entry| text_of(entry, problems))
        };
        let texts = |key: &str, problems: &mut Vec<Problem>| {
            document.entry(key).map(|entry| texts_of(entry, problems)).unwrap_or_default()
        };
        check_name(document, name, is_ours, problems);
        check_id(document, is_ours, problems);
        check_version(document, problems);
        let description = text("description", problems);
        if is_ours && description.is_none() {
            problems.push(Problem::with_help(1, "the rule has no `description`", "say why it matters"));
        }
        Self {
            name: name.to_owned(),
            path: path.to_owned(),
            is_ours,
            title: required_title(document, problems),
            alias: alias(document),
            id: text("id", problems),
            level: level(document, is_ours, problems),
            status: status(document, problems),
            description,
            references: texts("references", problems),
            falsepositives: texts("falsepositives", problems),
        }
    }

    /// What the rule is called to people.
    pub(super) fn title(&self) -> &str {
        self.title.as_deref().unwrap_or(&self.name)
    }

    /// The rule; what is not said of itself has to be filled in.
    pub(super) fn into_rule(self, kind: SubjectKind, block: Block, program: Program) -> Option<Rule> {
        let title = self.title?;
        Some(Rule {
            name: self.name,
            alias: self.alias,
            id: self.id,
            level: self.level,
            status: self.status,
            description: self.description.unwrap_or_default(),
            kind,
            message: block.message.map_or_else(|| title.clone(), |(message, _)| message),
            title,
            remediation: block.remediation.unwrap_or_default(),
            controls: block.controls,
            references: self.references,
            falsepositives: self.falsepositives,
            group_by: block.group_by,
            exemplars: block.exemplars,
            path: self.path,
            applies: block.applies.map(|(applies, _)| applies),
            condition: String::new(),
            selections: Vec::new(),
            program,
            correlation: None,
        })
    }
}

fn rule(name: &str, path: &str, document: &Node, problems: &mut Vec<Problem>) -> Option<Part> {
    let own = document.entry("keyward");
    let kind = match source(document) {
        Ok(Source::Kind(kind)) => Ok(kind),
        Ok(Source::Foreign(reason, line)) if own.is_none() => {
            let name = name.to_owned();
            return Some(Part::Foreign(Foreign { name, alias: None, id: None, line, reason }));
        }
        Ok(Source::Foreign(reason, line)) => {
            Err(Problem::with_help(line, reason, "only CloudTrail and KMS of `aws` are read here"))
        }
        Err(problem) => Err(problem),
    };
    let meta = Meta::read(name, path, document, problems);
    let kind = kind.map_err(|problem| problems.push(problem)).ok()?;
    let block = own.map(|block| {
        let block_read = Block::read(block, kind, problems);
        block_read.require(block.line, problems);
        block_read
    });
    let mut block = block.unwrap_or_default();
    if let Some(entry) = document.entry("rsigma.exemplars") {
        block.exemplars.extend(sigma_exemplars(entry, problems));
    }
    let check =
        if own.is_some() || kind != SubjectKind::Event { FactCheck::Catalogue(kind) } else { FactCheck::Off };
    let detection = detection(document, check, problems)?;
    let applies = applies(&block, &detection, problems);
    let message = message(&block, meta.title(), kind, problems);
    let program = Program::new(applies, detection.condition?, message, &block.group_by);
    let rule = meta.into_rule(kind, block, program)?;
    Some(Part::Rule(Box::new(Rule {
        condition: detection.condition_text,
        selections: detection.shown,
        ..rule
    })))
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
