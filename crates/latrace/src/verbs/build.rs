//! `latrace build`: builds training rows from weighted traces.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use latrace_core::{UnknownVerdict, Verdict, stated_verdict};
use latrace_objective::{AnswerChoice, Fallback};
use serde_json::{Value, json};

use latrace_core::Split;
use latrace_io::failure::Failure;
use latrace_io::rows::{
    BadRows, FieldProblem, Output, Row, RowReader, describe, field, files_of, id_of, shortest, write_rows,
};
use latrace_run::join::{Join, OfTrace, OnTrace, all_matched, name, twice};
use latrace_run::pipeline::records::{
    AnswerRecord, ExampleRecord, QuestionRecord, ScoreRecord, TraceRecord, WeightRecord,
};
use latrace_run::plan::DatasetSettings;
use latrace_run::recipe::run::{Dataset, Duplicates, Method};
use latrace_run::stages::dataset::{SampledQuestion, Totals, of_part};

use super::choices::{ANSWERS_OF_TRACE, DUPLICATES, METHODS, one_of};

/// Arguments of `latrace build`.
#[derive(Args, Debug)]
#[command(after_help = "\
Inputs are .jsonl or .parquet files, or folders of them; they are joined on `id`, `sample` and `answer`, never
by row order. Questions are those of `latrace questions --model`: with `prompt_ids`, and optionally
`trace_ids`, `answer_ids` and `split`.
Output rows, in the format of `latrace train`: `id`, `source` (the trace's number; -1: the row's own trace,
because no sampled trace was usable; -2: the row's own trace, mixed in), `prompt_ids`, `response_ids`,
`trace_tokens`, `weight`. Policy-gradient methods write `advantages` and `old_logprobs` instead of `weight`.
Counts of how each question was used are logged to stderr.

Examples:
  latrace build --questions questions.jsonl --traces traces.jsonl --weights weights.jsonl \\
      --answers answers.jsonl --verdicts verdicts.jsonl --out examples.jsonl
  latrace build --questions 00-questions --traces 03-traces --weights 07-weights --out examples.parquet --originals 0
  latrace build --questions questions.jsonl --method sft --out examples.jsonl")]
pub struct BuildArguments {
    /// Questions with their token ids
    #[arg(long, value_name = "PATH")]
    questions: PathBuf,
    /// Traces, as `latrace sample` writes them
    #[arg(long, value_name = "PATH")]
    traces: Option<PathBuf>,
    /// Weights of the traces, as `latrace weigh` writes them
    #[arg(long, value_name = "PATH")]
    weights: Option<PathBuf>,
    /// Answers after the traces, as `latrace answer` writes them; without them, each trace is followed by the
    /// question's own answer
    #[arg(long, value_name = "PATH", requires = "verdicts")]
    answers: Option<PathBuf>,
    /// Verdicts on the answers, as `latrace verify` writes them
    #[arg(long, value_name = "PATH", requires = "answers")]
    verdicts: Option<PathBuf>,
    /// Log-probs of the traces under the reasoner, as `latrace score` writes them; required by
    /// policy-gradient methods
    #[arg(long, value_name = "PATH")]
    scores: Option<PathBuf>,
    /// Output file for the examples (.jsonl or .parquet); `-` or none: standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Training method
    #[arg(long, value_name = "METHOD", value_parser = one_of::<Method>(METHODS), default_value = "variational")]
    method: Method,
    /// Which verified answers of a chosen trace to train on
    #[arg(long = "answers-of-trace", value_name = "WHICH", value_parser = one_of::<AnswerChoice>(ANSWERS_OF_TRACE), default_value = "all")]
    answers_of_trace: AnswerChoice,
    /// How to handle a question without a usable trace: original-row, skip or geometric-likelihood; give the
    /// value used for `latrace weigh`
    #[arg(long, value_name = "NAME", default_value = "original-row", value_parser = Fallback::from_name)]
    fallback: Fallback,
    /// How to handle identical sequences of a question
    #[arg(long, value_name = "DUPLICATES", value_parser = one_of::<Duplicates>(DUPLICATES), default_value = "add")]
    duplicates: Duplicates,
    /// Weight of each question's own trace and answer alongside the sampled ones; 0 omits them
    #[arg(long, value_name = "WEIGHT", default_value_t = 1.0)]
    originals: f64,
    /// Seed for random choices
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
}

/// Runs `latrace build`.
pub fn run(arguments: &BuildArguments) -> Result<()> {
    let out = Output::new(arguments.out.as_deref())?;
    check(arguments)?;
    let questions = read_questions(&arguments.questions)?;
    let samples = read_samples(arguments, &questions)?;
    let answers = answers_per_trace(&samples)?;
    let dataset = Dataset {
        answers: arguments.answers_of_trace,
        duplicates: arguments.duplicates,
        originals: arguments.originals,
    };
    let settings = DatasetSettings {
        method: arguments.method,
        dataset,
        answers,
        fallback: arguments.fallback,
        seed: arguments.seed,
    };
    // The whole input is treated as one part of a run's table, so that verb and stage build the same rows.
    let mut totals = Totals::default();
    let examples = of_part(&questions, &samples, &settings, &mut totals)?;
    let scale = totals.scale();
    write_rows(&out, |sink| {
        examples.iter().try_for_each(|example| sink.write(row_of(&example.record(scale))))
    })?;
    report(&totals.counts());
    if examples.is_empty() {
        return Err(Failure::work("there is no row to train on")
            .hint("the counts above say how each question was used")
            .into());
    }
    Ok(())
}

fn check(arguments: &BuildArguments) -> Result<()> {
    let (method, rewards) = (arguments.method, arguments.method.is_policy_gradient());
    let weighs = matches!(method, Method::Variational | Method::Verifree);
    let needed = [
        (method != Method::Sft && arguments.traces.is_none(), "--traces"),
        (weighs && arguments.weights.is_none(), "--weights"),
        ((rewards || method == Method::Rft) && arguments.answers.is_none(), "--answers and --verdicts"),
        (rewards && arguments.scores.is_none(), "--scores"),
    ];
    let originals = arguments.originals;
    match needed.into_iter().find(|(missing, _)| *missing) {
        Some((_, option)) => Err(Failure::usage(format!("this method needs {option}")).into()),
        None if originals.is_finite() && originals >= 0.0 => Ok(()),
        None => Err(Failure::usage(format!(
            "--originals: expected a finite number of at least 0, got {originals}"
        ))
        .into()),
    }
}

/// All rows of a path's files, as `parse` reads them.
fn read<T>(path: &Path, mut parse: impl FnMut(Row) -> Result<T, FieldProblem>) -> Result<Vec<T>> {
    let mut all = Vec::new();
    for file in files_of(path)? {
        let mut reader = RowReader::open(&file, BadRows::Stop)?;
        while let Some(value) = reader.next_with(|_, row| parse(row))? {
            all.push(value);
        }
    }
    Ok(all)
}

/// An id as records store it: always a string.
fn name_of(row: &Row) -> Result<String, FieldProblem> {
    let id = id_of(row)?.ok_or_else(|| FieldProblem::new("id", "a string or an integer", "nothing"))?;
    Ok(id.as_str().map_or_else(|| id.to_string(), str::to_owned))
}

fn read_questions(path: &Path) -> Result<Vec<QuestionRecord>> {
    let mut seen = HashSet::new();
    read(path, |row| {
        let id = name_of(&row)?;
        if !seen.insert(id.clone()) {
            return Err(FieldProblem::new("id", "an id not used by an earlier question", format!("{id:?}")));
        }
        Ok(QuestionRecord {
            id,
            split: optional(&row, "split")?.unwrap_or(Split::Train),
            prompt_ids: required(&row, "prompt_ids")?,
            trace_ids: optional(&row, "trace_ids")?,
            answer_ids: optional(&row, "answer_ids")?,
            // Examples hold token ids alone, so the texts and the verifier's fields are not read.
            question: String::new(),
            hint: None,
            difficulty: None,
            kind: String::new(),
            reference: String::new(),
            posterior_prompt_ids: None,
        })
    })
}

/// The traces with their weights, scores, answers and verdicts, by question.
fn read_samples(
    arguments: &BuildArguments,
    questions: &[QuestionRecord],
) -> Result<HashMap<String, SampledQuestion>> {
    let Some(path) = arguments.traces.as_deref().filter(|_| arguments.method != Method::Sft) else {
        return Ok(HashMap::new());
    };
    let mut join = named(path, Join::new(read_traces(path, questions)?, twice))?;
    let BuildArguments { weights, scores, answers, verdicts, .. } = arguments;
    add(&mut join, weights.as_deref(), weight_of, OnTrace::put_weight)?;
    add(&mut join, scores.as_deref(), score_of, OnTrace::put_score)?;
    add(&mut join, answers.as_deref(), answer_of, OnTrace::put_answer)?;
    add(&mut join, verdicts.as_deref(), verdict_of, |_, on, verdict| {
        on.put_verdict(&verdict, verdict.answer, verdict.verdict)
    })?;
    let questions = join.into_questions();
    let mut traces = questions.iter().flat_map(|question| &question.traces);
    traces.try_for_each(|(trace, on)| check_complete(trace, on, arguments))?;
    Ok(questions.into_iter().map(|question| (question.id.clone(), question)).collect())
}

/// The traces of a path, in order of their numbers within each question.
fn read_traces(path: &Path, questions: &[QuestionRecord]) -> Result<Vec<TraceRecord>> {
    let known: HashSet<&str> = questions.iter().map(|question| question.id.as_str()).collect();
    let mut traces = read(path, trace_of)?;
    if !traces.iter().any(|trace| trace.closed) {
        let hint = "pass the marker that ends a thought to `latrace sample`, such as --stop '</think>'";
        return Err(Failure::work(format!("{} has no finished trace", path.display())).hint(hint).into());
    }
    if let Some(stray) = traces.iter().find(|trace| !known.contains(trace.id.as_str())) {
        let message =
            format!("{} has a trace with id {:?}, which matches no question", path.display(), stray.id);
        return Err(Failure::work(message).into());
    }
    traces.sort_by_key(|trace| trace.sample);
    Ok(traces)
}

type Joined = Join<TraceRecord, OnTrace<Verdict>>;

/// Joins the rows of a path, if one is given, to their traces.
fn add<R: OfTrace>(
    join: &mut Joined,
    path: Option<&Path>,
    parse: impl FnMut(Row) -> Result<R, FieldProblem>,
    put: impl FnMut(&TraceRecord, &mut OnTrace<Verdict>, R) -> Result<()>,
) -> Result<()> {
    let Some(path) = path else { return Ok(()) };
    let rows = read(path, parse)?;
    named(path, join.add(rows, put).and_then(|unmatched| all_matched(&unmatched)))
}

/// Puts the path at the beginning of an error about its rows.
fn named<T>(path: &Path, result: Result<T>) -> Result<T> {
    result.map_err(|error| Failure::work(format!("{}: {error}", path.display())).into())
}

/// Refuses a finished trace without a weight, where there are weights, and an answer without a verdict.
fn check_complete(trace: &TraceRecord, on: &OnTrace<Verdict>, arguments: &BuildArguments) -> Result<()> {
    let without =
        |path: &Path, of: String| Err(Failure::work(format!("{of} has no row in {}", path.display())).into());
    if let Some(weights) = arguments.weights.as_deref().filter(|_| trace.closed && on.weight.is_none()) {
        return without(weights, name(trace));
    }
    let unjudged = on.answers.iter().find(|(_, verdict)| verdict.is_none());
    match (unjudged, arguments.verdicts.as_deref()) {
        (Some((answer, _)), Some(verdicts)) => {
            without(verdicts, format!("{}, answer {}", name(trace), answer.answer))
        }
        _ => Ok(()),
    }
}

/// A trace of a run's table says in `closed` whether it is finished; one written by `latrace sample` is
/// finished if it stopped at a stop string.
fn trace_of(row: Row) -> Result<TraceRecord, FieldProblem> {
    let stopped = optional::<String>(&row, "stop_reason")?.is_none_or(|reason| reason == "stop_string");
    let closed = optional(&row, "closed")?.unwrap_or(stopped);
    // A finished trace has its log-probs in its score record, so keeping both would double the memory.
    let logprobs = if closed { Vec::new() } else { optional(&row, "logprobs")?.unwrap_or_default() };
    Ok(TraceRecord {
        id: name_of(&row)?,
        sample: required(&row, "sample")?,
        token_ids: required(&row, "token_ids")?,
        logprobs,
        closed,
    })
}

fn weight_of(row: Row) -> Result<WeightRecord, FieldProblem> {
    Ok(WeightRecord {
        id: name_of(&row)?,
        sample: required(&row, "sample")?,
        log_ratio: optional(&row, "log_ratio")?,
        log_answer: optional(&row, "log_answer")?,
        weight: required(&row, "weight")?,
        chosen: required(&row, "chosen")?,
        by_reference: optional::<String>(&row, "resolution")?
            .is_some_and(|resolution| resolution == "geometric-likelihood"),
    })
}

fn score_of(row: Row) -> Result<ScoreRecord, FieldProblem> {
    Ok(ScoreRecord {
        id: name_of(&row)?,
        sample: required(&row, "sample")?,
        logprobs: required(&row, "logprobs")?,
        reference_logprobs: None,
    })
}

/// An answer: the given tokens it begins with, then the sampled ones.
fn answer_of(row: Row) -> Result<AnswerRecord, FieldProblem> {
    let given: Option<Vec<u32>> = optional(&row, "given_ids")?;
    let drawn: Vec<u32> = required(&row, "token_ids")?;
    Ok(AnswerRecord {
        id: name_of(&row)?,
        sample: required(&row, "sample")?,
        answer: required(&row, "answer")?,
        given: given
            .as_ref()
            .map_or_else(|| optional(&row, "given"), |given| Ok(Some(given.len() as u64)))?
            .unwrap_or(0),
        token_ids: given.map_or_else(|| drawn.clone(), |given| [given.as_slice(), &drawn].concat()),
        logprobs: required(&row, "logprobs")?,
        ended: true,
        text: String::new(),
    })
}

/// A stated verdict on an answer.
struct StatedVerdict {
    id: String,
    sample: u64,
    answer: u64,
    verdict: Verdict,
}

impl OfTrace for StatedVerdict {
    fn question(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.id)
    }

    fn sample(&self) -> u64 {
        self.sample
    }
}

