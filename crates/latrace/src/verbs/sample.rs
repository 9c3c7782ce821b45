//! `latrace sample`: samples completions of given prompts from a model.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use latrace_core::{SamplingParams, StopReason};
use serde_json::{Value, json};

use super::at_least_one;
use super::columns::ColumnArguments;
use super::engine::{EngineChoice, Kept};
use super::input::{ModelInput, Parsed, open_rows, read_rows, warn_of_skipped};
use super::output::{add_fields, add_sampled};
use latrace_engine::boundary::StopTexts;
use latrace_engine::row_tokens::{PROMPT_FIELDS, prompt_of};
use latrace_engine::sampling::journal::FinishedSample;
use latrace_engine::sampling::output::{describe_work, draw_to, prompt_settings};
use latrace_engine::sampling::{Prompt, SampleJob};
use latrace_engine::text_codec::TextCodec;
use latrace_engine::{CpuEngine, CpuOptions, Engine};
use latrace_io::columns::Columns;
use latrace_io::failure::Failure;
use latrace_io::memory::Bytes;
use latrace_io::rows::{FieldProblem, Output, Row, UniqueIds};
use latrace_run::weigh::{Distribution, SAMPLING};

/// The stage's name in the key of every random number.
const STAGE: &str = "sample";

/// Arguments of `latrace sample`.
#[derive(Args, Debug)]
#[command(after_help = "\
Input rows: `id`, and `prompt`, `prompt_ids` or `messages`. A `prompt` begins with what the tokenizer adds to texts,
if anything, as in transformers; `messages` begin as their chat template has it.
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
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = at_least_one)]
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

/// The engine and, of the built-in one, options that change speed and memory but never the samples.
#[derive(Args, Clone, Debug)]
pub struct EngineArguments {
    /// Maximum samples in a batch: more are faster and need more memory; samples do not depend on it
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = at_least_one)]
    batch: u64,
    /// Maximum prompt tokens in one forward pass; samples do not depend on it
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = at_least_one)]
    prefill_tokens: u64,
    /// Memory for the KV cache, such as 4G; samples wait when it is full [default: half of the free memory]
    #[arg(long, value_name = "BYTES")]
    kv_cache_bytes: Option<Bytes>,
    #[command(flatten)]
    pub(super) choice: EngineChoice,
}

impl EngineArguments {
    /// The engine with these options.
    ///
    /// # Errors
    /// Settings that it refuses.
    pub fn engine(&self) -> Result<Box<dyn Engine>> {
        self.choice.or(CpuEngine::new(CpuOptions {
            kv_cache_bytes: self.kv_cache_bytes.map(|bytes| bytes.0),
            batch: self.batch as usize,
            prefill_tokens: self.prefill_tokens as usize,
            ..CpuOptions::default()
        }))
    }
}

/// Sampling parameters.
#[derive(Args, Clone, Debug)]
pub struct SamplingArguments {
    /// Sampling temperature; 0 is greedy decoding [default: 0.7]
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    temperature: Option<f32>,
    /// Nucleus sampling: the smallest set of tokens whose cumulative probability reaches P [default: 1]
    #[arg(long, value_name = "P")]
    top_p: Option<f32>,
    /// Sample from the K most likely tokens; 0: all [default: 0]
    #[arg(long, value_name = "K")]
    top_k: Option<usize>,
    /// Sample from tokens at least P times as likely as the most likely one [default: 0]
    #[arg(long, value_name = "P")]
    min_p: Option<f32>,
    /// Keep sampling past end tokens, so that all samples have the same length
    #[arg(long)]
    ignore_end: bool,
    /// Maximum tokens of a sample; the model's context length also applies [default: 2048]
    #[arg(long, value_name = "N")]
    max_new_tokens: Option<usize>,
}

/// The parameters where nothing else is said.
const DEFAULT: SamplingParams =
    SamplingParams { temperature: 0.7, top_p: 1.0, top_k: 0, min_p: 0.0, max_new_tokens: 2048 };

impl SamplingArguments {
    /// The validated parameters.
    pub fn params(&self) -> Result<SamplingParams> {
        self.params_or(DEFAULT)
    }

    /// The same with other values for options that are not given.
    pub fn params_or(&self, default: SamplingParams) -> Result<SamplingParams> {
        let params = SamplingParams {
            temperature: self.temperature.unwrap_or(default.temperature),
            top_p: self.top_p.unwrap_or(default.top_p),
            top_k: self.top_k.unwrap_or(default.top_k),
            min_p: self.min_p.unwrap_or(default.min_p),
            max_new_tokens: self.max_new_tokens.unwrap_or(default.max_new_tokens),
        };
        params.validate().map_err(|error| bad_parameter(&error.to_string()))?;
        Ok(params)
    }

    /// The end tokens that apply: none with `--ignore-end`.
    pub fn stop_ids(&self, end_ids: Vec<u32>) -> Vec<u32> {
        if self.ignore_end { Vec::new() } else { end_ids }
    }
}

fn bad_parameter(error: &str) -> Failure {
    // The colon of "temperature: expected …" becomes a pointer to the option's help.
    Failure::usage(error.replacen(':', " (see --help):", 1))
}

