//! `keyward report`: a report from what the daemon has stored.

use std::path::PathBuf;

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use clap::ValueEnum;

use super::setup::{self, ConfigArgs};
use super::{Exit, UsageError};
use crate::audit::{Auditor, Kept};
use crate::model::{Finding, FindingState, Reading};
use crate::report::{self, Material, framework, html};
use crate::store::{FindingFilter, Store};
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
    let as_of = args.as_of.unwrap_or(generated_at);
    if as_of > generated_at {
        return Err(UsageError(format!("--as-of {as_of} is in the future")).into());
    }
    let store = Store::connect(&config.store.url).await?;
    let kept = match args.as_of {
        Some(at) => kept_as_of(&store, at).await?,
        None => pipeline::kept(&store).await?,
    };
    anyhow::ensure!(
        !kept.regions.is_empty(),
        "{} holds no reading from that time; let `keyward run` finish a sweep first",
        store.place()
    );
    let readings: Vec<Reading> = store.readings().await?.into_iter().map(|stored| stored.reading).collect();
    let scope = pipeline::kept_scope(&store).await?;
    let findings = kept.findings.clone();
    let mut auditor = Auditor::new(setup::standards(&config)?, scope);
    auditor.restore(kept, as_of);
    let material =
        Material { auditor: &auditor, findings: &findings, readings: &readings, as_of, generated_at };
    let report = report::build(&framework, &material);
    let text = match args.format {
        Format::Html => html::render(&report)?,
        Format::Json => format!("{}\n", serde_json::to_string_pretty(&report)?),
    };
    write(args.output, &text)?;
    Ok(if report.coverage_gaps.is_empty() { Exit::Fine } else { Exit::Incomplete })
}

/// The estate as it was read at a past time, and the findings that stood then.
async fn kept_as_of(store: &Store, at: DateTime<Utc>) -> anyhow::Result<Kept> {
    let findings = store.findings(&FindingFilter::default()).await?;
    Ok(Kept {
        keys: store.key_snapshots_as_of(at).await?,
        regions: store.region_snapshots_as_of(at).await?,
        findings: findings.into_iter().filter_map(|finding| as_it_stood(finding, at)).collect(),
    })
}

/// A finding as it stood at a past time; none if it was not there yet. One that was resolved later was open.
fn as_it_stood(mut finding: Finding, at: DateTime<Utc>) -> Option<Finding> {
    if finding.first_seen > at {
        return None;
    }
    if finding.resolved_at.is_some_and(|resolved| resolved > at) {
        finding.resolved_at = None;
        finding.state = FindingState::Open;
    }
    finding.last_seen = finding.last_seen.min(at);
    Some(finding)
}

fn write(path: Option<PathBuf>, text: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    match path {
        Some(path) => std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display())),
        None => Ok(std::io::stdout().write_all(text.as_bytes())?),
    }
}
