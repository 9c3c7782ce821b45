//! Collects [`ReportData`] from a run folder. For an unfinished run it covers the stages so far, and states
//! what is missing.

mod emphasis;
mod evaluation;
mod lengths;
mod methods;
mod pieces;
mod questions;
mod responses;
mod sampled;
mod stages;
mod training;
mod words;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::data::{MeasuredModel, ReportData, Run, ShownStage, Training};
use super::findings::findings;
use super::fit::fit;
use super::page::LARGEST_PAGE;
use super::text::{cannot_read, cannot_read_folder};
use evaluation::Measurements;
use latrace_run::diagnostics::Diagnostics;
use latrace_run::layout::RECIPE;
use latrace_run::pipeline::summary::{RunSummary, SUMMARY};
use latrace_run::plan::{Plan, Stage};
use latrace_run::recipe::run::{Method, RunRecipe, of_run as recipe};
pub(crate) use methods::leaves;
use sampled::Sampled;
use stages::RunStages;

/// Reads a run repeatedly while it is in progress, and caches the tables of finished stages.
#[derive(Debug)]
pub struct Collector {
    run: PathBuf,
    known: Option<Known>,
}

/// The contents of finished stages' tables, and the digest of these stages.
#[derive(Debug)]
struct Known {
    finished: String,
    data: ReportData,
}

impl Collector {
    /// A collector for a run folder.
    pub fn new(run: &Path) -> Collector {
        Collector { run: run.to_owned(), known: None }
    }

    /// The current state of the run.
    ///
    /// # Errors
    /// The folder is not a run folder; records that cannot be read.
    pub fn collect(&mut self) -> Result<ReportData> {
        let recipe = recipe(&self.run)?;
        let stages = RunStages::look(&self.run, &recipe)?;
        let mut data = self.tables(&recipe, &stages)?;
        // Read every time: these change while a stage is in progress.
        data.run = describe(&self.run, &recipe, &stages)?;
        data.stages = stages.shown()?;
        data.training = stages.curves()?;
        if data.training.is_empty() {
            data.missing.insert("training".to_owned(), stages.not_there(Stage::Initial));
        }
        // After everything that they are derived from, and before the traces are cut to what fits.
        data.findings = findings(&data);
        fit(data, LARGEST_PAGE)
    }

    /// The contents of finished stages' tables, read again only if another stage has finished: they can be
    /// gigabytes, and a page is polled while a run is in progress.
    fn tables(&mut self, recipe: &RunRecipe, stages: &RunStages) -> Result<ReportData> {
        let finished = stages.fingerprint();
        if let Some(data) = self.known_at(&finished) {
            return Ok(data.clone());
        }
        let data = read_tables(&self.run, recipe, stages)?;
        self.known = Some(Known { finished, data: data.clone() });
        Ok(data)
    }

    fn known_at(&self, finished: &str) -> Option<&ReportData> {
        let known = self.known.as_ref().filter(|known| known.finished == finished);
        known.map(|known| &known.data)
    }
}

/// A run's plan and the current state of its stages, one for each node, without reading its tables.
///
/// # Errors
/// The folder is not a run folder; records that cannot be read.
pub fn stages(run: &Path) -> Result<(Plan, Vec<ShownStage>)> {
    let stages = RunStages::look(run, &recipe(run)?)?;
    let shown = stages.shown()?;
    Ok((stages.plan, shown))
}

/// A run's identity and training curves, without reading its tables.
///
/// # Errors
/// The folder is not a run folder; records that cannot be read.
pub(crate) fn outline(run: &Path) -> Result<(Run, Vec<Training>)> {
    let recipe = recipe(run)?;
    let stages = RunStages::look(run, &recipe)?;
    Ok((describe(run, &recipe, &stages)?, stages.curves()?))
}

fn describe(run: &Path, recipe: &RunRecipe, stages: &RunStages) -> Result<Run> {
    let has_summary = run.join(SUMMARY).is_file();
    let summary = has_summary.then(|| RunSummary::read(run)).transpose()?;
    Ok(Run {
        name: folder_name(run)?,
        task: subject(recipe),
        method: Some(recipe.method.name()),
        methods: methods::of(recipe)?,
        seed: Some(recipe.seed),
        version: summary.as_ref().map(|summary| summary.version.clone()),
        // A run is finished with its summary, which is written after the last stage.
        finished: stages.all_done() && has_summary,
        peak_memory_bytes: stages.peak_memory_bytes(),
        compute: stages.compute(),
        provenance: summary.and_then(|summary| summary.provenance),
        recipe: Some(recipe_text(run)?),
    })
}

