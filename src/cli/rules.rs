//! `keyward rules list|check|test|explain`: what the rules are, whether they are right, and what they mean.

use std::io::{self, Write};
use std::path::PathBuf;

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use super::rule_files::files_at;
use super::{Exit, UsageError};
use crate::model::{Level, Outcome, SubjectKind};
use crate::report::counted;
use crate::rules::{ExemplarResult, Rule, RuleErrors, RuleFile, RuleSet};

/// `keyward rules …`. Without a path, the rules are those that come with the program.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// List the rules
    List {
        /// Rule files, or folders of them
        paths: Vec<PathBuf>,
        /// How the list is written
        #[arg(long, value_enum, default_value_t)]
        format: ListFormat,
    },
    /// Check rule files: every mistake with its place and a suggestion
    Check {
        /// Rule files, or folders of them
        paths: Vec<PathBuf>,
    },
    /// Run the exemplars of rules
    Test {
        /// Rule files, or folders of them
        paths: Vec<PathBuf>,
    },
    /// Explain one rule: what it finds, why that matters, and what to do
    Explain {
        /// The rule's name
        name: String,
        /// Rule files, or folders of them
        paths: Vec<PathBuf>,
    },
}

pub(super) fn run(command: &Command, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let (Command::List { paths, .. }
    | Command::Check { paths }
    | Command::Test { paths }
    | Command::Explain { paths, .. }) = command;
    let files = files_at(paths).map_err(|error| UsageError(format!("{error:#}")))?;
    let answer = match command {
        Command::List { format, .. } => list(&files, *format, out, &mut io::stderr())?,
        Command::Check { .. } => check(&files, out)?,
        Command::Test { .. } => test(&files, out)?,
        Command::Explain { name, .. } => explain(&files, name, out)?,
    };
    Ok(match answer {
        Answer::InOrder => Exit::Fine,
        Answer::Mistakes => Exit::Usage,
    })
}

/// How `list` writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum ListFormat {
    /// For people.
    #[default]
    Table,
    /// For programs: one array of rules.
    Json,
}

/// Whether everything was in order; if not, what is wrong has been written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Exit code 0.
    InOrder,
    /// Exit code 2.
    Mistakes,
}

impl From<bool> for Answer {
    fn from(in_order: bool) -> Self {
        if in_order { Self::InOrder } else { Self::Mistakes }
    }
}

#[derive(Serialize)]
struct Listed<'r> {
    name: &'r str,
    level: Level,
    kind: SubjectKind,
    title: &'r str,
    id: Option<&'r str>,
    status: Option<&'r str>,
    path: &'r str,
}

/// Lists the rules of some files, by name. What keeps a file from loading goes to `err`.
pub fn list(
    files: &[RuleFile],
    format: ListFormat,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<Answer> {
    let (rules, errors) = RuleSet::load(files, &[]);
    match format {
        ListFormat::Table => {
            let mut table = Table::new();
            table
                .load_preset(presets::NOTHING)
                .set_content_arrangement(ContentArrangement::Dynamic)
                .set_header(["NAME", "LEVEL", "KIND", "TITLE"]);
            for rule in rules.rules() {
                table.add_row([
                    rule.name.as_str(),
                    rule.level.as_str(),
                    rule.kind.as_str(),
                    rule.title.as_str(),
                ]);
            }
            for line in table.lines() {
                writeln!(out, "{}", line.trim())?;
            }
        }
        ListFormat::Json => {
            let listed: Vec<Listed<'_>> = rules.rules().iter().map(listed).collect();
            serde_json::to_writer_pretty(&mut *out, &listed)?;
            writeln!(out)?;
        }
    }
    write_errors(&errors, err)?;
    for foreign in rules.foreign() {
        writeln!(err, "note: {foreign}")?;
    }
    Ok(errors.is_empty().into())
}

fn listed(rule: &Rule) -> Listed<'_> {
    Listed {
        name: &rule.name,
        level: rule.level,
        kind: rule.kind,
        title: &rule.title,
        id: rule.id.as_deref(),
        status: rule.status.as_deref(),
        path: &rule.path,
    }
}

fn write_errors(errors: &RuleErrors, out: &mut dyn Write) -> io::Result<()> {
    for error in errors {
        writeln!(out, "error: {error}")?;
    }
    Ok(())
}

