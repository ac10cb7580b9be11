//! What a sweep costs: calls to AWS, CPU time and memory, each beside the limit that it is held to.
//!
//! `cargo bench --bench sweep` sweeps two estates in the built-in AWS, with AWS's published quotas in force, and
//! ends with exit code 1 where a limit is broken:
//!
//! - 20,000 keys in 5 accounts and 4 Regions, by the real collector and auditor: which calls went out;
//! - 2,000 keys in 4 Regions, by `keyward scan` as a process of its own: what that process used. The limits are
//!   shares of what Prowler used on the same keys.
//!
//! `-- calls` or `-- scan` measures one of them alone. What a process used is read from `/proc`, so the second part needs Linux.

#![expect(
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a bench prints what it measures, and a field that JSON lacks reads as null"
)]

mod calls;
mod child;
mod estate;
#[path = "../support/limits.rs"]
mod limits;
#[path = "../support/parts.rs"]
mod parts;
#[path = "../support/used.rs"]
mod used;

use std::process::ExitCode;

use limits::Limits;
use parts::Parts;

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let Some(parts) = Parts::asked_for() else { return Ok(ExitCode::SUCCESS) };
    let mut limits = Limits::default();
    if parts.has("calls") {
        println!("20,000 keys in 5 accounts and 4 Regions, by the collector and the auditor");
        calls::measure(&mut limits).await?;
    }
    if parts.has("scan") {
        println!("2,000 keys in 4 Regions of an account, by `keyward scan` as a process of its own");
        child::measure(&mut limits).await?;
    }
    println!("\n{limits}");
    Ok(if limits.all_hold() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
