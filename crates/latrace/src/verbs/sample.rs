//! `latrace sample`: samples of given prompts from a model.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Args;
use latrace_lm::sample::stream;
use latrace_lm::{Config, Error, Model, Observer, Sample, SampleRequest, Sampler, SamplerOptions, Sampling, StopReason};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::memory::{Bytes, free_memory};
use crate::model_folder::{TextSide, fingerprint, read_config};
use crate::progress::Progress;
use crate::rows::{BadRows, FieldProblem, Output, PROMPT_FIELDS, Row, RowReader, RowSink, UniqueIds, prompt_of, shortest, write_rows};
use crate::sampling::journal::{Finished, Journal};
use crate::sampling::stop_strings::StopStrings;

/// The stage's name in the key of every random number.
const STAGE: &str = "sample";

/// Arguments of `latrace sample`.
#[derive(Args, Debug)]
#[command(after_help = "\
Rows in: `id`, and `prompt`, `prompt_ids` or `messages`.
Rows out, `--n` for each row, in order: the row's other fields, `sample` (0..n), `text`, `token_ids` (an ending token
included), `logprobs` (nats per token, of the model as it is: temperature 1, before any cut), `stop_reason` (`end`,
`stop_string`, `max_tokens`).

A sample depends on its row, its number, the settings and the seed alone: not on the batch, the order, threads, or
where a stopped run went on. Stopped (kill -9 too), the same command goes on where it was; OUT.sampling.json says what
is being sampled.

Examples:
  latrace sample --model models/small --data questions.jsonl --out traces.jsonl --n 8
  latrace sample --model models/small --data questions.jsonl --out traces.jsonl --stop '</think>' --include-stop
  latrace sample --model models/small --data questions.jsonl --temperature 0 --n 1 | head")]
pub struct SampleArguments {
    /// Model folder (config.json, weights, tokenizer)
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Rows with prompts (.jsonl or .parquet)
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// Where samples go (.jsonl or .parquet); `-` or nothing is standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Samples of each row
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..))]
    n: u64,
    #[command(flatten)]
    drawing: DrawingArguments,
    /// Text at which a sample stops; may be given several times
    #[arg(long, value_name = "TEXT")]
    stop: Vec<String>,
    /// Keep the text at which a sample stopped in `text`
    #[arg(long)]
    include_stop: bool,
    /// Seed of all random numbers
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Leave bad rows out and count them, instead of stopping at the first
    #[arg(long)]
    skip_bad_rows: bool,
    /// Most samples at a time: memory against speed; samples do not depend on it
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u64).range(1..))]
    batch: u64,
    /// Most tokens of prompts in one pass; samples do not depend on it
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u64).range(1..))]
    prefill_tokens: u64,
    /// Memory for keys and values, such as 4G; samples wait when it is full [default: half of what is free]
    #[arg(long, value_name = "BYTES")]
    kv_cache_bytes: Option<Bytes>,
}

/// How tokens are drawn.
#[derive(Args, Clone, Debug)]
pub struct DrawingArguments {
    /// 0 takes the likeliest token; above 1 flattens the distribution
    #[arg(long, value_name = "T", default_value_t = 0.7, allow_negative_numbers = true)]
    temperature: f32,
    /// Only the fewest tokens whose probability reaches this
    #[arg(long, value_name = "P", default_value_t = 1.0)]
    top_p: f32,
    /// Only so many of the likeliest tokens; 0: all
    #[arg(long, value_name = "K", default_value_t = 0)]
    top_k: usize,
    /// Only tokens at least so many times as likely as the likeliest
    #[arg(long, value_name = "P", default_value_t = 0.0)]
    min_p: f32,
    /// Draw on past tokens that end a sample, to samples of one length
    #[arg(long)]
    ignore_end: bool,
    /// Most tokens of a sample; the model's positions are a limit too
    #[arg(long, value_name = "N", default_value_t = 2048)]
    max_new_tokens: usize,
}

