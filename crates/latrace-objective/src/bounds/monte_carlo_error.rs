//! Monte Carlo standard errors of the subset average (L^K, [`super::iwae`]) over the N traces of one
//! question.
//!
//! K < N: the jackknife of a U-statistic (Arvesen 1969), which for K = 1 is `s / sqrt N` exactly and leans
//! upwards above. K = N: no trace can be left out, so the delta method on `log mean rho`: `sqrt((1/ESS − 1/N)
//! N/(N−1))`. Assumption: independent traces. Limit case: equal rho, where both are 0.

use crate::error::Result;
use crate::weights::normalise;

/// `sqrt((N−1)/N Σ_k (U_{−k} − mean U_{−k})²)`, where `U_{−k}` averages the subsets without trace k; `None`
/// where a trace is in all.
///
/// # Shapes
/// `with_k`: for each trace, sum and number of the visited subsets that hold it.
pub(super) fn jackknife(sum: f64, visited: u64, with_k: &[(f64, u64)]) -> Option<f64> {
    let without = |&(with, times): &(f64, u64)| (sum - with) / (visited - times) as f64;
    // Among drawn subsets a trace may be in every one, and then there is nothing to estimate without it.
    if with_k.iter().any(|&(_, times)| times == visited) {
        return None;
    }
    let count = with_k.len() as f64;
    let mean = with_k.iter().map(without).sum::<f64>() / count;
    let spread: f64 = with_k.iter().map(|pair| (without(pair) - mean).powi(2)).sum();
    Some(((count - 1.0) / count * spread).sqrt())
}

/// Standard error of `log (1/N) Σ_k rho_k`, nats.
pub(super) fn delta_method(log_rho_k: &[f64]) -> Result<f64> {
    let (count, inverse_ess) = (log_rho_k.len() as f64, 1.0 / normalise(log_rho_k)?.1.effective_sample_size);
    // 1/ESS is at least 1/N, except by rounding.
    Ok(((inverse_ess - 1.0 / count).max(0.0) * count / (count - 1.0)).sqrt())
}
