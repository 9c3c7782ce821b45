//! What is called a bound never exceeds `log P(Y_x|x)`: on an enumerated world, and by a thousand seeds on
//! worlds whose P is known.

use crate::world::*;
use latrace_objective::answer::reference_and_rest;
use latrace_objective::bounds::{BoundSummary, IwaePoint, iwae_bounds};
use latrace_objective::{
    AnswerScore, BoundMean, JudgedAnswer, Rng, SampledRest, SubsetPlan, Verdict, weights,
};

/// y*, one of the two correct answers of the enumerated world.
const REFERENCE: usize = 1;
/// n.
const DRAWN: usize = 2;

/// The log estimate after trace z, for sampled answers `y_m`.
fn log_estimate(world: &World, z: usize, y_m: &[usize]) -> f64 {
    let reference = AnswerScore { logp_sum: world.answer(z, REFERENCE).ln(), tokens: 1 };
    let judged = |&y: &usize| JudgedAnswer { verdict: VERDICTS[y], is_reference: y == REFERENCE };
    let rest = SampledRest::from_answers(&y_m.iter().map(judged).collect::<Vec<_>>()).unwrap();
    reference_and_rest::log_probability(&reference, Some(&rest))
}

/// Every way in which n answers after trace z may fall, with its chance.
fn for_each_answers(world: &World, z: usize, mut visit: impl FnMut(&[usize], f64)) {
    for_each_tuple(ANSWERS, DRAWN, |y_m| visit(y_m, y_m.iter().map(|&y| world.answer(z, y)).product()));
}

/// Every (trace, answers) that q and pi may draw: chance and log rho; equal ones of a trace together.
fn outcomes(world: &World) -> Vec<(f64, f64)> {
    let mut outcomes = Vec::new();
    for z in 0..TRACES {
        let mut of_trace: Vec<(f64, f64)> = Vec::new();
        for_each_answers(world, z, |y_m, chance| {
            let log_rho = weights::log_rho(world.log_ratio(z), log_estimate(world, z, y_m));
            let chance = chance * world.log_q(z).exp();
            match of_trace.iter_mut().find(|(_, known)| *known == log_rho) {
                Some((known, _)) => *known += chance,
                None => of_trace.push((chance, log_rho)),
            }
        });
        outcomes.extend(of_trace);
    }
    outcomes
}

/// `E log (1/K) Σ rho`, every K-tuple of outcomes summed over.
fn bound(outcomes: &[(f64, f64)], traces: usize) -> f64 {
    let mut bound = 0.0;
    for_each_multiset(outcomes.len(), traces, |multiset, tuples| {
        let chance: f64 = multiset.iter().map(|&at| outcomes[at].0).product();
        let mean = multiset.iter().map(|&at| outcomes[at].1.exp()).sum::<f64>() / traces as f64;
        bound += tuples * chance * mean.ln();
    });
    bound
}

#[test]
fn the_estimate_is_unbiased_and_never_zero() {
    for seed in 0..3 {
        let world = World::new(seed);
        for z in 0..TRACES {
            let (mut mean, mut least) = (0.0, f64::INFINITY);
            for_each_answers(&world, z, |y_m, chance| {
                let estimate = log_estimate(&world, z, y_m).exp();
                mean += chance * estimate;
                least = estimate.min(least);
            });
            assert_near(mean, world.mass(z, Verdict::is_correct), 1e-12);
            assert_near(least, world.answer(z, REFERENCE), 1e-12);
        }
    }
}

#[test]
fn its_bound_rises_with_traces_and_stays_below_the_truth() {
    for seed in 0..3 {
        let world = World::new(seed);
        let outcomes = outcomes(&world);
        assert_near(outcomes.iter().map(|(chance, _)| chance).sum(), 1.0, 1e-12);
        let bound_k: Vec<f64> = (1..=3).map(|traces| bound(&outcomes, traces)).collect();
        assert!(bound_k.windows(2).all(|pair| pair[1] - pair[0] > 1e-3), "{bound_k:?}");
        for (k, value) in bound_k.iter().enumerate() {
            // The sampled part of the answer probability costs a second Jensen gap.
            assert!(*value < world.bound(k + 1) - 1e-3, "L^{}: {value}", k + 1);
        }
        assert!(bound_k[2] < world.accuracy().ln(), "{bound_k:?}");
    }
}

/// A world with pi = q and P(Y_x|x) = p for each question. After each trace y* has a probability between
/// 0.05 p and 0.9 p, other correct answers the rest of p. A share of the traces may have no end.
#[derive(Clone, Copy)]
struct Known {
    p: f64,
    traces: usize,
    answers: usize,
    unended: f64,
    questions: u64,
}

/// One question's traces: log rho by the estimate of a bound, and by the share of correct answers.
struct Sampled {
    log_rho_k: Vec<f64>,
    log_accuracy_k: Vec<f64>,
}

impl Known {
    /// log of P(Y_x|x): an answer only follows a trace that ended.
    fn truth(&self) -> f64 {
        (self.p * (1.0 - self.unended)).ln()
    }

    fn question(&self, rng: &mut Rng) -> Sampled {
        let mut sampled = Sampled { log_rho_k: Vec::new(), log_accuracy_k: Vec::new() };
        for _ in 0..self.traces {
            let (log_rho, log_accuracy) = self.trace(rng);
            sampled.log_rho_k.push(log_rho);
            sampled.log_accuracy_k.push(log_accuracy);
        }
        sampled
    }

