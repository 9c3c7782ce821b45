//! The results of a run: `summary.json`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use super::words::in_words;

use super::folder::{StageRecord, read_record};
use super::provenance::RunProvenance;
use crate::diagnostics::Diagnostics;
use crate::plan::{NodeId, Plan, Stage, Step};
use crate::recipe::run::RunRecipe;
use crate::stages::evaluation::Measured;
use latrace_io::files::write_atomically;
use latrace_objective::statistics::Accuracy;
use latrace_questions::contamination::Contamination;

/// The file in the run folder.
pub const SUMMARY: &str = "summary.json";

/// `summary.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunSummary {
    /// `base`, `initial`, `final`, and baselines by name.
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
    /// The same where equal traces count once, with the sum of their weights.
    #[serde(default)]
    pub distinct_effective_sample_size: f64,
    /// Mean number of different traces of a question.
    #[serde(default)]
    pub distinct_traces: f64,
    /// Traces whose ratio is at its bound.
    #[serde(default)]
    pub clipped: u64,
    /// Training questions that also stand in the validation or test split; none if there is neither.
    #[serde(default)]
    pub contaminated: Option<Contamination>,
    /// What tells whether the method can help on these questions.
    #[serde(default)]
    pub diagnostics: Diagnostics,
    /// Working time (s) by stage.
    pub seconds: BTreeMap<String, f64>,
    /// Peak memory (bytes) of the process, over all stages.
    pub peak_memory_bytes: u64,
    /// Seed of the run.
    pub seed: u64,
    /// Version of the program.
    pub version: String,
    /// When, where and by which command it was finished; null in runs of versions that did not record it.
    #[serde(default)]
    pub provenance: Option<RunProvenance>,
}

/// A model's results.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelSummary {
    /// On all questions.
    #[serde(flatten)]
    pub overall: Accuracy,
    /// On questions of each difficulty.
    pub by_difficulty: BTreeMap<String, Accuracy>,
    /// Mean number of different right answers to a question, of all that were sampled for it; null in runs of versions that
    /// did not count them.
    #[serde(default)]
    pub distinct_right: Option<f64>,
    /// Responses truncated at the token limit.
    pub truncated: u64,
    /// Responses without a thought, each judged as a whole unless it was truncated.
    #[serde(default)]
    pub without_thought: u64,
}

