//! Sampled versions of each estimator meet the enumerated values within three standard errors; seeds are fixed.

use crate::world::*;
use latrace_objective::bounds::{BoundSummary, iwae_bounds};
use latrace_objective::diagnostics::{distinct_n, mean_pairwise_overlap};
use latrace_objective::selection::{Scheme, resample};
use latrace_objective::{Accuracy, Group, Objective, Rng, SubsetPlan, Verdict, Weighting, weights};

/// Mean and standard error of a repeated measurement; fails beyond three standard errors.
#[track_caller]
fn check_mean(draws: usize, expected: f64, mut measure: impl FnMut(usize) -> f64) {
    let summary = BoundSummary::from_questions((0..draws).map(&mut measure));
    let (mean, error) = (summary.mean, summary.standard_error.unwrap());
    assert!(error < 0.05 * expected.abs().max(0.1), "a standard error of {error} proves nothing about {expected}");
    assert!((mean - expected).abs() < 3.0 * error, "mean {mean} ± {error}, expected {expected}");
}

struct Sampler {
    world: World,
    q: Vec<f64>,
    answer: Vec<Vec<f64>>,
}

impl Sampler {
    fn new(world: World) -> Self {
        let q = (0..TRACES).map(|z| world.log_q(z).exp()).collect();
        let answer = (0..TRACES).map(|z| (0..ANSWERS).map(|y| world.answer(z, y)).collect()).collect();
        Self { world, q, answer }
    }

    fn traces(&self, count: usize, rng: &mut Rng) -> Vec<usize> {
        (0..count).map(|_| rng.weighted(&self.q).unwrap()).collect()
    }

    fn answers(&self, z: usize, count: usize, rng: &mut Rng) -> Vec<usize> {
        (0..count).map(|_| rng.weighted(&self.answer[z]).unwrap()).collect()
    }
}

#[test]
fn accuracy_and_its_variance() {
    let sampler = Sampler::new(World::new(1));
    let estimate = |draw: usize| {
        let verdicts = sampler.answers(7, 8, &mut Rng::at(1, &[draw as u64])).into_iter().map(|y| VERDICTS[y]);
        Accuracy::from_verdicts(&verdicts.collect::<Vec<_>>()).unwrap()
    };
    let p = sampler.world.mass(7, Verdict::is_correct);
    check_mean(4_000, p, |draw| estimate(draw).probability());
    check_mean(4_000, p * (1.0 - p) / 8.0, |draw| (estimate(draw).probability() - p).powi(2));
    // The plug-in variance is short by (n−1)/n, as p̂(1−p̂) always is.
    check_mean(4_000, p * (1.0 - p) / 8.0 * 7.0 / 8.0, |draw| estimate(draw).variance());
    // Coverage of a 95 % interval for n = 8 lies between 90 % and 99 % at this p.
    let covered = (0..4_000).filter(|&draw| {
        let (low, high) = estimate(draw).wilson(1.96);
        (low..=high).contains(&p)
    });
    let coverage = covered.count() as f64 / 4_000.0;
    assert!((0.90..=0.99).contains(&coverage), "coverage {coverage} at p = {p}");
}

#[test]
fn likelihood_of_a_random_correct_answer() {
    let world = World::new(1);
    let correct: Vec<usize> = (0..ANSWERS).filter(|&y| VERDICTS[y].is_correct()).collect();
    check_mean(4_000, world.mass(7, Verdict::is_correct), |draw| {
        let y = correct[Rng::at(2, &[draw as u64]).below(correct.len())];
        correct.len() as f64 * world.answer(7, y)
    });
}

/// N = 8 traces per question: every L^K, and its own standard error, against the truth.
#[test]
fn bounds_and_their_standard_errors() {
    let sampler = Sampler::new(World::new(1));
    let points = |draw: usize| {
        let traces = sampler.traces(8, &mut Rng::at(3, &[draw as u64]));
        let log_rho_k: Vec<f64> = traces.into_iter().map(|z| sampler.world.log_rho(z)).collect();
        iwae_bounds(&log_rho_k, &SubsetPlan::default()).unwrap()
    };
    for traces in 1..=4 {
        let truth = sampler.world.bound(traces);
        check_mean(2_000, truth, |draw| points(draw)[traces - 1].value);
        // Mean squared standard error against the true squared error: exact for K = 1, the jackknife leans upwards above.
        let mean = |f: &dyn Fn(usize) -> f64| (0..2_000).map(f).sum::<f64>() / 2_000.0;
        let stated = mean(&|draw| points(draw)[traces - 1].standard_error.unwrap().powi(2));
        let actual = mean(&|draw| (points(draw)[traces - 1].value - truth).powi(2));
        let range = if traces == 1 { 0.9..1.1 } else { 0.9..1.6 };
        assert!(range.contains(&(stated / actual)), "K = {traces}: stated {stated}, actual {actual}");
    }
}