fn verdict_of(row: Row) -> Result<StatedVerdict, FieldProblem> {
    let (stated, reason): (String, Option<String>) = (required(&row, "verdict")?, optional(&row, "reason")?);
    let verdict = stated_verdict(&stated, reason.as_deref()).map_err(|unknown| {
        FieldProblem::new("verdict", UnknownVerdict::EXPECTED, format!("{:?}", unknown.name))
    })?;
    let (sample, answer) = (required(&row, "sample")?, required(&row, "answer")?);
    Ok(StatedVerdict { id: name_of(&row)?, sample, answer, verdict })
}

fn required<T: serde::de::DeserializeOwned>(row: &Row, name: &str) -> Result<T, FieldProblem> {
    optional(row, name)?.ok_or_else(|| FieldProblem::new(name, "a value", "nothing"))
}

fn optional<T: serde::de::DeserializeOwned>(row: &Row, name: &str) -> Result<Option<T>, FieldProblem> {
    let read = |value: &Value| {
        let of_type = serde_json::from_value(value.clone());
        of_type.map_err(|error| FieldProblem::new(name, format!("another value ({error})"), describe(value)))
    };
    field(row, name).map(read).transpose()
}

/// The number of answers per trace, which must be the same for every trace that has any: the answer gradient
/// averages over it.
fn answers_per_trace(samples: &HashMap<String, SampledQuestion>) -> Result<u64> {
    let traces = samples.values().flat_map(|question| &question.traces);
    let counts = traces.map(|(trace, on)| (&trace.id, trace.sample, on.answers.len()));
    let mut counts = counts.filter(|(.., count)| *count > 0);
    let Some((id, sample, first)) = counts.next() else { return Ok(0) };
    match counts.find(|(.., count)| *count != first) {
        None => Ok(first as u64),
        Some((other, k, count)) => {
            let message = format!(
                "id {id}, sample {sample} has {first} answers, and id {other}, sample {k} has {count}"
            );
            Err(Failure::work(message)
                .hint("sample the same number of answers after each trace, and keep them all")
                .into())
        }
    }
}

