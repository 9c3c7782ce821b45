//! Section 6 and the gradients of section 2: expected weights against finite differences of exact objectives.

use crate::world::*;
use latrace_objective::objectives::{Rewards, grpo, maxrl, self_distillation};
use latrace_objective::{Group, Objective, SequenceWeights, Verdict, Weighting};

const CORRECT: fn(Verdict) -> bool = Verdict::is_correct;
const FORMATTED: fn(Verdict) -> bool = Verdict::is_formatted;
const REWARDS: Rewards = Rewards { alpha: 1.7, beta: 0.4, gamma: -0.9 };

/// Expected coefficients of an objective on traces, over K-tuples from q. Answers are correct ones: in
/// expectation a weight on a correct answer falls on y with probability pi(y|x,z,Y_x).
pub fn over_traces(world: &World, objective: Objective, traces: usize) -> Coefficients {
    let table = |f: &dyn Fn(usize) -> f64| (0..TRACES).map(f).collect::<Vec<f64>>();
    let (q, ratio, answer) =
        (table(&|z| world.log_q(z).exp()), table(&|z| world.log_ratio(z)), table(&|z| world.log_answer(z)));
    let verdicts = vec![Verdict::Correct; 2 * traces];
    let mut answer_weight = vec![0.0; TRACES];
    let mut total = Coefficients::zero();
    for_each_tuple(TRACES, traces, |tuple| {
        let chance: f64 = tuple.iter().map(|&z| q[z]).product();
        let ratio_k: Vec<f64> = tuple.iter().map(|&z| ratio[z]).collect();
        let answer_k: Vec<f64> = tuple.iter().map(|&z| answer[z]).collect();
        let group = Group::new(traces).unwrap().with_verdicts(&verdicts).unwrap();
        let group = group.with_log_ratio(&ratio_k).unwrap().with_log_answer(&answer_k).unwrap();
        let weights = objective.weights(&group).unwrap();
        for (k, &z) in tuple.iter().enumerate() {
            total.trace[z] += chance * weights.trace_k[k];
            answer_weight[z] += chance * weights.answer_km.iter().skip(2 * k).take(2).sum::<f64>();
        }
    });
    for (z, row) in total.answer.iter_mut().enumerate() {
        for y in (0..ANSWERS).filter(|&y| CORRECT(VERDICTS[y])) {
            row[y] = answer_weight[z] * world.answer(z, y) / world.mass(z, CORRECT);
        }
    }
    total
}

/// Expected coefficients over groups of `rollouts` independent (z, y), z ~ q and y ~ pi, one answer per
/// trace.
pub fn over_rollouts(world: &World, objective: Objective, rollouts: usize) -> Coefficients {
    let joint: Vec<f64> = (0..TRACES * ANSWERS)
        .map(|zy| world.log_q(zy / ANSWERS).exp() * world.answer(zy / ANSWERS, zy % ANSWERS))
        .collect();
    let ratio: Vec<f64> = (0..TRACES).map(|z| world.log_ratio(z)).collect();
    let mut total = Coefficients::zero();
    for_each_tuple(TRACES * ANSWERS, rollouts, |tuple| {
        let chance: f64 = tuple.iter().map(|&zy| joint[zy]).product();
        let verdicts: Vec<Verdict> = tuple.iter().map(|&zy| VERDICTS[zy % ANSWERS]).collect();
        let ratio_k: Vec<f64> = tuple.iter().map(|&zy| ratio[zy / ANSWERS]).collect();
        let group =
            Group::new(rollouts).unwrap().with_verdicts(&verdicts).unwrap().with_log_ratio(&ratio_k).unwrap();
        accumulate(&mut total, chance, tuple, &objective.weights(&group).unwrap());
    });
    total
}

fn accumulate(total: &mut Coefficients, chance: f64, tuple: &[usize], weights: &SequenceWeights) {
    for (k, &zy) in tuple.iter().enumerate() {
        total.trace[zy / ANSWERS] += chance * weights.trace_k[k];
        total.answer[zy / ANSWERS][zy % ANSWERS] += chance * weights.answer_km[k];
    }
}

pub fn on_policy(seed: u64) -> World {
    let mut world = World::new(seed);
    world.phi = world.theta[..TRACE_PARAMETERS].to_vec();
    world
}

