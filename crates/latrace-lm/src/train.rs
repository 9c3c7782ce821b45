//! The trainer: token ids and loss weights in, a model out. It knows nothing of where the weights come from.

use crate::batch::{Batch, runs};
use crate::checkpoint::SaveDtype;
use crate::error::Error;
use crate::gradient::Gradients;
use crate::model::Model;
use crate::resume::{Position, State, clear, fingerprint, finish, latest, write_checkpoint};
use crate::schedule::{epoch_order, learning_rate};
use crate::train_config::{Init, Loss, Normaliser, OverLength, StoreAs, TrainConfig};
use latrace_kernels::{AdamW, Cpu, Device, TokenLoss};
use serde::Serialize;
use std::path::Path;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// What a policy gradient needs of a row, per response token.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Policy {
    /// Advantage of each response token.
    pub advantages: Vec<f32>,
    /// log p (nats) of each response token under the policy that sampled it.
    pub old_logp: Vec<f32>,
}

/// One training example.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainRow {
    /// Its name, for messages.
    pub id: String,
    /// Prompt, then response.
    pub tokens: Vec<u32>,
    /// Tokens of the prompt.
    pub prompt_len: usize,
    /// Loss weight of each response token: finite, not negative.
    pub weights: Vec<f32>,
    /// For the clipped policy gradient only.
    pub policy: Option<Policy>,
}

impl TrainRow {
    fn response_len(&self) -> usize {
        self.tokens.len() - self.prompt_len
    }
}

/// A training run.
#[derive(Clone, Debug)]
pub struct TrainJob<'a> {
    /// Folder of the first model and its tokenizer.
    pub model_dir: &'a Path,
    /// Folder that gets the final model; exists.
    pub out: &'a Path,
    /// The examples.
    pub rows: Vec<TrainRow>,
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
        /// Updates done before, if the run goes on from a checkpoint.
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
    /// Seconds since 1970.
    pub time: f64,
}

/// Trains, writing checkpoints and at last the model into `job.out`.
///
/// The same job gives the same bits for any number of threads, and whether or not it was interrupted.
///
/// # Errors
/// Bad rows or settings, a non-finite loss or gradient (before the update), what the file system refuses.
pub fn train(job: TrainJob<'_>, observer: &mut dyn FnMut(Event) -> Result<(), Error>) -> Result<(), Error> {
    job.config.validate()?;
    let job_fingerprint = fingerprint(&job.config, &job.rows);
    let position = if job.resume { latest(job.out, job_fingerprint)? } else { Position::Fresh };
    let model = match &position {
        Position::Finished => {
            clear(job.out)?;
            return observer(Event::NothingToDo);
        }
        Position::Checkpoint(state) => Model::load(&state.folder)?,
        Position::Fresh if job.config.init == Init::Random => Model::random(job.model_dir, job.config.seed)?,
        Position::Fresh => Model::load(job.model_dir)?,
    };
    let config = job.config;
    let (rows, dropped, truncated) = prepare(job.rows, &config, &model)?;
    let mut trainer = Trainer::new(model, config, rows)?;
    (trainer.dropped, trainer.truncated) = (dropped, truncated);
    let mut resumed_from = None;
    if let Position::Checkpoint(state) = position {
        resumed_from = Some(state.step);
        trainer.restore(state)?;
    }
    let total_steps = trainer.total_steps;
    observer(Event::Started {
        total_steps,
        dropped,
        truncated,
        resumed_from,
        normaliser: trainer.mean_response,
    })?;
    while trainer.step < total_steps {
        observer(Event::Step(trainer.update()?))?;
        let every = trainer.config.checkpoint_every;
        if every > 0 && trainer.step.is_multiple_of(every) && trainer.step < total_steps {
            write_checkpoint(job.out, job.model_dir, &trainer, job_fingerprint)?;
            observer(Event::Checkpoint { step: trainer.step })?;
        }
    }
    let dtype = match trainer.config.save_dtype {
        StoreAs::F32 => SaveDtype::F32,
        StoreAs::Bf16 => SaveDtype::Bf16,
    };
    finish(job.out, job.model_dir, &trainer, dtype, job_fingerprint)?;
    clear(job.out)?;
    observer(Event::Finished)
}

