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
#[path = "../support/used.rs"]
mod used;

use std::process::ExitCode;

use limits::Limits;

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    // `cargo test --benches` only wants to know whether it starts.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(ExitCode::SUCCESS);
    }
    let wanted = |part: &str| {
        let mut parts = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).peekable();
        parts.peek().is_none() || parts.any(|argument| argument == part)
    };
    let mut limits = Limits::default();
    if wanted("calls") {
        println!("20,000 keys in 5 accounts and 4 Regions, by the collector and the auditor");
        calls::measure(&mut limits).await?;
    }
    if wanted("scan") {
        println!("2,000 keys in 4 Regions of an account, by `keyward scan` as a process of its own");
        child::measure(&mut limits).await?;
    }
    println!("\n{limits}");
    Ok(if limits.all_hold() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
