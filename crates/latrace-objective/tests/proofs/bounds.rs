//! Section 2 and Theorem 1, by exact summation.

use crate::world::*;
use latrace_objective::answer::{accuracy, accuracy_varies_less, likelihood};
use latrace_objective::bounds::{elbo, iwae_bounds, surrogate_bias};
use latrace_objective::{RatioEstimator, SubsetPlan, weights};

/// Expectation over K-tuples of traces from q.
fn expect(world: &World, traces: usize, mut f: impl FnMut(&[usize]) -> f64) -> f64 {
    let q: Vec<f64> = (0..TRACES).map(|z| world.log_q(z).exp()).collect();
    let mut total = 0.0;
    for_each_tuple(TRACES, traces, |tuple| total += tuple.iter().map(|&z| q[z]).product::<f64>() * f(tuple));
    total
}

fn log_rhos(world: &World, ratio: RatioEstimator) -> Vec<f64> {
    (0..TRACES).map(|z| weights::log_rho(ratio.log_ratio(&world.score(z)), world.log_answer(z))).collect()
}

#[test]
fn elbo_falls_short_by_the_divergence_from_the_true_posterior() {
    for seed in 0..5 {
        let world = World::new(seed);
        let single = |z: usize| elbo(&[world.log_ratio(z)], &[world.log_answer(z)]).unwrap();
        let value = expect(&world, 1, |tuple| single(tuple[0]).value);
        let posterior = world.true_posterior();
        let gap: f64 = (0..TRACES).map(|z| world.log_q(z).exp() * (world.log_q(z) - posterior[z].ln())).sum();
        assert!(gap > 0.1, "a gap of {gap} proves nothing");
        assert_near(value, world.accuracy().ln() - gap, TOLERANCE);
        let divergence: f64 = (0..TRACES).map(|z| -world.log_q(z).exp() * world.log_ratio(z)).sum();
        assert_near(expect(&world, 1, |tuple| single(tuple[0]).divergence), divergence, TOLERANCE);
        assert_near(world.with_true_posterior().bound(1), world.accuracy().ln(), TOLERANCE);
    }
}

#[test]
fn bounds_rise_with_traces_and_stay_below_the_truth() {
    let world = World::new(1);
    let log_rho = log_rhos(&world, RatioEstimator::Full);
    let bound_k: Vec<f64> = (1..=4)
        .map(|traces| {
            expect(&world, traces, |tuple| {
                let log_rho_k: Vec<f64> = tuple.iter().map(|&z| log_rho[z]).collect();
                weights::normalise(&log_rho_k).unwrap().1.log_mean
            })
        })
        .collect();
    for (traces, bound) in bound_k.iter().enumerate() {
        assert_near(*bound, world.bound_reference(traces + 1), TOLERANCE);
    }
    assert!(bound_k.windows(2).all(|pair| pair[1] - pair[0] > 1e-3), "{bound_k:?}");
    assert!(bound_k[3] < world.accuracy().ln(), "{bound_k:?}");
}

#[test]
fn subset_averages_are_unbiased_for_every_k() {
    let world = World::new(2);
    let log_rho = log_rhos(&world, RatioEstimator::Full);
    for traces in 1..=3 {
        let mean = expect(&world, 3, |tuple| {
            let log_rho_k: Vec<f64> = tuple.iter().map(|&z| log_rho[z]).collect();
            iwae_bounds(&log_rho_k, &SubsetPlan::default()).unwrap()[traces - 1].value
        });
        assert_near(mean, world.bound(traces), TOLERANCE);
    }
}

