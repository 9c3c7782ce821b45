//! Limit cases and refusals, by table.

use std::collections::HashSet;

use crate::world::assert_near;
use latrace_objective::answer::reference_and_rest;
use latrace_objective::bounds::{BoundSummary, IwaePoint, SubsetAverage, elbo, gap, iwae_bounds};
use latrace_objective::diagnostics::{
    distinct_n, gradient_share, mean_pairwise_overlap, rank_correlation, weight_curve,
};
use latrace_objective::objectives::multi_trace::chosen_weights;
use latrace_objective::objectives::{TraceOrigin, Trained};
use latrace_objective::ratio::Kernel;
use latrace_objective::selection::drop_long_traces;
use latrace_objective::{
    AnswerAccuracy, AnswerChoice, AnswerEstimator, AnswerEvidence, AnswerScore, BoundMean, Error, Fallback,
    Group, GroupOutcome, JudgedAnswer, Objective, RatioEstimator, Resolution, Rng, SampledRest, Selection,
    SubsetPlan, TraceScore, Verdict, Weighting, weights,
};

const ZERO: f64 = f64::NEG_INFINITY;
use Verdict::{Correct, Malformed, Undetermined, Wrong};

#[test]
fn every_name_leads_back_to_its_variant() {
    fn check<T>(all: &[T], name: impl Fn(&T) -> &'static str, from: impl Fn(&str) -> Result<T, Error>)
    where
        T: PartialEq + std::fmt::Debug + serde::Serialize + serde::de::DeserializeOwned,
    {
        let mut names: Vec<_> = all.iter().map(&name).collect();
        assert!(all.iter().all(|variant| from(name(variant)).as_ref() == Ok(variant)));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all.len());
        assert!(from("nonsense").unwrap_err().to_string().contains(name(&all[0])));
        for variant in all {
            let text = serde_json::to_string(variant).unwrap();
            assert_eq!(text, format!("\"{}\"", name(variant)));
            assert_eq!(&serde_json::from_str::<T>(&text).unwrap(), variant);
        }
        let refused = serde_json::from_str::<T>("\"nonsense\"").unwrap_err().to_string();
        assert!(
            refused.contains("nonsense") && all.iter().all(|variant| refused.contains(name(variant))),
            "{refused}"
        );
        assert!(serde_json::from_str::<T>("3").is_err());
    }
    check(&RatioEstimator::ALL, RatioEstimator::name, RatioEstimator::from_name);
    check(&AnswerEstimator::ALL, AnswerEstimator::name, AnswerEstimator::from_name);
    check(&Weighting::ALL, Weighting::name, Weighting::from_name);
    check(&Objective::ALL, Objective::name, Objective::from_name);
    check(&Selection::ALL, Selection::name, Selection::from_name);
    check(&Fallback::ALL, Fallback::name, Fallback::from_name);
    check(&AnswerChoice::ALL, AnswerChoice::name, AnswerChoice::from_name);
    check(&Resolution::ALL, Resolution::name, Resolution::from_name);
}

const KERNEL: Kernel = Kernel { power: 2.0, decay: 0.5 };

#[test]
fn parameters_are_set_where_there_are_any() {
    assert_eq!(
        RatioEstimator::ALL.map(|ratio| ratio.with_bound(0.7).with_kernel(KERNEL)),
        [
            RatioEstimator::Geometric,
            RatioEstimator::Full,
            RatioEstimator::Clipped(0.7),
            RatioEstimator::Kernel(KERNEL)
        ]
    );
    let drawn = [
        Selection::Weighted,
        Selection::Best,
        Selection::ResampleMultinomial(5),
        Selection::ResampleSystematic(5),
    ];
    assert_eq!(Selection::ALL.map(|selection| selection.with_draws(5)), drawn);
}

#[test]
fn the_paper_is_the_default() {
    assert_eq!(RatioEstimator::default(), RatioEstimator::Geometric);
    assert_eq!(AnswerEstimator::default(), AnswerEstimator::Accuracy);
    assert_eq!(Weighting::default(), Weighting::Rho);
    assert_eq!(Selection::default(), Selection::Best);
    assert_eq!(AnswerChoice::default(), AnswerChoice::All);
}

#[test]
fn ratios() {
    let check = |estimator: RatioEstimator, logp: &[f64], logq: &[f64], expected: f64| {
        assert_near(estimator.log_ratio(&TraceScore::from_tokens(logp, logq).unwrap()), expected, 1e-12);
    };
    check(RatioEstimator::Full, &[-1.0, -2.0], &[-0.5, -0.5], -2.0);
    check(RatioEstimator::Geometric, &[-1.0, -2.0], &[-0.5, -0.5], -1.0);
    check(RatioEstimator::Clipped(0.2), &[-1.0, -2.0], &[-0.5, -0.5], -0.2);
    check(RatioEstimator::Clipped(0.2), &[-0.1], &[-0.5], 0.2);
    check(RatioEstimator::Clipped(9.0), &[-1.0, -2.0], &[-0.5, -0.5], -1.0);
    // W = 1/e: a log W + b (1 − W).
    check(
        RatioEstimator::Kernel(KERNEL),
        &[-1.0, -2.0],
        &[-0.5, -0.5],
        -2.0 + 0.5 * (1.0 - (-1.0_f64).exp()),
    );
    let of = |power, decay| RatioEstimator::Kernel(Kernel { power, decay });
    check(of(1.0, 0.0), &[-1.0, -2.0], &[-0.5, -0.5], -1.0);
    check(of(0.0, 0.0), &[-1.0, -2.0], &[-0.5, -0.5], 0.0);
    // With a = b, no ratio exceeds that of W = 1.
    for logp in [-0.1, -0.4, -0.6, -3.0] {
        let score = TraceScore::from_tokens(&[logp], &[-0.5]).unwrap();
        assert!(of(2.0, 2.0).log_ratio(&score) < 0.0, "{logp}");
    }
    let impossible = TraceScore::from_tokens(&[ZERO, -1.0], &[-1.0, -1.0]).unwrap();
    assert!(RatioEstimator::ALL.iter().all(|estimator| estimator.log_ratio(&impossible) == ZERO));
    let single = TraceScore::from_tokens(&[-1.0_f32, -2.0], &[-0.5, -0.5]).unwrap();
    assert_eq!(single.log_ratio_sum(), -2.0);
}