#[test]
fn sampled_verdicts_in_rho_keep_the_bound_below_the_truth() {
    let sampler = Sampler::new(World::new(1));
    let with_verdicts = |draw: usize| {
        let mut rng = Rng::at(4, &[draw as u64]);
        let rho = |z: usize, rng: &mut Rng| {
            let correct = sampler.answers(z, 8, rng).into_iter().filter(|&y| VERDICTS[y].is_correct()).count();
            sampler.world.log_ratio(z).exp() * correct as f64 / 8.0
        };
        sampler.traces(8, &mut rng).into_iter().map(|z| rho(z, &mut rng)).sum::<f64>() / 8.0
    };
    // Unbiased before the log, so a bound after it (Jensen).
    check_mean(4_000, sampler.world.accuracy(), with_verdicts);
    let logs = BoundSummary::from_questions((0..4_000).map(|draw| with_verdicts(draw).ln()));
    assert!(logs.mean_of_finite < sampler.world.accuracy().ln());
}

#[test]
fn drawn_subsets_agree_with_all_of_them() {
    let world = World::new(2);
    let log_rho_k: Vec<f64> = (0..18).map(|z| world.log_rho(z)).collect();
    let all = iwae_bounds(&log_rho_k, &SubsetPlan { exact_limit: u64::MAX, ..SubsetPlan::default() }).unwrap();
    let drawn = iwae_bounds(&log_rho_k, &SubsetPlan { exact_limit: 1, draws: 2_000, seed: 5 }).unwrap();
    for (all, drawn) in all.iter().zip(&drawn) {
        assert_eq!(all.subset_error, 0.0);
        assert!((all.value - drawn.value).abs() <= 3.0 * drawn.subset_error + 1e-12, "{all:?} {drawn:?}");
    }
    assert!(drawn[8].subset_error > 1e-4);
}

/// Directional derivative of sampled multi-trace, phi and behaviour-policy gradients.
#[test]
fn sampled_gradients() {
    let sampler = Sampler::new(World::new(1));
    let world = &sampler.world;
    let direction = World::new(77);
    let moved = |from: &[f64], along: &[f64], h: f64| from.iter().zip(along).map(|(x, d)| x + h * d).collect::<Vec<_>>();
    let theta = |h: f64| World { theta: moved(&world.theta, &direction.theta, h), phi: world.phi.clone() };
    let phi = |h: f64| World { theta: world.theta.clone(), phi: moved(&world.phi, &direction.phi, h) };
    let sampled = |sampler: &Sampler, objective: Objective, trains_theta: bool, draw: usize| {
        let world = &sampler.world;
        let mut rng = Rng::at(6, &[draw as u64]);
        let traces = sampler.traces(2, &mut rng);
        let ratio_k: Vec<f64> = traces.iter().map(|&z| world.log_ratio(z)).collect();
        let answer_k: Vec<f64> = traces.iter().map(|&z| world.log_answer(z)).collect();
        // The mean over correct answers is unbiased given that there is one, so (6) redraws where there is none;
        // (30) needs the plain draws.
        let answers = |z: usize, rng: &mut Rng| {
            loop {
                let drawn = sampler.answers(z, 8, rng);
                let redraw = matches!(objective, Objective::MultiTrace(_));
                if !redraw || drawn.iter().any(|&y| VERDICTS[y].is_correct()) {
                    return drawn;
                }
            }
        };
        let answer_km: Vec<usize> = traces.iter().flat_map(|&z| answers(z, &mut rng)).collect();
        let verdict_km: Vec<Verdict> = answer_km.iter().map(|&y| VERDICTS[y]).collect();
        let group = Group::new(2).unwrap().with_verdicts(&verdict_km).unwrap();
        let group = group.with_log_ratio(&ratio_k).unwrap().with_log_answer(&answer_k).unwrap();
        let weights = objective.weights(&group).unwrap();
        let mut one = Coefficients::zero();
        for (k, &z) in traces.iter().enumerate() {
            one.trace[z] += weights.trace_k[k];
            for (&y, weight) in answer_km[8 * k..].iter().zip(weights.answer_km.iter().skip(8 * k).take(8)) {
                one.answer[z][y] += weight;
            }
        }
        let (gradient, along) = if trains_theta { (one.theta_gradient(world), &direction.theta) } else { (one.phi_gradient(world), &direction.phi) };
        gradient.iter().zip(along).map(|(g, d)| g * d).sum::<f64>()
    };
    let bound_theta = derivative(|h| theta(h).bound(2));
    let bound_phi = derivative(|h| phi(h).bound(2));
    let accuracy = derivative(|h| theta(h).accuracy());
    let posterior = Sampler::new(world.with_true_posterior());
    check_mean(40_000, bound_theta, |draw| sampled(&sampler, Objective::MultiTrace(Weighting::Rho), true, draw));
    check_mean(40_000, bound_phi, |draw| sampled(&sampler, Objective::IwaePhiLeaveOneOut, false, draw));
    check_mean(40_000, accuracy, |draw| sampled(&posterior, Objective::PosteriorBehaviour, true, draw));
}

