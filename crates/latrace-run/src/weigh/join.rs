//! Joins traces, scores, verdicts and references on (id, sample), never by row order. Errors name the file
//! and row that do not join.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use latrace_core::{Reason, UnknownVerdict, Verdict, stated_verdict};
use latrace_objective::{
    AnswerAccuracy, AnswerEstimator, AnswerEvidence, AnswerScore, JudgedAnswer, SampledRest, TraceScore,
};
use serde_json::Value;

use super::drawn::{Distribution, Drawn, distribution_of_all};
use super::sums::{self, Origin, Sums};
use super::{Evidence, TraceGroup, WeighConfig};
use crate::join::{Join, OfTrace, QuestionTraces, name};
use latrace_io::failure::Failure;
use latrace_io::progress::{Progress, SharedProgress};
use latrace_io::rows::{FieldProblem, Row, describe, field};

/// The field of a verdict's row that says whether the answer is the reference answer.
pub const IS_REFERENCE: &str = "is_reference";

/// The stop reason of the answers of a trace without an end.
pub const OPEN_TRACE: &str = "open_trace";

/// The input files.
#[derive(Clone, Debug)]
pub struct WeighInputs {
    /// Traces with log q: `id`, `sample`, `logprobs`, and `sampling` (how they were drawn).
    pub traces: PathBuf,
    /// The same traces with log pi: `id`, `sample`, `logprobs`.
    pub scores: PathBuf,
    /// Verdicts on answers after the traces: `id`, `sample`, `verdict`; several for each trace. With
    /// `is_reference` they contribute to a bound.
    pub verdicts: Option<PathBuf>,
    /// log pi of the reference answer after each trace: `id`, `sample`, `logprobs`. If only the fallback
    /// needs them, rows for the questions that may fall back suffice; a bound needs all.
    pub references: Option<PathBuf>,
}

/// What is known of a trace.
#[derive(Default)]
struct OnTrace {
    score: Option<Sums>,
    answers: Vec<StatedAnswer>,
    reference: Option<Sums>,
}

/// What a row states of an answer.
struct StatedAnswer {
    verdict: Verdict,
    /// Whether it is the reference answer, if stated.
    is_reference: Option<bool>,
    /// Whether its trace has no end.
    is_open: bool,
    /// Whether nothing can judge it.
    is_unverified: bool,
    /// The distribution that it was drawn from, if stated.
    sampling: Option<Distribution>,
}

/// An answer after a trace.
struct StatedVerdict {
    id: Value,
    sample: u64,
    answer: StatedAnswer,
    origin: Origin,
}

/// A row on a trace, with its place in a file.
trait OnRow: OfTrace {
    fn origin(&self) -> &Origin;
}

macro_rules! on_row {
    ($($row:ty),+) => {$(
        impl OfTrace for $row {
            fn question(&self) -> Cow<'_, str> {
                // As JSON, because 7 and "7" are two questions.
                Cow::Owned(self.id.to_string())
            }

            fn sample(&self) -> u64 {
                self.sample
            }
        }

        impl OnRow for $row {
            fn origin(&self) -> &Origin {
                &self.origin
            }
        }
    )+};
}

on_row!(Sums, StatedVerdict);

