//! `latrace compare`: compares models side by side.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::output::{print_json, write};
use latrace_run::comparison::{ComparisonOptions, compare};

/// Arguments of `latrace compare`.
#[derive(Args, Debug)]
#[command(after_help = "\
Each folder is that of an evaluation (`latrace eval --out`), one that contains such folders, or a run folder.
The table has a row for each model and a column for each benchmark: accuracy in percent with its 95 %
interval. The first model of each benchmark is compared with every other one question by question, on the
questions they share. For the models of runs it also says what they took: tokens drawn and trained on, and seconds.

With --pooled, runs of one recipe that differ only in their seeds are pooled: a question's responses are those
of all the runs that evaluate it.

With --by, the columns are the questions that one of the models answers right in 0 %, 1-25 %, … of its responses, in
place of difficulties: who gains where. That model's own cells are of the responses that chose the questions, and
therefore too low in the first columns and too high in the last.

With --pass, a second table has pass@k and how many different right answers to a question there are among its
responses. Pooled, each run's questions count on their own.

Examples:
  latrace compare evaluations/base-math500 evaluations/tuned-math500
  latrace compare evaluations/base evaluations/tuned
  latrace compare --pooled --against rft runs/seed-1 runs/seed-2 runs/seed-3
  latrace compare --only 5 --only 6 runs/quickstart
  latrace compare --by initial runs/quickstart
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
    /// Divide questions by how often this model answers them right, in place of their difficulty
    #[arg(long, value_name = "MODEL")]
    by: Option<String>,
    /// Also give pass@k, and the number of different right answers
    #[arg(long)]
    pass: bool,
    /// Print JSON instead of Markdown
    #[arg(long)]
    json: bool,
}

impl CompareArguments {
    fn options(&self) -> ComparisonOptions {
        let CompareArguments { pooled, only, against, by, pass, .. } = self;
        ComparisonOptions {
            pooled: *pooled,
            only: only.clone(),
            against: against.clone(),
            by: by.clone(),
            pass: *pass,
        }
    }
}

/// Runs `latrace compare`.
pub fn run(arguments: &CompareArguments) -> Result<()> {
    let comparison = compare(&arguments.folders, &arguments.options())?;
    if arguments.json {
        return print_json(&comparison);
    }
    // The text ends with a line break of its own.
    write(comparison.markdown().as_bytes())
}
