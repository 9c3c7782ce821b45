//! Full likelihood ratio `pi(z|x) / q(z|x,y')` — the definition in (5).
//!
//! Assumption: none; it is the importance weight that makes L^K a bound. Limit case: q = pi gives 1. On long
//! traces its log has a spread of hundreds of nats, so one trace takes all of rho~.

use crate::TraceScore;

/// Summed log-ratio, nats per trace.
///
/// # Shapes
/// Scalar per trace; `score` holds sums over t.
#[must_use]
pub fn log_ratio(score: &TraceScore) -> f64 {
    score.log_ratio_sum()
}