/// Traces with their evidence by question, in file order. A run's unfinished traces (`closed` is false), and
/// those that were cut off and that nothing follows, are only counted.
pub(super) fn join(inputs: &WeighInputs, config: &WeighConfig) -> Result<(Vec<TraceGroup>, Drawn)> {
    let WeighInputs { traces, scores, verdicts, references } = inputs;
    let paths = [Some(traces), Some(scores), verdicts.as_ref(), references.as_ref()];
    let total = sums::count_rows(&paths.into_iter().flatten().map(PathBuf::as_path).collect::<Vec<_>>())?;
    let progress = SharedProgress::new(Progress::new("rows read", 0, total));
    let sampled = sums::read(traces, &progress)?;
    let of_traces = distribution_of_all(sampled.iter().map(|trace| trace.sampling));
    let mut join = Join::<Sums, OnTrace>::new(sampled, twice)?;
    let scores_left = join.add(sums::read(scores, &progress)?, |_, on, score| put(&mut on.score, score))?;
    let judge = |_: &Sums, on: &mut OnTrace, stated: StatedVerdict| {
        on.answers.push(stated.answer);
        Ok(())
    };
    let stated = verdicts.as_deref().map_or(Ok(Vec::new()), |path| read_verdicts(path, &progress))?;
    let of_answers = distribution_of_all(stated.iter().map(|stated| stated.answer.sampling));
    let verdicts_left = join.add(stated, judge)?;
    let scored = references.as_deref().map_or(Ok(Vec::new()), |path| sums::read(path, &progress))?;
    let references_left = join.add(scored, |_, on, sums| put(&mut on.reference, sums))?;
    progress.finish();
    let groups = join.into_questions().into_iter().map(|question| group(question, inputs, config));
    let groups: Vec<TraceGroup> = groups.collect::<Result<_>>()?;
    // Last, because where ids differ in spelling, the trace without a row tells more than the row without one.
    all_matched(scores_left, scores, traces)?;
    verdicts.as_deref().map_or(Ok(()), |path| all_matched(verdicts_left, path, traces))?;
    references.as_deref().map_or(Ok(()), |path| all_matched(references_left, path, traces))?;
    Ok((groups, Drawn { traces: of_traces, answers: of_answers }))
}

/// A question's evidence. Verdicts and references may be missing for a whole question where its fallback uses
/// the other kind, never for some of its traces.
fn group(
    question: QuestionTraces<Sums, OnTrace>,
    inputs: &WeighInputs,
    config: &WeighConfig,
) -> Result<TraceGroup> {
    let (closed, unended): (Vec<_>, Vec<_>) =
        question.traces.into_iter().partition(|(trace, on)| trace.closed && !is_only_counted(trace, on));
    let id = closed.first().or(unended.first()).map_or(Value::Null, |(trace, _)| trace.id.clone());
    let may_lack = config.answer == AnswerEstimator::Accuracy && config.reads_references();
    let has_verdicts: fn(&Sums, &OnTrace) -> bool = |_, on| !on.answers.is_empty();
    let has_reference: fn(&Sums, &OnTrace) -> bool =
        |trace, on| on.reference.is_some() || !has_end(trace, on);
    for (path, has) in [(&inputs.verdicts, has_verdicts), (&inputs.references, has_reference)] {
        let Some(path) = path else { continue };
        let is_known = closed.iter().any(|(trace, on)| has_end(trace, on) && has(trace, on));
        match closed.iter().find(|(trace, on)| !has(trace, on)) {
            Some((trace, _)) if is_known => {
                return Err(missing(trace, path).hint("other traces of the same question have one").into());
            }
            Some((trace, _)) if !may_lack => return Err(missing(trace, path).into()),
            _ => {}
        }
    }
    let unverified = closed.iter().any(|(_, on)| is_unverified(on));
    let traces =
        closed.into_iter().map(|(trace, on)| evidence(trace, on, &inputs.scores)).collect::<Result<_>>()?;
    Ok(TraceGroup { id, traces, unended: unended.len(), unverified, fallback: None })
}

/// Whether answers can follow a trace: not if it was cut off, or its answers' rows say so.
fn has_end(trace: &Sums, on: &OnTrace) -> bool {
    !trace.cut_off && !on.answers.iter().any(|answer| answer.is_open)
}

/// Whether nothing can judge the answers after a trace.
fn is_unverified(on: &OnTrace) -> bool {
    on.answers.iter().any(|answer| answer.is_unverified)
}

/// Whether a trace was cut off, and nothing follows it.
fn is_only_counted(trace: &Sums, on: &OnTrace) -> bool {
    trace.cut_off && on.answers.is_empty() && on.reference.is_none()
}

fn evidence(trace: Sums, on: OnTrace, scores: &Path) -> Result<Evidence> {
    let ended = has_end(&trace, &on);
    let unverified = is_unverified(&on);
    let score = on.score.ok_or_else(|| missing(&trace, scores))?;
    let logp_sum = same_tokens(&trace, &score)?;
    // What nothing could judge is no evidence: the answers are neither right nor wrong.
    let answers = if unverified { &[] } else { on.answers.as_slice() };
    let verdicts: Vec<Verdict> = answers.iter().map(|answer| answer.verdict).collect();
    let answer = AnswerEvidence {
        accuracy: (!verdicts.is_empty()).then(|| AnswerAccuracy::from_verdicts(&verdicts)).transpose()?,
        rest: rest(answers)?,
        reference: on.reference.map(|sums| AnswerScore { logp_sum: sums.sum, tokens: sums.tokens }),
    };
    let score = TraceScore { logp_sum, logq_sum: trace.sum, tokens: trace.tokens };
    Ok(Evidence { id: trace.id, sample: trace.sample, score, ended, answer })
}

