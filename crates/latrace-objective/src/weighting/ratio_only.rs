//! `ratio_k` alone — ablation asked for by the paper's reviewers; no equation. Off by default.
//!
//! Assumption: what the reasoner finds likely is right. Limit case: equal answer probabilities, where it
//! equals `rho`. A trace without a correct answer keeps its weight; it has no answer term (counted by the
//! objective).

/// Log-weight of one trace, nats.
#[must_use]
pub fn log_weight(log_ratio: f64, _log_answer: f64) -> f64 {
    log_ratio
}
