//! A training run: token ids and loss weights in, a model out. How the weights were computed is not its
//! concern.

use crate::batch::runs;
use crate::checkpoint::SaveDtype;
use crate::error::{Error, Result};
use crate::model::{Model, TokenLimits};
use crate::plan::{TrainPlan, Update};
use crate::resume::{Fingerprint, Position, Snapshot, clear, finish, latest, write_checkpoint};
use crate::rows::{RowSource, TrainRow};
use crate::train_config::{Init, StoreAs, TrainConfig};
use crate::trainer::{Outcome, Trainer};
use latrace_kernels::{Cpu, Device, F32};
use serde::Serialize;
use std::path::Path;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A training run.
#[derive(Clone)]
pub struct TrainJob<'a> {
    /// Folder of the first model and its tokenizer.
    pub model_dir: &'a Path,
    /// Folder that gets the final model; exists.
    pub out: &'a Path,
    /// The examples.
    pub rows: &'a dyn RowSource,
    /// The settings.
    pub config: TrainConfig,
    /// Continue from the checkpoint in `out`, if there is one.
    pub resume: bool,
}

/// What a run reports while it works.
#[derive(Clone, Debug)]
pub enum Event {
    /// The rows are checked, the model is loaded.
    Started {
        /// Updates in all.
        total_steps: u64,
        /// Rows left out as too long.
        dropped: usize,
        /// Rows cut as too long.
        truncated: usize,
        /// Updates done before, if the run resumes from a checkpoint.
        resumed_from: Option<u64>,
        /// Mean response length C, for the constant normaliser.
        normaliser: f64,
    },
    /// An update.
    Step(Metrics),
    /// A checkpoint is on disk.
    Checkpoint {
        /// Updates it holds.
        step: u64,
    },
    /// The run was finished before.
    NothingToDo,
    /// The model is on disk.
    Finished,
}

/// One update's metrics, a line of `metrics.jsonl`.
#[derive(Clone, Debug, Serialize)]
pub struct Metrics {
    /// Updates done.
    pub step: u64,
    /// Passes over the data done, with fraction.
    pub epoch: f64,
    /// The batch's loss, normalised.
    pub loss: f64,
    /// Learning rate used.
    pub lr: f64,
    /// Global norm of the gradient before clipping.
    pub grad_norm: f64,
    /// Tokens of the batch, prompts included.
    pub tokens: usize,
    /// Tokens over seconds of this update.
    pub tokens_per_second: f64,
    /// (Σw)² / Σw² over the batch's rows, w a row's mean weight.
    pub weight_ess: f64,
    /// Rows of the data set left out as too long.
    pub dropped_rows: usize,
    /// Rows of the data set cut as too long.
    pub truncated_rows: usize,
    /// Most memory the process has held so far; 0 where the system does not say.
    pub peak_memory_bytes: u64,
    /// The arithmetic of products.
    pub compute: &'static str,
    /// Seconds since 1970.
    pub time: f64,
}

impl Metrics {
    /// Those of an update that took `seconds` in the arithmetic `compute`, with the memory of this process.
    pub fn new(
        plan: &TrainPlan,
        update: &Update,
        rows: &[TrainRow],
        outcome: Outcome,
        seconds: f64,
        compute: &'static str,
    ) -> Self {
        let Outcome { loss, grad_norm, tokens } = outcome;
        Self {
            step: update.number,
            epoch: update.epoch,
            loss,
            lr: update.learning_rate,
            grad_norm,
            tokens,
            tokens_per_second: tokens as f64 / seconds,
            weight_ess: effective_sample_size(rows),
            dropped_rows: plan.dropped,
            truncated_rows: plan.truncated,
            peak_memory_bytes: peak_memory_bytes(),
            compute,
            time: seconds_since_1970(),
        }
    }
}

/// 0 if the clock is set to an earlier time.
fn seconds_since_1970() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

/// Trains on the CPU, writing checkpoints and at last the model into `job.out`.
///
/// The same job gives the same bits for any number of threads, and whether or not it was interrupted.
///
/// # Errors
/// Bad rows or settings, a non-finite loss or gradient (before the update), I/O errors.
pub fn train(job: TrainJob<'_>, observer: &mut dyn FnMut(Event) -> Result<()>) -> Result<()> {
    train_on(Cpu::default(), job, observer)
}

/// As [`train`], on a device.
///
/// # Errors
/// As [`train`].
pub fn train_on<D: Device>(
    device: D,
    job: TrainJob<'_>,
    observer: &mut dyn FnMut(Event) -> Result<()>,
) -> Result<()> {
    job.config.validate()?;
    // All rows are read once before the model is loaded: the fingerprint decides whether a run may resume.
    let survey = Survey::of(job.rows, &job.config)?.computed_by(device.arithmetic(), &job.config);
    let position = job.position(survey.fingerprint())?;
    if let Position::Finished = position {
        // A run that was killed after its last file may have left checkpoints behind.
        clear(job.out)?;
        return observer(Event::NothingToDo);
    }
    let model = job.first_model(device, &position)?;
    Run::planned(&job, survey, model, observer)?.carry_out(position)
}

