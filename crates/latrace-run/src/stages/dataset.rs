//! Stage 8: builds training examples from weighted traces, for every method.

mod example;

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use latrace_objective::objectives::multi_trace;
use latrace_objective::{Fallback, Group, Objective, Provenance, Rng, SequenceWeights, Verdict};
use rayon::prelude::*;
use serde_json::{Value, json};

use crate::join::{Join, OnTrace, QuestionTraces, all_matched, name, twice};
use crate::pipeline::records::{QuestionRecord, TraceRecord, VerdictRecord, WeightRecord};
use crate::pipeline::views::TraceTokens;
use crate::plan::{DatasetSettings, Role};
use crate::recipe::run::Method;
use latrace_core::Split;
use latrace_core::random::stream;
use latrace_io::table::Table;

use super::StageWork;
use example::{merged, sequences};

pub use example::Example;

/// The row's own trace, for a question without a usable sampled trace.
const FELL_BACK: i64 = Provenance::FellBack.code();
/// The row's own trace, mixed in.
const MIXED_IN: i64 = Provenance::Original.code();

/// Builds the examples, in the same parts as the questions. Without sampled traces, only rows with their own
/// trace are built.
///
/// # Errors
/// Traces, answers and verdicts that do not match; tables that cannot be read or written.
pub fn run(settings: &DatasetSettings, work: StageWork<'_>) -> Result<Value> {
    let questions = work.input::<QuestionRecord>(Role::Questions)?;
    let out = work.output();
    let read = |part: usize| -> Result<_> {
        let samples = match work.inputs.optional(Role::Traces) {
            Some(traces) => read_samples(traces, work, part, settings)?,
            None => HashMap::new(),
        };
        Ok((questions.read(part)?, samples))
    };
    // Two passes over the parts, because the scale depends on all of them and only a few are held in memory.
    let count = |part: usize| -> Result<Totals> {
        let (questions, samples) = read(part)?;
        let mut totals = Totals::default();
        of_part(&questions, &samples, settings, &mut totals).map(|_| totals)
    };
    let mut totals = Totals::default();
    let parts = questions.parts()?;
    let of_parts: Vec<Totals> = (0..parts).into_par_iter().map(count).collect::<Result<_>>()?;
    of_parts.iter().for_each(|of_part| totals.add(of_part));
    let scale = totals.scale();
    let write = |part: usize| -> Result<()> {
        let (questions, samples) = read(part)?;
        let examples = of_part(&questions, &samples, settings, &mut Totals::default())?;
        out.write(part, &examples.iter().map(|example| example.record(scale)).collect::<Vec<_>>())
    };
    (0..parts).into_par_iter().try_for_each(write)?;
    Ok(totals.counts())
}

/// The examples of a part's training questions, before rescaling: those built from their traces, by id, and
/// their own rows.
///
/// # Errors
/// Traces, answers and verdicts that do not match.
pub fn of_part<'a>(
    questions: &'a [QuestionRecord],
    samples: &'a HashMap<String, SampledQuestion>,
    building: &DatasetSettings,
    totals: &mut Totals,
) -> Result<Vec<Example<'a>>> {
    // A policy gradient needs samples of the policy, and the rows' own traces are not.
    let originals = if building.method.is_policy_gradient() { 0.0 } else { building.dataset.originals };
    let mut examples = Vec::new();
    for question in questions.iter().filter(|question| question.split == Split::Train) {
        if let Some(sampled) = samples.get(&question.id) {
            examples.extend(of_question(question, sampled, building, totals)?);
        }
        examples.extend(Example::own(question, MIXED_IN, originals));
    }
    for example in &examples {
        match example.source {
            0.. => totals.built += 1,
            _ => totals.own += 1,
        }
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
    /// Of the sampled traces of each question, in order: summed only when all are known, so that the sum does not
    /// depend on how questions are parted.
    weights: Vec<f64>,
    built: usize,
    own: usize,
    /// Examples that the trainer would drop.
    too_long: usize,
}

impl Totals {
    /// The scale of sampled traces, on which a question with a usable trace has mean weight 1, the weight of a
    /// row's own trace.
    pub fn scale(&self) -> f64 {
        let total: f64 = self.weights.iter().sum();
        if total > 0.0 { self.used as f64 / total } else { 1.0 }
    }

