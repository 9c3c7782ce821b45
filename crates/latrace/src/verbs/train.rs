//! `latrace train`: weighted training on rows of prompts and responses.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use tracing::info;

use super::choices::{COMPUTE_TYPES, one_of};
use super::columns::ColumnArguments;
use super::input::{ModelInput, open_rows, read_rows};
use super::output::check_unused;
use latrace_engine::boundary::FitJob;
use latrace_engine::text_codec::TextCodec;
use latrace_engine::train_rows::train_row;
use latrace_engine::training::{RECIPE, run_job};
use latrace_engine::{CpuEngine, Engine, TrainConfig, TrainRow};
use latrace_io::failure::Failure;
use latrace_run::recipe;
use latrace_run::recipe::run::ComputeType;

/// Arguments of `latrace train`.
#[derive(Args, Debug)]
#[command(after_help = "\
Input rows: `prompt` or `prompt_ids`, `response` or `response_ids` (or `messages`, the last of which is the
response), optional `weight` (default 1) or `token_weights`, optional `id`.

The output folder gets the model, `metrics.jsonl`, TensorBoard events and `recipe.toml`, the resolved
settings.

Examples:
  latrace train --model models/base --data rows.jsonl --out models/tuned
  latrace train --model models/base --data rows.jsonl --out models/tuned --recipe sft.toml learning_rate=2e-5 epochs=1
  latrace train --model models/base --data rows.jsonl --out models/tuned --resume
  latrace train --model models/base --data questions.jsonl --out models/q --column prompt_ids=posterior_prompt_ids --column response_ids=trace_ids
  latrace train --model models/shape --data rows.jsonl --out models/fresh init=random save_dtype=bf16")]
pub struct TrainArguments {
    /// Model folder to start from (with init=random it needs only config.json and a tokenizer), or a hub id:
    /// org/name[@revision]
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Rows to train on (.jsonl or .parquet)
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// Folder for the trained model, checkpoints and metrics; must be empty, except with --resume
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Settings (TOML); default: the paper's, or with --resume those of the interrupted run
    #[arg(long, value_name = "FILE")]
    recipe: Option<PathBuf>,
    /// Continue the run in the output folder from its last checkpoint
    #[arg(long)]
    resume: bool,
    /// Skip and count bad rows instead of stopping at the first
    #[arg(long)]
    skip_bad_rows: bool,
    #[command(flatten)]
    columns: ColumnArguments,
    /// Type in which products are computed; to resume a training, give the one it began with
    #[arg(long, value_name = "TYPE", default_value = "f32", value_parser = one_of::<ComputeType>(COMPUTE_TYPES))]
    compute: ComputeType,
    /// Settings that override the recipe's, such as learning_rate=2e-5
    #[arg(value_name = "KEY=VALUE")]
    overrides: Vec<String>,
}

/// Runs `latrace train`.
pub fn run(arguments: &TrainArguments) -> Result<()> {
    let out = arguments.out.as_path();
    let config = resolve_recipe(arguments)?;
    check_out_folder(out, arguments.resume)?;
    let model = ModelInput::open(&arguments.model)?;
    let rows = read_train_rows(arguments, &model.text)?;
    // Not before the rows are read: a training that cannot start leaves no folder.
    fs::create_dir_all(out).with_context(|| format!("cannot make the folder {}", out.display()))?;
    let job = FitJob { model: &model.folder, rows: &rows, config: &config, out, resume: arguments.resume };
    let engine = CpuEngine { compute: arguments.compute.here(), ..CpuEngine::default() };
    run_job(&mut *engine.trainer()?, job).inspect_err(|_| remove_if_empty(out))
}

/// A training that fails before it writes anything leaves no empty folder behind; `remove_dir` refuses a folder
/// with files in it.
fn remove_if_empty(folder: &Path) {
    let _ = fs::remove_dir(folder);
}

fn resolve_recipe(arguments: &TrainArguments) -> Result<TrainConfig> {
    recipe::train_config(arguments.recipe_file().as_deref(), &arguments.overrides)
}

impl TrainArguments {
    fn recipe_file(&self) -> Option<PathBuf> {
        // A resumed training must have the settings that it was started with.
        let earlier = Some(self.out.join(RECIPE)).filter(|file| self.resume && file.is_file());
        self.recipe.clone().or(earlier)
    }
}

fn check_out_folder(out: &Path, resume: bool) -> Result<()> {
    if resume {
        return Ok(());
    }
    check_unused(out, "add --resume to continue the run in it, or choose another folder")
}

fn read_train_rows(arguments: &TrainArguments, text: &TextCodec) -> Result<Vec<TrainRow>> {
    let mut reader = open_rows(&arguments.data, arguments.skip_bad_rows)?;
    let columns = arguments.columns.columns();
    let rows = read_rows(&mut reader, |place, row| train_row(place, &*columns.view(&row)?, text))?;
    info!("{} rows read, {} bad rows skipped", rows.len(), reader.skipped());
    if rows.is_empty() { Err(no_rows(&arguments.data).into()) } else { Ok(rows) }
}

fn no_rows(data: &Path) -> Failure {
    Failure::work(format!("{} has no rows to train on", data.display()))
}
