//! `answer_k` alone — ablation asked for by the paper's reviewers; the weights w of (9) where z ~ pi. Off by
//! default.
//!
//! Assumption: q = pi, so that no ratio is needed. Limit case: equal ratios, where it equals `rho`.
//! A dropped trace (log-ratio -inf) stays dropped.

/// Log-weight of one trace, nats.
#[must_use]
pub fn log_weight(log_ratio: f64, log_answer: f64) -> f64 {
    if log_ratio == f64::NEG_INFINITY { log_ratio } else { log_answer }
}
