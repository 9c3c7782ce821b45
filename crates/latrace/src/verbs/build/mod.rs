//! `latrace build`: builds training rows from weighted traces.

mod inputs;
mod rows;

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use latrace_io::failure::Failure;
use latrace_io::rows::{Output, write_rows};
use latrace_objective::{AnswerChoice, Fallback};
use latrace_run::plan::DatasetSettings;
use latrace_run::recipe::run::{Dataset, Duplicates, Method};
use latrace_run::stages::dataset::{Totals, of_part};
use latrace_run::weigh::Fallbacks;
use serde_json::Value;
use tracing::info;

use super::choices::{ANSWERS_OF_TRACE, DUPLICATES, METHODS, one_of};
use inputs::{answers_per_trace, read_questions, read_samples};

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
    /// Exponent on a question's accuracy, by which its weight is multiplied
    #[arg(long, value_name = "E", default_value_t = 0.0, allow_negative_numbers = true)]
    question_exponent: f64,
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
    let settings = settings(arguments, answers_per_trace(&samples)?);
    // The whole input is treated as one part of a run's table, so that verb and stage build the same rows.
    let mut totals = Totals::default();
    let examples = of_part(&questions, &samples, &settings, &mut totals)?;
    // Known only when all are built: weights are normalised over all examples.
    let scale = totals.scale();
    write_rows(&out, |sink| {
        examples.iter().try_for_each(|example| sink.write(rows::of_example(&example.record(scale))))
    })?;
    report(&totals.counts());
    check_not_empty(examples.len())
}

/// After the report, which says why nothing is left.
fn check_not_empty(examples: usize) -> Result<()> {
    if examples > 0 { Ok(()) } else { Err(no_rows().into()) }
}

fn no_rows() -> Failure {
    Failure::work("there is no row to train on").hint("the counts above say how each question was used")
}

fn settings(arguments: &BuildArguments, answers: u64) -> DatasetSettings {
    let BuildArguments { method, fallback, seed, .. } = *arguments;
    // The verb does not know the trainer's cut-off.
    let fallbacks = Fallbacks::default();
    DatasetSettings {
        method,
        dataset: dataset(arguments),
        answers,
        fallback,
        fallbacks,
        drop_above: None,
        seed,
    }
}

fn dataset(arguments: &BuildArguments) -> Dataset {
    let BuildArguments { answers_of_trace, duplicates, question_exponent, originals, .. } = *arguments;
    Dataset { answers: answers_of_trace, duplicates, question_exponent, originals }
}

fn check(arguments: &BuildArguments) -> Result<()> {
    if let Some(option) = missing_input(arguments) {
        return Err(Failure::usage(format!("this method needs {option}")).into());
    }
    check_originals(arguments.originals)
}

fn check_originals(weight: f64) -> Result<()> {
    // The parser of the option takes any number, also an infinity and NaN.
    if weight.is_finite() && weight >= 0.0 { Ok(()) } else { Err(bad_originals(weight).into()) }
}

fn bad_originals(weight: f64) -> Failure {
    Failure::usage(format!("--originals: expected a finite number of at least 0, got {weight}"))
}

/// The first option that the method needs and that is not given.
fn missing_input(arguments: &BuildArguments) -> Option<&'static str> {
    let (method, rewards) = (arguments.method, arguments.method.is_policy_gradient());
    let weighs = matches!(method, Method::Variational | Method::Verifree);
    let inputs = [
        (method != Method::Sft, arguments.traces.is_some(), "--traces"),
        (weighs, arguments.weights.is_some(), "--weights"),
        (rewards || method == Method::Rft, arguments.answers.is_some(), "--answers and --verdicts"),
        (rewards, arguments.scores.is_some(), "--scores"),
    ];
    let missing = inputs.into_iter().find(|&(is_needed, is_given, _)| is_needed && !is_given);
    missing.map(|(_, _, option)| option)
}

fn report(counts: &Value) {
    info!(
        "{} examples of traces and {} rows of their own; of {} questions with traces {} have usable ones, {} fell back, {} are left out",
        counts["built"],
        counts["own"],
        counts["questions"],
        counts["used"],
        counts["fell_back"],
        counts["left_out"]
    );
}