impl DrawingArguments {
    /// The settings for a model, checked.
    pub fn sampling(&self, config: &Config) -> Result<Sampling> {
        let sampling = Sampling {
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
            max_new_tokens: self.max_new_tokens,
            end_ids: if self.ignore_end { Vec::new() } else { config.eos_token_ids.clone() },
        };
        sampling.validate().map_err(|error| Failure::usage(error.to_string().replacen(':', " (see --help):", 1)))?;
        Ok(sampling)
    }
}

/// Runs `latrace sample`.
pub fn run(arguments: &SampleArguments) -> Result<()> {
    let out = Output::new(arguments.out.as_deref())?;
    let config = read_config(&arguments.model)?;
    let sampling = arguments.drawing.sampling(&config)?;
    let text = TextSide::open(&arguments.model, &config)?;
    check_stops(arguments, &text)?;
    let prompts = read_prompts(arguments, &text, &config)?;
    let options = SamplerOptions {
        kv_cache_bytes: arguments.kv_cache_bytes.map_or_else(|| free_memory() / 2, |bytes| bytes.0),
        batch: arguments.batch as usize,
        prefill_tokens: arguments.prefill_tokens as usize,
    };
    let stops = StopStrings::new(arguments.stop.clone());
    let (journal, finished) = match &out {
        Output::Stdout => (None, Vec::new()),
        Output::File(path) => {
            let (journal, finished) = Journal::open(path, describe_work(arguments, &sampling)?)?;
            (Some(journal), finished)
        }
    };
    let mut work = Work::new(arguments, &prompts, &text, &stops, journal, finished)?;
    let requests = work.requests(arguments, &sampling);
    if !requests.is_empty() {
        let mut sampler = Sampler::new(Model::load(&arguments.model)?, options);
        let outcome = sampler.run(&requests, &mut work);
        work.failure.take().map_or(Ok(()), Err)?;
        outcome.map_err(|error| name_row(error, &work)).with_context(|| format!("cannot sample {}", arguments.data.display()))?;
        work.summarise(&sampler);
    }
    write_out(arguments, &out, work)
}

fn check_stops(arguments: &SampleArguments, text: &TextSide) -> Result<()> {
    if arguments.stop.iter().any(String::is_empty) {
        return Err(Failure::usage("--stop: expected a text, got an empty one").into());
    }
    if !arguments.stop.is_empty() && !text.has_tokenizer() {
        let message = format!("--stop needs texts, and {} has no tokenizer.json", arguments.model.display());
        return Err(Failure::usage(message).into());
    }
    Ok(())
}

/// A row without its prompt, and the prompt's ids.
struct Prompt {
    id: Value,
    row: Row,
    ids: Vec<u32>,
}

fn read_prompts(arguments: &SampleArguments, text: &TextSide, config: &Config) -> Result<Vec<Prompt>> {
    let bad_rows = if arguments.skip_bad_rows { BadRows::Skip } else { BadRows::Stop };
    let mut reader = RowReader::open(&arguments.data, bad_rows)?;
    let (mut prompts, mut ids) = (Vec::new(), UniqueIds::default());
    while let Some(prompt) = reader.next_with(|_, row| parse(row, text, config, &mut ids))? {
        prompts.push(prompt);
    }
    if reader.skipped() > 0 {
        tracing::warn!("{} bad rows skipped", reader.skipped());
    }
    Ok(prompts)
}

fn parse(mut row: Row, text: &TextSide, config: &Config, ids: &mut UniqueIds) -> Result<Prompt, FieldProblem> {
    let id = ids.take(&row)?;
    let prompt = prompt_of(&row, text)?;
    if prompt.len() >= config.max_positions {
        let expected = format!("fewer than the model's {} tokens (id {id})", config.max_positions);
        return Err(FieldProblem::new("prompt", expected, prompt.len().to_string()));
    }
    for name in PROMPT_FIELDS {
        row.shift_remove(name);
    }
    Ok(Prompt { id, row, ids: prompt })
}