#[test]
fn scores_refuse_what_cannot_be() {
    assert_eq!(
        TraceScore::from_tokens(&[-1.0], &[-1.0, -2.0]).unwrap_err().to_string(),
        "TraceScore::from_tokens: expected 1 values, got 2"
    );
    assert!(matches!(TraceScore::from_tokens::<f64>(&[], &[]), Err(Error::Empty { .. })));
    for (logp, logq) in [(-1.0, ZERO), (-1.0, f64::NAN), (f64::NAN, -1.0), (f64::INFINITY, -1.0)] {
        assert!(
            matches!(TraceScore::from_tokens(&[logp], &[logq]), Err(Error::Domain { .. })),
            "{logp} {logq}"
        );
    }
    assert!(AnswerScore::from_tokens(&[f64::NAN]).is_err() && AnswerScore::from_tokens::<f64>(&[]).is_err());
    // The token at fault is named, and what it is.
    let error = TraceScore::from_tokens(&[-1.0, -1.0, -1.0], &[-1.0, -1.0, ZERO]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "TraceScore::from_tokens: expected a finite log q of a trace drawn from q, got -inf at index 2"
    );
    let error = AnswerScore::from_tokens(&[-1.0, f64::INFINITY]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "AnswerScore::from_tokens: expected a log pi below +inf, got inf at index 1"
    );
}

#[test]
fn answer_estimators_read_their_own_evidence() {
    let verdicts = [Correct, Wrong, Undetermined, Malformed];
    let accuracy = AnswerAccuracy::from_verdicts(&verdicts).unwrap();
    assert_eq!(accuracy, AnswerAccuracy { correct: 1, undetermined: 1, sampled: 4 });
    assert_eq!((accuracy.probability(), accuracy.variance()), (0.25, 0.25 * 0.75 / 4.0));
    let reference = AnswerScore::from_tokens(&[-1.0, -3.0]).unwrap();
    let both = AnswerEvidence { accuracy: Some(accuracy), reference: Some(reference), rest: None };
    let check = |estimator: AnswerEstimator, expected: f64| {
        assert_near(estimator.log_probability(&both).unwrap(), expected, 1e-15);
        assert!(matches!(estimator.log_probability(&AnswerEvidence::default()), Err(Error::Missing { .. })));
    };
    check(AnswerEstimator::Accuracy, 0.25_f64.ln());
    check(AnswerEstimator::GeometricLikelihood, -2.0);
    check(AnswerEstimator::Likelihood, -4.0);
    assert!(AnswerAccuracy::from_verdicts(&[]).is_err());
    assert_eq!(AnswerAccuracy::from_verdicts(&[Wrong; 8]).unwrap().log_probability(), ZERO);
    // Wilson at 0 of 8: (0, z²/(n+z²)).
    let (low, high) = AnswerAccuracy::from_verdicts(&[Wrong; 8]).unwrap().wilson(1.96);
    assert_eq!(low, 0.0);
    assert_near(high, 1.96 * 1.96 / (8.0 + 1.96 * 1.96), 1e-15);
}

#[test]
fn the_reference_is_computed_and_the_rest_sampled() {
    let reference = AnswerScore::from_tokens(&[0.5_f64.ln(), 0.4_f64.ln()]).unwrap();
    let check = |answers: &[(Verdict, bool)], expected: f64| {
        let answers: Vec<JudgedAnswer> =
            answers.iter().map(|&(verdict, is_reference)| JudgedAnswer { verdict, is_reference }).collect();
        let rest = SampledRest::from_answers(&answers).unwrap();
        assert_near(reference_and_rest::log_probability(&reference, Some(&rest)).exp(), expected, 1e-15);
    };
    check(&[(Wrong, false), (Malformed, false)], 0.2);
    // The reference among the samples is in the computed term already.
    check(&[(Correct, true), (Wrong, false)], 0.2);
    check(&[(Correct, true), (Correct, false), (Undetermined, false), (Wrong, false)], 0.2 + 0.25);
    check(&[(Correct, false)], 1.2);
    assert_near(reference_and_rest::log_probability(&reference, None), 0.2_f64.ln(), 1e-15);
    assert!(SampledRest::from_answers(&[]).is_err());
    // A solution of thousands of tokens: its probability is below the least number that f64 holds.
    let long = AnswerScore::from_tokens(&[-1.0; 5_000]).unwrap();
    assert_eq!(reference_and_rest::log_probability(&long, None), -5_000.0);
}

#[test]
fn groups_of_weights() {
    let check = |log_weight_k: &[f64], weight_k: &[f64], outcome: GroupOutcome, size: f64| {
        let (got, summary) = weights::normalise(log_weight_k).unwrap();
        assert!(got.iter().zip(weight_k).all(|(a, b)| (a - b).abs() < 1e-12), "{got:?}");
        assert_eq!(summary.outcome, outcome);
        assert_near(summary.effective_sample_size, size, 1e-12);
    };
    check(&[0.0, 0.0], &[0.5, 0.5], GroupOutcome::Weighted, 2.0);
    check(&[3.0_f64.ln(), 0.0], &[0.75, 0.25], GroupOutcome::Weighted, 1.6);
    check(&[-7.0], &[1.0], GroupOutcome::SingleTrace, 1.0);
    check(&[ZERO], &[0.0], GroupOutcome::AllZero, 0.0);
    check(&[ZERO, ZERO], &[0.0, 0.0], GroupOutcome::AllZero, 0.0);
    check(&[ZERO, -900.0], &[0.0, 1.0], GroupOutcome::Weighted, 1.0);
    // 30,000 tokens at ±0.5 nats each: far beyond exp's range on both sides.
    check(&[15_000.0, 15_000.0, -15_000.0], &[0.5, 0.5, 0.0], GroupOutcome::Weighted, 2.0);
    assert!(weights::normalise(&[]).is_err() && weights::normalise(&[f64::NAN]).is_err());
    assert!(weights::normalise(&[f64::INFINITY]).is_err());
    assert_eq!(weights::log_rho(3.0, ZERO), ZERO);
    assert_eq!(weights::log_rho(f64::INFINITY, ZERO), ZERO);
    let (_, summary) = weights::normalise(&[3.0_f64.ln(), 0.0]).unwrap();
    assert_near(summary.entropy, -(0.75 * 0.75_f64.ln() + 0.25 * 0.25_f64.ln()), 1e-15);
    assert_near(summary.log_mean, 2.0_f64.ln(), 1e-15);
}

