//! Geometric likelihood ("GML") `exp((1/|y*|) Σ_t log pi(y*_t|x,z,y*_<t))` of the reference answer y* —
//! section 3.
//!
//! Assumption: the reference stands for all of Y_x, and a long answer is as good as a short one of equal mean
//! log-prob. Limit case: |y*| = 1 is `likelihood`. Needs no verifier, is never zero, and is not an estimate
//! of pi(Y_x|x,z).

use crate::AnswerScore;

/// Mean token log-prob of the reference answer, nats per token.
///
/// # Shapes
/// Scalar per trace; `reference` holds sums over t.
#[must_use]
pub fn log_probability(reference: &AnswerScore) -> f64 {
    reference.logp_sum / reference.tokens as f64
}
