//! `latrace train`: weighted training on rows of prompts and responses.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use latrace_lm::{Event, Metrics, TrainConfig, TrainJob, TrainRow, train};
use serde_json::Value;

use crate::failure::Failure;
use crate::files::{is_absent_or_empty, write_atomically};
use crate::model_folder::{TextSide, read_config};
use crate::progress::Progress;
use crate::recipe;
use crate::rows::{BadRows, RowReader};
use crate::tensorboard::EventWriter;
use crate::train_rows::train_row;

/// The complete recipe, in the output folder.
const RECIPE: &str = "recipe.toml";

/// One line per update, in the output folder.
const METRICS: &str = "metrics.jsonl";

/// Arguments of `latrace train`.
#[derive(Args, Debug)]
#[command(after_help = "\
Rows: `prompt` or `prompt_ids`, `response` or `response_ids` (or `messages`, whose last one is the response),
optional `weight` (default 1) or `token_weights`, optional `id`.

The output folder gets the model, `metrics.jsonl`, TensorBoard events and `recipe.toml`, the settings in full.

Examples:
  latrace train --model models/base --data rows.jsonl --out models/tuned
  latrace train --model models/base --data rows.jsonl --out models/tuned --recipe sft.toml learning_rate=2e-5 epochs=1
  latrace train --model models/base --data rows.jsonl --out models/tuned --resume
  latrace train --model models/shape --data rows.jsonl --out models/fresh init=random save_dtype=bf16")]
pub struct TrainArguments {
    /// Model folder to start from; with init=random it needs only config.json and a tokenizer
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Rows to train on (.jsonl or .parquet)
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// Folder for the trained model, checkpoints and metrics; must be empty, or resumed
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Settings (TOML); default: the paper's, or with --resume those of the run
    #[arg(long, value_name = "FILE")]
    recipe: Option<PathBuf>,
    /// Continue the run in the output folder from its last checkpoint
    #[arg(long)]
    resume: bool,
    /// Leave bad rows out and count them, instead of stopping at the first
    #[arg(long)]
    skip_bad_rows: bool,
    /// Settings that override the recipe's, such as learning_rate=2e-5
    #[arg(value_name = "KEY=VALUE")]
    overrides: Vec<String>,
}

/// Runs `latrace train`.
pub fn run(arguments: &TrainArguments) -> Result<()> {
    let out = arguments.out.as_path();
    let config = resolve_recipe(arguments)?;
    check_out_folder(out, arguments.resume)?;
    let rows = read_rows(arguments)?;
    fs::create_dir_all(out).with_context(|| format!("cannot make the folder {}", out.display()))?;
    let trained = run_job(TrainJob { model_dir: &arguments.model, out, rows, config, resume: arguments.resume });
    if trained.is_err() {
        // Before the first event the folder is as empty as it was; one with files in it stays.
        let _ = fs::remove_dir(out);
    }
    trained
}

fn resolve_recipe(arguments: &TrainArguments) -> Result<TrainConfig> {
    let of_the_run = arguments.out.join(RECIPE);
    let file = match &arguments.recipe {
        Some(file) => Some(file.as_path()),
        None if arguments.resume && of_the_run.is_file() => Some(of_the_run.as_path()),
        None => None,
    };
    recipe::train_config(file, &arguments.overrides)
}

fn check_out_folder(out: &Path, resume: bool) -> Result<()> {
    if resume || is_absent_or_empty(out)? {
        return Ok(());
    }
    let message = format!("the output folder {} is not empty", out.display());
    Err(Failure::work(message).hint("add --resume to continue the run in it, or name another folder").into())
}

fn read_rows(arguments: &TrainArguments) -> Result<Vec<TrainRow>> {
    let text = TextSide::open(&arguments.model, &read_config(&arguments.model)?)?;
    let bad_rows = if arguments.skip_bad_rows { BadRows::Skip } else { BadRows::Stop };
    let mut reader = RowReader::open(&arguments.data, bad_rows)?;
    let mut rows = Vec::new();
    while let Some(row) = reader.next_with(|place, row| train_row(place, &row, &text))? {
        rows.push(row);
    }
    tracing::info!("{} rows read, {} bad rows skipped", rows.len(), reader.skipped());
    if rows.is_empty() {
        return Err(Failure::work(format!("{} has no rows to train on", arguments.data.display())).into());
    }
    Ok(rows)
}

