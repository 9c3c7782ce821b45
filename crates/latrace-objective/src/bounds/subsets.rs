//! Visits the size-K subsets of N traces: all of them where they are few, else seeded random ones.

use crate::Rng;

/// How many subsets to visit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubsetPlan {
    /// Enumerate every subset of a size where there are at most this many. N = 8 has at most 70, N = 16 at
    /// most 12,870.
    pub exact_limit: u64,
    /// Otherwise draw this many, independently and uniformly.
    pub draws: usize,
    /// Seed of those draws.
    pub seed: u64,
}

impl Default for SubsetPlan {
    fn default() -> Self {
        Self { exact_limit: 20_000, draws: 4_096, seed: 0 }
    }
}

/// How a subset average was formed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubsetAverage {
    /// Over every subset, this many.
    Exact(u64),
    /// Over this many uniform draws.
    Sampled(usize),
}

/// `C(n, k)`, saturating at `u64::MAX`.
#[must_use]
pub fn binomial(n: usize, k: usize) -> u64 {
    if k > n {
        return 0;
    }
    let count = (0..k.min(n - k) as u64).try_fold(1_u128, |count, i| {
        // Exact at every step: count is C(n, i), and C(n, i) (n − i) is divisible by i + 1.
        let next = count * u128::from(n as u64 - i) / u128::from(i + 1);
        (next <= u128::from(u64::MAX)).then_some(next)
    });
    count.map_or(u64::MAX, |count| count as u64)
}

/// Calls `visit` with ascending indices of each subset of size `size` out of `0..count`.
pub(super) fn for_each_subset(
    count: usize,
    size: usize,
    plan: &SubsetPlan,
    visit: impl FnMut(&[usize]),
) -> SubsetAverage {
    let subsets = binomial(count, size);
    if subsets <= plan.exact_limit {
        enumerate(count, size, visit);
        SubsetAverage::Exact(subsets)
    } else {
        sample(count, size, plan, visit);
        SubsetAverage::Sampled(plan.draws)
    }
}

fn enumerate(count: usize, size: usize, mut visit: impl FnMut(&[usize])) {
    let mut subset: Vec<usize> = (0..size).collect();
    loop {
        visit(&subset);
        // The last index that can still rise; those after it start over right behind it.
        let Some(place) = (0..size).rev().find(|&place| subset[place] < count - size + place) else {
            return;
        };
        subset[place] += 1;
        for next in place + 1..size {
            subset[next] = subset[next - 1] + 1;
        }
    }
}

/// Draws by selection sampling (Knuth 3.4.2 S): ascending, every subset equally likely.
fn sample(count: usize, size: usize, plan: &SubsetPlan, mut visit: impl FnMut(&[usize])) {
    // A stream for each size: with one for all, the same traces would stand in the subsets of every K, and
    // the errors of L^K and L^{K+1} would not be independent.
    let mut rng = Rng::at(plan.seed, &[count as u64, size as u64]);
    let mut subset = Vec::with_capacity(size);
    for _ in 0..plan.draws {
        draw(count, size, &mut rng, &mut subset);
        visit(&subset);
    }
}

fn draw(count: usize, size: usize, rng: &mut Rng, subset: &mut Vec<usize>) {
    subset.clear();
    for index in 0..count {
        // As many of the indices left as are still wanted.
        if rng.below(count - index) < size - subset.len() {
            subset.push(index);
        }
    }
}
