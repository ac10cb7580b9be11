//! `keyward config check`: is the configuration right, and what is doubtful about it.

use std::io;
use std::path::{Path, PathBuf};

use super::{Exit, setup};
use crate::config::{self, Config, Loaded};
use crate::jurisdiction::Atlas;
use crate::report::counted;

/// `keyward config …`
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Tell everything that is wrong with a configuration, or that it is fine
    Check {
        /// The configuration
        #[arg(long, short, value_name = "FILE", env = "KEYWARD_CONFIG")]
        config: Option<PathBuf>,
    },
}

pub(super) fn run(command: &Command, out: &mut dyn io::Write) -> anyhow::Result<Exit> {
    let Command::Check { config } = command;
    let usable = check(config.as_deref(), config::environment(), &setup::atlas()?, out)?;
    Ok(if usable { Exit::Fine } else { Exit::Usage })
}

/// Reads and checks a configuration as `keyward run` would, and writes what was found: every problem on a
/// line of its own, with its place.
///
/// Returns whether the configuration can be used; warnings do not stand in the way.
///
/// # Errors
/// If `out` cannot be written to.
pub fn check(
    path: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
    atlas: &Atlas,
    out: &mut dyn io::Write,
) -> io::Result<bool> {
    let name = path.map_or_else(|| "the environment".to_owned(), |path| path.display().to_string());
    match Config::read(path, environment, atlas) {
        Ok(Loaded { config, warnings }) => {
            for warning in &warnings {
                writeln!(out, "{warning}")?;
            }
            writeln!(out, "{name}: fine: {}", summary(&config))?;
            Ok(true)
        }
        Err(error) => {
            writeln!(out, "{error}")?;
            Ok(false)
        }
    }
}

/// What would be audited and where it would be told, in one line.
fn summary(config: &Config) -> String {
    let accounts = match (config.accounts.organization, config.accounts.fixed.len()) {
        (true, _) => "every account of the organization".to_owned(),
        (false, 0) => "the caller's own account".to_owned(),
        (false, number) => counted(number, "account"),
    };
    let regions = match config.regions.include.len() {
        0 => "every enabled Region".to_owned(),
        number => counted(number, "Region"),
    };
    let residency = counted(config.residency.len(), "residency assignment");
    let topics = counted(config.sns.len(), "topic");
    format!("{accounts}, {regions}, {residency}, {topics}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(text: &str, environment: &[(&str, &str)]) -> (bool, String) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keyward.toml");
        std::fs::write(&path, text).unwrap();
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let mut out = Vec::new();
        let fine = check(Some(&path), environment, &Atlas::builtin().unwrap(), &mut out).unwrap();
        (fine, String::from_utf8(out).unwrap().replace(&path.display().to_string(), "keyward.toml"))
    }

    #[test]
    fn a_good_file_is_summed_up() {
        assert_eq!(
            run("regions.include = ['eu-central-1']\n[[residency]]\nboundary = 'eea'", &[]),
            (
                true,
                "keyward.toml: fine: the caller's own account, 1 Region, 1 residency assignment, 0 topics\n"
                    .to_owned()
            )
        );
        let (_, organization) = run("accounts = { organization = true, role = 'R' }", &[]);
        assert!(organization.contains("every account of the organization, every enabled Region"));
        let (_, two) = run("accounts = { static = ['111122223333', '444455556666'], role = 'R' }", &[]);
        assert!(two.contains("fine: 2 accounts,"));
    }

    #[test]
    fn a_warning_is_written_and_does_not_stand_in_the_way() {
        let (fine, out) = run("regions.include = ['xx-nowhere-1']", &[]);
        assert!(fine);
        assert!(out.starts_with("keyward.toml:1: warning: `regions.include`: "), "{out}");
        assert_eq!(out.lines().count(), 2);
    }

    #[test]
    fn every_problem_is_a_line_of_the_file_or_a_variable() {
        let (fine, out) = run("[http]\nlisen = 'x'\n", &[("KEYWARD__ALERTS__REMINDER_HOURS", "-1")]);
        assert!(!fine);
        assert_eq!(
            out.lines().collect::<Vec<_>>(),
            [
                "keyward.toml:2: `http.lisen`: there is no such setting; did you mean `listen`?",
                "KEYWARD__ALERTS__REMINDER_HOURS: `alerts.reminder_hours`: -1 is not within 0 to 31536000",
            ]
        );
    }

    #[test]
    fn without_a_file_the_environment_is_checked() {
        let mut out = Vec::new();
        assert!(check(None, [], &Atlas::builtin().unwrap(), &mut out).unwrap());
        assert!(String::from_utf8(out).unwrap().starts_with("the environment: fine: "));
    }
}
