//! `latrace answer`: samples the reasoner's answers after given traces.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};
use tracing::warn;

use super::at_least_one;
use super::columns::ColumnArguments;
use super::engine::Kept;
use super::input::{Parsed, id_text, markers, open_rows, read_rows, warn_of_skipped};
use super::output::{add_fields, add_sampled};
use crate::verbs::sample::{EngineArguments, SamplingArguments};
use latrace_engine::ModelShape;
use latrace_engine::row_tokens::{PROMPT_FIELDS, ids_of, prompt_of};
use latrace_engine::sampling::journal::FinishedSample;
use latrace_engine::sampling::output::{describe_work, draw_to, prompt_settings};
use latrace_engine::sampling::{Prompt, SampleJob};
use latrace_engine::trace_codec::TraceCodec;
use latrace_io::columns::Columns;
use latrace_io::hub::model_folder;
use latrace_io::rows::{FieldProblem, Output, Row, UniqueIds, describe, field, text_of};
use latrace_run::stages::verdicts::is_reference;
use latrace_run::weigh::{Distribution, IS_REFERENCE, OPEN_TRACE, SAMPLING};

/// The stage's name in the key of every random number: that of `latrace run`, so that both draw the same
/// answers.
const STAGE: &str = "answers";

/// Fields of the trace that the answer's own fields replace.
const REPLACED: [&str; 6] = ["text", "token_ids", "text_ids", "logprobs", "stop_reason", SAMPLING];

/// Arguments of `latrace answer`.
#[derive(Args, Debug)]
#[command(after_help = "\
Input rows: `id`, `sample` (the trace's number), `prompt` or `prompt_ids` (the reasoner's), and the trace as
`token_ids` or `text`. A trace is cut at the marker that ends the thought; anything after it is dropped.
Output rows, `--n` for each trace, in order: the row's other fields, `answer` (0..n), `text` and `prediction`
(the answer as `latrace verify` reads it), `given_ids` (the tokens that every answer begins with: the
remaining markers), `token_ids` and `logprobs` (the sampled tokens), `stop_reason` (`end`, `stop_string`,
`max_tokens`; `open_trace` for a trace without an end, whose answers are empty), `sampling` (`temperature`,
`top_p`, `top_k`, `min_p`). If the rows have `answer_ids` (the reference answer, as `latrace questions --model`
writes it), `is_reference` states whether the answer is that one, token by token. If the rows have `kind` and
`gold`, the output can be passed to `latrace verify` unchanged.

If interrupted, even by kill -9, the same command resumes, as `latrace sample` does.

Examples:
  latrace answer --model models/initial --data traces.jsonl --out answers.jsonl --n 8
  latrace answer --model models/initial --data traces.jsonl --out answers.jsonl --markers stratos --max-new-tokens 4096
  latrace answer --model models/initial --data traces.parquet --n 1 --temperature 0 | head")]
pub struct AnswerArguments {
    /// Model folder of the reasoner (config.json, weights, tokenizer), or a hub id: org/name[@revision]
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Traces with the reasoner's prompts (.jsonl or .parquet)
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// Output file for the answers (.jsonl or .parquet); `-` or none: standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Answers per trace
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = at_least_one)]
    n: u64,
    /// Markers around a thought: think, stratos, plain (built-in tasks), or a table as in a recipe, such as
    /// '{ open = "<a>", close = "</a>" }'
    #[arg(long, value_name = "NAME|TABLE", default_value = "think")]
    markers: String,
    #[command(flatten)]
    sampling: SamplingArguments,
    /// Random seed
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Skip and count bad rows instead of stopping at the first
    #[arg(long)]
    skip_bad_rows: bool,
    #[command(flatten)]
    columns: ColumnArguments,
    #[command(flatten)]
    engine: EngineArguments,
}

