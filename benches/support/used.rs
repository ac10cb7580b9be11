//! What a process used: CPU time, and the most memory. Read from `/proc`, so it needs Linux.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, Command};

/// How often it is looked how much memory the process has used; the kernel keeps the peak.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// How many clock ticks Linux tells CPU times in, a second.
const TICKS_A_SECOND: f64 = 100.0;

/// What a process used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Used {
    pub(crate) cpu_secs: f64,
    /// The most memory that it had resident, in MB of 10^6 bytes.
    pub(crate) peak_mb: f64,
    pub(crate) seconds: f64,
}

/// Runs a command to its end; gives what it printed, how it ended, and what it used.
pub(crate) async fn run(command: &mut Command) -> anyhow::Result<(Vec<u8>, Option<i32>, Used)> {
    let before = cpu_secs_of_children()?;
    let started = Instant::now();
    let mut child = command
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let (printed, peak_mb) = watch(&mut child).await?;
    let exit = child.wait().await?;
    let seconds = started.elapsed().as_secs_f64();
    Ok((printed, exit.code(), Used { cpu_secs: cpu_secs_of_children()? - before, peak_mb, seconds }))
}

/// What the process prints, and the most memory that it has had.
async fn watch(child: &mut Child) -> anyhow::Result<(Vec<u8>, f64)> {
    let id = child.id().context("the process has ended already")?;
    let mut stdout = child.stdout.take().context("the process has no standard output")?;
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
