//! Forward KL for the posterior — (9): ascend `Σ_m w~_m ∇_phi log q(z_m|x,y')`, `w_m = pi(Y_x|x,z_m)`, z_m ~
//! pi.
//!
//! Assumption: traces come from the reasoner. Self-normalised, so biased of order 1/M; exact as M → ∞, where
//! it is `−∇_phi KL(P(z|x,Y_x) || q)`. Weight per question: 1, for every accuracy above 0. Limit case: every
//! trace equally accurate, where it is `sft` on traces. No accurate trace: no gradient.

use super::{Group, SequenceWeights};
use crate::error::Result;
use crate::weights::normalise;

/// Weights on the traces.
///
/// # Shapes
/// Reads log answer probabilities over k, nats.
///
/// # Errors
/// They are missing.
pub fn weights(group: &Group<'_>) -> Result<SequenceWeights> {
    let (weight_k, summary) = normalise(group.log_answer("forward-kl")?)?;
    Ok(SequenceWeights::traces(weight_k, summary.outcome))
}

/// Weight per question at an accuracy: 1; 0 where nothing is ever correct.
#[must_use]
pub fn question_weight(accuracy: f64) -> f64 {
    super::one_unless_never_correct(accuracy)
}
