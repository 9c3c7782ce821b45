//! Summary of the weights of a set of questions: bounds, surrogates, effective sample size, and counts of
//! questions.

use std::collections::HashMap;
use std::ops::Add;

use anyhow::Result;
use latrace_objective::bounds::{BoundMean, BoundSummary, IwaePoint, gap};
use latrace_objective::diagnostics::{LengthBias, trace_length_bias};
use latrace_objective::fallback::FallbackCounts;
use latrace_objective::{AnswerEstimator, RatioEstimator, Resolution, TraceScore};
use serde_json::{Value, json};

use super::no_bound::{NoBound, in_words};
use super::question::{Lacking, Question, QuestionSurrogates};
use super::{Drawn, WeighConfig};

/// Summary of the weights of a set of questions.
#[derive(Clone, Debug)]
pub struct WeighSummary {
    /// Questions.
    pub questions: usize,
    /// Traces of all questions.
    pub traces: usize,
    /// Traces over the length limit.
    pub too_long: usize,
    /// Questions whose traces all have weight 0, however they were handled.
    pub all_zero: usize,
    /// Questions without verdicts, which the surrogates leave out.
    pub without_verdicts: usize,
    /// Questions with verdicts none of whose traces has an answer probability above zero.
    pub without_correct: usize,
    /// Mean effective sample size over questions with a trace of non-zero weight.
    pub effective_sample_size: f64,
    /// The same where equal traces count once, with the sum of their weights.
    pub distinct_effective_sample_size: f64,
    /// Mean number of different traces over the same questions.
    pub distinct_traces: f64,
    /// Mean log-prob of a finished trace under what drew it, the posterior or the mixture (nats a trace): at temperature 1,
    /// less its entropy.
    pub mean_log_q: f64,
    /// Traces whose ratio is at its bound.
    pub clipped: usize,
    /// Mean entropy of rho~ over the same questions (nats).
    pub entropy: f64,
    /// L^1 … L^K over all questions, or the reasons why they would not be bounds.
    pub bounds: std::result::Result<BoundSeries, Vec<NoBound>>,
    /// L^1 … L^K with the ratio used for the weights (the geometric one if that is the true one), over questions
    /// with K traces, K the most common number.
    pub surrogates: SurrogateSeries,
    /// Surrogate minus the same with the true ratio, over questions where both are finite.
    pub surrogate_bias: Vec<BoundSummary>,
    /// Trace length against log pi/q, summed and mean: rank correlations.
    pub length_bias: LengthBias,
    /// Counts of how questions were handled.
    pub fallbacks: FallbackCounts,
}

/// L^1 … L^K, each a bound on the mean of log P(Y|x) over all questions: with the true ratio, the likelihood of
/// the reference answer, and the share of sampled answers that are correct and not it.
#[derive(Clone, Debug, PartialEq)]
pub struct BoundSeries {
    /// Whether answers were sampled: otherwise the reference answer alone stands for all correct ones.
    pub has_answers: bool,
    /// L^k at index k − 1, nats, over all questions; K is the smallest number of traces of a question.
    pub of_k: Vec<BoundMean>,
}

impl BoundSeries {
    fn new(has_answers: bool, points_q: &[&[IwaePoint]]) -> BoundSeries {
        let traces = points_q.iter().map(|points| points.len()).min().unwrap_or(0);
        let mean = |k: usize| BoundMean::from_points(points_q.iter().map(|points| &points[k]));
        BoundSeries { has_answers, of_k: (0..traces).map(mean).collect() }
    }

    /// A title in words.
    pub fn title(&self) -> String {
        let others = if self.has_answers { " and sampled others" } else { "" };
        format!("bound, {} ratio, reference answer{others}", RatioEstimator::Full.name())
    }

    fn to_json(&self) -> Value {
        let entry = |(k, mean): (usize, &BoundMean)| {
            json!({
                "traces": k + 1,
                "questions": mean.questions,
                "unbounded": mean.unbounded,
                "mean": mean.mean,
                "standard_error": mean.standard_error,
                "monte_carlo_error": mean.monte_carlo_error,
            })
        };
        let of_k: Vec<Value> = self.of_k.iter().enumerate().map(entry).collect();
        let answer = if self.has_answers { "reference-and-rest" } else { AnswerEstimator::Likelihood.name() };
        json!({"kind": "bound", "is_bound": true, "ratio": RatioEstimator::Full, "answer": answer, "of_k": of_k})
    }
}

