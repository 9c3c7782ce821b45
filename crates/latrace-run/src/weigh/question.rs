//! One question: computes the weights, selection and bounds from the evidence on its traces.

use std::collections::HashMap;

use anyhow::{Context, Result, bail};
use latrace_core::random::stream;
use latrace_objective::answer::reference_and_rest;
use latrace_objective::bounds::{IwaePoint, iwae_bounds};
use latrace_objective::selection::drop_long_traces;
use latrace_objective::weights::{log_rho, normalise};
use latrace_objective::{
    AnswerEstimator, AnswerEvidence, Fallback, GroupSummary, RatioEstimator, Resolution, Rng, Selection,
    SubsetPlan, TraceScore,
};
use serde_json::Value;

use super::{WeighConfig, WeighedTrace};
use latrace_io::failure::Failure;

/// The evidence on a trace.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// The question.
    pub id: Value,
    /// The trace's number.
    pub sample: u64,
    /// log pi and log q of the trace.
    pub score: TraceScore,
    /// Whether the trace has an end. Without one no answer follows it, and it counts as rho = 0 in bounds.
    pub ended: bool,
    /// The evidence on answers after it.
    pub answer: AnswerEvidence,
}

/// A question's traces.
#[derive(Clone, Debug)]
pub struct TraceGroup {
    /// The question.
    pub id: Value,
    /// The finished ones.
    pub traces: Vec<Evidence>,
    /// Number of unfinished ones without scores. No answer follows them, so their rho is 0; they get no weight
    /// but count in the bounds.
    pub unended: usize,
    /// Whether nothing can judge its answers: then its sampled answers are no evidence.
    pub unverified: bool,
    /// Its fallback, if its kind has its own.
    pub fallback: Option<Fallback>,
}

/// A weighed question.
pub(super) struct Question {
    pub traces: Vec<WeighedTrace>,
    /// log pi and log q of its traces.
    pub scores: Vec<TraceScore>,
    pub too_long: usize,
    /// Traces whose ratio is at its bound.
    pub clipped: usize,
    pub weights: GroupSummary,
    pub distinct: Distinct,
    pub resolution: Resolution,
    /// L^1 … L^K, bounds if its traces and answers were drawn from the scored distributions.
    pub bound: std::result::Result<Vec<IwaePoint>, Lacking>,
    /// Whether sampled answers after its traces are known.
    pub has_answers: bool,
    /// `None` if its answers have no verdicts.
    pub surrogates: Option<QuestionSurrogates>,
}

/// The traces of a question that differ. Equal ones count once, with the sum of their weights.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Distinct {
    /// How many there are.
    pub traces: usize,
    /// Their effective sample size.
    pub effective_sample_size: f64,
}

impl Distinct {
    /// Equal traces have equal log-probs under both models; that two others have is next to impossible.
    fn of(scores: &[TraceScore], weight_k: &[f64]) -> Distinct {
        let mut summed: HashMap<[u64; 3], f64> = HashMap::new();
        for (score, weight) in scores.iter().zip(weight_k) {
            let same = [score.logp_sum.to_bits(), score.logq_sum.to_bits(), score.tokens as u64];
            *summed.entry(same).or_default() += weight;
        }
        let (sum, squares) = (summed.values().sum::<f64>(), summed.values().map(|w| w * w).sum::<f64>());
        let effective_sample_size = if squares > 0.0 { sum * sum / squares } else { 0.0 };
        Distinct { traces: summed.len(), effective_sample_size }
    }
}

/// What a bound lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lacking {
    /// log pi of the reference answer after a trace.
    Reference,
    /// Which sampled answers are the reference answer.
    Marks,
}

/// L^1 … L^K of a question with the answer probability of the weights, which bounds nothing.
pub(super) struct QuestionSurrogates {
    /// With the true ratio.
    pub true_ratio: Vec<IwaePoint>,
    /// With the ratio used for the weights, or the geometric one if that is the true one.
    pub surrogate: Vec<IwaePoint>,
    /// Whether any trace has an answer probability above zero.
    pub any_correct: bool,
}

