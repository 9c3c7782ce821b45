//! What tells a user whether the method can help on a run's questions: whether pi_theta0 fits the traces that it
//! learns from, whether q's traces lead to right answers more often than pi_theta0 does, whether those traces are
//! valid, and what each method costs.

mod ceiling;
mod costs;
mod finished;
mod lift;
mod validity;
mod words;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use latrace_objective::statistics::{Accuracy, Interval};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::plan::{Plan, Settings, Stage};
use crate::recipe::run::RunRecipe;
use crate::stages::evaluation::Measured;
pub use crate::stages::rescoring::SamplerMismatch;
use finished::{Finished, Found};

pub use ceiling::is_ceiling;
pub use costs::trained_tokens;
pub use words::in_lines;

/// Accuracy on the questions that it is trained on below which pi_theta0 is said not to fit its own traces. From
/// three built-in tasks, one seed each: with 99.8 % and 70.0 % the method gained, with 36.7 % it did not, whatever
/// the traces.
pub const FITS: f64 = 0.6;

/// What tells whether the method can help. What does not apply to a run, or is not finished, is null.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Diagnostics {
    /// Accuracy of pi_theta0 on training questions that it learns from, with the settings of the evaluation.
    pub initial_on_traced: Option<Accuracy>,
    /// The same on the evaluation's own questions, none of which it is trained on.
    pub initial_on_held_out: Option<Accuracy>,
    /// The same on training questions for which traces are sampled.
    pub initial_on_sampled: Option<Accuracy>,
    /// The same of a baseline that is trained on the task's own traces for every training question, for built-in tasks: what
    /// the best traces would lead to.
    pub ceiling: Option<Accuracy>,
    /// How much more often right answers follow q's traces of the first round than pi_theta0 gives them.
    pub lift: Option<Lift>,
    /// Whether the sampled traces of the last round are valid in every step, for built-in tasks.
    pub validity: Option<StepValidity>,
    /// How far the log-probs of the traces' sampler and of their scorer differ, in the last round; null where one engine
    /// does both and they agree to the bit.
    pub mismatch: Option<SamplerMismatch>,
    /// How many of a question's traces differ, and how many are at the bound of their ratio, in the last round.
    pub traces: Option<TraceDiversity>,
    /// What each method draws, trains on and takes, by the name of its final model: that of all its stages but the
    /// evaluations. A stage that methods share counts for each of them.
    pub costs: BTreeMap<String, MethodCost>,
    /// Reasons to doubt that the method can help here.
    pub cautions: Vec<String>,
}

/// Success of q and of pi_theta0 on the same questions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lift {
    /// Questions that both were asked.
    pub questions: usize,
    /// Right answers of pi_theta0 after q's traces. A trace without an end counts as wrong.
    pub posterior: Accuracy,
    /// Right responses of pi_theta0, with the settings of the evaluation.
    pub initial: Accuracy,
    /// The first less the second, paired by question.
    pub difference: Interval,
}

/// Sampled traces whose every step is valid.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepValidity {
    /// Finished traces.
    pub finished: u64,
    /// Those of them that are valid in every step.
    pub valid: u64,
    /// The share of the training weight of sampled examples that is on valid traces; null without examples.
    pub training_mass: Option<f64>,
    /// The share of right answers that follow invalid traces, which are forced onto the hint; null without right answers.
    pub forced: Option<f64>,
}

impl StepValidity {
    /// The share of finished traces that are valid.
    pub fn share(&self) -> f64 {
        self.valid as f64 / self.finished.max(1) as f64
    }
}

/// How many of a question's traces differ.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TraceDiversity {
    /// Mean number of different traces of a question.
    pub distinct_traces: f64,
    /// Mean effective sample size where equal traces count once, with the sum of their weights.
    pub distinct_effective_sample_size: f64,
    /// Mean log-prob of a finished trace under what drew it (nats a trace): a q that collapses rises towards 0. Null
    /// for a stage of a version that did not count it.
    pub mean_log_q: Option<f64>,
    /// Share of traces whose ratio is at its bound.
    pub clipped: f64,
}

