//! What a training run is told. Defaults are the paper's settings of the initial reasoner (method of arXiv
//! 2509.22637).

use crate::error::Error;
use serde::{Deserialize, Serialize};

/// How the learning rate moves after warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// Half a cosine down to 0.
    Cosine,
    /// A line down to 0.
    Linear,
    /// Not at all.
    Constant,
}

/// What is minimised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loss {
    /// Weighted negative log-likelihood.
    Nll,
    /// Clipped policy gradient, for rows with advantages and old log-probs.
    ClippedPolicyGradient,
}

/// What a batch's sum of token losses is divided by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Normaliser {
    /// Mean response length of the data set times `batch_size`: long responses keep their weight.
    Constant,
    /// Response tokens of the batch.
    TokenMean,
}

/// What happens to rows above `cutoff_length`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OverLength {
    /// They are left out, and counted.
    Drop,
    /// Their responses are cut, and counted; a row whose prompt alone is too long is left out.
    Truncate,
    /// The run refuses to start.
    Error,
}

/// Where the first weights come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Init {
    /// The model folder's.
    Model,
    /// Drawn, for a folder with `config.json` and a tokenizer only.
    Random,
}

/// How the final weights are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StoreAs {
    /// 32 bits.
    F32,
    /// bfloat16, rounded to nearest even.
    Bf16,
}

/// All settings of a training run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainConfig {
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Its course after warm-up.
    pub schedule: Schedule,
    /// Share of all steps in which the rate rises linearly to its peak.
    pub warmup_ratio: f64,
    /// Passes over the data.
    pub epochs: u64,
    /// Rows per update.
    pub batch_size: usize,
    /// Updates in all, instead of what `epochs` gives.
    pub max_steps: Option<u64>,
    /// Decay of AdamW's first moment.
    pub beta1: f64,
    /// Decay of AdamW's second moment.
    pub beta2: f64,
    /// AdamW's ε.
    pub epsilon: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Whether norms and biases decay too.
    pub decay_norms_and_biases: bool,
    /// Largest global norm of the gradient; 0 for no clipping.
    pub clip_norm: f64,
    /// What is minimised.
    pub loss: Loss,
    /// How far the ratio may fall below 1 (policy gradient).
    pub clip_low: f64,
    /// How far the ratio may rise above 1 (policy gradient).
    pub clip_high: f64,
    /// What the loss is divided by.
    pub normaliser: Normaliser,
    /// Tokens of a row above which `over_length` applies.
    pub cutoff_length: usize,
    /// What happens to longer rows.
    pub over_length: OverLength,
    /// Tokens of one forward and backward pass: memory against speed.
    pub tokens_per_micro_batch: usize,
    /// Recompute activations in the backward pass: less memory, a third more work.
    pub recompute: bool,
    /// Draw a new order of the rows each epoch.
    pub shuffle: bool,
    /// Seed of the order and of random weights.
    pub seed: u64,
    /// Updates between checkpoints; 0 for none.
    pub checkpoint_every: u64,
    /// Where the first weights come from.
    pub init: Init,
    /// How the final weights are stored.
    pub save_dtype: StoreAs,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            learning_rate: 1e-5,
            schedule: Schedule::Cosine,
            warmup_ratio: 0.1,
            epochs: 3,
            batch_size: 96,
            max_steps: None,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.0,
            decay_norms_and_biases: true,
            clip_norm: 1.0,
            loss: Loss::Nll,
            clip_low: 0.2,
            clip_high: 0.2,
            normaliser: Normaliser::Constant,
            cutoff_length: 16_384,
            over_length: OverLength::Drop,
            tokens_per_micro_batch: 4096,
            recompute: false,
            shuffle: true,
            seed: 0,
            checkpoint_every: 100,
            init: Init::Model,
            save_dtype: StoreAs::F32,
        }
    }
}

impl TrainConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// The first field out of its range, with what is expected.
    pub fn validate(&self) -> Result<(), Error> {
        let at_least_0 = |x: f64| x.is_finite() && x >= 0.0;
        let below_1 = |x: f64| (0.0..1.0).contains(&x);
        let checks = [
            (
                at_least_0(self.learning_rate),
                "learning_rate",
                "a finite number of at least 0",
                self.learning_rate,
            ),
            (
                (0.0..=1.0).contains(&self.warmup_ratio),
                "warmup_ratio",
                "a share from 0 to 1",
                self.warmup_ratio,
            ),
            (self.epochs > 0, "epochs", "at least 1", self.epochs as f64),
            (self.batch_size > 0, "batch_size", "at least 1", self.batch_size as f64),
            (self.max_steps != Some(0), "max_steps", "at least 1", 0.0),
            (below_1(self.beta1), "beta1", "at least 0 and below 1", self.beta1),
            (below_1(self.beta2), "beta2", "at least 0 and below 1", self.beta2),
            (
                self.epsilon.is_finite() && self.epsilon > 0.0,
                "epsilon",
                "a finite number above 0",
                self.epsilon,
            ),
            (
                at_least_0(self.weight_decay),
                "weight_decay",
                "a finite number of at least 0",
                self.weight_decay,
            ),
            (
                at_least_0(self.clip_norm),
                "clip_norm",
                "a finite number of at least 0 (0: no clipping)",
                self.clip_norm,
            ),
            (below_1(self.clip_low), "clip_low", "at least 0 and below 1", self.clip_low),
            (at_least_0(self.clip_high), "clip_high", "a finite number of at least 0", self.clip_high),
            (self.cutoff_length >= 2, "cutoff_length", "at least 2", self.cutoff_length as f64),
            (
                self.tokens_per_micro_batch > 0,
                "tokens_per_micro_batch",
                "at least 1",
                self.tokens_per_micro_batch as f64,
            ),
        ];
        match checks.into_iter().find(|(holds, ..)| !holds) {
            Some((_, field, expected, got)) => {
                Err(Error::Invalid(format!("{field}: expected {expected}, got {got}")))
            }
            None => Ok(()),
        }
    }
}