/// The correct answers that are not the reference answer; `None` if an answer does not state which it is.
fn rest(answers: &[StatedAnswer]) -> Result<Option<SampledRest>> {
    let judged = |answer: &StatedAnswer| {
        Some(JudgedAnswer { verdict: answer.verdict, is_reference: answer.is_reference? })
    };
    let answers: Option<Vec<JudgedAnswer>> = answers.iter().map(judged).collect();
    let answers = answers.filter(|answers| !answers.is_empty());
    Ok(answers.map(|answers| SampledRest::from_answers(&answers)).transpose()?)
}

fn missing(trace: &Sums, path: &Path) -> Failure {
    Failure::work(format!("{}: {} has no row in {}", trace.origin, name(trace), path.display()))
}

/// log pi of a trace, after checking that it has as many tokens as were scored.
fn same_tokens(trace: &Sums, score: &Sums) -> Result<f64> {
    if score.tokens == trace.tokens {
        return Ok(score.sum);
    }
    let expected = format!("{} log-probs, as {} has at {}", trace.tokens, name(trace), trace.origin);
    let problem = FieldProblem::new("logprobs", expected, format!("a list of {}", score.tokens));
    let hint = "score the traces' own token_ids, not their text";
    bail!(Failure::work(format!("{}: {problem}", score.origin)).hint(hint))
}

fn put(place: &mut Option<Sums>, sums: Sums) -> Result<()> {
    if let Some(earlier) = place {
        return Err(twice(&sums, earlier));
    }
    *place = Some(sums);
    Ok(())
}

fn twice(later: &Sums, earlier: &Sums) -> anyhow::Error {
    Failure::work(format!("{}: {} appears again, after {}", later.origin, name(later), earlier.origin)).into()
}

/// Refuses rows without a trace, with the first of them.
fn all_matched<R: OnRow>(unmatched: Vec<R>, path: &Path, traces: &Path) -> Result<()> {
    let Some(first) = unmatched.iter().min_by_key(|row| row.origin()) else { return Ok(()) };
    let others = match unmatched.len() - 1 {
        0 => String::new(),
        count => format!(", nor have {count} others of {}", path.display()),
    };
    let message = format!("{}: {} has no trace in {}{others}", first.origin(), name(first), traces.display());
    Err(Failure::work(message).into())
}

/// Verdicts on the answers of each trace.
fn read_verdicts(path: &Path, progress: &SharedProgress) -> Result<Vec<StatedVerdict>> {
    let mut all = Vec::new();
    sums::read_rows(
        path,
        progress,
        |row| Ok((sums::key_of(row)?, stated_answer(row)?)),
        |((id, sample), answer), origin| {
            all.push(StatedVerdict { id, sample, answer, origin: origin.clone() });
        },
    )?;
    Ok(all)
}

fn stated_answer(row: &Row) -> Result<StatedAnswer, FieldProblem> {
    let is_reference = match field(row, IS_REFERENCE) {
        None => None,
        Some(Value::Bool(is_reference)) => Some(*is_reference),
        Some(other) => return Err(FieldProblem::new(IS_REFERENCE, "true or false", describe(other))),
    };
    Ok(StatedAnswer {
        verdict: verdict_of(row)?,
        is_reference,
        is_unverified: field(row, "reason").is_some_and(|reason| reason == Reason::NoVerifier.code()),
        is_open: field(row, sums::STOP_REASON).is_some_and(|reason| reason == OPEN_TRACE),
        sampling: Distribution::of_row(row)?,
    })
}

