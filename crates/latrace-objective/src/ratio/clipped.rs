//! Clipped geometric ratio `clip((pi/q)^(1/|z|), exp(-c), exp(c))` — no equation in the paper; off by
//! default.
//!
//! Assumption: extreme mean log-ratios come from degenerate traces (loops, copied hints) rather than from
//! good ones. Limit case: c → ∞ is `geometric`; c = 0 is ratio 1, i.e. weighting by the answer probability
//! alone. differs in: truncated importance sampling (Ionides 2008) clips the full ratio and only from above.
//! A trace of probability zero under pi stays at zero.

use super::geometric;
use crate::TraceScore;

/// c where none is given, nats per token.
pub const DEFAULT_BOUND: f64 = 0.2;

/// Mean token log-ratio held within ±`bound`, nats per token.
///
/// # Shapes
/// Scalar per trace. `bound` ≥ 0, nats per token.
#[must_use]
pub fn log_ratio(score: &TraceScore, bound: f64) -> f64 {
    let mean = geometric::log_ratio(score);
    // Clipping would revive a trace that pi cannot produce.
    if mean == f64::NEG_INFINITY { mean } else { mean.max(-bound).min(bound) }
}
