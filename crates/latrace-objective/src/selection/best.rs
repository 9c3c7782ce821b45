//! The one trace of highest rho, with weight 1, ties to the lowest index — the paper's "-S" setting.
//!
//! Assumption: traces stand in run order, as in the release, where the first maximum wins. differs in:
//! compares log rho, not rho (sail-sg/variational-reasoning 21bc48a exponentiates first); same order.

use super::Pick;

/// The best trace; nothing where every rho is zero.
///
/// # Shapes
/// `log_rho_k`: K log-weights, nats.
#[must_use]
pub fn select(log_rho_k: &[f64]) -> Vec<Pick> {
    let mut best: Option<usize> = None;
    for (trace, &log_rho) in log_rho_k.iter().enumerate() {
        // Strictly greater: ties go to the earlier trace, and a rho of zero is never picked.
        if log_rho > best.map_or(f64::NEG_INFINITY, |best| log_rho_k[best]) {
            best = Some(trace);
        }
    }
    best.map(|trace| Pick { trace, weight: 1.0 }).into_iter().collect()
}
