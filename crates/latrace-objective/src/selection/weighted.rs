//! All traces of weight above zero, each with rho~ — the paper's "-M" setting, weights of (6).
//!
//! Limit case: one non-zero rho, where it equals `best`.

use super::Pick;

/// Keeps every trace that carries weight.
///
/// # Shapes
/// `weight_k`: K weights that sum to 1. Returns picks in ascending k.
#[must_use]
pub fn select(weight_k: &[f64]) -> Vec<Pick> {
    let carrying = weight_k.iter().enumerate().filter(|(_, weight)| **weight > 0.0);
    carrying.map(|(trace, &weight)| Pick { trace, weight }).collect()
}
