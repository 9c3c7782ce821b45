//! Stage 7: weights of traces. From sums of log-probs and verdicts to rho~ and bounds; (5) to (8) of the
//! paper.

mod config;
mod drawn;
mod fallbacks;
mod join;
mod no_bound;
mod question;
mod summary;
mod sums;
#[cfg(test)]
mod truth;

use anyhow::Result;
use latrace_objective::Resolution;
use rayon::prelude::*;
use serde_json::Value;

use latrace_io::progress::{Progress, SharedProgress};

pub use config::WeighConfig;
pub use drawn::{Distribution, Drawn, SAMPLING};
pub use fallbacks::Fallbacks;
pub use join::{IS_REFERENCE, OPEN_TRACE, WeighInputs};
pub use no_bound::{NoBound, in_words as no_bound_in_words};
pub use question::{Evidence, TraceGroup};
pub use summary::{BoundSeries, SurrogateSeries, WeighSummary};

/// A trace and its weight.
#[derive(Clone, Debug, PartialEq)]
pub struct WeighedTrace {
    /// The question.
    pub id: Value,
    /// The trace's number.
    pub sample: u64,
    /// Tokens of the trace.
    pub tokens: usize,
    /// Log of the estimated ratio (nats).
    pub log_ratio: f64,
    /// Log of the answer probability in the weight (nats): that of the fallback if the question fell back on
    /// one.
    pub log_answer: f64,
    /// rho~, or the ablation's weight: sums to 1 over the question's traces (to 0 for leave-one-out).
    pub weight: f64,
    /// The trace's share among the chosen traces; 0 if it is not chosen.
    pub chosen: f64,
    /// How its question is built. With the geometric likelihood, the reference answer follows the trace.
    pub resolution: Resolution,
}

/// Weighs the traces of all questions, in file order.
///
/// # Errors
/// Unreadable files; records that are missing, superfluous, duplicate, or of different lengths; missing
/// evidence for the answer estimator.
pub fn weigh(inputs: &WeighInputs, config: &WeighConfig) -> Result<(Vec<WeighedTrace>, WeighSummary)> {
    config.check()?;
    let (groups, drawn) = join::join(inputs, config)?;
    weigh_groups(groups, config, &drawn)
}

/// Weighs groups of traces, one group per question.
///
/// # Errors
/// A setting out of range; duplicate traces; missing evidence for the answer estimator.
pub fn weigh_groups(
    groups: Vec<TraceGroup>,
    config: &WeighConfig,
    drawn: &Drawn,
) -> Result<(Vec<WeighedTrace>, WeighSummary)> {
    config.check()?;
    let progress = SharedProgress::new(Progress::new("questions weighed", 0, Some(groups.len() as u64)));
    let weigh_one = |group| {
        let question = question::weigh_question(group, config)?;
        progress.advance(1);
        Ok(question)
    };
    let weighed: Vec<question::Question> = groups.into_par_iter().map(weigh_one).collect::<Result<_>>()?;
    progress.finish();
    let summary = summary::summarise(&weighed, config, drawn)?;
    Ok((weighed.into_iter().flat_map(|question| question.traces).collect(), summary))
}
