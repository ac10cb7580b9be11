//! The command line: one file a command.

pub mod config;
#[cfg(feature = "sandbox")]
mod demo;
mod evidence;
mod pages;
mod replay;
mod report;
mod rule_files;
pub mod rules;
mod run;
mod scan;
pub(crate) mod setup;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use tracing_subscriber::EnvFilter;

pub use pages::generated_pages;

/// How a command ended, as exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// All is well.
    Fine = 0,
    /// There are findings at or above `--fail-on`.
    Findings = 1,
    /// The command line or the configuration is wrong.
    Usage = 2,
    /// Not everything could be read; what could not was said.
    Incomplete = 3,
    /// It failed.
    Failed = 4,
}

/// What the caller has to put right: a wrong option, configuration or rule.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);

/// Audits AWS KMS across every Region and account: where each key, and every copy of it, can be used, by
/// whom, whether it has been, and whether that was allowed.
///
/// Exit codes: 0 fine, 1 findings at or above --fail-on, 2 usage or configuration, 3 not everything could be
/// read, 4 failed.
#[derive(Debug, Parser)]
#[command(name = "keyward", version, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// What is logged, as in `info`, `debug` or `keyward::collect=debug,warn`
    #[arg(long, global = true, env = "KEYWARD_LOG", default_value = "info", value_name = "FILTER")]
    log: String,
    /// How it is logged, to standard error
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon
    Run(run::Args),
    /// Show everything on a built-in AWS: nothing is needed but this program
    #[cfg(feature = "sandbox")]
    Demo(demo::Args),
    /// Audit once and print what was found
    Scan(scan::Args),
    /// Judge log files, from disk or a bucket
    Replay(replay::Args),
    /// Write a report for auditors
    Report(report::Args),
    /// Prove that the record is whole
    #[command(subcommand)]
    Evidence(evidence::Command),
    /// List, check, test and explain rules
    #[command(subcommand)]
    Rules(rules::Command),
    /// Check the configuration
    #[command(subcommand)]
    Config(config::Command),
}

/// Parses the command line, runs the command, and tells how it ended.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let ended = start_logging(&cli.log, cli.log_format).and_then(|()| run_command(cli.command));
    let exit = ended.unwrap_or_else(|error| {
        // What ended the program is said even where logging is switched off.
        let _unheard = writeln!(io::stderr(), "keyward: {error:#}");
        if error.is::<UsageError>() { Exit::Usage } else { Exit::Failed }
    });
    ExitCode::from(exit as u8)
}

fn run_command(command: Command) -> anyhow::Result<Exit> {
    match command {
        Command::Run(args) => in_runtime(run::run(args)),
        #[cfg(feature = "sandbox")]
        Command::Demo(args) => in_runtime(demo::run(args)),
        Command::Scan(args) => in_runtime(scan::run(args)),
        Command::Replay(args) => in_runtime(replay::run(args)),
        Command::Report(args) => in_runtime(report::run(args)),
        Command::Evidence(command) => in_runtime(evidence::run(command)),
        Command::Rules(command) => rules::run(&command, &mut stdout()),
        Command::Config(command) => config::run(&command, &mut stdout()),
    }
}

fn in_runtime(command: impl Future<Output = anyhow::Result<Exit>>) -> anyhow::Result<Exit> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(command)
}

/// Standard output; colours are dropped where it is no terminal or `NO_COLOR` is set.
fn stdout() -> impl Write {
    anstream::AutoStream::auto(io::stdout())
}

fn start_logging(filter: &str, format: LogFormat) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(filter).map_err(|error| {
        UsageError(format!("--log {filter}: {error}; one looks like `info` or `keyward::collect=debug,warn`"))
    })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    // A second start, as in tests, keeps the first.
    let _kept = match format {
        LogFormat::Text => builder.with_target(false).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
