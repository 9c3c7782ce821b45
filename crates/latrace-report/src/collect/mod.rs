//! Collects [`ReportData`] from a run folder. For an unfinished run it covers the stages so far, and states
//! what is missing.

mod emphasis;
mod evaluation;
mod lengths;
mod pieces;
mod sampled;
mod stages;
mod training;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::data::{Emphasis, MeasuredModel, QuestionCounts, ReportData, Run, ShownStage};
use super::findings::findings;
use super::fit::fit;
use super::page::LARGEST_PAGE;
use evaluation::Measurements;
use latrace_core::Split;
use latrace_io::table::Table;
use latrace_run::layout::RECIPE;
use latrace_run::pipeline::records::QuestionRecord;
use latrace_run::pipeline::summary::{RunSummary, SUMMARY};
use latrace_run::plan::Stage;
use latrace_run::recipe::run::{Method, RunRecipe, of_run as recipe};
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
        let finished = stages.fingerprint();
        if self.known.as_ref().is_none_or(|known| known.finished != finished) {
            self.known = Some(Known { finished, data: read_tables(&recipe, &stages)? });
        }
        let mut data = self.known.as_ref().map(|known| known.data.clone()).unwrap_or_default();
        data.run = describe(&self.run, &recipe, &stages)?;
        data.stages = stages.shown()?;
        data.training = stages.curves()?;
        if data.training.is_empty() {
            data.missing.insert("training".to_owned(), stages.not_there(Stage::Initial));
        }
        data.findings = findings(&data);
        fit(data, LARGEST_PAGE)
    }
}

/// The current state of a run's stages, without reading its tables.
///
/// # Errors
/// The folder is not a run folder; records that cannot be read.
pub fn stages(run: &Path) -> Result<Vec<ShownStage>> {
    RunStages::look(run, &recipe(run)?)?.shown()
}

fn describe(run: &Path, recipe: &RunRecipe, stages: &RunStages) -> Result<Run> {
    let source = &recipe.questions;
    let file = || Path::new(&source.train).file_name().map(|name| name.to_string_lossy().into_owned());
    let summary = if run.join(SUMMARY).is_file() { Some(RunSummary::read(run)?) } else { None };
    let absolute =
        fs::canonicalize(run).with_context(|| format!("cannot read the folder {}", run.display()))?;
    Ok(Run {
        name: absolute.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
        task: if source.task.is_empty() { file() } else { Some(source.task.clone()) },
        method: Some(method_name(recipe.method)?),
        seed: Some(recipe.seed),
        version: summary.map(|summary| summary.version),
        finished: stages.all_done() && run.join(SUMMARY).is_file(),
        peak_memory_bytes: stages.peak_memory_bytes(),
        recipe: Some(
            fs::read_to_string(run.join(RECIPE))
                .with_context(|| format!("cannot read {}", run.join(RECIPE).display()))?,
        ),
    })
}

/// The name as spelt in recipes.
fn method_name(method: Method) -> Result<String> {
    let value = serde_json::to_value(method)?;
    Ok(value.as_str().unwrap_or_default().to_owned())
}

/// The contents of finished stages' tables.
fn read_tables(recipe: &RunRecipe, stages: &RunStages) -> Result<ReportData> {
    let Measurements { models, comparisons } = evaluation::read(recipe, stages)?;
    let mut data = ReportData { models, comparisons, ..ReportData::default() };
    data.questions =
        stages.done(Stage::Questions).map(|folder| count_questions(folder, recipe)).transpose()?;
    missing_results(&mut data.missing, &data.models, recipe, stages);
    sampled::read(recipe, stages)?.put(&mut data, recipe, stages);
    data.emphasis = emphasis::read(recipe, stages)?;
    missing_emphasis(&mut data.missing, data.emphasis.as_ref(), stages);
    Ok(data)
}

fn count_questions(folder: &Path, recipe: &RunRecipe) -> Result<QuestionCounts> {
    let mut counts = QuestionCounts {
        responses_each: Some(recipe.evaluation.sampling.n),
        evaluation_split: Some(split_name(recipe.evaluation.split).to_owned()),
        ..QuestionCounts::default()
    };
    for question in Table::<QuestionRecord>::open(folder).records()? {
        let question = question?;
        counts.evaluation += usize::from(question.split == recipe.evaluation.split);
        if question.split == Split::Train {
            counts.train += 1;
            counts.with_trace += usize::from(question.trace_ids.is_some());
            counts.with_hint += usize::from(question.hint.is_some());
            counts.example.get_or_insert(question.question);
        }
    }
    Ok(counts)
}

fn split_name(split: Split) -> &'static str {
    match split {
        Split::Train => "train",
        Split::Validation => "validation",
        Split::Test => "test",
    }
}

fn missing_results(
    missing: &mut BTreeMap<String, String>,
    models: &[MeasuredModel],
    recipe: &RunRecipe,
    stages: &RunStages,
) {
    let mut say = |figure: &str, text: String| missing.insert(figure.to_owned(), text);
    if models.is_empty() {
        for figure in ["accuracy", "difficulty", "pass_at_k"] {
            say(figure, stages.not_there(Stage::InitialEvaluation));
        }
        return;
    }
    if models.iter().all(|model| model.by_difficulty.is_empty()) {
        say("difficulty", "The run does not record the difficulty of its questions.".to_owned());
    }
    if recipe.evaluation.sampling.n < 2 {
        say("pass_at_k", "Each question was answered once, so pass@k is not available.".to_owned());
    }
}

fn missing_emphasis(missing: &mut BTreeMap<String, String>, emphasis: Option<&Emphasis>, stages: &RunStages) {
    if emphasis.is_none() {
        missing.insert("emphasis".to_owned(), stages.not_there(Stage::Verdicts));
    }
}

impl Sampled {
    /// Adds the data on traces to the report, or the reason why it is missing.
    fn put(self, data: &mut ReportData, recipe: &RunRecipe, stages: &RunStages) {
        let mut say = |is_missing: bool, figure: &str, stage: Stage| {
            if is_missing {
                data.missing.insert(figure.to_owned(), stages.not_there(stage));
            }
        };
        say(self.funnel.is_empty(), "funnel", Stage::Traces);
        say(self.traces.questions.is_empty(), "traces", Stage::Traces);
        say(self.lengths.is_none(), "lengths", Stage::Scores);
        say(self.weights.is_none(), "weights", Stage::Weights);
        say(self.bounds.is_none(), "bounds", Stage::Weights);
        if recipe.method == Method::Sft {
            for figure in ["funnel", "traces", "lengths", "weights", "bounds"] {
                data.missing.insert(figure.to_owned(), "This method samples no traces.".to_owned());
            }
        }
        let Sampled { funnel, verdicts, weights, bounds, lengths, traces } = self;
        (data.funnel, data.verdicts, data.weights, data.bounds, data.lengths, data.traces) =
            (funnel, verdicts, weights, bounds, lengths, traces);
    }
}
