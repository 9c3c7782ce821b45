//! (15) with a leave-one-out baseline: `Σ_k (−rho~_k + L_K − L_{−k}) ∇_phi log q(z_k|x,y')`. Off by default.
//!
//! `L_{−k} = log (1/(K−1)) Σ_{j≠k} rho_j` depends on the other traces only, so the expectation is that of
//! (15). Assumption: full ratios. Weight per question: 1. Limit case: K = 1 has no baseline and is
//! `elbo-single`; where every other rho is zero the baseline is 0. differs in: VIMCO (Mnih and Rezende 2016)
//! puts the geometric mean of the others in place of rho_k, which a single zero rho — a trace without a
//! correct answer — makes zero; the arithmetic mean survives it.

use super::{Group, SequenceWeights};
use crate::error::Result;
use crate::log_space::log_mean_exp;
use crate::weights::{GroupOutcome, normalise};

/// Weights on the traces.
///
/// # Shapes
/// Reads log-ratios and log answer probabilities over k, nats. K² operations.
///
/// # Errors
/// One of them is missing.
pub fn weights(group: &Group<'_>) -> Result<SequenceWeights> {
    let log_rho_k = group.log_rho("iwae-phi-leave-one-out")?;
    let (rho_tilde_k, summary) = normalise(&log_rho_k)?;
    if summary.outcome == GroupOutcome::AllZero {
        return Ok(SequenceWeights::zero_traces(group, GroupOutcome::AllZero));
    }
    let mut others = Vec::with_capacity(log_rho_k.len());
    let mut baseline = |trace: usize| {
        others.clear();
        others.extend(log_rho_k.iter().enumerate().filter(|&(k, _)| k != trace).map(|(_, &log_rho)| log_rho));
        let baseline = log_mean_exp(&others);
        if baseline == f64::NEG_INFINITY { 0.0 } else { baseline }
    };
    let weight = |(trace, rho_tilde): (usize, &f64)| summary.log_mean - baseline(trace) - rho_tilde;
    let weight_k = rho_tilde_k.iter().enumerate().map(weight).collect();
    Ok(SequenceWeights::traces(weight_k, GroupOutcome::Weighted))
}

/// Weight per question at an accuracy: 1; 0 where nothing is ever correct.
#[must_use]
pub fn question_weight(accuracy: f64) -> f64 {
    super::one_unless_never_correct(accuracy)
}
