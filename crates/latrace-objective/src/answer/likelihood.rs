//! Likelihood ("L") `pi(y*|x,z) = exp(Σ_t log pi(y*_t|x,z,y*_<t))` of the reference answer y* — section 3.
//!
//! Assumption: Y_x = {y*}. With several correct answers, `|Y_x| pi(y*|x,z)` for y* drawn uniformly from Y_x
//! is the unbiased form; its variance is `|Y_x| Σ_y pi(y)² − p²`, at worst `(|Y_x|−1) p²` (Theorem 1, (7)).
//! Limit case: |Y_x| = 1 has variance zero.

use crate::AnswerScore;

/// Summed log-prob of the reference answer, nats per answer.
///
/// # Shapes
/// Scalar per trace; `reference` holds sums over t.
#[must_use]
pub fn log_probability(reference: &AnswerScore) -> f64 {
    reference.logp_sum
}

/// Left-hand side of (7): the largest variance of the unbiased form over all pi with `pi(Y_x|x,z) =
/// probability`.
#[must_use]
pub fn worst_case_variance(probability: f64, correct_answers: usize) -> f64 {
    (correct_answers as f64 - 1.0) * probability * probability
}
