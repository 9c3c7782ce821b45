//! Rows of other verbs as records of a run, and records of examples as rows for `latrace train`.

use std::borrow::Cow;

use latrace_core::{Split, UnknownVerdict, Verdict, stated_verdict};
use latrace_io::rows::{FieldProblem, Row, describe, field, id_of, shortest};
use latrace_run::join::OfTrace;
use latrace_run::pipeline::records::{
    AnswerRecord, ExampleRecord, QuestionRecord, ScoreRecord, TraceRecord, WeightRecord,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::verbs::input::{Parsed, id_text};
use crate::verbs::output::add_fields;

/// A row of `latrace questions --model`.
pub(super) fn question(row: &Row) -> Parsed<QuestionRecord> {
    Ok(QuestionRecord {
        id: id(row)?,
        // Questions of other splits are never built, so a row that names none is for training.
        split: optional(row, "split")?.unwrap_or(Split::Train),
        prompt_ids: required(row, "prompt_ids")?,
        trace_ids: optional(row, "trace_ids")?,
        answer_ids: optional(row, "answer_ids")?,
        // Examples hold token ids alone, so the texts and the verifier's fields are not read.
        question: String::new(),
        hint: None,
        difficulty: None,
        kind: String::new(),
        reference: String::new(),
        posterior_prompt_ids: None,
    })
}

/// A row of `latrace sample`, or of a run's table. A trace of a table says in `closed` whether it is finished;
/// one written by `latrace sample` is finished if it stopped at a stop string.
pub(super) fn trace(row: &Row) -> Parsed<TraceRecord> {
    let stopped = stopped(row)?;
    let closed = optional(row, "closed")?.unwrap_or(stopped);
    // A finished trace has its log-probs in its score record, so keeping both would double the memory.
    let logprobs = if closed { Vec::new() } else { optional(row, "logprobs")?.unwrap_or_default() };
    let (sample, token_ids) = (required(row, "sample")?, required(row, "token_ids")?);
    Ok(TraceRecord { id: id(row)?, sample, token_ids, logprobs, closed })
}

/// Whether a sample ended where it should. Traces from elsewhere have no reason, and are taken to be whole.
fn stopped(row: &Row) -> Parsed<bool> {
    Ok(optional::<String>(row, "stop_reason")?.is_none_or(|reason| reason == "stop_string"))
}

/// A row of `latrace weigh`.
pub(super) fn weight(row: &Row) -> Parsed<WeightRecord> {
    let resolution: Option<String> = optional(row, "resolution")?;
    Ok(WeightRecord {
        id: id(row)?,
        sample: required(row, "sample")?,
        log_ratio: optional(row, "log_ratio")?,
        log_answer: optional(row, "log_answer")?,
        weight: required(row, "weight")?,
        chosen: required(row, "chosen")?,
        // Then the reference answer follows the trace, not those that were sampled.
        by_reference: resolution.is_some_and(|resolution| resolution == "geometric-likelihood"),
    })
}

/// A row of `latrace score`.
pub(super) fn score(row: &Row) -> Parsed<ScoreRecord> {
    let (sample, logprobs) = (required(row, "sample")?, required(row, "logprobs")?);
    // Only weights are computed from the reference's log-probs, and weights are an input of their own.
    Ok(ScoreRecord { id: id(row)?, sample, logprobs, reference_logprobs: None })
}

/// A row of `latrace answer`, or of a run's table.
pub(super) fn answer(row: &Row) -> Parsed<AnswerRecord> {
    let (given, token_ids) = answer_ids(row)?;
    Ok(AnswerRecord {
        id: id(row)?,
        sample: required(row, "sample")?,
        answer: required(row, "answer")?,
        given,
        token_ids,
        logprobs: required(row, "logprobs")?,
        // Neither is read by what builds examples: an answer's verdict says whether it is used.
        ended: true,
        text: String::new(),
    })
}

/// The number of given tokens that an answer begins with, and all of its tokens. `latrace answer` writes the
/// given tokens in a field of their own; a run's table has them before the others, with their number.
fn answer_ids(row: &Row) -> Parsed<(u64, Vec<u32>)> {
    let drawn: Vec<u32> = required(row, "token_ids")?;
    match optional::<Vec<u32>>(row, "given_ids")? {
        Some(given) => Ok((given.len() as u64, [given, drawn].concat())),
        None => Ok((optional(row, "given")?.unwrap_or(0), drawn)),
    }
}

/// A stated verdict on an answer.
pub(super) struct StatedVerdict {
    id: String,
    sample: u64,
    pub(super) answer: u64,
    pub(super) verdict: Verdict,
}

impl OfTrace for StatedVerdict {
    fn question(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.id)
    }

    fn sample(&self) -> u64 {
        self.sample
    }
}