    /// Adds the counts of other questions.
    fn add(&mut self, other: &Totals) {
        self.asked += other.asked;
        self.used += other.used;
        self.fell_back += other.fell_back;
        self.skipped += other.skipped;
        self.weights.extend(&other.weights);
        self.built += other.built;
        self.own += other.own;
        self.too_long += other.too_long;
    }

    /// The counts.
    pub fn counts(&self) -> Value {
        let Totals { asked, used, fell_back, skipped, built, own, too_long, .. } = self;
        json!({
            "questions": asked,
            "used": used,
            "fell_back": fell_back,
            "left_out": skipped,
            "built": built,
            "own": own,
            "too_long": too_long,
            "scale": self.scale(),
        })
    }
}

/// A question's traces in order of their numbers, with the records on them. Log-probs are there only where
/// policy gradients need them.
pub type SampledQuestion = QuestionTraces<TraceRecord, OnTrace<Verdict>>;

/// The samples of a part, by question.
fn read_samples(
    traces: &Path,
    work: StageWork<'_>,
    part: usize,
    settings: &DatasetSettings,
) -> Result<HashMap<String, SampledQuestion>> {
    let is_policy = settings.method.is_policy_gradient();
    let traces = if is_policy { Table::open(traces).read(part)? } else { read_tokens(traces, part)? };
    let mut join = Join::<TraceRecord, OnTrace<Verdict>>::new(traces, twice)?;
    if is_policy {
        let scores = work.input(Role::Scores)?.read(part)?;
        all_matched(&join.add(scores, OnTrace::put_score)?)?;
    }
    let weights = work.input(Role::Weights)?.read(part)?;
    all_matched(&join.add(weights, OnTrace::put_weight)?)?;
    let judged = (work.inputs.optional(Role::Answers), work.inputs.optional(Role::Verdicts));
    if let (Some(answers), Some(verdicts)) = judged {
        all_matched(&join.add(Table::open(answers).read(part)?, OnTrace::put_answer)?)?;
        let put = |_: &TraceRecord, on: &mut OnTrace<Verdict>, record: VerdictRecord| {
            on.put_verdict(&record, record.answer, record.verdict())
        };
        all_matched(&join.add(Table::open(verdicts).read(part)?, put)?)?;
    }
    Ok(join.into_questions().into_iter().map(|question| (question.id.clone(), question)).collect())
}

/// Traces without their log-probs, which are half of the table.
fn read_tokens(traces: &Path, part: usize) -> Result<Vec<TraceRecord>> {
    let traces = Table::<TraceTokens>::open(traces).read(part)?.into_iter();
    Ok(traces
        .map(|TraceTokens { id, sample, token_ids, closed }| TraceRecord {
            id,
            sample,
            token_ids,
            logprobs: Vec::new(),
            closed,
        })
        .collect())
}

/// The examples of a question: its weighted traces with answers, or its own row if none is usable.
fn of_question<'a>(
    question: &'a QuestionRecord,
    sampled: &'a SampledQuestion,
    building: &DatasetSettings,
    totals: &mut Totals,
) -> Result<Vec<Example<'a>>> {
    totals.asked += 1;
    let weights =
        sequence_weights(question, sampled, building).with_context(|| format!("question {}", question.id))?;
    let sequences = sequences(question, sampled, &weights, building.method.is_policy_gradient())?;
    let mut examples = merged(sequences, building.dataset.duplicates);
    let factor = question_factor(sampled, building.dataset.question_exponent);
    examples.iter_mut().for_each(|example| example.weight *= factor);
    // Weights may cancel when duplicates are merged, since advantages are signed.
    examples.retain(|example| example.weight != 0.0);
    // What the trainer would drop must not take its question with it: without other examples, it falls back.
    let whole = examples.len();
    examples.retain(|example| building.drop_above.is_none_or(|most| example.tokens() <= most));
    totals.too_long += whole - examples.len();
    if examples.is_empty() {
        // A policy gradient has no fallback: a question whose rewards are all equal gives no gradient.
        let fallback = building.fallbacks.of(&question.kind).unwrap_or(building.fallback);
        let falls_back = building.method == Method::Variational && fallback != Fallback::Skip;
        let own = if falls_back { Example::own(question, FELL_BACK, 1.0) } else { None };
        totals.fell_back += usize::from(own.is_some());
        totals.skipped += usize::from(own.is_none());
        return Ok(own.into_iter().collect());
    }
    totals.used += 1;
    // Absolute values, because advantages of either sign sum to about zero.
    totals.weights.push(examples.iter().map(|example| example.weight.abs()).sum());
    Ok(examples)
}

