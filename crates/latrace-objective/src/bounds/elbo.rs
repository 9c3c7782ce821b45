//! ELBO `E_q[log pi(Y_x|x,z)] − KL(q(z|x,y') || pi(z|x)) = L^1` — (2), estimated from traces z_k ~ q.
//!
//! Assumption: K independent traces of q and full ratios. Its gap to `log P(Y_x|x)` is KL(q || true
//! posterior), (4). Limit case: q = true posterior, where every trace gives `log P(Y_x|x)` and the error is
//! 0. One trace of answer probability zero makes the estimate -inf; that is the estimate, not a fault.

use crate::error::{Result, check_log_weights, same_length};
use crate::weights::log_rho;

/// An ELBO in its two parts, nats.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Elbo {
    /// `reconstruction − divergence`.
    pub value: f64,
    /// Standard error of `value` over traces; `None` for one trace or a value of -inf.
    pub standard_error: Option<f64>,
    /// Mean of `log pi(Y_x|x,z_k)`.
    pub reconstruction: f64,
    /// Mean of `−log pi(z_k|x)/q(z_k|x,y')`: an estimate of KL(q || pi), so it may come out negative.
    pub divergence: f64,
}

/// Estimates the ELBO of one question.
///
/// # Shapes
/// `log_ratio_k` (full ratio) and `log_answer_k`: K ≥ 1, nats per trace.
///
/// # Errors
/// Lengths that differ, no trace, NaN or +inf.
pub fn elbo(log_ratio_k: &[f64], log_answer_k: &[f64]) -> Result<Elbo> {
    same_length("elbo", log_ratio_k.len(), log_answer_k.len())?;
    check_log_weights("elbo", log_ratio_k)?;
    check_log_weights("elbo", log_answer_k)?;
    let count = log_ratio_k.len() as f64;
    let reconstruction = log_answer_k.iter().sum::<f64>() / count;
    let divergence = -log_ratio_k.iter().sum::<f64>() / count;
    // Per trace, since the two terms are correlated: the spread of their sum is not that of either.
    let log_rho_k = || log_ratio_k.iter().zip(log_answer_k).map(|(&ratio, &answer)| log_rho(ratio, answer));
    let value = log_rho_k().sum::<f64>() / count;
    let standard_error =
        (log_ratio_k.len() > 1 && value.is_finite()).then(|| standard_error(log_rho_k(), value, count));
    Ok(Elbo { value, standard_error, reconstruction, divergence })
}

/// Standard error of the mean of `count` values.
fn standard_error(values: impl Iterator<Item = f64>, mean: f64, count: f64) -> f64 {
    let squares: f64 = values.map(|value| (value - mean).powi(2)).sum();
    (squares / (count - 1.0) / count).sqrt()
}
