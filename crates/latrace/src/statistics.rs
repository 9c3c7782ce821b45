//! What a measured accuracy is worth: intervals over questions, pass@k.

use latrace_objective::Rng;

/// Resamples of an interval.
const RESAMPLES: usize = 2000;

/// A mean and its interval of 95 %.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Interval {
    /// The mean.
    pub mean: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// The mean over questions of each one's mean, and its percentile bootstrap interval over questions: samples of one question are not independent.
///
/// # Shapes
/// `value_q`: one number per question, at least one.
pub fn bootstrap(value_q: &[f64], seed: u64) -> Interval {
    let mean = |values: &mut dyn Iterator<Item = f64>| values.sum::<f64>() / value_q.len() as f64;
    let mut rng = Rng::at(seed, &[10]);
    let mut resampled: Vec<f64> = (0..RESAMPLES).map(|_| mean(&mut (0..value_q.len()).map(|_| value_q[rng.below(value_q.len())]))).collect();
    resampled.sort_by(f64::total_cmp);
    let at = |share: f64| resampled[((RESAMPLES - 1) as f64 * share).round() as usize];
    Interval { mean: mean(&mut value_q.iter().copied()), low: at(0.025), high: at(0.975) }
}

/// Chance that at least one of k samples is right, from n of which c are: 1 − C(n−c, k) / C(n, k), unbiased.
pub fn pass_at(k: usize, n: usize, c: usize) -> f64 {
    if n - c < k {
        return 1.0;
    }
    1.0 - (n - c + 1..=n).map(|i| 1.0 - k as f64 / i as f64).product::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All subsets of k of n samples, the first c of which are right.
    fn enumerated(k: usize, n: usize, c: usize) -> f64 {
        let subsets = (0_u32..1 << n).filter(|subset| subset.count_ones() as usize == k);
        let (hits, all) = subsets.fold((0, 0), |(hits, all), subset| (hits + u32::from(subset & ((1 << c) - 1) != 0), all + 1));
        f64::from(hits) / f64::from(all)
    }

    #[test]
    fn pass_at_k_is_the_share_of_subsets_with_a_right_sample() {
        for n in 1..9 {
            for c in 0..=n {
                for k in 1..=n {
                    let (got, expected) = (pass_at(k, n, c), enumerated(k, n, c));
                    assert!((got - expected).abs() < 1e-12, "k {k}, n {n}, c {c}: {got}, {expected}");
                }
            }
        }
    }

    #[test]
    fn the_interval_covers_the_truth_as_often_as_it_says() {
        // 400 sets of 200 questions of accuracy 0.3: the share of intervals that hold it has a standard error of 1.1 %.
        let mut rng = Rng::at(5, &[]);
        let covered = (0..400_u64).filter(|&seed| {
            let value_q: Vec<f64> = (0..200).map(|_| if rng.uniform() < 0.3 { 1.0 } else { 0.0 }).collect();
            let interval = bootstrap(&value_q, seed);
            (interval.low..=interval.high).contains(&0.3)
        });
        let share = covered.count() as f64 / 400.0;
        assert!((0.93..=0.97).contains(&share), "{share}");
    }

    #[test]
    fn equal_values_have_no_spread() {
        assert_eq!(bootstrap(&[0.5; 7], 1), Interval { mean: 0.5, low: 0.5, high: 0.5 });
    }
}