/// Runs `latrace answer`.
pub fn run(arguments: &AnswerArguments) -> Result<()> {
    // Checked first: a wrong file name must not come to light after hours of sampling.
    let out = Output::new(arguments.out.as_deref())?;
    let engine = arguments.engine.engine()?;
    let model = model_folder(&arguments.model)?;
    let positions = ModelShape::read(&model)?.positions;
    let mut codec = TraceCodec::open(&model, markers(&arguments.markers)?)?;
    codec.text.log_begin();
    let prompt_settings = prompt_settings(&mut codec.text, &out)?;
    let job = answer_job(arguments, &codec)?;
    let traces = read_traces(arguments, &codec, positions)?;
    let data = &arguments.data;
    let row = |prompt: usize, finished: &FinishedSample| {
        let mut row = answer_row(traces.rows[prompt].clone(), finished, &codec);
        // For `latrace weigh`, which states a bound only where temperature is 1 and nothing was truncated.
        row.insert(SAMPLING.to_owned(), json!(Distribution::from(job.params)));
        row
    };
    let work = describe_work(&job, &model, data, &*engine, settings(arguments, prompt_settings))?;
    let generator = || engine.generator(&model);
    // Traces without an end keep their answers' rows: an empty answer counts as wrong, where a missing row
    // would not count at all.
    let draw = || draw_to(&out, &job, &traces.prompts, work, traces.empty_answers(job.n), generator, &row);
    let drawn = arguments.engine.choice.work(&Kept::samples_of(&out), draw);
    drawn.with_context(|| format!("cannot answer {}", data.display()))
}

fn answer_job(arguments: &AnswerArguments, codec: &TraceCodec) -> Result<SampleJob> {
    Ok(SampleJob {
        stage: STAGE,
        seed: arguments.seed,
        n: arguments.n,
        params: arguments.sampling.params()?,
        stop_ids: arguments.sampling.stop_ids(codec.answer_end_ids()),
        stop_texts: codec.answer_stops(),
    })
}

/// The settings that change rows or prompts but no sampling parameter: answers made under others are not
/// resumed.
fn settings(arguments: &AnswerArguments, prompt_settings: Row) -> Value {
    let mut settings = Row::from_iter([
        ("markers".to_owned(), json!(arguments.markers)),
        ("skip_bad_rows".to_owned(), json!(arguments.skip_bad_rows)),
        ("columns".to_owned(), json!(arguments.columns.columns().names())),
    ]);
    settings.extend(prompt_settings);
    Value::Object(settings)
}

/// The traces of the input.
struct Traces {
    /// What answers continue: prompt, trace and the opening of an answer; empty for a trace without an end.
    prompts: Vec<Prompt>,
    /// The rows without the fields that were read.
    rows: Vec<Row>,
}

impl Traces {
    /// The indices of traces without an end.
    fn open(&self) -> impl Iterator<Item = usize> {
        self.prompts.iter().enumerate().filter(|(_, prompt)| prompt.ids.is_empty()).map(|(place, _)| place)
    }

    /// The answers of traces without an end, which are known without sampling.
    fn empty_answers(&self, n: u64) -> Vec<(usize, FinishedSample)> {
        let answer = |place: usize, sample| (place, empty_answer(&self.prompts[place], sample));
        self.open().flat_map(|place| (0..n).map(move |sample| answer(place, sample))).collect()
    }

    fn warn_of_open(&self) {
        let (open, all) = (self.open().count(), self.prompts.len());
        if open > 0 {
            warn!("{open} of {all} traces have no end: their answers are empty and will be judged wrong");
        }
    }
}

fn read_traces(arguments: &AnswerArguments, codec: &TraceCodec, positions: usize) -> Result<Traces> {
    let mut reader = open_rows(&arguments.data, arguments.skip_bad_rows)?;
    let (columns, mut ids) = (arguments.columns.columns(), UniqueIds::default());
    let traces = read_rows(&mut reader, |_, row| parse(row, &columns, codec, positions, &mut ids))?;
    let (prompts, rows) = traces.into_iter().unzip();
    let traces = Traces { prompts, rows };
    traces.warn_of_open();
    warn_of_skipped(&reader);
    Ok(traces)
}

fn empty_answer(prompt: &Prompt, sample: u64) -> FinishedSample {
    FinishedSample {
        id: prompt.id.clone(),
        sample,
        token_ids: Vec::new(),
        logprobs: Vec::new(),
        stop_reason: OPEN_TRACE.to_owned(),
    }
}

