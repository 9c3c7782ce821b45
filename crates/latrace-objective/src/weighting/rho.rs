//! `rho_k = ratio_k × answer_k` — (8), the method's own weighting and the default.
//!
//! Assumption: traces come from q. Limit case: ratio 1 for all (q = pi) leaves `accuracy_only`.

/// Log-weight of one trace, nats.
#[must_use]
pub fn log_weight(log_ratio: f64, log_answer: f64) -> f64 {
    crate::weights::log_rho(log_ratio, log_answer)
}
