//! Sums of exponentials in f64, for the slow twins.

/// The largest value; minus infinity of none.
pub(crate) fn largest(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}

/// log Σ e^x.
pub(crate) fn log_sum_exp(x: &[f64]) -> f64 {
    let top = largest(x);
    top + x.iter().map(|x| (x - top).exp()).sum::<f64>().ln()
}