#[test]
fn weightings() {
    let (ratio, answer) = ([0.0, 2.0_f64.ln(), ZERO], [0.5_f64.ln(), ZERO, 0.0]);
    let check = |weighting: Weighting, expected: [f64; 3]| {
        let (got, _) = weighting.weights(&ratio, &answer).unwrap();
        assert!(
            got.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-15),
            "{}: {got:?}",
            weighting.name()
        );
    };
    check(Weighting::Rho, [1.0, 0.0, 0.0]);
    check(Weighting::RatioOnly, [1.0 / 3.0, 2.0 / 3.0, 0.0]);
    check(Weighting::AccuracyOnly, [1.0, 0.0, 0.0]);
    check(Weighting::Uniform, [0.5, 0.5, 0.0]);
    // The third is dropped: it weighs nothing, and the others are centred on each other.
    check(Weighting::LeaveOneOut, [1.0, -1.0, 0.0]);
    let outcome =
        |ratio: &[f64]| Weighting::LeaveOneOut.weights(ratio, &vec![0.0; ratio.len()]).unwrap().1.outcome;
    assert_eq!(outcome(&[0.3]), GroupOutcome::NoContrast);
    assert_eq!(outcome(&[0.3, 0.3]), GroupOutcome::NoContrast);
    assert_eq!(outcome(&[ZERO, ZERO]), GroupOutcome::AllZero);
    assert!(Weighting::Rho.weights(&[0.0], &[0.0, 0.0]).is_err());
}

#[test]
fn bounds_with_traces_that_are_never_correct() {
    let points = iwae_bounds(&[ZERO, 0.0, ZERO, 0.0], &SubsetPlan::default()).unwrap();
    assert_eq!((points[0].value, points[1].value), (ZERO, ZERO));
    assert_eq!((points[0].standard_error, points[1].subsets), (None, SubsetAverage::Exact(6)));
    // K = 3: two subsets hold one zero and two ones, two hold two zeros and one... all four: log 1/3 twice,
    // log 2/3 twice.
    assert_near(points[2].value, ((1.0_f64 / 3.0).ln() + (2.0_f64 / 3.0).ln()) / 2.0, 1e-15);
    assert_near(points[3].value, 0.5_f64.ln(), 1e-15);
    assert_eq!(gap(&points), Some(f64::INFINITY));
    let none = iwae_bounds(&[ZERO, ZERO], &SubsetPlan::default()).unwrap();
    assert_eq!((none[1].value, gap(&none)), (ZERO, None));
    let certain = iwae_bounds(&[-1.5; 3], &SubsetPlan::default()).unwrap();
    assert!(
        certain
            .iter()
            .all(|point| (point.value + 1.5).abs() < 1e-12 && point.standard_error.unwrap() < 1e-12)
    );
    assert_eq!(iwae_bounds(&[-1.5], &SubsetPlan::default()).unwrap()[0].standard_error, None);
    assert_eq!(elbo(&[0.5, 0.0], &[ZERO, -1.0]).unwrap().value, ZERO);
    // Far apart: no subset under- or overflows.
    let spread = iwae_bounds(&[5_000.0, 0.0, -5_000.0], &SubsetPlan::default()).unwrap();
    assert_near(spread[1].value, (5_000.0 + 5_000.0 + 0.0) / 3.0 - 2.0_f64.ln(), 1e-9);
}

#[test]
fn bounds_over_questions_count_what_is_unbounded() {
    let summary = BoundSummary::from_questions([-1.0, ZERO, -3.0]);
    assert_eq!(
        (summary.questions, summary.unbounded, summary.mean, summary.mean_of_finite),
        (3, 1, ZERO, -2.0)
    );
    assert_near(summary.standard_error.unwrap(), 1.0, 1e-15);
    assert_near(summary.unbounded_share(), 1.0 / 3.0, 1e-15);
    // The spread of one finite question says nothing of other questions.
    assert_eq!(BoundSummary::from_questions([-1.0, ZERO]).standard_error, None);
    let empty = BoundSummary::from_questions([]);
    assert!(empty.mean.is_nan() && empty.unbounded_share() == 0.0 && empty.monte_carlo_error.is_none());
}

#[test]
fn the_mean_of_a_bound_is_over_all_questions() {
    let plan = SubsetPlan::default();
    let point = |log_rho_k: &[f64]| iwae_bounds(log_rho_k, &plan).unwrap()[0];
    let all = BoundMean::from_points(&[point(&[0.0, 2.0]), point(&[-1.0, 5.0]), point(&[-3.0, -3.0])]);
    assert_eq!((all.questions, all.unbounded, all.mean), (3, 0, 0.0));
    assert_near(all.standard_error.unwrap(), (14.0_f64 / 2.0 / 3.0).sqrt(), 1e-15);
    assert_near(all.monte_carlo_error.unwrap(), 10.0_f64.sqrt() / 3.0, 1e-15);
    // One question none of whose traces ended: the other two bound nothing by themselves.
    let one = BoundMean::from_points(&[point(&[0.0, 2.0]), point(&[-1.0, 5.0]), point(&[ZERO, ZERO])]);
    assert_eq!((one.questions, one.unbounded, one.mean), (3, 1, ZERO));
    assert_eq!((one.standard_error, one.monte_carlo_error), (None, None));
    assert!(BoundMean::from_points(&[]).mean.is_nan());
}

#[test]
fn errors_of_questions_add_in_squares() {
    let plan = SubsetPlan::default();
    let points: Vec<_> = [[0.0, 2.0], [ZERO, 1.0], [-1.0, 5.0]]
        .iter()
        .map(|log_rho_k| iwae_bounds(log_rho_k, &plan).unwrap()[0])
        .collect();
    // Standard errors of two traces are half their distance: 1 and 3, over two questions of finite bound.
    let summary = BoundSummary::from_points(&points);
    assert_near(summary.monte_carlo_error.unwrap(), 10.0_f64.sqrt() / 2.0, 1e-15);
    assert_eq!((summary.unbounded, summary.mean_of_finite), (1, 1.5));
    // A question of one trace states no error, so neither does the mean.
    let single = iwae_bounds(&[0.5], &plan).unwrap()[0];
    assert_eq!(BoundSummary::from_points(&[points[0], single]).monte_carlo_error, None);
    let drawn = IwaePoint { standard_error: Some(3.0), subset_error: 4.0, ..single };
    assert_eq!(drawn.error(), Some(5.0));
}

