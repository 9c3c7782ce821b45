//! Geometric likelihood ratio `(pi(z|x) / q(z|x,y'))^(1/|z|)` — first factor of (8), the default.
//!
//! Assumption: what matters of a ratio is its mean per token, since the summed one grows with length (Figure
//! 4). Limit case: |z| = 1, or pi = q per token, where it equals `full`. Elsewhere rho is a surrogate, not an
//! importance weight: no bound follows from it (see [`crate::bounds`]).

use crate::TraceScore;

/// Mean token log-ratio, nats per token.
///
/// # Shapes
/// Scalar per trace; `score` holds sums over t.
#[must_use]
pub fn log_ratio(score: &TraceScore) -> f64 {
    score.log_ratio_sum() / score.tokens as f64
}
