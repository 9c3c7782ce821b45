//! Statistics of an evaluation: avg@k and pass@k with intervals over questions, and the paired comparison of
//! two models.
//!
//! The question is the unit throughout: a model's samples of one question are not independent, so resampling
//! them as if they were would make intervals too narrow. Everything random is a function of a seed.

use crate::Rng;
use serde::{Deserialize, Serialize};

/// Bootstrap resamples behind an interval. Fifty of them lie beyond each end, so that the share cut off
/// there, nominally 2.5 %, has a standard error of 0.35 %.
const RESAMPLES: usize = 2000;

/// Assignments of signs to draw where there are too many to enumerate. A p of 0.05 then has a standard error
/// of 0.002.
const FLIPS: usize = 10_000;

/// The most differences whose assignments of signs are enumerated: 2^13 is the last power of two below
/// [`FLIPS`], so that enumeration is never the slower of the two.
const ENUMERATED: usize = 13;

/// A mean and its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The mean.
    pub mean: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// How many of a question's samples are right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// Samples whose answer is right.
    pub right: usize,
    /// All samples of the question, at least one.
    pub samples: usize,
}

impl Tally {
    /// The share of right samples: avg@k of one question, in [0, 1].
    pub fn share(self) -> f64 {
        self.right as f64 / self.samples as f64
    }
}

/// A model's accuracy on a set of questions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Accuracy {
    /// avg@k: the mean over questions of each one's share of right samples, in [0, 1].
    pub accuracy: f64,
    /// Lower end of the 95 % interval of [`bootstrap`].
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Number of questions.
    pub questions: usize,
    /// Number of samples, over all questions.
    pub samples: usize,
}

impl Accuracy {
    /// The accuracy on these questions; without any, its interval is all of [0, 1].
    ///
    /// # Shapes
    /// `tally_q`: one per question.
    #[must_use]
    pub fn of(tally_q: &[Tally], seed: u64) -> Accuracy {
        // Without data, every accuracy is possible.
        if tally_q.is_empty() {
            return Accuracy { accuracy: 0.0, low: 0.0, high: 1.0, questions: 0, samples: 0 };
        }
        let share_q: Vec<f64> = tally_q.iter().map(|tally| tally.share()).collect();
        let Interval { mean, low, high } = bootstrap(&share_q, seed);
        Accuracy {
            accuracy: mean,
            low,
            high,
            questions: tally_q.len(),
            samples: tally_q.iter().map(|tally| tally.samples).sum(),
        }
    }

    /// The accuracy with its interval.
    #[must_use]
    pub fn interval(&self) -> Interval {
        Interval { mean: self.accuracy, low: self.low, high: self.high }
    }
}

/// The mean over questions and its percentile bootstrap interval, questions drawn with replacement.
///
/// Where all values are equal the interval has no width: a bootstrap cannot see what did not occur, so such
/// an interval is no evidence of certainty.
///
/// # Shapes
/// `value_q`: one number per question, at least one (the mean of its samples, say).
#[must_use]
pub fn bootstrap(value_q: &[f64], seed: u64) -> Interval {
    let count = value_q.len() as f64;
    // A stream of its own, so that interval and p value of one comparison are independent.
    let mut rng = Rng::at(seed, &[10]);
    let mut resampled: Vec<f64> = (0..RESAMPLES).map(|_| resampled_sum(value_q, &mut rng) / count).collect();
    resampled.sort_by(f64::total_cmp);
    let quantile = |share: f64| resampled[((RESAMPLES - 1) as f64 * share).round() as usize];
    // The observed mean, not that of the resamples, which differs by the noise of drawing.
    Interval { mean: value_q.iter().sum::<f64>() / count, low: quantile(0.025), high: quantile(0.975) }
}

/// The sum of as many values as there are, drawn with replacement.
///
/// The inner loop of an evaluation's statistics, so it takes two indices from each 64 bits and skips
/// rejection: of n values, none is likelier than another by more than n / 2^32.
fn resampled_sum(value_q: &[f64], rng: &mut Rng) -> f64 {
    let count = value_q.len();
    let index = |bits: u64| (((bits & 0xFFFF_FFFF) * count as u64) >> 32) as usize;
    let mut sum = 0.0;
    for first in (0..count).step_by(2) {
        let bits = rng.next_u64();
        sum += value_q[index(bits)];
        if first + 1 < count {
            sum += value_q[index(bits >> 32)];
        }
    }
    sum
}

