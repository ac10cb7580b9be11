//! `keyward evidence`: what proves that the record is whole.

use std::collections::BTreeMap;
use std::io::{BufWriter, IsTerminal, Write as _, stderr, stdout};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};
use clap::{Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressDrawTarget};

use super::setup::ConfigArgs;
use super::{Exit, UsageError};
use crate::clock;
use crate::collect::{self, Chain, Collector, LogSource, Target, Unwatched, Watch, due};
use crate::integrity::{PublicKeys, TrailState, Window};
use crate::model::{AccountId, Region, TrailSnapshot};
use crate::report::logs::{LogResult, LogScope, LogVerification};

/// How a place begins that is a bucket's.
const S3: &str = "s3://";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Verify that CloudTrail's log files are all there and unchanged, by its digest files
    VerifyLogs(Args),
}

/// Options of `keyward evidence verify-logs`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// `s3://BUCKET/PREFIX`, or a copy of such on disk
    #[arg(value_name = "PLACE", required_unless_present = "trail_arn", conflicts_with = "trail_arn")]
    place: Option<String>,
    /// The trail whose log files are verified where it delivers them
    #[arg(long, value_name = "ARN")]
    trail_arn: Option<String>,
    /// The log files delivered from this time on, in RFC 3339; without it, those of the last day before the end, and
    /// all of a copy
    #[arg(long, value_name = "TIME")]
    start_time: Option<DateTime<Utc>>,
    /// The log files delivered until this time; without it, until now
    #[arg(long, value_name = "TIME")]
    end_time: Option<DateTime<Utc>>,
    /// Those of this account only
    #[arg(long, value_name = "ACCOUNT")]
    account_id: Option<AccountId>,
    /// Those of this Region only
    #[arg(long)]
    region: Option<Region>,
    /// CloudTrail's public keys, as `aws cloudtrail list-public-keys` prints them; without it, CloudTrail is asked
    #[arg(long, value_name = "FILE")]
    public_keys: Option<PathBuf>,
    /// How the result is printed
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
}

pub(super) async fn run(command: Command) -> anyhow::Result<Exit> {
    let Command::VerifyLogs(args) = command;
    let keys = args.public_keys.as_deref().map(read_keys).transpose()?;
    let now = clock::now();
    let to = args.end_time.unwrap_or(now);
    let config = args.config.read()?;
    let is_copy = args.place.as_ref().is_some_and(|place| !place.starts_with(S3));
    let sdk = if is_copy && keys.is_some() {
        collect::sdk_config_for_no_calls().await
    } else {
        collect::sdk_config().await
    };
    let collector = Collector::new(&config, sdk, BTreeMap::new(), Arc::new(Unwatched));
    let place = find(&args, &collector, keys.is_some()).await?;
    let first = if is_copy { DateTime::UNIX_EPOCH } else { to - TimeDelta::days(1) };
    let from = args.start_time.unwrap_or(first);
    if from > to {
        return Err(UsageError(format!("--start-time {from} is after the end, {to}")).into());
    }
    let scope = LogScope { generated_at: now, source: place.name(), trail: args.trail_arn.clone(), from, to };
    let verification = verify(&args, &collector, &place, keys, scope).await?;
    print(&verification, args.format)?;
    Ok(match verification.result() {
        LogResult::Verified => Exit::Fine,
        LogResult::Defects => Exit::Findings,
        LogResult::Incomplete => Exit::Incomplete,
    })
}

