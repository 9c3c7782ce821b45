//! Spearman's rank correlation — Figure 4: trace length against `log pi/q`, answer length against `log
//! pi(y)`.
//!
//! Assumption: a monotone relation is of interest, not a linear one. Ties share their mean rank.
//! Limit case: a constant series has no ranks, and no correlation (`None`).

use crate::error::{Result, check_domain, same_length};

/// Correlation of the ranks of two series, in [−1, 1].
///
/// # Shapes
/// `left_k`, `right_k`: one number per trace (or per answer), any units.
///
/// # Errors
/// Lengths that differ, or NaN. Infinite values rank as extremes.
pub fn rank_correlation(left_k: &[f64], right_k: &[f64]) -> Result<Option<f64>> {
    same_length("rank_correlation", left_k.len(), right_k.len())?;
    for series in [left_k, right_k] {
        check_domain("rank_correlation", "a number", series, |value| !value.is_nan())?;
    }
    let (left, right) = (ranks(left_k), ranks(right_k));
    // Ties share their mean rank, so every series of this length has the same mean.
    let mean = (left.len() as f64 + 1.0) / 2.0;
    let covariance =
        |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - mean) * (b - mean)).sum::<f64>();
    let scale = (covariance(&left, &left) * covariance(&right, &right)).sqrt();
    // Rounding may carry a perfect correlation past 1.
    Ok((scale > 0.0).then(|| (covariance(&left, &right) / scale).clamp(-1.0, 1.0)))
}

/// Ranks from 1, ties at their mean.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    while start < order.len() {
        // By value, not by total order: −0.0 and 0.0 are neighbours there, and tie.
        let equal = order[start..].iter().take_while(|&&index| values[index] == values[order[start]]).count();
        for &index in &order[start..start + equal] {
            ranks[index] = start as f64 + (equal as f64 + 1.0) / 2.0;
        }
        start += equal;
    }
    ranks
}
