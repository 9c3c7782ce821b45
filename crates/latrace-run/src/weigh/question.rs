//! One question: computes the weights, selection and bounds from the evidence on its traces.

use anyhow::{Context, Result, bail};
use latrace_core::random::stream;
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
    /// Number of unfinished ones. No answer follows them, so their rho is 0; they get no weight but count in
    /// the bounds.
    pub unended: usize,
}

/// A weighed question.
pub(super) struct Question {
    pub traces: Vec<WeighedTrace>,
    /// log pi and log q of its traces.
    pub scores: Vec<TraceScore>,
    pub too_long: usize,
    pub weights: GroupSummary,
    pub resolution: Resolution,
    /// `None` if its answers have no verdicts.
    pub bounds: Option<QuestionBounds>,
}

/// L^1 … L^K of a question.
pub(super) struct QuestionBounds {
    /// With the true ratio.
    pub bound: Vec<IwaePoint>,
    /// With the ratio used for the weights, or the geometric one if that is the true one.
    pub surrogate: Vec<IwaePoint>,
    /// Whether any trace has an answer probability above zero.
    pub any_correct: bool,
}

/// Weighs the traces of one question.
pub(super) fn weigh_question(
    TraceGroup { id, traces: mut group, unended }: TraceGroup,
    config: &WeighConfig,
) -> Result<Question> {
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
    let main_k = main_answers(&group, config).with_context(named)?;
    let fallback_k = fallback_answers(&group, config).with_context(named)?;
    let log_weights = |log_answer_k: &[f64]| -> Vec<f64> {
        log_ratio_k
            .iter()
            .zip(log_answer_k)
            .map(|(&log_ratio, &log_answer)| config.weighting.log_weight(log_ratio, log_answer))
            .collect()
    };
    // Without verdicts the answer probability is unknown, and there is no bound to report.
    let bounds = main_k
        .as_deref()
        .map(|_| question_bounds(&group, unended, &id, config))
        .transpose()
        .with_context(named)?;
    // Minus infinity for every trace makes the question take its fallback below.
    let main_k = main_k.unwrap_or_else(|| vec![f64::NEG_INFINITY; group.len()]);
    let resolution = config.fallback.resolve(&log_weights(&main_k), &log_weights(&fallback_k));
    let log_answer_k = if resolution == Resolution::GeometricLikelihood { fallback_k } else { main_k };
    let (weight_k, weights) = config.weighting.weights(&log_ratio_k, &log_answer_k).with_context(named)?;
    let chosen_k = choose(&log_weights(&log_answer_k), &weight_k, &id, config)?;
    let scores = group.iter().map(|trace| trace.score).collect();
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
    Ok(Question { traces: traces.collect(), scores, too_long, weights, resolution, bounds })
}