fn read_keys(path: &Path) -> anyhow::Result<PublicKeys> {
    let wrong =
        |error: &dyn std::fmt::Display| UsageError(format!("--public-keys {}: {error}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| wrong(&error))?;
    Ok(collect::public_keys_in(&text).map_err(|error| wrong(&error))?)
}

/// Where the log files are.
enum Place {
    Bucket {
        account: AccountId,
        partition: String,
        region: Region,
        name: String,
        prefix: String,
        trail: Option<Box<TrailSnapshot>>,
    },
    Copy {
        path: PathBuf,
        own: Option<AccountId>,
    },
}

impl Place {
    fn name(&self) -> String {
        match self {
            Self::Bucket { name, prefix, .. } => format!("s3://{name}/{prefix}"),
            Self::Copy { path, .. } => path.display().to_string(),
        }
    }

    fn prefix(&self) -> &str {
        match self {
            Self::Bucket { prefix, .. } => prefix,
            Self::Copy { .. } => "",
        }
    }

    fn source(&self) -> LogSource<'_> {
        match self {
            Self::Bucket { account, region, name, .. } => LogSource::Bucket { account, region, name },
            Self::Copy { path, .. } => LogSource::Disk(path),
        }
    }
}

async fn find(args: &Args, collector: &Collector, has_keys: bool) -> anyhow::Result<Place> {
    if let Some(arn) = &args.trail_arn {
        return find_trail(arn, collector).await;
    }
    let place = args.place.as_deref().unwrap_or_default();
    let Some(bucket) = place.strip_prefix(S3) else {
        let path = PathBuf::from(place);
        if !path.is_dir() {
            return Err(UsageError(format!("{place} is no folder; give one, or s3://BUCKET/PREFIX")).into());
        }
        let own = if has_keys { None } else { Some(collector.identify().await?.account) };
        return Ok(Place::Copy { path, own });
    };
    let caller = collector.identify().await?;
    let (name, prefix) = bucket.split_once('/').unwrap_or((bucket, ""));
    // Up to `AWSLogs/`, however deep into it the place leads.
    let prefix = prefix.split("AWSLogs").next().unwrap_or_default().trim_end_matches('/');
    let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
    let region = collector.region().context("AWS_REGION is not a Region's name")?;
    let (account, partition) = (caller.account, caller.partition);
    Ok(Place::Bucket { account, partition, region, name: name.to_owned(), prefix, trail: None })
}

/// The bucket that a trail delivers to, as its home Region shows it.
async fn find_trail(arn: &str, collector: &Collector) -> anyhow::Result<Place> {
    let wrong = || {
        let like = "arn:aws:cloudtrail:eu-central-1:111122223333:trail/name";
        UsageError(format!("--trail-arn {arn} is no trail's ARN; one looks like {like}"))
    };
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let ["arn", partition, "cloudtrail", region, account, name] = parts.as_slice() else {
        return Err(wrong().into());
    };
    let (Ok(region), Ok(account), true) = (region.parse(), account.parse(), name.starts_with("trail/"))
    else {
        return Err(wrong().into());
    };
    let caller = collector.identify().await?;
    if account != caller.account {
        collector.assume(&account, partition).await?;
    }
    let partition = (*partition).to_owned();
    let trail = trail_in(collector, Target { account, region, partition: partition.clone() }, arn).await;
    let (target, trail) = trail.map_err(|why| anyhow::anyhow!("the trail {arn} could not be read: {why}"))?;
    let trail = trail.ok_or_else(|| UsageError(format!("there is no trail {arn}")))?;
    let name = trail.bucket.clone().with_context(|| format!("the trail {arn} delivers to no bucket"))?;
    let prefix = trail.key_prefix.as_ref().map_or(String::new(), |prefix| format!("{prefix}/"));
    Ok(Place::Bucket {
        account: target.account,
        partition,
        region: target.region,
        name,
        prefix,
        trail: Some(Box::new(trail)),
    })
}

async fn trail_in(
    collector: &Collector,
    target: Target,
    arn: &str,
) -> Result<(Target, Option<TrailSnapshot>), String> {
    let sample = collector.trails(&target).await;
    if let Some(gap) = sample.trails.gap() {
        return Err(gap.to_string());
    }
    let mut found = sample.trails.known().into_iter().flatten().filter(|trail| trail.arn == arn);
    let trail = found.next().cloned();
    Ok((target, trail))
}

async fn verify(
    args: &Args,
    collector: &Collector,
    place: &Place,
    keys: Option<PublicKeys>,
    scope: LogScope,
) -> anyhow::Result<LogVerification> {
    let own = if let Place::Copy { own, .. } = place { own.as_ref() } else { None };
    let reader = collector.logs(place.source(), keys, own).map_err(anyhow::Error::msg)?;
    let watch = Progress::new();
    let (mut unread, mut found) = (Vec::new(), Vec::new());
    let chains = match reader.chains(place.prefix()).await {
        Ok(chains) => chains,
        Err(why) => {
            unread.push(format!("{}: {why}", place.name()));
            Vec::new()
        }
    };
    for chain in chains.into_iter().filter(|chain| is_wanted(args, chain)) {
        let window = window(args, collector, place, &chain, &scope).await;
        match reader.verify(&chain, window, true, &watch).await {
            Ok(report) => found.push((chain, report)),
            Err(why) => unread.push(format!("{} {}: {why}", chain.account, chain.region)),
        }
    }
    watch.0.finish_and_clear();
    Ok(LogVerification::new(scope, found, unread, reader.readings()))
}

fn is_wanted(args: &Args, chain: &Chain) -> bool {
    let is_of_trail = |arn: &String| {
        arn.ends_with(&format!(":trail/{}", chain.trail)) && arn.contains(&format!(":{}:", chain.home))
    };
    args.account_id.as_ref().is_none_or(|account| *account == chain.account)
        && args.region.as_ref().is_none_or(|region| *region == chain.region)
        && args.trail_arn.as_ref().is_none_or(is_of_trail)
}

/// The window of one chain, with what its trail says of itself in that Region.
async fn window(
    args: &Args,
    collector: &Collector,
    place: &Place,
    chain: &Chain,
    scope: &LogScope,
) -> Window {
    let window = Window::new(scope.from, scope.to);
    match place {
        Place::Copy { .. } => {
            let due = args.end_time.map(|end| end - TimeDelta::hours(1));
            Window { due, ..window }
        }
        Place::Bucket { account, partition, trail: Some(trail), .. } if chain.account == *account => {
            let (region, partition) = (chain.region.clone(), partition.clone());
            let target = Target { account: account.clone(), region, partition };
            let shown = trail_in(collector, target, &trail.arn).await;
            let shown = shown.ok().and_then(|(_, trail)| trail);
            let state = shown.as_ref().map_or(TrailState::Unknown, TrailState::of);
            let shown = shown.as_ref().unwrap_or(trail);
            Window { due: due(Some(shown), scope.to, scope.generated_at), trail: state, ..window }
        }
        Place::Bucket { .. } => Window { due: due(None, scope.to, scope.generated_at), ..window },
    }
}

/// A count on standard error, where that is a terminal.
struct Progress(ProgressBar);

impl Progress {
    fn new() -> Self {
        let target =
            if stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target);
        bar.enable_steady_tick(Duration::from_millis(200));
        Self(bar)
    }
}

impl Watch for Progress {
    fn digest(&self) {
        self.0.inc(1);
    }

    fn log(&self, _key: &str) {
        self.0.inc(1);
    }
}

fn print(verification: &LogVerification, format: Format) -> std::io::Result<()> {
    let mut out = BufWriter::new(super::stdout());
    match format {
        Format::Table => {
            let width = stdout().is_terminal().then(comfy_table::Table::new).and_then(|table| table.width());
            verification.write_table(&mut out, width)
        }
        Format::Json => verification.write_json(&mut out),
    }?;
    out.flush()
}
