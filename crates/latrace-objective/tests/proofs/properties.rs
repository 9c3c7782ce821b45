//! Properties that hold for every group of weights.

use latrace_objective::answer::reference_and_rest;
use latrace_objective::bounds::iwae_bounds;
use latrace_objective::diagnostics::{gradient_share, rank_correlation};
use latrace_objective::{
    AnswerAccuracy, AnswerScore, Group, GroupOutcome, JudgedAnswer, Objective, Rng, SampledRest, Selection,
    SubsetPlan, Verdict, Weighting, weights,
};
use proptest::prelude::*;

/// Log-weights of up to ten traces, some of them zero, spread over hundreds of nats as full ratios are.
fn log_weights() -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec(
        prop_oneof![4 => -400.0..400.0_f64, 4 => -2.0..2.0_f64, 1 => Just(f64::NEG_INFINITY)],
        1..10,
    )
}

fn verdicts() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        Just(Verdict::Correct),
        Just(Verdict::Wrong),
        Just(Verdict::Malformed),
        Just(Verdict::Undetermined)
    ]
}

/// L^1 … L^N by their definition: subsets as the bits of a number, each `log (1/K) Σ rho` relative to its own
/// largest rho.
fn iwae_reference(log_rho_k: &[f64]) -> Vec<f64> {
    let count = log_rho_k.len();
    let log_mean = |subset: u32| {
        let members = || {
            log_rho_k.iter().enumerate().filter(|(k, _)| subset >> k & 1 == 1).map(|(_, log_rho)| *log_rho)
        };
        let largest = members().fold(f64::NEG_INFINITY, f64::max);
        if largest == f64::NEG_INFINITY {
            return largest;
        }
        largest
            + (members().map(|log_rho| (log_rho - largest).exp()).sum::<f64>()
                / f64::from(subset.count_ones()))
            .ln()
    };
    let mean = |size: u32| {
        let values: Vec<f64> =
            (0_u32..1 << count).filter(|subset| subset.count_ones() == size).map(log_mean).collect();
        values.iter().sum::<f64>() / values.len() as f64
    };
    (1..=count as u32).map(mean).collect()
}

/// `pi(y*) + (1/n) Σ 1(y in Y_x, y ≠ y*)` by its definition, outside log space.
fn reference_and_rest_reference(logp_t: &[f64], answer_m: &[JudgedAnswer]) -> f64 {
    let mut probability: f64 = logp_t.iter().map(|logp| logp.exp()).product();
    for answer in answer_m {
        if answer.verdict == Verdict::Correct && !answer.is_reference {
            probability += 1.0 / answer_m.len() as f64;
        }
    }
    probability
}

fn near(left: f64, right: f64) -> bool {
    left == right || (left - right).abs() <= 1e-9 * (1.0 + left.abs())
}