/// Checks rows and applies the cut-off: (rows, dropped, truncated).
fn prepare(
    mut rows: Vec<TrainRow>,
    config: &TrainConfig,
    model: &Model,
) -> Result<(Vec<TrainRow>, usize, usize), Error> {
    let limit = config.cutoff_length.min(model.config.max_positions);
    let (mut dropped, mut truncated) = (0, 0);
    for row in &rows {
        check_row(row, config.loss)?;
    }
    let mut failure = None;
    rows.retain_mut(|row| {
        if row.tokens.len() <= limit {
            return true;
        }
        match config.over_length {
            OverLength::Truncate if row.prompt_len < limit => {
                truncated += 1;
                truncate(row, limit);
                true
            }
            OverLength::Drop | OverLength::Truncate => {
                dropped += 1;
                false
            }
            OverLength::Error => {
                failure.get_or_insert_with(|| (row.id.clone(), row.tokens.len()));
                true
            }
        }
    });
    if let Some((id, length)) = failure {
        let detail = format!(
            "expected at most {limit} tokens (cutoff_length and the model's positions), got {length}; over_length = \"error\""
        );
        return Err(Error::Row { id, detail });
    }
    for row in &rows {
        model.check_ids(&row.id, &row.tokens)?;
    }
    if rows.is_empty() {
        return Err(Error::Invalid(format!(
            "no rows to train on: {dropped} of {dropped} are longer than {limit} tokens"
        )));
    }
    Ok((rows, dropped, truncated))
}

fn truncate(row: &mut TrainRow, limit: usize) {
    row.tokens.truncate(limit);
    let kept = row.response_len();
    row.weights.truncate(kept);
    if let Some(policy) = &mut row.policy {
        policy.advantages.truncate(kept);
        policy.old_logp.truncate(kept);
    }
}

fn check_row(row: &TrainRow, loss: Loss) -> Result<(), Error> {
    let fail = |detail: String| Err(Error::Row { id: row.id.clone(), detail });
    if row.prompt_len == 0 {
        return fail(
            "the prompt has no tokens: expected at least one for the first response token to follow".into(),
        );
    }
    if row.prompt_len >= row.tokens.len() {
        return fail("the response has no tokens".into());
    }
    let response = row.response_len();
    if row.weights.len() != response {
        return fail(format!(
            "expected {response} token weights, one per response token, got {}",
            row.weights.len()
        ));
    }
    if let Some((at, w)) = row.weights.iter().enumerate().find(|(_, w)| !w.is_finite() || **w < 0.0) {
        return fail(format!(
            "weight of response token {at}: expected a finite number of at least 0, got {w}"
        ));
    }
    match (&row.policy, loss) {
        (None, Loss::Nll) => Ok(()),
        (Some(p), Loss::ClippedPolicyGradient) => {
            let finite = p.advantages.iter().chain(&p.old_logp).all(|x| x.is_finite());
            if p.advantages.len() != response || p.old_logp.len() != response || !finite {
                return fail(format!(
                    "expected {response} finite advantages and old log-probs, one per response token"
                ));
            }
            Ok(())
        }
        (None, Loss::ClippedPolicyGradient) => {
            fail("loss = \"clipped-policy-gradient\" needs advantages and old log-probs".into())
        }
        (Some(_), Loss::Nll) => {
            fail("advantages and old log-probs have no meaning with loss = \"nll\"".into())
        }
    }
}

/// A model in training: one call of [`Trainer::update`] is one optimiser step.
pub struct Trainer {
    pub(crate) model: Model,
    pub(crate) config: TrainConfig,
    pub(crate) step: u64,
    pub(crate) moments: [Vec<Vec<f32>>; 2],
    rows: Vec<TrainRow>,
    total_steps: u64,
    mean_response: f64,
    decayed: Vec<bool>,
    gradients: Gradients<Cpu>,
    batch: Batch,
    order: (u64, Vec<usize>),
    dropped: usize,
    truncated: usize,
}

