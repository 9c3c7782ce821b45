//! `latrace init`: creates a randomly initialised model from a configuration.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

use latrace_engine::ModelShape;
use latrace_engine::cpu::{SaveDtype, save_random};
use latrace_engine::text_codec::TextCodec;
use latrace_io::failure::Failure;
use latrace_io::files::replace_folder;
use latrace_questions::source::named_task;
use latrace_run::stages::model::write_shape;
use serde_json::Value;
use tracing::info;

use super::output::check_unused;

/// Arguments of `latrace init`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  latrace init --config shapes/small --out models/small
  latrace init --config small.json --tokenizer models/base --out models/small --seed 1
  latrace init --config examples/walk --task walk --out models/walk")]
pub struct InitArguments {
    /// Folder with a config.json, or the configuration file itself
    #[arg(long, value_name = "DIR|FILE")]
    config: PathBuf,
    /// Folder for the new model; must be empty or absent
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Seed for the weights
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Folder to copy the tokenizer and chat template from; default: the configuration's folder
    #[arg(long, value_name = "DIR")]
    tokenizer: Option<PathBuf>,
    /// Use the tokenizer of a built-in task: walk, countdown, arithmetic, graph or latin; the configuration must then omit
    /// vocab_size and eos_token_id
    #[arg(long, value_name = "NAME", conflicts_with = "tokenizer")]
    task: Option<String>,
    /// Data type of the stored weights: float32, or bfloat16 rounded to nearest
    #[arg(long, value_enum, default_value_t = Dtype::F32)]
    dtype: Dtype,
}

/// The data type of stored weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Dtype {
    F32,
    Bf16,
}

impl From<Dtype> for SaveDtype {
    fn from(dtype: Dtype) -> SaveDtype {
        match dtype {
            Dtype::F32 => SaveDtype::F32,
            Dtype::Bf16 => SaveDtype::Bf16,
        }
    }
}

/// Runs `latrace init`.
pub fn run(arguments: &InitArguments) -> Result<()> {
    let out = arguments.out.as_path();
    check_unused(out, "choose another folder")?;
    // Under a temporary name until it is whole: a folder without its weights would look like a model.
    replace_folder(out, |folder| fill(folder, arguments))?;
    info!("the model is in {}", out.display());
    Ok(())
}

fn fill(folder: &Path, arguments: &InitArguments) -> Result<()> {
    let source = configuration_file(&arguments.config);
    let tokenizer = match &arguments.task {
        Some(task) => write_task_shape(folder, &source, task).map(|()| folder)?,
        None => copy_shape(folder, &source).and_then(|()| given_tokenizer(arguments, &source))?,
    };
    // Checked before the weights are drawn, which takes long for a large model.
    TextCodec::open(tokenizer, &ModelShape::read(folder)?)?;
    save_random(folder, arguments.seed, arguments.dtype.into(), tokenizer).map(drop)
}

/// The loader reads `config.json`, and the given file may have any name; saving rewrites the copy.
fn copy_shape(folder: &Path, source: &Path) -> Result<()> {
    fs::copy(source, folder.join("config.json")).map(drop).with_context(|| cannot_read(source))
}

fn configuration_file(config: &Path) -> PathBuf {
    if config.is_dir() { config.join("config.json") } else { config.to_owned() }
}

/// Writes the configuration with a task's vocabulary, and the task's tokenizer.
fn write_task_shape(folder: &Path, source: &Path, task: &str) -> Result<()> {
    write_shape(folder, read_shape(source)?, &named_task("--task", task)?.tokenizer()).map(drop)
}

/// As JSON: a task's configuration lacks fields that a whole one must have.
fn read_shape(source: &Path) -> Result<Value> {
    let text = fs::read_to_string(source).with_context(|| cannot_read(source))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not valid JSON", source.display()))
}

fn cannot_read(path: &Path) -> String {
    format!("cannot read {}", path.display())
}

/// The folder to copy the tokenizer from.
fn given_tokenizer<'a>(arguments: &'a InitArguments, source: &'a Path) -> Result<&'a Path> {
    match &arguments.tokenizer {
        Some(tokenizer) => check_tokenizer(tokenizer).map(|()| tokenizer.as_path()),
        // Not checked: without a tokenizer in it, the model takes token ids alone.
        None => Ok(source.parent().unwrap_or(Path::new(""))),
    }
}

fn check_tokenizer(folder: &Path) -> Result<()> {
    if folder.join("tokenizer.json").is_file() {
        return Ok(());
    }
    Err(Failure::work(format!("{} has no tokenizer.json", folder.display())).into())
}
