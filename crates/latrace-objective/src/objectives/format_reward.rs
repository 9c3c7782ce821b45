//! General reward — (20), (21): alpha if correct, beta if only well-formatted, gamma otherwise;
//! `∇ E[r] = (alpha−beta) p ∇ −KL(P(.|correct) || pi) + (beta−gamma) p_format ∇ −KL(P(.|formatted) || pi)`.
//!
//! Assumption: correct answers are well-formatted ([`Verdict::is_formatted`](crate::Verdict::is_formatted)).
//! gamma is subtracted from every reward, which a constant baseline may be. Weight per question of the
//! correctness term: (alpha−beta) p. Limit case: beta = gamma is `binary-reward` times alpha−gamma.

use super::{Group, SequenceWeights};
use crate::error::Result;

/// The three levels of (20).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rewards {
    /// Correct.
    pub alpha: f64,
    /// Well-formatted, not correct.
    pub beta: f64,
    /// Not even well-formatted.
    pub gamma: f64,
}

impl Rewards {
    /// One for a correct answer, a penalty of one for an unreadable one.
    pub const DEFAULT: Self = Self { alpha: 1.0, beta: 0.0, gamma: -1.0 };
}

impl Default for Rewards {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Weights on every rollout: (reward − gamma) / (K n).
///
/// # Shapes
/// Reads verdicts over (k, m).
///
/// # Errors
/// They are missing.
pub fn weights(group: &Group<'_>, rewards: Rewards) -> Result<SequenceWeights> {
    let verdict_km = group.verdicts("format-reward")?;
    let indicator = |yes: bool| f64::from(u8::from(yes));
    // alpha = (alpha−beta) + (beta−gamma) + gamma: a correct answer is a formatted one too, so it has both terms.
    let rollouts = verdict_km.iter().map(|verdict| {
        (rewards.alpha - rewards.beta) * indicator(verdict.is_correct())
            + (rewards.beta - rewards.gamma) * indicator(verdict.is_formatted())
    });
    Ok(SequenceWeights::from_rollouts(group, rollouts))
}

/// Weight of the correctness term at an accuracy: (alpha−beta) p.
#[must_use]
pub fn question_weight(accuracy: f64, rewards: Rewards) -> f64 {
    (rewards.alpha - rewards.beta) * accuracy
}
