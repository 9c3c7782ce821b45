//! The settings of a training run. Defaults are the paper's settings of the initial reasoner (method of arXiv
//! 2509.22637).

use crate::adapter::Lora;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt::Display;

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
    /// Mean response length of the data set times the batch, in rows or questions: long responses keep their
    /// weight.
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
    /// Rows per update, unless `batch_questions` is set.
    pub batch_size: usize,
    /// Questions per update, each with all of its rows: algorithm 1 (line 16) averages over questions. 0: an update
    /// has `batch_size` rows, whatever questions they are of.
    pub batch_questions: usize,
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
    /// Tokens of one forward and backward pass: memory against speed. Where products are in bf16, sums over tokens depend on it.
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
    /// Trains a low-rank adapter of the model instead of its weights; what is written is the adapter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lora: Option<Lora>,
    /// Parameters that are not trained, by their names or those of modules: `model.embed_tokens`, `model.layers.0`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub frozen: Vec<String>,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            learning_rate: 1e-5,
            schedule: Schedule::Cosine,
            warmup_ratio: 0.1,
            epochs: 3,
            batch_size: 96,
            batch_questions: 0,
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
            lora: None,
            frozen: Vec::new(),
        }
    }
}

impl TrainConfig {
    /// Tokens above which a row is left out; none where it is cut or refused.
    pub fn drops_above(&self) -> Option<usize> {
        (self.over_length == OverLength::Drop).then_some(self.cutoff_length)
    }

    /// Checks every value.
    ///
    /// # Errors
    /// The first field out of its range, with what is expected.
    pub fn validate(&self) -> Result<()> {
        self.check_schedule()?;
        self.check_optimiser()?;
        self.check_batches()?;
        self.check_adapter()
    }

    fn check_schedule(&self) -> Result<()> {
        check_not_negative("learning_rate", self.learning_rate)?;
        let share = self.warmup_ratio;
        check((0.0..=1.0).contains(&share), "warmup_ratio", "a share from 0 to 1", share)?;
        check_positive("epochs", self.epochs)?;
        check_positive("max_steps", self.max_steps.unwrap_or(1))
    }

    fn check_optimiser(&self) -> Result<()> {
        // A decay of 1 would divide by 0 in AdamW's bias correction.
        check_below_one("beta1", self.beta1)?;
        check_below_one("beta2", self.beta2)?;
        check_below_one("clip_low", self.clip_low)?;
        let (epsilon, norm) = (self.epsilon, self.clip_norm);
        // Without it, a parameter whose gradient has always been 0 would become 0/0.
        check(epsilon.is_finite() && epsilon > 0.0, "epsilon", "a finite number above 0", epsilon)?;
        check(is_not_negative(norm), "clip_norm", "a finite number of at least 0 (0: no clipping)", norm)?;
        check_not_negative("weight_decay", self.weight_decay)?;
        check_not_negative("clip_high", self.clip_high)
    }

    fn check_adapter(&self) -> Result<()> {
        let Some(lora) = &self.lora else { return Ok(()) };
        check(self.init == Init::Model, "lora", "a model to adapt (init = \"model\")", "init = \"random\"")?;
        lora.validate()
    }

    fn check_batches(&self) -> Result<()> {
        check_positive("batch_size", self.batch_size as u64)?;
        // A prompt and a response have a token each.
        check(self.cutoff_length >= 2, "cutoff_length", "at least 2", self.cutoff_length)?;
        check_positive("tokens_per_micro_batch", self.tokens_per_micro_batch as u64)
    }
}

fn is_not_negative(x: f64) -> bool {
    x.is_finite() && x >= 0.0
}

fn check_positive(field: &str, count: u64) -> Result<()> {
    check(count > 0, field, "at least 1", count)
}

fn check_below_one(field: &str, value: f64) -> Result<()> {
    check((0.0..1.0).contains(&value), field, "at least 0 and below 1", value)
}

fn check_not_negative(field: &str, value: f64) -> Result<()> {
    check(is_not_negative(value), field, "a finite number of at least 0", value)
}

/// Fails unless the condition holds, with what is expected of a setting and what was given.
pub(crate) fn check(holds: bool, field: &str, expected: &str, got: impl Display) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::Invalid(format!("{field}: expected {expected}, got {got}"))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(change: impl FnOnce(&mut TrainConfig), expected: Option<&str>) {
        let mut config = TrainConfig::default();
        change(&mut config);
        assert_eq!(config.validate().err().map(|error| error.to_string()).as_deref(), expected);
    }

    #[test]
    fn the_ends_of_every_range_are_allowed() {
        check(|_| {}, None);
        for end in [0.0, 1.0] {
            check(
                |config| (config.learning_rate, config.warmup_ratio, config.clip_norm) = (end, end, end),
                None,
            );
            check(|config| (config.weight_decay, config.clip_high) = (end, end), None);
        }
        check(|config| (config.beta1, config.beta2, config.clip_low) = (0.0, 0.0, 0.0), None);
        check(|config| (config.epochs, config.batch_size, config.max_steps) = (1, 1, Some(1)), None);
        check(|config| (config.cutoff_length, config.tokens_per_micro_batch) = (2, 1), None);
    }

    #[test]
    fn fields_out_of_their_range_are_named() {
        let not_negative = "expected a finite number of at least 0";
        let message = |field: &str, expected: &str, got: &str| format!("{field}: {expected}, got {got}");
        let bad = message("learning_rate", not_negative, "-1");
        check(|config| config.learning_rate = -1.0, Some(&bad));
        check(
            |config| config.learning_rate = f64::INFINITY,
            Some(&message("learning_rate", not_negative, "inf")),
        );
        check(|config| config.weight_decay = f64::NAN, Some(&message("weight_decay", not_negative, "NaN")));
        check(|config| config.clip_high = -0.5, Some(&message("clip_high", not_negative, "-0.5")));
        let norm = "clip_norm: expected a finite number of at least 0 (0: no clipping), got -1";
        check(|config| config.clip_norm = -1.0, Some(norm));
        check(
            |config| config.warmup_ratio = 1.5,
            Some("warmup_ratio: expected a share from 0 to 1, got 1.5"),
        );
        check(|config| config.beta1 = 1.0, Some("beta1: expected at least 0 and below 1, got 1"));
        check(|config| config.beta2 = -0.5, Some("beta2: expected at least 0 and below 1, got -0.5"));
        check(|config| config.clip_low = 1.0, Some("clip_low: expected at least 0 and below 1, got 1"));
        check(|config| config.epsilon = 0.0, Some("epsilon: expected a finite number above 0, got 0"));
    }

    #[test]
    fn counts_of_nothing_are_named() {
        check(|config| config.epochs = 0, Some("epochs: expected at least 1, got 0"));
        check(|config| config.max_steps = Some(0), Some("max_steps: expected at least 1, got 0"));
        check(|config| config.batch_size = 0, Some("batch_size: expected at least 1, got 0"));
        check(|config| config.cutoff_length = 1, Some("cutoff_length: expected at least 2, got 1"));
        let budget = "tokens_per_micro_batch: expected at least 1, got 0";
        check(|config| config.tokens_per_micro_batch = 0, Some(budget));
    }
}
