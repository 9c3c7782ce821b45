//! phi-gradient of the ELBO — (27): `E_q[(log rho − 1) ∇_phi log q(z|x,y')]`, averaged over K independent
//! traces.
//!
//! Assumption: full ratios. The −1 has expectation 0 and is kept as in (15) at K = 1. Weight per question: 1.
//! Limit case: q = true posterior, where log rho is constant and the expected gradient 0.
//! A trace of rho = 0 has an infinite weight: the group is [`GroupOutcome::Unbounded`] and left out.
//! (The theta-gradient of the ELBO is `multi-trace` with uniform weighting.)

use super::{Group, SequenceWeights};
use crate::error::Result;
use crate::weights::GroupOutcome;

/// Weights on the traces.
///
/// # Shapes
/// Reads log-ratios and log answer probabilities over k, nats.
///
/// # Errors
/// One of them is missing.
pub fn weights(group: &Group<'_>) -> Result<SequenceWeights> {
    let log_rho_k = group.log_rho("elbo-single")?;
    // The estimate of the ELBO is -inf here, and a gradient of finite size would follow something else.
    if log_rho_k.contains(&f64::NEG_INFINITY) {
        return Ok(SequenceWeights::zero_traces(group, GroupOutcome::Unbounded));
    }
    // Averaged, unlike (15): the K traces are K independent estimates.
    let count = log_rho_k.len() as f64;
    let weight_k = log_rho_k.iter().map(|log_rho| (log_rho - 1.0) / count).collect();
    Ok(SequenceWeights::traces(weight_k, GroupOutcome::Weighted))
}

/// Weight per question at an accuracy: 1; 0 where nothing is ever correct.
#[must_use]
pub fn question_weight(accuracy: f64) -> f64 {
    super::one_unless_never_correct(accuracy)
}
