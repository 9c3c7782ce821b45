//! Stage 8: builds training examples from weighted traces, for every method.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result};
use latrace_objective::objectives::multi_trace;
use latrace_objective::{Fallback, Group, Objective, Provenance, Rng, SequenceWeights, Verdict};
use serde_json::{Value, json};

use super::weights::by_trace;
use crate::pipeline::folder::StageFolder;
use crate::pipeline::inputs::Inputs;
use crate::pipeline::records::{
    AnswerRecord, ExampleRecord, QuestionRecord, ScoreRecord, TraceRecord, VerdictRecord, WeightRecord,
};
use crate::plan::{DatasetSettings, Role};
use crate::recipe::run::{Duplicates, Method};
use latrace_core::Split;
use latrace_io::table::Table;

/// The row's own trace, for a question without a usable sampled trace.
const FELL_BACK: i64 = Provenance::FellBack.code();
/// The row's own trace, mixed in.
const MIXED_IN: i64 = Provenance::Original.code();

/// Builds the examples, in the same parts as the questions. Without sampled traces, only rows with their own
/// trace are built.
///
/// # Errors
/// Traces, answers and verdicts that do not match; tables that cannot be read or written.
pub fn run(settings: &DatasetSettings, inputs: &Inputs, stage: &StageFolder) -> Result<Value> {
    let questions = Table::<QuestionRecord>::open(inputs.folder(Role::Questions)?);
    let out = Table::<ExampleRecord>::create(&stage.path, &stage.key());
    let mut totals = Totals::default();
    let examples = |part: usize, totals: &mut Totals| {
        let groups = match inputs.optional(Role::Traces) {
            Some(traces) => read_groups(traces, inputs, part)?,
            None => HashMap::new(),
        };
        of_part(&questions.read(part)?, groups, settings, totals)
    };
    // Two passes over the parts: the scale depends on all of them, but only one is held in memory.
    for part in 0..questions.parts()? {
        examples(part, &mut totals)?;
    }
    for part in 0..questions.parts()? {
        let mut of_part = examples(part, &mut Totals::default())?;
        totals.rescale(&mut of_part);
        out.write(part, &of_part)?;
    }
    Ok(totals.counts())
}

/// The examples of a part's training questions, before rescaling: those built from their traces, by id, and
/// their own rows.
///
/// # Errors
/// Traces, answers and verdicts that do not match.
pub fn of_part(
    questions: &[QuestionRecord],
    mut groups: HashMap<String, SampledQuestion>,
    building: &DatasetSettings,
    totals: &mut Totals,
) -> Result<Vec<ExampleRecord>> {
    // A policy gradient needs samples of the policy, and the rows' own traces are not.
    let originals = if building.method.is_policy_gradient() { 0.0 } else { building.dataset.originals };
    let mut examples = Vec::new();
    for question in questions.iter().filter(|question| question.split == Split::Train) {
        if let Some(group) = groups.remove(&question.id) {
            examples.extend(of_question(question, &group, building, totals)?);
        }
        examples.extend(own_row(question, MIXED_IN, originals));
    }
    Ok(examples)
}

/// Counts of how questions were used, and the total weight of the examples.
#[derive(Debug, Default)]
pub struct Totals {
    asked: usize,
    used: usize,
    fell_back: usize,
    skipped: usize,
    weight: f64,
    built: usize,
    own: usize,
}

impl Totals {
    /// The scale on which a question with a usable trace has mean weight 1, the weight of a row's own trace.
    fn scale(&self) -> f64 {
        if self.weight > 0.0 { self.used as f64 / self.weight } else { 1.0 }
    }

    /// Rescales examples, after all have been counted.
    pub fn rescale(&mut self, examples: &mut [ExampleRecord]) {
        let scale = self.scale();
        for example in examples {
            // Only sampled traces are rescaled: the weight of a row's own trace is set by the recipe.
            if example.source >= 0 {
                example.weight *= scale;
                self.built += 1;
            } else {
                self.own += 1;
            }
        }
    }

    /// The counts.
    pub fn counts(&self) -> Value {
        let Totals { asked, used, fell_back, skipped, built, own, .. } = self;
        json!({"questions": asked, "used": used, "fell_back": fell_back, "left_out": skipped, "built": built, "own": own, "scale": self.scale()})
    }
}

/// A question's traces with their scores, weights, answers and verdicts.
#[derive(Debug, Default)]
pub struct SampledQuestion {
    /// All traces, in order of their numbers.
    pub traces: Vec<TraceRecord>,
    /// Scores by trace number; only policy gradients need them.
    pub scores: HashMap<u64, ScoreRecord>,
    /// Weights by trace number.
    pub weights: HashMap<u64, WeightRecord>,
    /// Answers by trace number, in order of their own numbers.
    pub answers: HashMap<u64, Vec<AnswerRecord>>,
    /// Verdicts on those answers.
    pub verdicts: HashMap<u64, Vec<Verdict>>,
}

