//! Stage 7: what each trace weighs. Sums of log-probs and verdicts in, rho~ and bounds out; (5) to (8) of the paper.

mod sums;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use latrace_objective::bounds::iwae::iwae_bounds;
use latrace_objective::bounds::summary::BoundSummary;
use latrace_objective::fallback::FallbackCounts;
use latrace_objective::selection::drop_long_traces;
use latrace_objective::{
    Accuracy, AnswerEstimator, AnswerEvidence, AnswerScore, Fallback, GroupOutcome, RatioEstimator, Rng, Selection, SubsetPlan, TraceScore, Verdict, Weighting,
};
use rayon::prelude::*;
use serde_json::Value;

use crate::failure::Failure;
use crate::rows::{BadRows, FieldProblem, Row, RowReader, describe, field};
pub(crate) use sums::files_of;

/// The files of the stage.
#[derive(Clone, Debug)]
pub struct WeighInputs {
    /// Traces with log q: `id`, `sample`, `logprobs`.
    pub traces: PathBuf,
    /// The same traces with log pi: `id`, `sample`, `logprobs`.
    pub scores: PathBuf,
    /// Verdicts on answers after the traces: `id`, `sample`, `verdict`; several for each trace.
    pub verdicts: Option<PathBuf>,
    /// log pi of the reference answer after each trace: `id`, `sample`, `logprobs`.
    pub references: Option<PathBuf>,
}

/// How traces are weighed.
#[derive(Clone, Copy, Debug)]
pub struct WeighConfig {
    /// Estimator of pi(z|x) / q(z|x,y').
    pub ratio: RatioEstimator,
    /// Estimator of pi(Y|x,z).
    pub answer: AnswerEstimator,
    /// What the weight is made of.
    pub weighting: Weighting,
    /// Which traces become examples.
    pub selection: Selection,
    /// What a question without a usable trace becomes.
    pub fallback: Fallback,
    /// Traces of so many tokens or more weigh nothing.
    pub length_limit: usize,
    /// Seed of draws.
    pub seed: u64,
}

/// A trace and its weight.
#[derive(Clone, Debug, PartialEq)]
pub struct WeighedTrace {
    /// The question.
    pub id: Value,
    /// The trace's number.
    pub sample: u64,
    /// Tokens of the trace.
    pub tokens: usize,
    /// Log of the estimated ratio (nats).
    pub log_ratio: f64,
    /// Log of the estimated answer probability (nats).
    pub log_answer: f64,
    /// rho~, or the ablation's weight: sums to 1 over the question's traces.
    pub weight: f64,
    /// The trace's share among those chosen; 0 if it is not.
    pub chosen: f64,
}

/// What the weights of a set of questions say.
#[derive(Clone, Debug)]
pub struct WeighSummary {
    /// Questions and traces.
    pub questions: usize,
    /// Traces of all questions.
    pub traces: usize,
    /// Traces over the length limit.
    pub too_long: usize,
    /// Questions none of whose traces weighs anything.
    pub all_zero: usize,
    /// Mean effective sample size over the other questions.
    pub effective_sample_size: f64,
    /// L^1 … L^K over questions with K traces, K the most common number.
    pub bounds: Vec<BoundSummary>,
    /// What became of questions.
    pub fallbacks: FallbackCounts,
}

/// Weighs the traces of all questions, in the order of the traces' file.
///
/// # Errors
/// Unreadable files; records that are missing, superfluous, double, or of different lengths; evidence that the answer estimator lacks.
pub fn weigh(inputs: &WeighInputs, config: &WeighConfig) -> Result<(Vec<WeighedTrace>, WeighSummary)> {
    weigh_groups(join(inputs)?, config)
}

/// Weighs groups of traces, each group those of one question.
///
/// # Errors
/// Double traces; evidence that the answer estimator lacks.
pub fn weigh_groups(groups: Vec<Vec<Evidence>>, config: &WeighConfig) -> Result<(Vec<WeighedTrace>, WeighSummary)> {
    let weighed: Vec<Question> = groups.into_par_iter().enumerate().map(|(q, group)| weigh_question(q, group, config)).collect::<Result<_>>()?;
    let summary = summarise(&weighed);
    Ok((weighed.into_iter().flat_map(|question| question.traces).collect(), summary))
}

