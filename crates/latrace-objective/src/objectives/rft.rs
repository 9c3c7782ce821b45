//! Rejection-sampling fine-tuning — (10): `E_ref[1(y in Y_x) ∇ log pi(z,y|x)] = −p_ref ∇ KL(P_ref(z,y|x,Y_x)
//! || pi)`.
//!
//! Assumption: rollouts come from a fixed reference model, often the initial one; every correct one is kept.
//! Weight per question: p_ref, so easy questions fill the data set. Limit case: p_ref = 1 is `sft` on
//! samples.

use super::{Group, SequenceWeights};
use crate::error::Result;

/// Weights on the correct rollouts, 1/(K n) each.
///
/// # Shapes
/// Reads verdicts over (k, m).
///
/// # Errors
/// They are missing.
pub fn weights(group: &Group<'_>) -> Result<SequenceWeights> {
    let verdict_km = group.verdicts("rft")?;
    // Divided by all rollouts, not by the kept ones: that is the factor p_ref of (10).
    let kept = verdict_km.iter().map(|verdict| f64::from(u8::from(verdict.is_correct())));
    Ok(SequenceWeights::from_rollouts(group, kept))
}

/// Weight per question at the reference model's accuracy: that accuracy.
#[must_use]
pub fn question_weight(accuracy: f64) -> f64 {
    accuracy
}