fn read_groups(traces: &Path, inputs: &Inputs, part: usize) -> Result<HashMap<String, SampledQuestion>> {
    let mut groups: HashMap<String, SampledQuestion> = HashMap::new();
    for trace in Table::<TraceRecord>::open(traces).read(part)? {
        groups.entry(trace.id.clone()).or_default().traces.push(trace);
    }
    for score in Table::<ScoreRecord>::open(inputs.folder(Role::Scores)?).read(part)? {
        groups.entry(score.id.clone()).or_default().scores.insert(score.sample, score);
    }
    for weight in Table::<WeightRecord>::open(inputs.folder(Role::Weights)?).read(part)? {
        groups.entry(weight.id.clone()).or_default().weights.insert(weight.sample, weight);
    }
    if let (Some(answers), Some(verdicts)) = (inputs.optional(Role::Answers), inputs.optional(Role::Verdicts))
    {
        for answer in Table::<AnswerRecord>::open(answers).read(part)? {
            let group = groups.entry(answer.id.clone()).or_default();
            group.answers.entry(answer.sample).or_default().push(answer);
        }
        for ((id, sample), verdicts) in by_trace(Table::<VerdictRecord>::open(verdicts).read(part)?) {
            groups.entry(id).or_default().verdicts.insert(sample, verdicts);
        }
    }
    Ok(groups)
}

/// The examples of a question: its weighted traces with answers, or its own row if none is usable.
fn of_question(
    question: &QuestionRecord,
    sampling: &SampledQuestion,
    building: &DatasetSettings,
    totals: &mut Totals,
) -> Result<Vec<ExampleRecord>> {
    totals.asked += 1;
    let weights = sequence_weights(question, sampling, building)
        .with_context(|| format!("question {}", question.id))?;
    let mut examples =
        merged(sequences(question, sampling, &weights, building)?, building.dataset.duplicates);
    // Weights may cancel when duplicates are merged, since advantages are signed.
    examples.retain(|example| example.weight != 0.0);
    if examples.is_empty() {
        // A policy gradient has no fallback: a question whose rewards are all equal gives no gradient.
        let falls_back = building.method == Method::Variational && building.fallback != Fallback::Skip;
        let own = if falls_back { own_row(question, FELL_BACK, 1.0) } else { None };
        totals.fell_back += usize::from(own.is_some());
        totals.skipped += usize::from(own.is_none());
        return Ok(own.into_iter().collect());
    }
    totals.used += 1;
    // Absolute values, because advantages of either sign sum to about zero.
    totals.weight += examples.iter().map(|example| example.weight.abs()).sum::<f64>();
    Ok(examples)
}

fn own_row(question: &QuestionRecord, source: i64, weight: f64) -> Option<ExampleRecord> {
    let (trace, answer) = (question.trace_ids.as_ref()?, question.answer_ids.as_ref()?);
    let response_ids = [trace.as_slice(), answer].concat();
    let example = ExampleRecord {
        id: question.id.clone(),
        source,
        prompt_ids: question.prompt_ids.clone(),
        trace_tokens: trace.len() as u64,
        response_ids,
        weight,
        given: 0,
        old_logprobs: None,
    };
    (weight > 0.0).then_some(example)
}

/// One weight per trace and per answer, as the method defines it.
fn sequence_weights(
    question: &QuestionRecord,
    sampling: &SampledQuestion,
    building: &DatasetSettings,
) -> Result<SequenceWeights> {
    let verdict_km = verdicts_of(sampling, building.answers);
    let group = Group::new(sampling.traces.len())?.with_verdicts(&verdict_km)?;
    if building.method == Method::Variational {
        return chosen_weights(question, sampling, &group, building);
    }
    let log = |pick: fn(&WeightRecord) -> Option<f64>| -> Vec<f64> {
        sampling
            .traces
            .iter()
            .map(|trace| sampling.weights.get(&trace.sample).and_then(pick).unwrap_or(f64::NEG_INFINITY))
            .collect()
    };
    let (log_ratio_k, log_answer_k) = (log(|weight| weight.log_ratio), log(|weight| weight.log_answer));
    let group = group.with_log_ratio(&log_ratio_k)?.with_log_answer(&log_answer_k)?;
    let objective = match building.method {
        Method::Variational | Method::Sft | Method::Rft => Objective::Rft,
        Method::BinaryRl => Objective::BinaryReward,
        Method::Grpo => Objective::Grpo,
        Method::Verifree => Objective::VeriFree,
    };
    Ok(objective.weights(&group)?)
}

/// Verdicts over (k, m). The answers of an unfinished trace are malformed. If no answers were sampled, the
/// reference answer follows each finished trace and is correct by definition.
fn verdicts_of(sampling: &SampledQuestion, n: u64) -> Vec<Verdict> {
    if sampling.answers.is_empty() {
        return sampling
            .traces
            .iter()
            .map(|trace| if trace.closed { Verdict::Correct } else { Verdict::Malformed })
            .collect();
    }
    // Unfinished traces were never answered; the verdicts must still form a full K × M table.
    let missing = vec![Verdict::Malformed; n as usize];
    sampling
        .traces
        .iter()
        .flat_map(|trace| sampling.verdicts.get(&trace.sample).unwrap_or(&missing).clone())
        .collect()
}