/// What is known of a trace.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// The question.
    pub id: Value,
    /// The trace's number.
    pub sample: u64,
    /// log pi and log q of the trace.
    pub score: TraceScore,
    /// What is known of answers after it.
    pub answer: AnswerEvidence,
}

/// A weighed question.
struct Question {
    traces: Vec<WeighedTrace>,
    too_long: usize,
    outcome: GroupOutcome,
    effective_sample_size: f64,
    bounds: Vec<f64>,
    resolution: latrace_objective::Resolution,
}

/// Traces with their evidence by question, joined on (id, sample).
fn join(inputs: &WeighInputs) -> Result<Vec<Vec<Evidence>>> {
    let traces = sums::read(&inputs.traces)?;
    let mut scores = sums::by_key(&inputs.scores, sums::read(&inputs.scores)?)?;
    let mut verdicts = inputs.verdicts.as_deref().map(read_verdicts).transpose()?;
    let mut references = inputs.references.as_deref().map(|path| sums::by_key(path, sums::read(path)?)).transpose()?;
    let (mut groups, mut places): (Vec<Vec<Evidence>>, HashMap<String, usize>) = (Vec::new(), HashMap::new());
    for trace in traces {
        let key = (trace.id.to_string(), trace.sample);
        let missing = |path: &Path| format!("{} has nothing for id {}, sample {} of {}", path.display(), trace.id, trace.sample, inputs.traces.display());
        let score = scores.remove(&key).with_context(|| missing(&inputs.scores))?;
        if score.tokens != trace.tokens {
            let message = format!("id {}, sample {}: {} log-probs of the trace, {} of its score", trace.id, trace.sample, trace.tokens, score.tokens);
            bail!(Failure::work(message).hint("score the traces' own token_ids, not their text"));
        }
        let accuracy = match (&mut verdicts, &inputs.verdicts) {
            (Some(verdicts), Some(path)) => Some(Accuracy::from_verdicts(&verdicts.remove(&key).with_context(|| missing(path))?)?),
            _ => None,
        };
        let reference = match (&mut references, &inputs.references) {
            (Some(references), Some(path)) => {
                let sums = references.remove(&key).with_context(|| missing(path))?;
                Some(AnswerScore { logp_sum: sums.sum, tokens: sums.tokens })
            }
            _ => None,
        };
        let place = *places.entry(key.0).or_insert(groups.len());
        if place == groups.len() {
            groups.push(Vec::new());
        }
        let score = TraceScore { logp_sum: score.sum, logq_sum: trace.sum, tokens: trace.tokens };
        groups[place].push(Evidence { id: trace.id, sample: trace.sample, score, answer: AnswerEvidence { accuracy, reference } });
    }
    check_nothing_left(&inputs.scores, scores.keys())?;
    if let (Some(verdicts), Some(path)) = (&verdicts, &inputs.verdicts) {
        check_nothing_left(path, verdicts.keys())?;
    }
    if let (Some(references), Some(path)) = (&references, &inputs.references) {
        check_nothing_left(path, references.keys())?;
    }
    Ok(groups)
}

fn check_nothing_left<'a>(path: &Path, mut left: impl ExactSizeIterator<Item = &'a (String, u64)>) -> Result<()> {
    let count = left.len();
    match left.next() {
        None => Ok(()),
        Some((id, sample)) => bail!(Failure::work(format!("{}: {count} records have no trace, such as id {id}, sample {sample}", path.display()))),
    }
}

/// Verdicts on the answers of each trace.
fn read_verdicts(path: &Path) -> Result<HashMap<(String, u64), Vec<Verdict>>> {
    let mut verdicts: HashMap<(String, u64), Vec<Verdict>> = HashMap::new();
    for file in files_of(path)? {
        let mut reader = RowReader::open(&file, BadRows::Stop)?;
        while let Some((key, verdict)) = reader.next_with(|_, row| Ok::<_, FieldProblem>((sums::key_of(&row)?, verdict_of(&row)?)))? {
            verdicts.entry((key.0.to_string(), key.1)).or_default().push(verdict);
        }
    }
    Ok(verdicts)
}

fn verdict_of(row: &Row) -> Result<Verdict, FieldProblem> {
    let got = field(row, "verdict");
    let reason = field(row, "reason").and_then(Value::as_str).unwrap_or_default();
    let verdict = got.and_then(Value::as_str).and_then(|name| verdict_named(name, reason));
    verdict.ok_or_else(|| FieldProblem::new("verdict", "\"correct\", \"wrong\" or \"undetermined\"", got.map_or("nothing".to_owned(), describe)))
}

