//! The weight that each method gives a question: section 6, over the accuracies of the run's own questions.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use latrace_objective::diagnostics::{gradient_share, weight_curve};
use latrace_objective::{Objective, Weighting};

use super::super::data::{Emphasis, EmphasisCurve, Histogram};
use super::stages::RunStages;
use crate::text::capital;
use latrace_io::table::Table;
use latrace_run::pipeline::records::{TraceRecord, VerdictRecord};
use latrace_run::plan::Stage;
use latrace_run::recipe::method_texts::short_name;
use latrace_run::recipe::run::{Proposal, RunRecipe};

/// The methods of section 6, under their recipe names.
const METHODS: [(&str, Objective); 4] = [
    ("variational", Objective::MultiTrace(Weighting::Rho)),
    ("rft", Objective::Rft),
    ("binary-rl", Objective::BinaryReward),
    ("grpo", Objective::Grpo),
];
/// Points per curve.
const STEPS: usize = 50;
/// Bins of accuracies.
const BINS: usize = 20;

/// The curves and the accuracies; `None` if no answers after traces were judged.
pub(super) fn read(recipe: &RunRecipe, stages: &RunStages) -> Result<Option<Emphasis>> {
    source(recipe, stages)?.map(emphasis).transpose()
}

fn emphasis(source: AccuracySource<'_>) -> Result<Emphasis> {
    let accuracy_q = accuracies(&source)?;
    let curves = curves(&accuracy_q)?;
    let accuracies = Histogram::of(accuracy_q, 0.0, 1.0, BINS);
    Ok(Emphasis { curves, accuracies, of: source.of })
}

fn curves(accuracy_q: &[f64]) -> Result<Vec<EmphasisCurve>> {
    METHODS.iter().map(|(name, objective)| curve(name, objective, accuracy_q)).collect()
}

fn curve(name: &str, objective: &Objective, accuracy_q: &[f64]) -> Result<EmphasisCurve> {
    let shares = shares(objective, accuracy_q)?;
    let title = capital(short_name(name).unwrap_or(name));
    Ok(EmphasisCurve { name: name.to_owned(), title, points: weight_curve(objective, STEPS), shares })
}

fn shares(objective: &Objective, accuracy_q: &[f64]) -> Result<[f64; 3]> {
    let share = gradient_share(objective, accuracy_q)?;
    // In the order of the columns of the page's table, whose script takes them by place.
    Ok([share.hard, share.medium, share.easy])
}

/// Where the accuracies come from.
struct AccuracySource<'a> {
    /// In words.
    of: String,
    /// Folder of the traces.
    traces: &'a Path,
    /// Folder of the verdicts on answers after them.
    verdicts: &'a Path,
}

/// Answers after the initial model's own traces if some method sampled them, because the posterior's traces
/// saw the hint.
fn source<'a>(recipe: &RunRecipe, stages: &'a RunStages) -> Result<Option<AccuracySource<'a>>> {
    Ok(source_of_baseline(recipe, stages)?.or_else(|| source_of_run(recipe, stages)))
}

fn source_of_baseline<'a>(recipe: &RunRecipe, stages: &'a RunStages) -> Result<Option<AccuracySource<'a>>> {
    // In the first round, of which the folders are, the reasoner is the initial model.
    let initial =
        recipe.variants()?.into_iter().filter(|(_, variant)| variant.proposal() != Proposal::Posterior);
    let mut sources = initial.filter_map(|(name, _)| {
        let traces = stages.done_of(&name, Stage::Traces)?;
        let verdicts = stages.done_of(&name, Stage::Verdicts)?;
        let method = short_name(&name).map_or_else(|| format!("“{name}”"), str::to_owned);
        let of = format!("answers after the initial model’s own traces, drawn for {method}");
        Some(AccuracySource { of, traces, verdicts })
    });
    // One suffices: the baselines that sample from the initial model estimate the same accuracies.
    Ok(sources.next())
}

fn source_of_run<'a>(recipe: &RunRecipe, stages: &'a RunStages) -> Option<AccuracySource<'a>> {
    let (traces, verdicts) = (stages.done(Stage::Traces)?, stages.done(Stage::Verdicts)?);
    Some(AccuracySource { of: own_source(recipe.proposal()).to_owned(), traces, verdicts })
}

fn own_source(proposal: Proposal) -> &'static str {
    match proposal {
        Proposal::Initial => "answers after the initial model’s own traces",
        Proposal::Reasoner => "answers after the own traces of the model that the last round improved",
        Proposal::Posterior => {
            "answers after the posterior’s traces, which saw the hint and so flatter the initial model"
        }
    }
}

/// The mean over a question's traces of the share of correct answers after each.
fn accuracies(source: &AccuracySource<'_>) -> Result<Vec<f64>> {
    let traces = Table::<TraceRecord>::open(source.traces);
    let verdicts = Table::<VerdictRecord>::open(source.verdicts);
    let mut accuracies = Vec::new();
    // Parts hold whole questions, so the mean of each is complete within its part.
    for part in 0..traces.parts()? {
        let counts = counts_by_trace(verdicts.read(part)?);
        accuracies.extend(means_by_question(traces.read(part)?, &counts));
    }
    Ok(accuracies)
}

/// Correct answers and all, by question and trace.
type AnswerCounts = BTreeMap<(String, u64), (u64, u64)>;

fn counts_by_trace(verdicts: Vec<VerdictRecord>) -> AnswerCounts {
    let mut counts = AnswerCounts::new();
    for verdict in verdicts {
        let is_correct = verdict.verdict().is_correct();
        let (right, all) = counts.entry((verdict.id, verdict.sample)).or_default();
        *right += u64::from(is_correct);
        *all += 1;
    }
    counts
}

fn means_by_question(traces: Vec<TraceRecord>, counts: &AnswerCounts) -> impl Iterator<Item = f64> {
    let mut questions: BTreeMap<String, (f64, u64)> = BTreeMap::new();
    for trace in traces {
        // An unfinished trace has no answers, and counts as one without a correct one.
        let (right, all) = counts.get(&(trace.id.clone(), trace.sample)).copied().unwrap_or((0, 1));
        let (sum, count) = questions.entry(trace.id).or_default();
        *sum += right as f64 / all as f64;
        *count += 1;
    }
    // Rounding can lift a mean of ones above 1, which no accuracy may be.
    questions.into_values().map(|(sum, count)| (sum / count as f64).min(1.0))
}