fn verdict_of(row: &Row) -> Result<Verdict, FieldProblem> {
    let problem = |got| FieldProblem::new("verdict", UnknownVerdict::EXPECTED, got);
    let got = field(row, "verdict");
    let reason = field(row, "reason").and_then(Value::as_str);
    let name =
        got.and_then(Value::as_str).ok_or_else(|| problem(got.map_or("nothing".to_owned(), describe)))?;
    stated_verdict(name, reason).map_err(|_| problem(got.map_or_else(String::new, describe)))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::*;

    /// The groups of rows written to files, or the message of what is wrong with them.
    fn joined(
        traces: &[Value],
        scores: &[Value],
        verdicts: &[Value],
        references: &[Value],
    ) -> Result<Vec<TraceGroup>, String> {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, rows: &[Value]| {
            let path = folder.path().join(name);
            fs::write(&path, rows.iter().map(|row| format!("{row}\n")).collect::<String>()).unwrap();
            path
        };
        let optional = |name: &str, rows: &[Value]| (!rows.is_empty()).then(|| write(name, rows));
        let inputs = WeighInputs {
            traces: write("traces.jsonl", traces),
            scores: write("scores.jsonl", scores),
            verdicts: optional("verdicts.jsonl", verdicts),
            references: optional("references.jsonl", references),
        };
        join(&inputs, &WeighConfig::default()).map(|(groups, _)| groups).map_err(|error| format!("{error:#}"))
    }

    fn sums(sample: u64, logprobs: &[f64]) -> Value {
        json!({"id": "q", "sample": sample, "logprobs": logprobs})
    }

    fn cut_off(sample: u64) -> Value {
        json!({"id": "q", "sample": sample, "logprobs": [-1.0, -1.0], "stop_reason": "max_tokens"})
    }

    fn verdict(sample: u64) -> Value {
        json!({"id": "q", "sample": sample, "verdict": "correct"})
    }

    #[test]
    fn a_trace_that_was_cut_off_is_only_counted_where_nothing_follows_it() {
        let traces = [sums(0, &[-1.0, -1.0]), cut_off(1), cut_off(2)];
        let scores = [0, 1, 2].map(|sample| sums(sample, &[-2.0, -2.0]));
        let group = |verdicts: &[Value], references: &[Value]| {
            let groups = joined(&traces, &scores, verdicts, references).unwrap();
            assert_eq!(groups.len(), 1);
            let group = &groups[0];
            let ended: Vec<(u64, bool)> =
                group.traces.iter().map(|trace| (trace.sample, trace.ended)).collect();
            (ended, group.unended)
        };
        assert_eq!(group(&[verdict(0)], &[]), (vec![(0, true)], 2));
        assert_eq!(group(&[verdict(0), verdict(1)], &[]), (vec![(0, true), (1, false)], 1));
        let references = [sums(0, &[-1.0]), sums(1, &[-1.0])];
        assert_eq!(
            group(&[verdict(0), verdict(1), verdict(2)], &references),
            (vec![(0, true), (1, false), (2, false)], 0)
        );
        // With the verdicts of the whole traces alone, a reference keeps the cut one among those that are weighed.
        let error = joined(&traces, &scores, &[verdict(0)], &references).unwrap_err();
        assert!(error.contains("traces.jsonl line 2: id \"q\", sample 1 has no row in"), "{error}");
    }

    #[test]
    fn a_trace_and_its_score_have_the_same_tokens() {
        for logprobs in [&[-2.0][..], &[-2.0, -2.0, -2.0]] {
            let error =
                joined(&[sums(0, &[-1.0, -1.0])], &[sums(0, logprobs)], &[verdict(0)], &[]).unwrap_err();
            let expected = format!("got a list of {}", logprobs.len());
            assert!(error.contains("expected 2 log-probs") && error.contains(&expected), "{error}");
        }
    }

    #[test]
    fn answers_make_no_bound_unless_each_says_whether_it_is_the_reference() {
        let rest = |marks: &[Option<bool>]| {
            let verdicts: Vec<Value> = marks
                .iter()
                .map(|mark| json!({"id": "q", "sample": 0, "verdict": "correct", "is_reference": mark}))
                .collect();
            let groups = joined(&[sums(0, &[-1.0])], &[sums(0, &[-2.0])], &verdicts, &[]).unwrap();
            groups[0].traces[0].answer.rest.is_some()
        };
        assert!(rest(&[Some(true), Some(false)]));
        assert!(!rest(&[Some(true), None]));
    }
}