impl RunSummary {
    /// Collects the counts of a finished run's stages. Its provenance is the caller's to add.
    ///
    /// # Errors
    /// Records that cannot be read.
    pub fn of(plan: &Plan, run: &Path, recipe: &RunRecipe) -> Result<RunSummary> {
        let weights = weight_counts(plan, run)?;
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
            effective_sample_size: number(&weights, "effective_sample_size"),
            distinct_effective_sample_size: number(&weights, "distinct_effective_sample_size"),
            distinct_traces: number(&weights, "distinct_traces"),
            clipped: weights["clipped"].as_u64().unwrap_or(0),
            contaminated: contamination(&run.join(Stage::Questions.name()))?,
            diagnostics: Diagnostics::of(plan, run, recipe)?,
            peak_memory_bytes: records.values().map(|record| record.peak_memory_bytes).max().unwrap_or(0),
            seconds: records.into_iter().map(|(name, record)| (name, record.seconds)).collect(),
            seed: recipe.seed,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            provenance: None,
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

/// A number among counts, 0 for a method without it.
fn number(counts: &Value, name: &str) -> f64 {
    counts[name].as_f64().unwrap_or(0.0)
}

/// The counts of the last round's stage 7; null for a method without it.
fn weight_counts(plan: &Plan, run: &Path) -> Result<Value> {
    let Some(id) = plan.last(Stage::Weights) else { return Ok(Value::Null) };
    counts(&run.join(plan.nodes[id].folder()))
}

/// Training questions that also stand in the evaluation sets, by the record of stage 0 in `folder`; none if there
/// are no such sets, or it was done before it counted this.
///
/// # Errors
/// A record that cannot be read.
pub fn contamination(folder: &Path) -> Result<Option<Contamination>> {
    let counts = read_record(folder)?.map(|record| record.counts).unwrap_or_default();
    let wrong = || format!("{} has counts of another version", folder.display());
    serde_json::from_value(counts["contaminated"].clone()).with_context(wrong)
}

fn counts(folder: &Path) -> Result<Value> {
    let record = read_record(folder)?.with_context(|| format!("{} contains no stage", folder.display()))?;
    Ok(record.counts)
}

/// An evaluation's counts, without those that only its own record shows.
fn measured(folder: &Path) -> Result<ModelSummary> {
    let Measured { overall, by_difficulty, distinct_right, truncated, without_thought, .. } =
        serde_json::from_value(counts(folder)?)
            .with_context(|| format!("{} contains no evaluation", folder.display()))?;
    Ok(ModelSummary { overall, by_difficulty, distinct_right, truncated, without_thought })
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
    plan.steps.iter().filter_map(|step| Some((model_of(step)?, step.node))).collect()
}

/// The name of the model that a step evaluates; none for other stages. A baseline's initial model is left out,
/// since it is the recipe's own in all but rare recipes.
fn model_of(step: &Step) -> Option<String> {
    let model = step.stage.evaluated_model()?;
    match &step.method {
        None => Some(model.to_owned()),
        Some(method) => (step.stage == Stage::FinalEvaluation).then(|| method.clone()),
    }
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::pipeline::folder::StageFolder;
    use crate::plan::plan;

    fn quickstart() -> RunRecipe {
        let recipes = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes");
        let settings = ["rounds=2", "seed=3", "evaluation.training=0"].map(str::to_owned);
        RunRecipe::read(&recipes.join("quickstart.toml"), &settings).unwrap()
    }

    fn accuracy(accuracy: f64) -> Value {
        json!({"accuracy": accuracy, "low": 0.0, "high": 1.0, "questions": 10, "samples": 20})
    }

    /// Counts of a stage: those of weights and evaluations name the round and the method.
    fn counts(step: &Step) -> Value {
        let is_baseline = step.method.is_some();
        match step.stage {
            Stage::Weights => json!({
                "bounds": {"of_k": [{"mean": null, "unbounded": 2}, {"mean": -1.5, "unbounded": 0}]},
                "surrogates": {"common": [{"mean_of_finite": -2.5}]},
                "without_usable_trace": step.round, "effective_sample_size": 1.25,
                "distinct_effective_sample_size": 1.125, "distinct_traces": 3.5, "clipped": 9,
            }),
            Stage::InitialEvaluation | Stage::FinalEvaluation => {
                let share = match (step.stage, is_baseline) {
                    (Stage::InitialEvaluation, _) => 0.25,
                    (_, false) => 0.75,
                    (_, true) => 0.5,
                };
                json!({
                    "overall": accuracy(share), "by_difficulty": {"1": accuracy(share)}, "truncated": 4, "tokens": 100,
                    "split": "test",
                })
            }
            _ => Value::Null,
        }
    }

    #[test]
    fn a_run_is_summed_up_by_its_last_round_and_all_of_its_models() {
        let (folder, recipe) = (tempfile::tempdir().unwrap(), quickstart());
        let plan = plan(&recipe).unwrap();
        for step in plan.steps.iter().filter(|step| !step.shared) {
            let path = folder.path().join(plan.nodes[step.node].folder());
            let stage = StageFolder::begin(&path, step.stage.name(), json!({}), step.round as f64).unwrap();
            stage.end(Ok(counts(step))).unwrap();
        }
        let record = folder.path().join(Stage::Questions.name()).join("stage.json");
        let mut questions: Value = serde_json::from_slice(&fs::read(&record).unwrap()).unwrap();
        questions["peak_memory_bytes"] = json!(1_u64 << 60);
        fs::write(&record, questions.to_string()).unwrap();
        let names: Vec<String> = evaluations(&plan).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["initial", "final", "gold", "rft"]);
        let summary = RunSummary::of(&plan, folder.path(), &recipe).unwrap();
        let models: Vec<(&str, f64, u64)> = summary
            .models
            .iter()
            .map(|(name, model)| (name.as_str(), model.overall.accuracy, model.truncated))
            .collect();
        let expected = [("final", 0.75, 4), ("gold", 0.5, 4), ("initial", 0.25, 4), ("rft", 0.5, 4)];
        assert_eq!(models, expected);
        assert_eq!(summary.diagnostics.ceiling.map(|ceiling| ceiling.accuracy), Some(0.5));
        assert_eq!(
            (summary.bounds.as_slice(), summary.unbounded.as_slice()),
            (&[None, Some(-1.5)][..], &[2, 0][..])
        );
        assert_eq!((summary.surrogates.as_slice(), summary.no_bounds.as_ref()), (&[-2.5][..], None));
        assert_eq!((summary.without_usable_trace, summary.clipped, summary.seed), (2, 9, 3));
        assert_eq!(
            (summary.effective_sample_size, summary.distinct_effective_sample_size, summary.distinct_traces),
            (1.25, 1.125, 3.5)
        );
        assert_eq!((summary.peak_memory_bytes, summary.seconds.len()), (1 << 60, plan.nodes.len()));
        assert!((2.0..3.0).contains(&summary.seconds["round-2/03-traces"]), "{:?}", summary.seconds);
        let provenance = |command: &str| RunProvenance::of(&plan, folder.path(), command.to_owned()).unwrap();
        let first = provenance("latrace run a.toml");
        assert!(first.finished.starts_with("20") && !first.processor.is_empty() && first.cores > 0);
        let summary = RunSummary { provenance: Some(first.clone()), ..summary };
        summary.write(folder.path()).unwrap();
        assert_eq!(RunSummary::read(folder.path()).unwrap(), summary);
        assert_eq!(provenance("latrace run b.toml"), first, "no stage was done since");
        let last = fs::File::options().append(true).open(&record).unwrap();
        last.set_modified(std::time::SystemTime::now() + std::time::Duration::from_secs(3600)).unwrap();
        assert_eq!(provenance("latrace run b.toml").command, "latrace run b.toml");
    }
}
