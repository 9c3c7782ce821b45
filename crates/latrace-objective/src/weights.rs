//! rho and rho~ in log space — (5), (6), (8).
//!
//! `log rho_k = log ratio_k + log answer_k` and `rho~_k = rho_k / Σ_j rho_j`. Nothing leaves log space before
//! the largest log-weight is subtracted, so traces of 30,000 tokens neither overflow nor vanish together.
//! Groups without a usable weight have a name ([`GroupOutcome`]) and weights of zero, never NaN.

use crate::error::{Result, check_log_weights, same_length};

/// What became of a question's group of traces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum GroupOutcome {
    /// At least one weight that is not zero.
    #[default]
    Weighted,
    /// The group is one trace: its normalised weight is 1 whatever rho was, and says nothing about its
    /// quality.
    SingleTrace,
    /// Every trace has weight zero (none correct, or all dropped): weights are 0, the bound is -inf.
    AllZero,
    /// A score-function weight would be infinite (log of a zero rho): weights are 0 and the group is left
    /// out.
    Unbounded,
    /// Every reward is the same, so that a normalised advantage does not exist: weights are 0.
    NoContrast,
}

impl GroupOutcome {
    /// Whether the group carries any gradient.
    #[must_use]
    pub const fn has_gradient(self) -> bool {
        matches!(self, Self::Weighted | Self::SingleTrace)
    }
}

/// Statistics of one group of weights.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GroupSummary {
    /// What became of the group.
    pub outcome: GroupOutcome,
    /// `log (1/K) Σ_k rho_k`, nats: the one-sample L^K. `-inf` for [`GroupOutcome::AllZero`].
    pub log_mean: f64,
    /// `1 / Σ_k rho~_k²`, between 1 and K traces (Kish); 0 for [`GroupOutcome::AllZero`].
    pub effective_sample_size: f64,
    /// `−Σ_k rho~_k log rho~_k`, between 0 and log K nats.
    pub entropy: f64,
}

impl GroupSummary {
    /// The summary of a group of zeros.
    const ALL_ZERO: Self = Self {
        outcome: GroupOutcome::AllZero,
        log_mean: f64::NEG_INFINITY,
        effective_sample_size: 0.0,
        entropy: 0.0,
    };
}

/// `log rho = log ratio + log answer` — (8), nats. Zero in either factor is zero in the product.
#[must_use]
pub fn log_rho(log_ratio: f64, log_answer: f64) -> f64 {
    // Spelt out, because an infinite ratio beside a zero answer would be inf − inf = NaN.
    if log_ratio == f64::NEG_INFINITY || log_answer == f64::NEG_INFINITY {
        f64::NEG_INFINITY
    } else {
        log_ratio + log_answer
    }
}

/// Normalises log-weights into `weight_k` (rho~ of (6)) without allocating.
///
/// # Shapes
/// `log_weight_k`: K ≥ 1 log-weights, nats, -inf for zero. `weight_k`: K, filled with numbers that sum to 1,
/// or with 0 for a group of zeros.
///
/// # Errors
/// No trace, NaN, +inf, or lengths that differ.
pub fn normalise_into(log_weight_k: &[f64], weight_k: &mut [f64]) -> Result<GroupSummary> {
    check_log_weights("normalise", log_weight_k)?;
    same_length("normalise", log_weight_k.len(), weight_k.len())?;
    let largest = log_weight_k.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if largest == f64::NEG_INFINITY {
        weight_k.fill(0.0);
        return Ok(GroupSummary::ALL_ZERO);
    }
    let total = exponentiate(log_weight_k, largest, weight_k);
    weight_k.iter_mut().for_each(|weight| *weight /= total);
    let squares = weight_k.iter().fold(0.0, |sum, &weight| sum + weight * weight);
    Ok(GroupSummary {
        outcome: outcome_of_positive(weight_k.len()),
        log_mean: largest + (total / weight_k.len() as f64).ln(),
        effective_sample_size: 1.0 / squares,
        entropy: entropy(weight_k, log_weight_k, largest, total.ln()),
    })
}

/// `exp(log_weight − largest)` into `weight_k`, and their sum.
///
/// The largest term becomes exp(0) = 1, so the sum neither overflows nor vanishes.
fn exponentiate(log_weight_k: &[f64], largest: f64, weight_k: &mut [f64]) -> f64 {
    let mut total = 0.0;
    for (weight, log_weight) in weight_k.iter_mut().zip(log_weight_k) {
        *weight = (log_weight - largest).exp();
        total += *weight;
    }
    total
}

/// `−Σ_k rho~_k log rho~_k`, with `log rho~_k = log_weight_k − largest − log_total`: from log-weights, which
/// no exponential has rounded.
fn entropy(weight_k: &[f64], log_weight_k: &[f64], largest: f64, log_total: f64) -> f64 {
    // A weight of zero adds nothing (w log w → 0), but 0 × −inf would be NaN.
    let positive = weight_k.iter().zip(log_weight_k).filter(|&(&weight, _)| weight > 0.0);
    positive.fold(0.0, |sum, (weight, log_weight)| sum - weight * (log_weight - largest - log_total))
}

/// The outcome of a group with a positive weight; a single trace weighs 1 however poor it is.
const fn outcome_of_positive(traces: usize) -> GroupOutcome {
    if traces == 1 { GroupOutcome::SingleTrace } else { GroupOutcome::Weighted }
}

/// [`normalise_into`] into a fresh vector.
///
/// # Shapes
/// `log_weight_k`: K ≥ 1, nats. Returns rho~ over k.
///
/// # Errors
/// As [`normalise_into`].
pub fn normalise(log_weight_k: &[f64]) -> Result<(Vec<f64>, GroupSummary)> {
    let mut weight_k = vec![0.0; log_weight_k.len()];
    let summary = normalise_into(log_weight_k, &mut weight_k)?;
    Ok((weight_k, summary))
}
