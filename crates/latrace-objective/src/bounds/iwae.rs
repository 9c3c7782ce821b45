//! L^K `= E_{z_1..z_K ~ q} log (1/K) Σ_k rho_k` — (5), for every K from 1 to the N traces sampled.
//!
//! Estimate: the mean of `log (1/K) Σ_{k in S} rho_k` over the size-K subsets S of the N traces, a
//! U-statistic: unbiased for each K, as pass@k is, and non-decreasing in K on every sample, where all subsets
//! are visited; drawn ones (see [`SubsetPlan`], large N) keep this up to their error. Assumption: independent
//! traces. With the full ratio it is a bound, also where the answer probability is an unbiased estimate that
//! is never zero (Jensen again); with any other ratio it is a surrogate. Limit cases: K = 1 is
//! the ELBO (2); K = N is `log mean rho`. Where at least K traces have rho = 0, some subset has no correct
//! trace and the value is -inf, exactly and without drawing. Errors: over traces, see
//! [`super::monte_carlo_error`]; over drawn subsets (large N only), their standard deviation over the square
//! root of the draws.

use super::monte_carlo_error::{delta_method, jackknife};
use super::subsets::{SubsetAverage, SubsetPlan, binomial, for_each_subset};
use crate::error::{Result, check_log_weights};

/// Below this share of the largest rho, a subset's sum has lost bits to the least number that f64 holds
/// (1e-308).
const UNDERFLOW: f64 = 1e-280;

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

impl IwaePoint {
    /// Standard error over traces and drawn subsets together, nats.
    #[must_use]
    pub fn error(&self) -> Option<f64> {
        self.standard_error.map(|error| error.hypot(self.subset_error))
    }
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
    // Descending, so that the first member of an ascending subset is its largest; also makes the result
    // independent of order.
    let mut descending = log_rho_k.to_vec();
    descending.sort_unstable_by(|a, b| b.total_cmp(a));
    let largest = descending[0];
    let relative: Vec<f64> = descending.iter().map(|log_rho| (log_rho - largest).exp()).collect();
    (1..=descending.len()).map(|traces| point(&descending, &relative, traces, plan)).collect()
}

/// `L^N − L^1`, nats: what more traces buy; +inf where L^1 is -inf and L^N is not, `None` where both are.
#[must_use]
pub fn gap(points: &[IwaePoint]) -> Option<f64> {
    let (first, last) = (points.first()?.value, points.last()?.value);
    (last > f64::NEG_INFINITY).then_some(last - first)
}

/// `relative`: each rho divided by the largest.
fn point(descending: &[f64], relative: &[f64], traces: usize, plan: &SubsetPlan) -> Result<IwaePoint> {
    let count = descending.len();
    let zeros = descending.iter().filter(|value| **value == f64::NEG_INFINITY).count();
    if zeros >= traces {
        return Ok(unbounded(count, traces));
    }
    let mut sums = SubsetSums::new(count);
    let subsets = for_each_subset(count, traces, plan, |subset| {
        sums.add(subset, relative_log_mean(descending, relative, subset));
    });
    let standard_error = match count {
        1 => None,
        // The jackknife leaves traces out, and the one subset of all traces has none to leave.
        _ if traces == count => Some(delta_method(descending)?),
        _ => jackknife(sums.sum, sums.visited, &sums.with_k),
    };
    // Values are relative until here, so that sums over subsets do not lose digits to a common offset.
    let value = descending[0] + sums.mean();
    Ok(IwaePoint { traces, value, standard_error, subset_error: sums.error(subsets), subsets })
}

/// Some subset holds zeros alone, and one term of -inf is a mean of -inf: known without a visit, where drawn
/// subsets might happen to miss it.
fn unbounded(count: usize, traces: usize) -> IwaePoint {
    let subsets = SubsetAverage::Exact(binomial(count, traces));
    IwaePoint { traces, value: f64::NEG_INFINITY, standard_error: None, subset_error: 0.0, subsets }
}

/// `log (1/K) Σ_{k in S} rho_k`, nats above the largest log rho of all.
fn relative_log_mean(descending: &[f64], relative: &[f64], subset: &[usize]) -> f64 {
    // Exponentials are shared by all subsets, so the usual case costs additions and one logarithm.
    match subset.iter().map(|&k| relative[k]).sum::<f64>() {
        total if total > UNDERFLOW => (total / subset.len() as f64).ln(),
        _ => log_mean_of_subset(descending, subset) - descending[0],
    }
}

/// `log (1/K) Σ_{k in S} rho_k` by itself, however small its members are beside those of other subsets.
fn log_mean_of_subset(descending: &[f64], subset: &[usize]) -> f64 {
    let largest = descending[subset[0]];
    let total: f64 = subset.iter().map(|&k| (descending[k] - largest).exp()).sum();
    largest + (total / subset.len() as f64).ln()
}

/// Running sums over the visited subsets of one size.
struct SubsetSums {
    sum: f64,
    squares: f64,
    visited: u64,
    /// For each trace, sum and number of the visited subsets that hold it.
    with_k: Vec<(f64, u64)>,
}

impl SubsetSums {
    fn new(count: usize) -> Self {
        Self { sum: 0.0, squares: 0.0, visited: 0, with_k: vec![(0.0, 0); count] }
    }

    fn add(&mut self, subset: &[usize], value: f64) {
        self.sum += value;
        self.squares += value * value;
        self.visited += 1;
        for &k in subset {
            self.with_k[k].0 += value;
            self.with_k[k].1 += 1;
        }
    }

    fn mean(&self) -> f64 {
        self.sum / self.visited as f64
    }

    /// Standard error from visiting only some subsets.
    fn error(&self, subsets: SubsetAverage) -> f64 {
        match subsets {
            SubsetAverage::Exact(_) => 0.0,
            SubsetAverage::Sampled(draws) => (self.variance() / draws as f64).sqrt(),
        }
    }

    fn variance(&self) -> f64 {
        // Rounding can take the difference of two near-equal numbers below zero.
        (self.squares / self.visited as f64 - self.mean() * self.mean()).max(0.0)
    }
}
