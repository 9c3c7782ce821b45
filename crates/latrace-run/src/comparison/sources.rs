//! Reads models' results from the folders of evaluations and runs.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;

use super::{Entry, Shows};
use crate::diagnostics::MethodCost;
use crate::evaluation::{EvaluationSummary, QuestionResult, SUMMARY, read_results};
use crate::layout;
use crate::pipeline::records::{QuestionRecord, ResponseRecord};
use crate::pipeline::summary::evaluations;
use crate::plan::{NodeId, Stage, plan};
use crate::recipe;
use latrace_io::failure::Failure;
use latrace_io::table::Table;
use latrace_objective::statistics::{Accuracy, Tally};

/// The benchmark name of a run's own questions.
const HELD_OUT: &str = "held-out";

/// Where per-question results are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResultSource {
    /// In an evaluation's folder.
    Evaluation(PathBuf),
    /// In a run: the run folder, and the stage's folder.
    Run(PathBuf, PathBuf),
    /// In memory, already read.
    Counted(Results),
}

/// The outcome of the responses to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuestionOutcome {
    /// The question's text.
    pub question: String,
    /// Its subject or difficulty.
    pub subset: Option<String>,
    /// The number of correct responses, and of all.
    pub tally: Tally,
}

/// Questions by their ids.
pub type Results = BTreeMap<String, QuestionOutcome>;

impl ResultSource {
    /// The results, or `None` if there are none.
    ///
    /// # Errors
    /// Corrupt files.
    pub fn read(&self) -> Result<Option<Results>> {
        match self {
            ResultSource::Evaluation(folder) => {
                Ok(read_results(folder)?.map(|questions| questions.into_iter().map(outcome).collect()))
            }
            ResultSource::Run(run, stage) => of_run(run, stage).map(not_empty),
            ResultSource::Counted(results) => Ok(not_empty(results.clone())),
        }
    }
}

/// Empty results are none: an accuracy over no questions is not a number.
fn not_empty(results: Results) -> Option<Results> {
    Some(results).filter(|results| !results.is_empty())
}

/// The outcome of a question of an evaluation, by its id.
fn outcome(question: QuestionResult) -> (String, QuestionOutcome) {
    let tally = question.tally();
    (question.id, QuestionOutcome { question: question.question, subset: question.subset, tally })
}

/// The outcomes of a run's evaluation. Responses carry only their question's id; its text, by which other
/// runs are known to have the same questions, is in stage 0.
fn of_run(run: &Path, stage: &Path) -> Result<Results> {
    let mut tallies = tallies(stage)?;
    let mut results = Results::new();
    for question in Table::<QuestionRecord>::open(&run.join(Stage::Questions.name())).records()? {
        let QuestionRecord { id, question, difficulty: subset, .. } = question?;
        // Most questions are of another split, without responses.
        if let Some(tally) = tallies.remove(&id) {
            results.insert(id, QuestionOutcome { question, subset, tally });
        }
    }
    Ok(results)
}

/// Responses and correct ones by question.
fn tallies(stage: &Path) -> Result<BTreeMap<String, Tally>> {
    let mut tallies: BTreeMap<String, Tally> = BTreeMap::new();
    for response in Table::<ResponseRecord>::open(stage).records()? {
        let response = response?;
        let is_correct = response.verdict().is_correct();
        // An undetermined verdict counts as wrong here, as in the run's own summary.
        let tally = tallies.entry(response.id).or_insert(Tally { right: 0, samples: 0 });
        tally.samples += 1;
        tally.right += usize::from(is_correct);
    }
    Ok(tallies)
}

/// The results in a folder: of one evaluation, of a run's models, or of the evaluations in its subfolders.
///
/// # Errors
/// It contains no results.
pub fn read(folder: &Path) -> Result<Vec<Entry>> {
    if let Some(entries) = read_one(folder)? {
        return Ok(entries);
    }
    let mut entries = Vec::new();
    for inner in subfolders(folder)? {
        entries.extend(read_one(&inner)?.unwrap_or_default());
    }
    if entries.is_empty() { Err(no_summary(folder).into()) } else { Ok(entries) }
}

/// The folders in a folder, by name: the order in which the system lists them is arbitrary.
fn subfolders(folder: &Path) -> Result<Vec<PathBuf>> {
    let inner = fs::read_dir(folder)
        .map_err(|error| Failure::work(format!("cannot read the folder {}: {error}", folder.display())))?;
    let mut folders: Vec<PathBuf> =
        inner.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    folders.sort();
    Ok(folders)
}

fn no_summary(folder: &Path) -> Failure {
    let hint = "it is written when an evaluation or a run finishes: run the same command again to resume it";
    Failure::work(format!("{} has no {SUMMARY}, nor has any of its subfolders", folder.display())).hint(hint)
}

