//! Reads models' results from the folders of evaluations and runs.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;

use super::{Entry, Shows};
use crate::evaluation::{EvaluationSummary, SUMMARY, read_results};
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
                let tally = |right: usize, samples: usize| Tally { right, samples };
                let results = read_results(folder)?.map(|questions| {
                    let of = |question: crate::evaluation::QuestionResult| {
                        let right = question
                            .responses
                            .iter()
                            .filter(|response| response.correctness == Some(true))
                            .count();
                        let outcome = QuestionOutcome {
                            question: question.question,
                            subset: question.subset,
                            tally: tally(right, question.responses.len()),
                        };
                        (question.id, outcome)
                    };
                    questions.into_iter().map(of).collect()
                });
                Ok(results)
            }
            ResultSource::Run(run, stage) => of_run(run, stage),
            ResultSource::Counted(results) => Ok(Some(results.clone()).filter(|results| !results.is_empty())),
        }
    }
}

fn of_run(run: &Path, stage: &Path) -> Result<Option<Results>> {
    let mut tallies: BTreeMap<String, Tally> = BTreeMap::new();
    for response in Table::<ResponseRecord>::open(stage).records()? {
        let response = response?;
        let is_correct = response.verdict().is_correct();
        let tally = tallies.entry(response.id).or_insert(Tally { right: 0, samples: 0 });
        tally.samples += 1;
        tally.right += usize::from(is_correct);
    }
    let mut results = Results::new();
    for question in Table::<QuestionRecord>::open(&run.join(Stage::Questions.name())).records()? {
        let question = question?;
        if let Some(tally) = tallies.remove(&question.id) {
            results.insert(
                question.id,
                QuestionOutcome { question: question.question, subset: question.difficulty, tally },
            );
        }
    }
    Ok(Some(results).filter(|results| !results.is_empty()))
}

/// The results in a folder: of one evaluation, of a run's models, or of the evaluations in its subfolders.
///
/// # Errors
/// It contains no results.
pub fn read(folder: &Path) -> Result<Vec<Entry>> {
    if let Some(entries) = read_one(folder)? {
        return Ok(entries);
    }
    let inner = fs::read_dir(folder)
        .map_err(|error| Failure::work(format!("cannot read the folder {}: {error}", folder.display())))?;
    let mut folders: Vec<PathBuf> =
        inner.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    folders.sort();
    let mut entries = Vec::new();
    for inner in folders {
        entries.extend(read_one(&inner)?.unwrap_or_default());
    }
    if entries.is_empty() {
        let message = format!("{} has no {SUMMARY}, nor has any of its subfolders", folder.display());
        let hint =
            "it is written when an evaluation or a run finishes: run the same command again to resume it";
        return Err(Failure::work(message).hint(hint).into());
    }
    Ok(entries)
}

fn read_one(folder: &Path) -> Result<Option<Vec<Entry>>> {
    let path = folder.join(SUMMARY);
    if !path.is_file() {
        return Ok(None);
    }
    let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let value: Value = serde_json::from_slice(&bytes)
        .map_err(|error| Failure::work(format!("{} is not valid JSON: {error}", path.display())))?;
    if value.get("models").is_some() {
        layout::check(folder)?;
        return run_models(folder, &path, value).map(Some);
    }
    let EvaluationSummary { model, title, k, overall, by_subset, tabled_by_subset, .. } =
        EvaluationSummary::parse(&path, value)?;
    let shows = if tabled_by_subset { Shows::Subsets } else { Shows::Overall };
    let questions = ResultSource::Evaluation(folder.to_owned());
    Ok(Some(vec![Entry {
        name: model.clone(),
        model,
        folder: folder.to_owned(),
        benchmark: title,
        k: Some(k),
        overall,
        by_subset,
        shows,
        questions,
    }]))
}

/// The part of a run's summary that is read here.
#[derive(Deserialize)]
struct ReadSummary {
    models: BTreeMap<String, RunModel>,
}

#[derive(Deserialize)]
struct RunModel {
    #[serde(flatten)]
    overall: Accuracy,
    #[serde(default)]
    by_difficulty: BTreeMap<String, Accuracy>,
}

fn run_models(folder: &Path, path: &Path, value: Value) -> Result<Vec<Entry>> {
    let summary: ReadSummary = serde_json::from_value(value)
        .map_err(|error| Failure::work(format!("{} is not a run's summary: {error}", path.display())))?;
    let mut models: Vec<(String, RunModel)> = summary.models.into_iter().collect();
    let places = evaluation_folders(folder)?;
    let place = |name: &str| places.iter().position(|(known, _)| known == name).unwrap_or(places.len());
    models.sort_by(|(one, _), (other, _)| (place(one), one).cmp(&(place(other), other)));
    let entry = |(name, model): (String, RunModel)| {
        let stage = places.get(place(&name)).map(|(_, stage)| stage.clone());
        let questions = match stage {
            Some(stage) => ResultSource::Run(folder.to_owned(), stage),
            None => ResultSource::Counted(Results::new()),
        };
        Entry {
            model: format!("{}: {name}", folder.display()),
            name,
            folder: folder.to_owned(),
            benchmark: HELD_OUT.to_owned(),
            k: Some(model.overall.samples / model.overall.questions.max(1)),
            overall: model.overall,
            by_subset: model.by_difficulty,
            shows: Shows::Both,
            questions,
        }
    };
    Ok(models.into_iter().map(entry).collect())
}

/// The folders of a run's evaluations by the names of their models, in the order in which models come about. A
/// summary on its own, without a run around it, says nothing of its baselines' folders.
fn evaluation_folders(run: &Path) -> Result<Vec<(String, PathBuf)>> {
    if !run.join(layout::RECIPE).is_file() {
        let named = |stage: Stage| Some((stage.evaluated_model()?.to_owned(), run.join(stage.name())));
        return Ok(Stage::ALL.into_iter().filter_map(named).collect());
    }
    let plan = plan(&recipe::run::of_run(run)?)?;
    let folder = |(name, id): (String, NodeId)| (name, run.join(plan.nodes[id].folder()));
    Ok(evaluations(&plan).into_iter().map(folder).collect())
}