/// L^1 … L^K with the estimators of the weights. No bound on anything.
#[derive(Clone, Debug)]
pub struct SurrogateSeries {
    /// Estimator of the ratio.
    pub ratio: RatioEstimator,
    /// Estimator of the answer probability.
    pub answer: AnswerEstimator,
    /// L^k at index k − 1, nats.
    pub of_k: Vec<BoundSummary>,
    /// The same over the questions where L^1, and therefore every L^k, is finite. As means over the same
    /// questions they never decrease with k, except for Monte Carlo error where subsets of many traces are
    /// sampled.
    pub common: Vec<BoundSummary>,
    /// L^K − L^1 over questions where both are finite, nats.
    pub gap: BoundSummary,
}

impl SurrogateSeries {
    fn new(ratio: RatioEstimator, answer: AnswerEstimator, points_q: &[&[IwaePoint]]) -> SurrogateSeries {
        let traces = points_q.first().map_or(0, |points| points.len());
        let finite: Vec<&&[IwaePoint]> =
            points_q.iter().filter(|points| points[0].value.is_finite()).collect();
        SurrogateSeries {
            ratio,
            answer,
            of_k: (0..traces)
                .map(|k| BoundSummary::from_points(points_q.iter().map(|points| &points[k])))
                .collect(),
            common: (0..traces)
                .map(|k| BoundSummary::from_points(finite.iter().map(|points| &points[k])))
                .collect(),
            gap: BoundSummary::from_questions(
                points_q.iter().filter_map(|points| gap(points)).filter(|gap| gap.is_finite()),
            ),
        }
    }

    /// A title in words.
    pub fn title(&self) -> String {
        format!("surrogate (not a bound), {} ratio, {}", self.ratio.name(), self.answer.name())
    }

    fn to_json(&self) -> Value {
        json!({
            "kind": "surrogate",
            "is_bound": false,
            "ratio": self.ratio,
            "answer": self.answer,
            "of_k": of_k(&self.of_k),
            "common": of_k(&self.common),
            "gap": {"questions": self.gap.questions, "mean": self.gap.mean, "standard_error": self.gap.standard_error},
        })
    }
}

impl WeighSummary {
    /// Share of the questions with verdicts none of whose traces has an answer probability above zero, in [0,
    /// 1].
    pub fn share_without_correct(&self) -> f64 {
        self.without_correct as f64 / (self.questions - self.without_verdicts).max(1) as f64
    }

    /// The summary as a JSON object; null stands for a value that is absent or not finite.
    pub fn to_json(&self) -> Value {
        let counts = self.fallbacks;
        let by_resolution = [
            (Resolution::Main, counts.main),
            (Resolution::GeometricLikelihood, counts.geometric_likelihood),
            (Resolution::OriginalRow, counts.original_row),
            (Resolution::Skipped, counts.skipped),
        ];
        json!({
            "questions": self.questions,
            "traces": self.traces,
            "too_long": self.too_long,
            "without_usable_trace": self.all_zero,
            "without_verdicts": self.without_verdicts,
            "without_correct_trace": self.without_correct,
            "share_without_correct_trace": self.share_without_correct(),
            "effective_sample_size": self.effective_sample_size,
            "distinct_effective_sample_size": self.distinct_effective_sample_size,
            "distinct_traces": self.distinct_traces,
            "mean_log_q": self.mean_log_q,
            "clipped": self.clipped,
            "entropy": self.entropy,
            "bounds": self.bounds.as_ref().map_or_else(|reasons| no_bounds(reasons), BoundSeries::to_json),
            "surrogates": self.surrogates.to_json(),
            "surrogate_bias": of_k(&self.surrogate_bias),
            "length_bias": {"summed": self.length_bias.summed, "mean": self.length_bias.mean},
            "resolutions": by_resolution.map(|(resolution, count)| (resolution.name().to_owned(), json!(count))).into_iter().collect::<serde_json::Map<_, _>>(),
        })
    }
}

fn no_bounds(reasons: &[NoBound]) -> Value {
    json!({"is_bound": false, "reason": in_words(reasons)})
}

fn of_k(summaries: &[BoundSummary]) -> Vec<Value> {
    let entry = |(k, summary): (usize, &BoundSummary)| {
        json!({
            "traces": k + 1,
            "questions": summary.questions,
            "unbounded": summary.unbounded,
            "mean": summary.mean,
            "mean_of_finite": summary.mean_of_finite,
            "standard_error": summary.standard_error,
            "monte_carlo_error": summary.monte_carlo_error,
        })
    };
    summaries.iter().enumerate().map(entry).collect()
}

