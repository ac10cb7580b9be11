//! What `keyward scan` uses, as a process of its own.

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use keyward::sandbox::Sandbox;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};

use crate::estate::{self, REGIONS};
use crate::limits::Limits;

const ACCOUNT: &str = "111122223333";
/// Keys in each Region.
const KEYS: usize = 500;

/// What Prowler 5 used on such keys with its nine checks of KMS, in seconds of CPU time and in MB.
const PROWLER: Used = Used { cpu_secs: 28.0, peak_mb: 617.0 };
/// At most this share of Prowler's CPU time.
const CPU_SHARE: f64 = 1.0 / 10.0;
/// At most this share of Prowler's peak memory.
const MEMORY_SHARE: f64 = 1.0 / 8.0;

/// How often it is looked how much memory the process has used; the kernel keeps the peak.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// How many clock ticks Linux tells CPU times in, a second.
const TICKS_A_SECOND: f64 = 100.0;

/// What a process used.
#[derive(Debug, Clone, Copy)]
struct Used {
    cpu_secs: f64,
    /// The most memory that it had resident, in MB of 10^6 bytes.
    peak_mb: f64,
}

/// Runs `keyward scan`, and holds what it used to its limits.
pub(crate) async fn measure(limits: &mut Limits) -> anyhow::Result<()> {
    let world = estate::world(&[ACCOUNT.parse()?], KEYS)?;
    let sandbox = Sandbox::start(TcpListener::bind("127.0.0.1:0").await?, world)?;
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("keyward.toml");
    std::fs::write(&config, format!("regions.include = {REGIONS:?}\n"))?;

    let before = cpu_secs_of_children()?;
    let started = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_keyward"))
        .args(["--log", "warn", "scan", "--format", "json", "--config"])
        .arg(&config)
        .env_clear()
        .env("AWS_ENDPOINT_URL", sandbox.endpoint_url())
        .envs([("AWS_ACCESS_KEY_ID", ACCOUNT), ("AWS_SECRET_ACCESS_KEY", "test")])
        .envs([("AWS_REGION", "eu-central-1"), ("AWS_EC2_METADATA_DISABLED", "true")])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let (printed, peak_mb) = watch(&mut child).await?;
    let exit = child.wait().await?;
    let used = Used { cpu_secs: cpu_secs_of_children()? - before, peak_mb };
    println!("  took {:.0} s, half of the quotas used", started.elapsed().as_secs_f64());
    anyhow::ensure!(exit.success(), "the scan ended with {exit}");
    check(&printed)?;
    sandbox.shutdown().await;

    println!("  {:<10} {:>10.2} CPU seconds {:>8.1} MB", "keyward", used.cpu_secs, used.peak_mb);
    println!("  {:<10} {:>10.2} CPU seconds {:>8.1} MB", "prowler", PROWLER.cpu_secs, PROWLER.peak_mb);
    limits.hold("CPU seconds, against a tenth of Prowler's", used.cpu_secs, PROWLER.cpu_secs * CPU_SHARE);
    limits.hold("peak MB, against an eighth of Prowler's", used.peak_mb, PROWLER.peak_mb * MEMORY_SHARE);
    Ok(())
}

/// What the process prints, and the most memory that it has had.
async fn watch(child: &mut Child) -> anyhow::Result<(Vec<u8>, f64)> {
    let id = child.id().context("the scan has ended already")?;
    let mut stdout = child.stdout.take().context("the scan has no standard output")?;
    let read = async {
        let mut printed = Vec::new();
        stdout.read_to_end(&mut printed).await.map(|_| printed)
    };
    tokio::pin!(read);
    let mut peak: f64 = 0.0;
    loop {
        tokio::select! {
            printed = &mut read => return Ok((printed?, peak)),
            () = tokio::time::sleep(LOOK_EVERY) => peak = peak.max(peak_mb(id).unwrap_or(0.0)),
        }
    }
}

/// A scan that did less than its work would be cheap.
fn check(printed: &[u8]) -> anyhow::Result<()> {
    let scan: serde_json::Value = serde_json::from_slice(printed).context("the scan printed no JSON")?;
    let verdicts = scan["verdicts"].as_array().context("the scan gave no verdicts")?;
    let judged =
        verdicts.iter().filter(|row| row["rule"] == "key-unreadable" && row["verdict"] == "pass").count();
    anyhow::ensure!(judged == KEYS * REGIONS.len(), "{judged} keys were read and judged");
    Ok(())
}

/// The peak of a running process's resident memory, in MB; none once it has ended.
fn peak_mb(process: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024.0 / 1e6)
}

/// The CPU time of all children of this process that have ended and were waited for.
fn cpu_secs_of_children() -> anyhow::Result<f64> {
    let stat =
        std::fs::read_to_string("/proc/self/stat").context("CPU times are read from /proc, on Linux")?;
    // The name in parentheses may hold anything; cutime and cstime are the 14th and 15th field after it.
    let (_, fields) = stat.rsplit_once(')').context("/proc/self/stat is not as expected")?;
    let ticks = fields.split_whitespace().skip(13).take(2).map(str::parse::<f64>);
    Ok(ticks.sum::<Result<f64, _>>()? / TICKS_A_SECOND)
}