/// Weighs the traces of one question.
pub(super) fn weigh_question(
    TraceGroup { id, traces: mut group, unended, unverified, fallback }: TraceGroup,
    config: &WeighConfig,
) -> Result<Question> {
    let config = &WeighConfig { fallback: fallback.unwrap_or(config.fallback), ..*config };
    if group.is_empty() {
        return without_traces(unended, config);
    }
    // By number, so that sums and draws do not depend on the order of the rows in the file.
    group.sort_by_key(|trace| trace.sample);
    check_samples(&group)?;
    let id = id.to_string();
    let named = || format!("id {id}");
    let ratio = config.bounded_ratio();
    let tokens_k: Vec<usize> = group.iter().map(|trace| trace.score.tokens).collect();
    let mut log_ratio_k: Vec<f64> = group.iter().map(|trace| ratio.log_ratio(&trace.score)).collect();
    let too_long = drop_long_traces(&mut log_ratio_k, &tokens_k, config.length_limit)?;
    let main_k = main_answers(&group, unverified, config).with_context(named)?;
    drop_poor_traces(&mut log_ratio_k, main_k.as_deref(), config);
    let fallback_k = fallback_answers(&group, config).with_context(named)?;
    let log_weights = |log_answer_k: &[f64]| -> Vec<f64> {
        log_ratio_k
            .iter()
            .zip(log_answer_k)
            .map(|(&log_ratio, &log_answer)| config.weighting.log_weight(log_ratio, log_answer))
            .collect()
    };
    let bound = question_bound(&group, unended, &id, config)?;
    let has_answers = group.iter().any(|trace| trace.answer.rest.is_some());
    // Without verdicts the answer probability of the weights is unknown.
    let surrogates = main_k
        .as_deref()
        .map(|_| question_surrogates(&group, unended, &id, config))
        .transpose()
        .with_context(named)?;
    // Minus infinity for every trace makes the question take its fallback below.
    let main_k = main_k.unwrap_or_else(|| vec![f64::NEG_INFINITY; group.len()]);
    let resolution = config.fallback.resolve(&log_weights(&main_k), &log_weights(&fallback_k));
    let log_answer_k = if resolution == Resolution::GeometricLikelihood { fallback_k } else { main_k };
    let (weight_k, weights) = config.weighting.weights(&log_ratio_k, &log_answer_k).with_context(named)?;
    let chosen_k = choose(&log_weights(&log_answer_k), &weight_k, &id, config)?;
    let scores: Vec<TraceScore> = group.iter().map(|trace| trace.score).collect();
    let distinct = Distinct::of(&scores, &weight_k);
    let clipped = scores.iter().filter(|score| ratio.clips(score)).count();
    let traces = group.into_iter().enumerate().map(|(k, trace)| WeighedTrace {
        id: trace.id,
        sample: trace.sample,
        tokens: tokens_k[k],
        log_ratio: log_ratio_k[k],
        log_answer: log_answer_k[k],
        weight: weight_k[k],
        chosen: chosen_k[k],
        resolution,
    });
    Ok(Question {
        traces: traces.collect(),
        scores,
        too_long,
        clipped,
        weights,
        distinct,
        resolution,
        bound,
        has_answers,
        surrogates,
    })
}

/// A question without a finished trace.
fn without_traces(unended: usize, config: &WeighConfig) -> Result<Question> {
    // rho = 0 for every trace, so every L^k is minus infinity; the question still counts in the bounds.
    let zeros = vec![f64::NEG_INFINITY; unended];
    let points = iwae_bounds(&zeros, &SubsetPlan::default())?;
    let (_, weights) = normalise(&zeros)?;
    let surrogates =
        QuestionSurrogates { true_ratio: points.clone(), surrogate: points.clone(), any_correct: false };
    let resolution = config.fallback.resolve(&[], &[]);
    Ok(Question {
        traces: Vec::new(),
        scores: Vec::new(),
        too_long: 0,
        clipped: 0,
        weights,
        distinct: Distinct::default(),
        resolution,
        bound: Ok(points),
        has_answers: false,
        surrogates: Some(surrogates),
    })
}

