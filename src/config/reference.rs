//! `docs/configuration.md`, written from the table of settings.

use std::fmt::Write as _;

use super::fields::{FIELDS, Field, Preset, SECTIONS, Section};
use super::overrides::variable;

const HEAD: &str = r#"<!-- Written from src/config/fields.rs. After a change there: cargo run --example docs -->

# Configuration

Keyward is configured by one file, `keyward.toml`. Every section and every setting may be left out, unless it says
*required*. `keyward config check` reads the file and says everything that is wrong with it at once, with the line.

```toml
[accounts]
organization = true
role = "KeywardReader"
external_id = "an-id-of-your-choice"

[policy]
max_rotation_period_days = 365
classification_tag = "data-class"

[[residency]]                               # the first that matches counts
boundary = "eea"
home = ["DE"]
match = { tags = { data-class = "personal-eu" } }

[[residency]]
boundary = "sg"
match = { aliases = "^sg/" }

[[sns]]
topic = "arn:aws:sns:eu-central-1:111122223333:keyward-alerts.fifo"
min_level = "high"
```

**Environment.** `KEYWARD__SECTION__FIELD` goes over the file: `KEYWARD__STORE__URL=postgres://db/keyward`. Text is
taken as it is; anything else is TOML: `KEYWARD__INVENTORY__INTERVAL_SECS=600`,
`KEYWARD__REGIONS__INCLUDE='["eu-central-1"]'`. A section of which there can be several is replaced as a whole:
`KEYWARD__SNS='[{ topic = "arn:…" }]'`. A name that begins with `KEYWARD__` and names no setting is an error.

**AWS.** Credentials, the Region of the first call, proxies and endpoints (`AWS_ENDPOINT_URL*`) come from the SDK's own
chain; Keyward has no settings for them.
"#;

/// The text of `docs/configuration.md`.
pub fn reference() -> String {
    let mut text = HEAD.to_owned();
    for section in SECTIONS {
        text.push_str(&section_text(section));
    }
    text
}

fn section_text(section: &Section) -> String {
    let heading = section.path.strip_suffix("[]").map_or_else(
        || format!("[{}]", section.path.replace("[]", "")),
        |repeated| format!("[[{repeated}]]"),
    );
    let mut text = format!("\n## `{heading}`\n\n{}\n", section.meaning);
    text.push_str("\n| setting | value | default | meaning |\n| --- | --- | --- | --- |\n");
    for field in FIELDS.iter().filter(|field| field.section() == section.path) {
        text.push_str(&row(field));
    }
    if let Some(path) = section.path.strip_suffix("[]") {
        // Writing to a text cannot fail.
        _ = writeln!(text, "\nEnvironment: `{}`, for all of them together.", variable(path));
    }
    text
}

fn row(field: &Field) -> String {
    let default = match field.default {
        Preset::Required => "*required*".to_owned(),
        Preset::Unset => "unset".to_owned(),
        Preset::Value(value) => format!("`{value}`"),
    };
    let name = field.name();
    format!("| `{name}` | {} | {default} | {} |\n", field.kind.describe(), field.meaning.replace('|', "\\|"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_is_documented_in_a_section_of_its_own_path() {
        let text = reference();
        for field in FIELDS {
            assert!(SECTIONS.iter().any(|section| section.path == field.section()), "{}", field.path);
            assert!(text.contains(&row(field)), "{}", field.path);
            assert!(field.meaning.ends_with('.') && field.meaning.len() > 10, "{}", field.path);
        }
    }

    #[test]
    fn the_example_is_a_configuration_without_warnings() {
        let example = HEAD.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
        let atlas = crate::jurisdiction::Atlas::builtin().unwrap();
        let loaded = crate::config::Config::load(example, "example", [], &atlas).unwrap();
        assert_eq!(loaded.warnings, []);
        assert_eq!(loaded.config.residency.len(), 2);
    }
}
