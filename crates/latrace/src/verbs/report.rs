//! `latrace report`: writes a run's report as one page.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use tracing::info;

use latrace_report as report;

/// Arguments of `latrace report`.
#[derive(Args, Debug)]
#[command(after_help = "\
The page contains its data, style and script: it opens anywhere and makes no network requests. The report of
an unfinished run covers the stages so far.

Example:
  latrace report runs/quickstart")]
pub struct ReportArguments {
    /// The run folder
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Output file; default: RUN/report.html
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Runs `latrace report`.
pub fn run(arguments: &ReportArguments) -> Result<()> {
    let out = arguments.out.clone().unwrap_or_else(|| arguments.run.join(report::PAGE));
    report::write(&arguments.run, &out)?;
    info!("report written to {}", out.display());
    Ok(())
}
