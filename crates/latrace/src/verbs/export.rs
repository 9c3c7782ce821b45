//! `latrace export`: exports a training of a run for other trainers.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use tracing::{info, warn};

use latrace_run::export::{Target, export};

use super::choices::{TRAINERS, one_of};
use super::output::check_unused;

/// Arguments of `latrace export`.
#[derive(Args, Debug)]
#[command(after_help = "\
Writes the examples of a training, by default the run's last one, as text and as token ids, the training settings as
the other trainer's configuration, and a README that lists what it cannot express, above all sequence weights.
`latrace import` makes the trained model a stage of the run, which then goes on. With engine.train = \"manual\" a
run stops where a model is to be imported.

Examples:
  latrace export runs/qwen3-4b-acc --format trl --out exported
  latrace export runs/qwen3-4b-acc 02-posterior --format llama-factory --out exported
  latrace eval --model exported/trained --bench math500 --out evaluations/math500")]
pub struct ExportArguments {
    /// The run folder
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// The training, by its folder in the run: 01-initial, 02-posterior, 09-final, baselines/rft/09-final; default: the
    /// last one of the recipe's own method whose examples are finished
    #[arg(value_name = "STAGE")]
    stage: Option<String>,
    /// Trainer to export to
    #[arg(long, value_name = "FORMAT", value_parser = one_of::<Target>(TRAINERS))]
    format: Target,
    /// Output folder; must be empty or absent
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Runs `latrace export`.
pub fn run(arguments: &ExportArguments) -> Result<()> {
    check_unused(&arguments.out, "choose another folder")?;
    let exported = export(&arguments.run, arguments.stage.as_deref(), arguments.format, &arguments.out)?;
    info!(
        "{} rows written to {}, {} dropped as too long; its README.md lists what the trainer cannot express",
        exported.rows,
        arguments.out.display(),
        exported.dropped
    );
    warn_of_ambiguous(exported.ambiguous);
    Ok(())
}

/// Sampled token ids need not be those that the tokenizer would choose for their text.
fn warn_of_ambiguous(rows: usize) {
    if rows > 0 {
        warn!("the text of {rows} rows does not tokenize back to their token ids: prefer the token ids");
    }
}
