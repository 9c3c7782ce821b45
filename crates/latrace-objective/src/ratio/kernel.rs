//! Kernel on the geometric ratio W: `W^a · exp(b (1 − W))` (VESPO, arXiv 2602.10693) — no equation in the paper;
//! off by default.
//!
//! Assumption: a trace that pi explains far better than q is as suspect as one that it explains far worse.
//! Limit cases: a = 1, b = 0 is `geometric`; a = b puts the maximum at W = 1; a = b = 0 is ratio 1.

use super::geometric;
use crate::TraceScore;

/// Its parameters, without unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Kernel {
    /// a ≥ 0.
    pub power: f64,
    /// b ≥ 0.
    pub decay: f64,
}

impl Kernel {
    /// Where none are given: the maximum is at W = 1.
    pub const DEFAULT: Self = Self { power: 1.0, decay: 1.0 };
}

/// Log of the kernel, nats.
///
/// # Shapes
/// Scalar per trace.
#[must_use]
pub fn log_ratio(score: &TraceScore, Kernel { power, decay }: Kernel) -> f64 {
    let log_w = geometric::log_ratio(score);
    // 0 · −∞ has no value, and a trace that pi cannot produce stays at zero whatever the power.
    if log_w == f64::NEG_INFINITY { log_w } else { power * log_w - decay * log_w.exp_m1() }
}
