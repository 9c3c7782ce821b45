//! `latrace weigh`: computes the weight of each trace.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use latrace_objective::ratio::Kernel;
use latrace_objective::ratio::clipped::DEFAULT_BOUND;
use latrace_objective::selection::PUBLISHED_LENGTH_LIMIT;
use latrace_objective::{AnswerEstimator, Fallback, RatioEstimator, Selection, Weighting};
use serde_json::json;
use tracing::info;

use latrace_io::failure::Failure;
use latrace_io::files::write_atomically;
use latrace_io::rows::{Output, Row, write_rows};
use latrace_run::weigh::{
    BoundSeries, SurrogateSeries, WeighConfig, WeighInputs, WeighSummary, WeighedTrace, no_bound_in_words,
    weigh,
};

/// Arguments of `latrace weigh`.
#[derive(Args, Debug)]
#[command(after_help = "\
Inputs are .jsonl or .parquet files, or folders of them; they are joined on `id` and `sample`, never by row
order.
Output rows, in the order of the traces: `id`, `sample`, `tokens`, `log_ratio`, `log_answer` (nats; null is
minus infinity), `weight` (rho~, which sums to 1 over a question's traces), `chosen` (the share among the
chosen traces; 0 if not chosen), `resolution` (how its question is built: `main`, `geometric-likelihood`,
`original-row`, `skipped`).

A question whose traces all have weight 0 is handled by the fallback. With `--fallback geometric-likelihood`
its traces are weighted by the geometric-mean likelihood of the reference answer if --references has rows for
them; otherwise it keeps its original row. Such a question need not have any verdicts. With references only
for rows without a verifier, this reproduces the published data set.

Bounds, effective sample size and counts of questions are logged to stderr, and written as JSON to --bounds.
`bounds` are L^1 to L^K on log P(correct), means over all questions, with the full ratio and, as the answer's
probability, the likelihood of the reference answer plus the share of sampled answers that are correct and not
the reference answer. They need --references for every trace, `is_reference` in each row of --verdicts, and
`sampling` in the traces' rows (`latrace sample`, `latrace answer` and `latrace verify` write them), with
temperature 1 and no truncation; answers whose rows have no `sampling` are taken to be sampled so. A trace
without an end (`closed` false, `stop_reason` `max_tokens`, or `open_trace` in its verdicts) counts as rho = 0,
so that L^k is minus infinity where a question has k of them. Otherwise `is_bound` is false and `reason` says
why. `surrogates` are L^1 to L^K with the estimators of the weights, over the questions where they are finite;
they bound nothing. `surrogate_bias` is their difference to the full ratio. `monte_carlo_error` accounts for
traces only, `standard_error` for questions as well (nats).

Examples:
  latrace weigh --traces traces.jsonl --scores scores.jsonl --verdicts verdicts.jsonl --out weights.jsonl
  latrace weigh --traces traces.jsonl --scores scores.jsonl --verdicts verdicts.jsonl --references references.jsonl --bounds bounds.json
  latrace weigh --traces 03-traces --scores 04-scores --references gold --answer geometric-likelihood --out w.parquet")]
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
    /// Log-probs of the reference answer after each trace under the reasoner
    #[arg(long, value_name = "PATH")]
    references: Option<PathBuf>,
    /// Output file for the weights (.jsonl or .parquet); `-` or none: standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Output file for bounds and counts, as JSON
    #[arg(long, value_name = "FILE")]
    bounds: Option<PathBuf>,
    /// Estimator of the ratio: geometric, full, clipped or kernel
    #[arg(long, value_name = "NAME", default_value = "geometric", value_parser = RatioEstimator::from_name)]
    ratio: RatioEstimator,
    /// Bound on the clipped ratio's mean log-ratio, nats per token
    #[arg(long, value_name = "NATS", default_value_t = DEFAULT_BOUND)]
    clip: f64,
    /// Power a of the kernel W^a exp(b (1 - W)) of the geometric ratio W
    #[arg(long, value_name = "A", default_value_t = Kernel::DEFAULT.power)]
    kernel_power: f64,
    /// Decay b of the kernel
    #[arg(long, value_name = "B", default_value_t = Kernel::DEFAULT.decay)]
    kernel_decay: f64,
    /// Log-ratio below which a trace gets weight 0, nats per token (per trace for the full ratio)
    #[arg(long, value_name = "NATS", default_value_t = f64::NEG_INFINITY, allow_negative_numbers = true)]
    min_log_ratio: f64,
    /// log rho that the best trace of a question must reach for the question to have a usable trace
    #[arg(long, value_name = "NATS", default_value_t = f64::NEG_INFINITY, allow_negative_numbers = true)]
    min_best: f64,
    /// Estimator of the answer's probability: accuracy, geometric-likelihood or likelihood
    #[arg(long, value_name = "NAME", default_value = "accuracy", value_parser = AnswerEstimator::from_name)]
    answer: AnswerEstimator,
    /// Weight of a trace: rho, ratio-only, accuracy-only, uniform or leave-one-out
    #[arg(long, value_name = "NAME", default_value = "rho", value_parser = Weighting::from_name)]
    weighting: Weighting,
    /// Which traces are chosen: weighted, best, resample-multinomial or resample-systematic
    #[arg(long, value_name = "NAME", default_value = "best", value_parser = Selection::from_name)]
    selection: Selection,
    /// Traces drawn per question by the resampling selections
    #[arg(long, value_name = "N", default_value_t = 1)]
    draws: usize,
    /// How to handle a question without a usable trace: original-row, skip or geometric-likelihood
    #[arg(long, value_name = "NAME", default_value = "original-row", value_parser = Fallback::from_name)]
    fallback: Fallback,
    /// Traces of N or more tokens get weight 0
    #[arg(long, value_name = "N", default_value_t = PUBLISHED_LENGTH_LIMIT)]
    length_limit: usize,
    /// Seed for resampling
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
    if let Some(path) = &arguments.bounds {
        write_summary(path, &summary)?;
    }
    write_rows(&out, |sink| traces.iter().try_for_each(|trace| sink.write(row_of(trace))))?;
    report(&summary);
    Ok(())
}

