//! The results of a run: `summary.json`, and the same in words.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::folder::{StageRecord, read_record};
use crate::plan::{NodeId, Plan, Stage, Step};
use crate::recipe::run::RunRecipe;
use crate::stages::evaluation::Measured;
use latrace_io::files::write_atomically;
use latrace_objective::statistics::Accuracy;

/// The file in the run folder.
pub const SUMMARY: &str = "summary.json";

/// `summary.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunSummary {
    /// `initial`, `final`, and baselines by name.
    pub models: BTreeMap<String, ModelSummary>,
    /// L^1 … L^K (nats), bounds on the mean of log P(correct) over all questions; null is minus infinity. Empty
    /// if there are no bounds.
    pub bounds: Vec<Option<f64>>,
    /// Why there are no bounds.
    pub no_bounds: Option<String>,
    /// For each of the bounds, the questions for which it is minus infinity, because that many of their traces
    /// have no end.
    pub unbounded: Vec<u64>,
    /// L^1 … L^K (nats) with the estimators of the weights, means over the questions where L^1 is finite. They
    /// are not bounds.
    pub surrogates: Vec<f64>,
    /// Questions whose traces all have weight 0.
    pub without_usable_trace: u64,
    /// Mean effective sample size of a question's traces.
    pub effective_sample_size: f64,
    /// Working time (s) by stage.
    pub seconds: BTreeMap<String, f64>,
    /// Peak memory (bytes) of the process, over all stages.
    pub peak_memory_bytes: u64,
    /// Seed of the run.
    pub seed: u64,
    /// Version of the program.
    pub version: String,
}

/// A model's results.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelSummary {
    /// On all questions.
    #[serde(flatten)]
    pub overall: Accuracy,
    /// On questions of each difficulty.
    pub by_difficulty: BTreeMap<String, Accuracy>,
    /// Responses truncated at the token limit.
    pub truncated: u64,
}

impl RunSummary {
    /// Collects the counts of a finished run's stages.
    ///
    /// # Errors
    /// Records that cannot be read.
    pub fn of(plan: &Plan, run: &Path, recipe: &RunRecipe) -> Result<RunSummary> {
        let counts = |id: NodeId| counts(&run.join(plan.nodes[id].folder()));
        let weights = plan.last(Stage::Weights).map(counts).transpose()?.unwrap_or_default();
        let bounds = || weights["bounds"]["of_k"].as_array().into_iter().flatten();
        let surrogates = weights["surrogates"]["common"].as_array().into_iter().flatten();
        let records = records(plan, run)?;
        Ok(RunSummary {
            models: models(plan, run)?,
            bounds: bounds().map(|bound| bound["mean"].as_f64()).collect(),
            no_bounds: weights["bounds"]["reason"].as_str().map(str::to_owned),
            unbounded: bounds().map(|bound| bound["unbounded"].as_u64().unwrap_or(0)).collect(),
            surrogates: surrogates.filter_map(|mean| mean["mean_of_finite"].as_f64()).collect(),
            without_usable_trace: weights["without_usable_trace"].as_u64().unwrap_or(0),
            effective_sample_size: weights["effective_sample_size"].as_f64().unwrap_or(0.0),
            peak_memory_bytes: records.values().map(|record| record.peak_memory_bytes).max().unwrap_or(0),
            seconds: records.into_iter().map(|(name, record)| (name, record.seconds)).collect(),
            seed: recipe.seed,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        })
    }

    /// Writes `summary.json`, whole or not at all.
    ///
    /// # Errors
    /// I/O errors.
    pub fn write(&self, run: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        write_atomically(&run.join(SUMMARY), |writer| {
            std::io::Write::write_all(writer, text.as_bytes()).context("cannot write the summary")
        })
    }

    /// Reads the summary of a finished run.
    ///
    /// # Errors
    /// An unfinished run.
    pub fn read(run: &Path) -> Result<RunSummary> {
        let path = run.join(SUMMARY);
        let bytes = fs::read(&path)
            .with_context(|| format!("{} has no {SUMMARY}: the run is not finished", run.display()))?;
        serde_json::from_slice(&bytes).with_context(|| format!("{} is not a run's summary", path.display()))
    }
}

fn counts(folder: &Path) -> Result<Value> {
    let record = read_record(folder)?.with_context(|| format!("{} contains no stage", folder.display()))?;
    Ok(record.counts)
}

fn measured(folder: &Path) -> Result<ModelSummary> {
    let Measured { overall, by_difficulty, truncated, .. } = serde_json::from_value(counts(folder)?)
        .with_context(|| format!("{} contains no evaluation", folder.display()))?;
    Ok(ModelSummary { overall, by_difficulty, truncated })
}

/// The results of a run's models: the recipe's own under the names of their evaluations, a baseline's final
/// one under the baseline's name.
fn models(plan: &Plan, run: &Path) -> Result<BTreeMap<String, ModelSummary>> {
    evaluations(plan)
        .into_iter()
        .map(|(name, id)| Ok((name, measured(&run.join(plan.nodes[id].folder()))?)))
        .collect()
}

/// The evaluations of a plan, by the name of the model in tables.
pub fn evaluations(plan: &Plan) -> Vec<(String, NodeId)> {
    let of = |step: &Step| {
        let model = step.stage.evaluated_model()?;
        match &step.method {
            None => Some((model.to_owned(), step.node)),
            Some(method) => (step.stage == Stage::FinalEvaluation).then(|| (method.clone(), step.node)),
        }
    };
    plan.steps.iter().filter_map(of).collect()
}

