//! Training sequences of a question: a trace and an answer, with a weight. They borrow their tokens, which are
//! copied only where a sequence is written.

use anyhow::{Context, Result};
use latrace_objective::{SequenceWeights, Verdict};

use super::{SampledQuestion, has_answers};
use crate::join::{OnTrace, name};
use crate::pipeline::records::{ExampleRecord, QuestionRecord, TraceRecord};
use crate::recipe::run::Duplicates;

/// A training sequence.
#[derive(Clone, Debug)]
pub struct Example<'a> {
    question: &'a QuestionRecord,
    pub(super) source: i64,
    trace_ids: &'a [u32],
    answer: Answer<'a>,
    /// Its weight, or its advantage, before rescaling.
    pub(super) weight: f64,
    /// For policy gradients: log-probs of the trace's tokens under the model that sampled them.
    old_logprobs: Option<&'a [f32]>,
}

/// An answer in the form that examples need.
#[derive(Clone, Copy, Debug, Default)]
struct Answer<'a> {
    token_ids: &'a [u32],
    /// How many of the first tokens were given, not sampled.
    given: usize,
    /// Of the sampled tokens.
    logprobs: &'a [f32],
}

impl<'a> Example<'a> {
    /// A row's own trace and answer, if it has both and a weight.
    pub(super) fn own(question: &'a QuestionRecord, source: i64, weight: f64) -> Option<Example<'a>> {
        let (trace_ids, answer) = (question.trace_ids.as_deref()?, own_answer(question).ok()?);
        let example = Example { question, source, trace_ids, answer, weight, old_logprobs: None };
        (weight > 0.0).then_some(example)
    }

    /// The example as it is written, with the scale of all examples. Only sampled traces are rescaled: the weight
    /// of a row's own trace is set by the recipe.
    pub fn record(&self, scale: f64) -> ExampleRecord {
        let Answer { token_ids, given, logprobs } = self.answer;
        let old_logprobs = self.old_logprobs.map(|of_trace| [of_trace, &vec![0.0; given], logprobs].concat());
        ExampleRecord {
            id: self.question.id.clone(),
            source: self.source,
            prompt_ids: self.question.prompt_ids.clone(),
            trace_tokens: self.trace_ids.len() as u64,
            response_ids: [self.trace_ids, token_ids].concat(),
            weight: if self.source >= 0 { self.weight * scale } else { self.weight },
            given: given as u64,
            old_logprobs,
            advantages: None,
        }
    }

    /// Its tokens, prompt included.
    pub(super) fn tokens(&self) -> usize {
        self.question.prompt_ids.len() + self.trace_ids.len() + self.answer.token_ids.len()
    }

    /// Whether both are the same tokens. A trace ends with the first closing marker in it, so that equal
    /// sequences have equal traces.
    fn is_same(&self, other: &Example<'_>) -> bool {
        self.answer.token_ids == other.answer.token_ids
            && (self.source == other.source || self.trace_ids == other.trace_ids)
    }
}

/// Pairs each trace with each of its answers of non-zero weight. Weight that no answer takes stays with the
/// trace alone.
pub(super) fn sequences<'a>(
    question: &'a QuestionRecord,
    sampled: &'a SampledQuestion,
    weights: &SequenceWeights,
    is_policy: bool,
) -> Result<Vec<Example<'a>>> {
    let n = weights.answer_km.len() / sampled.traces.len().max(1);
    let answered = has_answers(sampled);
    let mut all = Vec::new();
    for (k, (trace, on)) in sampled.traces.iter().enumerate() {
        let answer_m = &weights.answer_km[k * n..(k + 1) * n];
        if trace.closed {
            let of_trace = OfTrace { question, trace, on, answered, is_policy };
            of_trace.push_sequences(weights.trace_k[k], answer_m, &mut all)?;
        } else if is_policy && weights.trace_k[k] != 0.0 {
            // An unfinished trace has no answer. A policy gradient counts that against it, and other methods
            // skip it. The policy itself sampled it, so its log-probs are the old ones.
            let (source, trace_ids) = (trace.sample as i64, trace.token_ids.as_slice());
            let (answer, old_logprobs) = (Answer::default(), Some(trace.logprobs.as_slice()));
            all.push(Example {
                question,
                source,
                trace_ids,
                answer,
                weight: weights.trace_k[k],
                old_logprobs,
            });
        }
    }
    Ok(all)
}

/// A finished trace.
struct OfTrace<'a> {
    question: &'a QuestionRecord,
    trace: &'a TraceRecord,
    on: &'a OnTrace<Verdict>,
    /// Whether answers were sampled.
    answered: bool,
    is_policy: bool,
}

impl<'a> OfTrace<'a> {
    fn push_sequences(&self, weight: f64, answer_m: &[f64], all: &mut Vec<Example<'a>>) -> Result<()> {
        for (m, &weight) in answer_m.iter().enumerate().filter(|(_, weight)| **weight != 0.0) {
            let answer = if self.answered { self.sampled_answer(m)? } else { own_answer(self.question)? };
            all.push(self.example(answer, weight));
        }
        // Apart from rounding, only a trace without a correct answer has weight left.
        let left = answer_m.iter().fold(weight, |left, of_answer| left - of_answer);
        if left.abs() > 1e-9 {
            let by_reference = self.on.weight.as_ref().is_some_and(|weight| weight.by_reference);
            let answer = if by_reference { own_answer(self.question)? } else { Answer::default() };
            all.push(self.example(answer, left));
        }
        Ok(())
    }

    /// Answer m of the trace.
    fn sampled_answer(&self, m: usize) -> Result<Answer<'a>> {
        let missing = || format!("{} has no answer {m}", name(self.trace));
        let (answer, _) = self.on.answers.get(m).with_context(missing)?;
        Ok(Answer { token_ids: &answer.token_ids, given: answer.given as usize, logprobs: &answer.logprobs })
    }

    fn example(&self, answer: Answer<'a>, weight: f64) -> Example<'a> {
        let score = self.on.score.as_ref().filter(|_| self.is_policy);
        Example {
            question: self.question,
            source: self.trace.sample as i64,
            trace_ids: &self.trace.token_ids,
            answer,
            weight,
            old_logprobs: score.map(|score| score.logprobs.as_slice()),
        }
    }
}

fn own_answer(question: &QuestionRecord) -> Result<Answer<'_>> {
    let missing = "the question has no answer of its own, and none was sampled";
    let token_ids = question.answer_ids.as_deref().context(missing)?;
    Ok(Answer { token_ids, ..Answer::default() })
}

/// Merges identical sequences, with the sum of their weights or with the weight of one. Sequences of a question
/// are few, and different ones differ early: comparing all pairs costs less than hashing each.
pub(super) fn merged(examples: Vec<Example<'_>>, duplicates: Duplicates) -> Vec<Example<'_>> {
    let mut merged: Vec<Example<'_>> = Vec::new();
    for example in examples {
        match merged.iter_mut().find(|earlier| earlier.is_same(&example)) {
            None => merged.push(example),
            Some(earlier) if duplicates == Duplicates::Add => earlier.weight += example.weight,
            Some(_) => {}
        }
    }
    merged
}
