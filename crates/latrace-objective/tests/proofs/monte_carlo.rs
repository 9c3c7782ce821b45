//! Sampled versions of each estimator meet the enumerated values within three standard errors; seeds are
//! fixed.

use crate::gradients::{on_policy, over_rollouts, over_traces};
use crate::world::*;
use latrace_objective::bounds::{BoundSummary, elbo, iwae_bounds, surrogate_bias};
use latrace_objective::diagnostics::{distinct_n, mean_pairwise_overlap};
use latrace_objective::objectives::{TraceOrigin, Trained};
use latrace_objective::selection::{Scheme, resample};
use latrace_objective::{
    AnswerAccuracy, AnswerEstimator, AnswerEvidence, AnswerScore, Group, Objective, RatioEstimator, Rng,
    SubsetPlan, Verdict, weights,
};

/// Mean and standard error of a repeated measurement; fails beyond three standard errors.
#[track_caller]
fn check_mean(draws: usize, expected: f64, mut measure: impl FnMut(usize) -> f64) {
    let summary = BoundSummary::from_questions((0..draws).map(&mut measure));
    let (mean, error) = (summary.mean, summary.standard_error.unwrap());
    assert!(
        error < 0.05 * expected.abs().max(0.1),
        "a standard error of {error} proves nothing about {expected}"
    );
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
        let verdicts =
            sampler.answers(7, 8, &mut Rng::at(1, &[draw as u64])).into_iter().map(|y| VERDICTS[y]);
        AnswerAccuracy::from_verdicts(&verdicts.collect::<Vec<_>>()).unwrap()
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
        // Mean squared standard error against the true squared error: exact for K = 1, the jackknife leans
        // upwards above.
        let mean = |f: &dyn Fn(usize) -> f64| (0..2_000).map(f).sum::<f64>() / 2_000.0;
        let stated = mean(&|draw| points(draw)[traces - 1].standard_error.unwrap().powi(2));
        let actual = mean(&|draw| (points(draw)[traces - 1].value - truth).powi(2));
        let range = if traces == 1 { 0.9..1.1 } else { 0.9..1.6 };
        assert!(range.contains(&(stated / actual)), "K = {traces}: stated {stated}, actual {actual}");
    }
}

/// Unbiased before the log. What follows from it after the log is proved by enumeration and by thousand
/// seeds; see `truth`.
#[test]
fn sampled_verdicts_in_rho_are_unbiased() {
    let sampler = Sampler::new(World::new(1));
    let with_verdicts = |draw: usize| {
        let mut rng = Rng::at(4, &[draw as u64]);
        let rho = |z: usize, rng: &mut Rng| {
            let correct =
                sampler.answers(z, 8, rng).into_iter().filter(|&y| VERDICTS[y].is_correct()).count();
            sampler.world.log_ratio(z).exp() * correct as f64 / 8.0
        };
        sampler.traces(8, &mut rng).into_iter().map(|z| rho(z, &mut rng)).sum::<f64>() / 8.0
    };
    check_mean(4_000, sampler.world.accuracy(), with_verdicts);
}

#[test]
fn drawn_subsets_agree_with_all_of_them() {
    let world = World::new(2);
    let log_rho_k: Vec<f64> = (0..18).map(|z| world.log_rho(z)).collect();
    let all =
        iwae_bounds(&log_rho_k, &SubsetPlan { exact_limit: u64::MAX, ..SubsetPlan::default() }).unwrap();
    let drawn = iwae_bounds(&log_rho_k, &SubsetPlan { exact_limit: 1, draws: 2_000, seed: 5 }).unwrap();
    for (all, drawn) in all.iter().zip(&drawn) {
        assert_eq!(all.subset_error, 0.0);
        assert!((all.value - drawn.value).abs() <= 3.0 * drawn.subset_error + 1e-12, "{all:?} {drawn:?}");
    }
    assert!(drawn[8].subset_error > 1e-4);
}

/// `∇ log pi(z)`, `∇ log pi(y|z)` and `∇ log q(z)` along one direction: gradients are linear in the weights.
struct Slopes {
    trace: Vec<f64>,
    answer: Vec<[f64; ANSWERS]>,
}

