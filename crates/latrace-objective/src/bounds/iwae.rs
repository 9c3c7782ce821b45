//! L^K `= E_{z_1..z_K ~ q} log (1/K) Σ_k rho_k` — (5), for every K from 1 to the N traces sampled.
//!
//! Estimate: the mean of `log (1/K) Σ_{k in S} rho_k` over the size-K subsets S of the N traces, a U-statistic: unbiased
//! for each K, as pass@k is, and non-decreasing in K on every sample. See [`SubsetPlan`] for large N.
//! Assumption: independent traces. With the full ratio it is a bound, also where the answer probability is an unbiased
//! estimate (Jensen again); with the geometric ratio it is a surrogate ([`super::BoundKind`]).
//! Limit cases: K = 1 is the ELBO (2); K = N is `log mean rho`. Where at least K traces have rho = 0, some subset has no
//! correct trace and the value is -inf, exactly and without drawing.
//! Errors: over traces, the jackknife of the U-statistic for K < N and the delta method `sqrt((1/ESS − 1/N) N/(N−1))`
//! for K = N; over drawn subsets (large N only), their standard deviation over the square root of the draws.

use super::subsets::{SubsetAverage, SubsetPlan, for_each_subset};
use crate::error::{Result, check_log_weights};
use crate::weights::normalise;

/// The estimate of L^K at one K.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct IwaePoint {
    /// K.
    pub traces: usize,
    /// Estimate of L^K, nats; -inf where a subset without a non-zero rho exists.
    pub value: f64,
    /// Monte Carlo standard error over traces, nats; `None` for a value of -inf or for N = 1.
    pub standard_error: Option<f64>,
    /// Further standard error from drawing subsets, nats; 0 where all were visited.
    pub subset_error: f64,
    /// Which subsets were averaged.
    pub subsets: SubsetAverage,
}

/// Estimates L^1 .. L^N of one question.
///
/// # Shapes
/// `log_rho_k`: N ≥ 1 log-weights of traces drawn from q, nats, -inf for zero. Returns N points, K ascending.
///
/// # Errors
/// No trace, NaN or +inf.
pub fn iwae_bounds(log_rho_k: &[f64], plan: &SubsetPlan) -> Result<Vec<IwaePoint>> {
    check_log_weights("iwae_bounds", log_rho_k)?;
    // Descending, so that the first member of an ascending subset is its largest; also makes the result independent of order.
    let mut descending = log_rho_k.to_vec();
    descending.sort_unstable_by(|a, b| b.total_cmp(a));
    (1..=descending.len())
        .map(|traces| point(&descending, traces, plan))
        .collect()
}

/// `L^N − L^1`, nats: what more traces buy; +inf where L^1 is -inf and L^N is not, `None` where both are.
#[must_use]
pub fn gap(points: &[IwaePoint]) -> Option<f64> {
    let (first, last) = (points.first()?.value, points.last()?.value);
    (last > f64::NEG_INFINITY).then_some(last - first)
}

fn point(descending: &[f64], traces: usize, plan: &SubsetPlan) -> Result<IwaePoint> {
    let count = descending.len();
    let (mut sum, mut squares, mut visited) = (0.0, 0.0, 0_u64);
    let mut with_k = vec![(0.0, 0_u64); count];
    let zeros = descending
        .iter()
        .filter(|value| **value == f64::NEG_INFINITY)
        .count();
    if zeros >= traces {
        let subsets = SubsetAverage::Exact(super::subsets::binomial(count, traces));
        return Ok(IwaePoint {
            traces,
            value: f64::NEG_INFINITY,
            standard_error: None,
            subset_error: 0.0,
            subsets,
        });
    }
    let centre = descending[0];
    let subsets = for_each_subset(count, traces, plan, |subset| {
        let value = log_mean_of_subset(descending, subset) - centre;
        sum += value;
        squares += value * value;
        visited += 1;
        for &k in subset {
            with_k[k].0 += value;
            with_k[k].1 += 1;
        }
    });
    let mean = sum / visited as f64;
    let standard_error = match count {
        1 => None,
        _ if traces == count => Some(delta_method(descending)?),
        _ => jackknife(sum, visited, &with_k),
    };
    let subset_error = match subsets {
        SubsetAverage::Exact(_) => 0.0,
        SubsetAverage::Sampled(draws) => {
            ((squares / visited as f64 - mean * mean).max(0.0) / draws as f64).sqrt()
        }
    };
    Ok(IwaePoint {
        traces,
        value: centre + mean,
        standard_error,
        subset_error,
        subsets,
    })
}

fn log_mean_of_subset(descending: &[f64], subset: &[usize]) -> f64 {
    let largest = descending[subset[0]];
    let total: f64 = subset
        .iter()
        .map(|&k| (descending[k] - largest).exp())
        .sum();
    largest + (total / subset.len() as f64).ln()
}

/// `sqrt((N−1)/N Σ_k (U_{−k} − mean U_{−k})²)`, where `U_{−k}` averages the subsets without trace k.
fn jackknife(sum: f64, visited: u64, with_k: &[(f64, u64)]) -> Option<f64> {
    let without = |&(with, times): &(f64, u64)| (sum - with) / (visited - times) as f64;
    if with_k.iter().any(|&(_, times)| times == visited) {
        return None;
    }
    let count = with_k.len() as f64;
    let mean = with_k.iter().map(without).sum::<f64>() / count;
    let spread: f64 = with_k
        .iter()
        .map(|pair| (without(pair) - mean).powi(2))
        .sum();
    Some(((count - 1.0) / count * spread).sqrt())
}

fn delta_method(log_rho_k: &[f64]) -> Result<f64> {
    let count = log_rho_k.len() as f64;
    let (_, summary) = normalise(log_rho_k)?;
    Ok(
        ((1.0 / summary.effective_sample_size - 1.0 / count).max(0.0) * count / (count - 1.0))
            .sqrt(),
    )
}
