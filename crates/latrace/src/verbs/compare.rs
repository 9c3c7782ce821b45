//! `latrace compare`: compares models side by side.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::output::print_json;
use latrace_run::comparison::{ComparisonOptions, compare};

/// Arguments of `latrace compare`.
#[derive(Args, Debug)]
#[command(after_help = "\
Each folder is that of an evaluation (`latrace eval --out`), one that contains such folders, or a run folder.
The table has a row for each model and a column for each benchmark: accuracy in percent with its 95 %
interval. The first model of each benchmark is compared with every other one question by question, on the
questions they share.

With --pooled, runs of one recipe that differ only in their seeds are pooled: a question's responses are those
of all the runs that evaluate it.

Examples:
  latrace compare evaluations/base-math500 evaluations/tuned-math500
  latrace compare evaluations/base evaluations/tuned
  latrace compare --pooled --against rft runs/seed-1 runs/seed-2 runs/seed-3
  latrace compare --only 5 --only 6 runs/quickstart
  latrace compare runs/quickstart --json")]
pub struct CompareArguments {
    /// Folders of evaluations or runs
    #[arg(value_name = "RUN|DIR", required = true)]
    folders: Vec<PathBuf>,
    /// Pool models of the same name, such as those of runs with different seeds
    #[arg(long)]
    pooled: bool,
    /// Use only questions of this subset or difficulty; may be repeated
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Model to compare the others with [default: the first of each benchmark]
    #[arg(long, value_name = "MODEL")]
    against: Option<String>,
    /// Print JSON instead of Markdown
    #[arg(long)]
    json: bool,
}

impl CompareArguments {
    fn options(&self) -> ComparisonOptions {
        let CompareArguments { pooled, only, against, .. } = self;
        ComparisonOptions { pooled: *pooled, only: only.clone(), against: against.clone() }
    }
}

/// Runs `latrace compare`.
pub fn run(arguments: &CompareArguments) -> Result<()> {
    let comparison = compare(&arguments.folders, &arguments.options())?;
    if arguments.json {
        return print_json(&comparison);
    }
    // Not `println!`: the text ends with a line break of its own.
    print!("{}", comparison.markdown());
    Ok(())
}
