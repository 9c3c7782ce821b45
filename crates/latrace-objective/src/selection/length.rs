//! Length cut-off: a trace of `limit` tokens or more gets weight 0, i.e. log-weight -inf (section 8).
//!
//! Assumption: a trace that long was cut by the sampler or does not fit the trainer. Limit case: every trace
//! too long, where the group is all zero and [`crate::fallback`] decides.

use crate::error::{Result, same_length};

/// The published length limit: traces of this many tokens or more are dropped.
pub const PUBLISHED_LENGTH_LIMIT: usize = 28_000;

/// Drops traces of `limit` tokens or more by setting their log-weight to -inf; returns how many.
///
/// # Shapes
/// `log_weight_k`: K log-weights (or log-ratios), changed in place. `tokens_k`: K trace lengths, tokens.
///
/// # Errors
/// Lengths that differ.
pub fn drop_long_traces(log_weight_k: &mut [f64], tokens_k: &[usize], limit: usize) -> Result<usize> {
    same_length("drop_long_traces", log_weight_k.len(), tokens_k.len())?;
    let mut dropped = 0;
    for (log_weight, _) in log_weight_k.iter_mut().zip(tokens_k).filter(|(_, tokens)| **tokens >= limit) {
        *log_weight = f64::NEG_INFINITY;
        dropped += 1;
    }
    Ok(dropped)
}
