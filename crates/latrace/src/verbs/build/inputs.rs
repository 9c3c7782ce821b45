//! The inputs of `latrace build`, joined on `id`, `sample` and `answer`.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use anyhow::Result;
use latrace_core::Verdict;
use latrace_io::failure::Failure;
use latrace_io::rows::{BadRows, FieldProblem, Row, RowReader, files_of};
use latrace_run::join::{Join, OfTrace, OnTrace, all_matched, name, twice};
use latrace_run::pipeline::records::{QuestionRecord, TraceRecord};
use latrace_run::recipe::run::Method;
use latrace_run::stages::dataset::SampledQuestion;

use super::BuildArguments;
use super::rows;
use crate::verbs::input::{Parsed, read_rows};

/// The questions of a path, whose ids must differ.
pub(super) fn read_questions(path: &Path) -> Result<Vec<QuestionRecord>> {
    let mut seen = HashSet::new();
    read(path, |row| {
        let question = rows::question(&row)?;
        if seen.insert(question.id.clone()) { Ok(question) } else { Err(used_twice(&question.id)) }
    })
}

fn used_twice(id: &str) -> FieldProblem {
    FieldProblem::new("id", "an id not used by an earlier question", format!("{id:?}"))
}

/// The traces with their weights, scores, answers and verdicts, by question.
pub(super) fn read_samples(
    arguments: &BuildArguments,
    questions: &[QuestionRecord],
) -> Result<HashMap<String, SampledQuestion>> {
    // SFT trains on the questions' own traces, whatever else is given.
    let Some(path) = arguments.traces.as_deref().filter(|_| arguments.method != Method::Sft) else {
        return Ok(HashMap::new());
    };
    let mut join = named(path, Join::new(read_traces(path, questions)?, twice))?;
    add_all(&mut join, arguments)?;
    let questions = join.into_questions();
    // Only now: what a trace lacks is known when every input has been joined to it.
    let mut traces = questions.iter().flat_map(|question| &question.traces);
    traces.try_for_each(|(trace, on)| check_complete(trace, on, arguments))?;
    Ok(questions.into_iter().map(|question| (question.id.clone(), question)).collect())
}

/// All rows of a path's files, as `parse` reads them.
fn read<T>(path: &Path, mut parse: impl FnMut(Row) -> Parsed<T>) -> Result<Vec<T>> {
    let mut all = Vec::new();
    for file in files_of(path)? {
        // Bad rows are never skipped here: a question without one of its rows would be weighted wrongly.
        let mut reader = RowReader::open(&file, BadRows::Stop)?;
        all.extend(read_rows(&mut reader, |_, row| parse(row))?);
    }
    Ok(all)
}

/// The traces of a path, in order of their numbers within each question.
fn read_traces(path: &Path, questions: &[QuestionRecord]) -> Result<Vec<TraceRecord>> {
    let mut traces = read(path, |row| rows::trace(&row))?;
    check_finished(path, &traces)?;
    check_known(path, &traces, questions)?;
    // The sort is stable, so questions keep the order of their first traces.
    traces.sort_by_key(|trace| trace.sample);
    Ok(traces)
}

/// Refuses traces of which none is finished: all would be dropped, and the usual cause is a missing option.
fn check_finished(path: &Path, traces: &[TraceRecord]) -> Result<()> {
    let any = traces.iter().any(|trace| trace.closed);
    if any { Ok(()) } else { Err(no_finished_trace(path).into()) }
}

fn no_finished_trace(path: &Path) -> Failure {
    Failure::work(format!("{} has no finished trace", path.display()))
        .hint("pass the marker that ends a thought to `latrace sample`, such as --stop '</think>'")
}

fn check_known(path: &Path, traces: &[TraceRecord], questions: &[QuestionRecord]) -> Result<()> {
    match first_stray(traces, questions) {
        None => Ok(()),
        Some(stray) => Err(stray_trace(path, &stray.id).into()),
    }
}

/// The first trace that matches no question.
fn first_stray<'a>(traces: &'a [TraceRecord], questions: &[QuestionRecord]) -> Option<&'a TraceRecord> {
    // A set, because a search through the questions for each trace would be quadratic in a run's size.
    let known: HashSet<&str> = questions.iter().map(|question| question.id.as_str()).collect();
    traces.iter().find(|trace| !known.contains(trace.id.as_str()))
}