/// The records of a plan's stages, by their path within the run.
fn records(plan: &Plan, run: &Path) -> Result<BTreeMap<String, StageRecord>> {
    let mut found = BTreeMap::new();
    for node in &plan.nodes {
        if let Some(record) = read_record(&run.join(node.folder()))? {
            found.insert(node.folder().display().to_string(), record);
        }
    }
    Ok(found)
}

/// The summary as text: a table, and its interpretation.
pub fn in_words(summary: &RunSummary, run: &Path) -> String {
    let mut lines = table(summary);
    lines.push(String::new());
    lines.extend(verdict(summary));
    lines.extend(about_bounds(summary));
    lines.extend(about_weights(summary));
    let total: f64 = summary.seconds.values().sum();
    lines.push(format!(
        "{total:.0} s of work, {:.0} MB at the peak, seed {}.",
        summary.peak_memory_bytes as f64 / 1e6,
        summary.seed
    ));
    lines.push(String::new());
    lines.push(format!(
        "Next: `latrace report {0}` draws the run as one page; `latrace run … seed={1}` repeats it with another seed.",
        run.display(),
        summary.seed + 1
    ));
    lines.join("\n")
}

/// L^1 … L^K as bounds, or as surrogates with the reason.
fn about_bounds(summary: &RunSummary) -> Vec<String> {
    let shown = |values: Vec<String>| format!("L^1 … L^{}", values.len()) + " " + &values.join(", ");
    let mut lines = Vec::new();
    if !summary.bounds.is_empty() {
        let value = |bound: &Option<f64>| bound.map_or("-inf".to_owned(), |bound| format!("{bound:.3}"));
        let values = shown(summary.bounds.iter().map(value).collect());
        lines.push(format!("Bounds on log P(correct), nats, mean over all questions: {values}."));
        lines.extend(about_unbounded(summary));
    }
    if let Some(reason) = &summary.no_bounds {
        let values = shown(summary.surrogates.iter().map(|value| format!("{value:.3}")).collect());
        let values = if summary.surrogates.is_empty() { "none is finite".to_owned() } else { values };
        lines.push(format!("Surrogates of log P(correct), nats, where all are finite: {values}."));
        lines.push(format!("They are not bounds: {reason}."));
    }
    lines
}

/// The questions that make a bound minus infinity.
fn about_unbounded(summary: &RunSummary) -> Option<String> {
    let (first, last) = (*summary.unbounded.first()?, *summary.unbounded.last()?);
    (first > 0).then(|| {
        format!(
            "L^k is minus infinity where k traces of a question have no end: L^1 because of {first} questions, L^{} \
             because of {last}.",
            summary.unbounded.len()
        )
    })
}

fn about_weights(summary: &RunSummary) -> Option<String> {
    let has_traces = summary.no_bounds.is_some() || !summary.bounds.is_empty();
    has_traces.then(|| {
        format!(
            "Effective sample size of a question's traces: {:.1} on average; {} questions have no usable trace.",
            summary.effective_sample_size, summary.without_usable_trace
        )
    })
}

fn table(summary: &RunSummary) -> Vec<String> {
    let difficulties: Vec<&String> =
        summary.models.values().next().into_iter().flat_map(|model| model.by_difficulty.keys()).collect();
    let header = difficulties.iter().map(|name| format!("{name:>7}")).collect::<String>();
    let mut lines = vec![format!("{:<16}{:>9}   {:<15}{header}", "model", "accuracy", "95 % interval")];
    let order = |name: &str| match name {
        "initial" => 0,
        "final" => 1,
        _ => 2,
    };
    let mut models: Vec<(&String, &ModelSummary)> = summary.models.iter().collect();
    models.sort_by_key(|(name, _)| order(name));
    for (name, model) in models {
        let Accuracy { accuracy, low, high, .. } = model.overall;
        let by = difficulties.iter().map(|name| {
            model
                .by_difficulty
                .get(*name)
                .map_or("      -".to_owned(), |of| format!("{:>7.1}", of.accuracy * 100.0))
        });
        lines.push(format!(
            "{name:<16}{:>8.1} %  {:>5.1} to {:<5.1} {}",
            accuracy * 100.0,
            low * 100.0,
            high * 100.0,
            by.collect::<String>()
        ));
    }
    lines
}

/// Whether the method helped, as far as the intervals can tell.
fn verdict(summary: &RunSummary) -> Option<String> {
    let (initial, last) = (&summary.models.get("initial")?.overall, &summary.models.get("final")?.overall);
    let gain = (last.accuracy - initial.accuracy) * 100.0;
    let of = format!("on {} questions × {} responses", last.questions, last.samples / last.questions.max(1));
    Some(if last.low > initial.high {
        format!(
            "The final model's accuracy is {gain:.1} points above the initial one's, {of}; the intervals do not overlap."
        )
    } else if last.high < initial.low {
        format!(
            "The final model's accuracy is {:.1} points below the initial one's, {of}; the intervals do not overlap. The report shows where traces were lost.",
            -gain
        )
    } else {
        format!(
            "The final model differs from the initial one by {gain:+.1} points, {of}; the intervals overlap, so this may be chance."
        )
    })
}