/// Summarises weighed questions.
pub(super) fn summarise(questions: &[Question], config: &WeighConfig, drawn: &Drawn) -> Result<WeighSummary> {
    let weighing: Vec<&Question> =
        questions.iter().filter(|question| question.weights.effective_sample_size > 0.0).collect();
    let mean = |of: fn(&Question) -> f64| {
        // From 0, because the sum of no numbers is -0.
        weighing.iter().map(|question| of(question)).fold(0.0, f64::add) / weighing.len().max(1) as f64
    };
    let judged: Vec<&QuestionSurrogates> =
        questions.iter().filter_map(|question| question.surrogates.as_ref()).collect();
    let usual = usual(&judged);
    let surrogates: Vec<&[IwaePoint]> = usual.iter().map(|question| question.surrogate.as_slice()).collect();
    let mut fallbacks = FallbackCounts::default();
    questions.iter().for_each(|question| fallbacks.add(question.resolution));
    let scores: Vec<TraceScore> =
        questions.iter().flat_map(|question| question.scores.iter().copied()).collect();
    Ok(WeighSummary {
        questions: questions.len(),
        traces: scores.len(),
        too_long: questions.iter().map(|question| question.too_long).sum(),
        all_zero: questions.iter().filter(|question| question.resolution != Resolution::Main).count(),
        without_verdicts: questions.len() - judged.len(),
        without_correct: judged.iter().filter(|question| !question.any_correct).count(),
        effective_sample_size: mean(|question| question.weights.effective_sample_size),
        distinct_effective_sample_size: mean(|question| question.distinct.effective_sample_size),
        distinct_traces: mean(|question| question.distinct.traces as f64),
        mean_log_q: scores.iter().map(|score| score.logq_sum).fold(0.0, f64::add)
            / scores.len().max(1) as f64,
        clipped: questions.iter().map(|question| question.clipped).sum(),
        entropy: mean(|question| question.weights.entropy),
        bounds: bounds(questions, drawn),
        surrogates: SurrogateSeries::new(config.surrogate_ratio(), config.answer, &surrogates),
        surrogate_bias: biases(&usual),
        length_bias: trace_length_bias(&scores)?,
        fallbacks,
    })
}

/// The bounds over all questions, or the reasons why there are none.
fn bounds(questions: &[Question], drawn: &Drawn) -> std::result::Result<BoundSeries, Vec<NoBound>> {
    // Nothing else that is lacking matters for samples of other distributions; a run does not even score it.
    let reasons = match NoBound::of_drawn(drawn) {
        of_drawn if of_drawn.is_empty() => lacking(questions),
        of_drawn => of_drawn,
    };
    if !reasons.is_empty() {
        return Err(reasons);
    }
    let points: Vec<&[IwaePoint]> =
        questions.iter().filter_map(|question| question.bound.as_deref().ok()).collect();
    Ok(BoundSeries::new(questions.iter().any(|question| question.has_answers), &points))
}

/// What a bound over all questions lacks.
fn lacking(questions: &[Question]) -> Vec<NoBound> {
    let of = questions.len();
    let count = |lacking| {
        let lacks = |question: &&Question| question.bound.as_ref().err() == Some(&lacking);
        Some(questions.iter().filter(lacks).count()).filter(|&count| count > 0)
    };
    let reasons = [
        (of == 0).then_some(NoBound::NoTraces),
        count(Lacking::Reference).map(|questions| NoBound::WithoutReference { questions, of }),
        count(Lacking::Marks).map(|questions| NoBound::WithoutMarks { questions, of }),
    ];
    reasons.into_iter().flatten().collect()
}

/// The questions with the most common number of traces; on a tie, the larger number.
fn usual<'a>(judged: &[&'a QuestionSurrogates]) -> Vec<&'a QuestionSurrogates> {
    let mut counts: HashMap<usize, usize> = HashMap::new();
    judged.iter().for_each(|question| *counts.entry(question.surrogate.len()).or_default() += 1);
    let usual =
        counts.into_iter().max_by_key(|&(traces, count)| (count, traces)).map_or(0, |(traces, _)| traces);
    judged.iter().copied().filter(|question| question.surrogate.len() == usual).collect()
}

fn biases(usual: &[&QuestionSurrogates]) -> Vec<BoundSummary> {
    let traces = usual.first().map_or(0, |question| question.surrogate.len());
    let bias =
        |question: &&QuestionSurrogates, k: usize| question.surrogate[k].value - question.true_ratio[k].value;
    (0..traces)
        .map(|k| {
            BoundSummary::from_questions(
                usual.iter().map(|question| bias(question, k)).filter(|bias| bias.is_finite()),
            )
        })
        .collect()
}
