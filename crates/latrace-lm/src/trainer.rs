//! A model in training: each [`Update`] of a plan becomes one optimiser step.

use crate::batch::{Batch, runs};
use crate::config::Parameter;
use crate::error::{Error, Result};
use crate::gradient::Gradients;
use crate::model::{Model, upload};
use crate::plan::{Divisor, Update};
use crate::rows::{Policy, TrainRow};
use crate::train_config::{Loss, TrainConfig};
use latrace_core::random::{draw, key};
use latrace_kernels::{AdamW, Cpu, Device, TokenLoss};
use std::ops::Range;

/// First and second moments of AdamW, one buffer per parameter.
pub type Moments<B> = [Vec<B>; 2];

/// A model in training.
pub struct Trainer<D: Device = Cpu> {
    model: Model<D>,
    config: TrainConfig,
    step: u64,
    moments: Moments<D::Buffer>,
    /// By parameter: whether it is trained, and whether weight decay applies.
    trained: Vec<bool>,
    decayed: Vec<bool>,
    gradients: Gradients<D>,
    batch: Batch,
    tokens: TokenNumbers,
    /// Of each token of the batch, for what dropout leaves out.
    keys: Vec<u64>,
}

/// The results of an update.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// The rows' loss, divided.
    pub loss: f64,
    /// Global norm of the gradient before clipping.
    pub grad_norm: f64,
    /// Tokens of the rows, prompts included.
    pub tokens: usize,
}

impl<D: Device> Trainer<D> {
    /// A trainer before its first update.
    ///
    /// # Errors
    /// A bad setting; `frozen` names that are no parameters, or leave none to train.
    pub fn new(mut model: Model<D>, config: TrainConfig) -> Result<Self> {
        config.validate()?;
        let (trained, dropout) =
            (trained(&model, &config)?, config.lora.as_ref().map_or(0.0, |lora| lora.dropout));
        (0..trained.len()).filter(|&at| trained[at]).for_each(|at| model.widen(at));
        Ok(Self {
            step: 0,
            moments: [model.zeros(&trained), model.zeros(&trained)],
            decayed: decayed(&model.described(), &config),
            gradients: Gradients::new(&model, trained.clone(), config.recompute, dropout as f32),
            trained,
            batch: Batch::new(),
            tokens: TokenNumbers::default(),
            keys: Vec::new(),
            model,
            config,
        })
    }

    /// The model as it is now.
    pub fn model(&self) -> &Model<D> {
        &self.model
    }

    /// Gradients of the last update, in the order of `Model::parameters`, before clipping; those of frozen parameters are
    /// empty.
    pub fn gradients(&self) -> &[D::Buffer] {
        self.gradients.buffers()
    }

    /// The parameters that are trained.
    pub fn trained(&self) -> Vec<Parameter> {
        let all = self.model.described().into_iter().zip(&self.trained);
        all.filter(|(_, trained)| **trained).map(|(parameter, _)| parameter).collect()
    }

    /// Updates done.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// AdamW's moments, in the order of `Model::parameters`; those of frozen parameters are empty.
    pub fn moments(&self) -> &Moments<D::Buffer> {
        &self.moments
    }

    /// Continues after update `step`, with the moments after it, of the parameters that are trained. The model must
    /// already be the one after it.
    pub fn restore(&mut self, step: u64, moments: Moments<Vec<f32>>) {
        self.step = step;
        self.moments = moments.map(|trained| {
            let mut trained = trained.into_iter();
            let of_all = self
                .trained
                .iter()
                .map(|&is| if is { trained.next().unwrap_or_default() } else { Vec::new() });
            upload(&self.model.device, of_all.collect())
        });
    }

    /// One optimiser step on `rows`, those of `update`, cut to the plan's limit.
    ///
    /// # Errors
    /// Another update than the next one; a non-finite loss or gradient norm. Nothing is changed then.
    pub fn update(&mut self, update: &Update, divisor: Divisor, rows: &[TrainRow]) -> Result<Outcome> {
        self.check_is_next(update)?;
        let loss = self.accumulate(update.number, rows, divisor.of(rows.iter().map(TrainRow::response_len)));
        let grad_norm = self.grad_norm();
        // Before any weight or moment is changed: a single NaN would spread to all of them.
        check_finite(update, rows, "loss", loss)?;
        check_finite(update, rows, "gradient norm", grad_norm)?;
        self.step = update.number;
        self.apply(update.learning_rate, grad_norm);
        Ok(Outcome { loss, grad_norm, tokens: total_lengths(rows).iter().sum() })
    }