/// A question without a finished trace.
fn without_traces(unended: usize, config: &WeighConfig) -> Result<Question> {
    // rho = 0 for every trace, so every L^k is minus infinity; the question still counts in the bounds.
    let zeros = vec![f64::NEG_INFINITY; unended];
    let points = iwae_bounds(&zeros, &SubsetPlan::default())?;
    let (_, weights) = normalise(&zeros)?;
    let bounds = QuestionBounds { bound: points.clone(), surrogate: points, any_correct: false };
    let resolution = config.fallback.resolve(&[], &[]);
    Ok(Question {
        traces: Vec::new(),
        scores: Vec::new(),
        too_long: 0,
        weights,
        resolution,
        bounds: Some(bounds),
    })
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

/// Log answer probabilities of the configured estimator; `None` if there is no verifier and the fallback
/// covers that case.
fn main_answers(group: &[Evidence], config: &WeighConfig) -> Result<Option<Vec<f64>>> {
    let falls_back =
        config.answer == AnswerEstimator::Accuracy && config.fallback == Fallback::GeometricLikelihood;
    let has_no_verifier =
        group.iter().all(|trace| trace.answer.accuracy.is_none() && trace.answer.reference.is_some());
    if falls_back && has_no_verifier { Ok(None) } else { answers(group, config.answer).map(Some) }
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

/// Bounds use every trace that q sampled, including overlong and unfinished ones: dropping any would bias
/// them.
fn question_bounds(
    group: &[Evidence],
    unended: usize,
    id: &str,
    config: &WeighConfig,
) -> Result<QuestionBounds> {
    let plan = SubsetPlan { seed: stream(config.seed, "subsets", id, 0), ..SubsetPlan::default() };
    let points = |ratio: RatioEstimator, answer: AnswerEstimator| -> Result<Vec<IwaePoint>> {
        let log_answer_k = answers(group, answer)?;
        let ended = group
            .iter()
            .zip(&log_answer_k)
            .map(|(trace, &log_answer)| log_rho(ratio.log_ratio(&trace.score), log_answer));
        let log_rho_k: Vec<f64> = ended.chain(std::iter::repeat_n(f64::NEG_INFINITY, unended)).collect();
        Ok(iwae_bounds(&log_rho_k, &plan)?)
    };
    Ok(QuestionBounds {
        bound: points(RatioEstimator::Full, config.bound_answer())?,
        surrogate: points(config.surrogate_ratio(), config.answer)?,
        any_correct: answers(group, config.answer)?.iter().any(|&log_answer| log_answer > f64::NEG_INFINITY),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weigh::{Drawn, weigh_groups};
    use latrace_objective::{AnswerAccuracy, Verdict};
    use serde_json::json;

    fn evidence(sample: u64) -> Evidence {
        let accuracy = AnswerAccuracy::from_verdicts(&[Verdict::Correct, Verdict::Wrong]).unwrap();
        let score = TraceScore::from_tokens(&[-1.0, -2.0], &[-1.0, -1.0]).unwrap();
        Evidence {
            id: json!("q"),
            sample,
            score,
            answer: AnswerEvidence { accuracy: Some(accuracy), reference: None },
        }
    }

    fn weigh(traces: usize, unended: usize) -> Question {
        let traces = (0..traces as u64).map(evidence).collect();
        weigh_question(TraceGroup { id: json!("q"), traces, unended }, &WeighConfig::default()).unwrap()
    }

    #[test]
    fn traces_without_an_end_count_in_the_bounds_and_weigh_nothing() {
        // log rho of each trace with an end: -1 - log 2. Half of four have none: the mean over all halves.
        let all: Vec<f64> = weigh(2, 2).bounds.unwrap().bound.iter().map(|point| point.value).collect();
        assert_eq!(all.len(), 4);
        assert!((all[3] - (-1.0 - 2.0 * 2.0_f64.ln())).abs() < 1e-12, "{all:?}");
        assert_eq!(all[0], f64::NEG_INFINITY, "a single trace may be one without an end");
        let alone: Vec<f64> = weigh(2, 0).bounds.unwrap().bound.iter().map(|point| point.value).collect();
        assert!((alone[1] - (-1.0 - 2.0_f64.ln())).abs() < 1e-12, "{alone:?}");
        let weights =
            |question: Question| question.traces.into_iter().map(|trace| trace.weight).collect::<Vec<_>>();
        assert_eq!(weights(weigh(2, 2)), weights(weigh(2, 0)));
    }

    #[test]
    fn a_question_none_of_whose_traces_ends_is_counted() {
        let question = weigh(0, 3);
        assert_eq!((question.traces.len(), question.resolution), (0, Resolution::OriginalRow));
        assert!(question.bounds.unwrap().bound.iter().all(|point| point.value == f64::NEG_INFINITY));
    }

    #[test]
    fn what_was_not_drawn_plainly_is_no_bound() {
        for (drawn, is_bound) in [(Drawn::Plainly, true), (Drawn::Otherwise, false)] {
            let group = TraceGroup { id: json!("q"), traces: vec![evidence(0), evidence(1)], unended: 0 };
            let (_, summary) = weigh_groups(vec![group], &WeighConfig::default(), drawn).unwrap();
            assert_eq!(
                (summary.bounds.is_bound(), summary.to_json()["bounds"]["is_bound"] == true),
                (is_bound, is_bound)
            );
            assert_eq!(summary.bounds.title().contains("(not a bound)"), !is_bound);
            assert!(!summary.surrogates.is_bound(), "the geometric ratio never is one");
        }
    }
}