fn scaled(gradient: &[f64], factor: f64) -> Vec<f64> {
    gradient.iter().map(|value| factor * value).collect()
}

fn bound_gradient_theta(world: &World, traces: usize) -> Vec<f64> {
    gradient(&world.theta, |theta| World { theta: theta.to_vec(), phi: world.phi.clone() }.bound(traces))
}

fn bound_gradient_phi(world: &World, traces: usize) -> Vec<f64> {
    gradient(&world.phi, |phi| World { theta: world.theta.clone(), phi: phi.to_vec() }.bound(traces))
}

/// Every coordinate of theta, K = 1 to 4.
#[test]
fn equation_6_is_the_theta_gradient_of_the_bound() {
    let world = World::new(1);
    for traces in 1..=4 {
        let got = over_traces(&world, Objective::MultiTrace(Weighting::Rho), traces).theta_gradient(&world);
        assert_same(&got, &bound_gradient_theta(&world, traces));
    }
    let uniform = over_traces(&world, Objective::MultiTrace(Weighting::Uniform), 2).theta_gradient(&world);
    assert_same(&uniform, &bound_gradient_theta(&world, 1));
}

/// Every coordinate of phi, K = 1 to 4.
#[test]
fn equation_15_is_the_phi_gradient_of_the_bound() {
    let world = World::new(1);
    for traces in 1..=4 {
        let expected = bound_gradient_phi(&world, traces);
        assert_same(&over_traces(&world, Objective::IwaePhi, traces).phi_gradient(&world), &expected);
    }
}

/// With z ~ pi the constant part of leave-one-out weights has no trace gradient in expectation.
#[test]
fn leave_one_out_weights_scale_the_trace_term_of_equation_6() {
    let world = on_policy(1);
    for traces in 2..=3_usize {
        let trace_term = |weighting: Weighting| {
            let all = over_traces(&world, Objective::MultiTrace(weighting), traces);
            Coefficients { answer: Coefficients::zero().answer, ..all }.theta_gradient(&world)
        };
        let factor = traces as f64 / (traces as f64 - 1.0);
        assert_same(&trace_term(Weighting::LeaveOneOut), &scaled(&trace_term(Weighting::Rho), factor));
    }
}

#[test]
fn single_trace_and_reverse_kl_gradients_are_those_of_the_elbo() {
    let world = World::new(5);
    let expected = bound_gradient_phi(&world, 1);
    for traces in 1..=3 {
        assert_same(&over_traces(&world, Objective::ElboSingle, traces).phi_gradient(&world), &expected);
        assert_same(&over_traces(&world, Objective::ReverseKl, traces).phi_gradient(&world), &expected);
    }
    let best = world.with_true_posterior();
    let at_best = over_traces(&best, Objective::ReverseKl, 2).phi_gradient(&best);
    assert!(at_best.iter().all(|value| value.abs() < 1e-12), "{at_best:?}");
}

/// The answer term: the mean over the correct ones of n = 2 sampled answers, given that there is one, is
/// unbiased.
#[test]
fn the_answer_gradient_is_the_mean_over_correct_answers() {
    let world = World::new(6);
    let mut total = Coefficients::zero();
    let mut expected = Coefficients::zero();
    for z in 0..TRACES {
        let chance_of_none = (1.0 - world.mass(z, CORRECT)).powi(2);
        for_each_tuple(ANSWERS, 2, |pair| {
            let verdicts = [VERDICTS[pair[0]], VERDICTS[pair[1]]];
            if verdicts.iter().any(|verdict| verdict.is_correct()) {
                let (ratio, answer) = ([0.0], [-1.0]);
                let group = Group::new(1).unwrap().with_verdicts(&verdicts).unwrap();
                let group = group.with_log_ratio(&ratio).unwrap().with_log_answer(&answer).unwrap();
                let weights = Objective::MultiTrace(Weighting::Rho).weights(&group).unwrap();
                let chance = world.answer(z, pair[0]) * world.answer(z, pair[1]) / (1.0 - chance_of_none);
                for (m, &y) in pair.iter().enumerate() {
                    total.answer[z][y] += chance * weights.answer_km[m];
                }
            }
        });
        for y in (0..ANSWERS).filter(|&y| CORRECT(VERDICTS[y])) {
            expected.answer[z][y] = world.answer(z, y) / world.mass(z, CORRECT);
        }
    }
    assert_same(&total.theta_gradient(&world), &expected.theta_gradient(&world));
    let log_answers = |theta: &[f64]| {
        let moved = World { theta: theta.to_vec(), phi: world.phi.clone() };
        (0..TRACES).map(|z| moved.log_answer(z)).sum::<f64>()
    };
    assert_same(&total.theta_gradient(&world), &gradient(&world.theta, log_answers));
}