    /// AdamW's bias correction counts updates, so none may be skipped or repeated.
    fn check_is_next(&self, update: &Update) -> Result<()> {
        let (expected, got) = (self.step + 1, update.number);
        if got == expected {
            return Ok(());
        }
        Err(Error::Invalid(format!("expected update {expected}, got update {got}")))
    }

    /// The global norm: over all parameters, in their order, so that its bits are always the same.
    fn grad_norm(&self) -> f64 {
        let squares = self.gradients().iter().map(|g| self.model.device.squared_norm(g));
        squares.sum::<f64>().sqrt()
    }

    /// The gradient of the rows' loss over `divisor`, and that loss.
    fn accumulate(&mut self, update: u64, rows: &[TrainRow], divisor: f64) -> f64 {
        self.gradients.clear(&self.model.device);
        // The divisor is that of the whole update, so the micro-batches' gradients simply add up.
        let runs = runs(&total_lengths(rows), self.config.tokens_per_micro_batch);
        runs.into_iter().fold(0.0, |loss, run| {
            // Of the row's place in the update, not in its micro-batch: how an update is cut changes no bit.
            self.set_keys(update, rows, run.clone());
            loss + self.micro_batch(&rows[run], divisor)
        })
    }

    /// A key for each token of the rows `run` of an update; none without dropout.
    fn set_keys(&mut self, update: u64, rows: &[TrainRow], run: Range<usize>) {
        self.keys.clear();
        if self.config.lora.as_ref().is_none_or(|lora| lora.dropout == 0.0) {
            return;
        }
        for (row, at) in rows[run.clone()].iter().zip(run) {
            let stream = key(self.config.seed, &[DROPOUT, update, at as u64]);
            self.keys.extend((0..row.tokens.len()).map(|position| draw(stream, position as u64)));
        }
    }

    fn micro_batch(&mut self, rows: &[TrainRow], divisor: f64) -> f64 {
        self.pack(rows, divisor);
        let loss = self.tokens.loss(&self.config);
        let logp = self.gradients.accumulate(&self.model, &self.batch, &self.keys, loss);
        // The value in f64 and in order, from the log-probs of the same pass that made the gradient.
        logp.iter().enumerate().map(|(i, &logp)| loss.value(i, logp)).sum()
    }

    fn pack(&mut self, rows: &[TrainRow], divisor: f64) {
        self.batch.clear();
        self.tokens.clear();
        for row in rows {
            let scored = |t: usize| row.is_scored(t - row.prompt_len);
            self.batch.push(row.tokens.iter().copied(), row.prompt_len, scored);
            self.tokens.push(row, divisor);
        }
    }

    fn apply(&mut self, rate: f64, norm: f64) {
        let optimiser = self.optimiser(rate, norm);
        // One parameter at a time, each in parallel within: the order of parameters changes no bit.
        let Self { model, moments: [first, second], gradients, trained, decayed, .. } = self;
        let all = model.parameters.iter_mut().enumerate();
        for (i, parameter) in all.filter(|(i, _)| trained[*i]) {
            let update = if decayed[i] { optimiser } else { AdamW { weight_decay: 0.0, ..optimiser } };
            let gradient = &gradients.buffers()[i];
            model.device.adamw(parameter, &mut first[i], &mut second[i], gradient, update);
        }
    }

    fn optimiser(&self, rate: f64, norm: f64) -> AdamW {
        let TrainConfig { clip_norm, beta1, beta2, epsilon, weight_decay, .. } = self.config;
        AdamW {
            learning_rate: rate as f32,
            // Still f64: 1 − beta2 would lose four digits in f32.
            beta1,
            beta2,
            epsilon: epsilon as f32,
            weight_decay: weight_decay as f32,
            step: self.step,
            // Clipping is part of the step, so that gradients are not read and written once more.
            gradient_scale: clip_scale(clip_norm, norm) as f32,
        }
    }
}