proptest! {
    #[test]
    fn rho_tilde_sums_to_one_or_is_zero(log_weight_k in log_weights()) {
        let (weight_k, summary) = weights::normalise(&log_weight_k).unwrap();
        let sum: f64 = weight_k.iter().sum();
        if summary.outcome == GroupOutcome::AllZero {
            prop_assert!(weight_k.iter().all(|&weight| weight == 0.0));
            prop_assert_eq!(summary.log_mean, f64::NEG_INFINITY);
        } else {
            let count = weight_k.len() as f64;
            prop_assert!(near(sum, 1.0));
            prop_assert!(weight_k.iter().all(|weight| (0.0..=1.0).contains(weight)));
            prop_assert!((1.0 - 1e-12..=count + 1e-9).contains(&summary.effective_sample_size));
            prop_assert!((-1e-12..=count.ln() + 1e-12).contains(&summary.entropy));
            prop_assert!(summary.entropy >= summary.effective_sample_size.ln() - 1e-9);
        }
    }

    #[test]
    fn rho_tilde_ignores_a_common_factor(log_weight_k in log_weights(), shift in -2_000.0..2_000.0_f64) {
        let shifted: Vec<f64> = log_weight_k.iter().map(|value| value + shift).collect();
        let (before, summary) = weights::normalise(&log_weight_k).unwrap();
        let (after, shifted) = weights::normalise(&shifted).unwrap();
        prop_assert!(before.iter().zip(&after).all(|(a, b)| near(*a, *b)));
        prop_assert!(near(summary.log_mean + shift, shifted.log_mean));
        prop_assert!(near(summary.entropy, shifted.entropy));
    }

    #[test]
    fn weights_follow_their_traces(log_weight_k in log_weights(), seed: u64) {
        let mut order: Vec<usize> = (0..log_weight_k.len()).collect();
        Rng::new(seed).shuffle(&mut order);
        let permuted: Vec<f64> = order.iter().map(|&k| log_weight_k[k]).collect();
        let zeros = vec![0.0; permuted.len()];
        for weighting in Weighting::ALL {
            let (before, _) = weighting.weights(&log_weight_k, &zeros).unwrap();
            let (after, _) = weighting.weights(&permuted, &zeros).unwrap();
            prop_assert!(order.iter().zip(&after).all(|(&k, weight)| near(before[k], *weight)));
        }
        let plan = SubsetPlan { exact_limit: 20, draws: 16, seed };
        prop_assert_eq!(iwae_bounds(&log_weight_k, &plan).unwrap(), iwae_bounds(&permuted, &plan).unwrap());
    }

    #[test]
    fn sampled_bounds_rise_with_k_and_end_at_the_log_mean(log_weight_k in log_weights()) {
        let points = iwae_bounds(&log_weight_k, &SubsetPlan::default()).unwrap();
        prop_assert!(points.windows(2).all(|pair| pair[0].value <= pair[1].value + 1e-9));
        let log_mean = weights::normalise(&log_weight_k).unwrap().1.log_mean;
        prop_assert!(near(points[points.len() - 1].value, log_mean));
        let zeros = log_weight_k.iter().filter(|value| **value == f64::NEG_INFINITY).count();
        prop_assert!(points.iter().all(|point| (point.value == f64::NEG_INFINITY) == (point.traces <= zeros)));
        let mean = log_weight_k.iter().sum::<f64>() / log_weight_k.len() as f64;
        prop_assert!(near(points[0].value, mean));
        if zeros == 0 && log_weight_k.len() > 1 {
            let squares: f64 = log_weight_k.iter().map(|value| (value - mean).powi(2)).sum();
            let count = log_weight_k.len() as f64;
            prop_assert!(near(points[0].standard_error.unwrap(), (squares / (count - 1.0) / count).sqrt()));
        }
    }

    #[test]
    fn reference_and_rest_is_its_definition(
        logp_t in prop::collection::vec(-4.0..0.0_f64, 1..6),
        answers in prop::collection::vec((verdicts(), any::<bool>()), 1..9),
    ) {
        let judged = |(verdict, is_reference)| JudgedAnswer { verdict, is_reference };
        let answer_m: Vec<JudgedAnswer> = answers.into_iter().map(judged).collect();
        let reference = AnswerScore::from_tokens(&logp_t).unwrap();
        let rest = SampledRest::from_answers(&answer_m).unwrap();
        let log_probability = reference_and_rest::log_probability(&reference, Some(&rest));
        prop_assert!(near(log_probability.exp(), reference_and_rest_reference(&logp_t, &answer_m)));
        prop_assert!(log_probability >= reference_and_rest::log_probability(&reference, None));
        prop_assert!(log_probability >= rest.probability().ln());
    }

    #[test]
    fn bounds_are_means_over_all_subsets(log_weight_k in log_weights()) {
        let points = iwae_bounds(&log_weight_k, &SubsetPlan::default()).unwrap();
        for (point, expected) in points.iter().zip(iwae_reference(&log_weight_k)) {
            prop_assert!(near(point.value, expected), "K = {}: {}, expected {expected}", point.traces, point.value);
        }
    }

    #[test]
    fn selections_weigh_a_question_once(log_weight_k in log_weights(), seed: u64, draws in 1_usize..20) {
        let (weight_k, summary) = weights::normalise(&log_weight_k).unwrap();
        for selection in Selection::ALL.map(|selection| selection.with_draws(draws)) {
            let picks = selection.select(&log_weight_k, &mut Rng::new(seed)).unwrap();
            prop_assert_eq!(&picks, &selection.select(&log_weight_k, &mut Rng::new(seed)).unwrap());
            prop_assert_eq!(picks.is_empty(), summary.outcome == GroupOutcome::AllZero);
            prop_assert!(picks.windows(2).all(|pair| pair[0].trace < pair[1].trace));
            prop_assert!(picks.iter().all(|pick| weight_k[pick.trace] > 0.0));
            prop_assert!(picks.is_empty() || near(picks.iter().map(|pick| pick.weight).sum(), 1.0));
            if selection == Selection::ResampleSystematic(draws) {
                let off = |pick: &latrace_objective::Pick| (pick.weight - weight_k[pick.trace]).abs() * draws as f64;
                prop_assert!(picks.iter().all(|pick| off(pick) < 1.0 + 1e-9));
            }
        }
    }

    #[test]
    fn every_objective_gives_finite_weights_or_says_why_not(
        log_answer_k in prop::collection::vec(prop_oneof![3 => -3.0..0.0_f64, 1 => Just(f64::NEG_INFINITY)], 1..6),
        seed: u64,
        pool in prop::collection::vec(verdicts(), 12),
    ) {
        let traces = log_answer_k.len();
        let mut rng = Rng::new(seed);
        let log_ratio_k: Vec<f64> = (0..traces).map(|_| 4.0 * rng.uniform() - 2.0).collect();
        let verdict_km: Vec<Verdict> = (0..2 * traces).map(|m| pool[m]).collect();
        let group = Group::new(traces).unwrap().with_verdicts(&verdict_km).unwrap();
        let group = group.with_log_ratio(&log_ratio_k).unwrap().with_log_answer(&log_answer_k).unwrap();
        for objective in Objective::ALL {
            let weights = objective.weights(&group).unwrap();
            let all = || weights.trace_k.iter().chain(&weights.answer_km);
            prop_assert_eq!(weights.trace_k.len(), traces);
            prop_assert!(weights.answer_km.is_empty() || weights.answer_km.len() == 2 * traces);
            prop_assert!(all().all(|weight| weight.is_finite()), "{}", objective.name());
            prop_assert!(weights.outcome.has_gradient() || all().all(|&weight| weight == 0.0), "{}", objective.name());
        }
    }

    #[test]
    fn wilson_holds_the_estimate(correct in 0_usize..20, wrong in 0_usize..20, z in 0.1..4.0_f64) {
        prop_assume!(correct + wrong > 0);
        let accuracy = AnswerAccuracy { correct, undetermined: 0, sampled: correct + wrong };
        let (low, high) = accuracy.wilson(z);
        prop_assert!(0.0 <= low && low <= accuracy.probability() && accuracy.probability() <= high && high <= 1.0);
        // The interval's definition: both ends lie z standard deviations (of their own p) from the estimate.
        for end in [low, high].into_iter().filter(|end| (1e-9..1.0 - 1e-9).contains(end)) {
            let deviation = (end * (1.0 - end) / accuracy.sampled as f64).sqrt();
            prop_assert!(near((end - accuracy.probability()).abs(), z * deviation));
        }
    }

    #[test]
    fn rank_correlation_sees_order_alone(values in prop::collection::vec(-5_i32..5, 2..20)) {
        let left: Vec<f64> = values.iter().map(|&value| f64::from(value)).collect();
        let bent: Vec<f64> = left.iter().map(|value| value.exp()).collect();
        let turned: Vec<f64> = left.iter().map(|value| -value).collect();
        match rank_correlation(&left, &bent).unwrap() {
            Some(correlation) => {
                prop_assert!(near(correlation, 1.0));
                prop_assert!(near(rank_correlation(&left, &turned).unwrap().unwrap(), -1.0));
            }
            None => prop_assert!(left.iter().all(|value| *value == left[0])),
        }
    }

    #[test]
    fn gradient_shares_sum_to_one(accuracy_q in prop::collection::vec(0.01..0.99_f64, 1..30)) {
        for objective in Objective::ALL {
            let share = gradient_share(&objective, &accuracy_q).unwrap();
            prop_assert!(near(share.easy + share.medium + share.hard, 1.0), "{}", objective.name());
        }
    }
}
