//! Traces drawn in proportion to rho~, equally weighted: sampling-importance-resampling of (6).
//!
//! Assumption: the trainer prefers equal weights (fewer, whole examples). The expected weight of trace k is
//! rho~_k. Limit cases: many draws give `weighted`; one non-zero rho gives `best`. Multinomial: independent
//! draws. Systematic (Kitagawa 1996): one uniform offset, so copies of k are within 1 of draws × rho~_k.

use super::Pick;
use crate::Rng;

/// How the draws depend on each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Independent draws.
    Multinomial,
    /// Evenly spaced points with one random offset.
    Systematic,
}

/// Draws traces; weights are copies / draws, so that they sum to 1.
///
/// # Shapes
/// `weight_k`: K weights that sum to 1, or to 0 (nothing is picked). Returns picks in ascending k.
#[must_use]
pub fn select(weight_k: &[f64], scheme: Scheme, draws: usize, rng: &mut Rng) -> Vec<Pick> {
    let mut copies_k = vec![0_usize; weight_k.len()];
    match scheme {
        Scheme::Multinomial => {
            (0..draws).filter_map(|_| rng.weighted(weight_k)).for_each(|trace| copies_k[trace] += 1)
        }
        Scheme::Systematic => systematic(weight_k, draws, rng, &mut copies_k),
    }
    let picked = copies_k.iter().enumerate().filter(|(_, copies)| **copies > 0);
    picked.map(|(trace, &copies)| Pick { trace, weight: copies as f64 / draws as f64 }).collect()
}

fn systematic(weight_k: &[f64], draws: usize, rng: &mut Rng, copies_k: &mut [usize]) {
    let Some(last) = weight_k.iter().rposition(|&weight| weight > 0.0) else {
        return;
    };
    let total: f64 = weight_k.iter().sum();
    // One offset for all points, so that a trace's copies differ from draws × weight by less than one.
    let (offset, mut cumulated, mut drawn) = (rng.uniform(), 0.0, 0);
    for trace in 0..=last {
        cumulated += weight_k[trace] / total;
        // The last carrying trace takes what rounding in the running sum may have left over.
        while drawn < draws && (trace == last || (drawn as f64 + offset) / (draws as f64) < cumulated) {
            copies_k[trace] += 1;
            drawn += 1;
        }
    }
}