/// Checks rule files: every mistake with its place and remedy, and what the linter of the Sigma tools warns of.
pub fn check(files: &[RuleFile], out: &mut dyn Write) -> io::Result<Answer> {
    let (rules, errors) = RuleSet::load(files, &[]);
    write_errors(&errors, out)?;
    let is_foreign = |file: &&RuleFile| rules.foreign().iter().any(|foreign| foreign.path == file.path);
    let warnings: Vec<_> =
        files.iter().filter(|file| !is_foreign(file)).flat_map(RuleFile::warnings).collect();
    for warning in &warnings {
        writeln!(out, "warning: {warning}")?;
    }
    for foreign in rules.foreign() {
        writeln!(out, "note: {foreign}")?;
    }
    let others = match rules.foreign().len() {
        0 => String::new(),
        count => format!(", {count} for other products"),
    };
    writeln!(
        out,
        "{} in order, {}, {}{others}",
        counted(rules.rules().len() + rules.silent().len(), "rule"),
        counted(errors.iter().count(), "error"),
        counted(warnings.len(), "warning"),
    )?;
    Ok(errors.is_empty().into())
}

/// Runs the exemplars of rule files.
pub fn test(files: &[RuleFile], out: &mut dyn Write) -> io::Result<Answer> {
    let (rules, errors) = RuleSet::load(files, &[]);
    write_errors(&errors, out)?;
    let (mut run, mut failed) = (0, 0);
    let count = rules.rules().len() + rules.silent().len();
    for rule in rules.rules().iter().chain(rules.silent()) {
        let results = RuleSet::run_exemplars(rule);
        let wrong: Vec<&ExemplarResult> = results.iter().filter(|result| !result.passed()).collect();
        let word = if wrong.is_empty() { "ok" } else { "FAILED" };
        writeln!(out, "{word:<6} {} ({})", rule.name, counted(results.len(), "exemplar"))?;
        for result in &wrong {
            writeln!(out, "       {}:{}: {}", rule.path, result.line, told(result))?;
        }
        run += results.len();
        failed += wrong.len();
    }
    writeln!(
        out,
        "{}, {}: {} passed, {failed} failed",
        counted(count, "rule"),
        counted(run, "exemplar"),
        run.saturating_sub(failed),
    )?;
    Ok((errors.is_empty() && failed == 0).into())
}

fn told(result: &ExemplarResult) -> String {
    if result.hidden_by_index {
        return format!("`{}` is found, and the index by source and name would hide it", result.exemplar);
    }
    let message =
        if result.outcome == Outcome::Fail { format!(": {}", result.message) } else { String::new() };
    format!("`{}` expects {} and gets {}{message}", result.exemplar, result.expected, result.outcome)
}

/// Explains one rule to people. An unknown name is answered with the nearest one.
pub fn explain(files: &[RuleFile], name: &str, out: &mut dyn Write) -> io::Result<Answer> {
    let (rules, errors) = RuleSet::load(files, &[]);
    let silent = || rules.silent().iter().find(|rule| rule.name == name);
    if let Some(rule) = rules.rule(name).or_else(silent) {
        write_rule(rule, out)?;
        return Ok(Answer::InOrder);
    }
    if let Some(foreign) = rules.foreign().iter().find(|foreign| foreign.name == name) {
        writeln!(out, "note: {foreign}")?;
        return Ok(Answer::InOrder);
    }
    let of_file: Vec<_> =
        errors.iter().filter(|error| error.path.ends_with(&format!("{name}.yml"))).cloned().collect();
    if of_file.is_empty() {
        let help = rules.nearest_name(name).map_or_else(
            || "`keyward rules list` lists them all".to_owned(),
            |nearest| format!("did you mean `{nearest}`?"),
        );
        writeln!(out, "error: `{name}` is no rule; {help}")?;
    } else {
        write_errors(&RuleErrors(of_file), out)?;
    }
    Ok(Answer::Mistakes)
}

