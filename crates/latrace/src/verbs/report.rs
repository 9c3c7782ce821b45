//! `latrace report`: a run as one page.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use latrace_report as report;

/// Arguments of `latrace report`.
#[derive(Args, Debug)]
#[command(after_help = "\
The page holds its data, its style and its script; it opens from anywhere and asks nobody for anything. A run that is not finished gives a page
of what there is.

Example:
  latrace report runs/quickstart")]
pub struct ReportArguments {
    /// The run folder
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Where the page goes; default: RUN/report.html
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Runs `latrace report`.
pub fn run(arguments: &ReportArguments) -> Result<()> {
    let out = arguments.out.clone().unwrap_or_else(|| arguments.run.join(report::PAGE));
    report::write(&arguments.run, &out)?;
    tracing::info!("the report is {}", out.display());
    Ok(())
}
