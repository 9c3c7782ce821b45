//! `latrace sample`: samples completions of given prompts from a model.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use latrace_core::{SamplingParams, StopReason};
use serde_json::json;

use super::columns::ColumnArguments;
use latrace_engine::boundary::StopTexts;
use latrace_engine::row_tokens::{PROMPT_FIELDS, prompt_of};
use latrace_engine::sampling::journal::FinishedSample;
use latrace_engine::sampling::output::{describe_work, draw_to};
use latrace_engine::sampling::{Prompt, SampleJob};
use latrace_engine::text_codec::TextCodec;
use latrace_engine::{CpuEngine, CpuOptions, Engine, ModelShape};
use latrace_io::columns::Columns;
use latrace_io::failure::Failure;
use latrace_io::hub::model_folder;
use latrace_io::memory::Bytes;
use latrace_io::rows::{BadRows, FieldProblem, Output, Row, RowReader, UniqueIds};
use latrace_run::weigh::{Distribution, SAMPLING};

/// The stage's name in the key of every random number.
const STAGE: &str = "sample";

/// Arguments of `latrace sample`.
#[derive(Args, Debug)]
#[command(after_help = "\
Input rows: `id`, and `prompt`, `prompt_ids` or `messages`.
Output rows, `--n` for each input row, in order: the row's other fields, `sample` (0..n), `text`, `token_ids`
(including the end token, if any), `logprobs` (nats per token, of the unmodified model: temperature 1, no
truncation of the distribution), `stop_reason` (`end`, `stop_string`, `max_tokens`), `sampling` (`temperature`,
`top_p`, `top_k`, `min_p`).

A sample depends only on its row, its number, the settings and the seed: not on the batch, the order, the
number of threads, or interruptions. If interrupted, even by kill -9, the same command resumes;
OUT.sampling.json describes the work in progress.

Examples:
  latrace sample --model models/small --data questions.jsonl --out traces.jsonl --n 8
  latrace sample --model models/small --data questions.jsonl --out traces.jsonl --stop '</think>' --include-stop
  latrace sample --model models/q --data questions.jsonl --out traces.jsonl --column prompt_ids=posterior_prompt_ids
  latrace sample --model models/small --data questions.jsonl --temperature 0 --n 1 | head")]
pub struct SampleArguments {
    /// Model folder (config.json, weights, tokenizer), or a hub id: org/name[@revision]
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Rows with prompts (.jsonl or .parquet)
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// Output file for the samples (.jsonl or .parquet); `-` or none: standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Samples per row
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..))]
    n: u64,
    #[command(flatten)]
    sampling: SamplingArguments,
    /// Stop string; may be repeated
    #[arg(long, value_name = "TEXT")]
    stop: Vec<String>,
    /// Keep the stop string in `text`
    #[arg(long)]
    include_stop: bool,
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

/// Options of the engine, which change speed and memory but never the samples.
#[derive(Args, Clone, Debug)]
pub struct EngineArguments {
    /// Maximum samples in a batch: more are faster and need more memory; samples do not depend on it
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u64).range(1..))]
    batch: u64,
    /// Maximum prompt tokens in one forward pass; samples do not depend on it
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u64).range(1..))]
    prefill_tokens: u64,
    /// Memory for the KV cache, such as 4G; samples wait when it is full [default: half of the free memory]
    #[arg(long, value_name = "BYTES")]
    kv_cache_bytes: Option<Bytes>,
}

impl EngineArguments {
    /// The engine with these options.
    pub fn engine(&self) -> CpuEngine {
        CpuEngine::new(CpuOptions {
            kv_cache_bytes: self.kv_cache_bytes.map(|bytes| bytes.0),
            batch: self.batch as usize,
            prefill_tokens: self.prefill_tokens as usize,
            ..CpuOptions::default()
        })
    }
}

/// Sampling parameters.
#[derive(Args, Clone, Debug)]
pub struct SamplingArguments {
    /// Sampling temperature; 0 is greedy decoding
    #[arg(long, value_name = "T", default_value_t = 0.7, allow_negative_numbers = true)]
    temperature: f32,
    /// Nucleus sampling: the smallest set of tokens whose cumulative probability reaches P
    #[arg(long, value_name = "P", default_value_t = 1.0)]
    top_p: f32,
    /// Sample from the K most likely tokens; 0: all
    #[arg(long, value_name = "K", default_value_t = 0)]
    top_k: usize,
    /// Sample from tokens at least P times as likely as the most likely one
    #[arg(long, value_name = "P", default_value_t = 0.0)]
    min_p: f32,
    /// Keep sampling past end tokens, so that all samples have the same length
    #[arg(long)]
    ignore_end: bool,
    /// Maximum tokens of a sample; the model's context length also applies
    #[arg(long, value_name = "N", default_value_t = 2048)]
    max_new_tokens: usize,
}

