//! The distribution of lengths: of responses, and of the thoughts in them.

use serde::{Deserialize, Serialize};

/// Distribution of lengths, in tokens.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lengths {
    /// Number of sequences.
    pub count: usize,
    /// Mean.
    pub mean: f64,
    /// Minimum.
    pub least: u64,
    /// Median: the smallest length that at least half do not exceed.
    pub median: u64,
    /// 90th percentile, in the same sense.
    pub ninetieth: u64,
    /// Maximum.
    pub most: u64,
}

impl Lengths {
    /// `None` for an empty list.
    pub fn of(lengths: impl Iterator<Item = u64>) -> Option<Lengths> {
        let mut sorted: Vec<u64> = lengths.collect();
        sorted.sort_unstable();
        let (&least, &most) = (sorted.first()?, sorted.last()?);
        let (median, ninetieth) = (nearest_rank(&sorted, 0.5), nearest_rank(&sorted, 0.9));
        let mean = sorted.iter().sum::<u64>() as f64 / sorted.len() as f64;
        Some(Lengths { count: sorted.len(), mean, least, median, ninetieth, most })
    }
}

/// The quantile of a sorted list by nearest rank: an observed length, never an interpolated one.
fn nearest_rank(sorted: &[u64], share: f64) -> u64 {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted[rank.max(1) - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_those_of_the_sorted_list() {
        let lengths = Lengths::of([5, 1, 2, 4, 3, 10, 7, 8, 9, 6].into_iter()).unwrap();
        assert_eq!(
            (lengths.least, lengths.median, lengths.ninetieth, lengths.most, lengths.mean, lengths.count),
            (1, 5, 9, 10, 5.5, 10)
        );
        assert_eq!(
            Lengths::of([3].into_iter()).map(|lengths| (lengths.median, lengths.ninetieth)),
            Some((3, 3))
        );
        assert_eq!(Lengths::of(std::iter::empty()), None);
    }
}
