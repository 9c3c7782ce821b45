//! `latrace build`: builds training rows from weighted traces.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use latrace_core::{UnknownVerdict, Verdict, stated_verdict};
use latrace_objective::{AnswerChoice, Fallback};
use serde_json::{Value, json};

use latrace_core::Split;
use latrace_io::failure::Failure;
use latrace_io::rows::{
    BadRows, FieldProblem, Output, Row, RowReader, describe, field, files_of, id_of, shortest, write_rows,
};
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
    let groups = read_groups(arguments, &questions)?;
    let answers = answers_per_trace(&groups)?;
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
    let mut examples = of_part(&questions, groups, &settings, &mut totals)?;
    totals.rescale(&mut examples);
    write_rows(&out, |sink| examples.iter().try_for_each(|example| sink.write(row_of(example))))?;
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
fn read_groups(
    arguments: &BuildArguments,
    questions: &[QuestionRecord],
) -> Result<HashMap<String, SampledQuestion>> {
    let mut groups: HashMap<String, SampledQuestion> = HashMap::new();
    let Some(path) = arguments.traces.as_deref().filter(|_| arguments.method != Method::Sft) else {
        return Ok(groups);
    };
    let known: HashSet<&str> = questions.iter().map(|question| question.id.as_str()).collect();
    let traces = read(path, trace_of)?;
    if !traces.iter().any(|trace| trace.closed) {
        let hint = "pass the marker that ends a thought to `latrace sample`, such as --stop '</think>'";
        return Err(Failure::work(format!("{} has no finished trace", path.display())).hint(hint).into());
    }
    for trace in traces {
        if !known.contains(trace.id.as_str()) {
            return Err(Failure::work(format!(
                "{} has a trace with id {:?}, which matches no question",
                path.display(),
                trace.id
            ))
            .into());
        }
        groups.entry(trace.id.clone()).or_default().traces.push(trace);
    }
    let BuildArguments { weights, scores, answers, verdicts, .. } = arguments;
    add(
        &mut groups,
        weights.as_deref(),
        weight_of,
        |weight| (&weight.id, weight.sample),
        |of, weight| drop(of.weights.insert(weight.sample, weight)),
    )?;
    add(
        &mut groups,
        scores.as_deref(),
        score_of,
        |score| (&score.id, score.sample),
        |of, score| drop(of.scores.insert(score.sample, score)),
    )?;
    add(
        &mut groups,
        answers.as_deref(),
        answer_of,
        |answer| (&answer.id, answer.sample),
        |of, answer| of.answers.entry(answer.sample).or_default().push(answer),
    )?;
    groups.iter_mut().try_for_each(|(id, group)| put_in_order(id, group, weights.is_some()))?;
    verdicts.as_deref().map_or(Ok(()), |path| add_verdicts(&mut groups, path))?;
    Ok(groups)
}

/// Sorts a question's traces and answers by their numbers. Duplicate traces are errors, and so, with
/// `weighed`, is a finished trace without a weight.
fn put_in_order(id: &str, group: &mut SampledQuestion, weighed: bool) -> Result<()> {
    group.traces.sort_by_key(|trace| trace.sample);
    let twice = group.traces.windows(2).find(|pair| pair[0].sample == pair[1].sample);
    let unweighed = group
        .traces
        .iter()
        .find(|trace| weighed && trace.closed && !group.weights.contains_key(&trace.sample));
    let wrong = twice
        .map(|pair| (pair[0].sample, "appears twice"))
        .or(unweighed.map(|trace| (trace.sample, "has no weight")));
    if let Some((sample, what)) = wrong {
        return Err(Failure::work(format!("id {id}: trace {sample} {what}")).into());
    }
    group.answers.values_mut().for_each(|answers| answers.sort_by_key(|answer| answer.answer));
    Ok(())
}

/// Adds the verdicts. Each answer must have exactly one, and each verdict its answer.
fn add_verdicts(groups: &mut HashMap<String, SampledQuestion>, path: &Path) -> Result<()> {
    let mut verdicts = HashMap::new();
    for (key, verdict) in read(path, verdict_of)? {
        if let Some((id, sample, answer)) = verdicts.insert(key.clone(), verdict).map(|_| key) {
            return Err(Failure::work(format!(
                "{}: id {id}, sample {sample}, answer {answer} appears twice",
                path.display()
            ))
            .into());
        }
    }
    for (id, group) in groups {
        for (&sample, answers) in &group.answers {
            let verdict = |answer: &AnswerRecord| {
                let verdict = verdicts.remove(&(id.clone(), sample, answer.answer));
                verdict.with_context(|| {
                    format!(
                        "id {id}, sample {sample}: answer {} appears twice, or has no verdict in {}",
                        answer.answer,
                        path.display()
                    )
                })
            };
            group.verdicts.insert(sample, answers.iter().map(verdict).collect::<Result<_>>()?);
        }
    }
    // Every matched verdict was removed above, so whatever is left belongs to no answer.
    match verdicts.keys().next() {
        None => Ok(()),
        Some((id, sample, answer)) => Err(Failure::work(format!(
            "{} has a verdict on id {id}, sample {sample}, answer {answer}, but there is no such answer",
            path.display()
        ))
        .into()),
    }
}

/// Adds the rows of a path, if one is given, to the traces they belong to.
fn add<T>(
    groups: &mut HashMap<String, SampledQuestion>,
    path: Option<&Path>,
    parse: impl FnMut(Row) -> Result<T, FieldProblem>,
    key: impl Fn(&T) -> (&String, u64),
    mut take: impl FnMut(&mut SampledQuestion, T),
) -> Result<()> {
    let Some(path) = path else { return Ok(()) };
    for record in read(path, parse)? {
        let (id, sample) = key(&record);
        let group =
            groups.get_mut(id).filter(|group| group.traces.iter().any(|trace| trace.sample == sample));
        match group {
            Some(group) => take(group, record),
            None => {
                return Err(Failure::work(format!(
                    "{} has a row with id {id}, sample {sample}, but there is no such trace",
                    path.display()
                ))
                .into());
            }
        }
    }
    Ok(())
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

type VerdictOfAnswer = ((String, u64, u64), Verdict);

fn verdict_of(row: Row) -> Result<VerdictOfAnswer, FieldProblem> {
    let (name, reason): (String, Option<String>) = (required(&row, "verdict")?, optional(&row, "reason")?);
    let verdict = stated_verdict(&name, reason.as_deref()).map_err(|unknown| {
        FieldProblem::new("verdict", UnknownVerdict::EXPECTED, format!("{:?}", unknown.name))
    })?;
    Ok(((name_of(&row)?, required(&row, "sample")?, required(&row, "answer")?), verdict))
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
fn answers_per_trace(groups: &HashMap<String, SampledQuestion>) -> Result<u64> {
    let mut counts = groups.iter().flat_map(|(id, group)| {
        group.answers.iter().map(move |(sample, answers)| (id, sample, answers.len()))
    });
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