/// (9) on the whole population: all traces at once, log-weights `log pi(z) pi(Y_x|z)` against the counting
/// measure.
fn population_forward_kl(world: &World) -> Vec<f64> {
    let log_joint: Vec<f64> = (0..TRACES).map(|z| world.log_pi(z) + world.log_answer(z)).collect();
    let group = Group::new(TRACES).unwrap().with_log_answer(&log_joint).unwrap();
    let trace = Objective::ForwardKl.weights(&group).unwrap().trace_k;
    Coefficients { trace, ..Coefficients::zero() }.phi_gradient(world)
}

#[test]
fn equation_9_descends_the_forward_kl_and_rests_at_the_true_posterior() {
    let world = World::new(7);
    let posterior = world.true_posterior();
    let expected = gradient(&world.phi, |phi| {
        let moved = World { theta: world.theta.clone(), phi: phi.to_vec() };
        -(0..TRACES).map(|z| posterior[z] * (posterior[z].ln() - moved.log_q(z))).sum::<f64>()
    });
    assert_same(&population_forward_kl(&world), &expected);
    let at_best = population_forward_kl(&world.with_true_posterior());
    assert!(at_best.iter().all(|value| value.abs() < TOLERANCE), "{at_best:?}");
    // Finite M: self-normalisation biases the expectation, less and less.
    let mut sampled = world.clone();
    sampled.phi = world.theta[..TRACE_PARAMETERS].to_vec();
    let bias = |traces: usize| {
        let got = over_traces(&sampled, Objective::ForwardKl, traces).phi_gradient(&world);
        got.iter().zip(&expected).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
    };
    let bias_k = [bias(1), bias(2), bias(3)];
    assert!(bias_k[0] > bias_k[1] && bias_k[1] > bias_k[2], "{bias_k:?}");
}

#[test]
fn equation_10_rft_weighs_questions_by_the_reference_accuracy() {
    let reference = on_policy(8);
    let model = World::new(9);
    let expected = scaled(
        &reference.negative_kl_gradient(&model, CORRECT),
        Objective::Rft.question_weight(reference.accuracy()),
    );
    for rollouts in 1..=2 {
        assert_same(&over_rollouts(&reference, Objective::Rft, rollouts).theta_gradient(&model), &expected);
    }
}

#[test]
fn equation_11_binary_reward_weighs_questions_by_accuracy() {
    let world = on_policy(8);
    let expected = scaled(
        &world.negative_kl_gradient(&world, CORRECT),
        Objective::BinaryReward.question_weight(world.accuracy()),
    );
    let got = over_rollouts(&world, Objective::BinaryReward, 2).theta_gradient(&world);
    assert_same(&got, &expected);
    let accuracy = |theta: &[f64]| World { theta: theta.to_vec(), phi: world.phi.clone() }.accuracy();
    assert_same(&got, &gradient(&world.theta, accuracy));
}

/// (12) as a population limit, and exactly for groups of two and three rollouts.
#[test]
fn equation_12_grpo_weighs_questions_by_the_odds_to_the_half() {
    let world = on_policy(10);
    let p = world.accuracy();
    let forward_kl = world.negative_kl_gradient(&world, CORRECT);
    let mut population = Coefficients::zero();
    for zy in 0..TRACES * ANSWERS {
        let (z, y) = (zy / ANSWERS, zy % ANSWERS);
        let weight = world.log_pi(z).exp() * world.answer(z, y) * grpo::advantage(CORRECT(VERDICTS[y]), p);
        population.trace[z] += weight;
        population.answer[z][y] += weight;
    }
    assert_same(&population.theta_gradient(&world), &scaled(&forward_kl, Objective::Grpo.question_weight(p)));
    for rollouts in 2..=3 {
        let got = over_rollouts(&world, Objective::Grpo, rollouts).theta_gradient(&world);
        assert_same(&got, &scaled(&forward_kl, grpo::finite_group_weight(p, rollouts)));
    }
    assert_near(grpo::finite_group_weight(p, 60), Objective::Grpo.question_weight(p), 0.02);
}

