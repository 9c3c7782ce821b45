//! `latrace export`: exports a run's last training for other trainers.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use latrace_io::failure::Failure;
use latrace_io::files::is_absent_or_empty;
use latrace_run::export::{Target, export};

use super::choices::{TRAINERS, one_of};

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
    let out = &arguments.out;
    if !is_absent_or_empty(out)? {
        return Err(Failure::work(format!("the output folder {} is not empty", out.display()))
            .hint("choose another folder")
            .into());
    }
    let exported = export(&arguments.run, arguments.format, out)?;
    tracing::info!(
        "{} rows written to {}, {} dropped as too long; its README.md lists what the trainer cannot express",
        exported.rows,
        out.display(),
        exported.dropped
    );
    if exported.ambiguous > 0 {
        tracing::warn!(
            "the text of {} rows does not tokenize back to their token ids: prefer the token ids",
            exported.ambiguous
        );
    }
    Ok(())
}
