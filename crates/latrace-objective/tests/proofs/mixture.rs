//! The mixture proposal, by exact summation over traces of both models.

use crate::world::*;
use latrace_objective::{RatioEstimator, weights};

/// log of `pi/m · pi(Y_x|x,z)` by trace.
fn log_rhos(world: &World, share: f64) -> Vec<f64> {
    let log_rho = |z: usize| {
        let score = world.score(z).against_mixture(share);
        weights::log_rho(RatioEstimator::Full.log_ratio(&score), world.log_answer(z))
    };
    (0..TRACES).map(log_rho).collect()
}

/// Expectation of the mean of rho and of its log, over tuples of which the first `own` traces are pi's.
fn expect(world: &World, own: usize, traces: usize) -> (f64, f64) {
    let log_rho = log_rhos(world, own as f64 / traces as f64);
    let chance = |at: usize, z: usize| if at < own { world.log_pi(z).exp() } else { world.log_q(z).exp() };
    let (mut mean, mut bound) = (0.0, 0.0);
    for_each_tuple(TRACES, traces, |tuple| {
        let weight: f64 = tuple.iter().enumerate().map(|(at, &z)| chance(at, z)).product();
        let log_rho_k: Vec<f64> = tuple.iter().map(|&z| log_rho[z]).collect();
        let log_mean = weights::normalise(&log_rho_k).unwrap().1.log_mean;
        mean += weight * log_mean.exp();
        bound += weight * log_mean;
    });
    (mean, bound)
}

#[test]
fn the_mean_over_both_models_traces_is_unbiased_and_its_log_a_bound() {
    let world = World::new(3);
    let mut bounds = Vec::new();
    for (own, traces) in [(0, 2), (1, 2), (1, 3), (2, 3), (2, 2)] {
        let (mean, bound) = expect(&world, own, traces);
        assert_near(mean, world.accuracy(), TOLERANCE);
        assert!(bound < world.accuracy().ln() - 1e-6, "{own} of {traces}: {bound}");
        bounds.push(bound);
    }
    // Without traces of pi, it is the bound of q.
    assert_near(bounds[0], world.bound_reference(2), TOLERANCE);
}

#[test]
fn no_weight_exceeds_one_over_the_share_of_pi() {
    for seed in 0..20 {
        let world = World::new(seed);
        for share in [0.1, 0.25, 0.5, 1.0] {
            let ratios = (0..TRACES).map(|z| world.score(z).against_mixture(share).log_ratio_sum().exp());
            let largest = ratios.fold(0.0, f64::max);
            assert!(largest <= 1.0 / share + 1e-12, "{largest} at {share}");
        }
        let full = |z: usize| world.score(z).log_ratio_sum();
        let none = |z: usize| world.score(z).against_mixture(0.0).log_ratio_sum();
        let all = |z: usize| world.score(z).against_mixture(1.0).log_ratio_sum();
        (0..TRACES).for_each(|z| assert_near(none(z), full(z), 1e-12));
        (0..TRACES).for_each(|z| assert_near(all(z), 0.0, 1e-12));
    }
}
