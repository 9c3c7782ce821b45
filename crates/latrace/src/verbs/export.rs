//! `latrace export`: exports a run's last training for other trainers.

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
Writes the examples of the run's last data set (stage 8) as text and as token ids, the training settings as
the other trainer's configuration, and a README that lists what it cannot express, above all sequence weights.
The trained model can be used like any other model folder.

Examples:
  latrace export runs/qwen3-4b-acc --format trl --out exported
  latrace export runs/qwen3-4b-acc --format llama-factory --out exported
  latrace eval --model exported/trained --bench math500 --out evaluations/math500")]
pub struct ExportArguments {
    /// The run folder; its stage 8 must be finished
    #[arg(value_name = "RUN")]
    run: PathBuf,
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
    let exported = export(&arguments.run, arguments.format, &arguments.out)?;
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
