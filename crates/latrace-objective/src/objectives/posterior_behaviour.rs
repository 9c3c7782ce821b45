//! Binary-reward RL with the posterior as behaviour policy — (30):
//! `∇ P(Y_x|x) = E_{z~q} E_{y~pi}[ (pi/q)(z) 1(y in Y_x) ∇ log pi(z,y|x) ]`.
//!
//! Assumption: full ratios, else the estimate is biased. Weight per question: p, as in (11); q changes the
//! variance alone. Limit case: q = true posterior has `(pi/q)(z) pi(Y_x|z) = P(Y_x|x)` for every trace: of
//! (31)–(33)'s variance only that of the verdicts is left, `P(1−P)` for one answer; q = pi is (11). A
//! log-ratio above 700 nats overflows f64 and is refused.

use super::{Group, SequenceWeights};
use crate::error::{Result, check_domain};

/// Weights on the correct rollouts: ratio / (K n).
///
/// # Shapes
/// Reads log-ratios over k (nats) and verdicts over (k, m).
///
/// # Errors
/// One of them is missing, or a ratio overflows.
pub fn weights(group: &Group<'_>) -> Result<SequenceWeights> {
    let operation = "posterior-behaviour";
    let (verdict_km, log_ratio_k) = (group.verdicts(operation)?, group.log_ratio(operation)?);
    // exp(709.8) is the largest f64; clipping the ratio instead would be another, biased objective.
    check_domain(operation, "a log-ratio of at most 700", log_ratio_k, |log_ratio| log_ratio <= 700.0)?;
    let rollouts = verdict_km.iter().enumerate().map(|(rollout, verdict)| {
        if verdict.is_correct() { log_ratio_k[rollout / group.answers()].exp() } else { 0.0 }
    });
    Ok(SequenceWeights::from_rollouts(group, rollouts))
}

/// Weight per question at an accuracy: that accuracy.
#[must_use]
pub fn question_weight(accuracy: f64) -> f64 {
    accuracy
}
