//! `keyward report`: a report from what the daemon has stored.

use std::path::PathBuf;

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use clap::ValueEnum;

use super::setup::{self, ConfigArgs};
use super::{Exit, UsageError};
use crate::audit::Auditor;
use crate::model::Finding;
use crate::report::{self, Material, as_of, framework, html, proof};
use crate::store::Store;
use crate::{clock, pipeline};

/// Options of `keyward report`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// The framework, such as `gdpr` or `iso27001`
    #[arg(long, short)]
    framework: String,
    /// How the report is written
    #[arg(long, value_enum, default_value_t = Format::Html)]
    format: Format,
    /// The past time that it speaks of, in RFC 3339; without it, now
    #[arg(long, value_name = "TIME")]
    as_of: Option<DateTime<Utc>>,
    /// Where it is written; without it, to standard output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Html,
    Json,
}

pub(super) async fn run(args: Args) -> anyhow::Result<Exit> {
    let framework = framework::find(&args.framework).map_err(|error| UsageError(error.to_string()))?;
    let config = args.config.read()?;
    let generated_at = clock::now();
    let as_of_time = args.as_of.unwrap_or(generated_at);
    if as_of_time > generated_at {
        return Err(UsageError(format!("--as-of {as_of_time} is in the future")).into());
    }
    let store = Store::connect(&config.store.url).await?;
    let kept = match args.as_of {
        Some(at) => as_of::kept(&store, at).await?,
        None => pipeline::kept(&store).await?,
    };
    anyhow::ensure!(
        !kept.regions.is_empty(),
        "{} holds no reading from that time; let `keyward run` finish a sweep first",
        store.place()
    );
    let mut auditor = Auditor::new(setup::standards(&config)?, pipeline::kept_scope(&store).await?);
    let readings = if args.as_of.is_some() {
        let gaps = as_of::gaps(&kept.regions);
        auditor.restore_past(kept, as_of_time);
        gaps
    } else {
        auditor.restore(kept, as_of_time);
        store.readings().await?.into_iter().map(|stored| stored.reading).collect()
    };
    let places = proof::places_outside(&auditor, &store.all_last_uses().await?, as_of_time);
    let ledger = proof::Ledger::read(&store, &places, as_of_time).await?;
    let findings: Vec<Finding> = auditor.findings().cloned().collect();
    let material = Material {
        auditor: &auditor,
        findings: &findings,
        readings: &readings,
        ledger: &ledger,
        as_of: as_of_time,
        generated_at,
    };
    let report = report::build(&framework, &material);
    let text = match args.format {
        Format::Html => html::render(&report)?,
        Format::Json => format!("{}\n", serde_json::to_string_pretty(&report)?),
    };
    write(args.output, &text)?;
    Ok(if report.coverage_gaps.is_empty() { Exit::Fine } else { Exit::Incomplete })
}

fn write(path: Option<PathBuf>, text: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    match path {
        Some(path) => std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display())),
        None => Ok(std::io::stdout().write_all(text.as_bytes())?),
    }
}