fn write_rule(rule: &Rule, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{} ({})", rule.title, rule.name)?;
    let status = rule.status.as_deref().unwrap_or("no status");
    let judges = if rule.is_correlation() {
        "correlates events".to_owned()
    } else {
        format!("judges a {}", rule.kind)
    };
    writeln!(out, "{} · {judges} · {status} · {}", rule.level, rule.path)?;
    paragraph("Why it matters", &rule.description, out)?;
    paragraph("What it says", &rule.message, out)?;
    write_condition(rule, out)?;
    paragraph("What to do", &rule.remediation, out)?;
    bullets("What may look like it", &rule.falsepositives, out)?;
    let controls: Vec<String> = rule
        .controls
        .iter()
        .map(|(framework, controls)| format!("{framework}: {}", controls.join(", ")))
        .collect();
    bullets("Controls", &controls, out)?;
    if !rule.group_by.is_empty() {
        paragraph("One finding for each", &rule.group_by.join(", "), out)?;
    }
    bullets("Read on", &rule.references, out)
}

fn write_condition(rule: &Rule, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "\nCondition")?;
    if let Some(applies) = &rule.applies {
        writeln!(out, "  applies if  {applies}")?;
    }
    writeln!(out, "  fails if    {}", rule.condition)?;
    for (name, lines) in &rule.selections {
        writeln!(out, "  {name}:")?;
        for (at, line) in lines.iter().enumerate() {
            let joint = if at == 0 { "" } else { "and " };
            writeln!(out, "      {joint}{line}")?;
        }
    }
    Ok(())
}

fn paragraph(heading: &str, text: &str, out: &mut dyn Write) -> io::Result<()> {
    if text.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{heading}")?;
    text.lines().try_for_each(|line| writeln!(out, "  {}", line.trim_end()))
}

