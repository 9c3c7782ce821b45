//! Sums of exponentials without overflow.
//!
//! A full log-ratio of a 30,000-token trace is thousands of nats, and `exp(1000)` is not a number f64 holds.
//! Every sum of weights therefore subtracts its largest term first. Zero weights are `-inf` and stay exact.

/// `log Σ exp(x)` in nats; `-inf` for an empty sum or one of zeros only.
///
/// # Shapes
/// `log_value_k`: K log-values below +inf, nats. Two passes, no allocation.
#[must_use]
pub fn log_sum_exp(log_value_k: &[f64]) -> f64 {
    let largest = log_value_k.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    // Otherwise the differences below would be −inf − (−inf) = NaN.
    if largest == f64::NEG_INFINITY {
        return f64::NEG_INFINITY;
    }
    largest + log_value_k.iter().map(|value| (value - largest).exp()).sum::<f64>().ln()
}

/// `log (1/K) Σ exp(x)` in nats; `-inf` where every value is, or where there is none.
///
/// # Shapes
/// `log_value_k`: K log-values below +inf, nats.
#[must_use]
pub fn log_mean_exp(log_value_k: &[f64]) -> f64 {
    if log_value_k.is_empty() {
        return f64::NEG_INFINITY;
    }
    log_sum_exp(log_value_k) - (log_value_k.len() as f64).ln()
}