/// pass@k: the chance that at least one of k samples is right, `1 − C(n−c, k) / C(n, k)` (Chen et al. 2021).
///
/// Unbiased, and computed as a product of c factors, since the binomials overflow.
///
/// # Shapes
/// Of `n` ≥ `k` samples of one question, `c` ≤ n are right.
#[must_use]
pub fn pass_at(k: usize, n: usize, c: usize) -> f64 {
    // Fewer than k samples are wrong, so every choice of k has a right one.
    if n - c < k {
        return 1.0;
    }
    1.0 - (n - c + 1..=n).map(|i| 1.0 - k as f64 / i as f64).product::<f64>()
}

/// pass@k for every k up to the fewest samples that any question has: beyond it some question has no
/// estimate, and leaving that question out would change what is averaged from one k to the next.
///
/// pass@1 is the accuracy, so it has the interval of `overall`, the accuracy on these questions: another bootstrap
/// would differ from it in the last digit.
///
/// # Shapes
/// `tally_q`: one per question. Element i is k = i + 1, with the interval of [`bootstrap`].
#[must_use]
pub fn pass_curve(tally_q: &[Tally], overall: &Accuracy, seed: u64) -> Vec<Interval> {
    let fewest = tally_q.iter().map(|tally| tally.samples).min().unwrap_or(0);
    let further = (2..=fewest).map(|k| pass_interval(k, tally_q, seed));
    let first = (fewest > 0).then(|| overall.interval());
    first.into_iter().chain(further).collect()
}

fn pass_interval(k: usize, tally_q: &[Tally], seed: u64) -> Interval {
    let pass_q: Vec<f64> = tally_q.iter().map(|tally| pass_at(k, tally.samples, tally.right)).collect();
    bootstrap(&pass_q, seed)
}

/// A comparison of two models on the same questions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Paired {
    /// Mean over questions of the second model's value less the first's, with the interval of [`bootstrap`].
    pub difference: Interval,
    /// The two-sided p value of [`sign_flip_p`].
    pub p: f64,
    /// Number of questions.
    pub questions: usize,
}

/// Compares two models question by question.
///
/// # Shapes
/// `first_q`, `second_q`: one number per question, in the same order, at least one.
#[must_use]
pub fn paired(first_q: &[f64], second_q: &[f64], seed: u64) -> Paired {
    let difference_q: Vec<f64> = first_q.iter().zip(second_q).map(|(first, second)| second - first).collect();
    Paired {
        difference: bootstrap(&difference_q, seed),
        p: sign_flip_p(&difference_q, seed),
        questions: difference_q.len(),
    }
}

/// The two-sided p value of the sign-flip permutation test of a mean difference of 0: how often a mean is at
/// least as far from 0 when on each question the two models may change places.
///
/// Exact, over all assignments of signs, for up to 13 differences other than 0; from drawn assignments
/// beyond, to which the observed one is added, so that p is never 0 (Phipson and Smyth 2010).
///
/// # Shapes
/// `difference_q`: one number per question.
#[must_use]
pub fn sign_flip_p(difference_q: &[f64], seed: u64) -> f64 {
    // A difference of 0 is the same with either sign.
    let moved: Vec<f64> = difference_q.iter().copied().filter(|&difference| difference != 0.0).collect();
    let size: f64 = moved.iter().map(|difference| difference.abs()).sum();
    // Sums in another order differ in their last bits; equal ones must still count as equal.
    let least = moved.iter().sum::<f64>().abs() - 1e-9 * size;
    if moved.len() <= ENUMERATED { exact_p(&moved, least) } else { drawn_p(&moved, least, seed) }
}

/// The share of all assignments of signs with a sum of at least `least`.
fn exact_p(moved: &[f64], least: f64) -> f64 {
    let all = 1_u64 << moved.len();
    let hits = (0..all).filter(|&negative| signed_sum(moved, negative).abs() >= least).count();
    hits as f64 / all as f64
}

/// The same share among drawn assignments and the observed one.
fn drawn_p(moved: &[f64], least: f64, seed: u64) -> f64 {
    let mut rng = Rng::at(seed, &[11]);
    let mut drawn_sum = || moved.chunks(64).map(|chunk| signed_sum(chunk, rng.next_u64())).sum::<f64>().abs();
    let hits = (0..FLIPS).filter(|_| drawn_sum() >= least).count();
    (hits + 1) as f64 / (FLIPS + 1) as f64
}