/// All that a sample depends on.
fn describe_work(arguments: &SampleArguments, sampling: &Sampling) -> Result<Value> {
    Ok(json!({
        "model": fingerprint(&arguments.model)?,
        "data": crate::files::checksum(&arguments.data)?,
        "n": arguments.n,
        "seed": arguments.seed,
        "temperature": shortest(sampling.temperature),
        "top_p": shortest(sampling.top_p),
        "top_k": sampling.top_k,
        "min_p": shortest(sampling.min_p),
        "max_new_tokens": sampling.max_new_tokens,
        "end_ids": sampling.end_ids,
        "stop": arguments.stop,
        "include_stop": arguments.include_stop,
        "skip_bad_rows": arguments.skip_bad_rows,
    }))
}

/// The samples of a run: which are finished, and what becomes of those that finish.
struct Work<'a> {
    prompts: &'a [Prompt],
    text: &'a TextSide,
    stops: &'a StopStrings,
    /// Without one, samples go to standard output as they finish.
    journal: Option<Journal>,
    include_stop: bool,
    finished: BTreeMap<(usize, u64), Finished>,
    /// For each request of the sampler: its prompt, and the numbers of its samples.
    requested: Vec<(usize, Vec<u64>)>,
    progress: Progress,
    started: Instant,
    tokens: u64,
    /// The first error of our own, which the sampler hands back as a message.
    failure: Option<anyhow::Error>,
}

