//! `rho~_k − mean_{j≠k} rho~_j = (K rho~_k − 1)/(K − 1)` — RLOO's baseline (Kool et al. 2019) on rho~. Off by
//! default.
//!
//! Assumption: traces worse than the rest should be pushed away from. The weights are `K/(K−1)` times rho~
//! less a constant 1/(K−1), so that they sum to 0. With z ~ pi that constant costs the trace term nothing in
//! expectation (it is then `K/(K−1)` times that of (6)); with z ~ q, and in the answer term, it does, and
//! they are no estimate of (6). Limit case: equal rho, and K = 1, give 0 for every trace (no contrast).

use crate::weights::{GroupOutcome, GroupSummary};

/// Turns rho~ into leave-one-out weights in place.
///
/// # Shapes
/// `weight_k`: K weights that sum to 1, on return K signed weights that sum to 0. Dropped traces weigh
/// nothing, and K is the number of the others.
pub fn centre(weight_k: &mut [f64], dropped: impl Fn(usize) -> bool, summary: &mut GroupSummary) {
    if summary.outcome == GroupOutcome::AllZero {
        return;
    }
    let kept: Vec<usize> = (0..weight_k.len()).filter(|&k| !dropped(k)).collect();
    let count = kept.len() as f64;
    // Also K = 1, where (K − 1) would divide by zero.
    if kept.iter().all(|&k| weight_k[k] == weight_k[kept[0]]) {
        weight_k.fill(0.0);
        summary.outcome = GroupOutcome::NoContrast;
        return;
    }
    for k in kept {
        weight_k[k] = (count * weight_k[k] - 1.0) / (count - 1.0);
    }
}