fn run_job(job: TrainJob<'_>) -> Result<()> {
    let mut recorder = Recorder { out: job.out.to_owned(), recipe: recipe::to_toml(&job.config)?, open: None };
    let mut failure = None;
    let outcome = train(job, &mut |event| {
        recorder.observe(event).map_err(|error| {
            let message = error.to_string();
            failure = Some(error);
            latrace_lm::Error::Invalid(message)
        })
    });
    // The trainer hands our own error back as a message; the original has its chain.
    failure.map_or(Ok(()), Err)?;
    Ok(outcome?)
}

/// Writes what the trainer reports into the output folder and to stderr.
struct Recorder {
    out: PathBuf,
    recipe: String,
    open: Option<OpenRecord>,
}

struct OpenRecord {
    metrics: File,
    events: EventWriter,
    progress: Progress,
}

impl Recorder {
    fn observe(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Started { total_steps, dropped, truncated, resumed_from, normaliser } => {
                let done = resumed_from.unwrap_or(0);
                tracing::info!("{total_steps} updates, mean response length {normaliser}");
                tracing::info!("rows over the cut-off length: {dropped} dropped, {truncated} truncated");
                if resumed_from.is_some() {
                    tracing::info!("resumed after update {done}");
                }
                write_atomically(&self.out.join(RECIPE), |writer| Ok(writer.write_all(self.recipe.as_bytes())?))?;
                self.open = Some(OpenRecord {
                    metrics: open_metrics(&self.out.join(METRICS), done)?,
                    events: EventWriter::create(&self.out, done + 1)?,
                    progress: Progress::new("updates", done, Some(total_steps)),
                });
                Ok(())
            }
            Event::Step(metrics) => self.open.as_mut().map_or(Ok(()), |open| open.record(&metrics)),
            Event::Checkpoint { step } => {
                tracing::debug!("checkpoint after update {step}");
                Ok(())
            }
            Event::NothingToDo => {
                tracing::info!("nothing to do: the run in {} is finished", self.out.display());
                Ok(())
            }
            Event::Finished => {
                if let Some(open) = self.open.take() {
                    open.progress.finish();
                }
                tracing::info!("the model is in {}", self.out.display());
                Ok(())
            }
        }
    }
}

impl OpenRecord {
    fn record(&mut self, metrics: &Metrics) -> Result<()> {
        let mut line = serde_json::to_vec(metrics).context("cannot write the metrics as JSON")?;
        line.push(b'\n');
        self.metrics.write_all(&line).context("cannot write metrics.jsonl")?;
        self.events.scalars(metrics.step, &scalars(metrics))?;
        self.events.flush()?;
        self.progress.message(format!("loss {:.4}, {:.0} tokens/s", metrics.loss, metrics.tokens_per_second));
        self.progress.advance(1);
        Ok(())
    }
}

fn scalars(metrics: &Metrics) -> [(&'static str, f32); 7] {
    [
        ("train/loss", metrics.loss as f32),
        ("train/lr", metrics.lr as f32),
        ("train/grad_norm", metrics.grad_norm as f32),
        ("train/weight_ess", metrics.weight_ess as f32),
        ("train/epoch", metrics.epoch as f32),
        ("train/tokens_per_second", metrics.tokens_per_second as f32),
        ("train/peak_memory_bytes", metrics.peak_memory_bytes as f32),
    ]
}

/// Opens the metrics for appending, without the lines that an interrupted run wrote after update `done`.
fn open_metrics(path: &Path, done: u64) -> Result<File> {
    let cannot = || format!("cannot write {}", path.display());
    if path.is_file() {
        let kept = lines_up_to(path, done).with_context(|| format!("cannot read {}", path.display()))?;
        write_atomically(path, |writer| Ok(writer.write_all(kept.as_bytes())?))?;
    }
    OpenOptions::new().create(true).append(true).open(path).with_context(cannot)
}

fn lines_up_to(path: &Path, done: u64) -> Result<String> {
    let mut kept = String::new();
    for line in BufReader::new(File::open(path)?).lines() {
        let line = line?;
        // A line cut short by the interruption is not valid JSON: it has no step, and goes.
        let step = serde_json::from_str::<Value>(&line).ok().and_then(|metrics| metrics["step"].as_u64());
        if step.is_some_and(|step| step <= done) {
            kept.push_str(&line);
            kept.push('\n');
        }
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resuming_drops_later_and_broken_metric_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(METRICS);
        fs::write(&path, "{\"step\":1}\n{\"step\":2}\n{\"step\":3}\n{\"st").unwrap();
        let mut file = open_metrics(&path, 2).unwrap();
        file.write_all(b"{\"step\":3,\"again\":true}\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"step\":1}\n{\"step\":2}\n{\"step\":3,\"again\":true}\n");
    }
}