/// A row of `latrace verify`.
pub(super) fn verdict(row: &Row) -> Parsed<StatedVerdict> {
    let (stated, reason): (String, Option<String>) = (required(row, "verdict")?, optional(row, "reason")?);
    let verdict = stated_verdict(&stated, reason.as_deref()).map_err(|unknown| problem_of(&unknown))?;
    let (sample, answer) = (required(row, "sample")?, required(row, "answer")?);
    Ok(StatedVerdict { id: id(row)?, sample, answer, verdict })
}

fn problem_of(unknown: &UnknownVerdict) -> FieldProblem {
    FieldProblem::new("verdict", UnknownVerdict::EXPECTED, format!("{:?}", unknown.name))
}

/// An id as records store it: always a string.
fn id(row: &Row) -> Parsed<String> {
    let id = id_of(row)?.ok_or_else(|| FieldProblem::new("id", "a string or an integer", "nothing"))?;
    Ok(id_text(&id))
}

fn required<T: DeserializeOwned>(row: &Row, name: &str) -> Parsed<T> {
    optional(row, name)?.ok_or_else(|| FieldProblem::new(name, "a value", "nothing"))
}

fn optional<T: DeserializeOwned>(row: &Row, name: &str) -> Parsed<Option<T>> {
    field(row, name).map(|value| of_type(name, value)).transpose()
}

fn of_type<T: DeserializeOwned>(name: &str, value: &Value) -> Parsed<T> {
    T::deserialize(value)
        .map_err(|error| FieldProblem::new(name, format!("another value ({error})"), describe(value)))
}

/// An example as a row for `latrace train`.
pub(super) fn of_example(example: &ExampleRecord) -> Row {
    let mut row = Row::new();
    add_fields(
        &mut row,
        [
            ("id", json!(example.id)),
            ("source", json!(example.source)),
            ("prompt_ids", json!(example.prompt_ids)),
            ("response_ids", json!(example.response_ids)),
            ("trace_tokens", json!(example.trace_tokens)),
        ],
    );
    match &example.old_logprobs {
        None => add_fields(&mut row, [("weight", json!(example.weight))]),
        Some(old) => add_policy_gradient(&mut row, example, old),
    }
    row
}

fn add_policy_gradient(row: &mut Row, example: &ExampleRecord, old_logprobs: &[f32]) {
    // As an f32 prints: not with the digits of its nearest f64.
    let old_logprobs: Value = old_logprobs.iter().map(|&logp| json!(shortest(logp))).collect();
    add_fields(row, [("advantages", json!(advantages(example))), ("old_logprobs", old_logprobs)]);
}

/// An advantage per token, as `latrace train` takes them: the given tokens were not sampled, and get none.
fn advantages(example: &ExampleRecord) -> Vec<f64> {
    let mut advantages = vec![example.weight; example.response_ids.len()];
    let (trace, given) = (example.trace_tokens as usize, example.given as usize);
    advantages[trace..trace + given].fill(0.0);
    advantages
}
