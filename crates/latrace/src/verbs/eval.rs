//! `latrace eval`: evaluates a model on a benchmark.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use latrace_core::SamplingParams;
use latrace_engine::Engine;
use tracing::{info, warn};

use super::at_least_one;
use super::engine::Kept;
use super::input::markers;
use super::output::write;
use super::sample::EngineArguments;
use super::verifier::VerifierArguments;
use latrace_io::failure::Failure;
use latrace_io::hub::model_folder;
use latrace_questions::benchmarks::{Benchmark, Chosen};
use latrace_run::evaluation::{
    self, BenchmarkRun, EvaluatedModel, EvaluationSummary, ReferenceReadings, ResponseSource, Wrapping,
};

/// The value of `--responses` that stands for the benchmark's own answers.
const RIGHT: &str = "gold";

/// Arguments of `latrace eval`.
#[derive(Args, Debug)]
#[command(after_help = "\
Benchmarks: math500, aime24, aime25, amc23, olympiadbench, gpqa_diamond, livecodebench, mmlu_pro, mmlu_stem,
gsm8k, minervamath, humaneval; or a TOML file in the same format. Questions come from the Hugging Face hub or
its cache, or from --data. The built-in tasks walk, countdown, arithmetic, graph and latin generate theirs: the
test split of their recipes. Settings not given here are the benchmark's: for those of the paper, temperature
0.7, top-p 1, 38,912 tokens, avg@32 for AIME and AMC, avg@8 for GPQA-Diamond and LiveCodeBench, avg@2 for
MATH500 and OlympiadBench, avg@1 for MMLU-Pro.

The output folder gets `results.json` (each question with its responses and verdicts) and `summary.json`
(avg@k, pass@1..k with 95 % intervals, subsets, truncation, lengths, reasons, settings, checksums), both
readable by SkyThought's evaluation tools, and `responses.jsonl`, the responses as token ids. A thought
without an end is never judged as an answer.

A response depends only on its question, its number, the settings and the seed. If interrupted, even by
kill -9, the same command resumes. Programs run in a sandbox (Linux, bubblewrap); without one their verdicts
are undetermined and do not count as correct.

Examples:
  latrace eval --model models/tuned --bench math500 --out evaluations/math500
  latrace eval --model Qwen/Qwen3-4B --template chat --bench aime24 --out evaluations/aime24
  latrace eval --model models/tuned --bench gsm8k --data gsm8k.jsonl --k 4 --limit 100 --out evaluations/gsm8k
  latrace eval --model runs/quickstart/09-final --bench walk --out evaluations/walk
  latrace eval --bench gsm8k --responses samples.jsonl --out evaluations/given
  latrace eval --bench gsm8k --responses gold --out evaluations/check
  latrace eval --bench own.toml --responses samples.jsonl --verifier-command ./judge --out own")]
pub struct EvalArguments {
    /// Model folder (config.json, weights, tokenizer), or a hub id: org/name[@revision]
    #[arg(long, value_name = "DIR", required_unless_present = "responses")]
    model: Option<PathBuf>,
    /// A benchmark's name, or a file that describes one
    #[arg(long, value_name = "NAME|FILE")]
    bench: String,
    /// Responses per question [default: the benchmark's]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    k: Option<u64>,
    /// Folder for the results
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Read questions from a file (.jsonl or .parquet) instead of the hub; may be repeated
    #[arg(long, value_name = "FILE")]
    data: Vec<PathBuf>,
    /// Use only questions of this subset, such as easy; may be repeated
    #[arg(long, value_name = "NAME")]
    subset: Vec<String>,
    /// Use only the first N questions
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    limit: Option<u64>,
    /// Judge given responses (rows of `id`, `response` or `text`) instead of a model's; `gold`: the
    /// benchmark's own answers, with a report of what each reference is read as
    #[arg(long, value_name = "FILE|gold", conflicts_with_all = ["model", "k"])]
    responses: Option<PathBuf>,
    /// The model's name in tables [default: the value of --model]
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// Prompt template: reasoner, plain, a file, chat for the model's own chat template, or chat_open for that with the
    /// thought opened, as in recipes with prompts.reasoner = "chat" [default: reasoner; plain for a built-in task]
    #[arg(long, value_name = "NAME|FILE")]
    template: Option<String>,
    /// System message of a chat [default: none]
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    /// Markers around a thought: think, stratos, plain, or a table as in a recipe, such as
    /// '{ open = "<a>", close = "</a>" }' [default: think; plain for a built-in task]
    #[arg(long, value_name = "NAME|TABLE")]
    markers: Option<String>,
    #[command(flatten)]
    sampling: SamplingOverrides,
    /// Time limit of a program, in seconds per test [default: the benchmark's]
    #[arg(long, value_name = "S", value_parser = super::verify::positive)]
    time_limit: Option<f64>,
    #[command(flatten)]
    verifier: VerifierArguments,
    /// Random seed
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    engine: EngineArguments,
}