#[test]
fn large_groups_draw_subsets() {
    let log_rho_k: Vec<f64> = (0..32).map(f64::from).map(f64::sin).collect();
    let points = iwae_bounds(&log_rho_k, &SubsetPlan::default()).unwrap();
    assert_eq!(points[0].subsets, SubsetAverage::Exact(32));
    assert_eq!(points[2].subsets, SubsetAverage::Exact(4_960));
    assert_eq!(points[15].subsets, SubsetAverage::Sampled(4_096));
    let at_limit = |exact_limit| {
        let plan = SubsetPlan { exact_limit, ..SubsetPlan::default() };
        iwae_bounds(&log_rho_k[..4], &plan).unwrap()[1].subsets
    };
    assert_eq!((at_limit(6), at_limit(5)), (SubsetAverage::Exact(6), SubsetAverage::Sampled(4_096)));
    assert!(points[15].subset_error > 0.0 && points[15].subset_error < 0.01, "{:?}", points[15]);
    let again = iwae_bounds(&log_rho_k, &SubsetPlan { seed: 1, ..SubsetPlan::default() }).unwrap();
    assert_ne!(points[15].value, again[15].value);
    // 100 choose 50 saturates nothing it should not.
    assert_eq!(latrace_objective::bounds::subsets::binomial(8, 4), 70);
    assert_eq!(latrace_objective::bounds::subsets::binomial(16, 8), 12_870);
    assert_eq!(latrace_objective::bounds::subsets::binomial(61, 30), 232_714_176_627_630_544);
    assert_eq!(latrace_objective::bounds::subsets::binomial(200, 100), u64::MAX);
    assert_eq!(latrace_objective::bounds::subsets::binomial(2, 3), 0);
}

fn weights_of(
    objective: Objective,
    verdicts: &[Verdict],
    ratio: &[f64],
    answer: &[f64],
) -> latrace_objective::SequenceWeights {
    let group = Group::new(ratio.len()).unwrap().with_verdicts(verdicts).unwrap();
    objective.weights(&group.with_log_ratio(ratio).unwrap().with_log_answer(answer).unwrap()).unwrap()
}

#[test]
fn groups_without_a_gradient_say_why() {
    let check = |name: &str, verdicts: &[Verdict], answer: &[f64], outcome: GroupOutcome| {
        let weights = weights_of(Objective::from_name(name).unwrap(), verdicts, &[0.0, 0.0], answer);
        assert_eq!(weights.outcome, outcome, "{name}");
        assert!(weights.trace_k.iter().chain(&weights.answer_km).all(|&weight| weight == 0.0), "{name}");
    };
    let (none, all) = ([Wrong, Wrong], [Correct, Correct]);
    for name in ["rft", "binary-reward", "posterior-behaviour"] {
        check(name, &none, &[ZERO, ZERO], GroupOutcome::AllZero);
    }
    for name in ["multi-trace", "verifree", "forward-kl", "iwae-phi"] {
        check(name, &none, &[ZERO, ZERO], GroupOutcome::AllZero);
    }
    for name in ["elbo-single", "reverse-kl"] {
        check(name, &none, &[ZERO, -1.0], GroupOutcome::Unbounded);
    }
    check("grpo", &none, &[ZERO, ZERO], GroupOutcome::NoContrast);
    check("grpo", &all, &[0.0, 0.0], GroupOutcome::NoContrast);
    check("maxrl", &all, &[0.0, 0.0], GroupOutcome::NoContrast);
    // Equal rhos have no leave-one-out contrast, which is not the same as having no weight.
    let equal = weights_of(Objective::MultiTrace(Weighting::LeaveOneOut), &all, &[0.0; 2], &[0.0; 2]);
    assert_eq!(equal.outcome, GroupOutcome::NoContrast);
    for name in ["format-reward", "debiased-reward"] {
        check(name, &[Malformed, Malformed], &[ZERO, ZERO], GroupOutcome::AllZero);
    }
}

#[test]
fn objectives_on_a_group_done_by_hand() {
    let verdicts = [Correct, Wrong, Correct, Correct];
    let (ratio, answer) = ([2.0_f64.ln(), 0.0], [0.5_f64.ln(), 0.0]);
    let check = |name: &str, trace_k: &[f64], answer_km: &[f64]| {
        let got = weights_of(Objective::from_name(name).unwrap(), &verdicts, &ratio, &answer);
        let near =
            |a: &[f64], b: &[f64]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-15);
        assert!(near(&got.trace_k, trace_k) && near(&got.answer_km, answer_km), "{name}: {got:?}");
    };
    check("sft", &[0.5, 0.5], &[0.25; 4]);
    check("forward-kl", &[1.0 / 3.0, 2.0 / 3.0], &[]);
    check("multi-trace", &[0.5, 0.5], &[0.5, 0.0, 0.25, 0.25]);
    check("verifree", &[1.0 / 3.0, 2.0 / 3.0], &[1.0 / 3.0, 0.0, 1.0 / 3.0, 1.0 / 3.0]);
    check("elbo-single", &[-0.5, -0.5], &[]);
    check("iwae-phi", &[-0.5, -0.5], &[]);
    check("reverse-kl", &[0.0, 0.0], &[]);
    check("rft", &[0.25, 0.5], &[0.25, 0.0, 0.25, 0.25]);
    check("binary-reward", &[0.25, 0.5], &[0.25, 0.0, 0.25, 0.25]);
    check("posterior-behaviour", &[0.5, 0.5], &[0.5, 0.0, 0.25, 0.25]);
    check("format-reward", &[0.75, 1.0], &[0.5, 0.25, 0.5, 0.5]);
    let correct = 1.0 / 3.0 + 0.25;
    check("debiased-reward", &[correct + 0.25, 2.0 * correct], &[correct, 0.25, correct, correct]);
    let grpo = 0.25 / (0.75_f64 * 0.25).sqrt() / 4.0;
    check("grpo", &[-2.0 * grpo, 2.0 * grpo], &[grpo, -3.0 * grpo, grpo, grpo]);
    let right = 1.0 / 3.0 - 0.25;
    check("maxrl", &[right - 0.25, 2.0 * right], &[right, -0.25, right, right]);
}

