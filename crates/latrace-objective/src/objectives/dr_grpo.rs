//! Dr. GRPO (Liu et al. 2025): advantage `r − mean r`, neither divided by the deviation nor by the length.
//!
//! Assumption: on-policy rollouts, one answer for each trace. The mean includes the rollout itself, so N
//! rollouts give `(N−1)/N` of the gradient of (11) in expectation. With n answers for each of K traces the
//! trace's part is scaled by `(K−1)/K`, the answer's by `(Kn−1)/(Kn)`: a single trace then has no gradient at
//! all. Weight per question: p. Limit case: all right or all wrong is [`GroupOutcome::NoContrast`].

use super::{Group, SequenceWeights};
use crate::error::Result;
use crate::weights::GroupOutcome;

/// Weights on every rollout: advantage / (K n).
///
/// # Shapes
/// Reads verdicts over (k, m).
///
/// # Errors
/// They are missing.
pub fn weights(group: &Group<'_>) -> Result<SequenceWeights> {
    let verdict_km = group.verdicts("dr-grpo")?;
    let correct = verdict_km.iter().filter(|verdict| verdict.is_correct()).count();
    if correct == 0 || correct == verdict_km.len() {
        return Ok(SequenceWeights::zero(group, GroupOutcome::NoContrast));
    }
    let mean = correct as f64 / verdict_km.len() as f64;
    let advantages = verdict_km.iter().map(|verdict| f64::from(u8::from(verdict.is_correct())) - mean);
    Ok(SequenceWeights::from_rollouts(group, advantages))
}

/// Weight per question at an accuracy: that accuracy (for a large group).
#[must_use]
pub fn question_weight(accuracy: f64) -> f64 {
    accuracy
}
