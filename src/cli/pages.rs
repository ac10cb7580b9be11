//! The pages under `docs/` that are written from declarations in the code.

use crate::model::SubjectKind;
use crate::rules::{Rule, RuleSet, builtin_files};

/// The pages under `docs/` that are written from declarations in the code: their paths and texts.
///
/// # Errors
///
/// The built-in rules do not load.
pub fn generated_pages() -> anyhow::Result<Vec<(&'static str, String)>> {
    Ok(vec![
        ("docs/configuration.md", crate::config::reference()),
        ("docs/facts.md", crate::facts::catalogue::markdown()),
        ("docs/metrics.md", crate::metrics::markdown()),
        ("docs/rules.md", rules_page()?),
    ])
}

/// The page `docs/rules.md`: every built-in rule by what it judges.
fn rules_page() -> anyhow::Result<String> {
    use std::fmt::Write as _;

    let rules = RuleSet::compile(&builtin_files(), &[])?;
    let mut page = String::from(
        "# Rules\n\nGenerated from `rules/`. `keyward rules explain NAME` tells more of each: why it matters, what to do, and what \
         it looks at.\n",
    );
    for (kind, title) in [
        (SubjectKind::KeySet, "Key sets"),
        (SubjectKind::Key, "Keys"),
        (SubjectKind::AccountRegion, "Regions of accounts"),
        (SubjectKind::Trail, "Trails"),
        (SubjectKind::Event, "Events"),
    ] {
        let rules: Vec<&Rule> = rules.rules().iter().filter(|rule| rule.kind == kind).collect();
        if rules.is_empty() {
            continue;
        }
        write!(
            page,
            "\n## {title}\n\n| rule | level | what it finds | controls |\n| --- | --- | --- | --- |\n"
        )?;
        for rule in rules {
            let controls: Vec<String> =
                rule.controls.iter().map(|(name, ids)| format!("{name}: {}", ids.join(", "))).collect();
            let description =
                rule.description.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|");
            let controls = controls.join("; ");
            writeln!(
                page,
                "| `{}` | {} | **{}.** {description} | {controls} |",
                rule.name, rule.level, rule.title
            )?;
        }
    }
    Ok(page)
}