/// Self-normalised weights of many traces become the true posterior.
#[test]
fn weights_converge_to_the_true_posterior() {
    let sampler = Sampler::new(World::new(1));
    let traces = sampler.traces(40_000, &mut Rng::new(7));
    let log_rho_k: Vec<f64> = traces.iter().map(|&z| sampler.world.log_rho(z)).collect();
    let (weight_k, summary) = weights::normalise(&log_rho_k).unwrap();
    assert!(summary.effective_sample_size > 1_000.0);
    for (z, mass) in sampler.world.true_posterior().into_iter().enumerate() {
        let with_z = || traces.iter().zip(&weight_k).filter(|(trace, _)| **trace == z).map(|(_, weight)| weight);
        let got: f64 = with_z().sum();
        // Standard error of a self-normalised mean: sqrt(Σ w² (1(z) − mass)²).
        let error = traces.iter().zip(&weight_k).map(|(&t, w)| (w * (f64::from(u8::from(t == z)) - mass)).powi(2));
        let error = error.sum::<f64>().sqrt();
        assert!((got - mass).abs() < 3.0 * error, "trace {z}: {got} ± {error}, expected {mass}");
    }
}

#[test]
fn resampling_follows_the_weights() {
    let weight_k = [0.5, 0.0, 0.3, 0.15, 0.05];
    for scheme in [Scheme::Multinomial, Scheme::Systematic] {
        for (trace, &weight) in weight_k.iter().enumerate().filter(|(_, weight)| **weight > 0.0) {
            check_mean(20_000, weight, |draw| {
                let picks = resample::select(&weight_k, scheme, 3, &mut Rng::at(8, &[draw as u64]));
                assert!(picks.iter().all(|pick| weight_k[pick.trace] > 0.0));
                picks.iter().filter(|pick| pick.trace == trace).map(|pick| pick.weight).sum()
            });
        }
    }
}

#[test]
fn diversity_tells_a_collapsed_posterior_from_a_spread_one() {
    let spread = Sampler::new(World::new(1));
    let mut collapsed = spread.world.clone();
    collapsed.phi.iter_mut().for_each(|logit| *logit *= 20.0);
    let collapsed = Sampler::new(collapsed);
    let tokens = |sampler: &Sampler| {
        let traces = sampler.traces(64, &mut Rng::new(9)).into_iter();
        traces.map(|z| steps(z).into_iter().map(|(_, token)| token as u32).collect()).collect::<Vec<Vec<u32>>>()
    };
    let measure = |token_kt: &[Vec<u32>]| {
        let views: Vec<&[u32]> = token_kt.iter().map(Vec::as_slice).collect();
        (distinct_n(&views, 2), mean_pairwise_overlap(&views, 1).unwrap())
    };
    assert!(measure(&tokens(&collapsed)).1 > measure(&tokens(&spread)).1 + 0.1);
}