/// p^e, p the question's accuracy as the weights estimate it: the mean of rho over all of its traces, at most 1. Of
/// pi's own traces, that is the share of right answers. Without a right one, no exponent gives a gradient.
fn question_factor(sampled: &SampledQuestion, exponent: f64) -> f64 {
    if exponent == 0.0 {
        return 1.0;
    }
    let rho = |weight: &WeightRecord| Some((weight.log_ratio? + weight.log_answer?).exp());
    let rho_k = sampled.traces.iter().filter_map(|(_, on)| on.weight.as_ref().and_then(rho));
    let accuracy = (rho_k.sum::<f64>() / sampled.traces.len() as f64).min(1.0);
    if accuracy > 0.0 { accuracy.powf(exponent) } else { 0.0 }
}

/// One weight per trace and per answer, as the method defines it.
fn sequence_weights(
    question: &QuestionRecord,
    sampled: &SampledQuestion,
    building: &DatasetSettings,
) -> Result<SequenceWeights> {
    let verdict_km = verdicts_of(sampled, building.answers)?;
    let group = Group::new(sampled.traces.len())?.with_verdicts(&verdict_km)?;
    if building.method == Method::Variational {
        return chosen_weights(question, sampled, &group, building);
    }
    let log = |pick: fn(&WeightRecord) -> Option<f64>| -> Vec<f64> {
        let of_trace = |(_, on): &(TraceRecord, OnTrace<Verdict>)| on.weight.as_ref().and_then(pick);
        sampled.traces.iter().map(|trace| of_trace(trace).unwrap_or(f64::NEG_INFINITY)).collect()
    };
    let (log_ratio_k, log_answer_k) = (log(|weight| weight.log_ratio), log(|weight| weight.log_answer));
    let group = group.with_log_ratio(&log_ratio_k)?.with_log_answer(&log_answer_k)?;
    let objective = match building.method {
        Method::Variational | Method::Sft | Method::Rft => Objective::Rft,
        Method::BinaryRl => Objective::BinaryReward,
        Method::Grpo => Objective::Grpo,
        Method::MaxRl => Objective::MaxRl,
        Method::Verifree => Objective::VeriFree,
        Method::SelfDistillation => bail!("self-distillation weighs tokens, not whole answers"),
    };
    Ok(objective.weights(&group)?)
}

/// Verdicts over (k, m). The answers of an unfinished trace are malformed. If no answers were sampled, the
/// reference answer follows each finished trace and is correct by definition.
fn verdicts_of(sampled: &SampledQuestion, n: u64) -> Result<Vec<Verdict>> {
    let traces = sampled.traces.iter();
    if !has_answers(sampled) {
        let verdict = |closed| if closed { Verdict::Correct } else { Verdict::Malformed };
        return Ok(traces.map(|(trace, _)| verdict(trace.closed)).collect());
    }
    let mut verdict_km = Vec::with_capacity(sampled.traces.len() * n as usize);
    for (trace, on) in traces {
        // Unfinished traces were never answered; the verdicts must still form a full K × M table.
        if on.answers.is_empty() {
            verdict_km.resize(verdict_km.len() + n as usize, Verdict::Malformed);
        }
        for (answer, verdict) in &on.answers {
            let missing = || format!("{}: answer {} has no verdict", name(trace), answer.answer);
            verdict_km.push((*verdict).with_context(missing)?);
        }
    }
    Ok(verdict_km)
}

pub(super) fn has_answers(sampled: &SampledQuestion) -> bool {
    sampled.traces.iter().any(|(_, on)| !on.answers.is_empty())
}

/// (6) after selection: each trace's weight, divided among its answers.
fn chosen_weights(
    question: &QuestionRecord,
    sampled: &SampledQuestion,
    group: &Group<'_>,
    building: &DatasetSettings,
) -> Result<SequenceWeights> {
    let traces = &sampled.traces;
    let chosen_k: Vec<f64> =
        traces.iter().map(|(_, on)| on.weight.as_ref().map_or(0.0, |weight| weight.chosen)).collect();
    // Seeded by the trace's own number, so that the draw does not depend on the other traces.
    let rng_of_trace =
        |k: usize| Rng::new(stream(building.seed, "dataset", &question.id, traces[k].0.sample));
    Ok(multi_trace::chosen_weights(group, &chosen_k, building.dataset.answers, rng_of_trace)?)
}

#[cfg(test)]
mod tests;
