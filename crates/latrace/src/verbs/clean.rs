//! `latrace clean`: removes what a run folder does not need.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use latrace_io::words::size;
use latrace_run::clean::{Leftover, leftovers, remove};
use latrace_run::pipeline::folder::RunFolder;

use super::output::print;

/// Arguments of `latrace clean`.
#[derive(Args, Debug)]
#[command(after_help = "\
Stages are to be redone where the run's recipe was changed: `latrace run` with the new recipe makes them anew,
with the earlier one it would find them still there. Nothing that is current is touched.

Examples:
  latrace clean runs/quickstart --dry-run
  latrace clean runs/quickstart")]
pub struct CleanArguments {
    /// The run folder
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Only say what would be removed
    #[arg(long)]
    dry_run: bool,
}

/// Runs `latrace clean`.
pub fn run(arguments: &CleanArguments) -> Result<()> {
    let run = &arguments.run;
    let found = leftovers(run)?;
    print(&in_words(run, &found))?;
    if arguments.dry_run || found.is_empty() {
        return Ok(());
    }
    let held = RunFolder::lock(run)?;
    // Once more, since another process may have been at work before.
    remove(&held, &leftovers(run)?)?;
    print("Removed.")
}

fn in_words(run: &Path, found: &[Leftover]) -> String {
    if found.is_empty() {
        return format!("{} holds nothing that it does not need.", run.display());
    }
    let line = |leftover: &Leftover| {
        let Leftover { path, why, bytes } = leftover;
        let name = path.strip_prefix(run).unwrap_or(path).display();
        format!("{name} ({}): {why}", size(*bytes))
    };
    let lines: Vec<String> = found.iter().map(line).collect();
    let all = found.iter().map(|leftover| leftover.bytes).sum();
    format!("{}\n{} in all.", lines.join("\n"), size(all))
}
