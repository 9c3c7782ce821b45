//! MaxRL (arXiv 2602.02710): `(1/c) Σ_right ∇ log pi(z,y|x) − (1/N) Σ ∇ log pi(z,y|x)` over N rollouts, c of them
//! right. The mean over the right ones is VeriFree's (26) with accuracy; the second sum is a control variate.
//!
//! Assumption: on-policy rollouts, so that the control variate has mean 0. Weight per question: 1 as N grows,
//! [`finite_group_weight`] for N rollouts. Limit cases: nothing right leaves the control variate alone, all right
//! cancels, which is [`GroupOutcome::NoContrast`].

use super::{Group, SequenceWeights};
use crate::error::Result;
use crate::weights::GroupOutcome;

/// Weights on every rollout: `1(correct)/c − 1/(K n)`.
///
/// # Shapes
/// Reads verdicts over (k, m).
///
/// # Errors
/// They are missing.
pub fn weights(group: &Group<'_>) -> Result<SequenceWeights> {
    let verdict_km = group.verdicts("maxrl")?;
    let correct = verdict_km.iter().filter(|verdict| verdict.is_correct()).count();
    if correct == verdict_km.len() {
        return Ok(SequenceWeights::zero(group, GroupOutcome::NoContrast));
    }
    // c stands in no rollout's weight where it is 0.
    let of_correct = verdict_km.len() as f64 / correct.max(1) as f64;
    let rollouts =
        verdict_km.iter().map(|verdict| if verdict.is_correct() { of_correct - 1.0 } else { -1.0 });
    Ok(SequenceWeights::from_rollouts(group, rollouts))
}

/// Weight per question at an accuracy: 1; 0 where nothing is ever correct.
#[must_use]
pub fn question_weight(accuracy: f64) -> f64 {
    super::one_unless_never_correct(accuracy)
}

/// The weight that groups of `rollouts` give in expectation: `1 − (1−p)^N`, the chance of a right one.
#[must_use]
pub fn finite_group_weight(accuracy: f64, rollouts: usize) -> f64 {
    -(rollouts as f64 * (-accuracy).ln_1p()).exp_m1()
}