impl TrainJob<'_> {
    fn position(&self, fingerprint: u64) -> Result<Position> {
        if self.resume { latest(self.out, fingerprint) } else { Ok(Position::Fresh) }
    }

    fn first_model<D: Device>(&self, device: D, position: &Position) -> Result<Model<D>> {
        match position {
            // A checkpoint is a model folder of its own, with the weights after its last update.
            Position::Checkpoint(state) => Model::load_on(device, &state.folder),
            _ if self.config.init == Init::Random => {
                Model::random_on(device, self.model_dir, self.config.seed)
            }
            _ => self.adapted(Model::load_on(device, self.model_dir)?),
        }
    }

    /// The model with an adapter, if one is trained; otherwise in one piece, whose weights can be.
    fn adapted<D: Device>(&self, model: Model<D>) -> Result<Model<D>> {
        match &self.config.lora {
            Some(lora) => model.with_lora(lora, self.model_dir, self.config.seed),
            None => Ok(model.merged()),
        }
    }
}

/// A planned run, and what it reports to.
struct Run<'a, D: Device> {
    job: &'a TrainJob<'a>,
    fingerprint: u64,
    plan: TrainPlan,
    trainer: Trainer<D>,
    observer: &'a mut dyn FnMut(Event) -> Result<()>,
}

impl<'a, D: Device> Run<'a, D> {
    /// Plans the run, after checking all of its rows.
    fn planned(
        job: &'a TrainJob<'a>,
        survey: Survey,
        model: Model<D>,
        observer: &'a mut dyn FnMut(Event) -> Result<()>,
    ) -> Result<Self> {
        let fingerprint = survey.fingerprint();
        let plan = survey.plan(job.rows, &job.config, model.limits())?;
        let trainer = Trainer::new(model, job.config.clone())?;
        Ok(Self { job, fingerprint, plan, trainer, observer })
    }

    fn carry_out(mut self, position: Position) -> Result<()> {
        // Moments before the first event, so that what is reported as resumed has been read without error.
        let resumed_from = self.restore(position)?;
        (self.observer)(started(&self.plan, resumed_from))?;
        let plan = self.plan.clone();
        for update in plan.updates_after(self.trainer.step()) {
            self.update(&update)?;
            self.save_between_updates()?;
        }
        self.finish()
    }

    /// Continues from a checkpoint, if there is one; returns the number of updates it holds.
    fn restore(&mut self, position: Position) -> Result<Option<u64>> {
        let Position::Checkpoint(state) = position else { return Ok(None) };
        let moments = state.moments(&self.trainer.trained())?;
        self.trainer.restore(state.step, moments);
        Ok(Some(state.step))
    }

    fn update(&mut self, update: &Update) -> Result<()> {
        // The clock covers reading, so that a slow disk shows in tokens per second.
        let start = Instant::now();
        let rows = self.read(update)?;
        let outcome = self.trainer.update(update, self.plan.divisor, &rows)?;
        let seconds = start.elapsed().as_secs_f64();
        let compute = self.trainer.model().device.arithmetic();
        (self.observer)(Event::Step(Metrics::new(&self.plan, update, &rows, outcome, seconds, compute)))
    }

    /// The rows of an update, cut to the plan's limit.
    fn read(&self, update: &Update) -> Result<Vec<TrainRow>> {
        let mut rows = self.job.rows.read(&update.rows)?;
        rows.iter_mut().for_each(|row| row.truncate(self.plan.row_limit));
        Ok(rows)
    }

    fn save_between_updates(&mut self) -> Result<()> {
        let step = self.trainer.step();
        if !self.is_checkpoint_due(step) {
            return Ok(());
        }
        write_checkpoint(self.job.out, self.job.model_dir, &self.snapshot())?;
        (self.observer)(Event::Checkpoint { step })
    }

    fn is_checkpoint_due(&self, step: u64) -> bool {
        let every = self.job.config.checkpoint_every;
        // After the last update, the final model takes the checkpoint's place.
        every > 0 && step.is_multiple_of(every) && step < self.plan.total_updates
    }

    fn finish(self) -> Result<()> {
        let TrainJob { out, model_dir, config, .. } = self.job;
        finish(out, model_dir, &self.snapshot(), config.save_dtype.into())?;
        (self.observer)(Event::Finished)
    }

    fn snapshot(&self) -> Snapshot<'_, D> {
        let seed = self.job.config.seed;
        Snapshot { trainer: &self.trainer, seed, fingerprint: self.fingerprint }
    }
}

fn started(plan: &TrainPlan, resumed_from: Option<u64>) -> Event {
    Event::Started {
        total_steps: plan.total_updates,
        dropped: plan.dropped,
        truncated: plan.truncated,
        resumed_from,
        normaliser: plan.mean_response,
    }
}

impl From<StoreAs> for SaveDtype {
    fn from(stored: StoreAs) -> Self {
        match stored {
            StoreAs::F32 => Self::F32,
            StoreAs::Bf16 => Self::Bf16,
        }
    }
}

/// Tokens of rows held at once by the survey: 4 MiB of ids.
const SURVEY_TOKENS: usize = 1 << 20;

