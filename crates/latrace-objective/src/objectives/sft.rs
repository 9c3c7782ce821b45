//! Supervised fine-tuning: `(1/K) Σ_k ∇ log p(z_k, y_k)` on the data set's own traces and answers.
//!
//! Assumption: every row is right. Weight per question: 1, whatever the model's accuracy. Limit case: K = 1
//! is the usual loss of one row; normalise by a constant, not by tokens, to keep it so (Appendix C).

use super::{Group, SequenceWeights};
use crate::error::Result;

/// Weights on the traces, and on the answers where the group has any (the posterior learns traces only).
///
/// # Shapes
/// Reads only the counts K and n.
///
/// # Errors
/// None; the signature is that of all objectives.
pub fn weights(group: &Group<'_>) -> Result<SequenceWeights> {
    let rollouts = group.traces() * group.answers();
    // Averages over rollouts would divide by 0.
    if rollouts == 0 {
        let trace_k = vec![1.0 / group.traces() as f64; group.traces()];
        return Ok(SequenceWeights::traces(trace_k, crate::GroupOutcome::Weighted));
    }
    Ok(SequenceWeights::from_rollouts(group, std::iter::repeat_n(1.0, rollouts)))
}

/// Weight per question at an accuracy: 1.
#[must_use]
pub fn question_weight(_accuracy: f64) -> f64 {
    1.0
}
