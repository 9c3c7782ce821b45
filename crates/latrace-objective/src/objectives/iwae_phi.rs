//! phi-gradient of L^K — (15): `Σ_k (−rho~_k + log (1/K) Σ_j rho_j) ∇_phi log q(z_k|x,y')`, z_k ~ q.
//!
//! Assumption: full ratios. Weight per question: 1. Limit case: K = 1 is `elbo-single`.
//! Zero rhos are fine as long as one is not; a group of zeros is [`GroupOutcome::AllZero`] and left out.

use super::{Group, SequenceWeights};
use crate::error::Result;
use crate::weights::{GroupOutcome, normalise};

/// Weights on the traces.
///
/// # Shapes
/// Reads log-ratios and log answer probabilities over k, nats.
///
/// # Errors
/// One of them is missing.
pub fn weights(group: &Group<'_>) -> Result<SequenceWeights> {
    let (rho_tilde_k, summary) = normalise(&group.log_rho("iwae-phi")?)?;
    if summary.outcome == GroupOutcome::AllZero {
        return Ok(SequenceWeights::zero_traces(group, GroupOutcome::AllZero));
    }
    // Not divided by K: (15) is a sum, since each trace's term has the whole log-mean as its reward.
    let weight_k = rho_tilde_k.iter().map(|rho_tilde| summary.log_mean - rho_tilde).collect();
    Ok(SequenceWeights::traces(weight_k, GroupOutcome::Weighted))
}

/// Weight per question at an accuracy: 1; 0 where nothing is ever correct.
#[must_use]
pub fn question_weight(accuracy: f64) -> f64 {
    super::one_unless_never_correct(accuracy)
}