impl Trainer {
    /// A trainer at step 0. The rows are non-empty and fit the model.
    ///
    /// # Errors
    /// No rows, or a bad setting.
    pub fn new(model: Model, config: TrainConfig, rows: Vec<TrainRow>) -> Result<Self, Error> {
        config.validate()?;
        if rows.is_empty() {
            return Err(Error::Invalid("no rows to train on".into()));
        }
        let per_epoch = updates_per_epoch(rows.len(), &config);
        let mean_response = rows.iter().map(TrainRow::response_len).sum::<usize>() as f64 / rows.len() as f64;
        let zeros = || model.parameters.iter().map(|p| vec![0.0; p.len()]).collect::<Vec<_>>();
        let decayed = model
            .config
            .parameters()
            .iter()
            .map(|p| config.decay_norms_and_biases || !p.decay_exempt)
            .collect();
        Ok(Self {
            moments: [zeros(), zeros()],
            total_steps: config.max_steps.unwrap_or(config.epochs * per_epoch),
            gradients: Gradients::new(&model, config.recompute),
            batch: Batch::new(),
            order: (0, epoch_order(rows.len(), config.shuffle, config.seed, 0)),
            step: 0,
            dropped: 0,
            truncated: 0,
            mean_response,
            decayed,
            model,
            config,
            rows,
        })
    }

    /// The model as it is now.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Gradients of the last update, in the order of `Config::parameters`, before clipping.
    pub fn gradients(&self) -> &[Vec<f32>] {
        &self.gradients.gradients
    }

    fn restore(&mut self, state: State) -> Result<(), Error> {
        self.moments = state.moments(&self.model.config)?;
        self.step = state.step;
        Ok(())
    }

    /// The rows of the next update.
    fn next_rows(&mut self) -> Vec<usize> {
        let per_epoch = updates_per_epoch(self.rows.len(), &self.config);
        let (epoch, within) = (self.step / per_epoch, (self.step % per_epoch) as usize);
        if self.order.0 != epoch {
            self.order = (epoch, epoch_order(self.rows.len(), self.config.shuffle, self.config.seed, epoch));
        }
        let first = within * self.config.batch_size;
        self.order.1[first..self.rows.len().min(first + self.config.batch_size)].to_vec()
    }