impl SamplingArguments {
    /// The validated parameters.
    pub fn params(&self) -> Result<SamplingParams> {
        let SamplingArguments { temperature, top_p, top_k, min_p, max_new_tokens, .. } = *self;
        let params = SamplingParams { temperature, top_p, top_k, min_p, max_new_tokens };
        params
            .validate()
            .map_err(|error| Failure::usage(error.to_string().replacen(':', " (see --help):", 1)))?;
        Ok(params)
    }

    /// The end tokens that apply: none with `--ignore-end`.
    pub fn stop_ids(&self, end_ids: Vec<u32>) -> Vec<u32> {
        if self.ignore_end { Vec::new() } else { end_ids }
    }
}

/// Runs `latrace sample`.
pub fn run(arguments: &SampleArguments) -> Result<()> {
    let out = Output::new(arguments.out.as_deref())?;
    let model = model_folder(&arguments.model)?;
    let shape = ModelShape::read(&model)?;
    let params = arguments.sampling.params()?;
    let text = TextCodec::open(&model, &shape)?;
    check_stops(arguments, &text)?;
    let (rows, prompts) = read_prompts(arguments, &text, &shape)?;
    let SampleArguments { seed, n, data, stop, include_stop, skip_bad_rows, columns, engine, .. } = arguments;
    let job = SampleJob {
        stage: STAGE,
        seed: *seed,
        n: *n,
        params,
        stop_ids: arguments.sampling.stop_ids(shape.end_ids),
        stop_texts: StopTexts::new(stop.clone()),
    };
    let row = |prompt: usize, finished: &FinishedSample| {
        let mut row = sampled_row(rows[prompt].clone(), finished, &text, &job.stop_texts, *include_stop);
        row.insert(SAMPLING.to_owned(), json!(Distribution::from(params)));
        row
    };
    let columns = columns.columns();
    let settings = json!({
        "stop": stop, "include_stop": include_stop, "skip_bad_rows": skip_bad_rows, "columns": columns.names()
    });
    let work = describe_work(&job, &model, data, settings)?;
    draw_to(&out, &job, &prompts, work, Vec::new(), || engine.engine().generator(&model), &row)
        .with_context(|| format!("cannot sample {}", data.display()))
}

fn check_stops(arguments: &SampleArguments, text: &TextCodec) -> Result<()> {
    if arguments.stop.iter().any(String::is_empty) {
        return Err(Failure::usage("--stop: expected a non-empty string, got \"\"").into());
    }
    if !arguments.stop.is_empty() && !text.has_tokenizer() {
        let message =
            format!("--stop needs a tokenizer: {} has no tokenizer.json", arguments.model.display());
        return Err(Failure::usage(message).into());
    }
    Ok(())
}

/// The rows without their prompt fields, and the prompts.
fn read_prompts(
    arguments: &SampleArguments,
    text: &TextCodec,
    shape: &ModelShape,
) -> Result<(Vec<Row>, Vec<Prompt>)> {
    let bad_rows = if arguments.skip_bad_rows { BadRows::Skip } else { BadRows::Stop };
    let mut reader = RowReader::open(&arguments.data, bad_rows)?;
    let (mut rows, mut prompts, mut ids) = (Vec::new(), Vec::new(), UniqueIds::default());
    while let Some((row, prompt)) =
        reader.next_with(|_, row| parse(row, &arguments.columns.columns(), text, shape, &mut ids))?
    {
        rows.push(row);
        prompts.push(prompt);
    }
    if reader.skipped() > 0 {
        tracing::warn!("{} bad rows skipped", reader.skipped());
    }
    Ok((rows, prompts))
}

fn parse(
    mut row: Row,
    columns: &Columns,
    text: &TextCodec,
    shape: &ModelShape,
    ids: &mut UniqueIds,
) -> Result<(Row, Prompt), FieldProblem> {
    let id = ids.take(&row)?;
    let prompt = prompt_of(&*columns.view(&row)?, text)?;
    if prompt.len() >= shape.positions {
        let expected = format!("fewer than the model's {} tokens (id {id})", shape.positions);
        return Err(FieldProblem::new("prompt", expected, prompt.len().to_string()));
    }
    columns.remove_read(&mut row, &PROMPT_FIELDS);
    Ok((row, Prompt::new(id, prompt)))
}

/// The row of a finished sample.
fn sampled_row(
    mut row: Row,
    finished: &FinishedSample,
    text: &TextCodec,
    stops: &StopTexts,
    include_stop: bool,
) -> Row {
    let drawn = match finished.stop_reason == StopReason::End.name() {
        true => &finished.token_ids[..finished.token_ids.len() - 1],
        false => &finished.token_ids,
    };
    let text = text.decode(drawn).map(|text| stops.cut(&text, include_stop).to_owned());
    row.insert("sample".to_owned(), json!(finished.sample));
    row.insert("text".to_owned(), json!(text));
    row.insert("token_ids".to_owned(), json!(finished.token_ids));
    row.insert("logprobs".to_owned(), json!(finished.logprobs));
    row.insert("stop_reason".to_owned(), json!(finished.stop_reason));
    row
}
