//! `keyward.toml`: what is audited, by which policy, and where results go.
//!
//! A configuration is read once, up front, and everything that is wrong with it is said at once, each with
//! its place and the remedy: keys that do not exist, values of the wrong kind ([`fields`] is the one table
//! of both, and of the documentation), then what does not fit together. Environment variables
//! `KEYWARD__SECTION__FIELD` go over the file.

pub mod fields;

mod checks;
mod overrides;
mod problem;
mod queue_url;
mod reference;
mod settings;
mod shape;

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

pub use crate::jurisdiction::{ResidencyAssignment, ResidencyMatch};
pub use problem::{ConfigError, Problem, Severity};
pub use queue_url::QueueUrl;
pub use reference::reference;
pub use settings::{
    Accounts, Alerts, AuditPolicy, Config, Http, Inventory, Lookup, Queue, Regions, RulesConfig, SnsTopic,
    StoreConfig, Trails,
};

use crate::jurisdiction::Atlas;
use problem::Report;

/// A configuration that can be used, with what is doubtful about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What somebody should look at, though nothing is wrong with it.
    pub warnings: Vec<Problem>,
}

impl Config {
    /// Reads a file, puts the environment over it and checks the whole. Without a file, the defaults and
    /// the environment alone.
    ///
    /// # Errors
    /// If the file cannot be read, and with every problem that [`Config::load`] finds.
    pub fn read(
        path: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        atlas: &Atlas,
    ) -> Result<Loaded, ConfigError> {
        let Some(path) = path else { return Self::load("", "the environment", environment, atlas) };
        let file = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => Self::load(&text, &file, environment, atlas),
            Err(error) => {
                let mut report = Report::new(&file);
                report.error("", format!("the file cannot be read: {error}"));
                Err(report.into_error())
            }
        }
    }

    /// Reads a text, puts the environment over it and checks the whole; `file` is the text's name in
    /// messages.
    ///
    /// # Errors
    /// With every problem of the text, of the environment and of what they mean together.
    pub fn load(
        text: &str,
        file: &str,
        environment: impl IntoIterator<Item = (String, String)>,
        atlas: &Atlas,
    ) -> Result<Loaded, ConfigError> {
        let mut report = Report::new(file);
        let mut table = shape::read_file(text, &mut report);
        // Sorted, so that the same environment gives the same messages.
        let environment: BTreeMap<String, String> = environment.into_iter().collect();
        overrides::apply(&environment, &mut table, &mut report);
        match Self::deserialize(table) {
            Ok(config) => {
                checks::check(&config, atlas, &mut report);
                report.finish(config)
            }
            Err(error) => {
                report.error("", error.message().to_owned());
                Err(report.into_error())
            }
        }
    }
}

/// The process's environment variables that are overrides; names and values that are no Unicode are taken
/// with their odd characters replaced, so that they are refused by name rather than passed over.
pub fn environment() -> Vec<(String, String)> {
    std::env::vars_os()
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
        .filter(|(name, _)| name.starts_with(overrides::PREFIX))
        .collect()
}

#[cfg(test)]
mod iam_tests;
#[cfg(test)]
mod tests;
