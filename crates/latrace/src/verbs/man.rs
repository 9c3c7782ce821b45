//! `latrace man`: writes manual pages.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, Command};
use tracing::info;

/// Arguments of `latrace man`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  latrace man --out ~/.local/share/man/man1
  latrace man --out man && man man/latrace-run.1")]
pub struct ManArguments {
    /// Folder for latrace.1 and one page for each verb
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Runs `latrace man`.
pub fn run(arguments: &ManArguments, command: &mut Command) -> Result<()> {
    let cannot = || format!("cannot write the manual pages to {}", arguments.out.display());
    fs::create_dir_all(&arguments.out).with_context(cannot)?;
    clap_mangen::generate_to(command.clone(), &arguments.out).with_context(cannot)?;
    info!("manual pages written to {}", arguments.out.display());
    Ok(())
}
