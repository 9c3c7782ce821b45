//! Reverse KL by policy gradient — (34): reward `R = log pi(Y_x|x,z) − log q(z|x,y') + log pi(z|x)` on phi, z
//! ~ q.
//!
//! Ascends `−KL(q || true posterior)` up to a constant, so its expectation is that of (27). Assumption: full
//! ratios. Weight per question: 1. Limit case: q = true posterior, where R is constant: no gradient
//! ([`GroupOutcome::NoContrast`], rounding aside). A trace of rho = 0 has reward -inf: the group is
//! [`GroupOutcome::Unbounded`] and left out. Seeks one mode and may leak the hint into z (section 4): the
//! default for the posterior is (9). differs in: subtracts the mean reward of the other traces (K ≥ 2), which
//! leaves the expectation as it is.

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
    let reward_k = group.log_rho("reverse-kl")?;
    // The baseline of every other trace would be -inf too.
    if reward_k.contains(&f64::NEG_INFINITY) {
        return Ok(SequenceWeights::zero_traces(group, GroupOutcome::Unbounded));
    }
    // At the optimum every reward is log P(Y_x|x); rounding in the baseline would otherwise leave a gradient.
    if reward_k.len() > 1 && reward_k.iter().all(|&reward| reward == reward_k[0]) {
        return Ok(SequenceWeights::zero_traces(group, GroupOutcome::NoContrast));
    }
    let count = reward_k.len() as f64;
    let total: f64 = reward_k.iter().sum();
    let weight_k = reward_k.iter().map(|&reward| (reward - baseline(reward, total, count)) / count).collect();
    Ok(SequenceWeights::traces(weight_k, GroupOutcome::Weighted))
}

/// Mean reward of the other traces; 0 where there are none. Independent of the trace's own draw, so that it
/// leaves the expected gradient as it is.
fn baseline(reward: f64, total: f64, count: f64) -> f64 {
    if count == 1.0 { 0.0 } else { (total - reward) / (count - 1.0) }
}

/// Weight per question at an accuracy: 1; 0 where nothing is ever correct.
#[must_use]
pub fn question_weight(accuracy: f64) -> f64 {
    super::one_unless_never_correct(accuracy)
}
