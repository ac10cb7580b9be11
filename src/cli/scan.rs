//! `keyward scan`: one pass over the estate.

use std::io::{BufWriter, IsTerminal, Write as _, stderr, stdout};
use std::sync::Arc;

use clap::ValueEnum;

use super::Exit;
use super::setup::{self, ConfigArgs};
use crate::model::Level;
use crate::report::scan::Scan;
use crate::scan::{ProgressBars, once};
use crate::{clock, collect};

/// Options of `keyward scan`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// How the result is printed
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Exit with 1 if there is a finding at this level or above
    #[arg(long, value_name = "LEVEL")]
    fail_on: Option<Level>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
    Csv,
    Ocsf,
}

pub(super) async fn run(args: Args) -> anyhow::Result<Exit> {
    let config = args.config.read()?;
    let standards = setup::standards(&config)?;
    let progress = Arc::new(ProgressBars::new(stderr().is_terminal()));
    let (auditor, readings) = once(&config, standards, collect::sdk_config().await, progress).await?;
    let scan = Scan::new(&auditor, readings, clock::now());
    print(&scan, args.format)?;
    let worst = scan.worst();
    Ok(if args.fail_on.is_some_and(|level| worst >= Some(level)) {
        Exit::Findings
    } else if scan.is_complete() {
        Exit::Fine
    } else {
        Exit::Incomplete
    })
}

fn print(scan: &Scan<'_>, format: Format) -> std::io::Result<()> {
    // Standard output by itself would be written to line by line, of which there are many thousands.
    let mut out = BufWriter::new(super::stdout());
    match format {
        Format::Table => {
            let width = stdout().is_terminal().then(comfy_table::Table::new).and_then(|table| table.width());
            scan.write_table(&mut out, width)
        }
        Format::Json => scan.write_json(&mut out),
        Format::Csv => scan.write_csv(&mut out),
        Format::Ocsf => scan.write_ocsf(&mut out),
    }?;
    out.flush()
}