/// A verdict by the words of `latrace verify`.
pub fn verdict_named(name: &str, reason: &str) -> Option<Verdict> {
    match (name, reason) {
        ("correct", _) => Some(Verdict::Correct),
        ("wrong", "no_answer") => Some(Verdict::Malformed),
        ("wrong", _) => Some(Verdict::Wrong),
        ("undetermined", _) => Some(Verdict::Undetermined),
        _ => None,
    }
}

fn weigh_question(q: usize, mut group: Vec<Evidence>, config: &WeighConfig) -> Result<Question> {
    group.sort_by_key(|trace| trace.sample);
    let named = || format!("id {}", group[0].id);
    if let Some(pair) = group.windows(2).find(|pair| pair[0].sample == pair[1].sample) {
        bail!(Failure::work(format!("id {}, sample {} comes twice among the traces", pair[0].id, pair[0].sample)));
    }
    let tokens_k: Vec<usize> = group.iter().map(|trace| trace.score.tokens).collect();
    let mut log_ratio_k: Vec<f64> = group.iter().map(|trace| config.ratio.log_ratio(&trace.score)).collect();
    let log_answer_k = group.iter().map(|trace| config.answer.log_probability(&trace.answer)).collect::<Result<Vec<f64>, _>>().with_context(named)?;
    let log_rho_all: Vec<f64> = log_ratio_k.iter().zip(&log_answer_k).map(|(&ratio, &answer)| latrace_objective::weights::log_rho(ratio, answer)).collect();
    let too_long = drop_long_traces(&mut log_ratio_k, &tokens_k, config.length_limit)?;
    let (weight_k, group_summary) = config.weighting.weights(&log_ratio_k, &log_answer_k).with_context(named)?;
    let log_weight_k: Vec<f64> = log_ratio_k.iter().zip(&log_answer_k).map(|(&ratio, &answer)| config.weighting.log_weight(ratio, answer)).collect();
    let mut chosen_k = vec![0.0; group.len()];
    let mut rng = Rng::at(config.seed, &[7, q as u64]);
    config.selection.select(&log_weight_k, &mut rng)?.iter().for_each(|pick| chosen_k[pick.trace] += pick.weight);
    let bounds = iwae_bounds(&log_rho_all, &SubsetPlan { seed: config.seed, ..SubsetPlan::default() })?.iter().map(|point| point.value).collect();
    let traces = group.iter().enumerate().map(|(k, trace)| WeighedTrace {
        id: trace.id.clone(),
        sample: trace.sample,
        tokens: tokens_k[k],
        log_ratio: log_ratio_k[k],
        log_answer: log_answer_k[k],
        weight: weight_k[k],
        chosen: chosen_k[k],
    });
    Ok(Question {
        traces: traces.collect(),
        too_long,
        outcome: group_summary.outcome,
        effective_sample_size: group_summary.effective_sample_size,
        bounds,
        resolution: config.fallback.resolve(&log_weight_k, &[]),
    })
}

fn summarise(questions: &[Question]) -> WeighSummary {
    let mut counts: HashMap<usize, usize> = HashMap::new();
    questions.iter().for_each(|question| *counts.entry(question.bounds.len()).or_default() += 1);
    let usual = counts.into_iter().max_by_key(|&(traces, count)| (count, traces)).map_or(0, |(traces, _)| traces);
    let of_usual: Vec<&Question> = questions.iter().filter(|question| question.bounds.len() == usual).collect();
    let weighted: Vec<f64> = questions.iter().filter(|q| q.outcome != GroupOutcome::AllZero).map(|q| q.effective_sample_size).collect();
    let mut fallbacks = FallbackCounts::default();
    questions.iter().for_each(|question| fallbacks.add(question.resolution));
    WeighSummary {
        questions: questions.len(),
        traces: questions.iter().map(|question| question.traces.len()).sum(),
        too_long: questions.iter().map(|question| question.too_long).sum(),
        all_zero: questions.len() - weighted.len(),
        effective_sample_size: weighted.iter().sum::<f64>() / weighted.len().max(1) as f64,
        bounds: (0..usual).map(|k| BoundSummary::from_questions(of_usual.iter().map(|question| question.bounds[k]))).collect(),
        fallbacks,
    }
}
