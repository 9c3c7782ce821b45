//! Summary of the weights of a set of questions: bounds, surrogates, effective sample size, and counts of
//! questions.

use std::collections::HashMap;

use anyhow::Result;
use latrace_objective::bounds::{BoundSummary, IwaePoint, gap};
use latrace_objective::diagnostics::{LengthBias, trace_length_bias};
use latrace_objective::fallback::FallbackCounts;
use latrace_objective::{AnswerEstimator, BoundKind, RatioEstimator, Resolution, TraceScore};
use serde_json::{Value, json};

use super::question::{Question, QuestionBounds};
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
    /// Questions without verdicts, which the bounds leave out.
    pub without_verdicts: usize,
    /// Questions with verdicts none of whose traces has an answer probability above zero.
    pub without_correct: usize,
    /// Mean effective sample size over questions with a trace of non-zero weight.
    pub effective_sample_size: f64,
    /// Mean entropy of rho~ over the same questions (nats).
    pub entropy: f64,
    /// L^1 … L^K with the true ratio, over questions with K traces, K the most common number.
    pub bounds: BoundSeries,
    /// The same with the ratio used for the weights (the geometric one if that is the true one). Not a bound.
    pub surrogates: BoundSeries,
    /// Surrogate minus bound, over questions where both are finite.
    pub surrogate_bias: Vec<BoundSummary>,
    /// Trace length against log pi/q, summed and mean: rank correlations.
    pub length_bias: LengthBias,
    /// Counts of how questions were handled.
    pub fallbacks: FallbackCounts,
}

/// L^1 … L^K with their estimators.
#[derive(Clone, Debug)]
pub struct BoundSeries {
    /// Estimator of the ratio.
    pub ratio: RatioEstimator,
    /// Estimator of the answer probability.
    pub answer: AnswerEstimator,
    /// How traces and answers were sampled.
    pub drawn: Drawn,
    /// L^k at index k − 1, nats.
    pub of_k: Vec<BoundSummary>,
    /// The same over the questions where L^1, and therefore every L^k, is finite. As means over the same
    /// questions they never decrease with k, except for Monte Carlo error where subsets of many traces are
    /// sampled.
    pub common: Vec<BoundSummary>,
    /// L^K − L^1 over questions where both are finite, nats.
    pub gap: BoundSummary,
}

impl BoundSeries {
    fn new(
        ratio: RatioEstimator,
        answer: AnswerEstimator,
        drawn: Drawn,
        points_q: &[&[IwaePoint]],
    ) -> BoundSeries {
        let traces = points_q.first().map_or(0, |points| points.len());
        let finite: Vec<&&[IwaePoint]> =
            points_q.iter().filter(|points| points[0].value.is_finite()).collect();
        BoundSeries {
            ratio,
            answer,
            drawn,
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

    /// What the values would be for plainly sampled traces.
    pub fn kind(&self) -> BoundKind {
        BoundKind::of(&self.ratio, &self.answer)
    }

    /// Whether the values bound `log P(Y|x)`.
    pub fn is_bound(&self) -> bool {
        self.kind() == BoundKind::Bound && self.drawn == Drawn::Plainly
    }

    /// A title in words.
    pub fn title(&self) -> String {
        let not = if self.is_bound() { "" } else { " (not a bound)" };
        format!("{}{not}, {} ratio, {}", self.kind().name(), self.ratio.name(), self.answer.name())
    }

    fn to_json(&self) -> Value {
        json!({
            "kind": self.kind(),
            "is_bound": self.is_bound(),
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
            "entropy": self.entropy,
            "bounds": self.bounds.to_json(),
            "surrogates": self.surrogates.to_json(),
            "surrogate_bias": of_k(&self.surrogate_bias),
            "length_bias": {"summed": self.length_bias.summed, "mean": self.length_bias.mean},
            "resolutions": by_resolution.map(|(resolution, count)| (resolution.name().to_owned(), json!(count))).into_iter().collect::<serde_json::Map<_, _>>(),
        })
    }
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
pub(super) fn summarise(questions: &[Question], config: &WeighConfig, drawn: Drawn) -> Result<WeighSummary> {
    let weighing: Vec<&Question> =
        questions.iter().filter(|question| question.weights.effective_sample_size > 0.0).collect();
    let mean = |of: fn(&Question) -> f64| {
        weighing.iter().map(|question| of(question)).sum::<f64>() / weighing.len().max(1) as f64
    };
    let judged: Vec<&QuestionBounds> =
        questions.iter().filter_map(|question| question.bounds.as_ref()).collect();
    let usual = usual(&judged);
    let of_usual = |points: fn(&QuestionBounds) -> &[IwaePoint]| -> Vec<&[IwaePoint]> {
        usual.iter().map(|bounds| points(bounds)).collect()
    };
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
        without_correct: judged.iter().filter(|bounds| !bounds.any_correct).count(),
        effective_sample_size: mean(|question| question.weights.effective_sample_size),
        entropy: mean(|question| question.weights.entropy),
        bounds: BoundSeries::new(
            RatioEstimator::Full,
            config.bound_answer(),
            drawn,
            &of_usual(|bounds| &bounds.bound),
        ),
        surrogates: BoundSeries::new(
            config.surrogate_ratio(),
            config.answer,
            drawn,
            &of_usual(|bounds| &bounds.surrogate),
        ),
        surrogate_bias: biases(&usual),
        length_bias: trace_length_bias(&scores)?,
        fallbacks,
    })
}

/// The questions with the most common number of traces; on a tie, the larger number.
fn usual<'a>(judged: &[&'a QuestionBounds]) -> Vec<&'a QuestionBounds> {
    let mut counts: HashMap<usize, usize> = HashMap::new();
    judged.iter().for_each(|bounds| *counts.entry(bounds.bound.len()).or_default() += 1);
    let usual =
        counts.into_iter().max_by_key(|&(traces, count)| (count, traces)).map_or(0, |(traces, _)| traces);
    judged.iter().copied().filter(|bounds| bounds.bound.len() == usual).collect()
}

fn biases(usual: &[&QuestionBounds]) -> Vec<BoundSummary> {
    let traces = usual.first().map_or(0, |bounds| bounds.bound.len());
    let bias = |bounds: &&QuestionBounds, k: usize| bounds.surrogate[k].value - bounds.bound[k].value;
    (0..traces)
        .map(|k| {
            BoundSummary::from_questions(
                usual.iter().map(|bounds| bias(bounds, k)).filter(|bias| bias.is_finite()),
            )
        })
        .collect()
}
