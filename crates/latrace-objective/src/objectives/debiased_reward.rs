//! Debiased reward — (24): `(alpha−beta) 1(correct)/p + (beta−gamma) 1(formatted)/p_format`.
//!
//! Gradient: `(alpha−beta) ∇ −KL(P(.|correct) || pi) + (beta−gamma) ∇ −KL(P(.|formatted) || pi)`. Assumption:
//! p and p_format are estimated by the group's own means. Given that one of N rollouts is correct, the mean
//! over the correct ones is unbiased (one answer for each trace), so in expectation the two terms are merely
//! scaled by `1−(1−p)^N` and `1−(1−p_format)^N`. Weight per question of the correctness term: alpha−beta, for
//! every accuracy above 0. Limit case: beta = gamma is (9) on the reasoner itself. Nothing correct: only the
//! format term is left.

use super::format_reward::Rewards;
use super::{Group, SequenceWeights};
use crate::Verdict;
use crate::error::Result;

/// Weights on every rollout, already divided by K n.
///
/// # Shapes
/// Reads verdicts over (k, m).
///
/// # Errors
/// They are missing.
pub fn weights(group: &Group<'_>, rewards: Rewards) -> Result<SequenceWeights> {
    let verdict_km = group.verdicts("debiased-reward")?;
    let correct = share(verdict_km, Verdict::is_correct);
    let formatted = share(verdict_km, Verdict::is_formatted);
    // A verdict that holds was counted, so its share is above zero.
    let rollouts = verdict_km.iter().map(|verdict| {
        let correctness = if verdict.is_correct() { (rewards.alpha - rewards.beta) / correct } else { 0.0 };
        let format = if verdict.is_formatted() { (rewards.beta - rewards.gamma) / formatted } else { 0.0 };
        correctness + format
    });
    Ok(SequenceWeights::from_rollouts(group, rollouts))
}

fn share(verdicts: &[Verdict], holds: impl Fn(Verdict) -> bool) -> f64 {
    verdicts.iter().filter(|&&verdict| holds(verdict)).count() as f64 / verdicts.len() as f64
}

/// Weight of the correctness term at an accuracy: alpha−beta; 0 where nothing is ever correct.
#[must_use]
pub fn question_weight(accuracy: f64, rewards: Rewards) -> f64 {
    (rewards.alpha - rewards.beta) * super::one_unless_never_correct(accuracy)
}