/// Runs `latrace sample`.
pub fn run(arguments: &SampleArguments) -> Result<()> {
    // Checked first: a wrong file name must not come to light after hours of sampling.
    let out = Output::new(arguments.out.as_deref())?;
    let engine = arguments.engine.engine()?;
    let mut model = ModelInput::open(&arguments.model)?;
    let prompt_settings = prompt_settings(&mut model.text, &out)?;
    let job = sample_job(arguments, &model)?;
    check_stops(arguments, &model.text)?;
    let (rows, prompts) = read_prompts(arguments, &model)?;
    let row = |prompt: usize, finished: &FinishedSample| {
        let mut row =
            sampled_row(rows[prompt].clone(), finished, &model.text, &job.stop_texts, arguments.include_stop);
        // In each row, since a file may hold samples of several runs: `latrace weigh` states a bound only where
        // temperature is 1 and nothing was truncated.
        row.insert(SAMPLING.to_owned(), json!(Distribution::from(job.params)));
        row
    };
    let data = &arguments.data;
    let work = describe_work(&job, &model.folder, data, &*engine, settings(arguments, prompt_settings))?;
    // Loaded by the drawing loop, and only if a sample is missing: a finished output costs no weights.
    let generator = || engine.generator(&model.folder);
    let draw = || draw_to(&out, &job, &prompts, work, Vec::new(), generator, &row);
    let drawn = arguments.engine.choice.work(&Kept::samples_of(&out), draw);
    drawn.with_context(|| format!("cannot sample {}", data.display()))
}

fn sample_job(arguments: &SampleArguments, model: &ModelInput) -> Result<SampleJob> {
    Ok(SampleJob {
        stage: STAGE,
        seed: arguments.seed,
        n: arguments.n,
        params: arguments.sampling.params()?,
        stop_ids: arguments.sampling.stop_ids(model.shape.end_ids.clone()),
        stop_texts: StopTexts::new(arguments.stop.clone()),
    })
}

/// The settings that change rows but no request: samples made under others are not resumed.
fn settings(arguments: &SampleArguments, prompt_settings: Row) -> Value {
    let mut settings = Row::from_iter([
        ("stop".to_owned(), json!(arguments.stop)),
        ("include_stop".to_owned(), json!(arguments.include_stop)),
        ("skip_bad_rows".to_owned(), json!(arguments.skip_bad_rows)),
        ("columns".to_owned(), json!(arguments.columns.columns().names())),
    ]);
    settings.extend(prompt_settings);
    Value::Object(settings)
}

fn check_stops(arguments: &SampleArguments, text: &TextCodec) -> Result<()> {
    check_none_empty(&arguments.stop)?;
    // Stop strings are found in decoded text, because a string may end within a token.
    if arguments.stop.is_empty() || text.has_tokenizer() {
        return Ok(());
    }
    Err(no_tokenizer(&arguments.model).into())
}

fn check_none_empty(stops: &[String]) -> Result<()> {
    // Every text contains the empty one: each sample would end before its first token.
    if stops.iter().any(String::is_empty) {
        return Err(Failure::usage("--stop: expected a non-empty string, got \"\"").into());
    }
    Ok(())
}

fn no_tokenizer(model: &Path) -> Failure {
    Failure::usage(format!("--stop needs a tokenizer: {} has no tokenizer.json", model.display()))
}

/// The rows without their prompt fields, and the prompts.
fn read_prompts(arguments: &SampleArguments, model: &ModelInput) -> Result<(Vec<Row>, Vec<Prompt>)> {
    let mut reader = open_rows(&arguments.data, arguments.skip_bad_rows)?;
    let (columns, mut ids) = (arguments.columns.columns(), UniqueIds::default());
    let rows = read_rows(&mut reader, |_, row| parse(row, &columns, model, &mut ids))?;
    warn_of_skipped(&reader);
    Ok(rows.into_iter().unzip())
}

fn parse(mut row: Row, columns: &Columns, model: &ModelInput, ids: &mut UniqueIds) -> Parsed<(Row, Prompt)> {
    // By id alone: the row's `sample`, if it has one, gives way to the number of the new sample.
    let id = ids.take(&row)?;
    let prompt = prompt_of(&*columns.view(&row)?, &model.text)?;
    let positions = model.shape.positions;
    // At least one position must be left for the first sampled token.
    if prompt.len() >= positions {
        let expected = format!("fewer than the model's {positions} tokens (id {id})");
        return Err(FieldProblem::new("prompt", expected, prompt.len().to_string()));
    }
    // Left out, because each of the n output rows would repeat the prompt.
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
    let text = text.decode(without_end(finished)).map(|text| stops.cut(&text, include_stop).to_owned());
    add_fields(&mut row, [("sample", json!(finished.sample)), ("text", json!(text))]);
    add_sampled(&mut row, finished);
    row
}

/// The sampled tokens without the end token, which some tokenizers decode to visible text.
fn without_end(finished: &FinishedSample) -> &[u32] {
    match finished.token_ids.split_last() {
        Some((_, drawn)) if finished.stop_reason == StopReason::End.name() => drawn,
        _ => &finished.token_ids,
    }
}