/// Sampling parameters that override the benchmark's.
#[derive(Args, Clone, Debug)]
struct SamplingOverrides {
    /// Sampling temperature; 0 is greedy decoding [default: the benchmark's]
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    temperature: Option<f32>,
    /// Nucleus sampling: the smallest set of tokens whose cumulative probability reaches P [default: the
    /// benchmark's]
    #[arg(long, value_name = "P")]
    top_p: Option<f32>,
    /// Sample from the K most likely tokens; 0: all [default: the benchmark's]
    #[arg(long, value_name = "K")]
    top_k: Option<usize>,
    /// Sample from tokens at least P times as likely as the most likely one [default: the benchmark's]
    #[arg(long, value_name = "P")]
    min_p: Option<f32>,
    /// Maximum tokens of a response; the model's context length also applies [default: the benchmark's]
    #[arg(long, value_name = "N")]
    max_new_tokens: Option<usize>,
}

impl SamplingOverrides {
    fn over(&self, params: &SamplingParams) -> SamplingParams {
        SamplingParams {
            temperature: self.temperature.unwrap_or(params.temperature),
            top_p: self.top_p.unwrap_or(params.top_p),
            top_k: self.top_k.unwrap_or(params.top_k),
            min_p: self.min_p.unwrap_or(params.min_p),
            max_new_tokens: self.max_new_tokens.unwrap_or(params.max_new_tokens),
        }
    }
}

/// Runs `latrace eval`.
pub fn run(arguments: &EvalArguments) -> Result<()> {
    let plan = plan(arguments)?;
    info!("{}: {}", plan.benchmark.title, plan.benchmark.about());
    let engine = arguments.engine.engine()?;
    let responses = responses(arguments, &plan.benchmark, &*engine)?;
    let kept = Kept::Samples(&arguments.out);
    let summary = arguments.engine.choice.work(&kept, || evaluation::run(&plan, &responses))?;
    write(evaluation::table(&summary).as_bytes())?;
    log_details(&summary);
    // Any text equals itself: accuracy says little about references that are judged by themselves.
    if matches!(responses, ResponseSource::Right) { print_readings(&plan) } else { Ok(()) }
}

/// Prints what the references are read as, which decides what answers to them are accepted.
fn print_readings(plan: &BenchmarkRun) -> Result<()> {
    let readings = ReferenceReadings::of(plan)?;
    if !readings.is_empty() {
        println!("references are read as: {readings}");
    }
    readings.warnings().iter().for_each(|warning| warn!("{warning}"));
    Ok(())
}

/// Where the responses come from: `--responses`, or else the model.
fn responses<'a>(
    arguments: &EvalArguments,
    benchmark: &Benchmark,
    engine: &'a dyn Engine,
) -> Result<ResponseSource<'a>> {
    match (&arguments.responses, &arguments.model) {
        // A file of that name can still be given, as `./gold`.
        (Some(responses), _) if responses == Path::new(RIGHT) => Ok(ResponseSource::Right),
        (Some(responses), _) => Ok(ResponseSource::File(responses.clone())),
        (None, Some(model)) => {
            let evaluated = evaluated_model(arguments, model, benchmark, engine)?;
            Ok(ResponseSource::EvaluatedModel(Box::new(evaluated)))
        }
        (None, None) => Err(Failure::usage("expected --model or --responses").into()),
    }
}

