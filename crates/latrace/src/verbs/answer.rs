//! `latrace answer`: samples the reasoner's answers after given traces.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use latrace_core::Markers;
use serde::Deserialize;
use serde_json::{Value, json};

use super::columns::ColumnArguments;
use crate::verbs::sample::{EngineArguments, SamplingArguments};
use latrace_engine::row_tokens::{PROMPT_FIELDS, ids_of, prompt_of};
use latrace_engine::sampling::journal::FinishedSample;
use latrace_engine::sampling::output::{describe_work, draw_to};
use latrace_engine::sampling::{Prompt, SampleJob};
use latrace_engine::trace_codec::TraceCodec;
use latrace_engine::{Engine, ModelShape};
use latrace_io::columns::Columns;
use latrace_io::failure::Failure;
use latrace_io::hub::model_folder;
use latrace_io::rows::{BadRows, FieldProblem, Output, Row, RowReader, UniqueIds, describe, field, text_of};
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
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..))]
    n: u64,
    /// Markers around a thought: think, stratos, plain (built-in tasks)
    #[arg(long, value_name = "NAME", default_value = "think")]
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
    let out = Output::new(arguments.out.as_deref())?;
    let model = model_folder(&arguments.model)?;
    let shape = ModelShape::read(&model)?;
    let markers =
        Markers::named(&arguments.markers).map_err(|error| Failure::usage(format!("--markers: {error}")))?;
    let codec = TraceCodec::open(&model, markers)?;
    let params = arguments.sampling.params()?;
    let stop_ids = arguments.sampling.stop_ids(codec.answer_end_ids());
    let Traces { prompts, rows, open } = read_traces(arguments, &codec, shape.positions)?;
    let AnswerArguments { seed, n, data, markers, skip_bad_rows, columns, engine, .. } = arguments;
    let stop_texts = codec.answer_stops();
    let job = SampleJob { stage: STAGE, seed: *seed, n: *n, params, stop_ids, stop_texts };
    let row = |prompt: usize, finished: &FinishedSample| {
        let mut row = answer_row(rows[prompt].clone(), finished, &codec);
        row.insert(SAMPLING.to_owned(), json!(Distribution::from(params)));
        row
    };
    let settings =
        json!({"markers": markers, "skip_bad_rows": skip_bad_rows, "columns": columns.columns().names()});
    let work = describe_work(&job, &model, data, settings)?;
    let empty = open.iter().flat_map(|&place| (0..*n).map(move |sample| (place, sample)));
    let empty = empty.map(|(place, sample)| (place, empty_answer(&prompts[place], sample))).collect();
    draw_to(&out, &job, &prompts, work, empty, || engine.engine().generator(&model), &row)
        .with_context(|| format!("cannot answer {}", data.display()))
}

/// What answers continue (prompt, trace and the opening of an answer), the rows without those fields, and the
/// indices of the rows whose trace has no end.
struct Traces {
    prompts: Vec<Prompt>,
    rows: Vec<Row>,
    open: Vec<usize>,
}

fn read_traces(arguments: &AnswerArguments, codec: &TraceCodec, max_positions: usize) -> Result<Traces> {
    let bad_rows = if arguments.skip_bad_rows { BadRows::Skip } else { BadRows::Stop };
    let mut reader = RowReader::open(&arguments.data, bad_rows)?;
    let (mut traces, mut ids) =
        (Traces { prompts: Vec::new(), rows: Vec::new(), open: Vec::new() }, UniqueIds::default());
    while let Some((prompt, row)) =
        reader.next_with(|_, row| parse(row, &arguments.columns.columns(), codec, max_positions, &mut ids))?
    {
        if prompt.ids.is_empty() {
            traces.open.push(traces.prompts.len());
        }
        traces.prompts.push(prompt);
        traces.rows.push(row);
    }
    if !traces.open.is_empty() {
        tracing::warn!(
            "{} of {} traces have no end: their answers are empty and will be judged wrong",
            traces.open.len(),
            traces.prompts.len()
        );
    }
    if reader.skipped() > 0 {
        tracing::warn!("{} bad rows skipped", reader.skipped());
    }
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
    max_positions: usize,
    ids: &mut UniqueIds,
) -> Result<(Prompt, Row), FieldProblem> {
    let id = ids.take_sample(&row)?;
    let sample = field(&row, "sample");
    let number = sample.and_then(Value::as_u64);
    let number = number.ok_or_else(|| {
        FieldProblem::new(
            "sample",
            "the trace's number, from 0",
            sample.map_or("nothing".to_owned(), describe),
        )
    })?;
    let view = columns.view(&row)?;
    let prompt = prompt_of(&view, &codec.text)?;
    let trace = trace_of(&view, codec)?;
    let ids = trace.map_or_else(Vec::new, |trace| [prompt.as_slice(), &trace, &codec.answer_prefix].concat());
    if ids.len() >= max_positions {
        let expected = format!(
            "a prompt and a trace of fewer than the model's {max_positions} tokens (id {id}, sample {number})"
        );
        return Err(FieldProblem::new("token_ids", expected, ids.len().to_string()));
    }
    columns.remove_read(&mut row, &PROMPT_FIELDS);
    REPLACED.iter().for_each(|name| drop(row.shift_remove(*name)));
    let name = id.as_str().map_or_else(|| id.to_string(), str::to_owned);
    Ok((Prompt { id: json!([id, number]), stream: format!("{name}/{number}"), ids }, row))
}

/// z: the row's trace up to its end; none if the thought has no end. A text without the end marker is an
/// unfinished trace only if the sample hit its token limit, because `latrace sample` strips the stop string
/// from the text.
fn trace_of(row: &Row, codec: &TraceCodec) -> Result<Option<Vec<u32>>, FieldProblem> {
    let by_ids = field(row, "token_ids").is_some();
    let ids = if by_ids {
        ids_of(row, "token_ids", codec.text.vocabulary_size())?
    } else {
        codec.text.encode("text", text_of(row, "text")?)?
    };
    // On token ids first: decoding and encoding again could move the boundary.
    if let Some(end) = codec.boundary(&ids) {
        return Ok(Some(ids[..end].to_vec()));
    }
    if by_ids || field(row, "stop_reason").is_some_and(|reason| reason == "max_tokens") {
        return Ok(None);
    }
    let refused = |error: anyhow::Error| FieldProblem::new("text", "a trace", error.to_string());
    codec.trace_ids(text_of(row, "text")?).map(Some).map_err(refused)
}

fn answer_row(mut row: Row, finished: &FinishedSample, codec: &TraceCodec) -> Row {
    let given = if finished.stop_reason == OPEN_TRACE { &[][..] } else { codec.answer_prefix.as_slice() };
    let drawn = [given, &finished.token_ids].concat();
    let text = codec.answer_text(&drawn);
    let reference = answer_ids(&row).map(|reference| is_reference(&reference, &drawn));
    row.insert("answer".to_owned(), json!(finished.sample));
    row.insert("text".to_owned(), json!(text));
    row.insert("prediction".to_owned(), json!(text));
    row.insert("given_ids".to_owned(), json!(given));
    row.insert("token_ids".to_owned(), json!(finished.token_ids));
    row.insert("logprobs".to_owned(), json!(finished.logprobs));
    row.insert("stop_reason".to_owned(), json!(finished.stop_reason));
    if let Some(is_reference) = reference {
        row.insert(IS_REFERENCE.to_owned(), json!(is_reference));
    }
    row
}

/// The reference answer's tokens, if the row has them.
fn answer_ids(row: &Row) -> Option<Vec<u32>> {
    Vec::deserialize(field(row, "answer_ids")?).ok()
}