/// Drops traces below the floor of the ratio, and all of them if the best does not reach that of the question.
fn drop_poor_traces(log_ratio_k: &mut [f64], main_k: Option<&[f64]>, config: &WeighConfig) {
    for log_ratio in log_ratio_k.iter_mut().filter(|log_ratio| **log_ratio < config.min_log_ratio) {
        *log_ratio = f64::NEG_INFINITY;
    }
    // Without verdicts, there is no rho to be above or below it.
    let Some(main_k) = main_k else { return };
    let log_rho_k = log_ratio_k.iter().zip(main_k).map(|(&ratio, &answer)| log_rho(ratio, answer));
    if log_rho_k.fold(f64::NEG_INFINITY, f64::max) < config.min_best {
        log_ratio_k.fill(f64::NEG_INFINITY);
    }
}

fn check_samples(group: &[Evidence]) -> Result<()> {
    match group.windows(2).find(|pair| pair[0].sample == pair[1].sample) {
        Some(pair) => bail!(Failure::work(format!(
            "id {}, sample {} appears twice among the traces",
            pair[0].id, pair[0].sample
        ))),
        None => Ok(()),
    }
}

/// Log answer probabilities of the configured estimator; `None` if there is no verifier that it could use.
fn main_answers(group: &[Evidence], unverified: bool, config: &WeighConfig) -> Result<Option<Vec<f64>>> {
    let by_verdicts = config.answer == AnswerEstimator::Accuracy;
    let has_references =
        group.iter().all(|trace| trace.answer.accuracy.is_none() && trace.answer.reference.is_some());
    let is_unverified = unverified || (config.fallback == Fallback::GeometricLikelihood && has_references);
    if by_verdicts && is_unverified { Ok(None) } else { answers(group, config.answer).map(Some) }
}

/// Log answer probabilities of the fallback; empty if it needs none, or the question has no reference.
fn fallback_answers(group: &[Evidence], config: &WeighConfig) -> Result<Vec<f64>> {
    let has_none = group.iter().all(|trace| trace.answer.reference.is_none());
    if config.fallback != Fallback::GeometricLikelihood || has_none {
        Ok(Vec::new())
    } else {
        answers(group, AnswerEstimator::GeometricLikelihood)
    }
}

fn answers(group: &[Evidence], estimator: AnswerEstimator) -> Result<Vec<f64>> {
    let log_probability = |trace: &Evidence| {
        estimator.log_probability(&trace.answer).with_context(|| format!("sample {}", trace.sample))
    };
    group.iter().map(log_probability).collect()
}

/// The share of each trace among the chosen ones.
fn choose(log_weight_k: &[f64], weight_k: &[f64], id: &str, config: &WeighConfig) -> Result<Vec<f64>> {
    if config.selection == Selection::Weighted {
        // Handled apart because leave-one-out weights may be negative, which log-weights cannot represent.
        return Ok(weight_k.to_vec());
    }
    let mut rng = Rng::new(stream(config.seed, "selection", id, 0));
    let mut chosen_k = vec![0.0; weight_k.len()];
    let picks = config.selection.with_draws(config.draws).select(log_weight_k, &mut rng)?;
    picks.iter().for_each(|pick| chosen_k[pick.trace] += pick.weight);
    Ok(chosen_k)
}

/// L^1 … L^K with the full ratio, the likelihood of the reference answer, and the share of sampled answers
/// that are correct and not it.
fn question_bound(
    group: &[Evidence],
    unended: usize,
    id: &str,
    config: &WeighConfig,
) -> Result<std::result::Result<Vec<IwaePoint>, Lacking>> {
    match group.iter().map(bound_answer).collect::<std::result::Result<Vec<f64>, Lacking>>() {
        Ok(log_answer_k) => points(group, unended, RatioEstimator::Full, &log_answer_k, id, config).map(Ok),
        Err(lacking) => Ok(Err(lacking)),
    }
}

/// The log answer probability of a trace in the bound.
fn bound_answer(trace: &Evidence) -> std::result::Result<f64, Lacking> {
    if !trace.ended {
        return Ok(f64::NEG_INFINITY);
    }
    let AnswerEvidence { accuracy, reference, rest } = &trace.answer;
    let reference = reference.as_ref().ok_or(Lacking::Reference)?;
    match (accuracy, rest) {
        (Some(_), None) => Err(Lacking::Marks),
        (_, rest) => Ok(reference_and_rest::log_probability(reference, rest.as_ref())),
    }
}