fn evaluated_model<'a>(
    arguments: &EvalArguments,
    model: &Path,
    benchmark: &Benchmark,
    engine: &'a dyn Engine,
) -> Result<EvaluatedModel<'a>> {
    // By default the prompt that models for this kind of question are trained with.
    let [template, _] = benchmark.kind.form();
    Ok(EvaluatedModel {
        name: arguments.name.clone().unwrap_or_else(|| model.display().to_string()),
        folder: model_folder(model)?,
        wrapping: Wrapping::named(
            arguments.template.as_deref().unwrap_or(template),
            arguments.system.as_deref(),
        )?,
        engine,
    })
}

fn plan(arguments: &EvalArguments) -> Result<BenchmarkRun> {
    let benchmark = adjusted_benchmark(arguments)?;
    let [_, markers_name] = benchmark.kind.form();
    let markers = markers(arguments.markers.as_deref().unwrap_or(markers_name))?;
    let files = files(arguments, &benchmark)?;
    let (chosen, out) = (chosen(arguments), arguments.out.clone());
    let verifier = arguments.verifier.settings()?;
    Ok(BenchmarkRun { benchmark, files, chosen, markers, verifier, seed: arguments.seed, out })
}

fn files(arguments: &EvalArguments, benchmark: &Benchmark) -> Result<Vec<PathBuf>> {
    match arguments.data.as_slice() {
        [] => benchmark.files(&arguments.out),
        given => Ok(given.to_vec()),
    }
}

fn chosen(arguments: &EvalArguments) -> Chosen {
    let limit = arguments.limit.map(|limit| limit as usize);
    Chosen { subsets: arguments.subset.clone(), limit }
}

/// The benchmark, with the settings that are given on the command line.
fn adjusted_benchmark(arguments: &EvalArguments) -> Result<Benchmark> {
    let mut benchmark = Benchmark::find(&arguments.bench)?;
    benchmark.k = arguments.k.unwrap_or(benchmark.k);
    benchmark.sampling = arguments.sampling.over(&benchmark.sampling);
    benchmark.time_limit = arguments.time_limit.unwrap_or(benchmark.time_limit);
    Ok(benchmark)
}

/// Logs to stderr what the table leaves out.
fn log_details(summary: &EvaluationSummary) {
    log_reasons(summary);
    log_truncation(summary);
    log_lengths(summary);
    warn_of_undetermined(summary);
}

fn log_reasons(summary: &EvaluationSummary) {
    let reasons = summary.reasons.iter().map(|(reason, count)| format!("{count} {reason}"));
    let reasons = reasons.collect::<Vec<_>>().join(", ");
    info!("{} responses: {reasons}", summary.overall.samples);
}

fn log_truncation(summary: &EvaluationSummary) {
    let EvaluationSummary { truncated, unclosed, without_thought, .. } = *summary;
    if without_thought > 0 {
        info!(
            "{without_thought} responses have no thought: the whole of each is judged, unless it was truncated"
        );
    }
    if truncated + unclosed > 0 {
        let percent = 100.0 * summary.truncation_rate;
        info!(
            "{truncated} responses ({percent:.1} %) truncated at the token limit; {unclosed} thoughts without an end"
        );
    }
}

fn log_lengths(summary: &EvaluationSummary) {
    // Responses from a file have no token ids, and so no lengths.
    if let Some(lengths) = &summary.lengths {
        info!(
            "tokens per response: mean {:.0}, median {}, 90th percentile {}",
            lengths.mean, lengths.median, lengths.ninetieth
        );
    }
}

fn warn_of_undetermined(summary: &EvaluationSummary) {
    // Absent, not 0, where every response was judged.
    let Some(&undetermined) = summary.verdicts.get("undetermined") else { return };
    // Undetermined responses count as wrong, so the most they can hide is their own share.
    let points = 100.0 * undetermined as f64 / summary.overall.samples as f64;
    warn!(
        "{undetermined} responses could not be judged and do not count as correct: the accuracy may be too low by up to {points:.1} points"
    );
}