    /// One optimiser step on the next rows.
    ///
    /// # Errors
    /// A non-finite loss or gradient norm: nothing is changed then.
    pub fn update(&mut self) -> Result<Metrics, Error> {
        let start = Instant::now();
        let rows = self.next_rows();
        let (loss, tokens) = self.accumulate(&rows);
        let norm =
            self.gradients.gradients.iter().map(|g| self.model.device.squared_norm(g)).sum::<f64>().sqrt();
        for (what, value) in [("loss", loss), ("gradient norm", norm)] {
            if !value.is_finite() {
                let ids = rows.iter().map(|&i| self.rows[i].id.clone()).collect();
                return Err(Error::NonFinite { step: self.step + 1, what: format!("{what} {value}"), ids });
            }
        }
        let rate = learning_rate(&self.config, self.step, self.total_steps);
        self.step += 1;
        self.apply(rate, norm);
        let seconds = start.elapsed().as_secs_f64();
        let per_epoch = updates_per_epoch(self.rows.len(), &self.config) as f64;
        Ok(Metrics {
            step: self.step,
            epoch: self.step as f64 / per_epoch,
            loss,
            lr: rate,
            grad_norm: norm,
            tokens,
            tokens_per_second: tokens as f64 / seconds,
            weight_ess: self.weight_ess(&rows),
            dropped_rows: self.dropped,
            truncated_rows: self.truncated,
            peak_memory_bytes: peak_memory_bytes(),
            time: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |t| t.as_secs_f64()),
        })
    }

    /// Gradient of the rows' normalised loss: (loss, tokens).
    fn accumulate(&mut self, rows: &[usize]) -> (f64, usize) {
        self.gradients.clear(&self.model.device);
        let divisor = match self.config.normaliser {
            Normaliser::Constant => self.mean_response * self.config.batch_size as f64,
            Normaliser::TokenMean => rows.iter().map(|&i| self.rows[i].response_len()).sum::<usize>() as f64,
        };
        let lengths: Vec<usize> = rows.iter().map(|&i| self.rows[i].tokens.len()).collect();
        let mut loss = 0.0;
        for run in runs(&lengths, self.config.tokens_per_micro_batch) {
            loss += self.micro_batch(&rows[run], divisor);
        }
        (loss, lengths.iter().sum())
    }

    fn micro_batch(&mut self, rows: &[usize], divisor: f64) -> f64 {
        self.batch.clear();
        let (mut weights, mut advantages, mut old_logp) = (Vec::new(), Vec::new(), Vec::new());
        for row in rows.iter().map(|&i| &self.rows[i]) {
            // Tokens of weight 0 need no log-prob: the head skips them.
            let scored = |t: usize| row.weights[t - row.prompt_len] != 0.0;
            self.batch.push(row.tokens.iter().copied(), row.prompt_len, scored);
            for t in (0..row.weights.len()).filter(|&t| row.weights[t] != 0.0) {
                weights.push((f64::from(row.weights[t]) / divisor) as f32);
                if let Some(policy) = &row.policy {
                    advantages.push(policy.advantages[t]);
                    old_logp.push(policy.old_logp[t]);
                }
            }
        }
        let loss = match self.config.loss {
            Loss::Nll => TokenLoss::NegativeLogLikelihood { weights: &weights },
            Loss::ClippedPolicyGradient => TokenLoss::ClippedPolicyGradient {
                weights: &weights,
                advantages: &advantages,
                old_logp: &old_logp,
                low: self.config.clip_low as f32,
                high: self.config.clip_high as f32,
            },
        };
        let logp = self.gradients.accumulate(&self.model, &self.batch, loss);
        logp.iter().enumerate().map(|(i, &logp)| loss.value(i, logp)).sum()
    }

    fn apply(&mut self, rate: f64, norm: f64) {
        let clip = self.config.clip_norm;
        let scale = if clip > 0.0 { (clip / (norm + 1e-6)).min(1.0) } else { 1.0 };
        let [first, second] = &mut self.moments;
        for (i, parameter) in self.model.parameters.iter_mut().enumerate() {
            let update = AdamW {
                learning_rate: rate as f32,
                beta1: self.config.beta1,
                beta2: self.config.beta2,
                epsilon: self.config.epsilon as f32,
                weight_decay: if self.decayed[i] { self.config.weight_decay as f32 } else { 0.0 },
                step: self.step,
                gradient_scale: scale as f32,
            };
            self.model.device.adamw(
                parameter,
                &mut first[i],
                &mut second[i],
                &self.gradients.gradients[i],
                update,
            );
        }
    }

    fn weight_ess(&self, rows: &[usize]) -> f64 {
        let mean = |row: &TrainRow| {
            row.weights.iter().map(|&w| f64::from(w)).sum::<f64>() / row.weights.len() as f64
        };
        let weights: Vec<f64> = rows.iter().map(|&i| mean(&self.rows[i])).collect();
        let (sum, squares) = (weights.iter().sum::<f64>(), weights.iter().map(|w| w * w).sum::<f64>());
        if squares > 0.0 { sum * sum / squares } else { 0.0 }
    }
}

/// Updates of a pass over the data, the last one's batch perhaps smaller.
fn updates_per_epoch(rows: usize, config: &TrainConfig) -> u64 {
    rows.div_ceil(config.batch_size) as u64
}

/// Most memory the process has held (resident), in bytes; 0 where the system does not say.
pub fn peak_memory_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|l| l.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) * 1024
}
