//! Frameworks: which controls there are, and what they are about. The data is in `rules/frameworks/`.

use serde::{Deserialize, Serialize};
use thiserror::Error;

#[derive(rust_embed::RustEmbed)]
#[folder = "rules/frameworks"]
struct Files;

/// Why a framework is not to be had.
#[derive(Debug, Error)]
pub enum FrameworkError {
    /// There is no mapping to it.
    #[error("there is no framework `{name}`; there are {known}")]
    NotFound {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// The file cannot be read.
    #[error("rules/frameworks/{name}.yml: {message}")]
    Malformed {
        /// The framework.
        name: String,
        /// What is wrong, and where.
        message: String,
    },
}

/// A framework, as a report begins with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrameworkHead {
    /// Its short name, as in the rules' `controls`.
    pub id: String,
    /// Its full name.
    pub title: String,
    /// The edition of the framework that is mapped to.
    pub edition: String,
    /// The version of the mapping.
    pub version: u32,
    /// The date of the mapping, `YYYY-MM-DD`.
    pub date: String,
    /// Where the framework's own text is.
    pub source: String,
    /// What the mapping is and is not.
    pub disclaimer: String,
}

/// One control.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Control {
    /// Its id: `Art. 44`, `A.8.24`.
    pub id: String,
    /// What it is about, in our own words.
    pub title: String,
    /// What Keyward checks for it.
    #[serde(default)]
    pub checks: String,
}

/// A framework with its controls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Framework {
    /// What it is.
    #[serde(flatten)]
    pub head: FrameworkHead,
    /// Its controls, in the framework's order.
    pub controls: Vec<Control>,
}

/// The short names of all frameworks, sorted.
pub fn names() -> Vec<String> {
    let mut names: Vec<String> =
        Files::iter().filter_map(|file| file.strip_suffix(".yml").map(str::to_owned)).collect();
    names.sort();
    names
}

/// The framework of that short name.
///
/// # Errors
///
/// There is none, or its file is malformed.
pub fn find(name: &str) -> Result<Framework, FrameworkError> {
    let file = Files::get(&format!("{name}.yml"))
        .ok_or_else(|| FrameworkError::NotFound { name: name.to_owned(), known: names().join(", ") })?;
    serde_saphyr::from_str(&String::from_utf8_lossy(&file.data))
        .map_err(|error| FrameworkError::Malformed { name: name.to_owned(), message: error.to_string() })
}