#[test]
fn groups_refuse_what_does_not_fit() {
    assert!(Group::new(0).is_err());
    assert!(Group::new(2).unwrap().with_verdicts(&[Correct; 3]).is_err());
    assert!(Group::new(2).unwrap().with_log_ratio(&[0.0]).is_err());
    assert!(Group::new(1).unwrap().with_log_answer(&[f64::NAN]).is_err());
    let bare = Group::new(2).unwrap();
    for objective in Objective::ALL.into_iter().filter(|objective| *objective != Objective::Sft) {
        let error = objective.weights(&bare).unwrap_err();
        assert!(
            matches!(error, Error::Missing { operation, .. } if operation == objective.name()),
            "{error}"
        );
    }
    let overflow =
        Group::new(1).unwrap().with_verdicts(&[Correct]).unwrap().with_log_ratio(&[701.0]).unwrap();
    assert!(Objective::PosteriorBehaviour.weights(&overflow).is_err());
    // Uniform weights keep a trace that has no correct answer; the missing answer term is counted.
    let ablation =
        weights_of(Objective::MultiTrace(Weighting::Uniform), &[Wrong, Correct], &[0.0, 0.0], &[ZERO, 0.0]);
    assert_eq!((ablation.without_answer, ablation.answer_km), (1, vec![0.0, 0.5]));
}

#[test]
fn objectives_say_whom_they_train_on_whose_traces() {
    let check = |name: &str, trains: Trained, from: TraceOrigin| {
        let objective = Objective::from_name(name).unwrap();
        assert_eq!((objective.trains(), objective.traces_from()), (trains, from), "{name}");
    };
    check("sft", Trained::Either, TraceOrigin::Dataset);
    check("forward-kl", Trained::Posterior, TraceOrigin::Reasoner);
    check("iwae-phi", Trained::Posterior, TraceOrigin::Posterior);
    check("multi-trace", Trained::Reasoner, TraceOrigin::Posterior);
    check("grpo", Trained::Reasoner, TraceOrigin::Reasoner);
    check("posterior-behaviour", Trained::Reasoner, TraceOrigin::Posterior);
}

/// Three questions of accuracy 0.1, 0.5, 0.9: who receives the gradient.
#[test]
fn the_bias_towards_easy_questions() {
    let share = |name: &str| {
        let share = gradient_share(&Objective::from_name(name).unwrap(), &[0.1, 0.5, 0.9]).unwrap();
        [share.hard, share.medium, share.easy]
    };
    let near =
        |got: [f64; 3], expected: [f64; 3]| got.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12);
    assert!(near(share("multi-trace"), [1.0 / 3.0; 3]));
    assert!(near(share("rft"), [0.1 / 1.5, 0.5 / 1.5, 0.9 / 1.5]));
    assert!(near(share("grpo"), [1.0 / 13.0, 3.0 / 13.0, 9.0 / 13.0]));
    assert!(near(share("debiased-reward"), share("multi-trace")));
    let curve = weight_curve(&Objective::Grpo, 4);
    assert_eq!((curve[0], curve[2], curve[4]), ((0.0, 0.0), (0.5, 1.0), (1.0, 0.0)));
    assert!(
        gradient_share(&Objective::Grpo, &[1.5]).is_err()
            && gradient_share(&Objective::Grpo, &[f64::NAN]).is_err()
    );
    // Strata hold their lower ends.
    let strata =
        gradient_share(&Objective::Sft, &[0.0, 0.33, 1.0 / 3.0, 0.66, 2.0 / 3.0, 1.0, 1.0, 1.0]).unwrap();
    assert_eq!((strata.hard, strata.medium, strata.easy), (0.25, 0.25, 0.5));
    assert_eq!(
        gradient_share(&Objective::Rft, &[]).unwrap(),
        latrace_objective::diagnostics::GradientShare::default()
    );
    for objective in Objective::ALL.into_iter().filter(|objective| *objective != Objective::Sft) {
        assert_eq!(objective.question_weight(0.0), 0.0, "{}", objective.name());
    }
}

/// Section 6's column, at accuracy 1/5.
#[test]
fn weights_per_question_are_those_of_the_table() {
    let check = |names: &[&str], expected: f64| {
        for name in names {
            assert_near(Objective::from_name(name).unwrap().question_weight(0.2), expected, 1e-15);
        }
    };
    check(
        &["sft", "forward-kl", "multi-trace", "elbo-single", "iwae-phi", "reverse-kl", "verifree", "maxrl"],
        1.0,
    );
    check(&["rft", "binary-reward", "posterior-behaviour"], 0.2);
    check(&["grpo"], 0.5);
    let rewards = latrace_objective::objectives::Rewards { alpha: 3.0, beta: 1.0, gamma: -5.0 };
    assert_near(Objective::FormatReward(rewards).question_weight(0.2), 0.4, 1e-15);
    assert_near(Objective::DebiasedReward(rewards).question_weight(0.2), 2.0, 1e-15);
}

#[test]
fn grpo_weights_of_finite_groups() {
    use latrace_objective::objectives::grpo::finite_group_weight;
    // N = 2: one right and one wrong, chance 2p(1−p), sqrt(1·1)/2 each.
    assert_near(finite_group_weight(0.2, 2), 0.2, 1e-15);
    // N = 3: 3p(1−p)² + 3p²(1−p), sqrt 2 / 3 each.
    assert_near(
        finite_group_weight(0.2, 3),
        (3.0 * 0.2 * 0.64 + 3.0 * 0.04 * 0.8) * 2.0_f64.sqrt() / 3.0 / 0.8,
        1e-15,
    );
    for accuracy in [0.02, 0.5, 0.97] {
        let limit = Objective::Grpo.question_weight(accuracy);
        // The gap shrinks as 1/N, also beyond where binomials fit an integer.
        let gap = |rollouts: usize| 1.0 - finite_group_weight(accuracy, rollouts) / limit;
        assert!(
            gap(64) > 0.0 && gap(6_400) < gap(64) / 50.0 && gap(6_400).abs() < 0.01,
            "{accuracy}: {} {}",
            gap(64),
            gap(6_400)
        );
    }
    assert_eq!([0.0, 1.0].map(|accuracy| finite_group_weight(accuracy, 8)), [0.0; 2]);
}

