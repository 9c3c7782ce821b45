//! `latrace report`: writes a run's report as one page, or that of several runs.

use std::path::{Path, PathBuf, absolute};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use clap::Args;
use tracing::{info, warn};

use latrace_io::failure::Failure;
use latrace_report as report;

/// The program by which the system opens a file.
const OPENER: &str = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };

/// Arguments of `latrace report`.
#[derive(Args, Debug)]
#[command(after_help = "\
The page contains its data, style and script: it opens anywhere and makes no network requests. The report of
an unfinished run covers the stages so far.

Several finished runs stand on one page: their accuracies, each and pooled, their training curves over each
other, and the settings that differ.

Examples:
  latrace report runs/quickstart
  latrace report runs/quickstart --open
  latrace report runs/seed-1 runs/seed-2 runs/seed-3 --out seeds.html")]
pub struct ReportArguments {
    /// Run folders
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<PathBuf>,
    /// Output file [default: RUN/report.html; required for several runs]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Open the page in the browser
    #[arg(long)]
    open: bool,
}

/// Runs `latrace report`.
pub fn run(arguments: &ReportArguments) -> Result<()> {
    let out = match (arguments.runs.as_slice(), &arguments.out) {
        ([run], out) => {
            let out = out.clone().unwrap_or_else(|| run.join(report::PAGE));
            report::write(run, &out)?;
            out
        }
        (runs, Some(out)) => {
            report::write_several(runs, out)?;
            out.clone()
        }
        (_, None) => {
            let failure =
                Failure::usage("--out: expected the file for the page of several runs, got nothing");
            return Err(failure.hint("one run has its page in its own folder").into());
        }
    };
    info!("report written to {}", out.display());
    if arguments.open { open(&out) } else { Ok(()) }
}

/// Opens the page with the system's opener, or says where it is.
fn open(page: &Path) -> Result<()> {
    let page = absolute(page).with_context(|| format!("cannot find {}", page.display()))?;
    let mut opener = Command::new(OPENER);
    opener.arg(&page).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // It leaves the page to a browser and ends.
    let is_open = opener.status().is_ok_and(|status| status.success());
    if !is_open {
        warn!("{OPENER} does not open pages here; the page is {}", page.display());
    }
    Ok(())
}