fn stray_trace(path: &Path, id: &str) -> Failure {
    Failure::work(format!("{} has a trace with id {id:?}, which matches no question", path.display()))
}

type Joined = Join<TraceRecord, OnTrace<Verdict>>;

/// Joins all inputs that are given to the traces; verdicts after the answers that they are on.
fn add_all(join: &mut Joined, arguments: &BuildArguments) -> Result<()> {
    let BuildArguments { weights, scores, answers, verdicts, .. } = arguments;
    add(join, weights.as_deref(), rows::weight, OnTrace::put_weight)?;
    add(join, scores.as_deref(), rows::score, OnTrace::put_score)?;
    add(join, answers.as_deref(), rows::answer, OnTrace::put_answer)?;
    add(join, verdicts.as_deref(), rows::verdict, |_, on, verdict| {
        on.put_verdict(&verdict, verdict.answer, verdict.verdict)
    })
}

/// Joins the rows of a path, if one is given, to their traces.
fn add<R: OfTrace>(
    join: &mut Joined,
    path: Option<&Path>,
    parse: fn(&Row) -> Parsed<R>,
    put: impl FnMut(&TraceRecord, &mut OnTrace<Verdict>, R) -> Result<()>,
) -> Result<()> {
    let Some(path) = path else { return Ok(()) };
    let rows = read(path, |row| parse(&row))?;
    named(path, join.add(rows, put).and_then(|unmatched| all_matched(&unmatched)))
}

/// Puts the path at the beginning of an error about its rows.
fn named<T>(path: &Path, result: Result<T>) -> Result<T> {
    result.map_err(|error| Failure::work(format!("{}: {error}", path.display())).into())
}

/// Refuses a finished trace without a weight, where there are weights, and an answer without a verdict.
fn check_complete(trace: &TraceRecord, on: &OnTrace<Verdict>, arguments: &BuildArguments) -> Result<()> {
    // Unfinished traces are never trained on, so they need no weight.
    if let Some(weights) = arguments.weights.as_deref().filter(|_| trace.closed && on.weight.is_none()) {
        return without_row(&name(trace), weights);
    }
    match arguments.verdicts.as_deref().zip(unjudged(on)) {
        Some((verdicts, answer)) => without_row(&format!("{}, answer {answer}", name(trace)), verdicts),
        None => Ok(()),
    }
}

/// The number of an answer without a verdict.
fn unjudged(on: &OnTrace<Verdict>) -> Option<u64> {
    let mut unjudged = on.answers.iter().filter(|(_, verdict)| verdict.is_none());
    unjudged.next().map(|(answer, _)| answer.answer)
}

fn without_row(of: &str, path: &Path) -> Result<()> {
    Err(Failure::work(format!("{of} has no row in {}", path.display())).into())
}

/// The number of answers per trace, which must be the same for every trace that has any: the answer gradient
/// averages over it.
pub(super) fn answers_per_trace(samples: &HashMap<String, SampledQuestion>) -> Result<u64> {
    let mut counts = answer_counts(samples);
    let Some(first) = counts.next() else { return Ok(0) };
    match counts.find(|&(_, count)| count != first.1) {
        None => Ok(first.1 as u64),
        Some(other) => Err(unequal_answers(first, other).into()),
    }
}

/// A trace, and the number of answers after it.
type AnswerCount<'a> = (&'a TraceRecord, usize);

/// The traces that have answers. In a run's table, those without an end have none.
fn answer_counts(samples: &HashMap<String, SampledQuestion>) -> impl Iterator<Item = AnswerCount<'_>> {
    let traces = samples.values().flat_map(|question| &question.traces);
    traces.map(|(trace, on)| (trace, on.answers.len())).filter(|&(_, count)| count > 0)
}

fn unequal_answers((a, of_a): AnswerCount<'_>, (b, of_b): AnswerCount<'_>) -> Failure {
    let (a, b) = (name(a), name(b));
    Failure::work(format!("{a} has {of_a} answers, and {b} has {of_b}"))
        .hint("sample the same number of answers after each trace, and keep them all")
}