/// What one pass over all rows finds, before anything is trained.
pub struct Survey {
    fingerprint: Fingerprint,
    /// By row, the largest token id within the cut-off.
    largest_ids: Vec<u32>,
    /// The first row that cannot be trained on. It is not reported at once, since a finished run needs no
    /// rows.
    failure: Option<Error>,
}

impl Survey {
    /// Reads all rows.
    ///
    /// # Errors
    /// Rows that cannot be read; those that cannot be trained on are errors of [`Survey::plan`].
    pub fn of(source: &dyn RowSource, config: &TrainConfig) -> Result<Self> {
        let largest_ids = Vec::with_capacity(source.len());
        let mut survey = Self { fingerprint: Fingerprint::new(config), largest_ids, failure: None };
        for run in runs(&total_lengths(source), SURVEY_TOKENS) {
            let rows = source.read(&run.collect::<Vec<_>>())?;
            rows.iter().for_each(|row| survey.add(row, config));
        }
        Ok(survey)
    }

    /// Makes [`Device::arithmetic`] a part of the fingerprint, unless it is f32, as it once always was.
    fn computed_by(mut self, arithmetic: &str, config: &TrainConfig) -> Self {
        if arithmetic != F32 {
            self.fingerprint.absorb_text(arithmetic);
            // A gradient's sum over tokens depends on where a pass begins.
            self.fingerprint.absorb(config.tokens_per_micro_batch as u64);
        }
        self
    }

    /// A hash of the rows and of the settings that change results: a run never resumes with others.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint.value()
    }

    /// The plan of training a model with these limits on the rows, the same that [`Survey::of`] was given.
    ///
    /// # Errors
    /// The first row that cannot be trained on; as [`TrainPlan::new`].
    pub fn plan(
        self,
        source: &dyn RowSource,
        config: &TrainConfig,
        limits: TokenLimits,
    ) -> Result<TrainPlan> {
        self.failure.map_or(Ok(()), Err)?;
        let plan = TrainPlan::new(source, config, limits.positions)?;
        check_ids(source, &plan, &self.largest_ids, limits)?;
        Ok(plan)
    }

    fn add(&mut self, row: &TrainRow, config: &TrainConfig) {
        self.fingerprint.add(row);
        if self.failure.is_none() {
            self.failure = row.check(config.loss).err();
        }
        // Ids beyond the cut-off are never trained on, so the model need not know them.
        let within = row.tokens.iter().take(config.cutoff_length);
        self.largest_ids.push(within.copied().max().unwrap_or(0));
    }
}

fn total_lengths(source: &dyn RowSource) -> Vec<usize> {
    (0..source.len()).map(|row| source.lengths(row).total()).collect()
}

/// Fails unless the model has an embedding for every token that is trained on.
fn check_ids(
    source: &dyn RowSource,
    plan: &TrainPlan,
    largest_ids: &[u32],
    limits: TokenLimits,
) -> Result<()> {
    let is_suspect = |row: &&usize| largest_ids[**row] as usize >= limits.vocabulary;
    // Suspects are read again, for their names, and cut: the model's positions may be below the cut-off.
    for &row in plan.rows.iter().filter(is_suspect) {
        for mut row in source.read(&[row])? {
            row.truncate(plan.row_limit);
            limits.check_ids(&row.id, &row.tokens)?;
        }
    }
    Ok(())
}

/// Kish's effective sample size, (Σw)² / Σw².
fn effective_sample_size(rows: &[TrainRow]) -> f64 {
    let weights: Vec<f64> = rows.iter().map(TrainRow::mean_weight).collect();
    let (sum, squares) = (weights.iter().sum::<f64>(), weights.iter().map(|w| w * w).sum::<f64>());
    // Rows of weight 0 alone have no size, rather than 0/0.
    if squares > 0.0 { sum * sum / squares } else { 0.0 }
}

/// Has [`peak_memory_bytes`] begin anew, from what the process holds now. Where the system has no such thing, it goes on.
pub fn forget_peak_memory() {
    // The kernel's number for resetting the high-water mark: proc_pid_clear_refs(5).
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// Most memory the process has held (resident) since it began, or since [`forget_peak_memory`], in bytes; 0 where the system
/// does not say.
pub fn peak_memory_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    peak_kilobytes(&status).unwrap_or(0) * 1024
}

/// Linux reports the high-water mark as a line like `VmHWM:    5120 kB`.
fn peak_kilobytes(status: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    value.trim().trim_end_matches(" kB").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_of_memory_can_begin_anew() {
        // Large enough for what other tests hold meanwhile to make no difference, and given back to the system at once.
        const LARGE: u64 = 512 << 20;
        let held = std::hint::black_box(vec![1_u8; LARGE as usize]);
        let with = peak_memory_bytes();
        assert!(with >= LARGE || with == 0, "{with}");
        drop(held);
        if !Path::new("/proc/self/clear_refs").exists() {
            eprintln!("this kernel resets no peak, so nothing is tested");
            return;
        }
        forget_peak_memory();
        assert!(peak_memory_bytes() < with - LARGE / 2, "{with}");
    }
}
