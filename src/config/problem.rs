//! What is wrong with a configuration, and where.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use thiserror::Error;

use super::{Config, Loaded};

/// Whether a problem stands in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// It can be used, and may not do what was meant.
    Warning,
}

/// One thing about one setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Whether it stands in the way.
    pub severity: Severity,
    /// Where: `FILE:LINE`, the file, or the environment variable.
    pub place: String,
    /// The setting's path, such as `sns[0].topic`; empty where the file as a whole is meant.
    pub setting: String,
    /// What is wrong and what to do about it.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { severity, place, setting, message } = self;
        write!(f, "{place}: ")?;
        if *severity == Severity::Warning {
            f.write_str("warning: ")?;
        }
        if !setting.is_empty() {
            write!(f, "`{setting}`: ")?;
        }
        f.write_str(message)
    }
}

/// Why a configuration cannot be used: every problem and warning, in the order of the file, then of the
/// environment.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct ConfigError {
    /// What is wrong; at least one is a [`Severity::Error`].
    pub problems: Vec<Problem>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.problems.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

/// Where a setting was given. Lines sort before variables.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// The file as a whole.
    File,
    /// A line of the file, from 1.
    Line(usize),
    /// An environment variable.
    Variable(String),
}

/// Problems as they are found, and where every setting was given.
pub(super) struct Report {
    file: String,
    places: BTreeMap<String, Place>,
    blamed: BTreeSet<String>,
    found: Vec<(Place, Problem)>,
}

impl Report {
    pub(super) fn new(file: &str) -> Self {
        Self { file: file.to_owned(), places: BTreeMap::new(), blamed: BTreeSet::new(), found: Vec::new() }
    }

    /// Remembers where a setting was given.
    pub(super) fn given(&mut self, setting: &str, place: Place) {
        self.places.insert(setting.to_owned(), place);
    }

    /// Forgets where a setting and everything below it was given: it is given anew. What was wrong with it
    /// stays said.
    pub(super) fn forget(&mut self, setting: &str) {
        let is_below = |path: &str| {
            path.strip_prefix(setting).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        self.places.retain(|path, _| !is_below(path));
        self.blamed.retain(|path| !is_below(path));
    }

    /// Silences later problems of a setting: what is wrong with it has been said.
    pub(super) fn blame(&mut self, setting: &str) {
        self.blamed.insert(setting.to_owned());
    }

    pub(super) fn error(&mut self, setting: &str, message: String) {
        let place = self.place_of(setting);
        self.at(place, Severity::Error, setting, message);
    }

    pub(super) fn warning(&mut self, setting: &str, message: String) {
        let place = self.place_of(setting);
        self.at(place, Severity::Warning, setting, message);
    }

    /// An error of a setting at a place of its own, after which no more is said of it.
    pub(super) fn error_at(&mut self, place: Place, setting: &str, message: String) {
        self.at(place, Severity::Error, setting, message);
        if !setting.is_empty() {
            self.blame(setting);
        }
    }

    fn at(&mut self, place: Place, severity: Severity, setting: &str, message: String) {
        if self.blamed.contains(setting) {
            return;
        }
        let at = match &place {
            Place::File => self.file.clone(),
            Place::Line(line) => format!("{}:{line}", self.file),
            Place::Variable(name) => name.clone(),
        };
        self.found.push((place, Problem { severity, place: at, setting: setting.to_owned(), message }));
    }

    /// Where a setting was given, else the nearest part of the configuration that holds it.
    fn place_of(&self, setting: &str) -> Place {
        let mut path = setting;
        loop {
            if let Some(place) = self.places.get(path) {
                return place.clone();
            }
            match path.rfind(['.', '[']).and_then(|at| path.get(..at)) {
                Some(parent) => path = parent,
                None => return Place::File,
            }
        }
    }

    /// The configuration, if nothing is wrong with it.
    pub(super) fn finish(self, config: Config) -> Result<Loaded, ConfigError> {
        let error = self.into_error();
        if error.problems.iter().any(|problem| problem.severity == Severity::Error) {
            return Err(error);
        }
        Ok(Loaded { config, warnings: error.problems })
    }

    pub(super) fn into_error(mut self) -> ConfigError {
        self.found.sort_by(|(left, _), (right, _)| left.cmp(right));
        ConfigError { problems: self.found.into_iter().map(|(_, problem)| problem).collect() }
    }
}