/// What a method draws, trains on and takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MethodCost {
    /// Tokens of traces and answers.
    pub tokens_drawn: u64,
    /// Tokens of all updates of all trainings, prompts included.
    pub tokens_trained: u64,
    /// Working time (s).
    pub seconds: f64,
}

impl MethodCost {
    /// The mean of several runs; none of none.
    pub fn mean<'a>(costs: impl Iterator<Item = &'a MethodCost>) -> Option<MethodCost> {
        let (mut sum, mut runs) = (MethodCost::default(), 0);
        for MethodCost { tokens_drawn, tokens_trained, seconds } in costs {
            sum.tokens_drawn += tokens_drawn;
            sum.tokens_trained += tokens_trained;
            sum.seconds += seconds;
            runs += 1;
        }
        (runs > 0).then(|| MethodCost {
            tokens_drawn: sum.tokens_drawn / runs,
            tokens_trained: sum.tokens_trained / runs,
            seconds: sum.seconds / runs as f64,
        })
    }
}

impl Diagnostics {
    /// The diagnostics of a run, as far as its stages are finished.
    ///
    /// # Errors
    /// Records or tables that cannot be read.
    pub fn of(plan: &Plan, run: &Path, recipe: &RunRecipe) -> Result<Diagnostics> {
        let stages = Finished { plan, run };
        let round = last_round(&stages, recipe.rounds)?;
        let mut diagnostics = Diagnostics {
            initial_on_traced: accuracy(&stages, Stage::InitialTraced)?,
            initial_on_held_out: accuracy(&stages, Stage::InitialEvaluation)?,
            initial_on_sampled: accuracy(&stages, Stage::InitialSampled)?,
            ceiling: ceiling::of(&stages, recipe)?,
            lift: lift::of(&stages, recipe)?,
            validity: validity::of(&stages, recipe, round)?,
            mismatch: mismatch(&stages, round)?,
            traces: diversity(&stages, round)?,
            costs: costs::of(&stages)?,
            cautions: Vec::new(),
        };
        diagnostics.cautions = words::cautions(&diagnostics);
        Ok(diagnostics)
    }
}

/// The last round with examples, or else the first: numbers of one round must not stand beside those of another.
fn last_round(stages: &Finished<'_>, rounds: u64) -> Result<u64> {
    for round in (2..=rounds).rev() {
        if stages.own(round, Stage::Dataset)?.is_some() {
            return Ok(round);
        }
    }
    Ok(1)
}

/// The accuracy that an evaluation measured; none where it asked no question.
fn accuracy(stages: &Finished<'_>, stage: Stage) -> Result<Option<Accuracy>> {
    stages.own(1, stage)?.map_or(Ok(None), accuracy_of)
}

fn accuracy_of(found: Found) -> Result<Option<Accuracy>> {
    let cannot = || format!("{} contains no evaluation", found.folder.display());
    let measured: Measured = serde_json::from_value(found.record.counts).with_context(cannot)?;
    Ok(Some(measured.overall).filter(|overall| overall.questions > 0))
}

fn mismatch(stages: &Finished<'_>, round: u64) -> Result<Option<SamplerMismatch>> {
    let Some(node) = stages.plan.node(None, round, Stage::Traces) else { return Ok(None) };
    if !matches!(stages.plan.nodes[node].settings, Settings::Rescoring(_)) {
        return Ok(None);
    }
    let Some(Found { folder, record }) = stages.node(node)? else { return Ok(None) };
    let cannot = || format!("{} contains no comparison of log-probs", folder.display());
    serde_json::from_value(record.counts).map(Some).with_context(cannot)
}

fn diversity(stages: &Finished<'_>, round: u64) -> Result<Option<TraceDiversity>> {
    let found = stages.own(round, Stage::Weights)?;
    Ok(found.map(|found| of_weights(&found.record.counts)))
}

fn of_weights(counts: &Value) -> TraceDiversity {
    let number = |name: &str| counts[name].as_f64().unwrap_or(0.0);
    TraceDiversity {
        distinct_traces: number("distinct_traces"),
        distinct_effective_sample_size: number("distinct_effective_sample_size"),
        mean_log_q: counts["mean_log_q"].as_f64(),
        clipped: number("clipped") / number("traces").max(1.0),
    }
}
