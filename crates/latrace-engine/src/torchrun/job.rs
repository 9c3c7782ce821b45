//! The files that tell the ranks what to do.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use latrace_io::files::{checksum, write_atomically, write_text};
use latrace_lm::train_config::Loss;
use latrace_lm::{Divisor, RowFileWriter, RowSource, TrainConfig, TrainPlan, Update};
use serde::Serialize;

use super::TorchrunConfig;
use super::checkpoints::Checkpoint;

/// What the ranks run.
pub(super) const WORKER: &str = include_str!("worker.py");

/// Bytes of weights in one file of the model.
const SHARD_BYTES: u64 = 4_000_000_000;

/// Rows written to a file at once: those of a few updates.
const ROWS_AT_ONCE: usize = 256;

/// `job.json`.
#[derive(Serialize)]
pub(super) struct Job<'a> {
    /// "train" or "score".
    mode: &'static str,
    /// The ranks' folder: their events and errors, checkpoints, the final weights.
    work: &'a Path,
    /// Name and checksum of the file that the ranks run, for the record.
    worker: [String; 2],
    model: &'a Path,
    compute: &'static str,
    attention: &'static str,
    cpu_offload: bool,
    activation_checkpointing: bool,
    tokens_per_micro_batch: usize,
    timeout: u64,
    #[serde(flatten)]
    what: What<'a>,
}

/// What only one of the two modes has.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum What<'a> {
    /// Training.
    Train(Box<Training<'a>>),
    /// Scoring: the file that gets a line for each window of rows.
    Score { windows: PathBuf },
}

#[derive(Serialize)]
pub(super) struct Training<'a> {
    pub plan: PathBuf,
    pub rows: PathBuf,
    /// Most tokens of a row.
    pub row_limit: usize,
    pub total_updates: u64,
    pub loss: LossSettings,
    pub optimiser: Optimiser,
    pub checkpoint_every: u64,
    pub fingerprint: &'a str,
    pub resume: Option<&'a Checkpoint>,
    pub save_dtype: latrace_lm::train_config::StoreAs,
    pub shard_bytes: u64,
}

#[derive(Serialize)]
pub(super) struct LossSettings {
    kind: Loss,
    clip_low: f64,
    clip_high: f64,
}

#[derive(Serialize)]
pub(super) struct Optimiser {
    beta1: f64,
    beta2: f64,
    epsilon: f64,
    weight_decay: f64,
    decay_norms_and_biases: bool,
    clip_norm: f64,
}

impl<'a> Training<'a> {
    pub fn new(
        work: &Path,
        rows: PathBuf,
        plan: &TrainPlan,
        config: &TrainConfig,
        fingerprint: &'a str,
        resume: Option<&'a Checkpoint>,
    ) -> Self {
        let TrainConfig { beta1, beta2, epsilon, weight_decay, decay_norms_and_biases, clip_norm, .. } =
            *config;
        Self {
            plan: work.join("plan.jsonl"),
            rows,
            row_limit: plan.row_limit,
            total_updates: plan.total_updates,
            loss: LossSettings { kind: config.loss, clip_low: config.clip_low, clip_high: config.clip_high },
            optimiser: Optimiser { beta1, beta2, epsilon, weight_decay, decay_norms_and_biases, clip_norm },
            checkpoint_every: config.checkpoint_every,
            fingerprint,
            resume,
            save_dtype: config.save_dtype,
            shard_bytes: SHARD_BYTES,
        }
    }
}

/// Writes the worker and its job into `work`; returns their paths.
pub(super) fn write_job(
    work: &Path,
    model: &Path,
    config: &TorchrunConfig,
    what: What<'_>,
) -> Result<[PathBuf; 2]> {
    let [worker, path] = [work.join("worker.py"), work.join("job.json")];
    write_text(&worker, WORKER)?;
    let job = Job {
        mode: if let What::Train(_) = what { "train" } else { "score" },
        work,
        worker: ["worker.py".to_owned(), checksum(&worker)?],
        model,
        compute: config.dtype.name(),
        attention: config.attention.name(),
        cpu_offload: config.cpu_offload,
        activation_checkpointing: config.activation_checkpointing,
        tokens_per_micro_batch: config.tokens_per_micro_batch,
        timeout: config.timeout,
        what,
    };
    write_atomically(&path, |file| Ok(serde_json::to_writer_pretty(file, &job)?))?;
    Ok([worker, path])
}

/// A line of the plan.
#[derive(Serialize)]
struct PlannedUpdate<'a> {
    #[serde(flatten)]
    update: &'a Update,
    divisor: f64,
}

/// Writes all updates of the plan.
pub(super) fn write_plan(path: &Path, plan: &TrainPlan, rows: &dyn RowSource) -> Result<()> {
    write_atomically(path, |file| {
        for update in plan.updates_after(0) {
            let divisor = divisor_of(plan, &update, rows);
            serde_json::to_writer(&mut *file, &PlannedUpdate { update: &update, divisor })?;
            file.write_all(b"\n")?;
        }
        Ok(())
    })
}

fn divisor_of(plan: &TrainPlan, update: &Update, rows: &dyn RowSource) -> f64 {
    let Divisor::Constant(divisor) = plan.divisor else {
        let lengths = update.rows.iter().map(|&row| rows.lengths(row));
        return plan.divisor.of(lengths.map(|row| row.total().min(plan.row_limit) - row.prompt));
    };
    divisor
}

/// The file of the rows: the one that they are in, or a new one.
pub(super) fn rows_file(work: &Path, rows: &dyn RowSource) -> Result<PathBuf> {
    if let Some(path) = rows.file() {
        return path.canonicalize().with_context(|| format!("cannot find {}", path.display()));
    }
    let path = work.join("rows");
    let mut writer = RowFileWriter::create(&path)?;
    for first in (0..rows.len()).step_by(ROWS_AT_ONCE) {
        let some = rows.read(&(first..rows.len().min(first + ROWS_AT_ONCE)).collect::<Vec<_>>())?;
        some.iter().try_for_each(|row| writer.push(row))?;
    }
    writer.finish()?;
    Ok(path)
}

/// An empty file that lines are added to.
pub(super) fn open_for_lines(path: &Path) -> Result<File> {
    File::create(path).with_context(|| format!("cannot create {}", path.display()))
}
