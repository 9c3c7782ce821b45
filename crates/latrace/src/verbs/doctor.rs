//! `latrace doctor`: checks whether this machine has what a run needs.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::output::{print, print_json};
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
    if arguments.json {
        print_json(&findings)?;
    } else {
        print(&table(&findings))?;
    }
    check_nothing_missing(&findings)
}

/// An error, so that a script can tell by the exit code; after the table, which has the details.
fn check_nothing_missing(findings: &[Finding]) -> Result<()> {
    match missing(findings).as_slice() {
        [] => Ok(()),
        missing => {
            Err(Failure::work(format!("missing, and needed by every run: {}", missing.join(", "))).into())
        }
    }
}

fn missing(findings: &[Finding]) -> Vec<&str> {
    let missing = findings.iter().filter(|finding| finding.health == Health::Missing);
    missing.map(|finding| finding.what).collect()
}

fn table(findings: &[Finding]) -> String {
    findings.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn line(finding: &Finding) -> String {
    format!("{:<14}{:<9}{}", finding.what, mark(finding.health), finding.found)
}

fn mark(health: Health) -> &'static str {
    match health {
        Health::Good => "ok",
        Health::Lacking => "note",
        Health::Missing => "MISSING",
    }
}