/// (6) after selection: each trace's weight, divided among its answers.
fn chosen_weights(
    question: &QuestionRecord,
    sampling: &SampledQuestion,
    group: &Group<'_>,
    building: &DatasetSettings,
) -> Result<SequenceWeights> {
    let traces = &sampling.traces;
    let chosen =
        |trace: &TraceRecord| sampling.weights.get(&trace.sample).map_or(0.0, |weight| weight.chosen);
    let chosen_k: Vec<f64> = traces.iter().map(chosen).collect();
    // Seeded by the trace's own number, so that the draw does not depend on the other traces.
    let key = u64::from(crc32c::crc32c(question.id.as_bytes()));
    let rng_of_trace = |k: usize| Rng::at(building.seed, &[8, key, traces[k].sample]);
    Ok(multi_trace::chosen_weights(group, &chosen_k, building.dataset.answers, rng_of_trace)?)
}

/// Pairs each trace with each of its answers of non-zero weight. Weight that no answer takes stays with the
/// trace alone.
fn sequences(
    question: &QuestionRecord,
    sampling: &SampledQuestion,
    weights: &SequenceWeights,
    building: &DatasetSettings,
) -> Result<Vec<ExampleRecord>> {
    let is_policy = building.method.is_policy_gradient();
    let n = weights.answer_km.len() / sampling.traces.len().max(1);
    let mut examples = Vec::new();
    for (k, trace) in sampling.traces.iter().enumerate() {
        let mut left = weights.trace_k[k];
        if !trace.closed {
            // An unfinished trace has no answer. A policy gradient counts that against it, and other methods
            // skip it. The policy itself sampled it, so its log-probs are the old ones.
            if is_policy && left != 0.0 {
                examples.push(example(question, trace, &Answer::default(), left, Some(&trace.logprobs)));
            }
            continue;
        }
        let old_logprobs =
            sampling.scores.get(&trace.sample).filter(|_| is_policy).map(|score| score.logprobs.as_slice());
        for m in 0..n {
            let weight = weights.answer_km[k * n + m];
            left -= weight;
            // Answers without weight are skipped before their tokens are copied.
            if weight != 0.0 {
                let answer = answer_of(question, sampling, trace, m)?;
                examples.push(example(question, trace, &answer, weight, old_logprobs));
            }
        }
        // Apart from rounding, only a trace without a correct answer has weight left.
        if left.abs() > 1e-9 {
            let by_reference = sampling.weights.get(&trace.sample).is_some_and(|weight| weight.by_reference);
            let answer = if by_reference { own_answer(question)? } else { Answer::default() };
            examples.push(example(question, trace, &answer, left, old_logprobs));
        }
    }
    Ok(examples)
}

/// An answer in the form that examples need.
#[derive(Default)]
struct Answer {
    token_ids: Vec<u32>,
    given: usize,
    logprobs: Vec<f32>,
}

fn own_answer(question: &QuestionRecord) -> Result<Answer> {
    let token_ids =
        question.answer_ids.clone().context("the question has no answer of its own, and none was sampled")?;
    Ok(Answer { token_ids, ..Answer::default() })
}

/// Answer m of a trace, or the question's own if none was sampled.
fn answer_of(
    question: &QuestionRecord,
    sampling: &SampledQuestion,
    trace: &TraceRecord,
    m: usize,
) -> Result<Answer> {
    if sampling.answers.is_empty() {
        return own_answer(question);
    }
    let drawn = sampling.answers.get(&trace.sample).and_then(|answers| answers.get(m));
    let drawn = drawn.with_context(|| format!("trace {} has no answer {m}", trace.sample))?;
    Ok(Answer {
        token_ids: drawn.token_ids.clone(),
        given: drawn.given as usize,
        logprobs: drawn.logprobs.clone(),
    })
}

fn example(
    question: &QuestionRecord,
    trace: &TraceRecord,
    answer: &Answer,
    weight: f64,
    old_logprobs: Option<&[f32]>,
) -> ExampleRecord {
    let response_ids = [trace.token_ids.as_slice(), &answer.token_ids].concat();
    let old_logprobs =
        old_logprobs.map(|of_trace| [of_trace, &vec![0.0; answer.given], &answer.logprobs].concat());
    ExampleRecord {
        id: question.id.clone(),
        source: trace.sample as i64,
        prompt_ids: question.prompt_ids.clone(),
        trace_tokens: trace.token_ids.len() as u64,
        response_ids,
        weight,
        given: answer.given as u64,
        old_logprobs,
    }
}

/// Merges identical sequences, with the sum of their weights or with the weight of one.
fn merged(examples: Vec<ExampleRecord>, duplicates: Duplicates) -> Vec<ExampleRecord> {
    let mut places: HashMap<Vec<u32>, usize> = HashMap::new();
    let mut merged: Vec<ExampleRecord> = Vec::new();
    for example in examples {
        let place = *places.entry(example.response_ids.clone()).or_insert(merged.len());
        match merged.get_mut(place) {
            None => merged.push(example),
            Some(earlier) if duplicates == Duplicates::Add => earlier.weight += example.weight,
            Some(_) => {}
        }
    }
    merged
}