fn config(arguments: &WeighArguments) -> Result<WeighConfig> {
    let config = WeighConfig {
        ratio: arguments.ratio,
        clip: arguments.clip,
        kernel_power: arguments.kernel_power,
        kernel_decay: arguments.kernel_decay,
        min_log_ratio: arguments.min_log_ratio,
        min_best: arguments.min_best,
        answer: arguments.answer,
        weighting: arguments.weighting,
        selection: arguments.selection,
        draws: arguments.draws,
        fallback: arguments.fallback,
        length_limit: arguments.length_limit,
        seed: arguments.seed,
        ..WeighConfig::default()
    };
    config.check()?;
    missing_file(arguments, &config).map_or(Ok(config), |message| Err(Failure::usage(message).into()))
}

/// The message about a file that the settings need and that was not given.
fn missing_file(arguments: &WeighArguments, config: &WeighConfig) -> Option<String> {
    let lacks_references = config.reads_references() && arguments.references.is_none();
    match config.answer {
        AnswerEstimator::Accuracy if arguments.verdicts.is_none() => {
            Some("--answer accuracy needs --verdicts".to_owned())
        }
        // Accuracy reads no reference answer itself, so it is the fallback that does.
        AnswerEstimator::Accuracy => {
            lacks_references.then(|| format!("--fallback {} needs --references", config.fallback.name()))
        }
        answer => lacks_references.then(|| format!("--answer {} needs --references", answer.name())),
    }
}

fn write_summary(path: &Path, summary: &WeighSummary) -> Result<()> {
    write_atomically(path, |writer| {
        serde_json::to_writer_pretty(&mut *writer, &summary.to_json())
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(writer.write_all(b"\n")?)
    })
}

fn row_of(trace: &WeighedTrace) -> Row {
    // JSON has no infinities.
    let finite = |value: f64| value.is_finite().then_some(value);
    let fields = [
        ("id", trace.id.clone()),
        ("sample", json!(trace.sample)),
        ("tokens", json!(trace.tokens)),
        ("log_ratio", json!(finite(trace.log_ratio))),
        ("log_answer", json!(finite(trace.log_answer))),
        ("weight", json!(trace.weight)),
        ("chosen", json!(trace.chosen)),
        ("resolution", json!(trace.resolution)),
    ];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn report(summary: &WeighSummary) {
    report_traces(summary);
    report_without_correct(summary);
    report_bounds(summary);
    report_surrogates(&summary.surrogates);
    report_resolutions(summary);
}

fn report_traces(summary: &WeighSummary) {
    let counted = [
        (summary.too_long, "too long"),
        (summary.clipped, "at the bound of the ratio"),
        (summary.all_zero, "questions without a usable trace"),
    ];
    let counted: String = counted
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("; {count} {what}"))
        .collect();
    info!("{} traces of {} questions{counted}", summary.traces, summary.questions);
    if summary.all_zero < summary.questions {
        info!(
            "of a question's traces {:.1} differ, with an effective sample size of {:.2} (of distinct ones {:.2}) and an entropy of {:.2} nats",
            summary.distinct_traces,
            summary.effective_sample_size,
            summary.distinct_effective_sample_size,
            summary.entropy
        );
    }
}

fn report_without_correct(summary: &WeighSummary) {
    info!(
        "without a correct trace: {} of {} judged questions ({:.1} %)",
        summary.without_correct,
        summary.questions - summary.without_verdicts,
        100.0 * summary.share_without_correct()
    );
}

fn report_bounds(summary: &WeighSummary) {
    match &summary.bounds {
        Ok(bounds) => report_series(bounds),
        Err(reasons) => info!("no bound: {}", no_bound_in_words(reasons)),
    }
}

fn report_resolutions(summary: &WeighSummary) {
    let counts = summary.fallbacks;
    info!(
        "questions built from traces: {}, of them {} by the geometric likelihood; original rows: {}; left out: {}",
        counts.main + counts.geometric_likelihood,
        counts.geometric_likelihood,
        counts.original_row,
        counts.skipped
    );
}

fn report_series(series: &BoundSeries) {
    for (k, bound) in series.of_k.iter().enumerate() {
        let (title, traces) = (series.title(), k + 1);
        match bound.unbounded {
            0 => info!(
                "{title}: L^{traces} = {:.4}{} nats, mean over all {} questions",
                bound.mean,
                error(bound.standard_error),
                bound.questions
            ),
            // One -inf makes the mean -inf, whatever the other questions give.
            unbounded => info!(
                "{title}: L^{traces} = -inf, because {unbounded} of {} questions have {traces} or more traces without an end",
                bound.questions
            ),
        }
    }
}

fn report_surrogates(series: &SurrogateSeries) {
    for (k, surrogate) in series.of_k.iter().enumerate() {
        let (title, traces) = (series.title(), k + 1);
        // The mean over no question is no number.
        if surrogate.mean_of_finite.is_nan() {
            info!("{title}: L^{traces} is finite for none of {} questions", surrogate.unbounded);
            continue;
        }
        info!(
            "{title}: L^{traces} = {:.4}{} nats over questions where it is finite, {} where it is not",
            surrogate.mean_of_finite,
            error(surrogate.monte_carlo_error),
            surrogate.unbounded
        );
    }
}

fn error(standard_error: Option<f64>) -> String {
    standard_error.map_or(String::new(), |error| format!(" ± {error:.4}"))
}