impl<'a> Work<'a> {
    fn new(
        arguments: &SampleArguments,
        prompts: &'a [Prompt],
        text: &'a TextSide,
        stops: &'a StopStrings,
        journal: Option<Journal>,
        earlier: Vec<Finished>,
    ) -> Result<Work<'a>> {
        let places: HashMap<String, usize> = prompts.iter().enumerate().map(|(i, prompt)| (prompt.id.to_string(), i)).collect();
        let mut finished = BTreeMap::new();
        for sample in earlier {
            let place = places.get(&sample.id.to_string()).filter(|_| sample.sample < arguments.n);
            let place = place.with_context(|| format!("the journal has sample {} of id {}, which the data does not ask for", sample.sample, sample.id))?;
            finished.insert((*place, sample.sample), sample);
        }
        if !finished.is_empty() {
            tracing::info!("{} samples were finished before", finished.len());
        }
        let progress = Progress::new("samples", finished.len() as u64, Some(prompts.len() as u64 * arguments.n));
        Ok(Work {
            prompts,
            text,
            stops,
            journal,
            include_stop: arguments.include_stop,
            finished,
            requested: Vec::new(),
            progress,
            started: Instant::now(),
            tokens: 0,
            failure: None,
        })
    }

    /// What is left to sample.
    fn requests(&mut self, arguments: &SampleArguments, sampling: &Sampling) -> Vec<SampleRequest> {
        let mut requests = Vec::new();
        for (i, prompt) in self.prompts.iter().enumerate() {
            let left: Vec<u64> = (0..arguments.n).filter(|&sample| !self.finished.contains_key(&(i, sample))).collect();
            if left.is_empty() {
                continue;
            }
            let id = prompt.id.to_string();
            let streams = left.iter().map(|&sample| stream(arguments.seed, STAGE, &id, sample)).collect();
            requests.push(SampleRequest { prompt: prompt.ids.clone(), streams, sampling: sampling.clone() });
            self.requested.push((i, left));
        }
        requests
    }

    fn keep(&mut self, sample: &Sample) -> Result<()> {
        let (prompt, number) = (self.requested[sample.request].0, self.requested[sample.request].1[sample.sample]);
        let finished = Finished {
            id: self.prompts[prompt].id.clone(),
            sample: number,
            token_ids: sample.tokens.clone(),
            // The sampler lets no log-prob pass that is not finite.
            logprobs: sample.logp.iter().map(|&logp| shortest(logp).unwrap_or(f64::NAN)).collect(),
            stop_reason: sample.stop.name().to_owned(),
        };
        match &mut self.journal {
            Some(journal) => journal.add(&finished)?,
            None => write_rows(&Output::Stdout, |sink| sink.write(self.row(prompt, &finished)))?,
        }
        self.finished.insert((prompt, number), finished);
        self.tokens += sample.tokens.len() as u64;
        self.progress.message(format!("{:.0} tokens/s", self.tokens as f64 / self.started.elapsed().as_secs_f64()));
        self.progress.advance(1);
        Ok(())
    }

    /// The row of a finished sample.
    fn row(&self, prompt: usize, finished: &Finished) -> Row {
        let mut row = self.prompts[prompt].row.clone();
        let drawn = match finished.stop_reason == StopReason::End.name() {
            true => &finished.token_ids[..finished.token_ids.len() - 1],
            false => &finished.token_ids,
        };
        let text = self.text.decode(drawn).map(|text| self.stops.cut(&text, self.include_stop).to_owned());
        row.insert("sample".to_owned(), json!(finished.sample));
        row.insert("text".to_owned(), json!(text));
        row.insert("token_ids".to_owned(), json!(finished.token_ids));
        row.insert("logprobs".to_owned(), json!(finished.logprobs));
        row.insert("stop_reason".to_owned(), json!(finished.stop_reason));
        row
    }

    fn summarise(&self, sampler: &Sampler) {
        let mut reasons: BTreeMap<&str, u64> = BTreeMap::new();
        self.finished.values().for_each(|sample| *reasons.entry(&sample.stop_reason).or_default() += 1);
        let reasons: Vec<String> = reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        let seconds = self.started.elapsed().as_secs_f64();
        tracing::info!(
            "{} samples ({}); {} tokens drawn in {seconds:.1} s, {:.0} a second; {} tokens of prompts read; {:.1} MB of keys and values at most",
            self.finished.len(),
            reasons.join(", "),
            self.tokens,
            self.tokens as f64 / seconds,
            sampler.prefilled(),
            sampler.peak_cache_bytes() as f64 / 1e6
        );
    }
}

impl Observer for Work<'_> {
    fn token(&mut self, _: usize, _: usize, tokens: &[u32]) -> Option<StopReason> {
        self.stops.found(tokens, self.text).then_some(StopReason::StopString)
    }

    fn finished(&mut self, sample: Sample) -> Result<(), Error> {
        self.keep(&sample).map_err(|error| {
            let message = error.to_string();
            self.failure = Some(error);
            Error::Invalid(message)
        })
    }
}

/// The sampler names rows by their place among its requests.
fn name_row(error: Error, work: &Work<'_>) -> Error {
    match error {
        Error::Row { id, detail } => {
            let prompt = id.parse::<usize>().ok().and_then(|request| work.requested.get(request)).map(|(prompt, _)| &work.prompts[*prompt].id);
            Error::Row { id: prompt.map_or(id, |name| name.as_str().map_or_else(|| name.to_string(), str::to_owned)), detail }
        }
        other => other,
    }
}

/// Puts finished samples in the order of their rows.
fn write_out(arguments: &SampleArguments, out: &Output, mut work: Work<'_>) -> Result<()> {
    let journal = work.journal.take();
    if let Some(journal) = journal {
        let path: &Path = arguments.out.as_deref().unwrap_or(Path::new("-"));
        write_rows(out, |sink: &mut dyn RowSink| {
            for ((prompt, _), finished) in &work.finished {
                sink.write(work.row(*prompt, finished))?;
            }
            Ok(())
        })?;
        journal.finish(path)?;
    }
    work.progress.finish();
    Ok(())
}