impl Slopes {
    fn new(world: &World, trained: Trained) -> Self {
        let direction = World::new(77);
        let along = |one: &Coefficients| {
            let (gradient, direction) = match trained {
                Trained::Posterior => (one.phi_gradient(world), &direction.phi),
                Trained::Reasoner | Trained::Either => (one.theta_gradient(world), &direction.theta),
            };
            gradient.iter().zip(direction).map(|(g, d)| g * d).sum::<f64>()
        };
        let mut slopes = Self { trace: vec![0.0; TRACES], answer: vec![[0.0; ANSWERS]; TRACES] };
        for z in 0..TRACES {
            let mut one = Coefficients::zero();
            one.trace[z] = 1.0;
            slopes.trace[z] = along(&one);
            for y in 0..ANSWERS {
                let mut one = Coefficients::zero();
                one.answer[z][y] = 1.0;
                slopes.answer[z][y] = along(&one);
            }
        }
        slopes
    }

    fn of(&self, weights: &Coefficients) -> f64 {
        let traces: f64 = self.trace.iter().zip(&weights.trace).map(|(slope, weight)| slope * weight).sum();
        let answers = self.answer.iter().flatten().zip(weights.answer.iter().flatten());
        traces + answers.map(|(slope, weight)| slope * weight).sum::<f64>()
    }
}

/// One sampled gradient of two traces, along the direction of `slopes`.
fn sampled_gradient(
    sampler: &Sampler,
    objective: Objective,
    answers: usize,
    slopes: &Slopes,
    rng: &mut Rng,
) -> f64 {
    let world = &sampler.world;
    let traces = sampler.traces(2, rng);
    // The mean over correct answers is unbiased given that there is one, so objectives that take it draw
    // until there is.
    let takes_mean = matches!(objective, Objective::MultiTrace(_) | Objective::VeriFree);
    let mut draw = |z: usize| loop {
        let drawn = sampler.answers(z, answers, rng);
        if !takes_mean || drawn.iter().any(|&y| VERDICTS[y].is_correct()) {
            return drawn;
        }
    };
    let answer_km: Vec<usize> = traces.iter().flat_map(|&z| draw(z)).collect();
    let verdict_km: Vec<Verdict> = answer_km.iter().map(|&y| VERDICTS[y]).collect();
    let ratio_k: Vec<f64> = traces.iter().map(|&z| world.log_ratio(z)).collect();
    let answer_k: Vec<f64> = traces.iter().map(|&z| world.log_answer(z)).collect();
    let group = Group::new(2).unwrap().with_verdicts(&verdict_km).unwrap();
    let weights = objective
        .weights(&group.with_log_ratio(&ratio_k).unwrap().with_log_answer(&answer_k).unwrap())
        .unwrap();
    let of_trace: f64 =
        traces.iter().zip(&weights.trace_k).map(|(&z, weight)| slopes.trace[z] * weight).sum();
    let of_answers = weights
        .answer_km
        .iter()
        .enumerate()
        .map(|(km, weight)| slopes.answer[traces[km / answers]][answer_km[km]] * weight);
    of_trace + of_answers.sum::<f64>()
}

/// Every objective on sampled groups, against its enumerated expectation, which the proofs of gradients
/// check.
#[test]
fn sampled_gradients() {
    for (number, objective) in
        Objective::ALL.into_iter().enumerate().filter(|(_, objective)| *objective != Objective::Sft)
    {
        let world = match objective.traces_from() {
            // The true posterior: other proposals need many more draws for the same error.
            _ if objective == Objective::PosteriorBehaviour => World::new(1).with_true_posterior(),
            TraceOrigin::Posterior => World::new(1),
            TraceOrigin::Reasoner | TraceOrigin::Dataset => on_policy(1),
        };
        let slopes = Slopes::new(&world, objective.trains());
        let takes_log_answer = objective.trains() == Trained::Posterior
            || matches!(objective, Objective::MultiTrace(_) | Objective::VeriFree);
        let (expected, answers) = if takes_log_answer {
            (over_traces(&world, objective, 2), 8)
        } else {
            (over_rollouts(&world, objective, 2), 1)
        };
        let sampler = Sampler::new(world);
        check_mean(60_000, slopes.of(&expected), |draw| {
            sampled_gradient(
                &sampler,
                objective,
                answers,
                &slopes,
                &mut Rng::at(6, &[number as u64, draw as u64]),
            )
        });
    }
}