fn total_lengths(rows: &[TrainRow]) -> Vec<usize> {
    rows.iter().map(|row| row.tokens.len()).collect()
}

/// Sets the draws of dropout apart from those of the rows' order.
const DROPOUT: u64 = 0x6472_6f70;

/// By parameter, whether it is trained: of an adapted model, the adapter alone.
fn trained<D: Device>(model: &Model<D>, config: &TrainConfig) -> Result<Vec<bool>> {
    let described = model.described();
    for name in &config.frozen {
        if !described.iter().any(|parameter| is_within(&parameter.name, name)) {
            let expected =
                "the name of a parameter or of a module, such as model.embed_tokens or model.layers.0";
            return Err(Error::Invalid(format!("frozen: expected {expected}, got {name:?}")));
        }
    }
    let is_frozen = |parameter: &Parameter| config.frozen.iter().any(|name| is_within(&parameter.name, name));
    let is_base = |at: usize| model.adapter().is_some() && !model.is_of_adapter(at);
    let trained: Vec<bool> =
        described.iter().enumerate().map(|(at, parameter)| !is_base(at) && !is_frozen(parameter)).collect();
    if trained.contains(&true) {
        return Ok(trained);
    }
    Err(Error::Invalid("frozen: expected parameters that are left to train, got all of them".to_owned()))
}

/// Whether a parameter is the named one, or of the named module.
fn is_within(parameter: &str, name: &str) -> bool {
    parameter.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// By parameter, whether weight decay applies.
fn decayed(described: &[Parameter], config: &TrainConfig) -> Vec<bool> {
    described.iter().map(|p| config.decay_norms_and_biases || !p.decay_exempt).collect()
}

/// What a gradient of norm `norm` is multiplied by.
fn clip_scale(clip_norm: f64, norm: f64) -> f64 {
    // torch (`clip_grad_norm_`) adds the same millionth, so that the two agree in every step.
    if clip_norm > 0.0 { (clip_norm / (norm + 1e-6)).min(1.0) } else { 1.0 }
}

fn check_finite(update: &Update, rows: &[TrainRow], what: &str, value: f64) -> Result<()> {
    if value.is_finite() {
        return Ok(());
    }
    Err(non_finite(update, rows, format!("{what} {value}")))
}

fn non_finite(update: &Update, rows: &[TrainRow], what: String) -> Error {
    let ids = rows.iter().map(|row| row.id.clone()).collect();
    Error::NonFinite { step: update.number, what, ids }
}

/// What the loss needs to know about a micro-batch's scored tokens: one number for each of them.
#[derive(Default)]
struct TokenNumbers {
    weights: Vec<f32>,
    advantages: Vec<f32>,
    old_logp: Vec<f32>,
}

impl TokenNumbers {
    fn clear(&mut self) {
        let Self { weights, advantages, old_logp } = self;
        [weights, advantages, old_logp].into_iter().for_each(Vec::clear);
    }

    fn push(&mut self, row: &TrainRow, divisor: f64) {
        for t in (0..row.response_len()).filter(|&t| row.is_scored(t)) {
            // Divided in f64 and rounded once: the divisor may be a sum of millions of tokens.
            self.weights.push((f64::from(row.weights.at(t)) / divisor) as f32);
            row.policy.iter().for_each(|policy| self.push_action(policy, t));
        }
    }

    fn push_action(&mut self, policy: &Policy, token: usize) {
        self.advantages.push(policy.advantage(token));
        self.old_logp.push(policy.old_logp[token]);
    }

    fn loss(&self, config: &TrainConfig) -> TokenLoss<'_> {
        let Self { weights, advantages, old_logp } = self;
        match config.loss {
            Loss::Nll => TokenLoss::NegativeLogLikelihood { weights },
            Loss::ClippedPolicyGradient => TokenLoss::ClippedPolicyGradient {
                weights,
                advantages,
                old_logp,
                low: config.clip_low as f32,
                high: config.clip_high as f32,
            },
        }
    }
}