fn row_of(example: &ExampleRecord) -> Row {
    let ExampleRecord { id, source, prompt_ids, response_ids, trace_tokens, weight, given, old_logprobs } =
        example;
    let mut row = Row::new();
    let mut add = |name: &str, value: Value| drop(row.insert(name.to_owned(), value));
    add("id", json!(id));
    add("source", json!(source));
    add("prompt_ids", json!(prompt_ids));
    add("response_ids", json!(response_ids));
    add("trace_tokens", json!(trace_tokens));
    match old_logprobs {
        // `latrace train` takes advantages per token: the given tokens were not sampled, and get none.
        Some(old) => {
            let mut advantages = vec![*weight; response_ids.len()];
            let trace_tokens = *trace_tokens as usize;
            advantages[trace_tokens..trace_tokens + *given as usize].fill(0.0);
            add("advantages", json!(advantages));
            // As an f32 prints: not with the digits of its nearest f64.
            add("old_logprobs", old.iter().map(|&logp| json!(shortest(logp))).collect());
        }
        None => add("weight", json!(weight)),
    }
    row
}

fn report(counts: &Value) {
    tracing::info!(
        "{} examples of traces and {} rows of their own; of {} questions with traces {} have usable ones, {} fell back, {} are left out",
        counts["built"],
        counts["own"],
        counts["questions"],
        counts["used"],
        counts["fell_back"],
        counts["left_out"]
    );
}
