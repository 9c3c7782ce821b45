//! `latrace weigh`: what each trace weighs.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use latrace_objective::{AnswerEstimator, BoundKind, Fallback, RatioEstimator, Selection, Weighting};
use serde_json::json;

use crate::failure::Failure;
use crate::rows::{Output, Row, write_rows};
use crate::weigh::{WeighConfig, WeighInputs, WeighSummary, WeighedTrace, weigh};

/// Arguments of `latrace weigh`.
#[derive(Args, Debug)]
#[command(after_help = "\
Files are .jsonl, .parquet, or folders of such; they are joined on `id` and `sample`, never on the order of rows.
Rows out, in the order of the traces: `id`, `sample`, `tokens`, `log_ratio`, `log_answer` (nats; null is minus infinity),
`weight` (rho~: 1 over a question's traces), `chosen` (the share among the chosen traces, 0 if not).
Bounds, effective sample size and what became of questions go to stderr.

Examples:
  latrace weigh --traces traces.jsonl --scores scores.jsonl --verdicts verdicts.jsonl --out weights.jsonl
  latrace weigh --traces 03-traces --scores 04-scores --references gold.jsonl --answer geometric-likelihood --out weights.parquet")]
pub struct WeighArguments {
    /// Traces with their log-probs under the posterior, as `latrace sample` writes them
    #[arg(long, value_name = "PATH")]
    traces: PathBuf,
    /// The same traces with their log-probs under the reasoner, as `latrace score` writes them
    #[arg(long, value_name = "PATH")]
    scores: PathBuf,
    /// Verdicts on answers after the traces, as `latrace verify` writes them
    #[arg(long, value_name = "PATH")]
    verdicts: Option<PathBuf>,
    /// Log-probs of the reference answer after each trace
    #[arg(long, value_name = "PATH")]
    references: Option<PathBuf>,
    /// Where weights go (.jsonl or .parquet); `-` or nothing is standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// geometric, full or clipped
    #[arg(long, value_name = "NAME", default_value = "geometric")]
    ratio: String,
    /// accuracy, geometric-likelihood or likelihood
    #[arg(long, value_name = "NAME", default_value = "accuracy")]
    answer: String,
    /// rho, ratio-only, accuracy-only, uniform or leave-one-out
    #[arg(long, value_name = "NAME", default_value = "rho")]
    weighting: String,
    /// weighted, best, resample-multinomial or resample-systematic
    #[arg(long, value_name = "NAME", default_value = "best")]
    selection: String,
    /// original-row or skip: what a question without a usable trace becomes
    #[arg(long, value_name = "NAME", default_value = "original-row")]
    fallback: String,
    /// Traces of so many tokens or more weigh nothing
    #[arg(long, value_name = "N", default_value_t = latrace_objective::selection::PUBLISHED_LENGTH_LIMIT)]
    length_limit: usize,
    /// Seed of draws
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
}

/// Runs `latrace weigh`.
pub fn run(arguments: &WeighArguments) -> Result<()> {
    let out = Output::new(arguments.out.as_deref())?;
    let config = config(arguments)?;
    let inputs = WeighInputs {
        traces: arguments.traces.clone(),
        scores: arguments.scores.clone(),
        verdicts: arguments.verdicts.clone(),
        references: arguments.references.clone(),
    };
    let (traces, summary) = weigh(&inputs, &config)?;
    write_rows(&out, |sink| traces.iter().try_for_each(|trace| sink.write(row_of(trace))))?;
    report(&summary, config.ratio.bound_kind());
    Ok(())
}

fn config(arguments: &WeighArguments) -> Result<WeighConfig> {
    let usage = |error: latrace_objective::Error| Failure::usage(error.to_string());
    let config = WeighConfig {
        ratio: RatioEstimator::from_name(&arguments.ratio).map_err(usage)?,
        answer: AnswerEstimator::from_name(&arguments.answer).map_err(usage)?,
        weighting: Weighting::from_name(&arguments.weighting).map_err(usage)?,
        selection: Selection::from_name(&arguments.selection).map_err(usage)?,
        fallback: Fallback::from_name(&arguments.fallback).map_err(usage)?,
        length_limit: arguments.length_limit,
        seed: arguments.seed,
    };
    let (needed, given) = match config.answer {
        AnswerEstimator::Accuracy => ("--verdicts", arguments.verdicts.is_some()),
        AnswerEstimator::GeometricLikelihood | AnswerEstimator::Likelihood => ("--references", arguments.references.is_some()),
    };
    if !given {
        return Err(Failure::usage(format!("--answer {} needs {needed}", arguments.answer)).into());
    }
    Ok(config)
}

fn row_of(trace: &WeighedTrace) -> Row {
    let finite = |value: f64| value.is_finite().then_some(value);
    let fields = [
        ("id", trace.id.clone()),
        ("sample", json!(trace.sample)),
        ("tokens", json!(trace.tokens)),
        ("log_ratio", json!(finite(trace.log_ratio))),
        ("log_answer", json!(finite(trace.log_answer))),
        ("weight", json!(trace.weight)),
        ("chosen", json!(trace.chosen)),
    ];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn report(summary: &WeighSummary, kind: BoundKind) {
    tracing::info!(
        "{} traces of {} questions; {} too long; {} questions without a usable trace; mean effective sample size of the others {:.2}",
        summary.traces,
        summary.questions,
        summary.too_long,
        summary.all_zero,
        summary.effective_sample_size
    );
    let name = if kind == BoundKind::Bound { "bound" } else { "surrogate (not a bound)" };
    for (k, bound) in summary.bounds.iter().enumerate() {
        let error = bound.standard_error.map_or(String::new(), |error| format!(" ± {error:.4}"));
        tracing::info!("{name} L^{}: {:.4}{error} nats over questions where it is finite, {} where it is not", k + 1, bound.mean_of_finite, bound.unbounded);
    }
    let counts = summary.fallbacks;
    tracing::info!("questions built from traces: {}; original rows: {}; left out: {}", counts.main, counts.original_row, counts.skipped);
}