/// A trace without an end gets an empty prompt, from which nothing is sampled.
fn parse(
    mut row: Row,
    columns: &Columns,
    codec: &TraceCodec,
    positions: usize,
    ids: &mut UniqueIds,
) -> Parsed<(Prompt, Row)> {
    let id = ids.take_sample(&row)?;
    let number = trace_number(&row)?;
    let ids = ids_before_answer(&*columns.view(&row)?, codec)?;
    // At least one position must be left for the first token of an answer.
    if ids.len() >= positions {
        let expected = format!(
            "a prompt and a trace of fewer than the model's {positions} tokens (id {id}, sample {number})"
        );
        return Err(FieldProblem::new("token_ids", expected, ids.len().to_string()));
    }
    columns.remove_read(&mut row, &PROMPT_FIELDS);
    // They describe the trace, and would be taken for fields of the answer.
    REPLACED.iter().for_each(|name| drop(row.shift_remove(*name)));
    // A trace's number is unique only within its question. The stream is named as in `latrace run`, whose ids
    // are always strings.
    let stream = format!("{}/{number}", id_text(&id));
    Ok((Prompt { id: json!([id, number]), stream, ids }, row))
}

fn trace_number(row: &Row) -> Parsed<u64> {
    let sample = field(row, "sample");
    sample.and_then(Value::as_u64).ok_or_else(|| not_a_number(sample))
}

fn not_a_number(sample: Option<&Value>) -> FieldProblem {
    let got = sample.map_or("nothing".to_owned(), describe);
    FieldProblem::new("sample", "the trace's number, from 0", got)
}

/// Prompt, trace and the opening of an answer; empty for a trace without an end.
fn ids_before_answer(row: &Row, codec: &TraceCodec) -> Parsed<Vec<u32>> {
    let prompt = prompt_of(row, &codec.text)?;
    let trace = trace_of(row, codec)?;
    Ok(trace.map_or_else(Vec::new, |trace| [prompt.as_slice(), &trace, &codec.answer_prefix].concat()))
}

/// z: the row's trace up to its end; none if the thought has no end.
fn trace_of(row: &Row, codec: &TraceCodec) -> Parsed<Option<Vec<u32>>> {
    let ids = given_ids(row, codec)?;
    // On token ids first: decoding and encoding again could move the boundary.
    match codec.boundary(&ids) {
        Some(end) => Ok(Some(ids[..end].to_vec())),
        // Ids keep the marker that ended them, so without it they are unfinished; a text may have lost it.
        None if has_ids(row) => Ok(None),
        None => trace_of_text(row, codec),
    }
}

fn has_ids(row: &Row) -> bool {
    field(row, "token_ids").is_some()
}

/// The tokens of the trace and of anything after it.
fn given_ids(row: &Row, codec: &TraceCodec) -> Parsed<Vec<u32>> {
    if has_ids(row) {
        return ids_of(row, "token_ids", codec.text.vocabulary_size());
    }
    codec.text.encode("text", text_of(row, "text")?)
}

/// z of a text without the end marker. It is an unfinished trace only if the sample hit its token limit,
/// because `latrace sample` strips the stop string from the text.
fn trace_of_text(row: &Row, codec: &TraceCodec) -> Parsed<Option<Vec<u32>>> {
    if hit_limit(row) {
        return Ok(None);
    }
    let refused = |error: anyhow::Error| FieldProblem::new("text", "a trace", error.to_string());
    codec.trace_ids(text_of(row, "text")?).map(Some).map_err(refused)
}

fn hit_limit(row: &Row) -> bool {
    field(row, "stop_reason").is_some_and(|reason| reason == "max_tokens")
}

fn answer_row(mut row: Row, finished: &FinishedSample, codec: &TraceCodec) -> Row {
    // The opening of an answer was given, not sampled; nothing was given to the answer of an open trace.
    let given = if finished.stop_reason == OPEN_TRACE { &[][..] } else { codec.answer_prefix.as_slice() };
    // What was given is part of y: the text is read with it, and the reference answer begins with it.
    let drawn = [given, &finished.token_ids].concat();
    let text = json!(codec.answer_text(&drawn));
    let reference = answer_ids(&row).map(|reference| is_reference(&reference, &drawn));
    add_fields(
        &mut row,
        [
            ("answer", json!(finished.sample)),
            ("text", text.clone()),
            ("prediction", text),
            ("given_ids", json!(given)),
        ],
    );
    add_sampled(&mut row, finished);
    if let Some(is_reference) = reference {
        row.insert(IS_REFERENCE.to_owned(), json!(is_reference));
    }
    row
}

/// The reference answer's tokens, if the row has them.
fn answer_ids(row: &Row) -> Option<Vec<u32>> {
    Vec::deserialize(field(row, "answer_ids")?).ok()
}