/// 30,000 tokens at log-ratios of ±0.5 nats: sums of ±15,000, exponentials of which no f64 holds.
#[test]
fn long_traces_neither_overflow_nor_vanish() {
    let tokens = 30_000;
    let score = |log_ratio: f64| {
        TraceScore::from_tokens(&vec![-1.0 + log_ratio; tokens], &vec![-1.0; tokens]).unwrap()
    };
    let score_k = [score(0.5), score(-0.5), score(0.5 - 1e-5), score(0.0)];
    for ratio in RatioEstimator::ALL {
        let log_ratio_k: Vec<f64> = score_k.iter().map(|score| ratio.log_ratio(score)).collect();
        let log_answer_k = [0.25_f64.ln(), 0.0, 0.5_f64.ln(), ZERO];
        for weighting in Weighting::ALL {
            let (weight_k, summary) = weighting.weights(&log_ratio_k, &log_answer_k).unwrap();
            assert!(
                weight_k.iter().all(|weight| weight.is_finite())
                    && summary.entropy.is_finite()
                    && summary.log_mean.is_finite()
            );
        }
        let points = iwae_bounds(&log_ratio_k, &SubsetPlan::default()).unwrap();
        assert!(
            points.iter().all(|point| point.value.is_finite() && point.standard_error.unwrap().is_finite()),
            "{points:?}"
        );
        let verdicts = [Correct; 4];
        for objective in Objective::ALL {
            let group = Group::new(4).unwrap().with_verdicts(&verdicts).unwrap();
            match objective
                .weights(&group.with_log_ratio(&log_ratio_k).unwrap().with_log_answer(&log_answer_k).unwrap())
            {
                Ok(weights) => {
                    assert!(weights.trace_k.iter().all(|weight| weight.is_finite()), "{}", objective.name())
                }
                Err(error) => assert!(
                    objective == Objective::PosteriorBehaviour && ratio == RatioEstimator::Full,
                    "{error}"
                ),
            }
        }
    }
    // The full ratio of the first and third differ by 0.3 nats: rho is 0.25 against 0.5 e^{-0.3}.
    let log_rho =
        |k: usize, answer: f64| weights::log_rho(RatioEstimator::Full.log_ratio(&score_k[k]), answer.ln());
    let (weight_k, _) = weights::normalise(&[log_rho(0, 0.25), log_rho(1, 1.0), log_rho(2, 0.5)]).unwrap();
    let third = 0.5 * (-0.3_f64).exp();
    // Adding 30,000 numbers to sums of 15,000 rounds by up to 30,000 × 1e-12.
    assert_near(weight_k[0], 0.25 / (0.25 + third), 3e-8);
    assert_eq!(weight_k[1], 0.0);
}

#[test]
fn selection_keeps_order_and_drops_long_traces() {
    let select = |selection: Selection, log_rho_k: &[f64]| {
        let picks = selection.select(log_rho_k, &mut Rng::new(1)).unwrap();
        picks.into_iter().map(|pick| pick.trace).collect::<Vec<_>>()
    };
    assert_eq!(select(Selection::Best, &[-1.0, 2.0, 2.0]), [1]);
    assert_eq!(select(Selection::Best, &[ZERO, ZERO]), [0; 0]);
    assert_eq!(select(Selection::Weighted, &[-1.0, ZERO, 2.0]), [0, 2]);
    assert!(Selection::Best.select(&[f64::NAN], &mut Rng::new(1)).is_err());
    for none in [Selection::ResampleMultinomial(0), Selection::ResampleSystematic(0)] {
        assert!(none.select(&[0.0], &mut Rng::new(1)).is_err());
    }
    let mut log_rho_k = [1.0, 2.0, 3.0];
    assert_eq!(drop_long_traces(&mut log_rho_k, &[27_999, 28_000, 28_001], 28_000).unwrap(), 2);
    assert_eq!(log_rho_k, [1.0, ZERO, ZERO]);
    assert!(drop_long_traces(&mut log_rho_k, &[1], 2).is_err());
}

#[test]
fn fallbacks() {
    let check = |fallback: Fallback, main: &[f64], gml: &[f64], expected: Resolution| {
        assert_eq!(fallback.resolve(main, gml), expected, "{fallback:?} {main:?} {gml:?}");
    };
    for fallback in Fallback::ALL {
        check(fallback, &[ZERO, -1.0], &[], Resolution::Main);
    }
    check(Fallback::OriginalRow, &[ZERO], &[-1.0], Resolution::OriginalRow);
    check(Fallback::Skip, &[ZERO], &[-1.0], Resolution::Skipped);
    check(Fallback::GeometricLikelihood, &[ZERO], &[-1.0], Resolution::GeometricLikelihood);
    check(Fallback::GeometricLikelihood, &[ZERO], &[ZERO], Resolution::OriginalRow);
    let mut counts = latrace_objective::fallback::FallbackCounts::default();
    for resolution in [Resolution::Main, Resolution::Skipped, Resolution::OriginalRow, Resolution::Main] {
        counts.add(resolution);
    }
    assert_eq!(
        (counts.main, counts.skipped, counts.original_row, counts.without_usable_trace()),
        (2, 1, 1, 0.5)
    );
    assert_eq!(latrace_objective::fallback::FallbackCounts::default().without_usable_trace(), 0.0);
    counts.add(Resolution::GeometricLikelihood);
    assert_eq!((counts.geometric_likelihood, counts.without_usable_trace()), (1, 0.6));
    assert_eq!(latrace_objective::Provenance::Original.code(), -2);
}

#[test]
fn answers_are_chosen_among_the_correct() {
    let verdicts = [Wrong, Correct, Undetermined, Correct, Malformed];
    let never = || -> Rng { panic!("only `one` draws") };
    assert_eq!(AnswerChoice::First.shares(&verdicts, never), [0.0, 1.0, 0.0, 0.0, 0.0]);
    assert_eq!(AnswerChoice::All.shares(&verdicts, never), [0.0, 0.5, 0.0, 0.5, 0.0]);
    let drawn = |seed: u64| AnswerChoice::One.shares(&verdicts, || Rng::new(seed));
    let (earlier, later) = ([0.0, 1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0, 0.0]);
    let laters = (0..200).filter(|&seed| drawn(seed) == later).count();
    let earliers = (0..200).filter(|&seed| drawn(seed) == earlier).count();
    // Four standard deviations of Binomial(200, 1/2) are 28.
    assert!(earliers + laters == 200 && (72..=128).contains(&laters), "{earliers} {laters}");
    for choice in AnswerChoice::ALL {
        assert_eq!(choice.shares(&[Wrong, Malformed], || Rng::new(0)), [0.0, 0.0]);
        assert_eq!(choice.shares(&[Wrong, Correct], || Rng::new(0)), [0.0, 1.0]);
        assert_eq!(choice.shares(&[], || Rng::new(0)), [0.0; 0]);
    }
}

