//! Diversity of a question's traces: distinct-n (Li et al. 2016) and mean pairwise overlap.
//!
//! Assumption: token n-grams show whether traces are copies of one another; they say nothing about ideas.
//! Limit cases: identical traces have overlap 1; traces without a common n-gram have overlap 0.

use std::collections::HashSet;

/// Distinct n-grams over all n-grams of the traces, in (0, 1]; `None` where no trace has n tokens, or n is 0.
///
/// # Shapes
/// `token_kt`: K traces of token ids.
#[must_use]
pub fn distinct_n(token_kt: &[&[u32]], n: usize) -> Option<f64> {
    let mut distinct = HashSet::new();
    let mut total = 0_usize;
    for trace in token_kt {
        // A trace shorter than n has no window, and counts for nothing.
        for gram in trace.windows(if n == 0 { return None } else { n }) {
            distinct.insert(gram);
            total += 1;
        }
    }
    (total > 0).then(|| distinct.len() as f64 / total as f64)
}

/// Mean over pairs of traces of |A ∩ B| / |A ∪ B| of their n-gram sets, in [0, 1].
///
/// # Shapes
/// `token_kt`: K traces of token ids. `None` below two traces that have n tokens, or where n is 0.
#[must_use]
pub fn mean_pairwise_overlap(token_kt: &[&[u32]], n: usize) -> Option<f64> {
    if n == 0 {
        return None;
    }
    // A trace shorter than n has no n-gram, and its overlap with another would be 0 / 0.
    let sets: Vec<HashSet<&[u32]>> =
        token_kt.iter().filter(|trace| trace.len() >= n).map(|trace| trace.windows(n).collect()).collect();
    let (mut total, mut pairs) = (0.0, 0_usize);
    for (index, left) in sets.iter().enumerate() {
        for right in &sets[index + 1..] {
            total += overlap(left, right);
            pairs += 1;
        }
    }
    (pairs > 0).then(|| total / pairs as f64)
}

/// |A ∩ B| / |A ∪ B| (Jaccard 1912).
fn overlap(left: &HashSet<&[u32]>, right: &HashSet<&[u32]>) -> f64 {
    let shared = left.intersection(right).count();
    shared as f64 / (left.len() + right.len() - shared) as f64
}