/// The folder's own name, also where the path is `.` or a link.
fn folder_name(run: &Path) -> Result<String> {
    let absolute = fs::canonicalize(run).with_context(|| cannot_read_folder(run))?;
    // The root of the file system has no name.
    Ok(file_name(&absolute).unwrap_or_default())
}

/// The task, or the file that the questions are from.
fn subject(recipe: &RunRecipe) -> Option<String> {
    let questions = &recipe.questions;
    if !questions.task.is_empty() {
        return Some(questions.task.clone());
    }
    file_name(Path::new(&questions.train))
}

fn file_name(path: &Path) -> Option<String> {
    path.file_name().map(|name| name.to_string_lossy().into_owned())
}

fn recipe_text(run: &Path) -> Result<String> {
    let path = run.join(RECIPE);
    fs::read_to_string(&path).with_context(|| cannot_read(&path))
}

/// The contents of finished stages' tables.
fn read_tables(run: &Path, recipe: &RunRecipe, stages: &RunStages) -> Result<ReportData> {
    let Measurements { models, comparisons } = evaluation::read(stages)?;
    let questions = stages.done(Stage::Questions).map(|folder| questions::count(folder, recipe));
    let emphasis = emphasis::read(recipe, stages)?;
    let mut data = ReportData {
        models,
        comparisons,
        questions: questions.transpose()?,
        emphasis,
        responses: responses::read(recipe, stages)?,
        diagnostics: Diagnostics::of(&stages.plan, run, recipe)?,
        ..ReportData::default()
    };
    data.missing.extend(missing_results(&data.models, recipe, stages));
    if data.responses.questions.is_empty() {
        data.missing.insert("responses".to_owned(), stages.not_there(Stage::InitialEvaluation));
    }
    if data.emphasis.is_none() {
        data.missing.insert("emphasis".to_owned(), stages.not_there(Stage::Verdicts));
    }
    if data.diagnostics.initial_on_traced.is_none() && data.diagnostics.initial_on_sampled.is_none() {
        let first = if recipe.initial.train { Stage::InitialTraced } else { Stage::InitialSampled };
        data.missing.insert("fit".to_owned(), stages.not_there(first));
    }
    sampled::read(recipe, stages)?.put(&mut data, recipe, stages);
    Ok(data)
}

/// Figures of results that cannot be shown, with the reasons.
fn missing_results(
    models: &[MeasuredModel],
    recipe: &RunRecipe,
    stages: &RunStages,
) -> BTreeMap<String, String> {
    if models.is_empty() {
        let reason = stages.not_there(Stage::InitialEvaluation);
        return ["accuracy", "difficulty", "pass_at_k"].map(|name| (name.to_owned(), reason.clone())).into();
    }
    let mut missing = BTreeMap::new();
    if models.iter().all(|model| model.by_difficulty.is_empty()) {
        let reason = "The run does not record the difficulty of its questions.";
        missing.insert("difficulty".to_owned(), reason.to_owned());
    }
    if recipe.evaluation.sampling.n < 2 {
        let reason = "Each question was answered once, so pass@k is not available.";
        missing.insert("pass_at_k".to_owned(), reason.to_owned());
    }
    missing
}

impl Sampled {
    /// Adds the data on traces to the report, or the reason why it is missing.
    fn put(self, data: &mut ReportData, recipe: &RunRecipe, stages: &RunStages) {
        data.missing.extend(self.missing(recipe, stages));
        let Sampled { funnel, verdicts, weights, bounds, lengths, traces } = self;
        (data.funnel, data.verdicts, data.weights, data.bounds, data.lengths, data.traces) =
            (funnel, verdicts, weights, bounds, lengths, traces);
    }

    /// Figures of traces that cannot be shown, with the reasons.
    fn missing(&self, recipe: &RunRecipe, stages: &RunStages) -> Vec<(String, String)> {
        // The stages of this method's traces are not waiting for anything: they are not in its plan.
        if recipe.method == Method::Sft {
            let reason = || "This method samples no traces.".to_owned();
            return self.figures().map(|(name, ..)| (name.to_owned(), reason())).into();
        }
        let missing = self.figures().into_iter().filter(|&(_, is_missing, _)| is_missing);
        missing.map(|(name, _, stage)| (name.to_owned(), stages.not_there(stage))).collect()
    }

    /// The figures, whether each is missing, and the stage that would give it.
    fn figures(&self) -> [(&'static str, bool, Stage); 5] {
        // The names under which the page's script looks for the reason.
        [
            ("funnel", self.funnel.is_empty(), Stage::Traces),
            ("traces", self.traces.questions.is_empty(), Stage::Traces),
            ("lengths", self.lengths.is_none(), Stage::Scores),
            ("weights", self.weights.is_none(), Stage::Weights),
            ("bounds", self.bounds.is_none(), Stage::Weights),
        ]
    }
}

#[cfg(test)]
mod tests;
