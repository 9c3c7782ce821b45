//! A model in training: each [`Update`] of a plan becomes one optimiser step.

use crate::batch::{Batch, runs};
use crate::error::Error;
use crate::gradient::Gradients;
use crate::model::Model;
use crate::plan::{Divisor, Update};
use crate::rows::TrainRow;
use crate::train_config::{Loss, TrainConfig};
use latrace_kernels::{AdamW, Cpu, Device, TokenLoss};

/// First and second moments of AdamW, one buffer per parameter.
pub type Moments<B> = [Vec<B>; 2];

/// A model in training.
pub struct Trainer<D: Device = Cpu> {
    model: Model<D>,
    config: TrainConfig,
    step: u64,
    moments: Moments<D::Buffer>,
    /// By parameter: whether weight decay applies.
    decayed: Vec<bool>,
    gradients: Gradients<D>,
    batch: Batch,
    tokens: TokenNumbers,
}

/// What an update came to.
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
    /// A bad setting.
    pub fn new(model: Model<D>, config: TrainConfig) -> Result<Self, Error> {
        config.validate()?;
        let device = &model.device;
        let zeros = || model.parameters.iter().map(|p| device.zeros(device.length(p))).collect();
        let moments = [zeros(), zeros()];
        let parameters = model.config.parameters();
        let decayed = parameters.iter().map(|p| config.decay_norms_and_biases || !p.decay_exempt).collect();
        let gradients = Gradients::new(&model, config.recompute);
        let (batch, tokens) = (Batch::new(), TokenNumbers::default());
        Ok(Self { model, config, step: 0, moments, decayed, gradients, batch, tokens })
    }

    /// The model as it is now.
    pub fn model(&self) -> &Model<D> {
        &self.model
    }

    /// Gradients of the last update, in the order of `Config::parameters`, before clipping.
    pub fn gradients(&self) -> &[D::Buffer] {
        &self.gradients.gradients
    }

    /// Updates done.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// AdamW's moments, in the order of `Config::parameters`.
    pub fn moments(&self) -> &Moments<D::Buffer> {
        &self.moments
    }

    /// Continues after update `step`, with the moments of then. The model is that of then already.
    pub fn restore(&mut self, step: u64, moments: Moments<Vec<f32>>) {
        self.step = step;
        let device = &self.model.device;
        self.moments = moments.map(|all| all.into_iter().map(|values| device.upload(values)).collect());
    }

    /// One optimiser step on `rows`, those of `update`, cut to the plan's limit.
    ///
    /// # Errors
    /// Another update than the next one; a non-finite loss or gradient norm. Nothing is changed then.
    pub fn update(&mut self, update: &Update, divisor: Divisor, rows: &[TrainRow]) -> Result<Outcome, Error> {
        let expected = self.step + 1;
        if update.number != expected {
            let got = update.number;
            return Err(Error::Invalid(format!("expected update {expected}, got update {got}")));
        }
        let loss = self.accumulate(rows, divisor.of(rows.iter().map(TrainRow::response_len)));
        let device = &self.model.device;
        let grad_norm = self.gradients.gradients.iter().map(|g| device.squared_norm(g)).sum::<f64>().sqrt();
        for (what, value) in [("loss", loss), ("gradient norm", grad_norm)] {
            if !value.is_finite() {
                let ids = rows.iter().map(|row| row.id.clone()).collect();
                return Err(Error::NonFinite { step: update.number, what: format!("{what} {value}"), ids });
            }
        }
        self.step = update.number;
        self.apply(update.learning_rate, grad_norm);
        Ok(Outcome { loss, grad_norm, tokens: rows.iter().map(|row| row.tokens.len()).sum() })
    }

    /// The gradient of the rows' loss over `divisor`, and that loss.
    fn accumulate(&mut self, rows: &[TrainRow], divisor: f64) -> f64 {
        self.gradients.clear(&self.model.device);
        let lengths: Vec<usize> = rows.iter().map(|row| row.tokens.len()).collect();
        let runs = runs(&lengths, self.config.tokens_per_micro_batch);
        runs.into_iter().fold(0.0, |loss, run| loss + self.micro_batch(&rows[run], divisor))
    }

    fn micro_batch(&mut self, rows: &[TrainRow], divisor: f64) -> f64 {
        self.batch.clear();
        self.tokens.clear();
        for row in rows {
            // Tokens of weight 0 need no log-prob: the head skips them.
            let scored = |t: usize| row.weights.at(t - row.prompt_len) != 0.0;
            self.batch.push(row.tokens.iter().copied(), row.prompt_len, scored);
            self.tokens.push(row, divisor);
        }
        let loss = self.tokens.loss(&self.config);
        let logp = self.gradients.accumulate(&self.model, &self.batch, loss);
        logp.iter().enumerate().map(|(i, &logp)| loss.value(i, logp)).sum()
    }

    fn apply(&mut self, rate: f64, norm: f64) {
        let optimiser = self.optimiser(rate, norm);
        let Self { model, moments: [first, second], gradients, decayed, .. } = self;
        for (i, parameter) in model.parameters.iter_mut().enumerate() {
            let weight_decay = if decayed[i] { optimiser.weight_decay } else { 0.0 };
            let update = AdamW { weight_decay, ..optimiser };
            let gradient = &gradients.gradients[i];
            model.device.adamw(parameter, &mut first[i], &mut second[i], gradient, update);
        }
    }

    fn optimiser(&self, rate: f64, norm: f64) -> AdamW {
        let TrainConfig { clip_norm, beta1, beta2, epsilon, weight_decay, .. } = self.config;
        // As in torch, which adds a millionth to the norm.
        let scale = if clip_norm > 0.0 { (clip_norm / (norm + 1e-6)).min(1.0) } else { 1.0 };
        AdamW {
            learning_rate: rate as f32,
            beta1,
            beta2,
            epsilon: epsilon as f32,
            weight_decay: weight_decay as f32,
            step: self.step,
            gradient_scale: scale as f32,
        }
    }
}

/// What the loss needs of a micro-batch's scored tokens: here the numbers of rows become numbers of tokens.
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
        for t in (0..row.response_len()).filter(|&t| row.weights.at(t) != 0.0) {
            self.weights.push((f64::from(row.weights.at(t)) / divisor) as f32);
            if let Some(policy) = &row.policy {
                self.advantages.push(policy.advantage(t));
                self.old_logp.push(policy.old_logp[t]);
            }
        }
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
