//! 1 for every trace that was not dropped — ablation asked for by the paper's reviewers. Off by default.
//!
//! Assumption: every trace of q is as good as another. Limit case: q = true posterior, where rho is constant
//! and uniform equals `rho` exactly. It is also the theta-gradient of the single-trace ELBO (2), averaged
//! over the K traces.

/// Log-weight of one trace, nats.
#[must_use]
pub fn log_weight(log_ratio: f64, _log_answer: f64) -> f64 {
    if log_ratio == f64::NEG_INFINITY { log_ratio } else { 0.0 }
}
