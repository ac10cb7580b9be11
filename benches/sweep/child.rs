//! What `keyward scan` uses, as a process of its own.

use anyhow::Context as _;
use keyward::sandbox::Sandbox;
use tokio::net::TcpListener;
use tokio::process::Command;

use crate::estate::{self, REGIONS};
use crate::limits::Limits;
use crate::used::{Used, run};

const ACCOUNT: &str = "111122223333";
/// Keys in each Region.
const KEYS: usize = 500;

/// What Prowler 5 used on such keys with its nine checks of KMS, in seconds of CPU time and in MB.
const PROWLER: Used = Used { cpu_secs: 28.0, peak_mb: 617.0, seconds: f64::NAN };
/// At most this share of Prowler's CPU time.
const CPU_SHARE: f64 = 1.0 / 10.0;
/// At most this share of Prowler's peak memory.
const MEMORY_SHARE: f64 = 1.0 / 8.0;

/// Runs `keyward scan`, and holds what it used to its limits.
pub(crate) async fn measure(limits: &mut Limits) -> anyhow::Result<()> {
    let world = estate::world(&[ACCOUNT.parse()?], KEYS)?;
    let sandbox = Sandbox::start(TcpListener::bind("127.0.0.1:0").await?, world)?;
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("keyward.toml");
    std::fs::write(&config, format!("regions.include = {REGIONS:?}\n"))?;

    let mut command = Command::new(env!("CARGO_BIN_EXE_keyward"));
    command
        .args(["--log", "warn", "scan", "--format", "json", "--config"])
        .arg(&config)
        .env_clear()
        .env("AWS_ENDPOINT_URL", sandbox.endpoint_url())
        .envs([("AWS_ACCESS_KEY_ID", ACCOUNT), ("AWS_SECRET_ACCESS_KEY", "test")])
        .envs([("AWS_REGION", "eu-central-1"), ("AWS_EC2_METADATA_DISABLED", "true")]);
    let (printed, exit, used) = run(&mut command).await?;
    println!("  took {:.0} s, half of the quotas used", used.seconds);
    anyhow::ensure!(exit == Some(0), "the scan ended with {exit:?}");
    check(&printed)?;
    sandbox.shutdown().await;

    println!("  {:<10} {:>10.2} CPU seconds {:>8.1} MB", "keyward", used.cpu_secs, used.peak_mb);
    println!("  {:<10} {:>10.2} CPU seconds {:>8.1} MB", "prowler", PROWLER.cpu_secs, PROWLER.peak_mb);
    limits.hold("CPU seconds, against a tenth of Prowler's", used.cpu_secs, PROWLER.cpu_secs * CPU_SHARE);
    limits.hold("peak MB, against an eighth of Prowler's", used.peak_mb, PROWLER.peak_mb * MEMORY_SHARE);
    Ok(())
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