/// MaxRL, for groups of one to three rollouts: the gradient of log P, weighted by the chance of a right rollout.
#[test]
fn maxrl_weighs_questions_by_the_chance_of_a_right_rollout() {
    let world = on_policy(11);
    let p = world.accuracy();
    let forward_kl = world.negative_kl_gradient(&world, CORRECT);
    for rollouts in 1..=3 {
        let got = over_rollouts(&world, Objective::MaxRl, rollouts).theta_gradient(&world);
        assert_same(&got, &scaled(&forward_kl, maxrl::finite_group_weight(p, rollouts)));
    }
    assert_near(maxrl::finite_group_weight(p, 1), p, 1e-15);
    assert_near(maxrl::finite_group_weight(p, 500), Objective::MaxRl.question_weight(p), 1e-12);
}

/// `(correct weight) ∇ −KL(P(.|correct)) + (format weight) ∇ −KL(P(.|formatted))`.
fn two_terms(world: &World, correct: f64, format: f64) -> Vec<f64> {
    let (correct_kl, format_kl) =
        (world.negative_kl_gradient(world, CORRECT), world.negative_kl_gradient(world, FORMATTED));
    correct_kl.iter().zip(&format_kl).map(|(a, b)| correct * a + format * b).collect()
}

#[test]
fn equation_21_the_general_reward_splits_into_correctness_and_format() {
    let world = on_policy(12);
    let objective = Objective::FormatReward(REWARDS);
    let format = (REWARDS.beta - REWARDS.gamma) * world.marginal(FORMATTED);
    let expected = two_terms(&world, objective.question_weight(world.accuracy()), format);
    let got = over_rollouts(&world, objective, 2).theta_gradient(&world);
    assert_same(&got, &expected);
    let reward = |theta: &[f64]| {
        let moved = World { theta: theta.to_vec(), phi: world.phi.clone() };
        let (correct, formatted) = (moved.accuracy(), moved.marginal(FORMATTED));
        REWARDS.alpha * correct + REWARDS.beta * (formatted - correct) + REWARDS.gamma * (1.0 - formatted)
    };
    assert_same(&got, &gradient(&world.theta, reward));
}

#[test]
fn equation_24_the_debiased_reward_weighs_questions_equally() {
    let world = on_policy(13);
    let objective = Objective::DebiasedReward(REWARDS);
    for rollouts in 1..=2 {
        let seen = |p: f64| 1.0 - (1.0 - p).powi(rollouts);
        let correct = objective.question_weight(world.accuracy()) * seen(world.accuracy());
        let format = (REWARDS.beta - REWARDS.gamma) * seen(world.marginal(FORMATTED));
        let got = over_rollouts(&world, objective, rollouts as usize).theta_gradient(&world);
        assert_same(&got, &two_terms(&world, correct, format));
    }
}

#[test]
fn equation_26_verifree_is_the_bound_with_the_reasoner_as_posterior() {
    let world = on_policy(14);
    for traces in 1..=2 {
        let got = over_traces(&world, Objective::VeriFree, traces).theta_gradient(&world);
        assert_same(&got, &bound_gradient_theta(&world, traces));
        let multi = over_traces(&world, Objective::MultiTrace(Weighting::Rho), traces).theta_gradient(&world);
        assert_same(&got, &multi);
    }
}

#[test]
fn equation_30_the_posterior_as_behaviour_policy_keeps_the_gradient() {
    let world = World::new(15);
    let weight = Objective::PosteriorBehaviour.question_weight(world.accuracy());
    let expected = scaled(&world.negative_kl_gradient(&world, CORRECT), weight);
    for world in [world.clone(), world.with_true_posterior()] {
        assert_same(
            &over_rollouts(&world, Objective::PosteriorBehaviour, 2).theta_gradient(&world),
            &expected,
        );
    }
}

