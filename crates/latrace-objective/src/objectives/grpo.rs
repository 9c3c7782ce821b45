//! GRPO without clip — (12): advantage `(r − mean r) / std r` over the group's rollouts, binary reward.
//!
//! Assumption: on-policy rollouts, so that every probability ratio is 1. Weight per question: `sqrt(p/(1−p))`
//! for a large group, [`finite_group_weight`] for N rollouts. Limit cases: all right or all wrong has no
//! deviation, which is [`GroupOutcome::NoContrast`]; hence a weight of 0 at p = 0 and p = 1. differs in: Shao
//! et al. 2024 add an epsilon to the deviation and divide by |o| (which is the trainer's choice here).

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
    let verdict_km = group.verdicts("grpo")?;
    let correct = verdict_km.iter().filter(|verdict| verdict.is_correct()).count();
    // Equal rewards have a deviation of 0: the advantage would be 0/0.
    if correct == 0 || correct == verdict_km.len() {
        return Ok(SequenceWeights::zero(group, GroupOutcome::NoContrast));
    }
    let mean = correct as f64 / verdict_km.len() as f64;
    let advantages = verdict_km.iter().map(|verdict| advantage(verdict.is_correct(), mean));
    Ok(SequenceWeights::from_rollouts(group, advantages))
}

/// `(1(correct) − p) / sqrt(p (1−p))` for a mean reward 0 < p < 1.
#[must_use]
pub fn advantage(correct: bool, mean: f64) -> f64 {
    (f64::from(u8::from(correct)) - mean) / (mean * (1.0 - mean)).sqrt()
}

/// Weight per question at an accuracy: `sqrt(p/(1−p))`; 0 at both ends.
#[must_use]
pub fn question_weight(accuracy: f64) -> f64 {
    if accuracy >= 1.0 { 0.0 } else { (accuracy / (1.0 - accuracy)).sqrt() }
}

/// The weight that groups of `rollouts` give in expectation: `E[sqrt(c (N−c))/N] / (1−p)`, c ~ Binomial(N,
/// p).
///
/// One answer for each trace: several share the trace, and are no independent rollouts. Tends to
/// [`question_weight`] as N grows. Chances are multiplied in log space, so that any N will do.
#[must_use]
pub fn finite_group_weight(accuracy: f64, rollouts: usize) -> f64 {
    if accuracy <= 0.0 || accuracy >= 1.0 {
        return 0.0;
    }
    let (log_odds, count) = (accuracy.ln() - (-accuracy).ln_1p(), rollouts as f64);
    // The chance of c correct rollouts, by the ratio of neighbouring binomial terms; c = 0 and c = N have no
    // contrast and no weight.
    let mut log_chance = count * (-accuracy).ln_1p();
    let mut expected = 0.0;
    for correct in 1..rollouts {
        let (right, wrong) = (correct as f64, (rollouts - correct) as f64);
        log_chance += ((wrong + 1.0) / right).ln() + log_odds;
        expected += log_chance.exp() * (right * wrong).sqrt() / count;
    }
    expected / (1.0 - accuracy)
}
