//! `latrace compare`: models beside each other.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::comparison::compare;

/// Arguments of `latrace compare`.
#[derive(Args, Debug)]
#[command(after_help = "\
A folder is that of an evaluation (`latrace eval --out`), one that holds such folders, or a run's. The table has a row for
each model and a column for each benchmark: accuracy in percent with its 95 % interval. The first model of each benchmark is
compared with each other one question by question, where their questions are the same.

Examples:
  latrace compare evaluations/base-math500 evaluations/tuned-math500
  latrace compare evaluations/base evaluations/tuned
  latrace compare runs/quickstart --json")]
pub struct CompareArguments {
    /// Folders of evaluations or runs
    #[arg(value_name = "RUN|DIR", required = true)]
    folders: Vec<PathBuf>,
    /// Print JSON instead of Markdown
    #[arg(long)]
    json: bool,
}

/// Runs `latrace compare`.
pub fn run(arguments: &CompareArguments) -> Result<()> {
    let comparison = compare(&arguments.folders)?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&comparison)?);
    } else {
        print!("{}", comparison.markdown());
    }
    Ok(())
}