/// The results that a folder's own summary lists, if it has one.
fn read_one(folder: &Path) -> Result<Option<Vec<Entry>>> {
    let path = folder.join(SUMMARY);
    if !path.is_file() {
        return Ok(None);
    }
    let value = read_json(&path)?;
    // A sweep's names the results of the runs in its subfolders, which are read there.
    if value.get("sweep").is_some() {
        return Ok(None);
    }
    // A run's summary and an evaluation's have the same name; only a run has several models.
    if value.get("models").is_some() {
        // Before its tables are read: those of another layout would be misread.
        layout::check(folder)?;
        return run_models(folder, &path, value).map(Some);
    }
    Ok(Some(vec![evaluated(folder, EvaluationSummary::parse(&path, value)?)]))
}

fn read_json(path: &Path) -> Result<Value> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Failure::work(format!("{} is not valid JSON: {error}", path.display())).into())
}

fn evaluated(folder: &Path, summary: EvaluationSummary) -> Entry {
    let EvaluationSummary { model, title, k, overall, by_subset, tabled_by_subset, .. } = summary;
    Entry {
        name: model.clone(),
        model,
        folder: folder.to_owned(),
        benchmark: title,
        k: Some(k),
        overall,
        by_subset,
        distinct_right: None,
        costs: Vec::new(),
        shows: if tabled_by_subset { Shows::Subsets } else { Shows::Overall },
        questions: ResultSource::Evaluation(folder.to_owned()),
    }
}

/// The part of a run's summary that is read here.
#[derive(Deserialize)]
struct ReadSummary {
    models: BTreeMap<String, RunModel>,
    #[serde(default)]
    diagnostics: ReadDiagnostics,
}

#[derive(Default, Deserialize)]
struct ReadDiagnostics {
    #[serde(default)]
    costs: BTreeMap<String, MethodCost>,
}

#[derive(Deserialize)]
struct RunModel {
    #[serde(flatten)]
    overall: Accuracy,
    #[serde(default)]
    by_difficulty: BTreeMap<String, Accuracy>,
    #[serde(default)]
    distinct_right: Option<f64>,
}

impl ReadSummary {
    fn parse(path: &Path, value: Value) -> Result<ReadSummary> {
        serde_json::from_value(value).map_err(|error| {
            Failure::work(format!("{} is not a run's summary: {error}", path.display())).into()
        })
    }
}

/// The models of a run, in the order in which they are trained; those without a known folder come last, by
/// name.
fn run_models(folder: &Path, path: &Path, value: Value) -> Result<Vec<Entry>> {
    let ReadSummary { mut models, diagnostics } = ReadSummary::parse(path, value)?;
    let mut entries = Vec::new();
    for (name, stage) in evaluation_folders(folder)? {
        // An evaluation of the plan may be missing in an older summary, before a baseline was added.
        if let Some(model) = models.remove(&name) {
            let source = ResultSource::Run(folder.to_owned(), stage);
            entries.push(run_model(folder, name, model, source));
        }
    }
    let unplaced = |(name, model)| run_model(folder, name, model, ResultSource::Counted(Results::new()));
    entries.extend(models.into_iter().map(unplaced));
    for entry in &mut entries {
        entry.costs.extend(diagnostics.costs.get(&entry.name));
    }
    Ok(entries)
}

fn run_model(run: &Path, name: String, model: RunModel, questions: ResultSource) -> Entry {
    Entry {
        model: format!("{}: {name}", run.display()),
        name,
        folder: run.to_owned(),
        benchmark: HELD_OUT.to_owned(),
        // A run samples every question equally often, so the quotient is exact.
        k: Some(model.overall.samples / model.overall.questions.max(1)),
        overall: model.overall,
        by_subset: model.by_difficulty,
        distinct_right: model.distinct_right,
        costs: Vec::new(),
        shows: Shows::Both,
        questions,
    }
}

/// The folders of a run's evaluations by the names of their models, in the order in which they are trained. A
/// summary without a run folder around it does not say where its baselines were.
fn evaluation_folders(run: &Path) -> Result<Vec<(String, PathBuf)>> {
    if !run.join(layout::RECIPE).is_file() {
        return Ok(own_evaluation_folders(run));
    }
    let plan = plan(&recipe::run::of_run(run)?)?;
    let folder = |(name, id): (String, NodeId)| (name, run.join(plan.nodes[id].folder()));
    Ok(evaluations(&plan).into_iter().map(folder).collect())
}

/// The evaluation folders of the recipe's own method, which are the same in every run.
fn own_evaluation_folders(run: &Path) -> Vec<(String, PathBuf)> {
    let named = |stage: Stage| Some((stage.evaluated_model()?.to_owned(), run.join(stage.name())));
    Stage::ALL.into_iter().filter_map(named).collect()
}