#[test]
fn chosen_traces_share_their_weight_among_their_correct_answers() {
    let verdicts = [Correct, Wrong, Correct, Correct, Wrong, Wrong];
    let group = Group::new(3).unwrap().with_verdicts(&verdicts).unwrap();
    let weigh = |chosen_k: &[f64], answers: AnswerChoice| {
        chosen_weights(&group, chosen_k, answers, |k| Rng::at(3, &[k as u64])).unwrap()
    };
    let all = weigh(&[0.25, 0.5, 0.25], AnswerChoice::All);
    assert_eq!(all.trace_k, [0.25, 0.5, 0.25]);
    assert_eq!(all.answer_km, [0.25, 0.0, 0.25, 0.25, 0.0, 0.0]);
    // The third has no answer to go with; one that was not chosen misses none.
    assert_eq!((all.without_answer, all.outcome), (1, GroupOutcome::Weighted));
    let first = weigh(&[0.0, 1.0, 0.0], AnswerChoice::First);
    assert_eq!((first.answer_km, first.without_answer), (vec![0.0, 0.0, 1.0, 0.0, 0.0, 0.0], 0));
    assert_eq!(weigh(&[0.0; 3], AnswerChoice::All).outcome, GroupOutcome::AllZero);
    let single = Group::new(1).unwrap().with_verdicts(&verdicts[2..4]).unwrap();
    let single = chosen_weights(&single, &[1.0], AnswerChoice::First, |_| Rng::new(0)).unwrap();
    assert_eq!((single.outcome, single.answer_km), (GroupOutcome::SingleTrace, vec![1.0, 0.0]));
}

/// The one answer of a trace depends on that trace's stream alone: not on K, nor on its place in the group.
#[test]
fn the_one_answer_of_a_trace_is_drawn_from_its_own_stream() {
    let verdicts = [Correct; 16];
    let group = Group::new(4).unwrap().with_verdicts(&verdicts).unwrap();
    let drawn_k = |samples: &[u64]| -> Vec<usize> {
        let group = if samples.len() == 4 {
            group
        } else {
            Group::new(2).unwrap().with_verdicts(&verdicts[..8]).unwrap()
        };
        let share_k = vec![0.5; samples.len()];
        let got = chosen_weights(&group, &share_k, AnswerChoice::One, |k| Rng::at(7, &[samples[k]])).unwrap();
        let of_trace = |answer_m: &[f64]| {
            assert_eq!(answer_m.iter().sum::<f64>(), 0.5);
            answer_m.iter().position(|&weight| weight == 0.5).unwrap()
        };
        got.answer_km.chunks(4).map(of_trace).collect()
    };
    let expected = |samples: &[u64]| -> Vec<usize> {
        samples.iter().map(|&sample| Rng::at(7, &[sample]).below(4)).collect()
    };
    for samples in [&[0, 1, 2, 3][..], &[9, 2, 5, 0], &[3, 1]] {
        assert_eq!(drawn_k(samples), expected(samples), "{samples:?}");
    }
    assert!(expected(&[0, 1, 2, 3, 4, 5, 6, 7]).iter().collect::<HashSet<_>>().len() > 1);
}

#[test]
fn chosen_weights_refuse_what_does_not_fit() {
    let bare = Group::new(2).unwrap();
    let group = bare.with_verdicts(&[Correct; 2]).unwrap();
    let refused = |group: &Group<'_>, chosen_k: &[f64]| {
        chosen_weights(group, chosen_k, AnswerChoice::All, |_| Rng::new(0)).unwrap_err().to_string()
    };
    assert_eq!(refused(&bare, &[0.5; 2]), "multi-trace: needs verdicts, which the group does not hold");
    assert_eq!(refused(&group, &[0.5; 3]), "multi-trace: expected 2 values, got 3");
    assert_eq!(refused(&group, &[0.5, f64::NAN]), "multi-trace: expected a finite share, got NaN at index 1");
    assert_eq!(
        refused(&group, &[f64::INFINITY, 0.5]),
        "multi-trace: expected a finite share, got inf at index 0"
    );
}

/// (6) is the case in which every trace is chosen with its rho~; `weighted` selection leaves it as it is.
#[test]
fn every_trace_chosen_with_rho_tilde_is_equation_6() {
    let verdicts = [Correct, Wrong, Correct, Correct, Correct, Wrong, Wrong, Correct, Correct];
    let (ratio, answer) = ([0.3, -1.2, 0.8], [-0.5, -0.2, -2.0]);
    let log_rho_k: Vec<f64> = ratio.iter().zip(&answer).map(|(a, b)| a + b).collect();
    let mut chosen_k = [0.0; 3];
    for pick in Selection::Weighted.select(&log_rho_k, &mut Rng::new(0)).unwrap() {
        chosen_k[pick.trace] = pick.weight;
    }
    let group = Group::new(3).unwrap().with_verdicts(&verdicts).unwrap();
    let chosen = chosen_weights(&group, &chosen_k, AnswerChoice::All, |_| Rng::new(0)).unwrap();
    assert_eq!(chosen, weights_of(Objective::MultiTrace(Weighting::Rho), &verdicts, &ratio, &answer));
}

#[test]
fn the_error_of_the_whole_bound_is_that_of_a_log_of_a_mean() {
    // rho of 1 and 3: a mean of 2 whose standard error is 1, so that its logarithm's is a half.
    let points = iwae_bounds(&[0.0, 3.0_f64.ln()], &SubsetPlan::default()).unwrap();
    assert_near(points[1].error().unwrap(), 0.5, 1e-15);
}

#[test]
fn diagnostics_done_by_hand() {
    // Ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4.
    let correlation = rank_correlation(&[1.0, 2.0, 2.0, 9.0], &[1.0, 2.0, 3.0, 4.0]).unwrap().unwrap();
    assert_near(correlation, 4.5 / (4.5_f64 * 5.0).sqrt(), 1e-15);
    assert_eq!(rank_correlation(&[1.0, 1.0], &[1.0, 2.0]).unwrap(), None);
    assert!(rank_correlation(&[f64::NAN], &[1.0]).is_err() && rank_correlation(&[1.0], &[]).is_err());
    let traces: [&[u32]; 3] = [&[1, 2, 3], &[1, 2, 3], &[4]];
    assert_eq!(distinct_n(&traces, 2), Some(0.5));
    assert_eq!(mean_pairwise_overlap(&traces, 1), Some(1.0 / 3.0));
    assert_eq!(mean_pairwise_overlap(&traces, 2), Some(1.0));
    assert_eq!((distinct_n(&traces, 9), distinct_n(&traces, 0)), (None, None));
    assert_eq!((mean_pairwise_overlap(&traces, 3), mean_pairwise_overlap(&traces, 0)), (Some(1.0), None));
}

