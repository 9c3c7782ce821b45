//! `latrace import`: makes a model that was trained elsewhere a stage of a run.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use latrace_run::import::import;
use tracing::info;

/// Arguments of `latrace import`.
#[derive(Args, Debug)]
#[command(after_help = "\
The model must have the architecture and the tensors of the model that the training starts from; its weights and
config.json are copied, and the tokenizer stays the run's own. `latrace run` with the same recipe then goes on with
the stages after it.

Examples:
  latrace run recipe.toml engine.train=manual           stops at the first training
  latrace export runs/recipe 01-initial --format trl --out exported
  latrace import runs/recipe 01-initial exported/trained
  latrace run recipe.toml engine.train=manual           goes on, to the next one")]
pub struct ImportArguments {
    /// The run folder
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// The training, by its folder in the run: 01-initial, 02-posterior, 09-final, baselines/rft/09-final
    #[arg(value_name = "STAGE")]
    stage: String,
    /// The trained model: a folder, or an id on the hub. Report and model card name it as it is written here
    #[arg(value_name = "MODEL_DIR")]
    model: String,
    /// Replace a training that is finished
    #[arg(long)]
    replace: bool,
}

/// Runs `latrace import`.
pub fn run(arguments: &ImportArguments) -> Result<()> {
    let ImportArguments { run, stage, model, replace } = arguments;
    import(run, stage, model, *replace)?;
    info!("{} is the model of {stage}; `latrace run` with the same recipe goes on", model);
    Ok(())
}