fn question_surrogates(
    group: &[Evidence],
    unended: usize,
    id: &str,
    config: &WeighConfig,
) -> Result<QuestionSurrogates> {
    let of = |ratio: RatioEstimator, answer: AnswerEstimator| {
        points(group, unended, ratio, &answers(group, answer)?, id, config)
    };
    Ok(QuestionSurrogates {
        true_ratio: of(RatioEstimator::Full, config.unbiased_answer())?,
        surrogate: of(config.surrogate_ratio(), config.answer)?,
        any_correct: answers(group, config.answer)?.iter().any(|&log_answer| log_answer > f64::NEG_INFINITY),
    })
}

/// L^1 … L^K over every trace that q sampled, overlong and unfinished ones too: dropping any would bias them.
fn points(
    group: &[Evidence],
    unended: usize,
    ratio: RatioEstimator,
    log_answer_k: &[f64],
    id: &str,
    config: &WeighConfig,
) -> Result<Vec<IwaePoint>> {
    let plan = SubsetPlan { seed: stream(config.seed, "subsets", id, 0), ..SubsetPlan::default() };
    let rho = |(trace, &log_answer): (&Evidence, &f64)| log_rho(ratio.log_ratio(&trace.score), log_answer);
    let scored = group.iter().zip(log_answer_k).map(rho);
    let log_rho_k: Vec<f64> = scored.chain(std::iter::repeat_n(f64::NEG_INFINITY, unended)).collect();
    Ok(iwae_bounds(&log_rho_k, &plan)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weigh::{Distribution, Drawn, NoBound, WeighSummary, weigh_groups};
    use latrace_core::SamplingParams;
    use latrace_objective::{AnswerAccuracy, AnswerScore, JudgedAnswer, SampledRest, Verdict};
    use serde_json::json;

    /// A trace of log ratio -1, with two answers: one correct and not the reference answer, which has
    /// probability 0.1, one wrong.
    fn evidence(sample: u64) -> Evidence {
        let verdicts = [Verdict::Correct, Verdict::Wrong];
        let judged = |verdict| JudgedAnswer { verdict, is_reference: false };
        let answer = AnswerEvidence {
            accuracy: Some(AnswerAccuracy::from_verdicts(&verdicts).unwrap()),
            reference: Some(AnswerScore { logp_sum: 0.1_f64.ln(), tokens: 1 }),
            rest: Some(SampledRest::from_answers(&verdicts.map(judged)).unwrap()),
        };
        let score = TraceScore::from_tokens(&[-1.0, -2.0], &[-1.0, -1.0]).unwrap();
        Evidence { id: json!("q"), sample, score, ended: true, answer }
    }

    fn group(traces: usize, unended: usize) -> TraceGroup {
        let traces = (0..traces as u64).map(evidence).collect();
        TraceGroup { id: json!("q"), traces, unended, unverified: false, fallback: None }
    }

    fn weigh(group: TraceGroup) -> Question {
        weigh_question(group, &WeighConfig::default()).unwrap()
    }

    fn bound(group: TraceGroup) -> Vec<f64> {
        weigh(group).bound.unwrap().iter().map(|point| point.value).collect()
    }

    fn near(got: f64, expected: f64) -> bool {
        (got - expected).abs() < 1e-12
    }

    #[test]
    fn traces_without_an_end_count_in_the_bounds_and_weigh_nothing() {
        // log rho of each trace with an end; half of four have none.
        let log_rho = -1.0 + 0.6_f64.ln();
        let all = bound(group(2, 2));
        assert_eq!(all.len(), 4);
        assert!(near(all[3], log_rho - 2.0_f64.ln()), "{all:?}");
        assert_eq!(all[1], f64::NEG_INFINITY, "two traces may both be without an end");
        let alone = bound(group(2, 0));
        assert!(near(alone[0], log_rho) && near(alone[1], log_rho), "{alone:?}");
        let weights =
            |question: Question| question.traces.into_iter().map(|trace| trace.weight).collect::<Vec<_>>();
        assert_eq!(weights(weigh(group(2, 2))), weights(weigh(group(2, 0))));
        // The same where they have scores, with log-probs of the reference answer or without.
        let mut scored = group(4, 0);
        scored.traces[1..3].iter_mut().for_each(|trace| trace.ended = false);
        assert_eq!(bound(scored.clone()), all);
        scored.traces[1].answer.reference = None;
        assert_eq!(bound(scored), all);
    }

    #[test]
    fn a_question_none_of_whose_traces_ends_is_counted() {
        let question = weigh(group(0, 3));
        assert_eq!((question.traces.len(), question.resolution), (0, Resolution::OriginalRow));
        assert!(question.bound.unwrap().iter().all(|point| point.value == f64::NEG_INFINITY));
        let summary = summary(vec![group(3, 0), group(0, 3), group(3, 0)], PLAIN);
        let bounds = summary.bounds.unwrap();
        let counts = bounds.of_k.iter().map(|mean| (mean.questions, mean.unbounded, mean.mean));
        assert!(counts.eq([(3, 1, f64::NEG_INFINITY); 3]), "{bounds:?}");
        assert!(bounds.of_k.iter().all(|mean| mean.standard_error.is_none()));
    }

    const PLAIN: &[(&str, f64)] = &[];

    /// How a recipe draws, with changes of the traces' (`traces`) or the answers' temperature.
    fn drawn(changes: &[(&str, f64)]) -> Drawn {
        let of = |name: &str| {
            let change = changes.iter().find(|(known, _)| *known == name);
            let temperature = change.map_or(1.0, |(_, temperature)| *temperature as f32);
            Some(Distribution::from(SamplingParams { temperature, ..SamplingParams::plain(1) }))
        };
        Drawn { traces: of("traces"), answers: of("answers") }
    }

    fn summary(groups: Vec<TraceGroup>, changes: &[(&str, f64)]) -> WeighSummary {
        weigh_groups(groups, &WeighConfig::default(), &drawn(changes)).unwrap().1
    }

    #[track_caller]
    fn check_no_bound(groups: Vec<TraceGroup>, drawn: &Drawn, expected: &str) {
        let (_, summary) = weigh_groups(groups, &WeighConfig::default(), drawn).unwrap();
        let json = summary.to_json();
        assert_eq!(
            (&json["bounds"]["is_bound"], &json["bounds"]["reason"]),
            (&json!(false), &json!(expected))
        );
        assert!(json["bounds"].get("of_k").is_none(), "{json}");
        assert!(!summary.surrogates.of_k.is_empty());
    }

    #[test]
    fn what_was_not_drawn_plainly_is_no_bound() {
        let groups = || vec![group(2, 0)];
        let json = summary(groups(), PLAIN).to_json();
        assert_eq!(
            (&json["bounds"]["is_bound"], &json["surrogates"]["is_bound"]),
            (&json!(true), &json!(false))
        );
        let check = |changes: &[(&str, f64)], expected: &str| {
            check_no_bound(groups(), &drawn(changes), expected);
        };
        check(&[("traces", 0.7)], "the traces were tempered (temperature 0.7)");
        check(&[("answers", 0.5)], "the answers were tempered (temperature 0.5)");
        check(
            &[("traces", 0.0), ("answers", 2.0)],
            "the traces were tempered (temperature 0); the answers were tempered (temperature 2)",
        );
        let not_stated = Drawn { traces: None, ..drawn(PLAIN) };
        check_no_bound(groups(), &not_stated, "the traces do not state how they were sampled (`sampling`)");
    }

    #[test]
    fn a_bound_needs_the_reference_answer_of_every_question() {
        let changed = |change: fn(&mut AnswerEvidence)| {
            let mut lacking = group(2, 0);
            change(&mut lacking.traces[1].answer);
            vec![group(2, 0), lacking, group(2, 1)]
        };
        check_no_bound(
            changed(|answer| answer.reference = None),
            &drawn(PLAIN),
            "1 of 3 questions have no log-probs of a reference answer",
        );
        check_no_bound(
            changed(|answer| answer.rest = None),
            &drawn(PLAIN),
            "the verdicts of 1 of 3 questions do not state which answers are the reference answer \
             (`is_reference`)",
        );
        let (_, summary) = weigh_groups(Vec::new(), &WeighConfig::default(), &drawn(PLAIN)).unwrap();
        assert_eq!(summary.bounds.unwrap_err(), [NoBound::NoTraces]);
    }

    /// K is the smallest number of traces: every question is in every mean.
    #[test]
    fn a_bound_is_over_all_questions() {
        let summary = summary(vec![group(3, 0), group(2, 0), group(3, 0)], PLAIN);
        let bounds = summary.bounds.unwrap();
        assert_eq!(bounds.of_k.iter().map(|mean| mean.questions).collect::<Vec<_>>(), [3, 3]);
        assert_eq!(summary.surrogates.of_k.len(), 3);
    }

    #[test]
    fn a_question_that_nothing_can_judge_takes_its_own_fallback_and_keeps_its_bound() {
        let unverified = |fallback| {
            let mut group = TraceGroup { unverified: true, fallback, ..group(2, 0) };
            for trace in &mut group.traces {
                (trace.answer.accuracy, trace.answer.rest) = (None, None);
            }
            weigh(group)
        };
        let resolutions = [None, Some(Fallback::Skip), Some(Fallback::GeometricLikelihood)]
            .map(|fallback| unverified(fallback).resolution);
        let expected = [Resolution::OriginalRow, Resolution::Skipped, Resolution::GeometricLikelihood];
        assert_eq!(resolutions, expected);
        let question = unverified(Some(Fallback::GeometricLikelihood));
        assert!(question.surrogates.is_none(), "it counts as one without verdicts");
        assert!(question.traces.iter().all(|trace| near(trace.log_answer, 0.1_f64.ln())));
        assert!(near(question.bound.unwrap()[0].value, -1.0 + 0.1_f64.ln()));
    }

    #[test]
    fn equal_traces_count_once_among_distinct_ones() {
        let score = |logp: f32| TraceScore::from_tokens(&[logp], &[-1.0_f32]).unwrap();
        let (a, b) = (score(-1.0), score(-2.0));
        let distinct = Distinct::of(&[a, b, a], &[0.25, 0.5, 0.25]);
        assert_eq!(distinct, Distinct { traces: 2, effective_sample_size: 2.0 });
        assert_eq!(Distinct::of(&[a, a], &[0.5, 0.5]), Distinct { traces: 1, effective_sample_size: 1.0 });
        assert_eq!(Distinct::of(&[a], &[0.0]), Distinct { traces: 1, effective_sample_size: 0.0 });
    }

    #[test]
    fn traces_at_the_bound_of_the_ratio_are_counted() {
        // Their log-ratio is -0.5 per token.
        let clipped = |ratio: RatioEstimator, clip| {
            let config = WeighConfig { ratio, clip, ..WeighConfig::default() };
            weigh_question(group(3, 0), &config).unwrap().clipped
        };
        let bounded = RatioEstimator::Clipped(1.0);
        assert_eq!([clipped(bounded, 0.4), clipped(bounded, 0.5), clipped(bounded, 0.6)], [3, 0, 0]);
        assert_eq!(clipped(RatioEstimator::Geometric, 0.1), 0);
    }

    #[test]
    fn poor_traces_and_questions_without_a_good_one_get_no_weight() {
        // log rho of each trace is -0.5 + log 1/2, of which -0.5 is the ratio.
        let usable = |config: WeighConfig| {
            let question = weigh_question(group(3, 0), &config).unwrap();
            assert_eq!(
                question.bound.unwrap()[0],
                weigh(group(3, 0)).bound.unwrap()[0],
                "bounds take all traces"
            );
            (question.resolution, question.traces[0].weight)
        };
        let (used, lost) = ((Resolution::Main, 1.0 / 3.0), (Resolution::OriginalRow, 0.0));
        let floor = |min_log_ratio| usable(WeighConfig { min_log_ratio, ..WeighConfig::default() });
        assert_eq!([floor(-0.6), floor(-0.5), floor(-0.4)], [used, used, lost]);
        let best = |min_best| usable(WeighConfig { min_best, ..WeighConfig::default() });
        let log_rho = -0.5 + 0.5_f64.ln();
        assert_eq!([best(log_rho - 1e-9), best(log_rho + 1e-9)], [used, lost]);
    }
}