#[test]
fn draws_are_a_function_of_seed_and_path() {
    // SplitMix64 from key 0 is the published sequence; here the key is hashed first, so only relations are
    // fixed.
    let first = |seed, path: &[u64]| Rng::at(seed, path).next_u64();
    assert_eq!(first(1, &[2, 3]), first(1, &[2, 3]));
    let all = [
        first(1, &[2, 3]),
        first(1, &[3, 2]),
        first(2, &[2, 3]),
        first(1, &[2]),
        first(1, &[2, 3, 0]),
        first(1, &[]),
    ];
    let distinct: HashSet<_> = all.into_iter().collect();
    assert_eq!(distinct.len(), all.len());
    let mut rng = Rng::new(3);
    let mean = (0..10_000).map(|_| rng.uniform()).sum::<f64>() / 10_000.0;
    assert_near(mean, 0.5, 3.0 * (1.0_f64 / 12.0 / 10_000.0).sqrt());
    let mut counts = [0_u32; 7];
    (0..7_000).for_each(|_| counts[rng.below(7)] += 1);
    assert!(counts.iter().all(|count| (905..1_095).contains(count)), "{counts:?}");
    assert_eq!((rng.below(0), rng.weighted(&[0.0]), rng.weighted(&[0.0, 2.0])), (0, None, Some(1)));
}

#[test]
fn verdicts_keep_format_apart_from_correctness() {
    let check = |verdict: Verdict, correct: bool, formatted: bool| {
        assert_eq!((verdict.is_correct(), verdict.is_formatted()), (correct, formatted), "{verdict:?}");
    };
    check(Correct, true, true);
    check(Wrong, false, true);
    check(Undetermined, false, true);
    check(Malformed, false, false);
}

#[test]
fn reverse_kl_subtracts_the_mean_of_the_others() {
    let weigh = |ratio: &[f64]| weights_of(Objective::ReverseKl, &[], ratio, &vec![0.0; ratio.len()]);
    assert_eq!(weigh(&[1.0, 2.0, 6.0]).trace_k, [-3.0 / 3.0, -1.5 / 3.0, 4.5 / 3.0]);
    let equal = weigh(&[0.1; 3]);
    assert_eq!((equal.trace_k, equal.outcome), (vec![0.0; 3], GroupOutcome::NoContrast));
    let single = weigh(&[0.1]);
    assert_eq!((single.trace_k, single.outcome), (vec![0.1], GroupOutcome::Weighted));
}

#[test]
fn the_elbo_and_the_bound_of_one_trace_state_the_same_error() {
    let (ratio, answer) = ([0.3, -1.2, 0.8, -0.1], [-0.5, -0.2, -2.0, -1.0]);
    let log_rho_k: Vec<f64> = ratio.iter().zip(&answer).map(|(a, b)| a + b).collect();
    let (elbo, point) =
        (elbo(&ratio, &answer).unwrap(), iwae_bounds(&log_rho_k, &SubsetPlan::default()).unwrap()[0]);
    assert_near(elbo.value, point.value, 1e-15);
    assert_near(elbo.value, elbo.reconstruction - elbo.divergence, 1e-15);
    assert_near(elbo.standard_error.unwrap(), point.standard_error.unwrap(), 1e-15);
}

#[test]
fn shuffles_and_large_ranges_are_uniform() {
    let mut counts = std::collections::HashMap::new();
    for seed in 0..6_000 {
        let mut items = [0, 1, 2];
        Rng::new(seed).shuffle(&mut items);
        *counts.entry(items).or_insert(0_u32) += 1;
    }
    // Three standard deviations of Binomial(6000, 1/6) are 87.
    assert!(counts.len() == 6 && counts.values().all(|count| (913..=1_087).contains(count)), "{counts:?}");
    // A third of this range is below 2^62; taking remainders without rejection would make it a half.
    let mut rng = Rng::new(1);
    let low = (0..3_000).filter(|_| rng.below(3 << 62) < 1 << 62).count();
    assert!((923..=1_077).contains(&low), "{low}");
}

#[test]
fn length_bias_shows_under_the_sum_and_not_under_the_mean() {
    use latrace_objective::diagnostics::{answer_length_bias, trace_length_bias};
    let mut rng = Rng::new(1);
    let score_k: Vec<TraceScore> = (0..300)
        .map(|_| {
            let tokens = 10 + rng.below(500);
            let log_ratio_t: Vec<f64> = (0..tokens).map(|_| -rng.uniform()).collect();
            TraceScore::from_tokens(&log_ratio_t, &vec![0.0; tokens]).unwrap()
        })
        .collect();
    let bias = trace_length_bias(&score_k).unwrap();
    assert!(bias.summed.unwrap() < -0.95 && bias.mean.unwrap().abs() < 0.2, "{bias:?}");
    let answer_k: Vec<AnswerScore> =
        score_k.iter().map(|score| AnswerScore { logp_sum: score.logp_sum, tokens: score.tokens }).collect();
    assert_eq!(answer_length_bias(&answer_k).unwrap(), bias);
}

#[test]
fn sums_of_exponentials() {
    use latrace_objective::log_space::{log_mean_exp, log_sum_exp};
    let check = |values: &[f64], sum: f64, mean: f64| {
        let (got_sum, got_mean) = (log_sum_exp(values), log_mean_exp(values));
        assert!(got_sum == sum || (got_sum - sum).abs() < 1e-12, "{got_sum} {sum}");
        assert!(got_mean == mean || (got_mean - mean).abs() < 1e-12, "{got_mean} {mean}");
    };
    check(&[0.0, 3.0_f64.ln()], 4.0_f64.ln(), 2.0_f64.ln());
    check(&[9_000.0, 9_000.0], 9_000.0 + 2.0_f64.ln(), 9_000.0);
    check(&[ZERO, -9_000.0], -9_000.0, -9_000.0 - 2.0_f64.ln());
    check(&[ZERO], ZERO, ZERO);
    check(&[], ZERO, ZERO);
}

#[test]
fn rows_without_answers_train_on_traces_alone() {
    let weights = Objective::Sft.weights(&Group::new(2).unwrap()).unwrap();
    assert_eq!((weights.trace_k, weights.answer_km), (vec![0.5, 0.5], vec![]));
    // A trace that rho already dropped misses no answer term.
    let multi = weights_of(
        Objective::from_name("multi-trace").unwrap(),
        &[Wrong, Correct],
        &[0.0, 0.0],
        &[ZERO, 0.0],
    );
    assert_eq!((multi.without_answer, multi.trace_k), (0, vec![0.0, 1.0]));
}