/// The sum of up to 64 differences, the i-th with a minus sign where bit i of `negative` is set.
fn signed_sum(difference_q: &[f64], mut negative: u64) -> f64 {
    let add = |sum: f64, difference: &f64| {
        let sign = if negative & 1 == 0 { 1.0 } else { -1.0 };
        negative >>= 1;
        sum + sign * difference
    };
    difference_q.iter().fold(0.0, add)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All subsets of k of n samples, the first c of which are right.
    fn enumerated(k: usize, n: usize, c: usize) -> f64 {
        let subsets = (0_u32..1 << n).filter(|subset| subset.count_ones() as usize == k);
        let (hits, all) = subsets
            .fold((0, 0), |(hits, all), subset| (hits + u32::from(subset & ((1 << c) - 1) != 0), all + 1));
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
    fn the_curve_is_the_mean_over_questions_up_to_the_fewest_samples() {
        let tally_q =
            [Tally { right: 1, samples: 4 }, Tally { right: 0, samples: 5 }, Tally { right: 4, samples: 4 }];
        let overall = Accuracy::of(&tally_q, 4);
        let curve = pass_curve(&tally_q, &overall, 3);
        assert_eq!(curve.len(), 4);
        for (k, point) in (1..).zip(&curve) {
            let expected = (enumerated(k, 4, 1) + enumerated(k, 5, 0) + 1.0) / 3.0;
            assert!(
                (point.mean - expected).abs() < 1e-12 && point.low <= point.mean && point.mean <= point.high,
                "k {k}: {point:?}"
            );
        }
        assert_eq!(curve[0], overall.interval(), "pass@1 is avg@k");
        assert!(pass_curve(&[], &Accuracy::of(&[], 3), 3).is_empty());
    }

    #[test]
    fn accuracy_counts_questions_and_samples() {
        let got = Accuracy::of(&[Tally { right: 1, samples: 4 }, Tally { right: 2, samples: 2 }], 0);
        assert_eq!((got.accuracy, got.questions, got.samples), (0.625, 2, 6));
        assert_eq!(
            Accuracy::of(&[], 0),
            Accuracy { accuracy: 0.0, low: 0.0, high: 1.0, questions: 0, samples: 0 }
        );
    }

    /// Percentiles of the mean over every possible resample, all equally likely.
    fn all_resamples(value_q: &[f64]) -> (f64, f64) {
        let count = value_q.len();
        let mean = |mut index: usize| {
            (0..count)
                .map(|_| {
                    let value = value_q[index % count];
                    index /= count;
                    value
                })
                .sum::<f64>()
                / count as f64
        };
        let mut means: Vec<f64> = (0..count.pow(count as u32)).map(mean).collect();
        means.sort_by(f64::total_cmp);
        let at = |share: f64| means[((means.len() - 1) as f64 * share).round() as usize];
        (at(0.025), at(0.975))
    }

    #[test]
    fn the_interval_is_that_of_all_resamples() {
        // 5^5 = 3125 equally likely resamples; drawing 2000 of them moves a quantile by less than the gaps of
        // these means, 0.1.
        let value_q = [0.0, 0.5, 0.5, 1.0, 1.0];
        let (low, high) = all_resamples(&value_q);
        let interval = bootstrap(&value_q, 7);
        assert!(
            (interval.low - low).abs() < 1e-12 && (interval.high - high).abs() < 1e-12,
            "{interval:?}, expected {low}, {high}"
        );
    }

    /// The share of intervals that hold the truth, of sets of 200 values with mean `truth`. Over 2000 sets
    /// its standard error is 0.49 %.
    #[track_caller]
    fn check_coverage(truth: f64, draw: impl Fn(&mut Rng) -> f64) {
        const SETS: u64 = 2000;
        let mut rng = Rng::at(5, &[]);
        let covered = (0..SETS).filter(|&seed| {
            let value_q: Vec<f64> = (0..200).map(|_| draw(&mut rng)).collect();
            let interval = bootstrap(&value_q, seed);
            (interval.low..=interval.high).contains(&truth)
        });
        let share = covered.count() as f64 / SETS as f64;
        assert!((0.93..=0.97).contains(&share), "{share} of the intervals hold a mean of {truth}");
    }

    #[test]
    fn the_interval_covers_the_truth_as_often_as_it_says() {
        check_coverage(0.3, |rng| f64::from(u8::from(rng.uniform() < 0.3)));
    }

    #[test]
    fn so_does_the_interval_of_averages_of_four() {
        // Questions are easy or hard: their shares of right responses are 0.9 and 0.1.
        check_coverage(0.5, |rng| {
            let chance = if rng.uniform() < 0.5 { 0.9 } else { 0.1 };
            (0..4).filter(|_| rng.uniform() < chance).count() as f64 / 4.0
        });
    }

    #[test]
    fn so_does_the_interval_of_a_difference() {
        // The second model is right more often by 0.1, and mostly where the first is.
        check_coverage(0.1, |rng| {
            let (first, better) = (rng.uniform() < 0.4, rng.uniform() < 0.25);
            let second = if first { rng.uniform() < 0.875 } else { better };
            f64::from(u8::from(second)) - f64::from(u8::from(first))
        });
    }

    #[test]
    fn equal_values_have_no_spread() {
        assert_eq!(bootstrap(&[0.5; 7], 1), Interval { mean: 0.5, low: 0.5, high: 0.5 });
    }

    /// Over all assignments of signs, those of the zeros too.
    fn p_reference(difference_q: &[f64]) -> f64 {
        let sum = |negative: u32| {
            difference_q
                .iter()
                .enumerate()
                .map(|(q, d)| if negative >> q & 1 == 0 { *d } else { -d })
                .sum::<f64>()
                .abs()
        };
        let all = 1_u32 << difference_q.len();
        (0..all).filter(|&negative| sum(negative) >= sum(0) - 1e-12).count() as f64 / f64::from(all)
    }

    #[test]
    fn p_is_the_share_of_signs_with_a_difference_as_large() {
        for difference_q in
            [&[1.0, 0.5, -0.25, 0.0, 0.75][..], &[0.1, 0.2, 0.3], &[-0.5, 0.5], &[0.0, 0.0], &[], &[1.0; 10]]
        {
            assert!(
                (sign_flip_p(difference_q, 1) - p_reference(difference_q)).abs() < 1e-12,
                "{difference_q:?}"
            );
        }
        assert_eq!(sign_flip_p(&[1.0; 10], 1), 2.0 / 1024.0);
        // 0.1 is the least sum there is, but 0.1 + 0.2 − 0.2 is above 0.1 − 0.2 + 0.2 in its last bit.
        assert_eq!(sign_flip_p(&[0.1, 0.2, -0.2], 1), 1.0);
        // Thirteen are still enumerated, however many differences of 0 stand beside them.
        let thirteen = [[1.0; 13].as_slice(), &[0.0; 30]].concat();
        assert_eq!(sign_flip_p(&thirteen, 1), 2.0 / 8192.0);
    }

    #[test]
    fn drawn_signs_agree_with_all_signs() {
        // 16 differences: drawn by the function, tried in full by the reference. 10,000 draws have a standard
        // error of at most 0.5 %.
        let mut rng = Rng::at(2, &[]);
        for shift in [0.0, 0.1, 0.3] {
            let difference_q: Vec<f64> = (0..16).map(|_| rng.uniform() - 0.5 + shift).collect();
            let (got, expected) = (sign_flip_p(&difference_q, 9), p_reference(&difference_q));
            assert!((got - expected).abs() < 0.02, "{got}, {expected}");
        }
    }

    #[test]
    fn p_is_uniform_where_the_models_are_equal() {
        // Of 1000 comparisons of equal models 5 % fall below 0.05: the standard error is 0.7 %.
        let mut rng = Rng::at(3, &[]);
        let below = (0..1000).filter(|&seed| {
            let difference_q: Vec<f64> = (0..40).map(|_| rng.uniform() - 0.5).collect();
            sign_flip_p(&difference_q, seed) < 0.05
        });
        let share = below.count() as f64 / 1000.0;
        assert!((0.03..=0.07).contains(&share), "{share}");
    }

    #[test]
    fn a_comparison_is_that_of_the_differences_whatever_the_order_of_questions() {
        let (first, second) = ([0.5, 0.25, 1.0, 0.0], [0.75, 0.25, 1.0, 0.5]);
        let compared = paired(&first, &second, 4);
        assert_eq!((compared.difference.mean, compared.questions), (0.1875, 4));
        assert_eq!(compared.p, 0.5, "two differences: of four assignments, two have the largest sum");
        assert_eq!(paired(&second, &first, 4).difference.mean, -0.1875);
    }

    /// Published results rest on these streams: a refactor must not move them.
    #[test]
    fn draws_are_pinned() {
        let value_q: Vec<f64> = (0..70).map(|q| f64::from(q * q % 71) / 71.0 - 0.45).collect();
        let Interval { low, high, .. } = bootstrap(&value_q[..7], 5);
        let expected = (-0.38762575452716297, -0.12203219315895374, 0.12218778122187782);
        assert_eq!((low, high, sign_flip_p(&value_q, 5)), expected);
    }
}
