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
/// `weight_k`: K weights ≥ 0 of any sum; where it is 0 nothing is picked. Returns picks in ascending k.
#[must_use]
pub fn select(weight_k: &[f64], scheme: Scheme, draws: usize, rng: &mut Rng) -> Vec<Pick> {
    let mut copies_k = vec![0_usize; weight_k.len()];
    match scheme {
        Scheme::Multinomial => {
            (0..draws).filter_map(|_| rng.weighted(weight_k)).for_each(|trace| copies_k[trace] += 1)
        }
        Scheme::Systematic => systematic(weight_k, draws, rng.uniform(), &mut copies_k),
    }
    // Copies of one trace become one row of their summed weight: the gradient is the same, at less cost.
    let picked = copies_k.iter().enumerate().filter(|(_, copies)| **copies > 0);
    picked.map(|(trace, &copies)| Pick { trace, weight: copies as f64 / draws as f64 }).collect()
}

/// Points at `(i + offset) / draws`, each to the trace whose stretch of [0, 1) it falls into.
///
/// One offset for all points, so that a trace's copies differ from draws × weight by less than one.
fn systematic(weight_k: &[f64], draws: usize, offset: f64, copies_k: &mut [usize]) {
    let Some(last) = weight_k.iter().rposition(|&weight| weight > 0.0) else {
        return;
    };
    let total: f64 = weight_k.iter().sum();
    let (mut cumulated, mut drawn) = (0.0, 0);
    for trace in 0..=last {
        cumulated += weight_k[trace] / total;
        // The last carrying trace takes what rounding in the running sum may have left over.
        while drawn < draws && (trace == last || (drawn as f64 + offset) / (draws as f64) < cumulated) {
            copies_k[trace] += 1;
            drawn += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the running sum ends below the last point, the last trace of non-zero weight takes it.
    #[test]
    fn rounding_loses_no_draw() {
        let largest_offset = 1.0 - f64::EPSILON / 2.0;
        let mut short = 0;
        for count in 2..60 {
            let weight_k: Vec<f64> = (1..=count).map(|k| 1.0 / f64::from(k)).chain([0.0]).collect();
            let total: f64 = weight_k.iter().sum();
            let reached = weight_k.iter().fold(0.0, |sum, weight| sum + weight / total);
            short += usize::from(reached <= largest_offset);
            let mut copies_k = vec![0; weight_k.len()];
            systematic(&weight_k, 1, largest_offset, &mut copies_k);
            assert_eq!(copies_k[weight_k.len() - 2], 1, "{count} traces");
        }
        assert!(short > 0, "no running sum fell short, so nothing was tested");
    }

    #[test]
    fn weights_need_not_be_normalised() {
        for scheme in [Scheme::Multinomial, Scheme::Systematic] {
            let picks = select(&[2.0, 0.0, 6.0], scheme, 400, &mut Rng::new(1));
            let share = picks[0].weight;
            // Four standard deviations of Binomial(400, 1/4) are 35 draws.
            assert!(
                (picks.len(), picks[1].trace) == (2, 2) && (share - 0.25).abs() < 35.0 / 400.0,
                "{picks:?}"
            );
        }
    }
}