fn bullets(heading: &str, items: &[String], out: &mut dyn Write) -> io::Result<()> {
    if items.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{heading}")?;
    items.iter().try_for_each(|item| writeln!(out, "  - {item}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::builtin_files;

    const GOOD: &str = r#"
title: Key Disabled
id: 0f4a7c1e-5d1b-4a59-9a68-0a8b4d9c1e11
status: stable
description: |
    Whatever it protects
    cannot be read.
logsource: { product: aws, service: kms, category: key }
detection:
    off: { key.enabled: false, key.manager: CUSTOMER }
    ours: { key.transient: false }
    condition: off
falsepositives: [ On purpose ]
references: [ "https://example.org" ]
level: high
keyward:
    applies: ours
    message: "{key.id} is disabled"
    remediation: Enable it.
    controls: { iso27001: [A.8.24], gdpr: ["Art. 32"] }
    exemplars:
        - { name: disabled, expect: fail, facts: { key: { id: k, enabled: false, manager: CUSTOMER, transient: false } } }
        - { name: enabled, expect: pass, facts: { key: { enabled: true, transient: false } } }
"#;

    fn file(name: &str, text: &str) -> RuleFile {
        RuleFile { path: format!("kms/{name}.yml"), text: text.to_owned() }
    }

    fn written(write: impl FnOnce(&mut dyn Write) -> io::Result<Answer>) -> (Answer, String) {
        let mut out = Vec::new();
        let answer = write(&mut out).unwrap();
        (answer, String::from_utf8(out).unwrap())
    }

    #[test]
    fn the_list_has_a_line_for_each_rule() {
        let files = [file("key-disabled", GOOD)];
        let (answer, text) = written(|out| list(&files, ListFormat::Table, out, &mut io::sink()));
        assert_eq!(answer, Answer::InOrder);
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(
            lines,
            [vec!["NAME", "LEVEL", "KIND", "TITLE"], vec!["key-disabled", "high", "key", "Key", "Disabled"]]
        );

        let (_, text) = written(|out| list(&files, ListFormat::Json, out, &mut io::sink()));
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json[0]["name"], "key-disabled");
        assert_eq!((&json[0]["level"], &json[0]["kind"]), (&"high".into(), &"key".into()));
    }

    #[test]
    fn what_does_not_load_is_told_beside_the_list() {
        let mut err = Vec::new();
        let (answer, text) =
            written(|out| list(&[file("broken", "title: [")], ListFormat::Json, out, &mut err));
        assert_eq!((answer, text.as_str()), (Answer::Mistakes, "[]\n"));
        assert!(String::from_utf8(err).unwrap().starts_with("error: kms/broken.yml:1: "));
    }

    #[test]
    fn the_check_names_every_mistake() {
        let bad = GOOD.replace("key.enabled: false,", "key.enabld: false,").replace("A.8.24", "\"A.8.24\"");
        let files = [file("key-disabled", GOOD), file("other", &bad)];
        let (answer, text) = written(|out| check(&files, out));
        assert_eq!(answer, Answer::Mistakes);
        assert_eq!(
            text,
            "error: kms/other.yml:10: `key.enabld` is no fact of a key; did you mean `key.enabled`?\n\
             1 rule in order, 1 error, 0 warnings\n"
        );
        let (answer, text) = written(|out| check(&files[..1], out));
        assert_eq!((answer, text.as_str()), (Answer::InOrder, "1 rule in order, 0 errors, 0 warnings\n"));
    }

    #[test]
    fn the_test_shows_what_an_exemplar_expected_and_got() {
        let (answer, text) = written(|out| test(&[file("key-disabled", GOOD)], out));
        assert_eq!(answer, Answer::InOrder);
        assert_eq!(text, "ok     key-disabled (2 exemplars)\n1 rule, 2 exemplars: 2 passed, 0 failed\n");

        let wrong = GOOD
            .replace("{ enabled: true, transient", "{ id: x, enabled: false, manager: CUSTOMER, transient");
        let (answer, text) = written(|out| test(&[file("key-disabled", &wrong)], out));
        assert_eq!(answer, Answer::Mistakes);
        assert_eq!(
            text,
            "FAILED key-disabled (2 exemplars)\n       kms/key-disabled.yml:23: `enabled` expects pass and gets fail: \
             x is disabled\n1 rule, 2 exemplars: 1 passed, 1 failed\n"
        );
    }

    #[test]
    fn the_explanation_is_for_people() {
        let (answer, text) = written(|out| explain(&[file("key-disabled", GOOD)], "key-disabled", out));
        assert_eq!(answer, Answer::InOrder);
        assert_eq!(
            text,
            "Key Disabled (key-disabled)\n\
             high · judges a key · stable · kms/key-disabled.yml\n\
             \nWhy it matters\n  Whatever it protects\n  cannot be read.\n\
             \nWhat it says\n  {key.id} is disabled\n\
             \nCondition\n  applies if  ours\n  fails if    off\n\
             \x20 off:\n      key.enabled is false\n      and key.manager is CUSTOMER\n\
             \x20 ours:\n      key.transient is false\n\
             \nWhat to do\n  Enable it.\n\
             \nWhat may look like it\n  - On purpose\n\
             \nControls\n  - gdpr: Art. 32\n  - iso27001: A.8.24\n\
             \nRead on\n  - https://example.org\n"
        );
    }

    #[test]
    fn correlations_are_explained_and_what_is_for_others_is_noted() {
        let (answer, text) = written(|out| explain(&builtin_files(), "mass-key-disablement", out));
        assert_eq!(answer, Answer::InOrder);
        for part in [
            "critical · correlates events · stable",
            "fails if    5 or more distinct event.key_set within 15m\n",
            "  rules:\n      key-disabled, key-deletion-scheduled\n",
            "  group-by:\n      event.principal\n",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        let windows = "title: W\nlogsource: { product: windows, service: security }\ndetection: { s: { a: b }, condition: s }\n";
        let (answer, text) = written(|out| check(&[file("w", windows)], out));
        assert_eq!(answer, Answer::InOrder);
        assert_eq!(
            text,
            "note: kms/w.yml:2: `w` is left out: it is for the product `windows`\n\
             0 rules in order, 0 errors, 0 warnings, 1 for other products\n"
        );
    }

    #[test]
    fn an_unknown_rule_is_answered_with_the_nearest_one_and_a_broken_one_with_its_errors() {
        let files = [file("key-disabled", GOOD), file("broken", "title: [")];
        let (answer, text) = written(|out| explain(&files, "key-disbled", out));
        assert_eq!(
            (answer, text.as_str()),
            (Answer::Mistakes, "error: `key-disbled` is no rule; did you mean `key-disabled`?\n")
        );
        let (_, text) = written(|out| explain(&files, "broken", out));
        assert!(text.starts_with("error: kms/broken.yml:1: this is no YAML"), "{text}");
    }
}