    fn trace(&self, rng: &mut Rng) -> (f64, f64) {
        if rng.uniform() < self.unended {
            return (f64::NEG_INFINITY, f64::NEG_INFINITY);
        }
        let of_reference = (0.05 + 0.85 * rng.uniform()) * self.p;
        let mut answer = || match rng.uniform() {
            place if place < of_reference => (Verdict::Correct, true),
            place if place < self.p => (Verdict::Correct, false),
            _ => (Verdict::Wrong, false),
        };
        let answer_m: Vec<JudgedAnswer> = (0..self.answers)
            .map(|_| answer())
            .map(|(verdict, is_reference)| JudgedAnswer { verdict, is_reference })
            .collect();
        let reference = AnswerScore { logp_sum: of_reference.ln(), tokens: 1 };
        let rest = SampledRest::from_answers(&answer_m).unwrap();
        let correct = answer_m.iter().filter(|answer| answer.verdict.is_correct()).count();
        let log_rho = reference_and_rest::log_probability(&reference, Some(&rest));
        (log_rho, (correct as f64 / self.answers as f64).ln())
    }

    /// L^1 .. L^K by question, from one of the two estimates.
    fn points(&self, seed: u64, of: fn(&Sampled) -> &[f64]) -> Vec<Vec<IwaePoint>> {
        // Beyond eight traces a single subset of each size: unbiased, where other seeds draw others.
        let plan =
            |question| SubsetPlan { exact_limit: 70, draws: 1, seed: self.questions * seed + question };
        let points = |question| {
            let sampled = self.question(&mut Rng::at(seed, &[question]));
            iwae_bounds(of(&sampled), &plan(question)).unwrap()
        };
        (0..self.questions).map(points).collect()
    }
}

/// Standard normal deviations that a bound may lie above the truth in 2.5 % of cases.
const DEVIATIONS: f64 = 1.96;
const SEEDS: u64 = 1_000;

/// The mean of one K over a set of questions, and the standard error of that mean.
type MeanOfOneK = fn(&[Vec<IwaePoint>], usize) -> (f64, Option<f64>);

/// For every K, the share of seeds whose mean exceeds the truth by more than its error.
fn exceeding(known: Known, of: fn(&Sampled) -> &[f64], mean: MeanOfOneK) -> Vec<f64> {
    let mut counts = vec![0_u32; known.traces];
    for seed in 0..SEEDS {
        let points_q = known.points(seed, of);
        for (k, count) in counts.iter_mut().enumerate() {
            let (mean, error) = mean(&points_q, k);
            *count += u32::from(mean - DEVIATIONS * error.unwrap_or(0.0) > known.truth());
        }
    }
    counts.into_iter().map(|count| f64::from(count) / SEEDS as f64).collect()
}

fn bound_of(points_q: &[Vec<IwaePoint>], k: usize) -> (f64, Option<f64>) {
    let mean = BoundMean::from_points(points_q.iter().map(|points| &points[k]));
    (mean.mean, mean.standard_error)
}

fn mean_of_finite(points_q: &[Vec<IwaePoint>], k: usize) -> (f64, Option<f64>) {
    let summary = BoundSummary::from_points(points_q.iter().map(|points| &points[k]));
    (summary.mean_of_finite, summary.standard_error)
}

#[track_caller]
fn check_never_exceeds(known: Known) {
    let shares = exceeding(known, |sampled| &sampled.log_rho_k, bound_of);
    let Known { p, traces, answers, unended, .. } = known;
    assert!(
        shares.iter().all(|&share| share <= 0.025),
        "p {p}, {traces} traces, {answers} answers, {unended} unended: {shares:?}"
    );
}

#[test]
fn no_bound_exceeds_the_truth_beyond_its_error() {
    for (p, traces, answers) in [(0.05, 4, 2), (0.25, 8, 1), (0.5, 4, 2), (0.75, 8, 4), (0.95, 4, 8)] {
        check_never_exceeds(Known { p, traces, answers, unended: 0.0, questions: 40 });
    }
}

#[test]
fn no_bound_of_many_traces_exceeds_the_truth_beyond_its_error() {
    check_never_exceeds(Known { p: 0.05, traces: 32, answers: 2, unended: 0.0, questions: 30 });
    check_never_exceeds(Known { p: 0.95, traces: 32, answers: 2, unended: 0.0, questions: 120 });
}

#[test]
fn no_bound_exceeds_the_truth_where_traces_have_no_end() {
    let known = Known { p: 0.5, traces: 8, answers: 2, unended: 0.05, questions: 40 };
    check_never_exceeds(known);
    // Some question has a trace without an end, which alone bounds nothing; none has eight of them.
    let points_q = known.points(0, |sampled| &sampled.log_rho_k);
    assert_eq!(bound_of(&points_q, 0), (f64::NEG_INFINITY, None));
    assert!(bound_of(&points_q, 7).0.is_finite());
}

/// The same test sees the number that was once called a bound.
#[test]
fn a_mean_over_the_questions_with_correct_answers_exceeds_the_truth() {
    let known = Known { p: 0.5, traces: 4, answers: 2, unended: 0.0, questions: 40 };
    let shares = exceeding(known, |sampled| &sampled.log_accuracy_k, mean_of_finite);
    assert!(shares[0] > 0.5, "{shares:?}");
}

#[test]
fn the_bound_rises_with_traces_on_every_sample() {
    for p in [0.05, 0.5, 0.95] {
        let known = Known { p, traces: 6, answers: 2, unended: 0.0, questions: 40 };
        for seed in 0..20 {
            let points_q = known.points(seed, |sampled| &sampled.log_rho_k);
            let bound_k: Vec<f64> = (0..known.traces).map(|k| bound_of(&points_q, k).0).collect();
            assert!(bound_k.windows(2).all(|pair| pair[0] < pair[1]), "p {p}: {bound_k:?}");
        }
    }
}