/// The bias is the enumerated one, and in some worlds the surrogate exceeds what it is sometimes taken to
/// bound.
#[test]
fn the_geometric_surrogate_is_biased_and_no_bound() {
    let mut exceeded = 0;
    for seed in 0..20 {
        let world = World::new(seed);
        let truth = log_rhos(&world, RatioEstimator::Full);
        let surrogate = log_rhos(&world, RatioEstimator::Geometric);
        let pick = |values: &[f64], tuple: &[usize]| tuple.iter().map(|&z| values[z]).collect::<Vec<_>>();
        let bias = expect(&world, 2, |tuple| {
            surrogate_bias(&pick(&truth, tuple), &pick(&surrogate, tuple), &SubsetPlan::default()).unwrap()[1]
        });
        let value =
            expect(&world, 2, |tuple| tuple.iter().map(|&z| surrogate[z].exp() / 2.0).sum::<f64>().ln());
        assert_near(bias, value - world.bound(2), TOLERANCE);
        exceeded += u32::from(value > world.accuracy().ln());
    }
    assert!(exceeded > 0, "no world shows the surrogate above the truth");
    println!("geometric L^2 exceeds log P in {exceeded} of 20 worlds");
}

/// (31)–(33): rho is an unbiased estimate of P under any q, and constant under the true posterior alone.
#[test]
fn the_true_posterior_is_the_proposal_of_least_variance() {
    let world = World::new(3);
    let moments = |world: &World| {
        let mean = expect(world, 1, |tuple| world.log_rho(tuple[0]).exp());
        (mean, expect(world, 1, |tuple| (world.log_rho(tuple[0]).exp() - mean).powi(2)))
    };
    let best = world.with_true_posterior();
    let (mean, least) = moments(&best);
    assert_near(mean, world.accuracy(), TOLERANCE);
    assert_near(least, 0.0, 1e-20);
    for index in 0..TRACE_PARAMETERS {
        let mut moved = best.clone();
        moved.phi[index] += 0.01;
        let (mean, variance) = moments(&moved);
        assert_near(mean, world.accuracy(), TOLERANCE);
        assert!(variance > 1e-10, "parameter {index} moves freely: {variance:e}");
    }
    // The importance-weighted reward itself, one answer per trace: what is left is the answers' own
    // p(1−p)-like noise.
    let second_moment =
        |world: &World| expect(world, 1, |t| (2.0 * world.log_ratio(t[0]) + world.log_answer(t[0])).exp());
    let mut on_policy = world.clone();
    on_policy.phi = world.theta[..TRACE_PARAMETERS].to_vec();
    assert_near(second_moment(&on_policy), world.accuracy(), TOLERANCE);
}

/// The two estimators of pi(Y_x|x,z) over all ways to spread p over Y_x, by enumeration of their single draw.
fn variances(probability_y: &[f64]) -> (f64, f64) {
    let count = probability_y.len() as f64;
    let p: f64 = probability_y.iter().sum();
    let likelihood = probability_y.iter().map(|y| (count * y - p).powi(2) / count).sum();
    let accuracy = p * (1.0 - p).powi(2) + (1.0 - p) * p * p;
    (likelihood, accuracy)
}

#[test]
fn theorem_1_worst_cases_and_their_crossing() {
    for answers in 2..=5_usize {
        for percent in (5..=95).step_by(5) {
            let p = f64::from(percent) / 100.0;
            let (mut worst_likelihood, mut worst_accuracy) = (0.0_f64, 0.0_f64);
            for_each_tuple(6, answers, |share| {
                let total: usize = share.iter().sum();
                if total > 0 {
                    let spread: Vec<f64> = share.iter().map(|&part| p * part as f64 / total as f64).collect();
                    let (likelihood, accuracy) = variances(&spread);
                    worst_likelihood = worst_likelihood.max(likelihood);
                    worst_accuracy = worst_accuracy.max(accuracy);
                }
            });
            assert_near(worst_likelihood, likelihood::worst_case_variance(p, answers), TOLERANCE);
            assert_near(worst_accuracy, accuracy::variance(p), TOLERANCE);
            if (p * answers as f64 - 1.0).abs() > 1e-9 {
                assert_eq!(
                    accuracy_varies_less(p, answers),
                    worst_accuracy < worst_likelihood,
                    "p {p}, |Y| {answers}"
                );
            }
        }
        let crossing = 1.0 / answers as f64;
        assert!(accuracy_varies_less(crossing, answers));
        assert_near(likelihood::worst_case_variance(crossing, answers), accuracy::variance(crossing), 1e-15);
    }
}
