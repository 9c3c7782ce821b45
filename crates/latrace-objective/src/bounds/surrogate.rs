//! Bias of the geometric surrogate: `L^K(surrogate rho) − L^K(true rho)`, nats, for every K — asked for by
//! reviewers.
//!
//! Assumption: both log-weights belong to the same traces, so their noise is shared and largely cancels.
//! Limit case: traces of one token, where it is 0. Positive values show the surrogate may exceed `log
//! P(Y_x|x)`.

use super::iwae::iwae_bounds;
use super::subsets::SubsetPlan;
use crate::error::{Result, same_length};

/// Measured bias at each K.
///
/// # Shapes
/// `log_rho_true_k`, `log_rho_surrogate_k`: N ≥ 1 of the same traces, nats. Returns N differences, K
/// ascending; NaN where both values are -inf.
///
/// # Errors
/// Lengths that differ, NaN or +inf.
pub fn surrogate_bias(
    log_rho_true_k: &[f64],
    log_rho_surrogate_k: &[f64],
    plan: &SubsetPlan,
) -> Result<Vec<f64>> {
    same_length("surrogate_bias", log_rho_true_k.len(), log_rho_surrogate_k.len())?;
    // The same plan for both, hence the same subsets where they are drawn: their noise cancels.
    let truth = iwae_bounds(log_rho_true_k, plan)?;
    let surrogate = iwae_bounds(log_rho_surrogate_k, plan)?;
    Ok(surrogate.iter().zip(&truth).map(|(surrogate, truth)| surrogate.value - truth.value).collect())
}
