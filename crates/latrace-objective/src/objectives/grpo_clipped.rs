//! GRPO with clip: ascend `Σ_t min(r_t A, clip(r_t, 1−low, 1+high) A)`, `r_t = pi(token)/pi_old(token)`.
//!
//! The sequence weights are the advantages of `grpo`; [`token_coefficient`] turns one into the factor on `∇
//! log pi(token)` once the trainer knows r_t. Assumption: a few updates per batch of rollouts. Weight per
//! question: `sqrt(p/(1−p))`, as clipping is idle at r = 1. Limit case: on-policy, or clip → ∞, is `grpo`.

use super::{Group, SequenceWeights, grpo};
use crate::error::Result;

/// The interval [1 − low, 1 + high] outside which a ratio gains nothing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Clip {
    /// Below 1.
    pub low: f64,
    /// Above 1 (DAPO sets it higher than `low`).
    pub high: f64,
}

impl Clip {
    /// The interval of the GRPO paper.
    pub const DEFAULT: Self = Self { low: 0.2, high: 0.2 };
}

impl Default for Clip {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Weights on every rollout at r = 1: advantage / (K n).
///
/// # Shapes
/// Reads verdicts over (k, m).
///
/// # Errors
/// They are missing.
pub fn weights(group: &Group<'_>) -> Result<SequenceWeights> {
    group.verdicts("grpo-clipped")?;
    grpo::weights(group)
}

/// Factor on `∇ log pi(token)`: `r A`, or 0 where the clipped branch is the smaller one.
///
/// # Shapes
/// Scalars: `weight` is the sequence weight A, `log_ratio` the token's log pi/pi_old in nats.
#[must_use]
pub fn token_coefficient(weight: f64, log_ratio: f64, clip: Clip) -> f64 {
    let ratio = log_ratio.exp();
    let clipped = if weight > 0.0 { ratio > 1.0 + clip.high } else { ratio < 1.0 - clip.low };
    if clipped || weight == 0.0 { 0.0 } else { weight * ratio }
}

/// Weight per question at an accuracy: that of `grpo`.
#[must_use]
pub fn question_weight(accuracy: f64) -> f64 {
    grpo::question_weight(accuracy)
}
