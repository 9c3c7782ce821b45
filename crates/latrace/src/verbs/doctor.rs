//! `latrace doctor`: checks whether this machine has what a run needs.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;

use crate::doctor::{Finding, Health, examine};
use latrace_io::failure::Failure;

/// Arguments of `latrace doctor`.
#[derive(Args, Debug)]
#[command(after_help = "\
The exit code is 0 unless something that every run needs is missing. Makes no network requests, and prints no
token.

Examples:
  latrace doctor
  latrace doctor --runs /data/runs --json")]
pub struct DoctorArguments {
    /// Folder where runs will be written
    #[arg(long, value_name = "DIR", default_value = "runs")]
    runs: PathBuf,
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
}

/// Runs `latrace doctor`.
pub fn run(arguments: &DoctorArguments) -> Result<()> {
    let findings = examine(&arguments.runs);
    let text = if arguments.json { serde_json::to_string_pretty(&findings)? } else { table(&findings) };
    writeln!(std::io::stdout(), "{text}").context("cannot write to standard output")?;
    let missing: Vec<&str> = findings
        .iter()
        .filter(|finding| finding.health == Health::Missing)
        .map(|finding| finding.what)
        .collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(Failure::work(format!("missing, and needed by every run: {}", missing.join(", "))).into())
    }
}

fn table(findings: &[Finding]) -> String {
    let line = |finding: &Finding| {
        let mark = match finding.health {
            Health::Good => "ok",
            Health::Lacking => "note",
            Health::Missing => "MISSING",
        };
        format!("{:<14}{mark:<9}{}", finding.what, finding.found)
    };
    findings.iter().map(line).collect::<Vec<_>>().join("\n")
}
