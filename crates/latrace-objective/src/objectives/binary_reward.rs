//! Binary-reward RL (REINFORCE) — (11): `∇ P(Y_x|x) = E_pi[1(y in Y_x) ∇ log pi(z,y|x)] = p ∇ −KL(P(.|x,Y_x)
//! || pi)`.
//!
//! Assumption: rollouts come from the current model; no baseline. The weights are those of `rft`, whose
//! rollouts come from a fixed model instead. Weight per question: p. Limit case: p → 0 leaves hard questions
//! without gradient.

use super::{Group, SequenceWeights, rft};
use crate::error::Result;

/// Weights on the correct rollouts, 1/(K n) each.
///
/// # Shapes
/// Reads verdicts over (k, m).
///
/// # Errors
/// They are missing.
pub fn weights(group: &Group<'_>) -> Result<SequenceWeights> {
    group.verdicts("binary-reward")?;
    rft::weights(group)
}

/// Weight per question at an accuracy: that accuracy.
#[must_use]
pub fn question_weight(accuracy: f64) -> f64 {
    accuracy
}
