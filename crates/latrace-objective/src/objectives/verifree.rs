//! Normalised VeriFree — (26): (6) with q = pi, `Σ_k w~_k ∇ log pi(z_k, Y_x|x)`, `w_k = pi(Y_x|x,z_k)`, z_k ~
//! pi.
//!
//! Assumption: no posterior; any answer estimator (VeriFree's own is `likelihood` of the reference answer).
//! Weight per question: 1, for every accuracy above 0. Limit case: K → ∞ is `∇ log P(Y_x|x)`.
//! differs in: VeriFree (Zhou et al. 2025) does not normalise, which gives `∇ P(Y_x|x)` and weight p.

use super::{Group, SequenceWeights, multi_trace};
use crate::error::Result;
use crate::weights::normalise;

/// Weights on traces and correct answers; the reference answer counts as one correct answer per trace.
///
/// # Shapes
/// Reads log answer probabilities over k (nats) and verdicts over (k, m).
///
/// # Errors
/// One of them is missing.
pub fn weights(group: &Group<'_>) -> Result<SequenceWeights> {
    group.verdicts("verifree")?;
    let (weight_k, summary) = normalise(group.log_answer("verifree")?)?;
    let spread = multi_trace::with_all_correct_answers(group, &weight_k)?;
    Ok(SequenceWeights { outcome: summary.outcome, ..spread })
}

/// Weight per question at an accuracy: 1; 0 where nothing is ever correct.
#[must_use]
pub fn question_weight(accuracy: f64) -> f64 {
    super::one_unless_never_correct(accuracy)
}
