//! What several commands need: the configuration, what to judge by, and the connection to AWS.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;

use super::UsageError;
use super::rule_files::files_at;
use crate::audit::Standards;
use crate::collect;
use crate::config::{self, Config};
use crate::facts::OwnIdentity;
use crate::findings::Exceptions;
use crate::jurisdiction::{Assignments, Atlas};
use crate::model::Region;
use crate::rules::{RuleErrors, RuleFile, RuleSet, builtin_files};

/// Options of every command that reads `keyward.toml`.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct ConfigArgs {
    /// The configuration; without one, the caller's own account is audited by the defaults
    #[arg(long, short, value_name = "FILE", env = "KEYWARD_CONFIG")]
    pub(super) config: Option<PathBuf>,
}

impl ConfigArgs {
    /// Reads the file, lays the environment over it, and checks the whole; says what is doubtful.
    pub(super) fn read(&self) -> anyhow::Result<Config> {
        let atlas = atlas()?;
        let loaded = Config::read(self.config.as_deref(), config::environment(), &atlas)
            .map_err(|error| UsageError(error.to_string()))?;
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        Ok(loaded.config)
    }
}

pub(super) fn atlas() -> anyhow::Result<Atlas> {
    Atlas::builtin().context("the built-in jurisdictions")
}

/// What a configuration says to judge by. A rule of one's own that holds a mistake is left out; that is logged,
/// counted and shown, and the others are in force.
pub(crate) fn standards(config: &Config) -> anyhow::Result<Standards> {
    let standards = standards_beside_mistakes(config)?;
    for error in &standards.mistakes {
        tracing::error!("a rule is left out: {error}");
    }
    Ok(standards.standards)
}

/// The same, but any mistake in a rule is an error: while others stand in force, nothing is gained by leaving a
/// rule out of them.
pub(crate) fn standards_without_mistakes(config: &Config) -> anyhow::Result<Standards> {
    let StandardsBeside { standards, mistakes } = standards_beside_mistakes(config)?;
    if mistakes.is_empty() { Ok(standards) } else { Err(UsageError(mistakes.to_string()).into()) }
}

/// What to judge by, and what is wrong with the rules that are left out.
struct StandardsBeside {
    standards: Standards,
    mistakes: RuleErrors,
}

fn standards_beside_mistakes(config: &Config) -> anyhow::Result<StandardsBeside> {
    let atlas = Arc::new(atlas()?);
    let assignments =
        Assignments::compile(&config.residency, &atlas).map_err(|error| UsageError(error.to_string()))?;
    let mut files = builtin_files();
    let builtin = files.len();
    if !config.rules.dirs.is_empty() {
        files.extend(files_at(&config.rules.dirs).map_err(|error| UsageError(format!("{error:#}")))?);
    }
    let (rules, errors) = RuleSet::load(&files, &config.rules.disable);
    if !rules.foreign().is_empty() {
        tracing::info!(count = rules.foreign().len(), "rules for other products are left out");
    }
    for foreign in rules.foreign() {
        tracing::debug!("{foreign}");
    }
    let own_paths: BTreeSet<&str> = files.iter().skip(builtin).map(|file| file.path.as_str()).collect();
    let (mistakes, fatal) = errors.0.into_iter().partition(|error| own_paths.contains(error.path.as_str()));
    let (mistakes, fatal) = (RuleErrors(mistakes), RuleErrors(fatal));
    if !fatal.is_empty() {
        return Err(UsageError(fatal.to_string()).into());
    }
    let exceptions = exceptions(config, &files)?;
    let own = OwnIdentity {
        role: config.accounts.role.clone(),
        session: collect::SESSION_NAME.to_owned(),
        user_agent: collect::USER_AGENT_MARK.to_owned(),
    };
    let rules = Arc::new(rules);
    let standards = Standards { atlas, assignments, policy: config.policy.clone(), rules, exceptions, own };
    Ok(StandardsBeside { standards, mistakes })
}

/// The exceptions on record. They may name any rule that there is, also one that is disabled or left out.
fn exceptions(config: &Config, files: &[RuleFile]) -> anyhow::Result<Exceptions> {
    let Some(path) = &config.rules.exceptions else { return Ok(Exceptions::default()) };
    let text = std::fs::read_to_string(path)
        .map_err(|error| UsageError(format!("cannot read {}: {error}", path.display())))?;
    let (all, _) = RuleSet::load(files, &[]);
    let names =
        all.rules().iter().map(|rule| rule.name.clone()).chain(all.left_out().iter().cloned()).collect();
    Exceptions::parse(&path.display().to_string(), &text, &names).map_err(|errors| {
        let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
        UsageError(lines.join("\n")).into()
    })
}

/// The Regions of each partition, for where AWS gives no list of them.
pub(crate) fn region_table(atlas: &Atlas) -> BTreeMap<String, Vec<Region>> {
    let mut table: BTreeMap<String, Vec<Region>> = BTreeMap::new();
    for info in atlas.all_regions() {
        table.entry(info.partition.clone()).or_default().push(info.region.clone());
    }
    table
}