/// Each ratio and each estimate from the reference answer, and the bounds made of them, by their means over
/// traces of q.
#[test]
fn ratios_references_and_their_bounds() {
    let sampler = Sampler::new(World::new(1));
    let world = &sampler.world;
    let over_q = |f: &dyn Fn(usize) -> f64| (0..TRACES).map(|z| sampler.q[z] * f(z)).sum::<f64>();
    let draw = |stage: u64, number: usize, count: usize| {
        sampler.traces(count, &mut Rng::at(stage, &[number as u64]))
    };
    for ratio in RatioEstimator::ALL {
        let estimate = |z: usize| ratio.log_ratio(&world.score(z)).exp();
        check_mean(40_000, over_q(&estimate), |number| estimate(draw(10, number, 1)[0]));
    }
    for estimator in [AnswerEstimator::GeometricLikelihood, AnswerEstimator::Likelihood] {
        let reference = |z: usize| AnswerScore { logp_sum: world.answer(z, 1).ln(), tokens: 1 };
        let evidence =
            |z: usize| AnswerEvidence { accuracy: None, reference: Some(reference(z)), rest: None };
        let estimate = |z: usize| estimator.log_probability(&evidence(z)).unwrap().exp();
        check_mean(40_000, over_q(&estimate), |number| estimate(draw(11, number, 1)[0]));
    }
    let parts = |number: usize| {
        let traces = draw(12, number, 4);
        let (ratio_k, answer_k): (Vec<f64>, Vec<f64>) =
            traces.iter().map(|&z| (world.log_ratio(z), world.log_answer(z))).unzip();
        elbo(&ratio_k, &answer_k).unwrap()
    };
    check_mean(10_000, world.bound(1), |number| parts(number).value);
    check_mean(10_000, over_q(&|z| world.log_answer(z)), |number| parts(number).reconstruction);
    check_mean(10_000, -over_q(&|z| world.log_ratio(z)), |number| parts(number).divergence);
    // The surrogate's L^2, and its bias.
    let geometric = |z: usize| {
        weights::log_rho(RatioEstimator::Geometric.log_ratio(&world.score(z)), world.log_answer(z))
    };
    let mut surrogate = 0.0;
    for_each_tuple(TRACES, 2, |pair| {
        surrogate += sampler.q[pair[0]]
            * sampler.q[pair[1]]
            * weights::normalise(&[geometric(pair[0]), geometric(pair[1])]).unwrap().1.log_mean;
    });
    let both = |number: usize| {
        let traces = draw(13, number, 8);
        let of = |log_rho: &dyn Fn(usize) -> f64| traces.iter().map(|&z| log_rho(z)).collect::<Vec<f64>>();
        (of(&|z| world.log_rho(z)), of(&geometric))
    };
    let plan = SubsetPlan::default();
    check_mean(10_000, surrogate, |number| iwae_bounds(&both(number).1, &plan).unwrap()[1].value);
    check_mean(10_000, surrogate - world.bound(2), |number| {
        let (truth, geometric) = both(number);
        surrogate_bias(&truth, &geometric, &plan).unwrap()[1]
    });
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
        let with_z =
            || traces.iter().zip(&weight_k).filter(|(trace, _)| **trace == z).map(|(_, weight)| weight);
        let got: f64 = with_z().sum();
        // Standard error of a self-normalised mean: sqrt(Σ w² (1(z) − mass)²).
        let error =
            traces.iter().zip(&weight_k).map(|(&t, w)| (w * (f64::from(u8::from(t == z)) - mass)).powi(2));
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
        traces
            .map(|z| steps(z).into_iter().map(|(_, token)| token as u32).collect())
            .collect::<Vec<Vec<u32>>>()
    };
    let measure = |token_kt: &[Vec<u32>]| {
        let views: Vec<&[u32]> = token_kt.iter().map(Vec::as_slice).collect();
        (distinct_n(&views, 2), mean_pairwise_overlap(&views, 1).unwrap())
    };
    assert!(measure(&tokens(&collapsed)).1 > measure(&tokens(&spread)).1 + 0.1);
}