#[test]
fn sft_descends_the_cross_entropy_of_its_rows() {
    let world = World::new(16);
    let rows = [3 * ANSWERS + 1, 20 * ANSWERS + 3];
    let group = Group::new(2).unwrap().with_verdicts(&[Verdict::Undetermined; 2]).unwrap();
    let mut total = Coefficients::zero();
    accumulate(&mut total, 1.0, &rows, &Objective::Sft.weights(&group).unwrap());
    let expected = gradient(&world.theta, |theta| {
        let moved = World { theta: theta.to_vec(), phi: world.phi.clone() };
        rows.iter()
            .map(|&zy| moved.log_pi(zy / ANSWERS) + moved.answer(zy / ANSWERS, zy % ANSWERS).ln())
            .sum::<f64>()
            / 2.0
    });
    assert_same(&total.theta_gradient(&world), &expected);
}

/// `E_{z ~ pi} Σ_t A_t ∇ log pi(z_t|z_<t)`, with the advantages of a teacher over a baseline.
fn expected_token_gradient(world: &World, teacher: &[f64], baseline: &[f64]) -> Vec<f64> {
    let mut total = vec![0.0; TRACE_PARAMETERS];
    for z in 0..TRACES {
        let (teacher_t, baseline_t) = (token_log_probs(teacher, z), token_log_probs(baseline, z));
        let advantage_t = self_distillation::advantages(&teacher_t, &baseline_t).unwrap();
        for ((prefix, token), advantage) in steps(z).into_iter().zip(advantage_t) {
            let probabilities = softmax(&world.theta[3 * prefix..3 * prefix + 3]);
            for (other, probability) in probabilities.into_iter().enumerate() {
                let indicator = f64::from(u8::from(other == token));
                total[3 * prefix + other] += world.log_pi(z).exp() * advantage * (indicator - probability);
            }
        }
    }
    total
}

/// The gradient of `Σ_t E_{z_<t ~ pi} reward(pi(.|z_<t), z_<t)` in pi's tables, with the prefixes' distribution held
/// fixed.
fn immediate_gradient(world: &World, reward: impl Fn(&[f64], usize) -> f64) -> Vec<f64> {
    let mut visits = [0.0; PREFIXES];
    for z in 0..TRACES {
        steps(z).into_iter().for_each(|(prefix, _)| visits[prefix] += world.log_pi(z).exp());
    }
    gradient(&world.theta[..TRACE_PARAMETERS], |theta| {
        let at = |prefix: usize| reward(&softmax(&theta[3 * prefix..3 * prefix + 3]), prefix);
        (0..PREFIXES).map(|prefix| visits[prefix] * at(prefix)).sum()
    })
}

#[test]
fn self_distillation_descends_the_reverse_kl_of_each_token_at_fixed_prefixes() {
    let world = World::new(17);
    let student = world.theta[..TRACE_PARAMETERS].to_vec();
    let negative_kl = |pi: &[f64], prefix: usize| -> f64 {
        let q = softmax(&world.phi[3 * prefix..3 * prefix + 3]);
        pi.iter().zip(&q).map(|(pi, q)| -pi * (pi / q).ln()).sum()
    };
    let expected = immediate_gradient(&world, negative_kl);
    assert_same(&expected_token_gradient(&world, &world.phi, &student), &expected);
    let at_best = expected_token_gradient(&world, &student, &student);
    assert!(at_best.iter().all(|value| *value == 0.0), "{at_best:?}");
}

#[test]
fn a_contrast_ascends_the_teachers_gap_between_the_hints() {
    let (world, wrong) = (World::new(18), World::new(19).phi);
    let gap = |pi: &[f64], prefix: usize| -> f64 {
        let at = |table: &[f64]| softmax(&table[3 * prefix..3 * prefix + 3]);
        let (right, wrong) = (at(&world.phi), at(&wrong));
        (0..3).map(|token| pi[token] * (right[token] / wrong[token]).ln()).sum()
    };
    assert_same(&expected_token_gradient(&world, &world.phi, &wrong), &immediate_gradient(&world, gap));
}

#[test]
fn gaps_of_log_probs_are_finite_and_of_equal_length() {
    assert_eq!(self_distillation::advantages(&[-1.0_f32, -2.0], &[-1.5, -0.5]).unwrap(), [0.5, -1.5]);
    let error = self_distillation::advantages(&[-1.0, f64::NEG_INFINITY], &[-1.0, -1.0]).unwrap_err();
    assert!(error.to_string().contains("self-distillation"), "{error}");
    assert!(self_distillation::advantages(&[-1.0], &[-1.0, -1.0]).is_err());
}
